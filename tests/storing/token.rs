//! A batch has the same deduplication token in every release, and a block of the registry in every release that sends the
//! same columns.
//!
//! A batch whose answer was lost is offered again, perhaps by a newer edge after an upgrade. Were
//! its token another, ClickHouse would count it twice. So the tokens of one segment, byte by byte
//! as it lies on the disk, are written down here for good, and those of one generation until a column joins the table.

use std::fs;
use std::sync::Arc;

use crate::support::clickhouse::ClickHouse;
use crate::support::fault::FaultProxy;
use crate::support::{Setup, journal_settings, scan_by_a_person, wait_for};
use waypost::core::parse_tag;
use waypost::journal::{self, Journal, Writer};
use waypost::registry::{HostPattern, Registry, Rules};
use waypost::source::{Files, Sources};

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

/// Two signs of a place with all that there is to say.
fn generation() -> Registry {
    let places = "place,kind,area,name,name:en,target,target:en,namesake,about,about:en,compiled\n\
                  one,street,Kỳ Lừa,Đường Một,One Street,https://example.vn/1,https://example.vn/en/1,Một,Chuyện,A story,2024-02-29\n";
    let signs = "code,place,status,lat,lon,mounted,target\n\
                 7K3M-9QX5,one,active,21.85,106.75,2026-03-14,https://example.vn/own\nS1,one,planned,,,,\n";
    let files = Files { places: "places.csv".into(), signs: "signs.csv".into(), overrides: "overrides.csv".into() };
    let rules = Rules {
        default_language: parse_tag("vi").unwrap(),
        timezone: jiff::tz::TimeZone::UTC,
        allowed_hosts: vec![HostPattern::parse("example.vn").unwrap()],
        allow_http: false,
        public_host: "qr.example.vn".to_owned(),
    };
    let sources = Sources { places: places.into(), signs: signs.into(), overrides: Vec::new() };
    let mut registry = sources.parse(&files, &rules).unwrap();
    (registry.generation, registry.content_hash) = (1_795_700_000_000, sources.content_hash());
    registry
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn the_tokens_of_a_generation_change_with_its_columns_alone() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let mut store = engine.store(proxy.address());
    let registry = Arc::new(generation());
    assert_eq!(store.publish("lang-son", &registry).unwrap(), Some(registry.generation));
    let tokens = ["signs-lang-son-1795700000000-0-4cbbbd53", "generation-lang-son-1795700000000-9ec952d2"];
    assert_eq!(proxy.counts().tokens, tokens);
}
