//! What a request asks for, read without keeping a byte of it.
//!
//! Owns the reading of path, query and forwarded headers. Everything here borrows:
//! a header value that is kept pins hyper's read buffer of 8 KiB.

use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use hyper::header::{AsHeaderName, FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::observe::Channel;
use crate::registry::Code;

/// Longest path that can be a code, with its hyphens and escapes.
const MAX_CODE_PATH: usize = 128;
/// Hops of a forwarded header that are walked.
const MAX_HOPS: usize = 16;

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// `/CODE`
    Code(Code),
    /// `/CODE+`
    Inspect(Code),
    /// `/`
    Home,
    /// `/go`
    Typed,
    /// `/robots.txt`
    Robots,
    /// `/favicon.ico`
    Favicon,
    /// Anything else: an alias, or nobody's.
    Other,
}

impl Route {
    pub fn of(path: &str) -> Self {
        match path {
            "/" => return Self::Home,
            "/go" => return Self::Typed,
            "/robots.txt" => return Self::Robots,
            "/favicon.ico" => return Self::Favicon,
            _ => {}
        }
        let Some(text) = path.strip_prefix('/').filter(|text| text.len() <= MAX_CODE_PATH) else {
            return Self::Other;
        };
        let mut decoded = ArrayVec::<u8, MAX_CODE_PATH>::new();
        let mut text = text.as_bytes();
        if text.contains(&b'%') {
            decoded.extend(percent_encoding::percent_decode(text));
            text = &decoded;
        }
        let (text, inspect) = match text.strip_suffix(b"+") {
            Some(text) => (text, true),
            None => (text, false),
        };
        match Code::parse(text) {
            Ok(code) if inspect => Self::Inspect(code),
            Ok(code) => Self::Code(code),
            Err(_) => Self::Other,
        }
    }
}

/// The two parameters that are read: how the visitor came, and a language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Query<'a> {
    pub channel: Channel,
    pub lang: Option<&'a str>,
}

impl<'a> Query<'a> {
    pub fn read(query: Option<&'a str>) -> Self {
        let mut read = Self { channel: Channel::Qr, lang: None };
        let Some(query) = query else { return read };
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("c", "nfc")) => read.channel = Channel::Nfc,
                Some(("c", "typed")) => read.channel = Channel::Typed,
                Some(("lang", lang)) if !lang.is_empty() => read.lang = Some(lang),
                _ => {}
            }
        }
        read
    }
}

/// The code that was put into the box: `/go?code=7k3m-9qx2`.
pub(super) fn typed_code(query: Option<&str>) -> Option<Code> {
    let text = query?.split('&').find_map(|pair| pair.strip_prefix("code="))?;
    let mut decoded = ArrayVec::<u8, MAX_CODE_PATH>::new();
    for byte in percent_encoding::percent_decode_str(text) {
        // A form writes a space as a plus (WHATWG URL, application/x-www-form-urlencoded).
        decoded.try_push(if byte == b'+' { b' ' } else { byte }).ok()?;
    }
    Code::parse(&decoded).ok()
}

/// A header's value, if it is text.
pub(super) fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Whose forwarded header is believed.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Addresses of one's own proxies.
    pub proxies: Vec<IpNet>,
    /// The one header that they set.
    pub header: HeaderName,
}

impl Trust {
    /// The visitor's address: the peer's, or where that is a trusted proxy's, the
    /// first hop from the right that is not.
    pub(super) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = peer.ip().to_canonical();
        let mut hops = 0;
        for line in headers.get_all(&self.header).iter().rev() {
            for hop in line.to_str().unwrap_or("").rsplit(',') {
                hops += 1;
                if hops > MAX_HOPS || !self.trusts(address) {
                    return address;
                }
                let hop = if self.header == FORWARDED { forwarded_for(hop) } else { Some(hop) };
                // What can't be read may be anybody's: the last hop we know stands.
                let Some(hop) = hop.and_then(node) else { return address };
                address = hop;
            }
        }
        address
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|net| net.contains(&address))
    }
}

/// The `for` of one element of `Forwarded` (RFC 7239 section 4).
fn forwarded_for(element: &str) -> Option<&str> {
    let pair = |pair: &'_ str| pair.split_once('=').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    let found = element.split(';').find(|p| pair(p))?;
    Some(found.split_once('=')?.1.trim().trim_matches('"'))
}

/// An address, with or without brackets and port (RFC 7239 section 6). `unknown` and
/// obfuscated names are none.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = if let Some(rest) = text.strip_prefix('[') {
        rest.split(']').next()?.parse().ok()?
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        text.parse::<SocketAddr>().ok()?.ip()
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> Code {
        text.parse().expect("a code")
    }

    #[test]
    fn paths_go_where_they_should() {
        for (path, route) in [
            ("/", Route::Home),
            ("/go", Route::Typed),
            ("/7k3m-9qx5", Route::Code(code("7K3M9QX5"))),
            ("/7k3m%2D9qx5", Route::Code(code("7K3M9QX5"))),
            ("/7K3M%209QX5", Route::Code(code("7K3M9QX5"))),
            ("/7K3M9QX5+", Route::Inspect(code("7K3M9QX5"))),
            ("/7K3M9QX5%2b", Route::Inspect(code("7K3M9QX5"))),
            ("/GO", Route::Code(code("G0"))),
            ("/wp-login.php", Route::Other),
            ("/a/b", Route::Other),
            ("/+", Route::Other),
            ("//", Route::Other),
            ("/%ff", Route::Other),
            ("/%", Route::Other),
            ("*", Route::Other),
            ("", Route::Other),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn the_box_takes_a_code_as_people_type_it() {
        assert_eq!(typed_code(Some("code=7k3m+9qx5")), Some(code("7K3M9QX5")));
        assert_eq!(typed_code(Some("x=1&code=%37K3M-9QX5")), Some(code("7K3M9QX5")));
        assert_eq!(typed_code(Some("code=")), None);
        assert_eq!(typed_code(Some("code=<script>")), None);
        assert_eq!(typed_code(None), None);
    }

    fn client(header: &'static str, trusted: &[&str], peer: &str, lines: &[&str]) -> String {
        let trust = Trust {
            proxies: trusted.iter().map(|net| net.parse().expect("a net")).collect(),
            header: HeaderName::from_static(header),
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&trust.header, HeaderValue::from_str(line).expect("a value"));
        }
        trust.client(SocketAddr::new(peer.parse().expect("an address"), 1), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_to_the_first_untrusted_hop() {
        let xff = "x-forwarded-for";
        let ten = &["10.0.0.0/8"][..];
        for (trusted, peer, lines, expected) in [
            (&[][..], "203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            (ten, "203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            (ten, "10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            (ten, "10.0.0.1", &["6.6.6.6, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            (ten, "10.0.0.1", &["6.6.6.6", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
            (ten, "10.0.0.1", &["198.51.100.1, rubbish, 10.0.0.2"], "10.0.0.2"),
            (ten, "10.0.0.1", &[], "10.0.0.1"),
            (ten, "10.0.0.1", &["10.0.0.3"], "10.0.0.3"),
            (ten, "::ffff:10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            (ten, "10.0.0.1", &["198.51.100.1:5000"], "198.51.100.1"),
            (ten, "10.0.0.1", &["6.6.6.6", "\u{e9}"], "10.0.0.1"),
            (ten, "10.0.0.1", &["6.6.6.6", ""], "10.0.0.1"),
        ] {
            assert_eq!(client(xff, trusted, peer, lines), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_by_its_own_rules() {
        let ten = &["10.0.0.0/8"][..];
        for (line, expected) in [
            ("for=198.51.100.1;proto=https", "198.51.100.1"),
            ("for=6.6.6.6, For=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("proto=https;for=198.51.100.1, for=10.0.0.5", "198.51.100.1"),
            ("for=198.51.100.1, for=_hidden", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
        ] {
            assert_eq!(client("forwarded", ten, "10.0.0.1", &[line]), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_path_query_and_hop_is_read_without_a_panic(text in ".{0,200}") {
            let _ = Route::of(&text);
            let _ = Query::read(Some(&text));
            let _ = typed_code(Some(&text));
            let _ = forwarded_for(&text).and_then(node);
        }
    }
}
