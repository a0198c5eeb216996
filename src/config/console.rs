//! `[console]`: the administrators' page.

use std::net::SocketAddr;
use std::path::PathBuf;

use hyper::header::HeaderName;
use ipnet::IpNet;
use toml::de::DeValue;
use url::Url;

use super::edge::{is_same_port, networks};
use super::reader::Section;
use super::values::{ValueError, expected, integer, shown, size, string, strings};
use crate::accounts::Role;

/// The administrators' page.
#[derive(Debug, Clone)]
pub struct Console {
    /// Its address; `None`: there is none.
    pub listen: Option<SocketAddr>,
    /// Its address as browsers see it, `https://bien.langson.gov.vn`; empty: loopback by its port.
    pub origin: String,
    /// The file of accounts, change sets and history.
    pub path: PathBuf,
    /// Approvals that a change set needs: 0 or 1.
    pub approvals: u8,
    /// Roles that must have a second factor.
    pub second_factor: Vec<Role>,
    /// Networks of the proxies before it.
    pub proxies: Vec<IpNet>,
    /// The header in which these say who asks.
    pub user_header: Option<HeaderName>,
    /// The largest file that is uploaded, in bytes.
    pub max_upload: u64,
}

impl Console {
    /// `others` are the addresses of the other ports.
    pub(super) fn read(mut section: Section<'_, '_>, others: impl Iterator<Item = SocketAddr>) -> Self {
        let listen = section.get("listen", None, address);
        let origin = section.get("origin", String::new(), origin);
        let path = section.path("path", "../data/console.db");
        let approvals = section.get("approvals", 1, integer(0, 1));
        let second_factor = section.get("second_factor", Vec::new(), roles);
        let proxies = section.get("proxies", Vec::new(), networks);
        let user_header = section.get("user_header", None, header);
        let max_upload = section.get("max_upload", 16 << 20, size(64 << 10, 256 << 20));
        if let Some(listen) = listen {
            let found = format!("\"{listen}\"");
            if others.into_iter().any(|other| is_same_port(other, listen)) {
                section.problem("listen", &expected("a port that visitors and operators do not have", found));
            } else if !listen.ip().to_canonical().is_loopback() && !origin.starts_with("https://") {
                let what = "an address on loopback, or an origin that begins https:// (passwords and cookies must not \
                            cross a network in the clear)";
                section.problem("listen", &expected(what, found));
            }
        }
        if user_header.is_some() && proxies.is_empty() {
            section.problem("user_header", &expected("the networks of its proxies in console.proxies", "none"));
        }
        section.finish();
        Self { listen, origin, path, approvals, second_factor, proxies, user_header, max_upload }
    }
}

/// What is allowed and is likely to be a slip.
pub fn warnings(settings: &Console) -> Option<String> {
    let listen = settings.listen.filter(|listen| listen.ip().to_canonical().is_loopback())?;
    (settings.origin.starts_with("https://") && settings.proxies.is_empty()).then(|| {
        format!(
            "console.proxies: expected the address of the proxy that must be in front, such as [\"{}\"], since \
             console.origin is https:// and console.listen on loopback, found an empty list; all who sign in count as one \
             network, and who guesses passwords keeps others waiting",
            listen.ip()
        )
    })
}

fn address(value: &DeValue<'_>) -> Result<Option<SocketAddr>, ValueError> {
    let wrong = || expected("an address and a port such as \"127.0.0.1:9080\", or \"\" for none", shown(value));
    let text = string(value)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| wrong()) }
}

/// What browsers call an origin (RFC 6454): a scheme, a host, perhaps a port, and nothing else.
fn origin(value: &DeValue<'_>) -> Result<String, ValueError> {
    let text = string(value)?;
    let wrong = || {
        let what = "an origin such as \"https://bien.langson.gov.vn\", without a path (http:// on loopback only)";
        expected(what, shown(value))
    };
    if text.is_empty() {
        return Ok(text);
    }
    let url = Url::parse(&text).map_err(|_| wrong())?;
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let is_allowed = url.scheme() == "https" || url.scheme() == "http" && is_loopback;
    // In the one spelling that browsers send, so that it can be compared.
    let is_origin = url.origin().ascii_serialization() == text;
    if is_allowed && is_origin { Ok(text) } else { Err(wrong()) }
}

fn roles(value: &DeValue<'_>) -> Result<Vec<Role>, ValueError> {
    let role = |text: String| {
        let role = Role::ALL.into_iter().find(|role| role.as_str() == text);
        let words = Role::ALL.map(|role| format!("\"{}\"", role.as_str()));
        role.ok_or_else(|| expected(format!("one of {}", words.join(", ")), format!("{text:?}")))
    };
    strings(value)?.into_iter().map(role).collect()
}

fn header(value: &DeValue<'_>) -> Result<Option<HeaderName>, ValueError> {
    let wrong = || expected("the name of a header such as \"x-forwarded-user\", or \"\" for none", shown(value));
    let text = string(value)?;
    if text.is_empty() { Ok(None) } else { HeaderName::from_bytes(text.as_bytes()).map(Some).map_err(|_| wrong()) }
}
