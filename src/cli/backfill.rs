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
/// From store.path to store.url, batch by batch, each under the identity that it has. It can
/// be stopped at any moment and run again: it goes on where it was, and a batch that had
/// arrived is not counted twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost backfill")]
pub(super) struct Backfill {}

/// Tries of a batch before the command gives up; the pauses between them add up to half a minute.
const TRIES: u32 = 8;
/// How often a person at a terminal is told how far it is.
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
        let (mut carried, mut told) = (0, Instant::now());
        while let Some((number, batch)) = from.backfill_next()? {
            with_retries(|| to.insert(&batch))?;
            from.backfill_done(number)?;
            carried += batch.scans.len() as u64;
            if told.elapsed() >= PROGRESS && io::stderr().is_terminal() {
                told = Instant::now();
                // A terminal that is gone does not end it.
                writeln!(io::stderr(), "{} of {all} scans", all - left + carried).ok();
            }
        }
        writeln!(out, "{carried} scans carried over; {all} in all are in ClickHouse")?;
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
