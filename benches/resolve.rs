//! Is an immutable snapshot the right table of codes?
//!
//! From a code to its sign's row, among 10 thousand, 1 million and 10 million signs: (1)
//! the registry as a worker has it, a pointer of its own that is looked at for a newer
//! one, then an index beside the rows; (2) a `HashMap` behind an `ArcSwap`; (3) a
//! `DashMap`. The maps have rows of the same size and the same hash function. On one
//! thread and on two at once, with codes in no order, and with one that everybody scans.
//! Each lookup waits for the one before, as requests do; what is reported is the time
//! from one to the next on each thread. And the memory that each of them takes.
//!
//! `cargo bench --bench resolve`; 3 GiB of memory, two idle cores.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that can't go on panics")]
#![allow(clippy::print_stdout, reason = "the result is for people")]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "less than 2^32 signs")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use dashmap::DashMap;
use jiff::tz::TimeZone;
use tokio::sync::watch;
use waypost::core::{Code, parse_tag};
use waypost::registry::{HostPattern, Registry, Rules, Status};
use waypost::source::{Files, Sources};

type Hasher = foldhash::fast::FixedState;

const SIZES: [usize; 3] = [10_000, 1_000_000, 10_000_000];
/// Codes that are asked for in turn: with fewer, all their rows would come to lie in a cache.
const ASKED: usize = 1 << 22;
const PLACES: usize = 1000;

/// What a map holds of a sign; with its code, as many bytes as the registry's row.
#[derive(Clone, Copy)]
struct Row {
    status: Status,
    _rest: [u32; 7],
}

const _: () = assert!(size_of::<(Code, Row)>() == 48);

/// A way to the row of a code.
trait Table: Sync {
    /// One thread's way in.
    fn reader(&self) -> impl FnMut(Code) -> Option<Status>;
}

struct Snapshot(watch::Sender<Arc<Registry>>);

impl Table for Snapshot {
    fn reader(&self) -> impl FnMut(Code) -> Option<Status> {
        let mut newest = self.0.subscribe();
        let mut seen = newest.borrow_and_update().clone();
        move |code| {
            if newest.has_changed().unwrap_or(false) {
                seen = newest.borrow_and_update().clone();
            }
            Some(seen.sign(code)?.status())
        }
    }
}

impl Table for ArcSwap<HashMap<Code, Row, Hasher>> {
    fn reader(&self) -> impl FnMut(Code) -> Option<Status> {
        |code| Some(self.load().get(&code)?.status)
    }
}

impl Table for DashMap<Code, Row, Hasher> {
    fn reader(&self) -> impl FnMut(Code) -> Option<Status> {
        |code| Some(self.get(&code)?.status)
    }
}

fn resolve(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resolve");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for size in SIZES {
        let all: Vec<Code> = (0..size).map(code).collect();
        let row = Row { status: Status::Active, _rest: [0; 7] };
        let rows = || all.iter().map(|&code| (code, row));
        let mut number = 0;
        let mut any = || {
            number = scramble(number);
            all[(number % size as u64) as usize]
        };
        let asked: Vec<Code> = (0..ASKED).map(|_| any()).collect();
        // One at a time: ten million signs are half a gigabyte in each.
        table(&mut group, "1 snapshot", size, &asked, || Snapshot(watch::Sender::new(Arc::new(registry(&all)))));
        table(&mut group, "2 ArcSwap<HashMap>", size, &asked, || {
            ArcSwap::from_pointee(rows().collect::<HashMap<_, _, _>>())
        });
        table(&mut group, "3 DashMap", size, &asked, || rows().collect::<DashMap<_, _, _>>());
    }
    group.finish();
}

fn table<T: Table>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    size: usize,
    asked: &[Code],
    make: impl FnOnce() -> T,
) {
    let before = resident();
    let (table, hot) = (&make(), [asked[0]]);
    // Of a small table the allocator's leftovers would be most.
    if size >= 1_000_000 {
        println!("{name}: {:.1} bytes of memory for each of {size} signs", (resident() - before) / size as f64);
    }
    for (which, asked) in [("any", asked), ("one hot code", &hot)] {
        for threads in [1, 2] {
            let id = BenchmarkId::new(format!("{name}, {which}, threads: {threads}"), size);
            group.bench_function(id, |bencher| bencher.iter_custom(|count| look_up(table, asked, threads, count)));
        }
    }
}

/// The time of `count` lookups, on each of some threads at once.
fn look_up(table: &impl Table, asked: &[Code], threads: usize, count: u64) -> Duration {
    let ready = Barrier::new(threads);
    thread::scope(|scope| {
        let workers = (0..threads).map(|worker| {
            let ready = &ready;
            scope.spawn(move || {
                let mut reader = table.reader();
                let mut at = worker * asked.len() / threads;
                ready.wait();
                let start = Instant::now();
                for _ in 0..count {
                    // The next code depends on what this one gave, so that lookups do not overlap.
                    let status = reader(black_box(asked[at])).unwrap();
                    at += usize::from(status == Status::Active);
                    at = if at == asked.len() { 0 } else { at };
                }
                start.elapsed()
            })
        });
        let workers: Vec<_> = workers.collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).max().unwrap()
    })
}

/// Bytes of memory that this process has now.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix(" kB"));
    kib.unwrap().trim().parse::<f64>().unwrap() * 1024.0
}

/// Eight characters of Crockford's alphabet, another for each number below 2^40.
fn code(number: usize) -> Code {
    let bits = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let text: [u8; 8] = std::array::from_fn(|at| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(bits >> (5 * at)) as usize & 31]);
    Code::parse(&text).unwrap()
}

/// Through the files' reader, as the service does it.
fn registry(codes: &[Code]) -> Registry {
    let mut places = "place,name,target,target:en\n".to_owned();
    for place in 0..PLACES {
        writeln!(places, "p{place},Phố {place},https://example.vn/vi/p{place},https://example.vn/en/p{place}").unwrap();
    }
    let mut signs = "code,place,status\n".to_owned();
    for (number, code) in codes.iter().enumerate() {
        writeln!(signs, "{},p{},active", code.text(), number % PLACES).unwrap();
    }
    let rules = Rules {
        default_language: parse_tag("vi").unwrap(),
        timezone: TimeZone::UTC,
        allowed_hosts: vec![HostPattern::parse("example.vn").unwrap()],
        allow_http: false,
        public_host: "qr.example.vn".to_owned(),
    };
    let files = Files { places: "places.csv".into(), signs: "signs.csv".into(), overrides: "overrides.csv".into() };
    let sources = Sources { places: places.into_bytes(), signs: signs.into_bytes(), overrides: Vec::new() };
    sources.parse(&files, &rules).unwrap()
}

/// The next of a sequence without a pattern (splitmix64, Steele 2014).
fn scramble(number: u64) -> u64 {
    let z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

criterion_group!(benches, resolve);
criterion_main!(benches);
