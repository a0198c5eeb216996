//! `[store]`: where scans end up.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;
use url::{Host, Url};

use super::reader::Section;
use super::values::{
    ValueError, age, boolean, duration, expected, one_of, shown, shown_size, size, some_strings, string,
};
use super::{HOUR, SECOND, secret};
use crate::core::Secret;
use crate::journal;
use crate::store::{ClickHouseSettings, Kind, Limits, Settings, WhenFull, authorities, system_authorities};

/// Largest segment that ClickHouse takes: one insert is one block, of 1,048,449 rows at most
/// (`min_insert_block_size_rows`), and 64 MiB are about 800,000 scans.
const MAX_BLOCK: u64 = 64 << 20;

/// Most days that scans are kept for, but for ever: a century.
const MOST_KEEP: Duration = Duration::from_hours(36500 * 24);
/// Least segments that fit the embedded store: one of 16 MiB, 200,000 scans, takes 26 MB there.
const LEAST_SEGMENTS: u64 = 4;

pub(super) fn read(mut section: Section<'_, '_>, journal: &journal::Settings) -> Settings {
    let segment = journal.segment;
    let kind = section.get("kind", Kind::Sqlite, one_of(&[("sqlite", Kind::Sqlite), ("clickhouse", Kind::ClickHouse)]));
    let path = section.path("path", "../data/waypost.db");
    let limits = limits(&mut section, kind, journal);
    let clickhouse = clickhouse(&mut section);
    if kind == Kind::ClickHouse && segment > MAX_BLOCK {
        let what =
            format!("a journal.segment of at most {}, which ClickHouse takes as one block", shown_size(MAX_BLOCK));
        section.problem("kind", &expected(what, shown_size(segment)));
    }
    section.finish();
    Settings { kind, path, limits, clickhouse }
}

/// What the embedded store keeps.
fn limits(section: &mut Section<'_, '_>, kind: Kind, journal: &journal::Settings) -> Limits {
    let keep = section.get("keep", None, age(Limits::LEAST_KEEP, MOST_KEEP));
    let max_size = section.get("max_size", 0, size(0, 1 << 50));
    let least = LEAST_SEGMENTS * journal.segment;
    if kind == Kind::Sqlite && max_size > 0 && max_size < least {
        let what =
            format!("0B, which is no limit, or at least {}: {LEAST_SEGMENTS} of journal.segment", shown_size(least));
        section.problem("max_size", &expected(what, shown_size(max_size)));
    }
    let words = &[("drop_oldest", WhenFull::DropOldest), ("stop", WhenFull::Stop)];
    let when_full = section.get("when_full", WhenFull::default(), one_of(words));
    Limits { keep, max_size: (max_size > 0).then_some(max_size), when_full, min_free: journal.min_free }
}

/// What is allowed and is likely to be a slip.
pub fn warnings(settings: &Settings) -> Vec<String> {
    match settings.kind {
        Kind::Sqlite => beyond_the_disk(settings).into_iter().collect(),
        Kind::ClickHouse => {
            let clickhouse = &settings.clickhouse;
            unencrypted(clickhouse).into_iter().chain(without_authorities(clickhouse)).collect()
        }
    }
}

/// Whether no server's certificate can be verified here. A warning only: the file may be checked on another machine
/// than the one that delivers.
fn without_authorities(settings: &ClickHouseSettings) -> Option<String> {
    let url = settings.urls.iter().find(|url| url.starts_with("https://"))?;
    let error = system_authorities().err().filter(|_| settings.ca_file.is_none())?;
    Some(format!("store.url: no batch can be delivered to {url} from here: {error}"))
}

/// Which servers on other machines get the password over plain HTTP.
fn unencrypted(settings: &ClickHouseSettings) -> Vec<String> {
    if settings.password.0.is_empty() {
        return Vec::new();
    }
    let is_elsewhere = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => name != "localhost",
        Some(Host::Ipv4(address)) => !address.is_loopback(),
        Some(Host::Ipv6(address)) => !address.is_loopback(),
        None => false,
    };
    let urls = settings.urls.iter().filter_map(|url| Url::parse(url).ok());
    urls.filter(|url| url.scheme() == "http" && is_elsewhere(url))
        .map(|url| {
            let server = url.origin().ascii_serialization();
            format!("store.url: {server} gets the password and all scans unencrypted, from another machine; https:// encrypts them")
        })
        .collect()
}

/// Whether the embedded store is to grow to a size that its disk does not have.
fn beyond_the_disk(settings: &Settings) -> Option<String> {
    let Limits { max_size: Some(most), min_free, .. } = settings.limits else { return None };
    // The file and its folder may be yet to be made.
    let there = settings.path.ancestors().find(|path| path.exists())?;
    let system = rustix::fs::statvfs(there).ok()?;
    let has = std::fs::metadata(&settings.path).map_or(0, |file| file.len());
    let may_have = (has + system.f_bavail.saturating_mul(system.f_frsize)).saturating_sub(min_free);
    (most > may_have).then(|| {
        let [most, may_have] = [most, may_have >> 20 << 20].map(shown_size);
        format!("store.max_size: {most} is more than the {may_have} that its disk has for it, beside journal.min_free")
    })
}

fn clickhouse(section: &mut Section<'_, '_>) -> ClickHouseSettings {
    ClickHouseSettings {
        urls: section.get("url", vec!["http://127.0.0.1:8123".to_owned()], http_urls),
        database: section.get("database", "waypost".to_owned(), identifier),
        user: section.string("user", "default"),
        password: password(section),
        ca_file: ca_file(section),
        cluster: section.get("cluster", String::new(), |value| {
            if value.as_str() == Some("") { Ok(String::new()) } else { identifier(value) }
        }),
        replicas: section.get("replicas", false, boolean),
        apply_schema: section.get("apply_schema", true, boolean),
        connect_timeout: section.get("connect_timeout", 3 * SECOND, duration(Duration::from_millis(100), 60 * SECOND)),
        timeout: section.get("timeout", 60 * SECOND, duration(Duration::from_millis(100), HOUR)),
    }
}

/// From a file, or from the environment; never from `waypost.toml`, which many read.
fn password(section: &mut Section<'_, '_>) -> Secret {
    let file = section.string("password_file", "");
    if file.is_empty() {
        return Secret(std::env::var("WAYPOST_CLICKHOUSE_PASSWORD").unwrap_or_default());
    }
    match secret::read(&section.beside(&file)) {
        Ok(password) => password,
        Err(source) => {
            section.problem("password_file", &ValueError::Secret { file, source });
            Secret::default()
        }
    }
}

/// A file of certificates, which can be read; `None` where none is named.
fn ca_file(section: &mut Section<'_, '_>) -> Option<PathBuf> {
    let file = section.string("ca_file", "");
    if file.is_empty() {
        return None;
    }
    let path = section.beside(&file);
    match authorities(&path) {
        Ok(_) => Some(path),
        Err(source) => {
            section.problem("ca_file", &ValueError::Authorities(source));
            None
        }
    }
}

fn http_urls(value: &DeValue<'_>) -> Result<Vec<String>, ValueError> {
    // A single string is not shown: there may be a password in it.
    if value.as_str().is_some() {
        return Err(expected("a list of strings such as [\"http://127.0.0.1:8123\"]", "a string"));
    }
    let urls = some_strings(value, "one URL such as \"http://127.0.0.1:8123\"")?;
    urls.iter().try_for_each(|text| http_url(text))?;
    Ok(urls)
}

/// The URL of an HTTP interface. An error shows none in which there may be a password.
fn http_url(text: &str) -> Result<(), ValueError> {
    const EXPECTED: &str =
        "the URL of an HTTP interface such as \"http://127.0.0.1:8123\" or \"https://clickhouse.example.vn:8443\"";
    const SECRETS: &str = "a URL without name and password, which belong in store.user and in store.password_file or \
                           the environment's WAYPOST_CLICKHOUSE_PASSWORD";
    // Also where it can't be read as a URL.
    if text.contains('@') {
        return Err(expected(SECRETS, "one with user info (name:password@)"));
    }
    if text.contains(['?', '#']) {
        return Err(expected(SECRETS, "one with a query or a fragment"));
    }
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(()),
        // `http://user:password`, without a host.
        Err(url::ParseError::InvalidPort) => Err(expected(EXPECTED, "one whose port is not a number")),
        _ if is_host_and_port(text) => Err(expected(EXPECTED, format!("{text:?}"))),
        _ => Err(expected(EXPECTED, "another text")),
    }
}

/// A scheme, a host and a port at most: nothing in which there may be a password.
fn is_host_and_port(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, port) = rest.split_once(':').unwrap_or((rest, ""));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    host.bytes().all(plain) && port.bytes().all(|b| b.is_ascii_digit())
}

/// A name in SQL that needs no quotes.
fn identifier(value: &DeValue<'_>) -> Result<String, ValueError> {
    let name = string(value)?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.is_empty() || name.len() > 64 || !plain || name.as_bytes()[0].is_ascii_digit() {
        return Err(expected("1 to 64 characters of a-z A-Z 0-9 _, no digit first", shown(value)));
    }
    Ok(name)
}
