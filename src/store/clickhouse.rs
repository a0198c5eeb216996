//! The store for everything bigger: ClickHouse, by its HTTP interface.
//!
//! Owns what an insert must be so that a batch is counted once however often it is sent
//! (<https://clickhouse.com/docs/guides/developer/deduplicating-inserts-on-retries>):
//! one block of one month, under a token made of the segment's identity, the month and a
//! checksum of the content, inserted at once and not asynchronously, with the rollup
//! deduplicated as well. A retry goes to the server that the first try went to, unless
//! the servers are replicas of each other: another server does not know the token.
//! Whose answer a yes is, is `client.rs`'s to judge; only questions go by the crate.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clickhouse::Row;
use hyper::StatusCode;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use super::client::{Client, Content, RequestError};
use super::schema::Schema;
use super::usage::{By, Question, Tally};
use super::{Batch, StoreError, native};
use crate::core::Secret;
use crate::core::scan::Scan;
use crate::registry::Registry;

/// Tries of a batch that the server finds fault with, before it is set aside: a body that
/// was damaged on its way can look like one that is wrong.
const TRIES: usize = 3;

/// Where the servers are and how to talk to them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// HTTP interfaces.
    pub urls: Vec<String>,
    /// The database of the tables.
    pub database: String,
    /// Who inserts.
    pub user: String,
    /// Their password.
    pub password: Secret,
    /// The cluster's name; empty for one node.
    pub cluster: String,
    /// Whether the servers are replicas of each other, so that a retry may go to another.
    pub replicas: bool,
    /// Whether the tables are made at the start.
    pub apply_schema: bool,
    /// Of a connection.
    pub connect_timeout: Duration,
    /// Of each megabyte sent, and of the answer after the last.
    pub timeout: Duration,
}

/// A connection to one or several servers.
pub struct ClickHouse {
    runtime: Runtime,
    clients: Vec<Client>,
    settings: Settings,
    timezone: TimeZone,
    /// Counts tries, for the choice among replicas.
    tries: usize,
}

impl ClickHouse {
    /// Prepares to talk; makes the tables where that is allowed.
    pub fn open(settings: &Settings, timezone: &TimeZone) -> Result<Self, StoreError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(|error| StoreError::Away(error.to_string()))?;
        let clients = Client::for_each_url(settings).map_err(StoreError::Credentials)?;
        let store = Self { runtime, clients, settings: settings.clone(), timezone: timezone.clone(), tries: 0 };
        if settings.apply_schema {
            store.apply_schema()?;
        }
        Ok(store)
    }

    /// Makes what is missing of the tables, views and roles, on every server.
    fn apply_schema(&self) -> Result<(), StoreError> {
        let schema = Schema::new(&self.settings, &self.timezone);
        for client in &self.clients {
            let execute = |statement| self.runtime.block_on(client.post(&[], Content::Sql(statement)));
            for statement in schema.statements() {
                execute(statement).map_err(|error| classify(&error))?;
            }
            // What only an administrator may do is no reason not to record.
            for statement in schema.reader() {
                if let Err(error) = execute(statement) {
                    tracing::warn!(%error, "the reader's role can't be made; `waypost schema` shows its statements");
                    break;
                }
            }
        }
        Ok(())
    }

    /// Stores a batch: one insert for each month in it.
    pub fn insert(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for (month, rows) in by_month(&batch.scans) {
            let (block, checksum) = native::scans(batch.id, &batch.edge, &rows);
            let token = format!("{}-{month}-{checksum:08x}", batch.id);
            self.insert_block("scans", batch.id.as_u128() as usize, &token, block)?;
        }
        Ok(())
    }

    /// Stores a generation of the registry.
    pub fn publish(&mut self, edge: &str, registry: &Registry) -> Result<(), StoreError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // The token is that of the content without the time: a restart sends the same again.
        let content = crc32fast::hash(&native::signs(edge, 0, registry));
        let token = format!("signs-{edge}-{}-{content:08x}", registry.generation);
        let block = native::signs(edge, now.as_millis() as i64, registry);
        self.insert_block("signs", crc32fast::hash(edge.as_bytes()) as usize, &token, block)
    }

    /// Whether the server of a batch is there, and knows us.
    pub fn ping(&mut self, id: Uuid) -> Result<(), StoreError> {
        let client = self.client(id.as_u128() as usize);
        let answer = self.runtime.block_on(client.post(&[], Content::Sql("SELECT 1".to_owned())));
        let answer = answer.and_then(|body| match body.trim_end() {
            "1" => Ok(()),
            _ => Err(client.foreign(StatusCode::OK, &body)),
        });
        match answer.map_err(|error| classify(&error)) {
            // It is there: what it has against this question it may not have against a batch.
            Err(StoreError::Later(_) | StoreError::Rejected(_)) => Ok(()),
            answer => {
                self.tries += usize::from(answer.is_err());
                answer
            }
        }
    }

    /// The server for a routing key; after a failure the next, if they are replicas.
    fn client(&self, key: usize) -> &Client {
        let step = if self.settings.replicas { self.tries } else { 0 };
        &self.clients[key.wrapping_add(step) % self.clients.len()]
    }

    fn insert_block(&mut self, table: &str, key: usize, token: &str, block: Vec<u8>) -> Result<(), StoreError> {
        let block = Bytes::from(block);
        let sql = format!("INSERT INTO {}.{table} FORMAT Native", self.settings.database);
        let parameters = [
            ("query", sql.as_str()),
            ("insert_deduplication_token", token),
            ("insert_deduplicate", "1"),
            ("async_insert", "0"),
            ("deduplicate_blocks_in_dependent_materialized_views", "1"),
        ];
        let mut faults = 0;
        loop {
            let client = self.client(key);
            let answer = self.runtime.block_on(client.post(&parameters, Content::Block(block.clone())));
            let stored = answer.and_then(|body| match body.as_str() {
                "" => Ok(()),
                // An insert has nothing to say.
                text => Err(client.foreign(StatusCode::OK, text)),
            });
            let Err(error) = stored else { return Ok(()) };
            self.tries += 1;
            match classify(&error) {
                StoreError::Rejected(_) if faults + 1 < TRIES => faults += 1,
                error => return Err(error),
            }
        }
    }

    /// The figures of a question, by key.
    pub fn tallies(&self, question: &Question, mut each: impl FnMut(String, Tally)) -> Result<(), StoreError> {
        let sql = self.question(question);
        let client = clickhouse::Client::default()
            .with_url(&self.settings.urls[0])
            .with_user(&self.settings.user)
            .with_password(&self.settings.password.0)
            .with_product_info("waypost", env!("CARGO_PKG_VERSION"));
        let rows =
            async { tokio::time::timeout(self.settings.timeout, client.query(&sql).fetch_all::<Figures>()).await };
        let late = |_| StoreError::Away("ClickHouse does not answer in time".to_owned());
        let rows = self.runtime.block_on(rows).map_err(late)?;
        for row in rows.map_err(|error| StoreError::Later(format!("ClickHouse: {error}")))? {
            each(row.key, Tally { all: row.all, scans: row.scans, repeats: row.repeats, bots: row.bots });
        }
        Ok(())
    }

    /// Whole hours are asked of the rollup, anything finer of the scans.
    fn question(&self, question: &Question) -> String {
        let whole = |time: &Timestamp| {
            let local = time.to_zoned_datetime(self.timezone.clone());
            (local.minute(), local.second(), local.subsec_nanosecond()) == (0, 0, 0)
        };
        let hourly = question.from.iter().chain(&question.to).all(whole);
        let all = if self.settings.cluster.is_empty() { "" } else { "_all" };
        let (table, time, figure) =
            if hourly { ("scans_hourly", "hour", "sum(t.scans)") } else { ("scans", "ts", "count()") };
        let quarter =
            if hourly { "intDiv(toUnixTimestamp(hour), 900)" } else { "intDiv(toUnixTimestamp64Milli(ts), 900000)" };
        let key = match question.by {
            By::Sign | By::Place | By::Area => "code",
            By::Day | By::Hour => quarter,
            By::Lang => "lang",
            By::Country => "country",
            By::App => "app",
        };
        let bound = |sign: &str, time_: Option<Timestamp>| {
            time_.map_or(String::new(), |t| {
                format!(" AND {time} {sign} fromUnixTimestamp64Milli({})", t.as_millisecond())
            })
        };
        let figure_if = |condition: &str| {
            if hourly { format!("sumIf(t.scans, {condition})") } else { format!("countIf({condition})") }
        };
        format!(
            "SELECT toString({key}) AS key, toUInt64({figure}) AS all, toUInt64({}) AS scans, toUInt64({}) AS repeats, toUInt64({}) AS bots \
             FROM {}.{table}{all} AS t WHERE outcome = 'found'{}{} GROUP BY key ORDER BY key",
            figure_if("t.agent = 'person' AND NOT t.repeat"),
            figure_if("t.agent = 'person' AND t.repeat"),
            figure_if("t.agent != 'person'"),
            self.settings.database,
            bound(">=", question.from),
            bound("<", question.to),
        )
    }
}

#[derive(Debug, Row, Deserialize)]
struct Figures {
    key: String,
    all: u64,
    scans: u64,
    repeats: u64,
    bots: u64,
}

/// The rows of each month, UTC, in their order: an insert into one partition is atomic.
fn by_month(scans: &[(u32, Scan)]) -> BTreeMap<i32, Vec<&(u32, Scan)>> {
    let mut months: BTreeMap<i32, Vec<_>> = BTreeMap::new();
    let (mut from, mut until, mut month) = (0, 0, 0);
    for row in scans {
        let ms = row.1.ts_ms;
        if !(from..until).contains(&ms) {
            (from, until, month) = month_of(ms);
        }
        months.entry(month).or_default().push(row);
    }
    months
}

/// The month of a time as `202612`, and where it begins and ends.
fn month_of(ms: i64) -> (i64, i64, i32) {
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned_datetime(TimeZone::UTC);
    let ends = time.first_of_month().and_then(|first| first.start_of_day()).and_then(|first| {
        let next = first.checked_add(jiff::Span::new().months(1))?;
        Ok((first.timestamp().as_millisecond(), next.timestamp().as_millisecond()))
    });
    let (from, until) = ends.unwrap_or((ms, ms + 1));
    (from, until, i32::from(time.year()) * 100 + i32::from(time.month()))
}

/// What an error means for the batch. Codes: ClickHouse's `ErrorCodes.cpp`.
fn classify(error: &RequestError) -> StoreError {
    let text = error.to_string();
    match error {
        RequestError::Exception { code, .. } => match code {
            // Who we are, not what we send: 516 AUTHENTICATION_FAILED, 497 ACCESS_DENIED,
            // 192 UNKNOWN_USER, 193 WRONG_PASSWORD, 194 REQUIRED_PASSWORD.
            516 | 497 | 192 | 193 | 194 => StoreError::Credentials(text),
            // What we send: 6 CANNOT_PARSE_TEXT, 53 TYPE_MISMATCH, 70 CANNOT_CONVERT_TYPE,
            // 117 INCORRECT_DATA, 131 TOO_LARGE_STRING_SIZE, 349 CANNOT_INSERT_NULL_…,
            // 469 VIOLATED_CONSTRAINT.
            6 | 53 | 70 | 117 | 131 | 349 | 469 => StoreError::Rejected(text),
            // Everything else may pass: memory, too many parts, a table that is not there yet, a
            // body that was cut. If it does not, the batch steps aside for the others.
            _ => StoreError::Later(text),
        },
        RequestError::Connection { .. }
        | RequestError::Late { .. }
        | RequestError::BrokenOff { .. }
        | RequestError::Foreign { .. } => StoreError::Away(text),
    }
}
