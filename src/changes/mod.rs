//! Change sets: what is to be changed, by whom and why, until the tables have it.
//!
//! Owns the life of a set (draft, submitted, approved, applied, perhaps undone by its inverse), the step
//! that applies it, which survives the end of the process at any instruction, and what is noticed of changes
//! that were made outside.

mod applying;
mod entry;
mod intent;
mod metrics;
mod model;
mod outside;
mod plan;

#[cfg(test)]
mod tests;

pub use applying::{Applier, Counts};
pub use model::{
    APPLIED_FIRST, ChangeError, ChangeSet, Changes, Draft, MAX_CELLS, MAX_REASON, NO_APPROVAL_NEEDED, State,
};
pub use plan::{ImportKind, PlanError, Refused, Replacement, festival, import, replace};
