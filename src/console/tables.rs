//! The tables as they are on the disk, for a page.
//!
//! Owns how long a page waits for them. A share that hangs holds up a few threads that only read, and not those that
//! answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Visit;
use crate::core::{Problems, file_name};
use crate::source::Sources;

/// A page waits so long.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Reads at a time; with more the tables count as hanging.
const MOST_READERS: usize = 16;

static READERS: AtomicUsize = AtomicUsize::new(0);

/// Counts a read for as long as it lasts.
struct Reader;

impl Reader {
    fn new() -> Option<Self> {
        let next = |readers| (readers < MOST_READERS).then_some(readers + 1);
        READERS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok().then_some(Self)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        READERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads them, or says why that can't be done.
pub(super) fn tables(visit: &Visit<'_>) -> Result<Sources, Problems> {
    let files = &visit.parts.files;
    let hangs = || {
        let mut problems = Problems::default();
        let text = format!("expected the tables within {} s, found no answer", TIMEOUT.as_secs());
        problems.add(&file_name(&files.places), 0, "", text);
        problems
    };
    let reader = Reader::new().ok_or_else(hangs)?;
    let (sender, receiver) = mpsc::channel();
    let read = {
        let files = files.clone();
        move || {
            let tables = files.read();
            drop(reader);
            // Nobody may be waiting any more.
            sender.send(tables).ok();
        }
    };
    thread::Builder::new().name("console-read".to_owned()).spawn(read).map_err(|_| hangs())?;
    receiver.recv_timeout(TIMEOUT).map_err(|_| hangs())?
}
