//! `waypost backfill`

use std::io::{self, IsTerminal as _, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::CommandError;
use crate::config::Config;
use crate::core::Backoff;
use crate::store::{ClickHouse, Sqlite, StoreError};

/// Copy the embedded store's scans to ClickHouse, each exactly once
///
/// From store.path to store.url, batch by batch, each with the identity that it was stored under. The
/// command can be stopped at any moment and run again: it goes on where it was, and a batch that had
/// arrived is not counted twice. (Unless an edge drops a part of it between two runs, by store.keep or
/// store.max_size: let the edges deliver to ClickHouse first.)
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost backfill")]
pub(super) struct Backfill {}

/// Tries of a batch before the command gives up; the pauses between them add up to 25 s.
const TRIES: u32 = 8;
/// How often progress is shown, where standard error is a terminal.
const PROGRESS: Duration = Duration::from_secs(2);

impl Backfill {
    #[allow(clippy::unused_self, reason = "as the other commands")]
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
        let path = &config.store.path;
        if !path.exists() {
            return Err(CommandError::NothingToCarry(path.clone()));
        }
        let from = Sqlite::open(path)?;
        let mut to = ClickHouse::open(&config.store.clickhouse, &config.registry.rules.timezone)?;
        let (left, all) = from.backfill_left()?;
        let (mut carried, mut shown) = (0, Instant::now());
        while let Some((number, batch)) = from.backfill_next()? {
            with_retries(|| to.insert(&batch))?;
            from.backfill_done(number)?;
            carried += batch.scans.len() as u64;
            if shown.elapsed() >= PROGRESS && io::stderr().is_terminal() {
                shown = Instant::now();
                // The command goes on where the terminal is gone.
                writeln!(io::stderr(), "{} of {all} scans", all - left + carried).ok();
            }
        }
        match from.gone()? {
            None => writeln!(out, "{carried} scans carried over; {all} in all are in ClickHouse")?,
            // They may have been carried over before they were dropped.
            Some(gone) => writeln!(
                out,
                "{carried} scans carried over; {} older ones had been dropped here (store.keep, store.max_size)",
                gone.scans
            )?,
        }
        Ok(())
    }
}

fn with_retries(mut insert: impl FnMut() -> Result<(), StoreError>) -> Result<(), StoreError> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_mins(1));
    for _ in 1..TRIES {
        match insert() {
            Err(StoreError::Unavailable(_) | StoreError::Temporary(_)) => thread::sleep(backoff.next_pause()),
            result => return result,
        }
    }
    insert()
}
