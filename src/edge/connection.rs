//! One connection: what it is doing, since when, and when it has taken too long.
//!
//! Owns the lifetime of a request, from its first byte to its response handed to the kernel: the
//! transport reports what it reads and writes, the worker reports what it is asked, and deadlines,
//! counts and service times follow from that here. There is no timer for each request (hyper's costs a
//! boxed sleep each): its worker's connections are looked at four times a second (`connections.rs`).

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::capacity::{AddressHash, Presence};
use super::counters::{Closed, Counters};

/// How often connections are looked at: the unit of their times.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// What a phone far away may take for a handshake and a request. (At the limit each newcomer takes a place: if those
/// who are about to send their request went before those who are idle, nobody might get as far as an answer.)
const JUST_COME: Duration = Duration::from_secs(1);

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

/// One connection. Its transport and its service hold it; so do the
/// [`Connections`](super::connections::Connections), which watch its deadlines.
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
    pub fn new(number: u64, clock: Rc<Cell<u32>>, counters: Arc<Counters>, preface: Preface) -> Self {
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
    pub fn may_end(&self, silent_too: bool) -> bool {
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
    pub fn is_overdue(&self, limits: &Limits) -> Option<Closed> {
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
    pub fn gives_way(&self) -> Option<(Turn, u32)> {
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

    /// Its number among those of its worker.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Counts it for its address from now on, to its end.
    pub fn set_presence(&self, presence: Presence) {
        self.presence.set(presence).ok();
    }

    /// The address it is counted for.
    pub fn address(&self) -> Option<AddressHash> {
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

    /// It has been told to end, and it is counted why.
    pub fn closed(&self, why: Closed) {
        if !self.is_closed.replace(true) {
            self.counters.closed(why).add();
        }
    }

    /// It ends, and it is counted elsewhere why.
    pub fn set_closed(&self) {
        self.is_closed.set(true);
    }

    /// Whether it has been told to end.
    pub fn is_closed(&self) -> bool {
        self.is_closed.get()
    }
}

/// In which turn a connection gives way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// It has not sent a whole request, or not taken a response, in good time.
    Slow,
    /// It has had its responses.
    Idle,
    /// It has not sent a whole request yet.
    JustCome,
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
}
