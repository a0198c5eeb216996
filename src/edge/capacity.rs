//! How many connections there may be: in all, and from one address.
//!
//! Owns the process's count of open connections, one number whatever the number of workers, and the
//! count for each address. An address is kept as a hash under a key of this process, and only while a
//! connection from it is open. An IPv6 network of 64 bits counts as one address: a visitor's own
//! device may take any address in it (RFC 4862).

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use ipnet::IpNet;

/// A hash of an address under a key of this process.
pub(super) type AddressHash = u64;

/// The key of such hashes, drawn at the start and kept in memory alone.
#[derive(Debug, Default)]
pub(super) struct AddressKey(RandomState);

impl AddressKey {
    /// The hash of an address; an IPv6 network of 64 bits has one.
    pub fn hash(&self, address: IpAddr) -> AddressHash {
        match address.to_canonical() {
            IpAddr::V4(address) => self.0.hash_one(address.octets()),
            IpAddr::V6(address) => self.0.hash_one(&address.octets()[..8]),
        }
    }
}

/// The limits, and what is open now.
#[derive(Debug)]
pub struct Capacity {
    most: usize,
    most_of_address: u32,
    /// Networks that may have any number of connections.
    exempt: Vec<IpNet>,
    open: AtomicUsize,
    /// Whether a worker has a newcomer and no connection that gives way.
    is_asked_for_room: AtomicBool,
    /// Connections of each address that has any.
    addresses: DashMap<AddressHash, u32, foldhash::fast::FixedState>,
    key: AddressKey,
}

impl Capacity {
    /// At most `most` connections at a time, and `most_of_address` from one address; of proxies
    /// (`exempt`) any number.
    #[must_use]
    pub fn new(most: usize, most_of_address: u32, exempt: Vec<IpNet>) -> Self {
        let (open, is_asked_for_room, addresses, key) = Default::default();
        Self { most, most_of_address, exempt, open, is_asked_for_room, addresses, key }
    }

    /// Most connections at a time.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// Takes one of the places there are.
    pub(super) fn place(self: &Arc<Self>) -> Option<Place> {
        let more = |open: usize| (open < self.most).then_some(open + 1);
        let taken = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Place(self.clone()))
    }

    /// Asks the other workers to close a connection that gives way.
    pub(super) fn ask_for_room(&self) {
        self.is_asked_for_room.store(true, Ordering::Relaxed);
    }

    /// Whether a worker has asked for it. (Read four times a second by each.)
    pub(super) fn is_asked_for_room(&self) -> bool {
        self.is_asked_for_room.load(Ordering::Relaxed)
    }

    /// One has been closed.
    pub(super) fn room_is_made(&self) {
        self.is_asked_for_room.store(false, Ordering::Relaxed);
    }

    /// Counts a connection from an address; `None` where there may be any number.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Entered {
        let address = address.to_canonical();
        if self.exempt.iter().any(|network| network.contains(&address)) {
            return Entered::Uncounted;
        }
        let hash = self.key.hash(address);
        let mut count = self.addresses.entry(hash).or_default();
        *count += 1;
        let is_beyond = *count > self.most_of_address;
        drop(count);
        let presence = Presence { capacity: self.clone(), address: hash };
        if is_beyond { Entered::Beyond(presence) } else { Entered::Counted(presence) }
    }

    /// How many connections an address has.
    pub(super) fn connections_of(&self, address: AddressHash) -> u32 {
        self.addresses.get(&address).map_or(0, |count| *count)
    }
}

/// What [`Capacity::enter`] finds.
pub(super) enum Entered {
    /// The address may have any number.
    Uncounted,
    /// It is counted.
    Counted(Presence),
    /// It is counted, and is one too many.
    Beyond(Presence),
}

/// A connection's place among all; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Capacity>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection as one of its address's, until this is dropped.
#[derive(Debug)]
pub(super) struct Presence {
    capacity: Arc<Capacity>,
    address: AddressHash,
}

impl Presence {
    pub fn address(&self) -> AddressHash {
        self.address
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.capacity.addresses.entry(self.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(capacity: &Arc<Capacity>, address: &str) -> Entered {
        capacity.enter(address.parse().expect("an address"))
    }

    #[test]
    fn places_are_those_of_the_process_and_free_again_once_dropped() {
        let capacity = Arc::new(Capacity::new(2, 9, Vec::new()));
        let places = [capacity.place(), capacity.place()];
        assert!(places.iter().all(Option::is_some) && capacity.place().is_none());
        drop(places);
        assert!(capacity.place().is_some());
    }

    #[test]
    fn an_address_is_counted_while_it_has_connections_and_a_network_of_64_bits_is_one() {
        let capacity = Arc::new(Capacity::new(9, 2, vec!["10.0.0.0/8".parse().expect("a network")]));
        for [one, same, other] in
            [["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"], ["2001:db8::1", "2001:db8::ffff:0:0:2", "2001:db8:0:1::1"]]
        {
            let held = [enter(&capacity, one), enter(&capacity, same)];
            assert!(held.iter().all(|entered| matches!(entered, Entered::Counted(_))));
            assert!(matches!(enter(&capacity, one), Entered::Beyond(_)), "a third");
            assert!(matches!(enter(&capacity, other), Entered::Counted(_)), "another address");
            assert!(matches!(enter(&capacity, "10.1.2.3"), Entered::Uncounted), "a proxy");
            drop(held);
            assert!(capacity.addresses.is_empty(), "nothing is kept of an address without a connection");
        }
    }
}
