//! `recorded + recovered = stored + pending + quarantined + lost`, at every scrape.
//!
//! The edge is scraped without a pause while it is loaded, killed, stopped and started,
//! and while its store is locked by somebody else, so that scans wait in the journal.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::load::Load;
use crate::support::{Edge, Metrics, SetOnDrop, Setup, many_signs, wait_for};

#[test]
fn the_books_balance_at_every_scrape_of_a_run_with_restarts() {
    let (places, signs, codes) = many_signs(10);
    let mut edge = Setup::new()
        .set("edge", "workers", "2")
        .set("journal", "segment", "\"64KiB\"")
        .registry(&places, &signs)
        .start();
    let mut load = Load::start(edge.address(), 3, &codes);
    let mut scrapes = 0;
    for round in 0..6 {
        scrapes += scrape_for(&edge, Duration::from_millis(700));
        if round == 2 {
            let database = edge.database();
            database.execute_batch("BEGIN EXCLUSIVE").unwrap();
            scrapes += scrape_for(&edge, Duration::from_millis(700));
            assert!(edge.metrics().get("waypost_scans_pending") > 0.0);
            database.execute_batch("ROLLBACK").unwrap();
        }
        load.wait();
        if round % 2 == 0 {
            edge.kill();
        } else {
            edge.stop();
        }
        edge.start();
        let recovered = edge.metrics().get("waypost_scans_recovered_total");
        assert_eq!(round % 2 == 0, recovered > 0.0, "a kill leaves scans to recover, a stop leaves none: {recovered}");
        load.go_to(edge.address());
    }
    load.stop();
    edge.wait_until_stored();
    edge.metrics().assert_books_balance();
    assert!(scrapes > 200, "only {scrapes} scrapes");
}

fn scrape_for(edge: &Edge, time: Duration) -> usize {
    let until = Instant::now() + time;
    let mut scrapes = 0;
    while Instant::now() < until {
        edge.metrics().assert_books_balance();
        scrapes += 1;
    }
    scrapes
}

#[test]
fn a_scrape_within_a_reload_is_whole_and_its_books_balance() {
    let (places, signs, codes) = many_signs(50_000);
    let edge = Setup::new().registry(&places, &signs).start();
    let mut load = Load::start(edge.address(), 2, &codes[..10]);
    let families = |page: &str| page.lines().filter(|line| line.starts_with("# TYPE ")).count();
    // A sign that was never scanned has no sample.
    wait_for("a scan", || (load.received() > 0).then_some(()));
    let whole = families(&edge.admin("GET", "/metrics").body);
    // Odd while a reload is asked for and not answered.
    let (turn, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                turn.fetch_add(1, Ordering::SeqCst);
                assert_eq!(edge.admin("POST", "/reload?force=true").status, 200);
                turn.fetch_add(1, Ordering::SeqCst);
            }
        });
        let _ends = SetOnDrop(&done);
        // Of three in one reload, the second is answered in the middle of it.
        wait_for("three scrapes in one reload", || {
            let before = turn.load(Ordering::SeqCst);
            for _ in 0..3 {
                let page = edge.admin("GET", "/metrics").body;
                assert_eq!(families(&page), whole, "{page}");
                let metrics = Metrics::parse(&page);
                metrics.assert_books_balance();
                assert_eq!(metrics.total("waypost_registry_signs"), 50_000);
            }
            (before % 2 == 1 && turn.load(Ordering::SeqCst) == before).then_some(())
        });
    });
    load.stop();
}
