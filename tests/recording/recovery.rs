//! No scan that was answered is lost, and none is counted twice, through any number of
//! `kill -9`.
//!
//! Clients scan as fast as they can while the edge is killed at random moments and
//! started again. At the end each sign's count lies between the redirects its clients
//! received and the requests they sent. Among the kills are those between a batch's
//! commit and the removal of its file: such a state is also made on purpose, so that the
//! test can be sure that it happened.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::load::Load;
use crate::support::{Edge, Random, Setup, many_signs};
use waypost::journal;

const KILLS: usize = 25;

#[test]
fn nothing_is_lost_or_counted_twice_through_25_kills() {
    let mut random = Random::new();
    let (places, signs, codes) = many_signs(40);
    let mut edge = Setup::new()
        .set("edge", "workers", "2")
        .set("journal", "segment", "\"2MiB\"")
        .registry(&places, &signs)
        .start();
    let copies = Copies::keep(&edge.setup.path("data/journal"), &edge.setup.path("copies"));
    let mut load = Load::start(edge.address(), 4, &codes);
    let (mut kills_in_use, mut offered_again, mut duplicates, mut dropped) = (0, 0, 0.0, 0);
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(30 + random.below(300)));
        let metrics = edge.metrics();
        duplicates += metrics.get("waypost_store_duplicate_batches_total");
        dropped += metrics.total("waypost_scans_dropped_total");
        load.wait();
        edge.kill();
        kills_in_use += usize::from(a_segment_was_in_use(&edge.setup.path("data/journal")));
        offered_again += usize::from(put_a_stored_batch_back(&edge));
        edge.start();
        load.go_to(edge.address());
    }
    load.stop();
    edge.wait_until_stored();
    duplicates += edge.metrics().get("waypost_store_duplicate_batches_total");
    drop(copies);

    assert_eq!(dropped, 0, "the disk is too slow for this load: scans were dropped, and counted");
    let counts = edge.counts();
    for (code, sent) in load.signs.iter() {
        let (received, sent) = (sent.received.load(Ordering::Relaxed), sent.sent.load(Ordering::Relaxed));
        let counted = counts.get(code).copied().unwrap_or(0);
        assert!((received..=sent).contains(&counted), "{code}: received {received}, counted {counted}, sent {sent}");
    }
    assert_every_batch_is_stored_once(&edge);
    // The test is worth what it has been through.
    assert!(load.received() > 10_000, "only {} scans", load.received());
    assert!(kills_in_use > KILLS / 2, "only {kills_in_use} kills hit a segment in use");
    assert!(offered_again > 0 && duplicates >= 1.0, "no batch was offered twice");
}

fn a_segment_was_in_use(folder: &Path) -> bool {
    let segments = journal::segments(folder).unwrap();
    segments
        .iter()
        .any(|(path, state)| *state == journal::SegmentState::Open && !journal::read(path).unwrap().scans.is_empty())
}

/// A crash after the store's commit and before the file's removal leaves the file there.
fn put_a_stored_batch_back(edge: &Edge) -> bool {
    let database = edge.database();
    for (copy, _) in journal::segments(&edge.setup.path("copies")).unwrap() {
        let id = journal::id_of(&copy).unwrap().to_string();
        let stored = database
            .query_row("SELECT count(*) FROM batches WHERE id = ?1", [&id], |row| row.get::<_, u32>(0))
            .unwrap();
        let place = edge.setup.path("data/journal").join(copy.file_name().unwrap());
        if stored == 1 && !place.exists() {
            fs::rename(copy, place).unwrap();
            return true;
        }
    }
    false
}

fn assert_every_batch_is_stored_once(edge: &Edge) {
    let one = |sql: &str| edge.database().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(one("SELECT count(*) FROM batches"), one("SELECT count(DISTINCT id) FROM batches"));
    assert_eq!(one("SELECT sum(rows) FROM batches"), one("SELECT count(*) FROM scans"));
    assert_eq!(one("SELECT count(*) FROM scans"), one("SELECT count(*) FROM (SELECT DISTINCT batch, seq FROM scans)"));
}

/// Links to sealed segments, made while they are there.
struct Copies {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Copies {
    fn keep(journal: &Path, copies: &Path) -> Self {
        fs::create_dir(copies).unwrap();
        let (journal, copies) = (journal.to_owned(), copies.to_owned());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for (path, state) in journal::segments(&journal).unwrap_or_default() {
                    if state == journal::SegmentState::Sealed {
                        fs::hard_link(&path, copies.join(path.file_name().unwrap())).ok();
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().ok();
    }
}
