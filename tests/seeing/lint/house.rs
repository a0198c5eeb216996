//! This project's own rules: what would leave a dashboard half translated, a link dead, a
//! panel covered, or a query in a shape that the plugin doesn't take.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::Check::{Dashboard as OfDashboard, Panel as OfPanel, Target as OfTarget};
use super::{Check, Complaints, list, sources, text, unless};
use crate::grafana::{CLICKHOUSE, Dashboard};

pub const RULES: &[(&str, Check)] = &[
    ("dashboard-settings-rule", OfDashboard(dashboard_settings)),
    ("dashboard-identity-rule", OfDashboard(dashboard_identity)),
    ("dashboard-links-rule", OfDashboard(dashboard_links)),
    ("template-provisioned-rule", OfDashboard(template_provisioned)),
    ("template-filter-rule", OfDashboard(template_filter)),
    ("template-reference-rule", OfDashboard(template_reference)),
    ("dashboard-language-rule", OfDashboard(dashboard_language)),
    ("panel-identity-rule", OfDashboard(panel_identity)),
    ("panel-grid-rule", OfDashboard(panel_grid)),
    ("panel-language-rule", OfPanel(|_, panel| vietnamese(text(panel, "/title")))),
    ("panel-format-rule", OfPanel(panel_format)),
    ("target-datasource-rule", OfTarget(target_datasource)),
    ("target-clickhouse-rule", OfTarget(target_clickhouse)),
];

fn dashboard_settings(dashboard: &Dashboard, _: &[Dashboard]) -> Complaints {
    let wanted = [
        ("/id", Value::Null),
        ("/schemaVersion", json!(39)),
        ("/timezone", json!("Asia/Ho_Chi_Minh")),
        ("/graphTooltip", json!(1)),
        ("/tags", json!(["waypost"])),
    ];
    let setting = |(pointer, value): (&str, Value)| {
        unless(dashboard.json.pointer(pointer) == Some(&value), format!("{pointer} is not {value}"))
    };
    let described = unless(!text(&dashboard.json, "/description").is_empty(), "no description");
    [described, wanted.into_iter().flat_map(setting).collect()].concat()
}

/// Links, bookmarks and alert rules name the uid; the file's name follows from it.
fn dashboard_identity(dashboard: &Dashboard, all: &[Dashboard]) -> Complaints {
    let uid = text(&dashboard.json, "/uid");
    let same =
        |pointer| all.iter().filter(|other| text(&other.json, pointer) == text(&dashboard.json, pointer)).count();
    [
        unless(uid == format!("waypost-{}", dashboard.name), format!("uid {uid:?} is not waypost-{}", dashboard.name)),
        unless(
            (8..=40).contains(&uid.len()) && uid.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)),
            "the uid is malformed",
        ),
        unless(same("/uid") == 1, "another dashboard has its uid"),
        unless(same("/title") == 1, "another dashboard has its title"),
    ]
    .concat()
}

/// The list of the other dashboards keeps the time range, and a link to one of them leads
/// somewhere, with variables that exist there.
fn dashboard_links(dashboard: &Dashboard, all: &[Dashboard]) -> Complaints {
    let wanted = |link: &Value| {
        link["type"] == "dashboards" && link["keepTime"] == true && list(link, "/tags").any(|tag| tag == "waypost")
    };
    let mut complaints = unless(list(&dashboard.json, "/links").any(wanted), "no links to the others by their tag");
    for url in strings(&dashboard.json).into_iter().filter(|string| string.starts_with("/d/")) {
        let uid = url[3..].split(['/', '?']).next().unwrap_or_default();
        let Some(other) = all.iter().find(|other| other.json["uid"] == uid) else {
            complaints.push(format!("{url} leads nowhere"));
            continue;
        };
        for (at, prefix) in url.match_indices("var-") {
            let name = url[at + prefix.len()..].split('=').next().unwrap_or_default();
            let exists = other.variables().iter().any(|variable| variable["name"] == name);
            complaints.extend(unless(exists, format!("{url}: {uid} has no variable {name}")));
        }
    }
    complaints
}

/// A data source is chosen before anyone has chosen, and it is the one that is provisioned.
fn template_provisioned(dashboard: &Dashboard, _: &[Dashboard]) -> Complaints {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/provisioning/datasources");
    let yaml = fs::read_to_string(folder.join("waypost.yaml")).unwrap();
    let provisioned: Value = yaml_serde::from_str(&yaml).unwrap();
    let check = |variable: &Value| {
        let found = list(&provisioned, "/datasources").find(|source| source["type"] == variable["query"]);
        let uid = found.map(|source| &source["uid"]);
        let complaint = format!("{} starts with {}", variable["name"], variable["current"]["value"]);
        unless(uid.is_some() && uid == variable.pointer("/current/value"), complaint)
    };
    sources(dashboard).into_iter().flat_map(check).collect()
}

/// A filter of several values starts with All, written as the plugin's `$__conditionalAll`
/// takes it; a switch starts with its first value.
fn template_filter(dashboard: &Dashboard, _: &[Dashboard]) -> Complaints {
    let check = |variable: &Value| {
        let name = &variable["name"];
        if variable["type"] == "query" && variable["datasource"]["type"] == CLICKHOUSE && variable["multi"] == true {
            let all = variable["includeAll"] == true && variable.get("allValue") == Some(&Value::Null);
            return unless(
                all && variable["current"]["value"] == json!(["$__all"]),
                format!("{name} does not start with All"),
            );
        }
        if variable["type"] == "custom" {
            let first = text(variable, "/query").split(',').next().unwrap_or_default();
            let value = first.rsplit(" : ").next().unwrap_or_default().trim();
            return unless(text(variable, "/current/value") == value, format!("{name} does not start with {value:?}"));
        }
        Vec::new()
    };
    dashboard.variables().into_iter().flat_map(check).collect()
}

/// Every variable is used, and every variable that is used exists.
fn template_reference(dashboard: &Dashboard, _: &[Dashboard]) -> Complaints {
    let variables = dashboard.variables();
    let names: BTreeSet<&str> = variables.iter().map(|variable| text(variable, "/name")).collect();
    let repeated = strings_at(&dashboard.json, "repeat");
    let used: BTreeSet<&str> = strings(&dashboard.json).into_iter().flat_map(references).chain(repeated).collect();
    let unused = names.difference(&used).map(|name| format!("nothing uses {name}"));
    unused.chain(used.difference(&names).map(|name| format!("no variable {name}"))).collect()
}

/// The variables that a text names, but for Grafana's own: `$area`, `${area:singlequote}`.
fn references(text: &str) -> Vec<&str> {
    let after = text.split('$').skip(1).map(|after| after.strip_prefix('{').unwrap_or(after));
    let name = |after: &'_ str| after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
    let names = after.map(|after| &after[..name(after)]);
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic())).collect()
}

/// Titles of dashboards and rows, and of panels by a rule of their own.
fn dashboard_language(dashboard: &Dashboard, _: &[Dashboard]) -> Complaints {
    let rows = rows(dashboard).chain([&dashboard.json]);
    rows.flat_map(|titled| vietnamese(text(titled, "/title"))).collect()
}

/// A Vietnamese title hardly ever has no letter that English lacks.
fn vietnamese(title: &str) -> Complaints {
    let foreign = title.chars().any(|c| c.is_alphabetic() && !c.is_ascii());
    unless(foreign, format!("{title:?} is not Vietnamese"))
}

fn rows(dashboard: &Dashboard) -> impl Iterator<Item = &Value> {
    list(&dashboard.json, "/panels").filter(|panel| panel["type"] == "row")
}

/// Panels are found by their id and their title.
fn panel_identity(dashboard: &Dashboard, _: &[Dashboard]) -> Complaints {
    let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    let check = |panel: &Value| {
        let title = text(panel, "/title").to_owned();
        let id = panel["id"].as_u64().filter(|id| *id > 0);
        [
            unless(id.is_some_and(|id| ids.insert(id)), format!("{title:?} has no id of its own")),
            unless(titles.insert(title.clone()), format!("{title:?} is the title of two panels")),
        ]
        .concat()
    };
    rows(dashboard).chain(dashboard.panels()).flat_map(check).collect()
}

/// Panels are inside the 24 columns, and none covers another. The panels of a closed row have
/// places of their own.
fn panel_grid(dashboard: &Dashboard, _: &[Dashboard]) -> Complaints {
    let rows = list(&dashboard.json, "/panels").map(|row| list(row, "/panels").collect::<Vec<_>>());
    let groups = rows.chain([list(&dashboard.json, "/panels").collect()]);
    groups.flat_map(|panels| grid(&panels)).collect()
}

fn grid(panels: &[&Value]) -> Complaints {
    let mut complaints = Vec::new();
    for (index, panel) in panels.iter().enumerate() {
        let title = text(panel, "/title");
        let Some((x, y)) = place(panel) else {
            complaints.push(format!("{title:?} has no place in the 24 columns"));
            continue;
        };
        for other in &panels[index + 1..] {
            let covered = place(other)
                .is_some_and(|(a, b)| x.start < a.end && a.start < x.end && y.start < b.end && b.start < y.end);
            complaints.extend(unless(!covered, format!("{title:?} covers {:?}", text(other, "/title"))));
        }
    }
    complaints
}

/// The columns and the lines of a panel.
fn place(panel: &Value) -> Option<(std::ops::Range<u64>, std::ops::Range<u64>)> {
    let of = |name: &str| panel["gridPos"][name].as_u64();
    let (x, y, w, h) = (of("x")?, of("y")?, of("w")?, of("h")?);
    (w > 0 && h > 0 && x + w <= 24).then_some((x..x + w, y..y + h))
}

/// A time series has its own format (0), everything else is a table (1): the plugin makes an
/// error of a time series without rows.
fn panel_format(_: &Dashboard, panel: &Value) -> Complaints {
    let wanted = u8::from(panel["type"] != "timeseries");
    let targets = list(panel, "/targets").filter(|target| target["datasource"]["type"] == CLICKHOUSE);
    targets.flat_map(|target| unless(target["format"] == wanted, format!("its format is not {wanted}"))).collect()
}

/// A target asks the data source of its panel, and that is of the target's type.
fn target_datasource(dashboard: &Dashboard, panel: &Value, target: &Value) -> Complaints {
    let uid = text(target, "/datasource/uid");
    let source = sources(dashboard).into_iter().find(|source| uid == format!("${{{}}}", text(source, "/name")));
    let of_type = source.is_some_and(|source| source["query"] == target["datasource"]["type"]);
    [
        unless(target["datasource"] == panel["datasource"], "it asks another data source than its panel"),
        unless(of_type, format!("{uid:?} is not of its type")),
    ]
    .concat()
}

/// What the plugin takes: SQL of its fourth version; the rows of a time series by time.
fn target_clickhouse(_: &Dashboard, _: &Value, target: &Value) -> Complaints {
    if target["datasource"]["type"] != CLICKHOUSE {
        return Vec::new();
    }
    let sql = text(target, "/rawSql").split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let query_type = if target["format"] == 0 { "timeseries" } else { "table" };
    [
        unless(target["editorType"] == "sql", "it is not SQL"),
        unless(target["queryType"] == query_type, format!("its queryType is not {query_type}")),
        unless(target["pluginVersion"] == "4.20.0", "it is written for another version of the plugin"),
        unless(!sql.is_empty(), "its query is empty"),
        unless(target["format"] != 0 || sql.contains("order by time"), "a time series is not ordered by time"),
    ]
    .concat()
}

/// Every text in a dashboard.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(string) => vec![string],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(fields) => fields.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

/// The texts under a name, at any depth.
fn strings_at<'v>(value: &'v Value, name: &str) -> Vec<&'v str> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| strings_at(item, name)).collect(),
        Value::Object(fields) => {
            let own = fields.get(name).and_then(Value::as_str);
            own.into_iter().chain(fields.values().flat_map(|field| strings_at(field, name))).collect()
        }
        _ => Vec::new(),
    }
}
