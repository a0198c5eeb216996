//! `[health]`: how sure an alarm must be, and when signs are judged.

use jiff::civil::Time;
use toml::de::DeValue;

use super::reader::Section;
use super::values::{ValueError, expected, number, shown};
use crate::health::BUDGET;

/// How signs are judged.
#[derive(Debug, Clone, Copy)]
pub struct Health {
    /// False alarms that are promised for a sign and month.
    pub budget: f64,
    /// When the states are computed each day, in the registry's time zone.
    pub at: Time,
}

impl Health {
    pub(super) fn read(mut section: Section<'_, '_>) -> Self {
        let budget = section.get("budget", BUDGET, number(0.0001, 0.1));
        let at = section.get("at", Time::constant(4, 0, 0, 0), time_of_day);
        section.finish();
        Self { budget, at }
    }
}

fn time_of_day(value: &DeValue<'_>) -> Result<Time, ValueError> {
    let read = value.as_str().filter(|text| text.len() == 5).and_then(|text| Time::strptime("%H:%M", text).ok());
    read.ok_or_else(|| expected("a time of day from \"00:00\" to \"23:59\"", shown(value)))
}
