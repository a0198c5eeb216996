//! The log never stops the service and never holds it up: on a full disk, into a pipe that nobody
//! reads, or once its reader is gone, redirects go on, what is lost is counted, and SIGTERM ends
//! it in order.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _, pipe};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Edge, Setup, wait_for};

/// `waypost_log_lines_dropped_total`, for a reason.
fn dropped(edge: &Edge, reason: &str) -> u64 {
    edge.metrics().total_of(&format!("waypost_log_lines_dropped_total{{reason=\"{reason}\"}}"))
}

fn full_disk() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// Lines of the log: each connection to the admin port that is no HTTP is one.
fn make_lines(edge: &Edge, count: usize) {
    for _ in 0..count {
        let mut stream = TcpStream::connect(edge.admin).unwrap();
        stream.write_all(b"no HTTP\r\n\r\n").unwrap();
        // The next one when this is done with, so that none waits in the queue.
        stream.read_to_end(&mut Vec::new()).ok();
    }
}

#[track_caller]
fn assert_serves_and_ends(mut edge: Edge) {
    for _ in 0..10 {
        assert_eq!(edge.scan("/A1B2C3").status, 302);
    }
    assert_eq!(edge.admin("GET", "/livez").status, 200);
    edge.signal("TERM");
    let told = Instant::now();
    let status = edge.wait();
    assert!(status.success(), "{status}");
    // Two seconds where the log is stuck; a busy machine takes longer.
    assert!(told.elapsed() < Duration::from_secs(15), "{:?}", told.elapsed());
    assert_eq!(edge.counts().get("A1B2C3"), Some(&10));
}

#[test]
fn a_log_on_a_full_disk_is_counted_and_stops_nothing() {
    let edge = Setup::new().start_with_log(full_disk());
    wait_for("lost lines", || (dropped(&edge, "write_failed") > 0).then_some(()));
    assert_serves_and_ends(edge);
}

#[test]
fn a_log_whose_reader_is_gone_is_counted_and_stops_nothing() {
    let (reader, writer) = pipe().unwrap();
    let edge = Setup::new().start_with_log(writer);
    drop(reader);
    make_lines(&edge, 10);
    wait_for("lost lines", || (dropped(&edge, "write_failed") > 0).then_some(()));
    assert_serves_and_ends(edge);
}

#[test]
fn a_log_that_nobody_reads_is_counted_and_holds_nothing_up() {
    let (reader, writer) = pipe().unwrap();
    let edge = Setup::new().start_with_log(writer);
    // The pipe takes 64 KiB, and the queue 8,192 lines.
    wait_for("lost lines", || {
        make_lines(&edge, 1000);
        (dropped(&edge, "queue_full") > 0).then_some(())
    });
    assert_eq!(dropped(&edge, "write_failed"), 0);
    assert_serves_and_ends(edge);
    drop(reader);
}

#[test]
fn a_start_that_fails_ends_though_its_error_is_not_read() {
    let setup = Setup::new().file("config/signs.csv", "code,place,status\nA1,nowhere,active\n");
    setup.write_config();
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    for log in [writer.into(), full_disk().into()] {
        let log: std::process::Stdio = log;
        let status = setup.command(&["serve"]).stderr(log).status().unwrap();
        assert_eq!(status.code(), Some(1), "an error, and no panic");
    }
}
