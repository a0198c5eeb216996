//! Which connections are let in, and when.
//!
//! Owns a worker's listeners from their first accepted connection to their last: the loop that accepts,
//! the pauses at the limits, and the emptying of the queues at the stop.

use std::cell::RefCell;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ipnet::IpNet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::Protocol;
use super::listen::Listener;
use crate::edge::capacity::{Place, Presence};
use crate::edge::connection::TICK;
use crate::edge::connections::{Connections, Reserved};
use crate::edge::counters::Closed;

/// Connections that are accepted in a row before those that are there have their turn: a burst
/// is answered as it comes, and takes no more descriptors than it needs.
const ACCEPTS: u32 = 16;
/// Pause where no connection gives way, or after the system has run out of descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection that was just accepted may take at the stop until it is read: a turn of the
/// runtime, and some time for a queue of thousands.
const FIRST_BYTES: Duration = Duration::from_millis(500);
/// How often the stop looks whether all connections have ended.
const DRAIN_PAUSE: Duration = Duration::from_millis(10);

/// How often the log says that connections can't be accepted.
const SAID_AGAIN: Duration = Duration::from_mins(1);

const ACCEPTED: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// A connection that is let in.
pub(in crate::edge) struct Admitted {
    /// It does not block.
    pub stream: StdStream,
    /// Its other side.
    pub peer: SocketAddr,
    /// What it begins with.
    pub protocol: Protocol,
    /// Its place among all connections, and among those of its address where that is known and counted.
    pub counted: (Place, Option<Presence>),
}

/// A worker's listeners, while they accept. `serve` is given each connection.
pub(in crate::edge) struct Admission<S> {
    doors: Vec<Rc<Door<S>>>,
    accepting: Vec<AbortHandle>,
    connections: Rc<Connections>,
}

/// One listener, and what is needed to let a connection in.
struct Door<S> {
    /// As a stream, whose readiness tokio shows: its listener tells epoll of each connection
    /// at once (see `stream`), and its `AsyncFd` can be made by unsafe code alone.
    queue: TcpStream,
    protocol: Protocol,
    is_inherited: bool,
    /// Who may send a PROXY header.
    proxies: Arc<[IpNet]>,
    connections: Rc<Connections>,
    spare: Spare,
    serve: S,
}

impl<S: Fn(Admitted) + Clone + 'static> Admission<S> {
    /// Begins to accept, on this thread's runtime. `proxies` may send a PROXY header. Fails where epoll refuses a
    /// listener.
    pub fn start(
        listeners: Vec<Listener>,
        proxies: &Arc<[IpNet]>,
        connections: &Rc<Connections>,
        serve: &S,
    ) -> io::Result<Self> {
        let (mut doors, mut accepting) = (Vec::new(), Vec::new());
        for Listener { socket, protocol, is_inherited } in listeners {
            let door = Rc::new(Door {
                queue: TcpStream::from_std(OwnedFd::from(socket).into())?,
                protocol,
                is_inherited,
                proxies: proxies.clone(),
                connections: connections.clone(),
                spare: Spare(RefCell::new(Spare::open())),
                serve: serve.clone(),
            });
            let task = spawn_local({
                let door = door.clone();
                async move { door.accept().await }
            });
            accepting.push(task.abort_handle());
            doors.push(door);
        }
        Ok(Self { doors, accepting, connections: connections.clone() })
    }

    /// The stop: gives connections within a request the time (`grace`) to finish it, and those that wait in
    /// the queues the time to be answered; closes idle ones at once. A listener closes once its queue is
    /// empty; an inherited one at once, for its queue is the next process's. A connection that the kernel still defers
    /// because it has sent nothing (`TCP_DEFER_ACCEPT`, see `listen`) can't be reached from here: it is closed
    /// with the listener, if nobody else has that.
    pub async fn drain(self) {
        let Self { mut doors, accepting, connections } = self;
        accepting.iter().for_each(AbortHandle::abort);
        doors.retain(|door| !door.is_inherited);
        let begun = Instant::now();
        let (until, mut last_accepted) = (begun + connections.limits().grace, begun);
        let mut next_tick = begun + TICK;
        loop {
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                connections.sweep();
            }
            let opened_before = connections.opened();
            if now >= until {
                doors.clear();
                connections.close_all();
            } else {
                doors.retain(|door| !door.take_queue());
                if connections.opened() > opened_before {
                    last_accepted = now;
                }
                // The first bytes of one just accepted are there, or else it sends nothing.
                connections.close_idle(now >= last_accepted + FIRST_BYTES);
            }
            // What was closed leaves at the next turn of the runtime.
            tokio::task::yield_now().await;
            if doors.is_empty() && connections.is_empty() {
                return;
            }
            tokio::time::sleep(DRAIN_PAUSE).await;
        }
    }
}

impl<S: Fn(Admitted)> Door<S> {
    /// Accepts connections until it is aborted.
    async fn accept(&self) -> io::Result<()> {
        let (mut in_a_row, mut said, mut has_asked) = (0, None::<Instant>, false);
        loop {
            self.queue.readable().await?;
            if in_a_row == ACCEPTS {
                in_a_row = 0;
                after_others().await;
            }
            let Some(reserved) = self.reserve().await else {
                // Else somebody who is there would give way to nobody.
                if self.has_newcomer() {
                    has_asked = true;
                    self.connections.ask_for_room();
                } else if std::mem::take(&mut has_asked) {
                    // It is gone. Another worker that still asks does so again in a moment.
                    self.connections.has_room();
                }
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
                continue;
            };
            match self.queue.try_io(Interest::READABLE, || Ok(acceptfrom_with(&self.queue, ACCEPTED)?)) {
                Ok((stream, peer)) => {
                    in_a_row += 1;
                    if std::mem::take(&mut has_asked) {
                        self.connections.has_room();
                    }
                    self.admit(reserved, stream, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => in_a_row = 0,
                Err(error) => {
                    self.connections.counters().accept_errors.add();
                    let errno = Errno::from_io_error(&error);
                    // A connection that was gone again is no reason to pause.
                    if matches!(errno, Some(Errno::CONNABORTED | Errno::CONNRESET | Errno::INTR)) {
                        continue;
                    }
                    if said.is_none_or(|said| said.elapsed() >= SAID_AGAIN) {
                        said = Some(Instant::now());
                        tracing::warn!(%error, "connections can't be accepted");
                    }
                    drop(reserved);
                    if matches!(errno, Some(Errno::MFILE | Errno::NFILE)) && self.make_room() {
                        // A descriptor is free once the connection has had its turn to end.
                        tokio::task::yield_now().await;
                    } else {
                        tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    }
                }
            }
        }
    }

    /// A place for one more. Those that have just come give way only once they have had their turn.
    async fn reserve(&self) -> Option<Reserved> {
        if let Some(reserved) = self.connections.reserve() {
            return Some(reserved);
        }
        tokio::task::yield_now().await;
        self.connections.reserve()
    }

    /// Whether a connection waits to be accepted: tokio knows only once it has tried.
    fn has_newcomer(&self) -> bool {
        let mut queue = [PollFd::new(&self.queue, PollFlags::IN)];
        poll(&mut queue, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Where there is no descriptor for a newcomer: one that gives way is closed, or else the newcomer. Returns
    /// whether one was.
    fn make_room(&self) -> bool {
        if self.connections.free_descriptor() {
            return true;
        }
        let is_shed = self.spare.shed(&self.queue);
        if is_shed {
            self.connections.counters().closed(Closed::Descriptors).add();
        }
        is_shed
    }

    /// Accepts what waits, within the limit. Returns whether nothing waits any more.
    fn take_queue(&self) -> bool {
        while let Some(reserved) = self.connections.reserve() {
            match acceptfrom_with(&self.queue, ACCEPTED) {
                Ok((stream, peer)) => self.admit(reserved, stream, peer),
                Err(Errno::WOULDBLOCK) => return true,
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                // Short of descriptors or memory: at the next turn some connections have ended.
                Err(_) => return false,
            }
        }
        false
    }

    fn admit(&self, reserved: Reserved, stream: OwnedFd, peer: Option<SocketAddrAny>) {
        // A connection that has no peer any more is gone.
        let Some(Ok(peer)) = peer.map(SocketAddr::try_from) else { return };
        let address = peer.ip().to_canonical();
        let (presence, given_away) = if !self.protocol.has_proxy_header {
            let Ok(entered) = self.connections.enter(address) else { return };
            entered
        } else if self.proxies.iter().any(|network| network.contains(&address)) {
            // It is counted once the proxy has said whose it is.
            (None, None)
        } else {
            self.connections.counters().closed(Closed::ProxyHeader).add();
            return;
        };
        let Some(place) = given_away.or_else(|| self.connections.claim(reserved)) else { return };
        (self.serve)(Admitted { stream: stream.into(), peer, protocol: self.protocol, counted: (place, presence) });
    }
}

/// A descriptor that is held so that there is one to accept, and close, a connection with where there is no other.
struct Spare(RefCell<Option<File>>);

impl Spare {
    /// Accepts a connection and closes it. Returns whether there was one.
    fn shed(&self, queue: &TcpStream) -> bool {
        // Free for the moment of the next line.
        drop(self.0.take());
        let is_shed = acceptfrom_with(queue, ACCEPTED).is_ok();
        // Where this fails another has taken it; then newcomers wait.
        self.0.replace(Self::open());
        is_shed
    }

    fn open() -> Option<File> {
        File::open("/dev/null").ok()
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
