//! `waypost codes`

use std::collections::BTreeSet;
use std::io::Write;

use clap::Subcommand;

use super::{CommandError, registry};
use crate::config::Config;
use crate::core::Code;

/// Make codes for new signs
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost codes new --count 6")]
pub(super) struct Codes {
    #[command(subcommand)]
    command: CodesCommand,
}

#[derive(Debug, Subcommand)]
enum CodesCommand {
    New(New),
}

/// Draw new codes that no sign has, a line each
///
/// Seven random characters and a check character, without I, L, O and U, in groups
/// with a hyphen and none that a spreadsheet would change. What is printed is not
/// kept anywhere: enter it in signs.csv before printing a plate.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost codes new --count 6")]
struct New {
    /// How many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
}

impl Codes {
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
        let CodesCommand::New(new) = &self.command;
        let registry = registry(config)?;
        let mut drawn = BTreeSet::new();
        while drawn.len() < new.count as usize {
            let code = Code::random()
                .map_err(|error| CommandError::Refused(format!("the system gives no random bytes: {error}")))?;
            if registry.sign(code).is_none() && drawn.insert(code) {
                writeln!(out, "{}", code.grouped())?;
            }
        }
        Ok(())
    }
}
