//! The commands. One file for each; they write to what `main` gives them.

mod backfill;
mod check;
mod codes;
mod journal;
mod resolve;
mod schema;
mod serve;
mod usage;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use crate::app::StartError;
use crate::config::Config;
use crate::core::Problems;
use crate::journal::ReadError;
use crate::registry::Registry;
use crate::store::StoreError;

/// The service behind the QR codes on street plates, relics and scenic sites
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    /// The configuration file
    #[arg(long, global = true, default_value = "config/waypost.toml", value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Check(check::Check),
    Resolve(resolve::Resolve),
    Usage(usage::UsageOf),
    Journal(journal::JournalCommand),
    Codes(codes::Codes),
    Schema(schema::SchemaOf),
    Backfill(backfill::Backfill),
}

/// Why a command fails. The text is what the person at the terminal is told.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration or the registry has problems; all of them, a line each.
    #[error("{0}")]
    Problems(#[from] Problems),
    /// The edge does not start.
    #[error("{0}")]
    Start(#[from] StartError),
    /// The store does not answer.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A file or folder can't be used.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file can't be read as a segment of the journal.
    #[error("{path}: {error}")]
    Segment {
        /// Which.
        path: PathBuf,
        /// Why.
        error: ReadError,
    },
    /// The command's words are off, or what it looked for is not there.
    #[error("{0}")]
    Refused(String),
    /// The output can't be written.
    #[error("the output can't be written: {0}")]
    Output(#[from] io::Error),
}

/// How one thing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people
    Text,
    /// For a program
    Json,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TableFormat {
    /// For people
    Table,
    /// For a spreadsheet
    Csv,
    /// For a program
    Json,
}

impl Arguments {
    /// Runs the command.
    pub fn run(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        match &self.command {
            Command::Check(check) => check.run(&self.config, out),
            Command::Serve(serve) => serve.run(Config::read(&self.config)?),
            Command::Resolve(resolve) => resolve.run(&Config::read(&self.config)?, out),
            Command::Usage(usage) => usage.run(&Config::read(&self.config)?, out),
            Command::Journal(journal) => journal.run(&Config::read(&self.config)?, out),
            Command::Schema(schema) => schema.run(&Config::read(&self.config)?, out),
            Command::Backfill(backfill) => backfill.run(&Config::read(&self.config)?, out),
            Command::Codes(codes) => codes.run(&Config::read(&self.config)?, out),
        }
    }
}

/// The registry as the files are now.
fn registry(config: &Config) -> Result<Registry, Problems> {
    config.registry.files.read()?.parse(&config.registry.files, &config.registry.rules)
}

/// A time on the command line: as in the registry's files, or a day, which begins at midnight.
fn time(config: &Config, option: &str, text: &str) -> Result<jiff::Timestamp, CommandError> {
    let midnight = format!("{text}T00:00");
    let text = if text.parse::<jiff::civil::Date>().is_ok() && !text.contains(':') { &midnight } else { text };
    let wrong = |error: &dyn std::fmt::Display| CommandError::Refused(format!("{option}: {error}"));
    let ms = config.registry.rules.time(text).map_err(|error| wrong(&error))?;
    jiff::Timestamp::from_millisecond(ms).map_err(|error| wrong(&error))
}

fn of_file(path: &Path) -> impl FnOnce(io::Error) -> CommandError + '_ {
    |error| CommandError::File { path: path.to_owned(), error }
}
