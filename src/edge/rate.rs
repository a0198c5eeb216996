//! How many requests for unknown codes are recorded in a second.
//!
//! Owns that limit. An unknown code is whatever somebody typed: enough of them are recorded to find a
//! misprinted plate, and guessing codes can fill neither a disk nor a dictionary.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many unknown codes are recorded: so many in each second of the clock.
#[derive(Debug)]
pub struct UnknownRate {
    most: u32,
    /// The second in the upper half, how many were allowed in it in the lower.
    state: AtomicU64,
}

impl UnknownRate {
    /// At most `most` a second, on this edge.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { most, state: AtomicU64::new(0) }
    }

    /// Whether one more may be recorded.
    pub fn allows(&self, now_ms: i64) -> bool {
        let second = (now_ms / 1000).cast_unsigned() & 0xffff_ffff;
        let next = |state: u64| {
            let used = if state >> 32 == second { state & 0xffff_ffff } else { 0 };
            (used < u64::from(self.most)).then_some(second << 32 | (used + 1))
        };
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::UnknownRate;

    #[test]
    fn unknown_codes_are_allowed_up_to_the_rate_of_each_second() {
        let rate = UnknownRate::new(2);
        assert_eq!(
            [0, 1, 2, 999, 1000, 1001, 1002].map(|ms| rate.allows(ms)),
            [true, true, false, false, true, true, false]
        );
        assert!(!UnknownRate::new(0).allows(5000));
    }
}
