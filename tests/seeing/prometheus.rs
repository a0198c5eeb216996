//! What Prometheus is told to ask has an answer: every expression of a dashboard or a rule runs
//! on a real Prometheus that scrapes a real edge, every alert fires when it should and is quiet
//! otherwise, and no metric is named that is not there or there without a name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use crate::grafana::{Dashboard, text};
use crate::prometheus_server::{Prometheus, Series, folder, names, rules};
use crate::support::tls::{HOST, VALID, made};
use crate::support::{Edge, Metrics, PHONE, Setup, http, wait_for};
use mmdb_writer::{IpVersion, Writer, ipnet::IpNet};
use serde_json::{Value, json};

const PLACES: &str = "place,name,target\none,Đường Một,https://example.vn/one\n";
const SIGNS: &str = "code,place,status\nA1,one,active\nB1,one,planned\nC1,one,retired\n";

#[track_caller]
fn promtool(arguments: &[&str], files: &[&str]) {
    let mut promtool = Command::new("promtool");
    let output = promtool.current_dir(folder()).args(arguments).args(files).output();
    let output = output.expect("no promtool (Debian package prometheus): start the tests with tests/run");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

const RULE_TESTS: [&str; 3] = ["tests/alerts.yml", "tests/sign_health.yml", "tests/unknown_codes.yml"];

#[test]
#[ignore = "needs Prometheus: tests/run"]
fn promtool_accepts_the_configuration_and_the_rules() {
    promtool(&["check", "config", "--lint-fatal"], &["prometheus.yml"]);
    promtool(&["check", "rules", "--lint-fatal"], &["rules/alerts.yml", "rules/recording.yml"]);
}

#[test]
#[ignore = "needs Prometheus: tests/run"]
fn every_alert_fires_when_it_should_and_is_quiet_otherwise() {
    promtool(&["test", "rules"], &RULE_TESTS);
    let mut tried = BTreeSet::new();
    for file in RULE_TESTS {
        let file: Value = yaml_serde::from_str(&fs::read_to_string(folder().join(file)).unwrap()).unwrap();
        let tests = file["tests"].as_array().unwrap().iter();
        for case in tests.flat_map(|test| test["alert_rule_test"].as_array().into_iter().flatten()) {
            let fires = !case["exp_alerts"].as_array().unwrap().is_empty();
            tried.insert((case["alertname"].as_str().unwrap().to_owned(), fires));
        }
    }
    for alert in rules().into_iter().filter_map(|rule| rule.alert) {
        for fires in [true, false] {
            assert!(tried.contains(&(alert.clone(), fires)), "no test of {alert} where it fires: {fires}");
        }
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() {
    let explained = readme_metrics(&exposed(&edge().admin("GET", "/metrics").body));
    for rule in rules().iter().filter(|rule| rule.alert.is_some()) {
        let name = rule.alert.as_ref().unwrap();
        let text = |pointer: &str| rule.json.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert!(["critical", "warning"].contains(&text("/labels/severity")), "{name}: severity");
        assert!(!text("/annotations/summary").is_empty(), "{name}: summary");
        assert!(text("/annotations/description").len() > 100, "{name}: description");
        let section = format!("config/prometheus/README.md#{}", name.to_lowercase());
        assert_eq!(text("/annotations/runbook"), section, "{name}");
        assert!(readme().contains(&format!("\n### {name}\n")), "{name}: its runbook has no section");
        for metric in names(&rule.expr).into_iter().filter(|name| name.starts_with("waypost_")) {
            let metric = metric.trim_end_matches("_bucket");
            assert!(explained.contains_key(metric), "{name}: the runbook does not have {metric}");
        }
    }
}

/// An edge with something to say in every metric.
fn edge() -> Edge {
    let mut country = Writer::builder("Test").ip_version(IpVersion::V4).build();
    country.insert("127.0.0.0/8".parse::<IpNet>().unwrap(), &json!({ "country": { "iso_code": "VN" } })).unwrap();
    let setup =
        Setup::new().set("observe", "geoip", "[\"country.mmdb\"]").set("observe", "max_unknown_per_second", "1");
    let setup = setup.set("console", "listen", "\"127.0.0.1:0\"").set("console", "path", "\"console.db\"");
    let setup = setup.registry(PLACES, SIGNS).file("config/country.mmdb", country.to_bytes().unwrap());
    let edge = setup.tls(&[("cert", &made(&[HOST], VALID))]).start();
    visit(&edge);
    edge
}

/// A request of every kind, TLS where none is spoken, and a reload.
fn visit(edge: &Edge) {
    for path in ["/A1", "/C1", "/N0B0DY", "/N0B0DY", "/A1+", "/", "/wp-login.php"] {
        edge.scan(path);
    }
    for method in ["HEAD", "POST"] {
        http::request(edge.address(), method, "/A1", &[("User-Agent", PHONE)]).unwrap();
    }
    http::raw(edge.address(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    edge.admin("POST", "/reload");
}

/// What a visit moves, and how many series each is.
const MOVED: [(&str, usize); 10] = [
    ("waypost_requests_total", 7),
    ("waypost_head_requests_total", 1),
    ("waypost_unknown_unrecorded_total", 1),
    ("waypost_connections_accepted_total", 1),
    ("waypost_connection_errors_total", 1),
    ("waypost_scans_recorded_total", 1),
    ("waypost_scans_stored_total", 1),
    ("waypost_store_batches_total", 1),
    ("waypost_journal_syncs_total", 1),
    ("waypost_registry_reloads_total{result=\"success\"}", 1),
];

/// The panel of the firing alerts: the one that is empty while all is well.
const ALERTS: &str = "Cảnh báo đang báo động";

/// A target of a panel, with Grafana's variables as Grafana writes them.
struct Target {
    place: String,
    panel: String,
    expr: String,
    legend: String,
    /// Names of series that the panel shows in other words.
    translated: BTreeSet<String>,
}

fn is_prometheus(owner: &Value) -> bool {
    owner["datasource"]["type"] == "prometheus"
}

fn expand(expr: &str) -> String {
    // Four scrapes and more; All of a variable is its allValue.
    let values =
        [("$__rate_interval", "10s"), ("$__interval", "5s"), ("$__range", "1m"), ("$job", ".+"), ("$instance", ".+")];
    let expr = values.iter().fold(expr.to_owned(), |expr, (name, value)| expr.replace(name, value));
    assert!(!expr.contains('$'), "a variable is left: {expr}");
    expr
}

fn targets(dashboards: &[Dashboard]) -> Vec<Target> {
    let mut found = Vec::new();
    for dashboard in dashboards {
        for panel in dashboard.panels() {
            let targets = panel["targets"].as_array().into_iter().flatten();
            for target in targets.filter(|target| is_prometheus(target)) {
                let legend = target["legendFormat"].as_str().unwrap_or_default();
                found.push(Target {
                    place: format!("{}.json, {} {}", dashboard.name, panel["title"], target["refId"]),
                    panel: text(&panel["title"]),
                    expr: expand(target["expr"].as_str().unwrap()),
                    legend: legend.to_owned(),
                    translated: overridden(panel, "displayName").into_iter().map(|(name, _)| name).collect(),
                });
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// What a panel sets for series or columns by their name, and its value.
fn overridden<'p>(panel: &'p Value, property: &str) -> Vec<(String, &'p Value)> {
    let rules = panel["fieldConfig"]["overrides"].as_array().into_iter().flatten();
    let named = rules.filter(|rule| rule["matcher"]["id"] == "byName");
    let set = |rule: &'p Value| rule["properties"].as_array().unwrap().iter().find(|set| set["id"] == property);
    named.filter_map(|rule| Some((text(&rule["matcher"]["options"]), &set(rule)?["value"]))).collect()
}

/// The labels that a legend names: `{{outcome}}`.
fn legend_labels(legend: &str) -> Vec<&str> {
    legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim()).collect()
}

/// The expression's answer once there is one, with visitors coming all the while.
#[track_caller]
fn answer(prometheus: &Prometheus, edge: &Edge, place: &str, expr: &str) -> Vec<Series> {
    wait_for(&format!("data for {place}: {expr}"), || {
        let series = prometheus.query(expr).unwrap_or_else(|error| panic!("{place}: {error}: {expr}"));
        if !series.is_empty() && series.iter().all(|one| one.value.is_finite()) {
            return Some(series);
        }
        visit(edge);
        None
    })
}

#[test]
#[ignore = "needs Prometheus: tests/run"]
fn every_expression_has_an_answer_on_a_real_edge() {
    let edge = edge();
    let prometheus = Prometheus::start(edge.admin);
    let answer = |place: &str, expr: &str| answer(&prometheus, &edge, place, expr);
    for (counter, series) in MOVED {
        let rates = format!("rate({counter}[10s]) > 0");
        wait_for(&rates, || {
            visit(&edge);
            (prometheus.query(&rates).unwrap().len() == series).then_some(())
        });
    }

    let dashboards = Dashboard::all();
    for target in targets(&dashboards).into_iter().filter(|target| target.panel != ALERTS) {
        for series in answer(&target.place, &target.expr) {
            for label in legend_labels(&target.legend) {
                let value = series.labels[label].as_str();
                let value = value.unwrap_or_else(|| panic!("{}: {series:?} has no {label}", target.place));
                let readable = ["edge", "le", "name"].contains(&label) || target.translated.contains(value);
                assert!(readable, "{}: {label} {value} is shown as it is", target.place);
            }
        }
    }
    for dashboard in &dashboards {
        for variable in dashboard.variables().into_iter().filter(|variable| is_prometheus(variable)) {
            let query = expand(variable["query"]["query"].as_str().unwrap());
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (metric, label) = inner.and_then(|inner| inner.rsplit_once(',')).unwrap();
            let series = answer(&query, &format!("group by ({label}) ({metric})"));
            assert!(series.iter().all(|one| one.labels[label.trim()].is_string()), "{query}: {series:?}");
        }
    }
    for rule in rules() {
        if let Some(name) = &rule.record {
            answer(name, &rule.expr);
            answer(name, name);
        } else if let Err(error) = prometheus.query(&rule.expr) {
            panic!("{error}: {}", rule.expr);
        }
    }
    wait_for("every rule is evaluated", || prometheus.rule_errors().is_empty().then_some(()));
}

#[test]
#[ignore = "needs Prometheus: tests/run"]
fn the_first_row_names_the_edge_that_is_down_and_the_alerts_that_fire() {
    let board = Dashboard::load("edge");
    let expects = |panel: &str, rows: &[(&str, u64)]| {
        let rows = rows.iter().map(|(labels, value)| json!({ "labels": format!("{{{labels}}}"), "value": value }));
        let expr = expand(board.panel(panel)["targets"][0]["expr"].as_str().unwrap());
        json!({ "expr": expr, "eval_time": "1m", "exp_samples": rows.collect::<Vec<_>>() })
    };
    let series = |series: &str, value: u64| json!({ "series": series, "values": format!("{value}x2") });
    let alert = |labels: &str, state: &str| {
        let firing = series(&format!(r#"ALERTS{{{labels}, job="waypost", alertstate="{state}"}}"#), 1);
        [firing, series(&format!(r#"ALERTS_FOR_STATE{{{labels}, job="waypost"}}"#), 1_795_000_000)]
    };
    let input = [
        [series(r#"up{job="waypost", instance="a:9090"}"#, 0), series(r#"up{job="waypost", instance="b:9090"}"#, 1)],
        [("a", "chi-lang"), ("b", "ky-lua")].map(|(host, edge)| {
            let name = format!(r#"instance:waypost_edge:name{{job="waypost", instance="{host}:9090", edge="{edge}"}}"#);
            series(&name, 1)
        }),
        alert(r#"alertname="Dropped", severity="critical", instance="b:9090", reason="disk_full""#, "firing"),
        alert(r#"alertname="Together", severity="warning", kind="street""#, "firing"),
        alert(r#"alertname="Down", severity="critical", instance="a:9090""#, "pending"),
    ];
    let states = [
        (r#"job="waypost", instance="a:9090", edge="chi-lang""#, 0),
        (r#"job="waypost", instance="b:9090", edge="ky-lua""#, 1),
    ];
    // An alert about all edges is there, of no edge.
    let firing = [
        (r#"alertname="Dropped", severity="critical", edge="ky-lua", detail="disk_full""#, 1_795_000_000_000),
        (r#"alertname="Together", severity="warning", detail="street""#, 1_795_000_000_000),
    ];
    let case = json!({ "evaluation_interval": "1m", "tests": [{
        "interval": "1m", "input_series": input.concat(),
        "promql_expr_test": [expects("Máy phục vụ", &states), expects(ALERTS, &firing)],
    }] });
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, case.to_string()).unwrap();
    promtool(&["test", "rules"], &[file.path().to_str().unwrap()]);
}

#[test]
fn every_alert_is_shown_by_a_name_that_an_operator_reads() {
    let board = Dashboard::load("edge");
    let columns: BTreeMap<_, _> = overridden(board.panel(ALERTS), "mappings").into_iter().collect();
    let mapped = |column: &str| -> BTreeSet<String> {
        columns[column][0]["options"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(mapped("Cảnh báo"), rules().into_iter().filter_map(|rule| rule.alert).collect());
    assert_eq!(mapped("Mức độ"), ["critical", "warning"].map(str::to_owned).into());
}

#[test]
#[ignore = "needs Prometheus: tests/run"]
fn an_edge_in_order_raises_no_alert_and_a_refused_table_and_guesses_do() {
    let edge = edge();
    let prometheus = Prometheus::start(edge.admin);
    wait_for("a scan is stored, and Prometheus knows", || {
        let stored = prometheus.query("waypost_store_last_success_timestamp_seconds > 0").unwrap();
        (!stored.is_empty()).then_some(())
    });
    let rounds = || {
        let counted = prometheus.query("count_over_time(instance:waypost_scans_unaccounted:difference[1m])").unwrap();
        counted.first().map_or(0.0, |series| series.value)
    };
    let before = rounds();
    wait_for("what was pending for a moment is gone", || (rounds() >= before + 3.0).then_some(()));
    assert_eq!(prometheus.alerts(), Vec::<String>::new());

    fs::write(edge.setup.path("config/signs.csv"), "code,place,status\nA1,nowhere,active\n").unwrap();
    assert_eq!(edge.admin("POST", "/reload").status, 422);
    // More than 20 unknown codes where there were none before.
    for alert in ["WaypostRegistryRefused", "WaypostUnknownCodesRising"] {
        wait_for(alert, || {
            visit(&edge);
            prometheus.alerts().iter().any(|name| name == alert).then_some(())
        });
    }
}

/// The metrics of a scrape, and the labels of each.
fn exposed(scrape: &str) -> BTreeMap<String, BTreeSet<String>> {
    let types = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut metrics: BTreeMap<_, _> = types.map(|(name, _)| (name.to_owned(), BTreeSet::new())).collect();
    for line in scrape.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line.split_at(line.find(['{', ' ']).unwrap());
        let family = metrics.range_mut(..=name.to_owned()).rev().find(|(family, _)| name.starts_with(family.as_str()));
        let family = family.unwrap_or_else(|| panic!("{name} has no TYPE")).1;
        for (at, _) in labels.match_indices("=\"") {
            let label = labels[..at].rsplit(['{', ',']).next().unwrap();
            if label != "le" {
                family.insert(label.to_owned());
            }
        }
    }
    metrics
}

fn readme() -> String {
    fs::read_to_string(folder().join("README.md")).unwrap()
}

/// The metrics of the table in config/prometheus/README.md with the labels it gives them. `…_open` takes the place of
/// the end of the full name before it, and `process_*` is all that begin so.
fn readme_metrics(exposed: &BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    let readme = readme();
    let (_, table) = readme.split_once("\n## Metrics\n").unwrap();
    let mut found = BTreeMap::new();
    for row in table.lines().skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with('|')) {
        let mut full = String::new();
        for cell in row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
            let (name, labels) = cell.trim_end_matches('}').split_once('{').unwrap_or((cell, ""));
            let labels = labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect();
            if let Some(prefix) = name.strip_suffix('*') {
                found.extend(exposed.clone().into_iter().filter(|(metric, _)| metric.starts_with(prefix)));
                continue;
            }
            full = match name.strip_prefix('…') {
                Some(end) => {
                    let ends = full.match_indices('_').map(|(at, _)| format!("{}{end}", &full[..at]));
                    let known = ends.rev().find(|name| exposed.contains_key(name));
                    known.unwrap_or_else(|| panic!("config/prometheus/README.md: {cell} after {full} is no metric"))
                }
                None => name.to_owned(),
            };
            found.insert(full.clone(), labels);
        }
    }
    found
}

#[test]
fn every_metric_that_is_named_is_exposed_and_every_one_exposed_has_its_row() {
    let edge = edge();
    wait_for("the signs are judged, ten seconds after the start", || {
        (edge.metrics().get("waypost_signs_health_timestamp_seconds") > 0.0).then_some(())
    });
    let scrape = edge.admin("GET", "/metrics").body;
    assert!(Metrics::parse(&scrape).get("waypost_geoip_files{state=\"good\"}") > 0.0);
    let exposed = exposed(&scrape);
    let recorded: BTreeSet<String> = rules().into_iter().filter_map(|rule| rule.record).collect();

    let rows = readme_metrics(&exposed);
    for (name, labels) in &rows {
        assert_eq!(exposed.get(name), Some(labels), "config/prometheus/README.md has {name} with labels {labels:?}");
    }
    let missing: Vec<_> = exposed.keys().filter(|name| !rows.contains_key(*name)).collect();
    assert!(missing.is_empty(), "config/prometheus/README.md has no row for {missing:?}");
    let mut used = BTreeSet::new();
    let of_dashboards = targets(&Dashboard::all()).into_iter().map(|target| (target.place, target.expr));
    let of_rules = rules().into_iter().map(|rule| (rule.record.or(rule.alert).unwrap(), rule.expr));
    for (place, expr) in of_dashboards.chain(of_rules) {
        for name in names(&expr) {
            let parts = ["_bucket", "_sum", "_count"];
            let family = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            let metric = [name, family].into_iter().find(|name| exposed.contains_key(*name));
            assert!(metric.is_some() || recorded.contains(name), "{place}: there is no {name}");
            used.insert(metric.unwrap_or(name).to_owned());
        }
    }
    let unused: Vec<_> = recorded.iter().filter(|name| !used.contains(*name)).collect();
    assert_eq!(unused, ["job_outcome:waypost_requests:rate5m"], "recorded, and used by nothing here");
}
