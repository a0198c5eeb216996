//! The real binary, pinned to core 0: its folder, its registry, its figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use waypost::journal::{self, SegmentState};

use super::support::{SmallDisk, addresses};
use super::{Result, TIMEOUT};

/// Signs of the registry, five to a place.
pub const SIGNS: usize = 100_000;
/// Signs that are scanned, all as often as each other, and spread over the registry.
const SCANNED: usize = 500;
/// `USER_HZ`, the unit of times in `/proc/PID/stat`: 100 on every Linux.
const TICKS: f64 = 100.0;

/// What one case is about; the rest is as it is by default.
pub struct Settings {
    /// The lines of the section `[store]`.
    pub store: String,
    /// Further lines of the section `[observe]`.
    pub observe: &'static str,
    /// Further lines of the section `[journal]`.
    pub journal: String,
    /// A folder with the segments that are in the journal before the start.
    pub backlog: Option<PathBuf>,
    /// Mount a file system of 8 MiB for the journal.
    pub small_disk: bool,
    /// Further sections.
    pub sections: String,
    /// Give every fourth place a text of 1,000 characters, in two languages, and no target.
    pub own_pages: bool,
}

/// A running edge.
pub struct Edge {
    /// Of visitors, in the order of the sections `[edge]`, `[edge.tls]`, `[edge.proxy_protocol]`.
    pub addresses: Vec<SocketAddr>,
    admin: SocketAddr,
    child: Child,
    _disk: Option<SmallDisk>,
    folder: TempDir,
}

impl Edge {
    pub fn start(settings: &Settings) -> Result<Self> {
        // On the disk of the build: the temporary folder may be in memory, where syncing is for nothing.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let path = |name: &str| folder.path().join(name);
        let about: String = "Ải Chi Lăng là nơi hiểm yếu.\n".chars().cycle().take(999).chain(['.']).collect();
        let places = (0..SIGNS / 5).fold(
            "place,name,target,target:en,target:zh,about,about:en\n".to_owned(),
            |mut rows, place| {
                let page = |language: &str| format!("https://example.vn/{language}/duong-pho/p{place}");
                // Of those that are scanned every fourth as well.
                if settings.own_pages && (place / (SIGNS / SCANNED / 5)).is_multiple_of(4) {
                    writeln!(rows, "p{place},Phố {place},,,,\"{about}\",About {place}").ok();
                } else {
                    writeln!(rows, "p{place},Phố {place},{},{},{},,", page("vi"), page("en"), page("zh")).ok();
                }
                rows
            },
        );
        fs::write(path("places.csv"), places)?;
        fs::write(path("signs.csv"), signs(0))?;
        let countries = countries().map_or(String::new(), |file| format!("\"{}\"", file.display()));
        let config = format!(
            "[edge]\nname = \"edge-1\"\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\nmax_requests_per_connection = 1000000\npublic_url = \"https://qr.example.vn\"\n\
             [edge.trust]\nproxies = [\"127.0.0.1\"]\n{}[admin]\nlisten = \"127.0.0.1:0\"\n\
             [registry]\nallowed_hosts = [\"example.vn\"]\n[observe]\ngeoip = [{countries}]\n{}\
             [journal]\ndir = \"journal\"\n{}[store]\n{}\n[log]\nformat = \"json\"\n",
            settings.sections, settings.observe, settings.journal, settings.store
        );
        fs::write(path("waypost.toml"), config)?;
        let disk = if settings.small_disk { Some(SmallDisk::mount(&path("journal"))) } else { None };
        if let Some(backlog) = &settings.backlog {
            link(backlog, &path("journal"))?;
        }
        let mut command = Command::new("taskset");
        command.args(["-c", "0", env!("CARGO_BIN_EXE_waypost"), "serve", "--config"]).arg(path("waypost.toml"));
        command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(path("log"))?);
        let child = command.spawn()?;
        let nowhere = ([127, 0, 0, 1], 0).into();
        let mut edge = Self { addresses: Vec::new(), admin: nowhere, child, _disk: disk, folder };
        (edge.addresses, edge.admin) = wait_for("the edge serves", || edge.addresses())?;
        Ok(edge)
    }

    /// Where it listens, once its log says that it serves.
    fn addresses(&mut self) -> Result<Option<(Vec<SocketAddr>, SocketAddr)>> {
        let text = fs::read_to_string(self.folder.path().join("log"))?;
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("the edge ended with {status}: {text}").into());
        }
        Ok(addresses(&text))
    }

    /// What it has logged, as JSON.
    #[allow(dead_code, reason = "only one of the benchmarks looks into it")]
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("log"))?)
    }

    /// The end of a link that makes an account of the console.
    #[allow(dead_code, reason = "only one of the benchmarks has a console")]
    pub fn invite(&self, name: &str) -> Result<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
        command.args(["console", "invite", name, "--role", "viewer", "--config"]);
        let output = command.arg(self.folder.path().join("waypost.toml")).output()?;
        let link = String::from_utf8(output.stdout)?;
        let token = link.trim().rsplit_once("/invite/").map(|(_, token)| token.to_owned());
        token.ok_or_else(|| String::from_utf8_lossy(&output.stderr).into())
    }

    /// The codes that are scanned, spread over the registry.
    pub fn codes() -> impl Iterator<Item = String> {
        (0..SCANNED).map(|number| code(number * (SIGNS / SCANNED)))
    }

    /// Every metric, over its labels, and each sample under its whole name.
    pub fn metrics(&self) -> Result<Metrics> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        let mut metrics = BTreeMap::new();
        for (sample, value) in page.lines().filter_map(|line| line.rsplit_once(' ')) {
            let Ok(value) = value.parse::<f64>() else { continue };
            let name = sample.split('{').next().unwrap_or(sample);
            *metrics.entry(name.to_owned()).or_default() += value;
            if name != sample {
                metrics.insert(sample.to_owned(), value);
            }
        }
        Ok(Metrics(metrics))
    }

    /// Segments that wait for delivery, without asking the edge.
    pub fn sealed(&self) -> Result<usize> {
        Ok(journal::segments(&self.folder.path().join("journal"))?
            .iter()
            .filter(|(_, state)| *state == SegmentState::Sealed)
            .count())
    }

    /// Gives every sign another place, once a second, until told to stop.
    pub fn rewrite_signs(&self, stop: &AtomicBool) -> Result<()> {
        let (new, path) = (self.folder.path().join("signs.new"), self.folder.path().join("signs.csv"));
        let (versions, start) = ([signs(1), signs(0)], Instant::now());
        for (second, rows) in (1..).zip(versions.iter().cycle()) {
            fs::write(&new, rows)?;
            fs::rename(&new, &path)?;
            while start.elapsed() < Duration::from_secs(second) {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    /// CPU time so far, in seconds: the edge's, that of its delivery, and everybody else's but our own.
    pub fn cpu(&self) -> Result<Cpu> {
        let stat = |path: &Path| times(&fs::read_to_string(path.join("stat"))?);
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let all = fs::read_to_string("/proc/stat")?;
        // user nice system (idle iowait) irq softirq steal
        let fields = all.split_whitespace().skip(1).take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
        let all: f64 = fields.map(|(_, ticks)| ticks.parse::<f64>()).sum::<std::result::Result<_, _>>()?;
        let edge = stat(&process)?;
        let others = all / TICKS - edge - stat(Path::new("/proc/self"))?;
        for task in fs::read_dir(process.join("task"))? {
            let task = task?.path();
            if fs::read_to_string(task.join("comm"))? == "delivery\n" {
                return Ok(Cpu { edge, delivery: stat(&task)?, others });
            }
        }
        Err("the edge has no thread named delivery".into())
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // Nothing of it is looked at again.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The samples of one scrape.
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub fn of(&self, name: &str) -> Result<f64> {
        self.0.get(name).copied().ok_or_else(|| format!("no metric {name}").into())
    }
}

/// In seconds.
pub struct Cpu {
    pub edge: f64,
    pub delivery: f64,
    pub others: f64,
}

/// The country database of the tests, if there is one.
pub fn countries() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("WAYPOST_TEST_GEOIP")?).join("iptoasn-country-ipv4.mmdb"))
}

fn code(sign: usize) -> String {
    format!("S{sign:05}")
}

/// `signs.csv`, with each sign at its place or some places further.
pub fn signs(further: usize) -> String {
    (0..SIGNS).fold("code,place,status\n".to_owned(), |mut rows, sign| {
        writeln!(rows, "{},p{},active", code(sign), (sign / 5 + further) % (SIGNS / 5)).ok();
        rows
    })
}

/// The `[store]` of an edge that delivers over HTTP to this URL.
pub fn to_clickhouse(url: &str) -> String {
    format!("kind = \"clickhouse\"\nurl = [\"{url}\"]\napply_schema = false\ntimeout = \"10m\"")
}

/// Gives a journal the segments of another: its files under a second name, which delivery removes.
fn link(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for (segment, _) in journal::segments(from)? {
        fs::hard_link(&segment, to.join(segment.file_name().ok_or("a segment without a name")?))?;
    }
    Ok(())
}

/// User and system time, in seconds: the 12th and 13th after the name in `ID (name) state …`.
fn times(stat: &str) -> Result<f64> {
    let rest = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<std::result::Result<f64, _>>()? / TICKS)
}

pub fn wait_for<T>(what: &str, mut state: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let until = Instant::now() + TIMEOUT;
    while Instant::now() < until {
        if let Some(state) = state()? {
            return Ok(state);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(format!("never came: {what}").into())
}
