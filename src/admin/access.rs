//! Who may ask the admin port.
//!
//! Owns two rules. A browser on the operator's machine must not carry another site's request to
//! it: a name that leads here is foreign unless it is configured (DNS rebinding), and so is a
//! request that a page of another origin makes. And where a token is configured, every route but
//! the two of health wants it.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode};
use subtle::ConstantTimeEq as _;

use crate::core::Secret;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Characters of a foreign host that a response repeats.
const SHOWN: usize = 100;

/// What a request must bring.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Names of this port besides `localhost`, in lower case, without a port.
    pub hosts: Vec<String>,
    /// The token; without one, everybody who reaches the port may ask.
    pub token: Option<Secret>,
}

/// Why a request is refused. The text is what its sender is told, and begins with the status.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// By a name that is not this port's, so that it may be another's request.
    #[error("403 expected an address, localhost or a name in admin.allowed_hosts as the host, found {0}")]
    Host(String),
    /// By a page elsewhere, as the browser says.
    #[error("403 expected same-origin or none as Sec-Fetch-Site, found {0}: the request comes from a page elsewhere")]
    Site(String),
    /// By a page elsewhere, as an older browser says.
    #[error("403 expected an address, localhost or a name in admin.allowed_hosts as the origin, found {0}")]
    Origin(String),
    /// Without the token.
    #[error("401 expected Authorization: Bearer with the token of admin.token_file, found {0}")]
    Token(&'static str),
}

impl Refusal {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Token(_) => StatusCode::UNAUTHORIZED,
            _ => StatusCode::FORBIDDEN,
        }
    }
}

impl Access {
    /// Whether a request may be answered.
    pub(super) fn check<T>(&self, request: &Request<T>) -> Result<(), Refusal> {
        self.check_origin(request.uri().authority().map(Authority::as_str), request.headers())?;
        let is_health = matches!(request.uri().path(), "/livez" | "/readyz");
        let wrong = self.token.as_ref().filter(|_| !is_health).and_then(|token| found_wrong(token, request.headers()));
        wrong.map_or(Ok(()), |found| Err(Refusal::Token(found)))
    }

    fn check_origin(&self, target: Option<&str>, headers: &HeaderMap) -> Result<(), Refusal> {
        let texts = |name: &HeaderName| {
            let values = headers.get_all(name).iter();
            values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect::<Vec<_>>()
        };
        let mut hosts = texts(&HOST);
        hosts.extend(target.map(str::to_owned));
        if let Some(host) = hosts.iter().find(|host| !host.is_empty() && !self.is_ours(host)) {
            return Err(Refusal::Host(shown(host)));
        }
        let sites = texts(&SEC_FETCH_SITE);
        if let Some(site) = sites.iter().find(|site| !matches!(site.as_str(), "same-origin" | "none")) {
            return Err(Refusal::Site(shown(site)));
        }
        let origins = if sites.is_empty() { texts(&ORIGIN) } else { Vec::new() };
        match origins.iter().find(|origin| !self.is_our_origin(origin)) {
            Some(origin) => Err(Refusal::Origin(shown(origin))),
            None => Ok(()),
        }
    }

    /// Whether a host, with or without a port, can only mean this port. An address can: what a
    /// browser asks by address leads there, whoever owns a name.
    fn is_ours(&self, authority: &str) -> bool {
        let (host, rest) = match authority.strip_prefix('[') {
            Some(inside) => {
                let Some((address, rest)) = inside.split_once(']') else { return false };
                if address.parse::<Ipv6Addr>().is_err() {
                    return false;
                }
                ("localhost", rest)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
        if !(rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)) {
            return false;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        host.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|own| host.eq_ignore_ascii_case(own))
    }

    fn is_our_origin(&self, origin: &str) -> bool {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.is_some_and(|host| self.is_ours(host))
    }
}

/// What a request has in the place of the token; `None` where it has the token.
fn found_wrong(token: &Secret, headers: &HeaderMap) -> Option<&'static str> {
    let mut found = headers.get_all(AUTHORIZATION).iter();
    let value = match (found.next(), found.next()) {
        (Some(value), None) => value.as_bytes(),
        (None, _) => return Some("no such header"),
        (Some(_), Some(_)) => return Some("several"),
    };
    let Some(at) = value.iter().position(|&byte| byte == b' ') else { return Some("a single word") };
    let (scheme, rest) = value.split_at(at);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Some("another scheme");
    }
    // Takes as long for a token that is nearly right as for one that is not.
    let is_right: bool = rest.trim_ascii().ct_eq(token.0.as_bytes()).into();
    (!is_right).then_some("another token")
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access { hosts: vec!["waypost".to_owned()], token: None }
    }

    #[test]
    fn an_address_and_our_names_are_ours() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9090",
            "10.1.2.3:80",
            "[::1]",
            "[::1]:9090",
            "[::ffff:10.0.0.1]:9090",
            "localhost",
            "LOCALHOST:9090",
            "localhost.",
            "localhost.:9090",
            "waypost:9090",
            "WayPost.",
        ] {
            assert!(access().is_ours(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1.evil.example",
            "127.0.0.1:9090:80",
            "127.0.0.1:port",
            "127.0.0.1@evil.example",
            "localhost@evil.example",
            "waypost..",
            "[::1",
            "[::1]evil",
            "[evil]",
            "[::1%25eth0]:80",
            "::1",
            ".",
            ":80",
            "localhost ",
        ] {
            assert!(!access().is_ours(host), "{host}");
        }
    }

    fn status(build: impl FnOnce(hyper::http::request::Builder) -> hyper::http::request::Builder) -> Option<u16> {
        let request = build(Request::builder().uri("/metrics")).body(()).expect("a request");
        access().check(&request).err().map(|refusal| refusal.status().as_u16())
    }

    #[test]
    fn a_page_elsewhere_may_not_ask() {
        let cases = [
            (&[][..], None),
            (&[("host", "")][..], None),
            (&[("host", "127.0.0.1"), ("host", "evil.example")][..], Some(403)),
            (&[("sec-fetch-site", "cross-site")][..], Some(403)),
            (&[("sec-fetch-site", "same-site")][..], Some(403)),
            (&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:9090")][..], None),
            (&[("sec-fetch-site", "none")][..], None),
            (&[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")][..], Some(403)),
            (&[("origin", "null")][..], Some(403)),
            (&[("origin", "https://evil.example")][..], Some(403)),
            (&[("origin", "https://waypost")][..], None),
            (&[("origin", "http://localhost:9090")][..], None),
            (&[("origin", "file://")][..], Some(403)),
        ];
        for (headers, expected) in cases {
            let found =
                status(|request| headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)));
            assert_eq!(found, expected, "{headers:?}");
        }
        assert_eq!(status(|request| request.uri("http://evil.example/metrics")), Some(403), "in the target");
        assert_eq!(status(|request| request.uri("http://127.0.0.1/metrics")), None);
    }

    #[test]
    fn the_token_is_wanted_but_for_health() {
        let access = Access { hosts: Vec::new(), token: Some(Secret("0123456789abcdef".to_owned())) };
        let status = |path: &str, said: &[&str]| {
            let request = Request::builder().uri(path);
            let request = said.iter().fold(request, |request, said| request.header("authorization", *said));
            access.check(&request.body(()).expect("a request")).err().map(|refusal| refusal.status().as_u16())
        };
        for right in ["Bearer 0123456789abcdef", "bearer  0123456789abcdef "] {
            assert_eq!(status("/metrics", &[right]), None, "{right}");
        }
        for wrong in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &["Bearer 0123456789abcdeF"],
            &["Bearer 0123456789abcdef0"],
            &["Bearer 0123456789abcde"],
            &["Basic 0123456789abcdef"],
            &["0123456789abcdef"],
            &["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"],
        ] {
            assert_eq!(status("/metrics", wrong), Some(401), "{wrong:?}");
            assert_eq!((status("/livez", wrong), status("/readyz", wrong)), (None, None));
        }
        assert_eq!(status("/nowhere", &[]), Some(401), "what is not there is not told");
    }
}
