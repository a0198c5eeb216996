//! The PROXY protocol, versions 1 and 2: who connected to the proxy in front, in the first bytes of a connection.
//!
//! Owns the reading of that header (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>; the
//! section numbers below are its own). Pure: whoever reads from the socket asks again with more bytes,
//! and has checked before that the other side may send one. The header is demanded, never guessed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How every header of version 2 begins (2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before the addresses.
const FIXED: usize = 16;
/// How every header of version 1 begins (2.1).
const WORD: &[u8; 6] = b"PROXY ";
/// Longest header of version 1, with its CRLF (2.1).
const MAX_LINE: usize = 107;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header. At most 16 + 65,535 bytes are one.
    Incomplete,
    /// A whole header.
    Header {
        /// Its bytes, which are to be taken off.
        len: usize,
        /// Who connected to the proxy, canonical (an IPv4 address is never one within IPv6). `None` where it
        /// speaks for itself, or does not know: the connection's own address holds.
        source: Option<SocketAddr>,
    },
}

/// Why the first bytes of a connection are no header. The connection can only be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// Neither version begins so.
    #[error("expected a PROXY protocol header, found other bytes")]
    NoHeader,
    /// A line of version 1 without an end.
    #[error("expected at most {MAX_LINE} bytes of a PROXY protocol line, found no end in them")]
    TooLong,
    /// A line of version 1 that is not as 2.1 says.
    #[error("expected \"PROXY TCP4\", TCP6 or UNKNOWN with two addresses and two ports, found another line")]
    Line,
    /// Another version behind the signature of version 2.
    #[error("expected version 2 of the PROXY protocol, found version {0}")]
    Version(u8),
    /// A command that 2.2 does not have.
    #[error("expected the command LOCAL (0) or PROXY (1), found {0}")]
    Command(u8),
    /// A family and transport that 2.2 does not have.
    #[error("expected a family and transport of the PROXY protocol, found 0x{0:02x}")]
    Family(u8),
    /// Fewer bytes than the addresses of its family need.
    #[error("expected at least {expected} bytes of addresses, found {found}")]
    Short {
        /// What the family needs.
        expected: usize,
        /// What the header says.
        found: usize,
    },
}

/// Reads a header at the beginning of what has come so far. Wrong bytes are refused as soon as they are
/// there: the first of all if neither version begins with it.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    if begins(bytes, WORD) {
        line(bytes)
    } else if begins(bytes, SIGNATURE) {
        binary(bytes)
    } else {
        Err(ProxyHeaderError::NoHeader)
    }
}

/// Whether what is there of a beginning is right.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(found, expected)| found == expected)
}

/// Version 1: a line of text.
fn line(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let room = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = room.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() < MAX_LINE { Ok(Parsed::Incomplete) } else { Err(ProxyHeaderError::TooLong) };
    };
    let mut words = bytes[WORD.len()..end].split(|&byte| byte == b' ');
    let source = match words.next() {
        // What follows is to be ignored, whatever it is.
        Some(b"UNKNOWN") => None,
        family => Some(source_of(family.unwrap_or_default(), words).ok_or(ProxyHeaderError::Line)?),
    };
    Ok(Parsed::Header { len: end + 2, source })
}

/// The source in the words behind a family: two addresses and two ports.
fn source_of<'w>(family: &[u8], mut words: impl Iterator<Item = &'w [u8]>) -> Option<SocketAddr> {
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let (source, destination, source_port, destination_port) = (word()?, word()?, word()?, word()?);
    let address = |text: &str| match family {
        // Neither of std takes leading zeros of an octet, or spaces.
        b"TCP4" => text.parse().map(IpAddr::V4).ok(),
        // Also with an IPv4 address at its end: proxies that listen on `::` send `::ffff:192.0.2.1`.
        b"TCP6" => text.parse().map(IpAddr::V6).ok(),
        _ => None,
    };
    let (source, source_port) = (address(source)?, port(source_port)?);
    address(destination).zip(port(destination_port))?;
    words.next().is_none().then(|| canonical(source, source_port))
}

/// A decimal number without leading zeros or a sign.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Version 2: 16 bytes, the addresses, then any extensions (TLVs), which are skipped.
fn binary(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let Some(&command) = bytes.get(12) else { return Ok(Parsed::Incomplete) };
    let is_local = match (command >> 4, command & 0xf) {
        (2, 0) => true,
        (2, 1) => false,
        (2, other) => return Err(ProxyHeaderError::Command(other)),
        (version, _) => return Err(ProxyHeaderError::Version(version)),
    };
    let Some(&family) = bytes.get(13) else { return Ok(Parsed::Incomplete) };
    // LOCAL is the proxy's own connection, such as a health check, and says nothing about addresses whatever
    // stands in their place (2.2): believed, it would let anybody choose one.
    let expected = if is_local { 0 } else { addresses_len(family).ok_or(ProxyHeaderError::Family(family))? };
    let Some(&[high, low]) = bytes.get(14..FIXED) else { return Ok(Parsed::Incomplete) };
    let found = usize::from(u16::from_be_bytes([high, low]));
    if found < expected {
        return Err(ProxyHeaderError::Short { expected, found });
    }
    let Some(block) = bytes.get(FIXED..FIXED + found) else { return Ok(Parsed::Incomplete) };
    let source = if is_local { None } else { source_in(family, block) };
    Ok(Parsed::Header { len: FIXED + found, source })
}

/// Bytes of both addresses and ports; `None` of a family and transport that must be refused. A receiver need not
/// support each of these, "provided that it automatically falls back to the UNSPEC mode for the valid
/// combinations above that it does not support" (2.2): so those of UDP and Unix sockets are taken, and ignored.
fn addresses_len(family: u8) -> Option<usize> {
    match family {
        0x00 => Some(0),
        0x11 | 0x12 => Some(12),
        0x21 | 0x22 => Some(36),
        0x31 | 0x32 => Some(216),
        _ => None,
    }
}

fn source_in(family: u8, block: &[u8]) -> Option<SocketAddr> {
    let (address, port) = match family {
        0x11 => (IpAddr::from(Ipv4Addr::from(block.first_chunk::<4>().copied()?)), block.get(8..10)?),
        0x21 => (IpAddr::from(Ipv6Addr::from(block.first_chunk::<16>().copied()?)), block.get(32..34)?),
        _ => return None,
    };
    Some(canonical(address, u16::from_be_bytes(port.try_into().ok()?)))
}

fn canonical(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header of version 2.
    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let len = u16::try_from(block.len()).expect("as the field allows").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, block].concat()
    }

    /// The address block of a family, as a proxy writes it.
    fn block(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
        let octets = |address: SocketAddr| match address.ip() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
        [octets(source), octets(destination), ports].concat()
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn v4_block() -> Vec<u8> {
        block(address("192.0.2.1:56324"), address("198.51.100.7:443"))
    }

    fn v6_block() -> Vec<u8> {
        block(address("[2001:db8::1]:56324"), address("[2001:db8::2]:443"))
    }

    /// Every form that is taken, and the source that it names.
    fn taken() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let line = |text: &str| format!("PROXY {text}\r\n").into_bytes();
        let longest = "f".repeat(4) + &":ffff".repeat(7);
        let mapped = block(address("[::ffff:192.0.2.1]:1"), address("[::ffff:192.0.2.2]:2"));
        let with_tlvs = |len: usize| [v4_block(), vec![0xee; len]].concat();
        vec![
            (line("TCP4 192.0.2.1 198.51.100.7 56324 443"), Some("192.0.2.1:56324")),
            (line("TCP4 255.255.255.255 255.255.255.255 65535 65535"), Some("255.255.255.255:65535")),
            (line("TCP4 0.0.0.0 0.0.0.0 0 0"), Some("0.0.0.0:0")),
            (line("TCP6 2001:db8::1 2001:DB8::2 56324 443"), Some("[2001:db8::1]:56324")),
            (
                line(&format!("TCP6 {longest} {longest} 65535 65535")),
                Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
            ),
            (line("TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2"), Some("192.0.2.1:1")),
            (line("UNKNOWN"), None),
            (line(&format!("UNKNOWN {longest} {longest} 65535 65535")), None),
            (line("UNKNOWN \r \n\x00\u{ff} TCP4 192.0.2.1"), None),
            (v2(0x21, 0x11, &v4_block()), Some("192.0.2.1:56324")),
            (v2(0x21, 0x21, &v6_block()), Some("[2001:db8::1]:56324")),
            (v2(0x21, 0x21, &mapped), Some("192.0.2.1:1")),
            (v2(0x21, 0x11, &with_tlvs(3)), Some("192.0.2.1:56324")),
            (v2(0x21, 0x11, &with_tlvs(65_535 - 12)), Some("192.0.2.1:56324")),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x21, 0x00, &v4_block()), None),
            // Valid, and not what a listener of TCP can be told.
            (v2(0x21, 0x12, &v4_block()), None),
            (v2(0x21, 0x22, &v6_block()), None),
            (v2(0x21, 0x31, &[b'a'; 216]), None),
            (v2(0x21, 0x32, &[b'a'; 216]), None),
            // The proxy for itself.
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &v4_block()), None),
            (v2(0x20, 0x21, &v6_block()), None),
            (v2(0x20, 0xff, &[1, 2, 3]), None),
        ]
    }

    #[test]
    fn every_cut_of_every_form_is_incomplete_and_the_whole_is_read() {
        for (header, source) in taken() {
            for cut in 0..header.len() {
                assert_eq!(parse(&header[..cut]), Ok(Parsed::Incomplete), "{cut} bytes of {header:?}");
            }
            let expected = Parsed::Header { len: header.len(), source: source.map(address) };
            assert_eq!(parse(&header), Ok(expected), "{header:?}");
            for behind in [&b"GET /A1 HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01", b"PROXY TCP4", b"\r\n"] {
                assert_eq!(parse(&[&header, behind].concat()), Ok(expected), "{header:?} before {behind:?}");
            }
        }
    }

    #[test]
    fn a_line_that_is_not_as_the_protocol_has_it_is_refused() {
        for text in [
            "",
            " ",
            "TCP4",
            "TCP4 ",
            "TCP5 192.0.2.1 192.0.2.2 1 2",
            "tcp4 192.0.2.1 192.0.2.2 1 2",
            "UNKNOWNS",
            " UNKNOWN",
            "TCP4  192.0.2.1 192.0.2.2 1 2",
            "TCP4 192.0.2.1  192.0.2.2 1 2",
            "TCP4\t192.0.2.1 192.0.2.2 1 2",
            "TCP4 192.0.2.1 192.0.2.2 1 2 ",
            "TCP4 192.0.2.1 192.0.2.2 1 2 3",
            "TCP4 192.0.2.1 192.0.2.2 1",
            "TCP4 192.0.2.01 192.0.2.2 1 2",
            "TCP4 192.0.2.1 192.0.2.256 1 2",
            "TCP4 192.0.2.1 192.0.2 1 2",
            "TCP4 2001:db8::1 2001:db8::2 1 2",
            "TCP6 192.0.2.1 192.0.2.2 1 2",
            "TCP6 2001:db8::1%lo 2001:db8::2 1 2",
            "TCP6 [2001:db8::1] 2001:db8::2 1 2",
            "TCP6 2001:db8:::1 2001:db8::2 1 2",
            "TCP4 192.0.2.1 192.0.2.2 01 2",
            "TCP4 192.0.2.1 192.0.2.2 00 2",
            "TCP4 192.0.2.1 192.0.2.2 1 65536",
            "TCP4 192.0.2.1 192.0.2.2 +1 2",
            "TCP4 192.0.2.1 192.0.2.2 -1 2",
            "TCP4 192.0.2.1 192.0.2.2  2",
            "TCP4 192.0.2.1 192.0.2.2 1 2\r",
            "TCP4 192.0.2.1 192.0.2.2 1 2\n",
        ] {
            assert_eq!(parse(format!("PROXY {text}\r\n").as_bytes()), Err(ProxyHeaderError::Line), "{text:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_at_107_bytes() {
        let line = |len: usize| [&b"PROXY UNKNOWN "[..], &vec![b'x'; len - 14]].concat();
        let ended = |len: usize| [line(len - 2), b"\r\n".to_vec()].concat();
        assert_eq!(parse(&ended(107)), Ok(Parsed::Header { len: 107, source: None }));
        assert_eq!(parse(&ended(108)), Err(ProxyHeaderError::TooLong));
        assert_eq!(parse(&line(106)), Ok(Parsed::Incomplete));
        assert_eq!(parse(&line(107)), Err(ProxyHeaderError::TooLong));
    }

    #[test]
    fn wrong_bytes_are_refused_as_soon_as_they_are_there() {
        for byte in (0..=255).filter(|byte| !b"P\r".contains(byte)) {
            assert_eq!(parse(&[byte]), Err(ProxyHeaderError::NoHeader), "{byte:#04x}");
        }
        for (bytes, error) in [
            (&b"PO"[..], ProxyHeaderError::NoHeader),
            (b"PROXY\t", ProxyHeaderError::NoHeader),
            (b"\r\nG", ProxyHeaderError::NoHeader),
            (b"\r\n\r\n\0\r\nQUIT\r", ProxyHeaderError::NoHeader),
            (b"\r\n\r\n\0\r\nQUIT\n\x11", ProxyHeaderError::Version(1)),
            (b"\r\n\r\n\0\r\nQUIT\n\x31", ProxyHeaderError::Version(3)),
            (b"\r\n\r\n\0\r\nQUIT\n\x22", ProxyHeaderError::Command(2)),
            (b"\r\n\r\n\0\r\nQUIT\n\x2f", ProxyHeaderError::Command(15)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x41", ProxyHeaderError::Family(0x41)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x13", ProxyHeaderError::Family(0x13)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x10", ProxyHeaderError::Family(0x10)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x01", ProxyHeaderError::Family(0x01)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b", ProxyHeaderError::Short { expected: 12, found: 11 }),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x23", ProxyHeaderError::Short { expected: 36, found: 35 }),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd7", ProxyHeaderError::Short { expected: 216, found: 215 }),
        ] {
            assert_eq!(parse(bytes), Err(error), "{bytes:?}");
            assert_eq!(parse(&bytes[..bytes.len() - 1]), Ok(Parsed::Incomplete), "{bytes:?} but the last");
        }
    }

    /// Bytes that get past the beginnings more often than any bytes do.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let beginning = prop_oneof![
            Just(Vec::new()),
            Just(WORD.to_vec()),
            Just(b"PROXY TCP6 ".to_vec()),
            Just([&SIGNATURE[..], b"\x21"].concat()),
        ];
        (beginning, prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(beginning, rest)| [beginning, rest].concat())
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_the_same_however_they_are_cut(bytes in bytes(), cut: prop::sample::Index) {
            let (whole, part) = (parse(&bytes), parse(&bytes[..cut.index(bytes.len() + 1)]));
            prop_assert!(part == Ok(Parsed::Incomplete) || part == whole, "{part:?}, then {whole:?}");
            if let Ok(Parsed::Header { len, .. }) = whole {
                prop_assert!((1..=bytes.len()).contains(&len));
            }
        }

        #[test]
        fn what_a_proxy_writes_is_what_is_read(
            addresses: (IpAddr, IpAddr), ports: (u16, u16), is_text: bool, tlvs in prop::collection::vec(any::<u8>(), 0..300)
        ) {
            let source = SocketAddr::new(addresses.0, ports.0);
            // Both are of one family.
            let other = match (addresses.0, addresses.1) {
                (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => addresses.1,
                (IpAddr::V4(_), _) => Ipv4Addr::LOCALHOST.into(),
                (IpAddr::V6(_), _) => Ipv6Addr::LOCALHOST.into(),
            };
            let header = if is_text {
                let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
                format!("PROXY {family} {} {other} {} {}\r\n", source.ip(), ports.0, ports.1).into_bytes()
            } else {
                let family = if source.is_ipv4() { 0x11 } else { 0x21 };
                v2(0x21, family, &[block(source, SocketAddr::new(other, ports.1)), tlvs].concat())
            };
            let canonical = SocketAddr::new(source.ip().to_canonical(), source.port());
            prop_assert_eq!(parse(&header), Ok(Parsed::Header { len: header.len(), source: Some(canonical) }));
        }
    }
}
