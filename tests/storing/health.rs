//! Which signs are silent is told by the command, the metrics and `/status` alike, and by the store; what can't
//! be judged is said.

use std::collections::BTreeMap;

use crate::support::{Edge, Setup, scan_by_a_person, wait_for};
use jiff::Timestamp;
use serde_json::Value;
use waypost::core::scan::{Outcome, Scan};
use waypost::store::{Batch, Sqlite};

const DAY_MS: i64 = 86_400_000;
/// When the history ends: 10:00 in Lạng Sơn.
const NOW: &str = "2026-11-26T10:00:00+07:00";
/// How many signs are scanned every day, so that there is an everybody.
const BUSY: usize = 10;

const PLACES: &str = "place,kind,area,name,target\n\
    busy,street,Kỳ Lừa,Đường Một,https://example.vn/one\n\
    gone,street,Đông Kinh,\"Chùa \"\"Ba\"\", cổ\",https://example.vn/three\n\
    lane,street,Chi Lăng,Ngõ Bốn,https://example.vn/four\n";

fn signs() -> String {
    let busy: String = (0..BUSY).map(|n| format!("BUSY{n:04},busy,active,21.85{n},106.75,2022-01-01\n")).collect();
    format!(
        "code,place,status,lat,lon,mounted\n{busy}\
         SAD00001,gone,active,21.9,106.7,2022-01-01\n\
         SEDATE11,busy,active,21.7,106.7,2022-01-01\n\
         RARE0001,lane,active,,,2022-01-01\n\
         NEVER001,lane,active,,,2022-01-01\n\
         NEW00001,lane,active,,,2026-11-20\n\
         PREPARE1,lane,planned,,,\n\
         PREPARE2,lane,planned,,,\n\
         RET00001,lane,retired,,,2022-01-01\n"
    )
}

/// Two hundred days of scans up to a time.
fn history(now: Timestamp) -> Vec<Scan> {
    let mut scans = Vec::new();
    let mut scan = |code: &str, days: i64, hours: i64| {
        let ts = now.as_millisecond() - days * DAY_MS - hours * 3_600_000;
        scans.push(scan_by_a_person(code, ts));
    };
    for day in 0..200 {
        for hour in 0..6 {
            (0..BUSY).for_each(|n| scan(&format!("BUSY{n:04}"), day, hour));
            if day >= 12 {
                scan("SAD00001", day, hour);
            }
        }
        if day >= 6 {
            scan("SEDATE11", day, 1);
            scan("SEDATE11", day, 5);
        }
    }
    scan("RARE0001", 50, 0);
    scan("RARE0001", 130, 0);
    scan("PREPARE1", 2, 0);
    scan("RET00001", 3, 0);
    scans.last_mut().unwrap().outcome = Outcome::Retired;
    scans
}

fn setup() -> Setup {
    Setup::new().registry(PLACES, &signs())
}

/// A setup whose embedded store has the history, and no edge.
fn stored(now: Timestamp) -> Setup {
    let setup = setup();
    let mut store = Sqlite::open(&setup.path("data/waypost.db")).unwrap();
    let scans = (0..).zip(history(now)).collect();
    store.insert(&Batch { id: uuid::Uuid::now_v7(), edge: "test".to_owned(), scans }).unwrap();
    setup
}

fn printed(setup: &Setup, arguments: &[&str]) -> String {
    let output = setup.run(&[&["health"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(setup: &Setup, arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(setup, &[&["--format", "json"], arguments].concat())).unwrap()
}

fn states(answer: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    answer["rows"].as_array().unwrap().iter().map(|row| (text(&row["sign"]), text(&row["state"]))).collect()
}

fn row<'a>(answer: &'a Value, sign: &str) -> &'a Value {
    answer["rows"].as_array().unwrap().iter().find(|row| row["sign"] == sign).unwrap()
}

#[test]
fn each_sign_has_its_state_and_those_that_want_a_look_come_first() {
    let setup = stored(NOW.parse().unwrap());
    let answer = json(&setup, &["--at", NOW]);
    let states = states(&answer);
    for (sign, state) in [
        ("SAD00001", "silent"),
        ("SEDATE11", "quiet"),
        ("RARE0001", "not_enough_data"),
        ("NEVER001", "never_scanned"),
        ("NEW00001", "new"),
        ("BUSY0000", "normal"),
    ] {
        assert_eq!(states[sign], state, "{sign}");
    }
    assert!(!states.contains_key("PREPARE2"), "it is neither in use nor scanned");
    let order: Vec<&str> = answer["rows"].as_array().unwrap().iter().map(|row| row["sign"].as_str().unwrap()).collect();
    assert_eq!(order[..3], ["SAD00001", "SEDATE11", "NEVER001"]);
    assert_eq!(answer["day"], "2026-11-26");
    assert_eq!((&answer["budget"], &answer["ended_alarms"]["alarms"]), (&0.005.into(), &0.into()));
}

#[test]
fn a_silence_is_told_with_its_chance_and_its_alarm() {
    let setup = stored(NOW.parse().unwrap());
    let answer = json(&setup, &["--at", NOW]);
    let silent = row(&answer, "SAD00001");
    assert_eq!((&silent["since"], &silent["name"]), (&"2026-11-14T10:00:00+07:00".into(), &"Chùa \"Ba\", cổ".into()));
    assert!((60.0..80.0).contains(&silent["expected"].as_f64().unwrap()), "{silent}");
    assert!(silent["one_in"].as_f64().unwrap() > 10_000.0, "{silent}");
    let alarm = silent["alarm_on"].as_str().unwrap();
    assert!(("2026-11-18".."2026-11-22").contains(&alarm), "{silent}");
    let quiet = row(&answer, "SEDATE11")["alarm_on"].as_str().unwrap();
    assert!(("2026-11-27".."2026-12-10").contains(&quiet), "{quiet}");
    for sign in ["RARE0001", "NEVER001", "NEW00001"] {
        assert_eq!((&row(&answer, sign)["one_in"], &row(&answer, sign)["alarm_on"]), (&Value::Null, &Value::Null));
    }
    assert_eq!(
        (&row(&answer, "NEVER001")["since"], &row(&answer, "RARE0001")["since"].is_string()),
        (&Value::Null, &true)
    );
    // It came on the day that is told, and not on the day before.
    let evening = |day: &str| json(&setup, &["--at", &format!("{day}T23:59"), "--state", "silent"]);
    assert_eq!(evening(alarm)["rows"].as_array().unwrap().len(), 1);
    let before: jiff::civil::Date = alarm.parse().unwrap();
    assert_eq!(evening(&before.yesterday().unwrap().to_string())["rows"], Value::Array(Vec::new()));
}

#[test]
fn a_code_that_hangs_nowhere_and_is_scanned_looks_copied() {
    let setup = stored(NOW.parse().unwrap());
    let answer = json(&setup, &["--at", NOW]);
    assert_eq!(row(&answer, "PREPARE1")["looks_copied"], "planned");
    assert_eq!(row(&answer, "RET00001")["looks_copied"], "retired");
    assert_eq!(row(&answer, "BUSY0000")["looks_copied"], Value::Null);
    // They are on no list of signs to inspect.
    let inspected = states(&json(&setup, &["--at", NOW, "--state", "new,not_enough_data"]));
    assert_eq!(inspected.into_keys().collect::<Vec<_>>(), ["NEW00001", "RARE0001"]);
}

#[test]
fn lists_are_of_the_states_that_are_asked_for_and_survive_a_spreadsheet() {
    let setup = stored(NOW.parse().unwrap());
    let csv = printed(&setup, &["--at", NOW, "--state", "silent,never_scanned", "--format", "csv"]);
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(
        rows.headers().unwrap().iter().collect::<Vec<_>>(),
        ["sign", "name", "area", "state", "since", "expected", "one_in", "alarm_on", "looks_copied", "group"]
    );
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    let cells = |at: usize| rows.iter().map(|row| row[at].to_owned()).collect::<Vec<_>>();
    assert_eq!(
        (cells(0), cells(3)),
        (vec!["SAD0-0001".to_owned(), "NEVE-R001".to_owned()], vec!["silent".to_owned(), "never_scanned".to_owned()])
    );
    assert_eq!(&rows[0][1], "Chùa \"Ba\", cổ");
    let table = printed(&setup, &["--at", NOW, "--state", "silent"]);
    assert!(table.contains("SAD00001  Chùa \"Ba\", cổ") && !table.contains("BUSY0000"), "{table}");
    assert!(table.contains("The aim is at most 5 false alarms of 1,000 signs a month"), "{table}");
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let setup = stored(NOW.parse().unwrap());
    for (arguments, expected) in [
        (["--state", "dead"], "[possible values: silent, quiet, normal, not_enough_data, never_scanned, new]"),
        (["--at", "yesterday"], "--at: expected"),
    ] {
        let output = setup.run(&[&["health"], &arguments[..]].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(expected), "{error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn without_a_store_every_sign_is_unknown_and_none_is_normal() {
    let setup = setup();
    let states = states(&json(&setup, &[]));
    assert_eq!(states.len(), BUSY + 5);
    for (sign, state) in states {
        assert!(["never_scanned", "new"].contains(&state.as_str()), "{sign}: {state}");
    }
    assert!(!setup.path("data").exists(), "a question makes no store");
}

/// The first computation comes ten seconds after the start.
#[test]
fn a_running_edge_shows_the_states_and_keeps_them_in_the_store() {
    let setup = stored(Timestamp::now());
    let mut edge = setup.start();
    wait_for("the signs are judged", || {
        (edge.metrics().get("waypost_signs_health_timestamp_seconds") > 0.0).then_some(())
    });
    // As of then, so that midnight may come between.
    let computed = edge.status()["health"]["computed"].as_str().unwrap().to_owned();
    let states = states(&json(&edge.setup, &["--at", &computed]));
    let metrics = edge.metrics();
    let not_in_use = ["PREPARE1", "RET00001"];
    for state in ["silent", "quiet", "normal", "not_enough_data", "never_scanned", "new"] {
        let listed = states.iter().filter(|(sign, of)| *of == state && !not_in_use.contains(&sign.as_str())).count();
        assert_eq!(metrics.total_of(&format!("waypost_signs_health{{state=\"{state}\"}}")), listed as u64, "{state}");
        assert_eq!(edge.status()["health"]["states"][state], listed, "{state}");
    }
    assert_eq!(metrics.total_of("waypost_signs_look_copied{reason=\"retired\"}"), 1);
    assert_eq!(metrics.total("waypost_signs_health_failures_total"), 0);
    let kept: BTreeMap<String, String> = kept(&edge);
    assert_eq!(kept, states, "the store has what the command says");
    edge.stop();
}

fn kept(edge: &Edge) -> BTreeMap<String, String> {
    let database = edge.database();
    let mut rows = database.prepare("SELECT code, state FROM sign_health").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}
