//! How often does the rule of sign health accuse a sign that lives, and how soon does it find one that is gone?
//!
//! The rule in use, the one before it, and a fixed 30 days look at the same signs at the end of every day: at
//! made-up ones (`simulation`), at pedestrians who were counted in Auckland and thinned to scans (`footfall`),
//! and at cases that are known to be hard (`cases`). All signs live, so each alarm is a false one. Then each
//! dies once, on a day drawn by chance, while everybody else lives. And the time that the rule takes (`time`).
//!
//! `cargo bench --bench health` runs everything and prints the tables of `benches/README.md`; with one of the
//! words above it runs that part. `footfall` wants `benches/health/get-footfall` first. Seeds are fixed: every
//! run prints the same figures but for the time.
#![allow(clippy::print_stdout, missing_docs, reason = "the result is for people")]

mod footfall;
mod rules;
mod world;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rules::{Death, PATIENCE, Rule, WARM_UP, deaths, watch};
use waypost::health::{BUDGET, State, examine};
use world::{Kind, World, f64_of, of};

/// Hours with a scan a day that part the classes of use.
const CLASSES: [f64; 4] = [0.05, 0.15, 0.5, 1.5];
const CLASS_NAMES: [&str; 5] = ["< 1 in 20 days", "1 in 7–20 days", "1–3.5 a week", "3.5–10 a week", "> 10 a week"];
const SEED: u64 = 1;
const DEATHS_SEED: u64 = 2;
/// One in so many signs dies at a time.
const PARTS: usize = 5;

/// Signs that are judged by each rule: by themselves or, in several worlds, apart from each other.
struct Case {
    title: String,
    worlds: Vec<World>,
    rules: Vec<Rule>,
    dies: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_asked = |part: &str| words.is_empty() || words.iter().any(|word| word == part);
    if is_asked("time") {
        time()?;
    }
    let mut cases = Vec::new();
    if is_asked("simulation") {
        cases.extend([(0.0, false), (0.4, true), (0.8, false)].map(|(drift, dies)| Case {
            title: format!("Made up, drift {drift}"),
            worlds: vec![Kind { drift, ..Kind::default() }.make()],
            rules: Rule::ALL.to_vec(),
            dies,
        }));
    }
    if is_asked("footfall") {
        if !Path::new(footfall::TABLE).exists() {
            return Err("the footfall is missing: run benches/health/get-footfall".into());
        }
        for (from, until) in [("2022-07-01", "2025-07-01"), ("2019-01-01", "2022-07-01")] {
            cases.push(Case {
                title: format!("Footfall, {from} until {until}"),
                worlds: vec![footfall::make(SEED, from, until)?],
                rules: Rule::ALL.to_vec(),
                dies: true,
            });
        }
    }
    if is_asked("cases") {
        cases.extend([(20, 25), (5, 60)].map(|(signs, edges)| Case {
            title: format!("Made up, drift 0.4, {edges} edges with {signs} signs each"),
            worlds: (SEED..).take(edges).map(|seed| Kind { seed, signs, ..Kind::default() }.make()).collect(),
            rules: vec![Rule::Budget(BUDGET)],
            dies: true,
        }));
    }
    // Each core takes the next rule of the next case.
    let tasks: Vec<(&Case, Rule)> =
        cases.iter().flat_map(|case| case.rules.iter().map(move |rule| (case, *rule))).collect();
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some(&(case, rule)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let measured = Measured::of(case, rule);
            rows.lock().expect("nobody panics").insert((case.title.as_str(), rule.name()), measured);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let rows = rows.into_inner().expect("nobody panics");
    for case in &cases {
        show(case, |rule| &rows[&(case.title.as_str(), rule.name())]);
    }
    if is_asked("cases") {
        hard_days();
        giant();
    }
    Ok(())
}

/// What came out for a case and a rule.
struct Measured {
    /// Of each sign: its class, whom it shares its fate with, and false alarms a month.
    signs: Vec<(usize, (usize, usize), f64)>,
    /// Of each class, signs and days in each of [`State::ALL`].
    states: [[usize; State::ALL.len()]; CLASS_NAMES.len()],
    /// With their class.
    deaths: Vec<(usize, Death)>,
}

impl Measured {
    fn of(case: &Case, rule: Rule) -> Self {
        let mut measured = Self { signs: Vec::new(), states: Default::default(), deaths: Vec::new() };
        for (at, world) in case.worlds.iter().enumerate() {
            let class = |sign: usize| CLASSES.iter().filter(|from| world.per_day[sign] >= **from).count();
            let watched = watch(world, rule, WARM_UP..world.days, &[]);
            let months = f64_of(world.days - WARM_UP - 1) / 30.0;
            for (sign, states) in watched.states.iter().enumerate() {
                let alarms = watched.alarms.iter().filter(|alarm| alarm.1 == sign).count();
                measured.signs.push((class(sign), (at, world.cluster[sign]), f64_of(alarms) / months));
                measured.states[class(sign)].iter_mut().zip(states).for_each(|(sum, days)| *sum += days);
            }
            if case.dies {
                let deaths = deaths(world, rule, DEATHS_SEED, PARTS).into_iter().enumerate();
                measured.deaths.extend(deaths.map(|(sign, death)| (class(sign), death)));
            }
        }
        measured
    }

    /// False alarms per 1,000 signs and month, and the standard error between clusters.
    fn false_alarms(&self) -> (f64, f64) {
        let mut clusters: BTreeMap<(usize, usize), (f64, f64)> = BTreeMap::new();
        for (_, cluster, alarms) in &self.signs {
            let sums = clusters.entry(*cluster).or_default();
            *sums = (sums.0 + alarms, sums.1 + 1.0);
        }
        let mean = self.signs.iter().map(|sign| sign.2).sum::<f64>() / f64_of(self.signs.len());
        let count = f64_of(clusters.len());
        let off = clusters.values().map(|(alarms, signs)| (alarms - mean * signs).powi(2)).sum::<f64>();
        (1000.0 * mean, 1000.0 * (off * count / (count - 1.0)).sqrt() / f64_of(self.signs.len()))
    }

    fn class(&self, class: usize) -> String {
        let alarms: Vec<f64> = self.signs.iter().filter(|sign| sign.0 == class).map(|sign| sign.2).collect();
        format!("{:.1}", 1000.0 * alarms.iter().sum::<f64>() / f64_of(alarms.len()))
    }

    /// Half and nine tenths of the deaths of a class are found within so many days.
    fn days(&self, class: usize) -> String {
        let deaths = self.deaths.iter().filter(|death| death.0 == class && death.1 != Death::AlarmedBefore);
        let days = |death: &(usize, Death)| if let Death::OnDay(days) = death.1 { days } else { usize::MAX };
        let mut days: Vec<usize> = deaths.map(days).collect();
        days.sort_unstable();
        let show = |at: usize| match days.get(at) {
            Some(days) if *days <= PATIENCE => days.to_string(),
            _ => "–".to_owned(),
        };
        format!("{}/{}", show(days.len() / 2), show(days.len() * 9 / 10))
    }

    /// Percent of signs and days in a state: of one class, or of all.
    fn state(&self, class: Option<usize>, state: State) -> f64 {
        let at = State::ALL.iter().position(|other| *other == state).expect("all states");
        let classes = || self.states.iter().enumerate().filter(|(this, _)| class.is_none_or(|class| class == *this));
        let of_state: usize = classes().map(|(_, states)| states[at]).sum();
        100.0 * f64_of(of_state) / f64_of(classes().map(|(_, states)| states.iter().sum::<usize>()).sum())
    }
}

fn show<'m>(case: &Case, measured: impl Fn(Rule) -> &'m Measured) {
    let first = measured(case.rules[0]);
    println!("\n{}: {} signs, {} days\n", case.title, first.signs.len(), case.worlds[0].days);
    let with_count = |class: usize| {
        let signs = first.signs.iter().filter(|sign| sign.0 == class).count();
        format!("{} ({signs})", CLASS_NAMES[class])
    };
    let head = row((0..CLASS_NAMES.len()).map(with_count));
    println!(
        "| false alarms per 1,000 signs and month | all | {head} | living signs in alarm |\n|---|---|---|---|---|---|---|---|"
    );
    for rule in &case.rules {
        let measured = measured(*rule);
        let (mean, error) = measured.false_alarms();
        let classes = row((0..CLASS_NAMES.len()).map(|class| measured.class(class)));
        let silent = measured.state(None, State::Silent);
        println!("| {} | **{mean:.1}** ± {error:.1} | {classes} | {silent:.2} % |", rule.name());
    }
    if case.dies {
        println!("\n| days to the alarm, half/nine in ten | {head} |\n|---|---|---|---|---|---|");
        for rule in &case.rules {
            let classes = row((0..CLASS_NAMES.len()).map(|class| measured(*rule).days(class)));
            println!("| {} | {classes} |", rule.name());
        }
    }
    println!(
        "\n| % of living signs and days, {} | all | {head} |\n|---|---|---|---|---|---|---|",
        case.rules[0].name()
    );
    for state in State::ALL {
        let classes = row((0..CLASS_NAMES.len()).map(|class| format!("{:.1}", first.state(Some(class), state))));
        println!("| {} | {:.1} | {classes} |", state.as_str(), first.state(None, state));
    }
}

fn row(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(" | ")
}

/// An outage of five days, and a week in which everybody comes ten times as often.
fn hard_days() {
    let outage = 400..405;
    let dark = Kind { outage: outage.clone(), ..Kind::default() }.make();
    let observations = dark.observations();
    let states = |day: usize| -> Vec<State> {
        examine(&dark.signs, &observations, of(day), BUDGET).rows.iter().map(|row| row.state).collect()
    };
    let (first, last) = (states(outage.start), states(outage.end - 1));
    let changed = first.iter().zip(&last).filter(|(first, last)| first != last).count();
    println!("\nAn outage of 5 days: {changed} of {} states change between its first day and its last", first.len());
    let began = |kind: Kind| {
        let alarms = watch(&kind.make(), Rule::Budget(BUDGET), 399..500, &[]).alarms;
        let within = |days: std::ops::Range<usize>| alarms.iter().filter(|alarm| days.contains(&alarm.0)).count();
        format!("{} in days 400 to 406, {} in the 93 after", within(400..407), within(407..500))
    };
    println!("False alarms of 1,500 signs: {}", began(Kind::default()));
    println!("- with the outage in days 400 to 404: {}", began(Kind { outage, ..Kind::default() }));
    for crowded in [1.0, 0.1] {
        let percent = 100.0 * crowded;
        let kind = Kind { crowd: 400..407, crowded, ..Kind::default() };
        println!("- {percent} % of them with ten times the traffic in days 400 to 406: {}", began(kind));
    }
}

/// A sign with a third of an edge's traffic dies.
fn giant() {
    const EDGES: usize = 10;
    const SIGNS: usize = 100;
    let mut share = 0.0;
    let (mut with, mut without, mut own) = (0, 0, Vec::new());
    for seed in (SEED..).take(EDGES) {
        let world = Kind { seed, signs: SIGNS, giant: 12.0, ..Kind::default() }.make();
        let sum = |hours: &Vec<u8>| hours.iter().map(|hours| f64::from(*hours)).sum::<f64>();
        share += sum(&world.hours[SIGNS]) / world.hours.iter().map(sum).sum::<f64>() / f64_of(EDGES);
        let others = |died_on: &[Option<usize>]| {
            let watched = watch(&world, Rule::Budget(BUDGET), 399..500, died_on);
            let found = watched.alarms.iter().find(|alarm| alarm.1 == SIGNS).map(|alarm| alarm.0 - 399);
            (watched.alarms.iter().filter(|alarm| alarm.1 != SIGNS).count(), found)
        };
        let mut died_on = vec![None; SIGNS + 1];
        without += others(&died_on).0;
        died_on[SIGNS] = Some(400);
        let (alarms, found) = others(&died_on);
        with += alarms;
        own.extend(found);
    }
    own.sort_unstable();
    println!(
        "\nOne sign of {} has {:.0} % of the traffic and dies on day 400, on each of {EDGES} edges\n\
         - found at the end of these days without it: {own:?}\n\
         - false alarms of the others in days 400 to 499: {with}; where it lives: {without}",
        SIGNS + 1,
        100.0 * share
    );
}

/// How long one look takes.
fn time() -> Result<(), Box<dyn Error>> {
    for signs in [3000, 100_000] {
        let world = Kind { signs, days: 500, ..Kind::default() }.make();
        let observations = world.observations();
        let mut quickest = Duration::MAX;
        for _ in 0..5 {
            let begin = on_cpu()?;
            black_box(examine(&world.signs, &observations, of(499), BUDGET));
            quickest = quickest.min(on_cpu()?.saturating_sub(begin));
        }
        println!("{signs} signs are judged in {} ms of CPU", quickest.as_millis());
    }
    Ok(())
}

/// For how long this thread had a core (`man 5 proc`, schedstat): what else runs does not count.
fn on_cpu() -> Result<Duration, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(stat.split(' ').next().unwrap_or_default().parse()?))
}
