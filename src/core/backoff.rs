//! Pauses between tries, each twice as long as the one before, up to a maximum.

use std::time::Duration;

/// How long to wait before the next try of something that failed.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with the pause `first`; no pause is longer than `max`.
    #[must_use]
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first }
    }

    /// The pause before the next try; the one after it is twice as long.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.max);
        pause
    }

    /// A random part of the pause before the next try ("full jitter"), so that clients which failed
    /// together do not try again together.
    /// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>
    pub fn next_jittered(&mut self) -> Duration {
        // Without randomness, the whole pause.
        share(self.next_pause(), getrandom::u32().unwrap_or(u32::MAX))
    }

    /// A try succeeded: the next pause is the first again.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next pause is the longest, where another try soon would do harm.
    pub const fn skip_to_max(&mut self) {
        self.next = self.max;
    }
}

/// A part of a pause in proportion to a number: none of it for 0, all for [`u32::MAX`].
fn share(pause: Duration, random: u32) -> Duration {
    pause.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(200);
    const MAX: Duration = Duration::from_secs(1);

    fn pauses(backoff: &mut Backoff) -> [u128; 5] {
        std::array::from_fn(|_| backoff.next_pause().as_millis())
    }

    #[test]
    fn pauses_double_up_to_the_maximum_and_begin_anew() {
        let mut backoff = Backoff::new(FIRST, MAX);
        assert_eq!(pauses(&mut backoff), [200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(pauses(&mut backoff), [200, 400, 800, 1000, 1000]);
        backoff.reset();
        backoff.skip_to_max();
        assert_eq!(pauses(&mut backoff), [1000; 5]);
    }

    #[test]
    fn a_first_pause_that_is_the_longest_stays() {
        assert_eq!(pauses(&mut Backoff::new(MAX, MAX)), [1000; 5]);
    }

    #[test]
    fn jitter_is_any_part_of_the_pause_and_pauses_still_double() {
        assert_eq!(share(MAX, 0), Duration::ZERO);
        assert_eq!(share(MAX, u32::MAX / 3).as_millis(), 333);
        assert_eq!(share(MAX, u32::MAX), MAX);
        let mut backoff = Backoff::new(FIRST, MAX);
        for longest in [200, 400, 800, 1000, 1000] {
            assert!(backoff.next_jittered() <= Duration::from_millis(longest));
        }
    }
}
