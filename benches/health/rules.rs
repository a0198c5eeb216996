//! What a rule says of signs, day by day: false alarms on the living, and how long a death stays unseen.

use std::ops::Range;

use waypost::core::Day;
use waypost::health::{Assessment, BUDGET, Observations, State, examine};

use crate::world::{Dice, World, f64_of, of, own};

/// Days at the start in which nobody is judged: a rule has to learn first.
pub const WARM_UP: usize = 180;
/// A death that is not found within so many days is not found.
pub const PATIENCE: usize = 330;

/// A way to tell from the scans up to the end of a day who is silent.
#[derive(Clone, Copy)]
pub enum Rule {
    /// The one in use, with a budget of false alarms for a sign and month.
    Budget(f64),
    /// The one that it replaced: at least 3 days, and 7 hours with a scan were to be expected.
    Expected7,
    /// No scan for 30 days.
    Days30,
}

impl Rule {
    pub const ALL: [Self; 4] = [Self::Budget(BUDGET), Self::Budget(0.001), Self::Expected7, Self::Days30];

    pub fn name(self) -> String {
        match self {
            Self::Budget(budget) => format!("budget {budget}"),
            Self::Expected7 => "before: 7 expected".to_owned(),
            Self::Days30 => "30 days".to_owned(),
        }
    }

    /// Of each sign, its state by what is known at the end of a day; of silent ones the day of the alarm.
    fn look(self, world: &World, seen: &Seen, day: usize) -> Vec<(State, Option<usize>)> {
        let simple = |is_silent: &dyn Fn(usize, usize) -> bool| {
            let judge = |sign: usize| match seen.last(sign, day) {
                None => (State::NeverScanned, None),
                Some(last) if is_silent(sign, last) => (State::Silent, Some(day)),
                Some(_) => (State::Normal, None),
            };
            (0..world.signs.len()).map(judge).collect()
        };
        match self {
            Self::Budget(budget) => {
                let rows = examine(&world.signs, &seen.observations, of(day), budget).rows;
                let on = |row: &Assessment| row.alarm_on.filter(|_| row.state == State::Silent);
                let day_of = |on: Day| usize::try_from(on).expect("a day of the world");
                let look = |row: &Assessment| (row.state, on(row).map(day_of));
                rows.iter().map(look).collect()
            }
            Self::Expected7 => simple(&|sign, last| seen.expects_7(sign, last, day)),
            Self::Days30 => simple(&|_, last| day - last >= 30),
        }
    }
}

/// What is known of a world, in the forms that rules ask for.
struct Seen {
    observations: Observations,
    /// Of each sign, its hours before each day.
    own: Vec<Vec<u32>>,
    /// Everybody's.
    all: Vec<u32>,
    /// Of each sign, the days on which it was scanned.
    scanned: Vec<Vec<usize>>,
}

impl Seen {
    /// Of the signs as they are, or with some of them dead: they have no hours from a day on, while
    /// everybody else's stay what they are.
    fn new(world: &World, died_on: &[Option<usize>]) -> Self {
        let mut observations = world.observations();
        let mut living = world.hours.clone();
        for (sign, died_on) in died_on.iter().enumerate() {
            let Some(day) = died_on else { continue };
            living[sign][*day..].fill(0);
            for (day, hours) in world.hours[sign].iter().enumerate().skip(*day) {
                *observations.everybody.get_mut(&of(day)).expect("every day") -= u64::from(*hours);
            }
            observations.own.insert(world.signs[sign].code, own(&living[sign]));
        }
        let sums = |hours: &mut dyn Iterator<Item = u32>| {
            std::iter::once(0)
                .chain(hours.scan(0, |sum, hours| {
                    *sum += hours;
                    Some(*sum)
                }))
                .collect::<Vec<u32>>()
        };
        let sum_of = |day: usize| living.iter().map(|hours| u32::from(hours[day])).sum();
        Self {
            own: living.iter().map(|hours| sums(&mut hours.iter().map(|hours| (*hours).into()))).collect(),
            all: sums(&mut (0..world.days).map(sum_of)),
            scanned: living.iter().map(|hours| (0..world.days).filter(|day| hours[*day] > 0).collect()).collect(),
            observations,
        }
    }

    fn last(&self, sign: usize, day: usize) -> Option<usize> {
        let scanned = &self.scanned[sign];
        scanned.partition_point(|other| *other <= day).checked_sub(1).map(|at| scanned[at])
    }

    /// The rule as the dashboards had it, by days: 90 of them make the rate, and the silence is shortened, never
    /// lengthened, by the pace of everybody else.
    fn expects_7(&self, sign: usize, last: usize, day: usize) -> bool {
        let before = (last + 1).saturating_sub(90);
        let own = f64::from(self.own[sign][last + 1] - self.own[sign][before]);
        let per_day = own / f64_of(last.clamp(14, 90));
        let others_before = f64::from(self.all[last + 1] - self.all[before]) - own;
        let others_since = f64::from(self.all[day + 1] - self.all[last + 1]);
        let days = f64_of(day - last);
        let pace =
            if others_before == 0.0 { 1.0 } else { (others_since / days.max(1.0) / (others_before / 90.0)).min(1.0) };
        let silence = days * pace;
        silence >= 3.0 && per_day * silence >= 7.0
    }
}

/// What a rule says day by day.
pub struct Watch {
    /// Alarms that began: day and sign.
    pub alarms: Vec<(usize, usize)>,
    /// Of each sign, on how many days it was in each of [`State::ALL`].
    pub states: Vec<[usize; State::ALL.len()]>,
}

/// Looks at the end of every day. The first of them only shows who is in alarm already.
pub fn watch(world: &World, rule: Rule, days: Range<usize>, died_on: &[Option<usize>]) -> Watch {
    let seen = Seen::new(world, died_on);
    let mut watch = Watch { alarms: Vec::new(), states: vec![[0; State::ALL.len()]; world.signs.len()] };
    let mut before = rule.look(world, &seen, days.start);
    for day in days.skip(1) {
        let now = rule.look(world, &seen, day);
        let begins = |sign: &usize| now[*sign].0 == State::Silent && before[*sign].0 != State::Silent;
        watch.alarms.extend((0..now.len()).filter(begins).map(|sign| (day, sign)));
        for (states, (now, _)) in watch.states.iter_mut().zip(&now) {
            states[State::ALL.iter().position(|state| state == now).expect("all states")] += 1;
        }
        before = now;
    }
    watch
}

/// How a death was found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// By an alarm at the end of the so manieth day without the sign.
    OnDay(usize),
    /// Not within [`PATIENCE`].
    Unfound,
    /// It can't be told: there was an alarm already, a false one.
    AlarmedBefore,
}

/// Of each sign, how its death is found while everybody else lives: one in `parts` dies at a time.
pub fn deaths(world: &World, rule: Rule, seed: u64, parts: usize) -> Vec<Death> {
    let mut dice = Dice(seed);
    let (first, last) = (WARM_UP + 20, (WARM_UP + 200).min(world.days - 120));
    let died_on: Vec<usize> = world.signs.iter().map(|_| first + dice.below(last - first)).collect();
    let mut found = vec![Death::Unfound; world.signs.len()];
    for part in 0..parts {
        let of_part = || (0..world.signs.len()).filter(|sign| sign % parts == part);
        let mut dying = vec![None; world.signs.len()];
        of_part().for_each(|sign| dying[sign] = Some(died_on[sign]));
        let known = Seen::new(world, &dying);
        // The rule in use says itself on which day the alarm came.
        let step = if matches!(rule, Rule::Budget(_)) { 7 } else { 1 };
        let end = world.days.min(last + PATIENCE + step);
        let mut alarmed = vec![None; world.signs.len()];
        for day in (first - 1..end).step_by(step) {
            let looks = rule.look(world, &known, day);
            for sign in of_part() {
                let since = looks[sign].1.map(|on| alarmed[sign].unwrap_or(on));
                alarmed[sign] = since;
                if let (Some(on), Death::Unfound, true) = (since, found[sign], day >= died_on[sign]) {
                    let days = (on + 1).saturating_sub(died_on[sign]);
                    found[sign] = match days {
                        0 => Death::AlarmedBefore,
                        1..=PATIENCE => Death::OnDay(days),
                        _ => Death::Unfound,
                    };
                }
            }
        }
    }
    found
}
