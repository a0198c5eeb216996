//! `waypost serve`

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;

use super::CommandError;
use crate::app::{App, StartError};
use crate::config::{Config, LogFormat};
use crate::logging::Log;
use crate::signals::Signals;

/// How long the last lines of the log may take.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Answer scans until SIGINT or SIGTERM (SIGHUP reads the registry again)
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost serve --config /etc/waypost/waypost.toml\n\nRUST_LOG=debug says more.")]
pub(super) struct Serve {}

impl Serve {
    #[allow(clippy::unused_self, reason = "as the other commands")]
    pub fn run(&self, config: Config) -> Result<(), CommandError> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let log = Log::start().map_err(StartError::System)?;
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(log.clone())
            // It would say so by `eprintln!`, which panics where standard error can't be written.
            .log_internal_errors(false)
            .with_ansi(io::stderr().is_terminal());
        match config.log {
            LogFormat::Text => lines.init(),
            LogFormat::Json => lines.json().init(),
        }
        // Before anything that may take a while, so that a signal ends that, too.
        let signals = Signals::heed(log.clone()).map_err(StartError::System)?;
        raise_descriptor_limit();
        // What the edge writes is for its owner alone.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let served = App::build(config, log.losses()).and_then(|app| app.serve(&signals));
        log.finish(LAST_LINES);
        Ok(served?)
    }
}

/// Connections need descriptors, and the usual soft limit is 1,024.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = limit.current, "the limit of open files can't be raised");
    }
}
