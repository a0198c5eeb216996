//! A worker's connections: what each is doing, since when, when it has taken too long, and which of
//! them gives way to a newcomer.
//!
//! Owns the lifetime of a request, from its first byte to its response handed to the kernel: the
//! transport reports what it reads and writes, the worker reports what it is asked, and deadlines,
//! counts and service times follow from that here. There is no timer for each request (hyper's costs a
//! boxed sleep each): a sweep four times a second closes connections that are idle, or that are slow
//! to send a request or to take a response.
//!
//! Where all places are taken, a visitor who comes is not the one who pays. First a connection gives way
//! that has had time for a handshake and a request and has not sent it, or does not take its responses; then
//! the one that has been idle for longest; then one that has only just come. One that is being answered never
//! does.

use std::cell::{Cell, OnceCell, RefCell};
use std::cmp::Reverse;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Of;
use tokio::task::{AbortHandle, spawn_local};

use super::capacity::{AddressHash, Capacity, Entered, Place, Presence};
use super::counters::{Closed, Counters};

/// How often [`Connections::sweep`] is called.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// What a phone far away may take for a handshake and a request. (At the limit each newcomer takes a place: if those
/// who are about to send their request went before those who are idle, nobody might get as far as an answer.)
const JUST_COME: Duration = Duration::from_secs(1);
/// Connections that are chosen at a time to give way.
const CANDIDATES: usize = 256;
/// Connections of a worker that are looked at within a tick to choose from them: about 10 ms.
const LOOKED_AT: usize = 100_000;

/// Limits of each connection.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A PROXY header and a TLS handshake must be over this long after the connection was accepted.
    pub handshake: Duration,
    /// A connection without a request is closed after this time.
    pub idle: Duration,
    /// A request must be read, and its response taken, within this time.
    pub request: Duration,
    /// A connection has this many requests at most.
    pub requests: u32,
    /// The first response after this time is a connection's last.
    pub age: Duration,
    /// How long connections may take to end at the stop.
    pub grace: Duration,
}

/// What must come before the first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preface {
    /// Nothing, or nothing more.
    Over,
    /// The header of the PROXY protocol.
    ProxyHeader,
    /// A TLS handshake.
    Handshake,
}

/// One connection. Its transport and its service hold it; so does [`Connections`], which watches its
/// deadlines.
pub(super) struct Connection {
    /// Its number among those of its worker.
    number: u64,
    /// The worker's ticks so far.
    clock: Rc<Cell<u32>>,
    counters: Arc<Counters>,
    /// The tick at which it was accepted.
    opened: u32,
    preface: Cell<Preface>,
    /// Its place among the connections of its address; empty where those are not counted, or where a
    /// proxy has not said yet whose it is.
    presence: OnceCell<Presence>,
    /// Whether what it may have sent was looked for once.
    was_looked_at: Cell<bool>,
    /// Whether anything has come from it, of a preface or of a request.
    has_sent: Cell<bool>,
    /// Between the first byte of a request and its response, or while a response is not taken.
    is_busy: Cell<bool>,
    /// The tick at which that began or ended.
    since: Cell<u32>,
    /// When bytes were last read; the epoch of Unix before the first.
    read_at: Cell<SystemTime>,
    /// Requests that were read whole.
    requests: Cell<u32>,
    /// Those among them whose responses are not written yet.
    unanswered: Cell<u32>,
    /// Whether a response is not taken.
    is_stalled: Cell<bool>,
    closes: Cell<bool>,
    /// Whether it has been told to end.
    is_closed: Cell<bool>,
}

impl Connection {
    fn new(number: u64, clock: Rc<Cell<u32>>, counters: Arc<Counters>, preface: Preface) -> Self {
        let opened = clock.get();
        Self {
            number,
            clock,
            counters,
            opened,
            preface: Cell::new(preface),
            presence: OnceCell::new(),
            was_looked_at: Cell::new(false),
            has_sent: Cell::new(false),
            is_busy: Cell::new(false),
            since: Cell::new(opened),
            read_at: Cell::new(UNIX_EPOCH),
            requests: Cell::new(0),
            unanswered: Cell::new(0),
            is_stalled: Cell::new(false),
            closes: Cell::new(false),
            is_closed: Cell::new(false),
        }
    }

    /// What the first request waits for from here on.
    pub fn set_preface(&self, preface: Preface) {
        self.preface.set(preface);
        self.since.set(self.clock.get());
    }

    /// The TLS handshake is over.
    pub fn handshake_done(&self) {
        if self.preface.get() == Preface::Handshake {
            self.set_preface(Preface::Over);
        }
    }

    /// The other side has sent what is neither a PROXY header nor a TLS handshake that can be gone on with.
    pub fn preface_failed(&self) {
        match self.preface.get() {
            Preface::Over => {}
            Preface::ProxyHeader => self.closed(Closed::ProxyHeader),
            Preface::Handshake => self.closed(Closed::Handshake),
        }
    }

    /// What it may have sent is looked for.
    pub fn looked_at(&self) {
        self.was_looked_at.set(true);
    }

    /// Bytes of a preface have come.
    pub fn preface_read(&self) {
        self.has_sent.set(true);
    }

    /// Bytes of a request have come, or the end of what the other side sends.
    pub fn bytes_read(&self) {
        self.has_sent.set(true);
        self.read_at.set(SystemTime::now());
        self.set_busy(true);
    }

    /// A request has been read whole. `closes_after`: hyper closes the connection after its response.
    pub fn request_begun(&self, closes_after: bool) {
        self.requests.set(self.requests.get().saturating_add(1));
        self.unanswered.set(self.unanswered.get() + 1);
        self.closes.set(closes_after);
    }

    /// All that there was to write is with the kernel: every request read so far has its response.
    pub fn response_written(&self) {
        self.set_busy(false);
        self.is_stalled.set(false);
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
        self.is_stalled.set(true);
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

    /// Whether the request that comes is the last it may have.
    pub fn is_used_up(&self, limits: &Limits) -> bool {
        self.requests.get() + 1 >= limits.requests || self.ticks_since(self.opened) >= limits.age
    }

    /// Whether it may be closed at the stop: it is not within a request, and not about to send its first. One
    /// that has sent nothing may where `silent_too`.
    fn may_end(&self, silent_too: bool) -> bool {
        if !self.has_sent.get() {
            return silent_too;
        }
        let is_about_to_ask = match self.preface.get() {
            Preface::Over => self.requests.get() == 0 && self.ticks_since(self.since.get()) <= JUST_COME,
            Preface::ProxyHeader | Preface::Handshake => true,
        };
        !self.is_busy.get() && !is_about_to_ask
    }

    /// Why its time is over, if it is.
    fn is_overdue(&self, limits: &Limits) -> Option<Closed> {
        let since_opened = || self.ticks_since(self.opened);
        let (took, limit, closed) = match (self.preface.get(), self.is_busy.get()) {
            (Preface::ProxyHeader, _) => (since_opened(), limits.handshake, Closed::ProxyHeader),
            (Preface::Handshake, _) => (since_opened(), limits.handshake, Closed::Handshake),
            (Preface::Over, true) => (self.ticks_since(self.since.get()), limits.request, Closed::Slow),
            (Preface::Over, false) => (self.ticks_since(self.since.get()), limits.idle, Closed::Idle),
        };
        (took > limit).then_some(closed)
    }

    /// In which turn it gives way, and since when it waits; `None` if it does not. Not before its request was
    /// looked for, which may be there.
    fn gives_way(&self) -> Option<(Turn, u32)> {
        let is_slow = || self.ticks_since(self.since.get()) > JUST_COME;
        if self.is_closed.get() || !self.was_looked_at.get() {
            return None;
        }
        if self.is_stalled.get() || self.unanswered.get() > 0 {
            return (self.is_stalled.get() && is_slow()).then(|| (Turn::Slow, self.since.get()));
        }
        let (is_idle, since) = match (self.requests.get(), self.is_busy.get()) {
            (0, _) => (false, self.opened),
            (_, is_busy) => (!is_busy, self.since.get()),
        };
        let turn = match is_idle {
            true => Turn::Idle,
            false if self.ticks_since(since) > JUST_COME => Turn::Slow,
            false => Turn::JustCome,
        };
        Some((turn, since))
    }

    fn address(&self) -> Option<AddressHash> {
        self.presence.get().map(Presence::address)
    }

    fn ticks_since(&self, tick: u32) -> Duration {
        TICK * (self.clock.get() - tick)
    }

    fn set_busy(&self, busy: bool) {
        if self.is_busy.replace(busy) != busy {
            self.since.set(self.clock.get());
        }
    }

    fn closed(&self, why: Closed) {
        if !self.is_closed.replace(true) {
            self.counters.closed(why).add();
        }
    }
}

/// In which turn a connection gives way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// It has not sent a whole request, or not taken a response, in good time.
    Slow,
    /// It has had its responses.
    Idle,
    /// It has not sent a whole request yet.
    JustCome,
}

/// The open connections of one worker.
pub(super) struct Connections {
    limits: Limits,
    capacity: Arc<Capacity>,
    counters: Arc<Counters>,
    clock: Rc<Cell<u32>>,
    /// How many were ever opened: the next one's number.
    opened: Cell<u64>,
    open: RefCell<HashMap<u64, Open>>,
    /// The numbers of those that are counted for an address.
    by_address: RefCell<HashMap<AddressHash, Vec<u64>>>,
    /// Those that give way next, the first last. Chosen anew at each tick.
    candidates: RefCell<Vec<u64>>,
    /// Connections that were looked at for that since the last tick.
    looked_at: Cell<usize>,
}

struct Open {
    connection: Rc<Connection>,
    task: AbortHandle,
    /// `None` once it has given it away.
    place: Option<Place>,
}

/// A place for a connection that has not come yet.
pub(super) enum Reserved {
    Free(Place),
    /// Of the connection with this number.
    TakenBy(u64),
}

/// An address has too many connections, and none of them gives way.
#[derive(Debug, thiserror::Error)]
#[error("the address has too many connections")]
pub(super) struct TooMany;

impl Connections {
    /// None is open yet.
    pub fn new(limits: Limits, capacity: Arc<Capacity>, counters: Arc<Counters>) -> Self {
        let (clock, opened, open, by_address, candidates, looked_at) = Default::default();
        Self { limits, capacity, counters, clock, opened, open, by_address, candidates, looked_at }
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

    /// A place for one more: a free one, or one of this worker's that gives way once it is claimed. Where there is
    /// neither, another worker is asked to close one of its own.
    pub fn reserve(&self) -> Option<Reserved> {
        let reserved = self.capacity.place().map(Reserved::Free);
        let reserved = reserved.or_else(|| self.candidate().map(Reserved::TakenBy));
        if reserved.is_none() {
            self.capacity.ask_for_room();
        }
        reserved
    }

    /// The place that was reserved.
    pub fn claim(&self, reserved: Reserved) -> Option<Place> {
        match reserved {
            Reserved::Free(place) => Some(place),
            Reserved::TakenBy(number) => self.close_one(number, Closed::Evicted),
        }
    }

    /// Counts a connection for its address, where those are counted. Beyond the limit another from the same
    /// address is closed for it, and gives its place away; where this worker has none from there, those of the
    /// others can't be reached, and it is let in: one for each worker.
    pub fn enter(&self, address: IpAddr) -> Result<(Option<Presence>, Option<Place>), TooMany> {
        let presence = match self.capacity.enter(address) {
            Entered::Uncounted => return Ok((None, None)),
            Entered::Counted(presence) => return Ok((Some(presence), None)),
            Entered::Beyond(presence) => presence,
        };
        let by_address = self.by_address.borrow();
        let Some(numbers) = by_address.get(&presence.address()) else { return Ok((Some(presence), None)) };
        let first = {
            let open = self.open.borrow();
            let turn = |number: &u64| Some((open.get(number)?.connection.gives_way()?, *number));
            numbers.iter().filter_map(turn).min()
        };
        if let Some((_, number)) = first {
            return Ok((Some(presence), self.close_one(number, Closed::PerAddress)));
        }
        self.counters.closed(Closed::PerAddress).add();
        Err(TooMany)
    }

    /// The same for an open connection, once a proxy has said whose it is.
    pub fn enter_late(&self, connection: &Connection, address: IpAddr) -> Result<(), TooMany> {
        let (presence, _) = self.enter(address).inspect_err(|_| connection.is_closed.set(true))?;
        if let Some(presence) = presence {
            self.set_presence(connection, presence);
        }
        Ok(())
    }

    fn set_presence(&self, connection: &Connection, presence: Presence) {
        self.by_address.borrow_mut().entry(presence.address()).or_default().push(connection.number);
        connection.presence.set(presence).ok();
    }

    /// Closes one that gives way so that its descriptor becomes free. Returns whether there was one.
    pub fn free_descriptor(&self) -> bool {
        self.candidate().and_then(|number| self.close_one(number, Closed::Descriptors)).is_some()
    }

    /// Opens one: `serve` makes its future, which runs as a task of its own until the connection ends, or
    /// is closed from here.
    pub fn open<F, E>(
        self: &Rc<Self>,
        (place, presence): (Place, Option<Presence>),
        preface: Preface,
        serve: impl FnOnce(Rc<Connection>) -> F,
    ) where
        F: Future<Output = Result<(), E>> + 'static,
    {
        self.counters.accepted.add();
        self.counters.open.add();
        let number = self.opened.get();
        self.opened.set(number + 1);
        let connection = Connection::new(number, self.clock.clone(), self.counters.clone(), preface);
        let connection = Rc::new(connection);
        if let Some(presence) = presence {
            self.set_presence(&connection, presence);
        }
        let served = serve(connection.clone());
        let entry = Entry { connections: self.clone(), number };
        let task = spawn_local({
            let connection = connection.clone();
            async move {
                // What has a reason of its own is counted by it.
                if served.await.is_err() && !connection.is_closed.get() {
                    entry.connections.counters.connection_errors.add();
                }
            }
        });
        let open = Open { connection, task: task.abort_handle(), place: Some(place) };
        self.open.borrow_mut().insert(number, open);
    }

    /// One tick: closes those that have been idle or slow for too long.
    pub fn sweep(&self) {
        self.clock.set(self.clock.get() + 1);
        self.candidates.borrow_mut().clear();
        self.looked_at.set(0);
        for open in self.open.borrow().values().filter(|open| !open.connection.is_closed.get()) {
            if let Some(why) = open.connection.is_overdue(&self.limits) {
                self.counters.timed_out.add();
                open.connection.closed(why);
                open.task.abort();
            }
        }
        if self.capacity.is_asked_for_room()
            && let Some(number) = self.candidate()
        {
            self.capacity.room_is_made();
            self.close_one(number, Closed::Evicted);
        }
    }

    /// Closes those that are neither within a request nor about to send their first; of those that have sent nothing yet
    /// only where `silent_too`.
    pub fn close_idle(&self, silent_too: bool) {
        self.close(|connection| connection.may_end(silent_too));
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

    /// Closes one; returns its place.
    fn close_one(&self, number: u64, why: Closed) -> Option<Place> {
        let mut open = self.open.borrow_mut();
        let open = open.get_mut(&number)?;
        open.connection.closed(why);
        open.task.abort();
        open.place.take()
    }

    /// The next of this worker's that gives way.
    fn candidate(&self) -> Option<u64> {
        let (mut candidates, open) = (self.candidates.borrow_mut(), self.open.borrow());
        let gives_way = |number: &u64| open.get(number).is_some_and(|open| open.connection.gives_way().is_some());
        // The next one stays in the list until it is closed: there may be no newcomer after all.
        while candidates.pop_if(|number| !gives_way(number)).is_some() {}
        // Looking for others is what costs, and a client can make it necessary.
        if candidates.is_empty() && self.looked_at.get() < LOOKED_AT {
            self.looked_at.set(self.looked_at.get() + open.len());
            *candidates = self.choose(&open);
        }
        candidates.last().copied()
    }

    /// Those that give way, the first of them last: by their turn; without a request, from the address that has
    /// most connections; the one that has waited for longest.
    fn choose(&self, open: &HashMap<u64, Open>) -> Vec<u64> {
        let give_way = open.iter().filter_map(|(&number, open)| {
            let (turn, since) = open.connection.gives_way()?;
            let count = match (turn, open.connection.address()) {
                (Turn::Slow | Turn::JustCome, Some(address)) => self.capacity.connections_of(address),
                _ => 0,
            };
            Some((turn, Reverse(count), since, number))
        });
        let mut give_way: Vec<_> = give_way.collect();
        if give_way.len() > CANDIDATES {
            give_way.select_nth_unstable(CANDIDATES);
            give_way.truncate(CANDIDATES);
        }
        give_way.sort_unstable_by(|one, other| other.cmp(one));
        give_way.into_iter().map(|(.., number)| number).collect()
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
        let open = self.connections.open.borrow_mut().remove(&self.number);
        let Some(address) = open.and_then(|open| open.connection.address()) else { return };
        if let Of::Occupied(mut numbers) = self.connections.by_address.borrow_mut().entry(address) {
            numbers.get_mut().retain(|number| *number != self.number);
            if numbers.get().is_empty() {
                numbers.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        handshake: Duration::from_secs(5),
        idle: Duration::from_secs(10),
        request: Duration::from_secs(2),
        requests: 3,
        age: Duration::from_mins(1),
        grace: Duration::from_secs(1),
    };

    fn connection(preface: Preface) -> (Rc<Cell<u32>>, Connection) {
        let clock = Rc::new(Cell::new(0));
        (clock.clone(), Connection::new(0, clock, Arc::default(), preface))
    }

    /// Why it is overdue after so many seconds more.
    fn overdue_after(seconds: u32, clock: &Cell<u32>, connection: &Connection) -> Option<Closed> {
        clock.set(clock.get() + 4 * seconds);
        connection.is_overdue(&LIMITS)
    }

    #[test]
    fn a_connection_is_idle_until_a_byte_is_read_and_again_once_its_response_is_written() {
        let (clock, connection) = connection(Preface::Over);
        assert_eq!(overdue_after(10, &clock, &connection), None, "as long as `idle` allows");
        connection.bytes_read();
        assert_eq!(overdue_after(2, &clock, &connection), None, "as long as `request` allows");
        connection.request_begun(false);
        connection.response_written();
        assert_eq!(overdue_after(10, &clock, &connection), None);
        assert_eq!(overdue_after(1, &clock, &connection), Some(Closed::Idle));
    }

    #[test]
    fn a_request_that_comes_in_drops_and_a_response_that_is_not_taken_are_overdue() {
        let (clock, slow) = connection(Preface::Over);
        slow.bytes_read();
        assert_eq!(overdue_after(1, &clock, &slow), None);
        slow.bytes_read();
        assert_eq!(overdue_after(2, &clock, &slow), Some(Closed::Slow), "more bytes give no more time");

        let (clock, stalled) = connection(Preface::Over);
        stalled.response_stalled();
        assert_eq!(overdue_after(3, &clock, &stalled), Some(Closed::Slow));
    }

    #[test]
    fn a_preface_has_its_time_from_the_start_of_the_connection_and_then_the_request_has_its_own() {
        let (clock, connection) = connection(Preface::ProxyHeader);
        assert_eq!(overdue_after(3, &clock, &connection), None);
        connection.set_preface(Preface::Handshake);
        assert_eq!(overdue_after(2, &clock, &connection), None);
        assert_eq!(overdue_after(1, &clock, &connection), Some(Closed::Handshake), "for both together");
        connection.set_preface(Preface::Over);
        assert_eq!(overdue_after(10, &clock, &connection), None);
        assert_eq!(overdue_after(1, &clock, &connection), Some(Closed::Idle));
    }

    #[test]
    fn each_request_whose_response_is_written_has_its_service_time_counted_once() {
        let (_, connection) = connection(Preface::Over);
        let counted = || connection.counters.service.get().0.iter().sum::<u64>();
        connection.bytes_read();
        connection.request_begun(false);
        connection.request_begun(true);
        assert_eq!((counted(), connection.closes_after_response()), (0, true));
        connection.response_written();
        connection.response_written();
        assert_eq!(counted(), 2);
    }

    #[test]
    fn a_connection_is_used_up_by_its_last_request_or_by_age() {
        let (_, connection) = connection(Preface::Over);
        let request = || {
            let is_last = connection.is_used_up(&LIMITS);
            connection.request_begun(is_last);
            is_last
        };
        assert_eq!([request(), request(), request()], [false, false, true]);

        let (clock, connection) = self::connection(Preface::Over);
        clock.set(239);
        assert!(!connection.is_used_up(&LIMITS));
        clock.set(240);
        assert!(connection.is_used_up(&LIMITS), "after a minute");
    }

    /// Connections of a worker, by name, in the order in which they give way.
    struct Fixture(Rc<Connections>, Vec<&'static str>);

    impl Fixture {
        fn new(most: usize, most_of_address: u32) -> Self {
            let capacity = Arc::new(Capacity::new(most, most_of_address, Vec::new()));
            Self(Rc::new(Connections::new(LIMITS, capacity, Arc::default())), Vec::new())
        }

        /// Opens one from 192.0.2.`host`, which `does` something; a tick later than the one before.
        fn open(&mut self, name: &'static str, host: u8, does: impl FnOnce(&Connection)) {
            let Self(connections, names) = self;
            connections.clock.set(connections.clock.get() + 1);
            let place = connections.reserve().and_then(|reserved| connections.claim(reserved)).expect("a place");
            let (presence, _) = connections.enter([192, 0, 2, host].into()).expect("few from this address");
            connections.open((place, presence), Preface::Over, |connection| {
                connection.looked_at();
                does(&connection);
                std::future::pending::<Result<(), TooMany>>()
            });
            names.push(name);
        }

        fn order(&self) -> Vec<&'static str> {
            let numbers = self.0.choose(&self.0.open.borrow());
            numbers.into_iter().rev().map(|number| self.1[usize::try_from(number).expect("few")]).collect()
        }
    }

    fn answered(connection: &Connection) {
        connection.bytes_read();
        connection.request_begun(false);
        connection.response_written();
    }

    fn in_a_runtime(test: impl FnOnce()) {
        let options = tokio::runtime::LocalOptions::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build_local(options).expect("a runtime");
        runtime.block_on(async { test() });
    }

    #[test]
    fn the_slow_give_way_first_then_the_longest_idle_then_who_has_just_come_and_nobody_being_answered() {
        in_a_runtime(|| {
            let mut open = Fixture::new(9, 9);
            open.open("slow and alone", 1, |_| {});
            open.open("slow, one of two", 2, |_| {});
            open.open("slow, two of two", 2, Connection::bytes_read);
            open.open("idle for longest", 3, answered);
            open.open("idle", 4, answered);
            open.open("being answered", 5, |connection| {
                connection.bytes_read();
                connection.request_begun(false);
            });
            open.open("takes nothing", 5, |connection| {
                connection.request_begun(false);
                connection.response_stalled();
            });
            open.open("asks again", 6, |connection| {
                answered(connection);
                connection.bytes_read();
            });
            open.open("has just come", 7, Connection::bytes_read);
            let order = [
                "slow, one of two",
                "slow, two of two",
                "slow and alone",
                "idle for longest",
                "idle",
                "asks again",
                "has just come",
            ];
            assert_eq!(open.order(), order);
        });
    }

    #[test]
    fn where_all_places_are_taken_one_gives_its_place_away_or_the_newcomer_waits() {
        in_a_runtime(|| {
            let mut open = Fixture::new(2, 9);
            open.open("idle", 1, answered);
            open.open("being answered", 2, |connection| connection.request_begun(false));
            let reserved = open.0.reserve().expect("the idle one's");
            let _place = open.0.claim(reserved).expect("it was given away");
            assert_eq!(open.0.counters.closed(Closed::Evicted).get(), 1);
            assert!(open.0.reserve().is_none(), "the other is being answered");
        });
    }

    #[test]
    fn beyond_its_limit_an_address_pays_with_its_own_or_is_refused() {
        in_a_runtime(|| {
            let mut open = Fixture::new(9, 2);
            open.open("another's", 1, |_| {});
            open.open("idle", 2, answered);
            open.open("being answered", 2, |connection| connection.request_begun(false));
            open.open("one more", 2, |connection| connection.request_begun(false));
            assert_eq!(open.0.counters.closed(Closed::PerAddress).get(), 1, "the idle one went");
            assert!(open.0.enter([192, 0, 2, 2].into()).is_err(), "both are being answered");
            assert!(open.0.enter([192, 0, 2, 1].into()).is_ok());
        });
    }
}
