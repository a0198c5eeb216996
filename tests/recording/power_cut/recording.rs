//! What was recorded: each file's and each folder's life, call by call.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use uuid::Uuid;
use waypost::core::scan::Scan;
use waypost::journal;

use super::images::{Image, Moment};
use super::{ALL, PAGE, SECTOR};
use crate::support::Random;

/// One call, as `record.c` wrote it down.
pub(super) struct Event {
    kind: u8,
    path: PathBuf,
    to: PathBuf,
    snapshots: Vec<(PathBuf, Version)>,
}

/// What was in a file at some time. The zeros at the end are left out, and count in the size.
#[derive(Clone, PartialEq)]
pub(super) struct Version {
    pub(super) bytes: Vec<u8>,
    pub(super) size: u64,
}

impl Version {
    pub(super) fn whole(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(usize::try_from(self.size).unwrap(), 0);
        bytes
    }

    pub(super) fn sector(&self, number: usize) -> [u8; SECTOR] {
        let from = self.bytes.get(number * SECTOR..).unwrap_or(&[]);
        let mut sector = [0; SECTOR];
        let len = from.len().min(SECTOR);
        sector[..len].copy_from_slice(&from[..len]);
        sector
    }
}

/// Something that changes, with the event of each state, and what of it was brought to the disk when.
pub(super) struct Steps<T> {
    states: Vec<(usize, T)>,
    /// Event, and number of the state.
    pub(super) synced: Vec<(usize, usize)>,
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
    pub(super) fn at_a_cut(&self, event: usize) -> impl Iterator<Item = &T> {
        let (_, first) = *self.synced.iter().rfind(|(synced, _)| *synced < event).unwrap();
        self.states.iter().skip(first).take_while(move |(at, _)| *at <= event).map(|(_, state)| state)
    }
}

/// One segment's.
pub(super) struct Life {
    pub(super) id: Uuid,
    pub(super) content: Steps<Version>,
    /// Where it is, below the recording's folder; nowhere before it is made and after it is removed.
    pub(super) place: Steps<Option<PathBuf>>,
    /// Steps of the place that are not on the disk: their number, and the folders to be synced.
    unsynced: Vec<(usize, BTreeSet<PathBuf>)>,
    /// What was written to it, in order.
    pub(super) scans: Vec<Scan>,
    /// Whether it is from another recording, which knows more of it.
    pub(super) is_inherited: bool,
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

pub(super) struct Recording {
    pub(super) events: Vec<Event>,
    pub(super) lives: Vec<Life>,
    pub(super) folders: BTreeMap<PathBuf, Steps<bool>>,
}

impl Recording {
    /// Of a folder in which edges have run; it began as an image of another recording, or empty.
    pub(super) fn read(root: &Path, began: Option<(&Image<'_>, &Self)>) -> Self {
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

    pub(super) fn records(&self) -> usize {
        self.lives.iter().map(|life| life.scans.len()).sum()
    }

    /// A segment is removed only after the store has confirmed it, and synced its own log before that.
    pub(super) fn assert_a_file_goes_only_when_its_batch_is_on_the_disk(&self) {
        let (mut committed, mut gone, mut has_name, mut given_back) = (false, 0, false, 0);
        for event in &self.events {
            match event.kind {
                b'd' => has_name = false,
                b't' if event.path.to_string_lossy().ends_with(".sealed (deleted)") => {
                    assert!(!has_name, "{} is cut while a power cut may leave its name", event.path.display());
                    given_back += 1;
                }
                b's' if event.path.ends_with("waypost.db-wal") => committed = true,
                b'u' if event.path.extension().is_some_and(|kind| kind == "sealed") => {
                    assert!(committed, "{} went before its batch was on the disk", event.path.display());
                    (committed, gone, has_name) = (false, gone + 1, true);
                }
                _ => {}
            }
        }
        assert!(gone >= 6 && given_back >= gone, "only {gone} batches were delivered, {given_back} steps given back");
    }

    /// The events at which a cut may leave most: those that end with something on the disk, and the end.
    pub(super) fn cuts(&self) -> Vec<usize> {
        let ends = |event: &Event| match event.kind {
            b's' | b'y' => event.path.starts_with("data/journal"),
            b'd' => true,
            _ => false,
        };
        let syncs = (1..).zip(&self.events).filter(|(_, event)| ends(event)).map(|(number, _)| number);
        syncs.chain([self.events.len() + 1]).collect()
    }

    /// What a cut may leave, at each moment: all of it, or else as many images as are asked for.
    pub(super) fn images(&self, chosen: u64, random: &mut Random) -> Vec<Image<'_>> {
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
