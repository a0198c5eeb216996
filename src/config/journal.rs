//! `[journal]`: scans that are not stored yet.

use std::time::Duration;

use super::reader::Section;
use super::values::{duration, expected, shown_size, size};
use super::{Edge, HOUR, SECOND};
use crate::journal::Settings;

pub(super) fn read(mut section: Section<'_, '_>, edge: &Edge) -> Settings {
    let folder = section.path("dir", "../data/journal");
    let segment = section.get("segment", 16 << 20, size(64 << 10, 1 << 30));
    let seal_after = section.get("seal_after", 5 * SECOND, duration(Duration::from_millis(100), HOUR));
    let seal_after_outage = section.get("seal_after_outage", 300 * SECOND, duration(SECOND, 24 * HOUR));
    let sync_every = section.get("sync_every", SECOND, duration(Duration::from_millis(10), 60 * SECOND));
    let max_size = section.get("max_size", 4 << 30, size(1 << 20, 1 << 50));
    // Each worker has the segment that it writes, and the next one ready.
    let least = 2 * segment * edge.workers as u64;
    if max_size < least {
        let what = format!("at least {}: two segments for each worker ({})", shown_size(least), edge.workers);
        section.problem("max_size", &expected(what, shown_size(max_size)));
    }
    let min_free = section.get("min_free", 512 << 20, size(0, 1 << 50));
    section.finish();
    Settings { folder, edge: edge.name.clone(), segment, seal_after, seal_after_outage, sync_every, max_size, min_free }
}
