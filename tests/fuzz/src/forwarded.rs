//! `X-Forwarded-For` and `Forwarded`: only our own proxies are believed, at most 16 hops of them, and the result is
//! the peer or an address that stands in the header.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use hyper::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use waypost::web::Trust;

const MAX_HOPS: usize = 16;
/// One of our proxies, and addresses of nobody's (RFC 5737).
const PROXY: [u8; 4] = [10, 0, 0, 1];
const STRANGER: [u8; 4] = [203, 0, 113, 9];
const VISITOR: [u8; 4] = [198, 51, 100, 7];

/// Each line is a line of the header.
pub fn run(input: &[u8]) {
    let lines: Vec<_> =
        input.split(|&byte| byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    for header in [HeaderName::from_static("x-forwarded-for"), FORWARDED] {
        check(&Header { trust: Trust { proxies: proxies(), header }, lines: lines.clone() });
    }
}

fn proxies() -> Vec<ipnet::IpNet> {
    ["10.0.0.0/8", "fd00::/8"].iter().map(|net| net.parse().expect("a net")).collect()
}

struct Header {
    trust: Trust,
    lines: Vec<HeaderValue>,
}

fn check(header: &Header) {
    let (proxy, visitor) = (IpAddr::from(PROXY), IpAddr::from(VISITOR));
    assert_eq!(header.client(STRANGER, &[]), IpAddr::from(STRANGER), "a stranger is believed");

    let found = header.client(PROXY, &[]);
    if header.is_standard() {
        let text: String =
            header.lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| [line, ","]).collect();
        assert!(found == proxy || addresses(&text).contains(&found), "{found} does not stand in {text:?}");
    } else {
        assert_eq!(found, walked(&header.lines), "{:?}", header.lines);
    }

    // What our proxy says of its own visitor is not to be talked away, on a line of its own or behind theirs.
    let word = header.word(visitor);
    assert_eq!(header.client(PROXY, &[&word]), visitor, "{word} after {:?}", header.lines);
    if let Some(line) = header.lines.last().and_then(|line| line.to_str().ok()) {
        let mut joined = Header { trust: header.trust.clone(), lines: header.lines.clone() };
        joined.lines.pop();
        let found = joined.client(PROXY, &[&format!("{line}, {word}")]);
        // A quote that is left open says nothing any more of what stands behind it.
        assert!(found == visitor || (header.is_standard() && found == proxy), "{line:?} made it {found}");
    }

    // Behind so many of our own nothing is read.
    let ours = header.word(IpAddr::from([10, 9, 9, 9]));
    assert_eq!(header.client(PROXY, &[ours.as_str(); MAX_HOPS]), IpAddr::from([10, 9, 9, 9]), "more hops were walked");
}

impl Header {
    /// The visitor's address, with more lines behind the header's.
    fn client(&self, peer: [u8; 4], more: &[&str]) -> IpAddr {
        let more = more.iter().map(|line| HeaderValue::from_str(line).expect("visible ASCII"));
        let mut headers = HeaderMap::new();
        for line in self.lines.iter().cloned().chain(more) {
            headers.append(&self.trust.header, line);
        }
        self.trust.client(SocketAddr::from((peer, 1)), &headers)
    }

    fn is_standard(&self) -> bool {
        self.trust.header == FORWARDED
    }

    /// What a proxy adds for an address.
    fn word(&self, address: IpAddr) -> String {
        if self.is_standard() { format!("for={address}") } else { address.to_string() }
    }
}

/// `X-Forwarded-For`, read from the right, one step at a time.
fn walked(lines: &[HeaderValue]) -> IpAddr {
    let lines: Vec<&str> = lines.iter().map(|line| line.to_str().unwrap_or("")).collect();
    let mut at = IpAddr::from(PROXY);
    let hops = lines.iter().flat_map(|line| line.split(','));
    for hop in hops.collect::<Vec<_>>().iter().rev().take(MAX_HOPS) {
        let is_ours = proxies().iter().any(|net| net.contains(&at));
        match address(hop.trim()).filter(|_| is_ours) {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

/// An address alone, or with a port; in brackets with anything behind the colon.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || {
        let (address, port) = text.strip_prefix('[')?.split_once(']')?;
        address.parse().ok().filter(|_| port.is_empty() || port.starts_with(':'))
    };
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// Every address that stands anywhere in a text, escaped or not.
fn addresses(text: &str) -> HashSet<IpAddr> {
    let plain = text.replace('\\', "");
    let words = [text, &plain]
        .map(|text| text.split(['=', ';', ',', '"']).map(str::trim).filter_map(address).collect::<Vec<_>>());
    words.into_iter().flatten().collect()
}
