//! The commands: one file for each.
//!
//! Owns the arguments and the errors. A command writes to the output that `main` gives it and returns how
//! it ended; only `main` prints errors.

mod audit;
mod backfill;
mod check;
mod codes;
mod console;
mod coverage;
mod generate;
mod health;
mod journal;
mod probe;
mod resolve;
mod schema;
mod serve;
mod usage;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::accounts::AccountError;
use crate::app::StartError;
use crate::config::Config;
use crate::core::{Code, CodeError, Problems};
use crate::history::DatabaseError;
use crate::journal::ReadError;
use crate::registry::{Registry, TimeError};
use crate::store::{By, StoreError};

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
    Probe(probe::Probe),
    Resolve(resolve::Resolve),
    Usage(usage::UsageOf),
    Health(health::HealthOf),
    Coverage(coverage::CoverageOf),
    Journal(journal::JournalCommand),
    Codes(codes::Codes),
    Console(console::ConsoleCommand),
    Schema(schema::SchemaOf),
    Backfill(backfill::Backfill),
    Audit(audit::Audit),
    #[command(hide = true)]
    Generate(generate::Generate),
}

/// Why a command fails. The person at the terminal gets the text of the error and of its sources.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration or the registry has problems; all of them, a line each.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The edge does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file or folder can't be used.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file can't be read as a segment of the journal.
    #[error("{}", path.display())]
    Segment {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// The value of an option is no time.
    #[error("{option}")]
    Time {
        /// Such as `--at`.
        option: &'static str,
        /// What is expected, and what was found.
        source: TimeError,
    },
    /// The value of an option is no age.
    #[error("--older-than: expected an age in years, months, weeks or days such as 2y, 18mo or 90d, found {found:?}")]
    Age {
        /// As it was given.
        found: String,
    },
    /// A time range is empty.
    #[error("--to: expected a time after --from ({from}), found {to}")]
    EmptyRange {
        /// Its inclusive start.
        from: Timestamp,
        /// Its exclusive end.
        to: Timestamp,
    },
    /// What was not scanned can be listed for signs, places and areas only.
    #[error("--silent: expected --by sign, place or area with it, found --by {}", .0.as_str())]
    SilentBy(By),
    /// What is to be resolved is neither an alias nor a code.
    #[error("{text:?} is no code")]
    NotACode {
        /// As it was given.
        text: String,
        /// What keeps it from being one.
        source: CodeError,
    },
    /// No sign has the code.
    #[error("no sign has the code {code}{}", if *is_misread { MISREAD } else { "" })]
    NoSign {
        /// Canonical.
        code: Code,
        /// Whether it has the length of codes that are drawn here, but not the check character.
        is_misread: bool,
    },
    /// Segments of the journal are damaged.
    #[error("{damaged} of {segments} segments are damaged")]
    Damaged {
        /// How many.
        damaged: usize,
        /// Of how many.
        segments: usize,
    },
    /// The admin port does not answer.
    #[error("the admin port {address} does not answer; is the edge running?")]
    NoAnswer {
        /// Where it was asked.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The edge does not want visitors.
    #[error("the admin port {address}: expected status 200, found {status} {said}")]
    NotReady {
        /// Where it was asked.
        address: SocketAddr,
        /// Three digits.
        status: String,
        /// The reason it gives.
        said: String,
    },
    /// The console's file can't be used.
    #[error("{} (console.path)", path.display())]
    Console {
        /// The console's file.
        path: PathBuf,
        /// Why.
        source: DatabaseError,
    },
    /// The history was changed, or a part of it is missing.
    #[error("the history is not whole: {problems} problems")]
    NotWhole {
        /// How many are listed.
        problems: usize,
    },
    /// There is no embedded store.
    #[error("{} (store.path) is not there; there is nothing to carry over", .0.display())]
    NothingToCarry(PathBuf),
    /// An account can't be made or reset.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// No code can be drawn.
    #[error("the system gives no random bytes")]
    Random(#[from] getrandom::Error),
    /// The output can't be written.
    #[error("the output can't be written")]
    Output(#[from] io::Error),
}

const MISREAD: &str = " (its check character does not fit: is a character misread?)";

/// How one thing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// Lines to be read
    Text,
    /// A JSON object, for programs
    Json,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TableFormat {
    /// Aligned columns, to be read
    Table,
    /// Comma-separated values, for spreadsheets
    Csv,
    /// JSON, for programs
    Json,
}

impl Arguments {
    /// Runs the command.
    pub fn run(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        match &self.command {
            Command::Check(check) => check.run(&self.config, out),
            Command::Serve(serve) => serve.run(Config::read(&self.config)?),
            Command::Probe(probe) => probe.run(&self.config, out),
            Command::Resolve(resolve) => resolve.run(&Config::read(&self.config)?, out),
            Command::Usage(usage) => usage.run(&Config::read(&self.config)?, out),
            Command::Health(health) => health.run(&Config::read(&self.config)?, out),
            Command::Coverage(coverage) => coverage.run(&Config::read(&self.config)?, out),
            Command::Journal(journal) => journal.run(&Config::read(&self.config)?, out),
            Command::Schema(schema) => schema.run(&Config::read(&self.config)?, out),
            Command::Backfill(backfill) => backfill.run(&Config::read(&self.config)?, out),
            Command::Audit(audit) => audit.run(&Config::read(&self.config)?, out),
            Command::Codes(codes) => codes.run(&Config::read(&self.config)?, out),
            Command::Console(console) => console.run(&Config::read(&self.config)?, out),
            Command::Generate(generate) => generate.run(),
        }
    }
}

/// The registry as the files are now.
fn registry(config: &Config) -> Result<Registry, Problems> {
    config.registry.files.read()?.parse(&config.registry.files, &config.registry.rules)
}

/// A time on the command line: as in the registry's files, or a day, which begins at midnight.
fn time(config: &Config, option: &'static str, text: &str) -> Result<Timestamp, CommandError> {
    let midnight = format!("{text}T00:00");
    let text = if text.parse::<jiff::civil::Date>().is_ok() && !text.contains(':') { &midnight } else { text };
    let ms = config.registry.rules.time(text).map_err(|source| CommandError::Time { option, source })?;
    // A time within the last second that there is has milliseconds that are out of range.
    Ok(Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX))
}

/// The system's own error, which tells whether somebody has closed the pipe.
fn of_csv(error: csv::Error) -> CommandError {
    CommandError::Output(match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        kind => io::Error::other(format!("{kind:?}")),
    })
}

fn of_file(path: &Path) -> impl FnOnce(io::Error) -> CommandError + '_ {
    |source| CommandError::File { path: path.to_owned(), source }
}
