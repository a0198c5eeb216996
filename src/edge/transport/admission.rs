//! Which connections are let in, and when.
//!
//! Owns a worker's listeners from their first accepted connection to their last: the loop that accepts,
//! the pauses at the limits, and the emptying of the queues at the stop.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::listen::Listener;
use crate::edge::connection::Connections;

/// Connections that are accepted in a row before those that are there have their turn: a burst
/// is answered as it comes, and takes no more descriptors than it needs.
const ACCEPTS: u32 = 16;
/// Pause at the limit of connections, or after the system has run out of descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection that was just accepted may take at the stop until it is read: a turn of the
/// runtime, and some time for a queue of thousands.
const FIRST_BYTES: Duration = Duration::from_millis(500);
/// How often the stop looks whether all connections have ended.
const DRAIN_PAUSE: Duration = Duration::from_millis(10);

const ACCEPTED: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// A worker's listeners, while they accept. `serve` is given each connection, as a stream that does
/// not block and the address of its other side.
pub(in crate::edge) struct Admission<S> {
    /// Of the listeners that close with this process.
    queues: Vec<Rc<TcpStream>>,
    accepting: Vec<AbortHandle>,
    connections: Rc<Connections>,
    serve: S,
}

impl<S: Fn(StdStream, SocketAddr) + Clone + 'static> Admission<S> {
    /// Begins to accept, on this thread's runtime. Fails where epoll refuses a listener.
    pub fn start(listeners: Vec<Listener>, connections: &Rc<Connections>, serve: S) -> io::Result<Self> {
        let (mut queues, mut accepting) = (Vec::new(), Vec::new());
        for Listener { socket, is_inherited } in listeners {
            // As a stream, whose readiness tokio shows: its listener tells epoll of each connection
            // at once (see `plain`), and its `AsyncFd` can be made by unsafe code alone.
            let queue = Rc::new(TcpStream::from_std(OwnedFd::from(socket).into())?);
            let task = spawn_local(accept(queue.clone(), connections.clone(), serve.clone()));
            accepting.push(task.abort_handle());
            if !is_inherited {
                queues.push(queue);
            }
        }
        Ok(Self { queues, accepting, connections: connections.clone(), serve })
    }

    /// The stop: gives connections within a request the time (`grace`) to finish it, and those that wait in
    /// the queues the time to be answered; closes idle ones at once. A listener closes once its queue is
    /// empty. A connection that the kernel still defers because it has sent nothing (`TCP_DEFER_ACCEPT`,
    /// see `listen`) can't be reached from here: it is closed with the listener. An inherited listener is
    /// let go at once: what waits in its queue, and what the kernel defers, is the next process's.
    pub async fn drain(self) {
        let Self { mut queues, accepting, connections, serve } = self;
        accepting.iter().for_each(AbortHandle::abort);
        let begun = Instant::now();
        let (until, mut last_accepted) = (begun + connections.limits().grace, begun);
        loop {
            let now = Instant::now();
            let opened_before = connections.opened();
            if now >= until {
                queues.clear();
                connections.close_all();
            } else {
                queues.retain(|queue| !take_queue(queue, &connections, &serve));
                if connections.opened() > opened_before {
                    last_accepted = now;
                }
                // The first bytes of one just accepted are there, or else it sends nothing.
                connections.close_idle(now >= last_accepted + FIRST_BYTES);
            }
            // What was closed leaves at the next turn of the runtime.
            tokio::task::yield_now().await;
            if queues.is_empty() && connections.is_empty() {
                return;
            }
            tokio::time::sleep(DRAIN_PAUSE).await;
        }
    }
}

/// Accepts connections until it is aborted.
async fn accept(
    queue: Rc<TcpStream>,
    connections: Rc<Connections>,
    serve: impl Fn(StdStream, SocketAddr),
) -> io::Result<()> {
    let (mut in_a_row, mut is_failing) = (0, false);
    loop {
        queue.readable().await?;
        if in_a_row == ACCEPTS {
            in_a_row = 0;
            after_others().await;
        }
        if !connections.has_room() {
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
            continue;
        }
        match queue.try_io(Interest::READABLE, || Ok(acceptfrom_with(&queue, ACCEPTED)?)) {
            Ok((stream, peer)) => {
                in_a_row += 1;
                is_failing = false;
                admit(stream, peer, &serve);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => in_a_row = 0,
            Err(error) => {
                connections.counters().accept_errors.add();
                // A connection that was gone again is no reason to pause.
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    // Tried ten times a second; logged once.
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(%error, "connections can't be accepted");
                    }
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}

/// Accepts what waits, within the limit. Returns whether nothing waits any more.
fn take_queue(queue: &TcpStream, connections: &Connections, serve: &impl Fn(StdStream, SocketAddr)) -> bool {
    while connections.has_room() {
        match acceptfrom_with(queue, ACCEPTED) {
            Ok((stream, peer)) => admit(stream, peer, serve),
            Err(Errno::WOULDBLOCK) => return true,
            Err(Errno::CONNABORTED | Errno::INTR) => {}
            // Short of descriptors or memory: at the next turn some connections have ended.
            Err(_) => return false,
        }
    }
    false
}

fn admit(stream: OwnedFd, peer: Option<SocketAddrAny>, serve: &impl Fn(StdStream, SocketAddr)) {
    // A connection that has no peer any more is gone.
    if let Some(Ok(peer)) = peer.map(SocketAddr::try_from) {
        serve(stream.into(), peer);
    }
}

/// Goes to the end of the queue of what can go on. tokio's `yield_now` would ask epoll first: a
/// system call, which this costs only as often as the queue itself does (each 61 turns).
async fn after_others() {
    let mut is_queued = false;
    poll_fn(|context| {
        if std::mem::replace(&mut is_queued, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
