//! A scan of a kept-alive connection that is redirected allocates nothing, and takes no more instructions than it did;
//! one that is answered by the page of its place allocates little, and costs no more than a few redirects. A batch is
//! made into a block in the memory of the block before it.
//!
//! All of that repeats exactly on a noisy machine, where times don't. What is counted first is a scan through
//! the service without sockets, from the request as hyper hands it over to its answer, with
//! everything on: country, region, agent, repeat window, journal, tally.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    missing_docs,
    reason = "a test that can't go on panics; counts are exact"
)]
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::format_collect,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "small numbers, seeds and tables are for people"
)]

mod support;

use std::net::SocketAddr;
use std::process::Command;

use hyper::header::HeaderMap;
use hyper::{Request, StatusCode};
use waypost::edge::{Response, ScanHandler};
use waypost::journal;
use waypost::store::clickhouse::encode;

#[path = "support/handler.rs"]
mod handler;

use handler::{SIGNS, handler, request};

/// What is scanned: the code's first letter, and how it is answered.
const REDIRECT: (char, StatusCode) = ('S', StatusCode::FOUND);
const PAGE: (char, StatusCode) = ('T', StatusCode::OK);

#[inline(never)]
fn measured(handler: &ScanHandler, n: u32, (peer, request): (SocketAddr, Request<()>)) -> Response {
    handler.answer(peer, 1_800_000_000_000 + i64::from(n), request)
}

fn scans(
    handler: &ScanHandler,
    (kind, status): (char, StatusCode),
    numbers: std::ops::Range<u32>,
    mut each: impl FnMut(&mut dyn FnMut()),
) {
    let mut headers = HeaderMap::new();
    for n in numbers {
        let request = request(kind, n, std::mem::take(&mut headers));
        let mut request = Some(request);
        let mut answer = None;
        each(&mut || answer = request.take().map(|request| measured(handler, n, request)));
        let answer = answer.unwrap();
        assert_eq!(answer.status(), status);
        headers = answer.into_parts().0.headers;
    }
}

/// Allocations of scans, of which the first of each sign, which makes its tally, is left out.
fn allocations(kind: (char, StatusCode)) -> u64 {
    let (_setup, journal, handler) = handler("16MiB");
    scans(&handler, kind, 0..SIGNS, |scan| scan());
    let mut allocations = 0;
    scans(&handler, kind, SIGNS..3 * SIGNS, |scan| allocations += allocation_counter::measure(scan).count_total);
    assert_eq!(journal.counts().recorded, u64::from(3 * SIGNS));
    allocations
}

#[test]
#[ignore = "needs npm's country database: tests/run"]
fn a_kept_alive_scan_allocates_nothing() {
    assert_eq!(allocations(REDIRECT), 0, "in {} scans", 2 * SIGNS);
}

/// The page, and the two parts of its header map.
const ALLOCATIONS_OF_A_PAGE: u64 = 3;

#[test]
#[ignore = "needs npm's country database: tests/run"]
fn the_page_of_a_place_allocates_itself_and_its_headers() {
    assert_eq!(allocations(PAGE), u64::from(2 * SIGNS) * ALLOCATIONS_OF_A_PAGE, "in {} scans", 2 * SIGNS);
}

/// Instructions of a release build; 10 % above the 4,982 that were counted when this was set. (The C
/// library has other code for other processors.)
const MOST_INSTRUCTIONS: u64 = 5_480;
/// What the page of a place of 1,000 characters may take, in redirects.
const MOST_REDIRECTS: u64 = 4;

/// Instructions that a scan takes on its way from its segment into a block for ClickHouse, before it is compressed; 10 %
/// above the 1,963 that were counted when this was set.
const MOST_INSTRUCTIONS_DELIVERED: u64 = 2_160;
/// Allocations for all scans of a batch together, in memory that an earlier block had: its scans and lists of them, and of
/// its columns.
const MOST_ALLOCATIONS_OF_A_BATCH: u64 = 40;

/// The bytes of a segment with ten thousand scans.
fn segment() -> Vec<u8> {
    let (setup, _journal, handler) = handler("16MiB");
    scans(&handler, REDIRECT, 0..SIGNS, |scan| scan());
    let files = std::fs::read_dir(setup.path("data/journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments = files.filter(|path| path.extension().is_some_and(|end| end == "open"));
    let written = segments.find_map(|path| {
        let mut bytes = std::fs::read(path).unwrap();
        let contents = journal::parse(&bytes);
        // As it is cut when it is sealed.
        bytes.truncate(contents.used as usize);
        (!contents.scans.is_empty()).then_some(bytes)
    });
    written.unwrap()
}

#[inline(never)]
fn delivered(segment: &[u8], memory: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let contents = journal::parse(segment);
    let rows: Vec<_> = contents.scans.iter().collect();
    assert_eq!(rows.len(), SIGNS as usize);
    encode::scans(uuid::Uuid::nil(), "edge", &rows, memory).0
}

#[test]
#[ignore = "needs npm's country database: tests/run"]
fn a_batch_is_made_in_the_memory_of_the_one_before() {
    let segment = segment();
    let memory = delivered(&segment, Vec::new());
    let (bytes, room) = (memory.concat().len(), memory.iter().map(Vec::capacity).sum::<usize>());
    let mut again = Vec::new();
    let allocations = allocation_counter::measure(|| again = delivered(&segment, memory)).count_total;
    assert!(allocations <= MOST_ALLOCATIONS_OF_A_BATCH, "{allocations} for {SIGNS} scans");
    assert_eq!((again.concat().len(), again.iter().map(Vec::capacity).sum::<usize>()), (bytes, room));
}

/// Run below as processes of their own, under valgrind.
#[test]
#[ignore = "counted under valgrind below"]
fn ten_thousand_delivered() {
    delivered(&segment(), Vec::new());
}

fn ten_thousand(kind: (char, StatusCode)) {
    let (_setup, _journal, handler) = handler("16MiB");
    // The first scan of each sign makes its tally, the first of all the classifier.
    for n in 0..SIGNS {
        let (peer, request) = request(kind.0, n, HeaderMap::new());
        handler.answer(peer, 1_800_000_000_000, request);
    }
    scans(&handler, kind, SIGNS..2 * SIGNS, |scan| scan());
}

#[test]
#[ignore = "counted under valgrind below"]
fn ten_thousand_redirects() {
    ten_thousand(REDIRECT);
}

#[test]
#[ignore = "counted under valgrind below"]
fn ten_thousand_pages() {
    ten_thousand(PAGE);
}

/// Instructions of each scan of such a test, within a function of this file.
fn instructions(test: &str, within: &str) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", &format!("--toggle-collect=cost::{within}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
    let collected = said.split("Collected : ").nth(1).unwrap().split_whitespace().next().unwrap();
    collected.parse::<u64>().unwrap() / u64::from(SIGNS)
}

#[test]
#[ignore = "needs valgrind and a release build: tests/run"]
fn a_scan_takes_no_more_instructions_than_it_did() {
    if cfg!(debug_assertions) {
        // Unoptimised code says nothing; `tests/run` runs this one with --release.
        return;
    }
    let [redirect, page] = ["redirects", "pages"].map(|kind| instructions(&format!("ten_thousand_{kind}"), "measured"));
    let delivered = instructions("ten_thousand_delivered", "delivered");
    println!("{redirect} instructions a redirect, {page} a page of 1,000 characters, {delivered} a delivered scan");
    assert!(redirect > 500, "something was counted");
    assert!(redirect <= MOST_INSTRUCTIONS, "{redirect} instructions a scan; {MOST_INSTRUCTIONS} are allowed");
    assert!(delivered > 200, "something was counted");
    assert!(
        delivered <= MOST_INSTRUCTIONS_DELIVERED,
        "{delivered} instructions a scan; {MOST_INSTRUCTIONS_DELIVERED} are allowed"
    );
    assert!(page > redirect && page <= redirect * MOST_REDIRECTS, "{page} instructions a page, {redirect} a redirect");
}
