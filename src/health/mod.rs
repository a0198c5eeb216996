//! Which signs are silent: from counts to the state of each sign.
//!
//! Owns the rule. It is pure: what was counted comes in, the states come out, for either store. All is in
//! hours with a headline scan (a school class counts once), by days of the province's time zone.
//!
//! A sign's rate is gamma–Poisson with a bounded memory (`rate.rs`). Time is measured in everybody else's
//! traffic (`clock.rs`), so a night, a quiet season or an outage accuses no sign (a crowd
//! elsewhere brings an alarm forward that would have come anyway). An alarm comes when
//! a silence is so improbable that in a month, over all gaps between its scans, a living sign would meet one
//! like it less often than the budget says. What can't be judged is said. Signs that fall silent together
//! are one alarm (`groups.rs`); what looks like a copied code is `copies.rs`'s. `benches/health` measures
//! what the budget promises.

mod clock;
mod copies;
mod groups;
mod rate;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use crate::core::{Code, Day};
use crate::registry::{SignRef, Status};
use clock::{Clock, History};
use rate::{Posterior, Prior};

pub use groups::{Group, GroupKind};

/// How many days before a sign's last scan its own hours are asked for. The memory is [`MEMORY`] days of
/// those that count; the mean of everybody's traffic reaches [`clock::MEAN`] further back. The rest is
/// for days that don't count.
pub const OWN_DAYS: Day = 400;
/// How many days back scans are asked for by country and outcome.
pub const RECENT_DAYS: Day = 30;
/// False alarms that are promised for a sign and month, unless configured.
pub const BUDGET: f64 = 0.005;

/// Days up to the last scan that a rate is made of. Their weight halves every [`HALF_LIFE`].
const MEMORY: usize = 180;
/// In days: a rate that wanders is followed.
const HALF_LIFE: f64 = 60.0;
/// Whole days without a scan before an alarm: longer than a weekend.
const LEAST_SILENCE: usize = 3;
/// Unusually quiet: ten times as probable as what raises the alarm.
const QUIET: f64 = 10.0;
/// A sign whose alarm would need a longer silence than this many average days can't be judged, until it
/// has been silent for so long.
const LONGEST_SILENCE: f64 = 90.0;
/// Days of a month, by which the budget counts.
const MONTH: f64 = 30.0;
/// For so many days after it was mounted a sign is new.
const NEW_DAYS: Day = 30;

/// A sign, as far as the rule needs it.
#[derive(Debug, Clone)]
pub struct Sign {
    /// Its code.
    pub code: Code,
    /// Signs in use are judged; of others only scans that should not be are shown.
    pub status: Status,
    /// The place's identifier: signs of one place are neighbours.
    pub place: String,
    /// The place's name.
    pub name: String,
    /// Signs of a kind share what is thought of a new one.
    pub kind: String,
    /// The commune or ward.
    pub area: String,
    /// Latitude and longitude in degrees.
    pub position: Option<(f64, f64)>,
    /// When it was mounted, where that is known.
    pub mounted: Option<Day>,
}

impl From<SignRef<'_>> for Sign {
    fn from(sign: SignRef<'_>) -> Self {
        let place = sign.place();
        Self {
            code: sign.code(),
            status: sign.status(),
            place: place.id().to_owned(),
            name: place.name().to_owned(),
            kind: place.kind().to_owned(),
            area: place.area().to_owned(),
            position: sign.position(),
            mounted: sign.mounted(),
        }
    }
}

/// What was counted, up to a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observations {
    /// Hours with a headline scan of all codes together, each code's counted by itself. A day without any
    /// is not in it, or 0.
    pub everybody: BTreeMap<Day, u64>,
    /// Of each code that was ever scanned.
    pub own: HashMap<Code, Own>,
    /// The scans of persons, without repeats, of the last [`RECENT_DAYS`].
    pub recent: Vec<Recent>,
}

/// When one code was scanned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// Days and their hours with a headline scan, in order, from [`OWN_DAYS`] before the last one on.
    pub days: Vec<(Day, u8)>,
    /// The last headline scan, in milliseconds since the Unix epoch.
    pub last_ms: i64,
}

/// Scans of one code from one country.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    /// The code.
    pub code: Code,
    /// Whether the sign was retired then; otherwise it was found.
    pub is_retired: bool,
    /// As recorded; empty where it is not known.
    pub country: String,
    /// How many.
    pub scans: u64,
}

/// How a sign is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum State {
    /// Not scanned for so long that something has probably happened to it
    Silent,
    /// Less than usual, and not yet alarming
    Quiet,
    /// As usual
    Normal,
    /// Too rarely scanned for 90 days of silence to mean anything
    NotEnoughData,
    /// Not since it was mounted
    NeverScanned,
    /// Mounted within the last 30 days, and not to be judged yet
    New,
}

impl State {
    /// Every state, those first that want a look.
    pub const ALL: [Self; 6] =
        [Self::Silent, Self::Quiet, Self::NeverScanned, Self::NotEnoughData, Self::New, Self::Normal];

    /// The word in tables, files and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Quiet => "quiet",
            Self::Normal => "normal",
            Self::NotEnoughData => "not_enough_data",
            Self::NeverScanned => "never_scanned",
            Self::New => "new",
        }
    }
}

/// Why a code looks copied. It never says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suspicion {
    /// It is scanned, and not mounted yet.
    Planned,
    /// It is scanned, and was taken down.
    Retired,
    /// More of its scans are from abroad than its kind explains.
    Abroad,
    /// A day had more scans than its rate explains, and its neighbours' had not.
    Burst,
}

impl Suspicion {
    /// Every suspicion, the strongest first.
    pub const ALL: [Self; 4] = [Self::Planned, Self::Retired, Self::Abroad, Self::Burst];

    /// The word in tables, files and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Retired => "retired",
            Self::Abroad => "abroad",
            Self::Burst => "burst",
        }
    }
}

/// What the rule says of one sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The sign.
    pub code: Code,
    /// How it is. Signs that are not in use are [`State::New`] before, and [`State::NotEnoughData`] after.
    pub state: State,
    /// The last headline scan since it was mounted, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Hours with a scan on an average day.
    pub per_day: f64,
    /// Hours with a scan that were to be expected since the last one, or since it was mounted.
    pub expected: f64,
    /// The chance of such a silence: 1 in so many. `None` where nothing can be judged.
    pub one_in: Option<f64>,
    /// When the alarm came, or will come if nothing is scanned and traffic is as usual. `None` where nothing
    /// can be judged.
    pub alarm_on: Option<Day>,
    /// Why it looks copied, if it does.
    pub looks_copied: Option<Suspicion>,
    /// Which of [`Report::groups`] it is silent with.
    pub group: Option<usize>,
    /// Alarms of the last 30 days that ended with a scan: they were false, or somebody mended the plate.
    pub ended_alarms: u8,
}

impl Assessment {
    /// Of a sign that was never scanned, or is not judged.
    const fn unjudged(code: Code, state: State) -> Self {
        Self {
            code,
            state,
            since_ms: None,
            per_day: 0.0,
            expected: 0.0,
            one_in: None,
            alarm_on: None,
            looks_copied: None,
            group: None,
            ended_alarms: 0,
        }
    }

    /// Whether the sign is in use. Others are here only because they are scanned.
    pub const fn is_in_use(&self) -> bool {
        !matches!(self.looks_copied, Some(Suspicion::Planned | Suspicion::Retired))
    }
}

/// What the rule says of all signs.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Of which day.
    pub day: Day,
    /// Signs in use, and others that look copied; in the registry's order.
    pub rows: Vec<Assessment>,
    /// Signs that are silent together.
    pub groups: Vec<Group>,
    /// False alarms promised for a sign and month.
    pub budget: f64,
}

impl Report {
    /// How many signs are in a state. Those that are not in use don't count.
    pub fn count(&self, state: State) -> usize {
        self.rows.iter().filter(|row| row.is_in_use() && row.state == state).count()
    }

    /// How many signs look copied for a reason.
    pub fn suspected(&self, suspicion: Suspicion) -> usize {
        self.rows.iter().filter(|row| row.looks_copied == Some(suspicion)).count()
    }

    /// How many groups of a kind are silent together.
    pub fn together(&self, kind: GroupKind) -> usize {
        self.groups.iter().filter(|group| group.kind == kind).count()
    }

    /// The group that a sign is silent with.
    pub fn group_of(&self, row: &Assessment) -> Option<&Group> {
        row.group.map(|at| &self.groups[at])
    }

    /// Alarms of the last 30 days that ended with a scan, and the signs in use that were ever scanned. Their ratio
    /// is what the budget promises an upper bound of; a plate that was mended counts here too.
    pub fn ended_alarms(&self) -> (usize, usize) {
        let scanned = self.rows.iter().filter(|row| row.is_in_use() && row.since_ms.is_some());
        (scanned.clone().map(|row| usize::from(row.ended_alarms)).sum(), scanned.count())
    }
}

/// Judges all signs as of a day, today: of what is counted later nothing may be in the observations.
pub fn examine(signs: &[Sign], seen: &Observations, today: Day, budget: f64) -> Report {
    let clock = Clock::new(&seen.everybody, today);
    let none = Own::default();
    let in_use: Vec<&Sign> = signs.iter().filter(|sign| sign.status == Status::Active).collect();
    let histories: Vec<History<'_>> =
        in_use.iter().map(|sign| clock.history(seen.own.get(&sign.code).unwrap_or(&none), sign.mounted)).collect();
    let priors = priors(&in_use, &histories);
    let prior_of = |sign: &Sign| priors.get(sign.kind.as_str()).unwrap_or(&priors[""]);
    let judged = in_use.iter().zip(&histories).map(|(sign, history)| judge(sign, history, prior_of(sign), budget));
    let mut rows: Vec<Assessment> = judged.collect();
    copies::suspect(&mut rows, &in_use, &histories, &seen.recent, |sign| *prior_of(sign));
    let groups = groups::find(&mut rows, &in_use, today);
    rows.extend(copies::not_in_use(signs, seen));
    Report { day: today, rows, groups, budget }
}

/// Kinds with fewer signs that say something share what is known of all.
const CLASS: usize = 30;

/// What is thought of a sign of each kind before its own scans are known; of all signs under "".
fn priors<'s>(signs: &[&'s Sign], histories: &[History<'_>]) -> HashMap<&'s str, Prior> {
    // In the signs' order: a sum of floats in the order of a map would differ from run to run.
    let all: Vec<(f64, f64)> = histories.iter().map(|history| history.remembered(history.clock().len())).collect();
    let mut classes: HashMap<&str, Vec<(f64, f64)>> = HashMap::new();
    for (sign, counted) in signs.iter().zip(&all) {
        classes.entry(sign.kind.as_str()).or_default().push(*counted);
    }
    classes.retain(|_, counted| Prior::watched(counted).count() >= CLASS);
    let mut priors: HashMap<&str, Prior> =
        classes.into_iter().map(|(kind, counted)| (kind, Prior::of(&counted))).collect();
    priors.insert("", Prior::of(&all));
    priors
}

/// Judges one sign that is in use.
fn judge(sign: &Sign, history: &History<'_>, prior: &Prior, budget: f64) -> Assessment {
    let clock = history.clock();
    let blank = Assessment::unjudged(sign.code, State::NeverScanned);
    let is_new = sign.mounted.is_some_and(|mounted| clock.today() - mounted < NEW_DAYS);
    let Some(last) = history.last() else {
        let rate = prior.posterior(0.0, 0.0);
        let state = if is_new { State::New } else { State::NeverScanned };
        let expected = rate.per_day() * history.exposure(history.begins()..clock.len());
        return Assessment { state, per_day: rate.per_day(), expected, ..blank };
    };
    let rate = history.rate(prior, last + 1);
    let since = history.exposure(last + 1..clock.len());
    let row = Assessment {
        since_ms: Some(history.last_ms()),
        per_day: rate.per_day(),
        expected: rate.per_day() * since,
        ended_alarms: ended_alarms(history, prior, budget),
        ..blank
    };
    // Whoever has nobody beside him has no clock either.
    let is_long = history.has_others() && clock.whole_days_since(last) >= LEAST_SILENCE;
    let alarmed = if is_long { alarm(history, &rate, last, budget) } else { None };
    let can_be_judged = alarmed.is_some() || history.has_others() && rate.alarms(LONGEST_SILENCE, budget);
    if !can_be_judged {
        let state = if is_new { State::New } else { State::NotEnoughData };
        return Assessment { state, ..row };
    }
    let state = match alarmed {
        Some(_) => State::Silent,
        None if is_long && rate.alarms(since, budget * QUIET) => State::Quiet,
        None => State::Normal,
    };
    let alarm_on = alarmed.unwrap_or_else(|| due(clock, &rate, since, last, budget));
    Assessment { state, one_in: Some(1.0 / rate.silence(since)), alarm_on: Some(alarm_on), ..row }
}

/// The first day by which the silence after `last` was long enough for an alarm.
fn alarm(history: &History<'_>, rate: &Posterior, last: usize, budget: f64) -> Option<Day> {
    let clock = history.clock();
    let mut since = 0.0;
    let counted = (last + 1..clock.len()).find(|&at| {
        since += history.exposure(at..at + 1);
        at - last > LEAST_SILENCE && rate.alarms(since, budget)
    });
    // Today does not count before its first scan by anybody.
    let is_today = || clock.whole_days_since(last) >= LEAST_SILENCE && rate.alarms(since, budget);
    counted.map(|at| clock.day(at)).or_else(|| is_today().then(|| clock.today()))
}

/// The day of the alarm if nothing is scanned and each day has average traffic.
fn due(clock: &Clock, rate: &Posterior, since: f64, last: usize, budget: f64) -> Day {
    // A silence of [`LONGEST_SILENCE`] raises it, so it is that many days off at most.
    #[expect(clippy::cast_possible_truncation, reason = "at most 90")]
    let left = (rate.needed(budget) - since).clamp(0.0, LONGEST_SILENCE).ceil() as Day;
    let whole_days = i32::try_from(LEAST_SILENCE).expect("three") + 1;
    (clock.today() + left).max(clock.day(last) + whole_days)
}

/// How many gaps between scans raised an alarm that a scan of the last 30 days ended.
fn ended_alarms(history: &History<'_>, prior: &Prior, budget: f64) -> u8 {
    let clock = history.clock();
    let after = clock.today() - RECENT_DAYS;
    let gaps = history.scanned().windows(2).map(|two| (two[0].0, two[1].0));
    let ended = gaps.filter(|&(last, next)| {
        clock.day(next) > after && next - last > LEAST_SILENCE && {
            let rate = history.rate(prior, last + 1);
            rate.alarms(history.exposure(last + 1..next), budget)
        }
    });
    u8::try_from(ended.count()).unwrap_or(u8::MAX)
}
