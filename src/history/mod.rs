//! What was done to the registry and to the accounts, and the file that it is kept in.
//!
//! Owns the console's database: its tables, its version, and how it is written (one transaction for
//! each thing that is done, durable before it counts). And the history: append-only, each entry chained to
//! the one before by a hash, so that a head that has left the machine shows whether it was changed since.

mod database;
mod entry;
mod find;
mod metrics;
mod verify;

#[cfg(test)]
mod tests;

pub use database::{Database, DatabaseError};
pub use entry::{Action, Entry, Head, NewEntry, append, append_about, head};
pub use find::{Filter, list};
pub use verify::{NoHead, Verification, noted_head, verify};
