//! How the signs are used, as the store has counted it: kept in memory and renewed in the background, so that no page
//! waits for a store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use jiff::civil::Date;

use crate::core::{Code, lock};
use crate::health::State;

/// Days that a small chart shows.
pub const DAYS: usize = 30;

/// The figures, as of the last time that the store answered.
#[derive(Debug, Default)]
pub struct Figures {
    latest: Mutex<Arc<Snapshot>>,
}

/// The figures at one time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// When they were taken; `None`: not yet since the start.
    pub taken: Option<Timestamp>,
    /// The last of the days, in the registry's time zone.
    pub today: Option<Date>,
    /// Of signs that were scanned, or have a state.
    pub signs: HashMap<Code, SignFigures>,
    /// Whether states of signs have been computed since the start; without them nothing is called silent.
    pub has_states: bool,
    /// Why there are no newer ones, as the store says.
    pub problem: Option<String>,
}

/// Of one sign.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignFigures {
    /// Headline scans on each of the last days, the oldest first; the last is today.
    pub days: [u32; DAYS],
    /// Its last headline scan, as far as the store keeps them.
    pub last: Option<Timestamp>,
    /// How it is.
    pub state: Option<State>,
}

impl Figures {
    /// The latest. Never waits.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        lock(&self.latest).clone()
    }
}

impl Snapshot {
    /// Headline scans of the last 30 days.
    pub fn scans(&self, code: Code) -> u64 {
        self.signs.get(&code).map_or(0, |sign| sign.days.iter().map(|&scans| u64::from(scans)).sum())
    }
}
