//! The tables, views and roles in ClickHouse, as files of the crate.
//!
//! Owns what is replaced in them for one node or for a cluster; `sql/scans.sql` explains the
//! placeholders. Every statement can be run again and then changes nothing.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::core::scan::DEFINITION;

const SCANS: &str = include_str!("sql/scans.sql");
const SCANS_HOURLY: &str = include_str!("sql/scans_hourly.sql");
const REGISTRY: &str = include_str!("sql/registry.sql");
const SIGNS: &str = include_str!("sql/signs.sql");
const SIGN_HOURS: &str = include_str!("sql/sign_hours.sql");
const SIGN_HEALTH: &str = include_str!("sql/sign_health.sql");
const DISTRIBUTED: &str = include_str!("sql/distributed.sql");
const VIEWS: &str = include_str!("sql/views.sql");
const PROJECTIONS: &str = include_str!("sql/projections.sql");
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
            ("{aggregating_merge_tree}", engine("AggregatingMergeTree")),
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
        self.files()
            .into_iter()
            .chain([PROJECTIONS, READER])
            .map(|file| self.replace(file))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// What makes the tables and views, one statement each.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        self.files().into_iter().flat_map(|file| split(&self.replace(file))).collect()
    }

    /// What makes dashboards quick, and is not needed to record.
    #[must_use]
    pub fn projections(&self) -> Vec<String> {
        split(&self.replace(PROJECTIONS))
    }

    /// What makes the reader's role.
    #[must_use]
    pub fn reader(&self) -> Vec<String> {
        split(&self.replace(READER))
    }

    /// Counts the parts of a server's `scans_hourly` that are older than its projections.
    #[must_use]
    pub fn without_projections(&self) -> String {
        self.replace(
            "SELECT count() FROM system.parts
             WHERE database = '{database}' AND table = 'scans_hourly' AND active
                AND NOT hasAll(projections, ['by_hour', 'by_sign'])",
        )
    }

    /// What has ClickHouse make them for these parts, in the background. Each time it makes every part anew, in links
    /// to the files that stay the same: not for a server that has them.
    #[must_use]
    pub fn materialize(&self) -> [String; 2] {
        ["by_hour", "by_sign"].map(|projection| {
            let table = "ALTER TABLE {database}.scans_hourly{on_cluster}";
            self.replace(&format!("{table} MATERIALIZE PROJECTION {projection}"))
        })
    }

    fn files(&self) -> Vec<&'static str> {
        let mut files = vec![SCANS, SCANS_HOURLY, REGISTRY, SIGNS, SIGN_HOURS, SIGN_HEALTH];
        files.extend(self.is_cluster.then_some(DISTRIBUTED));
        files.push(VIEWS);
        files
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::encode;
    use super::*;
    use crate::core::scan::COLUMNS;
    use crate::health::Report;
    use crate::registry::Registry;

    /// The statement of a schema for one node that begins like this.
    fn statement(begin: &str) -> String {
        let statements = Schema::new("waypost", "", &TimeZone::UTC).statements();
        statements.into_iter().find(|statement| statement.starts_with(begin)).expect("a statement")
    }

    /// Names and types of the columns in a `CREATE TABLE`.
    fn columns(table: &str) -> Vec<(String, String)> {
        let statement = statement(&format!("CREATE TABLE IF NOT EXISTS waypost.{table} ("));
        let lines = statement.lines().skip(1).take_while(|line| *line != ")").filter(|line| !line.is_empty());
        let column = |line: &str| {
            let (name, rest) = line.trim().split_once(' ').expect("a name and a type");
            let kind = rest.split("CODEC").next().expect("a type").trim_end().trim_end_matches(',');
            (name.to_owned(), kind.trim().to_owned())
        };
        lines.map(column).collect()
    }

    /// Names and types in the header of a Native block; texts are shorter than 128 bytes.
    fn sent(block: &[u8]) -> Vec<(String, String)> {
        let (count, mut rest) = (block[0], &block[2..]);
        let mut text = || {
            let (text, after) = rest[1..].split_at(rest[0].into());
            rest = after;
            String::from_utf8(text.to_vec()).expect("UTF-8")
        };
        let columns = (0..count).map(|_| (text(), text())).collect();
        assert!(rest.is_empty(), "no rows, so no values");
        columns
    }

    /// The columns of a table with the types that they are sent as.
    fn expected(table: &str) -> Vec<(String, String)> {
        let sent_as = |kind: String| match kind.as_str() {
            "Bool" => "UInt8".to_owned(),
            _ => kind.replace("LowCardinality(String)", "String"),
        };
        columns(table).into_iter().map(|(name, kind)| (name, sent_as(kind))).collect()
    }

    #[test]
    fn the_table_of_the_registry_has_each_column_that_is_sent() {
        assert_eq!(expected("registry_signs"), sent(&encode::signs("", 0, &Registry::default(), 0..0, 0)));
    }

    #[test]
    fn a_cluster_gets_the_columns_in_the_tables_then_across_shards_then_in_the_views() {
        let statements = Schema::new("waypost", "north", &TimeZone::UTC).statements();
        let at = |begin: &str| {
            let is =
                |statement: &&String| statement.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(begin);
            statements.iter().position(|statement| is(&statement)).unwrap_or_else(|| panic!("no {begin}"))
        };
        let order = [
            at("ALTER TABLE waypost.signs ON CLUSTER north ADD COLUMN IF NOT EXISTS"),
            at("CREATE OR REPLACE TABLE waypost.signs_all ON CLUSTER north AS waypost.signs"),
            at("CREATE OR REPLACE VIEW waypost.signs_current ON CLUSTER north"),
        ];
        assert!(order.is_sorted(), "{order:?}");
    }

    #[test]
    fn the_table_of_sign_health_has_each_column_that_is_sent() {
        let report = Report { day: 0, rows: Vec::new(), groups: Vec::new(), budget: 0.0 };
        assert_eq!(expected("sign_health"), sent(&encode::sign_health("", 0, &report)));
    }

    #[test]
    fn the_table_of_scans_has_each_column_that_is_sent() {
        let table = expected("scans");
        assert_eq!(table, sent(&encode::scans(Uuid::nil(), "", &[], Vec::new()).0.concat()));
        for column in &COLUMNS {
            assert!(table.iter().any(|(name, _)| name == column.name), "{}", column.name);
        }
    }

    #[test]
    fn the_hourly_table_counts_by_each_column_but_those_left_out_on_purpose() {
        let table = columns("scans_hourly");
        let [(hour, _), dimensions @ .., (scans, _)] = table.as_slice() else { panic!("{table:?}") };
        assert_eq!((hour.as_str(), scans.as_str()), ("hour", "scans"));
        let dimensions: Vec<&str> = dimensions.iter().map(|(name, _)| name.as_str()).collect();
        for column in &COLUMNS {
            let is_left_out = ["ts", "region", "device", "os", "generation"].contains(&column.name);
            assert_eq!(dimensions.contains(&column.name), !is_left_out, "{}", column.name);
        }
        // A dimension that were not in the order would be lost when rows are added up.
        let dimensions = dimensions.join(", ");
        let order = format!("ORDER BY (hour, {dimensions})\n");
        assert!(statement("CREATE TABLE IF NOT EXISTS waypost.scans_hourly (").contains(&order), "{order}");
        let filled = dimensions.strip_prefix("code, ").expect("code is the first");
        assert!(statement("CREATE MATERIALIZED VIEW").contains(&format!("AS code,\n    {filled},\n")), "{filled}");
        let shown = format!("    hour, {dimensions}, scans\n");
        assert!(statement("CREATE OR REPLACE VIEW waypost.hourly ").contains(&shown), "{shown}");
    }
}
