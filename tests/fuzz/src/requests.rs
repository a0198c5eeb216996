//! Requests: whatever bytes come, what goes back are well-formed HTTP/1.1 responses, of which each `Location` is a target
//! of the tables or a page of ours, and nothing depends on who sent them.
//!
//! hyper's server with the settings of `src/edge/worker.rs`, over memory in place of a socket, and the service's own
//! handler. Each request is answered twice: as it came, and without any header but `Accept-Language`. The answers are
//! the same, so no byte of a user agent, a cookie or an address is in one. (An address that asks for many codes that no
//! sign has gets a shorter answer, which `tests/answering` tests; here the limit is out of reach.)

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future as _, Ready, ready};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::ACCEPT_LANGUAGE;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Method, Request};
use tokio::sync::watch;
use waypost::app;
use waypost::core::Code;
use waypost::edge::{Counters, Response, ScanHandler};
use waypost::journal::{Journal, Writer};
use waypost::source::Sources;

/// As in `src/edge/worker.rs`.
const MAX_HEAD: usize = 16 * 1024;
/// More than hyper ever needs for what fits in memory.
const MAX_POLLS: usize = 100_000;
/// Far fewer than an address may have in a minute: all requests come in the same one.
const MAX_MISSES: u64 = 30_000;
/// When all requests come: 27 November 2026.
const NOW_MS: i64 = 1_795_737_600_000;

const PLACES: &str = "\
place,name,name:en,name:zh,area,target,target:en,target:zh-Hans
one,Đền Kỳ Cùng,Ky Cung Temple,奇穷庙,Vĩnh Trại,https://example.vn/vi/1,https://example.vn/en/1,https://example.vn/zh/1
two,Động Tam Thanh,,,,https://example.vn/2,,
";
const SIGNS: &str = "\
code,place,status,target,successor,aliases
A1,one,active,,,/old/sign.php?id=1 /old/way
B2,two,planned,https://sign.example.vn/b2,,
C3,two,retired,,A1,
D4,two,active,,,
7K3M-9QX5,one,active,,,
";
const OVERRIDES: &str = "\
scope,from,until,target
D4,2026-01-01T00:00,2027-01-01T00:00,https://example.vn/meanwhile?x=1&y=2
";
const TARGETS: [&str; 6] = [
    "https://example.vn/vi/1",
    "https://example.vn/en/1",
    "https://example.vn/zh/1",
    "https://example.vn/2",
    "https://sign.example.vn/b2",
    "https://example.vn/meanwhile?x=1&y=2",
];
/// All that a request is ever answered with: the handler's, then hyper's own.
const STATUSES: [u16; 9] = [200, 302, 303, 404, 405, 410, 400, 414, 431];

/// What one connection sends, before it sends no more.
pub fn run(input: &[u8]) {
    thread_local!(static EDGE: RefCell<Option<Edge>> = const { RefCell::new(None) });
    EDGE.with_borrow_mut(|edge| {
        // A segment is full after some thousand scans, and nobody may miss for ever.
        if edge.as_ref().is_some_and(|edge| edge.dropped() > 0 || edge.misses() > MAX_MISSES) {
            *edge = None;
        }
        let edge = edge.get_or_insert_with(Edge::new);
        let (whole, has_body) = edge.answered(input, input.len().max(1));
        // In which pieces it comes is the network's affair.
        let (pieces, _) = edge.answered(input, 1 + input.len() % 7);
        // But a body that has not come yet, and that nobody will read, ends the connection.
        if !has_body {
            assert_eq!(without_date(&whole), without_date(&pieces), "another answer to the same in pieces");
        }
        edge.check_books();
    });
}

/// One worker's handler with its journal.
struct Edge {
    handler: ScanHandler,
    journal: Arc<Journal>,
    counters: Arc<Counters>,
}

impl Edge {
    fn new() -> Self {
        // The folder is removed at once: the segment is in memory, and nobody reads it.
        let folder = super::folder();
        let config = super::config(folder.path());
        let [places, signs, overrides] = [PLACES, SIGNS, OVERRIDES].map(|table| table.as_bytes().to_vec());
        let tables = config.registry.clone();
        let registry = Sources { places, signs, overrides }.parse(&tables.files, &tables.rules);
        let (_, registry) = watch::channel(Arc::new(registry.unwrap_or_else(|problems| panic!("{problems}"))));
        let (_, countries) = watch::channel(Arc::default());
        let (shared, counters) = (Arc::new(app::shared(&config)), Arc::<Counters>::default());
        let settings = waypost::journal::Settings { folder: folder.path().to_owned(), ..config.journal };
        let journal = Journal::open(settings, 1).expect("a journal");
        let writer = Writer::new(&journal, 0);
        Self { handler: ScanHandler::new(shared, counters.clone(), registry, countries, writer), journal, counters }
    }

    /// What goes back, well-formed, where the bytes come in pieces of a size. (What hyper itself says at the end of
    /// bytes that are no request may differ: it does not look at each piece.) And whether a request had a body.
    fn answered(&self, input: &[u8], piece: usize) -> (Vec<u8>, bool) {
        let (methods, has_body) = (RefCell::default(), Cell::new(false));
        let mut output = Vec::new();
        {
            let socket = Socket { input, piece, output: &mut output };
            let service = Requests { edge: self, methods: &methods, has_body: &has_body };
            let connection = http1::Builder::new()
                .header_read_timeout(None)
                .max_buf_size(MAX_HEAD)
                .half_close(true)
                .writev(false)
                .serve_connection(socket, service);
            let mut connection = pin!(connection);
            let mut context = Context::from_waker(Waker::noop());
            let ended = (0..MAX_POLLS).any(|_| connection.as_mut().poll(&mut context).is_ready());
            assert!(ended, "the connection waits for something, and there is nothing to wait for");
        }
        let ours = check_answers(&output, &methods.into_inner());
        output.truncate(ours);
        (output, has_body.get())
    }

    fn misses(&self) -> u64 {
        self.counters.unknown.get() + self.counters.inspected.get()
    }

    fn dropped(&self) -> u64 {
        self.journal.dropped().iter().map(|(_, count)| count).sum()
    }

    /// Each scan that was answered is recorded once, or counted as not recorded.
    fn check_books(&self) {
        let Counters { found, retired, unknown, head, unknown_unrecorded, .. } = &*self.counters;
        let scans = found.get() + retired.get() + unknown.get() - head.get() - unknown_unrecorded.get();
        assert_eq!(self.journal.counts().recorded + self.dropped(), scans);
    }
}

/// hyper's view of the requests.
struct Requests<'a> {
    edge: &'a Edge,
    /// Of the requests so far.
    methods: &'a RefCell<Vec<Method>>,
    /// Whether one of them had a body.
    has_body: &'a Cell<bool>,
}

impl Service<Request<Incoming>> for Requests<'_> {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let handler = &self.edge.handler;
        self.methods.borrow_mut().push(request.method().clone());
        self.has_body.set(self.has_body.get() || !request.body().is_end_stream());
        let mut bare = Request::new(());
        *bare.method_mut() = request.method().clone();
        *bare.uri_mut() = request.uri().clone();
        if let Some(languages) = request.headers().get(ACCEPT_LANGUAGE) {
            bare.headers_mut().insert(ACCEPT_LANGUAGE, languages.clone());
        }
        let bare = handler.answer(SocketAddr::from(([203, 0, 113, 9], 1)), NOW_MS, bare);
        let asked = format!("{request:?}");
        let answer = handler.answer(SocketAddr::from(([10, 0, 0, 1], 1)), NOW_MS, request);
        let parts = |response: &Response| (response.status(), response.headers().clone(), body(response));
        assert_eq!(parts(&answer), parts(&bare), "the answer depends on other headers than Accept-Language: {asked}");
        ready(Ok(answer))
    }
}

fn body(response: &Response) -> Bytes {
    let mut body = response.body().clone();
    match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        _ => Bytes::new(),
    }
}

/// A connection in memory, always ready.
struct Socket<'a> {
    input: &'a [u8],
    /// Most bytes that one read gives.
    piece: usize,
    output: &'a mut Vec<u8>,
}

impl Read for Socket<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let (piece, rest) = self.input.split_at(self.piece.min(self.input.len()).min(buffer.remaining()));
        buffer.put_slice(piece);
        self.input = rest;
        Poll::Ready(Ok(()))
    }
}

impl Write for Socket<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.output.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads all that went back by RFC 9112, strictly; each response belongs to a request, and perhaps a last one to bytes
/// that were none. Returns where the last response to a request ends.
fn check_answers(output: &[u8], methods: &[Method]) -> usize {
    let (mut rest, mut answered, mut ours) = (output, 0, 0);
    while !rest.is_empty() {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").expect("a head that ends");
        let head = str::from_utf8(&rest[..end]).expect("a head of ASCII");
        rest = &rest[end + 4..];
        let mut lines = head.split("\r\n");
        let status = status(lines.next().unwrap_or(""));
        let headers: Vec<_> = lines.map(header).collect();
        let all =
            |name: &str| headers.iter().filter(|(known, _)| known == name).map(|(_, value)| *value).collect::<Vec<_>>();
        let length = match *all("content-length") {
            [length] => length.parse::<usize>().unwrap_or_else(|_| panic!("no length: {length:?}")),
            ref lengths => panic!("expected one length, found {lengths:?} in {head:?}"),
        };
        assert!(all("transfer-encoding").is_empty(), "{head:?}");
        match *all("location") {
            [] => assert!(![302, 303].contains(&status), "{head:?}"),
            [location] => assert!([302, 303].contains(&status) && is_ours(location), "{head:?}"),
            ref locations => panic!("expected one location, found {locations:?}"),
        }
        let length = if methods.get(answered) == Some(&Method::HEAD) { 0 } else { length };
        assert!(length <= rest.len(), "expected a body of {length} bytes, found {} after {head:?}", rest.len());
        rest = &rest[length..];
        assert!(rest.is_empty() || all("connection") != ["close"], "more after the last response");
        answered += 1;
        if answered <= methods.len() {
            ours = output.len() - rest.len();
        }
    }
    assert!((methods.len()..=methods.len() + 1).contains(&answered), "{answered} responses to {methods:?}");
    ours
}

fn status(line: &str) -> u16 {
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
    let status = rest.and_then(|rest| rest.split_once(' ')).and_then(|(status, _)| status.parse().ok());
    status.filter(|status| STATUSES.contains(status)).unwrap_or_else(|| panic!("an unknown status: {line:?}"))
}

fn header(line: &str) -> (String, &str) {
    let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no header: {line:?}"));
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && !name.is_empty(), "{line:?}");
    assert!(value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{line:?}");
    (name.to_ascii_lowercase(), value)
}

/// A target of the tables, or the page of a code that was typed.
fn is_ours(location: &str) -> bool {
    let typed = location.strip_prefix('/').and_then(|rest| rest.strip_suffix("?c=typed"));
    let is_code = |text| Code::parse(str::as_bytes(text)).is_ok_and(|code| *code.text() == *text);
    TARGETS.contains(&location) || typed.is_some_and(is_code)
}

fn without_date(output: &[u8]) -> String {
    let lines = output.split_inclusive(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"date: "));
    String::from_utf8_lossy(&lines.collect::<Vec<_>>().concat()).into_owned()
}
