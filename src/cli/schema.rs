//! `waypost schema`

use std::io::Write;

use super::CommandError;
use crate::config::Config;
use crate::store::{ClickHouse, ClickHouseSettings, Schema};

/// Print the SQL of ClickHouse's tables, views and roles, or create them
///
/// For one node, or for a cluster where store.cluster is set. Running it again changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  waypost schema | clickhouse-client --multiquery\n  waypost schema --apply")]
pub(super) struct SchemaOf {
    /// Create what is missing, on the servers in store.url
    #[arg(long)]
    apply: bool,
}

impl SchemaOf {
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
        let settings = &config.store.clickhouse;
        if !self.apply {
            write!(
                out,
                "{}",
                Schema::new(&settings.database, &settings.cluster, &config.registry.rules.timezone).text()
            )?;
            return Ok(());
        }
        let applied = ClickHouseSettings { apply_schema: true, ..settings.clone() };
        ClickHouse::open(&applied, &config.registry.rules.timezone)?;
        writeln!(out, "the schema is in place at {}", settings.urls.join(", "))?;
        Ok(())
    }
}
