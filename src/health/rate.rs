//! How often a sign is scanned, and how probable a silence is: gamma–Poisson.
//!
//! Owns the formulas. The rate of a sign is drawn from a gamma distribution whose shape and scale come from
//! all signs of its class (empirical Bayes, by moments), and counted hours sharpen it. How long a silence
//! lasts is then negative binomial: P(nothing in s average days) = (1 + s·r/α)^(−α) (Gelman et al., *Bayesian
//! Data Analysis*, section 2.6). The shape α is held at [`CAP`] at most.

use super::MONTH;
use super::clock::f64_of;

/// No rate is trusted to better than about a third (1/√10), however many scans it was counted from: people's
/// habits wander, and this makes it harmless.
const CAP: f64 = 10.0;
/// What is thought of a sign before its scans are known weighs no more than so many hours of its own,
/// however alike the others of its class are.
const PRIOR_CAP: f64 = 2.0;
/// Signs that were watched for less than this many average days say nothing about their class.
const WATCHED: f64 = 14.0;

/// What is thought of a sign before its own scans are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    shape: f64,
    /// In average days.
    exposure: f64,
}

impl Prior {
    /// Where there are no other signs to learn from: three hours a month, and anything is possible.
    const UNKNOWN: Self = Self { shape: 0.2, exposure: 2.0 };

    /// By the moments of the rates of a class: hours and exposure of each sign.
    pub fn of(counted: &[(f64, f64)]) -> Self {
        let watched = || Self::watched(counted);
        let count = f64_of(watched().count() as u64);
        let (hours, exposure) = watched().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        if count < 2.0 || hours <= 0.0 {
            return Self::UNKNOWN;
        }
        let mean = hours / exposure;
        let spread = watched().map(|(hours, exposure)| (hours / exposure - mean).powi(2)).sum::<f64>() / count;
        // What chance alone spreads is taken off.
        let chance = watched().map(|(_, exposure)| mean / exposure).sum::<f64>() / count;
        let variance = (spread - chance).max(1e-6 * mean * mean);
        let shape = (mean * mean / variance).min(PRIOR_CAP);
        Self { shape, exposure: shape / mean }
    }

    /// Those that were watched for long enough to say something of their class.
    pub fn watched(counted: &[(f64, f64)]) -> impl Iterator<Item = &(f64, f64)> {
        counted.iter().filter(|(_, exposure)| *exposure >= WATCHED)
    }

    /// With a sign's own hours in an exposure.
    pub fn posterior(self, hours: f64, exposure: f64) -> Posterior {
        let shape = self.shape + hours;
        Posterior { shape: shape.min(CAP), rate: shape / (self.exposure + exposure) }
    }
}

/// What is thought of a sign's rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Posterior {
    shape: f64,
    rate: f64,
}

impl Posterior {
    /// Hours with a scan on an average day.
    pub const fn per_day(&self) -> f64 {
        self.rate
    }

    /// The probability of no scan within so many average days.
    pub fn silence(&self, exposure: f64) -> f64 {
        (-self.shape * (exposure * self.rate / self.shape).ln_1p()).exp()
    }

    /// Whether a silence is less probable than the budget allows: a sign has about as many gaps in a month as
    /// hours with a scan, and each may be one.
    pub fn alarms(&self, exposure: f64, budget: f64) -> bool {
        self.silence(exposure) * self.gaps() <= budget
    }

    /// For how many average days nothing must be scanned before [`Posterior::alarms`].
    pub fn needed(&self, budget: f64) -> f64 {
        let more = (self.gaps() / budget).powf(1.0 / self.shape) - 1.0;
        (self.shape / self.rate * more).max(0.0)
    }

    /// The probability of `hours` or more on a day of that exposure.
    pub fn at_least(&self, hours: u64, exposure: f64) -> f64 {
        let mean = self.rate * exposure;
        let ratio = mean / (self.shape + mean);
        let mut of_count = self.silence(exposure);
        let mut below = 0.0;
        for count in 0..hours {
            below += of_count;
            of_count *= (self.shape + f64_of(count)) / f64_of(count + 1) * ratio;
        }
        // The sum of the upper tail: 1 − below has no digits left where it matters.
        if below < 0.9 {
            return 1.0 - below;
        }
        (hours..hours + 1000)
            .scan(of_count, |of_count, count| {
                let this = *of_count;
                *of_count *= (self.shape + f64_of(count)) / f64_of(count + 1) * ratio;
                Some(this)
            })
            .sum()
    }

    fn gaps(&self) -> f64 {
        MONTH * self.rate
    }
}

/// The probability of `hits` or more of `trials`, where the share of each sign is drawn from a beta
/// distribution (a, b): beta–binomial.
pub fn beta_binomial_at_least(hits: u64, trials: u64, a: f64, b: f64) -> f64 {
    let step = |k: u64| f64_of(trials - k) / f64_of(k + 1) * (a + f64_of(k)) / (b + f64_of(trials - k - 1));
    let none: f64 = (0..trials).map(|i| ((b + f64_of(i)) / (a + b + f64_of(i))).ln()).sum();
    let first: f64 = none + (0..hits).map(|k| step(k).ln()).sum::<f64>();
    let mut of_count = first.exp();
    let mut sum = 0.0;
    for k in hits..=trials {
        sum += of_count;
        if k < trials {
            of_count *= step(k);
        }
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates from one hour a month to twenty a day, known badly and well.
    fn rates() -> impl Iterator<Item = Posterior> {
        let prior = Prior { shape: 0.2, exposure: 2.0 };
        [(1.0, 30.0), (4.0, 30.0), (30.0, 30.0), (90.0, 30.0), (600.0, 30.0)]
            .into_iter()
            .map(move |(hours, days)| prior.posterior(hours, days))
    }

    fn assert_near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-6, "{found} instead of {expected}");
    }

    #[test]
    fn the_silence_that_is_needed_is_the_one_that_raises_the_alarm() {
        for rate in rates() {
            assert_near(rate.silence(rate.needed(0.005)) * 30.0 * rate.per_day(), 0.005);
            assert_near(rate.silence(0.0), 1.0);
        }
    }

    /// Poisson counts whose rate is drawn from a gamma distribution, summed up over that distribution.
    #[test]
    fn counts_of_a_day_are_those_of_a_poisson_process_of_uncertain_rate() {
        for rate in rates().skip(1) {
            let (shape, scale) = (rate.shape, rate.rate / rate.shape);
            let steps = 200_000_u32;
            let step = scale * (shape + 12.0 * shape.sqrt() + 40.0) / f64::from(steps);
            for (hours, exposure) in [(0, 1.0), (1, 0.5), (3, 1.0), (9, 2.0)] {
                let (mut all, mut below) = (0.0, 0.0);
                for at in 0..steps {
                    let x = (f64::from(at) + 0.5) * step;
                    let density = ((shape - 1.0) * x.ln() - x / scale).exp();
                    let mut poisson = (-x * exposure).exp();
                    all += density;
                    for count in 0..hours {
                        below += density * poisson;
                        poisson *= x * exposure / f64_of(count + 1);
                    }
                }
                let found = rate.at_least(hours, exposure);
                assert!((found - (1.0 - below / all)).abs() < 1e-4, "{rate:?} {hours}: {found}");
            }
        }
    }

    #[test]
    fn a_tail_that_is_tiny_keeps_its_digits() {
        let rate = Prior { shape: 1.0, exposure: 1.0 }.posterior(9.0, 99.0);
        // Ten of a mean of a tenth: the first terms of the tail, by hand.
        let (shape, ratio) = (10.0, 0.1 / 10.1);
        let first = (0..10).fold((1.0_f64 - ratio).powf(shape), |p, k| p * (shape + f64_of(k)) / f64_of(k + 1) * ratio);
        let second = first * (shape + 10.0) / 11.0 * ratio;
        let found = rate.at_least(10, 1.0);
        assert!(found > first + second && found < first + 1.1 * second, "{found:e} {first:e} {second:e}");
    }

    /// All ways to draw, counted one by one: Pólya's urn, from which a beta–binomial count comes.
    #[test]
    fn shares_from_abroad_are_those_of_an_urn() {
        let (a, b, trials) = (1.5, 6.0, 12_u32);
        let mut counts = vec![0.0; trials as usize + 1];
        for draws in 0..1_u32 << trials {
            let (mut p, mut hits) = (1.0, 0.0);
            for at in 0..trials {
                let all = a + b + f64::from(at);
                if draws >> at & 1 == 1 {
                    p *= (a + hits) / all;
                    hits += 1.0;
                } else {
                    p *= (b + f64::from(at) - hits) / all;
                }
            }
            counts[draws.count_ones() as usize] += p;
        }
        for hits in 0..=trials {
            let expected: f64 = counts[hits as usize..].iter().sum();
            assert_near(beta_binomial_at_least(hits.into(), trials.into(), a, b), expected);
        }
    }
}
