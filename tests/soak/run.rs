//! What all threads of a run share: where the edge is, what it owes, and what was seen.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Metrics, Setup, http};

/// The addresses of the sockets, which are the same for every process.
pub struct Ports {
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
}

/// What clients and troublemakers do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Their worst.
    Storm,
    /// Nothing: their connections are closed.
    Quiet,
    /// They end.
    Over,
}

/// The scans of a code: each that was received must be stored, and no more than were sent.
#[derive(Default)]
pub struct Obligation {
    pub sent: AtomicU64,
    pub received: AtomicU64,
}

pub struct Run {
    pub ports: Ports,
    /// Configuration, tables, certificates and data.
    pub setup: Setup,
    pub obligations: BTreeMap<String, Obligation>,
    pub tally: Tally,
    /// Odd from before a `kill -9` until the next process serves.
    pub kills: AtomicU64,
    /// Held while there is no process, and while something is so broken that none could start in order.
    pub whole: Mutex<()>,
    /// The process.
    pub pid: Mutex<Option<rustix::process::Pid>>,
    /// The newest generation of the tables that may be answered, and the oldest but one.
    pub written: AtomicUsize,
    pub published: AtomicUsize,
    stage: AtomicU8,
}

impl Run {
    pub fn new(ports: Ports, setup: Setup, codes: Vec<String>) -> Self {
        Self {
            ports,
            setup,
            obligations: codes.into_iter().map(|code| (code, Obligation::default())).collect(),
            tally: Tally::default(),
            kills: AtomicU64::new(0),
            whole: Mutex::default(),
            pid: Mutex::default(),
            written: AtomicUsize::new(0),
            published: AtomicUsize::new(0),
            stage: AtomicU8::new(Stage::Storm as u8),
        }
    }

    pub fn enter(&self, stage: Stage) {
        // It stays over where something has failed meanwhile.
        let unless_over = |now| (now != Stage::Over as u8).then_some(stage as u8);
        self.stage.fetch_update(Ordering::SeqCst, Ordering::SeqCst, unless_over).ok();
    }

    pub fn is_over(&self) -> bool {
        self.stage.load(Ordering::SeqCst) == Stage::Over as u8
    }

    /// Whether to go on; waits while it is quiet, after `close` has closed what is open.
    pub fn goes_on(&self, close: impl FnOnce()) -> bool {
        if self.stage.load(Ordering::SeqCst) == Stage::Quiet as u8 {
            close();
            while self.stage.load(Ordering::SeqCst) == Stage::Quiet as u8 {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        !self.is_over()
    }

    /// Ends the run when it is dropped.
    pub fn ends(&self) -> Ends<'_> {
        Ends { run: self, only_in_panic: false }
    }

    /// Ends it when it is dropped by a panic: the other threads would wait in vain.
    pub fn ends_if_it_panics(&self) -> Ends<'_> {
        Ends { run: self, only_in_panic: true }
    }

    /// The figures of the process, if it answers. They are in order at every scrape.
    pub fn metrics(&self) -> Option<Metrics> {
        let host = self.ports.admin.to_string();
        let reply = http::request(self.ports.admin, "GET", "/metrics", &[("Host", &host)]).ok()?;
        let metrics = (reply.status == 200).then(|| Metrics::parse(&reply.body))?;
        metrics.assert_books_balance();
        assert_eq!(metrics.sum("waypost_scans_dropped_total"), 0.0, "a scan was answered and not recorded");
        assert_eq!(metrics.get("waypost_scans_quarantined_total"), 0.0, "a batch was refused");
        Some(metrics)
    }
}

pub struct Ends<'a> {
    run: &'a Run,
    only_in_panic: bool,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if !self.only_in_panic || std::thread::panicking() {
            self.run.stage.store(Stage::Over as u8, Ordering::SeqCst);
        }
    }
}

/// What was seen, and how often.
#[derive(Default)]
pub struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    pub fn add(&self, what: &str) {
        self.add_many(what, 1);
    }

    pub fn add_many(&self, what: &str, count: u64) {
        *self.0.lock().unwrap().entry(what.to_owned()).or_default() += count;
    }

    pub fn get(&self, what: &str) -> u64 {
        self.0.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    /// As Markdown.
    pub fn table(&self) -> String {
        let mut table = "| seen | times |\n|---|---|\n".to_owned();
        for (what, count) in &*self.0.lock().unwrap() {
            writeln!(table, "| {what} | {count} |").unwrap();
        }
        table
    }
}
