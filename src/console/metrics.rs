//! The console's figures for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::core::metrics::Families;

/// How a sign-in ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignInResult {
    Ok,
    /// Name, password or second factor.
    Wrong,
    /// Too many tries before.
    Limited,
    /// Too many at once.
    Busy,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// By a name that is not the console's.
    Host,
    /// By a page of another site.
    Site,
    /// The same, as an older browser says.
    Origin,
    /// Nobody is signed in.
    NoSession,
    /// The account may not.
    Rights,
    /// The body is too large, too slow, or no form.
    Body,
    /// Too many hashes or uploads at once.
    Busy,
    /// A proxy names somebody who has no account.
    User,
}

const SIGN_INS: [(SignInResult, &str); 4] = [
    (SignInResult::Ok, "ok"),
    (SignInResult::Wrong, "wrong"),
    (SignInResult::Limited, "limited"),
    (SignInResult::Busy, "busy"),
];

const REASONS: [(Reason, &str); 8] = [
    (Reason::Host, "host"),
    (Reason::Site, "site"),
    (Reason::Origin, "origin"),
    (Reason::NoSession, "no_session"),
    (Reason::Rights, "rights"),
    (Reason::Body, "body"),
    (Reason::Busy, "busy"),
    (Reason::User, "user"),
];

/// Counters since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    sign_ins: [AtomicU64; SIGN_INS.len()],
    refused: [AtomicU64; REASONS.len()],
    /// By the first digit of the status.
    requests: [AtomicU64; 6],
}

impl Counters {
    pub fn sign_in(&self, result: SignInResult) {
        self.sign_ins[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn refused(&self, reason: Reason) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn answered(&self, status: hyper::StatusCode) {
        if let Some(counter) = self.requests.get(usize::from(status.as_u16() / 100)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Collector for Counters {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        {
            let mut requests =
                families.counters("waypost_console_requests_total", "Requests of the console, by status.");
            for (digit, class) in [(2, "2xx"), (3, "3xx"), (4, "4xx"), (5, "5xx")] {
                requests.add(&[("status", class)], self.requests[digit].load(Ordering::Relaxed));
            }
        }
        {
            let help = "Requests of the console that were refused, by reason.";
            let mut refused = families.counters("waypost_console_refused_total", help);
            for (reason, label) in REASONS {
                refused.add(&[("reason", label)], self.refused[reason as usize].load(Ordering::Relaxed));
            }
        }
        let mut sign_ins = families.counters("waypost_console_sign_ins_total", "Sign-ins at the console, by result.");
        for (result, label) in SIGN_INS {
            sign_ins.add(&[("result", label)], self.sign_ins[result as usize].load(Ordering::Relaxed));
        }
        drop(sign_ins);
        families.into_vec()
    }
}
