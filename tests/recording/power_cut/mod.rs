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

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::support::refuse::preload;
use crate::support::{Edge, Random, Setup, journal_settings, open_journal, wait_for};
use tempfile::TempDir;
use uuid::Uuid;
use waypost::core::scan::Scan;
use waypost::journal::{self, Contents};

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

// === The real binary, watched ===

struct Recorder {
    folder: TempDir,
}

impl Recorder {
    fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        preload("recording/power_cut/record.c", folder.path());
        Self { folder }
    }

    fn watched(&self, setup: Setup) -> Setup {
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
    fn record_a_life(&self, random: &mut Random) -> (Recording, usize) {
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
    fn record_a_recovery(&self, image: &Image<'_>, first: &Seen, recording: &Recording) -> Recording {
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
fn scan(edge: &Edge, scans: usize, random: &mut Random) -> usize {
    for _ in 0..scans {
        assert_eq!(edge.scan("/A1B2C3").status, 302);
        if random.below(40) == 0 {
            std::thread::sleep(Duration::from_millis(random.below(60)));
        }
    }
    scans
}

// === What was recorded ===

/// One call, as `record.c` wrote it down.
struct Event {
    kind: u8,
    path: PathBuf,
    to: PathBuf,
    snapshots: Vec<(PathBuf, Version)>,
}

/// What was in a file at some time. The zeros at the end are left out, and count in the size.
#[derive(Clone, PartialEq)]
struct Version {
    bytes: Vec<u8>,
    size: u64,
}

impl Version {
    fn whole(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(usize::try_from(self.size).unwrap(), 0);
        bytes
    }

    fn sector(&self, number: usize) -> [u8; SECTOR] {
        let from = self.bytes.get(number * SECTOR..).unwrap_or(&[]);
        let mut sector = [0; SECTOR];
        let len = from.len().min(SECTOR);
        sector[..len].copy_from_slice(&from[..len]);
        sector
    }
}

/// Something that changes, with the event of each state, and what of it was brought to the disk when.
struct Steps<T> {
    states: Vec<(usize, T)>,
    /// Event, and number of the state.
    synced: Vec<(usize, usize)>,
}

impl<T: PartialEq> Steps<T> {
    fn on_the_disk(state: T) -> Self {
        Self { states: vec![(0, state)], synced: vec![(0, 0)] }
    }

    fn step(&mut self, event: usize, state: T) {
        if *self.last() != state {
            self.states.push((event, state));
        }
    }

    fn last(&self) -> &T {
        &self.states.last().unwrap().1
    }

    fn on_disk(&self) -> &T {
        &self.states[self.synced.last().unwrap().1].1
    }

    fn sync(&mut self, event: usize, state: usize) {
        self.synced.push((event, state));
    }

    /// The states that a cut during an event may leave: first what was on the disk before.
    fn at_a_cut(&self, event: usize) -> impl Iterator<Item = &T> {
        let (_, first) = *self.synced.iter().rfind(|(synced, _)| *synced < event).unwrap();
        self.states.iter().skip(first).take_while(move |(at, _)| *at <= event).map(|(_, state)| state)
    }
}

/// One segment's.
struct Life {
    id: Uuid,
    content: Steps<Version>,
    /// Where it is, below the recording's folder; nowhere before it is made and after it is removed.
    place: Steps<Option<PathBuf>>,
    /// Steps of the place that are not on the disk: their number, and the folders to be synced.
    unsynced: Vec<(usize, BTreeSet<PathBuf>)>,
    /// What was written to it, in order.
    scans: Vec<Scan>,
    /// Whether it is from another recording, which knows more of it.
    is_inherited: bool,
}

impl Life {
    fn starts(id: Uuid, place: Option<PathBuf>, content: Version) -> Self {
        let (content, place) = (Steps::on_the_disk(content), Steps::on_the_disk(place));
        Self { id, content, place, unsynced: Vec::new(), scans: Vec::new(), is_inherited: false }
    }

    fn go(&mut self, event: usize, to: Option<PathBuf>) {
        let folders = [self.place.last(), &to].into_iter().flatten().map(|path| path.parent().unwrap().to_owned());
        let folders = folders.collect();
        self.place.step(event, to);
        self.unsynced.push((self.place.states.len() - 1, folders));
    }

    /// Its content was brought to the disk, or that of its pages up to a place.
    fn synced(&mut self, event: usize, up_to: Option<usize>) {
        let now = self.content.last().clone();
        let up_to = up_to.map_or(usize::MAX, |up_to| up_to.next_multiple_of(PAGE));
        if up_to < now.bytes.len() {
            let mut synced = self.content.on_disk().whole();
            synced.resize(synced.len().max(now.bytes.len()), 0);
            synced[..up_to].copy_from_slice(&now.bytes[..up_to]);
            self.content.step(event, Version { bytes: synced, size: now.size });
            self.content.sync(event, self.content.states.len() - 1);
            self.content.step(event, now);
        } else {
            self.content.sync(event, self.content.states.len() - 1);
        }
    }

    fn folder_synced(&mut self, event: usize, folder: &Path) {
        for (_, folders) in &mut self.unsynced {
            folders.remove(folder);
        }
        if let Some(done) = self.unsynced.iter().rposition(|(_, folders)| folders.is_empty()) {
            let (step, _) = self.unsynced.drain(..=done).next_back().unwrap();
            self.place.sync(event, step);
        }
    }

    fn is_at(&self, path: &Path) -> bool {
        self.place.last().as_deref() == Some(path)
    }
}

struct Recording {
    events: Vec<Event>,
    lives: Vec<Life>,
    folders: BTreeMap<PathBuf, Steps<bool>>,
}

impl Recording {
    /// Of a folder in which edges have run; it began as an image of another recording, or empty.
    fn read(root: &Path, began: Option<(&Image<'_>, &Self)>) -> Self {
        let root = fs::canonicalize(root).unwrap();
        let mut recording = Self { events: Vec::new(), lives: Vec::new(), folders: BTreeMap::new() };
        if let Some((image, before)) = began {
            recording.folders = image.folders().map(|path| (path.clone(), Steps::on_the_disk(true))).collect();
            for file in image.files() {
                let mut life = Life::starts(file.life.id, Some(file.place), file.content);
                life.scans.clone_from(&before.life(life.id).scans);
                life.is_inherited = true;
                recording.lives.push(life);
            }
        }
        let mut processes: Vec<_> =
            fs::read_dir(root.join("recording")).unwrap().map(|entry| entry.unwrap().path()).collect();
        processes.sort();
        for process in processes {
            let bytes = fs::read(process).unwrap();
            let mut rest = &bytes[..];
            // One that was killed may have left the beginning of an event.
            while let Some(event) = event(&mut rest, &root) {
                recording.take(event);
            }
        }
        for life in &mut recording.lives {
            let contents = journal::parse(&life.content.last().whole());
            if !life.is_inherited {
                assert!(contents.scans.iter().map(|(seq, _)| *seq).eq(0..contents.scans.len() as u32), "a gap");
                life.scans = contents.scans.into_iter().map(|(_, scan)| scan).collect();
            }
        }
        recording
    }

    fn take(&mut self, event: Event) {
        let now = self.events.len() + 1;
        let is_segment = |path: &Path| {
            matches!(path.extension().and_then(|kind| kind.to_str()), Some("open" | "sealed"))
                && path.starts_with("data/journal")
        };
        match event.kind {
            b'c' if is_segment(&event.path) => {
                let id = journal::id_of(&event.path).unwrap();
                let mut life = Life::starts(id, None, Version { bytes: Vec::new(), size: 0 });
                life.go(now, Some(event.path.clone()));
                self.lives.push(life);
            }
            b'r' if is_segment(&event.path) => self.at(&event.path).go(now, Some(event.to.clone())),
            b'u' if is_segment(&event.path) => self.at(&event.path).go(now, None),
            b'm' => {
                let mut there = Steps::on_the_disk(false);
                there.step(now, true);
                self.folders.insert(event.path.clone(), there);
            }
            b'd' => {
                self.lives.iter_mut().for_each(|life| life.folder_synced(now, &event.path));
                for (_, there) in self.folders.iter_mut().filter(|(path, _)| path.parent() == Some(&event.path)) {
                    there.sync(now, there.states.len() - 1);
                }
            }
            _ => {}
        }
        for (path, version) in &event.snapshots {
            self.at(path).content.step(now, version.clone());
        }
        if let (b's' | b'y', Some(life)) = (event.kind, self.lives.iter_mut().find(|life| life.is_at(&event.path))) {
            life.synced(now, event.to.to_str().unwrap().parse().ok());
        }
        self.events.push(event);
    }

    fn at(&mut self, path: &Path) -> &mut Life {
        let life = self.lives.iter_mut().find(|life| life.is_at(path));
        life.unwrap_or_else(|| panic!("{} is there, and nobody was seen to make it", path.display()))
    }

    fn life(&self, id: Uuid) -> &Life {
        self.lives.iter().find(|life| life.id == id).unwrap()
    }

    fn records(&self) -> usize {
        self.lives.iter().map(|life| life.scans.len()).sum()
    }

    /// The store said yes, and meant it: its own log was synced before.
    fn assert_a_file_goes_only_when_its_batch_is_on_the_disk(&self) {
        let (mut committed, mut gone) = (false, 0);
        for event in &self.events {
            match event.kind {
                b's' if event.path.ends_with("waypost.db-wal") => committed = true,
                b'u' if event.path.extension().is_some_and(|kind| kind == "sealed") => {
                    assert!(committed, "{} went before its batch was on the disk", event.path.display());
                    (committed, gone) = (false, gone + 1);
                }
                _ => {}
            }
        }
        assert!(gone >= 6, "only {gone} batches were delivered");
    }

    /// The events at which a cut may leave most: those that end with something on the disk, and the end.
    fn cuts(&self) -> Vec<usize> {
        let ends = |event: &Event| match event.kind {
            b's' | b'y' => event.path.starts_with("data/journal"),
            b'd' => true,
            _ => false,
        };
        let syncs = (1..).zip(&self.events).filter(|(_, event)| ends(event)).map(|(number, _)| number);
        syncs.chain([self.events.len() + 1]).collect()
    }

    /// What a cut may leave, at each moment: all of it, or else as many images as are asked for.
    fn images(&self, chosen: u64, random: &mut Random) -> Vec<Image<'_>> {
        let mut moments: Vec<_> = self.cuts().into_iter().map(|cut| Rc::new(Moment::of(self, cut))).collect();
        moments.sort_by_key(|moment| moment.images);
        let all = moments.iter().fold(0, |sum: u64, moment| sum.saturating_add(moment.images));
        let (mut budget, mut images) = (if all <= ALL { all } else { chosen }, Vec::new());
        let mut moments_left = moments.len() as u64;
        for moment in moments {
            // Those that have few leave more to the others.
            let share = (budget / moments_left).min(moment.images);
            let image = |choices| Image { moment: moment.clone(), choices };
            if share == moment.images {
                images.extend((0..share).map(|number| image(moment.digits(number))));
            } else {
                images.extend((0..share).map(|number| image(moment.draw(number, random))));
            }
            (budget, moments_left) = (budget - share, moments_left - 1);
        }
        images
    }
}

fn event(rest: &mut &[u8], root: &Path) -> Option<Event> {
    fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
        let (taken, after) = rest.split_at_checked(len)?;
        *rest = after;
        Some(taken)
    }
    fn number(rest: &mut &[u8]) -> Option<usize> {
        Some(u32::from_le_bytes(take(rest, 4)?.try_into().unwrap()) as usize)
    }
    fn path(rest: &mut &[u8], root: &Path) -> Option<PathBuf> {
        let len = number(rest)?;
        let path = Path::new(std::str::from_utf8(take(rest, len)?).unwrap());
        // `config/../data` is `data`.
        let parts = path.strip_prefix(root).unwrap_or(path).components();
        Some(parts.fold(PathBuf::new(), |path, part| match part {
            Component::ParentDir => path.parent().unwrap().to_owned(),
            part => path.join(part),
        }))
    }
    let kind = take(rest, 1)?[0];
    let mut event = Event { kind, path: path(rest, root)?, to: path(rest, root)?, snapshots: Vec::new() };
    for _ in 0..number(rest)? {
        let path = path(rest, root)?;
        let size = u64::from_le_bytes(take(rest, 8)?.try_into().unwrap());
        let len = number(rest)?;
        event.snapshots.push((path, Version { bytes: take(rest, len)?.to_vec(), size }));
    }
    Some(event)
}

// === What a cut may leave ===

/// All that may be on the disk after a cut during one event.
struct Moment<'a> {
    /// Those that may be missing have a digit.
    folders: Vec<(&'a Path, Option<usize>)>,
    files: Vec<Possible<'a>>,
    digits: Vec<Digit>,
    /// How many images there are.
    images: u64,
}

/// One choice; 0 is what is on the disk for certain, the last one what was there at the end.
struct Digit {
    choices: u64,
    /// Digits that a disk is likely to choose alike: those of a page, or of a file's size and place.
    page: (usize, usize),
}

/// One segment.
struct Possible<'a> {
    life: &'a Life,
    places: Vec<&'a Option<PathBuf>>,
    sizes: Vec<u64>,
    certain: &'a Version,
    /// The sectors that have changed since, with all they have been.
    sectors: Vec<(usize, Vec<[u8; SECTOR]>)>,
    /// The digit of the place, which those of size and sectors follow.
    digit: usize,
    /// The records that were on the disk, under a name that was.
    synced: Vec<u32>,
    /// How many had been written.
    written: usize,
}

impl<'a> Moment<'a> {
    fn of(recording: &'a Recording, cut: usize) -> Self {
        let mut moment = Self { folders: Vec::new(), files: Vec::new(), digits: Vec::new(), images: 1 };
        for (path, there) in &recording.folders {
            match there.at_a_cut(cut).collect::<Vec<_>>()[..] {
                [false] => {}
                [true] => moment.folders.push((path, None)),
                _ => {
                    moment.folders.push((path, Some(moment.digits.len())));
                    moment.choice(2, (0, 0));
                }
            }
        }
        for life in &recording.lives {
            let places = distinct(life.place.at_a_cut(cut));
            if places == [&None] {
                continue;
            }
            let versions: Vec<_> = life.content.at_a_cut(cut).collect();
            let (certain, last) = (versions[0], versions[versions.len() - 1]);
            let sizes = distinct(versions.iter().map(|version| version.size));
            let (file, digit) = (moment.files.len() + 1, moment.digits.len());
            moment.choice(places.len(), (file, 0));
            moment.choice(sizes.len(), (file, 0));
            let mut sectors = Vec::new();
            let most = versions.iter().map(|version| version.bytes.len()).max().unwrap();
            for number in 0..most.div_ceil(SECTOR) {
                let states = distinct(versions.iter().map(|version| version.sector(number)));
                if states.len() > 1 {
                    moment.choice(states.len(), (file, 1 + number * SECTOR / PAGE));
                    sectors.push((number, states));
                }
            }
            let synced = if places[0].is_some() { journal::parse(&certain.whole()).scans } else { Vec::new() };
            let synced = synced.into_iter().map(|(seq, _)| seq).collect();
            let written = if life.is_inherited { life.scans.len() } else { journal::parse(&last.whole()).scans.len() };
            moment.files.push(Possible { life, places, sizes, certain, sectors, digit, synced, written });
        }
        moment
    }

    fn choice(&mut self, choices: usize, page: (usize, usize)) {
        self.digits.push(Digit { choices: choices as u64, page });
        self.images = self.images.saturating_mul(choices as u64);
    }

    /// The choices of one image of all.
    fn digits(&self, mut number: u64) -> Vec<usize> {
        let mut digit = |digit: &Digit| {
            let choice = number % digit.choices;
            number /= digit.choices;
            choice as usize
        };
        self.digits.iter().map(&mut digit).collect()
    }

    /// Choices by chance: nothing, everything, whole pages, or each for itself with a leaning.
    fn draw(&self, number: u64, random: &mut Random) -> Vec<usize> {
        let (leaning, by_page) = (random.below(101), random.below(3) == 0);
        let mut pages = BTreeMap::new();
        let mut choose = |digit: &Digit| {
            let last = digit.choices - 1;
            let choice = match number {
                0 => 0,
                1 => last,
                _ if by_page => *pages.entry(digit.page).or_insert_with(|| random.below(2)) * last,
                _ if random.below(100) < leaning => last,
                _ => random.below(digit.choices),
            };
            choice as usize
        };
        self.digits.iter().map(&mut choose).collect()
    }
}

/// Each once, in the order in which they came.
fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for one in all {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

/// One disk that a cut may leave.
struct Image<'a> {
    moment: Rc<Moment<'a>>,
    choices: Vec<usize>,
}

/// A segment of an image.
struct Left<'a> {
    life: &'a Life,
    place: PathBuf,
    content: Version,
}

impl<'a> Image<'a> {
    fn folders(&self) -> impl Iterator<Item = PathBuf> {
        let there = |digit: Option<usize>| digit.is_none_or(|digit| self.choices[digit] > 0);
        let is_there = move |path: &Path| {
            let mut above = self.moment.folders.iter().filter(|(folder, _)| path.starts_with(folder));
            above.all(|(_, digit)| there(*digit))
        };
        let folders = self.moment.folders.iter().filter(move |(path, _)| is_there(path));
        folders.map(|(path, _)| path.to_path_buf())
    }

    fn place(&self, file: &Possible<'a>) -> Option<&'a PathBuf> {
        file.places[self.choices[file.digit]].as_ref()
    }

    fn content(&self, file: &Possible<'_>) -> Version {
        let size = file.sizes[self.choices[file.digit + 1]];
        let mut bytes = file.certain.bytes.clone();
        for ((number, states), choice) in file.sectors.iter().zip(&self.choices[file.digit + 2..]) {
            let (from, to) = (number * SECTOR, (number + 1) * SECTOR);
            bytes.resize(bytes.len().max(to), 0);
            bytes[from..to].copy_from_slice(&states[*choice]);
        }
        bytes.truncate(usize::try_from(size).unwrap());
        Version { bytes, size }
    }

    fn files(&self) -> impl Iterator<Item = Left<'a>> {
        let folders: BTreeSet<PathBuf> = self.folders().collect();
        self.moment.files.iter().filter_map(move |file| {
            let place = self.place(file).filter(|place| folders.contains(place.parent().unwrap()))?;
            Some(Left { life: file.life, place: place.clone(), content: self.content(file) })
        })
    }

    fn write(&self, root: &Path) {
        for folder in self.folders() {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in self.files() {
            fs::write(root.join(file.place), file.content.whole()).unwrap();
        }
    }

    /// Opens the journal that is left, as a start does, and once more, as after a cut that follows.
    fn assert_recovers(&self) -> Seen {
        let root = memory();
        self.write(root.path());
        let first = self.recover(root.path());
        let again = self.recover(root.path());
        assert_eq!((first.records, first.lost), (again.records, again.lost), "a second recovery finds the same");
        first
    }

    fn recover(&self, root: &Path) -> Seen {
        let folder = root.join("data/journal");
        let journal = open_journal(&journal_settings(&folder), 0);
        let mut left = BTreeMap::new();
        let quarantine = journal::segments(&folder.join("quarantine")).unwrap();
        for (path, state) in journal::segments(&folder).unwrap().into_iter().chain(quarantine) {
            let is_whole = state == journal::SegmentState::Sealed;
            assert!(is_whole || path.parent() != Some(&folder), "{} was not sealed", path.display());
            let before = left.insert(journal::id_of(&path).unwrap(), (journal::read(&path).unwrap(), is_whole));
            assert!(before.is_none(), "a batch is there twice: {}", path.display());
        }
        let mut seen = Seen::default();
        for file in &self.moment.files {
            let found = left.remove(&file.life.id);
            // Gone, because the store had said yes.
            if self.place(file).is_some() || self.choices[file.digit] == 0 {
                seen.judge(file, &self.content(file).whole(), found);
            }
        }
        assert!(left.is_empty(), "a batch that never was");
        let counts = journal.counts();
        assert_eq!((counts.recovered, counts.pending), (seen.records + seen.lost, seen.records + seen.lost));
        assert_eq!((counts.recorded, counts.stored, counts.quarantined), (0, 0, 0));
        seen
    }
}

/// What a recovery has found.
#[derive(Default)]
struct Seen {
    files: usize,
    records: u64,
    /// Records that are known to be missing.
    lost: u64,
    /// Files whose first sector was not written.
    without_header: usize,
    /// Files with records that their count does not know.
    newer_than_count: usize,
}

impl Seen {
    fn judge(&mut self, file: &Possible<'_>, left: &[u8], found: Option<(Contents, bool)>) {
        let id = file.life.id;
        let (contents, is_whole) = match found {
            Some((contents, is_whole)) => (Some(contents), is_whole),
            None => (None, true),
        };
        let scans = contents.as_ref().map_or(&[][..], |contents| &contents.scans);
        for (seq, scan) in scans {
            assert!(file.life.scans.get(*seq as usize) == Some(scan), "{id}: record {seq} was never written");
        }
        assert!(scans.is_sorted_by(|a, b| a.0 < b.0), "{id}: out of order");
        let contents = contents.as_ref();
        for seq in &file.synced {
            let is_there = scans.binary_search_by_key(seq, |(seq, _)| *seq).is_ok();
            assert!(is_there, "{id}: record {seq} was synced; there are {}: {contents:?}", scans.len());
        }
        let Some(contents) = contents.filter(|_| is_whole) else { return };
        assert_eq!(contents.header.as_ref().map(|header| (header.id, &*header.edge)), Some((id, "test")));
        // It may have been delivered, and is offered again as the same batch.
        if file.places[0].as_ref().is_some_and(|place| place.extension().unwrap() == "sealed") {
            assert_eq!(*contents, journal::parse(&file.certain.whole()), "{id}: what was sealed changes no more");
        }
        let after_last = scans.last().map_or(0, |(seq, _)| seq + 1);
        match count(left) {
            Some(count) => assert_eq!(contents.written(), after_last.max(count), "{id}: every loss is counted"),
            None => assert!(contents.written() >= after_last, "{id}: what a gap tells is counted"),
        }
        assert!(contents.written() as usize <= file.written, "{id}: no more is missing than was written");
        self.files += 1;
        self.records += scans.len() as u64;
        self.lost += u64::from(contents.lost);
        self.without_header += usize::from(count(left).is_none());
        self.newer_than_count += usize::from(count(left).is_some_and(|count| count < after_last));
    }
}

/// The header's count, by the format as it is drawn: at 128, with its complement behind it.
fn count(segment: &[u8]) -> Option<u32> {
    let word = |at: usize| Some(u32::from_le_bytes(segment.get(at..at + 4)?.try_into().unwrap()));
    word(128).filter(|count| word(132) == Some(!count))
}

/// A folder in memory where there is one: thousands of journals are written and synced.
fn memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
