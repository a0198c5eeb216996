//! `waypost serve`

use std::io::{self, IsTerminal as _};

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;

use super::CommandError;
use crate::app::App;
use crate::config::{Config, LogFormat};

/// Answer scans until SIGINT or SIGTERM (SIGHUP reads the registry again)
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost serve --config /etc/waypost/waypost.toml\n\nRUST_LOG=debug says more.")]
pub(super) struct Serve {}

impl Serve {
    #[allow(clippy::unused_self, reason = "as the other commands")]
    pub fn run(&self, config: Config) -> Result<(), CommandError> {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal());
        match config.log {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().init(),
        }
        raise_descriptor_limit();
        // What the edge writes is for its owner alone.
        rustix::process::umask(Mode::RWXG | Mode::RWXO);
        Ok(App::build(config)?.serve()?)
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
