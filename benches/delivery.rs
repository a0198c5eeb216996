//! What does delivery at full speed add to a redirect's p99?
//!
//! The edge, with one worker and one delivery thread, has core 0 to itself; the load and
//! the sink, in this process, have core 1. In turn: (A) a paced load and nothing to deliver
//! but what it makes, and (B) the same load while a backlog of at least 2,000,000 scans
//! drains. The backlog is made by scanning as fast as the edge answers while the sink reads
//! and does not answer; it drains from the moment at which the load begins, and B ends with
//! it. Latency counts from the time at which a request was due, so a stall is seen by every
//! request that it delays. The sink is the least urgent thing on its core.
//!
//! `cargo bench --bench delivery`; two idle cores, `taskset`, and 1 GiB in the temporary folder.
#![allow(clippy::print_stdout, missing_docs, reason = "the result is for people")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::format_collect,
    reason = "figures are shown with a few digits, and a small file is written once"
)]

mod sink;

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use sink::Sink;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const ROUNDS: usize = 3;
const BACKLOG: u64 = 2_000_000;
/// Requests a second, over all connections.
const RATE: u32 = 2000;
const CONNECTIONS: u32 = 8;
/// Of a phase; B ends earlier if the backlog does.
const PHASE: Duration = Duration::from_secs(10);
/// Requests that are sent at once while the backlog is made.
const PIPELINE: usize = 64;
const SIGNS: usize = 500;
/// Anything that takes longer has gone wrong.
const PATIENCE: Duration = Duration::from_mins(2);
/// `USER_HZ`, the unit of times in `/proc/PID/stat`: 100 on every Linux.
const TICKS: f64 = 100.0;

const CLIENTS: [(&str, &str); 4] = [
    (
        "Mozilla/5.0 (Linux; Android 14; SM-A155F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36 Zalo android/12070847 ZaloTheme/light ZaloLanguage/vi",
        "vi-VN,vi;q=0.9,en;q=0.8",
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        "vi-VN,vi;q=0.9",
    ),
    (
        "Mozilla/5.0 (Linux; Android 12; NOH-AN01) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 MicroMessenger/8.0.49 Language/zh_CN",
        "zh-CN,zh;q=0.9,en-US;q=0.8",
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
        "en-US,en;q=0.9",
    ),
];

fn main() -> Result<()> {
    if thread::available_parallelism()?.get() < 2 {
        return Err("two cores are needed: one for the edge, one for the load".into());
    }
    // A sleep ends when it should; threads that are started from here inherit it.
    fs::write("/proc/self/timerslack_ns", "1")?;
    pin(std::process::id())?;
    let sink = Sink::start()?;
    let edge = Edge::start(&sink)?;
    println!("{RATE} requests/s over {CONNECTIONS} connections; edge on core 0, load and sink on core 1");
    println!("times in microseconds, from when a request was due to its answer");
    println!("others: cores busy with something else, within 0.1; more spoils the figures");
    println!("round phase      s  requests      p50      p99    p99.9      max   others");
    let mut rounds = Vec::new();
    for round in 1..=ROUNDS {
        rounds.push(Round::measure(round, &edge, &sink)?);
    }
    summary(&rounds);
    edge.stop()
}

/// Puts a running process, with all its threads, on core 1.
fn pin(process: u32) -> Result<()> {
    let mut command = Command::new("taskset");
    let pinned = command.args(["-a", "-c", "-p", "1", &process.to_string()]).stdout(Stdio::null()).status()?;
    pinned.success().then_some(()).ok_or_else(|| "taskset can't pin this process to core 1".into())
}

/// What one A and one B have shown.
struct Round {
    quiet: Latencies,
    busy: Latencies,
    rows_per_second: f64,
    /// CPU time of the delivery thread for one row, in nanoseconds.
    cpu_per_row: f64,
}

impl Round {
    fn measure(round: usize, edge: &Edge, sink: &Sink) -> Result<Self> {
        edge.wait_until_delivered()?;
        let before = edge.foreign_cpu()?;
        let (samples, took) = edge.paced(|| Ok(false))?;
        let quiet = Latencies::of(samples);
        quiet.print(round, 'A', (edge.foreign_cpu()? - before) / took.as_secs_f64());

        sink.open(false);
        let backlog = edge.backlog()?;
        let (stored, cpu) = (edge.sample("waypost_scans_stored_total")?, edge.delivery_cpu()?);
        let before = edge.foreign_cpu()?;
        sink.open(true);
        let (samples, took) = edge.paced(|| Ok(edge.sealed()? == 0))?;
        let rows = edge.sample("waypost_scans_stored_total")? - stored;
        let cpu = edge.delivery_cpu()? - cpu;
        let busy = Latencies::of(samples);
        busy.print(round, 'B', (edge.foreign_cpu()? - before) / took.as_secs_f64());
        let round = Self { quiet, busy, rows_per_second: rows / took.as_secs_f64(), cpu_per_row: cpu * 1e9 / rows };
        println!(
            "      a backlog of {backlog} scans; {rows:.0} delivered in {:.2} s, {:.0} rows/s, {:.0} ns of CPU for a row",
            took.as_secs_f64(),
            round.rows_per_second,
            round.cpu_per_row
        );
        let dropped = edge.sample("waypost_scans_dropped_total")?;
        if dropped > 0.0 {
            return Err(format!("{dropped} scans were dropped").into());
        }
        Ok(round)
    }
}

fn summary(rounds: &[Round]) {
    println!("median of {} rounds (least to most)", rounds.len());
    let line = |name: &str, figure: &dyn Fn(&Round) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let (least, median, most) = (figures[0], figures[figures.len() / 2], figures[figures.len() - 1]);
        let digits = if most < 100.0 { 2 } else { 0 };
        println!("{name:<32} {median:.digits$} ({least:.digits$} to {most:.digits$})");
    };
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        line(&format!("{name} A, µs"), &|round| round.quiet.at(quantile));
        line(&format!("{name} B, µs"), &|round| round.busy.at(quantile));
        line(&format!("{name} B / A"), &|round| round.busy.at(quantile) / round.quiet.at(quantile));
    }
    line("delivered, rows/s", &|round| round.rows_per_second);
    line("delivery thread, ns of CPU/row", &|round| round.cpu_per_row);
}

/// Sorted, of one phase.
struct Latencies {
    sorted: Vec<Duration>,
    /// From the first request that was due to the last.
    length: Duration,
}

impl Latencies {
    /// Of requests: when each was due, after the start of the phase, and how long it took from then.
    fn of(samples: Vec<(Duration, Duration)>) -> Self {
        let length = samples.iter().map(|sample| sample.0).max().unwrap_or_default();
        let mut sorted: Vec<_> = samples.into_iter().map(|sample| sample.1).collect();
        sorted.sort_unstable();
        Self { sorted, length }
    }

    /// A quantile, in microseconds.
    fn at(&self, quantile: f64) -> f64 {
        let rank = (self.sorted.len() as f64 * quantile).ceil() as usize;
        self.sorted.get(rank.saturating_sub(1)).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
    }

    fn print(&self, round: usize, phase: char, foreign: f64) {
        println!(
            "{round:>5} {phase:>5} {:>6.2} {:>9} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {foreign:>8.2}",
            self.length.as_secs_f64(),
            self.sorted.len(),
            self.at(0.5),
            self.at(0.99),
            self.at(0.999),
            self.at(1.0)
        );
    }
}

/// The real binary on core 0.
struct Edge {
    folder: TempDir,
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    /// The requests of all signs in turn, each with a client's headers.
    requests: Vec<Vec<u8>>,
}

impl Edge {
    fn start(sink: &Sink) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let codes: Vec<String> = (0..SIGNS).map(|number| format!("S{number:04}")).collect();
        let rows: String = codes.iter().map(|code| format!("{code},one,active\n")).collect();
        fs::write(folder.path().join("signs.csv"), format!("code,place,status\n{rows}"))?;
        fs::write(
            folder.path().join("places.csv"),
            "place,name,target,target:en,target:zh\none,Một,https://example.vn/vi/one,https://example.vn/en/one,https://example.vn/zh/one\n",
        )?;
        // What is not here has its default. The delivery must not give up while the backlog is made.
        let config = format!(
            "[edge]\nname = \"edge-1\"\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\npublic_url = \"https://qr.example.vn\"\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n\
             [registry]\nallowed_hosts = [\"example.vn\"]\n\
             [journal]\ndir = \"journal\"\n\
             [store]\nkind = \"clickhouse\"\nurl = [\"http://{}\"]\napply_schema = false\ntimeout = \"10m\"\n\
             [log]\nformat = \"json\"\n",
            sink.address
        );
        let (file, log) = (folder.path().join("waypost.toml"), folder.path().join("log"));
        fs::write(&file, config)?;
        let mut command = Command::new("taskset");
        command.args(["-c", "0", env!("CARGO_BIN_EXE_waypost"), "serve", "--config"]).arg(&file);
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn()?;
        let nowhere = ([127, 0, 0, 1], 0).into();
        let requests = codes.iter().zip(CLIENTS.iter().cycle()).map(|(code, (agent, language))| {
            format!(
                "GET /{code} HTTP/1.1\r\nHost: qr.example.vn\r\nUser-Agent: {agent}\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\
                 Accept-Language: {language}\r\nAccept-Encoding: gzip, deflate, br\r\n\r\n"
            )
            .into_bytes()
        });
        let mut edge = Self { folder, child, address: nowhere, admin: nowhere, requests: requests.collect() };
        (edge.address, edge.admin) = wait_for("the edge serves", || addresses(&log))?;
        Ok(edge)
    }

    /// SIGTERM, and waits for the end.
    fn stop(mut self) -> Result<()> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the edge ended with {status}").into()) }
    }

    fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection { stream, buffer: vec![0; 256 << 10] })
    }

    /// Scans as fast as there are answers, until enough wait; returns how many.
    fn backlog(&self) -> Result<u64> {
        let mut connections = (0..4).map(|_| self.connect()).collect::<Result<Vec<_>>>()?;
        let bursts: Vec<_> = self.requests.chunks_exact(PIPELINE).map(<[_]>::concat).collect();
        let each = (PIPELINE * connections.len()) as u64;
        let rounds = BACKLOG.div_ceil(each);
        for (_, burst) in (0..rounds).zip(bursts.iter().cycle()) {
            for connection in &mut connections {
                connection.stream.write_all(burst)?;
            }
            for connection in &mut connections {
                connection.answers(PIPELINE)?;
            }
        }
        drop(connections);
        // The last segment is sealed at its age, `journal.seal_after`, and then waits as well.
        let enough = || Ok((self.sample("waypost_scans_pending")? >= (rounds * each) as f64).then_some(()));
        wait_for("the backlog waits", enough)?;
        thread::sleep(Duration::from_secs(6));
        Ok(rounds * each)
    }

    /// The paced load, until `over` says so or the phase ends; what it found, and how long it took.
    fn paced(&self, over: impl Fn() -> Result<bool>) -> Result<(Vec<(Duration, Duration)>, Duration)> {
        // Nanoseconds from the start; nothing that is due later counts.
        let end = AtomicU64::new(PHASE.as_nanos() as u64);
        let connections = (0..CONNECTIONS).map(|_| self.connect()).collect::<Result<Vec<_>>>()?;
        let start = Instant::now() + Duration::from_millis(1);
        let (end, interval) = (&end, Duration::from_secs(1) / RATE);
        thread::scope(|scope| {
            let clients = (0..CONNECTIONS).zip(connections).map(|(number, mut connection)| {
                scope.spawn(move || -> Result<Vec<(Duration, Duration)>> {
                    let mut samples = Vec::with_capacity(8192);
                    for turn in (number..).step_by(CONNECTIONS as usize) {
                        let due = interval * turn;
                        if due.as_nanos() as u64 >= end.load(Ordering::Relaxed) {
                            break;
                        }
                        thread::sleep((start + due).saturating_duration_since(Instant::now()));
                        connection.stream.write_all(&self.requests[turn as usize * 7 % self.requests.len()])?;
                        connection.answers(1)?;
                        samples.push((due, start.elapsed().saturating_sub(due)));
                    }
                    Ok(samples)
                })
            });
            let clients: Vec<_> = clients.collect();
            while start.elapsed() < PHASE {
                if over()? {
                    end.fetch_min(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
                    break;
                }
                thread::sleep(Duration::from_millis(20));
            }
            let took = Duration::from_nanos(end.load(Ordering::Relaxed));
            let mut samples = Vec::new();
            for client in clients {
                samples.extend(client.join().map_err(|_| "a client panicked")??);
            }
            samples.retain(|sample| sample.0 < took);
            Ok((samples, took))
        })
    }

    /// Segments that wait for delivery, without asking the edge.
    fn sealed(&self) -> Result<usize> {
        let entries = fs::read_dir(self.folder.path().join("journal"))?;
        let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
        Ok(paths.iter().filter(|path| path.extension().is_some_and(|kind| kind == "sealed")).count())
    }

    fn wait_until_delivered(&self) -> Result<()> {
        wait_for("everything is delivered", || Ok((self.sample("waypost_scans_pending")? == 0.0).then_some(())))
    }

    /// A metric, over its labels.
    fn sample(&self, name: &str) -> Result<f64> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        let samples = page.lines().filter_map(|line| line.rsplit_once(' '));
        let mut values = samples.filter(|(sample, _)| sample.split('{').next() == Some(name)).peekable();
        values.peek().ok_or_else(|| format!("no metric {name}"))?;
        Ok(values.map(|(_, value)| value.parse::<f64>()).sum::<std::result::Result<_, _>>()?)
    }

    /// CPU time of the delivery thread so far, in seconds.
    fn delivery_cpu(&self) -> Result<f64> {
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let stat = fs::read_to_string(task?.path().join("stat"))?;
            // `TID (name) state …`: user and system time are the 12th and 13th after the name.
            if stat.contains("(delivery)") {
                return times(&stat);
            }
        }
        Err("the edge has no thread named delivery".into())
    }

    /// CPU time so far, on all cores and in seconds, of everything but the edge and this process.
    fn foreign_cpu(&self) -> Result<f64> {
        let all = fs::read_to_string("/proc/stat")?;
        // user nice system (idle iowait) irq softirq steal
        let fields = all.split_whitespace().skip(1).take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
        let all: f64 = fields.map(|(_, ticks)| ticks.parse::<f64>()).sum::<std::result::Result<_, _>>()?;
        let edge = times(&fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?)?;
        Ok(all / TICKS - edge - times(&fs::read_to_string("/proc/self/stat")?)?)
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // After an error; otherwise it has ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// User and system time, in seconds: the 12th and 13th after the name in `ID (name) state …`.
fn times(stat: &str) -> Result<f64> {
    let rest = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<std::result::Result<f64, _>>()? / TICKS)
}

/// A connection that is kept alive.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Reads so many redirects, none of which has a body.
    fn answers(&mut self, count: usize) -> Result<()> {
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            filled += read;
            let bytes = &self.buffer[..filled];
            if read == 0 {
                return Err(format!("the edge hung up after {:?}", String::from_utf8_lossy(bytes)).into());
            }
            if bytes.ends_with(b"\r\n\r\n") && heads(bytes) == count {
                return Ok(());
            }
        }
    }
}

/// Redirects that begin in some bytes.
fn heads(bytes: &[u8]) -> usize {
    const START: &[u8] = b"HTTP/1.1 302 ";
    bytes.split(|&byte| byte == b'\n').filter(|line| line.starts_with(START)).count()
}

fn wait_for<T>(what: &str, mut state: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(state) = state()? {
            return Ok(state);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(format!("never came: {what}").into())
}

/// Where the edge listens, once its log says that it serves.
fn addresses(log: &Path) -> Result<Option<(SocketAddr, SocketAddr)>> {
    let text = fs::read_to_string(log)?;
    let address = |message: &str| -> Option<SocketAddr> {
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let mut lines = lines.map(|mut line| line["fields"].take()).filter(|fields| fields["message"] == message);
        lines.next()?["address"].as_str()?.parse().ok()
    };
    if !text.contains("\"serving\"") {
        return Ok(None);
    }
    Ok(address("listening").zip(address("admin listening")))
}
