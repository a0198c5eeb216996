//! `waypost check`

use std::io::Write;
use std::path::Path;

use super::{CommandError, registry};
use crate::certificates::Certificates;
use crate::config::{Config, console_warnings, store_warnings};
use crate::core::{Problem, Tag, file_name};
use crate::observe::CountryFiles;
use crate::registry::{Answer, PlaceRef, Registry, Status};
use crate::system::descriptors;

/// Places that a warning names.
const MOST_NAMED: usize = 20;

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
        let certificates = Certificates::check(&config.edge.tls.settings, &config.edge.public_host());
        let file = file_name(path);
        for problem in certificates.problems {
            problems.add(&file, 0, "edge.tls.certificates", problem);
        }
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let warnings = certificates.warnings.into_iter().chain(warnings(&config));
        for warning in warnings.chain(without_page(&config, &registry)) {
            writeln!(out, "warning: {warning}")?;
        }
        let own = match registry.places_with(Answer::OwnPage) {
            0 => String::new(),
            count => format!(" ({count} with a page of our own)"),
        };
        writeln!(
            out,
            "configuration OK: {} places{own}, {} signs ({} active, {} planned, {} retired), languages {}",
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

/// What the edge serves with all the same, but should be known.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for file in CountryFiles::open(&config.observe.geoip).states() {
        if let Some(problem) = file.problem {
            warnings.push(format!("{}: {problem}; countries stay empty", file.path.display()));
        }
    }
    let edge = &config.edge;
    if let Some((most, limit)) = descriptors::misfit(edge.workers, edge.addresses().count(), edge.max_connections) {
        warnings.push(format!(
            "edge.max_connections: expected at most {most}, which the limit of open files here ({limit}) leaves, found \
             {}; {most} are held",
            edge.max_connections
        ));
    }
    if edge.max_connections_per_address as usize > edge.max_connections {
        warnings.push(format!(
            "edge.max_connections_per_address: expected at most edge.max_connections ({}), found {}; one address may take \
             all connections",
            edge.max_connections, edge.max_connections_per_address
        ));
    }
    let tls = edge.tls.listen.iter().filter(|_| !edge.tls.has_proxy_header);
    let mut direct = edge.listen.iter().chain(tls).peekable();
    let is_local = direct.peek().is_some() && direct.all(|address| address.ip().to_canonical().is_loopback());
    if is_local && edge.trust.proxies.is_empty() {
        warnings.push(format!(
            "edge.trust.proxies: expected the address of the proxy that must be in front, since the edge listens on \
             loopback alone, found an empty list; all visitors count as one address, and together have {} connections",
            edge.max_connections_per_address
        ));
    }
    warnings.extend(console_warnings(&config.console));
    warnings.extend(store_warnings(&config.store));
    warnings
}

/// Places that have nothing to show, if there are any.
fn without_page(config: &Config, registry: &Registry) -> Option<String> {
    let mut places = registry.places().filter(|place| place.answer() == Answer::Neither).map(PlaceRef::id);
    let named: Vec<&str> = places.by_ref().take(MOST_NAMED).collect();
    let more = places.count();
    let [table, ..] = config.registry.files.paths().map(file_name);
    let others = if more == 0 { String::new() } else { format!(" and {more} more (waypost coverage --list)") };
    (!named.is_empty()).then(|| {
        format!(
            "{table}: expected a target or a text (about) of each place, found neither of {}{others}",
            named.join(", ")
        )
    })
}

/// Whether the registry can be checked in spite of a problem of the configuration.
fn is_elsewhere(problem: &Problem) -> bool {
    let section = problem.key.split('.').next().unwrap_or_default();
    // The host of the public URL is one of the rules: no target may lead back to it.
    problem.key != "edge.public_url"
        && matches!(section, "edge" | "admin" | "pages" | "observe" | "journal" | "store" | "log")
}
