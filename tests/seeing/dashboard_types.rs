//! Every setting of a dashboard is one that Grafana knows, by the types it publishes itself
//! (@grafana/schema, `tests/grafana/dashboard.ts`): what it doesn't know it passes over in
//! silence, and a panel looks other than it was meant to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::files_below;
use serde_json::{Value, json};

/// TypeScript's complaints about each text of JSON, by its name. A line of a complaint is the
/// line of the JSON.
fn complaints(texts: &BTreeMap<String, String>) -> BTreeMap<String, Vec<String>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grafana");
    let installed = std::env::var("WAYPOST_TEST_GRAFANA")
        .expect("WAYPOST_TEST_GRAFANA names the folder where tests/run installs tests/grafana/package.json");
    let folder = tempfile::tempdir_in(&installed).unwrap();
    for file in ["tsconfig.json", "dashboard.ts"] {
        fs::copy(here.join(file), folder.path().join(file)).unwrap();
    }
    for (name, text) in texts {
        let module = format!("import type {{ DashboardFile }} from './dashboard'; export default {text}");
        fs::write(folder.path().join(format!("{name}.ts")), module.trim_end().to_owned() + " satisfies DashboardFile;")
            .unwrap();
    }
    let compiler = Path::new(&installed).join("node_modules/typescript/bin/tsc");
    let output = Command::new("node").arg(compiler).current_dir(&folder).output().expect("node is installed");
    let said = String::from_utf8(output.stdout).unwrap();
    // Each complaint is a line that starts with its file; what follows it is indented.
    let mut complaints = BTreeMap::<String, Vec<String>>::new();
    for line in said.lines().filter(|line| !line.starts_with(' ')) {
        let (file, complaint) = line.split_once(".ts(").unwrap_or_else(|| panic!("{said}"));
        complaints.entry(file.to_owned()).or_default().push(format!("{file}.json({complaint}"));
    }
    assert_eq!(output.status.success(), complaints.is_empty(), "{said}");
    complaints
}

#[test]
#[ignore = "needs Grafana's types from npm: tests/run"]
fn dashboards_say_only_what_grafana_knows() {
    let dashboards = files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/dashboards"));
    let read =
        |path: &Path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap());
    let texts: BTreeMap<_, _> = dashboards.iter().map(|path| read(path)).collect();
    assert!(!texts.is_empty());
    let complaints: Vec<String> = complaints(&texts).into_values().flatten().collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn sample() -> Value {
    let datasource = json!({ "type": "grafana-clickhouse-datasource", "uid": "${clickhouse_datasource}" });
    let override_ = |id: &str, value: Value| json!({ "matcher": { "id": "byName", "options": "scans" }, "properties": [{ "id": id, "value": value }] });
    json!({
        "id": null, "uid": "waypost-sample", "schemaVersion": 39, "graphTooltip": 1,
        "time": { "from": "now-30d", "to": "now" },
        "templating": { "list": [
            { "type": "query", "name": "area", "allValue": null, "refresh": 2, "definition": "SELECT 1", "query": { "rawSql": "SELECT 1" } },
        ] },
        "panels": [
            { "type": "row", "id": 1, "title": "Hàng", "collapsed": true, "panels": [
                { "type": "heatmap", "id": 2, "options": { "calculate": false, "tooltip": { "mode": "single" } } },
            ] },
            { "type": "table", "id": 3, "gridPos": { "x": 0, "y": 1, "w": 24, "h": 8 },
              "options": { "showHeader": true },
              "fieldConfig": {
                  "defaults": { "unit": "short", "custom": { "align": "auto" } },
                  "overrides": [
                      override_("custom.cellOptions", json!({ "type": "color-background", "mode": "gradient" })),
                      override_("unit", json!("s")),
                  ],
              },
              "targets": [{ "refId": "A", "datasource": datasource, "pluginVersion": "4.20.0", "editorType": "sql",
                            "queryType": "table", "format": 1, "rawSql": "SELECT 1" }],
              "transformations": [{ "id": "groupingToMatrix", "options": { "columnField": "hour", "rowField": "day", "valueField": "scans" } }] },
            { "type": "geomap", "id": 4, "options": { "view": { "id": "fit" }, "layers": [
                { "type": "markers", "name": "Biển", "location": { "mode": "coords", "latitude": "lat", "longitude": "lon" },
                  "config": { "style": { "size": { "field": "scans", "fixed": 5, "min": 4, "max": 22 } } } },
            ] } },
        ],
    })
}

/// Where an invented setting is put, and its value.
const INVENTED: [(&str, &str, &str); 19] = [
    ("", "iteration", "1"),
    ("/time", "from", "30"),
    ("/templating/list/0", "refresh", "5"),
    ("/panels/0/panels/0/options/tooltip", "show", "true"),
    ("/panels/1", "type", "\"sheet\""),
    ("/panels/1", "titel", "\"x\""),
    ("/panels/1/gridPos", "width", "3"),
    ("/panels/1/options", "footer", "{}"),
    ("/panels/1/fieldConfig/defaults", "units", "\"s\""),
    ("/panels/1/fieldConfig/defaults/custom", "displayStyle", "1"),
    ("/panels/1/fieldConfig/overrides/0/properties/0", "id", "\"custom.cellOption\""),
    ("/panels/1/fieldConfig/overrides/0/properties/0/value", "mode", "\"striped\""),
    ("/panels/1/fieldConfig/overrides/1/properties/0", "value", "1"),
    ("/panels/1/fieldConfig/overrides/0/matcher", "id", "\"byname\""),
    ("/panels/1/targets/0", "format", "\"table\""),
    ("/panels/1/transformations/0", "id", "\"matrix\""),
    ("/panels/1/transformations/0/options", "column", "\"hour\""),
    ("/panels/2/options/layers/0/location", "lat", "\"lat\""),
    ("/panels/2/options/layers/0/config/style/size", "maximum", "22"),
];

#[test]
#[ignore = "needs Grafana's types from npm: tests/run"]
fn an_invented_setting_is_found() {
    let mut texts = BTreeMap::from([("sample".to_owned(), sample().to_string())]);
    for (at, (pointer, name, value)) in INVENTED.iter().enumerate() {
        let mut json = sample();
        json.pointer_mut(pointer).expect(pointer)[name] = serde_json::from_str(value).unwrap();
        texts.insert(format!("invented{at}"), json.to_string());
    }
    let complaints = complaints(&texts);
    assert_eq!(complaints.get("sample"), None);
    for (at, invented) in INVENTED.iter().enumerate() {
        assert!(complaints.contains_key(&format!("invented{at}")), "{invented:?} is let pass");
    }
}
