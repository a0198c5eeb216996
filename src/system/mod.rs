//! What the operating system may do to a process: files that are none, paths that hang, signals,
//! a log nobody reads; and its limits and priorities.
//!
//! Owns the rule that nothing waits without a bound for a file, a pipe or a signal.

pub mod descriptors;
pub mod logging;
pub mod path_thread;
pub mod priority;
pub mod regular_file;
pub mod signals;
mod stamp;

pub use stamp::Stamp;
