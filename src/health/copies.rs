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

/// False suspicions of a sign and month, of each of the two that are judged by chance.
const BUDGET: f64 = 0.001;
/// Scans whose country is known that a share is worth looking at.
const LOCATED: u64 = 10;
/// So many of the last days are looked at for a burst.
const BURST_DAYS: usize = 7;
/// Fewer hours with a scan on a day are no burst.
const BURST: u64 = 3;
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
            code: sign.code,
            state,
            since_ms: seen.own.get(&sign.code).map(|own| own.last_ms),
            per_day: 0.0,
            expected: 0.0,
            one_in: None,
            alarm_on: None,
            looks_copied: Some(suspicion),
            group: None,
            ended_alarms: 0,
        })
    };
    signs.iter().filter_map(row).collect()
}

fn has_burst(at: usize, rows: &[Assessment], signs: &[&Sign], histories: &[History<'_>], prior: &Prior) -> bool {
    let history = &histories[at];
    let end = history.clock().len();
    (end.saturating_sub(BURST_DAYS)..end).any(|day| {
        let hours = history.hours(day);
        // As it was known before.
        let is_improbable = || {
            let rate = history.rate(prior, day);
            rate.at_least(hours, history.exposure(day..day + 1)) * MONTH <= BUDGET
        };
        hours >= BURST && is_improbable() && !is_shared(at, day, rows, signs, histories)
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
    located().for_each(|scans| *countries.entry(&scans.country).or_default() += scans.scans);
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
    let mut kinds: HashMap<&str, Vec<usize>> = HashMap::new();
    signs.iter().enumerate().for_each(|(at, sign)| kinds.entry(&sign.kind).or_default().push(at));
    let everybody: Vec<usize> = (0..signs.len()).collect();
    let of = |at: usize| of_code.get(&signs[at].code).copied().unwrap_or_default();
    let is_suspect = |at: &usize| {
        let class = kinds.get(signs[*at].kind.as_str()).filter(|class| class.len() >= CLASS).unwrap_or(&everybody);
        let one = of(*at);
        one.all >= LOCATED && {
            let others = class.iter().filter(|other| *other != at).map(|other| of(*other));
            let (a, b) = shares(others);
            f64_of(one.abroad) > f64_of(one.all) * a / (a + b)
                && beta_binomial_at_least(one.abroad, one.all, a, b) <= BUDGET
        }
    };
    everybody.iter().copied().filter(is_suspect).collect()
}

/// How the shares from abroad of other signs are spread, as the two parameters of a beta distribution, by
/// moments.
fn shares(others: impl Iterator<Item = Located> + Clone) -> (f64, f64) {
    let all = others
        .clone()
        .fold(Located::default(), |sum, one| Located { all: sum.all + one.all, abroad: sum.abroad + one.abroad });
    // One more of each: a share that was never seen is not impossible.
    let mean = (f64_of(all.abroad) + 1.0) / (f64_of(all.all) + 2.0);
    let known = || others.clone().filter(|one| one.all >= LOCATED);
    let count = f64_of(known().count() as u64);
    let of_chance = mean * (1.0 - mean);
    let spread = if count < 2.0 {
        of_chance / 3.0
    } else {
        let squares = known().map(|one| (f64_of(one.abroad) / f64_of(one.all) - mean).powi(2)).sum::<f64>() / count;
        let chance = known().map(|one| of_chance / f64_of(one.all)).sum::<f64>() / count;
        squares - chance
    };
    // Variance of a beta distribution: mean (1 − mean) / (a + b + 1). Between a wide spread and nearly none.
    let sum = (of_chance / spread.max(1e-9) - 1.0).clamp(2.0, 50.0);
    (mean * sum, (1.0 - mean) * sum)
}
