//! Signs, and the hours in which they were scanned: made up from a seed.

use std::collections::BTreeMap;
use std::f64::consts::{PI, TAU};
use std::ops::Range;

use waypost::core::{Code, Day};
use waypost::health::{Observations, Own, Sign};
use waypost::registry::Status;

/// Signs and their scans. A sign lives all the time; who asks how a death is found cuts its hours off.
pub struct World {
    pub signs: Vec<Sign>,
    /// Of each sign and day, in how many hours it was scanned.
    pub hours: Vec<Vec<u8>>,
    /// Of each sign, hours with a scan on an average day: its class of use.
    pub per_day: Vec<f64>,
    /// Of each sign, who shares its fate: signs of one cluster are no independent witnesses.
    pub cluster: Vec<usize>,
    pub days: usize,
}

impl World {
    pub const fn new(days: usize) -> Self {
        Self { signs: Vec::new(), hours: Vec::new(), per_day: Vec::new(), cluster: Vec::new(), days }
    }

    /// A sign that was mounted on the first day.
    pub fn add(&mut self, hours: Vec<u8>, per_day: f64, cluster: usize) {
        let number = self.signs.len();
        self.signs.push(Sign {
            code: format!("{number:08X}").parse::<Code>().expect("a code of eight digits"),
            status: Status::Active,
            place: number.to_string(),
            name: String::new(),
            kind: "street".to_owned(),
            area: String::new(),
            position: None,
            mounted: Some(0),
        });
        self.hours.push(hours);
        self.per_day.push(per_day);
        self.cluster.push(cluster);
    }

    /// What a store would tell of it.
    pub fn observations(&self) -> Observations {
        let everybody = (0..self.days).map(|day| (self.hours.iter().map(|hours| u64::from(hours[day])).sum(), day));
        Observations {
            everybody: everybody.map(|(hours, day)| (of(day), hours)).collect::<BTreeMap<_, _>>(),
            own: self.signs.iter().zip(&self.hours).map(|(sign, hours)| (sign.code, own(hours))).collect(),
            recent: Vec::new(),
        }
    }
}

/// What a store would tell of one sign.
pub fn own(hours: &[u8]) -> Own {
    let scanned = hours.iter().enumerate().filter(|(_, hours)| **hours > 0);
    let days: Vec<(Day, u8)> = scanned.map(|(day, hours)| (of(day), *hours)).collect();
    Own { last_ms: days.last().map_or(0, |(day, _)| i64::from(*day) * 86_400_000), days }
}

pub fn of(day: usize) -> Day {
    Day::try_from(day).expect("a few years of days")
}

/// What a made-up world is like.
#[derive(Clone)]
pub struct Kind {
    pub seed: u64,
    pub signs: usize,
    pub days: usize,
    /// How far habits wander: the standard deviation of the logarithm of a sign's rate, around its mean.
    pub drift: f64,
    /// Nothing is recorded.
    pub outage: Range<usize>,
    /// Ten times as many come.
    pub crowd: Range<usize>,
    /// To which share of the signs.
    pub crowded: f64,
    /// Hours a day of one more sign, which has much of all traffic; 0 for none.
    pub giant: f64,
}

impl Default for Kind {
    fn default() -> Self {
        Self { seed: 1, signs: 1500, days: 720, drift: 0.4, outage: 0..0, crowd: 0..0, crowded: 1.0, giant: 0.0 }
    }
}

/// Days in which a drift forgets.
const DRIFT_DAYS: f64 = 45.0;
/// A sign is scanned in no more hours of a day.
const OPEN: u64 = 16;
/// School contests in the time, and who takes part in one.
const CONTESTS: usize = 20;
const TAKES_PART: f64 = 0.05;

impl Kind {
    /// Rates are log-normal (median 0.12 hours a day, one in seven above 0.5, none above 8); weekends 1.7 and
    /// other days 0.72 times the mean; seasons ± 45 %; each sign's rate drifts; on some days some signs have
    /// a school contest.
    pub fn make(&self) -> World {
        let mut dice = Dice(self.seed);
        // Of its own, so that a crowd changes nothing else.
        let mut crowd_dice = Dice(self.seed ^ 0x00C0_FFEE);
        let mut world = World::new(self.days);
        for number in 0..self.signs + usize::from(self.giant > 0.0) {
            let drawn = (0.12_f64.ln() + 1.3 * dice.normal()).exp().min(8.0);
            let per_day = if number < self.signs { drawn } else { self.giant };
            let hours = self.hours(per_day, &mut dice, &mut crowd_dice);
            world.add(hours, per_day, number);
        }
        for _ in 0..CONTESTS {
            let day = dice.below(self.days);
            for hours in &mut world.hours {
                if dice.uniform() < TAKES_PART {
                    hours[day] = within_a_day(u64::from(hours[day]) + dice.poisson(3.0));
                }
            }
        }
        for hours in &mut world.hours {
            hours[self.outage.clone()].fill(0);
        }
        world
    }

    fn hours(&self, per_day: f64, dice: &mut Dice, crowd_dice: &mut Dice) -> Vec<u8> {
        let kept = (-1.0 / DRIFT_DAYS).exp();
        let step = self.drift * (1.0 - kept * kept).sqrt();
        let mut drift = self.drift * dice.normal();
        let is_crowded = crowd_dice.uniform() < self.crowded;
        let day = |day: usize| {
            drift = kept * drift + step * dice.normal();
            let weekday = if day % 7 >= 5 { 1.7 } else { 0.72 };
            let season = 1.0 + 0.45 * (TAU * f64_of(day) / 365.25).sin();
            // The mean of a log-normal is above its median by half the variance.
            let mean = per_day * weekday * season * (drift - self.drift * self.drift / 2.0).exp();
            let crowd = if is_crowded && self.crowd.contains(&day) { crowd_dice.poisson(9.0 * mean) } else { 0 };
            within_a_day(dice.poisson(mean) + crowd)
        };
        (0..self.days).map(day).collect()
    }
}

fn within_a_day(hours: u64) -> u8 {
    u8::try_from(hours.min(OPEN)).expect("less than a day")
}

/// Days and signs are few.
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
pub fn f64_of(count: usize) -> f64 {
    count as f64
}

/// A sequence without a pattern (splitmix64, Steele 2014): the same for a seed, on every machine.
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to 1, without it.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a count")]
    pub fn below(&mut self, count: usize) -> usize {
        (self.uniform() * f64_of(count)) as usize
    }

    /// By Box and Muller.
    pub fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (2.0 * PI * self.uniform()).cos()
    }

    /// By Knuth's product of uniform numbers; the means are below 200.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        let limit = (-mean).exp();
        let mut product = self.uniform();
        let mut count = 0;
        while product > limit {
            product *= self.uniform();
            count += 1;
        }
        count
    }
}
