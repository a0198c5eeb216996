//! `waypost usage` counts what the store has, and nothing else: by sign, place, area, day, hour,
//! language, country and application, between two times of the province's clock. The same
//! figures come as a table, as CSV and as JSON, with the definition under them; rows add up to
//! the total, and `scans + repeats + bots = all`.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Edge, Random, Setup, load::Load, scan_by_a_person, wait_for};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde_json::Value;
use uuid::Uuid;
use waypost::core::scan::{Agent, App, Client, Origin, Outcome, Scan};
use waypost::store::{Batch, Sqlite};

const PLACES: &str = "place,kind,area,name,name:en,target\n\
    one,street,Kỳ Lừa,Đường Một,One Street,https://example.vn/one\n\
    two,street,Kỳ Lừa,Đường Hai,Two Street,https://example.vn/two\n\
    three,relic,Đông Kinh,\"Chùa \"\"Ba\"\", cổ\",Three Pagoda,https://example.vn/three\n\
    four,relic,Tam Thanh,Động Bốn,Four Cave,https://example.vn/four\n";
const SIGNS: &str =
    "code,place,status\nA1,one,active\nA2,one,active\nB1,two,active\nC1,three,active\nD1,four,planned\n";
const BY: [&str; 8] = ["sign", "place", "area", "day", "hour", "lang", "country", "app"];

/// One row of the store, as far as the questions go.
#[derive(Clone)]
struct Seen {
    ts: i64,
    code: &'static str,
    outcome: &'static str,
    lang: &'static str,
    country: &'static str,
    app: &'static str,
    agent: &'static str,
    repeat: bool,
}

/// A person's scan at a time.
fn seen(time: &str, code: &'static str) -> Seen {
    let ts = time.parse::<Timestamp>().unwrap().as_millisecond();
    Seen { ts, code, outcome: "found", lang: "vi", country: "VN", app: "zalo", agent: "person", repeat: false }
}

/// A stopped edge, whose store has these rows and no others.
fn stored(rows: &[Seen]) -> Edge {
    let mut edge = Setup::new().registry(PLACES, SIGNS).start();
    edge.stop();
    let scan = |row: &Seen| {
        let plain = scan_by_a_person(row.code, row.ts);
        Scan {
            outcome: Outcome::from_word(row.outcome).unwrap(),
            client: Client {
                app: App::from_word(row.app).unwrap(),
                agent: Agent::from_word(row.agent).unwrap(),
                ..plain.client
            },
            repeat: row.repeat,
            lang: row.lang.try_into().unwrap(),
            origin: Origin { country: row.country.try_into().unwrap(), ..plain.origin },
            ..plain
        }
    };
    let scans = (0..).zip(rows.iter().map(scan)).collect();
    let batch = Batch { id: Uuid::now_v7(), edge: "test".to_owned(), scans };
    Sqlite::open(&edge.setup.path("data/waypost.db")).unwrap().insert(&batch).unwrap();
    edge
}

/// `scans`, `repeats`, `bots` and `all`.
type Figures = [u64; 4];

fn figures(of: &Value) -> Figures {
    ["scans", "repeats", "bots", "all"].map(|name| of[name].as_u64().unwrap_or_else(|| panic!("{name} in {of}")))
}

fn rows(usage: &Value, by: &str) -> Vec<(String, Figures)> {
    let rows = usage["rows"].as_array().unwrap();
    rows.iter().map(|row| (row[by].as_str().unwrap().to_owned(), figures(row))).collect()
}

fn sum<'a>(rows: impl IntoIterator<Item = &'a Figures>) -> Figures {
    rows.into_iter().fold([0; 4], |sum, row| [0, 1, 2, 3].map(|at| sum[at] + row[at]))
}

/// What every answer must satisfy, whatever was asked.
#[track_caller]
fn assert_adds_up(usage: &Value, by: &str) {
    let rows = rows(usage, by);
    for (key, [scans, repeats, bots, all]) in &rows {
        assert_eq!(scans + repeats + bots, *all, "{by} {key}");
    }
    assert_eq!(sum(rows.iter().map(|(_, figures)| figures)), figures(&usage["total"]), "{by}");
    let keys: BTreeSet<&String> = rows.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), rows.len(), "one row for each {by}");
}

fn printed(edge: &Edge, arguments: &[&str]) -> String {
    let output = edge.setup.run(&[&["usage"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(setup: &Setup, arguments: &[&str]) -> String {
    let output = setup.run(&[&["usage"], arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// Scans of the last days of a year and the first of the next, many of them right at an hour's turn.
fn generated(seed: u64, count: usize) -> Vec<Seen> {
    let mut random = Random::seeded(seed);
    let start = "2026-12-28T09:00:00Z".parse::<Timestamp>().unwrap().as_millisecond();
    let row = |_| {
        let (hours, within) = (random.index(7 * 24), random.index(3_600_000));
        let within = [0, 1, 3_599_999, within, within, within, within][random.index(7)];
        Seen {
            ts: start + i64::try_from(hours * 3_600_000 + within).unwrap(),
            code: random.of(&["A1", "A1", "A1", "A2", "B1", "C1", "Z9"]),
            outcome: random.of(&["found", "found", "found", "found", "retired", "unknown"]),
            lang: random.of(&["vi", "vi", "zh", "en", "other", ""]),
            country: random.of(&["VN", "VN", "CN", ""]),
            app: random.of(&["zalo", "wechat", "safari", "other"]),
            agent: random.of(&["person", "person", "person", "bot", "prefetch"]),
            repeat: random.index(4) == 0,
        }
    };
    (0..count).map(row).collect()
}

/// What a row is counted under. Vietnam is at +07:00 all year.
fn key(row: &Seen, by: &str) -> String {
    let local = |format| {
        let zone = TimeZone::fixed(Offset::constant(7));
        Timestamp::from_millisecond(row.ts).unwrap().to_zoned_datetime(zone).strftime(format).to_string()
    };
    let (place, area) = match row.code {
        "A1" | "A2" => ("one", "Kỳ Lừa"),
        "B1" => ("two", "Kỳ Lừa"),
        "C1" => ("three", "Đông Kinh"),
        _ => ("", ""),
    };
    match by {
        "sign" => row.code.to_owned(),
        "place" => place.to_owned(),
        "area" => area.to_owned(),
        "day" => local("%Y-%m-%d"),
        "hour" => local("%Y-%m-%dT%H:00+07:00"),
        "lang" => row.lang.to_owned(),
        "country" => row.country.to_owned(),
        _ => row.app.to_owned(),
    }
}

fn counted<'a>(rows: impl Iterator<Item = &'a Seen>, by: &str) -> BTreeMap<String, Figures> {
    let mut counts: BTreeMap<String, Figures> = BTreeMap::new();
    for row in rows.filter(|row| row.outcome == "found") {
        let figures = counts.entry(key(row, by)).or_default();
        let kind = if row.agent == "person" { usize::from(row.repeat) } else { 2 };
        figures[kind] += 1;
        figures[3] += 1;
    }
    counts
}

#[test]
fn every_question_is_answered_as_an_independent_count_answers_it() {
    let all = generated(0x5eed_2026_1231, 4000);
    let edge = stored(&all);
    let times = [
        (None, None),
        (Some("2026-12-31"), Some("2027-01-01")),
        (Some("2027-01-01"), None),
        (None, Some("2026-12-31T23:00")),
        (Some("2026-12-30T17:00:00Z"), Some("2026-12-31T18:00:00+07:00")),
    ];
    let instants = [
        (None, None),
        (Some("2026-12-30T17:00:00Z"), Some("2026-12-31T17:00:00Z")),
        (Some("2026-12-31T17:00:00Z"), None),
        (None, Some("2026-12-31T16:00:00Z")),
        (Some("2026-12-30T17:00:00Z"), Some("2026-12-31T11:00:00Z")),
    ];
    for ((from, to), (from_utc, to_utc)) in times.into_iter().zip(instants) {
        let ms =
            |time: Option<&str>, none| time.map_or(none, |time| time.parse::<Timestamp>().unwrap().as_millisecond());
        let range = ms(from_utc, i64::MIN)..ms(to_utc, i64::MAX);
        let arguments: Vec<&str> = [("--from", from), ("--to", to)]
            .into_iter()
            .filter_map(|(name, value)| Some([name, value?]))
            .flatten()
            .collect();
        for by in BY {
            let usage = edge.usage(&[&["--by", by], &arguments[..]].concat());
            assert_adds_up(&usage, by);
            let expected = counted(all.iter().filter(|row| range.contains(&row.ts)), by);
            assert!(!expected.is_empty());
            assert_eq!(rows(&usage, by).into_iter().collect::<BTreeMap<_, _>>(), expected, "{by} {arguments:?}");
            assert_eq!((usage["from"].as_str(), usage["to"].as_str()), (from_utc, to_utc));
        }
    }
}

#[test]
fn times_come_in_their_order_and_everything_else_by_scans() {
    let edge = stored(&generated(0x0bad_5eed, 2000));
    for by in BY {
        let rows = rows(&edge.usage(&["--by", by]), by);
        let in_order = if matches!(by, "day" | "hour") {
            rows.is_sorted_by_key(|(key, _)| key.clone())
        } else {
            rows.is_sorted_by(|(a, [a_scans, .., a_all]), (b, [b_scans, .., b_all])| {
                // Ties go by the text, so that two answers can be compared.
                (b_scans, b_all, a) <= (a_scans, a_all, b)
            })
        };
        assert!(in_order, "{by}: {rows:?}");
    }
}

#[test]
fn table_csv_and_json_say_the_same() {
    let edge = stored(&generated(0x7ab1e, 1000));
    for by in BY {
        let usage = edge.usage(&["--by", by]);
        let expected = rows(&usage, by);
        let named = matches!(by, "sign" | "place");

        let csv = printed(&edge, &["--by", by, "--format", "csv"]);
        let mut csv = csv::Reader::from_reader(csv.as_bytes());
        let header = if named {
            vec![by, "name", "scans", "repeats", "bots", "all"]
        } else {
            vec![by, "scans", "repeats", "bots", "all"]
        };
        assert_eq!(csv.headers().unwrap(), header);
        let cells: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
        let last_four =
            |cells: &[&str]| -> Figures { std::array::from_fn(|at| cells[cells.len() - 4 + at].parse().unwrap()) };
        let from_csv = |cells: &csv::StringRecord| (cells[0].to_owned(), last_four(&cells.iter().collect::<Vec<_>>()));
        assert_eq!(cells.iter().map(from_csv).collect::<Vec<_>>(), expected, "{by}");

        let table = printed(&edge, &["--by", by, "--format", "table"]);
        assert_eq!(table, printed(&edge, &["--by", by]), "a table is what people get");
        let (table, definition) = table.split_once("\n\n").unwrap();
        assert_eq!(definition.trim_end(), usage["definition"].as_str().unwrap());
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], [by, "scans", "repeats", "bots", "all"]);
        assert_eq!(lines.len(), expected.len() + 2, "a header, the rows and the total");
        let total = lines.last().unwrap();
        assert_eq!((total[0], last_four(total)), ("total", figures(&usage["total"])));
        for (line, (key, figures)) in lines[1..].iter().zip(&expected) {
            let label = if key.is_empty() { "(unknown)" } else { key };
            assert!(line.join(" ").starts_with(label), "{line:?} {label}");
            assert_eq!(last_four(line), *figures);
        }
        let widths: BTreeSet<usize> = table.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 1, "columns stand under each other:\n{table}");
    }
}

#[test]
fn json_has_the_shape_that_programs_were_promised() {
    let row = seen("2026-11-20T02:00:00Z", "C1");
    let rows = [row.clone(), Seen { repeat: true, ..row.clone() }, Seen { agent: "prefetch", ..row }];
    let usage = stored(&rows).usage(&["--by", "sign"]);
    let keys: BTreeSet<&str> = usage.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["definition", "from", "no_longer_kept", "rows", "to", "total"].into());
    assert_eq!(usage["no_longer_kept"], Value::Null, "the store has all of it");
    assert!(usage["definition"].as_str().unwrap().contains("not a repeat"));
    assert_eq!((&usage["from"], &usage["to"]), (&Value::Null, &Value::Null));
    let figures = serde_json::json!({ "scans": 1, "repeats": 1, "bots": 1, "all": 3 });
    assert_eq!(usage["total"], figures);
    let mut row = usage["rows"][0].clone();
    for (name, figure) in figures.as_object().unwrap() {
        assert_eq!(row.as_object_mut().unwrap().remove(name).as_ref(), Some(figure));
    }
    assert_eq!(row, serde_json::json!({ "sign": "C1", "name": "Chùa \"Ba\", cổ" }));
}

#[test]
fn a_day_ends_at_midnight_in_vietnam_and_a_year_with_it() {
    let edge = stored(&[
        seen("2026-12-31T16:59:59.999Z", "A1"), // the last millisecond of 31 December there
        seen("2026-12-31T17:00:00.000Z", "A2"), // the first of 1 January
        seen("2026-12-31T23:59:59.999Z", "A2"), // still 31 December in Greenwich
        seen("2027-01-01T16:59:59.999Z", "A2"),
        seen("2027-01-01T17:00:00.000Z", "B1"),
    ]);
    let days = [
        ("2026-12-31".to_owned(), [1, 0, 0, 1]),
        ("2027-01-01".to_owned(), [3, 0, 0, 3]),
        ("2027-01-02".to_owned(), [1, 0, 0, 1]),
    ];
    assert_eq!(rows(&edge.usage(&["--by", "day"]), "day"), days);
    let hours = rows(&edge.usage(&["--by", "hour", "--to", "2027-01-01T01:00"]), "hour");
    assert_eq!(
        hours.iter().map(|(hour, _)| hour.as_str()).collect::<Vec<_>>(),
        ["2026-12-31T23:00+07:00", "2027-01-01T00:00+07:00"]
    );
    for (from, to, code, scans) in [
        ("2026-12-31", "2027-01-01", "A1", 1),
        ("2027-01-01", "2027-01-02", "A2", 3),
        ("2027-01-02", "2027-01-03", "B1", 1),
        ("2026-12-31T17:00:00Z", "2027-01-01T00:00:00.001+07:00", "A2", 1),
    ] {
        let usage = edge.usage(&["--from", from, "--to", to]);
        assert_eq!(rows(&usage, "sign"), [(code.to_owned(), [scans, 0, 0, scans])], "{from} {to}");
    }
    assert_eq!(edge.usage(&["--from", "2027-01-01"])["from"], "2026-12-31T17:00:00Z");
}

#[test]
fn silent_lists_what_nobody_scanned() {
    let edge = stored(&[seen("2026-11-20T02:00:00Z", "A1"), seen("2026-11-25T02:00:00Z", "C1")]);
    for (by, silent) in [("sign", &["A2", "B1", "D1"][..]), ("place", &["four", "two"]), ("area", &["Tam Thanh"])] {
        let loud = rows(&edge.usage(&["--by", by]), by);
        let all = rows(&edge.usage(&["--by", by, "--silent"]), by);
        assert_eq!(all[..loud.len()], loud[..], "the same rows come first");
        let rest: Vec<&str> = all[loud.len()..].iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(rest, silent, "{by}");
        assert!(all[loud.len()..].iter().all(|(_, figures)| *figures == [0; 4]));
    }
    // Silent since some day is what a person is sent out for.
    let since = edge.usage(&["--silent", "--from", "2026-11-24"]);
    assert_eq!(rows(&since, "sign").iter().filter(|(_, [scans, ..])| *scans == 0).count(), 4);
    assert!(refused(&edge.setup, &["--silent", "--by", "day"]).contains("--silent: expected --by sign, place or area"));
}

#[test]
fn an_empty_store_and_none_at_all_are_answered_with_nothing() {
    let edge = stored(&[]);
    let setup = Setup::new().registry(PLACES, SIGNS);
    for setup in [&edge.setup, &setup] {
        for by in BY {
            let output = setup.run(&["usage", "--by", by, "--format", "json"]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let usage: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!((rows(&usage, by).len(), figures(&usage["total"])), (0, [0; 4]));
        }
        let silent = setup.run(&["usage", "--silent", "--format", "csv"]);
        assert_eq!(String::from_utf8(silent.stdout).unwrap().lines().count(), 1 + 5);
    }
    assert!(!setup.path("data").exists(), "a question makes no store");
}

#[test]
fn a_question_that_makes_no_sense_is_refused_with_a_reason() {
    let setup = Setup::new();
    assert!(
        refused(&setup, &["--from", "2027-01-02", "--to", "2027-01-01"])
            .contains("--to: expected a time after --from (")
    );
    assert!(
        refused(&setup, &["--from", "2027-01-01", "--to", "2027-01-01"])
            .contains("--to: expected a time after --from (")
    );
    for time in ["yesterday", "2027-02-30", "2027-01-01T25:00", "1735689600"] {
        assert!(!refused(&setup, &["--from", time]).trim().is_empty(), "{time}");
    }
}

#[test]
fn a_scan_keeps_its_code_and_gets_the_names_of_today() {
    let edge = stored(&[seen("2026-11-20T02:00:00Z", "A1"), seen("2026-11-20T02:00:00Z", "Z9")]);
    let moved = PLACES.replace("Đường Một", "Phố Mới").replace("one,street,Kỳ Lừa", "one,street,Lương Văn Tri");
    std::fs::write(edge.setup.path("config/places.csv"), moved).unwrap();
    let signs = edge.usage(&["--by", "sign"]);
    let named: BTreeMap<&str, &str> = signs["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["sign"].as_str().unwrap(), row["name"].as_str().unwrap()))
        .collect();
    assert_eq!(named, [("A1", "Phố Mới"), ("Z9", "")].into());
    let areas: Vec<String> = rows(&edge.usage(&["--by", "area"]), "area").into_iter().map(|(area, _)| area).collect();
    assert_eq!(areas, ["", "Lương Văn Tri"], "what the registry has no more is still counted");
}

#[test]
fn it_can_be_asked_while_the_edge_is_running() {
    let segment = "\"4MiB\"";
    let edge = Setup::new().registry(PLACES, SIGNS).set("journal", "segment", segment).start();
    let codes = ["A1", "B1", "C1"].map(str::to_owned);
    let mut load = Load::start(edge.address(), 2, &codes);
    let (mut answers, mut last) = (0, 0);
    wait_for("usage grows while it is asked", || {
        let usage = edge.usage(&["--by", "app"]);
        let sent = load.sent();
        assert_adds_up(&usage, "app");
        let [.., all] = figures(&usage["total"]);
        assert!(last <= all && all <= sent, "{last} {all} {sent}");
        answers += u32::from(all > last);
        last = all;
        (answers == 5).then_some(())
    });
    load.stop();
    edge.wait_until_stored();
    assert_eq!(figures(&edge.usage(&["--by", "place"])["total"])[3], load.received());
}
