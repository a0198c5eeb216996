//! `[edge]`: what visitors meet.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hyper::header::HeaderName;
use ipnet::IpNet;
use toml::de::DeValue;
use url::Url;

use super::reader::Section;
use super::values::{ValueError, boolean, duration, expected, integer, one_of, shown, string, strings, tables};
use super::{HOUR, SECOND};
use crate::certificates::{CertificateFiles, TlsSettings, TlsVersion};
use crate::edge::{Limits, Misses};
use crate::journal::MAX_EDGE_NAME;
use crate::web::Trust;

/// Most workers; more threads can only be a slip of the finger.
const MAX_WORKERS: u64 = 1024;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

/// The public port, and who answers there.
#[derive(Debug, Clone)]
pub struct Edge {
    /// This edge's name, in every scan.
    pub name: String,
    /// Addresses without TLS.
    pub listen: Vec<SocketAddr>,
    /// Worker threads.
    pub workers: usize,
    /// What is printed on the plates before the code.
    pub public_url: String,
    /// Connections that may be open at a time, of the process.
    pub max_connections: usize,
    /// Of these, from one address.
    pub max_connections_per_address: u32,
    /// Limits of each connection.
    pub limits: Limits,
    /// Unknown codes that an address may ask for in a minute before it gets a short 404.
    pub max_misses_per_address: u32,
    /// How long the edge goes on accepting connections after `/readyz` has begun to answer 503.
    pub lame_duck: Duration,
    /// Whether scans that come without TLS are sent on to the public URL.
    pub redirect_to_https: bool,
    /// Where ACME clients put their answers: what they call the webroot.
    pub acme_challenges: Option<PathBuf>,
    /// Whose forwarded header is believed.
    pub trust: Trust,
    /// Encrypted connections.
    pub tls: Tls,
    /// Connections of proxies that say whose they are.
    pub proxy_protocol: ProxyProtocol,
}

/// Encrypted connections.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Their addresses.
    pub listen: Vec<SocketAddr>,
    /// Certificates and versions.
    pub settings: TlsSettings,
    /// How long a browser is told to ask by https alone; zero: it is not told.
    pub hsts: Duration,
    /// Whether a PROXY header comes before the handshake.
    pub has_proxy_header: bool,
}

/// Connections that begin with a PROXY header.
#[derive(Debug, Clone)]
pub struct ProxyProtocol {
    /// Addresses without TLS that demand it.
    pub listen: Vec<SocketAddr>,
    /// Who may send it, there and before TLS.
    pub from: Vec<IpNet>,
}

impl Edge {
    /// All of the section but `home_url`, which is checked as targets are, by the registry's rules.
    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        let name = section.get("name", String::new(), edge_name);
        let listen = section.get("listen", vec![SocketAddr::from(([0u16; 8], 8080))], addresses);
        let workers: usize = section.get("workers", 0, integer(0, MAX_WORKERS));
        let workers = if workers > 0 { workers } else { cores() };
        let public_url = section.get("public_url", "https://qr.langson.gov.vn".to_owned(), web_url);
        let max_connections = section.get("max_connections", 10_000_usize, integer(1, 1_000_000));
        let max_connections_per_address = section.get("max_connections_per_address", 256, integer(1, 1_000_000));
        let requests = section.get("max_requests_per_connection", 10_000, integer(1, 1_000_000));
        let age = section.get("max_connection_age", HOUR, duration(SECOND, 24 * HOUR));
        let max_misses_per_address = section.get("max_misses_per_address", 120, integer(0, Misses::MOST.into()));
        let idle = section.get("idle_timeout", 30 * SECOND, duration(SECOND, HOUR));
        let request = section.get("request_timeout", 10 * SECOND, duration(SECOND, HOUR));
        let grace = section.get("grace", 5 * SECOND, duration(Duration::ZERO, 60 * SECOND));
        let lame_duck = section.get("lame_duck", Duration::ZERO, duration(Duration::ZERO, 600 * SECOND));
        let redirect_to_https = section.get("redirect_to_https", false, boolean);
        if redirect_to_https && !public_url.starts_with("https://") {
            let what = "edge.public_url to be an https URL, which scans are sent on to";
            section.problem("redirect_to_https", &expected(what, format!("{public_url:?}")));
        }
        let acme_challenges = section.string("acme_challenges", "");
        let acme_challenges = (!acme_challenges.is_empty()).then(|| section.beside(&acme_challenges));
        let trust = trust(section.section("edge.trust"));
        let (tls, handshake) = tls(section.section("edge.tls"));
        let mut proxied = section.section("edge.proxy_protocol");
        let proxy_protocol = ProxyProtocol {
            listen: proxied.get("listen", Vec::new(), addresses),
            from: proxied.get("from", Vec::new(), networks),
        };
        if proxy_protocol.from.is_empty() && (tls.has_proxy_header || !proxy_protocol.listen.is_empty()) {
            let what = "the networks of the proxies that may send the header, such as [\"10.0.0.0/8\"]";
            proxied.problem("from", &expected(what, "an empty list"));
        }
        proxied.finish();
        let name = if name.is_empty() { host_name() } else { name };
        let limits = Limits { handshake, idle, request, requests, age, grace };
        let edge = Self {
            name,
            listen,
            workers,
            public_url,
            max_connections,
            max_connections_per_address,
            limits,
            max_misses_per_address,
            lame_duck,
            redirect_to_https,
            acme_challenges,
            trust,
            tls,
            proxy_protocol,
        };
        edge.check_addresses(section);
        edge
    }

    /// All addresses of the public port.
    pub fn addresses(&self) -> impl Iterator<Item = &SocketAddr> {
        self.listen.iter().chain(&self.tls.listen).chain(&self.proxy_protocol.listen)
    }

    /// Each port belongs to one list: the kernel would spread its connections over all that ask for it.
    fn check_addresses(&self, section: &Section<'_, '_>) {
        let lists = [
            ("listen", &self.listen),
            ("tls.listen", &self.tls.listen),
            ("proxy_protocol.listen", &self.proxy_protocol.listen),
        ];
        if lists.iter().all(|(_, list)| list.is_empty()) {
            let what = "an address here, in edge.tls.listen or in edge.proxy_protocol.listen";
            section.problem("listen", &expected(what, "none"));
        }
        for (at, (name, list)) in lists.iter().enumerate() {
            for (other, earlier) in &lists[..at] {
                let shared = list.iter().find(|one| earlier.iter().any(|two| is_same_port(**one, *two)));
                if let Some(address) = shared {
                    let what = format!("a port that is not in edge.{other}, too");
                    section.problem(name, &expected(what, format!("\"{address}\"")));
                }
            }
        }
    }

    /// The host on the plates; empty where the URL has none.
    pub fn public_host(&self) -> String {
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

/// The section, and how long a handshake may take.
fn tls(mut section: Section<'_, '_>) -> (Tls, Duration) {
    let listen = section.get("listen", Vec::new(), addresses);
    let files: Vec<_> = section.get("certificates", Vec::new(), tables(["certificate", "key"]));
    if files.is_empty() && !listen.is_empty() {
        let what = "a certificate and its key for edge.tls.listen, such as \
                    [{ certificate = \"tls/cert.pem\", key = \"tls/key.pem\" }]";
        section.problem("certificates", &expected(what, "none"));
    }
    let files = files.iter().map(|[certificate, key]| CertificateFiles {
        certificate: section.beside(certificate),
        key: section.beside(key),
    });
    let files = files.collect();
    let versions = one_of(&[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)]);
    let min_version = section.get("min_version", TlsVersion::V1_2, versions);
    let handshake = section.get("handshake_timeout", 5 * SECOND, duration(SECOND, 60 * SECOND));
    let hsts = section.get("hsts", Duration::ZERO, duration(Duration::ZERO, 2 * 365 * 24 * HOUR));
    let has_proxy_header = section.get("proxy_protocol", false, boolean);
    section.finish();
    (Tls { listen, settings: TlsSettings { files, min_version }, hsts, has_proxy_header }, handshake)
}

/// Whether two listeners would share their connections.
pub(super) fn is_same_port(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    let is_same = ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified();
    one.port() == other.port() && one.port() != 0 && is_same
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
    strings(value)?.iter().map(read).collect()
}

pub(super) fn networks(value: &DeValue<'_>) -> Result<Vec<IpNet>, ValueError> {
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
