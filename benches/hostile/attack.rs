//! One hostile pattern, on a thread of its own.
//!
//! Owns its connections: how many there are or how many come a second, from how many addresses, and
//! what each of them does. What it achieved is counted, for a pattern that was weaker than it is said to
//! be would prove nothing.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::good::is_later;
use super::net::{Events, Numbered, address, connect_from};
use super::{HOST, Result};

/// Hostile clients come from here.
pub const NETWORK: u8 = 9;
/// New connections a second, until there are as many as there should be,
const FILLING: u32 = 3_000;
/// and in place of those that were closed.
const REFILLING: u32 = 500;
/// A connection that was to come and go is closed by us after this time.
const LIFE: Duration = Duration::from_secs(10);
/// Bytes that the kernel takes for a client that reads nothing.
const SMALL_BUFFER: usize = 4096;
const MOST_OPEN: usize = 12_000;

/// How many connections there are.
#[derive(Debug, Clone, Copy)]
pub enum Supply {
    /// So many, which are opened again when they are closed.
    Held(usize),
    /// So many new ones a second.
    Rate(u32),
    /// So many at a time, each followed by the next.
    AsFastAsPossible(usize),
}

/// What each of them does.
#[derive(Debug, Clone)]
pub enum Act {
    /// Sends this and waits.
    Send(Vec<u8>),
    /// Sends a byte of this each second, and begins anew after the last.
    Drip(Vec<u8>),
    /// Sends this and reads nothing.
    NeverRead(Vec<u8>),
    /// So many requests a second over all connections in turn, each with a number in place of `#####`.
    Ask(u32, Vec<u8>),
    /// A TLS handshake.
    Handshake,
}

/// A pattern and where it goes.
pub struct Attack {
    pub door: SocketAddr,
    /// From how many addresses.
    pub sources: u32,
    pub supply: Supply,
    pub act: Act,
    pub tls: Arc<ClientConfig>,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub struct Achieved {
    /// Whether all connections that there should be were there once.
    pub is_filled: AtomicBool,
    pub open: AtomicUsize,
    pub opened: AtomicU64,
    /// Requests sent, handshakes done.
    pub done: AtomicU64,
}

struct Client {
    stream: TcpStream,
    session: Option<Box<ClientConnection>>,
    /// Bytes of what it sends that were sent.
    sent: usize,
    /// Tells it from another with the same number.
    id: u64,
}

impl Client {
    /// Sends a piece; returns what was taken of it.
    fn send(&mut self, piece: &[u8]) -> io::Result<usize> {
        match self.stream.write(piece) {
            Err(error) if is_later(&error) => Ok(0),
            sent => sent,
        }
    }

    /// Reads what has come and forgets it.
    fn discard(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16384];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// An attack while it runs.
struct Running<'a> {
    attack: &'a Attack,
    achieved: &'a Achieved,
    events: Events,
    all: Numbered<Client>,
    /// When each of those that drip is due again; the order is that of time, since all wait for as long.
    drips: VecDeque<(Duration, usize, u64)>,
    /// In the order in which they were opened, where they end by themselves.
    ends: VecDeque<(Duration, usize, u64)>,
    /// The next to send a request, and how many were sent.
    turn: usize,
    asked: u64,
    opened: u64,
    open: usize,
}

impl Attack {
    /// Goes on until told to stop.
    pub fn run(&self, achieved: &Achieved, stop: &AtomicBool) -> Result<()> {
        let mut running = Running {
            attack: self,
            achieved,
            events: Events::new()?,
            all: Numbered::new(),
            drips: VecDeque::new(),
            ends: VecDeque::new(),
            turn: 0,
            asked: 0,
            opened: 0,
            open: 0,
        };
        let start = Instant::now();
        let (mut credit, mut asks, mut last, mut is_filled) = (0.0, 0.0, Duration::ZERO, false);
        while !stop.load(Ordering::Relaxed) {
            let now = start.elapsed();
            // What could not be sent while this thread had no core is not made up for at once.
            let passed = now.saturating_sub(last).as_secs_f64().min(0.1);
            last = now;
            let (missing, rate) = match self.supply {
                Supply::Held(count) => {
                    if running.open >= count {
                        is_filled = true;
                        achieved.is_filled.store(true, Ordering::Relaxed);
                    }
                    (count.saturating_sub(running.open), if is_filled { REFILLING } else { FILLING })
                }
                Supply::Rate(rate) => (MOST_OPEN.saturating_sub(running.open), rate),
                Supply::AsFastAsPossible(count) => (count.saturating_sub(running.open), u32::MAX),
            };
            credit = (credit + passed * f64::from(rate)).min(f64::from(rate.min(1_000)));
            for _ in 0..missing.min(credit as usize) {
                credit -= 1.0;
                running.open(now)?;
            }
            if let Act::Ask(rate, request) = &self.act {
                asks += passed * f64::from(*rate);
                while asks >= 1.0 {
                    asks -= 1.0;
                    running.ask(request)?;
                }
            }
            running.drip(now);
            running.end(now);
            for number in running.events.wait(Duration::from_millis(1))? {
                running.drive(number, now)?;
            }
        }
        Ok(())
    }
}

impl Running<'_> {
    fn open(&mut self, now: Duration) -> Result<()> {
        let source = address(NETWORK, (self.opened % u64::from(self.attack.sources)) as u32);
        let small = matches!(self.attack.act, Act::NeverRead(_)).then_some(SMALL_BUFFER);
        let stream = connect_from(source, self.attack.door, small)?;
        let session = match self.attack.act {
            Act::Handshake => {
                Some(Box::new(ClientConnection::new(self.attack.tls.clone(), ServerName::try_from(HOST)?)?))
            }
            _ => None,
        };
        self.opened += 1;
        self.open += 1;
        let (number, id) = (self.all.next(), self.opened);
        self.events.add(&stream, number)?;
        self.all.set(number, Client { stream, session, sent: 0, id });
        match self.attack.act {
            Act::Drip(_) => self.drips.push_back((now, number, id)),
            _ if matches!(self.attack.supply, Supply::Rate(_)) => self.ends.push_back((now + LIFE, number, id)),
            _ => {}
        }
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        self.achieved.open.store(self.open, Ordering::Relaxed);
        self.achieved.opened.store(self.opened, Ordering::Relaxed);
    }

    fn close(&mut self, number: usize) {
        if self.all.take(number).is_some() {
            self.open -= 1;
            self.tell();
        }
    }

    /// Goes on with a connection about which something has changed.
    fn drive(&mut self, number: usize, now: Duration) -> Result<()> {
        let Some(client) = self.all.get(number) else { return Ok(()) };
        let kept = match &self.attack.act {
            Act::Send(bytes) => client.send(&bytes[client.sent..]).and_then(|sent| {
                client.sent += sent;
                client.discard()
            }),
            Act::Drip(_) | Act::Ask(..) => client.discard(),
            // What comes back is left where it is, so only an error shows the end.
            Act::NeverRead(bytes) => client.send(&bytes[client.sent..]).and_then(|sent| {
                client.sent += sent;
                client.stream.take_error()?.map_or(Ok(()), Err)
            }),
            Act::Handshake => match handshake(client) {
                Ok(true) => {
                    self.achieved.done.fetch_add(1, Ordering::Relaxed);
                    Err(io::ErrorKind::ConnectionAborted.into())
                }
                going_on => going_on.map(|_| ()),
            },
        };
        if kept.is_err() {
            self.close(number);
            if matches!(self.attack.supply, Supply::AsFastAsPossible(_)) {
                self.open(now)?;
            }
        }
        Ok(())
    }

    /// A request on the next connection that there is.
    fn ask(&mut self, request: &[u8]) -> Result<()> {
        const PLACE: &[u8] = b"#####";
        let place = request.windows(PLACE.len()).position(|piece| piece == PLACE).ok_or("no place for a number")?;
        self.asked += 1;
        let mut request = request.to_vec();
        request[place..][..PLACE.len()].copy_from_slice(format!("{:05}", self.asked % 100_000).as_bytes());
        let Some(number) = self.all.after(self.turn) else { return Ok(()) };
        self.turn = number + 1;
        match self.all.get(number).map(|client| client.send(&request)) {
            Some(Ok(0)) => {}
            Some(Ok(_)) => drop(self.achieved.done.fetch_add(1, Ordering::Relaxed)),
            _ => self.close(number),
        }
        Ok(())
    }

    fn drip(&mut self, now: Duration) {
        let Act::Drip(bytes) = &self.attack.act else { return };
        while let Some(&(due, number, id)) = self.drips.front()
            && due <= now
        {
            self.drips.pop_front();
            let Some(client) = self.all.get(number).filter(|client| client.id == id) else { continue };
            let at = client.sent % bytes.len();
            match client.send(&bytes[at..=at]) {
                Ok(sent) => {
                    client.sent += sent;
                    self.drips.push_back((due + Duration::from_secs(1), number, id));
                }
                Err(_) => self.close(number),
            }
        }
    }

    fn end(&mut self, now: Duration) {
        while let Some(&(due, number, id)) = self.ends.front()
            && due <= now
        {
            self.ends.pop_front();
            if self.all.get(number).is_some_and(|client| client.id == id) {
                self.close(number);
            }
        }
    }
}

/// Whether it is over.
fn handshake(client: &mut Client) -> io::Result<bool> {
    let Some(session) = &mut client.session else { return Ok(false) };
    match session.complete_io(&mut client.stream) {
        Ok(_) => {}
        Err(error) if is_later(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(!session.is_handshaking())
}
