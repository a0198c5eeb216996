//! A worker's connections: what each is doing, since when, and when it has taken too long.
//!
//! Owns the lifetime of a request, from its first byte to its response handed to the kernel: the
//! transport reports what it reads and writes, the worker reports what it is asked, and deadlines,
//! counts and service times follow from that here. There is no timer for each request (hyper's costs a
//! boxed sleep each): a sweep four times a second closes connections that are idle, or that are slow
//! to send a request or to take a response.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;
use tokio::task::{AbortHandle, spawn_local};

use super::counters::Counters;

/// How often [`Connections::sweep`] is called.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// Limits of a worker's connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most connections open at a time; more wait to be accepted.
    pub connections: usize,
    /// A connection without a request is closed after this time.
    pub idle: Duration,
    /// A request must be read, and its response taken, within this time.
    pub request: Duration,
    /// How long connections may take to end at the stop.
    pub grace: Duration,
}

/// One connection. Its transport and its service hold it; so does [`Connections`], which watches its
/// deadlines.
pub(super) struct Connection {
    /// The worker's ticks so far.
    clock: Rc<Cell<u32>>,
    counters: Arc<Counters>,
    /// Between the first byte of a request and its response, or while a response is not taken.
    is_busy: Cell<bool>,
    /// The tick at which that began or ended.
    since: Cell<u32>,
    /// When bytes were last read; the epoch of Unix before the first.
    read_at: Cell<SystemTime>,
    /// Requests among these bytes whose responses are not written yet.
    unanswered: Cell<u32>,
    closes: Cell<bool>,
}

impl Connection {
    fn new(clock: Rc<Cell<u32>>, counters: Arc<Counters>) -> Self {
        let since = Cell::new(clock.get());
        Self {
            clock,
            counters,
            is_busy: Cell::new(false),
            since,
            read_at: Cell::new(UNIX_EPOCH),
            unanswered: Cell::new(0),
            closes: Cell::new(false),
        }
    }

    /// Bytes of a request have come, or the end of what the other side sends.
    pub fn bytes_read(&self) {
        self.read_at.set(SystemTime::now());
        self.set_busy(true);
    }

    /// A request has been read whole. `closes_after`: hyper closes the connection after its response.
    pub fn request_begun(&self, closes_after: bool) {
        self.unanswered.set(self.unanswered.get() + 1);
        self.closes.set(closes_after);
    }

    /// All that there was to write is with the kernel: every request read so far has its response.
    pub fn response_written(&self) {
        self.set_busy(false);
        let answered = self.unanswered.replace(0);
        if answered > 0 {
            // A clock that was set back makes it zero.
            let took = self.read_at.get().elapsed().unwrap_or_default();
            self.counters.service.observe(took, answered);
        }
    }

    /// A response is not taken, or not all of it. Its time runs as a request's does, also where the
    /// request came with others before it, so that no byte of it is read from here on.
    pub fn response_stalled(&self) {
        self.set_busy(true);
    }

    /// When bytes were last read, in milliseconds since the Unix epoch.
    pub fn read_at_ms(&self) -> i64 {
        let since = self.read_at.get().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// Whether it is closed as soon as the response to the last request is written.
    pub fn closes_after_response(&self) -> bool {
        self.closes.get()
    }

    fn has_sent_nothing(&self) -> bool {
        self.read_at.get() == UNIX_EPOCH
    }

    fn is_overdue(&self, limits: &Limits) -> bool {
        let limit = if self.is_busy.get() { limits.request } else { limits.idle };
        TICK * (self.clock.get() - self.since.get()) > limit
    }

    fn set_busy(&self, busy: bool) {
        if self.is_busy.replace(busy) != busy {
            self.since.set(self.clock.get());
        }
    }
}

/// The open connections of one worker.
pub(super) struct Connections {
    limits: Limits,
    counters: Arc<Counters>,
    clock: Rc<Cell<u32>>,
    /// How many were ever opened: the next one's number.
    opened: Cell<u64>,
    open: RefCell<HashMap<u64, Open>>,
}

struct Open {
    connection: Rc<Connection>,
    task: AbortHandle,
}

impl Connections {
    /// None is open yet.
    pub fn new(limits: Limits, counters: Arc<Counters>) -> Self {
        let (clock, opened, open) = Default::default();
        Self { limits, counters, clock, opened, open }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many were opened since the start.
    pub fn opened(&self) -> u64 {
        self.opened.get()
    }

    pub fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// Whether one more may be opened.
    pub fn has_room(&self) -> bool {
        self.open.borrow().len() < self.limits.connections
    }

    /// Opens one: `serve` makes its future, which runs as a task of its own until the connection ends, or
    /// is closed from here.
    pub fn open<F, E>(self: &Rc<Self>, serve: impl FnOnce(Rc<Connection>) -> F)
    where
        F: Future<Output = Result<(), E>> + 'static,
    {
        self.counters.accepted.add();
        self.counters.open.add();
        let number = self.opened.get();
        self.opened.set(number + 1);
        let connection = Rc::new(Connection::new(self.clock.clone(), self.counters.clone()));
        let served = serve(connection.clone());
        let entry = Entry { connections: self.clone(), number };
        let task = spawn_local(async move {
            if served.await.is_err() {
                entry.connections.counters.connection_errors.add();
            }
        });
        self.open.borrow_mut().insert(number, Open { connection, task: task.abort_handle() });
    }

    /// One tick: closes those that have been idle or slow for too long.
    pub fn sweep(&self) {
        self.clock.set(self.clock.get() + 1);
        for open in self.open.borrow().values() {
            if open.connection.is_overdue(&self.limits) {
                self.counters.timed_out.add();
                open.task.abort();
            }
        }
    }

    /// Closes those without a request; of those that have sent nothing yet only where `silent_too`.
    pub fn close_idle(&self, silent_too: bool) {
        self.close(|connection| !connection.is_busy.get() && (silent_too || !connection.has_sent_nothing()));
    }

    /// Closes all.
    pub fn close_all(&self) {
        self.close(|_| true);
    }

    /// Aborted tasks are dropped, and leave the map, at the next turn of the runtime.
    fn close(&self, which: impl Fn(&Connection) -> bool) {
        let open = self.open.borrow();
        open.values().filter(|open| which(&open.connection)).for_each(|open| open.task.abort());
    }
}

/// A connection's place in its worker's map; leaves it however the connection ends.
struct Entry {
    connections: Rc<Connections>,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.counters.open.sub();
        self.connections.open.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        connections: 1,
        idle: Duration::from_secs(10),
        request: Duration::from_secs(2),
        grace: Duration::from_secs(1),
    };

    fn connection() -> (Rc<Cell<u32>>, Connection) {
        let clock = Rc::new(Cell::new(0));
        (clock.clone(), Connection::new(clock, Arc::default()))
    }

    /// Whether it is overdue after so many seconds more.
    fn is_overdue_after(seconds: u32, clock: &Cell<u32>, connection: &Connection) -> bool {
        clock.set(clock.get() + 4 * seconds);
        connection.is_overdue(&LIMITS)
    }

    #[test]
    fn a_connection_is_idle_until_a_byte_is_read_and_again_once_its_response_is_written() {
        let (clock, connection) = connection();
        assert!(!is_overdue_after(10, &clock, &connection), "as long as `idle` allows");
        connection.bytes_read();
        assert!(!is_overdue_after(2, &clock, &connection), "as long as `request` allows");
        connection.request_begun(false);
        connection.response_written();
        assert!(!is_overdue_after(10, &clock, &connection));
        assert!(is_overdue_after(1, &clock, &connection));
    }

    #[test]
    fn a_request_that_comes_in_drops_and_a_response_that_is_not_taken_are_overdue() {
        let (clock, slow) = connection();
        slow.bytes_read();
        assert!(!is_overdue_after(1, &clock, &slow));
        slow.bytes_read();
        assert!(is_overdue_after(2, &clock, &slow), "more bytes give no more time");

        let (clock, stalled) = connection();
        stalled.response_stalled();
        assert!(is_overdue_after(3, &clock, &stalled));
    }

    #[test]
    fn each_request_whose_response_is_written_has_its_service_time_counted_once() {
        let (_, connection) = connection();
        let counted = || connection.counters.service.get().0.iter().sum::<u64>();
        connection.bytes_read();
        connection.request_begun(false);
        connection.request_begun(true);
        assert_eq!((counted(), connection.closes_after_response()), (0, true));
        connection.response_written();
        connection.response_written();
        assert_eq!(counted(), 2);
    }
}
