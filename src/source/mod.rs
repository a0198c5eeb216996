//! The registry's three tables on the disk: read, checked, published, and kept as a copy.
//!
//! Owns everything between the files that people edit and the generation that serves. `files` reads
//! a table and `csv` its rows, which `sources` gives to the registry's builder, by `in_order` on several cores; `table_thread` and
//! `folder_watch` know when a table has changed, so that no one else waits for its disk; `gather` reads
//! the three together, `publisher` makes a new generation of them or refuses them, `state` is the result
//! for operators, and `watch` starts a reload when a table has changed. `last_good` is the copy that
//! serves where the tables are broken at the start. `cells` finds single cells and changes their
//! bytes alone, `upload` reads the rows that somebody sends, `writing` puts the result on the disk and publishes it, and `office` knows who has a table open elsewhere.

mod cells;
mod csv;
mod files;
mod folder_watch;
mod gather;
mod in_order;
mod last_good;
mod metrics;
mod office;
mod publisher;
mod sources;
mod state;
mod table_thread;
mod upload;
mod watch;
mod writing;

pub use cells::{CellChange, Cells, Conflict, TableName};
pub use files::Files;
pub use last_good::{LastGood, LoadError};
pub use publisher::{Publisher, RegistryError, Reload};
pub use sources::Sources;
pub use state::State;
pub use upload::{Upload, UploadedRow};
pub use watch::watch;
pub use writing::{WriteError, Writing, replace_file};
