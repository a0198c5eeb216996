//! The rule of sign health is given the same by both stores, whatever was stored by which release, and its
//! answer is kept as it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension as _};
use waypost::core::scan::{Agent, Outcome, Scan};
use waypost::core::{Code, Day};
use waypost::health::{
    Assessment, BUDGET, Group, GroupKind, OWN_DAYS, Observations, Own, RECENT_DAYS, Recent, Report, Sign, State,
    Suspicion, examine,
};
use waypost::registry::Status;
use waypost::store::{self, Batch, Kind, Limits, Settings, Sqlite};

use crate::support::clickhouse::ClickHouse;
use crate::support::load::Load;
use crate::support::{Random, SetOnDrop, Setup, many_signs, scan_by_a_person, wait_for};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// In 2066: so far off that ClickHouse keeps it.
const FIRST_MS: i64 = 3_040_000_000_123;
/// From the first scan to the last: ClickHouse keeps the first ones by the hour alone.
const DAYS: i64 = 500;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

fn day_of(ms: i64, zone: &TimeZone) -> Day {
    date(1970, 1, 1).until((jiff::Unit::Day, at(ms).to_zoned_datetime(zone.clone()).date())).unwrap().get_days()
}

/// The embedded store at a path.
fn embedded(path: &Path) -> Settings {
    let clickhouse = waypost::store::ClickHouseSettings {
        urls: Vec::new(),
        database: String::new(),
        user: String::new(),
        password: waypost::core::Secret::default(),
        ca_file: None,
        cluster: String::new(),
        replicas: false,
        apply_schema: false,
        connect_timeout: std::time::Duration::ZERO,
        timeout: std::time::Duration::ZERO,
    };
    Settings { kind: Kind::Sqlite, path: path.to_owned(), limits: Limits::default(), clickhouse }
}

/// Scans of so many days, in batches of two edges: of some signs often, of some rarely, of some not for long;
/// by bots, repeated, retired, unknown.
fn batches(random: &mut Random, days: i64) -> Vec<Batch> {
    let scan = |_| {
        let sign = random.below(40).min(random.below(40));
        // Signs that were given up, each on its own day.
        let hung = if sign.is_multiple_of(5) { 1 + sign as i64 * 8 } else { days };
        let ts_ms = FIRST_MS + random.below((hung * DAY_MS) as u64) as i64;
        let mut scan = scan_by_a_person(&format!("S{sign:03}"), ts_ms);
        scan.outcome = random.of(&[Outcome::Found, Outcome::Found, Outcome::Found, Outcome::Retired, Outcome::Unknown]);
        scan.client.agent = random.of(&[Agent::Person, Agent::Person, Agent::Bot, Agent::Prefetch]);
        scan.repeat = random.below(4) == 0;
        scan.origin.country = random.of(&["VN", "VN", "CN", ""]).try_into().unwrap();
        scan
    };
    let mut scans: Vec<Scan> = (0..40_000).map(scan).collect();
    scans.sort_by_key(|scan| scan.ts_ms);
    let batch = |(number, scans): (usize, &[Scan])| Batch {
        id: uuid::Uuid::now_v7(),
        edge: format!("edge-{}", number % 2),
        scans: (0..).zip(scans.iter().copied()).collect(),
    };
    scans.chunks(1000).enumerate().map(batch).collect()
}

/// What the stores are to say of scans, counted one by one.
fn counted(batches: &[Batch], now: i64, zone: &TimeZone) -> Observations {
    let scans: Vec<&Scan> = batches.iter().flat_map(|batch| batch.scans.iter().map(|(_, scan)| scan)).collect();
    let by_persons = |scan: &&&Scan| scan.ts_ms <= now && scan.client.agent == Agent::Person && !scan.repeat;
    let mut hours: HashSet<(Code, i64)> = HashSet::new();
    let mut own: HashMap<Code, Own> = HashMap::new();
    for scan in scans.iter().filter(by_persons).filter(|scan| scan.outcome == Outcome::Found) {
        hours.insert((scan.code, scan.ts_ms / HOUR_MS * HOUR_MS));
        let own = own.entry(scan.code).or_default();
        own.last_ms = own.last_ms.max(scan.ts_ms);
    }
    let mut days: BTreeMap<(Code, Day), u8> = BTreeMap::new();
    let mut everybody = BTreeMap::new();
    for (code, hour) in hours {
        *days.entry((code, day_of(hour, zone))).or_default() += 1;
        *everybody.entry(day_of(hour, zone)).or_default() += 1;
    }
    for ((code, day), hours) in days {
        let own = own.get_mut(&code).unwrap();
        if day >= day_of(own.last_ms / HOUR_MS * HOUR_MS, zone) - OWN_DAYS {
            own.days.push((day, hours));
        }
    }
    let long_ago = at(now - i64::from(RECENT_DAYS) * DAY_MS).to_zoned_datetime(zone.clone());
    let from = long_ago.with().minute(0).second(0).subsec_nanosecond(0).build().unwrap().timestamp().as_millisecond();
    let mut recent: BTreeMap<(Code, bool, &str), u64> = BTreeMap::new();
    for scan in scans.iter().filter(by_persons).filter(|scan| scan.ts_ms >= from && scan.outcome != Outcome::Unknown) {
        *recent.entry((scan.code, scan.outcome == Outcome::Retired, scan.origin.country.as_str())).or_default() += 1;
    }
    let recent = recent.into_iter().map(|((code, is_retired, country), scans)| {
        let country = country.to_owned();
        Recent { code, is_retired, country, scans }
    });
    Observations { everybody, own, recent: recent.collect() }
}

/// A registry of which some signs are not in use, and which does not have all that is scanned.
fn signs() -> Vec<Sign> {
    let sign = |number: usize| Sign {
        code: format!("S{number:03}").parse().unwrap(),
        status: [Status::Active, Status::Active, Status::Active, Status::Retired, Status::Planned][number % 5],
        place: format!("place {}", number / 3),
        name: format!("Đường {}", number / 3),
        kind: "street".to_owned(),
        area: "Kỳ Lừa".to_owned(),
        position: None,
        mounted: None,
    };
    (0..35).map(sign).collect()
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn both_stores_observe_the_same_and_so_the_rule_says_the_same() {
    let mut random = Random::new();
    // Offsets of whole hours, one with summer time; of half an hour, and of three quarters, where an hour that
    // ClickHouse keeps alone is not one of UTC.
    for (name, days) in
        [("Asia/Ho_Chi_Minh", DAYS), ("Europe/Berlin", DAYS), ("Asia/Kolkata", 340), ("Asia/Kathmandu", 340)]
    {
        let (zone, engine, folder) = (zone(name), ClickHouse::start(), tempfile::tempdir().unwrap());
        let (sqlite, clickhouse) = (embedded(&folder.path().join("waypost.db")), engine.settings());
        let batches = batches(&mut random, days);
        let mut one = Sqlite::open(&sqlite.path).unwrap();
        let mut other = store::ClickHouse::open(&clickhouse.clickhouse, &zone).unwrap();
        for batch in &batches {
            one.insert(batch).unwrap();
            other.insert(batch).unwrap();
        }
        let last = FIRST_MS + days * DAY_MS;
        // Before the first report ClickHouse counts from other tables than after it, and knows only the hour of a
        // scan that is long ago.
        for is_reported in [false, true] {
            for now in [last, last - random.below(100 * DAY_MS as u64) as i64, FIRST_MS + 20 * DAY_MS] {
                let known = if is_reported { std::convert::identity } else { to_the_hour };
                let expected = known(counted(&batches, now, &zone));
                let seen = [&sqlite, &clickhouse];
                let seen = seen.map(|settings| known(store::observe(settings, &zone, at(now)).unwrap()));
                assert!(seen[0] == expected, "{name}, {now}: SQLite, {:?}", difference(&seen[0], &expected));
                assert!(seen[1] == expected, "{name}, {now}, {is_reported}: {:?}", difference(&seen[1], &expected));
                let reports = seen.map(|seen| examine(&signs(), &seen, day_of(now, &zone), BUDGET));
                assert_eq!(reports[0], reports[1], "{name}, {now}");
                assert!(reports[0].rows.iter().any(|row| row.one_in.is_some()) || now < last, "some are judged");
            }
            store::fill(&clickhouse, &zone, at(last)).unwrap();
            let report = examine(&signs(), &counted(&batches, last, &zone), day_of(last, &zone), BUDGET);
            store::keep(&clickhouse, &zone, "edge-1", &report, at(last)).unwrap();
        }
    }
}

/// Without minutes in the times of last scans.
fn to_the_hour(mut seen: Observations) -> Observations {
    seen.own.values_mut().for_each(|own| own.last_ms = own.last_ms / HOUR_MS * HOUR_MS);
    seen
}

/// Where two differ first, to be read.
fn difference(found: &Observations, expected: &Observations) -> String {
    let of_day = expected.everybody.iter().find(|(day, hours)| found.everybody.get(day) != Some(hours));
    let of_sign = expected.own.iter().find(|(code, own)| found.own.get(code) != Some(own));
    let of_recent = expected.recent.iter().zip(&found.recent).find(|(expected, found)| expected != found);
    let found_own = of_sign.and_then(|(code, _)| found.own.get(code));
    format!("expected {of_day:?}, {of_sign:?}, found {found_own:?}; recent {of_recent:?}")
}

/// What sign_hours has, merged.
fn hours(engine: &ClickHouse) -> String {
    engine.query("SELECT code, toUnixTimestamp(hour), max(last) FROM {db}.hours_by_sign GROUP BY ALL ORDER BY ALL")
}

/// The same, counted from the scans.
fn hours_of_scans(engine: &ClickHouse) -> String {
    engine.query(
        "SELECT code, toUnixTimestamp(toStartOfHour(ts, 'UTC')), max(ts) FROM {db}.scans
         WHERE outcome = 'found' AND agent = 'person' AND NOT repeat GROUP BY ALL ORDER BY ALL",
    )
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_filled_database_gets_its_hours_while_it_is_inserted_into() {
    let (engine, zone) = (ClickHouse::start(), zone("Asia/Ho_Chi_Minh"));
    let settings = engine.settings();
    let mut random = Random::new();
    // Not so long that the times within the hours are gone.
    let days = 340;
    let (before, meanwhile) = (batches(&mut random, days), batches(&mut random, days));
    let now = at(FIRST_MS + days * DAY_MS);
    let mut inserting = store::ClickHouse::open(&settings.clickhouse, &zone).unwrap();
    for table in ["sign_hours_mv", "sign_hours", "sign_health"] {
        engine.query(&format!("DROP TABLE {{db}}.{table} SYNC"));
    }
    for batch in &before {
        inserting.insert(batch).unwrap();
    }
    let (stored, is_done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _done = SetOnDrop(&is_done);
        scope.spawn(|| {
            for batch in meanwhile.iter().cycle().take_while(|_| !is_done.load(Ordering::Relaxed)) {
                inserting.insert(&Batch { id: uuid::Uuid::now_v7(), ..batch.clone() }).unwrap();
                stored.fetch_add(1, Ordering::Relaxed);
            }
        });
        let wait_for_more = |more: u64| {
            let until = stored.load(Ordering::Relaxed) + more;
            wait_for("batches are stored", || (stored.load(Ordering::Relaxed) >= until).then_some(()));
        };
        wait_for_more(3);
        store::ClickHouse::open(&settings.clickhouse, &zone).unwrap();
        store::fill(&settings, &zone, now).unwrap();
        wait_for_more(3);
    });
    let filled = hours(&engine);
    assert!(filled == hours_of_scans(&engine), "nothing is missed");
    store::fill(&settings, &zone, now).unwrap();
    assert!(hours(&engine) == filled, "once more changes nothing");
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn what_the_view_has_missed_of_the_last_days_is_filled_with_the_next_report() {
    let (engine, zone) = (ClickHouse::start(), zone("Asia/Ho_Chi_Minh"));
    let settings = engine.settings();
    let mut store = store::ClickHouse::open(&settings.clickhouse, &zone).unwrap();
    store::keep(&settings, &zone, "edge-1", &a_report(), at(FIRST_MS)).unwrap();
    engine.query("DROP TABLE {db}.sign_hours_mv SYNC");
    let missed = scan_by_a_person("S001", FIRST_MS - 2 * DAY_MS);
    store.insert(&Batch { id: uuid::Uuid::now_v7(), edge: "test".to_owned(), scans: vec![(0, missed)] }).unwrap();
    assert_eq!(hours(&engine), "");
    store::fill(&settings, &zone, at(FIRST_MS)).unwrap();
    assert_eq!(hours(&engine), hours_of_scans(&engine));
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn scans_that_clickhouse_keeps_by_the_hour_alone_are_observed_and_filled() {
    let (engine, zone) = (ClickHouse::start(), zone("Asia/Ho_Chi_Minh"));
    let settings = engine.settings();
    let mut store = store::ClickHouse::open(&settings.clickhouse, &zone).unwrap();
    let batches = batches(&mut Random::new(), DAYS);
    for batch in &batches {
        store.insert(batch).unwrap();
    }
    let now = FIRST_MS + DAYS * DAY_MS;
    let expected = to_the_hour(counted(&batches, now, &zone));
    let observe = || to_the_hour(store::observe(&settings, &zone, at(now)).unwrap());
    // As the TTL does, which drops a month that is 13 months old.
    let first_month = engine.query("SELECT min(toYYYYMM(ts)) FROM {db}.scans");
    engine.query(&format!("ALTER TABLE {{db}}.scans DROP PARTITION {first_month}"));
    engine.query("TRUNCATE TABLE {db}.sign_hours");
    assert!(observe() == expected, "before they are filled: {}", difference(&observe(), &expected));
    store::fill(&settings, &zone, at(now)).unwrap();
    store::keep(&settings, &zone, "edge-1", &a_report(), at(now)).unwrap();
    assert!(observe() == expected, "after they are filled: {}", difference(&observe(), &expected));
}

/// A report with every word there is.
fn a_report() -> Report {
    let groups = GroupKind::ALL.map(|kind| Group { kind, name: format!("Đường {}", kind.as_str()), signs: 3 });
    let row = |number: usize| Assessment {
        code: format!("S{number:03}").parse().unwrap(),
        state: State::ALL[number % State::ALL.len()],
        since_ms: (number > 3).then_some(FIRST_MS + number as i64),
        per_day: 0.25,
        expected: 12.5,
        one_in: (number > 4).then_some(4096.0),
        alarm_on: (number > 5).then_some(35_200 + number as Day),
        looks_copied: Suspicion::ALL.get(number).copied(),
        group: (number < groups.len()).then_some(number),
        ended_alarms: number as u8,
    };
    Report { day: 35_185, rows: (0..12).map(row).collect(), groups: groups.to_vec(), budget: BUDGET }
}

/// The rows of [`a_report`], as a store is to show them: dates by name, times in milliseconds.
fn rows_of(report: &Report) -> Vec<String> {
    let date = |day: Day| date(1970, 1, 1).checked_add(jiff::Span::new().days(day)).unwrap().to_string();
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let row = |row: &Assessment| {
        let group = row.group.map(|at| &report.groups[at]);
        [
            date(report.day),
            row.code.text().to_string(),
            row.state.as_str().to_owned(),
            or_none(row.since_ms.map(|ms| ms.to_string())),
            row.per_day.to_string(),
            row.expected.to_string(),
            or_none(row.one_in.map(|one_in| one_in.to_string())),
            or_none(row.alarm_on.map(date)),
            row.looks_copied.map_or("", Suspicion::as_str).to_owned(),
            group.map_or("", |group| group.kind.as_str()).to_owned(),
            group.map_or("", |group| &group.name).to_owned(),
            row.ended_alarms.to_string(),
            report.budget.to_string(),
        ]
        .join("|")
    };
    report.rows.iter().map(row).collect()
}

fn kept_embedded(path: &Path) -> Vec<String> {
    let database = Connection::open(path).unwrap();
    let sql = "SELECT concat_ws('|', day, code, state, coalesce(since, '-'), per_day, expected,
        coalesce(CAST(one_in AS INTEGER), '-'), coalesce(alarm_on, '-'), looks_copied, group_kind, group_name, ended_alarms, budget)
        FROM sign_health ORDER BY code";
    let mut rows = database.prepare(sql).unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn current(engine: &ClickHouse) -> Vec<String> {
    let sql = "SELECT concat_ws('|', day, code, state, ifNull(toString(toUnixTimestamp64Milli(since)), '-'), per_day, expected,
        ifNull(toString(one_in), '-'), ifNull(toString(alarm_on), '-'), looks_copied, group_kind, group_name, ended_alarms, budget)
        FROM {db}.sign_health_current ORDER BY code FORMAT TSVRaw";
    engine.query(sql).lines().map(str::to_owned).collect()
}

#[test]
fn the_embedded_store_keeps_the_last_report_with_each_of_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, zone) = (embedded(&folder.path().join("waypost.db")), zone("Asia/Ho_Chi_Minh"));
    let report = a_report();
    let last = Report { day: report.day + 1, rows: report.rows[..5].to_vec(), ..report.clone() };
    for kept in [&report, &report, &last] {
        store::keep(&settings, &zone, "edge-1", kept, at(FIRST_MS)).unwrap();
        assert_eq!(kept_embedded(&settings.path), rows_of(kept));
    }
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn of_the_reports_of_several_edges_the_latest_of_the_last_day_is_shown() {
    let (engine, zone) = (ClickHouse::start(), zone("Asia/Ho_Chi_Minh"));
    let settings = engine.settings();
    store::ClickHouse::open(&settings.clickhouse, &zone).unwrap();
    assert!(current(&engine).is_empty(), "none before the first");
    let report = a_report();
    let other = Report { rows: report.rows[..5].to_vec(), ..report.clone() };
    let next_day = Report { day: report.day + 1, ..report.clone() };
    let rows = |engine: &ClickHouse| engine.number("SELECT count() FROM {db}.sign_health");
    for (edge, kept, minutes, shown, all) in [
        ("edge-1", &report, 0, &report, 12),
        ("edge-1", &report, 0, &report, 12),
        ("edge-2", &other, 1, &other, 17),
        ("edge-3", &report, 0, &other, 29),
        ("edge-2", &next_day, 2, &next_day, 41),
        ("edge-1", &other, 3, &next_day, 46),
    ] {
        store::keep(&settings, &zone, edge, kept, at(FIRST_MS + minutes * 60_000)).unwrap();
        assert_eq!(current(&engine), rows_of(shown), "{edge}, {minutes}");
        assert!(rows(&engine) <= all, "{edge}, {minutes}: the same report once more is no row more");
    }
    engine.query("OPTIMIZE TABLE {db}.sign_health FINAL");
    assert_eq!(current(&engine), rows_of(&next_day), "merged as well");
}

/// The tables as version 1 had them.
const VERSION_1: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE batches (batch INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, edge TEXT NOT NULL, rows INTEGER NOT NULL) STRICT;
    CREATE TABLE scans (
        batch INTEGER NOT NULL REFERENCES batches (batch), seq INTEGER NOT NULL, ts INTEGER NOT NULL, code TEXT NOT NULL,
        outcome TEXT NOT NULL, channel TEXT NOT NULL, lang TEXT NOT NULL, served TEXT NOT NULL, country TEXT NOT NULL,
        region TEXT NOT NULL, device TEXT NOT NULL, os TEXT NOT NULL, app TEXT NOT NULL, agent TEXT NOT NULL,
        repeat INTEGER NOT NULL, generation INTEGER NOT NULL, PRIMARY KEY (batch, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX scans_by_ts ON scans (ts, outcome, code, agent, repeat);
    PRAGMA user_version = 1;";

/// A file as version 1 left it, with so many scans of a person in batches of a thousand, and a bot's beside
/// each of them.
fn version_1(path: &Path, scans: u64) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let database = Connection::open(path).unwrap();
    database.execute_batch(VERSION_1).unwrap();
    database
        .execute_batch(&format!(
            "BEGIN;
             INSERT INTO batches WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {batches})
             SELECT n, printf('00000000-0000-7000-8000-%012d', n), 'test', 2000 FROM n;
             INSERT INTO scans WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 1999)
             SELECT batch, n, 1795230000000 + (batch * 2000 + n) * 7919 % 5000000000, printf('S%04d', 1 + (batch * 7 + n / 2) % 20), 'found', 'qr',
                'vi', 'vi', 'VN', '', 'phone', 'android', 'zalo', iif(n % 2, 'bot', 'person'), 0, 1 FROM batches, n;
             COMMIT",
            batches = scans / 1000
        ))
        .unwrap();
}

/// What `figures` is to be by the scans: of each kind the length of its span, and its key.
const FIGURES: [(u8, i64, &str); 6] = [
    (0, HOUR_MS / 4, "''"),
    (1, HOUR_MS, "lang"),
    (2, HOUR_MS, "country"),
    (3, HOUR_MS, "app"),
    (4, DAY_MS, "code"),
    (5, 32 * DAY_MS, "code"),
];

/// Whether `sign_hours` and `figures` are what the scans say, once there is nothing left to count.
#[track_caller]
fn assert_counted(database: &Connection) {
    let left: u32 = database.query_row("SELECT count(*) FROM uncounted", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "nothing is left to count");
    let counted = "SELECT code, ts / 3600000 * 3600000, count(*), max(ts) FROM scans
        WHERE outcome = 'found' AND agent = 'person' AND repeat = 0 GROUP BY 1, 2";
    let kept = "SELECT code, hour, scans, last FROM sign_hours";
    let differ = |one: &str, other: &str| {
        let sql = format!("SELECT count(*) FROM (SELECT * FROM ({one}) EXCEPT SELECT * FROM ({other}))");
        database.query_row(&sql, [], |row| row.get::<_, u32>(0)).unwrap()
    };
    assert_eq!((differ(counted, kept), differ(kept, counted)), (0, 0), "rows that should be, and should not be");
    for (kind, span, key) in FIGURES {
        let counted = format!(
            "SELECT ts / {span}, {key}, sum(agent = 'person' AND repeat = 0), sum(agent = 'person' AND repeat = 1),
                    sum(agent <> 'person') FROM scans WHERE outcome = 'found' GROUP BY 1, 2"
        );
        let kept = format!("SELECT span, key, scans, repeats, bots FROM figures WHERE kind = {kind}");
        assert_eq!((differ(&counted, &kept), differ(&kept, &counted)), (0, 0), "figures of kind {kind}");
    }
}

#[test]
fn an_older_file_is_counted_in_steps_while_scans_go_on_whatever_ends_the_process() {
    let (places, signs, codes) = many_signs(20);
    let setup = Setup::new().registry(&places, &signs);
    version_1(&setup.path("data/waypost.db"), 200_000);
    let mut edge = setup.start();
    let mut load = Load::start(edge.address(), 2, &codes);
    let mut stopped_within = 0;
    wait_for("the file is upgraded", || edge.database().prepare("SELECT batch FROM uncounted").is_ok().then_some(()));
    let left = |database: &Connection| {
        let batch = |row: &rusqlite::Row<'_>| row.get::<_, u32>(0);
        database.query_row("SELECT batch FROM uncounted", [], batch).optional().unwrap()
    };
    for _ in 0..3 {
        let database = edge.database();
        let before = left(&database);
        wait_for("some steps", || (left(&database).is_none() || left(&database) > before).then_some(()));
        drop(database);
        load.wait();
        edge.kill();
        stopped_within += u64::from(left(&edge.database()).is_some());
        edge.start();
        load.go_to(edge.address());
    }
    load.stop();
    wait_for("everything is counted", || left(&edge.database()).is_none().then_some(()));
    edge.wait_until_stored();
    assert!(stopped_within > 0, "it was ended while it counted");
    let database = edge.database();
    assert_counted(&database);
    let all: u32 = database.query_row("SELECT sum(scans) FROM sign_hours", [], |row| row.get(0)).unwrap();
    assert!(
        (load.received()..=load.sent()).contains(&u64::from(all - 200_000)),
        "{all}: the scans of the clients are among them"
    );
}

#[test]
fn an_older_batch_that_is_completed_counts_what_was_missing() {
    for steps in [0, 1, usize::MAX] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("waypost.db");
        version_1(&path, 10_000);
        // Of the first batch, which the first step counts, and of one behind it.
        let gaps = "DELETE FROM scans WHERE batch IN (1, 8) AND seq % 3 = 0; UPDATE batches SET rows = 1333 WHERE batch IN (1, 8)";
        Connection::open(&path).unwrap().execute_batch(gaps).unwrap();
        let mut store = Sqlite::open(&path).unwrap();
        (0..steps).take_while(|_| store.count_older().unwrap()).for_each(drop);
        for batch in [1, 8] {
            let id = format!("00000000-0000-7000-8000-{batch:012}").parse().unwrap();
            let scans = (0..2000).map(|seq| (seq, scan_by_a_person("S0001", 1_795_230_000_000 + i64::from(seq))));
            store.insert(&Batch { id, edge: "test".to_owned(), scans: scans.collect() }).unwrap();
        }
        while store.count_older().unwrap() {}
        assert_counted(&Connection::open(&path).unwrap());
    }
}

#[test]
fn an_older_file_answers_as_it_is_and_while_it_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, zone) = (embedded(&folder.path().join("waypost.db")), zone("Asia/Ho_Chi_Minh"));
    assert_eq!(store::observe(&settings, &zone, at(FIRST_MS)).unwrap(), Observations::default(), "no file, no scans");
    version_1(&settings.path, 10_000);
    // In the middle of an hour that has more.
    let now = at(1_795_230_000_000 + DAY_MS + HOUR_MS / 2);
    let observe = || store::observe(&settings, &zone, now).unwrap();
    let version = || {
        let database = Connection::open(&settings.path).unwrap();
        database.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).unwrap()
    };
    let as_it_is = observe();
    assert_eq!((as_it_is.own.len(), version()), (20, 1), "it is left as it is");
    let mut store = Sqlite::open(&settings.path).unwrap();
    while store.count_older().unwrap() {
        assert_eq!(observe(), as_it_is, "while it is counted");
    }
    assert_eq!((observe(), version()), (as_it_is, 3), "when it is counted");
    assert_counted(&Connection::open(&settings.path).unwrap());
}
