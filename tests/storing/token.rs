//! A batch has the same deduplication token in every release.
//!
//! A batch whose answer was lost is offered again, perhaps by a newer edge after an upgrade. Were
//! its token another, ClickHouse would count it twice. So the tokens of one segment, byte by byte
//! as it lies on the disk, are written down here for good.

use std::fs;

use crate::support::clickhouse::ClickHouse;
use crate::support::fault::FaultProxy;
use crate::support::{Setup, journal_settings, scan_by_a_person, wait_for};
use waypost::journal::{self, Journal, Writer};

const ID: uuid::Uuid = uuid::uuid!("0193a5c0-0000-7000-8000-0123456789ab");

/// The segment `ID` of the edge `lang-son`: three scans, of which the last is of another month.
fn segment() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let settings = journal::Settings { edge: "lang-son".to_owned(), ..journal_settings(folder.path()) };
    let mut writer = Writer::new(&Journal::open(settings, 1).unwrap(), 0);
    for (code, time) in
        [("7K3M9QX5", "2066-11-30T10:00:00.123Z"), ("S1", "2066-11-30T10:00:01Z"), ("7K3M9QX5", "2066-12-01T00:00:00Z")]
    {
        writer.append(&scan_by_a_person(code, time.parse::<jiff::Timestamp>().unwrap().as_millisecond()));
    }
    let segments = journal::segments(folder.path()).unwrap();
    let (path, _) = segments.iter().find(|(path, _)| !journal::read(path).unwrap().scans.is_empty()).unwrap();
    let mut bytes = fs::read(path).unwrap();
    // Identity, creation, and their checksum: src/journal/format.rs.
    bytes[8..24].copy_from_slice(ID.as_bytes());
    bytes[24..32].copy_from_slice(&3_058_076_400_000_i64.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..96]);
    bytes[96..100].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn the_tokens_of_a_segment_never_change() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let setup = Setup::new().clickhouse(&engine, proxy.address());
    fs::create_dir_all(setup.path("data/journal")).unwrap();
    let edge = setup.file(&format!("data/journal/{ID}.open"), segment()).start();
    wait_for("it is stored", || (edge.metrics().total("waypost_scans_stored_total") == 3).then_some(()));
    let mut tokens = proxy.counts().tokens;
    tokens.retain(|token| token.starts_with(&ID.to_string()));
    assert_eq!(tokens, [format!("{ID}-206611-ec4706f4"), format!("{ID}-206612-197814fc")]);
}
