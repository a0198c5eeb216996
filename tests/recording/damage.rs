//! Whatever happens to a journal's bytes, what is read back is only what was written, in
//! its order; a cut loses nothing before it, a flipped bit at most what shares its block;
//! every loss is counted; and the process starts.
//!
//! A small segment is cut at every byte and has every bit flipped.

use std::fs;

use crate::support::{Setup, journal_settings, wait_for};
use waypost::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Region, Scan, Word};
use waypost::journal::{self, Contents, Journal, Writer};

const BLOCK: usize = 4096;
const SCANS: u32 = 150;

fn scan(number: u32) -> Scan {
    Scan {
        ts_ms: 1_790_000_000_000 + i64::from(number),
        generation: u64::from(number % 3),
        code: format!("S{number:04}").parse().unwrap(),
        outcome: Outcome::Found,
        channel: Channel::ALL[number as usize % 3],
        client: Client { device: Device::Phone, os: Os::Android, app: App::Zalo, agent: Agent::Person },
        repeat: number.is_multiple_of(2),
        lang: Word::from("vi").unwrap(),
        served: Word::from("vi").unwrap(),
        origin: Origin {
            country: "VN".try_into().unwrap(),
            region: Region::from(["", "L", "LS", "Lạng Sơn"][number as usize % 4]).unwrap(),
        },
    }
}

/// The name and the bytes of a segment as a crash leaves it, without the zeros at its end.
fn segment() -> (String, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(journal_settings(folder.path()), 1).unwrap();
    let mut writer = Writer::new(&journal, 0);
    (0..SCANS).for_each(|number| writer.append(&scan(number)));
    let segments = journal::segments(folder.path()).unwrap();
    let (path, _) = segments.iter().find(|(path, _)| !journal::read(path).unwrap().scans.is_empty()).unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    (path.file_name().unwrap().to_str().unwrap().to_owned(), bytes)
}

/// Where each record ends, by the format as it is drawn: length and complement, 12 bytes
/// of head, padded to 4, no frame across blocks.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    for block in (BLOCK..bytes.len()).step_by(BLOCK) {
        let mut at = block;
        while at + 12 <= block + BLOCK {
            let len = usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
            if len == 0 {
                break;
            }
            ends.push(at + 12 + len);
            at += (12 + len).next_multiple_of(4);
        }
    }
    ends
}

fn assert_only_what_was_written(contents: &Contents, what: &str) {
    for (seq, found) in &contents.scans {
        assert!(*found == scan(*seq), "{what}: record {seq} is another");
    }
    assert!(contents.scans.is_sorted_by(|a, b| a.0 < b.0), "{what}: out of order");
}

#[test]
fn an_intact_segment_is_read_back_whole() {
    let (_, bytes) = segment();
    let contents = journal::parse(&bytes);
    assert_eq!((contents.scans.len(), contents.lost), (SCANS as usize, 0));
    assert_eq!(contents.header.as_ref().unwrap().edge, "test");
    assert!(bytes.len() >= 3 * BLOCK, "several blocks are in play");
    assert_eq!(ends(&bytes).len(), SCANS as usize);
    assert_only_what_was_written(&contents, "intact");
}

#[test]
fn a_cut_at_any_byte_loses_nothing_before_it_and_counts_the_rest() {
    let (_, bytes) = segment();
    let ends = ends(&bytes);
    for cut in 0..=bytes.len() {
        let contents = journal::parse(&bytes[..cut]);
        let before = ends.iter().filter(|&&end| end <= cut).count();
        assert_eq!(contents.scans.len(), before, "cut at {cut}");
        assert_only_what_was_written(&contents, "cut");
        // The header says how many there were, as long as that much of it is there.
        if cut >= 136 {
            assert_eq!(contents.written(), SCANS, "cut at {cut}");
        } else {
            assert!(contents.header.is_none() || cut >= 100, "cut at {cut}");
        }
    }
}

#[test]
fn a_flipped_bit_loses_at_most_its_block_and_every_loss_is_counted() {
    let (_, mut bytes) = segment();
    let ends = ends(&bytes);
    let in_block = |block: usize| ends.iter().filter(|&&end| (end - 1) / BLOCK == block).count();
    let mut losses = 0;
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let contents = journal::parse(&bytes);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let lost = SCANS as usize - contents.scans.len();
        assert_only_what_was_written(&contents, "flip");
        assert_eq!(contents.lost as usize, lost, "bit {bit}: every loss is counted");
        assert!(lost <= in_block(bit / 8 / BLOCK), "bit {bit}: {lost} lost");
        // Better than promised: what follows the damage in its block is found again.
        assert!(lost <= 1, "bit {bit}: {lost} lost");
        losses += lost;
    }
    assert!(losses > SCANS as usize * 8, "flips did hit records");
}

#[test]
fn every_cut_journal_opens_and_a_damaged_one_keeps_its_books() {
    let (name, bytes) = segment();
    for cut in (0..=bytes.len()).step_by(61) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(&name), &bytes[..cut]).unwrap();
        let counts = Journal::open(journal_settings(folder.path()), 1).unwrap().counts();
        let written = if cut >= 136 { u64::from(SCANS) } else { 0 };
        assert_eq!((counts.recovered, counts.pending), (written, written), "cut at {cut}");
    }
}

#[test]
fn the_process_starts_on_damage_stores_what_is_whole_and_sets_the_rest_aside() {
    let (name, bytes) = segment();
    let cuts = (0..bytes.len()).step_by(1531).map(|cut| bytes[..cut].to_vec());
    let flips = (0..bytes.len()).step_by(1733).map(|at| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        bytes
    });
    for damaged in cuts.chain(flips) {
        let setup = Setup::new();
        fs::create_dir_all(setup.path("data/journal")).unwrap();
        let whole = journal::parse(&damaged);
        let edge = setup.file(&format!("data/journal/{name}"), &damaged).start();
        edge.wait_until_stored();
        let metrics = edge.metrics();
        metrics.assert_books_balance();
        assert_eq!(metrics.get("waypost_scans_stored_total"), f64::from(whole.written() - whole.lost));
        assert_eq!(metrics.get("waypost_scans_quarantined_total"), f64::from(whole.lost));
        let set_aside = metrics.get("waypost_journal_quarantine_files");
        let unreadable = whole.lost > 0 || whole.header.is_none() && whole.scans.is_empty() && !damaged.is_empty();
        assert_eq!(set_aside, f64::from(u8::from(unreadable)), "{} bytes", damaged.len());
        wait_for("a scan is answered", || (edge.scan("/A1B2C3").status == 302).then_some(()));
    }
}
