//! `waypost check`

use std::io::Write;
use std::path::Path;

use super::{CommandError, registry};
use crate::config::{Config, store_warnings};
use crate::core::{Problem, Tag};
use crate::observe::CountryFiles;
use crate::registry::Status;

/// Validate the configuration and the tables; opens no port and writes nothing
///
/// Prints every problem with its file and line. Exits with 0 if there is none, or else with 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost check && systemctl reload waypost")]
pub(super) struct Check {}

impl Check {
    #[allow(clippy::unused_self, reason = "as the other commands")]
    pub fn run(&self, path: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
        let (config, mut problems) = Config::examine(path);
        // With a wrong `[registry]` the tables would be checked by other rules than those that are meant.
        let readable = config.filter(|_| problems.more == 0 && problems.list.iter().all(is_elsewhere));
        let (config, registry) = match readable.map(|config| (registry(&config), config)) {
            Some((Ok(registry), config)) if problems.is_empty() => (config, registry),
            Some((Err(more), _)) => {
                problems.append(more);
                return Err(problems.into());
            }
            _ => return Err(problems.into()),
        };
        // A country database may be missing; the edge serves all the same, so this is no error.
        for file in CountryFiles::open(&config.observe.geoip).states() {
            if let Some(problem) = file.problem {
                writeln!(out, "warning: {}: {problem}; countries stay empty", file.path.display())?;
            }
        }
        for warning in store_warnings(&config.store) {
            writeln!(out, "warning: {warning}")?;
        }
        writeln!(
            out,
            "configuration OK: {} places, {} signs ({} active, {} planned, {} retired), languages {}",
            registry.places().len(),
            registry.signs().len(),
            registry.signs_in(Status::Active),
            registry.signs_in(Status::Planned),
            registry.signs_in(Status::Retired),
            registry.languages().iter().map(Tag::as_str).collect::<Vec<_>>().join(", "),
        )?;
        Ok(())
    }
}

/// Whether the registry can be checked in spite of a problem of the configuration.
fn is_elsewhere(problem: &Problem) -> bool {
    let section = problem.key.split('.').next().unwrap_or_default();
    // The host of the public URL is one of the rules: no target may lead back to it.
    problem.key != "edge.public_url"
        && matches!(section, "edge" | "admin" | "pages" | "observe" | "journal" | "store" | "log")
}
