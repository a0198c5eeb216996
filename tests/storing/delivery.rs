//! Every scan is in ClickHouse exactly once, whatever happens between here and there.
//!
//! The oracle: clients scan, the proxy before the engine changes its mood, the edge is
//! killed with `kill -9`, the engine is stopped and started again. At the end the clients'
//! own counts, `scans` and `scans_hourly` agree. The other tests take one misfortune each.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::clickhouse::ClickHouse;
use crate::support::fault::{FaultProxy, Mood};
use crate::support::load::Load;
use crate::support::{Edge, Random, Setup, journal_settings, many_signs, scan_by_a_person, wait_for};
use waypost::core::scan::Scan;
use waypost::journal::{self, Journal, Writer};
use waypost::store::Batch;

fn edge(engine: &ClickHouse, proxy: &FaultProxy) -> Edge {
    let (places, signs, _) = many_signs(10);
    Setup::new().clickhouse(engine, proxy.address()).registry(&places, &signs).start()
}

/// No batch twice, and the rollup counts what the scans count.
#[track_caller]
fn assert_exactly_once(engine: &ClickHouse) -> u64 {
    let scans = engine.number("SELECT count() FROM {db}.scans");
    assert_eq!(engine.number("SELECT uniqExact(batch, seq) FROM {db}.scans"), scans, "no row twice");
    assert_eq!(engine.number("SELECT sum(scans) FROM {db}.scans_hourly"), scans, "the rollup counts the same");
    scans
}

fn scan(number: u32, ts_ms: i64) -> Scan {
    scan_by_a_person(&format!("S{number:04}"), ts_ms)
}

fn a_batch(rows: u32, ts_ms: i64) -> Batch {
    let scans = (0..rows).map(|number| (number, scan(number, ts_ms + i64::from(number)))).collect();
    Batch { id: uuid::Uuid::now_v7(), edge: "test".to_owned(), scans }
}

fn a_mood(random: &mut Random) -> Mood {
    let moods = [
        Mood::Pass,
        Mood::Refuse,
        Mood::Swallow,
        Mood::Delay(Duration::from_millis(200)),
        Mood::Status500,
        Mood::ExceptionIn200 { code: 209 },
        Mood::CutRequest(random.index(3000)),
        Mood::CommitThenLose.for_inserts(),
        Mood::CommitThenLose.for_inserts(),
        Mood::TooManyParts.for_inserts(),
        Mood::Memory,
        Mood::UnknownTable.for_inserts(),
        Mood::WrongPassword,
    ];
    moods[random.index(moods.len())].clone()
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn the_clients_counts_the_scans_and_the_rollup_agree() {
    let mut random = Random::new();
    let mut engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let (places, signs, codes) = many_signs(20);
    let setup = Setup::new()
        .clickhouse(&engine, proxy.address())
        .set("edge", "workers", "2")
        .set("journal", "segment", "\"2MiB\"");
    let mut edge = setup.registry(&places, &signs).start();
    let mut load = Load::start(edge.address(), 2, &codes);
    let (mut kills, mut retries, mut dropped) = (0, 0.0, 0);
    for round in 0..30 {
        proxy.set(a_mood(&mut random));
        std::thread::sleep(Duration::from_millis(100 + random.below(400)));
        let lost = proxy.faults("commit_then_lose");
        proxy.set(if round % 2 == 0 { Mood::Pass } else { Mood::CommitThenLose.for_inserts() });
        std::thread::sleep(Duration::from_millis(100 + random.below(400)));
        if round % 4 == 3 {
            wait_for("an answer is lost", || (proxy.faults("commit_then_lose") > lost).then_some(()));
        }
        if round % 10 == 9 {
            engine.restart();
            proxy.go_to(engine.address);
        }
        // A start forgets the pause of the run before, so each round gets a try.
        retries += edge.metrics().get("waypost_store_retries_total");
        dropped += edge.metrics().total("waypost_scans_dropped_total");
        load.wait();
        edge.kill();
        kills += 1;
        edge.start();
        load.go_to(edge.address());
    }
    load.stop();
    proxy.set(Mood::Pass);
    edge.kill();
    edge.start();
    edge.wait_until_stored();

    assert_eq!(dropped, 0);
    let scans = assert_exactly_once(&engine);
    assert!((load.received()..=load.sent()).contains(&scans), "{} <= {scans} <= {}", load.received(), load.sent());
    let counted = engine.query("SELECT code, count() FROM {db}.scans GROUP BY code ORDER BY code");
    for (line, (code, sent)) in counted.lines().zip(load.signs.iter()) {
        let (counted_code, counted) = line.split_once('\t').unwrap();
        let (received, sent) = (sent.received.load(Ordering::Relaxed), sent.sent.load(Ordering::Relaxed));
        let counted: u64 = counted.parse().unwrap();
        assert!(counted_code == code && (received..=sent).contains(&counted), "{line}: {received} <= {sent}");
    }
    let hourly = engine.query("SELECT code, sum(scans) FROM {db}.scans_hourly GROUP BY code ORDER BY code");
    assert_eq!(hourly, counted, "sign by sign");
    // The test is worth what it has been through.
    assert!(kills > 20 && retries > 10.0, "{kills} kills, {retries} retries");
    assert!(proxy.faults("commit_then_lose") > 5, "batches were offered again: {:?}", proxy.counts());
    assert!(load.received() > 10_000);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_body_that_is_cut_at_any_byte_leaves_nothing_behind() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let mut store = engine.store(proxy.address());
    let mut stored = 0;
    for cut in 0.. {
        let batch = a_batch(5, jiff::Timestamp::now().as_millisecond());
        proxy.set(Mood::CutRequest(cut).for_inserts());
        store.insert(&batch).unwrap_err();
        // All of it or nothing: all only once the cut is behind the last byte.
        let whole = engine.number("SELECT count() FROM {db}.scans") > stored;
        assert_eq!(
            engine.number("SELECT count() FROM {db}.scans"),
            if whole { stored + 5 } else { stored },
            "cut at {cut}"
        );
        proxy.set(Mood::Pass);
        store.insert(&batch).unwrap();
        stored += 5;
        assert_eq!(engine.number("SELECT count() FROM {db}.scans"), stored, "after the retry of a cut at {cut}");
        if whole {
            assert!(cut > 300, "a body of {cut} bytes was taken for whole");
            break;
        }
    }
    assert_eq!(assert_exactly_once(&engine), stored);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn months_years_and_hours_change_where_they_do_in_both_tables() {
    let engine = ClickHouse::start();
    let mut store = engine.store(engine.address);
    let mut batch = a_batch(0, 0);
    // The end of a UTC month, of a UTC year (where a leap second would be), of the year in
    // Lạng Sơn (17:00 UTC), and of a month there. Far off, so that the tables keep them.
    let times = [
        ("2066-11-30T23:59:59.999Z", 206_611, "2066-12-01 06:00:00"),
        ("2066-12-01T00:00:00Z", 206_612, "2066-12-01 07:00:00"),
        ("2066-12-31T16:59:59.999Z", 206_612, "2066-12-31 23:00:00"),
        ("2066-12-31T17:00:00Z", 206_612, "2067-01-01 00:00:00"),
        ("2066-12-31T23:59:59.999Z", 206_612, "2067-01-01 06:00:00"),
        ("2067-01-01T00:00:00Z", 206_701, "2067-01-01 07:00:00"),
        ("2066-09-30T16:59:59.999Z", 206_609, "2066-09-30 23:00:00"),
        ("2066-09-30T17:00:00Z", 206_609, "2066-10-01 00:00:00"),
    ];
    for (seq, (time, ..)) in times.iter().enumerate() {
        let ts_ms = time.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        batch.scans.push((seq as u32, scan(seq as u32, ts_ms)));
    }
    store.insert(&batch).unwrap();
    store.insert(&batch).unwrap();
    assert_eq!(assert_exactly_once(&engine), times.len() as u64);
    let rows = engine.query("SELECT _partition_id, ts FROM {db}.scans ORDER BY seq");
    for (row, (time, month, _)) in rows.lines().zip(times) {
        assert!(row.starts_with(&format!("{month}\t{}", time[..19].replace('T', " "))), "{row} is of {month}");
    }
    let mut hours: Vec<_> = times.map(|(.., hour)| hour).to_vec();
    hours.sort_unstable();
    assert_eq!(engine.query("SELECT hour FROM {db}.scans_hourly ORDER BY hour"), hours.join("\n"));
    let misplaced = "SELECT count() FROM {db}.scans_hourly WHERE _partition_id != toString(toYYYYMM(hour))";
    assert_eq!(engine.number(misplaced), 0);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn an_answer_that_is_lost_costs_nothing_and_counts_nothing_twice() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let edge = edge(&engine, &proxy);
    proxy.set(Mood::CommitThenLose.for_inserts());
    for _ in 0..100 {
        edge.scan("/S0001");
    }
    wait_for("a batch is offered again", || (proxy.faults("commit_then_lose") >= 3).then_some(()));
    proxy.set(Mood::Pass);
    edge.wait_until_stored();
    assert_eq!(assert_exactly_once(&engine), 100);
    edge.metrics().assert_books_balance();
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_poisoned_batch_is_set_aside_and_stops_nothing_else() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let edge = edge(&engine, &proxy);
    edge.scan("/S0001");
    wait_for("the tables are there and the scan is stored", || {
        (edge.metrics().get("waypost_scans_stored_total") == 1.0).then_some(())
    });
    engine.query("ALTER TABLE {db}.scans ADD CONSTRAINT poison CHECK code != 'S0002'");
    edge.scan("/S0002");
    wait_for("it is set aside", || (edge.metrics().get("waypost_journal_quarantine_files") == 1.0).then_some(()));
    edge.scan("/S0003");
    edge.wait_until_stored();
    assert_eq!(engine.query("SELECT code FROM {db}.scans ORDER BY code"), "S0001\nS0003");
    let metrics = edge.metrics();
    metrics.assert_books_balance();
    assert_eq!(metrics.get("waypost_scans_quarantined_total"), 1.0);
    // A person mends the table, and puts the batch back.
    engine.query("ALTER TABLE {db}.scans DROP CONSTRAINT poison");
    let output = edge.setup.run(&["journal", "retry"]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("1 batches put back"), "{output:?}");
    wait_for("it is stored", || (edge.metrics().get("waypost_scans_stored_total") == 3.0).then_some(()));
    assert_eq!(assert_exactly_once(&engine), 3);
    edge.metrics().assert_books_balance();
    assert_eq!(fs::read_dir(edge.setup.path("data/journal/quarantine")).unwrap().count(), 0);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_wrong_password_is_shown_and_costs_no_scan() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let mut edge = edge(&engine, &proxy);
    edge.wait_until_registry_stored();
    proxy.set(Mood::WrongPassword);
    edge.scan("/S0001");
    wait_for("it is shown", || (edge.metrics().get("waypost_store_credentials_refused") == 1.0).then_some(()));
    assert_eq!(edge.status()["store"]["credentials_refused"], true);
    proxy.set(Mood::Pass);
    edge.stop();
    edge.start();
    edge.wait_until_stored();
    assert_eq!(assert_exactly_once(&engine), 1);
    assert_eq!(edge.metrics().get("waypost_store_credentials_refused"), 0.0);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_store_that_is_down_at_the_start_keeps_nobody_from_scanning() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    proxy.set(Mood::Refuse);
    let edge = edge(&engine, &proxy);
    for _ in 0..10 {
        assert_eq!(edge.scan("/S0001").status, 302);
    }
    proxy.set(Mood::Pass);
    edge.wait_until_stored();
    assert_eq!(assert_exactly_once(&engine), 10);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_store_that_fails_is_asked_before_the_batch_is_made_ready_again() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let edge = edge(&engine, &proxy);
    edge.wait_until_registry_stored();
    proxy.set(Mood::Status500);
    let before = proxy.counts();
    edge.scan("/S0001");
    wait_for("some tries", || (proxy.requests() >= before.requests + 4).then_some(()));
    assert_eq!(proxy.counts().inserts, before.inserts + 1, "the batch was sent once; the others only asked");
    proxy.set(Mood::Pass);
    edge.wait_until_stored();
    assert_eq!(assert_exactly_once(&engine), 1);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn each_generation_of_the_registry_is_there_once() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let mut edge = edge(&engine, &proxy);
    let current = "SELECT groupArray(code) FROM (SELECT code FROM {db}.signs_current ORDER BY code)";
    edge.wait_until_registry_stored();
    let first = edge.metrics().get("waypost_registry_generation");
    edge.stop();
    edge.start();
    edge.scan("/S0001");
    edge.wait_until_stored();
    assert_eq!(engine.number("SELECT count() FROM {db}.registry_history"), 10, "a restart sends nothing");
    fs::write(edge.setup.path("config/signs.csv"), "code,place,status\nS0001,one,active\nS0011,one,planned\n").unwrap();
    edge.admin("POST", "/reload?force=true");
    wait_for("the second", || (engine.query(current) == "['S0001','S0011']").then_some(()));
    assert_eq!(
        engine.query("SELECT status, target, place FROM {db}.signs_current WHERE code = 'S0011'"),
        "planned\thttps://example.vn/one\tone"
    );
    wait_for("the metric says so", || {
        let metrics = edge.metrics();
        let stored = metrics.get("waypost_store_registry_generation");
        (stored == metrics.get("waypost_registry_generation") && stored > first).then_some(())
    });
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_full_quarantine_is_shown_and_bounded() {
    let engine = ClickHouse::start();
    let (places, signs, codes) = many_signs(10);
    let setup = Setup::new().clickhouse(&engine, engine.address).set("journal", "max_size", "\"1MiB\"");
    let edge = setup.set("journal", "segment", "\"128KiB\"").registry(&places, &signs).start();
    edge.scan("/S0001");
    edge.wait_until_stored();
    engine.query("ALTER TABLE {db}.scans ADD CONSTRAINT poison CHECK code = 'S0001'");
    let mut load = Load::start(edge.address(), 2, &codes);
    let full = "waypost_scans_dropped_total{reason=\"journal_full\"}";
    wait_for("the quarantine is full", || {
        let metrics = edge.metrics();
        let bytes = metrics.get("waypost_journal_quarantine_bytes");
        (metrics.get(full) > 100.0 && bytes > f64::from(512 << 10)).then_some(())
    });
    load.stop();
    let metrics = edge.metrics();
    metrics.assert_books_balance();
    assert!(metrics.get("waypost_journal_quarantine_files") > 2.0);
    assert!(metrics.get("waypost_journal_quarantine_bytes") <= f64::from(1 << 20));
    assert_eq!(load.errors.load(Ordering::Relaxed), 0, "redirects go on");
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_batch_older_than_the_stores_memory_is_stored_and_shown() {
    let engine = ClickHouse::start();
    let mut edge = Setup::new().clickhouse(&engine, engine.address).start();
    edge.stop();
    // A segment of 31 days ago, as an edge leaves it that was away for so long.
    let journal = edge.setup.path("data/journal");
    let old = tempfile::tempdir().unwrap();
    let long_ago_ms = jiff::Timestamp::now().as_millisecond() - 31 * 86_400_000;
    let segment = a_segment(old.path(), long_ago_ms);
    fs::copy(&segment, journal.join(segment.file_name().unwrap())).unwrap();
    edge.start();
    edge.wait_until_stored();
    assert_eq!(assert_exactly_once(&engine), 3);
    assert_eq!(edge.metrics().get("waypost_store_overdue_batches_total"), 1.0);
}

/// A segment with three scans, whose header says when it was made.
fn a_segment(folder: &std::path::Path, created_ms: i64) -> std::path::PathBuf {
    let mut writer = Writer::new(&Journal::open(journal_settings(folder), 1).unwrap(), 0);
    (0..3).for_each(|number| writer.append(&scan(number, created_ms)));
    let mut segments = journal::segments(folder).unwrap();
    segments.retain(|(path, _)| !journal::read(path).unwrap().scans.is_empty());
    let mut bytes = fs::read(&segments[0].0).unwrap();
    // Bytes 24 to 31 of the header, and its checksum at 96.
    bytes[24..32].copy_from_slice(&created_ms.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..96]);
    bytes[96..100].copy_from_slice(&crc.to_le_bytes());
    // Under its own name, which is its identity.
    let path = folder.join("old").join(segments[0].0.file_name().unwrap());
    fs::create_dir(folder.join("old")).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_retry_goes_to_another_server_only_if_they_are_replicas() {
    let (engine, other) = (ClickHouse::start(), ClickHouse::start());
    let (proxy, second) = (FaultProxy::start(engine.address), FaultProxy::start(other.address));
    let both = format!("[\"http://{}\", \"http://{}\"]", proxy.address(), second.address());
    let edge = Setup::new().clickhouse(&engine, proxy.address()).set("store", "url", both.clone()).start();
    edge.wait_until_registry_stored();
    proxy.set(Mood::CommitThenLose.for_inserts());
    second.set(Mood::CommitThenLose.for_inserts());
    edge.scan("/A1B2C3");
    let tries = || (proxy.faults("commit_then_lose"), second.faults("commit_then_lose"));
    wait_for("several tries", || (tries().0.max(tries().1) >= 3).then_some(()));
    assert_eq!(tries().0.min(tries().1), 0, "{:?}: no try went to the other", tries());
    drop(edge);

    // As replicas they would share tokens; here it is enough that the other is asked.
    let edge =
        Setup::new().clickhouse(&engine, proxy.address()).set("store", "url", both).set("store", "replicas", "true");
    let edge = edge.start();
    edge.scan("/A1B2C3");
    let before = tries();
    wait_for("both are asked", || (tries().0 > before.0 && tries().1 > before.1).then_some(()));
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn each_misfortune_alone_costs_nothing() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let edge = edge(&engine, &proxy);
    edge.wait_until_registry_stored();
    let misfortunes = [
        ("refuse", Mood::Refuse),
        ("swallow", Mood::Swallow.for_inserts()),
        ("delay", Mood::Delay(Duration::from_millis(500)).for_inserts()),
        ("status_500", Mood::Status500.for_inserts()),
        ("exception_in_200", Mood::ExceptionIn200 { code: 209 }.for_inserts()),
        ("cut_request", Mood::CutRequest(100).for_inserts()),
        ("commit_then_lose", Mood::CommitThenLose.for_inserts()),
        ("too_many_parts", Mood::TooManyParts.for_inserts()),
        ("memory", Mood::Memory.for_inserts()),
        ("unknown_table", Mood::UnknownTable.for_inserts()),
    ];
    for (sent, (name, mood)) in (1..).zip(misfortunes) {
        proxy.set(mood);
        edge.scan("/S0001");
        wait_for(name, || (proxy.faults(name) > 0).then_some(()));
        proxy.set(Mood::Pass);
        edge.wait_until_stored();
        assert_eq!(assert_exactly_once(&engine), sent, "{name}");
    }
    edge.metrics().assert_books_balance();
}
