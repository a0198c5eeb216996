//! The rules of grafana/dashboard-linter (Apache-2.0, <https://github.com/grafana/dashboard-linter>),
//! written anew: it is a Go program. Where it looks at some types of panels only, these look at
//! all; the rules about PromQL look at Prometheus targets only.

use serde_json::Value;

use super::Check::{Dashboard as OfDashboard, Panel as OfPanel, Target as OfTarget};
use super::promql::{Selector, parse_errors, selectors};
use super::{Check, Complaints, is_prometheus, list, sources, text, unless};
use crate::grafana::Dashboard;

pub const RULES: &[(&str, Check)] = &[
    ("template-datasource-rule", OfDashboard(template_datasource)),
    ("template-job-rule", OfDashboard(|dashboard, _| template(dashboard, "job", "Job"))),
    ("template-instance-rule", OfDashboard(|dashboard, _| template(dashboard, "instance", "Instance"))),
    ("template-label-promql-rule", OfDashboard(template_label_promql)),
    ("template-on-time-change-reload-rule", OfDashboard(template_on_time_change_reload)),
    ("uneditable-dashboard-rule", OfDashboard(uneditable_dashboard)),
    ("panel-datasource-rule", OfPanel(panel_datasource)),
    ("panel-title-description-rule", OfPanel(panel_title_description)),
    ("panel-units-rule", OfPanel(panel_units)),
    ("panel-no-targets-rule", OfPanel(panel_no_targets)),
    ("target-promql-rule", OfTarget(target_promql)),
    ("target-rate-interval-rule", OfTarget(target_rate_interval)),
    ("target-job-rule", OfTarget(|_, _, target| matcher(target, r#"job=~"$job""#))),
    ("target-instance-rule", OfTarget(|_, _, target| matcher(target, r#"instance=~"$instance""#))),
    ("target-counter-agg-rule", OfTarget(target_counter_agg)),
];

/// Units of the 273 that `getCategories()` of @grafana/data 13.2.3 knows (`valueFormats/categories`),
/// as far as they are wanted here. Grafana writes any other text behind the figure, as it stands.
const UNITS: [&str; 16] = [
    "none",
    "string",
    "short",
    "locale",
    "percent",
    "percentunit",
    "bytes",
    "s",
    "d",
    "dtdurations",
    "dateTimeAsIso",
    "dateTimeAsLocal",
    "dateTimeFromNow",
    "degree",
    "reqps",
    "cps",
];
/// Beginnings of its free-form units.
const FREE_UNITS: [&str; 3] = ["prefix:", "suffix:", "time:"];
const RATES: [&str; 3] = ["rate", "irate", "increase"];

fn template_datasource(dashboard: &Dashboard, _: &[Dashboard]) -> Complaints {
    let sources = sources(dashboard);
    let named = |source: &&Value| {
        let query = text(source, "/query");
        let (first, rest) = query.split_at_checked(1).unwrap_or_default();
        let label = format!("{}{rest} data source", first.to_uppercase());
        let alone = sources.len() == 1;
        let name_fits = source["name"] == format!("{query}_datasource") || alone && source["name"] == "datasource";
        let label_fits = source["label"] == label || alone && source["label"] == "Data source";
        let wanted = format!("{} of {query} is not named {query}_datasource and {label:?}", source["name"]);
        unless(name_fits && label_fits, wanted)
    };
    let missing = unless(!sources.is_empty(), "no variable chooses the data source");
    [missing, sources.iter().flat_map(named).collect()].concat()
}

fn template(dashboard: &Dashboard, name: &str, label: &str) -> Complaints {
    if !sources(dashboard).iter().any(|source| source["query"] == "prometheus") {
        return Vec::new();
    }
    let variables = dashboard.variables();
    let Some(variable) = variables.iter().find(|variable| variable["name"] == name) else {
        return vec![format!("no variable {name}")];
    };
    let source = ["$datasource", "${datasource}", "$prometheus_datasource", "${prometheus_datasource}"];
    [
        unless(source.contains(&text(variable, "/datasource/uid")), format!("{name} has a data source of its own")),
        unless(variable["type"] == "query", format!("{name} is no query")),
        unless(variable["label"] == label, format!("{name} is not labelled {label}")),
        unless(variable["multi"] == true, format!("{name} takes one value only")),
        unless(variable["allValue"] == ".+", format!("{name} has not .+ for All")),
    ]
    .concat()
}

fn template_label_promql(dashboard: &Dashboard, _: &[Dashboard]) -> Complaints {
    let check = |variable: &&Value| {
        let query = variable["query"].as_str().unwrap_or(text(variable, "/query/query"));
        let (function, arguments) = query.split_once('(').unwrap_or_default();
        // The metric; `label_values(job)` and `label_names()` name none.
        let metric = match function {
            "label_values" => arguments.rsplit_once(',').map(|(metric, _)| metric),
            "query_result" => arguments.rsplit_once(')').map(|(metric, _)| metric),
            "label_names" | "metrics" => None,
            _ => return vec![format!("{} asks {query:?}, which is no function of Prometheus", variable["name"])],
        };
        metric.and_then(parse_errors).into_iter().collect()
    };
    let variables = dashboard.variables().into_iter();
    variables
        .filter(|variable| variable["type"] == "query" && is_prometheus(variable))
        .flat_map(|v| check(&v))
        .collect()
}

fn template_on_time_change_reload(dashboard: &Dashboard, _: &[Dashboard]) -> Complaints {
    let queries = dashboard.variables().into_iter().filter(|variable| variable["type"] == "query");
    let check = |variable: &Value| unless(variable["refresh"] == 2, format!("{} keeps old values", variable["name"]));
    queries.flat_map(check).collect()
}

fn uneditable_dashboard(dashboard: &Dashboard, _: &[Dashboard]) -> Complaints {
    unless(dashboard.json["editable"] == false, "it can be edited")
}

fn panel_datasource(dashboard: &Dashboard, panel: &Value) -> Complaints {
    let uid = text(panel, "/datasource/uid");
    let chosen = |source: &&Value| uid == format!("${{{}}}", text(source, "/name"));
    unless(
        panel["type"] == "text" || sources(dashboard).iter().any(chosen),
        format!("its data source {uid:?} is not chosen by a variable"),
    )
}

fn panel_title_description(_: &Dashboard, panel: &Value) -> Complaints {
    [
        unless(!text(panel, "/title").is_empty(), "no title"),
        unless(!text(panel, "/description").is_empty(), "no description"),
    ]
    .concat()
}

fn panel_units(_: &Dashboard, panel: &Value) -> Complaints {
    let overridden = list(panel, "/fieldConfig/overrides").flat_map(|override_| list(override_, "/properties"));
    let properties: Vec<&Value> = overridden.collect();
    let mut units: Vec<&str> = vec![text(panel, "/fieldConfig/defaults/unit"), text(panel, "/options/yAxis/unit")];
    units.extend(properties.iter().filter(|property| property["id"] == "unit").map(|unit| text(unit, "/value")));
    units.retain(|unit| !unit.is_empty());
    let known = |unit: &str| UNITS.contains(&unit) || FREE_UNITS.iter().any(|free| unit.starts_with(free));

    // As the linter has it: text has no unit, and mapped values are text.
    let of_text = panel["type"] == "text" || !text(panel, "/options/reduceOptions/fields").is_empty();
    let mapped = list(panel, "/fieldConfig/defaults/mappings").next().is_some()
        || properties.iter().any(|property| property["id"] == "mappings");
    let unknown = units.iter().filter(|unit| !known(unit)).map(|unit| format!("unknown unit {unit:?}"));
    [unless(!units.is_empty() || of_text || mapped, "no unit"), unknown.collect()].concat()
}

fn panel_no_targets(_: &Dashboard, panel: &Value) -> Complaints {
    unless(panel["type"] == "text" || list(panel, "/targets").next().is_some(), "it asks nothing")
}

fn target_promql(_: &Dashboard, _: &Value, target: &Value) -> Complaints {
    let wrong = is_prometheus(target).then(|| parse_errors(text(target, "/expr"))).flatten();
    wrong.into_iter().collect()
}

/// The selectors of a Prometheus target that are not as they should be.
fn selectors_unless(target: &Value, holds: impl Fn(&Selector) -> bool, complaint: &str) -> Complaints {
    let expression = if is_prometheus(target) { text(target, "/expr") } else { "" };
    let wrong = selectors(expression).into_iter().filter(|selector| !holds(selector));
    wrong.map(|selector| format!("{} {complaint}", selector.metric)).collect()
}

/// `increase` too, which the linter lets pass: over an interval of its own it misses what comes
/// between two points of a graph, or counts it at both.
fn target_rate_interval(_: &Dashboard, _: &Value, target: &Value) -> Complaints {
    let holds = |selector: &Selector| {
        !RATES.contains(&selector.function.as_str()) || selector.range.as_deref() == Some("$__rate_interval")
    };
    selectors_unless(target, holds, "has a rate over an interval of its own")
}

fn matcher(target: &Value, wanted: &str) -> Complaints {
    let holds = |selector: &Selector| selector.matchers.contains(wanted);
    selectors_unless(target, holds, &format!("is not limited by {wanted}"))
}

fn target_counter_agg(_: &Dashboard, _: &Value, target: &Value) -> Complaints {
    let holds = |selector: &Selector| {
        let rate = RATES.contains(&selector.function.as_str()) && selector.range.is_some();
        !selector.metric.ends_with("_total") || rate
    };
    selectors_unless(target, holds, "is a counter and not in rate, irate or increase")
}
