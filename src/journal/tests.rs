//! What the journal's parts promise each other.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::format::BLOCK;
use super::format::tests::golden;
use super::{Counts, Dropped, Journal, SegmentState, Settings, Writer, segments};

fn settings(folder: &Path) -> Settings {
    Settings {
        folder: folder.to_owned(),
        edge: "test".to_owned(),
        segment: 2 * BLOCK as u64,
        seal_after: Duration::ZERO,
        seal_after_outage: Duration::ZERO,
        sync_every: Duration::from_secs(1),
        max_size: 1 << 40,
        min_free: 0,
    }
}

fn open(folder: &Path) -> (Arc<Journal>, Writer) {
    let journal = Journal::open(settings(folder), 1).expect("a journal");
    let writer = Writer::new(&journal, 0);
    (journal, writer)
}

#[test]
fn a_segment_that_is_ready_is_taken_whoever_looks_at_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, mut writer) = open(folder.path());
    let slot = &journal.slots[0];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // The sealer looks as often as it can; nothing is removed.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                slot.drop_removed();
                std::hint::black_box(slot.is_filled());
            }
        });
        for _ in 0..300 {
            journal.maker.fill_slots();
            while slot.is_filled() {
                writer.append(&golden());
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(journal.dropped().map(|(_, count)| count), [0; Dropped::ALL.len()], "each next segment was there");
}

#[test]
fn a_segment_that_can_not_be_sealed_stays_pending_until_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, mut writer) = open(folder.path());
    writer.append(&golden());
    drop(writer);
    let (path, _) = segments(folder.path()).expect("a folder").swap_remove(0);
    // A folder has its new name.
    let in_the_way = path.with_extension(SegmentState::Sealed.as_str());
    fs::create_dir(&in_the_way).expect("a folder");
    for errors in 1..3 {
        journal.sealer.seal_closed();
        let Counts { recorded, pending, sealed_segments, .. } = journal.counts();
        assert_eq!((recorded, pending, sealed_segments, journal.syncs().1), (1, 1, 0, errors));
    }
    fs::remove_dir(&in_the_way).expect("a folder");
    journal.sealer.seal_closed();
    let Counts { pending, sealed_segments, .. } = journal.counts();
    assert_eq!((pending, sealed_segments, journal.syncs().1), (1, 1, 2));
}

#[test]
fn what_waits_for_a_batch_is_woken_by_one_and_by_the_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let (journal, mut writer) = open(folder.path());
    let next = || journal.next(Duration::from_mins(1), |waiting| waiting.next());
    std::thread::scope(|scope| {
        let batch = scope.spawn(next);
        writer.append(&golden());
        drop(writer);
        journal.sealer.seal_closed();
        let batch = batch.join().expect("it is woken").expect("a batch");
        assert_eq!(batch.records, 1);
        journal.settle(&batch, 1).expect("settled");
        let none = scope.spawn(next);
        journal.stop();
        assert_eq!(none.join().expect("it is woken"), None);
    });
}

#[test]
fn a_journal_that_is_full_says_why_scans_are_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { max_size: 3 * BLOCK as u64, ..settings(folder.path()) };
    let journal = Journal::open(settings, 1).expect("a journal");
    let mut writer = Writer::new(&journal, 0);
    let mut scans = 0;
    while journal.dropped().iter().all(|(_, count)| *count == 0) {
        writer.append(&golden());
        journal.maker.fill_slots();
        scans += 1;
    }
    assert_eq!(journal.dropped().map(|(_, count)| count), [0, 0, 1, 0, 0]);
    let Counts { recorded, pending, .. } = journal.counts();
    assert_eq!((recorded, pending), (scans - 1, scans - 1));
}
