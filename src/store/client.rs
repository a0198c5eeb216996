//! One request to ClickHouse's HTTP interface, and whose answer came back.
//!
//! Owns the judgement of an answer (<https://clickhouse.com/docs/interfaces/http>). A proxy's error
//! page, a wrong port or a captive portal says `200 OK` as easily as ClickHouse does, and a scan
//! whose file is deleted for it is lost. So an answer counts only with a header that ClickHouse
//! alone sends, and without its exception header, which may stand in a 200 as well. Of an answer
//! no more is read than [`MOST_READ`], and no more shown than [`MOST_SHOWN`]: who is asked may not
//! be who we think.

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
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;
use url::Url;

use super::clickhouse::Settings;

/// A body is compressed and sent in pieces of this size.
const PIECE: usize = 1 << 20;
/// Bytes of an answer that are read at most.
const MOST_READ: usize = 64 << 10;
/// Characters of an answer that an error shows.
const MOST_SHOWN: usize = 300;

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
    /// Data, which goes compressed.
    Block(Bytes),
}

/// Why a request was not answered as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// No connection, or one that broke off.
    #[error("{url} can't be asked: {}", causes(.source))]
    Connection {
        url: String,
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// Nothing came, or went, for the configured time.
    #[error("{url} does not answer within {}", shown(*.after))]
    Late { url: String, after: Duration },
    /// The answer ends before its end: a yes may have been about to become a no.
    #[error("{url} answers {status}, and breaks off")]
    BrokenOff { url: String, status: StatusCode },
    /// The answer is not ClickHouse's.
    #[error("{url} answers {status}, and not as ClickHouse does: {text:?}")]
    Foreign { url: String, status: StatusCode, text: String },
    /// ClickHouse's own no.
    #[error("ClickHouse: {text}")]
    Exception { code: u32, text: String },
}

/// One server.
pub(super) struct Client {
    http: HttpClient<HttpConnector, Pieces>,
    url: Url,
    headers: HeaderMap,
    timeout: Duration,
}

impl Client {
    /// A client for each configured server; they share their connections' pool.
    pub fn for_each_url(settings: &Settings) -> Result<Vec<Self>, String> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(settings.connect_timeout));
        connector.set_nodelay(true);
        let http = HttpClient::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(2)).build(connector);
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("waypost/", env!("CARGO_PKG_VERSION"))));
        for (name, value, key) in [(USER, &settings.user, "store.user"), (KEY, &settings.password.0, "the password")] {
            let mut value = HeaderValue::from_str(value).map_err(|_| format!("{key} has a control character"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let client = |url: &String| {
            let url = Url::parse(url).map_err(|error| format!("store.url: {error}"))?;
            Ok(Self { http: http.clone(), url, headers: headers.clone(), timeout: settings.timeout })
        };
        settings.urls.iter().map(client).collect()
    }

    /// Sends one request and reads ClickHouse's answer. Each piece of the body must go, and the
    /// answer must come, within the configured time.
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
        let answer = self.unless_late(&sent, self.http.request(request)).await?;
        let answer = answer.map_err(|source| RequestError::Connection { url: self.name(), source })?;
        let (head, body) = answer.into_parts();
        let read = timeout(self.timeout, bounded(body)).await.map_err(|_| self.late())?;
        self.judge(&Response::from_parts(head, read))
    }

    /// ClickHouse's answer, or what is wrong with it.
    fn judge(&self, answer: &Response<Read>) -> Result<String, RequestError> {
        let (status, headers, Read { text: body, is_whole }) = (answer.status(), answer.headers(), answer.body());
        if let Some(code) = headers.get(EXCEPTION) {
            // One that can't be read is one all the same; 0 is none of ClickHouse's.
            let code = code.to_str().ok().and_then(|code| code.trim().parse().ok()).unwrap_or(0);
            return Err(RequestError::Exception { code, text: shortened(body) });
        }
        let is_clickhouse = headers.contains_key(QUERY_ID) || headers.contains_key(SUMMARY);
        if status != StatusCode::OK || !is_clickhouse {
            return Err(self.foreign(status, body));
        }
        if !is_whole {
            return Err(RequestError::BrokenOff { url: self.name(), status });
        }
        Ok(body.clone())
    }

    /// An answer that says something else than ClickHouse would.
    pub fn foreign(&self, status: StatusCode, body: &str) -> RequestError {
        RequestError::Foreign { url: self.name(), status, text: shortened(body) }
    }

    /// Waits for as long as pieces go out, and the configured time after the last.
    async fn unless_late<T>(&self, sent: &AtomicUsize, answer: impl Future<Output = T>) -> Result<T, RequestError> {
        let mut answer = std::pin::pin!(answer);
        let mut before = sent.load(Ordering::Relaxed);
        loop {
            if let Ok(answer) = timeout(self.timeout, &mut answer).await {
                return Ok(answer);
            }
            let now = sent.load(Ordering::Relaxed);
            if now == before {
                return Err(self.late());
            }
            before = now;
        }
    }

    fn late(&self) -> RequestError {
        RequestError::Late { url: self.name(), after: self.timeout }
    }

    /// The server as errors name it.
    fn name(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

/// What was read of a body.
struct Read {
    text: String,
    /// Whether that is all of it.
    is_whole: bool,
}

/// As much of a body as is worth reading.
async fn bounded(mut body: Incoming) -> Read {
    let (mut read, mut is_whole) = (Vec::new(), false);
    while read.len() < MOST_READ {
        match body.frame().await {
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                read.extend_from_slice(&data[..data.len().min(MOST_READ - read.len())]);
            }
            Some(Err(_)) => break,
            None => {
                is_whole = true;
                break;
            }
        }
    }
    Read { text: String::from_utf8_lossy(&read).into_owned(), is_whole }
}

/// An answer's text may quote data, and be long.
fn shortened(text: &str) -> String {
    let mut shown: String =
        text.trim().chars().take(MOST_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(MOST_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn shown(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or(String::new(), |duration| format!("{duration:#}"))
}

/// An error and what is behind it: hyper's own text says "client error (Connect)" and no more.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A body in pieces, each made when the connection has room for it. Its length is not said, so it
/// goes chunked: of a body with a length ClickHouse takes what came for the whole if it is cut
/// (ClickHouse#34725), of a chunked one it misses the end.
struct Pieces {
    rest: Bytes,
    is_compressed: bool,
    /// Pieces that were asked for.
    sent: Arc<AtomicUsize>,
}

impl Pieces {
    fn new(content: Content) -> Self {
        let (rest, is_compressed) = match content {
            Content::Sql(sql) => (sql.into(), false),
            Content::Block(block) => (block, true),
        };
        Self { rest, is_compressed, sent: Arc::default() }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = lz4_flex::block::CompressError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let len = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(len);
        if piece.is_empty() {
            return Poll::Ready(None);
        }
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
    // A piece is a megabyte.
    header.put_u32_le((HEADER + size) as u32);
    header.put_u32_le(piece.len() as u32);
    // Its upper half first (city.h of ClickHouse), each half little-endian.
    let checksum = cityhash_102_128(&block[CHECKSUM..]);
    block[..8].copy_from_slice(&((checksum >> 64) as u64).to_le_bytes());
    block[8..CHECKSUM].copy_from_slice(&(checksum as u64).to_le_bytes());
    Ok(block.freeze())
}
