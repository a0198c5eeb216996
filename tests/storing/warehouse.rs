//! ClickHouse's tables are made once, answer what the embedded store answers, and read no
//! more than a question needs.

use std::process::Command;

use crate::support::clickhouse::ClickHouse;
use crate::support::{BINARY, Random, Setup, wait_for};
use serde_json::Value;
use waypost::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Scan};
use waypost::store::{Batch, Sqlite};

const DAY_MS: i64 = 86_400_000;
/// 1 December 2066 in Lạng Sơn: so far off that the tables keep it.
const FIRST_MS: i64 = 3_058_362_000_000;

fn registry(setup: Setup) -> Setup {
    let signs: String =
        (0..40).map(|n| format!("S{n:03},p{},active\n", n % 8)).fold(String::new(), |all, row| all + &row);
    let places = (0..8)
        .map(|n| format!("p{n},area {},Place {n},https://example.vn/{n}\n", n % 3))
        .fold(String::new(), |all, row| all + &row);
    setup.registry(&format!("place,area,name,target\n{places}"), &format!("code,place,status\n{signs}"))
}

/// Scans of 40 days around the turn of the year, as a seed makes them.
fn batches(count: u64) -> Vec<Batch> {
    let mut random = Random::new();
    let mut batches = Vec::new();
    for at in (0..count).step_by(1000) {
        let mut scans = Vec::new();
        for seq in 0..1000.min(count - at) {
            let outcome =
                random.of(&[Outcome::Found, Outcome::Found, Outcome::Found, Outcome::Retired, Outcome::Unknown]);
            let scan = Scan {
                ts_ms: FIRST_MS + random.below(40 * DAY_MS as u64) as i64,
                generation: 1,
                code: format!("S{:03}", random.below(45)).parse().unwrap(),
                outcome,
                channel: random.of(Channel::ALL),
                client: Client {
                    device: random.of(Device::ALL),
                    os: random.of(Os::ALL),
                    app: random.of(App::ALL),
                    agent: random.of(Agent::ALL),
                },
                repeat: random.below(4) == 0,
                lang: random.of(&["vi", "en", "zh", "other", ""]).try_into().unwrap(),
                served: random.of(&["vi", "en"]).try_into().unwrap(),
                origin: Origin {
                    country: random.of(&["VN", "CN", ""]).try_into().unwrap(),
                    region: random.of(&["Lạng Sơn", "", "54"]).try_into().unwrap(),
                },
            };
            scans.push((seq as u32, scan));
        }
        batches.push(Batch { id: uuid::Uuid::now_v7(), edge: "test".to_owned(), scans });
    }
    batches
}

/// `waypost usage` of two configurations in one folder.
fn usage(setup: &Setup, config: &str, arguments: &[&str]) -> Value {
    let config = setup.path(config);
    let output = Command::new(BINARY)
        .args(["usage", "--format", "json", "--config"])
        .arg(config)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn both_stores_answer_every_question_alike_and_the_backfill_carries_each_scan_once() {
    let engine = ClickHouse::start();
    let setup = registry(Setup::new().clickhouse(&engine, engine.address).set("store", "timeout", "\"60s\""));
    let mut sqlite = Sqlite::open(&setup.path("data/waypost.db")).unwrap();
    for batch in batches(100_000) {
        sqlite.insert(&batch).unwrap();
    }
    // Stopped in the middle and run again; and once more, with nothing left to do.
    engine.store(engine.address);
    let mut first =
        Command::new(BINARY).arg("backfill").arg("--config").arg(write(&setup, "clickhouse.toml")).spawn().unwrap();
    wait_for("some are carried over", || (engine.number("SELECT count() FROM {db}.scans") > 5000).then_some(()));
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(engine.number("SELECT count() FROM {db}.scans") < 100_000, "it was stopped in the middle");
    for left in ["scans carried over; 100000 in all", "0 scans carried over; 100000 in all"] {
        let output = Command::new(BINARY)
            .arg("backfill")
            .arg("--config")
            .arg(setup.path("config/clickhouse.toml"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(left), "{said} {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(engine.number("SELECT count() FROM {db}.scans"), 100_000);
    assert_eq!(engine.number("SELECT uniqExact(batch, seq) FROM {db}.scans"), 100_000);
    assert_eq!(engine.number("SELECT sum(scans) FROM {db}.scans_hourly"), 100_000);

    let setup = setup.set("store", "kind", "\"sqlite\"");
    write(&setup, "sqlite.toml");
    // Whole hours, and not; the turn of the year; everything.
    let periods: [&[&str]; 4] = [
        &[],
        &["--from", "2066-12-31", "--to", "2067-01-02"],
        &["--from", "2066-12-24T18:00", "--to", "2066-12-25T07:00"],
        &["--from", "2066-12-31T23:17:31.5", "--to", "2067-01-01T00:01"],
    ];
    for by in ["sign", "place", "area", "day", "hour", "lang", "country", "app"] {
        for period in periods {
            let arguments = [&["--by", by], period].concat();
            let (embedded, warehouse) =
                (usage(&setup, "config/sqlite.toml", &arguments), usage(&setup, "config/clickhouse.toml", &arguments));
            assert!(embedded["total"]["all"].as_u64().unwrap() > 0, "{arguments:?}");
            assert_eq!(embedded, warehouse, "{arguments:?}");
        }
    }
}

fn write(setup: &Setup, name: &str) -> std::path::PathBuf {
    let path = setup.path("config").join(name);
    std::fs::write(&path, setup.toml()).unwrap();
    path
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn the_schema_applies_twice_without_change() {
    let engine = ClickHouse::start();
    let setup = registry(Setup::new().clickhouse(&engine, engine.address));
    let everything = "SELECT name, create_table_query FROM system.tables WHERE database = '{db}' ORDER BY name";
    let apply = || {
        let output = setup.run(&["schema", "--apply"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        engine.query(everything)
    };
    let first = apply();
    assert!(first.contains("scans_hourly_mv") && first.contains("signs_current") && first.contains("headline"));
    assert_eq!(first, apply());
}

/// Sends a statement and a block; the answer as it comes.
fn send(engine: &ClickHouse, sql: &str, block: &[u8]) -> Vec<u8> {
    let request =
        ureq::post(format!("http://{}/", engine.address)).query("query", sql.replace("{db}", &engine.database));
    request.send(block).unwrap().body_mut().read_to_vec().unwrap()
}

/// The columns of `signs` that a release before the last has not: it makes the table without them, and sends none.
const NEW_IN_SIGNS: [&str; 5] = ["namesake", "named", "told", "targeted", "compiled"];

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn an_older_table_becomes_what_a_new_one_is_and_its_edges_go_on() {
    let engine = ClickHouse::start();
    let setup = registry(Setup::new().clickhouse(&engine, engine.address));
    let apply = || {
        let output = setup.run(&["schema", "--apply"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let columns =
        "SELECT position, name, type FROM system.columns WHERE database = '{db}' AND table = 'signs' ORDER BY position";
    apply();
    let new = engine.query(columns);
    for column in NEW_IN_SIGNS {
        engine.query(&format!("ALTER TABLE {{db}}.signs DROP COLUMN {column}"));
    }
    assert_eq!(engine.query(columns).lines().count(), 16, "as an earlier release makes it");
    engine.query("INSERT INTO {db}.signs (edge, generation, published, code, target) VALUES ('old', 1, now64(3), 'A1', 'https://example.vn/')");
    // An edge sends blocks in this format, which has the names of the columns that are in it.
    let sent = send(&engine, "SELECT * REPLACE('A2' AS code) FROM {db}.signs FORMAT Native", &[]);
    apply();
    assert_eq!(engine.query(columns), new);
    send(&engine, "INSERT INTO {db}.signs FORMAT Native", &sent);
    let rows = "SELECT code, target, namesake, named, told, targeted, compiled FROM {db}.signs_current ORDER BY code";
    let empty = "https://example.vn/\t\t[]\t[]\t[]\t\\N";
    assert_eq!(engine.query(rows), format!("A1\t{empty}\nA2\t{empty}"));
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn an_edge_that_is_newer_than_the_table_stores_scans_and_the_registry_once_it_can() {
    let engine = ClickHouse::start();
    let setup = registry(Setup::new().clickhouse(&engine, engine.address).set("store", "apply_schema", "false"));
    let apply = |setup: &Setup| assert!(setup.run(&["schema", "--apply"]).status.success());
    apply(&setup);
    engine.query("ALTER TABLE {db}.registry_signs DROP COLUMN told");
    let edge = setup.start();
    assert_eq!(edge.scan("/S001").status, 302);
    edge.wait_until_stored();
    assert_eq!(engine.number("SELECT count() FROM {db}.scans"), 1);
    wait_for("the registry is refused", || edge.log().contains("the registry is not stored").then_some(()));
    assert_eq!(engine.number("SELECT count() FROM {db}.registry_signs"), 0);

    engine.query("DROP TABLE {db}.registry_signs");
    apply(&edge.setup);
    wait_for("the registry is stored", || {
        (engine.number("SELECT count() FROM {db}.signs_current") == 40).then_some(())
    });
    assert_eq!(engine.query("SELECT DISTINCT named, told, targeted FROM {db}.signs_current"), "['vi']\t[]\t['vi']");
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn the_schema_is_shown_for_one_node_and_for_a_cluster() {
    let one = Setup::new();
    // Without its comments.
    let text = |setup: &Setup| {
        let shown = String::from_utf8(setup.run(&["schema"]).stdout).unwrap();
        shown.lines().map(|line| line.split("--").next().unwrap()).collect::<Vec<_>>().join("\n")
    };
    let shown = text(&one);
    assert!(
        shown.contains("CREATE TABLE IF NOT EXISTS waypost.scans (") && shown.contains("ENGINE = MergeTree"),
        "{shown}"
    );
    assert!(!shown.contains("ON CLUSTER") && !shown.contains("Distributed("));
    let cluster = text(&one.set("store", "cluster", "\"north\""));
    assert!(cluster.contains("waypost.scans ON CLUSTER north ("), "{cluster}");
    assert!(cluster.contains("ReplicatedMergeTree('/clickhouse/tables/{shard}/waypost/{table}', '{replica}')"));
    assert!(cluster.contains("ENGINE = Distributed(north, waypost, scans)"));
    let left: Vec<&str> =
        cluster.lines().filter(|line| line.contains("{on_cluster}") || line.contains("{database}")).collect();
    assert!(left.is_empty(), "{left:?}");
    // The engine's own parser has no objection to the cluster's form.
    let engine = ClickHouse::start();
    for statement in cluster.split(";\n") {
        if !statement.trim().is_empty() {
            engine.query(&format!("SELECT formatQuery($sql${}$sql$) FORMAT Null", statement.trim()));
        }
    }
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn the_questions_of_usage_use_the_tables_keys() {
    let engine = ClickHouse::start();
    let mut store = engine.store(engine.address);
    for batch in batches(20_000) {
        store.insert(&batch).unwrap();
    }
    let plan = |table: &str, condition: &str| {
        engine.query(&format!("EXPLAIN indexes = 1 SELECT code, count() FROM {{db}}.{table} WHERE outcome = 'found' AND {condition} GROUP BY code"))
    };
    // A day of the forty, as `usage --from --to` asks.
    let day = format!(
        "hour >= fromUnixTimestamp64Milli({}) AND hour < fromUnixTimestamp64Milli({})",
        FIRST_MS + 10 * DAY_MS,
        FIRST_MS + 11 * DAY_MS
    );
    let finer = format!(
        "ts >= fromUnixTimestamp64Milli({}) AND ts < fromUnixTimestamp64Milli({})",
        FIRST_MS + 10 * DAY_MS + 1,
        FIRST_MS + 11 * DAY_MS
    );
    for (table, condition) in [
        ("scans_hourly", day.clone()),
        ("scans", finer),
        ("scans", "code = 'S001'".to_owned()),
        ("scans_hourly", format!("code = 'S001' AND {day}")),
    ] {
        let plan = plan(table, &condition);
        let key = plan.split("PrimaryKey").nth(1).unwrap_or_else(|| panic!("{table}, {condition}: no key\n{plan}"));
        assert!(key.contains("Keys:") && !key.contains("Condition: true"), "{table}, {condition}:\n{plan}");
        let granules = key.split("Granules: ").nth(1).unwrap().split_whitespace().next().unwrap();
        let (read, all) = granules.split_once('/').unwrap();
        let (read, all): (u32, u32) = (read.parse().unwrap(), all.parse().unwrap());
        assert!(read <= all, "{table}, {condition}:\n{plan}");
    }
    // The month's partition is all that a day reads.
    let plan = plan("scans_hourly", &day);
    assert!(plan.contains("Partition") && plan.contains("toYYYYMM(hour)"), "{plan}");
}

/// The headline sums by what a projection groups by: from the scans, and as a dashboard asks for them.
const SUMS: [(&str, &str, &str); 2] = [
    (
        "by_hour",
        "toStartOfHour(ts, 'Asia/Ho_Chi_Minh') AS hour, channel, lang, served, country, app",
        "hour, channel, lang, served, country, app",
    ),
    ("by_sign", "toStartOfDay(ts, 'Asia/Ho_Chi_Minh') AS day, code, lang, served", "day, code, lang, served"),
];
const HEADLINE: &str = "outcome = 'found' AND agent = 'person' AND NOT repeat";

/// Every sum, each from its projection, is that of the scans.
#[track_caller]
fn projections_agree(engine: &ClickHouse) {
    for (projection, scanned, asked) in SUMS {
        let ask = |what: &str, from: &str| {
            format!("SELECT {what} FROM {{db}}.{from} WHERE {HEADLINE} GROUP BY ALL ORDER BY ALL")
        };
        let counted = engine.query(&ask(&format!("{scanned}, count()"), "scans"));
        let summed = ask(&format!("{asked}, sum(scans)"), "hourly");
        let summed = engine.query(&format!("{summed} SETTINGS force_optimize_projection_name = '{projection}'"));
        assert!(counted.lines().count() > 100);
        assert!(counted == summed, "{projection}");
    }
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn projections_say_what_the_scans_say_after_retries_and_merges() {
    let engine = ClickHouse::start();
    let mut store = engine.store(engine.address);
    for batch in batches(20_000) {
        store.insert(&batch).unwrap();
        store.insert(&batch).unwrap();
    }
    projections_agree(&engine);
    engine.query("OPTIMIZE TABLE {db}.scans_hourly FINAL");
    projections_agree(&engine);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn what_was_inserted_before_the_projections_gets_them_once() {
    let engine = ClickHouse::start();
    let mut store = engine.store(engine.address);
    for projection in ["by_hour", "by_sign"] {
        engine.query(&format!(
            "ALTER TABLE {{db}}.scans_hourly DROP PROJECTION {projection} SETTINGS mutations_sync = 2"
        ));
    }
    for batch in batches(5_000) {
        store.insert(&batch).unwrap();
    }
    let parts = "SELECT count() FROM system.parts WHERE database = '{db}' AND table = 'scans_hourly' AND active";
    let lacking = format!("{parts} AND length(projections) < 2");
    assert_eq!(engine.number(&lacking), engine.number(parts), "as an older version made them");
    engine.store(engine.address);
    wait_for("all parts have both", || (engine.number(&lacking) == 0).then_some(()));
    projections_agree(&engine);
    let mutations = "SELECT count() FROM system.mutations WHERE database = '{db}' AND command LIKE '%MATERIALIZE%'";
    engine.store(engine.address);
    assert_eq!(engine.number(mutations), 2);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn any_range_is_its_whole_days_and_the_hours_of_its_first_and_last_day() {
    let engine = ClickHouse::start();
    let mut store = engine.store(engine.address);
    for batch in batches(20_000) {
        store.insert(&batch).unwrap();
    }
    engine.query("INSERT INTO {db}.signs (edge, generation, published, code) SELECT 'test', 1, now64(3), concat('S00', toString(number)) FROM numbers(10)");
    let chosen = "code GLOBAL IN (SELECT code FROM {db}.signs_current)";
    // Hours since the first midnight: within a day, across one, whole days, and all.
    for (from, until) in [(1, 20), (20, 30), (24, 72), (30, 24 * 20 + 7), (0, 24 * 40)] {
        let at = |hours: i64| format!("toDateTime({})", FIRST_MS / 1000 + hours * 3600);
        let in_range = format!("hour >= {} AND hour < {}", at(from), at(until));
        let whole = format!(
            "day >= toStartOfDay({} - 1, 'Asia/Ho_Chi_Minh') + INTERVAL 1 DAY AND day < toStartOfDay({}, 'Asia/Ho_Chi_Minh')",
            at(from),
            at(until)
        );
        let sums = |range: &str| {
            format!(
                "SELECT code, sum(scans) AS scans, max(hour) AS last FROM (SELECT * FROM {{db}}.hourly WHERE {HEADLINE}) WHERE {range} AND {chosen} GROUP BY code"
            )
        };
        let parts = format!("{} UNION ALL {}", sums(&whole), sums(&format!("{in_range} AND NOT ({whole})")));
        let by_parts = engine.query(&format!(
            "SELECT code, sum(part.scans), max(part.last) FROM ({parts}) AS part GROUP BY code ORDER BY code"
        ));
        let by_hours =
            engine.query(&format!("{} ORDER BY code SETTINGS optimize_use_projections = 0", sums(&in_range)));
        assert!(!by_hours.is_empty() && by_parts == by_hours, "{from} to {until}: {by_parts}\n{by_hours}");
        // For a few days it may be less to read the hours.
        if until - from > 24 * 7 {
            let plan = engine.query(&format!("EXPLAIN {}", sums(&whole)));
            assert!(plan.contains("ReadFromMergeTree (by_sign)"), "{plan}");
        }
    }
}
