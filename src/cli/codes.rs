//! `waypost codes`

use std::collections::BTreeSet;
use std::io::Write;

use clap::Subcommand;

use super::{CommandError, registry};
use crate::config::Config;
use crate::core::Code;

/// Draw codes for new signs
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

/// Print new codes that no sign has yet, one on each line
///
/// A code has seven random characters and a check character, without I, L, O and U, in two
/// groups with a hyphen; codes that a spreadsheet would change are not drawn. Nothing is stored:
/// enter the codes in signs.csv before plates are made.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost codes new --count 6")]
struct New {
    /// How many codes
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
}

impl Codes {
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
        let CodesCommand::New(new) = &self.command;
        let registry = registry(config)?;
        let mut drawn = BTreeSet::new();
        while drawn.len() < new.count as usize {
            let code = Code::random()?;
            if registry.sign(code).is_none() && drawn.insert(code) {
                writeln!(out, "{}", code.grouped())?;
            }
        }
        Ok(())
    }
}
