//! The journal against a list in memory, through any order of what can happen to it.
//!
//! Owns no promise but this: after each step the books balance and say what the list says, and the
//! folder holds exactly the list's records, in their order. Crashes and restarts are steps like others.
//! The steps of the two threads are taken one at a time, which is why this is a part of the module.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::format::{BLOCK, Payload, frame_size};
use super::{Counts, Journal, OpenError, Sealed, SegmentState, Settings, Writer, read, retry_quarantined, segments};
use crate::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Scan};

const WORKERS: usize = 2;
/// The header's block, and two that hold about sixty records each.
const SEGMENT: usize = 3 * BLOCK;

#[derive(Debug, Clone)]
enum Step {
    Append {
        worker: usize,
        scans: usize,
    },
    /// The worker hands over a segment that is old enough.
    Tick {
        worker: usize,
    },
    Make,
    Seal,
    Sync,
    /// The store confirms the oldest batch, of which all or some could be read.
    Settle {
        of_100: u32,
    },
    Quarantine,
    /// A person puts back what was rejected.
    Retry,
    /// Somebody removes the oldest batch.
    Remove,
    /// `kill -9`.
    Crash,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let worker = 0..WORKERS;
    let step = prop_oneof![
        6 => (worker.clone(), 1..50usize).prop_map(|(worker, scans)| Step::Append { worker, scans }),
        2 => worker.prop_map(|worker| Step::Tick { worker }),
        3 => Just(Step::Make),
        3 => Just(Step::Seal),
        1 => Just(Step::Sync),
        2 => Just(Step::Settle { of_100: 100 }),
        1 => (0..100u32).prop_map(|of_100| Step::Settle { of_100 }),
        1 => Just(Step::Quarantine),
        1 => Just(Step::Retry),
        1 => Just(Step::Remove),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

fn scan(number: u64) -> Scan {
    Scan {
        ts_ms: number.cast_signed(),
        generation: 1,
        code: format!("S{number}").parse().unwrap(),
        outcome: Outcome::Found,
        channel: Channel::Qr,
        client: Client { device: Device::Phone, os: Os::Android, app: App::Zalo, agent: Agent::Person },
        repeat: false,
        lang: "vi".try_into().unwrap(),
        served: "vi".try_into().unwrap(),
        // Frames of several sizes.
        origin: Origin {
            country: "VN".try_into().unwrap(),
            region: ["", "LS"][(number % 2) as usize].try_into().unwrap(),
        },
    }
}

/// The identity that always holds.
fn assert_books_balance(counts: &Counts) {
    assert_eq!(
        counts.recorded + counts.recovered,
        counts.stored + counts.pending + counts.quarantined + counts.lost,
        "the books balance: {counts:?}"
    );
}

/// A segment as the list has it: the numbers of its scans.
#[derive(Debug, Clone, Default, PartialEq)]
struct Listed {
    scans: Vec<u64>,
    end: usize,
    is_synced: bool,
}

impl Listed {
    /// Whether a frame fits, by the format as it is drawn: none spans blocks.
    fn append(&mut self, number: u64) -> bool {
        let size = frame_size(Payload::encode(&scan(number)).bytes().len());
        let mut at = self.end.max(BLOCK);
        if at % BLOCK + size > BLOCK {
            at = at.next_multiple_of(BLOCK);
        }
        if at + size > SEGMENT {
            return false;
        }
        self.end = at + size;
        self.scans.push(number);
        self.is_synced = false;
        true
    }
}

/// What there should be. Segments are named by numbers that rise as they are made.
#[derive(Debug, Default)]
struct List {
    next_scan: u64,
    next_segment: u64,
    spare: [Option<u64>; WORKERS],
    current: [Option<(u64, Listed)>; WORKERS],
    closed: BTreeMap<u64, Listed>,
    sealed: BTreeMap<u64, Listed>,
    rejected: BTreeMap<u64, Listed>,
    damaged: BTreeMap<u64, Listed>,
    recorded: u64,
    recovered: u64,
    stored: u64,
    quarantined: u64,
    lost: u64,
    dropped: u64,
    syncs: u64,
}

impl List {
    fn make(&mut self) {
        for spare in &mut self.spare {
            if spare.is_none() {
                *spare = Some(self.next_segment);
                self.next_segment += 1;
            }
        }
    }

    fn append(&mut self, worker: usize, number: u64) {
        let fits = |current: &mut Option<(u64, Listed)>| current.as_mut().is_some_and(|(_, list)| list.append(number));
        if !fits(&mut self.current[worker]) {
            self.hand_over(worker);
            self.current[worker] = self.spare[worker].take().map(|name| (name, Listed::default()));
            if !fits(&mut self.current[worker]) {
                self.dropped += 1;
                return;
            }
        }
        self.recorded += 1;
    }

    fn hand_over(&mut self, worker: usize) {
        self.closed.extend(self.current[worker].take());
    }

    fn seal(&mut self) {
        let closed = std::mem::take(&mut self.closed);
        self.sealed.extend(closed.into_iter().filter(|(_, list)| !list.scans.is_empty()));
    }

    /// Another process: everything is sealed, and the books begin anew.
    fn reopen(&mut self) {
        (0..WORKERS).for_each(|worker| self.hand_over(worker));
        self.seal();
        self.spare = [None; WORKERS];
        self.recovered = records(&self.sealed);
        (self.recorded, self.stored, self.quarantined, self.lost) = (0, 0, 0, 0);
        (self.dropped, self.syncs) = (0, 0);
        self.make();
    }

    /// The scans of each segment that has some, oldest first, and what it is.
    fn folder(&self) -> Vec<(SegmentState, Vec<u64>)> {
        let open = self.current.iter().flatten().map(|(name, list)| (name, list)).chain(&self.closed);
        let all = open.map(|(name, list)| (name, SegmentState::Open, list));
        let all = all.chain(self.sealed.iter().map(|(name, list)| (name, SegmentState::Sealed, list)));
        in_order(all)
    }

    fn quarantine(&self) -> Vec<(SegmentState, Vec<u64>)> {
        let rejected = self.rejected.iter().map(|(name, list)| (name, SegmentState::Rejected, list));
        in_order(rejected.chain(self.damaged.iter().map(|(name, list)| (name, SegmentState::Damaged, list))))
    }

    fn pending(&self) -> u64 {
        let open = self.current.iter().flatten().map(|(_, list)| list.scans.len() as u64);
        open.sum::<u64>() + records(&self.closed) + records(&self.sealed)
    }
}

fn records(segments: &BTreeMap<u64, Listed>) -> u64 {
    segments.values().map(|list| list.scans.len() as u64).sum()
}

fn in_order<'a>(all: impl Iterator<Item = (&'a u64, SegmentState, &'a Listed)>) -> Vec<(SegmentState, Vec<u64>)> {
    let with_records = all.filter(|(.., list)| !list.scans.is_empty());
    let by_name: BTreeMap<_, _> =
        with_records.map(|(name, state, list)| (*name, (state, list.scans.clone()))).collect();
    by_name.into_values().collect()
}

/// The same, as the folder has it.
fn found(folder: &Path) -> Vec<(SegmentState, Vec<u64>)> {
    let read = segments(folder).unwrap().into_iter().map(|(path, state)| {
        let contents = read(&path).unwrap();
        assert_eq!(contents.lost, 0);
        let numbers = contents.scans.iter().enumerate().map(|(at, (seq, found))| {
            let number = found.ts_ms.cast_unsigned();
            assert_eq!((*seq as usize, found), (at, &scan(number)));
            number
        });
        (state, numbers.collect::<Vec<_>>())
    });
    read.filter(|(_, numbers)| !numbers.is_empty()).collect()
}

/// A journal that is open, without its threads.
struct Real {
    folder: TempDir,
    journal: Arc<Journal>,
    writers: Vec<Writer>,
}

impl Real {
    fn open(folder: TempDir) -> Self {
        let settings = Settings {
            folder: folder.path().to_owned(),
            edge: "test".to_owned(),
            segment: SEGMENT as u64,
            seal_after: Duration::ZERO,
            seal_after_outage: Duration::ZERO,
            sync_every: Duration::from_secs(1),
            max_size: 1 << 30,
            min_free: 0,
        };
        let journal = loop {
            match Journal::open(settings.clone(), WORKERS) {
                // A process that another test starts has our locks, too, from its fork to its exec.
                Err(OpenError::InUse(_)) => std::thread::yield_now(),
                journal => break journal.unwrap(),
            }
        };
        let writers = (0..WORKERS).map(|worker| Writer::new(&journal, worker)).collect();
        Self { folder, journal, writers }
    }

    /// A folder in memory where there is one.
    fn folder() -> TempDir {
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
    }

    /// What a crash leaves is what is in the folder at that moment.
    fn crash(self) -> Self {
        let left = Self::folder();
        for inner in ["", "quarantine"] {
            fs::create_dir_all(left.path().join(inner)).unwrap();
            for entry in fs::read_dir(self.folder.path().join(inner)).unwrap() {
                let entry = entry.unwrap();
                if entry.path().is_file() {
                    fs::copy(entry.path(), left.path().join(inner).join(entry.file_name())).unwrap();
                }
            }
        }
        Self::open(left)
    }

    fn restart(self) -> Self {
        let Self { folder, journal, writers } = self;
        drop(writers);
        journal.stop();
        journal.make_segments();
        journal.seal_segments();
        assert_eq!(Arc::strong_count(&journal), 1);
        drop(journal);
        assert!(
            found(folder.path()).iter().all(|(state, _)| *state == SegmentState::Sealed),
            "a stop seals everything"
        );
        Self::open(folder)
    }

    fn oldest(&self) -> Option<Sealed> {
        self.journal.next(Duration::ZERO, |waiting| waiting.next())
    }

    fn assert_is(&self, list: &List, step: &Step) {
        let counts = self.journal.counts();
        assert_books_balance(&counts);
        let Counts { recorded, recovered, stored, quarantined, pending, lost, sealed_segments, .. } = counts;
        assert_eq!(
            (recorded, recovered, stored, quarantined, pending, lost, sealed_segments),
            (
                list.recorded,
                list.recovered,
                list.stored,
                list.quarantined,
                list.pending(),
                list.lost,
                list.sealed.len() as u64
            ),
            "recorded, recovered, stored, quarantined, pending, lost, sealed segments after {step:?}"
        );
        assert_eq!(self.journal.dropped().iter().map(|(_, scans)| scans).sum::<u64>(), list.dropped);
        assert_eq!(self.journal.syncs(), (list.syncs, 0), "after {step:?}");
        assert_eq!(found(self.folder.path()), list.folder(), "after {step:?}");
        assert_eq!(found(&self.folder.path().join("quarantine")), list.quarantine(), "after {step:?}");
    }
}

/// Takes a step in both.
fn take(mut real: Real, list: &mut List, step: &Step) -> Real {
    match *step {
        Step::Append { worker, scans } => {
            for _ in 0..scans {
                let number = list.next_scan;
                list.next_scan += 1;
                real.writers[worker].append(&scan(number));
                list.append(worker, number);
            }
        }
        Step::Tick { worker } => {
            real.writers[worker].tick();
            let has_records = list.current[worker].as_ref().is_some_and(|(_, current)| !current.scans.is_empty());
            if has_records && list.spare[worker].is_some() {
                list.hand_over(worker);
                list.current[worker] =
                    list.spare[worker].take().map(|name| (name, Listed { is_synced: true, ..Listed::default() }));
            }
        }
        Step::Make => {
            real.journal.maker.fill_slots();
            list.make();
        }
        Step::Seal => {
            real.journal.sealer.seal_closed();
            list.seal();
        }
        Step::Sync => {
            real.journal.sealer.sync();
            for (_, current) in list.current.iter_mut().flatten().filter(|(_, current)| !current.is_synced) {
                current.is_synced = true;
                list.syncs += 1;
            }
        }
        Step::Settle { of_100 } => {
            let sealed = real.oldest();
            assert_eq!(sealed.is_some(), !list.sealed.is_empty());
            if let (Some(sealed), Some((name, oldest))) = (sealed, list.sealed.pop_first()) {
                let stored = sealed.records * of_100 / 100;
                real.journal.settle(&sealed, stored).unwrap();
                list.stored += u64::from(stored);
                list.quarantined += u64::from(sealed.records - stored);
                if stored < sealed.records {
                    list.damaged.insert(name, oldest);
                }
            }
        }
        Step::Quarantine => {
            if let Some(sealed) = real.oldest() {
                real.journal.quarantine_batch(&sealed).unwrap();
                list.quarantined += u64::from(sealed.records);
                list.rejected.extend(list.sealed.pop_first());
            }
        }
        Step::Retry => {
            let returned = retry_quarantined(real.folder.path()).unwrap();
            real.journal.sealer.take_returned(&mut HashSet::new());
            assert_eq!(returned, list.rejected.len());
            // They are found as if at a start; what they were before stays in the books.
            list.recovered += records(&list.rejected);
            list.sealed.append(&mut list.rejected);
        }
        Step::Remove => {
            if let Some(sealed) = real.oldest() {
                fs::remove_file(&sealed.path).unwrap();
                list.lost += list.sealed.pop_first().map_or(0, |(_, oldest)| oldest.scans.len() as u64);
            }
            real.journal.sealer.look_for_removed();
        }
        Step::Crash => {
            real = real.crash();
            list.reopen();
        }
        Step::Restart => {
            real = real.restart();
            list.reopen();
        }
    }
    real
}

proptest! {
    #[test]
    fn through_any_order_of_steps_the_journal_is_a_list(steps in steps()) {
        let mut real = Real::open(Real::folder());
        let mut list = List::default();
        list.make();
        for step in &steps {
            real = take(real, &mut list, step);
            real.assert_is(&list, step);
        }
    }
}
