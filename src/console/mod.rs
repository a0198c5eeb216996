//! The administrators' page.
//!
//! Owns the console's HTTP: who asks, whether that may be, and the page. It runs on a thread of its own with a
//! few more for what blocks, at the lowest priority, and never on a worker. A page is made whole on the server and needs
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
mod page;
mod pages;
mod preview;
mod repoint;
mod routes;
mod search;
#[cfg(test)]
mod trial;
mod words;

use std::sync::Arc;

use jiff::Timestamp;

pub use figures::{DAYS, Figures, SignFigures, Snapshot};
pub use search::SearchIndex;

use crate::accounts::{Account, Accounts};
use crate::changes::{Applier, Changes};
use crate::history::Database;
use crate::registry::{Registry, Rules};
use crate::source::{Files, Publisher};
use fields::Fields;
use language::Language;

/// What pages are made from.
pub struct Parts {
    /// Accounts, change sets, history.
    pub database: Arc<Database>,
    /// Who may do what.
    pub accounts: Accounts,
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
}
