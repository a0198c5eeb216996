//! `waypost serve`

use std::io::{self, IsTerminal as _};

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tracing_subscriber::EnvFilter;

use super::CommandError;
use crate::app::{App, StartError};
use crate::config::{Config, LogFormat};
use crate::system::activation::Inherited;
use crate::system::descriptors;
use crate::system::logging::Log;
use crate::system::signals::Signals;

/// Answer visitors until SIGINT or SIGTERM; SIGHUP reads the tables again
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  waypost serve --config /etc/waypost/waypost.toml\n\nThe environment's RUST_LOG sets the level of the log, such as RUST_LOG=debug."
)]
pub(super) struct Serve {}

impl Serve {
    #[allow(clippy::unused_self, reason = "as the other commands")]
    pub fn run(&self, config: Config) -> Result<(), CommandError> {
        // Keys, passwords and visitors' addresses are in memory: no core dump has them, and no other process of
        // this user may read them.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| StartError::System(error.into()))?;
        // Before the first thread.
        let inherited = Inherited::take().map_err(StartError::Activation)?;
        let filter = std::env::var("RUST_LOG").ok().and_then(|text| EnvFilter::try_new(without_trace(&text)).ok());
        let filter = filter.unwrap_or_else(|| EnvFilter::new("info"));
        let log = Log::start().map_err(StartError::System)?;
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(log.clone())
            // They are printed by `eprintln!`, which panics where standard error can't be written.
            .log_internal_errors(false)
            .with_ansi(io::stderr().is_terminal());
        match config.log {
            LogFormat::Text => lines.init(),
            LogFormat::Json => lines.json().init(),
        }
        // Before anything that may take a while, so that a signal ends that, too.
        let signals = Signals::handle(log.clone()).map_err(StartError::System)?;
        descriptors::raise_limit();
        // What the edge writes is for its owner alone.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let served = App::build(config, inherited, log.dropped_lines()).and_then(|app| app.serve(&signals));
        log.finish();
        Ok(served?)
    }
}

/// Directives with `debug` in place of `trace`, which is compiled out. tracing-subscriber warns of that
/// past the log, by `eprintln!`, which blocks or panics where standard error is full.
fn without_trace(directives: &str) -> String {
    let lower = |directive: &str| {
        let (target, level) = directive.rsplit_once('=').map_or(("", directive), |(target, level)| (target, level));
        let is_trace = level.trim().eq_ignore_ascii_case("trace") || level.trim() == "5";
        match (is_trace, target) {
            (false, _) => directive.to_owned(),
            (true, "") => "debug".to_owned(),
            (true, target) => format!("{target}=debug"),
        }
    };
    directives.split(',').map(lower).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::without_trace;

    #[test]
    fn trace_is_asked_for_as_debug() {
        for (asked, given) in [
            ("trace", "debug"),
            ("TRACE", "debug"),
            ("5", "debug"),
            ("info,waypost=trace,hyper=5", "info,waypost=debug,hyper=debug"),
            ("debug", "debug"),
            ("waypost::trace=info", "waypost::trace=info"),
            ("", ""),
        ] {
            assert_eq!(without_trace(asked), given, "{asked}");
        }
    }
}
