//! Every scan is in ClickHouse exactly once, whatever happens between here and there.
//!
//! The oracle: clients scan, the proxy before the engine changes its mood, the edge is
//! killed with `kill -9`, the engine is killed and started again. At the end the clients'
//! own counts, `scans` and `scans_hourly` agree. The other tests take one misfortune each.
#![allow(clippy::unwrap_used, clippy::float_cmp, missing_docs, reason = "a test that can't go on panics")]

mod support;

use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use support::clickhouse::ClickHouse;
use support::fault::{FaultProxy, Mood};
use support::load::Load;
use support::{Edge, Random, Setup, many_signs, wait_for};

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

fn a_mood(random: &mut Random) -> Mood {
    let moods = [
        Mood::Pass,
        Mood::Refuse,
        Mood::Swallow,
        Mood::Delay(Duration::from_millis(200)),
        Mood::Status500,
        Mood::ExceptionIn200 { code: 209 },
        Mood::CutRequest(random.below(3000) as usize),
        Mood::CommitThenLose.for_inserts(),
        Mood::CommitThenLose.for_inserts(),
        Mood::TooManyParts.for_inserts(),
        Mood::Memory,
        Mood::UnknownTable.for_inserts(),
        Mood::WrongPassword,
    ];
    moods[random.below(moods.len() as u64) as usize].clone()
}

#[test]
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
        proxy.set(if round % 2 == 0 { Mood::Pass } else { Mood::CommitThenLose.for_inserts() });
        std::thread::sleep(Duration::from_millis(100 + random.below(400)));
        if round % 10 == 9 {
            engine.restart();
            proxy.go_to(engine.address);
        }
        // A start forgets the pause of the run before, so each round gets a try.
        retries += edge.metrics().get("waypost_store_retries_total");
        dropped += edge.metrics().total("waypost_scans_dropped_total");
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
    // The test is worth what it has been through.
    assert!(kills > 20 && retries > 10.0, "{kills} kills, {retries} retries");
    assert!(proxy.faults("commit_then_lose") > 5, "batches were offered again: {:?}", proxy.counts());
    assert!(load.received() > 10_000);
}

#[test]
fn a_body_that_is_cut_at_any_byte_leaves_nothing_behind() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let edge = edge(&engine, &proxy);
    wait_for("the registry is there", || (proxy.inserts_forwarded() > 0).then_some(()));
    edge.scan("/S0001");
    edge.wait_until_stored();
    let mut sent = 1;
    // The body on the wire, with its chunks, is about 500 bytes; every cut is tried once.
    for cut in 0..700 {
        let before = proxy.faults("cut_request");
        proxy.set(Mood::CutRequest(cut).for_inserts());
        edge.scan("/S0001");
        edge.scan("/S0002");
        sent += 2;
        wait_for("the cut", || {
            (proxy.faults("cut_request") > before || proxy.inserts_forwarded() > sent).then_some(())
        });
        if cut % 50 == 0 {
            assert_eq!(assert_exactly_once(&engine), sent - 2, "cut at {cut}");
        }
        proxy.set(Mood::Pass);
        edge.wait_until_stored();
    }
    assert_eq!(assert_exactly_once(&engine), sent);
}

#[test]
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
fn a_wrong_password_is_shown_and_costs_no_scan() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let mut edge = edge(&engine, &proxy);
    wait_for("the registry is there", || (proxy.inserts_forwarded() > 0).then_some(()));
    proxy.set(Mood::WrongPassword);
    edge.scan("/S0001");
    wait_for("it is shown", || (edge.metrics().get("waypost_store_refuses_us") == 1.0).then_some(()));
    assert_eq!(edge.status()["store"]["refuses_us"], true);
    proxy.set(Mood::Pass);
    edge.stop();
    edge.start();
    edge.wait_until_stored();
    assert_eq!(assert_exactly_once(&engine), 1);
    assert_eq!(edge.metrics().get("waypost_store_refuses_us"), 0.0);
}

#[test]
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
fn each_generation_of_the_registry_is_there_once() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let mut edge = edge(&engine, &proxy);
    let current = "SELECT groupArray(code) FROM (SELECT code FROM {db}.signs_current ORDER BY code)";
    wait_for("the first", || (proxy.inserts_forwarded() == 1).then_some(()));
    edge.stop();
    edge.start();
    edge.scan("/S0001");
    edge.wait_until_stored();
    assert_eq!(engine.number("SELECT count() FROM {db}.signs"), 10, "a restart sends it again, and it is known");
    fs::write(edge.setup.path("config/signs.csv"), "code,place,status\nS0001,one,active\nS0011,one,planned\n").unwrap();
    edge.admin("POST", "/reload?force=true");
    wait_for("the second", || (engine.query(current) == "['S0001','S0011']").then_some(()));
    assert_eq!(
        engine.query("SELECT status, target, place FROM {db}.signs_current WHERE code = 'S0011'"),
        "planned\thttps://example.vn/one\tone"
    );
}
