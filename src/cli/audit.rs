//! `waypost audit`

use std::io::Write;

use clap::Subcommand;

use super::CommandError;
use crate::config::Config;
use crate::history::{self, Database, DatabaseError, NoHead};

/// Look at the history of what was done at the console
///
/// May be used while an edge is running.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost audit verify --head 17:0123456789abcdef")]
pub(super) struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Look at every entry and at the chain that they are in; exits with 1 if anything is wrong
    ///
    /// Whoever may write the file can make the whole history anew: only a head that was noted elsewhere (the log, the
    /// metrics, a report) shows that.
    #[command(after_help = "Example:\n  waypost audit verify --head 17:0123456789abcdef")]
    Verify {
        /// A head that was noted: the entry's number, a colon, and 16 hexadecimal digits
        #[arg(long, value_name = "SEQ:HEX16", value_parser = noted_head)]
        head: Option<Noted>,
    },
}

/// What was noted of a head: number and first bits.
type Noted = (i64, u64);

fn noted_head(text: &str) -> Result<Noted, NoHead> {
    history::noted_head(text)
}

impl Audit {
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
        let Action::Verify { head } = &self.action;
        let of = |source: DatabaseError| CommandError::Console { path: config.console.path.clone(), source };
        let mut connection = Database::open_to_read(&config.console.path).map_err(of)?;
        let snapshot = connection.transaction().map_err(|error| of(error.into()))?;
        let found = history::verify(&snapshot, *head).map_err(|error| of(error.into()))?;
        for problem in &found.problems {
            writeln!(out, "{problem}")?;
        }
        writeln!(out, "{} entries, head {}", found.entries, found.head)?;
        match found.problems.len() {
            0 => Ok(()),
            problems => Err(CommandError::NotWhole { problems }),
        }
    }
}
