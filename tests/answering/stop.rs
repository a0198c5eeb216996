//! The edge ends when it is told to, in order and in time: not ready first, then what still comes is
//! answered, then connections, the journal and the delivery end, the admin port last. Nothing that
//! hangs keeps it, a second signal ends it at once, and no scan is lost or counted twice by that.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

use crate::support::http::{self, Connection, bytes};
use crate::support::tls::{self, HOST};
use crate::support::way::Way;
use crate::support::{Edge, PHONE, Setup, wait_for};

/// What a machine that does something else may take longer.
const SPARE: Duration = Duration::from_secs(10);

/// A store that accepts, and never answers.
fn hung_store() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn into(store: SocketAddr) -> Setup {
    Setup::new().set("store", "kind", "\"clickhouse\"").set("store", "url", format!("[\"http://{store}\"]")).set(
        "store",
        "apply_schema",
        "false",
    )
}

/// SIGTERM, and how long it took to the end.
#[track_caller]
fn assert_ends_within(edge: &mut Edge, bound: Duration) {
    edge.signal("TERM");
    let told = Instant::now();
    let status = edge.wait();
    assert!(status.success(), "{status}: {}", edge.log());
    assert!(told.elapsed() < bound + SPARE, "{:?}", told.elapsed());
}

#[test]
fn a_store_that_never_answers_does_not_keep_it() {
    let (_listener, store) = hung_store();
    let mut edge = into(store).start();
    edge.scan("/A1B2C3");
    wait_for("a batch", || (edge.metrics().get("waypost_journal_sealed_segments") > 0.0).then_some(()));
    // The last delivery's ten seconds.
    assert_ends_within(&mut edge, Duration::from_secs(10));
    assert!(edge.log().contains("left to the next start"));
}

#[test]
fn a_table_that_is_a_fifo_does_not_keep_it() {
    let mut edge = Setup::new().start();
    edge.scan("/A1B2C3");
    let table = edge.setup.path("config/signs.csv");
    std::fs::remove_file(&table).unwrap();
    assert!(Command::new("mkfifo").arg(&table).status().unwrap().success());
    // Opened by the poll, and by the signal.
    edge.signal("HUP");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(edge.admin("GET", "/livez").status, 200);
    assert_ends_within(&mut edge, Duration::ZERO);
    std::fs::remove_file(&table).unwrap();
    assert_eq!(edge.database().query_row("SELECT count(*) FROM scans", [], |row| row.get(0)), Ok(1));
}

#[test]
fn a_request_that_outlasts_grace_is_cut_off() {
    let mut edge = Setup::new().set("edge", "grace", "\"1s\"").set("edge", "request_timeout", "\"1h\"").start();
    let mut half = TcpStream::connect(edge.address()).unwrap();
    half.write_all(b"GET /A1B2C3 HTTP/1.1\r\nHost: a\r\n").unwrap();
    wait_for("the connection", || (edge.metrics().get("waypost_connections_open") > 0.0).then_some(()));
    let told = Instant::now();
    assert_ends_within(&mut edge, Duration::from_secs(1));
    assert!(told.elapsed() >= Duration::from_secs(1), "the time was given: {:?}", told.elapsed());
    let mut rest = Vec::new();
    half.read_to_end(&mut rest).ok();
    assert!(rest.is_empty(), "no answer: {rest:?}");
}

#[test]
fn a_second_signal_ends_it_at_once_and_no_scan_is_lost() {
    for (signal, status) in [("TERM", 143), ("INT", 130)] {
        let (_listener, store) = hung_store();
        let mut edge = into(store).start();
        for _ in 0..5 {
            edge.scan("/A1B2C3");
        }
        wait_for("a batch", || (edge.metrics().get("waypost_journal_sealed_segments") > 0.0).then_some(()));
        edge.signal("TERM");
        wait_for("the stop", || (edge.admin("GET", "/readyz").status == 503).then_some(()));
        edge.signal(signal);
        let told = Instant::now();
        assert_eq!(edge.wait().code(), Some(status));
        // The last delivery would have gone on for ten seconds.
        assert!(told.elapsed() < Duration::from_secs(8), "{:?}", told.elapsed());
        edge.setup = std::mem::replace(&mut edge.setup, Setup::new()).set("store", "kind", "\"sqlite\"");
        edge.setup.write_config();
        edge.start();
        edge.wait_until_stored();
        assert_eq!(edge.metrics().get("waypost_scans_recovered_total"), 5.0);
        assert_eq!(edge.counts().get("A1B2C3"), Some(&5));
    }
}

#[test]
fn a_signal_during_the_start_ends_it() {
    for signal in ["TERM", "INT"] {
        let setup = Setup::new();
        setup.write_config();
        // A start that goes on for ever, if a FIFO is waited for; else one that fails.
        let table = setup.path("config/signs.csv");
        std::fs::remove_file(&table).unwrap();
        assert!(Command::new("mkfifo").arg(&table).status().unwrap().success());
        let mut child = setup.command(&["serve"]).stderr(Stdio::null()).spawn().unwrap();
        let is_starting = || std::fs::read_to_string(format!("/proc/{}/wchan", child.id())).is_ok();
        wait_for("the start", || is_starting().then_some(()));
        std::thread::sleep(Duration::from_millis(500));
        Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status().unwrap();
        let status = wait_for("the end", || child.try_wait().unwrap());
        assert!(status.signal().is_none() && matches!(status.code(), Some(0 | 1)), "{status}");
    }
}

#[test]
fn it_says_that_it_stops_and_answers_until_the_lame_duck_is_over() {
    let mut edge = Setup::new().set("edge", "lame_duck", "\"3s\"").start();
    let mut kept = Connection::open(edge.address()).unwrap();
    assert_eq!(kept.get("/A1B2C3", &[]).unwrap().header("connection"), None);
    edge.signal("TERM");
    wait_for("not ready", || (edge.admin("GET", "/readyz").status == 503).then_some(()));
    let told = Instant::now();
    let mut answered = 0;
    // Well before it is over, even where this test is slow.
    while told.elapsed() < Duration::from_secs(1) {
        let reply = http::request(edge.address(), "GET", "/A1B2C3", &[("User-Agent", PHONE)]).unwrap();
        assert_eq!((reply.status, reply.header("connection")), (302, Some("close")), "a balancer is told to go");
        assert_eq!(edge.admin("GET", "/livez").status, 200);
        answered += 1;
    }
    assert_eq!(kept.get("/A1B2C3", &[]).unwrap().header("connection"), Some("close"), "kept connections, too");
    assert!(edge.wait().success());
    assert!(told.elapsed() > Duration::from_secs(2), "the time was given");
    assert_eq!(edge.counts().get("A1B2C3"), Some(&(answered + 2)));
}

#[test]
fn what_waits_to_be_accepted_is_answered() {
    // One connection at a time: the others wait in the queue, with their requests.
    let mut edge = Setup::new().set("edge", "max_connections", "1").start();
    edge.signal("STOP");
    let mut waiting: Vec<Connection> = (0..20)
        .map(|_| {
            let mut connection = Connection::open(edge.address()).unwrap();
            connection.send(&bytes("GET", "/A1B2C4", &[("User-Agent", PHONE)])).unwrap();
            connection
        })
        .collect();
    edge.signal("TERM");
    edge.signal("CONT");
    for connection in &mut waiting {
        assert_eq!(connection.receive(false).unwrap().status, 302);
    }
    assert!(edge.wait().success());
    assert_eq!(edge.counts().get("A1B2C4"), Some(&20));
}

/// On a slow network it takes longer than the half second in which a silent connection must speak.
#[test]
fn a_handshake_that_is_under_way_is_given_the_time_to_its_answer() {
    for way in [Way::Tls, Way::ProxyV1Tls] {
        let mut edge = Setup::new().open_to(way).start();
        let mut session = ClientConnection::new(Arc::new(tls::client()), HOST.try_into().unwrap()).unwrap();
        let mut hello = if way.has_proxy_header() { b"PROXY UNKNOWN\r\n".to_vec() } else { Vec::new() };
        session.write_tls(&mut hello).unwrap();
        let (begin, end) = hello.split_at(hello.len() / 2);
        let mut stream = TcpStream::connect(edge.door(way)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(begin).unwrap();
        wait_for("it is accepted", || (edge.metrics().get("waypost_connections_open") == 1.0).then_some(()));
        edge.signal("TERM");
        std::thread::sleep(Duration::from_millis(1200));
        stream.write_all(end).unwrap();
        session.writer().write_all(&bytes("GET", "/A1B2C3", &[("User-Agent", PHONE)])).unwrap();
        let mut stream = StreamOwned::new(session, stream);
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 302", "{way:?}");
        assert!(edge.wait().success());
    }
}

#[test]
fn the_admin_port_ends_last_and_tells_the_truth_until_then() {
    let (listener, store) = hung_store();
    let mut edge = into(store).start();
    edge.scan("/A1B2C3");
    wait_for("a batch", || (edge.metrics().get("waypost_journal_sealed_segments") > 0.0).then_some(()));
    edge.signal("TERM");
    // Visitors are gone, and the last delivery hangs.
    wait_for("the visitors' port closes", || TcpStream::connect(edge.address()).is_err().then_some(()));
    let ready = edge.admin("GET", "/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (503, "stopping\n"));
    assert_eq!(edge.admin("GET", "/livez").status, 200);
    let metrics = edge.metrics();
    assert_eq!(metrics.get("waypost_scans_pending"), 1.0);
    assert_eq!(metrics.get("waypost_connections_open"), 0.0);
    metrics.assert_books_balance();
    assert_eq!(edge.status()["scans"]["pending"], 1);
    assert!(edge.wait().success());
    drop(listener);
    assert_eq!(TcpStream::connect(edge.admin).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn an_admin_client_that_never_reads_does_not_keep_it() {
    let mut edge = Setup::new().start();
    let mut client = TcpStream::connect(edge.admin).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", edge.admin);
    client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Until the buffers on the way are full.
    client.write_all(request.repeat(5000).as_bytes()).ok();
    assert_ends_within(&mut edge, Duration::ZERO);
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).ok();
    assert!(rest.starts_with(b"HTTP/1.1 200 OK"));
}
