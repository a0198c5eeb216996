//! After a power cut nothing is lost that had been synced, nothing is there that was never
//! recorded, the books say what is missing as far as anybody can know it, and the process starts.
//!
//! The real binary records scans while every change and sync of its journal is written down
//! (`power_cut/record.c`), through a kill and a start among other things. From that the disks are made
//! that a cut at each moment may leave, and each is recovered, twice. Some are given to the real
//! binary, whose recovery is written down in the same way, and cut as well.
//!
//! What a disk keeps, which is less than the file systems in use promise:
//! - of a file, what was in it when its last sync began; of what came after, each 512 bytes on their
//!   own in any state they have been in since, and any length it has had since;
//! - of names, what was so when their folder was last synced; later ones, each file on its own, up
//!   to any of the steps it has gone through. A rename is one step, as in every journalling file system;
//! - a sync of a file says nothing of its name, and one of a folder nothing of the folder's own name.
//!
//! A file's count of records and its header are in one sector. So the count is never there without
//! the header, and it may be older or newer than the records that are there.

mod images;
mod recorder;
mod recording;

use std::path::PathBuf;

use crate::support::{Random, Setup, wait_for};
use images::{Moment, Seen};
use recorder::{Recorder, scan};
use recording::Recording;

const SECTOR: usize = 512;
const PAGE: usize = 4096;
/// Up to so many images all are tried.
const ALL: u64 = 1 << 14;
/// Else so many, chosen by chance.
const CHOSEN: u64 = 10_000;
/// Images that the real binary is started on.
const STARTED: usize = 6;
/// Images of each of these starts.
const CHOSEN_OF_A_START: u64 = 300;

#[test]
fn a_power_cut_costs_nothing_that_was_synced_and_a_second_one_no_more() {
    let mut random = Random::new();
    let recorder = Recorder::build();
    let (recording, scans) = recorder.record_a_life(&mut random);
    assert_eq!(recording.records(), scans, "the recording has every scan that was answered");
    recording.assert_a_file_goes_only_when_its_batch_is_on_the_disk();

    let images = recording.images(CHOSEN, &mut random);
    let seen: Vec<_> = images.iter().map(|image| (image, image.assert_recovers())).collect();
    let count = |what: fn(&Seen) -> bool| seen.iter().filter(|(_, seen)| what(seen)).count();
    let lossy = count(|seen| seen.lost > 0);
    eprintln!("{} images of {} moments, {lossy} with counted losses", images.len(), recording.cuts().len());
    // The test is worth what it has been through.
    assert!(images.len() > 2_000 && lossy > 200, "{} images, {lossy} with losses", images.len());
    assert!(count(|seen| seen.records > 0 && seen.lost == 0) > 200, "images without a loss");
    assert!(count(|seen| seen.files > 2) > 200, "images of several segments");
    assert!(count(|seen| seen.without_header > 0) > 20, "images without a header");
    assert!(count(|seen| seen.newer_than_count > 0) > 20, "images with records that the count does not know");

    let mut hurt: Vec<_> = seen.iter().filter(|(_, seen)| seen.lost > 0 && seen.files > 1).collect();
    for _ in 0..STARTED {
        let (image, first) = hurt.swap_remove(random.index(hurt.len()));
        let second = recorder.record_a_recovery(image, first, &recording);
        for image in second.images(CHOSEN_OF_A_START, &mut random) {
            image.assert_recovers();
        }
    }
}

#[test]
fn what_is_recorded_reaches_the_disk_under_its_name_while_the_segment_is_open() {
    let mut random = Random::new();
    let edge = Recorder::build().watched(Setup::new()).set("journal", "seal_after", "\"1h\"").start();
    for scans in [1, 200, 201] {
        let missing = scans - edge.metrics().total("waypost_scans_recorded_total") as usize;
        scan(&edge, missing, &mut random);
        wait_for("it is on the disk", || {
            let recording = Recording::read(edge.setup.folder.path(), None);
            let after = Moment::of(&recording, recording.events.len() + 1);
            let is_open = |place: &Option<PathBuf>| place.as_ref().unwrap().extension().unwrap() == "open";
            assert!(after.files.iter().all(|file| file.places.iter().all(|place| place.is_none() || is_open(place))));
            assert!(after.files.iter().map(|file| file.written).sum::<usize>() <= scans);
            let is_sure = after.folders.iter().all(|(_, digit)| digit.is_none());
            let synced: usize = after.files.iter().map(|file| file.synced.len()).sum();
            (is_sure && synced == scans).then_some(())
        });
    }
}
