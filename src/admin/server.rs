//! The admin port's connections.
//!
//! Owns their number and their timeouts. A connection on which nothing moves while we wait for its
//! client, to send a request or to take a response, is closed after [`IO_TIMEOUT`]. There are at
//! most [`MAX_CONNECTIONS`]: beyond, the one that has been silent for longest makes room for the
//! newcomer; where all have moved within a second, or wait for a response of ours that does not
//! hang, the newcomer waits in the kernel's queue.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::{AdminService, Response};
use crate::core::Stage;
use crate::core::lock;

/// Most connections open at a time: a few scrapers and probes, and people.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take for its next bytes, and a request for its head.
const IO_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that has been silent for this long makes room for a newcomer.
const SILENT: Duration = Duration::from_secs(1);
/// How often the connections are looked at.
const SWEEP: Duration = Duration::from_millis(250);
/// How long responses may take to be sent at the end.
const LAST_RESPONSES: Duration = Duration::from_millis(500);
/// The largest request head, in bytes: hyper answers 431 beyond. Bodies are not read.
const MAX_HEAD: usize = 16 * 1024;

/// The connections that are open, by number.
pub(super) struct Connections {
    begun: Instant,
    table: Mutex<HashMap<u64, (Arc<Activity>, AbortHandle)>>,
    /// Notified when one has closed.
    closed: Notify,
}

/// What a connection is doing.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// When bytes last moved, or a response was made; milliseconds since [`Connections`] was made.
    moved: AtomicU64,
    /// Whether a response is being made.
    pending: AtomicBool,
    /// Whether the client does not take what is sent.
    stalled: AtomicBool,
    /// The rendering that it was last sent; 0: none.
    pub rendering: AtomicU64,
}

impl Connections {
    pub fn new() -> Self {
        Self { begun: Instant::now(), table: Mutex::default(), closed: Notify::new() }
    }

    /// Closes the connections whose clients do not take this rendering.
    pub fn close_stalled(&self, rendering: u64) {
        for (activity, task) in self.table().values() {
            if activity.rendering.load(Ordering::Relaxed) == rendering && activity.stalled.load(Ordering::Relaxed) {
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
        if table.len() < MAX_CONNECTIONS {
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
                tracing::debug!("an admin connection was too slow");
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

/// Serves until everything else has ended, and then ends what is begun.
pub(super) async fn serve(listener: TcpListener, service: Arc<AdminService>, mut stage: watch::Receiver<Stage>) {
    let mut ticks = tokio::time::interval(SWEEP);
    let (mut next, mut failing) = (0, false);
    loop {
        let has_room = service.connections.has_room();
        tokio::select! {
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _)) => {
                    next += 1;
                    failing = false;
                    begin(&service, next, stream);
                }
                Err(error) => {
                    // Tried ten times a second; said once.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "admin connections can't be accepted");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = service.connections.closed.notified() => {}
            _ = ticks.tick() => service.connections.sweep(),
            () = everything_else_has_ended(&mut stage) => break,
        }
    }
    drop(listener);
    let until = Instant::now() + LAST_RESPONSES;
    while service.connections.is_busy() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn everything_else_has_ended(stage: &mut watch::Receiver<Stage>) {
    // An error means that the sender is gone, and with it the rest of the process.
    stage.wait_for(|stage| *stage == Stage::Ended).await.ok();
}

fn begin(service: &Arc<AdminService>, number: u64, stream: TcpStream) {
    let connections = &service.connections;
    let activity = Arc::new(Activity { moved: connections.now_ms().into(), ..Activity::default() });
    let answers = {
        let (service, activity) = (service.clone(), activity.clone());
        service_fn(move |request| answer(service.clone(), activity.clone(), request))
    };
    let watched = Watched { stream, activity: activity.clone(), connections: connections.clone() };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IO_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(watched), answers);
    let entry = Entry { connections: connections.clone(), number };
    let task = tokio::spawn(async move {
        let _entry = entry;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an admin connection broke off");
        }
    });
    connections.table().insert(number, (activity, task.abort_handle()));
}

async fn answer(
    service: Arc<AdminService>,
    activity: Arc<Activity>,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    // However this ends: the connection of a client that hangs up is dropped within.
    let _pending = Pending { connections: service.connections.clone(), activity: activity.clone() };
    activity.rendering.store(0, Ordering::Relaxed);
    activity.pending.store(true, Ordering::Relaxed);
    Ok(service.answer(&activity, request).await)
}

/// A response that is being made.
struct Pending {
    connections: Arc<Connections>,
    activity: Arc<Activity>,
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
