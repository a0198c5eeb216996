//! Good visitors: so many a second, each when it is due, whatever became of those before.
//!
//! Half of them come on a connection of their own, as phones do, half on connections that are kept
//! alive. A latency counts from when the visitor was due (so that a stall is seen by everybody whom it
//! delays) to the last byte of the redirect, with the connection and the handshake where there is one.
//! Each new connection comes from another address.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::edge::Edge;
use super::load::{CLIENTS, Phase};
use super::net::{Events, Numbered, address, connect_from};
use super::{HOST, Result};

/// A kept-alive request that is due while all of these are busy waits for the first that is free.
const KEPT: usize = 32;
/// Good visitors come from here.
const NETWORK: u8 = 77;
/// A visitor without an answer after this time has given up, and counts as one who waited for so long.
const GIVES_UP: Duration = Duration::from_secs(5);
/// How often it is looked whether somebody has.
const LOOK: Duration = Duration::from_millis(50);

/// Visitors of one door.
pub struct Visitors {
    door: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    /// For a connection that is kept, and for one that is not.
    requests: Vec<[Vec<u8>; 2]>,
    sent: usize,
    opened: u32,
    events: Events,
    all: Numbered<Visitor>,
    kept: usize,
    idle: Vec<usize>,
    /// Kept-alive requests that no connection was free for: when they were due.
    waiting: VecDeque<Duration>,
}

/// What a phase has shown.
#[derive(Default)]
pub struct Seen {
    pub phase: Phase,
    /// Visitors who were refused, or cut off within their answer.
    pub refused: usize,
    /// Visitors who have given up.
    pub lost: usize,
}

struct Visitor {
    stream: TcpStream,
    session: Option<Box<ClientConnection>>,
    is_kept: bool,
    /// Whether it has had an answer before.
    is_used: bool,
    /// When the request under way was due.
    due: Option<Duration>,
    unsent: Vec<u8>,
    answer: Vec<u8>,
}

impl Visitors {
    pub fn new(door: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Result<Self> {
        let requests = Edge::codes().zip(CLIENTS.iter().cycle()).map(|(code, (agent, language))| {
            ["", "Connection: close\r\n"].map(|end| {
                let head = format!("GET /{code} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: {agent}\r\n");
                let rest = format!("Accept-Language: {language}\r\nAccept-Encoding: gzip, deflate, br\r\n{end}\r\n");
                (head + &rest).into_bytes()
            })
        });
        Ok(Self {
            door,
            tls,
            requests: requests.collect(),
            sent: 0,
            opened: 0,
            events: Events::new()?,
            all: Numbered::new(),
            kept: 0,
            idle: Vec::new(),
            waiting: VecDeque::new(),
        })
    }

    /// Lets `rate` a second come for a time; then waits for the answers.
    pub fn come(&mut self, rate: u32, length: Duration) -> Result<Seen> {
        let mut seen = Seen::default();
        let (start, mut turn, mut looked) = (Instant::now(), 0_u32, Duration::ZERO);
        loop {
            let now = start.elapsed();
            let due = Duration::from_secs(1) * turn / rate;
            if due < length && due <= now {
                seen.phase.away = seen.phase.away.max(now.saturating_sub(due));
                turn += 1;
                self.one_comes(due, turn.is_multiple_of(2), start, &mut seen)?;
                continue;
            }
            if now >= looked + LOOK {
                looked = now;
                self.give_up(now, &mut seen);
            }
            let is_over = due >= length;
            if is_over && self.waiting.is_empty() && self.all.iter_mut().all(|(_, one)| one.due.is_none()) {
                seen.phase.took = length;
                seen.phase.latencies.sort_unstable();
                return Ok(seen);
            }
            let timeout = if is_over { LOOK } else { due.saturating_sub(now).min(LOOK) };
            for number in self.events.wait(timeout)? {
                self.drive(number, start, &mut seen)?;
            }
        }
    }

    fn one_comes(&mut self, due: Duration, is_kept: bool, start: Instant, seen: &mut Seen) -> Result<()> {
        if !is_kept {
            return self.open(due, false, seen);
        }
        if let Some(number) = self.idle.pop() {
            let request = self.request(true);
            let Some(visitor) = self.all.get(number) else { return Err("an idle connection is not there".into()) };
            visitor.ask(request, due)?;
            self.drive(number, start, seen)?;
        } else if self.kept < KEPT {
            self.open(due, true, seen)?;
        } else {
            self.waiting.push_back(due);
        }
        Ok(())
    }

    fn open(&mut self, due: Duration, is_kept: bool, seen: &mut Seen) -> Result<()> {
        self.opened += 1;
        let Ok(stream) = connect_from(address(NETWORK, self.opened), self.door, None) else {
            seen.refused += 1;
            return Ok(());
        };
        let session = match &self.tls {
            None => None,
            Some(config) => Some(Box::new(ClientConnection::new(config.clone(), ServerName::try_from(HOST)?)?)),
        };
        let (unsent, answer) = Default::default();
        let mut visitor = Visitor { stream, session, is_kept, is_used: false, due: None, unsent, answer };
        visitor.ask(self.request(is_kept), due)?;
        self.kept += usize::from(is_kept);
        let number = self.all.next();
        self.events.add(&visitor.stream, number)?;
        self.all.set(number, visitor);
        Ok(())
    }

    fn request(&mut self, is_kept: bool) -> Vec<u8> {
        self.sent += 1;
        self.requests[self.sent % self.requests.len()][usize::from(!is_kept)].clone()
    }

    /// Goes on with a connection about which something has changed.
    fn drive(&mut self, number: usize, start: Instant, seen: &mut Seen) -> Result<()> {
        let Some(visitor) = self.all.get(number) else { return Ok(()) };
        let (is_kept, is_used, due) = (visitor.is_kept, visitor.is_used, visitor.due);
        match (visitor.drive(), due) {
            (Ok(false), _) => {}
            (Ok(true), Some(due)) => {
                seen.phase.latencies.push(start.elapsed().saturating_sub(due).as_nanos() as u64);
                visitor.rest()?;
                if !is_kept {
                    self.close(number);
                } else if let Some(due) = self.waiting.pop_front() {
                    self.idle.push(number);
                    self.one_comes(due, true, start, seen)?;
                } else {
                    self.idle.push(number);
                }
            }
            // An idle connection may be closed, and a browser then asks again.
            (_, None) => self.close(number),
            (Err(_), Some(due)) if is_kept && is_used => {
                self.close(number);
                self.open(due, true, seen)?;
            }
            (Err(_), Some(_)) => {
                seen.refused += 1;
                self.close(number);
            }
        }
        Ok(())
    }

    fn close(&mut self, number: usize) {
        if self.all.take(number).is_some_and(|visitor| visitor.is_kept) {
            self.kept -= 1;
            self.idle.retain(|&idle| idle != number);
        }
    }

    fn give_up(&mut self, now: Duration, seen: &mut Seen) {
        let late = |due: Duration| now.saturating_sub(due) > GIVES_UP;
        let over = self.all.iter_mut().filter(|(_, one)| one.due.is_some_and(late)).map(|(number, _)| number);
        let over: Vec<usize> = over.collect();
        let before = self.waiting.len();
        self.waiting.retain(|&due| !late(due));
        let lost = over.len() + before - self.waiting.len();
        for number in over {
            self.close(number);
        }
        seen.lost += lost;
        seen.phase.latencies.extend(std::iter::repeat_n(GIVES_UP.as_nanos() as u64, lost));
    }
}

impl Visitor {
    fn ask(&mut self, request: Vec<u8>, due: Duration) -> io::Result<()> {
        self.due = Some(due);
        self.answer.clear();
        match &mut self.session {
            // It keeps this until the handshake is over.
            Some(session) => session.writer().write_all(&request),
            None => {
                self.unsent = request;
                Ok(())
            }
        }
    }

    fn rest(&mut self) -> Result<()> {
        if !self.answer.starts_with(b"HTTP/1.1 302 ") {
            return Err(format!("not a redirect: {}", String::from_utf8_lossy(&self.answer)).into());
        }
        (self.due, self.is_used) = (None, true);
        Ok(())
    }

    /// Sends and reads what can be. Returns whether the redirect is here, which has no body.
    fn drive(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        loop {
            if !self.unsent.is_empty() {
                match self.stream.write(&self.unsent) {
                    Ok(sent) => drop(self.unsent.drain(..sent)),
                    Err(error) if is_later(&error) => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            let read = match &mut self.session {
                Some(session) => rustls::Stream::new(session.as_mut(), &mut self.stream).read(&mut bytes),
                None => self.stream.read(&mut bytes),
            };
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.answer.extend_from_slice(&bytes[..read]),
                Err(error) if is_later(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
            if self.answer.ends_with(b"\r\n\r\n") {
                return Ok(true);
            }
        }
    }
}

/// `NotConnected`: the connection is still being made.
pub fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}
