//! The edge as systemd's socket unit runs it: the sockets are held here, over all its processes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{self, AddressFamily, SocketType, sockopt};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::run::{Ports, Run};
use super::{good, tables};
use crate::support::tls::{HOST, VALID, made};
use crate::support::{Setup, http, wait_for};

/// Of the process; what is hostile wants more.
const MAX_CONNECTIONS: usize = 2000;
/// Where the sockets have their numbers here, clear of those that they get there, from 3 on.
const CLEAR: i32 = 100;

/// Counters that are summed up over all processes, as far as they were read: what a process counted last before a
/// `kill -9` is missing.
const COUNTERS: [(&str, &str); 13] = [
    ("connections accepted", "waypost_connections_accepted_total"),
    ("closed: evicted", "waypost_connections_closed_total{reason=\"evicted\"}"),
    ("closed: per_address", "waypost_connections_closed_total{reason=\"per_address\"}"),
    ("closed: handshake", "waypost_connections_closed_total{reason=\"handshake\"}"),
    ("closed: proxy_header", "waypost_connections_closed_total{reason=\"proxy_header\"}"),
    ("closed: descriptors", "waypost_connections_closed_total{reason=\"descriptors\"}"),
    ("closed: idle", "waypost_connections_closed_total{reason=\"idle\"}"),
    ("closed: slow", "waypost_connections_closed_total{reason=\"slow\"}"),
    ("misses throttled", "waypost_misses_throttled_total"),
    ("reloads taken", "waypost_registry_reloads_total{result=\"success\"}"),
    ("reloads refused", "waypost_registry_reloads_total{result=\"refused\"}"),
    ("store: attempts that failed", "waypost_store_retries_total"),
    ("scans recovered after kill -9", "waypost_scans_recovered_total"),
];

pub struct Process {
    log: PathBuf,
    /// Never accepted from here.
    sockets: Vec<(&'static str, OwnedFd)>,
    child: Option<Child>,
}

/// What a process takes of the system.
pub struct Figures {
    resident: u64,
    /// What each descriptor is open on, and the threads' names.
    held: Vec<String>,
}

/// Descriptors and threads by which a process may differ from itself: tokio's pool keeps as many threads as have
/// worked at once, SQLite as many descriptors of a file as it has had connections, and the journal has its next
/// segment ready or not. One more for each reload, certificate or batch that failed is far more.
const MORE: usize = 4;

impl Figures {
    /// The memory may be 16 MiB more: what thousands of connections leave in the allocator's arenas depends on their
    /// order (2 to 5 MiB more were seen). 300 bytes for each of the thousand connections a second are beyond that
    /// within a minute.
    pub fn is_no_larger_than(&self, earlier: &Self) -> bool {
        self.resident <= earlier.resident + (16 << 20) && self.held.len() <= earlier.held.len() + MORE
    }

    /// What was not there earlier.
    pub fn beyond(&self, earlier: &Self) -> Vec<&str> {
        let mut beyond: Vec<&str> = self.held.iter().map(String::as_str).collect();
        for held in &earlier.held {
            if let Some(at) = beyond.iter().position(|more| more == held) {
                beyond.swap_remove(at);
            }
        }
        beyond
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = self.held.iter().filter(|held| held.starts_with(THREAD)).count();
        let (resident, descriptors) = (self.resident as f64 / 1_048_576.0, self.held.len() - threads);
        write!(f, "{resident:.1} MiB resident, {descriptors} descriptors, {threads} threads")
    }
}

const THREAD: &str = "thread ";

/// A listener of two on one address, as `ReusePort=yes` makes them: one for each worker.
fn listener(address: SocketAddr) -> TcpListener {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseport(&socket, true).unwrap();
    net::bind(&socket, &address).unwrap();
    net::listen(&socket, 4096).unwrap();
    TcpListener::from(socket)
}

impl Process {
    /// Its folder and its sockets, before it is started for the first time.
    pub fn first() -> (Self, Run) {
        let mut sockets = Vec::new();
        let mut open = |name, count| {
            let first = listener(([127, 0, 0, 1], 0).into());
            let address = first.local_addr().unwrap();
            let others = (1..count).map(|_| listener(address));
            // Inherited by every child, and so by the shell that becomes the edge.
            let inherited = |listener: TcpListener| {
                let socket = fcntl_dupfd_cloexec(&listener, CLEAR).unwrap();
                fcntl_setfd(&socket, FdFlags::empty()).unwrap();
                (name, socket)
            };
            sockets.extend(std::iter::once(first).chain(others).map(inherited));
            address
        };
        let ports =
            Ports { http: open("http", 2), https: open("https", 2), proxy: open("proxy", 2), admin: open("admin", 1) };
        let setup = Setup::new()
            .set("edge", "workers", "2")
            .set("edge", "max_connections", MAX_CONNECTIONS.to_string())
            .set("edge", "max_connections_per_address", "64")
            .set("edge", "idle_timeout", "\"5s\"")
            .set("edge", "grace", "\"2s\"")
            .tls(&[("tls", &made(&[HOST], VALID))])
            .set("edge.proxy_protocol", "from", "[\"127.0.0.1/32\"]")
            .set("registry", "max_shrink", "0.1")
            .set("journal", "segment", "\"1MiB\"");
        for (file, text) in tables::generation(0, good::SIGNS) {
            setup.put(file, text);
        }
        let codes: Vec<String> = (0..good::SIGNS).map(tables::code).collect();
        setup.write_config();
        let process = Self { log: setup.path("log"), sockets, child: None };
        (process, Run::new(ports, setup, codes))
    }

    pub fn start(&mut self, run: &Run) {
        let serve = run.setup.command(&["serve"]);
        let numbers = || self.sockets.iter().map(|(_, socket)| socket.as_raw_fd()).zip(3..);
        let hand_over: String = numbers().map(|(here, there)| format!("exec {there}<&{here} {here}<&-; ")).collect();
        let names: Vec<&str> = self.sockets.iter().map(|(name, _)| *name).collect();
        // It becomes the edge, so its number is right. (dash knows descriptors of one digit only.)
        let mut shell = Command::new("bash");
        shell.arg("-c").arg(hand_over + "export LISTEN_PID=$$; exec \"$@\"").arg("bash");
        shell.arg(serve.get_program()).args(serve.get_args());
        shell.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        shell.env("RUST_LOG", "info").stdin(Stdio::null()).stdout(Stdio::null());
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let child = self.child.insert(shell.stderr(log).spawn().unwrap());
        let host = run.ports.admin.to_string();
        wait_for("the edge serves", || {
            assert!(child.try_wait().unwrap().is_none(), "the edge did not start");
            // The question waits in the queue of the socket until somebody is there.
            let reply = http::request(run.ports.admin, "GET", "/readyz", &[("Host", &host)]).ok()?;
            (reply.status == 200).then_some(())
        });
        *run.pid.lock().unwrap() = Some(Pid::from_child(child));
        run.tally.add("processes");
    }

    /// `kill -9`, and the next process.
    pub fn kill_and_start(&mut self, run: &Run) {
        Self::count(run);
        run.kills.fetch_add(1, Ordering::SeqCst);
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        run.tally.add("kill -9");
        self.start(run);
        run.kills.fetch_add(1, Ordering::SeqCst);
    }

    /// SIGTERM, and the next process.
    pub fn stop_and_start(&mut self, run: &Run) {
        self.stop(run);
        run.tally.add("restarts by SIGTERM");
        self.start(run);
    }

    pub fn stop(&mut self, run: &Run) {
        Self::count(run);
        let child = self.child.as_mut().unwrap();
        kill_process(Pid::from_child(child), Signal::TERM).unwrap();
        let status = wait_for("the edge ends", || child.try_wait().unwrap());
        self.child = None;
        assert!(status.success(), "it ended in disorder: {status}");
    }

    /// Adds what it has counted to the tally.
    fn count(run: &Run) {
        let metrics = wait_for("the admin port answers", || run.metrics());
        for (what, name) in COUNTERS {
            run.tally.add_many(what, metrics.total_of(name));
        }
    }

    pub fn figures(&self) -> Figures {
        let process = PathBuf::from(format!("/proc/{}", self.child.as_ref().unwrap().id()));
        let entries = |folder| fs::read_dir(process.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let status = fs::read_to_string(process.join("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        // One may be gone meanwhile. Sockets have a number of their own, and segments a name.
        let descriptors = entries("fd").filter_map(|fd| {
            let on = fs::read_link(fd).ok()?.display().to_string();
            Some(if on.contains("/journal/") { "a segment".to_owned() } else { on.split(":[").next()?.to_owned() })
        });
        let threads = entries("task").filter_map(|thread| fs::read_to_string(thread.join("comm")).ok());
        let held = descriptors.chain(threads.map(|name| format!("{THREAD}{}", name.trim_end()))).collect();
        Figures { resident: kilobytes * 1024, held }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            let mut log = Vec::new();
            if let Ok(mut file) = File::open(&self.log) {
                let from = file.metadata().map_or(0, |data| data.len().saturating_sub(6000));
                file.seek(SeekFrom::Start(from)).ok();
                file.read_to_end(&mut log).ok();
            }
            eprintln!("the end of the edge's log:\n{}", String::from_utf8_lossy(&log));
        }
    }
}

/// What is stored of each sign, as `usage` counts it.
pub fn counts(run: &Run) -> BTreeMap<String, u64> {
    let output = run.setup.command(&["usage", "--format", "json", "--by", "sign"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let usage: Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = |row: &Value| (row["sign"].as_str().unwrap().to_owned(), row["all"].as_u64().unwrap());
    usage["rows"].as_array().unwrap().iter().map(row).collect()
}
