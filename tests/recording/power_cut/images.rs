//! What a cut may leave: the disks that are possible at a moment, and what is recovered from each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tempfile::TempDir;
use waypost::journal::{self, Contents, SegmentState};

use super::recording::{Life, Recording, Version};
use super::{PAGE, SECTOR};
use crate::support::{Random, journal_settings, open_journal};

/// All that may be on the disk after a cut during one event.
pub(super) struct Moment<'a> {
    /// Those that may be missing have a digit.
    pub(super) folders: Vec<(&'a Path, Option<usize>)>,
    pub(super) files: Vec<Possible<'a>>,
    digits: Vec<Digit>,
    /// How many images there are.
    pub(super) images: u64,
}

/// One choice; 0 is what is on the disk for certain, the last one what was there at the end.
pub(super) struct Digit {
    pub(super) choices: u64,
    /// Digits that a disk is likely to choose alike: those of a page, or of a file's size and place.
    page: (usize, usize),
}

/// One segment.
pub(super) struct Possible<'a> {
    pub(super) life: &'a Life,
    pub(super) places: Vec<&'a Option<PathBuf>>,
    sizes: Vec<u64>,
    certain: &'a Version,
    /// The sectors that have changed since, with all they have been.
    sectors: Vec<(usize, Vec<[u8; SECTOR]>)>,
    /// The digit of the place, which those of size and sectors follow.
    digit: usize,
    /// The records that were on the disk, under a name that was.
    pub(super) synced: Vec<u32>,
    /// How many had been written.
    pub(super) written: usize,
}

impl<'a> Moment<'a> {
    pub(super) fn of(recording: &'a Recording, cut: usize) -> Self {
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
    pub(super) fn digits(&self, mut number: u64) -> Vec<usize> {
        let mut digit = |digit: &Digit| {
            let choice = number % digit.choices;
            number /= digit.choices;
            choice as usize
        };
        self.digits.iter().map(&mut digit).collect()
    }

    /// Choices by chance: nothing, everything, whole pages, or each for itself with a leaning.
    pub(super) fn draw(&self, number: u64, random: &mut Random) -> Vec<usize> {
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
pub(super) struct Image<'a> {
    pub(super) moment: Rc<Moment<'a>>,
    pub(super) choices: Vec<usize>,
}

/// A segment of an image.
pub(super) struct Left<'a> {
    pub(super) life: &'a Life,
    pub(super) place: PathBuf,
    pub(super) content: Version,
}

impl<'a> Image<'a> {
    pub(super) fn folders(&self) -> impl Iterator<Item = PathBuf> {
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

    pub(super) fn files(&self) -> impl Iterator<Item = Left<'a>> {
        let folders: BTreeSet<PathBuf> = self.folders().collect();
        self.moment.files.iter().filter_map(move |file| {
            let place = self.place(file).filter(|place| folders.contains(place.parent().unwrap()))?;
            Some(Left { life: file.life, place: place.clone(), content: self.content(file) })
        })
    }

    pub(super) fn write(&self, root: &Path) {
        for folder in self.folders() {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in self.files() {
            fs::write(root.join(file.place), file.content.whole()).unwrap();
        }
    }

    /// Opens the journal that is left, as a start does, and once more, as after a cut that follows.
    pub(super) fn assert_recovers(&self) -> Seen {
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
        for (path, kind) in journal::segments(&folder).unwrap().into_iter().chain(quarantine) {
            let is_whole = kind == SegmentState::Sealed;
            assert!(is_whole || path.parent() != Some(&folder), "{} was not sealed", path.display());
            let before = left.insert(journal::id_of(&path).unwrap(), (journal::read(&path).unwrap(), is_whole));
            assert!(before.is_none(), "a batch is there twice: {}", path.display());
        }
        let mut seen = Seen::default();
        for file in &self.moment.files {
            let found = left.remove(&file.life.id);
            // Removed, because the store had confirmed it.
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
pub(super) struct Seen {
    pub(super) files: usize,
    pub(super) records: u64,
    /// Records that are known to be missing.
    pub(super) lost: u64,
    /// Files whose first sector was not written.
    pub(super) without_header: usize,
    /// Files with records that their count does not know.
    pub(super) newer_than_count: usize,
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
