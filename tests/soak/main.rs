//! Everything at once, for as long as one likes: good visitors, hostile ones, tables and certificates that
//! change and break, a store that is locked, restarts and `kill -9`, on sockets that outlive the process.
//!
//! Promised: a good visitor gets nothing but the right answer, or a connection that broke while the process
//! was killed; every scan that was answered is stored once, and none twice; memory, descriptors and threads of
//! a process that has gone through it are what they were after its first minute.
//!
//! `WAYPOST_SOAK=20m` says how long (2 minutes by default), `WAYPOST_TEST_SEED` in which order. In the first third
//! the process is killed and restarted over and over; the last one lives through the rest. What was seen is
//! printed, and a run that has not seen everything fails: it would prove nothing.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    missing_docs,
    reason = "a test that can't go on panics; counts are exact"
)]
#![allow(
    clippy::print_stderr,
    clippy::format_collect,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "small numbers and tables are for people"
)]

#[path = "../support/mod.rs"]
mod support;

mod good;
mod hostile;
mod process;
mod run;
mod tables;
mod trouble;

use std::sync::atomic::Ordering;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use self::process::{Figures, Process};
use self::run::{Run, Stage};
use self::trouble::Trouble;
use crate::support::{Random, wait_for};

/// What a run must have seen, or else it proves nothing. (Whether somebody gives way to a newcomer depends on how busy
/// the machine is; `answering/limits` holds that.)
const MUST_HAPPEN: [&str; 20] = [
    "scans answered, plain",
    "scans answered, TLS",
    "scans answered, PROXY header",
    "connections broken by kill -9",
    "kill -9",
    "restarts by SIGTERM",
    "tables: replaced",
    "tables: edited in place",
    "tables: refused, the old ones serve",
    "reloads asked for by SIGHUP and POST",
    "certificates: replaced",
    "certificates: written in two steps",
    "certificates: refused, the old one serves",
    "store: locked until a batch failed",
    "closed: per_address",
    "closed: handshake",
    "closed: proxy_header",
    "closed: idle",
    "closed: slow",
    "misses throttled",
];

fn duration() -> Duration {
    let set = std::env::var("WAYPOST_SOAK").unwrap_or_else(|_| "2m".to_owned());
    let parsed: jiff::SignedDuration = set.parse().unwrap_or_else(|error| panic!("WAYPOST_SOAK={set}: {error}"));
    parsed.unsigned_abs()
}

/// Lets the load go on for so long, or until something has failed.
fn go_on(run: &Run, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until && !run.is_over() {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Kills and restarts it until the time is over.
fn power_cycles(run: &Run, process: &mut Process, random: &mut Random, time: Duration) {
    let until = Instant::now() + time;
    // Pairs of both, in an order that is drawn.
    let mut are_kills = Vec::new();
    while Instant::now() < until && !run.is_over() {
        go_on(run, Duration::from_millis(1000 + random.below(4000)));
        let whole = run.whole.lock().unwrap();
        if are_kills.is_empty() {
            are_kills = random.of(&[[true, false], [false, true]]).to_vec();
        }
        if are_kills.pop() == Some(true) {
            process.kill_and_start(run);
        } else {
            process.stop_and_start(run);
        }
        drop(whole);
    }
}

/// Nobody is there any more, everything is stored, and the states of the signs have been computed once.
fn wait_until_quiet(run: &Run, process: &Process) -> Figures {
    wait_for("nobody is connected, every scan is stored, and the states of the signs are there", || {
        let metrics = run.metrics()?;
        let is_zero = |name| metrics.get(name) == 0.0;
        let is_quiet = is_zero("waypost_connections_open") && is_zero("waypost_scans_pending");
        (is_quiet && !is_zero("waypost_signs_health_timestamp_seconds")).then_some(())
    });
    process.figures()
}

#[test]
#[ignore = "takes minutes: tests/run"]
fn nothing_is_lost_and_nothing_grows_while_everything_happens_at_once() {
    let duration = duration();
    let mut random = Random::new();
    let (mut process, run) = Process::first();
    process.start(&run);

    thread::scope(|scope| {
        // A panic, here or in a thread, ends the others.
        let end = run.ends();
        let mut threads: Vec<ScopedJoinHandle<()>> = Vec::new();
        for visitor in good::visitors(&run, &mut random) {
            threads.push(scope.spawn(move || visitor.scan_until_over()));
        }
        for pack in hostile::packs(&run, &mut random) {
            threads.push(scope.spawn(move || pack.harass_until_over()));
        }
        for trouble in Trouble::all(&run, &mut random) {
            threads.push(scope.spawn(move || trouble.make_until_over()));
        }

        power_cycles(&run, &mut process, &mut random, duration / 3);
        let begun = Instant::now();
        go_on(&run, Duration::from_mins(1).min(duration / 6));
        run.enter(Stage::Quiet);
        let first_minute = wait_until_quiet(&run, &process);
        run.enter(Stage::Storm);
        go_on(&run, (duration * 2 / 3).saturating_sub(begun.elapsed()));
        drop(end);
        for thread in threads {
            thread.join().unwrap();
        }

        let at_the_end = wait_until_quiet(&run, &process);
        eprintln!("the last process, quiet after its first minute: {first_minute}");
        eprintln!("and at the end: {at_the_end}; beyond: {:?}", at_the_end.beyond(&first_minute));
        // Threads that read a table or answer a scrape end seconds after their work.
        wait_for("the process takes no more of the system than it did", || {
            process.figures().is_no_larger_than(&first_minute).then_some(())
        });
    });

    process.stop(&run);
    let stored = process::counts(&run);
    let (mut sent, mut received) = (0, 0);
    for (code, obligation) in &run.obligations {
        let (of_sent, of_received) =
            (obligation.sent.load(Ordering::SeqCst), obligation.received.load(Ordering::SeqCst));
        let of_stored = stored.get(code).copied().unwrap_or(0);
        assert!(
            of_received <= of_stored && of_stored <= of_sent,
            "{code}: {of_received} answers were received for {of_sent} scans, and {of_stored} are stored"
        );
        sent += of_sent;
        received += of_received;
    }
    run.tally.add_many("scans sent", sent);
    run.tally.add_many("scans answered", received);
    run.tally.add_many("scans stored", run.obligations.keys().filter_map(|code| stored.get(code)).sum());
    eprintln!("{}", run.tally.table());
    for what in MUST_HAPPEN {
        assert!(run.tally.get(what) > 0, "never seen, so the run proves nothing: {what}");
    }
}
