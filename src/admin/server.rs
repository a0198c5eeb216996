//! The admin port's connections.
//!
//! Owns their number and their patience. A connection on which nothing moves while its client
//! has the word, to send a request or to take an answer, is closed after [`PATIENCE`]. There are
//! at most [`MAX_OPEN`]: beyond, the one that has been silent for longest makes room for the
//! newcomer; where all have spoken within a second, or wait for an answer of ours that does not
//! hang, the newcomer waits in the kernel's queue.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

use super::{Answer, Desk};
use crate::core::Stage;

/// Most connections open at a time: a few scrapers and probes, and people.
const MAX_OPEN: usize = 64;
/// How long a client may take for its next bytes, and a request for its head.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection that has been silent for this long makes room for a newcomer.
const SILENT: Duration = Duration::from_secs(1);
/// How often the connections are looked at.
const SWEEP: Duration = Duration::from_millis(250);
/// How long answers may take to be sent at the end.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// The largest request head, in bytes: hyper answers 431 beyond. Bodies are not read.
const MAX_HEAD: usize = 16 * 1024;

/// The connections that are open.
pub(super) struct Open {
    begun: Instant,
    table: Mutex<HashMap<u64, (Arc<Activity>, AbortHandle)>>,
    left: Notify,
}

/// What a connection is at.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// When bytes last moved, or an answer was made; in milliseconds of [`Open`].
    moved: AtomicU64,
    /// Whether we owe the client an answer.
    owing: AtomicBool,
    /// Whether the client does not take what is sent.
    blocked: AtomicBool,
    /// The rendering that it was last sent; 0: none.
    pub rendering: AtomicU64,
}

impl Open {
    pub fn new() -> Self {
        Self { begun: Instant::now(), table: Mutex::default(), left: Notify::new() }
    }

    /// Closes the connections whose clients do not take this rendering.
    pub fn cut_off_from(&self, rendering: u64) {
        for (activity, task) in self.table().values() {
            if activity.rendering.load(Ordering::Relaxed) == rendering && activity.blocked.load(Ordering::Relaxed) {
                task.abort();
            }
        }
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// For how long nothing has moved on a connection.
    fn silence(&self, activity: &Activity) -> Duration {
        Duration::from_millis(self.now().saturating_sub(activity.moved.load(Ordering::Relaxed)))
    }

    /// Whether one more may be accepted; perhaps because another is closed for it.
    fn has_room(&self) -> bool {
        let mut table = self.table();
        if table.len() < MAX_OPEN {
            return true;
        }
        let gives_way = |(&number, (activity, _)): (&u64, &(Arc<Activity>, AbortHandle))| {
            // One that waits for an answer of ours is closed only if that hangs.
            let least = if activity.owing.load(Ordering::Relaxed) { PATIENCE } else { SILENT };
            let silence = self.silence(activity);
            (silence >= least).then_some((silence, number))
        };
        let Some((_, number)) = table.iter().filter_map(gives_way).max() else { return false };
        if let Some((_, task)) = table.remove(&number) {
            task.abort();
        }
        true
    }

    fn sweep(&self) {
        for (activity, task) in self.table().values() {
            if !activity.owing.load(Ordering::Relaxed) && self.silence(activity) >= PATIENCE {
                tracing::debug!("an admin connection was too slow");
                task.abort();
            }
        }
    }

    /// Whether somebody is still owed an answer, or its bytes.
    fn owes(&self) -> bool {
        let is_owed =
            |activity: &Activity| [&activity.owing, &activity.blocked].iter().any(|is| is.load(Ordering::Relaxed));
        self.table().values().any(|(activity, _)| is_owed(activity))
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u64, (Arc<Activity>, AbortHandle)>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until everything else has ended, and what is owed then is sent.
pub(super) async fn serve(listener: TcpListener, desk: Arc<Desk>, mut stage: watch::Receiver<Stage>) {
    let mut ticks = tokio::time::interval(SWEEP);
    let (mut next, mut failing) = (0, false);
    loop {
        let has_room = desk.open.has_room();
        tokio::select! {
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _)) => {
                    next += 1;
                    failing = false;
                    begin(&desk, next, stream);
                }
                Err(error) => {
                    // Tried ten times a second; said once.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "admin connections can't be accepted");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = desk.open.left.notified() => {}
            _ = ticks.tick() => desk.open.sweep(),
            () = everything_else_has_ended(&mut stage) => break,
        }
    }
    drop(listener);
    let until = Instant::now() + LAST_ANSWERS;
    while desk.open.owes() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn everything_else_has_ended(stage: &mut watch::Receiver<Stage>) {
    // Nobody could say so any more, if not.
    stage.wait_for(|stage| *stage == Stage::Ended).await.ok();
}

fn begin(desk: &Arc<Desk>, number: u64, stream: TcpStream) {
    let activity = Arc::new(Activity { moved: desk.open.now().into(), ..Activity::default() });
    let service = {
        let (desk, activity) = (desk.clone(), activity.clone());
        service_fn(move |request| answer(desk.clone(), activity.clone(), request))
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Watched { stream, activity: activity.clone(), desk: desk.clone() }), service);
    let place = Place { desk: desk.clone(), number };
    let task = tokio::spawn(async move {
        let _place = place;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an admin connection broke off");
        }
    });
    desk.open.table().insert(number, (activity, task.abort_handle()));
}

async fn answer(desk: Arc<Desk>, activity: Arc<Activity>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    // However this ends: the connection of a client that hangs up is dropped within.
    let owed = Owed { desk, activity };
    owed.activity.rendering.store(0, Ordering::Relaxed);
    owed.activity.owing.store(true, Ordering::Relaxed);
    Ok(owed.desk.answer(&owed.activity, request).await)
}

struct Owed {
    desk: Arc<Desk>,
    activity: Arc<Activity>,
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.activity.moved.store(self.desk.open.now(), Ordering::Relaxed);
        self.activity.owing.store(false, Ordering::Relaxed);
    }
}

/// A connection's place in the table; leaves it however the connection ends.
struct Place {
    desk: Arc<Desk>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.desk.open.table().remove(&self.number);
        self.desk.open.left.notify_one();
    }
}

/// A stream that notes whether something moves.
struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
    desk: Arc<Desk>,
}

impl Watched {
    fn moved(&self) {
        self.activity.moved.store(self.desk.open.now(), Ordering::Relaxed);
    }

    fn note_written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.blocked.store(written.is_pending(), Ordering::Relaxed);
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

    /// A large answer is sent from where it is, and not from a copy for each connection.
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
