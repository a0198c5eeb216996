//! One worker: a thread with a runtime, listeners and connections of its own.
//!
//! Owns accepting, the connections' lives and their end. There is no timer for each
//! request (hyper's costs a boxed sleep each): a sweep four times a second closes connections
//! that are idle, or that are slow to send a request or to take an answer.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, UNIX_EPOCH};

use hashbrown::HashMap;
use hyper::body::{Body as _, Incoming};
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Version};
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::MissedTickBehavior;

use super::answer::{Answer, closing};
use super::counters::Counters;
use super::scan::Scanner;
use super::socket::{Activity, Socket};
use crate::core::Stage;

/// The largest request head, in bytes: hyper answers 431 beyond.
const MAX_HEAD: usize = 16 * 1024;
/// How often connections and the segment's age are looked at.
const TICK: Duration = Duration::from_millis(250);
/// Connections that are accepted in a row before those that are there have their turn: a burst
/// is answered as it comes, and takes no more descriptors than it needs.
const ACCEPTS: u32 = 16;
/// Pause after the system has run out of descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that was just accepted may take at the stop until it is read: a turn of the
/// runtime, and some time for a queue of thousands.
const FIRST_WORDS: Duration = Duration::from_millis(500);

/// Limits of a worker's connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most connections open at a time; more wait to be accepted.
    pub connections: usize,
    /// A connection without a request is closed after this time.
    pub idle: Duration,
    /// A request must be read, and its answer taken, within this time.
    pub request: Duration,
    /// How long connections may take to end at the stop.
    pub grace: Duration,
}

/// What the connections of one worker share.
pub(super) struct Worker {
    scanner: Scanner,
    limits: Limits,
    /// Ticks since the worker began.
    clock: Cell<u32>,
    closing: Cell<bool>,
    next: Cell<u64>,
    open: RefCell<HashMap<u64, Open>>,
}

struct Open {
    activity: Rc<Activity>,
    task: AbortHandle,
}

/// Serves until told to stop, then lets connections end. Returns when the last has.
pub(super) fn run(
    scanner: Scanner,
    listeners: Vec<StdListener>,
    limits: Limits,
    mut stage: watch::Receiver<Stage>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let worker = Rc::new(Worker {
        scanner,
        limits,
        clock: Cell::new(0),
        closing: Cell::new(false),
        next: Cell::new(0),
        open: RefCell::new(HashMap::new()),
    });
    runtime.block_on(async {
        let (mut accepting, mut queues) = (Vec::new(), Vec::new());
        for listener in listeners {
            // As a stream, whose readiness tokio shows: its listener tells epoll of each connection
            // at once (see `socket`), and its `AsyncFd` can be made by unsafe code alone.
            let listener = Rc::new(TcpStream::from_std(OwnedFd::from(listener).into())?);
            queues.push(listener.clone());
            accepting.push(spawn_local(accept(worker.clone(), listener)));
        }
        let mut ticks = tokio::time::interval(TICK);
        // A worker that was held up must not take its own delay for the visitors'.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => worker.sweep(),
                changed = stage.changed() => {
                    let stage = *stage.borrow_and_update();
                    worker.closing.set(stage >= Stage::LameDuck);
                    if changed.is_err() || stage >= Stage::Closing {
                        break;
                    }
                }
            }
        }
        for task in accepting {
            task.abort();
        }
        worker.drain(queues).await;
        Ok(())
    })
}

async fn accept(worker: Rc<Worker>, listener: Rc<TcpStream>) -> io::Result<()> {
    let (mut in_a_row, mut failing) = (0, false);
    loop {
        listener.readable().await?;
        if in_a_row == ACCEPTS {
            in_a_row = 0;
            after_others().await;
        }
        if worker.open.borrow().len() >= worker.limits.connections {
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
            continue;
        }
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        match listener.try_io(Interest::READABLE, || Ok(acceptfrom_with(&listener, flags)?)) {
            Ok((stream, peer)) => {
                in_a_row += 1;
                failing = false;
                worker.serve(stream.into(), peer);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => in_a_row = 0,
            Err(error) => {
                worker.scanner.counters().accept_errors.add();
                // A connection that was gone again is no reason to pause.
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    // Tried ten times a second; said once.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "connections can't be accepted");
                    }
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}

/// Goes to the end of the queue of what can go on. tokio's `yield_now` would ask epoll first: a
/// system call, which this costs only as often as the queue itself does (each 61 turns).
async fn after_others() {
    let mut queued = false;
    poll_fn(|context| {
        if std::mem::replace(&mut queued, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Worker {
    pub fn counters(&self) -> &Counters {
        self.scanner.counters()
    }

    pub fn tick(&self) -> u32 {
        self.clock.get()
    }

    fn serve(self: &Rc<Self>, stream: StdStream, peer: Option<SocketAddrAny>) {
        // A connection that has no peer any more is gone.
        let Some(Ok(peer)) = peer.map(SocketAddr::try_from) else { return };
        let counters = self.scanner.counters();
        counters.accepted.add();
        counters.open.add();
        let number = self.next.get();
        self.next.set(number + 1);
        let activity = Rc::new(Activity::idle(self.tick()));
        let io = Socket::new(stream, self.clone(), activity.clone());
        let entry = Entry { worker: self.clone(), number };
        let connection = http1::Builder::new()
            // hyper's own would box a sleep for each request; the sweep replaces it.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD)
            // A client that has said all it will (`printf … | nc`) still gets its answer.
            .half_close(true)
            // One small write: gathering slices costs more than copying 150 bytes.
            .writev(false)
            .serve_connection(io, Scans { worker: self.clone(), activity: activity.clone(), peer });
        let task = spawn_local(async move {
            if connection.await.is_err() {
                entry.worker.scanner.counters().connection_errors.add();
            }
        });
        self.open.borrow_mut().insert(number, Open { activity, task: task.abort_handle() });
    }

    fn sweep(&self) {
        let now = self.clock.get() + 1;
        self.clock.set(now);
        for open in self.open.borrow().values() {
            let limit = if open.activity.busy.get() { self.limits.request } else { self.limits.idle };
            if TICK * (now - open.activity.since.get()) > limit {
                self.scanner.counters().timed_out.add();
                open.task.abort();
            }
        }
        self.scanner.tick();
    }

    /// Ends idle connections at once, and gives those within a request the time to finish it; and
    /// those that wait in the listeners' queues the time to be answered. A listener closes once its
    /// queue is empty. What the kernel keeps to itself because it has said nothing yet
    /// (`TCP_DEFER_ACCEPT`, see `listen`) can't be reached from here: it is closed with the listener.
    async fn drain(self: &Rc<Self>, mut queues: Vec<Rc<TcpStream>>) {
        self.closing.set(true);
        let begun = tokio::time::Instant::now();
        let (until, mut accepted) = (begun + self.limits.grace, begun);
        loop {
            let now = tokio::time::Instant::now();
            let late = now >= until;
            let before = self.next.get();
            queues.retain(|queue| !late && !self.take_queue(queue));
            if self.next.get() > before {
                accepted = now;
            }
            for open in self.open.borrow().values() {
                // Its first bytes are there, or else it says nothing.
                let is_new = open.activity.read_at.get() == UNIX_EPOCH && now < accepted + FIRST_WORDS;
                if late || !(open.activity.busy.get() || is_new) {
                    open.task.abort();
                }
            }
            // Aborted tasks are dropped, and leave the map, at the next turn of the runtime.
            tokio::task::yield_now().await;
            if queues.is_empty() && self.open.borrow().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Accepts what waits, within the limit. Returns whether nothing waits any more.
    fn take_queue(self: &Rc<Self>, queue: &TcpStream) -> bool {
        while self.open.borrow().len() < self.limits.connections {
            match acceptfrom_with(queue, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((stream, peer)) => self.serve(stream.into(), peer),
                Err(Errno::WOULDBLOCK) => return true,
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                // Short of descriptors or memory: at the next turn some have ended.
                Err(_) => return false,
            }
        }
        false
    }
}

/// A connection's place in its worker's map; leaves it however the connection ends.
struct Entry {
    worker: Rc<Worker>,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.worker.scanner.counters().open.sub();
        self.worker.open.borrow_mut().remove(&self.number);
    }
}

/// hyper's view of one connection's requests.
struct Scans {
    worker: Rc<Worker>,
    activity: Rc<Activity>,
    peer: SocketAddr,
}

impl Service<Request<Incoming>> for Scans {
    type Response = Answer;
    type Error = Infallible;
    type Future = Ready<Result<Answer, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let activity = &self.activity;
        activity.unanswered.set(activity.unanswered.get() + 1);
        activity.last.set(ends_connection(&request));
        let now = activity.read_at.get().duration_since(UNIX_EPOCH).unwrap_or_default();
        // 2^63 milliseconds are 292 million years.
        let mut answer = self.worker.scanner.answer(self.peer, now.as_millis() as i64, request);
        if self.worker.closing.get() {
            closing(&mut answer);
        }
        ready(Ok(answer))
    }
}

/// Whether hyper closes the connection as soon as the answer is written. It reads more into a
/// `Connection` header than this does (lists, several of them): these close a packet later.
fn ends_connection(request: &Request<Incoming>) -> bool {
    let mut said = request.headers().get_all(CONNECTION).iter();
    let ends = match (said.next(), said.next()) {
        (None, _) => request.version() == Version::HTTP_10,
        (Some(said), None) => said.as_bytes().eq_ignore_ascii_case(b"close"),
        _ => false,
    };
    ends && request.body().is_end_stream()
}
