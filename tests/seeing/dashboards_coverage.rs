//! How far the programme is, by the dashboard, is what `waypost coverage` says of the same tables: the sample's.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::grafana::{Answer, Choice, Dashboard, Selection};
use crate::support::Setup;
use crate::support::clickhouse::ClickHouse;
use serde_json::Value;

/// The sample with a text that is old, and one with neither a target nor a text.
fn setup(engine: &ClickHouse) -> Setup {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let table = |name: &str| fs::read_to_string(config.join(name)).unwrap();
    let mut rows =
        csv::Reader::from_reader(table("places.csv").as_bytes()).into_records().map(Result::unwrap).collect::<Vec<_>>();
    let header = csv::Reader::from_reader(table("places.csv").as_bytes()).headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let set = |row: &csv::StringRecord, cells: &[(usize, &str)]| -> csv::StringRecord {
        let cell = |(column, old)| cells.iter().find(|(at, _)| *at == column).map_or(old, |(_, new)| *new);
        row.iter().enumerate().map(cell).collect()
    };
    rows[0] = set(&rows[0], &[(at("compiled"), "2019-01-02")]);
    let none = ["target", "target:en", "target:zh", "about", "about:en", "about:zh"].map(|column| (at(column), ""));
    // The sign of the last place is retired with it.
    let last = rows.len() - 1;
    let gone = rows[last][at("place")].to_owned();
    rows[last] = set(&rows[last], &none);
    let mut places = csv::Writer::from_writer(Vec::new());
    places.write_record(&header).unwrap();
    for row in &rows {
        places.write_record(row).unwrap();
    }
    let places = String::from_utf8(places.into_inner().unwrap()).unwrap();
    let signs = table("signs.csv").replace(&format!(",{gone},active,"), &format!(",{gone},retired,"));
    Setup::new()
        .clickhouse(engine, engine.address)
        .set("registry", "allowed_hosts", "[\"langson.gov.vn\", \"*.langson.gov.vn\"]")
        .registry(&places, &signs)
}

/// The one row of a panel with figures.
fn figures(answer: &Answer, names: &[&str]) -> Vec<u64> {
    names.iter().map(|name| answer.column(name)[0].as_u64().unwrap_or_else(|| panic!("{name} in {answer:?}"))).collect()
}

fn counts(row: &Value, names: &[&str]) -> Vec<u64> {
    names.iter().map(|name| row[name].as_u64().unwrap_or_else(|| panic!("{name} in {row}"))).collect()
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn the_dashboard_counts_what_the_command_counts() {
    let engine = ClickHouse::start();
    let edge = setup(&engine).start();
    let coverage = |by: &str| -> Value {
        let output = edge.setup.run(&["coverage", "--by", by, "--format", "json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    edge.wait_until_registry_stored();
    let dashboard = Dashboard::load("usage");
    let now = jiff::Timestamp::now().as_millisecond();
    let opened = || Selection::opened(&dashboard, now - 86_400_000, now);
    let ask = |title: &str| opened().ask_panel(&engine, &dashboard, title);
    let (by_area, by_kind) = (coverage("area"), coverage("kind"));
    let total = &by_area["total"];
    assert_eq!(counts(total, &["places", "older", "neither", "own_page"]), [65, 1, 1, 2]);

    let answers = ["target", "own_page", "neither"];
    let shown = figures(&ask("Địa điểm"), &["with_target", "own_page", "neither", "older"]);
    assert_eq!(shown, counts(total, &[&answers[..], &["older"]].concat()));
    let shown = figures(&ask("Biển QR"), &["planned", "mounted", "retired", "with_position", "with_date"]);
    assert_eq!(shown, counts(total, &["planned", "mounted", "retired", "position", "mounting_date"]));

    let languages = ask("Địa điểm theo ngôn ngữ");
    for (column, what) in [("names", "named"), ("texts", "told"), ("targets", "targeted")] {
        let counted = total["languages"].as_object().unwrap().iter();
        let counted: BTreeMap<String, u64> =
            counted.map(|(tag, figures)| (tag.clone(), figures[what].as_u64().unwrap())).collect();
        assert_eq!(languages.sums(&["tag"], column), counted, "{what}");
    }

    let areas = ask("Địa điểm theo khu vực");
    for (column, name) in
        [("places", "places"), ("with_target", "target"), ("own_page", "own_page"), ("neither", "neither")]
    {
        let rows = by_area["rows"].as_array().unwrap().iter();
        let counted: BTreeMap<String, u64> =
            rows.map(|row| (row["area"].as_str().unwrap().to_owned(), row[name].as_u64().unwrap())).collect();
        assert_eq!(areas.sums(&["area_name"], column), counted, "{name}");
    }

    let streets = by_kind["rows"].as_array().unwrap().iter().find(|row| row["kind"] == "street").unwrap();
    let selection = opened().choose("kind", Choice::several(&["street"]));
    let shown = selection.ask_panel(&engine, &dashboard, "Địa điểm");
    assert_eq!(figures(&shown, &["with_target", "own_page", "neither"]), counts(streets, &answers), "filtered");

    // An edge of an earlier release publishes the same places after that.
    engine.query(
        "INSERT INTO {db}.signs (edge, generation, published, code, status, place, area, name, target)
         SELECT 'old', 1, now64(3) + INTERVAL 1 MINUTE, code, status, place, area, name, target FROM {db}.signs_current",
    );
    let unknown = ask("Địa điểm");
    for name in ["with_target", "own_page", "neither", "older"] {
        assert!(unknown.column(name)[0].is_null(), "{name} is not known, and not nought: {unknown:?}");
    }
    assert!(ask("Địa điểm theo khu vực").rows.is_empty() && ask("Địa điểm theo ngôn ngữ").rows.is_empty());
    assert_eq!(figures(&ask("Biển QR"), &["planned"]), counts(total, &["planned"]), "what it does know");
}
