//! The tables as they are on the disk, for a page.
//!
//! Owns how long a page waits for them. A share that hangs holds up a few threads that only read, and not those that
//! answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::Visit;
use crate::core::{Problems, file_name};
use crate::source::Sources;

/// A page waits so long.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Reads at a time; with more the tables count as hanging.
const MOST_READERS: usize = 16;

/// The right to read the tables, for so many at a time.
pub struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_READERS)))
    }
}

/// Reads them, or says why that can't be done.
pub(super) fn tables(visit: &Visit<'_>) -> Result<Sources, Problems> {
    let files = &visit.parts.files;
    let reader = visit.parts.readers.0.clone().try_acquire_owned().ok();
    let read = reader.and_then(|reader| files.read_within(TIMEOUT, reader));
    read.unwrap_or_else(|| {
        let mut problems = Problems::default();
        let text = format!("expected the tables within {} s, found no answer", TIMEOUT.as_secs());
        problems.add(&file_name(&files.places), 0, "", text);
        Err(problems)
    })
}
