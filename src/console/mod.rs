//! The administrators' page.
//!
//! Owns the console's HTTP: who asks, whether that may be, and the page. It runs on a thread of its own with a
//! few more for what blocks, which go last, and never on a worker. A page is made whole on the server and needs
//! no script; a request that changes something is a form.
//!
//! A handler is a function of a [`Visit`] and gives an [`Answer`]; `routes` is the one table of what there is
//! and which right it takes.

mod answer;
mod areas;
mod beside;
mod cells_view;
mod chart;
mod csv;
mod elements;
mod fields;
mod figures;
mod forms;
mod language;
mod lists;
mod map;
mod metrics;
mod page;
mod pages;
mod preview;
mod repoint;
mod routes;
mod search;
mod security;
mod server;
mod sign_in;
mod tables;
#[cfg(test)]
mod trial;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::HeaderName;
use ipnet::IpNet;
use jiff::Timestamp;

pub use figures::{DAYS, Figures, SignFigures, Snapshot};
pub use routes::matrix;
pub use search::SearchIndex;
pub use server::Console;
pub use tables::Readers;

use crate::accounts::{Account, Accounts, Role};
use crate::changes::{Applier, ChangeError, Changes, State};
use crate::history::Database;
use crate::registry::{Registry, Rules};
use crate::source::{Files, Publisher};
use fields::Fields;
use language::Language;

/// What the configuration says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The console's address as browsers see it; empty: loopback by its port.
    pub origin: String,
    /// Roles that must have a second factor.
    pub second_factor: Vec<Role>,
    /// Networks of the proxies before it.
    pub proxies: Vec<IpNet>,
    /// The header in which these say who has signed in.
    pub user_header: Option<HeaderName>,
    /// The largest file that is uploaded, in bytes.
    pub max_upload: u64,
}

/// What pages are made from.
pub struct Parts {
    /// Accounts, change sets, history.
    pub database: Arc<Database>,
    /// Who may do what.
    pub accounts: Arc<Accounts>,
    /// What is to be changed.
    pub changes: Arc<Changes>,
    /// Does what is due.
    pub applier: Arc<Applier>,
    /// The registry that serves.
    pub publisher: Arc<Publisher>,
    /// Where the tables are.
    pub files: Files,
    /// What they are checked against.
    pub rules: Rules,
    /// What the plates say before the code.
    pub public_url: String,
    /// How the signs are used.
    pub figures: Arc<Figures>,
    /// What `/signs` and `/places` search in.
    pub index: SearchIndex,
    /// How many pages may read the tables at a time.
    pub readers: Readers,
}

/// Where a one-time link leads, by `console.origin` and the port of `console.listen`.
#[must_use]
pub fn invitation_url(origin: &str, port: u16, token: &str) -> String {
    format!("{}/invite/{token}", security::Origin::new(origin, port).url)
}

impl Parts {
    /// Submits a draft; where no approval is needed it is applied now, or at its time.
    fn submit(&self, number: i64, by: i64, now: Timestamp) -> Result<(), ChangeError> {
        if self.changes.submit(number, by, now)? == State::Approved {
            self.applier.look();
        }
        Ok(())
    }

    /// Has a set applied now, to be reviewed afterwards.
    fn apply_first(&self, number: i64, by: i64, now: Timestamp) -> Result<(), ChangeError> {
        self.changes.apply_first(number, by, now)?;
        self.applier.look();
        Ok(())
    }
}

/// Somebody who is signed in asks for something.
pub(in crate::console) struct Visit<'p> {
    pub parts: &'p Parts,
    pub account: Account,
    /// Of the page.
    pub language: Language,
    pub now: Timestamp,
    /// One generation for the whole page.
    pub registry: Arc<Registry>,
    /// The path, `/signs/7K3M9QX5`.
    pub path: String,
    /// The query of a GET, or the form of a POST.
    pub fields: Fields,
    /// The number of the session; `None`: a proxy says who asks.
    pub session: Option<i64>,
    /// Of whoever asks, behind proxies. No page shows it.
    pub address: IpAddr,
    /// Whether a second factor must be set up before anything else.
    pub must_enrol: bool,
    /// What links that leave the console begin with, without a slash at the end.
    pub origin: &'p str,
}
