//! The edge: from a visitor's connection to the response.
//!
//! Owns the worker threads. Read `scan.rs` first: it is the path of a scan.

mod capacity;
mod connection;
mod connections;
mod counters;
mod metrics;
mod misses;
mod pages;
mod place_page;
mod plaintext;
mod rate;
mod request;
mod response;
mod scan;
mod tallies;
mod transport;
mod worker;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::watch;

pub use capacity::Capacity;
pub use connection::Limits;
pub use counters::{Closed, Counter, Counters, SERVICE_BOUNDS, ServiceTimes};
pub use metrics::Metrics;
pub use misses::Misses;
pub use pages::Pages;
pub use plaintext::{Challenges, Plaintext};
pub use rate::UnknownRate;
pub use response::Response;
pub use scan::{ScanHandler, Shared};
pub use tallies::{SignTally, Tallies};
pub use transport::listen::{Listener, bind, listen};
pub use transport::{Protocol, proxy_protocol};
pub use worker::Ports;

use crate::core::Stage;
use crate::journal::Writer;
use crate::observe::Databases;
use crate::registry::Registry;

/// What a worker thread is made of.
pub struct WorkerParts {
    /// Its number, from 0.
    pub number: usize,
    /// Its own listeners.
    pub listeners: Vec<Listener>,
    /// What visitors meet there.
    pub ports: Ports,
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Its own counters.
    pub counters: Arc<Counters>,
    /// Where new generations of the registry come from.
    pub registry: watch::Receiver<Arc<Registry>>,
    /// Where new country databases come from.
    pub countries: watch::Receiver<Arc<Databases>>,
    /// Where its scans are recorded.
    pub writer: Writer,
    /// How far the process is on its way to the end.
    pub stage: watch::Receiver<Stage>,
}

impl WorkerParts {
    /// Starts the thread. Fails where the system refuses one.
    pub fn start(self) -> io::Result<JoinHandle<io::Result<()>>> {
        thread::Builder::new().name(format!("worker-{}", self.number)).spawn(move || {
            let handler = ScanHandler::new(self.shared, self.counters, self.registry, self.countries, self.writer);
            worker::run(handler, self.listeners, self.ports, self.stage)
        })
    }
}
