//! `[observe]`: what is recorded of a visit.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Section;
use super::values::{boolean, duration, integer, one_of, strings};
use super::{HOUR, SECOND};
use crate::observe::Precision;

/// What is recorded.
#[derive(Debug, Clone)]
pub struct Observe {
    /// Whether scans are recorded at all.
    pub record: bool,
    /// Country databases; the first that knows an address answers.
    pub geoip: Vec<PathBuf>,
    /// How much of an address's origin is recorded.
    pub precision: Precision,
    /// Within this time the same address, user agent and code is a repeat.
    pub repeat_window: Duration,
    /// Most unknown codes that an edge records in a second.
    pub max_unknown_per_second: u32,
}

impl Observe {
    pub(super) fn read(mut section: Section<'_, '_>) -> Self {
        let record = section.get("record", true, boolean);
        let geoip = section.get("geoip", Vec::new(), strings).iter().map(|path| section.beside(path)).collect();
        let precisions =
            one_of(&[("none", Precision::None), ("country", Precision::Country), ("region", Precision::Region)]);
        let precision = section.get("precision", Precision::Region, precisions);
        let repeat_window = section.get("repeat_window", 10 * SECOND, duration(Duration::ZERO, HOUR));
        let max_unknown_per_second = section.get("max_unknown_per_second", 50, integer(0, 1_000_000));
        section.finish();
        Self { record, geoip, precision, repeat_window, max_unknown_per_second }
    }
}
