//! `[log]`: the log on standard error while the edge serves.

use super::reader::Section;
use super::values::one_of;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: each line is a JSON object.
    Json,
}

pub(super) fn read(mut section: Section<'_, '_>) -> LogFormat {
    let formats = one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let format = section.get("format", LogFormat::Text, formats);
    section.finish();
    format
}
