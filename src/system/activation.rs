//! Sockets that systemd hands over (`sd_listen_fds(3)`): it keeps them over a restart, so that who
//! connects meanwhile waits, and is answered by the next process.
//!
//! Owns which socket stands for which port, by its name or else by its address, and how the sockets
//! of a port are spread over the workers. Every socket that is handed over is served, or else the
//! start fails: one that nobody accepts from would swallow visitors.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::{env, io, process};

use listenfd::ListenFd;
use rustix::fs::fstat;
use rustix::net::sockopt::socket_acceptconn;

/// Names that say what a socket is for (`FileDescriptorName=` in its unit). One with any other name,
/// as systemd's default, the unit's, is known by its address.
pub const NAMES: [&str; 5] = ["http", "https", "proxy", "admin", "console"];

/// Most sockets that are taken: one for each of as many workers as there may be, for each name.
const MAX_SOCKETS: usize = 1024 * NAMES.len();

/// Why the sockets that are there can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// Not a number, or too many.
    #[error("LISTEN_FDS: expected a number of sockets up to {MAX_SOCKETS}, found {0:?}")]
    Count(String),
    /// There is not one name for each socket.
    #[error("LISTEN_FDNAMES: expected {expected} names with a colon between them, found {found:?}")]
    Names {
        /// As many as there are sockets.
        expected: usize,
        /// The variable.
        found: String,
    },
    /// Some are no listeners, or nothing in the configuration asks for them; a line for each.
    #[error("{}", .0.join("\n"))]
    Sockets(Vec<String>),
    /// A socket can't be made non-blocking or duplicated.
    #[error("the sockets that were handed over can't be used")]
    System(#[from] io::Error),
}

/// The sockets that were handed over and that nothing has asked for yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<Socket>,
    /// What was asked for, for those who wonder what a socket could have been for.
    asked: Vec<String>,
}

#[derive(Debug)]
struct Socket {
    name: String,
    address: SocketAddr,
    listener: TcpListener,
}

impl Inherited {
    /// Takes the sockets that are meant for this process; none where there are none. They don't block.
    ///
    /// It changes the environment, so it comes before the first thread.
    pub fn take() -> Result<Self, ActivationError> {
        let is_ours = env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(process::id()));
        let Some(count) = env::var("LISTEN_FDS").ok().filter(|_| is_ours) else { return Ok(Self::default()) };
        let Some(expected) = count.parse().ok().filter(|&number: &usize| number <= MAX_SOCKETS) else {
            return Err(ActivationError::Count(count));
        };
        let names: Vec<String> = match env::var("LISTEN_FDNAMES") {
            Ok(names) => names.split(':').map(str::to_owned).collect(),
            Err(_) => vec![String::new(); expected],
        };
        if names.len() != expected && expected > 0 {
            return Err(ActivationError::Names { expected, found: names.join(":") });
        }
        let mut handed_over = ListenFd::from_env();
        let (mut sockets, mut problems, mut inodes) = (Vec::new(), Vec::new(), Vec::new());
        for (index, name) in names.into_iter().enumerate().take(expected) {
            let found = match handed_over.take_tcp_listener(index) {
                Ok(Some(listener)) if socket_acceptconn(&listener).map_err(io::Error::from)? => {
                    // With two names it would be served in two ways at once.
                    let inode = fstat(&listener).map_err(io::Error::from)?.st_ino;
                    if let Some((first, _)) = inodes.iter().find(|(_, known)| *known == inode) {
                        let second = index + 1;
                        problems.push(format!(
                            "socket {second} ({name:?}): expected another one, found socket {first} again"
                        ));
                        continue;
                    }
                    inodes.push((index + 1, inode));
                    listener.set_nonblocking(true)?;
                    sockets.push(Socket { name, address: listener.local_addr()?, listener });
                    continue;
                }
                Ok(_) => "one that does not listen".to_owned(),
                Err(error) => error.to_string(),
            };
            problems
                .push(format!("socket {} ({name:?}): expected a TCP socket that listens, found {found}", index + 1));
        }
        if problems.is_empty() {
            Ok(Self { sockets, asked: Vec::new() })
        } else {
            Err(ActivationError::Sockets(problems))
        }
    }

    /// Takes those with a name, or, without one of [`NAMES`], with an address of `addresses`, which is
    /// left with what is still to be bound: nothing where the name was there, or else the addresses that no
    /// socket has.
    pub fn take_for(&mut self, name: &str, addresses: &mut Vec<SocketAddr>) -> Vec<TcpListener> {
        self.asked.push(format!("{name} ({})", list(addresses)));
        let is_named = |socket: &Socket| socket.name == name;
        let is_meant = |socket: &mut Socket| {
            is_named(socket) || !NAMES.contains(&socket.name.as_str()) && addresses.contains(&socket.address)
        };
        let taken: Vec<Socket> = self.sockets.extract_if(.., is_meant).collect();
        if taken.iter().any(is_named) {
            addresses.clear();
        }
        addresses.retain(|address| !taken.iter().any(|socket| socket.address == *address));
        taken.into_iter().map(|socket| socket.listener).collect()
    }

    /// Ends the hand-over: an error where there are sockets that nothing has asked for.
    pub fn finish(self) -> Result<(), ActivationError> {
        if self.sockets.is_empty() {
            return Ok(());
        }
        let asked = self.asked.join(", ");
        let problem = |Socket { name, address, .. }: Socket| {
            format!("socket {name:?} on {address}: expected a name or an address of {asked}, found neither")
        };
        Err(ActivationError::Sockets(self.sockets.into_iter().map(problem).collect()))
    }
}

/// Spreads the sockets of a port over the workers, so that every socket is served and every worker serves,
/// on each address: of `k` sockets with one address, worker `j` of `w` gets each `i` with `i % w == j`, or
/// else, where `k` is less than `w`, a duplicate of socket `j % k`, whose queue is then shared.
pub fn spread(sockets: Vec<TcpListener>, workers: usize) -> Result<Vec<Vec<TcpListener>>, ActivationError> {
    let mut by_address: BTreeMap<SocketAddr, Vec<TcpListener>> = BTreeMap::new();
    for socket in sockets {
        by_address.entry(socket.local_addr()?).or_default().push(socket);
    }
    let mut shares: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
    for sockets in by_address.into_values() {
        let count = sockets.len();
        for (worker, share) in shares.iter_mut().enumerate().skip(count) {
            share.push(sockets[worker % count].try_clone()?);
        }
        for (index, socket) in sockets.into_iter().enumerate() {
            shares[index % workers].push(socket);
        }
    }
    Ok(shares)
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::fd::AsRawFd;

    use super::*;

    fn socket(name: &str) -> Socket {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Socket { name: name.to_owned(), address: listener.local_addr().expect("it is bound"), listener }
    }

    fn inherited(sockets: Vec<Socket>) -> Inherited {
        Inherited { sockets, asked: Vec::new() }
    }

    #[test]
    fn a_name_takes_the_place_of_all_addresses_and_an_address_of_itself() {
        let other: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let by_name = vec![socket("http"), socket("http"), socket("admin")];
        let mut inherited_ones = inherited(by_name);
        let mut addresses = vec![other];
        assert_eq!(inherited_ones.take_for("http", &mut addresses).len(), 2);
        assert_eq!(addresses, [], "nothing is bound besides");
        assert_eq!(inherited_ones.take_for("admin", &mut vec![other]).len(), 1);
        assert!(inherited_ones.finish().is_ok());

        let by_address = socket("waypost.socket");
        let mut addresses = vec![other, by_address.address];
        assert_eq!(inherited(vec![by_address]).take_for("http", &mut addresses).len(), 1);
        assert_eq!(addresses, [other], "the other is bound");
    }

    #[test]
    fn a_socket_with_a_name_is_for_nothing_else_and_is_told() {
        let named = socket("https");
        let address = named.address;
        let mut inherited_ones = inherited(vec![named]);
        assert!(inherited_ones.take_for("http", &mut vec![address]).is_empty());
        let error = inherited_ones.finish().expect_err("nothing asks for https").to_string();
        let expected =
            format!("socket \"https\" on {address}: expected a name or an address of http ({address}), found neither");
        assert_eq!(error, expected);
    }

    #[test]
    fn every_socket_is_served_and_every_worker_serves() {
        for count in 1..=7 {
            for workers in 1..=7 {
                let sockets: Vec<TcpListener> = (0..count).map(|_| socket("").listener).collect();
                let descriptors: BTreeSet<i32> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
                // Each has an address of its own: each worker serves all of them.
                let shares = spread(sockets, workers).expect("descriptors");
                assert!(shares.iter().all(|share| share.len() == count));
                let served: BTreeSet<i32> = shares.iter().flatten().map(AsRawFd::as_raw_fd).collect();
                assert!(descriptors.is_subset(&served));

                // One address, as `ReusePort=yes` makes them.
                let first = socket("").listener;
                let sockets: Vec<TcpListener> = (0..count).map(|_| first.try_clone().expect("a descriptor")).collect();
                let descriptors: BTreeSet<i32> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
                let shares = spread(sockets, workers).expect("descriptors");
                let served: Vec<i32> = shares.iter().flatten().map(AsRawFd::as_raw_fd).collect();
                assert!(shares.iter().all(|share| !share.is_empty()), "{count} sockets, {workers} workers");
                assert!(descriptors.is_subset(&served.iter().copied().collect()));
                assert_eq!(served.len(), count.max(workers), "none twice");
            }
        }
    }
}
