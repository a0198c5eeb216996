//! How often somebody may try to sign in.
//!
//! Owns the pauses. What is counted are tries of one network (an address, or a /64 of IPv6) at one account name, and
//! of one network at all names; in memory, in tables of fixed size.
//!
//! - One network at one name: [`FREE_TRIES`], then a pause after each that fails, of 1 s, 2 s, 4 s and so on up to
//!   15 min. Where the name has failed [`MANY`] times within an hour, from wherever, a network has one free try.
//! - One network at all names: [`FREE_OF_NETWORK`] (an office has one address), then pauses of up to a minute. Not
//!   for a name that has signed in from there within [`REMEMBER`]: who guesses names keeps no colleague waiting. Such a
//!   pair has the pauses of its own alone, and is not counted among the network's tries.
//!
//! A pause is always of a network at a name, never of an account: somebody who guesses can't keep its owner out, who
//! comes from another network, or from the same one after the pause. A try during a pause is refused without
//! a look at the password, and makes the pause no longer. A try counts from its beginning, so that many at once are
//! no more than many in a row; one that is given up is counted back. An hour without a try that failed
//! ends the count. So a network has some 300 tries a day at a name.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::normal_name;
use crate::core::lock;

/// Tries of one network at one name without a pause.
const FREE_TRIES: u32 = 5;
/// Tries of one network at all names without a pause.
const FREE_OF_NETWORK: u32 = 100;
/// Failed tries at a name, from anywhere, after which a network has one free try at it.
const MANY: u32 = 50;
/// The longest pause of a network at a name.
const LONGEST: Duration = Duration::from_mins(15);
/// The longest pause of a network at all names.
const LONGEST_OF_NETWORK: Duration = Duration::from_mins(1);
/// After so long without a failed try the count begins anew.
const FORGET: Duration = Duration::from_hours(1);
/// How long a network is known to be one that a name signs in from. Longer than anybody is on leave.
const REMEMBER: Duration = Duration::from_hours(60 * 24);
/// Entries of each table; the oldest makes room.
const ENTRIES: usize = 16 * 1024;
/// Failed tries at an account that are a burst: worth an entry in the history, one for each burst.
const BURST: u32 = 10;

/// Tries, as far as they are remembered.
#[derive(Debug, Default)]
pub struct Limits {
    keys: RandomState,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    /// Of a network at a name.
    pairs: HashMap<u64, Tries>,
    /// When a network last signed in at a name.
    known: HashMap<u64, Instant>,
    /// Of a name, from everywhere.
    names: HashMap<u64, Tries>,
    /// Of a network, at all names.
    networks: HashMap<u64, Tries>,
    /// Of an account; `None`: of names that are none.
    refused: HashMap<Option<i64>, Refused>,
}

#[derive(Debug, Clone, Copy)]
struct Tries {
    /// That failed, or are under way.
    failed: u32,
    last: Instant,
    /// Of a name: the account, once a try at it has failed.
    account: Option<i64>,
}

/// What was refused at one account since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Wrong passwords and codes.
    pub wrong: u64,
    /// Tries during a pause.
    pub limited: u64,
    /// The last.
    pub last: Timestamp,
    burst: u32,
}

/// How long somebody has to wait before the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many tries: the next is taken after {} s", .0.as_secs() + 1)]
pub struct Pause(pub Duration);

/// A try that was begun. One that is dropped was given up, and does not count.
#[derive(Debug)]
pub struct Attempt {
    limits: Arc<Limits>,
    pair: u64,
    name: u64,
    /// `None`: the pair is known, and its tries are not the network's.
    network: Option<u64>,
    now: Instant,
    is_over: bool,
}

impl Limits {
    /// Begins a try, unless there is a pause.
    pub fn begin(
        self: &Arc<Self>,
        name: &str,
        address: IpAddr,
        now: Instant,
        time: Timestamp,
    ) -> Result<Attempt, Pause> {
        let network = network(address);
        // As accounts are found: each way to compose its accents would be another name.
        let name = normal_name(name);
        let keys = [self.key(&(&name, network)), self.key(&name), self.key(&network)];
        let [pair, of_name, of_network] = keys;
        let mut tables = lock(&self.tables);
        let known = tables.names.get(&of_name).filter(|tries| !tries.is_forgotten(now)).copied();
        let free = if known.is_some_and(|tries| tries.failed >= MANY) { 1 } else { FREE_TRIES };
        let signed_in = tables.known.get(&pair);
        let is_known = signed_in.is_some_and(|last| now.saturating_duration_since(*last) < REMEMBER);
        let of_network = Some(of_network).filter(|_| !is_known);
        let network = of_network.and_then(|key| tables.networks.get(&key));
        let pauses = [
            tables.pairs.get(&pair).map(|tries| tries.pause(now, free, LONGEST)),
            network.map(|tries| tries.pause(now, FREE_OF_NETWORK, LONGEST_OF_NETWORK)),
        ];
        let pause = pauses.into_iter().flatten().max().unwrap_or_default();
        if !pause.is_zero() {
            let account = known.and_then(|tries| tries.account);
            let refused = tables.refused(account, time);
            refused.limited += 1;
            return Err(Pause(pause));
        }
        count(&mut tables.pairs, pair, now);
        count(&mut tables.names, of_name, now);
        if let Some(network) = of_network {
            count(&mut tables.networks, network, now);
        }
        Ok(Attempt { limits: self.clone(), pair, name: of_name, network: of_network, now, is_over: false })
    }

    /// What was refused since the start, by account; `None`: at names that are none.
    pub fn refused(&self) -> Vec<(Option<i64>, Refused)> {
        let mut list: Vec<_> =
            lock(&self.tables).refused.iter().map(|(&account, &refused)| (account, refused)).collect();
        list.sort_by_key(|(account, _)| *account);
        list
    }

    fn key(&self, of: &impl Hash) -> u64 {
        self.keys.hash_one(of)
    }
}

impl Attempt {
    /// It succeeded: this network has not failed at this name, and is known for it.
    pub fn succeed(mut self) {
        self.is_over = true;
        let limits = self.limits.clone();
        let mut tables = lock(&limits.tables);
        tables.pairs.remove(&self.pair);
        tables.discount(&self);
        make_room(&mut tables.known, self.pair, |last| *last);
        tables.known.insert(self.pair, self.now);
    }

    /// It failed, at this account (`None`: the name is none). Whether that makes a burst of failures, which
    /// is said once.
    pub fn fail(mut self, account: Option<i64>, time: Timestamp) -> bool {
        self.is_over = true;
        let limits = self.limits.clone();
        let mut tables = lock(&limits.tables);
        if let Some(tries) = tables.names.get_mut(&self.name) {
            tries.account = account;
        }
        let refused = tables.refused(account, time);
        refused.wrong += 1;
        refused.burst += 1;
        refused.burst == BURST
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_over {
            let mut tables = lock(&self.limits.tables);
            discount(&mut tables.pairs, self.pair);
            tables.discount(self);
        }
    }
}

impl Tables {
    /// Counts a try back, but at its pair.
    fn discount(&mut self, attempt: &Attempt) {
        discount(&mut self.names, attempt.name);
        if let Some(network) = attempt.network {
            discount(&mut self.networks, network);
        }
    }

    /// The entry of an account, of which there are as many as there are accounts.
    fn refused(&mut self, account: Option<i64>, time: Timestamp) -> &mut Refused {
        let refused = self.refused.entry(account).or_insert(Refused { wrong: 0, limited: 0, last: time, burst: 0 });
        let silence = time.duration_since(refused.last);
        if silence.unsigned_abs() >= FORGET {
            refused.burst = 0;
        }
        refused.last = time;
        refused
    }
}

impl Tries {
    fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= FORGET
    }

    /// How long the next try has to wait.
    fn pause(&self, now: Instant, free: u32, longest: Duration) -> Duration {
        let since = now.saturating_duration_since(self.last);
        if self.failed < free || since >= FORGET {
            return Duration::ZERO;
        }
        let doubled = 1_u64.checked_shl(self.failed - free).unwrap_or(u64::MAX);
        Duration::from_secs(doubled).min(longest).saturating_sub(since)
    }
}

fn count(table: &mut HashMap<u64, Tries>, key: u64, now: Instant) {
    make_room(table, key, |tries| tries.last);
    let tries = table.entry(key).or_insert(Tries { failed: 0, last: now, account: None });
    if tries.is_forgotten(now) {
        tries.failed = 0;
    }
    tries.failed = tries.failed.saturating_add(1);
    tries.last = now;
}

/// Makes room for a key, where there is none, in place of the oldest.
fn make_room<V>(table: &mut HashMap<u64, V>, key: u64, last: impl Fn(&V) -> Instant) {
    if table.len() >= ENTRIES
        && !table.contains_key(&key)
        && let Some(oldest) = table.iter().min_by_key(|(_, value)| last(value)).map(|(&key, _)| key)
    {
        table.remove(&oldest);
    }
}

fn discount(table: &mut HashMap<u64, Tries>, key: u64) {
    if let Some(tries) = table.get_mut(&key) {
        tries.failed = tries.failed.saturating_sub(1);
    }
}

/// An address, or the /64 that a subscriber has whole.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        limits: Arc<Limits>,
        now: Instant,
    }

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    impl World {
        fn new() -> Self {
            Self { limits: Arc::default(), now: Instant::now() }
        }

        fn begin(&self, name: &str, address: IpAddr) -> Result<Attempt, Pause> {
            self.limits.begin(name, address, self.now, Timestamp::UNIX_EPOCH)
        }

        /// Whether a wrong password was looked at.
        fn fails(&self, name: &str, address: IpAddr) -> bool {
            self.begin(name, address).map(|attempt| attempt.fail(Some(1), Timestamp::UNIX_EPOCH)).is_ok()
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }
    }

    fn attacker(number: u32) -> IpAddr {
        IpAddr::from((0xc633_6400 + number).to_be_bytes())
    }

    #[test]
    fn pauses_grow_and_end_and_a_try_within_makes_none_longer() {
        let mut world = World::new();
        assert!((0..5).all(|_| world.fails("lan", HOME)), "free tries");
        for pause in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            assert_eq!(world.begin("lan", HOME).err(), Some(Pause(Duration::from_secs(pause))));
            world.pass(pause - 1);
            assert!(!world.fails("lan", HOME), "refused in the last second of {pause}");
            world.pass(1);
            assert!(world.fails("lan", HOME), "taken after {pause}");
        }
        world.pass(3600);
        assert!((0..5).all(|_| world.fails("lan", HOME)), "forgotten");
    }

    #[test]
    fn who_guesses_from_everywhere_keeps_nobody_out() {
        let mut world = World::new();
        for round in 0..200 {
            for number in 0..100 {
                world.fails("lan", attacker(number));
            }
            assert!(world.begin("lan", HOME).is_ok(), "round {round}: she comes from elsewhere");
            world.pass(1);
        }
        let tries = |world: &World| (0..100).filter(|&number| world.fails("lan", attacker(number + 200))).count();
        assert_eq!((tries(&world), tries(&world)), (100, 0), "under attack a network has one free try");
        world.pass(900);
        world.begin("lan", attacker(0)).expect("also from the attacker's network, after the longest pause").succeed();
        assert!(world.begin("lan", attacker(0)).is_ok(), "and then nothing is held against it");
    }

    #[test]
    fn many_at_once_are_no_more_than_many_in_a_row() {
        let world = World::new();
        let begun: Vec<_> = (0..100).filter_map(|_| world.begin("lan", HOME).ok()).collect();
        assert_eq!(begun.len(), 5);
        drop(begun);
        assert_eq!((0..100).filter(|_| world.fails("lan", HOME)).count(), 5, "those that were given up do not count");
    }

    #[test]
    fn another_way_to_compose_a_name_is_no_other_name() {
        let world = World::new();
        let spelled = ["Nguyễn", "Nguye\u{302}\u{303}n", "Nguy\u{ea}\u{303}n", " Nguyễn "];
        let tried = (0..100).filter(|&number| world.fails(spelled[number % spelled.len()], HOME)).count();
        assert_eq!(tried, 5);
    }

    #[test]
    fn an_office_signs_in_from_one_address() {
        let mut world = World::new();
        let names: Vec<String> = (0..60).map(|number| format!("person{number}")).collect();
        let begun: Vec<_> = names.iter().map(|name| world.begin(name, HOME).expect("a free try")).collect();
        begun.into_iter().for_each(Attempt::succeed);
        // Somebody there tries one password at every name.
        let tried = (0..1000).filter(|number| world.fails(&format!("name{number}"), HOME)).count();
        assert_eq!(tried, 100);
        assert!(world.begin("a newcomer", HOME).is_err(), "whom the network has not signed in yet");
        for name in &names {
            world.begin(name, HOME).expect("a colleague is not kept waiting").succeed();
        }
        // Where he guesses at a colleague, he has the tries of one name, and they don't prolong the network's pause.
        assert_eq!((0..100).filter(|_| world.fails("person1", HOME)).count(), 5);
        world.pass(60);
        assert!(world.begin("a newcomer", HOME).is_ok());
        let elsewhere = attacker(0);
        assert!((0..1000).filter(|number| world.fails(&format!("name{number}"), elsewhere)).count() == 100);
        assert!(world.begin("person2", elsewhere).is_err(), "a colleague of another network");
    }

    #[test]
    fn a_network_is_known_for_a_while_after_a_sign_in() {
        let mut world = World::new();
        world.begin("lan", HOME).expect("a free try").succeed();
        let mut begins_under_attack = |days: u64| {
            world.pass(days * 24 * 3600);
            assert_eq!((0..200).filter(|number| world.fails(&format!("name{number}"), HOME)).count(), 100);
            world.begin("lan", HOME).map(Attempt::succeed).is_ok()
        };
        assert_eq!([59, 59, 60].map(&mut begins_under_attack), [true, true, false]);
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_network() {
        let world = World::new();
        let address = |host: u128| IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | host));
        assert_eq!((0..100).filter(|&host| world.fails("lan", address(host))).count(), 5);
        assert!(world.fails("lan", address(1 << 64)), "another subscriber");
    }

    #[test]
    fn what_is_refused_is_counted_and_a_burst_said_once() {
        let world = World::new();
        let time = Timestamp::UNIX_EPOCH;
        let fail = |number: u32, time| {
            let attempt = world.limits.begin("lan", attacker(number), world.now, time);
            attempt.is_ok_and(|attempt| attempt.fail(Some(3), time))
        };
        assert_eq!((0..100).filter(|&number| fail(number % 20, time)).count(), 1, "one burst");
        let later = time + Duration::from_hours(2);
        assert_eq!((100..150).filter(|&number| fail(number, later)).count(), 1, "another");
        let refused = world.limits.refused();
        assert_eq!((refused.len(), refused[0].0, refused[0].1.last), (1, Some(3), later));
        assert_eq!(refused[0].1.wrong + refused[0].1.limited, 150);
    }

    #[test]
    fn tables_are_bounded() {
        let world = World::new();
        for number in 0..20_000_u32 {
            world.begin(&format!("person{number}"), attacker(number)).expect("a free try").succeed();
            world.fails(&format!("name{number}"), attacker(number));
        }
        let tables = lock(&world.limits.tables);
        let lengths = [tables.pairs.len(), tables.known.len(), tables.names.len(), tables.networks.len()];
        assert_eq!(lengths, [ENTRIES; 4]);
        assert_eq!(tables.refused.len(), 1);
    }
}
