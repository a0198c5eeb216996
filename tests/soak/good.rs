//! Good visitors: by every port, each scan on a connection of its own or many on one.
//!
//! A scan is a debt from its first byte: answered, it must be stored; sent and not answered, it may be. It is
//! tried again until it is answered. A connection of its own breaks by `kill -9` alone; one that was kept alive
//! may have been closed while it was idle.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;

use super::run::Run;
use super::tables::{code, generation_of};
use crate::support::tls::{self, HOST, TlsStream};
use crate::support::{PHONE, Random};

/// Visitors of a kind.
const EACH: usize = 3;
/// Signs that a visitor scans; nobody else does, so that a count that is not exact is found at one of few.
const OWN_SIGNS: usize = 8;
pub const SIGNS: usize = 2 * WAYS.len() * EACH * OWN_SIGNS;
/// Longest wait for an answer: whoever waits longer has none.
const NO_ANSWER: Duration = Duration::from_mins(1);
/// Longest pause after a scan, in milliseconds.
const PAUSE: u64 = 30;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Tls,
    Proxy,
}

const WAYS: [Way; 3] = [Way::Plain, Way::Tls, Way::Proxy];

impl Way {
    const fn seen(self) -> &'static str {
        match self {
            Self::Plain => "scans answered, plain",
            Self::Tls => "scans answered, TLS",
            Self::Proxy => "scans answered, PROXY header",
        }
    }
}

pub struct Visitor<'a> {
    run: &'a Run,
    way: Way,
    keeps_alive: bool,
    number: usize,
    tls: ClientConfig,
    random: Random,
    connection: Option<BufReader<Wire>>,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

struct Answer {
    status: u16,
    location: String,
    ends_connection: bool,
}

pub fn visitors<'a>(run: &'a Run, random: &mut Random) -> Vec<Visitor<'a>> {
    let kinds = WAYS.into_iter().flat_map(|way| [(way, false), (way, true)]);
    let each = kinds.flat_map(|kind| std::iter::repeat_n(kind, EACH)).enumerate();
    let visitor = |(number, (way, keeps_alive))| Visitor {
        run,
        way,
        keeps_alive,
        number,
        tls: tls::client(),
        random: random.fork(),
        connection: None,
    };
    each.map(visitor).collect()
}

impl Visitor<'_> {
    pub fn scan_until_over(mut self) {
        let run = self.run;
        let _end = run.ends_if_it_panics();
        while run.goes_on(|| self.connection = None) {
            let sign = self.number * OWN_SIGNS + self.random.index(OWN_SIGNS);
            self.scan(&code(sign));
            thread::sleep(Duration::from_millis(self.random.below(PAUSE)));
        }
    }

    /// Until it is answered.
    fn scan(&mut self, code: &str) {
        let run = self.run;
        loop {
            let is_reused = self.connection.is_some();
            let kills = run.kills.load(Ordering::SeqCst);
            let oldest = run.published.load(Ordering::SeqCst);
            match self.try_to_scan(code) {
                Ok(answer) => {
                    self.check(code, &answer, oldest);
                    run.obligations[code].received.fetch_add(1, Ordering::SeqCst);
                    run.tally.add(self.way.seen());
                    if answer.ends_connection || !self.keeps_alive {
                        self.connection = None;
                    }
                    return;
                }
                Err(error) => {
                    self.connection = None;
                    let while_killed = kills % 2 == 1 || run.kills.load(Ordering::SeqCst) != kills;
                    assert!(while_killed || is_reused, "{}, a connection of its own: {error}", self.way.seen());
                    let what =
                        if while_killed { "connections broken by kill -9" } else { "kept alive, closed while idle" };
                    run.tally.add(what);
                    // Whoever is refused tries again at once otherwise.
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    fn check(&self, code: &str, answer: &Answer, oldest: usize) {
        assert_eq!(answer.status, 302, "{code}, {}", self.way.seen());
        let location = &answer.location;
        let n = generation_of(code, location).unwrap_or_else(|| panic!("{code}: {location} mixes generations"));
        assert!(n <= self.run.written.load(Ordering::SeqCst), "{code}: {location} was never written");
        // It was seen on one worker; the other may be a moment behind.
        assert!(n + 1 >= oldest, "{code}: {location} is long gone: generation {oldest} has served");
    }

    fn try_to_scan(&mut self, code: &str) -> io::Result<Answer> {
        if self.connection.is_none() {
            self.connection = Some(BufReader::new(self.connect()?));
        }
        let wire = self.connection.as_mut().unwrap();
        let ends = if self.keeps_alive { "" } else { "Connection: close\r\n" };
        let request = format!("GET /{code} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: {PHONE}\r\n{ends}\r\n");
        self.run.obligations[code].sent.fetch_add(1, Ordering::SeqCst);
        wire.get_mut().write_all(request.as_bytes())?;
        read_answer(wire)
    }

    fn connect(&mut self) -> io::Result<Wire> {
        let ports = &self.run.ports;
        let open = |address: SocketAddr| {
            let stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(NO_ANSWER))?;
            stream.set_write_timeout(Some(NO_ANSWER))?;
            stream.set_nodelay(true)?;
            io::Result::Ok(stream)
        };
        Ok(match self.way {
            Way::Plain => Wire::Plain(open(ports.http)?),
            Way::Tls => Wire::Tls(Box::new(tls::handshake(open(ports.https)?, self.tls.clone(), HOST)?)),
            Way::Proxy => {
                let mut stream = open(ports.proxy)?;
                let [a, b] = [self.random.below(256) as u8, 1 + self.random.below(250) as u8];
                let header = if self.random.below(2) == 0 {
                    format!("PROXY TCP4 198.51.{a}.{b} 192.0.2.1 40000 443\r\n").into_bytes()
                } else {
                    let address = [198, 51, a, b, 192, 0, 2, 1, 0x9c, 0x40, 0x01, 0xbb];
                    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &address].concat()
                };
                stream.write_all(&header)?;
                Wire::Plain(stream)
            }
        })
    }
}

fn read_answer(wire: &mut BufReader<Wire>) -> io::Result<Answer> {
    let mut answer = Answer { status: 0, location: String::new(), ends_connection: false };
    let (mut line, mut body) = (String::new(), 0);
    loop {
        line.clear();
        if wire.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end();
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(' ').unwrap_or((text, ""));
        match &*name.to_ascii_lowercase() {
            "http/1.1" => answer.status = value.split(' ').next().and_then(|status| status.parse().ok()).unwrap_or(0),
            "location:" => value.clone_into(&mut answer.location),
            "connection:" => answer.ends_connection = value == "close",
            "content-length:" => body = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    io::copy(&mut wire.take(body), &mut io::sink())?;
    Ok(answer)
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buf),
            Self::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buf),
            Self::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
