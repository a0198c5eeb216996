//! From a request to an anonymous scan, on the worker's stack.
//!
//! Owns what is known about a visitor: country and region, kind of client, whether it
//! is a repeat. The address and the user agent come in as borrowed bytes and nothing of
//! them goes out.

mod agent;
mod country;
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
