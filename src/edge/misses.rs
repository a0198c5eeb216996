//! Who asks for many codes that no sign has.
//!
//! Owns the count of misses for each address and minute. Somebody who mistypes has a few; somebody who
//! guesses has thousands, and is answered from then on by a short 404 that is neither a page nor a
//! record. Codes of signs are answered whatever an address has asked for before: a school scans
//! through one address.
//!
//! An address is a hash under a key of this process, of which 32 bits are kept, with its count, until the
//! end of the minute, and half a minute more at most. The table has a fixed size, so that nobody can fill
//! the memory: in sets of eight, a set to a line of memory, written without a lock. Where a set is full,
//! the address with the fewest misses in it is forgotten.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::capacity::AddressKey;

/// Sets, a power of two: 512 KiB, and 65,536 addresses.
const SETS: usize = 1 << 13;
const WAYS: usize = 8;
/// Sets that are looked through at a time: all of them in 32 s of a worker's ticks.
const SWEPT: usize = 64;
const MINUTE_MS: i64 = 60_000;

/// The misses of the last minute.
#[derive(Debug)]
pub struct Misses {
    most: u32,
    key: AddressKey,
    sets: Box<[Set]>,
    /// Where forgetting goes on.
    swept: AtomicUsize,
}

/// Each is the upper half of a hash, 16 bits of the minute's number and 16 of its misses; 0 is empty.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

impl Misses {
    /// Most misses that an address may have in a minute.
    pub const MOST: u32 = u16::MAX as u32 - 1;

    /// An address may have `most` misses in a minute, [`Misses::MOST`] at most.
    #[must_use]
    pub fn new(most: u32) -> Self {
        let (key, swept) = Default::default();
        Self { most, key, sets: (0..SETS).map(|_| Set::default()).collect(), swept }
    }

    /// Counts a miss. Returns whether the address has had more than it may in this minute of the clock.
    /// An IPv6 network of 64 bits is one address.
    #[must_use]
    pub fn is_beyond(&self, address: IpAddr, now_ms: i64) -> bool {
        self.count(self.key.hash(address), now_ms) > self.most
    }

    /// Forgets some of what is older than this minute; called a few times a second, so that all of it goes within
    /// half a minute.
    pub fn forget_old(&self, now_ms: i64) {
        let minute = minute_of(now_ms);
        let from = self.swept.fetch_add(SWEPT, Ordering::Relaxed);
        for Set(ways) in (from..from + SWEPT).map(|set| &self.sets[set % SETS]) {
            for way in ways {
                let value = way.load(Ordering::Relaxed);
                if value >> 16 & 0xffff != minute {
                    // A miss that is counted in this instant stays.
                    way.compare_exchange(value, 0, Ordering::Relaxed, Ordering::Relaxed).ok();
                }
            }
        }
    }

    /// Two workers that count for one address in the same instant may count one miss.
    #[allow(clippy::cast_possible_truncation, reason = "low bits are what is kept")]
    fn count(&self, hash: u64, now_ms: i64) -> u32 {
        let Set(ways) = &self.sets[hash as usize % SETS];
        let minute = minute_of(now_ms);
        let of_this_minute = |way: u64| if way >> 16 & 0xffff == minute { way as u16 } else { 0 };
        let mut fewest = (&ways[0], u16::MAX);
        for way in ways {
            let value = way.load(Ordering::Relaxed);
            let misses = of_this_minute(value);
            if value >> 32 == hash >> 32 && misses > 0 {
                let misses = misses.saturating_add(1);
                way.store(value & !0xffff | u64::from(misses), Ordering::Relaxed);
                return misses.into();
            }
            if misses < fewest.1 {
                fewest = (way, misses);
            }
        }
        fewest.0.store(hash >> 32 << 32 | minute << 16 | 1, Ordering::Relaxed);
        1
    }
}

/// The low bits of the number of a minute.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "low bits are what is kept")]
fn minute_of(now_ms: i64) -> u64 {
    u64::from(now_ms.div_euclid(MINUTE_MS) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_misses_in_a_minute_and_then_again() {
        let misses = Misses::new(3);
        let at = |text: &str, ms| misses.is_beyond(text.parse().expect("an address"), ms);
        assert_eq!([0, 1, 59_998, 59_999, 60_000].map(|ms| at("192.0.2.1", ms)), [false, false, false, true, false]);
        assert!(!at("192.0.2.2", 59_999), "another's");
        let one_network = ["2001:db8::1", "2001:db8::2", "2001:db8::3:4", "2001:db8::ffff:1"];
        assert_eq!(one_network.map(|address| at(address, 0)), [false, false, false, true]);
        assert!(!at("2001:db8:0:1::1", 0), "another network");
    }

    #[test]
    fn what_is_over_is_forgotten_and_what_counts_is_not() {
        let misses = Misses::new(9);
        let kept =
            || misses.sets.iter().flat_map(|Set(ways)| ways).filter(|way| way.load(Ordering::Relaxed) != 0).count();
        for address in 0..100 {
            assert!(!misses.is_beyond([192, 0, 2, address].into(), 59_999));
        }
        assert!(!misses.is_beyond([192, 0, 2, 0].into(), 60_000));
        assert!(kept() >= 100);
        for _ in 0..SETS / SWEPT {
            misses.forget_old(60_000);
        }
        assert_eq!(kept(), 1);
    }

    #[test]
    fn none_is_allowed_where_the_limit_is_zero_and_the_count_does_not_wrap() {
        let misses = Misses::new(0);
        assert!((0..70_000).all(|_| misses.is_beyond([192, 0, 2, 1].into(), 0)));
    }

    #[test]
    fn a_full_set_forgets_the_address_with_the_fewest() {
        let misses = Misses::new(9);
        let address = |number: u64| number << 32;
        for number in 1..=8 {
            let counts: Vec<u32> = (0..=number).map(|_| misses.count(address(number), 0)).collect();
            assert_eq!(counts.len(), counts[counts.len() - 1] as usize);
        }
        assert_eq!(misses.count(address(9), 0), 1);
        assert_eq!(misses.count(address(8), 0), 10, "the one with the most is still known");
        assert_eq!(misses.count(address(1), 0), 1, "the one with the fewest is not");
    }
}
