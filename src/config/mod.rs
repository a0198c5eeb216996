//! `waypost.toml`, as one validated configuration.
//!
//! Owns every key: its name, default and limits. `config/waypost.toml` has them all
//! with a comment each. Reading it binds nothing and writes nothing.

pub mod secret;
mod source;

use std::cell::RefCell;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::HeaderName;
use ipnet::IpNet;
use jiff::tz::TimeZone;
use toml::de::{DeTable, DeValue};
use url::Url;

use crate::admin::Access;
use crate::core::{Problems, Secret, Tag, parse_tag};
use crate::edge::{Limits, Pages, Trust};
use crate::journal::{self, MAX_EDGE_NAME};
use crate::observe::Precision;
use crate::registry::{HostPattern, Rules};
use crate::source::Files;
use crate::store::{self, Kind};
use source::{Section, Source, boolean, duration, one_of, share, size, text, texts, whole};

/// Most workers: more threads than that is a slip of the finger.
const MAX_WORKERS: u64 = 1024;
/// Fewest characters of a token: 64 bits in hexadecimal.
const MIN_TOKEN: usize = 16;

/// Everything the service is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses of the public port.
    pub listen: Vec<SocketAddr>,
    /// Worker threads.
    pub workers: usize,
    /// What is printed on the plates before the code.
    pub public_url: String,
    /// Whose forwarded header is believed.
    pub trust: Trust,
    /// Limits of a worker's connections.
    pub limits: Limits,
    /// How long the edge goes on taking connections once it has said that it stops.
    pub lame_duck: Duration,
    /// Our own pages.
    pub pages: Pages,
    /// Address of the admin port.
    pub admin: SocketAddr,
    /// Who may ask it.
    pub admin_access: Access,
    /// Whether `/metrics` has a counter for each sign.
    pub per_sign_metrics: bool,
    /// The registry's files.
    pub files: Files,
    /// What they are checked against.
    pub rules: Rules,
    /// Most signs that a reload may lose, as a share.
    pub max_shrink: f64,
    /// How often files are looked at, besides being watched.
    pub poll: Duration,
    /// Whether scans are recorded at all.
    pub record: bool,
    /// Country databases.
    pub geoip: Vec<PathBuf>,
    /// How much of an address's origin is recorded.
    pub precision: Precision,
    /// The repeat window.
    pub repeat_window: Duration,
    /// Unknown codes that are recorded in a second.
    pub max_unknown_per_second: u32,
    /// The journal.
    pub journal: journal::Settings,
    /// Where scans end up.
    pub store: store::Settings,
    /// How logs are written.
    pub log: LogFormat,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// Lines of JSON.
    Json,
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

impl Config {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        strictly(Self::examine(path))
    }

    /// Reads a file as far as that goes: what is wrong in it has its default.
    #[must_use]
    pub fn examine(path: &Path) -> (Option<Self>, Problems) {
        let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let mut problems = Problems::default();
                let path = path.display();
                problems.add(&file, 0, "", format!("can't be read ({path}): {error}; --config names the file"));
                return (None, problems);
            }
        };
        // The parent of a bare name is the empty path, which is no folder.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        parse(&file, &text, folder)
    }

    /// Checks a file's text; relative paths are relative to `folder`.
    pub fn parse(file: &str, text: &str, folder: &Path) -> Result<Self, Problems> {
        strictly(parse(file, text, folder))
    }
}

fn strictly((config, problems): (Option<Config>, Problems)) -> Result<Config, Problems> {
    config.filter(|_| problems.is_empty()).ok_or(problems)
}

fn parse(file: &str, text: &str, folder: &Path) -> (Option<Config>, Problems) {
    let source = Source { file: file.to_owned(), text, problems: RefCell::default() };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = error.span().map_or(0, |span| source.line(span.start));
        source.problem(line, error.message().to_owned());
    }
    let config = read(&source, table.get_ref(), folder);
    let mut problems = source.problems.into_inner();
    problems.list.sort_by_key(|problem| problem.line);
    (config, problems)
}

#[allow(clippy::too_many_lines, reason = "a line or two for each key, in the order of the file")]
fn read<'a>(source: &Source<'a>, table: &DeTable<'a>, folder: &Path) -> Option<Config> {
    let path = |text: &str| folder.join(text);
    let mut top = Section::top(source, table);

    let mut edge = top.section("edge");
    let name = edge.get("name", String::new(), edge_name);
    let listen = edge.get("listen", vec![SocketAddr::from(([0u16; 8], 8080))], addresses);
    let workers = edge.get("workers", 0, whole(0, MAX_WORKERS));
    let public_url = edge.get("public_url", "https://qr.langson.gov.vn".to_owned(), web_url);
    // Checked as targets are, by the rules that stand further down.
    let (home_url, home_line) = (edge.text("home_url", ""), edge.line("home_url"));
    let limits = Limits {
        connections: edge.get("max_connections", 10_000, whole(1, 1_000_000)) as usize,
        idle: edge.get("idle_timeout", 30 * SECOND, duration(SECOND, HOUR)),
        request: edge.get("request_timeout", 10 * SECOND, duration(SECOND, HOUR)),
        grace: edge.get("grace", 5 * SECOND, duration(Duration::ZERO, 60 * SECOND)),
    };
    let lame_duck = edge.get("lame_duck", Duration::ZERO, duration(Duration::ZERO, 600 * SECOND));
    let mut trust = edge.section("edge.trust");
    let proxies = trust.get("proxies", Vec::new(), networks);
    let header = trust.get(
        "header",
        FORWARDED_FOR,
        one_of(&[("x-forwarded-for", FORWARDED_FOR), ("forwarded", FORWARDED_HEADER)]),
    );
    trust.finish();
    edge.finish();

    let mut admin = top.section("admin");
    let admin_listen = admin.get("listen", SocketAddr::from(([127, 0, 0, 1], 9090)), address);
    let admin_access = Access {
        hosts: admin.get("allowed_hosts", Vec::new(), host_names),
        token: admin_token(&mut admin, admin_listen, folder),
    };
    let per_sign_metrics = admin.get("per_sign_metrics", true, boolean);
    admin.finish();

    let mut pages = top.section("pages");
    let public_host =
        Url::parse(&public_url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let authority = pages.text("authority", &public_host);
    let authority = [authority.clone(), pages.text("authority_en", &authority), pages.text("authority_zh", &authority)];
    pages.finish();

    let mut registry = top.section("registry");
    let files = Files {
        places: path(&registry.text("places", "places.csv")),
        signs: path(&registry.text("signs", "signs.csv")),
        overrides: path(&registry.text("overrides", "overrides.csv")),
    };
    let default_language = registry.get("default_language", parse_tag("vi")?, language);
    let timezone = registry.get("timezone", TimeZone::get("Asia/Ho_Chi_Minh").ok()?, zone);
    let allowed_hosts = registry.required("allowed_hosts", Vec::new(), hosts);
    let allow_http = registry.get("allow_http", false, boolean);
    let max_shrink = registry.get("max_shrink", 0.5, share);
    let poll = registry.get("poll", 5 * SECOND, duration(Duration::from_millis(100), HOUR));
    registry.finish();
    let rules = Rules { default_language, timezone, allowed_hosts, allow_http, public_host };
    let home_url = home(&rules, &home_url).unwrap_or_else(|error| {
        source.problem(home_line, format!("edge.home_url: {error}"));
        String::new()
    });

    let mut observe = top.section("observe");
    let record = observe.get("record", true, boolean);
    let geoip = observe.get("geoip", Vec::new(), texts).iter().map(|text| path(text)).collect();
    let precision = observe.get("precision", Precision::Region, one_of(PRECISIONS));
    let repeat_window = observe.get("repeat_window", 10 * SECOND, duration(Duration::ZERO, HOUR));
    let max_unknown_per_second = observe.get("max_unknown_per_second", 50, whole(0, 1_000_000)) as u32;
    observe.finish();

    let mut journal = top.section("journal");
    let journal_folder = path(&journal.text("dir", "../data/journal"));
    let segment = journal.get("segment", 16 << 20, size(64 << 10, 1 << 30));
    let workers = if workers > 0 { workers as usize } else { cores() };
    let max_size = journal.get("max_size", 4 << 30, size(1 << 20, 1 << 50));
    // A worker writes one segment while the next is ready.
    if max_size < 2 * segment * workers as u64 {
        journal.problem(
            "max_size",
            &format!("{max_size} bytes hold less than two segments for each of {workers} workers"),
        );
    }
    let settings = journal::Settings {
        folder: journal_folder,
        edge: if name.is_empty() { host_name() } else { name },
        segment,
        seal_after: journal.get("seal_after", 5 * SECOND, duration(Duration::from_millis(100), HOUR)),
        seal_after_outage: journal.get("seal_after_outage", 300 * SECOND, duration(SECOND, 24 * HOUR)),
        sync_every: journal.get("sync_every", SECOND, duration(Duration::from_millis(10), 60 * SECOND)),
        max_size,
        min_free: journal.get("min_free", 512 << 20, size(0, 1 << 50)),
    };
    journal.finish();

    let store = read_store(&mut top, &settings, folder);

    let mut log = top.section("log");
    let format = log.get("format", LogFormat::Text, one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)]));
    log.finish();
    top.finish();

    Some(Config {
        listen,
        workers,
        trust: Trust { proxies, header: HeaderName::from_static(header) },
        limits: Limits { connections: limits.connections.div_ceil(workers), ..limits },
        lame_duck,
        pages: Pages { authority, home_url, default_language },
        admin: admin_listen,
        admin_access,
        per_sign_metrics,
        files,
        rules,
        public_url,
        max_shrink,
        poll,
        geoip,
        record,
        precision,
        repeat_window,
        max_unknown_per_second,
        journal: settings,
        store,
        log: format,
    })
}

fn read_store(top: &mut Section<'_, '_>, journal: &journal::Settings, folder: &Path) -> store::Settings {
    let mut section = top.section("store");
    let kind = section.get("kind", Kind::Sqlite, one_of(&[("sqlite", Kind::Sqlite), ("clickhouse", Kind::ClickHouse)]));
    let path = folder.join(section.text("path", "../data/waypost.db"));
    let clickhouse = store::ClickHouseSettings {
        urls: section.get("url", vec!["http://127.0.0.1:8123".to_owned()], http_urls),
        database: section.get("database", "waypost".to_owned(), identifier),
        user: section.text("user", "default"),
        password: password(&mut section, folder),
        cluster: section.get("cluster", String::new(), |value| {
            if value.as_str() == Some("") { Ok(String::new()) } else { identifier(value) }
        }),
        replicas: section.get("replicas", false, boolean),
        apply_schema: section.get("apply_schema", true, boolean),
        connect_timeout: section.get("connect_timeout", 3 * SECOND, duration(Duration::from_millis(100), 60 * SECOND)),
        timeout: section.get("timeout", 60 * SECOND, duration(Duration::from_millis(100), HOUR)),
    };
    // One insert is one block: 64 MiB are about 800,000 scans, and a block holds 1,048,449 rows.
    if kind == Kind::ClickHouse && journal.segment > 64 << 20 {
        section.problem("kind", "ClickHouse takes a segment as one block; journal.segment must be at most 64MiB");
    }
    section.finish();
    store::Settings { kind, path, clickhouse }
}

/// From a file, or from the environment; never from this file, which is read by many.
fn password(section: &mut Section<'_, '_>, folder: &Path) -> Secret {
    let file = section.text("password_file", "");
    if file.is_empty() {
        return Secret(std::env::var("WAYPOST_CLICKHOUSE_PASSWORD").unwrap_or_default());
    }
    match secret::read(&folder.join(&file)) {
        Ok(password) => Secret(password),
        Err(error) => {
            section.problem("password_file", &format!("{file:?} {error}"));
            Secret::default()
        }
    }
}

/// Of the admin port; beyond loopback there is one, or it is said that the network protects the port.
fn admin_token(section: &mut Section<'_, '_>, listen: SocketAddr, folder: &Path) -> Option<Secret> {
    let file = section.text("token_file", "");
    let allow_without = section.get("allow_without_token", false, boolean);
    if file.is_empty() {
        if !listen.ip().to_canonical().is_loopback() && !allow_without {
            section.problem(
                "listen",
                &format!(
                    "{listen} can be reached from other machines, without a token; allowed are an address on loopback, \
                     a token in admin.token_file, or admin.allow_without_token = true where the network keeps others out"
                ),
            );
        }
        return None;
    }
    let token = secret::read(&folder.join(&file)).and_then(|token| {
        let is_token = token.len() >= MIN_TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic());
        let found = token.chars().count();
        is_token.then_some(token).ok_or_else(|| {
            format!(
                "has {found} characters that can't be a token; at least {MIN_TOKEN} are needed, of ASCII and without \
                 spaces, as `openssl rand -hex 32` makes"
            )
        })
    });
    token.map(Secret).inspect_err(|error| section.problem("token_file", &format!("{file:?} {error}"))).ok()
}

/// Names of the admin port.
fn host_names(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let name = |text: String| {
        let is_name = matches!(url::Host::parse(&text), Ok(url::Host::Domain(name)) if name == text.to_ascii_lowercase())
            && text.strip_suffix('.').unwrap_or(&text).split('.').all(|label| !label.is_empty());
        if is_name && !text.contains('*') {
            Ok(text.trim_end_matches('.').to_ascii_lowercase())
        } else {
            Err(format!(
                "{text:?} is not a name; one like \"waypost\" or \"edge-1.langson.gov.vn\" is allowed, without a port"
            ))
        }
    };
    texts(value)?.into_iter().map(name).collect()
}

fn http_urls(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    // A single text is not shown: there may be a password in it.
    if value.as_str().is_some() {
        return Err("a text is not allowed; a list of texts is, as [\"http://127.0.0.1:8123\"]".to_owned());
    }
    let urls = texts(value)?;
    if urls.is_empty() {
        return Err("is empty; at least one is needed, as [\"http://127.0.0.1:8123\"]".to_owned());
    }
    urls.iter().try_for_each(|text| http_url(text))?;
    Ok(urls)
}

/// The URL of an HTTP interface. An error shows none in which there may be a password.
fn http_url(text: &str) -> Result<(), String> {
    const ALLOWED: &str = "one like \"http://127.0.0.1:8123\" is allowed";
    const SECRETS: &str = "a name belongs in store.user, and a password in store.password_file or the environment's \
                           WAYPOST_CLICKHOUSE_PASSWORD";
    // Also where it can't be read as a URL.
    if text.contains('@') {
        return Err(format!("a URL with user info (name:password@) is not allowed; {SECRETS}"));
    }
    if text.contains(['?', '#']) {
        return Err(format!("a URL with a query or a fragment is not allowed; {SECRETS}; {ALLOWED}"));
    }
    match Url::parse(text) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(()),
        // `http://user:password`, without a host: the port is none.
        Err(url::ParseError::InvalidPort) => Err(format!("a URL whose port is not a number is not allowed; {ALLOWED}")),
        _ if is_host_and_port(text) => Err(format!("{text:?} is not the URL of an HTTP interface; {ALLOWED}")),
        _ => Err(format!("what stands there is not the URL of an HTTP interface; {ALLOWED}")),
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
fn identifier(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.is_empty() || name.len() > 64 || !plain || name.as_bytes()[0].is_ascii_digit() {
        return Err(format!("{name:?} is not a name; 1 to 64 of a-z A-Z 0-9 _ are allowed, a letter first"));
    }
    Ok(name)
}

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_HEADER: &str = "forwarded";
const PRECISIONS: &[(&str, Precision)] =
    &[("none", Precision::None), ("country", Precision::Country), ("region", Precision::Region)];

/// Cores that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn host_name() -> String {
    let name = rustix::system::uname();
    let mut name = name.nodename().to_string_lossy().into_owned();
    while name.len() > MAX_EDGE_NAME {
        name.pop();
    }
    name
}

fn edge_name(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if name.len() > MAX_EDGE_NAME || !plain {
        return Err(format!("{name:?} is not a name; at most {MAX_EDGE_NAME} of a-z A-Z 0-9 _ . - are allowed"));
    }
    Ok(name)
}

fn address(value: &DeValue<'_>) -> Result<SocketAddr, String> {
    let text = text(value)?;
    text.parse().map_err(|_| {
        format!("{text:?} is not an address with a port; allowed are \"127.0.0.1:9090\" and \"[::]:8080\"")
    })
}

fn addresses(value: &DeValue<'_>) -> Result<Vec<SocketAddr>, String> {
    let list = texts(value)?;
    if list.is_empty() {
        return Err("is empty; at least one address is needed, as [\"[::]:8080\"]".to_owned());
    }
    let parse = |text: &String| {
        text.parse().map_err(|_| format!("{text:?} is not an address with a port; allowed are \"[::]:8080\" (both families) and \"127.0.0.1:8080\""))
    };
    list.iter().map(parse).collect()
}

fn networks(value: &DeValue<'_>) -> Result<Vec<IpNet>, String> {
    let parse = |text: &String| {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map_err(|_| format!("{text:?} is not a network; allowed are \"10.0.0.0/8\" and \"2001:db8::1\""))
    };
    texts(value)?.iter().map(parse).collect()
}

fn hosts(value: &DeValue<'_>) -> Result<Vec<HostPattern>, String> {
    let list = texts(value)?;
    if list.is_empty() {
        return Err("is empty; at least one host is needed, as [\"langson.gov.vn\", \"*.langson.gov.vn\"]".to_owned());
    }
    list.iter().map(|text| HostPattern::parse(text).map_err(|error| error.to_string())).collect()
}

fn web_url(value: &DeValue<'_>) -> Result<String, String> {
    let text = text(value)?;
    if text.contains('@') {
        return Err("has user info before its host, or another @; none is allowed".to_owned());
    }
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.map(|_| text.clone())
        .ok_or_else(|| format!("{text:?} is not a URL; one like \"https://qr.langson.gov.vn\" is allowed"))
}

/// Where `/` leads: as a target. Empty stays empty.
fn home(rules: &Rules, text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    if !rules.allowed_hosts.is_empty() {
        return rules.target(text).map_err(|error| error.to_string());
    }
    // That is told by itself; this one's host is not to blame for it.
    let host = Url::parse(text).ok().and_then(|url| HostPattern::parse(url.host_str()?).ok());
    let rules = Rules { allowed_hosts: host.into_iter().collect(), ..rules.clone() };
    rules.target(text).map_err(|error| error.to_string())
}

fn language(value: &DeValue<'_>) -> Result<Tag, String> {
    let text = text(value)?;
    parse_tag(&text).ok_or_else(|| format!("{text:?} is not a language; one like \"vi\" or \"zh-Hant\" is allowed"))
}

fn zone(value: &DeValue<'_>) -> Result<TimeZone, String> {
    let text = text(value)?;
    TimeZone::get(&text)
        .map_err(|_| format!("{text:?} is not a time zone; a name like \"Asia/Ho_Chi_Minh\" is allowed"))
}
