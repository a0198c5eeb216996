//! The connections of a port for few people.
//!
//! Owns their number and their timeouts. A connection on which nothing moves while we wait for its
//! client, to send a request or to take a response, is closed after [`IO_TIMEOUT`]. There are at
//! most so many as [`Connections::new`] is told: beyond, the one that has been silent for longest makes room for the
//! newcomer; where all have moved within a second, or wait for a response of ours that does not
//! hang, the newcomer waits in the kernel's queue.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::core::lock;

/// How long a client may take for its next bytes, and a request for its head.
const IO_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that has been silent for this long makes room for a newcomer.
const SILENT: Duration = Duration::from_secs(1);
/// How often the connections are looked at.
const SWEEP: Duration = Duration::from_millis(250);
/// How long responses may take to be sent at the end.
const LAST_RESPONSES: Duration = Duration::from_millis(500);
/// The largest request head, in bytes: hyper answers 431 beyond.
const MAX_HEAD: usize = 16 * 1024;

/// Bodies of responses are whole.
pub type Response = hyper::Response<Full<Bytes>>;

/// The connections that are open, by number.
pub struct Connections {
    /// The port's name, for the log.
    port: &'static str,
    most: usize,
    begun: Instant,
    table: Mutex<HashMap<u64, (Arc<Activity>, AbortHandle)>>,
    /// Notified when one has closed.
    closed: Notify,
}

/// What a connection is doing.
#[derive(Debug)]
pub struct Activity {
    /// The other side.
    pub peer: SocketAddr,
    /// When bytes last moved, or a response was made; milliseconds since [`Connections`] was made.
    moved: AtomicU64,
    /// Whether a response is being made.
    pending: AtomicBool,
    /// Whether the client does not take what is sent.
    stalled: AtomicBool,
    /// The number of the large text that it was last sent, whatever the port counts so; 0: none.
    pub text: AtomicU64,
}

impl Activity {
    /// Says whether it is the client that is waited for, such as for the body of a request: one that is silent then
    /// gives way, and times out. It is not at the beginning of an answer.
    pub fn wait_for_client(&self, is_waited_for: bool) {
        self.pending.store(!is_waited_for, Ordering::Relaxed);
    }
}

impl Connections {
    /// None yet, and never more than `most`.
    pub fn new(port: &'static str, most: usize) -> Self {
        Self { port, most, begun: Instant::now(), table: Mutex::default(), closed: Notify::new() }
    }

    /// Closes the connections whose clients do not take the text of this number.
    pub fn close_stalled(&self, text: u64) {
        for (activity, task) in self.table().values() {
            if activity.text.load(Ordering::Relaxed) == text && activity.stalled.load(Ordering::Relaxed) {
                task.abort();
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// For how long nothing has moved on a connection.
    fn silence(&self, activity: &Activity) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(activity.moved.load(Ordering::Relaxed)))
    }

    /// Whether one more may be accepted; perhaps because another is closed for it.
    fn has_room(&self) -> bool {
        let mut table = self.table();
        if table.len() < self.most {
            return true;
        }
        let gives_way = |(&number, (activity, _)): (&u64, &(Arc<Activity>, AbortHandle))| {
            // One that waits for a response of ours is closed only if that hangs.
            let least = if activity.pending.load(Ordering::Relaxed) { IO_TIMEOUT } else { SILENT };
            let silence = self.silence(activity);
            (silence >= least).then_some((silence, number))
        };
        let Some((_, number)) = table.iter().filter_map(gives_way).max() else { return false };
        if let Some((_, task)) = table.remove(&number) {
            task.abort();
        }
        true
    }

    /// Closes those whose clients have timed out.
    fn sweep(&self) {
        for (activity, task) in self.table().values() {
            if !activity.pending.load(Ordering::Relaxed) && self.silence(activity) >= IO_TIMEOUT {
                tracing::debug!(port = self.port, "a connection was too slow");
                task.abort();
            }
        }
    }

    /// Whether a response is still being made or sent.
    fn is_busy(&self) -> bool {
        let is_busy =
            |activity: &Activity| [&activity.pending, &activity.stalled].iter().any(|is| is.load(Ordering::Relaxed));
        self.table().values().any(|(activity, _)| is_busy(activity))
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, (Arc<Activity>, AbortHandle)>> {
        lock(&self.table)
    }
}

/// Answers requests until the time has come, and then ends what is begun.
pub async fn serve<H, F>(
    listener: TcpListener,
    connections: Arc<Connections>,
    until: impl Future<Output = ()>,
    handler: H,
) where
    H: Fn(Arc<Activity>, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let mut ticks = tokio::time::interval(SWEEP);
    let (mut next, mut failing) = (0, false);
    tokio::pin!(until);
    loop {
        let has_room = connections.has_room();
        tokio::select! {
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, peer)) => {
                    next += 1;
                    failing = false;
                    begin(&connections, next, stream, peer, handler.clone());
                }
                Err(error) => {
                    // Tried ten times a second; said once.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(port = connections.port, %error, "connections can't be accepted");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = connections.closed.notified() => {}
            _ = ticks.tick() => connections.sweep(),
            () = &mut until => break,
        }
    }
    drop(listener);
    let until = Instant::now() + LAST_RESPONSES;
    while connections.is_busy() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn begin<H, F>(connections: &Arc<Connections>, number: u64, stream: TcpStream, peer: SocketAddr, handler: H)
where
    H: Fn(Arc<Activity>, Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let activity = Arc::new(Activity {
        peer,
        moved: connections.now_ms().into(),
        pending: AtomicBool::new(false),
        stalled: AtomicBool::new(false),
        text: AtomicU64::new(0),
    });
    let answers = {
        let (connections, activity) = (connections.clone(), activity.clone());
        service_fn(move |request| {
            // However this ends: the connection of a client that hangs up is dropped within.
            let pending = Pending::begin(connections.clone(), activity.clone());
            let answer = handler(activity.clone(), request);
            async move {
                let _pending = pending;
                Ok::<_, Infallible>(answer.await)
            }
        })
    };
    let watched = Watched { stream, activity: activity.clone(), connections: connections.clone() };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IO_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(watched), answers);
    let entry = Entry { connections: connections.clone(), number };
    let task = tokio::spawn(async move {
        let port = entry.connections.port;
        if let Err(error) = connection.await {
            tracing::debug!(port, %error, "a connection broke off");
        }
        drop(entry);
    });
    connections.table().insert(number, (activity, task.abort_handle()));
}

/// A response that is being made.
struct Pending {
    connections: Arc<Connections>,
    activity: Arc<Activity>,
}

impl Pending {
    fn begin(connections: Arc<Connections>, activity: Arc<Activity>) -> Self {
        activity.text.store(0, Ordering::Relaxed);
        activity.pending.store(true, Ordering::Relaxed);
        Self { connections, activity }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.activity.moved.store(self.connections.now_ms(), Ordering::Relaxed);
        self.activity.pending.store(false, Ordering::Relaxed);
    }
}

/// A connection's entry in the table, which goes however the connection ends.
struct Entry {
    connections: Arc<Connections>,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.table().remove(&self.number);
        self.connections.closed.notify_one();
    }
}

/// A stream that notes whether something moves.
struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
    connections: Arc<Connections>,
}

impl Watched {
    fn moved(&self) {
        self.activity.moved.store(self.connections.now_ms(), Ordering::Relaxed);
    }

    fn note_written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.stalled.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.moved();
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.moved();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_written(written)
    }

    /// A large response is sent from where it is, and not from a copy for each connection.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
