//! Codes that look copied: scanned where or when the plate on the wall can't explain it.
//!
//! Owns the suspicions, the strongest first: scans of a code that hangs nowhere; a share from abroad that
//! its kind does not explain; a day with more scans than its rate explains, which the neighbours did not
//! have. Distance within the country says nothing: carriers' addresses place their users in few cities.

use std::collections::HashMap;

use super::clock::{History, f64_of};
use super::groups::are_near;
use super::rate::{Prior, beta_binomial_at_least};
use super::{Assessment, CLASS, MONTH, Observations, Recent, Sign, State, Suspicion};
use crate::core::Code;
use crate::registry::Status;

/// The chance of a false suspicion: of a burst for a sign and month, of a share from abroad at each look.
const BUDGET: f64 = 0.001;
/// Scans whose country is known that a share is worth looking at.
const LOCATED: u64 = 10;
/// So many of the last whole days are looked at for a burst.
const BURST_DAYS: usize = 7;
/// Fewer hours with a scan on a day are no burst.
const BURST: u64 = 3;
/// Of an average day's traffic of the others, at least so much.
const LEAST_EXPOSURE: f64 = 0.5;
/// The neighbours share a burst when they had so many times what they usually have.
const SHARED: f64 = 2.0;

/// Notes why signs in use look copied.
pub fn suspect(
    rows: &mut [Assessment],
    signs: &[&Sign],
    histories: &[History<'_>],
    recent: &[Recent],
    prior_of: impl Fn(&Sign) -> Prior,
) {
    for at in
        (0..rows.len()).filter(|&at| has_burst(at, rows, signs, histories, &prior_of(signs[at]))).collect::<Vec<_>>()
    {
        rows[at].looks_copied = Some(Suspicion::Burst);
    }
    for at in from_abroad(signs, recent) {
        rows[at].looks_copied = Some(Suspicion::Abroad);
    }
}

/// Signs that are not in use, and are scanned.
pub fn not_in_use(signs: &[Sign], seen: &Observations) -> Vec<Assessment> {
    let mut scans: HashMap<(Code, bool), u64> = HashMap::new();
    for recent in &seen.recent {
        *scans.entry((recent.code, recent.is_retired)).or_default() += recent.scans;
    }
    let row = |sign: &Sign| {
        let (state, suspicion) = match sign.status {
            Status::Active => return None,
            Status::Planned => (State::New, Suspicion::Planned),
            Status::Retired => (State::NotEnoughData, Suspicion::Retired),
        };
        scans.get(&(sign.code, sign.status == Status::Retired)).filter(|scans| **scans > 0)?;
        Some(Assessment {
            since_ms: seen.own.get(&sign.code).map(|own| own.last_ms),
            looks_copied: Some(suspicion),
            ..Assessment::unjudged(sign.code, state)
        })
    };
    signs.iter().filter_map(row).collect()
}

fn has_burst(at: usize, rows: &[Assessment], signs: &[&Sign], histories: &[History<'_>], prior: &Prior) -> bool {
    let history = &histories[at];
    // Today is not over: its few hours of traffic say too little of how busy it is.
    let end = history.clock().at(history.clock().today());
    (end.saturating_sub(BURST_DAYS)..end).any(|day| {
        let hours = history.hours(day);
        // As it was known before.
        let is_improbable = || {
            let rate = history.rate(prior, day);
            rate.at_least(hours, history.exposure(day..day + 1)) * MONTH <= BUDGET
        };
        // On a day with hardly anybody else, nothing says how busy it was.
        let is_known = history.exposure(day..day + 1) >= LEAST_EXPOSURE && history.has_others();
        hours >= BURST && is_known && is_improbable() && !is_shared(at, day, rows, signs, histories)
    })
}

/// Whether the neighbours of a sign had much more than usual on a day, too.
fn is_shared(at: usize, day: usize, rows: &[Assessment], signs: &[&Sign], histories: &[History<'_>]) -> bool {
    let neighbours = (0..rows.len()).filter(|&other| other != at && are_near(signs[at], signs[other]));
    let (hours, usual) = neighbours.fold((0, 0.0), |(hours, usual), other| {
        let history = &histories[other];
        (hours + history.hours(day), usual + rows[other].per_day * history.exposure(day..day + 1))
    });
    hours >= BURST && f64_of(hours) >= SHARED * usual
}

/// Scans whose country is known, and those from abroad.
#[derive(Clone, Copy, Default)]
struct Located {
    all: u64,
    abroad: u64,
}

/// Signs in use with more scans from abroad than signs of their kind have.
fn from_abroad(signs: &[&Sign], recent: &[Recent]) -> Vec<usize> {
    let located = || recent.iter().filter(|scans| !scans.is_retired && !scans.country.is_empty());
    let mut countries: HashMap<&str, u64> = HashMap::new();
    for scans in located() {
        *countries.entry(&scans.country).or_default() += scans.scans;
    }
    // Home is where most visitors are from: a service of any country needs no setting for it.
    let Some((home, _)) = countries.into_iter().max_by_key(|&(country, scans)| (scans, country)) else {
        return Vec::new();
    };
    let mut of_code: HashMap<Code, Located> = HashMap::new();
    for scans in located() {
        let one = of_code.entry(scans.code).or_default();
        one.all += scans.scans;
        one.abroad += if scans.country == home { 0 } else { scans.scans };
    }
    let of = |sign: &Sign| of_code.get(&sign.code).copied().unwrap_or_default();
    let mut everybody = Shares::default();
    let mut kinds: HashMap<&str, Shares> = HashMap::new();
    for sign in signs {
        everybody.add(of(sign));
        kinds.entry(&sign.kind).or_default().add(of(sign));
    }
    let is_suspect = |at: &usize| {
        let (sign, one) = (signs[*at], of(signs[*at]));
        let class = kinds.get(sign.kind.as_str()).filter(|class| class.signs >= CLASS).unwrap_or(&everybody);
        one.all >= LOCATED && {
            let (a, b) = class.without(one).spread();
            f64_of(one.abroad) > f64_of(one.all) * a / (a + b)
                && beta_binomial_at_least(one.abroad, one.all, a, b) <= BUDGET
        }
    };
    (0..signs.len()).filter(is_suspect).collect()
}

/// The shares from abroad of the signs of a class, as sums: one sign can be taken out again, since it must
/// not explain itself.
#[derive(Clone, Copy, Default)]
struct Shares {
    signs: usize,
    all: u64,
    abroad: u64,
    /// Of signs with [`LOCATED`] scans or more: how many, the sum of their shares, of the squares, and one over their scans.
    known: f64,
    sum: f64,
    squares: f64,
    inverse: f64,
}

impl Shares {
    fn add(&mut self, one: Located) {
        self.signs += 1;
        self.all += one.all;
        self.abroad += one.abroad;
        if one.all >= LOCATED {
            let share = f64_of(one.abroad) / f64_of(one.all);
            self.known += 1.0;
            self.sum += share;
            self.squares += share * share;
            self.inverse += 1.0 / f64_of(one.all);
        }
    }

    fn without(self, one: Located) -> Self {
        let mut alone = Self::default();
        alone.add(one);
        Self {
            signs: self.signs - alone.signs,
            all: self.all - alone.all,
            abroad: self.abroad - alone.abroad,
            known: self.known - alone.known,
            sum: self.sum - alone.sum,
            squares: self.squares - alone.squares,
            inverse: self.inverse - alone.inverse,
        }
    }

    /// How they are spread, as the two parameters of a beta distribution, by moments.
    fn spread(self) -> (f64, f64) {
        // One more of each: a share that was never seen is not impossible.
        let mean = (f64_of(self.abroad) + 1.0) / (f64_of(self.all) + 2.0);
        let of_chance = mean * (1.0 - mean);
        let variance = if self.known < 2.0 {
            of_chance / 3.0
        } else {
            let spread = (self.squares - 2.0 * mean * self.sum) / self.known + mean * mean;
            spread - of_chance * self.inverse / self.known
        };
        // Variance of a beta distribution: mean (1 − mean) / (a + b + 1). Between a wide spread and nearly none.
        let sum = (of_chance / variance.max(1e-9) - 1.0).clamp(2.0, 50.0);
        (mean * sum, (1.0 - mean) * sum)
    }
}
