//! `[edge]`: what visitors meet.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::header::HeaderName;
use ipnet::IpNet;
use toml::de::DeValue;
use url::Url;

use super::reader::Section;
use super::values::{ValueError, duration, expected, integer, one_of, shown, some_strings, string, strings};
use super::{HOUR, SECOND};
use crate::edge::{Limits, Trust};
use crate::journal::MAX_EDGE_NAME;

/// Most workers; more threads can only be a slip of the finger.
const MAX_WORKERS: u64 = 1024;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

/// The public port, and who answers there.
#[derive(Debug, Clone)]
pub struct Edge {
    /// This edge's name, in every scan.
    pub name: String,
    /// Addresses of the public port.
    pub listen: Vec<SocketAddr>,
    /// Worker threads.
    pub workers: usize,
    /// What is printed on the plates before the code.
    pub public_url: String,
    /// Limits of one worker's connections: its share of `max_connections`, and the timeouts.
    pub limits: Limits,
    /// How long the edge goes on accepting connections after `/readyz` has begun to answer 503.
    pub lame_duck: Duration,
    /// Whose forwarded header is believed.
    pub trust: Trust,
}

impl Edge {
    /// All of the section but `home_url`, which is checked as targets are, by the registry's rules.
    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        let name = section.get("name", String::new(), edge_name);
        let listen = section.get("listen", vec![SocketAddr::from(([0u16; 8], 8080))], addresses);
        let workers: usize = section.get("workers", 0, integer(0, MAX_WORKERS));
        let workers = if workers > 0 { workers } else { cores() };
        let public_url = section.get("public_url", "https://qr.langson.gov.vn".to_owned(), web_url);
        let connections = section.get("max_connections", 10_000_usize, integer(1, 1_000_000));
        let limits = Limits {
            connections: connections.div_ceil(workers),
            idle: section.get("idle_timeout", 30 * SECOND, duration(SECOND, HOUR)),
            request: section.get("request_timeout", 10 * SECOND, duration(SECOND, HOUR)),
            grace: section.get("grace", 5 * SECOND, duration(Duration::ZERO, 60 * SECOND)),
        };
        let lame_duck = section.get("lame_duck", Duration::ZERO, duration(Duration::ZERO, 600 * SECOND));
        let trust = trust(section.section("edge.trust"));
        let name = if name.is_empty() { host_name() } else { name };
        Self { name, listen, workers, public_url, limits, lame_duck, trust }
    }

    /// The host on the plates; empty where the URL has none.
    pub(super) fn public_host(&self) -> String {
        let url = Url::parse(&self.public_url).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }
}

fn trust(mut section: Section<'_, '_>) -> Trust {
    let proxies = section.get("proxies", Vec::new(), networks);
    let headers = one_of(&[(FORWARDED_FOR, FORWARDED_FOR), (FORWARDED, FORWARDED)]);
    let header = section.get("header", FORWARDED_FOR, headers);
    section.finish();
    Trust { proxies, header: HeaderName::from_static(header) }
}

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

fn edge_name(value: &DeValue<'_>) -> Result<String, ValueError> {
    let name = string(value)?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if name.len() > MAX_EDGE_NAME || !plain {
        return Err(expected(format!("at most {MAX_EDGE_NAME} characters of a-z A-Z 0-9 _ . -"), shown(value)));
    }
    Ok(name)
}

fn addresses(value: &DeValue<'_>) -> Result<Vec<SocketAddr>, ValueError> {
    let read = |text: &String| {
        let wrong =
            || expected("an address and a port such as \"[::]:8080\" or \"10.0.0.11:8080\"", format!("{text:?}"));
        text.parse().map_err(|_| wrong())
    };
    some_strings(value, "one address such as \"[::]:8080\"")?.iter().map(read).collect()
}

fn networks(value: &DeValue<'_>) -> Result<Vec<IpNet>, ValueError> {
    let read = |text: &String| {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let what = "a network such as \"10.0.0.0/8\" or an address such as \"2001:db8::1\"";
        network.map_err(|_| expected(what, format!("{text:?}")))
    };
    strings(value)?.iter().map(read).collect()
}

fn web_url(value: &DeValue<'_>) -> Result<String, ValueError> {
    let text = string(value)?;
    // It is not shown: there may be a password in it.
    if text.contains('@') {
        return Err(expected("a URL without user info before its host", "one with an @"));
    }
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.map(|_| text).ok_or_else(|| expected("a URL such as \"https://qr.langson.gov.vn\"", shown(value)))
}
