//! What every part uses: codes, languages, the anonymous scan and its columns, problems found in
//! files, metric families, values that are swapped whole.
//!
//! Owns the project's vocabulary. Nothing here reads a file, opens a socket or starts a thread.

mod backoff;
mod code;
mod day;
mod diagnostics;
mod language;
mod lock;
pub mod metrics;
mod published;
pub mod scan;
mod secret;
mod spreadsheet;
mod stage;

pub use backoff::Backoff;
pub use code::{Code, CodeError, spoiled};
pub use day::{Day, date_of, day_of};
pub use diagnostics::{Problem, Problems, file_name, newlines};
pub use language::{LanguagePreference, Tag, parse_tag};
pub use lock::lock;
pub use published::Published;
pub use secret::Secret;
pub use spreadsheet::defused;
pub use stage::Stage;
