//! The rules that dashboards are held to: grafana/dashboard-linter's, by its names, and this
//! project's own. What a rule finds is an error unless `grafana/lint.yaml` excludes it.

mod exclusions;
mod house;
mod linter;
mod promql;

use std::fmt;

use serde_json::Value;

use crate::grafana::Dashboard;
pub use exclusions::Exclusions;

/// What a rule says against a dashboard, a panel or a target; nothing, if it is content.
type Complaints = Vec<String>;

#[derive(Clone, Copy)]
pub enum Check {
    /// Sees the other dashboards too.
    Dashboard(fn(&Dashboard, &[Dashboard]) -> Complaints),
    /// Every panel but rows.
    Panel(fn(&Dashboard, &Value) -> Complaints),
    /// Every target and its panel.
    Target(fn(&Dashboard, &Value, &Value) -> Complaints),
}

/// Every rule by its name.
pub fn rules() -> Vec<(&'static str, Check)> {
    [linter::RULES, house::RULES].concat()
}

/// A complaint, and where it belongs.
#[derive(Debug, PartialEq)]
pub struct Finding {
    pub rule: &'static str,
    pub dashboard: String,
    pub panel: Option<String>,
    pub target: Option<usize>,
    pub complaint: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.dashboard)?;
        if let Some(panel) = &self.panel {
            write!(f, ", panel {panel:?}")?;
        }
        if let Some(target) = self.target {
            write!(f, ", target {target}")?;
        }
        write!(f, ": {}", self.complaint)
    }
}

/// Everything that the rules find.
pub fn lint(dashboards: &[Dashboard]) -> Vec<Finding> {
    rules().into_iter().flat_map(|(rule, check)| findings(rule, check, dashboards)).collect()
}

/// Everything that one rule finds.
pub fn findings(rule: &'static str, check: Check, dashboards: &[Dashboard]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for dashboard in dashboards {
        let mut add = |panel: Option<&Value>, target, complaints: Complaints| {
            findings.extend(complaints.into_iter().map(|complaint| Finding {
                rule,
                dashboard: text(&dashboard.json, "/title").to_owned(),
                panel: panel.map(|panel| text(panel, "/title").to_owned()),
                target,
                complaint,
            }));
        };
        if let Check::Dashboard(check) = check {
            add(None, None, check(dashboard, dashboards));
        }
        for panel in dashboard.panels() {
            if let Check::Panel(check) = check {
                add(Some(panel), None, check(dashboard, panel));
            }
            if let Check::Target(check) = check {
                for (index, target) in list(panel, "/targets").enumerate() {
                    add(Some(panel), Some(index), check(dashboard, panel, target));
                }
            }
        }
    }
    findings
}

fn unless(holds: bool, complaint: impl Into<String>) -> Complaints {
    if holds { Vec::new() } else { vec![complaint.into()] }
}

/// The text at a pointer, empty where there is none.
pub fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items at a pointer, none where there is no list.
pub fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The variables that choose a data source.
fn sources(dashboard: &Dashboard) -> Vec<&Value> {
    dashboard.variables().into_iter().filter(|variable| variable["type"] == "datasource").collect()
}

fn is_prometheus(query: &Value) -> bool {
    query["datasource"]["type"] == "prometheus"
}
