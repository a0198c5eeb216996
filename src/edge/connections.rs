//! A worker's connections: those that are open, and which of them gives way to a newcomer.
//!
//! Owns their list, their ends from here, and their places. A sweep four times a second closes those that are
//! idle, or that are slow to send a request or to take a response.
//!
//! Where all places are taken, a visitor who comes is not the one who pays. First a connection gives way
//! that has had time for a handshake and a request and has not sent it, or does not take its responses; then
//! the one that has been idle for longest; then one that has only just come. One that is being answered never
//! does.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Of;
use tokio::task::{AbortHandle, spawn_local};

use super::capacity::{AddressHash, Capacity, Entered, Place, Presence};
use super::connection::{Connection, Limits, Preface, Turn};
use super::counters::{Closed, Counters};

/// Connections that are chosen at a time to give way.
const CANDIDATES: usize = 256;
/// Connections of a worker that are looked at within a tick to choose from them: about 10 ms.
const LOOKED_AT: usize = 100_000;

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

    /// A place for one more: a free one, or one of this worker's that gives way once it is claimed.
    pub fn reserve(&self) -> Option<Reserved> {
        self.capacity.place().map(Reserved::Free).or_else(|| self.candidate().map(Reserved::TakenBy))
    }

    /// A newcomer finds neither: whichever worker has one that gives way closes it at its next tick.
    pub fn ask_for_room(&self) {
        self.capacity.ask_for_room();
    }

    /// The newcomer has a place.
    pub fn has_room(&self) {
        self.capacity.room_is_made();
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
        let (presence, _) = self.enter(address).inspect_err(|_| connection.set_closed())?;
        if let Some(presence) = presence {
            self.set_presence(connection, presence);
        }
        Ok(())
    }

    fn set_presence(&self, connection: &Connection, presence: Presence) {
        self.by_address.borrow_mut().entry(presence.address()).or_default().push(connection.number());
        connection.set_presence(presence);
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
                if served.await.is_err() && !connection.is_closed() {
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
        for open in self.open.borrow().values().filter(|open| !open.connection.is_closed()) {
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
    use std::time::Duration;

    use super::*;

    const LIMITS: Limits = Limits {
        handshake: Duration::from_secs(5),
        idle: Duration::from_secs(10),
        request: Duration::from_secs(2),
        requests: 3,
        age: Duration::from_mins(1),
        grace: Duration::from_secs(1),
    };

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
