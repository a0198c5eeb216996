//! The journal's recovery: any bytes under a segment's name are recovered or set aside; a record that is given is one that
//! was written, at its place, and those before the damage are all given; what is lost is counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use uuid::Uuid;
use waypost::core::Code;
use waypost::core::scan::{Agent, App, COLUMNS, Channel, Client, Device, Field, Origin, Os, Outcome, Scan, Word};
use waypost::journal::{
    Contents, Journal, SegmentState, Settings, Writer, id_of, parse, read_batch, recover, segments,
};

/// The format, as `src/journal/format.rs` tells it.
const BLOCK: usize = 4096;
const PUBLISHED: std::ops::Range<usize> = 128..136;
const FRAME_HEADER: usize = 12;
/// Bytes of a header block that an input has; zeros follow.
const HEAD: usize = 160;

/// A segment as a killed process leaves it.
struct Written {
    id: Uuid,
    bytes: Vec<u8>,
    scans: Vec<(u32, Scan)>,
    /// Where the frame of each scan ends.
    ends: Vec<usize>,
}

static WRITTEN: LazyLock<Written> = LazyLock::new(|| {
    let folder = super::folder();
    let journal = Journal::open(settings(folder.path()), 1).expect("a journal");
    let mut writer = Writer::new(&journal, 0);
    let scans: Vec<_> = (0..130).map(|at| (at, scan(at))).collect();
    for (_, scan) in &scans {
        writer.append(scan);
    }
    let find = |(path, _): &(PathBuf, SegmentState)| fs::read(path).is_ok_and(|bytes| !parse(&bytes).scans.is_empty());
    let (path, _) = segments(folder.path()).expect("a folder").into_iter().find(find).expect("a segment");
    let bytes = fs::read(&path).expect("a segment");
    let ends = frames(&bytes);
    assert_eq!((parse(&bytes).scans.len(), ends.len()), (scans.len(), scans.len()));
    Written { id: id_of(&path).expect("its name"), bytes, scans, ends }
});

/// The first byte says what the others are: `d` damage to a segment that was written, `f` payloads that get frames and
/// checksums, others a file's bytes. In lower case the file is left open, in upper case it is sealed.
pub fn run(input: &[u8]) {
    let Some((&kind, rest)) = input.split_first() else { return };
    let state = if kind.is_ascii_uppercase() { SegmentState::Sealed } else { SegmentState::Open };
    let bytes = match kind.to_ascii_lowercase() {
        b'd' => {
            let bytes = damaged(rest);
            check_damaged(&bytes);
            bytes
        }
        b'f' => framed(rest),
        _ => {
            let (head, blocks) = rest.split_at(rest.len().min(HEAD));
            let mut bytes = head.to_vec();
            if !blocks.is_empty() {
                bytes.resize(BLOCK, 0);
            }
            bytes.extend_from_slice(blocks);
            bytes
        }
    };
    check_recovery(&bytes, state);
}

/// Each four bytes are one damage: its kind, where (two bytes), and a value.
fn damaged(mut damages: &[u8]) -> Vec<u8> {
    let mut bytes = WRITTEN.bytes.clone();
    while let Some(([kind, high, low, value], rest)) = damages.split_first_chunk() {
        damages = rest;
        let at = usize::from(u16::from_be_bytes([*high, *low])).min(bytes.len());
        let end = (at + 16 * usize::from(*value)).min(bytes.len());
        match kind % 4 {
            0 => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= value),
            1 => bytes[at..end].fill(0),
            2 => bytes[at..end].fill(*value),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn check_damaged(bytes: &[u8]) {
    let written = &*WRITTEN;
    let contents = parse(bytes);
    for scan in &contents.scans {
        assert_eq!(written.scans.get(scan.0 as usize), Some(scan), "never written");
    }
    let same = bytes.iter().zip(&written.bytes).enumerate().skip(BLOCK);
    let first = same.into_iter().find(|(_, (now, then))| now != then).map_or(bytes.len(), |(at, _)| at);
    let before = written.ends.iter().take_while(|&&end| end <= first).count();
    assert!(contents.scans.len() >= before, "{before} before the damage, {} are read", contents.scans.len());
    assert_eq!(contents.scans[..before], written.scans[..before]);
    if bytes.get(PUBLISHED) == Some(&written.bytes[PUBLISHED]) {
        assert_eq!(contents.written() as usize, written.scans.len(), "each is read or counted as lost");
    }
}

/// A segment of payloads: each is a byte of length, and so many bytes.
fn framed(mut payloads: &[u8]) -> Vec<u8> {
    let mut bytes = WRITTEN.bytes[..BLOCK].to_vec();
    let mut seq = 0_u32;
    while let Some((&len, rest)) = payloads.split_first() {
        let (payload, rest) = rest.split_at(rest.len().min(len.into()));
        payloads = rest;
        let len = u16::from(u8::try_from(payload.len()).unwrap_or(u8::MAX));
        let word = u32::from(len) | u32::from(!len) << 16;
        let crc = crc32fast::hash(&[&seq.to_le_bytes(), payload].concat());
        let mut frame = [word, crc, seq].map(u32::to_le_bytes).concat();
        frame.extend_from_slice(payload);
        frame.resize(frame.len().next_multiple_of(4), 0);
        if bytes.len() % BLOCK + frame.len() > BLOCK {
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        bytes.extend(frame);
        seq += 1;
    }
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    let published = u64::from(seq) | u64::from(!seq) << 32;
    bytes[PUBLISHED].copy_from_slice(&published.to_le_bytes());
    bytes
}

/// Starts on a folder with the file, twice.
fn check_recovery(bytes: &[u8], state: SegmentState) {
    let contents = parse(bytes);
    check_scans(&contents);
    let folder = super::folder();
    let id = WRITTEN.id;
    fs::write(folder.path().join(format!("{id}.{}", state.as_str())), bytes).expect("a file");
    let first = recovered(folder.path());
    if state == SegmentState::Open {
        let is_other = contents.header.as_ref().is_some_and(|header| header.id != id);
        let expected = (contents.written() > 0 && !is_other).then_some(&contents.scans);
        assert_eq!(first.as_ref().map(|batch| &batch.1.scans), expected, "recovery gives what can be read");
    }
    if !contents.scans.is_empty() && first.is_none() {
        let kept = folder.path().join("quarantine").join(format!("{id}.damaged"));
        assert_eq!(fs::read(kept).expect("what is set aside"), bytes, "a file with records is kept for a person");
    }
    assert_eq!(recovered(folder.path()), first, "the next start finds the same");
}

/// The batch that a start finds: its file, and what is in it.
fn recovered(folder: &Path) -> Option<(Vec<u8>, Contents)> {
    let mut found = Vec::new();
    recover(folder, "test", |sealed| found.push(sealed)).expect("no file keeps the process from starting");
    assert!(found.len() <= 1, "two of one file: {found:?}");
    let sealed = found.pop()?;
    let batch = read_batch(&sealed, Vec::new()).expect("what is sealed can be read");
    assert_eq!(fs::metadata(&sealed.path).expect("a file").len(), sealed.bytes);
    Some((fs::read(&sealed.path).expect("a file"), batch))
}

/// What is given is in order, and all of it can be written to a store.
fn check_scans(contents: &Contents) {
    assert!(contents.scans.is_sorted_by_key(|(seq, _)| *seq));
    for (_, scan) in &contents.scans {
        for column in COLUMNS {
            match column.field {
                Field::Code(of) => assert_eq!(Code::parse(of(scan).text().as_bytes()), Ok(of(scan))),
                Field::Text(of) => assert!(of(scan).len() <= 40),
                Field::Time(_) | Field::Flag(_) | Field::Number(_) => {}
            }
        }
    }
}

/// Where the frames of an undamaged segment end.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    for start in (BLOCK..bytes.len()).step_by(BLOCK) {
        let mut at = start;
        while let Some(&[low, high]) = bytes.get(at..at + 2).filter(|len| at < start + BLOCK && **len != [0, 0]) {
            at += (FRAME_HEADER + usize::from(u16::from_le_bytes([low, high]))).next_multiple_of(4);
            ends.push(at);
        }
    }
    ends
}

fn settings(folder: &Path) -> Settings {
    let segment = 4 * BLOCK as u64;
    Settings { folder: folder.to_owned(), segment, ..super::config(folder).journal }
}

/// Scans that differ in length and content.
fn scan(at: u32) -> Scan {
    let code = Code::parse(format!("{:0>width$}", at, width = 1 + at as usize % 20).as_bytes()).expect("digits");
    Scan {
        ts_ms: 1_795_737_600_000 + i64::from(at),
        generation: 1_795_000_000_000,
        code,
        outcome: Outcome::Found,
        channel: Channel::Nfc,
        client: Client { device: Device::Phone, os: Os::Android, app: App::Zalo, agent: Agent::Person },
        repeat: at.is_multiple_of(5),
        lang: Word::from(if at.is_multiple_of(2) { "vi" } else { "" }).expect("short"),
        served: Word::from("zh-Hans").expect("short"),
        origin: Origin { country: "VN".try_into().expect("short"), region: "Lạng Sơn".try_into().expect("short") },
    }
}
