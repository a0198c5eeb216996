//! Who is believed about a client's address.
//!
//! Owns the reading of `Forwarded` and `X-Forwarded-For`: only what a trusted proxy has written is believed.

use std::net::{IpAddr, SocketAddr};

use arrayvec::{ArrayString, ArrayVec};
use hyper::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

/// Hops of a forwarded header that are walked.
const MAX_HOPS: usize = 16;
/// Longest address with brackets and port, in bytes, with room to spare.
const MAX_NODE: usize = 64;

/// Which proxies are believed about a client's address.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Networks of the operator's own proxies.
    pub proxies: Vec<IpNet>,
    /// The header that they set: `Forwarded`, or one like `X-Forwarded-For`.
    pub header: HeaderName,
}

impl Trust {
    /// The client's address: the peer's, or where that is a trusted proxy's, the
    /// first hop from the right that is not. At most 16 hops are walked.
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut walk = Walk { trust: self, address: peer.ip().to_canonical(), hops: 0 };
        for line in headers.get_all(&self.header).iter().rev() {
            let line = line.to_str().unwrap_or("");
            let on = if self.header == FORWARDED {
                // Nothing is read for a peer that is not believed.
                self.trusts(walk.address)
                    && forwarded(line).into_iter().rev().all(|hop| walk.to(hop.and_then(quoted_node)))
            } else {
                line.rsplit(',').all(|hop| walk.to(node(hop)))
            };
            if !on {
                break;
            }
        }
        walk.address
    }

    /// Whether an address, in its canonical form, is a trusted proxy's.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|net| net.contains(&address))
    }
}

/// From hop to hop, away from us.
struct Walk<'a> {
    trust: &'a Trust,
    /// The last that is known.
    address: IpAddr,
    hops: usize,
}

impl Walk<'_> {
    /// Goes on to a hop, if there is one to go on from; whether it did.
    fn to(&mut self, hop: Option<IpAddr>) -> bool {
        self.hops += 1;
        if self.hops > MAX_HOPS || !self.trust.trusts(self.address) {
            return false;
        }
        // What can't be read may be anybody's: the last hop we know stands.
        let Some(hop) = hop else { return false };
        self.address = hop;
        true
    }
}

/// White space around the parts of a list (RFC 9110 section 5.6.3).
const OWS: [char; 2] = [' ', '\t'];

/// The `for` of the last elements of a line of `Forwarded` (RFC 7239 section 4), of each as it is
/// written, and `None` of an element that has none or is malformed. A quoted string is one
/// value, whatever is in it; so a line can only be read from its beginning. Where quotes are
/// where none may be, nothing says any more what is within a string and what is not: the
/// rest of the line is one malformed element, which is the first that a walk meets.
fn forwarded(line: &str) -> ArrayVec<Option<&str>, MAX_HOPS> {
    let mut hops = ArrayVec::new();
    let mut rest = Some(line);
    while let Some(line) = rest {
        let (hop, next) = element(line).unwrap_or((None, None));
        if hops.is_full() {
            hops.remove(0);
        }
        hops.push(hop);
        rest = next;
    }
    hops
}

/// The `for` of the first element, and what follows its comma. `None` where quotes are misplaced.
#[allow(clippy::type_complexity, reason = "two parts of a text")]
fn element(line: &str) -> Option<(Option<&str>, Option<&str>)> {
    let (mut node, mut sound, mut rest) = (None, true, line);
    loop {
        let end = rest.find(['=', ';', ',', '"']).unwrap_or(rest.len());
        let (name, after) = (rest[..end].trim_matches(OWS), &rest[end..]);
        rest = after;
        if let Some(after) = after.strip_prefix('=') {
            let (value, after) = value(after)?;
            if name.eq_ignore_ascii_case("for") {
                // Twice is once too often (section 4).
                sound &= node.replace(value).is_none();
            }
            sound &= !name.is_empty();
            rest = after;
        } else {
            sound &= name.is_empty();
        }
        match rest.as_bytes().first() {
            None => return Some((node.filter(|_| sound), None)),
            Some(b',') => return Some((node.filter(|_| sound), Some(&rest[1..]))),
            Some(b';') => rest = &rest[1..],
            Some(_) => return None,
        }
    }
}

/// A value with its quotes, if it has any, and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(OWS);
    let end = if text.starts_with('"') {
        let mut escaped = false;
        let closes = |&byte: &u8| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        };
        // After the quote that opens it, to behind the one that closes it.
        text.as_bytes()[1..].iter().position(closes)? + 2
    } else {
        text.find([';', ',', '"']).unwrap_or(text.len())
    };
    Some((text[..end].trim_end_matches(OWS), text[end..].trim_start_matches(OWS)))
}

/// An address as a value of `Forwarded`: quoted, or as it is.
fn quoted_node(value: &str) -> Option<IpAddr> {
    let Some(quoted) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else { return node(value) };
    let mut text = ArrayString::<MAX_NODE>::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        text.try_push(if character == '\\' { characters.next()? } else { character }).ok()?;
    }
    node(&text)
}

/// An address, with or without brackets and port (RFC 7239 section 6). `unknown` and
/// obfuscated names are none.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        address.parse().ok().filter(|_| port.is_empty() || port.starts_with(':'))?
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
            (ten, "10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            (ten, "10.0.0.1", &["[2001:db8::1]6"], "10.0.0.1"),
            (ten, "10.0.0.1", &["[2001:db8::1"], "10.0.0.1"),
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
            ("host=\"a;for=6.6.6.6\";for=198.51.100.1", "198.51.100.1"),
            ("for=198.51.100.1;host=\"a, for=6.6.6.6\"", "198.51.100.1"),
            ("for=198.51.100.1;host=\"a\\\", for=6.6.6.6;x=\\\"\"", "198.51.100.1"),
            ("for=\"198.51.100\\.1\"", "198.51.100.1"),
            ("for=198.51.100.1;", "198.51.100.1"),
            ("for=6.6.6.6, for=\"198.51.100.1\" , for=10.0.0.5", "198.51.100.1"),
            // Malformed: the last hop that is known stands.
            ("for=198.51.100.1;for=6.6.6.6", "10.0.0.1"),
            ("for=198.51.100.1;secure", "10.0.0.1"),
            ("=x;for=198.51.100.1", "10.0.0.1"),
            ("for=6.6.6.6, rubbish, for=10.0.0.5", "10.0.0.5"),
            ("for=\"198.51.100.1", "10.0.0.1"),
            ("for=\"198.51.100.1\"x", "10.0.0.1"),
            ("for=198.51.100.1\"", "10.0.0.1"),
            ("host=\", for=198.51.100.1;host=\"a, for=6.6.6.6;x=\"", "10.0.0.1"),
            ("fo\"r=6.6.6.6, for=198.51.100.1", "10.0.0.1"),
        ] {
            assert_eq!(client("forwarded", ten, "10.0.0.1", &[line]), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_hop_is_read_without_a_panic(text in ".{0,200}") {
            let _ = forwarded(&text).into_iter().flatten().map(quoted_node).count();
        }

        /// Elements that are written by the grammar, whatever is in their strings, and read again.
        #[test]
        fn what_is_written_by_the_grammar_is_read_by_it(
            hops in proptest::collection::vec((1u8..=254, "[ -~]{0,12}", "[ -~]{0,12}", 0usize..4), 1..12),
        ) {
            let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let line: Vec<String> = hops
                .iter()
                .map(|(last, host, by, form)| {
                    let address = match form {
                        0 => format!("10.0.0.{last}"),
                        1 => format!("\"10.0.0.{last}:80\""),
                        2 => format!("\"1\\0.0.0.{last}\""),
                        _ => format!("\"[::ffff:10.0.0.{last}]\""),
                    };
                    format!("host={};For={address};by={}", quoted(host), quoted(by))
                })
                .collect();
            let read: Vec<_> = forwarded(&line.join(", ")).into_iter().map(|hop| hop.and_then(quoted_node)).collect();
            let meant: Vec<_> = hops.iter().map(|(last, ..)| Some(IpAddr::from([10, 0, 0, *last]))).collect();
            prop_assert_eq!(read, meant);
        }

        /// A visitor's line, to which our proxy has added its element, gives the proxy's word or nothing.
        #[test]
        fn nothing_that_a_visitor_writes_takes_the_place_of_the_proxys_word(
            theirs in "(for=6\\.6\\.6\\.6|[\",;=\\\\ a]){0,12}",
            host in "(for=6\\.6\\.6\\.6|[\",;=\\\\ a]){0,12}",
        ) {
            let host = host.replace('\\', "\\\\").replace('"', "\\\"");
            let line = format!("{theirs}, for=198.51.100.1;host=\"{host}\"");
            let read = forwarded(&line).into_iter().next_back().flatten().and_then(quoted_node);
            prop_assert!(read.is_none() || read == Some(IpAddr::from([198, 51, 100, 1])), "{line} gives {read:?}");
        }
    }
}
