//! A port that demands a PROXY header takes it from its proxies alone, in every cut, and believes what it says
//! of the visitor: for the country, repeats, misses, and connections per address.
//!
//! Addresses are not recorded, so it is seen in a country that the database gives to one address alone.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::time::Duration;

use mmdb_writer::{Writer, ipnet::IpNet};
use serde_json::json;

use crate::support::http::{Connection, bytes, raw_over};
use crate::support::way::{Stream, VISITOR, Way, v1, v2, v2_of};
use crate::support::{Edge, PHONE, Setup, free_address, wait_for};

/// Each address has a country of its own; the proxies' own is `LO`.
const COUNTRIES: &[(&str, &str)] =
    &[("127.0.0.1", "LO"), ("198.51.100.1", "VN"), ("203.0.113.9", "TH"), ("2001:db8::1", "CN"), ("10.0.0.2", "PA")];
const CHINESE: &str = "[2001:db8::1]:4711";
const HERE: &str = "192.0.2.80:443";
const LAST_SCAN: &str = "GET /A1B2C3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

fn setup() -> Setup {
    let mut writer = Writer::new("Test");
    for (address, country) in COUNTRIES {
        let network = IpNet::from(address.parse::<std::net::IpAddr>().unwrap());
        writer.insert(network, &json!({ "country_code": country })).unwrap();
    }
    let setup = Setup::new().set("observe", "geoip", "[\"test.mmdb\"]").open_to(Way::ProxyV2Tls);
    setup.file("config/test.mmdb", writer.to_bytes().unwrap())
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// The visitor's own header, of version 2.
fn visitor() -> Vec<u8> {
    v2(at(VISITOR), at(HERE), &[])
}

/// What comes back for these bytes, each piece sent as a packet of its own.
fn answer(edge: &Edge, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(edge.door(Way::ProxyV1)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (last, first) = pieces.split_last().unwrap();
    for piece in first {
        stream.write_all(piece).unwrap();
    }
    raw_over(Box::new(stream), last)
}

#[track_caller]
fn assert_served(edge: &Edge, pieces: &[&[u8]]) {
    let answer = answer(edge, pieces);
    assert!(answer.starts_with("HTTP/1.1 302 Found"), "{answer:?} for {:?}", String::from_utf8_lossy(pieces[0]));
}

/// The countries of all scans so far, in their order.
fn countries(edge: &Edge) -> Vec<String> {
    edge.wait_until_stored();
    let database = edge.database();
    let mut query = database.prepare("SELECT country FROM scans ORDER BY batch, seq").unwrap();
    query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn refused(edge: &Edge) -> u64 {
    edge.metrics().total_of("waypost_connections_closed_total{reason=\"proxy_header\"}")
}

#[test]
fn it_is_demanded_and_only_of_those_who_may_send_it() {
    let edge = setup().start();
    let whole = LAST_SCAN.as_bytes();
    let cases: [&[u8]; 9] = [
        whole,
        b"PROXY TCP4 198.51.100.1\r\n",
        b"PROXY TCP4 198.51.100.1 192.0.2.80 4711 99999\r\n",
        b"proxy TCP4 198.51.100.1 192.0.2.80 4711 443\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[b"PROXY TCP4 198.51.100.1 ", &[b'1'; 100][..]].concat(),
        &v2_of(0x11, 0x11, &[0; 12]),
        &v2_of(0x22, 0x11, &[0; 12]),
        &v2_of(0x21, 0x11, &[0; 11]),
    ];
    for (number, bytes) in (1..).zip(cases) {
        assert_eq!(answer(&edge, &[bytes, whole]), "", "{:?}", String::from_utf8_lossy(bytes));
        assert_eq!(refused(&edge), number);
    }
    // A header on a port that demands none is no request.
    let on_plain = raw_over(Way::Plain.open(edge.address()).unwrap(), &[&visitor(), whole].concat());
    assert!(on_plain.is_empty() || on_plain.starts_with("HTTP/1.1 400 "), "{on_plain:?}");
    let elsewhere = Setup::new().proxied().set("edge.proxy_protocol", "from", "[\"10.0.0.0/8\"]").start();
    assert_eq!(answer(&elsewhere, &[&visitor(), whole]), "", "the proxy is nobody's");
    assert_eq!(refused(&elsewhere), 1);
    for edge in [edge, elsewhere] {
        assert_eq!(edge.metrics().get("waypost_scans_recorded_total"), 0.0);
    }
}

#[test]
fn every_cut_of_it_is_read() {
    let edge = setup().start();
    let (v6, tlvs) = (at(CHINESE), [&[4, 0, 100][..], &[7; 100]].concat());
    let mut expected = Vec::new();
    for (header, country) in [
        (v1(at(VISITOR), at(HERE)).into_bytes(), "VN"),
        (v1(v6, at("[2001:db8::80]:443")).into_bytes(), "CN"),
        (visitor(), "VN"),
        (v2(v6, at("[2001:db8::80]:443"), &tlvs), "CN"),
    ] {
        for cut in 1..header.len() {
            assert_served(&edge, &[&header[..cut], &[&header[cut..], LAST_SCAN.as_bytes()].concat()]);
            expected.push(country);
        }
        let bytewise: Vec<&[u8]> = header.chunks(1).chain([LAST_SCAN.as_bytes()]).collect();
        assert_served(&edge, &bytewise);
        assert_served(&edge, &[&[&header, LAST_SCAN.as_bytes()].concat()]);
        expected.extend([country; 2]);
    }
    assert_eq!(countries(&edge), expected);
    assert_eq!(refused(&edge), 0);
    assert!(!edge.log().contains("198.51.100") && !edge.log().contains("2001:db8"), "no address is logged");
}

#[test]
fn a_proxy_that_speaks_for_itself_keeps_its_own_address() {
    let edge = setup().set("edge", "max_connections_per_address", "1").start();
    let block = &visitor()[16..];
    let headers = [
        v2_of(0x20, 0x00, &[]),
        // LOCAL with addresses, which do not count (2.2).
        v2_of(0x20, 0x11, block),
        v2_of(0x21, 0x00, &[1, 2, 3]),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 198.51.100.1 192.0.2.80 4711 443\r\n".to_vec(),
    ];
    for header in &headers {
        assert_served(&edge, &[header, LAST_SCAN.as_bytes()]);
    }
    assert_eq!(countries(&edge), ["LO"; 5]);
    // Nor do they count for an address, the proxy's or that in the block.
    let open = |header: &[u8]| {
        let mut connection = Connection::over(Box::new(TcpStream::connect(edge.door(Way::ProxyV1)).unwrap()));
        connection.send(&[header, &bytes("GET", "/A1B2C3", &[])].concat()).unwrap();
        assert_eq!(connection.receive(false).unwrap().status, 302);
        connection
    };
    let _open: Vec<Connection> = headers.iter().map(|header| open(header)).collect();
    assert_eq!(edge.metrics().get("waypost_connections_open"), 5.0);
}

#[test]
fn what_follows_the_addresses_may_have_any_length() {
    let edge = setup().start();
    for len in [0, 1, 4096, 60_000, 65_535 - 12] {
        assert_served(&edge, &[&v2(at(VISITOR), at(HERE), &vec![9; len]), LAST_SCAN.as_bytes()]);
    }
    assert_eq!(countries(&edge), ["VN"; 5]);
}

#[test]
fn one_that_does_not_end_in_time_is_cut_off() {
    let edge = setup().set("edge.tls", "handshake_timeout", "\"1s\"").start();
    let beginnings: [&[u8]; 3] =
        [b"PROXY TCP4 198.51.100.1 ", &visitor()[..20], &v2(at(VISITOR), at(HERE), &vec![9; 60_000])[..5000]];
    for (number, beginning) in (1..).zip(beginnings) {
        let mut stream = TcpStream::connect(edge.door(Way::ProxyV1)).unwrap();
        stream.write_all(beginning).unwrap();
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "closed");
        wait_for("it is counted", || (refused(&edge) == number).then_some(()));
    }
    // The time is that of header and handshake together.
    let mut stream = TcpStream::connect(edge.door(Way::ProxyV2Tls)).unwrap();
    stream.write_all(&visitor()).unwrap();
    stream.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "closed");
    let handshake = "waypost_connections_closed_total{reason=\"handshake\"}";
    wait_for("it is counted", || (edge.metrics().total_of(handshake) == 1).then_some(()));
}

#[test]
fn it_comes_before_tls_and_holds_for_all_requests() {
    let edge = setup().start();
    for way in [Way::ProxyV1Tls, Way::ProxyV2Tls] {
        let mut kept = edge.connect(way).unwrap();
        for _ in 0..3 {
            assert_eq!(kept.get("/A1B2C3", &[]).unwrap().status, 302);
        }
    }
    assert_eq!(countries(&edge), ["VN"; 6]);
    assert!(Way::Tls.open(edge.door(Way::ProxyV2Tls)).is_err(), "a handshake without it is refused");
    assert_eq!(refused(&edge), 1);
}

#[test]
fn repeats_are_the_believed_addresses_own() {
    let edge = setup().set("observe", "repeat_window", "\"1h\"").start();
    for visitor in [VISITOR, "203.0.113.9:1", VISITOR, "203.0.113.9:2"] {
        let scan = bytes("GET", "/A1B2C3", &[("User-Agent", PHONE), ("Connection", "close")]);
        assert_served(&edge, &[&v2(at(visitor), at(HERE), &[]), &scan]);
    }
    edge.wait_until_stored();
    let total = edge.usage(&[])["total"].clone();
    assert_eq!((&total["all"], &total["repeats"]), (&json!(4), &json!(2)), "{total}");
}

#[test]
fn misses_and_connections_are_the_believed_addresses_own() {
    let setup = setup().set("edge", "max_misses_per_address", "1").set("edge", "max_connections_per_address", "2");
    let edge = setup.start();
    let open = |visitor: &str| {
        let mut stream = TcpStream::connect(edge.door(Way::ProxyV2)).unwrap();
        stream.write_all(&v2(at(visitor), at(HERE), &[])).unwrap();
        let mut connection = Connection::over(Box::new(stream));
        let miss = connection.get("/Z1", &[]).unwrap();
        (connection, miss.header("content-type").is_some_and(|kind| kind.starts_with("text/html")))
    };
    let visitors: Vec<_> = (1..=9).map(|number| open(&format!("192.0.2.{number}:1"))).collect();
    assert!(visitors.iter().all(|(_, is_page)| *is_page), "the first miss of each");
    let per_address = || edge.metrics().total_of("waypost_connections_closed_total{reason=\"per_address\"}");
    assert_eq!(per_address(), 0, "the proxy itself has no limit");
    // One visitor may have two, and a newcomer takes the place of the one that was idle for longest.
    let _third = [open("192.0.2.1:2"), open("192.0.2.1:3")];
    assert_eq!(per_address(), 1);
    assert_eq!(edge.metrics().get("waypost_connections_open"), 10.0);
}

/// Behind a proxy that speaks the protocol there may be another that writes a header.
#[test]
fn a_forwarded_header_is_believed_where_the_visitor_is_a_proxy_of_ours() {
    let edge = setup().set("edge.trust", "proxies", "[\"10.0.0.0/8\"]").start();
    let scan = |by: &str| bytes("GET", "/A1B2C3", &[("X-Forwarded-For", by), ("Connection", "close")]);
    for (from, by) in [("10.0.0.2:1", "203.0.113.9"), (VISITOR, "203.0.113.9"), ("10.0.0.2:1", "")] {
        assert_served(&edge, &[&v2(at(from), at(HERE), &[]), &scan(by)]);
    }
    assert_eq!(countries(&edge), ["TH", "VN", "PA"]);
}

/// HAProxy's process, ended with the test.
struct HaProxy(Child);

impl HaProxy {
    /// In front of the edge, with a port for each line that says where to.
    fn start(edge: &Edge, front: SocketAddr, bind: &str, server: &str) -> Self {
        let text = format!(
            "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n\
             listen visitors\n  bind {front} {bind}\n  server edge {server}\n"
        );
        let path = edge.setup.path("haproxy.cfg");
        std::fs::write(&path, text).unwrap();
        let proxy = Self(Command::new("haproxy").arg("-f").arg(&path).arg("-db").spawn().unwrap());
        wait_for("HAProxy listens", || TcpStream::connect(front).ok());
        proxy
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// HAProxy believes a header, too, so that a visitor may have any address.
#[test]
#[ignore = "needs HAProxy: tests/run"]
fn behind_haproxy_a_scan_is_the_visitors() {
    let edge = setup().start();
    let pem =
        ["pem", "key"].map(|end| std::fs::read_to_string(edge.setup.path(&format!("config/cert.{end}"))).unwrap());
    edge.setup.put("haproxy.pem", pem.concat());
    let pem = edge.setup.path("haproxy.pem").display().to_string();
    let (plain, tls) = (edge.door(Way::ProxyV1), edge.door(Way::ProxyV2Tls));
    let scans = [
        (Way::ProxyV1, "accept-proxy".to_owned(), format!("{plain} send-proxy")),
        (Way::ProxyV2, "accept-proxy".to_owned(), format!("{plain} send-proxy-v2")),
        // TLS ends at the edge, and then at HAProxy.
        (Way::ProxyV2Tls, "accept-proxy".to_owned(), format!("{tls} send-proxy-v2")),
        (Way::ProxyV1Tls, format!("accept-proxy ssl crt {pem}"), format!("{plain} send-proxy-v2-ssl-cn")),
    ];
    for (way, bind, server) in scans {
        let front = free_address();
        let _proxy = HaProxy::start(&edge, front, &bind, &server);
        let stream: Box<dyn Stream> = way.open(front).unwrap();
        assert_eq!(Connection::over(stream).get("/A1B2C3", &[]).unwrap().status, 302, "{server}");
    }
    assert_eq!(countries(&edge), ["VN"; 4]);
    assert_eq!(refused(&edge), 0);
}
