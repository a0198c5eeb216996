//! What the operating system may do to a process: paths that hold no file or hang, signals, a log
//! that can't be written; and its limits and priorities.
//!
//! Owns the rule that only a thread made for it waits without a bound for a file, a pipe or a signal.

pub mod activation;
pub mod descriptors;
pub mod logging;
pub mod memory;
pub mod notify;
pub mod pace;
pub mod path_thread;
pub mod priority;
pub mod regular_file;
pub mod secret_file;
pub mod signals;
mod stamp;

pub use stamp::{Identity, Stamp, identity};
