//! Neither a visitor's address nor a user agent, nor a part of one, reaches the data
//! folder, the logs or the metrics.
//!
//! Scans come from marked addresses with marked headers, through every path that reads
//! them; the edge logs all it can, is killed so that its journal is left as it was, and
//! every byte it has left is searched for the marks.

use std::fs;
use std::net::IpAddr;

use crate::support::{Edge, Setup, files_below, http};

const ADDRESSES: [&str; 2] = ["203.0.113.177", "2001:db8:dead:beef:cafe:f00d:1234:5677"];
const AGENT: &str = "Mozilla/5.0 (Linux; Android 14; QzMarkPhone) AppleWebKit/537.36 Chrome/126.0.7361.99 Mobile Safari/537.36 QzMarkApp/88";
/// Parts of what visitors sent, as text.
const MARKS: [&str; 12] = [
    "203.0.113",
    "0.113.177",
    "2001:db8",
    "dead:beef",
    "f00d",
    "QzMark",
    "126.0.7361",
    "537.36",
    "qzref",
    "qzcookie",
    "qzquery",
    "qzx",
];

fn scan_from_everywhere(edge: &Edge) {
    for address in ADDRESSES {
        for path in [
            "/A1B2C3",
            "/A1B2C3?c=nfc&qzquery=1",
            "/A1B2C4?lang=qzx",
            "/GONE1",
            "/N0SUCH",
            "/A1B2C3+",
            "/T01D1?qzquery=1",
            "/T01D1?lang=qzx&c=page",
            "/T01D1+",
            "/",
            "/qzquery/x",
            "/go?code=qz+qz",
        ] {
            for _ in 0..3 {
                let headers = [
                    ("X-Forwarded-For", address),
                    ("User-Agent", AGENT),
                    ("Accept-Language", "qzx-Latn,vi;q=0.5"),
                    ("Referer", "https://qzref.example/"),
                    ("Cookie", "qzcookie=1"),
                ];
                let reply = http::request(edge.address(), "GET", path, &headers).unwrap();
                assert_unmarked(path, reply.body.as_bytes());
            }
        }
        http::raw(
            edge.address(),
            format!("GET /A1B2C3 HTTP/1.1\r\nX-Forwarded-For: {address}\r\nUser-Agent: {AGENT}\r\nqzref").as_bytes(),
        );
        http::raw(edge.address(), format!("{AGENT} {address}\r\n\r\n").as_bytes());
    }
}

/// The marks, as text, and the addresses as their bytes in either order.
fn marks() -> Vec<Vec<u8>> {
    let mut marks: Vec<Vec<u8>> = MARKS.iter().map(|mark| mark.as_bytes().to_vec()).collect();
    for address in ADDRESSES {
        let mut bytes = match address.parse().unwrap() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        marks.push(bytes.clone());
        bytes.reverse();
        marks.push(bytes);
    }
    marks
}

#[track_caller]
fn assert_unmarked(what: &str, bytes: &[u8]) {
    let lower = bytes.to_ascii_lowercase();
    for mark in marks() {
        let lower_mark = mark.to_ascii_lowercase();
        let found = lower.windows(mark.len()).position(|window| window == lower_mark);
        assert!(found.is_none(), "{what} holds {:?} at byte {}", String::from_utf8_lossy(&mark), found.unwrap());
    }
}

#[test]
fn nothing_of_a_visitor_is_left_behind() {
    let mut edge = Setup::new()
        .set("edge.trust", "proxies", "[\"127.0.0.1\"]")
        .set("observe", "repeat_window", "\"1h\"")
        .set("journal", "seal_after", "\"1s\"")
        .registry(
            "place,name,target,about,about:en\none,Một,https://example.vn/one,,\ntold,Kể,,Danh tướng.,A general.\n",
            "code,place,status\nA1B2C3,one,active\nA1B2C4,one,active\nGONE1,one,retired\nT01D1,told,active\n",
        )
        .start();
    scan_from_everywhere(&edge);
    edge.wait_until_stored();
    scan_from_everywhere(&edge);
    assert_unmarked("the metrics", edge.admin("GET", "/metrics").body.as_bytes());
    assert_unmarked("the status", edge.admin("GET", "/status").body.as_bytes());
    edge.kill();

    let files = files_below(&edge.setup.path("data"));
    let bytes: usize = files.iter().map(|path| fs::read(path).unwrap().len()).sum();
    assert!(bytes > 100_000, "the journal and the store are there: {files:?}");
    for path in files {
        assert_unmarked(&path.display().to_string(), &fs::read(&path).unwrap());
    }
    assert_unmarked("the log", edge.log().as_bytes());
    // The marks did come through: as a phone, Android and Chrome, in a language of none.
    let seen = "SELECT count(*) FROM scans WHERE device = 'phone' AND os = 'android' AND app = 'chrome' AND lang = 'other' AND repeat = 1";
    assert!(edge.database().query_row(seen, [], |row| row.get::<_, u32>(0)).unwrap() > 10);
}

#[test]
fn the_journal_and_the_store_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let edge = Setup::new().start();
    edge.scan("/A1B2C3");
    edge.wait_until_stored();
    for path in files_below(&edge.setup.path("data")) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
}

#[test]
fn with_recording_off_visitors_are_answered_and_nothing_is_kept() {
    let mut edge = Setup::new().set("observe", "record", "false").start();
    assert_eq!(edge.scan("/A1B2C3").status, 302);
    assert_eq!(edge.scan("/N0PE").status, 404);
    let metrics = edge.metrics();
    assert_eq!(metrics.get("waypost_requests_total{outcome=\"found\"}"), 1.0);
    assert_eq!(metrics.get("waypost_scans_recorded_total"), 0.0);
    assert!(!edge.admin("GET", "/metrics").body.contains("waypost_sign_scans_total"));
    edge.stop();
    assert_eq!(edge.counts(), [].into());
}
