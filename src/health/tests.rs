//! What the rule promises, on made histories.

use proptest::prelude::*;

use super::*;

const TODAY: Day = 20_000;

/// Signs, and on which days ago each was scanned in how many hours.
#[derive(Debug, Default)]
struct World {
    signs: Vec<Sign>,
    seen: Observations,
}

fn code(number: usize) -> Code {
    format!("S{number}").parse().expect("a code")
}

fn in_use(number: usize) -> Sign {
    Sign {
        code: code(number),
        status: Status::Active,
        place: format!("p{number}"),
        name: format!("Đường {number}"),
        kind: "street".to_owned(),
        area: "Kỳ Lừa".to_owned(),
        position: None,
        mounted: Some(TODAY - 1000),
    }
}

impl World {
    /// Forty signs of three hours a day each: everybody else.
    fn busy() -> Self {
        let mut world = Self::default();
        (0..40).for_each(|number| world.add(in_use(number), (0..300).map(|ago| (ago, 3))));
        world
    }

    fn add(&mut self, sign: Sign, scans: impl IntoIterator<Item = (Day, u8)>) {
        let mut days: Vec<(Day, u8)> = scans.into_iter().map(|(ago, hours)| (TODAY - ago, hours)).collect();
        days.sort_unstable();
        for &(day, hours) in &days {
            *self.seen.everybody.entry(day).or_default() += u64::from(hours);
        }
        if let Some((last, _)) = days.last() {
            let last_ms = i64::from(*last) * 86_400_000;
            self.seen.own.insert(sign.code, Own { days, last_ms });
        }
        self.signs.push(sign);
    }

    fn with(mut self, sign: Sign, scans: impl IntoIterator<Item = (Day, u8)>) -> Self {
        self.add(sign, scans);
        self
    }

    fn report(&self) -> Report {
        examine(&self.signs, &self.seen, TODAY, BUDGET)
    }

    fn row(&self, number: usize) -> Assessment {
        self.report().rows.into_iter().find(|row| row.code == code(number)).expect("a row")
    }

    fn recent(mut self, number: usize, country: &str, scans: u64, is_retired: bool) -> Self {
        self.seen.recent.push(Recent { code: code(number), is_retired, country: country.to_owned(), scans });
        self
    }
}

/// A scan an hour on every `step`-th day, until `ago` days ago.
fn each(step: usize, ago: Day) -> impl Iterator<Item = (Day, u8)> {
    (ago..300).step_by(step).map(|ago| (ago, 1))
}

/// Hours a day until so many days ago.
fn until(ago: Day, hours: u8) -> impl Iterator<Item = (Day, u8)> {
    (ago..300).map(move |ago| (ago, hours))
}

#[test]
fn a_busy_sign_is_silent_after_more_than_a_weekend() {
    let state = |ago| World::busy().with(in_use(99), until(ago, 8)).row(99);
    // Scanned on Friday, and not at the weekend: on Monday, and on Tuesday.
    assert_eq!(state(3).state, State::Normal);
    let silent = state(4);
    assert_eq!((silent.state, silent.alarm_on), (State::Silent, Some(TODAY)));
    assert!(silent.one_in.expect("judged") > 1000.0, "{silent:?}");
    assert!((silent.expected - 32.0).abs() < 1.0 && (silent.per_day - 8.0).abs() < 0.2, "{silent:?}");
    let later = state(9);
    assert_eq!((later.state, later.alarm_on), (State::Silent, Some(TODAY - 5)), "the day it came");
    assert_eq!(later.since_ms, Some(i64::from(TODAY - 9) * 86_400_000));
    // An hour a day needs longer, and is quiet before.
    let slower = |ago| World::busy().with(in_use(99), until(ago, 1)).row(99).state;
    let states: Vec<State> = (0..20).map(slower).collect();
    let days = |state| states.iter().filter(|other| **other == state).count();
    assert!(
        states.is_sorted_by_key(|state| [State::Normal, State::Quiet, State::Silent].iter().position(|s| s == state))
    );
    assert!(days(State::Normal) >= 5 && days(State::Quiet) >= 1 && days(State::Silent) >= 1, "{states:?}");
}

#[test]
fn the_day_of_the_alarm_is_told_beforehand() {
    let world = |ago| World::busy().with(in_use(99), each(3, ago));
    let row = world(0).row(99);
    assert_eq!(row.state, State::Normal);
    let wait = row.alarm_on.expect("judged") - TODAY;
    let on_that_day = world(wait).row(99);
    assert_eq!((on_that_day.state, on_that_day.alarm_on), (State::Silent, Some(TODAY)), "{wait} days later");
    assert_ne!(world(wait - 1).row(99).state, State::Silent, "and not a day before");
}

#[test]
fn before_the_first_scan_of_a_day_the_days_before_it_count() {
    // Nobody was scanned yet today: three whole days without it, as it would be later today.
    let world = (0..40).fold(World::default(), |world, number| world.with(in_use(number), until(1, 3)));
    let world = world.with(in_use(99), until(4, 20));
    assert_eq!((world.row(99).state, world.row(99).alarm_on), (State::Silent, Some(TODAY)));
    let two = (0..40).fold(World::default(), |world, number| world.with(in_use(number), until(1, 3)));
    assert_eq!(two.with(in_use(99), until(3, 20)).row(99).state, State::Normal);
}

#[test]
fn what_cannot_be_judged_is_said() {
    let world = World::busy()
        .with(in_use(50), each(60, 10))
        .with(in_use(51), [])
        .with(Sign { mounted: Some(TODAY - 29), ..in_use(52) }, [])
        .with(Sign { mounted: None, ..in_use(54) }, []);
    let state = |number| world.row(number).state;
    assert_eq!(state(50), State::NotEnoughData);
    assert_eq!((world.row(50).one_in, world.row(50).alarm_on), (None, None));
    assert_eq!([51, 52, 54].map(state), [State::NeverScanned, State::New, State::NeverScanned]);
    // Where plates are rarely scanned, one scan says little of a new one; of an old one too.
    let rare = (0..40).fold(World::default(), |world, number| {
        // One after the other: a day without any scan would not count.
        let first = Day::try_from(number % 20).expect("a small number");
        world.with(in_use(number), each(20, first))
    });
    let rare = rare.with(Sign { mounted: Some(TODAY - 9), ..in_use(53) }, [(5, 1)]);
    assert_eq!((rare.row(53).state, rare.row(0).state), (State::New, State::NotEnoughData));
    assert!(world.row(51).expected > 0.0);
    // Whoever is alone has no clock.
    let alone = World::default().with(in_use(1), until(20, 5));
    assert_eq!(alone.row(1).state, State::NotEnoughData);
}

#[test]
fn a_plate_that_was_mounted_anew_starts_anew() {
    let world = World::busy().with(Sign { mounted: Some(TODAY - 40), ..in_use(60) }, until(41, 3));
    assert_eq!((world.row(60).state, world.row(60).since_ms), (State::NeverScanned, None));
}

#[test]
fn a_sign_that_has_been_silent_for_a_year_still_is() {
    let world =
        (0..40).fold(World::default(), |world, number| world.with(in_use(number), (0..700).map(|ago| (ago, 3))));
    let world = world.with(Sign { mounted: None, ..in_use(70) }, (365..640).map(|ago| (ago, 2)));
    assert_eq!(world.row(70).state, State::Silent);
}

#[test]
fn three_neighbours_are_one_alarm() {
    let near = |number, latitude, place: &str| Sign {
        position: Some((latitude, 106.76)),
        place: place.to_owned(),
        name: format!("Đường {place}"),
        area: format!("area {number}"),
        ..in_use(number)
    };
    // 222 m from one to the next, and one at the other end of the town.
    let world = World::busy()
        .with(near(80, 21.850, "a"), until(8, 3))
        .with(near(81, 21.852, "b"), until(7, 3))
        .with(near(82, 21.854, "b"), until(8, 3))
        .with(near(83, 21.900, "c"), until(8, 3))
        // Long before: something else.
        .with(near(84, 21.853, "c"), until(90, 3));
    let report = world.report();
    assert_eq!(report.count(State::Silent), 5);
    assert_eq!(report.groups, [Group { kind: GroupKind::Street, name: "Đường b".to_owned(), signs: 3 }]);
    let group = |number| world.row(number).group;
    assert_eq!([80, 81, 82, 83, 84].map(group), [Some(0), Some(0), Some(0), None, None]);
    // Signs of one place belong together however far apart, and whatever lies between in time.
    let far = |number| near(number, 21.0 + f64::from(u32::try_from(number).expect("small")) / 10.0, "long");
    let long = World::busy()
        .with(far(1), until(8, 3))
        .with(far(2), until(120, 3))
        .with(far(3), until(9, 3))
        .with(far(4), until(10, 3));
    assert_eq!(long.report().groups, [Group { kind: GroupKind::Street, name: "Đường long".to_owned(), signs: 3 }]);
    // Of two neighbours each is an alarm of its own.
    let two = World::busy().with(near(80, 21.850, "a"), until(8, 3)).with(near(81, 21.852, "b"), until(7, 3));
    assert_eq!(two.report().groups, []);
}

#[test]
fn an_area_and_the_province_are_one_alarm_too() {
    let at = |number, area: &str| Sign { area: area.to_owned(), ..in_use(number) };
    let area = (80..90).fold(World::busy(), |world, number| {
        let ago = if number < 83 { 8 } else { 0 };
        world.with(at(number, "Chi Lăng"), until(ago, 3))
    });
    assert_eq!(area.report().groups, [Group { kind: GroupKind::Area, name: "Chi Lăng".to_owned(), signs: 3 }]);
    // What fell silent long ago is no accident of today.
    let old = (80..90).fold(World::busy(), |world, number| {
        let ago = if number < 83 { 40 * (i32::try_from(number).expect("small") - 79) } else { 0 };
        world.with(at(number, "Chi Lăng"), until(ago, 3))
    });
    assert_eq!((old.report().count(State::Silent), old.report().groups), (3, Vec::new()));
    let all = (100..160).fold(World::busy(), |world, number| world.with(at(number, "Chi Lăng"), until(20, 3)));
    assert_eq!(all.report().groups, [Group { kind: GroupKind::Province, name: String::new(), signs: 60 }]);
}

#[test]
fn a_code_that_hangs_nowhere_and_is_scanned_looks_copied() {
    let with = |number, status| Sign { status, mounted: None, ..in_use(number) };
    let world = World::busy()
        .with(with(90, Status::Planned), [(3, 1)])
        .with(with(91, Status::Retired), [])
        .with(with(92, Status::Planned), [])
        .with(with(93, Status::Retired), until(200, 2))
        .recent(90, "VN", 1, false)
        .recent(91, "", 2, true)
        // Scanned while it hung.
        .recent(93, "VN", 7, false);
    let report = world.report();
    let suspects: Vec<_> = report.rows.iter().filter_map(|row| Some((row.code, row.looks_copied?))).collect();
    assert_eq!(suspects, [(code(90), Suspicion::Planned), (code(91), Suspicion::Retired)]);
    assert_eq!(report.count(State::New) + report.count(State::NotEnoughData), 0, "they are not in use");
}

#[test]
fn a_share_from_abroad_is_measured_against_the_kind() {
    let world = (0..40).fold(World::busy(), |world, number| {
        let world = world.recent(number, "VN", 95, false).recent(number, "CN", 5, false).recent(number, "", 50, false);
        if number == 7 { world.recent(7, "US", 60, false) } else { world }
    });
    let suspects = |world: &World| world.report().suspected(Suspicion::Abroad);
    assert_eq!((suspects(&world), world.row(7).looks_copied), (1, Some(Suspicion::Abroad)));
    // At a gate half of the visitors are foreign, and nobody is suspected.
    let gate = (0..40).fold(World::busy(), |world, number| {
        let abroad = 30 + u64::try_from(number).expect("a few");
        world.recent(number, "VN", 50, false).recent(number, "CN", abroad, false)
    });
    assert_eq!(suspects(&gate), 0);
    // Nine scans are too few, ten are not.
    let few = |scans| {
        let homely = (0..40).fold(World::busy(), |world, number| world.recent(number, "VN", 100, false));
        homely.with(in_use(60), each(10, 0)).recent(60, "US", scans, false).row(60).looks_copied
    };
    assert_eq!((few(9), few(10)), (None, Some(Suspicion::Abroad)));
}

#[test]
fn a_burst_is_one_unless_the_neighbours_share_it() {
    let near = |number, latitude| Sign { position: Some((latitude, 106.76)), ..in_use(number) };
    let scans = |hours| (0..300).map(move |ago| (ago, if ago == 2 { hours } else { u8::from(ago % 4 == 0) }));
    let alone = World::busy().with(near(60, 21.850), scans(11)).with(near(61, 21.851), scans(0));
    assert_eq!(alone.row(60).looks_copied, Some(Suspicion::Burst));
    assert_eq!(alone.row(61).looks_copied, None);
    let festival = World::busy().with(near(60, 21.850), scans(11)).with(near(61, 21.851), scans(9));
    assert_eq!((festival.row(60).looks_copied, festival.row(61).looks_copied), (None, None));
    let usual = World::busy().with(near(60, 21.850), scans(2));
    assert_eq!(usual.row(60).looks_copied, None);
    // Today's first hours are no day.
    let night = World::busy()
        .with(near(60, 21.850), (0..300).map(|ago| (ago, if ago == 0 { 11 } else { u8::from(ago % 4 == 0) })));
    assert_eq!(night.row(60).looks_copied, None);
}

#[test]
fn an_alarm_that_a_scan_ended_is_counted_for_thirty_days() {
    // Silent from 40 days ago until 5 days ago.
    let world = World::busy().with(in_use(60), (0..300).filter(|ago| !(6..40).contains(ago)).map(|ago| (ago, 3)));
    assert_eq!((world.row(60).state, world.row(60).ended_alarms), (State::Normal, 1));
    assert_eq!(world.report().ended_alarms(), (1, 41));
    let earlier = World::busy().with(in_use(60), (0..300).filter(|ago| !(31..60).contains(ago)).map(|ago| (ago, 3)));
    assert_eq!(earlier.row(60).ended_alarms, 0);
}

#[test]
fn nothing_at_all_is_judged_without_a_panic() {
    assert_eq!(examine(&[], &Observations::default(), TODAY, BUDGET).rows, []);
    let world = World::default().with(in_use(1), []);
    assert_eq!(world.row(1).state, State::NeverScanned);
    // What is counted after today is not known today.
    let ahead = World::busy().with(in_use(60), [(-3, 2), (-2, 1)]);
    assert_eq!(ahead.row(60).state, State::NeverScanned);
}

/// A world of any shape: signs with any rates, from any day on, perhaps dead.
fn worlds() -> impl Strategy<Value = World> {
    let sign = (0_u8..20, 0..300_i32, 0..60_i32, any::<u64>(), any::<bool>());
    proptest::collection::vec(sign, 2..25).prop_map(|signs| {
        let mut world = World::default();
        for (number, (rate, from, dead, seed, is_mounted)) in signs.into_iter().enumerate() {
            let mut random = seed;
            let scans = (dead..=from.max(dead)).filter_map(move |ago| {
                // A linear congruential generator (Knuth's MMIX): a scan on rate of 20 days.
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let hours = u8::try_from(random >> 62).expect("two bits");
                ((random >> 33) % 20 < u64::from(rate)).then_some((ago, 1 + hours))
            });
            let mounted = is_mounted.then_some(TODAY - from);
            world.add(Sign { mounted, ..in_use(number) }, scans.collect::<Vec<_>>());
        }
        world
    })
}

proptest! {
    /// The edge was away: all that was counted before is that much longer ago, and nothing else changes.
    #[test]
    fn an_outage_of_everything_changes_nothing(world in worlds(), at in 1..299_i32, length in 1..60_i32) {
        let before = |day: Day| if day <= TODAY - at { day - length } else { day };
        let moved = World {
            signs: world.signs.iter().map(|sign| Sign { mounted: sign.mounted.map(before), ..sign.clone() }).collect(),
            seen: Observations {
                everybody: world.seen.everybody.iter().map(|(day, hours)| (before(*day), *hours)).collect(),
                own: world.seen.own.iter().map(|(code, own)| (*code, Own {
                    days: own.days.iter().map(|&(day, hours)| (before(day), hours)).collect(), ..own.clone()
                })).collect(),
                recent: Vec::new(),
            },
        };
        // Whether a sign is new is a matter of the calendar.
        let known = |report: Report| report.rows.into_iter().map(|row| {
            let state = if row.state == State::New { if row.since_ms.is_some() { State::NotEnoughData } else { State::NeverScanned } } else { row.state };
            (row.code, state, row.per_day.to_bits(), row.expected.to_bits(), row.one_in.map(f64::to_bits))
        }).collect::<Vec<_>>();
        prop_assert_eq!(known(world.report()), known(moved.report()));
    }

    /// Ten times everybody else's traffic, always, is the same clock to the last bit.
    #[test]
    fn a_factor_on_everybody_elses_traffic_changes_nothing(world in worlds(), factor in 1..1000_u64) {
        let sign = &world.signs[0];
        let none = Own::default();
        let own = world.seen.own.get(&sign.code).unwrap_or(&none);
        let mut more = world.seen.everybody.clone();
        // What was before it was mounted was another plate's.
        let is_own = |day: &Day| sign.mounted.is_none_or(|mounted| *day >= mounted);
        let of = |day: &Day| own.days.iter().find(|(own, _)| own == day && is_own(day)).map_or(0, |(_, hours)| u64::from(*hours));
        for (day, hours) in &mut more {
            *hours = (*hours - of(day)) * factor + of(day);
        }
        let prior = Prior::of(&[]);
        let judged = |everybody| judge(sign, &Clock::new(everybody, TODAY).history(own, sign.mounted), &prior, BUDGET);
        prop_assert_eq!(judged(&world.seen.everybody), judged(&more));
    }

    /// Whoever is scanned today is neither silent nor quiet.
    #[test]
    fn one_more_scan_is_never_worse(world in worlds()) {
        let mut scanned = World { signs: world.signs.clone(), seen: world.seen.clone() };
        let own = scanned.seen.own.entry(code(0)).or_default();
        if own.days.last().is_none_or(|(day, _)| *day < TODAY) {
            own.days.push((TODAY, 1));
            *scanned.seen.everybody.entry(TODAY).or_default() += 1;
        }
        prop_assert!(![State::Silent, State::Quiet, State::NeverScanned].contains(&scanned.row(0).state));
    }

    /// Every figure is one, and what can't be judged has neither chance nor day.
    #[test]
    fn figures_are_finite_and_states_agree_with_them(world in worlds()) {
        for row in world.report().rows {
            prop_assert!(row.per_day.is_finite() && row.expected.is_finite() && row.expected >= 0.0, "{:?}", row);
            let is_judged = [State::Silent, State::Quiet, State::Normal].contains(&row.state);
            prop_assert_eq!(row.one_in.is_some(), is_judged);
            prop_assert_eq!(row.alarm_on.is_some(), is_judged);
            prop_assert!(row.one_in.is_none_or(|one_in| one_in >= 1.0 && one_in.is_finite()), "{:?}", row);
            if let Some(day) = row.alarm_on {
                prop_assert!((row.state == State::Silent) == (day <= TODAY && row.state == State::Silent), "{:?}", row);
                prop_assert!(row.state == State::Silent || day > TODAY - 1, "{:?}", row);
            }
        }
    }
}
