//! TLS is spoken as it is safe today, and with nothing that tells a visitor again: versions, suites, names, no
//! tickets. Who never ends a handshake, or sends something else, harms nobody.
//!
//! `openssl s_client` is the judge of what is negotiated; what it would never send is sent as bytes, and
//! handshakes in odd pieces by rustls' client.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::support::http::{bytes, raw_over};
use crate::support::tls::{HOST, Made, VALID, client, handshake, made, served};
use crate::support::way::Way;
use crate::support::{Edge, PHONE, Setup, files_below, wait_for};

fn edge() -> Edge {
    Setup::new().tls(&[("cert", &made(&[HOST], VALID))]).start()
}

/// A scan that ends its connection.
const LAST_SCAN: &str = "GET /A1B2C3 HTTP/1.1\r\nHost: qr.example.vn\r\nConnection: close\r\n\r\n";

/// What `openssl s_client` says of a connection on which it sends a text, until the edge ends it.
fn s_client(edge: &Edge, arguments: &str, text: &str) -> String {
    let mut command = Command::new("timeout");
    command.args(["20", "openssl", "s_client", "-connect", &edge.door(Way::Tls).to_string(), "-servername", HOST]);
    command.args(arguments.split(' ').filter(|word| !word.is_empty()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have ended before.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).ok();
    // Without the option it reads commands, and would end with its input.
    let kept = if arguments.contains("-ign_eof") { None } else { Some(stdin) };
    let output = child.wait_with_output().unwrap();
    drop(kept);
    let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    out + &error
}

fn scan_by_openssl(edge: &Edge, arguments: &str) -> String {
    s_client(edge, &format!("-ign_eof {arguments}"), LAST_SCAN)
}

fn closed(edge: &Edge, reason: &str) -> u64 {
    edge.metrics().total_of(&format!("waypost_connections_closed_total{{reason={reason:?}}}"))
}

#[test]
#[ignore = "needs openssl: tests/run"]
fn tls_1_2_and_1_3_are_served_and_nothing_older() {
    let edge = edge();
    for version in ["-tls1_2", "-tls1_3"] {
        let said = scan_by_openssl(&edge, version);
        assert!(said.contains("HTTP/1.1 302 Found"), "{version}: {said}");
    }
    for version in ["-tls1", "-tls1_1"] {
        let said = scan_by_openssl(&edge, &format!("{version} -cipher ALL:@SECLEVEL=0"));
        // Their hellos lack what 1.2 demands, which is seen before their version is.
        assert!(said.contains("alert handshake failure") && !said.contains("HTTP/1.1"), "{version}: {said}");
    }
    let newer = Setup::new().tls(&[("cert", &made(&[HOST], VALID))]).set("edge.tls", "min_version", "\"1.3\"").start();
    assert!(scan_by_openssl(&newer, "-tls1_2").contains("alert protocol version"));
    assert!(scan_by_openssl(&newer, "-tls1_3").contains("HTTP/1.1 302 Found"));
}

/// A hello of a version that no tool here speaks any more, with one suite, gets an alert and the end.
#[test]
fn ssl_is_refused() {
    let edge = edge();
    for version in 0..=2_u8 {
        let hello = [&[3, version][..], &[7; 32], &[0, 0, 2, 0, 10, 1, 0]].concat();
        let message = [&[1, 0, 0, hello.len() as u8][..], &hello].concat();
        let record = [&[22, 3, version, 0, message.len() as u8][..], &message].concat();
        assert_eq!(refused(&edge, &record), "an alert", "3.{version}");
    }
    // SSL 2 has no such records.
    assert_eq!(refused(&edge, b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80"), "an alert");
}

/// What comes for bytes on the TLS port until it is closed: one alert, or nothing.
#[track_caller]
fn refused(edge: &Edge, bytes: &[u8]) -> &'static str {
    let mut stream = TcpStream::connect(edge.door(Way::Tls)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).ok();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // What lies unread makes the end a reset, which may overtake the alert.
        Err(error) if error.kind() == ErrorKind::ConnectionReset && answer.is_empty() => "nothing",
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("it is not closed: {error}"),
        _ => match answer[..] {
            [] => "nothing",
            [21, 3, _, 0, 2, _, _] => "an alert",
            _ => panic!("{answer:?}"),
        },
    }
}

#[test]
#[ignore = "needs openssl: tests/run"]
fn all_suites_authenticate_their_encryption_and_keep_yesterdays_secrets() {
    let setup = Setup::new().tls(&[("ecdsa", &made(&[HOST], VALID)), ("rsa", &rsa())]);
    let edge = setup.start();
    let list = Command::new("openssl").args(["ciphers", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]).output().unwrap();
    let all = String::from_utf8(list.stdout).unwrap();
    let all: Vec<&str> = all.trim().split(':').filter(|suite| !suite.starts_with("TLS_")).collect();
    assert!(all.len() > 100, "{} suites of TLS 1.2 are tried", all.len());
    let is_served = |arguments: &str| scan_by_openssl(&edge, arguments).contains("HTTP/1.1 302 Found");
    let mut suites: Vec<_> =
        all.into_iter().filter(|suite| is_served(&format!("-tls1_2 -cipher {suite}:@SECLEVEL=0"))).collect();
    suites.sort_unstable();
    assert_eq!(
        suites,
        [
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-RSA-CHACHA20-POLY1305",
        ]
    );
    for (suite, is_ours) in [
        ("TLS_AES_128_GCM_SHA256", true),
        ("TLS_AES_256_GCM_SHA384", true),
        ("TLS_CHACHA20_POLY1305_SHA256", true),
        ("TLS_AES_128_CCM_SHA256", false),
        ("TLS_AES_128_CCM_8_SHA256", false),
    ] {
        assert_eq!(is_served(&format!("-tls1_3 -ciphersuites {suite}")), is_ours, "{suite}");
    }
}

/// A certificate with an RSA key, which rcgen can't make with ring.
pub fn rsa() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=x"])
        .args(["-keyout", "key", "-out", "chain", "-addext", &format!("subjectAltName=DNS:{HOST}")])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    Made { der: Vec::new(), chain: read("chain"), key: read("key") }
}

#[test]
#[ignore = "needs openssl: tests/run"]
fn nothing_is_kept_of_a_client() {
    let edge = edge();
    for version in ["-tls1_2", "-tls1_3"] {
        let said = scan_by_openssl(&edge, version);
        for sign in ["Session Ticket", "session ticket", "Reused"] {
            assert!(!said.contains(sign), "{version}: {sign}: {said}");
        }
        // Of TLS 1.3 it is printed with a ticket alone.
        let ids = said.lines().filter_map(|line| line.trim().strip_prefix("Session-ID:"));
        assert!(ids.into_iter().all(|id| id.trim().is_empty()), "{said}");
        assert!(said.contains("Compression: NONE"), "{said}");
        let again = scan_by_openssl(&edge, &format!("{version} -reconnect"));
        assert_eq!((again.matches("New, TLSv1").count(), again.matches("Reused, ").count()), (6, 0), "{again}");
    }
}

#[test]
#[ignore = "needs openssl: tests/run"]
fn a_client_may_not_negotiate_anew() {
    let edge = edge();
    let said = s_client(&edge, "-tls1_2", "R\n");
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
    assert!(said.contains("Secure Renegotiation IS supported"), "an attacker can't begin with one either: {said}");
    assert_eq!(edge.scan("/A1B2C3").status, 302);
}

#[test]
#[ignore = "needs openssl: tests/run"]
fn http_1_1_is_the_only_protocol() {
    let edge = edge();
    for (offered, agreed) in [
        ("-alpn http/1.1", "ALPN protocol: http/1.1"),
        ("-alpn h2,http/1.1", "ALPN protocol: http/1.1"),
        ("", "No ALPN negotiated"),
    ] {
        let said = scan_by_openssl(&edge, offered);
        assert!(said.contains(agreed) && said.contains("HTTP/1.1 302 Found"), "{offered}: {said}");
    }
    for offered in ["-alpn h2", "-alpn h3,h2", "-alpn http/1.0"] {
        let said = scan_by_openssl(&edge, offered);
        assert!(said.contains("alert no application protocol") && !said.contains(" 302 "), "{offered}: {said}");
    }
}

#[test]
#[ignore = "needs openssl: tests/run"]
fn a_strict_client_is_content_with_the_certificate_and_the_end() {
    let edge = edge();
    let ca = edge.setup.path("config/cert.pem").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let said =
            scan_by_openssl(&edge, &format!("{version} -CAfile {ca} -verify_return_error -verify_hostname {HOST}"));
        assert!(said.contains("Verify return code: 0 (ok)") && said.contains("HTTP/1.1 302 Found"), "{said}");
        assert!(!said.contains("unexpected eof"), "a close_notify comes with the last answer: {said}");
    }
}

#[test]
fn the_certificate_is_that_of_the_name_that_is_asked_for() {
    let [first, other, wild] = [&[HOST][..], &["other.example.vn"], &["*.wild.example.vn"]].map(|n| made(n, VALID));
    let edge = Setup::new().tls(&[("first", &first), ("other", &other), ("wild", &wild)]).start();
    for (name, made) in [
        (HOST, &first),
        ("other.example.vn", &other),
        ("OTHER.example.vn", &other),
        ("a.wild.example.vn", &wild),
        ("a.b.wild.example.vn", &first),
        ("wild.example.vn", &first),
        ("unknown.example.org", &first),
        // No name is sent for an address (RFC 6066 section 3).
        ("192.0.2.1", &first),
    ] {
        assert_eq!(served(edge.door(Way::Tls), name).unwrap(), made.der, "{name}");
    }
}

/// Sends a hello as a client of rustls has made it, in pieces or in records of one's own, and goes on with a scan.
fn scan_with_hello(edge: &Edge, protocols: usize, send: impl Fn(&mut TcpStream, &[u8])) -> String {
    let mut config = client();
    config.alpn_protocols = (0..protocols).map(|number| format!("{number:0>250}").into_bytes()).collect();
    config.alpn_protocols.push(b"http/1.1".to_vec());
    let name = ServerName::try_from(HOST).unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = TcpStream::connect(edge.door(Way::Tls)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut hello = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut hello).unwrap();
    }
    assert!(hello.len() > 250 * protocols);
    send(&mut stream, &hello);
    while session.is_handshaking() {
        session.complete_io(&mut stream).unwrap();
    }
    raw_over(Box::new(StreamOwned::new(session, stream)), LAST_SCAN.as_bytes())
}

#[test]
fn a_hello_may_be_large_and_come_in_any_pieces() {
    let edge = edge();
    let whole = |stream: &mut TcpStream, hello: &[u8]| stream.write_all(hello).unwrap();
    let bytewise = |stream: &mut TcpStream, hello: &[u8]| hello.iter().for_each(|byte| whole(stream, &[*byte]));
    // The same message in records of so many bytes: they have a header of 5 (RFC 8446 section 5.1).
    let records = |len: usize| {
        move |stream: &mut TcpStream, hello: &[u8]| {
            let record = |piece: &[u8]| [&[22, 3, 1, 0, piece.len() as u8][..], piece].concat();
            let records: Vec<u8> = hello[5..].chunks(len).flat_map(record).collect();
            stream.write_all(&records).unwrap();
        }
    };
    let answers = [
        scan_with_hello(&edge, 0, whole),
        scan_with_hello(&edge, 0, bytewise),
        scan_with_hello(&edge, 0, records(100)),
        scan_with_hello(&edge, 0, records(1)),
        scan_with_hello(&edge, 60, whole),
        scan_with_hello(&edge, 240, whole),
    ];
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 302 Found"), "{answer:?}");
    }
    // A hello that says that it has 16 MiB is refused before they come.
    assert_eq!(refused(&edge, &[22, 3, 1, 0, 4, 1, 255, 255, 255]), "an alert");
}

#[test]
fn a_handshake_that_never_ends_is_cut_off_while_others_are_served() {
    let setup = Setup::new().tls(&[("cert", &made(&[HOST], VALID))]);
    let edge = setup.set("edge.tls", "handshake_timeout", "\"2s\"").start();
    // The beginning of a record that announces 512 bytes, of which one comes now and then.
    let begin = |_| {
        let mut stream = TcpStream::connect(edge.door(Way::Tls)).unwrap();
        stream.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
        stream
    };
    let mut slow: Vec<TcpStream> = (0..200).map(begin).collect();
    let mut scans = 0;
    wait_for("all are cut off", || {
        // Those that are cut off refuse it.
        for stream in &mut slow {
            stream.write_all(&[0]).ok();
        }
        assert_eq!(edge.connect(Way::Tls).unwrap().get("/A1B2C3", &[]).unwrap().status, 302);
        scans += 1;
        (closed(&edge, "handshake") >= 200).then_some(())
    });
    assert!(scans > 1);
    assert_eq!((closed(&edge, "handshake"), closed(&edge, "slow")), (200, 0));
}

/// A preface of HTTP/2 and a flood of its frames (settings, pings, resets).
fn flood_of_http_2() -> Vec<u8> {
    let frame =
        |kind: u8, stream: u8, len: usize| [&[0, 0, len as u8, kind, 0, 0, 0, 0, stream][..], &vec![0; len]].concat();
    let frames = [frame(4, 0, 0), frame(6, 0, 8), frame(3, 1, 4)].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frames.repeat(30_000).as_slice()].concat()
}

#[test]
fn what_is_no_tls_is_refused_by_one_alert_and_costs_nothing() {
    let edge = edge();
    let flood = flood_of_http_2();
    let others: [&[u8]; 5] = [
        b"GET /A1B2C3 HTTP/1.1\r\nHost: x\r\n\r\n",
        &flood[..24],
        &flood,
        &vec![0xff; 100_000],
        &[22, 3, 1, 0, 5, 9, 9, 9, 9, 9],
    ];
    for bytes in others {
        assert!(matches!(refused(&edge, bytes), "an alert" | "nothing"));
    }
    wait_for("all are counted", || (closed(&edge, "handshake") == others.len() as u64).then_some(()));
    let before = edge.memory("VmHWM");
    for _ in 0..200 {
        refused(&edge, &flood);
    }
    // 200 floods of more than a megabyte each: of none is more than a record kept.
    let grown = edge.memory("VmHWM") - before;
    assert!(flood.len() > 1 << 20 && grown < 4 << 20, "{grown} bytes");
    wait_for("their connections are over", || (edge.metrics().get("waypost_connections_open") == 0.0).then_some(()));
    assert_eq!(edge.metrics().get("waypost_scans_recorded_total"), 0.0);
}

#[test]
fn http_2_on_the_plain_port_is_refused_by_one_answer_and_costs_nothing() {
    let edge = Setup::new().start();
    let flood = flood_of_http_2();
    let answer_to = |bytes: &[u8]| raw_over(Way::Plain.open(edge.address()).unwrap(), bytes);
    let is_refused = |answer: &str| answer.is_empty() || answer.starts_with("HTTP/1.1 ") && !answer.contains(" 302 ");
    for bytes in [&flood[..24], &flood] {
        let answer = answer_to(bytes);
        assert!(is_refused(&answer) && answer.matches("HTTP/1.1 ").count() <= 1, "{answer:?}");
    }
    let before = edge.memory("VmHWM");
    for _ in 0..200 {
        assert!(is_refused(&answer_to(&flood)));
    }
    let grown = edge.memory("VmHWM") - before;
    assert!(grown < 4 << 20, "{grown} bytes");
    assert_eq!(edge.metrics().total("waypost_requests_total"), 0);
}

#[test]
fn kept_and_pipelined_requests_are_answered_in_their_order() {
    let edge = edge();
    let mut kept = edge.connect(Way::Tls).unwrap();
    for number in 0..200 {
        let (path, location) = if number % 2 == 0 { ("/A1B2C3", "vi") } else { ("/A1B2C4?lang=en", "en") };
        let reply = kept.get(path, &[("User-Agent", PHONE)]).unwrap();
        assert_eq!(reply.location(), Some(format!("https://example.vn/{location}/one").as_str()));
    }
    let paths = ["/A1B2C3", "/N0PE", "/", "/A1B2C3+"];
    let mut requests: Vec<u8> = paths.iter().cycle().take(100).flat_map(|path| bytes("GET", path, &[])).collect();
    requests.extend(LAST_SCAN.as_bytes());
    let answers = raw_over(Way::Tls.open(edge.door(Way::Tls)).unwrap(), &requests);
    let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, [["302", "404", "200", "200"].repeat(25), vec!["302"]].concat());
}

#[test]
fn the_last_answer_comes_with_a_close_notify() {
    let edge = edge();
    let mut connection = edge.connect(Way::Tls).unwrap();
    let reply = connection.get("/A1B2C3", &[("Connection", "close")]).unwrap();
    assert_eq!(reply.status, 302);
    assert!(connection.is_ended(), "an end without it is an error of the client's");
}

#[test]
fn slow_silent_and_stalled_clients_are_cut_off_as_on_the_plain_port() {
    let setup = Setup::new().tls(&[("cert", &made(&[HOST], VALID))]).set("edge", "request_timeout", "\"1s\"");
    let edge = setup.set("edge", "idle_timeout", "\"2s\"").start();
    let until_closed = |what: &str, reason: &str| wait_for(what, || (closed(&edge, reason) == 1).then_some(()));
    let mut slow = edge.connect(Way::Tls).unwrap();
    slow.send(b"GET /A1B2C3 HTTP/1.1\r\n").unwrap();
    wait_for("a slow head is cut off", || {
        // A header's byte at a time, until the edge has had enough.
        (slow.send(b"X: y\r\n").is_err() || closed(&edge, "slow") == 1).then_some(())
    });
    until_closed("it is counted", "slow");
    let mut kept = edge.connect(Way::Tls).unwrap();
    assert_eq!(kept.get("/A1B2C3", &[]).unwrap().status, 302);
    until_closed("an idle one is", "idle");
    let mut stalled = edge.connect(Way::Tls).unwrap();
    let pages = bytes("GET", "/", &[]).repeat(100);
    wait_for("one that reads nothing is", || stalled.send(&pages).is_err().then_some(()));
    wait_for("it is counted", || (closed(&edge, "slow") == 2).then_some(()));
}

#[test]
fn strict_transport_is_said_by_tls_alone_and_where_it_is_asked_for() {
    let header = |edge: &Edge, way: Way, path: &str| {
        let reply = edge.connect(way).unwrap().get(path, &[]).unwrap();
        reply.header("strict-transport-security").map(str::to_owned)
    };
    assert_eq!(header(&edge(), Way::Tls, "/A1B2C3"), None);
    let setup = Setup::new().tls(&[("cert", &made(&[HOST], VALID))]);
    let edge = setup.set("edge.tls", "hsts", "\"24h\"").start();
    for path in ["/A1B2C3", "/N0PE", "/", "/robots.txt"] {
        assert_eq!(header(&edge, Way::Tls, path).as_deref(), Some("max-age=86400"), "{path}");
        assert_eq!(header(&edge, Way::Plain, path), None, "{path}");
    }
}

#[test]
fn a_key_that_others_may_read_is_refused_and_the_plain_port_goes_on() {
    let setup = Setup::new().tls(&[("cert", &made(&[HOST], VALID))]);
    fs::set_permissions(setup.path("config/cert.key"), Permissions::from_mode(0o644)).unwrap();
    let checked = setup.run(&["check"]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    let expected = "cert.key: expected a file that only its owner and its group may read, mode 0600 or 0640";
    assert!(!checked.status.success() && said.contains(expected) && said.contains("found mode 0644"), "{said}");
    let edge = setup.start();
    assert!(edge.log().contains(expected));
    let stream = TcpStream::connect(edge.door(Way::Tls)).unwrap();
    let error = handshake(stream, client(), HOST).unwrap_err().to_string();
    assert!(error.contains("received fatal alert"), "{error}");
    assert_eq!(edge.scan("/A1B2C3").status, 302);
    fs::set_permissions(edge.setup.path("config/cert.key"), Permissions::from_mode(0o640)).unwrap();
    wait_for("the key is taken", || served(edge.door(Way::Tls), HOST).ok());
}

/// Memory holds keys, passwords and addresses. The kernel gives a process that can't be dumped to root (proc(5)).
#[test]
#[ignore = "needs root: tests/run"]
fn nobody_but_root_may_look_into_its_memory() {
    const NOBODY: u32 = 65_534;
    let setup = Setup::new().user(NOBODY);
    setup.write_config();
    let below = files_below(setup.folder.path());
    for path in below.iter().map(PathBuf::as_path).chain([setup.folder.path(), &setup.path("config")]) {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let edge = setup.start();
    let owner = |path: &str| fs::metadata(format!("/proc/{}{path}", edge.pid())).unwrap().uid();
    let status = fs::read_to_string(format!("/proc/{}/status", edge.pid())).unwrap();
    assert!(status.contains(&format!("Uid:\t{NOBODY}\t{NOBODY}")), "{status}");
    assert_eq!([owner("/mem"), owner("/maps"), owner("/fd"), owner("/environ")], [0; 4]);
    // It still sees its own figures.
    let metrics = edge.metrics();
    assert!(metrics.get("process_open_fds") > 10.0 && metrics.get("process_resident_memory_bytes") > 1e6);
}
