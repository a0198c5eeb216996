//! From a request to an anonymous scan, on the worker's stack.
//!
//! Owns what is known about a visit: country and region, kind of client, language asked for, whether it
//! is a repeat. Nothing of the address and the user agent is kept but hashes under keys of this process,
//! in memory.

mod agent;
mod country;
mod database;
mod language;
mod metrics;
mod networks;
mod prefetch;
mod repeat;

pub use agent::{Agents, classify};
pub use country::{CountryFiles, Databases, FileState, Precision};
pub use language::language;
pub use prefetch::is_prefetch;
pub use repeat::{Keys, Repeats};
