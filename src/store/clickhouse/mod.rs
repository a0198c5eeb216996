//! ClickHouse, over its HTTP interface.
//!
//! Owns what an insert must be so that a batch is counted once however often it is sent
//! (<https://clickhouse.com/docs/guides/developer/deduplicating-inserts-on-retries>):
//! one block of one month, under a token made of the segment's identity, the month and a
//! checksum of the content, inserted synchronously, with the rollup deduplicated as well. A retry
//! goes to the server that the first try went to, unless the servers are replicas of each other:
//! another server does not know the token. A generation of the registry goes in blocks under tokens
//! in which there is no time, one at a call, and counts with a row after the last: nobody sees half
//! of it, and memory holds one block, whatever the number of signs. Whether a response is
//! ClickHouse's, `client.rs` judges; only questions go by the `clickhouse` crate, which
//! hides what that judgement needs.

mod client;
mod connector;
mod daily;
pub mod encode;
mod question;
mod schema;
mod sign_health;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clickhouse::error::Error as QueryError;
use clickhouse::{RowOwned, RowRead};
use hyper::StatusCode;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use uuid::Uuid;

pub use client::{ClientError, RequestError};
pub use connector::{AuthoritiesError, authorities, system_authorities};
pub use schema::Schema;

use super::{Batch, Cause, StoreError};
use crate::core::Secret;
use crate::core::scan::Scan;
use crate::registry::Registry;
use crate::system::pace;
use client::{Client, Content};
use connector::Connector;

/// Tries of a batch that the server finds fault with, before it is rejected: a body that was
/// damaged on its way can look like one that is wrong.
const TRIES: u32 = 3;

/// Where the servers are and how to talk to them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The servers' HTTP interfaces, at least one.
    pub urls: Vec<String>,
    /// The database of the tables.
    pub database: String,
    /// Who inserts.
    pub user: String,
    /// Their password.
    pub password: Secret,
    /// Certificates of the authorities that certify servers (PEM); `None`: those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// The cluster's name; empty for one node.
    pub cluster: String,
    /// Whether the servers are replicas of each other, so that a retry may go to another.
    pub replicas: bool,
    /// Whether opening it makes what is missing of tables, views and roles.
    pub apply_schema: bool,
    /// For a connection to be made, with its TLS handshake.
    pub connect_timeout: Duration,
    /// For each piece of 32 KiB to be sent, and for the response after the last.
    pub timeout: Duration,
}

/// One or several servers.
pub struct ClickHouse {
    runtime: Runtime,
    connector: Connector,
    clients: Vec<Client>,
    settings: Settings,
    timezone: TimeZone,
    /// How many requests have failed: each moves on to the next replica.
    failures: u64,
    /// What the last block of scans was made in.
    memory: Vec<Vec<u8>>,
    /// The generation that is on its way.
    publishing: Option<Publishing>,
}

/// What the store has of a generation.
struct Stored {
    /// Rows of signs. Where some were sent twice it may have them twice.
    signs: u64,
    /// It counts there as whole.
    is_whole: bool,
    /// And no other of this edge came to count after it.
    is_newest: bool,
}

impl Stored {
    /// From what [`ClickHouse::stored`] asks for.
    fn read(answer: &str) -> Option<Self> {
        let mut numbers = answer.trim_end().split('\t').map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let (signs, times, times_newest) = (next()?, next()?, next()?);
        Some(Self { signs, is_whole: times > 0, is_newest: times_newest > 0 })
    }
}

/// How far a generation of the registry is sent.
struct Publishing {
    edge: String,
    registry: Arc<Registry>,
    digest: u32,
    /// The first sign of the next block.
    next: u32,
    /// It counted before another did: an edge has gone back to it.
    again: bool,
}

impl Publishing {
    fn new(edge: &str, registry: Arc<Registry>) -> Self {
        let digest = encode::digest(&registry);
        Self { edge: edge.to_owned(), registry, digest, next: 0, again: false }
    }

    fn signs(&self) -> u64 {
        self.registry.signs().len() as u64
    }
}

impl ClickHouse {
    /// Prepares to talk; makes the tables where that is allowed.
    pub fn open(settings: &Settings, timezone: &TimeZone) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StoreError::Unavailable(ClientError::Runtime(error).into()))?;
        let unusable = |error| match error {
            ClientError::Header { .. } => StoreError::Unauthorized(Cause::from(error)),
            ClientError::Url { .. } | ClientError::Authorities(_) | ClientError::Runtime(_) => {
                StoreError::Unavailable(error.into())
            }
        };
        let connector = Connector::new(settings).map_err(|error| unusable(error.into()))?;
        let clients = Client::for_each_url(settings, connector.clone()).map_err(unusable)?;
        let (settings, timezone) = (settings.clone(), timezone.clone());
        let memory = Vec::new();
        let store = Self { runtime, connector, clients, settings, timezone, failures: 0, memory, publishing: None };
        if store.settings.apply_schema {
            store.apply_schema()?;
        }
        Ok(store)
    }

    /// Makes what is missing of the tables, views and roles, on every server.
    fn apply_schema(&self) -> Result<(), StoreError> {
        let schema = Schema::new(&self.settings.database, &self.settings.cluster, &self.timezone);
        for client in &self.clients {
            let execute = |statement| self.runtime.block_on(client.post(&[], Content::Sql(statement)));
            for statement in schema.statements() {
                execute(statement).map_err(classify)?;
            }
            // Dashboards are slower without; that is no reason not to record.
            if let Err(error) = self.make_projections(client, &schema) {
                tracing::warn!(%error, "dashboards are slow: projections can't be made; `waypost schema` shows their statements");
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

    /// Makes the projections of one server, for what is there too, in the background.
    fn make_projections(&self, client: &Client, schema: &Schema) -> Result<(), RequestError> {
        let execute = |statement| self.runtime.block_on(client.post(&[], Content::Sql(statement)));
        schema.projections().into_iter().try_for_each(|statement| execute(statement).map(drop))?;
        match execute(schema.without_projections())?.trim() {
            "0" => Ok(()),
            _ => schema.materialize().into_iter().try_for_each(|statement| execute(statement).map(drop)),
        }
    }

    /// Stores a batch: one insert for each month in it.
    pub fn insert(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for (month, rows) in by_month(&batch.scans) {
            let (block, checksum) = encode::scans(batch.id, &batch.edge, &rows, mem::take(&mut self.memory));
            let token = format!("{}-{month}-{checksum:08x}", batch.id);
            let block: Vec<Bytes> = block.into_iter().map(Bytes::from).collect();
            let stored = self.insert_block("scans", routing_key(batch.id), &token, &block);
            // Nobody else holds it any more: the same memory again.
            self.memory = block.into_iter().filter_map(|part| part.try_into_mut().ok()).map(Vec::from).collect();
            stored?;
        }
        Ok(())
    }

    /// Sends the next block of the generation of the registry that is on its way; where none is, the first of the
    /// newest, unless the store has that. Returns the generation that the store has then as a whole, if it has: before
    /// there is more to send. After a failure it goes on where it was, or begins with a newer one.
    pub fn publish(&mut self, edge: &str, newest: &Arc<Registry>) -> Result<Option<u64>, StoreError> {
        let mut publishing = match self.publishing.take() {
            Some(publishing) => publishing,
            None => {
                let mut publishing = Publishing::new(edge, newest.clone());
                let signs = publishing.signs();
                match self.stored(&publishing)?.filter(|stored| stored.is_whole && stored.signs >= signs) {
                    Some(stored) if stored.is_newest => return Ok(Some(newest.generation)),
                    // From a backup of the edge's state: the signs are there.
                    Some(_) => (publishing.next, publishing.again) = (u32::try_from(signs).unwrap_or(u32::MAX), true),
                    None => {}
                }
                publishing
            }
        };
        let generation = publishing.registry.generation;
        let result = self.publish_on(&mut publishing);
        let goes_on = result.as_ref().map_or(generation == newest.generation, |is_whole| !is_whole);
        self.publishing = goes_on.then_some(publishing);
        Ok(result?.then_some(generation))
    }

    /// Sends the next block, and after the last what makes it count. Returns whether that was the last.
    fn publish_on(&mut self, publishing: &mut Publishing) -> Result<bool, StoreError> {
        let Publishing { edge, registry, digest, next, .. } = publishing;
        let key = routing_key_of(edge);
        let token = |first: u32, block: &[u8]| {
            format!("signs-{edge}-{}-{first}-{:08x}", registry.generation, encode::checksum(&[block]))
        };
        let (range, bytes) = encode::block_of_signs(edge, registry, *next);
        if !range.is_empty() {
            let block = encode::signs(edge, *digest, registry, range.clone(), bytes);
            self.insert_block("registry_signs", key, &token(range.start, &block), &[block.into()])?;
            *next = range.end;
        }
        let signs = publishing.signs();
        if u64::from(publishing.next) < signs {
            return Ok(false);
        }
        let stored = self.stored(publishing)?;
        // What one replica has confirmed another may not have yet.
        if let Some(Stored { signs: stored, .. }) = stored.filter(|stored| stored.signs < signs) {
            publishing.next = 0;
            return Err(StoreError::Temporary(Cause::Signs { signs, stored }));
        }
        // What counts last is current: also where a clock was set back, or this edge's is behind another's.
        let now_ms = Timestamp::now().as_millisecond();
        let published_ms = now_ms.max(self.last_published_ms(&publishing.edge).saturating_add(1));
        let Publishing { edge, registry, digest, again, .. } = publishing;
        let mut token = format!("generation-{edge}-{}-{digest:08x}", registry.generation);
        // The row that is there is known by that token.
        if *again {
            token += &format!("-{published_ms}");
        }
        let row = encode::generation(edge, *digest, published_ms, registry);
        self.insert_block("registry_generations", key, &token, &[row.into()])?;
        Ok(true)
    }

    /// What the store has of a generation, asked where an insert would go. `None` where that can't be said: then it is sent,
    /// and what is there is known by its token. Fails where nobody answers: a block would wait as long again.
    fn stored(&mut self, publishing: &Publishing) -> Result<Option<Stored>, StoreError> {
        let Publishing { edge, registry, digest, .. } = publishing;
        let edge_text = edge.replace('\\', r"\\").replace('\'', r"\'");
        let (database, generation) = (&self.settings.database, registry.generation);
        let of_edge = format!("edge = '{edge_text}'");
        let this = format!("{of_edge} AND generation = {generation} AND digest = {digest}");
        let generations = format!("FROM {database}.registry_generations");
        let sql = format!(
            "SELECT (SELECT count() FROM {database}.registry_signs WHERE {this}), (SELECT count() {generations} WHERE {this}), \
             (SELECT count() {generations} WHERE {this} AND published = (SELECT max(published) {generations} WHERE {of_edge}))"
        );
        let answer = self.runtime.block_on(self.client(routing_key_of(edge)).post(&[], Content::Sql(sql)));
        match answer {
            Ok(text) => Ok(Stored::read(&text)),
            Err(error) => match classify(error) {
                error if is_away(&error) => {
                    self.failures += 1;
                    Err(error)
                }
                _ => Ok(None),
            },
        }
    }

    /// When the last generation of any edge came to count, in milliseconds since the Unix epoch; 0 where there is none, or
    /// where that can't be said.
    fn last_published_ms(&mut self, edge: &str) -> i64 {
        let (database, all) = (&self.settings.database, if self.settings.cluster.is_empty() { "" } else { "_all" });
        let last =
            |table: &str| format!("(SELECT toUnixTimestamp64Milli(max(published)) FROM {database}.{table}{all})");
        let sql = format!("SELECT greatest({}, {})", last("registry_generations"), last("signs"));
        let answer = self.runtime.block_on(self.client(routing_key_of(edge)).post(&[], Content::Sql(sql)));
        answer.ok().and_then(|text| text.trim_end().parse().ok()).unwrap_or(0)
    }

    /// Whether the server that a batch goes to responds, and accepts our user.
    pub fn ping(&mut self, id: Uuid) -> Result<(), StoreError> {
        let client = self.client(routing_key(id));
        let response = self.runtime.block_on(client.post(&[], Content::Sql("SELECT 1".to_owned())));
        let checked = response.and_then(|body| match body.trim_end() {
            "1" => Ok(()),
            _ => Err(client.not_clickhouse(StatusCode::OK, &body)),
        });
        match checked.map_err(classify) {
            // It responds: what it has against this query it may not have against a batch.
            Err(StoreError::Temporary(_) | StoreError::Rejected(_)) => Ok(()),
            result => {
                self.failures += u64::from(result.is_err());
                result
            }
        }
    }

    /// Sends a question to the first server, and hands on each row of its answer. Of replicas the next is asked
    /// if one does not answer.
    fn query<T: RowOwned + RowRead>(&self, sql: &str, mut each: impl FnMut(T)) -> Result<(), StoreError> {
        // What was handed on can't be taken back, and would come again.
        let is_begun = Cell::new(false);
        let mut hand_on = |row| {
            is_begun.set(true);
            each(row);
        };
        let ask = |at: usize| self.query_one(&self.settings.urls[at], sql, &mut hand_on);
        in_turn(self.alternatives(), |error| is_away(error) && !is_begun.get(), ask)
    }

    /// How many servers may answer in place of the first: all of them where they are replicas of each other.
    const fn alternatives(&self) -> usize {
        if self.settings.replicas { self.clients.len() } else { 1 }
    }

    fn query_one<T: RowOwned + RowRead>(
        &self,
        url: &str,
        sql: &str,
        mut each: impl FnMut(T),
    ) -> Result<(), StoreError> {
        let settings = &self.settings;
        let url = url.to_owned();
        let http = HttpClient::builder(TokioExecutor::new()).build(self.connector.clone());
        let client = clickhouse::Client::with_http_client(http)
            .with_url(&url)
            .with_user(&settings.user)
            .with_password(&settings.password.0)
            .with_product_info("waypost", env!("CARGO_PKG_VERSION"));
        let query = async {
            let mut rows = client.query(sql).fetch::<T>()?;
            while let Some(row) = rows.next().await? {
                each(row);
            }
            Ok(())
        };
        let answer = match self.runtime.block_on(async { timeout(settings.timeout, query).await }) {
            Ok(answer) => answer.map_err(|error| RequestError::Query { url, error }),
            Err(_) => Err(RequestError::Timeout { url, after: settings.timeout }),
        };
        answer.map_err(classify)
    }

    /// How the names of the tables of all shards end.
    const fn all(&self) -> &'static str {
        if self.settings.cluster.is_empty() { "" } else { "_all" }
    }

    /// The server for a routing key; after a failure, the next replica.
    fn client(&self, key: u64) -> &Client {
        let step = if self.settings.replicas { self.failures } else { 0 };
        let at = key.wrapping_add(step) % self.clients.len() as u64;
        &self.clients[usize::try_from(at).expect("less than the number of clients")]
    }

    fn insert_block(&mut self, table: &str, key: u64, token: &str, block: &[Bytes]) -> Result<(), StoreError> {
        let sql = format!("INSERT INTO {}.{table} FORMAT Native", self.settings.database);
        let parameters = [
            ("query", sql.as_str()),
            ("insert_deduplication_token", token),
            ("insert_deduplicate", "1"),
            ("async_insert", "0"),
            ("deduplicate_blocks_in_dependent_materialized_views", "1"),
            // A table of an earlier release says what it lacks, and is asked again. By default ClickHouse leaves out what a
            // table has no column for, and its token is then taken: that would never be made good.
            ("input_format_skip_unknown_fields", "0"),
        ];
        let mut rejections = 0;
        loop {
            let client = self.client(key);
            let response = self.runtime.block_on(client.post(&parameters, Content::Block(block.to_vec())));
            let checked = response.and_then(|body| match body.as_str() {
                "" => Ok(()),
                // The response to an insert has no body.
                text => Err(client.not_clickhouse(StatusCode::OK, text)),
            });
            let Err(error) = checked else { return Ok(()) };
            self.failures += 1;
            match classify(error) {
                StoreError::Rejected(_) if rejections + 1 < TRIES => rejections += 1,
                error => return Err(error),
            }
        }
    }
}

/// Whether another server may answer where this one did not.
const fn is_away(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_))
}

/// Tries servers in turn, by their number, for as long as errors let another be tried. The last result counts.
fn in_turn(
    servers: usize,
    may_try_next: impl Fn(&StoreError) -> bool,
    mut attempt: impl FnMut(usize) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut result = attempt(0);
    for at in 1..servers {
        if !result.as_ref().is_err_and(&may_try_next) {
            break;
        }
        result = attempt(at);
    }
    result
}

/// By which the server of a batch is chosen: the same at every try.
fn routing_key(batch: Uuid) -> u64 {
    batch.as_u64_pair().1
}

/// By which the server of an edge's registry is chosen, and of its reports.
fn routing_key_of(edge: &str) -> u64 {
    crc32fast::hash(edge.as_bytes()).into()
}

/// The rows of each month (UTC), in their order: an insert into one partition is atomic.
fn by_month(scans: &[(u32, Scan)]) -> BTreeMap<i32, Vec<&(u32, Scan)>> {
    let mut months: BTreeMap<i32, Vec<_>> = BTreeMap::new();
    let (mut from, mut until, mut month) = (0, 0, 0);
    for rows in scans.chunks(encode::PIECE) {
        pace::step();
        for row in rows {
            let ms = row.1.ts_ms;
            if !(from..until).contains(&ms) {
                (from, until, month) = month_of(ms);
            }
            months.entry(month).or_default().push(row);
        }
    }
    months
}

/// The month of a time as `202612`, and where it begins and ends.
fn month_of(ms: i64) -> (i64, i64, i32) {
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned_datetime(TimeZone::UTC);
    let ends = time.first_of_month().and_then(|first| first.start_of_day()).and_then(|first| {
        let next = first.checked_add(Span::new().months(1))?;
        Ok((first.timestamp().as_millisecond(), next.timestamp().as_millisecond()))
    });
    let (from, until) = ends.unwrap_or((ms, ms + 1));
    (from, until, i32::from(time.year()) * 100 + i32::from(time.month()))
}

/// What a failed request means for what was sent. Codes: ClickHouse's `ErrorCodes.cpp`.
fn classify(error: RequestError) -> StoreError {
    match error {
        // The user, and not what is sent: 516 AUTHENTICATION_FAILED, 497 ACCESS_DENIED,
        // 192 UNKNOWN_USER, 193 WRONG_PASSWORD, 194 REQUIRED_PASSWORD.
        RequestError::Exception { code: 516 | 497 | 192 | 193 | 194, .. } => StoreError::Unauthorized(error.into()),
        // What is sent: 6 CANNOT_PARSE_TEXT, 53 TYPE_MISMATCH, 70 CANNOT_CONVERT_TYPE,
        // 117 INCORRECT_DATA, 131 TOO_LARGE_STRING_SIZE, 349 CANNOT_INSERT_NULL_…,
        // 469 VIOLATED_CONSTRAINT.
        RequestError::Exception { code: 6 | 53 | 70 | 117 | 131 | 349 | 469, .. } => StoreError::Rejected(error.into()),
        RequestError::Connection { .. }
        | RequestError::Timeout { .. }
        | RequestError::Truncated { .. }
        | RequestError::NotClickHouse { .. }
        | RequestError::Query { error: QueryError::Network(_), .. } => StoreError::Unavailable(error.into()),
        // Everything else may pass: memory, too many parts, a table that is not there yet, a body
        // that was cut. If it does not, the batch steps aside for the others.
        RequestError::Exception { .. } | RequestError::Query { .. } => StoreError::Temporary(error.into()),
    }
}
