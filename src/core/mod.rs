//! What every part uses: codes, languages, the anonymous scan and its columns, problems found in
//! files, metric families, values that are swapped whole.
//!
//! Owns the project's vocabulary. Nothing here reads a file, opens a socket or starts a thread.

mod backoff;
mod code;
mod diagnostics;
mod language;
mod lock;
pub mod metrics;
mod published;
pub mod scan;
mod secret;
mod stage;

pub use backoff::Backoff;
pub use code::{Code, CodeError, spoiled};
pub use diagnostics::{Problem, Problems, file_name, newlines};
pub use language::{LanguagePreference, Tag, parse_tag};
pub use lock::lock;
pub use published::Published;
pub use secret::Secret;
pub use stage::Stage;
