//! `waypost.toml`, as one validated configuration.
//!
//! Owns every key: its name, default and limits, one file for each section. `config/waypost.toml`
//! has them all with a comment each. Reading it binds nothing and writes nothing.

mod admin;
mod console;
mod edge;
mod health;
mod journal;
mod log;
mod observe;
mod pages;
mod reader;
mod registry;
mod secret;
mod store;
mod values;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use toml::de::DeTable;

pub use admin::Admin;
pub use console::{Console, warnings as console_warnings};
pub use edge::Edge;
pub use health::Health;
pub use log::LogFormat;
pub use observe::Observe;
pub use registry::Registry;
pub use store::warnings as store_warnings;

use crate::core::{Problems, file_name};
use crate::edge::Pages;
use reader::{Reader, Section};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

/// The whole configuration, by section.
#[derive(Debug, Clone)]
pub struct Config {
    /// What visitors meet.
    pub edge: Edge,
    /// The port for operators.
    pub admin: Admin,
    /// The administrators' page.
    pub console: Console,
    /// Our own pages.
    pub pages: Pages,
    /// Where places, signs and overrides come from.
    pub registry: Registry,
    /// What is recorded of a visit.
    pub observe: Observe,
    /// Scans that are not stored yet.
    pub journal: crate::journal::Settings,
    /// Where scans end up.
    pub store: crate::store::Settings,
    /// How signs are judged.
    pub health: Health,
    /// How log lines are written.
    pub log: LogFormat,
}

impl Config {
    /// Reads and checks a file; all that is wrong with it is the error.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let (config, problems) = Self::examine(path);
        config.filter(|_| problems.is_empty()).ok_or(problems)
    }

    /// Reads a file as far as that goes: a key with a wrong value has its default. The configuration
    /// is `None` only where the file itself can't be read.
    #[must_use]
    pub fn examine(path: &Path) -> (Option<Self>, Problems) {
        match text_of(path) {
            Ok(text) => {
                let (config, problems) = examine_text(&file_name(path), &text, folder_of(path));
                (Some(config), problems)
            }
            Err(problems) => (None, problems),
        }
    }

    /// Where the admin port is, whatever else is wrong with a file: it may just be being edited. A file that
    /// can't be read, or that names no address there, is the error.
    pub fn admin_address(path: &Path) -> Result<SocketAddr, Problems> {
        let (file, text) = (file_name(path), text_of(path)?);
        let reader = Reader::new(&file, &text, folder_of(path));
        let (table, _) = DeTable::parse_recoverable(&text);
        let address = admin::listen(&mut Section::top(&reader, table.get_ref()).section("admin"));
        let problems = reader.finish();
        if problems.is_empty() { Ok(address) } else { Err(problems) }
    }

    /// Checks a text. Problems name it as `file`; relative paths are relative to `folder`.
    pub fn parse(file: &str, text: &str, folder: &Path) -> Result<Self, Problems> {
        let (config, problems) = examine_text(file, text, folder);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

fn text_of(path: &Path) -> Result<String, Problems> {
    fs::read_to_string(path).map_err(|error| {
        let mut problems = Problems::default();
        let shown = path.display();
        problems.add(&file_name(path), 0, "", format!("can't be read ({shown}): {error}; --config names the file"));
        problems
    })
}

/// Where relative paths begin. The parent of a bare name is the empty path, which is no folder.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn examine_text(file: &str, text: &str, folder: &Path) -> (Config, Problems) {
    let reader = Reader::new(file, text, folder);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let line = error.span().map_or(0, |span| reader.line(span.start));
        reader.problem(line, "", error.message());
    }
    let config = read_sections(Section::top(&reader, table.get_ref()));
    (config, reader.finish())
}

/// In the order of the file; what a section needs of another is handed on.
fn read_sections(mut top: Section<'_, '_>) -> Config {
    let mut edge_section = top.section("edge");
    let edge = Edge::read(&mut edge_section);
    let public_host = edge.public_host();
    let admin = Admin::read(top.section("admin"), edge.addresses());
    let others = edge.addresses().copied().chain([admin.listen]);
    let console = Console::read(top.section("console"), others);
    let pages_section = top.section("pages");
    let registry = Registry::read(top.section("registry"), &public_host);
    let home_url = edge_section.get("home_url", String::new(), |value| registry.home(value));
    edge_section.finish();
    let pages = pages::read(pages_section, &public_host, home_url, registry.rules.default_language);
    let observe = Observe::read(top.section("observe"));
    let journal = journal::read(top.section("journal"), &edge);
    let store = store::read(top.section("store"), &journal);
    let health = Health::read(top.section("health"));
    let log = log::read(top.section("log"));
    top.finish();
    Config { edge, admin, console, pages, registry, observe, journal, store, health, log }
}
