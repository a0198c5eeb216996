//! The edge: from a visitor's connection to the response.
//!
//! Owns the worker threads. Read `scan.rs` first: it is the path of a scan.

mod certificates;
mod connection;
mod counters;
mod metrics;
mod pages;
mod rate;
mod request;
mod response;
mod scan;
mod tallies;
mod transport;
mod worker;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::watch;

pub use certificates::{Acceptor, CertificateFiles, CertificateState, Certificates, Findings, TlsSettings, TlsVersion};
pub use connection::Limits;
pub use counters::{Counter, Counters, SERVICE_BOUNDS, ServiceTimes};
pub use metrics::Metrics;
pub use pages::Pages;
pub use rate::UnknownRate;
pub use request::Trust;
pub use response::Response;
pub use scan::{ScanHandler, Shared};
pub use tallies::{SignTally, Tallies};
pub use transport::listen::{bind, listen};
pub use transport::proxy_protocol;

use crate::core::Stage;
use crate::journal::Writer;
use crate::observe::Databases;
use crate::registry::Registry;

/// What a worker thread is made of.
pub struct WorkerParts {
    /// Its number, from 0.
    pub number: usize,
    /// Its own listeners.
    pub listeners: Vec<TcpListener>,
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
    /// Limits of its connections.
    pub limits: Limits,
    /// How far the process is on its way to the end.
    pub stage: watch::Receiver<Stage>,
}

impl WorkerParts {
    /// Starts the thread. Fails where the system refuses one.
    pub fn start(self) -> io::Result<JoinHandle<io::Result<()>>> {
        thread::Builder::new().name(format!("worker-{}", self.number)).spawn(move || {
            let handler = ScanHandler::new(self.shared, self.counters, self.registry, self.countries, self.writer);
            worker::run(handler, self.listeners, self.limits, self.stage)
        })
    }
}
