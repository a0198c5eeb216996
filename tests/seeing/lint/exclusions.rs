//! `grafana/lint.yaml`: findings that are meant to be, with the reason, in the linter's own
//! format. An entry matches exactly: the dashboard's title, the panel's, and the target's
//! number where one is given. Without entries a rule is excluded everywhere.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Finding, rules};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclusions {
    exclusions: BTreeMap<String, Exclusion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exclusion {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    reason: String,
    dashboard: String,
    panel: Option<String>,
    #[serde(rename = "targetIdx")]
    target: Option<usize>,
}

impl Entry {
    fn matches(&self, finding: &Finding) -> bool {
        let target = self.target.is_none() || self.target == finding.target;
        self.dashboard == finding.dashboard && self.panel == finding.panel && target
    }
}

impl Exclusions {
    pub fn parse(yaml: &str) -> Self {
        yaml_serde::from_str(yaml).expect("the exclusions are in the linter's format")
    }

    /// What is left of the findings, and what is wrong with the exclusions themselves: one that
    /// excludes nothing, gives no reason, or names no rule.
    pub fn apply(&self, findings: Vec<Finding>) -> Vec<String> {
        let mut errors = Vec::new();
        for (rule, exclusion) in &self.exclusions {
            let mut error = |problem: &str| errors.push(format!("exclusion of {rule}: {problem}"));
            if !rules().iter().any(|(name, _)| name == rule) {
                error("no rule has that name");
            }
            let of_rule: Vec<&Finding> = findings.iter().filter(|finding| finding.rule == rule).collect();
            if of_rule.is_empty() {
                error("excludes nothing");
            }
            if exclusion.reason.is_empty()
                && (exclusion.entries.is_empty() || exclusion.entries.iter().any(|entry| entry.reason.is_empty()))
            {
                error("gives no reason");
            }
            for entry in &exclusion.entries {
                if !of_rule.iter().any(|finding| entry.matches(finding)) {
                    error(&format!("excludes nothing: {entry:?}"));
                }
            }
        }
        errors.extend(findings.iter().filter(|finding| !self.excludes(finding)).map(ToString::to_string));
        errors
    }

    fn excludes(&self, finding: &Finding) -> bool {
        let exclusion = self.exclusions.get(finding.rule);
        exclusion.is_some_and(|exclusion| {
            exclusion.entries.is_empty() || exclusion.entries.iter().any(|entry| entry.matches(finding))
        })
    }
}
