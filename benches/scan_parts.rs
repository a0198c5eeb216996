//! What does each part of a scan cost?
//!
//! The parts in the order in which a scan meets them, each on one core, on inputs that
//! take turns, so that no branch is learnt by heart. The lookup of a code, which depends
//! on how many there are, is in `benches/resolve.rs`.
//!
//! Last, whole scans without sockets: a redirect, and beside it the page of a place.
//!
//! `cargo bench --bench scan_parts`; `WAYPOST_TEST_GEOIP` names a folder with a country
//! database, as in the tests.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that can't go on panics")]
#![allow(clippy::cast_possible_truncation, reason = "a list of 4,096")]
#![allow(clippy::print_stdout, reason = "what is not measured is said")]

// The tests' journal settings and scan.
#[path = "../tests/support/handler.rs"]
#[allow(clippy::format_collect, reason = "it is made once")]
mod handler;
#[path = "../tests/support/mod.rs"]
#[allow(
    clippy::print_stderr,
    clippy::format_collect,
    clippy::float_cmp,
    clippy::cast_sign_loss,
    reason = "it panics as a test does"
)]
mod support;

use std::cell::RefCell;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use hyper::header::HeaderMap;
use waypost::core::scan::{Origin, Region, Scan};
use waypost::core::{Code, LanguagePreference};
use waypost::journal::{Journal, Settings, Writer};
use waypost::observe::{Agents, CountryFiles, Keys, Precision, Repeats, classify};

use handler::{SIGNS, handler, request};
use support::{journal_settings, scan_by_a_person};

/// As printed, as typed, and what is no code.
const CODES: [&str; 8] =
    ["7K3M9QX5", "se2z4e6w", "7k3m-9qx5", "A1B2C3D4", "QO1L-0I5Z", "wp-login.php", "D4E5F6G7", "0123456789ABCDEFGHIJ"];

const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (Linux; Android 14; SM-A155F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36 Zalo android/12070847 ZaloTheme/light ZaloLanguage/vi",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 12; NOH-AN01) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 MicroMessenger/8.0.49 Language/zh_CN",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/8.5.0",
];

const LANGUAGES: [&str; 6] = [
    "vi-VN,vi;q=0.9,en;q=0.8",
    "vi-VN,vi;q=0.9",
    "zh-CN,zh;q=0.9,en-US;q=0.8",
    "en-US,en;q=0.9",
    "ko-KR",
    "fr-FR,fr;q=0.9,en;q=0.8,de;q=0.7",
];

/// Of a segment; a sample appends no more scans than fit in it for sure.
const SEGMENT: u64 = 64 << 20;
const FITS: u64 = SEGMENT / 160;

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a scan");
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    each(&mut group, "1 canonical code", &CODES, |text| Code::parse(text.as_bytes()).is_ok());
    each(&mut group, "2 language, one of three", &LANGUAGES, |header| {
        LanguagePreference::read(None, Some(header)).choose(["vi", "en", "zh"].into_iter())
    });
    country(&mut group);
    each(&mut group, "4 user agent: read", &AGENTS, |agent| classify(agent.as_bytes()));
    let (agents, keys) = (RefCell::new(Agents::default()), Keys::default());
    each(&mut group, "5 user agent: remembered", &AGENTS, |agent| {
        agents.borrow_mut().classify(agent.as_bytes(), keys.agent(agent.as_bytes()))
    });
    repeat(&mut group);
    append(&mut group);
    group.finish();
    whole();
}

/// Measures one call on each of some inputs in turn.
fn each<T, R>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, inputs: &[T], part: impl Fn(&T) -> R) {
    let mut turn = inputs.iter().cycle();
    group.bench_function(name, |bencher| bencher.iter(|| part(black_box(turn.next().unwrap()))));
}

fn country(group: &mut BenchmarkGroup<'_, WallTime>) {
    let Some(folder) = std::env::var_os("WAYPOST_TEST_GEOIP") else {
        println!("3 country: not measured, WAYPOST_TEST_GEOIP names no folder with a country database");
        return;
    };
    let files =
        ["iptoasn-country-ipv4.mmdb", "iptoasn-country-ipv6.mmdb"].map(|name| PathBuf::from(&folder).join(name));
    let databases = CountryFiles::open(&files).subscribe().borrow().clone();
    // Any address, and those of one provider in Vietnam (113.160.0.0/11).
    for (name, fixed, of) in [("everywhere", 0, u32::MAX), ("in one network", 0x71A0_0000, 0x001F_FFFF)] {
        // Spread evenly, in no order.
        let address = |number: usize| Ipv4Addr::from_bits(fixed | ((number as u32).wrapping_mul(0x9E37_79B1) & of));
        let addresses = std::array::from_fn::<IpAddr, 4096, _>(|number| address(number).into());
        let known =
            addresses.iter().filter(|&&address| !databases.origin(address, Precision::Region).country.is_empty());
        assert!(known.count() > addresses.len() / 2, "the database knows most addresses");
        let name = format!("3 country: addresses {name}");
        each(group, &name, &addresses, |&address| databases.origin(address, Precision::Region));
    }
}

/// Everybody scans once, 100,000 a second: so the table is full.
fn repeat(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (repeats, keys) = (Repeats::new(Duration::from_secs(10)), Keys::default());
    let code = Code::parse(b"7K3M9QX5").unwrap();
    let mut visitor = 0_u32;
    let mut scan = || {
        visitor += 1;
        let visit = keys.visit(Ipv4Addr::from_bits(visitor).into(), 0, code);
        repeats.is_repeat(visit, i64::from(visitor) / 100)
    };
    let repeated = (0..1_000_000).filter(|_| scan()).count();
    assert!(repeated < 10, "nobody was here before, and one of 2^29 is taken for another");
    group.bench_function("6 repeat, of a million visitors", |bencher| bencher.iter(&mut scan));
}

/// Into segments that are ready: making them is another thread's work.
fn append(group: &mut BenchmarkGroup<'_, WallTime>) {
    let scan = Scan {
        origin: Origin { country: "VN".try_into().unwrap(), region: Region::from("Lạng Sơn").unwrap() },
        ..scan_by_a_person("7K3M9QX5", 1_795_400_000_000)
    };
    group.bench_function("7 append to the journal", |bencher| {
        bencher.iter_custom(|scans| {
            let mut left = scans;
            let mut took = Duration::ZERO;
            while left > 0 {
                let now = left.min(FITS);
                took += append_to_new_journal(&scan, now);
                left -= now;
            }
            took
        });
    });
}

fn append_to_new_journal(scan: &Scan, count: u64) -> Duration {
    // On the disk of the build: the temporary folder may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let an_hour = Duration::from_hours(1);
    let settings = Settings {
        segment: SEGMENT,
        seal_after: an_hour,
        sync_every: an_hour,
        max_size: 4 * SEGMENT,
        ..journal_settings(folder.path())
    };
    let journal = Journal::open(settings, 1).unwrap();
    let mut writer = Writer::new(&journal, 0);
    let start = Instant::now();
    for _ in 0..count {
        writer.append(black_box(scan));
    }
    let took = start.elapsed();
    assert_eq!(journal.counts().recorded, count, "nothing was dropped");
    took
}

/// Whole scans, from the request as hyper hands it over to its answer: redirects and pages of 1,000 characters take
/// turns, so that both have the same machine.
fn whole() {
    const ROUNDS: u32 = 40;
    const SCANS: u32 = 2_000;
    if std::env::var_os("WAYPOST_TEST_GEOIP").is_none() {
        println!("8 whole scans: not measured, WAYPOST_TEST_GEOIP names no folder with a country database");
        return;
    }
    let (_setup, journal, handler) = handler("64MiB");
    let time = |kind, round: u32| {
        let mut headers = HeaderMap::new();
        let mut took = Duration::ZERO;
        for n in round * SCANS..(round + 1) * SCANS {
            let (peer, request) = request(kind, n, std::mem::take(&mut headers));
            let start = Instant::now();
            let answer = black_box(handler.answer(peer, 1_800_000_000_000 + i64::from(n), request));
            took += start.elapsed();
            headers = answer.into_parts().0.headers;
        }
        took.as_secs_f64() * 1e9 / f64::from(SCANS)
    };
    // The first scan of each sign makes its tally.
    for round in 0..SIGNS / SCANS {
        for kind in ['S', 'T'] {
            time(kind, round);
        }
    }
    let times: Vec<[f64; 2]> = (0..ROUNDS).map(|round| ['S', 'T'].map(|kind| time(kind, round))).collect();
    let spread = |of: &dyn Fn(&[f64; 2]) -> f64| {
        let mut figures: Vec<f64> = times.iter().map(of).collect();
        figures.sort_by(f64::total_cmp);
        [figures[0], figures[figures.len() / 2], figures[figures.len() - 1]]
    };
    let ([_, redirect, _], [_, page, _]) = (spread(&|of| of[0]), spread(&|of| of[1]));
    let [least, median, most] = spread(&|of| of[1] / of[0]);
    println!("8 a whole scan: {redirect:.0} ns a redirect, {page:.0} ns a page of 1,000 characters");
    println!("  a page in redirects: {median:.2} ({least:.2} to {most:.2} in {ROUNDS} rounds)");
    assert_eq!(journal.counts().recorded, u64::from(2 * (SIGNS + ROUNDS * SCANS)), "nothing was dropped");
}

criterion_group!(benches, parts);
criterion_main!(benches);
