//! Only ClickHouse itself confirms a batch: whatever else answers at its address, the scans stay in the
//! journal, the log shows what answered, and in the end ClickHouse has each of them once.

use crate::support::clickhouse::ClickHouse;
use crate::support::fault::{FaultProxy, Mood};
use crate::support::{Edge, Setup, wait_for};

fn edge(engine: &ClickHouse, proxy: &FaultProxy) -> Edge {
    let edge = Setup::new().clickhouse(engine, proxy.address()).start();
    edge.wait_until_registry_stored();
    edge
}

fn answer(status: &str, headers: &str, body: &str) -> Mood {
    let len = body.len();
    Mood::Impostor(format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n{headers}\r\n{body}"))
}

/// A confirmation that begins as ClickHouse's own, and does not end as it does.
fn broken(rest: &str) -> Mood {
    Mood::Impostor(format!("HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: 1\r\n{rest}")).for_inserts()
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn an_answer_that_is_not_the_stores_stores_nothing_and_is_shown() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let edge = edge(&engine, &proxy);
    let page = format!("<html>Hotel Wi-Fi: please log in {}</html>", "x".repeat(10_000));
    let (html, clickhouse) = ("Content-Type: text/html\r\n", "X-ClickHouse-Query-Id: 1\r\n");
    for (sent, (what, impostor)) in (1..).zip([
        ("an HTML page", answer("200 OK", html, &page)),
        ("an empty body", answer("200 OK", "", "")),
        ("a confirmation of another service", answer("200 OK", "Server: Prometheus\r\n", "1\n")),
        ("ClickHouse's header, and words", answer("200 OK", clickhouse, "Ok.\n")),
        ("204", answer("204 No Content", clickhouse, "")),
        ("a proxy's error page", answer("404 Not Found", html, &page)),
        (
            "an exception's code that can't be read",
            broken("X-ClickHouse-Exception-Code: ?\r\nContent-Length: 0\r\n\r\n"),
        ),
        ("no end of the chunks", broken("Transfer-Encoding: chunked\r\n\r\n")),
        ("a chunk that is none", broken("Transfer-Encoding: chunked\r\n\r\nZZZ\r\n")),
        ("less than announced", broken("Content-Length: 500\r\n\r\n")),
        ("a greeting of another protocol", Mood::Impostor("220 mail.example.vn ESMTP\r\n".to_owned())),
    ]) {
        let (before, inserts) = (edge.metrics().get("waypost_store_retries_total"), proxy.counts().inserts);
        proxy.set(impostor);
        (0..20).for_each(|_| drop(edge.scan("/A1B2C3")));
        wait_for(what, || (edge.metrics().get("waypost_store_retries_total") >= before + 2.0).then_some(()));
        assert!(proxy.counts().inserts > inserts, "{what}: a batch was sent");
        assert_eq!(edge.metrics().get("waypost_scans_pending"), 20.0, "{what}");
        proxy.set(Mood::Pass);
        edge.wait_until_stored();
        assert_eq!(engine.number("SELECT count() FROM {db}.scans"), 20 * sent, "{what}");
    }
    let log = edge.log();
    assert!(log.contains("answers 200 OK, and not as ClickHouse does") && log.contains("Hotel Wi-Fi"), "{log}");
    assert!(!log.contains(&"x".repeat(400)), "an answer is shown in part");
    edge.metrics().assert_books_balance();
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn an_answer_that_never_ends_takes_no_memory() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let edge = edge(&engine, &proxy);
    let before = edge.memory("VmHWM");
    proxy.set(Mood::Endless);
    edge.scan("/A1B2C3");
    wait_for("some tries", || (proxy.faults("endless") >= 4).then_some(()));
    let grown = edge.memory("VmHWM") - before;
    assert!(grown < 32 << 20, "{grown} bytes more");
    proxy.set(Mood::Pass);
    edge.wait_until_stored();
    assert_eq!(engine.number("SELECT count() FROM {db}.scans"), 1);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_batch_that_the_store_will_not_take_steps_aside_for_the_others() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let edge = edge(&engine, &proxy);
    proxy.set(Mood::Refuse);
    edge.scan("/A1B2C3");
    let journal = edge.setup.path("data/journal");
    let segments = || waypost::journal::segments(&journal).unwrap();
    let (path, _) = wait_for("a batch", || {
        segments().into_iter().find(|(_, state)| *state == waypost::journal::SegmentState::Sealed)
    });
    let token = waypost::journal::id_of(&path).unwrap().to_string();
    // No code of ClickHouse's that says whose fault it is.
    proxy.set(Mood::Stubborn { token, code: 9999 });
    for stored in 1..=3 {
        edge.scan("/A1B2C4");
        let of = |name: &str| edge.metrics().get(name);
        wait_for("another is stored", || (of("waypost_scans_stored_total") >= f64::from(stored)).then_some(()));
    }
    wait_for("the first is shown", || (edge.metrics().get("waypost_store_batches_aside") == 1.0).then_some(()));
    assert_eq!(edge.status()["store"]["batches_aside"], 1);
    assert!(edge.log().contains("it steps aside, and is tried again"));
    assert_eq!(edge.metrics().get("waypost_scans_pending"), 1.0, "nothing is dropped");
    edge.metrics().assert_books_balance();
    proxy.set(Mood::Pass);
    edge.wait_until_stored();
    assert_eq!(
        engine.query("SELECT code, count() FROM {db}.scans GROUP BY code ORDER BY code"),
        "A1B2C3\t1\nA1B2C4\t3"
    );
    wait_for("none is aside", || (edge.metrics().get("waypost_store_batches_aside") == 0.0).then_some(()));
}
