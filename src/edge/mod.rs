//! The edge: from a socket to an answer.
//!
//! Owns the worker threads. Read `scan.rs` first: it is the path of a scan.

mod answer;
mod counters;
mod listen;
mod metrics;
mod pages;
mod request;
mod scan;
mod socket;
mod worker;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::watch;

pub use answer::Answer;
pub use counters::{Counter, Counters, SERVICE_BOUNDS, ServiceTimes, SignTally, Tallies, UnknownRate};
pub use listen::{bind, listen};
pub use metrics::Metrics;
pub use pages::Pages;
pub use request::Trust;
pub use scan::{Scanner, Shared};
pub use worker::Limits;

use crate::core::Stage;
use crate::journal::Writer;
use crate::observe::Databases;
use crate::registry::Registry;

/// A worker thread, before and while it runs.
pub struct WorkerParts {
    /// Its number, from 0.
    pub number: usize,
    /// Its own listeners.
    pub listeners: Vec<TcpListener>,
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Its own counters.
    pub counters: Arc<Counters>,
    /// Where new generations come from.
    pub registry: watch::Receiver<Arc<Registry>>,
    /// Where new databases come from.
    pub countries: watch::Receiver<Arc<Databases>>,
    /// Its end of the journal.
    pub writer: Writer,
    /// Limits of its connections.
    pub limits: Limits,
    /// How far the end has come.
    pub stage: watch::Receiver<Stage>,
}

impl WorkerParts {
    /// Starts the thread.
    pub fn start(self) -> io::Result<JoinHandle<io::Result<()>>> {
        thread::Builder::new().name(format!("worker-{}", self.number)).spawn(move || {
            let scanner = Scanner::new(self.shared, self.counters, self.registry, self.countries, self.writer);
            worker::run(scanner, self.listeners, self.limits, self.stage)
        })
    }
}
