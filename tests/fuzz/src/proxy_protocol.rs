//! The PROXY protocol: a header is the same in whatever pieces it comes, ends within what came, and its source is an
//! address that stands in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use waypost::edge::proxy_protocol::{Parsed, parse};

/// Longest header of version 1 (section 2.1 of the protocol).
const MAX_LINE: usize = 107;
/// The part of version 2 before its addresses (2.2).
const FIXED: usize = 16;
/// How many bytes from the beginning on are cut off one by one; beyond, every hundredth.
const EACH: usize = 300;

/// The first bytes of a connection.
pub fn run(input: &[u8]) {
    let whole = parse(input);
    let cuts = (0..input.len()).filter(|cut| *cut < EACH || cut % 100 == 0);
    for cut in cuts {
        match (parse(&input[..cut]), &whole) {
            (Ok(Parsed::Incomplete), Ok(Parsed::Header { len, .. })) => {
                assert!(cut < *len, "whole after {len}, not after {cut}");
            }
            (Ok(Parsed::Incomplete), _) => {}
            (sooner, whole) => assert_eq!(sooner, *whole, "after {cut} bytes, and after all"),
        }
    }
    if let Ok(Parsed::Header { len, source }) = whole {
        assert!(len <= input.len(), "{len} bytes of {}", input.len());
        let header = &input[..len];
        let written = if header.starts_with(b"PROXY ") { written_in_line(header) } else { written_in_binary(header) };
        assert_eq!(source, written, "{header:?}");
    }
}

/// `PROXY TCP4 source destination port port` and CRLF; `UNKNOWN` says nothing.
fn written_in_line(header: &[u8]) -> Option<SocketAddr> {
    assert!(header.len() <= MAX_LINE, "{} bytes", header.len());
    let line = header.strip_suffix(b"\r\n").expect("an end of the line");
    if line == b"PROXY UNKNOWN" || line.starts_with(b"PROXY UNKNOWN ") {
        return None;
    }
    let line = str::from_utf8(line).expect("addresses are ASCII");
    let words: Vec<&str> = line.split(' ').collect();
    let [_, family, source, destination, port, other_port] = words[..] else { panic!("{line:?}") };
    let both: [IpAddr; 2] = [source, destination].map(|text| text.parse().expect("an address"));
    assert!(both.iter().all(|address| address.is_ipv4() == (family == "TCP4")), "{line:?}");
    let [port, _] = [port, other_port].map(|text| text.parse::<u16>().expect("a port"));
    Some(SocketAddr::new(both[0].to_canonical(), port))
}

/// Signature, command, family and length, then both addresses and both ports; `LOCAL`, and other families than those of
/// TCP over IP, say nothing.
fn written_in_binary(header: &[u8]) -> Option<SocketAddr> {
    assert_eq!(header[..12], *b"\r\n\r\n\0\r\nQUIT\n");
    assert_eq!(header.len(), FIXED + usize::from(header[14]) * 256 + usize::from(header[15]), "the length it says");
    let block = &header[FIXED..];
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    match (header[12], header[13]) {
        (0x21, 0x11) => {
            let address = Ipv4Addr::from(*block.first_chunk::<4>().expect("an address"));
            Some((address, port(8)).into())
        }
        (0x21, 0x21) => {
            let address = Ipv6Addr::from(*block.first_chunk::<16>().expect("an address"));
            Some(SocketAddr::new(IpAddr::V6(address).to_canonical(), port(32)))
        }
        (0x20 | 0x21, _) => None,
        (command, _) => panic!("a command that there is not: {command:#x}"),
    }
}
