//! `waypost console`

use std::io::Write;
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::json;
use unicode_normalization::UnicodeNormalization as _;

use super::{CommandError, OutputFormat, registry};
use crate::accounts::{AccountError, Accounts, NewAccount, Role};
use crate::config::Config;
use crate::console;
use crate::core::Problems;
use crate::history::Database;
use crate::registry::PlaceRef;

/// Invite people to the administrators' page
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost console invite lan.nguyen --role editor --area \"Kỳ Lừa\"")]
pub(super) struct ConsoleCommand {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    Invite(Invite),
    Reset(Reset),
}

/// Make an account, and print a link with which its password is set
///
/// The link holds once, for 72 hours. The console may be running meanwhile.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  waypost console invite lan.nguyen --role editor --area \"Kỳ Lừa\" --area \"Đông Kinh\"\n  waypost console invite hoa.le --role manager   (in every area)"
)]
struct Invite {
    /// As it will be typed at the sign-in
    name: String,
    /// What the account may do
    #[arg(long)]
    role: RoleName,
    /// An area in which it may do that, as in the column area of places.csv; several times for several areas
    ///
    /// Without any, the account may do that in every area, also in those that come later.
    #[arg(long = "area", value_name = "AREA")]
    areas: Vec<String>,
    /// Whether it may apply a change that is reviewed afterwards
    #[arg(long)]
    applies_first: bool,
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// Take an account's password, second factor and sessions away, and print a link to set a new password
///
/// For a forgotten password or a lost phone. The link holds once, for 72 hours.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost console reset lan.nguyen")]
struct Reset {
    /// As it is typed at the sign-in
    name: String,
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// Sees everything but the accounts
    Viewer,
    /// Makes change sets
    Editor,
    /// Approves those of others, too
    Approver,
    /// Manages accounts, too
    Manager,
}

impl RoleName {
    fn role(self) -> Role {
        match self {
            Self::Viewer => Role::Viewer,
            Self::Editor => Role::Editor,
            Self::Approver => Role::Approver,
            Self::Manager => Role::Manager,
        }
    }
}

impl ConsoleCommand {
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
        let Some(listen) = config.console.listen else {
            let mut problems = Problems::default();
            let text = "expected an address, found none: no link leads to a console that is off";
            problems.add("[console]", 0, "listen", text);
            return Err(problems.into());
        };
        let path = &config.console.path;
        let cant_open = |source| CommandError::Console { path: path.clone(), source };
        let accounts = Accounts::new(Arc::new(Database::open(path).map_err(cant_open)?));
        let now = Timestamp::now();
        let (name, made, format) = match &self.command {
            Subcommands::Invite(invite) => {
                let Invite { name, role, areas, applies_first, format } = invite;
                let (role, areas, applies_first) = (role.role(), known(config, areas)?, *applies_first);
                let new = NewAccount { name: name.clone(), role, areas, applies_first };
                (name, accounts.invite(now, None, &new), *format)
            }
            Subcommands::Reset(Reset { name, format }) => (name, accounts.reset(now, None, name), *format),
        };
        let token = made?;
        let url = console::invitation_url(&config.console.origin, listen.port(), &token);
        match format {
            OutputFormat::Text => writeln!(out, "{url}")?,
            OutputFormat::Json => writeln!(out, "{:#}", json!({ "name": name, "url": url }))?,
        }
        Ok(())
    }
}

/// Areas as the table spells them. One that no place has would be a right to nothing.
fn known(config: &Config, areas: &[String]) -> Result<Vec<String>, CommandError> {
    if areas.is_empty() {
        return Ok(Vec::new());
    }
    let registry = registry(config)?;
    let spelled = |area: &String| {
        let mut known = registry.places().map(PlaceRef::area).filter(|known| !known.is_empty());
        let found = known.find(|known| known.nfc().eq(area.nfc()));
        found.map(str::to_owned).ok_or_else(|| AccountError::Area(area.clone()).into())
    };
    areas.iter().map(spelled).collect()
}
