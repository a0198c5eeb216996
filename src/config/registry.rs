//! `[registry]`: the tables, and what they are checked against.

use std::time::Duration;

use jiff::tz::TimeZone;
use toml::de::DeValue;
use url::Url;

use super::reader::Section;
use super::values::{ValueError, boolean, duration, expected, number, shown, some_strings, string};
use super::{HOUR, SECOND};
use crate::core::{Tag, parse_tag};
use crate::registry::{HostPattern, Rules};
use crate::source::Files;

/// Where places, signs and overrides come from.
#[derive(Debug, Clone)]
pub struct Registry {
    /// The tables.
    pub files: Files,
    /// What they are checked against.
    pub rules: Rules,
    /// Most signs that a reload may lose, as a share from 0 to 1.
    pub max_shrink: f64,
    /// How often files are looked at, besides being watched.
    pub poll: Duration,
}

impl Registry {
    pub(super) fn read(mut section: Section<'_, '_>, public_host: &str) -> Self {
        let files = Files {
            places: section.path("places", "places.csv"),
            signs: section.path("signs", "signs.csv"),
            overrides: section.path("overrides", "overrides.csv"),
        };
        let vietnamese = parse_tag("vi").expect("it is a language tag");
        let here = TimeZone::get("Asia/Ho_Chi_Minh").expect("all time zones are compiled in");
        let rules = Rules {
            default_language: section.get("default_language", vietnamese, language),
            timezone: section.get("timezone", here, zone),
            allowed_hosts: section.required("allowed_hosts", Vec::new(), hosts),
            allow_http: section.get("allow_http", false, boolean),
            public_host: public_host.to_owned(),
        };
        let max_shrink = section.get("max_shrink", 0.5, number(0.0, 1.0));
        let poll = section.get("poll", 5 * SECOND, duration(Duration::from_millis(100), HOUR));
        section.finish();
        Self { files, rules, max_shrink, poll }
    }

    /// Where `/` leads: checked as a target. Empty stays empty.
    pub(super) fn home(&self, value: &DeValue<'_>) -> Result<String, ValueError> {
        let url = string(value)?;
        if url.is_empty() {
            return Ok(url);
        }
        if !self.rules.allowed_hosts.is_empty() {
            return Ok(self.rules.target(&url)?);
        }
        // That `allowed_hosts` is wrong is a problem of its own; the host of this URL is not to blame.
        let host = Url::parse(&url).ok().and_then(|url| HostPattern::parse(url.host_str()?).ok());
        let rules = Rules { allowed_hosts: host.into_iter().collect(), ..self.rules.clone() };
        Ok(rules.target(&url)?)
    }
}

fn hosts(value: &DeValue<'_>) -> Result<Vec<HostPattern>, ValueError> {
    let list = some_strings(value, "one host such as \"langson.gov.vn\" or \"*.langson.gov.vn\"")?;
    Ok(list.iter().map(|text| HostPattern::parse(text)).collect::<Result<_, _>>()?)
}

fn language(value: &DeValue<'_>) -> Result<Tag, ValueError> {
    let wrong = || expected("a language tag such as \"vi\" or \"zh-Hant\"", shown(value));
    parse_tag(&string(value)?).ok_or_else(wrong)
}

fn zone(value: &DeValue<'_>) -> Result<TimeZone, ValueError> {
    let wrong = || expected("an IANA time zone such as \"Asia/Ho_Chi_Minh\"", shown(value));
    TimeZone::get(&string(value)?).map_err(|_| wrong())
}
