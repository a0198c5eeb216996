//! The state of the registry, as it is shown and logged.
//!
//! Owns the result of the last reload. A set of problems is logged once, and not again at each reload
//! that meets the same.

use std::hash::BuildHasher as _;

use jiff::Timestamp;

use super::publisher::{RegistryError, Reload};
use crate::core::Problems;

/// Problems of a new set that are logged; `/status` and `waypost check` show more.
const LOGGED: usize = 5;

/// The state of the registry, for `/status` and the metrics.
#[derive(Debug, Clone)]
pub struct State {
    /// Whether the last reload took all of the tables.
    pub last_reload_successful: bool,
    /// When one last did; `None` if none has since the start.
    pub last_success: Option<Timestamp>,
    /// What was wrong at the last reload, a line each.
    pub problems: Vec<String>,
    /// Whether the generation that serves comes from the last-known-good copy.
    pub from_last_good: bool,
    /// Names of the tables that reloads go on without: they change all the time, or do not answer.
    pub unsettled: Vec<String>,
    /// Reloads that published a generation or found nothing new, since the start.
    pub succeeded: u64,
    /// Reloads that were refused, since the start.
    pub refused: u64,
}

/// The state, and which of its problems were logged.
pub(super) struct LoggedState {
    pub state: State,
    /// A hash of the problems that were logged last.
    logged: Option<u64>,
}

impl LoggedState {
    /// After a start from the tables.
    pub fn good() -> Self {
        let state = State {
            last_reload_successful: true,
            last_success: Some(Timestamp::now()),
            problems: Vec::new(),
            from_last_good: false,
            unsettled: Vec::new(),
            succeeded: 1,
            refused: 0,
        };
        Self { state, logged: None }
    }

    /// After a start from the last-known-good copy, because of `error`.
    pub fn from_last_good(error: RegistryError) -> Self {
        let mut logged = Self::good();
        logged.record(&Err(error), &Problems::default());
        logged.state.last_success = None;
        logged.state.from_last_good = true;
        logged.state.succeeded = 0;
        logged
    }

    /// Records the result of a reload, and logs its problems unless they are those that were logged last.
    /// `kept` are the problems of tables that kept the contents that serve.
    pub fn record(&mut self, result: &Result<Reload, RegistryError>, kept: &Problems) {
        let state = &mut self.state;
        let (text, what) = match result {
            Ok(_) => {
                state.succeeded += 1;
                (kept.to_string(), "a table can't be read and stays as it was, the others are published")
            }
            Err(error) => {
                state.refused += 1;
                (error.to_string(), "registry refused, the old one keeps serving")
            }
        };
        state.problems = text.lines().map(str::to_owned).collect();
        state.last_reload_successful = state.problems.is_empty();
        if state.last_reload_successful {
            state.last_success = Some(Timestamp::now());
            state.from_last_good = false;
            self.logged = None;
            return;
        }
        let set = Some(foldhash::fast::FixedState::default().hash_one(&state.problems));
        if self.logged == set {
            tracing::debug!(problems = state.problems.len(), "{what}: the same problems as before");
            return;
        }
        self.logged = set;
        for problem in state.problems.iter().take(LOGGED) {
            tracing::error!("{what}: {problem}");
        }
        if state.problems.len() > LOGGED {
            let more = state.problems.len() - LOGGED;
            tracing::error!("{what}: and {more} more problems; /status on the admin port and waypost check show them");
        }
    }
}
