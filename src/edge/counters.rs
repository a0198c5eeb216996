//! What each worker counts while it answers.
//!
//! Owns the live figures of a worker. Each worker has counters of its own, written by it alone and
//! read by a scrape, so counting costs a store and never a cache line of another core. (The tallies
//! by sign, which all workers write, are in `tallies.rs`.)

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A figure with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more. Only the worker that owns the counter may call it.
    #[inline]
    pub fn add(&self) {
        self.add_many(1);
    }

    /// Several more, under the same rule.
    #[inline]
    pub fn add_many(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    }

    /// One less, for what is open now.
    pub fn sub(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }

    /// The figure at this moment.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the histogram's buckets, in seconds. A redirect takes about 10 µs.
pub const SERVICE_BOUNDS: [f64; 16] =
    [5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0];

/// How long responses took, with one writer.
#[derive(Debug, Default)]
pub struct ServiceTimes {
    /// By bucket; the last is for what is beyond all bounds.
    buckets: [Counter; SERVICE_BOUNDS.len() + 1],
    sum_ns: Counter,
}

impl ServiceTimes {
    /// `count` requests that took so long. Only the worker that owns it may call it.
    pub fn observe(&self, took: Duration, count: u32) {
        let seconds = took.as_secs_f64();
        let bucket = SERVICE_BOUNDS.iter().position(|&bound| seconds <= bound).unwrap_or(SERVICE_BOUNDS.len());
        self.buckets[bucket].add_many(u64::from(count));
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.add_many(ns.saturating_mul(u64::from(count)));
    }

    /// All of them together, in nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns.get()
    }

    /// How many were in each bucket, and their sum in nanoseconds.
    pub fn get(&self) -> ([u64; SERVICE_BOUNDS.len() + 1], u64) {
        (std::array::from_fn(|bucket| self.buckets[bucket].get()), self.sum_ns.get())
    }
}

/// Why a connection was closed before its client did it, or before a response said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It gave way to a newcomer at `edge.max_connections`.
    Evicted,
    /// It was one too many of its address, or gave way to a newcomer from there.
    PerAddress,
    /// The TLS handshake failed, or took too long.
    Handshake,
    /// The PROXY header was missing, wrong, slow, or from somebody who may not send it.
    ProxyHeader,
    /// The process had no descriptor left for a newcomer.
    Descriptors,
    /// It had no request for too long.
    Idle,
    /// A request did not come whole, or a response was not taken, for too long.
    Slow,
}

impl Closed {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Evicted,
        Self::PerAddress,
        Self::Handshake,
        Self::ProxyHeader,
        Self::Descriptors,
        Self::Idle,
        Self::Slow,
    ];

    /// The word in the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::PerAddress => "per_address",
            Self::Handshake => "handshake",
            Self::ProxyHeader => "proxy_header",
            Self::Descriptors => "descriptors",
            Self::Idle => "idle",
            Self::Slow => "slow",
        }
    }
}

/// One worker's counters. Aligned so that no two workers write one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Redirects and pages of places, HEAD included.
    pub found: Counter,
    /// `410`, HEAD included.
    pub retired: Counter,
    /// `404` for code-shaped text, HEAD included.
    pub unknown: Counter,
    /// Of the unknown, those beyond the rate that is recorded.
    pub unknown_unrecorded: Counter,
    /// HEAD of a code: answered, never recorded.
    pub head: Counter,
    /// `/CODE+`
    pub inspected: Counter,
    /// `/`, `/go`, `/robots.txt` and `/favicon.ico`, and what was chosen on the page of a place (`c=page`).
    pub page: Counter,
    /// Of the unknown and inspected, those beyond what an address may miss in a minute.
    pub misses_throttled: Counter,
    /// `308` to the public URL.
    pub to_https: Counter,
    /// Challenges of an ACME server.
    pub challenge: Counter,
    /// `404` for anything else.
    pub other: Counter,
    /// `405`
    pub method_not_allowed: Counter,
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections open now.
    pub open: Counter,
    /// Connections that failed to be accepted.
    pub accept_errors: Counter,
    /// Connections closed because they were idle or slow for too long.
    pub timed_out: Counter,
    /// Connections that ended with their last request, or by their age.
    pub used_up: Counter,
    /// Connections that ended in an error, or in what is not HTTP.
    pub connection_errors: Counter,
    /// Connections closed from here, by [`Closed`].
    closed: [Counter; Closed::ALL.len()],
    /// Turns of the worker, four a second whatever it does: one that does not take them hangs.
    pub ticks: Counter,
    /// From a request's bytes read to its response handed to the kernel.
    pub service: ServiceTimes,
}

impl Counters {
    /// A figure that grows with each connection and each response.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.accepted.get().wrapping_add(self.service.sum_ns())
    }

    /// Connections that were closed for a reason.
    #[must_use]
    pub fn closed(&self, why: Closed) -> &Counter {
        &self.closed[why as usize]
    }
}
