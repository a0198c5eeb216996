//! The three tables read together, as they stood at one time.
//!
//! Owns the promise that none changed while another was read. Each is read on its own thread, so
//! one that hangs delays the others by the timeout of its thread, and no longer.

use super::files::{TABLES, TableError};
use super::table_thread::{SETTLE, TableState, TableThread};

/// A table that is written while it is read is read again so many times; then it is a problem.
const TRIES: usize = 10;

/// When tables are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// At once, because a reload was asked for.
    Now,
    /// Because a table has changed: it counts once it has settled.
    Settled,
}

/// The contents of the three, or why there are none.
pub(super) fn gather(tables: &[TableThread; 3], when: When) -> [Result<Vec<u8>, TableError>; 3] {
    let mut tries = 0;
    loop {
        let read = gather_once(tables, when);
        let changed = read.iter().any(|read| matches!(read, Err(TableError::Changed)));
        if when == When::Settled || !changed || tries == TRIES {
            return read;
        }
        tries += 1;
        drop(read);
        std::thread::sleep(SETTLE / 4);
    }
}

fn gather_once(tables: &[TableThread; 3], when: When) -> [Result<Vec<u8>, TableError>; 3] {
    // A table that never settles is read twice, now and then, in case only its times change.
    let restless = TABLES.map(|at| when == When::Settled && tables[at].state() == TableState::NeverSettles);
    let asked = TABLES.map(|at| (!restless[at] || tables[at].may_be_tried()).then(|| tables[at].read(restless[at])));
    let mut readings = TABLES.map(|at| asked[at].map(|ticket| tables[at].reading(ticket)));
    // None may have changed while another was read: a link that leads to all may have been swapped.
    let looks = TABLES.map(|at| readings[at].is_some().then(|| tables[at].look_now()));
    TABLES.map(|at| {
        let (Some(reading), Some(looked)) = (readings[at].take(), looks[at]) else { return Err(TableError::Changed) };
        let table = &tables[at];
        let bytes = match reading.bytes {
            Ok(_) if !looked => Err(TableError::Hangs),
            Ok(_) if !restless[at] && !table.is_still(reading.stamp) => Err(TableError::Changed),
            bytes => bytes,
        };
        match &bytes {
            Err(TableError::Hangs) => table.missed(),
            Err(TableError::Changed) => {}
            Ok(_) | Err(_) => table.took(reading.stamp),
        }
        bytes
    })
}
