//! How long does a visitor wait when something else goes on, or goes wrong?
//!
//! The edge, with one worker and all its other threads, has core 0 to itself; the load and
//! the store, in this process, have core 1. First the load finds out how many requests a
//! second the edge answers at most; then half as many are sent, when they are due, in each
//! of the cases below: an edge of its own each time, with 100,000 signs and everything on.
//! The cases take turns, and each round compares them with its own quiet one; a second
//! quiet one shows how far apart two figures of the same thing are. Each case proves from
//! the edge's metrics that what it is named for happened. One case records nothing: what
//! the quiet one takes more is what recording and delivering add to a visitor's wait.
//!
//! `cargo bench --bench latency`: two idle cores, Linux, `taskset`, root (it mounts a disk
//! of 8 MiB, and the load runs as a real-time thread), 2 GB of disk, and a quarter of an hour. `cargo bench
//! --bench latency -- 1 5 store disk` is one round of 5 s for the quiet case and for those
//! with such a word. `WAYPOST_TEST_GEOIP` names a folder with a country database, as in the
//! tests.
#![allow(clippy::print_stdout, missing_docs, reason = "the result is for people")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "figures are shown with a few digits; counts are exact"
)]

mod backlog;
mod edge;
mod load;
mod office;
mod sink;
// The tests' small disk, for `edge`.
#[path = "../tests/support/mod.rs"]
#[allow(clippy::unwrap_used, clippy::print_stderr, clippy::format_collect, reason = "it panics as a test does")]
mod support;

use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use edge::{Cpu, Edge, Metrics, SIGNS, Settings, signs, to_clickhouse, wait_for};
use load::{Load, Pace, Phase, become_urgent};
use office::Person;
use sink::Sink;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const ROUNDS: usize = 5;
/// Of load in each case.
const PHASE: Duration = Duration::from_secs(8);
/// Before it, for the caches and the repeat window.
const WARM_UP: Duration = Duration::from_secs(1);
/// At half of capacity they take ClickHouse's interface some seconds to drain, and SQLite a minute.
const BACKLOG: u64 = 10_000_000;
/// Anything that takes longer has gone wrong.
const TIMEOUT: Duration = Duration::from_mins(3);
/// Asked for: p99 and p99.9 with everything recorded and delivered, as multiples of those with nothing recorded.
const MOST_OF_RECORDING: f64 = 1.2;
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Quiet,
    QuietAgain,
    NotRecording,
    Reload,
    StoreDown,
    DiskFull,
    Backlog,
    SqliteBacklog,
    SyncOften,
    SyncRarely,
    Office,
    OwnPages,
}

impl Case {
    const ALL: [Self; 12] = [
        Self::Quiet,
        Self::NotRecording,
        Self::Reload,
        Self::StoreDown,
        Self::DiskFull,
        Self::Backlog,
        Self::SqliteBacklog,
        Self::SyncOften,
        Self::SyncRarely,
        Self::Office,
        Self::OwnPages,
        Self::QuietAgain,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::QuietAgain => "quiet, once more",
            Self::NotRecording => "nothing is recorded",
            Self::Reload => "100,000 signs reloaded every second",
            Self::StoreDown => "the store is down",
            Self::DiskFull => "the disk is full",
            Self::Backlog => "a backlog is delivered",
            Self::SqliteBacklog => "a backlog goes into SQLite",
            Self::SyncOften => "the journal is synced every 10 ms",
            Self::SyncRarely => "the journal is synced every 60 s",
            Self::Office => "20 people sign in again and again, 100,000 signs are imported",
            Self::OwnPages => "a quarter are pages of places; redirects",
        }
    }

    fn has_backlog(self) -> bool {
        matches!(self, Self::Backlog | Self::SqliteBacklog)
    }

    fn settings(self, store: &Store) -> Result<Settings> {
        let to = match self {
            Self::StoreDown | Self::DiskFull => to_clickhouse(&closed_port()?),
            Self::SqliteBacklog => "kind = \"sqlite\"\npath = \"data/waypost.db\"".to_owned(),
            _ => to_clickhouse(&format!("http://{}", store.sink.address)),
        };
        let journal = match self {
            Self::DiskFull => "segment = \"1MiB\"\nmin_free = \"0\"\n",
            Self::SyncOften => "sync_every = \"10ms\"\n",
            Self::SyncRarely => "sync_every = \"60s\"\n",
            _ => "",
        };
        let observe = if self == Self::NotRecording { "record = false\n" } else { "" };
        Ok(Settings {
            store: to,
            observe,
            journal: journal.to_owned(),
            backlog: if self.has_backlog() { store.backlog.as_ref().map(|folder| folder.path().into()) } else { None },
            small_disk: self == Self::DiskFull,
            sections: if self == Self::Office {
                "[console]\nlisten = \"127.0.0.1:0\"\npath = \"data/console.db\"\n".to_owned()
            } else {
                String::new()
            },
            own_pages: self == Self::OwnPages,
        })
    }

    /// Whether what the case is named for has begun, where that takes a while.
    fn has_begun(self, metrics: &Metrics) -> Result<bool> {
        Ok(match self {
            Self::StoreDown => metrics.of("waypost_store_retries_total")? > 0.0,
            Self::DiskFull => metrics.of(DISK_FULL)? > 0.0,
            Self::Backlog => metrics.of("waypost_scans_pending")? >= BACKLOG as f64,
            Self::SqliteBacklog => metrics.of("waypost_scans_stored_total")? > 0.0,
            _ => true,
        })
    }

    /// What shows that it happened in this phase; an error if it did not.
    fn evidence(self, change: &Change, seconds: f64, pages: usize) -> Result<String> {
        let of = |name: &str| change.of(name);
        let (stored, dropped) = (of("waypost_scans_stored_total")?, of("waypost_scans_dropped_total")?);
        let (syncs, reloads) = (of("waypost_journal_syncs_total")?, of(RELOADED)?);
        let (retries, found) = (of("waypost_store_retries_total")?, of("waypost_requests_total{outcome=\"found\"}")?);
        let (holds, evidence) = match self {
            Self::Quiet | Self::QuietAgain => {
                (retries == 0.0 && reloads == 0.0, format!("{stored} scans stored, {syncs} syncs"))
            }
            Self::NotRecording => {
                let recorded = change.after.of("waypost_scans_recorded_total")?;
                (recorded == 0.0 && stored == 0.0 && found > 0.0, format!("{recorded} of {found} scans recorded"))
            }
            Self::Reload => {
                let signs = change.after.of("waypost_registry_signs{status=\"active\"}")?;
                (reloads >= seconds * 0.8 - 1.0 && signs == SIGNS as f64, format!("{reloads} reloads"))
            }
            Self::StoreDown => {
                let tries = change.after.of("waypost_store_retries_total")?;
                let pending = of("waypost_scans_pending")?;
                (
                    stored == 0.0 && tries > 0.0 && pending == found,
                    format!("{pending} more scans wait, {tries} tries so far"),
                )
            }
            Self::DiskFull => {
                let full = of(DISK_FULL)?;
                (full >= found * 0.99, format!("{full} of {found} scans dropped"))
            }
            Self::Backlog => (
                stored >= found * 2.0 && retries == 0.0,
                format!("{stored} scans stored, {:.0} a second", stored / seconds),
            ),
            // It takes what comes in, and of the backlog besides.
            Self::SqliteBacklog => {
                (stored > found && retries == 0.0, format!("{stored} scans stored, {:.0} a second", stored / seconds))
            }
            // One waits for the disk, so there are fewer than a hundred a second.
            Self::SyncOften => (syncs >= seconds * 5.0, format!("{syncs} syncs")),
            Self::SyncRarely => (syncs <= 1.0, format!("{syncs} syncs")),
            Self::Office => {
                let entered = of("waypost_console_sign_ins_total{result=\"ok\"}")?;
                (entered >= seconds, format!("{entered} sign-ins"))
            }
            Self::OwnPages => {
                let share = pages as f64 / found;
                ((0.24..0.26).contains(&share), format!("{pages} pages, {:.1} % of the answers", share * 100.0))
            }
        };
        if !holds || (self != Self::DiskFull && dropped > 0.0) {
            return Err(format!("{}: not what it should be: {evidence}, {dropped} dropped", self.name()).into());
        }
        Ok(evidence)
    }
}

/// Where scans go to, and those that wait.
struct Store {
    sink: Sink,
    /// A journal that edges with a backlog are given, if one of the cases has one.
    backlog: Option<TempDir>,
}

impl Store {
    fn start(cases: &[Case]) -> Result<Self> {
        let backlog = if cases.iter().any(|case| case.has_backlog()) { Some(make_backlog()?) } else { None };
        Ok(Self { sink: Sink::start()?, backlog })
    }
}

/// On the disk of the edges' journals, which are given links to its files.
fn make_backlog() -> Result<TempDir> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let codes = Edge::codes().map(|code| code.parse()).collect::<std::result::Result<Vec<_>, _>>()?;
    // From 23 November 2026 on, some minutes.
    let (from, started) = (1_795_400_000_000, Instant::now());
    backlog::fill(folder.path(), BACKLOG, &codes, from, from + (BACKLOG / 50) as i64)?;
    println!("a backlog of {BACKLOG} scans was written in {:.1} s", started.elapsed().as_secs_f64());
    Ok(folder)
}

const RELOADED: &str = "waypost_registry_reloads_total{result=\"success\"}";
const DISK_FULL: &str = "waypost_scans_dropped_total{reason=\"disk_full\"}";

/// What the metrics were before a phase and after.
struct Change {
    before: Metrics,
    after: Metrics,
}

impl Change {
    fn of(&self, name: &str) -> Result<f64> {
        Ok(self.after.of(name)? - self.before.of(name)?)
    }
}

/// Figures of one case in one round, in microseconds and in cores.
struct Outcome {
    case: Case,
    quantiles: [f64; QUANTILES.len()],
    requests: usize,
    away: f64,
    edge_cores: f64,
    other_cores: f64,
    /// Rows a second, and nanoseconds of the delivery's CPU time for each.
    delivery: (f64, f64),
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    let words: Vec<&String> = arguments.iter().filter(|argument| argument.parse::<usize>().is_err()).collect();
    let mut cases = Case::ALL.to_vec();
    cases.retain(|case| {
        *case == Case::Quiet || words.is_empty() || words.iter().any(|word| case.name().contains(*word))
    });
    let rounds = numbers.first().copied().unwrap_or(ROUNDS).max(1);
    let phase = numbers.get(1).map_or(PHASE, |&seconds| Duration::from_secs(seconds.max(2) as u64));
    if thread::available_parallelism()?.get() < 2 {
        return Err("two cores are needed: one for the edge, one for the load".into());
    }
    // A sleep ends when it should; threads that are started from here inherit it.
    fs::write("/proc/self/timerslack_ns", "1")?;
    pin(std::process::id())?;
    let started = Instant::now();
    let store = Store::start(&cases)?;
    let capacity = capacity(&store)?;
    // A number that is easily said.
    let rate = (capacity / 2.0 / 1000.0).round() as u32 * 1000;
    println!("sent: {rate} requests/s, half of that, in {rounds} rounds of {} s for each case", phase.as_secs());
    println!(
        "times in microseconds, from when a request was due to its answer. away: how long the load did not look, at"
    );
    println!("worst; edge, others: cores busy with the edge, and with what is neither edge nor load, within 0.1");
    println!("round case                                 requests    p50    p99  p99.9    max   away  edge others");
    let mut outcomes = Vec::new();
    let mut alone = Vec::new();
    for round in 1..=rounds {
        let mut of_round = Vec::new();
        for &case in &cases {
            let (outcome, evidence) = measure_surely(case, rate, phase, &store)?;
            outcome.print(round, &evidence);
            of_round.push(outcome);
        }
        for &case in cases.iter().filter(|case| case.has_backlog()) {
            let (rows, cpu) = drain(case, &store)?;
            println!("      {}, and nobody scans: {rows:.0} a second, {cpu:.0} ns of CPU each", case.name());
            alone.push((case, (rows, cpu)));
        }
        outcomes.push(of_round);
        // What drifts in a round drifts the other way in the next.
        cases.reverse();
    }
    cases.sort_by_key(|case| Case::ALL.iter().position(|other| case == other));
    println!("\n{}", table(&cases, &outcomes, &alone, rate));
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("latency.json");
    fs::write(&file, format!("{:#}\n", as_json(&cases, &outcomes, &alone, capacity, rate, phase)))?;
    let [_, others, _] = spread(outcomes.iter().flatten().map(|outcome| outcome.other_cores).collect());
    if others > 0.2 {
        println!("{others:.1} CORES WERE BUSY WITH SOMETHING ELSE: these figures are worth little");
    }
    println!("{} after {:.0} s", file.display(), started.elapsed().as_secs_f64());
    Ok(())
}

/// Puts a running process, with all its threads, on core 1.
fn pin(process: u32) -> Result<()> {
    let mut command = Command::new("taskset");
    let pinned = command.args(["-a", "-c", "-p", "1", &process.to_string()]).stdout(Stdio::null()).status()?;
    pinned.success().then_some(()).ok_or_else(|| "taskset can't pin this process to core 1".into())
}

/// A URL at which nobody listens.
fn closed_port() -> Result<String> {
    Ok(format!("http://{}", TcpListener::bind(("127.0.0.1", 0))?.local_addr()?))
}

/// How many requests the edge answers in a second, if there is always another.
fn capacity(store: &Store) -> Result<f64> {
    let edge = Edge::start(&Case::Quiet.settings(store)?)?;
    let mut load = Load::connect(edge.addresses[0], Edge::codes())?;
    let mut measure = |length| spent(&edge, || send(&mut load, Pace::Capacity, length, |_| Ok(false)));
    measure(WARM_UP)?;
    let (phase, cpu) = measure(Duration::from_secs(4))?;
    let (seconds, requests) = (phase.took.as_secs_f64(), phase.latencies.len() as f64);
    let (busy, countries) = (cpu.edge / seconds, edge::countries().map_or("not", |_| "also"));
    println!("edge on core 0, load and store on core 1; countries are {countries} looked up");
    println!("capacity: {:.0} requests/s, at which the edge's core is {:.0} % busy", requests / seconds, busy * 100.0);
    if busy < 0.9 {
        println!("THE EDGE WAS NOT BUSY: the load, or others, have set this limit");
    }
    Ok(requests / seconds)
}

/// Again, if the case was not what it should be: a machine that is busy with something else may see to that.
fn measure_surely(case: Case, rate: u32, length: Duration, store: &Store) -> Result<(Outcome, String)> {
    for _ in 0..2 {
        match measure(case, rate, length, store) {
            Err(error) => println!("      {error}; once more"),
            measured => return measured,
        }
    }
    measure(case, rate, length, store)
}

fn measure(case: Case, rate: u32, length: Duration, store: &Store) -> Result<(Outcome, String)> {
    store.sink.open(case != Case::Backlog);
    let edge = Edge::start(&case.settings(store)?)?;
    let mut load = Load::connect(edge.addresses[0], Edge::codes())?;
    let until = Instant::now() + TIMEOUT;
    send(&mut load, Pace::Rate(rate), WARM_UP, |_| Ok(false))?;
    while !case.has_begun(&edge.metrics()?)? {
        if Instant::now() > until {
            return Err(format!("never came: {}", case.name()).into());
        }
        send(&mut load, Pace::Rate(rate), WARM_UP, |_| Ok(false))?;
    }

    let before = edge.metrics()?;
    let stop = AtomicBool::new(false);
    let (phase, cpu) = thread::scope(|scope| {
        let writer = (case == Case::Reload).then(|| scope.spawn(|| edge.rewrite_signs(&stop)));
        let people = (case == Case::Office).then(|| scope.spawn(|| sign_in_and_import(&edge, &stop)));
        store.sink.open(true);
        // A backlog that is gone is no longer a case of its own.
        let is_over = |edge: &Edge| Ok(case.has_backlog() && edge.sealed()? == 0);
        let sent = spent(&edge, || send(&mut load, Pace::Rate(rate), length, |_| is_over(&edge)));
        stop.store(true, Ordering::Relaxed);
        for other in [writer, people].into_iter().flatten() {
            other.join().map_err(|_| "the writer, or the office, panicked")??;
        }
        sent
    })?;
    let change = Change { before, after: edge.metrics()? };
    let seconds = phase.took.as_secs_f64();
    let found = change.of("waypost_requests_total{outcome=\"found\"}")?;
    let requests = phase.latencies.len() + phase.pages;
    if found != requests as f64 {
        return Err(format!("{found} answers, {requests} requests").into());
    }
    let rows = change.of("waypost_scans_stored_total")?;
    let outcome = Outcome {
        case,
        quantiles: QUANTILES.map(|(_, share)| phase.latency(share)),
        requests,
        away: phase.away.as_secs_f64() * 1e6,
        edge_cores: cpu.edge / seconds,
        other_cores: cpu.others / seconds,
        delivery: (rows / seconds, cpu.delivery * 1e9 / rows),
    };
    Ok((outcome, case.evidence(&change, seconds, phase.pages)?))
}

/// 20 people sign in, each again and again, and one uploads the table of signs with other places, until told to stop.
fn sign_in_and_import(edge: &Edge, stop: &AtomicBool) -> Result<()> {
    let first = wait_for("the console invites", || Ok(office::invitation(&edge.log()?)))?;
    let manager = Person::invited(&first, "lan.nguyen")?;
    let names: Vec<String> = (0..20).map(|number| format!("person{number}")).collect();
    for name in &names {
        Person::invited(&format!("{}/invite/{}", manager.origin(), edge.invite(name)?), name)?;
    }
    let table = signs(1);
    thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(Person::sign_in(manager.origin(), name));
                }
            });
        }
        while !stop.load(Ordering::Relaxed) {
            let imported = manager.import("signs", "whole", &table)?;
            if !matches!(imported.status, 200 | 303) {
                return Err(format!("an import is answered {}", imported.status).into());
            }
        }
        Ok(())
    })
}

/// Lets a backlog drain with nobody scanning: rows a second, and nanoseconds of CPU time for each.
fn drain(case: Case, store: &Store) -> Result<(f64, f64)> {
    store.sink.open(false);
    let edge = Edge::start(&case.settings(store)?)?;
    // The embedded store can't be told to wait.
    let rows = BACKLOG as f64 - edge.metrics()?.of("waypost_scans_stored_total")?;
    let start = Instant::now();
    let (took, cpu) = spent(&edge, || {
        store.sink.open(true);
        wait_for("the backlog drains", || Ok((edge.sealed()? == 0).then_some(start.elapsed().as_secs_f64())))
    })?;
    Ok((rows / took, cpu.delivery * 1e9 / rows))
}

/// Runs the load on a thread of its own, for a time or until `is_over` says so.
fn send(load: &mut Load, pace: Pace, length: Duration, is_over: impl Fn(Duration) -> Result<bool>) -> Result<Phase> {
    // Nanoseconds from the start; nothing that is due later counts.
    let end = AtomicU64::new(length.as_nanos() as u64);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            if !become_urgent() {
                println!(
                    "the load has the usual priority, and waits for the store on its core: only root may change that"
                );
            }
            load.run(pace, &end)
        });
        let start = Instant::now();
        while !client.is_finished() {
            if end.load(Ordering::Relaxed) == length.as_nanos() as u64 && is_over(start.elapsed())? {
                end.fetch_min(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
            }
            thread::sleep(Duration::from_millis(20));
        }
        client.join().map_err(|_| "the load panicked")?
    })
}

/// The CPU time that something takes.
fn spent<T>(edge: &Edge, something: impl FnOnce() -> Result<T>) -> Result<(T, Cpu)> {
    let before = edge.cpu()?;
    let result = something()?;
    let after = edge.cpu()?;
    let cpu = Cpu {
        edge: after.edge - before.edge,
        delivery: after.delivery - before.delivery,
        others: after.others - before.others,
    };
    Ok((result, cpu))
}

impl Outcome {
    fn print(&self, round: usize, evidence: &str) {
        let [p50, p99, p999, max] = self.quantiles;
        println!(
            "{round:>5} {:<36} {:>8} {p50:>6.0} {p99:>6.0} {p999:>6.0} {max:>6.0} {:>6.0} {:>5.2} {:>6.2}  {evidence}",
            self.case.name(),
            self.requests,
            self.away,
            self.edge_cores,
            self.other_cores
        );
    }
}

/// A figure of a case in each round.
fn figures(outcomes: &[Vec<Outcome>], case: Case, figure: impl Fn(&Outcome) -> f64) -> Vec<f64> {
    outcomes.iter().flatten().filter(|outcome| outcome.case == case).map(figure).collect()
}

/// A quantile of a case in each round, as a multiple of another's.
fn ratios(outcomes: &[Vec<Outcome>], case: Case, other: Case, quantile: usize) -> Vec<f64> {
    let of = |case| figures(outcomes, case, |outcome| outcome.quantiles[quantile]);
    of(case).iter().zip(of(other)).map(|(figure, other)| figure / other).collect()
}

/// Least, median, most.
fn spread(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    [figures[0], figures[figures.len() / 2], figures[figures.len() - 1]]
}

/// The table of `benches/README.md`, "When something goes on, or goes wrong".
fn table(cases: &[Case], outcomes: &[Vec<Outcome>], alone: &[(Case, (f64, f64))], rate: u32) -> String {
    let mut table = format!(
        "Medians of {} rounds; ratios to the quiet case of the same round, least to most in brackets.\n\n\
         | at {rate} requests/s, half of one core's capacity | p50 | p99 | p99.9 | p99 ÷ quiet | p99.9 ÷ quiet |\n\
         |---|---|---|---|---|---|\n",
        outcomes.len()
    );
    for &case in cases {
        let time = |at: usize| {
            let [_, median, _] = spread(figures(outcomes, case, |outcome| outcome.quantiles[at]));
            if median < 1000.0 { format!("{median:.0} µs") } else { format!("{:.1} ms", median / 1000.0) }
        };
        let ratio = |at: usize| {
            let [least, median, most] = spread(ratios(outcomes, case, Case::Quiet, at));
            format!("{median:.2} ({least:.2} to {most:.2})")
        };
        let ratios = if case == Case::Quiet { ["1".to_owned(), "1".to_owned()] } else { [1, 2].map(ratio) };
        table += &format!("| {} | {} | {} |\n", case.name(), [0, 1, 2].map(time).join(" | "), ratios.join(" | "));
    }
    let rows = |(rows, cpu): (Vec<f64>, Vec<f64>)| {
        let ([least, rows, most], [_, cpu, _]) = (spread(rows), spread(cpu));
        let millions = |rows: f64| format!("{:.2}", rows / 1e6);
        format!(
            "{} million rows/s ({} to {}), {cpu:.0} ns of CPU a row",
            millions(rows),
            millions(least),
            millions(most)
        )
    };
    for &case in cases.iter().filter(|case| case.has_backlog()) {
        let beside = |figure: fn(&Outcome) -> f64| figures(outcomes, case, figure);
        table += &format!(
            "\n{} ({} million scans): alone at {}; beside this load, on the same core, at {}.\n",
            case.name(),
            BACKLOG / 1_000_000,
            rows(alone.iter().filter(|(of, _)| *of == case).map(|&(_, figures)| figures).unzip()),
            rows((beside(|outcome| outcome.delivery.0), beside(|outcome| outcome.delivery.1)))
        );
    }
    if cases.contains(&Case::NotRecording) {
        let added = |at: usize| {
            let [least, median, most] = spread(ratios(outcomes, Case::Quiet, Case::NotRecording, at));
            format!("{median:.2} ({least:.2} to {most:.2})")
        };
        table += &format!(
            "\nEverything recorded and delivered ÷ nothing recorded, in the same round (asked for: ≤ {MOST_OF_RECORDING}): \
             p99 {}, p99.9 {}.\n",
            added(1),
            added(2)
        );
    }
    table
}

fn as_json(
    cases: &[Case],
    outcomes: &[Vec<Outcome>],
    alone: &[(Case, (f64, f64))],
    capacity: f64,
    rate: u32,
    phase: Duration,
) -> serde_json::Value {
    let cases = cases.iter().map(|&case| {
        let mut of_case = json!({
            "case": case.name(),
            "requests": figures(outcomes, case, |outcome| outcome.requests as f64),
            "load_away_us": figures(outcomes, case, |outcome| outcome.away),
            "edge_cores": figures(outcomes, case, |outcome| outcome.edge_cores),
            "other_cores": figures(outcomes, case, |outcome| outcome.other_cores),
        });
        if case.has_backlog() {
            of_case["delivered_per_second"] = json!(figures(outcomes, case, |outcome| outcome.delivery.0));
        }
        for (at, (name, _)) in QUANTILES.iter().enumerate() {
            of_case[format!("{name}_us")] = json!(figures(outcomes, case, |outcome| outcome.quantiles[at]));
            of_case[format!("{name}_ratio")] = json!(ratios(outcomes, case, Case::Quiet, at));
        }
        of_case
    });
    let drained = |(case, (rows, cpu)): &(Case, (f64, f64))| json!({ "case": case.name(), "rows_per_second": rows, "cpu_ns_per_row": cpu });
    json!({
        "capacity_per_second": capacity,
        "rate_per_second": rate,
        "phase_seconds": phase.as_secs(),
        "cases": cases.collect::<Vec<_>>(),
        "drain_alone": alone.iter().map(drained).collect::<Vec<_>>(),
    })
}
