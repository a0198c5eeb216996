//! Clients that scan as fast as they are answered, and know what they sent and received.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::PHONE;
use super::http::Connection;

/// What the clients sent and received for one sign.
#[derive(Debug, Default)]
pub struct Sent {
    pub sent: AtomicU64,
    pub received: AtomicU64,
}

/// Some clients, each on a thread.
pub struct Load {
    pub signs: Arc<BTreeMap<String, Sent>>,
    address: Arc<Mutex<SocketAddr>>,
    stop: Arc<AtomicBool>,
    pub errors: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `clients` that scan `signs` in turn. Whoever is cut off connects again.
    pub fn start(address: SocketAddr, clients: usize, signs: &[String]) -> Self {
        Self::with_check(address, clients, signs, |_, _| {})
    }

    /// As [`Load::start`]; `check` sees every `Location` that is received.
    pub fn with_check(
        address: SocketAddr,
        clients: usize,
        signs: &[String],
        check: impl Fn(&str, &str) + Clone + Send + 'static,
    ) -> Self {
        let mut load = Self {
            signs: Arc::new(signs.iter().map(|code| (code.clone(), Sent::default())).collect()),
            address: Arc::new(Mutex::new(address)),
            stop: Arc::default(),
            errors: Arc::default(),
            clients: Vec::new(),
        };
        for number in 0..clients {
            let (signs, address) = (load.signs.clone(), load.address.clone());
            let (stop, errors, check) = (load.stop.clone(), load.errors.clone(), check.clone());
            load.clients.push(std::thread::spawn(move || {
                let mut turn = signs.iter().cycle().skip(number);
                while !stop.load(Ordering::Relaxed) {
                    let address = *address.lock().unwrap();
                    let Ok(mut connection) = Connection::open(address) else {
                        std::thread::sleep(Duration::from_millis(2));
                        continue;
                    };
                    while !stop.load(Ordering::Relaxed) {
                        let (code, counts) = turn.next().unwrap();
                        counts.sent.fetch_add(1, Ordering::Relaxed);
                        match connection.get(&format!("/{code}"), &[("User-Agent", PHONE)]) {
                            Ok(reply) => {
                                assert_eq!(reply.status, 302, "{reply:?}");
                                counts.received.fetch_add(1, Ordering::Relaxed);
                                check(code, reply.location().unwrap());
                                if reply.header("connection") == Some("close") {
                                    break;
                                }
                            }
                            Err(_) => {
                                errors.fetch_add(1, Ordering::Relaxed);
                                break;
                            }
                        }
                    }
                }
            }));
        }
        load
    }

    /// Who is cut off from now on connects to nobody, until [`Load::go_to`]: the port of an edge that is killed may be
    /// another's a moment later.
    pub fn wait(&self) {
        self.go_to(([127, 0, 0, 1], 1).into());
    }

    /// Where to go from now on.
    pub fn go_to(&self, address: SocketAddr) {
        *self.address.lock().unwrap() = address;
    }

    pub fn received(&self) -> u64 {
        self.signs.values().map(|sent| sent.received.load(Ordering::Relaxed)).sum()
    }

    pub fn sent(&self) -> u64 {
        self.signs.values().map(|sent| sent.sent.load(Ordering::Relaxed)).sum()
    }

    /// Ends the clients; an answer that was not what it should be fails the test here.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("every answer is what it should be");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
