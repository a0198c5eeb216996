//! The tables, views and roles in ClickHouse, as files of the crate.
//!
//! Owns what is replaced in them for one node or for a cluster; `sql/scans.sql` explains the
//! placeholders. Every statement can be run again and then changes nothing.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::core::scan::DEFINITION;

const SCANS: &str = include_str!("sql/scans.sql");
const SCANS_HOURLY: &str = include_str!("sql/scans_hourly.sql");
const SIGNS: &str = include_str!("sql/signs.sql");
const DISTRIBUTED: &str = include_str!("sql/distributed.sql");
const VIEWS: &str = include_str!("sql/views.sql");
const READER: &str = include_str!("sql/reader.sql");

/// Batches whose tokens are remembered. A batch is tried until it is stored, before the next
/// of its edge, so only other edges' batches can push its token out: with ten edges of a batch
/// a second each, a response may be lost and the batch tried again 2.7 hours later.
const WINDOW: &str = "100000";
/// Scans are kept for so many months.
const KEPT_MONTHS: &str = "13";

/// The schema for one configuration.
#[derive(Debug, Clone)]
pub struct Schema {
    replaced: Vec<(&'static str, String)>,
    is_cluster: bool,
}

impl Schema {
    /// How long replicas remember a batch's token: a retry after that may be counted twice.
    pub const WINDOW_AGE: Duration = Duration::from_hours(30 * 24);

    /// For a database on one node, where `cluster` is empty, or on the cluster of that name. Hours
    /// are those of `timezone`.
    #[must_use]
    pub fn new(database: &str, cluster: &str, timezone: &TimeZone) -> Self {
        let is_cluster = !cluster.is_empty();
        // On a cluster every table has its path in ClickHouse Keeper; {shard}, {replica} and {table}
        // are ClickHouse's own macros.
        let engine = |name: &str| {
            let path = format!("/clickhouse/tables/{{shard}}/{database}/{{table}}");
            if is_cluster { format!("Replicated{name}('{path}', '{{replica}}')") } else { name.to_owned() }
        };
        let seconds = Self::WINDOW_AGE.as_secs();
        let dedup = if is_cluster {
            format!(
                "replicated_deduplication_window = {WINDOW}, \
                 replicated_deduplication_window_seconds = {seconds}"
            )
        } else {
            format!("non_replicated_deduplication_window = {WINDOW}")
        };
        let replaced = vec![
            ("{database}", database.to_owned()),
            ("{cluster}", cluster.to_owned()),
            ("{on_cluster}", if is_cluster { format!(" ON CLUSTER {cluster}") } else { String::new() }),
            ("{merge_tree}", engine("MergeTree")),
            ("{summing_merge_tree}", engine("SummingMergeTree")),
            ("{replacing_merge_tree}", engine("ReplacingMergeTree")),
            ("{timezone}", timezone.iana_name().unwrap_or("UTC").to_owned()),
            ("{dedup}", dedup),
            ("{ttl_months}", KEPT_MONTHS.to_owned()),
            ("{all}", if is_cluster { "_all".to_owned() } else { String::new() }),
            ("{definition}", DEFINITION.replace('\\', "\\\\").replace('\'', "\\'")),
        ];
        Self { replaced, is_cluster }
    }

    /// All of it, as `waypost schema` prints it.
    #[must_use]
    pub fn text(&self) -> String {
        self.files().into_iter().chain([READER]).map(|file| self.replace(file)).collect::<Vec<_>>().join("\n")
    }

    /// What makes the tables and views, one statement each.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        self.files().into_iter().flat_map(|file| split(&self.replace(file))).collect()
    }

    /// What makes the reader's role.
    #[must_use]
    pub fn reader(&self) -> Vec<String> {
        split(&self.replace(READER))
    }

    fn files(&self) -> Vec<&'static str> {
        if self.is_cluster {
            vec![SCANS, SCANS_HOURLY, SIGNS, DISTRIBUTED, VIEWS]
        } else {
            vec![SCANS, SCANS_HOURLY, SIGNS, VIEWS]
        }
    }

    fn replace(&self, file: &str) -> String {
        let line = |line: &str| {
            let (code, comment) = line.split_at(line.find("--").unwrap_or(line.len()));
            let replace = |code: String, (placeholder, value): &(&str, String)| code.replace(placeholder, value);
            self.replaced.iter().fold(code.to_owned(), replace) + comment + "\n"
        };
        file.lines().map(line).collect()
    }
}

/// Statements end with a semicolon at a line's end; comments are left out.
fn split(text: &str) -> Vec<String> {
    let code = |line| str::split(line, "--").next().unwrap_or("").trim_end();
    let text = text.lines().map(code).collect::<Vec<_>>().join("\n") + "\n";
    text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}
