//! What is told of places is known to both stores as it should be: scans of their pages are counted exactly once, and
//! a table of an earlier release gets the new columns and keeps its rows and its edges.

use crate::support::clickhouse::ClickHouse;
use crate::support::fault::{FaultProxy, Mood};
use crate::support::http::request;
use crate::support::{Edge, PHONE, Random, Setup, wait_for};

const PLACES: &str = "\
place,area,name,name:en,target,about,about:en,compiled
told,Kỳ Lừa,Kể,Told,,Chuyện,A story,2024-02-29
both,Kỳ Lừa,Cả hai,,https://example.vn/both,Chuyện,,
only,Tam Thanh,Một,,https://example.vn/only,,,
";
const SIGNS: &str = "\
code,place,status
T01D,told,active
T02D,told,planned
T03D,told,active
B07H,both,active
ONLY1,only,active
GONE1,only,retired
";

/// Scans of text pages and of a redirect, with what is none among them, over some kills; what was scanned.
fn scans_and_kills(edge: &mut Edge) -> [u64; 3] {
    let (mut random, mut scans) = (Random::new(), [0; 3]);
    let address = |edge: &Edge| edge.address();
    for round in 0..6 {
        for _ in 0..50 {
            let which = random.index(3);
            let path = ["/T01D", "/T02D?c=nfc", "/B07H"][which];
            let language = random.of(&["vi", "en", "ko", "zh"]);
            // Another address each time, so that none is a repeat.
            let visitor = format!("203.0.113.{}, 10.{}.{}.{}", 1, round, random.below(250), random.below(250));
            let headers = [("User-Agent", PHONE), ("Accept-Language", language), ("X-Forwarded-For", visitor.as_str())];
            let reply = request(address(edge), "GET", path, &headers).unwrap();
            assert_eq!(reply.status, if which == 2 { 302 } else { 200 });
            scans[which] += 1;
            for (method, none) in [("HEAD", "/T01D"), ("GET", "/T01D+"), ("GET", "/T01D?lang=en&c=page")] {
                assert_eq!(request(address(edge), method, none, &[("User-Agent", PHONE)]).unwrap().status, 200);
            }
        }
        if round % 2 == 1 {
            edge.kill();
            edge.start();
        }
    }
    edge.wait_until_stored();
    scans
}

fn counted(edge: &Edge) -> [u64; 3] {
    let rows = edge.usage(&["--by", "sign"]);
    let all = |code: &str| {
        let row = rows["rows"].as_array().unwrap().iter().find(|row| row["sign"] == code);
        row.map_or(0, |row| row["all"].as_u64().unwrap())
    };
    ["T01D", "T02D", "B07H"].map(all)
}

/// The signs that `usage --silent` lists without a scan.
fn silent(edge: &Edge) -> Vec<String> {
    let usage = edge.usage(&["--silent"]);
    let without = usage["rows"].as_array().unwrap().iter().filter(|row| row["all"] == 0);
    let mut signs: Vec<_> = without.map(|row| row["sign"].as_str().unwrap().to_owned()).collect();
    signs.sort();
    signs
}

#[test]
fn scans_of_text_pages_are_counted_once_by_the_embedded_store() {
    let setup = Setup::new().set("edge", "workers", "2").registry(PLACES, SIGNS);
    let mut edge = setup.start();
    let scans = scans_and_kills(&mut edge);
    assert_eq!(counted(&edge), scans);
    assert_eq!(silent(&edge), ["0N1Y1", "G0NE1", "T03D"], "whether it has a target or a text alone");
    let languages =
        "SELECT group_concat(DISTINCT served) FROM (SELECT served FROM scans WHERE code = 'T01D' ORDER BY served)";
    let languages: String = edge.database().query_row(languages, [], |row| row.get(0)).unwrap();
    assert_eq!(languages, "en,vi");
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn scans_of_text_pages_are_counted_once_by_clickhouse() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let mut edge = Setup::new().clickhouse(&engine, proxy.address()).registry(PLACES, SIGNS).start();
    proxy.set(Mood::CommitThenLose.for_inserts());
    edge.scan("/ONLY1");
    wait_for("an answer is lost", || (proxy.faults("commit_then_lose") > 0).then_some(()));
    proxy.set(Mood::Pass);
    let scans = scans_and_kills(&mut edge);
    assert_eq!(counted(&edge), scans);
    assert_eq!(silent(&edge), ["G0NE1", "T03D"]);
    let stored = engine.number("SELECT count() FROM {db}.scans");
    assert_eq!(
        (engine.number("SELECT uniqExact(batch, seq) FROM {db}.scans"), stored),
        (stored, scans.iter().sum::<u64>() + 1)
    );
    assert_eq!(
        engine.query("SELECT arraySort(groupUniqArray(served)) FROM {db}.scans WHERE code = 'T02D'"),
        "['en','vi']"
    );
}

/// The table as an earlier release made it.
const BEFORE: &str = "CREATE TABLE {db}.signs (
    edge LowCardinality(String), generation UInt64, published DateTime64(3, 'UTC'), code String,
    status LowCardinality(String), place LowCardinality(String), kind LowCardinality(String),
    area LowCardinality(String), name String, names Map(LowCardinality(String), String), lat Nullable(Float64),
    lon Nullable(Float64), mounted Nullable(Date), target String, targets Map(LowCardinality(String), String),
    languages Array(LowCardinality(String))
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(published) ORDER BY (edge, generation, code)
SETTINGS non_replicated_deduplication_window = 100000";
/// As an earlier release's edge goes on inserting, by the names of its columns.
const INSERT: &str = "INSERT INTO {db}.signs (edge, generation, published, code, status, place, kind, area, name, names,
    lat, lon, mounted, target, targets, languages)
    SELECT 'old', 7, toDateTime64('2026-01-02 03:04:05', 3, 'UTC'), 'A1', 'active', 'one', '', '', 'Một', map(), NULL, NULL,
    NULL, 'https://example.vn/one', map(), ['vi']";

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn an_earlier_releases_table_gets_the_columns_and_keeps_its_rows_and_edges() {
    let engine = ClickHouse::start();
    engine.query("CREATE DATABASE IF NOT EXISTS {db}");
    engine.query(BEFORE);
    engine.query(INSERT);
    let edge = Setup::new().clickhouse(&engine, engine.address).registry(PLACES, SIGNS).start();
    let told = "SELECT named, told, targeted, namesake, compiled FROM {db}.signs_current WHERE code = 'T01D'";
    edge.wait_until_registry_stored();
    assert_eq!(engine.query(told), "['vi','en']\t['vi','en']\t[]\t\t2024-02-29");
    engine.query(&INSERT.replace("'A1'", "'A2'"));
    let old = "SELECT groupArray((code, name, told, compiled)) FROM (SELECT * FROM {db}.signs WHERE edge = 'old' ORDER BY code)";
    assert_eq!(engine.query(old), "[('A1','Một',[],NULL),('A2','Một',[],NULL)]");
}
