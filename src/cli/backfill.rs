//! `waypost backfill`

use std::io::Write;
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::CommandError;
use crate::config::Config;
use crate::core::Backoff;
use crate::store::{ClickHouse, Sqlite, StoreError};

/// Carry the embedded store's scans over into ClickHouse, once each
///
/// Goes from store.path to store.url, batch by batch under the batches' own identities.
/// It can be stopped at any moment and run again: it goes on where it was, and a batch
/// that had arrived is not counted twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost backfill")]
pub(super) struct Backfill {}

/// Tries of a batch before the command gives up; the pauses between them add up to half a minute.
const TRIES: u32 = 8;

impl Backfill {
    #[allow(clippy::unused_self, reason = "as the other commands")]
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
        let path = &config.store.path;
        if !path.exists() {
            return Err(CommandError::Refused(format!(
                "{} (store.path) is not there; there is nothing to carry over",
                path.display()
            )));
        }
        let from = Sqlite::open(path)?;
        let mut to = ClickHouse::open(&config.store.clickhouse, &config.registry.rules.timezone)?;
        let (left, all) = from.backfill_left()?;
        let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} scans, {per_sec}, {eta} left");
        let bar = ProgressBar::new(all).with_position(all - left);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let mut carried = 0;
        while let Some((number, batch)) = from.backfill_next()? {
            retried(|| to.insert(&batch))?;
            from.backfill_done(number)?;
            carried += batch.scans.len();
            bar.inc(batch.scans.len() as u64);
        }
        bar.finish_and_clear();
        writeln!(out, "{carried} scans carried over; {all} in all are in ClickHouse")?;
        Ok(())
    }
}

/// Tries again where that can help.
fn retried(mut insert: impl FnMut() -> Result<(), StoreError>) -> Result<(), StoreError> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_mins(1));
    for _ in 1..TRIES {
        match insert() {
            Err(StoreError::Unavailable(_) | StoreError::Temporary(_)) => thread::sleep(backoff.next_pause()),
            result => return result,
        }
    }
    insert()
}
