//! One request to ClickHouse's HTTP interface, and whether ClickHouse responded.
//!
//! Owns the judgement of a response (<https://clickhouse.com/docs/interfaces/http>). A proxy's error
//! page, a wrong port or a captive portal says `200 OK` as easily as ClickHouse does, and a scan
//! whose file is deleted for it is lost. So a response counts only with a header that ClickHouse
//! alone sends, and without its exception header, which may stand in a 200 as well. At most
//! [`MAX_READ`] of a response is read, and [`MAX_SHOWN`] shown: the server may not be the one that
//! was meant.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use cityhash_rs::cityhash_102_128;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;
use url::Url;

use super::Settings;
use super::connector::{AuthoritiesError, Connector, advice};
use crate::system::pace;

/// A body is compressed and sent in pieces of this size: one takes some 40 µs, in which no worker gets the core.
const PIECE: usize = 1 << 15;
/// Bytes of a response's body that are read at most.
const MAX_READ: usize = 64 << 10;
/// Characters of a response's body that an error shows at most.
const MAX_SHOWN: usize = 300;

const USER: HeaderName = HeaderName::from_static("x-clickhouse-user");
const KEY: HeaderName = HeaderName::from_static("x-clickhouse-key");
const QUERY_ID: HeaderName = HeaderName::from_static("x-clickhouse-query-id");
const SUMMARY: HeaderName = HeaderName::from_static("x-clickhouse-summary");
const EXCEPTION: HeaderName = HeaderName::from_static("x-clickhouse-exception-code");

/// What is sent.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A statement.
    Sql(String),
    /// Data in one part or several, which go compressed.
    Block(Vec<Bytes>),
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A URL can't be parsed.
    #[error("store.url: {url:?}: {error}")]
    Url {
        /// As it is configured.
        url: String,
        /// What is wrong with it.
        error: url::ParseError,
    },
    /// The user or the password can't be sent in a header.
    #[error("expected no control character in {key}, found one")]
    Header {
        /// Which of the two.
        key: &'static str,
    },
    /// No server can be verified.
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    /// The runtime that requests run on can't be made.
    #[error("requests to ClickHouse can't be made: {0}")]
    Runtime(io::Error),
}

/// Why a request failed. Servers are named by scheme, host and port.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No connection, or one that broke.
    #[error("the request to {url} failed: {}", causes(.error))]
    Connection {
        /// The server.
        url: String,
        /// At which step.
        error: hyper_util::client::legacy::Error,
    },
    /// No byte was received, and no piece of the body sent, for the configured time.
    #[error("{url} does not answer within {}", shown(*.after))]
    Timeout {
        /// The server.
        url: String,
        /// The configured time.
        after: Duration,
    },
    /// The response is incomplete: what is missing may be an error.
    #[error("{url} answers {status}, and breaks off")]
    Truncated {
        /// The server.
        url: String,
        /// Of the response.
        status: StatusCode,
    },
    /// The response is not ClickHouse's.
    #[error("{url} answers {status}, and not as ClickHouse does: {text:?}")]
    NotClickHouse {
        /// The server.
        url: String,
        /// Of the response.
        status: StatusCode,
        /// How the body begins.
        text: String,
    },
    /// ClickHouse reports an exception.
    #[error("ClickHouse: {text}")]
    Exception {
        /// Its number in ClickHouse's `ErrorCodes.cpp`; 0 where it can't be read.
        code: u32,
        /// How its text begins.
        text: String,
    },
    /// A query can't be sent, or its result not be read.
    #[error("{url}: {}", causes(.error))]
    Query {
        /// The server.
        url: String,
        /// What the crate says.
        error: clickhouse::error::Error,
    },
}

/// One server.
pub(super) struct Client {
    http: HttpClient<Connector, Pieces>,
    url: Url,
    headers: HeaderMap,
    timeout: Duration,
}

impl Client {
    /// A client for each configured server; they share one pool of connections.
    pub fn for_each_url(settings: &Settings, connector: Connector) -> Result<Vec<Self>, ClientError> {
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(2))
            // Sent as they are made: what is gathered first is copied, and received, in one go.
            .http1_max_buf_size(PIECE)
            .build(connector);
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("waypost/", env!("CARGO_PKG_VERSION"))));
        for (name, value, key) in
            [(USER, &settings.user, "store.user"), (KEY, &settings.password.0, "the store's password")]
        {
            let mut value = HeaderValue::from_str(value).map_err(|_| ClientError::Header { key })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let client = |url: &String| {
            let url = Url::parse(url).map_err(|error| ClientError::Url { url: url.clone(), error })?;
            Ok(Self { http: http.clone(), url, headers: headers.clone(), timeout: settings.timeout })
        };
        settings.urls.iter().map(client).collect()
    }

    /// Sends one request and reads ClickHouse's response. Each piece of the body must go, and the
    /// response must come, within the configured time.
    pub async fn post(&self, parameters: &[(&str, &str)], content: Content) -> Result<String, RequestError> {
        let pieces = Pieces::new(content);
        let sent = pieces.sent.clone();
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(parameters);
        if pieces.is_compressed {
            url.query_pairs_mut().append_pair("decompress", "1");
        }
        let mut request = Request::post(url.as_str()).body(pieces).expect("a parsed URL is one of a request");
        *request.headers_mut() = self.headers.clone();
        let response = self.unless_stalled(&sent, self.http.request(request)).await?;
        let response = response.map_err(|error| RequestError::Connection { url: self.name(), error })?;
        let (head, body) = response.into_parts();
        let read = timeout(self.timeout, bounded(body)).await.map_err(|_| self.timed_out())?;
        self.judge(&Response::from_parts(head, read))
    }

    /// The body of ClickHouse's response, or what is wrong with it.
    fn judge(&self, response: &Response<Read>) -> Result<String, RequestError> {
        let (status, headers) = (response.status(), response.headers());
        let Read { text, is_complete } = response.body();
        if let Some(code) = headers.get(EXCEPTION) {
            // A number that can't be read is an exception all the same; ClickHouse has no 0.
            let code = code.to_str().ok().and_then(|code| code.trim().parse().ok()).unwrap_or(0);
            return Err(RequestError::Exception { code, text: shortened(text) });
        }
        let is_clickhouse = headers.contains_key(QUERY_ID) || headers.contains_key(SUMMARY);
        if status != StatusCode::OK || !is_clickhouse {
            return Err(self.not_clickhouse(status, text));
        }
        if !is_complete {
            return Err(RequestError::Truncated { url: self.name(), status });
        }
        Ok(text.clone())
    }

    /// A response with another body than ClickHouse would send.
    pub fn not_clickhouse(&self, status: StatusCode, body: &str) -> RequestError {
        RequestError::NotClickHouse { url: self.name(), status, text: shortened(body) }
    }

    /// Waits for as long as pieces go out, and the configured time after the last.
    async fn unless_stalled<T>(
        &self,
        sent: &AtomicUsize,
        response: impl Future<Output = T>,
    ) -> Result<T, RequestError> {
        let mut response = std::pin::pin!(response);
        let mut before = sent.load(Ordering::Relaxed);
        loop {
            if let Ok(response) = timeout(self.timeout, &mut response).await {
                return Ok(response);
            }
            let now = sent.load(Ordering::Relaxed);
            if now == before {
                return Err(self.timed_out());
            }
            before = now;
        }
    }

    fn timed_out(&self) -> RequestError {
        RequestError::Timeout { url: self.name(), after: self.timeout }
    }

    /// The server as errors name it.
    fn name(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

/// What was read of a body.
struct Read {
    text: String,
    /// Whether the body ends there.
    is_complete: bool,
}

/// As much of a body as is worth reading.
async fn bounded(mut body: Incoming) -> Read {
    let (mut read, mut is_complete) = (Vec::new(), false);
    while read.len() < MAX_READ {
        match body.frame().await {
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                read.extend_from_slice(&data[..data.len().min(MAX_READ - read.len())]);
            }
            Some(Err(_)) => break,
            None => {
                is_complete = true;
                break;
            }
        }
    }
    Read { text: String::from_utf8_lossy(&read).into_owned(), is_complete }
}

/// A response may quote data, and be long.
fn shortened(text: &str) -> String {
    let mut shown: String = text.trim().chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn shown(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or(String::new(), |duration| format!("{duration:#}"))
}

/// An error and what is behind it: hyper's own text says "client error (Connect)" and no more. An
/// error that already names what is behind it does not do so twice. Of a certificate, what may be done.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source()).map(ToString::to_string);
    let causes = causes.chain(advice(error).map(str::to_owned));
    causes.fold(error.to_string(), |text, cause| if text.ends_with(&cause) { text } else { format!("{text}: {cause}") })
}

/// A body in pieces, each made when the connection has room for it. Its length is not said, so it
/// goes chunked: of a body with a length ClickHouse takes what came for the whole if it is cut
/// (ClickHouse#34725), of a chunked one it misses the end.
struct Pieces {
    rest: std::vec::IntoIter<Bytes>,
    /// What is left of the part that is being sent.
    part: Bytes,
    is_compressed: bool,
    /// Pieces that were handed to the connection.
    sent: Arc<AtomicUsize>,
}

impl Pieces {
    fn new(content: Content) -> Self {
        let (rest, is_compressed) = match content {
            Content::Sql(sql) => (vec![sql.into()], false),
            Content::Block(parts) => (parts, true),
        };
        Self { rest: rest.into_iter(), part: Bytes::new(), is_compressed, sent: Arc::default() }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = lz4_flex::block::CompressError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        pace::step();
        while self.part.is_empty() {
            let Some(next) = self.rest.next() else { return Poll::Ready(None) };
            self.part = next;
        }
        let len = self.part.len().min(PIECE);
        let piece = self.part.split_to(len);
        let piece = if self.is_compressed { compressed(&piece) } else { Ok(piece) };
        Poll::Ready(Some(piece.map(Frame::data)))
    }
}

/// A piece as ClickHouse's own compressed block
/// (<https://clickhouse.com/docs/native-protocol/compression>): CityHash128 of the rest, method
/// LZ4, size with this header of 9 bytes, size of the data, the data.
fn compressed(piece: &[u8]) -> Result<Bytes, lz4_flex::block::CompressError> {
    const CHECKSUM: usize = 16;
    const HEADER: usize = 9;
    const LZ4: u8 = 0x82;
    let most = lz4_flex::block::get_maximum_output_size(piece.len());
    let mut block = BytesMut::zeroed(CHECKSUM + HEADER + most);
    let size = lz4_flex::block::compress_into(piece, &mut block[CHECKSUM + HEADER..])?;
    block.truncate(CHECKSUM + HEADER + size);
    let mut header = &mut block[CHECKSUM..CHECKSUM + HEADER];
    header.put_u8(LZ4);
    let in_header = |size: usize| u32::try_from(size).expect("a piece is small");
    header.put_u32_le(in_header(HEADER + size));
    header.put_u32_le(in_header(piece.len()));
    // The upper half of the checksum goes first (city.h of ClickHouse), each half little-endian.
    let checksum = cityhash_102_128(&block[CHECKSUM..]).rotate_left(64);
    block[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    Ok(block.freeze())
}
