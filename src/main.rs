//! `waypost`: arguments → command → output or error → exit code.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use waypost::cli::{Arguments, CommandError};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = io::stdout().lock();
    let result = arguments.run(&mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output, such as `head`, has closed the pipe.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        // `serve` has threads that may still write to standard error, and must end even if that is not read.
        Err(error @ CommandError::Start(_)) => {
            waypost::system::logging::say(&with_sources(&error), Duration::from_secs(1));
            ExitCode::FAILURE
        }
        Err(error) => {
            write!(io::stderr(), "{}", with_sources(&error)).ok();
            ExitCode::FAILURE
        }
    }
}

/// A line with an error and its sources, each once: the text of some errors repeats that of their source.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = source.source();
    }
    text + "\n"
}
