//! A generation of the registry is in ClickHouse as a whole or not at all, and is sent once: whatever happens between two
//! of its blocks, which other edges there are beside, and however often the edge starts.

use std::fs;
use std::time::Duration;

use crate::support::clickhouse::ClickHouse;
use crate::support::fault::{FaultProxy, Mood};
use crate::support::{Edge, Setup, many_signs, wait_for};

/// More than one block has.
const MANY: usize = 70_000;
/// Of the second block: the number of its first sign.
const SECOND: &str = "-65536-";
const CURRENT: &str = "SELECT count() FROM {db}.signs_current";
const HISTORY: &str = "SELECT count() FROM {db}.registry_history";

fn setup(engine: &ClickHouse, proxy: &FaultProxy, signs: usize) -> Setup {
    let (places, signs, _) = many_signs(signs);
    Setup::new().clickhouse(engine, proxy.address()).set("store", "timeout", "\"1m\"").registry(&places, &signs)
}

/// An edge whose registry, of three signs, is in the store.
fn stored() -> (ClickHouse, FaultProxy, Edge) {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let edge = setup(&engine, &proxy, 3).start();
    edge.wait_until_registry_stored();
    (engine, proxy, edge)
}

fn replace_signs(edge: &Edge, signs: usize) {
    fs::write(edge.setup.path("config/signs.csv"), many_signs(signs).1).unwrap();
    edge.admin("POST", "/reload?force=true");
}

/// Tokens of the registry's inserts, which are offered more than once after a failure.
fn tokens(proxy: &FaultProxy) -> Vec<String> {
    let mut tokens = proxy.counts().tokens;
    tokens.retain(|token| token.starts_with("signs-") || token.starts_with("generation-"));
    tokens
}

fn restart(edge: &mut Edge) {
    edge.stop();
    edge.start();
    edge.wait_until_registry_stored();
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_generation_that_breaks_off_counts_with_its_last_block_and_once() {
    let (engine, proxy, mut edge) = stored();
    proxy.set(Mood::Stubborn { token: SECOND.to_owned(), code: 252 });
    replace_signs(&edge, MANY);
    wait_for("the second block is refused", || (proxy.faults("stubborn") > 0).then_some(()));
    let of_blocks = "SELECT count() FROM {db}.registry_signs";
    assert_eq!(engine.number(of_blocks), 3 + 65_536);
    assert_eq!((engine.number(CURRENT), engine.number(HISTORY)), (3, 3), "the generation before");

    let refused = proxy.faults("stubborn");
    edge.kill();
    edge.start();
    wait_for("a new process comes as far", || (proxy.faults("stubborn") > refused).then_some(()));
    assert_eq!((engine.number(CURRENT), engine.number(HISTORY)), (3, 3));
    // The last try of this process is stored, and its answer is lost.
    proxy.set(Mood::CommitThenLose.for_inserts());
    wait_for("an answer is lost", || (proxy.faults("commit_then_lose") > 0).then_some(()));
    assert_eq!((engine.number(CURRENT), engine.number(HISTORY)), (3, 3));
    proxy.set(Mood::Pass);
    edge.wait_until_registry_stored();
    assert_eq!(engine.number(CURRENT), MANY as u64);
    assert_eq!(engine.number(HISTORY), 3 + MANY as u64);
    assert_eq!(engine.number(of_blocks), 3 + MANY as u64, "what came again was known by its token");
    let generations = "SELECT groupArray(signs) FROM (SELECT signs FROM {db}.registry_generations ORDER BY generation)";
    assert_eq!(engine.query(generations), format!("[3,{MANY}]"));
    let (sent, mut known) = (tokens(&proxy), tokens(&proxy));
    known.sort_unstable();
    known.dedup();
    assert_eq!(known.len(), 2 + 3, "two blocks and what makes them count, and the one before: {known:?}");
    assert!(sent.len() > known.len() + 2, "some came again: {sent:?}");
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_start_sends_what_the_store_does_not_have() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let setup = setup(&engine, &proxy, 3).set("store", "apply_schema", "false");
    assert!(setup.run(&["schema", "--apply"]).status.success());
    let mut edge = setup.start();
    edge.wait_until_registry_stored();
    let sent = tokens(&proxy);
    assert_eq!(sent.len(), 2, "{sent:?}");
    restart(&mut edge);
    assert_eq!(tokens(&proxy), sent, "nothing has changed");

    engine.query("TRUNCATE TABLE {db}.registry_signs");
    restart(&mut edge);
    assert_eq!(tokens(&proxy).len(), 4, "it has the generation, and not its signs");
    assert_eq!(engine.number(CURRENT), 3);

    proxy.set(Mood::Memory.for_others());
    restart(&mut edge);
    proxy.set(Mood::Pass);
    assert_eq!(tokens(&proxy).len(), 6, "it does not say what it has");
    assert_eq!(tokens(&proxy)[4..], sent);
    assert_eq!(engine.number("SELECT count() FROM {db}.registry_signs"), 3, "it knew them");
    assert_eq!(engine.number("SELECT count() FROM {db}.registry_generations"), 1);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_batch_has_its_turn_between_two_blocks() {
    let (_engine, proxy, edge) = stored();
    proxy.set(Mood::Delay(Duration::from_secs(2)).for_inserts());
    replace_signs(&edge, MANY);
    wait_for("the first block is on its way", || (proxy.faults("delay") > 0).then_some(()));
    edge.scan("/S0001");
    wait_for("a batch waits", || (edge.metrics().get("waypost_scans_pending") == 1.0).then_some(()));
    proxy.set(Mood::Pass);
    edge.wait_until_registry_stored();
    let kind = |token: &String| token.split('-').next().unwrap().to_owned();
    let mut kinds: Vec<String> = proxy.counts().tokens.iter().skip(2).map(kind).collect();
    // A batch's token begins with its identity.
    let batch = kinds.remove(1);
    assert_eq!(kinds, ["signs", "signs", "generation"], "{batch} {:?}", proxy.counts().tokens);
    assert_eq!(batch.len(), 8);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_stop_waits_for_no_more_than_the_block_that_is_on_its_way() {
    let (engine, proxy, mut edge) = stored();
    proxy.set(Mood::Delay(Duration::from_secs(2)).for_inserts());
    replace_signs(&edge, MANY);
    wait_for("the first block is on its way", || (proxy.faults("delay") > 0).then_some(()));
    edge.stop();
    assert!(!tokens(&proxy).iter().any(|token| token.contains(SECOND)), "{:?}", tokens(&proxy));
    proxy.set(Mood::Pass);
    edge.start();
    edge.wait_until_registry_stored();
    assert_eq!(engine.number(CURRENT), MANY as u64);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn edges_of_an_earlier_release_count_beside_as_they_did() {
    let (engine, _proxy, edge) = stored();
    // One insert for a generation, into the table of its release.
    engine.query(
        "INSERT INTO {db}.signs (edge, generation, published, code, status, target)
         SELECT 'old', 7, now64(3), concat('A', toString(number)), 'active', 'https://example.vn/old' FROM numbers(5)",
    );
    assert_eq!(engine.query("SELECT DISTINCT edge, generation FROM {db}.signs_current"), "old\t7");
    assert_eq!((engine.number(CURRENT), engine.number(HISTORY)), (5, 8));
    replace_signs(&edge, 4);
    edge.wait_until_registry_stored();
    assert_eq!(engine.query("SELECT DISTINCT edge FROM {db}.signs_current"), "test");
    assert_eq!((engine.number(CURRENT), engine.number(HISTORY)), (4, 12));
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn what_an_edge_has_gone_back_to_is_current() {
    let (engine, proxy, mut edge) = stored();
    let (state, backup) = (edge.setup.path("data/registry-last-good"), edge.setup.path("backup"));
    fs::copy(&state, &backup).unwrap();
    replace_signs(&edge, 5);
    wait_for("the next is current", || (engine.number(CURRENT) == 5).then_some(()));
    edge.stop();
    fs::copy(&backup, &state).unwrap();
    fs::write(edge.setup.path("config/signs.csv"), many_signs(3).1).unwrap();
    let sent = tokens(&proxy);
    edge.start();
    edge.wait_until_registry_stored();
    assert_eq!(engine.number(CURRENT), 3);
    assert_eq!(tokens(&proxy).len(), sent.len() + 1, "its signs are there: {:?}", tokens(&proxy));
    restart(&mut edge);
    assert_eq!(tokens(&proxy).len(), sent.len() + 1, "and it is the newest now");
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_clock_that_was_set_back_does_not_keep_a_generation_from_being_current() {
    let (engine, _proxy, edge) = stored();
    let later = "INSERT INTO {db}.registry_generations SELECT * REPLACE (published + INTERVAL 1 YEAR AS published) FROM {db}.registry_generations";
    engine.query(later);
    replace_signs(&edge, 5);
    wait_for("the next is current", || (engine.number(CURRENT) == 5).then_some(()));
}
