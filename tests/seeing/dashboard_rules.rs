//! Every dashboard keeps the rules of grafana/dashboard-linter and this project's own, and
//! what departs from them is written down in `grafana/lint.yaml` with the reason.
//!
//! Every rule is held to a fault of its own as well: a rule that finds nothing fails here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::grafana::Dashboard;
use crate::lint::{Exclusions, findings, lint, rules};
use crate::support::files_below;
use serde_json::{Value, json};

fn grafana(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana").join(path)
}

#[test]
#[ignore = "needs Prometheus: tests/run"]
fn dashboards_keep_the_rules() {
    let dashboards = Dashboard::all();
    assert!(!dashboards.is_empty());
    let exclusions = Exclusions::parse(&fs::read_to_string(grafana("lint.yaml")).unwrap());
    let errors = exclusions.apply(lint(&dashboards));
    assert!(errors.is_empty(), "{} findings:\n{}", errors.len(), errors.join("\n"));
}

/// Two spaces for each level and Vietnamese as it is written, so that a change can be reviewed.
#[test]
fn files_can_be_read_by_people() {
    for path in files_below(&grafana("dashboards")) {
        let unreadable = unreadable(&fs::read_to_string(&path).unwrap());
        assert_eq!(unreadable, None, "a line of {}", path.display());
    }
    assert_eq!(unreadable("{\n  \"a\": [\n    \"biển ]\\\"\"\n  ]\n}\n"), None);
    for (text, line) in [("{\n \"a\": 1\n}\n", 2), ("{\n  \"a\": \"bi\\u1ec3n\"\n}\n", 2), ("{\n}", 2), ("{}\r\n", 1)] {
        assert_eq!(unreadable(text), Some(line), "{text:?}");
    }
}

/// The first line that is not indented by its depth, has an escaped letter, or does not end
/// with a line feed alone.
fn unreadable(text: &str) -> Option<usize> {
    let mut depth = 0;
    let wrong = |line: &str| {
        let shown = line.trim_start_matches(' ');
        let indent = 2 * (depth - usize::from(shown.starts_with(['}', ']'])));
        let (opened, closed) = brackets(shown);
        depth = depth + opened - closed;
        line.len() - shown.len() != indent || line.contains("\\u") || line.ends_with("\r\n") || !line.ends_with('\n')
    };
    text.split_inclusive('\n').position(wrong).map(|index| index + 1)
}

/// The brackets that a line of JSON opens and closes, but for those in its texts.
fn brackets(line: &str) -> (usize, usize) {
    let (mut opened, mut closed, mut in_text, mut escaped) = (0, 0, false, false);
    for c in line.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_text = !in_text,
            '{' | '[' if !in_text => opened += 1,
            '}' | ']' if !in_text => closed += 1,
            _ => {}
        }
    }
    (opened, closed)
}

/// A small dashboard of each data source that keeps every rule.
fn samples() -> Vec<Dashboard> {
    let source = |kind: &str, name: &str, label: &str, uid: &str| {
        json!({ "type": "datasource", "name": name, "label": label, "query": kind,
                "current": { "text": label, "value": uid }, "refresh": 1 })
    };
    let dashboard = |name: &str, title: &str, variables: Value, panels: Value| Dashboard {
        name: name.to_owned(),
        json: json!({
            "uid": format!("waypost-{name}"), "id": null, "title": title, "description": "A sample.",
            "tags": ["waypost"], "schemaVersion": 39, "timezone": "Asia/Ho_Chi_Minh", "graphTooltip": 1,
            "editable": false, "templating": { "list": variables }, "panels": panels,
            "links": [{ "type": "dashboards", "tags": ["waypost"], "keepTime": true }],
        }),
    };
    let clickhouse = json!({ "type": "grafana-clickhouse-datasource", "uid": "${datasource}" });
    let prometheus = json!({ "type": "prometheus", "uid": "${prometheus_datasource}" });
    let label = |name: &str, label: &str| {
        json!({ "type": "query", "name": name, "label": label, "datasource": prometheus, "multi": true,
                "allValue": ".+", "refresh": 2, "query": { "query": format!("label_values(up, {name})") } })
    };
    let expr = r#"sum(rate(requests_total{job=~"$job",instance=~"$instance"}[$__rate_interval]))"#;
    vec![
        dashboard(
            "signs",
            "Biển",
            json!([
                source("grafana-clickhouse-datasource", "datasource", "Data source", "waypost-clickhouse"),
                { "type": "query", "name": "area", "datasource": clickhouse, "multi": true, "includeAll": true,
                  "allValue": null, "refresh": 2, "current": { "value": ["$__all"] }, "query": { "rawSql": "SELECT 1" } },
                { "type": "custom", "name": "bots", "query": "Không,Có", "current": { "value": "Không" } },
            ]),
            json!([
                { "id": 1, "type": "row", "title": "Hàng", "gridPos": { "x": 0, "y": 0, "w": 24, "h": 1 } },
                { "id": 2, "type": "timeseries", "title": "Theo ngày", "description": "By day.",
                  "gridPos": { "x": 0, "y": 1, "w": 12, "h": 8 }, "datasource": clickhouse,
                  "fieldConfig": { "defaults": { "unit": "short", "links": [{ "url": "/d/waypost-edge/edge?var-job=x" }] } },
                  "targets": [{ "datasource": clickhouse, "editorType": "sql", "queryType": "timeseries", "format": 0,
                                "pluginVersion": "4.20.0", "rawSql": "SELECT 1 AS time, '$area', '$bots'\nORDER BY time" }] },
            ]),
        ),
        dashboard(
            "edge",
            "Máy chủ",
            json!([
                source("prometheus", "prometheus_datasource", "Prometheus data source", "waypost-prometheus"),
                label("job", "Job"),
                label("instance", "Instance"),
            ]),
            json!([
                { "id": 1, "type": "stat", "title": "Lượt", "description": "Requests.", "datasource": prometheus,
                  "gridPos": { "x": 0, "y": 0, "w": 12, "h": 8 }, "fieldConfig": { "defaults": { "unit": "reqps" } },
                  "targets": [{ "datasource": prometheus, "expr": expr }] },
                { "id": 2, "type": "text", "title": "Chú thích", "description": "A note.",
                  "gridPos": { "x": 12, "y": 0, "w": 12, "h": 8 } },
            ]),
        ),
    ]
}

/// A rule, and where in which sample a value breaks it.
fn faults() -> Vec<(&'static str, usize, &'static str, Value)> {
    let expr = "/panels/0/targets/0/expr";
    let all = r#"{job=~"$job",instance=~"$instance"}"#;
    vec![
        ("template-datasource-rule", 0, "/templating/list/0/label", json!("ClickHouse")),
        ("template-datasource-rule", 1, "/templating/list/0/name", json!("prom")),
        ("template-job-rule", 1, "/templating/list/1/allValue", json!(null)),
        ("template-instance-rule", 1, "/templating/list/2/name", json!("host")),
        ("template-label-promql-rule", 1, "/templating/list/1/query/query", json!("label_values(up{, job)")),
        ("template-label-promql-rule", 1, "/templating/list/1/query/query", json!("labels(job)")),
        ("template-on-time-change-reload-rule", 0, "/templating/list/1/refresh", json!(1)),
        ("uneditable-dashboard-rule", 0, "/editable", json!(true)),
        ("panel-datasource-rule", 0, "/panels/1/datasource/uid", json!("waypost-clickhouse")),
        ("panel-title-description-rule", 1, "/panels/1/description", json!("")),
        ("panel-units-rule", 0, "/panels/1/fieldConfig/defaults/unit", json!("scans")),
        ("panel-units-rule", 0, "/panels/1/fieldConfig/defaults/unit", json!("")),
        ("panel-no-targets-rule", 0, "/panels/1/targets", json!([])),
        ("target-promql-rule", 1, expr, json!("sum(rate(")),
        ("target-rate-interval-rule", 1, expr, json!(format!("rate(requests_total{all}[5m])"))),
        ("target-job-rule", 1, expr, json!(r#"up{instance=~"$instance"}"#)),
        ("target-instance-rule", 1, expr, json!(format!("x{all} / up{{job=~\"$job\"}}"))),
        ("target-counter-agg-rule", 1, expr, json!(format!("sum(requests_total{all})"))),
        ("dashboard-settings-rule", 0, "/id", json!(7)),
        ("dashboard-settings-rule", 0, "/description", json!("")),
        ("dashboard-identity-rule", 0, "/uid", json!("waypost-edge")),
        ("dashboard-links-rule", 0, "/links/0/keepTime", json!(false)),
        ("dashboard-links-rule", 0, "/panels/1/fieldConfig/defaults/links/0/url", json!("/d/waypost-hub/x")),
        ("dashboard-links-rule", 0, "/panels/1/fieldConfig/defaults/links/0/url", json!("/d/waypost-edge?var-sign=x")),
        ("dashboard-language-rule", 0, "/title", json!("Signs")),
        ("dashboard-language-rule", 0, "/panels/0/title", json!("Row")),
        ("template-provisioned-rule", 1, "/templating/list/0/current/value", json!("waypost-clickhouse")),
        ("template-filter-rule", 0, "/templating/list/1/allValue", json!(".*")),
        ("template-filter-rule", 0, "/templating/list/2/current/value", json!("Có")),
        ("template-reference-rule", 0, "/templating/list/2/name", json!("robots")),
        ("panel-identity-rule", 1, "/panels/1/id", json!(1)),
        ("panel-identity-rule", 1, "/panels/1/title", json!("Lượt")),
        ("panel-grid-rule", 1, "/panels/1/gridPos/x", json!(13)),
        ("panel-grid-rule", 1, "/panels/1/gridPos/x", json!(11)),
        ("panel-language-rule", 1, "/panels/0/title", json!("Requests")),
        ("panel-format-rule", 0, "/panels/1/type", json!("table")),
        ("target-datasource-rule", 0, "/panels/1/targets/0/datasource/type", json!("prometheus")),
        ("target-clickhouse-rule", 0, "/panels/1/targets/0/editorType", json!("builder")),
        ("target-clickhouse-rule", 0, "/panels/1/targets/0/rawSql", json!("SELECT '$area', '$bots'")),
    ]
}

#[test]
#[ignore = "needs Prometheus: tests/run"]
fn every_rule_finds_its_fault() {
    let found: Vec<String> = lint(&samples()).iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "the samples keep the rules:\n{}", found.join("\n"));

    let rules: BTreeMap<_, _> = rules().into_iter().collect();
    for (rule, sample, pointer, value) in faults() {
        let mut dashboards = samples();
        *dashboards[sample].json.pointer_mut(pointer).expect(pointer) = value.clone();
        assert!(!findings(rule, rules[rule], &dashboards).is_empty(), "{rule} does not mind {value} at {pointer}");
    }
    let tried: BTreeSet<&str> = faults().iter().map(|fault| fault.0).collect();
    assert_eq!(tried, rules.into_keys().collect());
}

#[test]
#[ignore = "needs Prometheus: tests/run"]
fn an_exclusion_gives_its_reason_and_excludes_something() {
    let mut dashboards = samples();
    dashboards[1].json["panels"][0]["targets"][0]["expr"] =
        json!(r#"x{job=~"$job",instance=~"$instance"} / up{job=~"$job"}"#);
    let errors = |yaml: &str| Exclusions::parse(yaml).apply(lint(&dashboards)).join("\n");
    let entry = |rule: &str, reason: &str, at: &str| {
        errors(&format!(
            "exclusions: {{ {rule}: {{ reason: '{reason}', entries: [{{ dashboard: Máy chủ, {at} }}] }} }}"
        ))
    };

    assert!(errors("exclusions: {}").contains("target-instance-rule: Máy chủ, panel \"Lượt\", target 0"));
    assert_eq!(errors("exclusions: { target-instance-rule: { reason: It is one. } }"), "");
    assert_eq!(entry("target-instance-rule", "It is one.", "panel: Lượt"), "");
    assert_eq!(entry("target-instance-rule", "It is one.", "panel: Lượt, targetIdx: 0"), "");
    assert!(entry("target-instance-rule", "It is one.", "panel: Lượt, targetIdx: 1").contains("excludes nothing"));
    assert!(entry("target-instance-rule", "It is one.", "panel: Chú thích").contains("excludes nothing"));
    assert!(entry("target-instance-rule", "", "panel: Lượt").contains("gives no reason"));
    assert!(entry("target-job-rule", "It is one.", "panel: Lượt").contains("excludes nothing"));
    assert!(entry("target-jobs-rule", "It is one.", "panel: Lượt").contains("no rule has that name"));
}
