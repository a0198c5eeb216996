//! Whether the same address, user agent and code were here a moment ago.
//!
//! Owns the repeat window. What is kept is a keyed hash (SipHash, as the standard
//! library has it) with a key drawn at the start, and a time, in memory only: it can't
//! be turned back, and is gone with the process. A scan that is no repeat opens a
//! window; what comes within it is a repeat.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use dashmap::{DashMap, Entry};

use crate::registry::Code;

/// Locks; with many, one is held by two workers at a time rarely, and by the sweep briefly.
const SHARDS: usize = 1024;
/// Most windows kept open: 24 bytes each, 100 MB. Beyond, scans are not taken for repeats.
const MAX_OPEN: usize = 4_000_000;

/// The open windows of this edge.
#[derive(Debug)]
pub struct Repeats {
    key: RandomState,
    window_ms: i64,
    /// When each window was opened, milliseconds since the Unix epoch.
    open: DashMap<u64, i64, foldhash::fast::FixedState>,
}

impl Repeats {
    /// No window is open. A window of zero means that nothing is a repeat.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        let open = DashMap::with_capacity_and_hasher_and_shard_amount(0, foldhash::fast::FixedState::default(), SHARDS);
        Self { key: RandomState::new(), window_ms: window.as_millis().try_into().unwrap_or(i64::MAX), open }
    }

    /// Whether a scan is a repeat; opens a window if it is not.
    #[must_use]
    pub fn is_repeat(&self, address: IpAddr, user_agent: &[u8], code: Code, now_ms: i64) -> bool {
        if self.window_ms == 0 {
            return false;
        }
        let hash = self.key.hash_one((address, user_agent, code));
        match self.open.entry(hash) {
            Entry::Occupied(mut opened) => {
                // A clock that was set back must not hold a window open.
                let repeat = (0..self.window_ms).contains(&(now_ms - opened.get()));
                if !repeat {
                    opened.insert(now_ms);
                }
                repeat
            }
            Entry::Vacant(place) => {
                place.insert(now_ms);
                false
            }
        }
    }

    /// Forgets the windows that are over. Called about once a second, not by a worker.
    pub fn sweep(&self, now_ms: i64) {
        self.open.retain(|_, opened| (0..self.window_ms).contains(&(now_ms - *opened)));
        if self.open.len() > MAX_OPEN {
            self.open.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_opened_by_a_scan_that_is_no_repeat() {
        let repeats = Repeats::new(Duration::from_secs(10));
        let here: IpAddr = [192, 0, 2, 1].into();
        let code = Code::parse(b"7K3M9QX5").expect("a code");
        let at = |ms| repeats.is_repeat(here, b"Mozilla/5.0", code, ms);
        assert_eq!([0, 1, 9_999, 10_000, 19_999, 20_000, 5].map(at), [false, true, true, false, true, false, false]);
    }

    #[test]
    fn another_address_agent_or_code_is_no_repeat() {
        let repeats = Repeats::new(Duration::from_secs(10));
        let [here, there]: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
        let [one, two] = [b"A1", b"A2"].map(|text| Code::parse(text).expect("a code"));
        assert!(!repeats.is_repeat(here, b"x", one, 0));
        assert!(!repeats.is_repeat(there, b"x", one, 0));
        assert!(!repeats.is_repeat(here, b"y", one, 0));
        assert!(!repeats.is_repeat(here, b"x", two, 0));
        assert!(repeats.is_repeat(here, b"x", one, 0));
        repeats.sweep(20_000);
        assert!(repeats.open.is_empty());
    }
}
