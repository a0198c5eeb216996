//! An answer that ends its connection comes whole, however the end was asked for, and takes
//! no packet more than one that does not.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::http::raw;
use crate::support::{Edge, Setup, many_signs};
use nix::libc;
use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};

// The kernel's `struct tcp_info` (linux/tcp.h) up to `tcpi_segs_in`, its word 35.
sockopt_impl!(TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, [u32; 36]);

fn edge() -> (Edge, String) {
    let (places, signs, codes) = many_signs(1);
    (Setup::new().registry(&places, &signs).start(), codes[0].clone())
}

/// What comes back for some bytes until the edge closes, and in how many packets of TCP.
fn until_closed(edge: &Edge, request: &str) -> (String, u32) {
    let mut stream = TcpStream::connect(edge.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer, getsockopt(&stream, TcpInfo).unwrap()[35])
}

#[test]
fn it_is_whole_however_the_end_was_asked_for() {
    let (edge, code) = edge();
    let ask = |line: &str, headers: &str| until_closed(&edge, &format!("{line}\r\nHost: x\r\n{headers}\r\n")).0;
    for (version, headers) in [
        ("1.1", "Connection: close\r\n"),
        ("1.1", "connection: CLOSE\r\n"),
        ("1.1", "Connection: close, te\r\n"),
        ("1.1", "Connection: te\r\nConnection: close\r\n"),
        ("1.0", ""),
        ("1.0", "Connection: close\r\n"),
    ] {
        let answer = ask(&format!("GET /{code} HTTP/{version}"), headers);
        assert!(answer.contains(" 302 Found\r\n") && answer.ends_with("\r\n\r\n"), "{version} {headers:?}: {answer:?}");
    }
    // A page, and one for a client that announces a body and never sends it.
    let page = ask("GET /2222222A HTTP/1.1", "Connection: close\r\n");
    assert!(page.contains(" 404 ") && page.trim_end().ends_with("</html>"), "{page:?}");
    let refused = ask(&format!("POST /{code} HTTP/1.1"), "Connection: close\r\nContent-Length: 5\r\n");
    assert!(refused.contains(" 405 "), "{refused:?}");
    // More than is read before the answer: the connection ends with a reset, after the answer.
    let post = format!("POST /{code} HTTP/1.0\r\n\r\n{}", "x".repeat(8192));
    let refused = raw(edge.address(), post.as_bytes());
    assert!(refused.contains(" 405 "), "{refused:?}");
}

#[test]
fn what_came_before_the_last_is_answered_too() {
    let (edge, code) = edge();
    let get = format!("GET /{code} HTTP/1.1\r\nHost: x\r\n");
    let (answers, _) = until_closed(&edge, &format!("{get}\r\n{get}\r\n{get}Connection: close\r\n\r\n"));
    assert_eq!(answers.matches(" 302 Found\r\n").count(), 3, "{answers:?}");
}

#[test]
fn the_end_takes_no_packet_of_its_own() {
    let (edge, code) = edge();
    let request = format!("GET /{code} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    // The connection's, the request's acknowledgement, and the answer with the end. A busy machine may add one.
    let packets = (0..20).map(|_| until_closed(&edge, &request).1).min();
    assert!(packets <= Some(3), "{packets:?}");
}
