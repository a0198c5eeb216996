//! How long does a good visitor wait while somebody hostile is at it?
//!
//! The edge, with one worker and all its other threads, has core 0 to itself; the good visitors, the
//! hostile ones and the store, in this process, have core 1, the good ones before all others. For each
//! pattern there is an edge of its own: good visitors alone first, then the same ones beside the
//! pattern, plain and then by TLS. So each figure has its quiet one from the same minute, and the patterns
//! take turns. The edge has its shipped limits.
//!
//! `cargo bench --bench hostile`: two idle cores, Linux, `taskset`, root (the good visitors run as a
//! real-time thread), 20,000 descriptors and about a quarter of an hour. `-- --quick` is one short round, to see
//! whether everything runs; `-- 1 5 slow` is one round of 5 s for the patterns with such a word; `-- --write`
//! puts the table into `tests/README.md`.
#![allow(clippy::print_stdout, missing_docs, reason = "the result is for people")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "figures are shown with a few digits; counts are exact"
)]

mod attack;
#[path = "../edge/mod.rs"]
#[allow(dead_code, reason = "another benchmark needs more of it")]
mod edge;
mod good;
#[path = "../load/mod.rs"]
#[allow(dead_code, reason = "another benchmark needs more of it")]
mod load;
mod net;
mod patterns;
#[path = "../sink/mod.rs"]
mod sink;
// The tests' journal settings, scan and small disk, for `edge`.
#[path = "../../tests/support/mod.rs"]
#[allow(clippy::unwrap_used, clippy::print_stderr, clippy::format_collect, reason = "it panics as a test does")]
mod support;

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::{ClientConfig, RootCertStore};

use attack::{Achieved, Attack, Supply};
use edge::{Edge, Metrics, Settings, to_clickhouse, wait_for};
use good::{Seen, Visitors};
use load::become_urgent;
use patterns::{Pattern, patterns};
use sink::Sink;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const HOST: &str = "qr.example.vn";
const ROUNDS: usize = 3;
/// Of each of a pattern's four phases.
const PHASE: Duration = Duration::from_secs(6);
/// Before them, for the caches.
const WARM_UP: Duration = Duration::from_secs(1);
/// Good visitors a second, half of them on a new connection.
const RATE: u32 = 1_000;
/// Most that the p99 may grow by.
const TARGET: f64 = 2.0;
/// Anything that takes longer has gone wrong.
const TIMEOUT: Duration = Duration::from_mins(1);
const DOORS: [&str; 2] = ["plain", "TLS"];
const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];
/// What the edge has counted is told from these; the good visitors are in it.
const COUNTERS: [(&str, &str); 7] = [
    ("waypost_misses_throttled_total", "misses throttled"),
    ("waypost_unknown_unrecorded_total", "misses not recorded"),
    ("waypost_connection_errors_total", "connections broken off"),
    ("waypost_accept_errors_total", "accept errors"),
    ("waypost_connections_accepted_total", "accepted"),
    ("waypost_requests_total", "answered"),
    ("waypost_scans_dropped_total", "scans dropped"),
];
/// Reasons of `waypost_connections_closed_total`.
const CLOSED: [&str; 7] = ["evicted", "per_address", "handshake", "proxy_header", "descriptors", "idle", "slow"];

/// What the arguments ask for.
struct Options {
    rounds: usize,
    phase: Duration,
    words: Vec<String>,
    writes: bool,
}

/// One pattern in one round.
struct Outcome {
    pattern: usize,
    /// By door.
    quiet: [Figures; 2],
    beside: [Figures; 2],
    /// Cores that were busy with what is neither the edge nor this process.
    others: f64,
    /// What the hostile side achieved, and what the edge counted of it.
    achieved: String,
    counted: String,
}

/// Of good visitors; times in microseconds.
struct Figures {
    quantiles: [f64; QUANTILES.len()],
    came: usize,
    refused: usize,
    lost: usize,
    /// How late the load itself was at worst.
    lag: f64,
}

fn main() -> Result<()> {
    let options = Options::from_arguments()?;
    let descriptors = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: descriptors, maximum: descriptors })?;
    if thread::available_parallelism()?.get() < 2 || descriptors.is_some_and(|descriptors| descriptors < 12_000) {
        return Err("expected two cores and 12,000 descriptors".into());
    }
    fs::write("/proc/self/timerslack_ns", "1")?;
    let mut taskset = Command::new("taskset");
    taskset.args(["-a", "-c", "-p", "1", &std::process::id().to_string()]).stdout(Stdio::null());
    if !taskset.status()?.success() {
        return Err("taskset can't pin this process to core 1".into());
    }
    let started = Instant::now();
    let bench = Bench::start()?;
    let all = patterns();
    let chosen: Vec<usize> = (0..all.len()).filter(|&at| options.wants(&all[at])).collect();
    println!(
        "{RATE} good visitors a second, {} rounds of 4 phases of {:?}; times in µs",
        options.rounds, options.phase
    );
    println!("late: how late the load itself was, at worst");
    let mut outcomes = Vec::new();
    for round in 1..=options.rounds {
        for &at in &chosen {
            let outcome = bench.measure(at, &all[at], options.phase)?;
            outcome.print(round, &all[at]);
            outcomes.push(outcome);
        }
    }
    let table = table(&all, &chosen, &outcomes, &options);
    println!("\n{table}");
    if options.writes {
        write(&table)?;
    }
    let [_, others, most] = spread(outcomes.iter().map(|outcome| outcome.others).collect());
    if most > 0.2 {
        println!("{others:.1} CORES, AT MOST {most:.1}, WERE BUSY WITH SOMETHING ELSE: these figures are worth little");
    }
    println!("{:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

impl Options {
    fn from_arguments() -> Result<Self> {
        let mut options = Self { rounds: ROUNDS, phase: PHASE, words: Vec::new(), writes: false };
        let mut numbers = 0;
        for argument in std::env::args().skip(1) {
            match (argument.as_str(), argument.parse::<u64>()) {
                // Cargo's own.
                ("--bench", _) => {}
                ("--quick", _) => (options.rounds, options.phase) = (1, Duration::from_secs(1)),
                ("--write", _) => options.writes = true,
                (_, Ok(number)) if numbers == 0 => (options.rounds, numbers) = (number.max(1) as usize, 1),
                (_, Ok(number)) => options.phase = Duration::from_secs(number.max(1)),
                (word, _) if word.starts_with('-') => {
                    return Err(format!("expected --quick, --write, rounds, seconds or words, found {word}").into());
                }
                (word, _) => options.words.push(word.to_owned()),
            }
        }
        if options.writes && (!options.words.is_empty() || options.phase < PHASE) {
            return Err("--write is for a full run".into());
        }
        Ok(options)
    }

    fn wants(&self, pattern: &Pattern) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| pattern.name.contains(word.as_str()))
    }
}

/// What all patterns share.
struct Bench {
    sink: Sink,
    tls: Arc<ClientConfig>,
    /// With the certificate and its key.
    folder: tempfile::TempDir,
}

impl Bench {
    fn start() -> Result<Self> {
        let pair = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let key = folder.path().join("key.pem");
        fs::write(folder.path().join("cert.pem"), pair.cert.pem())?;
        fs::write(&key, pair.signing_key.serialize_pem())?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        let mut roots = RootCertStore::empty();
        roots.add(pair.cert.der().clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
        tls.resumption = rustls::client::Resumption::disabled();
        Ok(Self { sink: Sink::start()?, tls: Arc::new(tls), folder })
    }

    fn edge(&self) -> Result<Edge> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let sections = format!(
            "[edge.tls]\nlisten = [\"127.0.0.1:0\"]\n\
             certificates = [{{ certificate = \"{}\", key = \"{}\" }}]\n\
             [edge.proxy_protocol]\nlisten = [\"127.0.0.1:0\"]\nfrom = [\"127.{}.0.0/16\"]\n",
            file("cert.pem"),
            file("key.pem"),
            attack::NETWORK
        );
        Edge::start(&Settings {
            store: to_clickhouse(&format!("http://{}", self.sink.address)),
            observe: "",
            journal: String::new(),
            backlog: None,
            small_disk: false,
            sections,
            own_pages: false,
        })
    }

    fn measure(&self, at: usize, pattern: &Pattern, phase: Duration) -> Result<Outcome> {
        let edge = self.edge()?;
        let mut visitors =
            [Visitors::new(edge.addresses[0], None)?, Visitors::new(edge.addresses[1], Some(self.tls.clone()))?];
        let mut both = |length| -> Result<[Figures; 2]> {
            let [plain, tls] = &mut visitors;
            Ok([come(plain, length)?, come(tls, length)?])
        };
        both(WARM_UP)?;
        let (others, since) = (edge.cpu()?.others, Instant::now());
        let quiet = both(phase)?;
        let attack = Attack {
            door: edge.addresses[pattern.door as usize],
            sources: pattern.sources,
            supply: pattern.supply,
            act: pattern.act.clone(),
            tls: self.tls.clone(),
        };
        let (achieved, stop) = (Achieved::default(), AtomicBool::new(false));
        thread::scope(|scope| {
            let hostile = scope.spawn(|| attack.run(&achieved, &stop));
            let measured = (|| -> Result<_> {
                if let Supply::Held(count) = attack.supply {
                    let filled = || Ok(achieved.is_filled.load(Ordering::Relaxed).then_some(()));
                    wait_for(&format!("{count} hostile connections"), filled)?;
                }
                let (before, begun) = (edge.metrics()?, Instant::now());
                let opened = achieved.opened.load(Ordering::Relaxed);
                let done = achieved.done.load(Ordering::Relaxed);
                let beside = both(phase)?;
                let seconds = begun.elapsed().as_secs_f64();
                let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
                let opened = rate(achieved.opened.load(Ordering::Relaxed), opened);
                let done = rate(achieved.done.load(Ordering::Relaxed), done);
                let open = achieved.open.load(Ordering::Relaxed);
                let counted = counted(&before, &edge.metrics()?)?;
                Ok((beside, pattern.achieved(open, opened, done), counted))
            })();
            stop.store(true, Ordering::Relaxed);
            hostile.join().map_err(|_| "the hostile side panicked")??;
            let (beside, achieved, counted) = measured?;
            let others = (edge.cpu()?.others - others) / since.elapsed().as_secs_f64();
            Ok(Outcome { pattern: at, quiet, beside, others, achieved, counted })
        })
    }
}

/// Lets good visitors come, on a thread that is more urgent than the hostile one.
fn come(visitors: &mut Visitors, length: Duration) -> Result<Figures> {
    let Seen { phase, refused, lost } = thread::scope(|scope| {
        let come = || {
            if !become_urgent() {
                println!(
                    "the good visitors have the usual priority, and wait for the hostile: only root may change that"
                );
            }
            visitors.come(RATE, length)
        };
        scope.spawn(come).join().map_err(|_| "the good visitors panicked")?
    })?;
    Ok(Figures {
        quantiles: QUANTILES.map(|share| phase.latency(share)),
        came: phase.latencies.len() + refused,
        refused,
        lost,
        lag: phase.away.as_secs_f64() * 1e6,
    })
}

/// What the edge's own metrics say of the time between.
fn counted(before: &Metrics, after: &Metrics) -> Result<String> {
    let mut counted = Vec::new();
    let closed = CLOSED.map(|why| (format!("waypost_connections_closed_total{{reason=\"{why}\"}}"), why));
    let others = COUNTERS.map(|(name, said)| (name.to_owned(), said));
    for (name, said) in closed.into_iter().chain(others) {
        let more = after.of(&name)? - before.of(&name)?;
        if more > 0.0 {
            counted.push(format!("{more:.0} {said}"));
        }
    }
    Ok(counted.join(", "))
}

impl Outcome {
    fn print(&self, round: usize, pattern: &Pattern) {
        println!("{round:>3} {}: {}; the edge counted: {}", pattern.name, self.achieved, self.counted);
        for (door, name) in DOORS.iter().enumerate() {
            let (quiet, beside) = (&self.quiet[door], &self.beside[door]);
            let [p50, p99, p999] = beside.quantiles;
            let [quiet_p50, quiet_p99, quiet_p999] = quiet.quantiles;
            println!(
                "      {name:<6} p50 {quiet_p50:>6.0} → {p50:>7.0}  p99 {quiet_p99:>6.0} → {p99:>7.0} ({:.2})  p99.9 \
                 {quiet_p999:>6.0} → {p999:>7.0}  of {} refused {} lost {}  late {:.0}, {:.0}",
                self.ratio(door),
                beside.came,
                beside.refused,
                beside.lost,
                quiet.lag,
                beside.lag
            );
        }
    }

    /// The p99 as a multiple of the quiet one.
    fn ratio(&self, door: usize) -> f64 {
        self.beside[door].quantiles[1] / self.quiet[door].quantiles[1]
    }
}

/// Least, median, most.
fn spread(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    [figures[0], figures[figures.len() / 2], figures[figures.len() - 1]]
}

/// The table of `tests/README.md`.
fn table(all: &[Pattern], chosen: &[usize], outcomes: &[Outcome], options: &Options) -> String {
    let mut table = format!(
        "{RATE} good visitors a second, half of them on a new connection, beside one pattern at a time; {} rounds of {} s \
         for each cell. Medians, least to most in brackets; p99 ÷ quiet is of the same round, and above {TARGET:.0} it is \
         bold. Times from when a visitor was due to the redirect's last byte.\n\n\
         | pattern, strength, achieved | visitors | p50: quiet, beside | p99: quiet, beside | p99.9: quiet, beside | p99 ÷ \
         quiet | refused, lost | counted by the edge in the last round, good visitors included |\n|---|---|---|---|---|---|---|---|\n",
        options.rounds,
        options.phase.as_secs()
    );
    for &at in chosen {
        let of: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.pattern == at).collect();
        for (door, name) in DOORS.iter().enumerate() {
            let median = |figure: &dyn Fn(&Outcome) -> f64| {
                let [_, median, _] = spread(of.iter().map(|outcome| figure(outcome)).collect());
                if median < 1000.0 { format!("{median:.0} µs") } else { format!("{:.1} ms", median / 1000.0) }
            };
            let times = |quantile: usize| {
                let quiet = median(&|outcome: &Outcome| outcome.quiet[door].quantiles[quantile]);
                let beside = median(&|outcome: &Outcome| outcome.beside[door].quantiles[quantile]);
                format!("{quiet}, {beside}")
            };
            let [lowest, ratio, highest] = spread(of.iter().map(|outcome| outcome.ratio(door)).collect());
            let bold = if ratio > TARGET { "**" } else { "" };
            let sum = |count: fn(&Figures) -> usize| of.iter().map(|one| count(&one.beside[door])).sum::<usize>();
            let refused = format!("{}, {} of {}", sum(|one| one.refused), sum(|one| one.lost), sum(|one| one.came));
            let last = of[of.len() - 1];
            let (what, counted) = match door {
                0 => (format!("{}: {}; {}", all[at].name, all[at].strength, last.achieved), last.counted.as_str()),
                _ => ("〃".to_owned(), "〃"),
            };
            table += &format!(
                "| {what} | {name} | {} | {bold}{ratio:.2}{bold} ({lowest:.2} to {highest:.2}) | {refused} | {counted} |\n",
                [0, 1, 2].map(times).join(" | ")
            );
        }
    }
    table
}

/// Replaces what is between the markers.
fn write(table: &str) -> Result<()> {
    const BEGIN: &str = "<!-- hostile:begin -->\n";
    const END: &str = "<!-- hostile:end -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/README.md");
    let text = fs::read_to_string(&path)?;
    let (before, rest) = text.split_once(BEGIN).ok_or("tests/README.md has no place for the table")?;
    let (_, after) = rest.split_once(END).ok_or("the place for the table has no end")?;
    Ok(fs::write(path, format!("{before}{BEGIN}{table}{END}{after}"))?)
}
