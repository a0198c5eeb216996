//! Whether a scan with the same address, user agent and code came a moment ago.
//!
//! Owns the repeat window and the keys of its hashes. What is kept is a keyed hash (SipHash,
//! as the standard library has it) with a key drawn at the start, and a time, in memory only:
//! the hash can't be turned back, and is gone with the process. A scan that is no repeat opens a
//! window; the same visit within that window is a repeat.
//!
//! The windows lie in a table of fixed size: sets of eight, a set to a line of memory, so
//! that a scan waits for memory once and takes no lock (a locked map in its place took
//! 0.3 µs). An old window gives its place to a new one, so nothing need be swept. The price:
//! two workers that write one set in the same instant may lose one of two windows, and
//! beyond 100,000 windows a second some end early. Either takes a repeat for a scan.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::core::Code;
use crate::system::memory;

/// The keys under which addresses and user agents are hashed: drawn at the start, kept in memory alone.
#[derive(Debug, Default)]
pub struct Keys {
    visits: RandomState,
    agents: foldhash::quality::RandomState,
}

impl Keys {
    /// The hash of a visitor at a sign. `agent` is the hash of the user agent.
    #[must_use]
    pub fn visit(&self, address: IpAddr, agent: u64, code: Code) -> u64 {
        self.visits.hash_one((address, agent, code))
    }

    /// The hash of a user agent. Not by SipHash, which would take 0.1 µs of a scan for these 140 bytes: it
    /// hides nothing that the visit's does not.
    #[must_use]
    pub fn agent(&self, user_agent: &[u8]) -> u64 {
        self.agents.hash_one(user_agent)
    }
}

/// Sets, a power of two: 8 MiB, and a million windows.
const SETS: usize = 1 << 17;
const WAYS: usize = 8;

/// The open windows of this edge.
#[derive(Debug)]
pub struct Repeats {
    window_ms: u32,
    sets: Vec<Set>,
}

/// Each is the upper half of a hash, and the low 32 bits of the millisecond at which its window was
/// opened; 0 is empty. Of two visitors one in 2^29 is taken for the other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

impl Repeats {
    /// No window is open. A window of zero means that nothing is a repeat; an hour is the longest.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        let window_ms = u32::try_from(window.as_millis()).unwrap_or(u32::MAX);
        let sets = if window_ms == 0 { 0 } else { SETS };
        let mut repeats = Self { window_ms, sets: memory::table(sets) };
        repeats.sets.resize_with(sets, Set::default);
        repeats
    }

    /// Has the window of a hash fetched, which is asked for soon.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the low bits of a hash are what counts")]
    pub fn prefetch(&self, hash: u64) {
        if let Some(set) = self.sets.get(hash as usize % SETS) {
            memory::prefetch(set);
        }
    }

    /// Whether a scan is a repeat; opens a window if it is not. `hash` is of address, user agent and code.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the low bits of a hash and of a time are what is kept")]
    pub fn is_repeat(&self, hash: u64, now_ms: i64) -> bool {
        let Some(Set(ways)) = self.sets.get(hash as usize % SETS) else { return false };
        let now = now_ms.cast_unsigned() as u32;
        // A clock that was set back makes an age enormous, which ends the window.
        let age = |way: u64| now.wrapping_sub(way as u32);
        let (mut oldest, mut oldest_age) = (&ways[0], 0);
        for way in ways {
            let opened = way.load(Ordering::Relaxed);
            if opened >> 32 == hash >> 32 && opened != 0 {
                if age(opened) < self.window_ms {
                    return true;
                }
                (oldest, oldest_age) = (way, u32::MAX);
            } else if opened == 0 {
                if oldest_age < u32::MAX {
                    (oldest, oldest_age) = (way, u32::MAX);
                }
            } else if age(opened) > oldest_age {
                (oldest, oldest_age) = (way, age(opened));
            }
        }
        oldest.store(hash >> 32 << 32 | u64::from(now), Ordering::Relaxed);
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_window_is_opened_by_a_scan_that_is_no_repeat() {
        let repeats = Repeats::new(Duration::from_secs(10));
        let at = |ms| repeats.is_repeat(0x0123_4567_89ab_cdef, ms);
        assert_eq!([1, 2, 10_000, 10_001, 20_000, 20_001, 6].map(at), [false, true, true, false, true, false, false]);
        assert!(!repeats.is_repeat(0x1123_4567_89ab_cdef, 6), "another's window");
        assert!(!Repeats::new(Duration::ZERO).is_repeat(1, 1) && !Repeats::new(Duration::ZERO).is_repeat(1, 1));
    }

    #[test]
    fn a_full_set_gives_up_its_oldest_window() {
        let repeats = Repeats::new(Duration::from_secs(10));
        let scan = |visitor: u64, ms| repeats.is_repeat(visitor << 32, ms);
        assert!((1..=8).all(|visitor| !scan(visitor, 1000 + visitor.cast_signed())), "all are new");
        assert!((1..=8).all(|visitor| scan(visitor, 2000)), "all are known");
        assert!(!scan(9, 3000), "one more");
        assert!((2..=9).all(|visitor| scan(visitor, 3000)), "the first alone is forgotten");
        assert!(!scan(1, 3000));
    }

    proptest! {
        /// As a map would have it, while no set is full.
        #[test]
        fn windows_are_those_of_a_map(scans in prop::collection::vec((1u64..6, 0i64..4000), 0..60), start: u32) {
            let repeats = Repeats::new(Duration::from_secs(5));
            let mut opened = std::collections::HashMap::new();
            // 2^32 milliseconds pass within some of the cases.
            let mut now = 1_800_000_000_000 + i64::from(start);
            for (visitor, pause) in scans {
                now += pause;
                let expected = opened.get(&visitor).is_some_and(|&at| now - at < 5000);
                if !expected {
                    opened.insert(visitor, now);
                }
                prop_assert_eq!(repeats.is_repeat(visitor << 32, now), expected);
            }
        }
    }
}
