//! The real binary, watched: it scans, is killed and started, and every call is written down.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::images::{Image, Seen};
use super::recording::Recording;
use crate::support::refuse::preload;
use crate::support::{Edge, Random, Setup, wait_for};

pub(super) struct Recorder {
    folder: TempDir,
}

impl Recorder {
    pub(super) fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        preload("recording/power_cut/record.c", folder.path());
        Self { folder }
    }

    pub(super) fn watched(&self, setup: Setup) -> Setup {
        let below = fs::canonicalize(setup.folder.path()).unwrap();
        let into = below.join("recording");
        fs::create_dir(&into).unwrap();
        setup
            .env("WAYPOST_RECORD_INTO", into)
            .env("WAYPOST_RECORD_JOURNAL", below.join("data/journal"))
            .env("WAYPOST_RECORD_BELOW", below)
            .env("LD_PRELOAD", self.folder.path().join("record.so"))
            .set("journal", "segment", "\"64KiB\"")
            .set("journal", "seal_after", "\"400ms\"")
            .set("journal", "sync_every", "\"40ms\"")
    }

    /// Scans, a store that is away for a while, a kill and a start among them, and a stop. Returns how
    /// many scans there were as well.
    pub(super) fn record_a_life(&self, random: &mut Random) -> (Recording, usize) {
        let mut edge = self.watched(Setup::new()).set("edge", "workers", "2").start();
        let mut scans = 0;
        for round in 0..3 {
            scans += scan(&edge, 300, random);
            let database = wait_for("the store is there", || {
                let database = edge.database();
                database.execute_batch("BEGIN EXCLUSIVE").ok().map(|()| database)
            });
            scans += scan(&edge, 300, random);
            let sealed = || edge.metrics().get("waypost_journal_sealed_segments") >= 2.0;
            wait_for("sealed segments wait", || sealed().then_some(()));
            if round == 1 {
                scans += scan(&edge, 30, random);
                kill(&mut edge);
                drop(database);
                edge.start();
            } else {
                database.execute_batch("ROLLBACK").unwrap();
            }
        }
        scans += scan(&edge, 30, random);
        assert_eq!(edge.metrics().total("waypost_scans_dropped_total"), 0);
        edge.metrics().assert_books_balance();
        edge.stop();
        (Recording::read(edge.setup.folder.path(), None), scans)
    }

    /// The real binary starts on an image, stores what is whole, sets the rest aside, and is killed.
    pub(super) fn record_a_recovery(&self, image: &Image<'_>, first: &Seen, recording: &Recording) -> Recording {
        let setup = self.watched(Setup::new());
        image.write(setup.folder.path());
        let mut edge = setup.start();
        edge.wait_until_stored();
        let metrics = edge.metrics();
        metrics.assert_books_balance();
        assert_eq!(metrics.total("waypost_scans_stored_total"), first.records);
        assert_eq!(metrics.total("waypost_scans_quarantined_total"), first.lost);
        assert_eq!(edge.scan("/A1B2C3").status, 302);
        kill(&mut edge);
        Recording::read(edge.setup.folder.path(), Some((image, recording)))
    }
}

/// `kill -9`, by the recorder's hand, so that no call is done and not written down.
fn kill(edge: &mut Edge) {
    let asked = edge.setup.path("recording/kill");
    fs::write(&asked, "").unwrap();
    wait_for("it is killed", || (!asked.exists()).then_some(()));
    edge.kill();
}

/// Scans in bursts, so that a sync meets nothing, a few records or many.
pub(super) fn scan(edge: &Edge, scans: usize, random: &mut Random) -> usize {
    for _ in 0..scans {
        assert_eq!(edge.scan("/A1B2C3").status, 302);
        if random.below(40) == 0 {
            std::thread::sleep(Duration::from_millis(random.below(60)));
        }
    }
    scans
}
