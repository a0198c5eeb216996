//! `waypost`: arguments → command → what it says → exit code.

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
        // Whoever reads our output has seen enough of it.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        // It has threads that may still write to standard error, and must end whoever reads that.
        Err(CommandError::Start(error)) => {
            waypost::system::logging::say(&format!("{error}\n"), Duration::from_secs(1));
            ExitCode::FAILURE
        }
        Err(error) => {
            writeln!(io::stderr(), "{error}").ok();
            ExitCode::FAILURE
        }
    }
}
