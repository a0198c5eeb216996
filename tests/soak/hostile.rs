//! Hostile clients: packs of connections from addresses of their own, each pack with one bad habit.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::run::Run;
use crate::support::Random;
use crate::support::tls::{self, HOST};

/// How often a pack does something.
const TURN: Duration = Duration::from_millis(50);

/// Where a pack goes.
#[derive(Clone, Copy)]
enum Door {
    Http,
    Https,
    Proxy,
}

/// What the connections of a pack do.
struct Habit {
    name: &'static str,
    door: Door,
    /// Addresses that it comes from; 0: from 127.0.0.1, as a proxy does.
    addresses: u8,
    /// Connections at a time, and new ones at each turn.
    most: usize,
    opens: usize,
    /// What is sent first,
    first: Bytes,
    /// and then at each turn so many bytes of this, over and over; or nothing.
    then: (Bytes, usize),
    /// Turns between them.
    every: u32,
    reads: bool,
    /// Turns after which it is closed from here; 0: never.
    holds: u32,
}

enum Bytes {
    These(Vec<u8>),
    /// Drawn anew for each connection: so many.
    Random(usize),
    /// A request for a code that no sign has.
    UnknownCode,
}

impl Bytes {
    fn make(&self, random: &mut Random) -> Vec<u8> {
        match self {
            Self::These(bytes) => bytes.clone(),
            Self::Random(count) => (0..*count).map(|_| random.below(256) as u8).collect(),
            Self::UnknownCode => {
                let code: String = (0..7).map(|_| char::from(random.of(b"23456789ABCDEFGH"))).collect();
                format!("GET /X{code} HTTP/1.1\r\nHost: qr.example.vn\r\n\r\n").into_bytes()
            }
        }
    }
}

pub struct Pack<'a> {
    run: &'a Run,
    habit: Habit,
    number: u8,
    random: Random,
    open: Vec<Client>,
}

struct Client {
    stream: TcpStream,
    turns: u32,
    rest: Vec<u8>,
    sent: usize,
}

/// `hello` begins a TLS session.
fn habits(hello: &[u8]) -> Vec<Habit> {
    use Bytes::{Random, These, UnknownCode};
    let of = |text: &str| These(text.as_bytes().to_vec());
    let nothing = || These(Vec::new());
    let request = "GET / HTTP/1.1\r\nHost: qr.example.vn\r\n\r\n";
    let habit = |name, door| Habit {
        name,
        door,
        addresses: 4,
        most: 20,
        opens: 1,
        first: nothing(),
        then: (nothing(), 0),
        every: 1,
        reads: true,
        holds: 0,
    };
    let v2 = |rest: &[u8]| These([b"\r\n\r\n\0\r\nQUIT\n", rest].concat());
    let settings = b"\0\0\0\x04\0\0\0\0\0".repeat(100);
    vec![
        Habit { addresses: 45, most: 2700, opens: 12, every: 20, ..habit("thousands that say nothing", Door::Http) },
        Habit {
            addresses: 10,
            most: 300,
            opens: 4,
            every: 20,
            ..habit("hundreds that say nothing to TLS", Door::Https)
        },
        Habit { addresses: 1, most: 90, opens: 2, every: 4, ..habit("more than an address may have", Door::Http) },
        Habit { first: of(request), most: 100, opens: 2, every: 20, ..habit("idle after a request", Door::Http) },
        Habit {
            then: (of(&request.replace("\r\n\r\n", &"x".repeat(4000))), 1),
            every: 4,
            ..habit("heads byte by byte", Door::Http)
        },
        Habit {
            first: These(request.repeat(400).into_bytes()),
            reads: false,
            // It does not see that it was cut off, after 10 s.
            holds: 300,
            ..habit("answers never read", Door::Http)
        },
        Habit {
            then: (These(hello.to_vec()), 1),
            every: 20,
            most: 60,
            ..habit("a handshake of a byte a second", Door::Https)
        },
        Habit { first: These(hello.to_vec()), most: 60, ..habit("half a handshake", Door::Https) },
        Habit {
            first: These([hello, b"no record at all"].concat()),
            holds: 20,
            ..habit("a handshake that breaks off", Door::Https)
        },
        Habit { first: of(request), holds: 10, ..habit("no TLS where TLS is spoken", Door::Https) },
        Habit {
            first: of(&format!("GET / HTTP/1.1\r\n{}", "X-Bomb: boom\r\n".repeat(8000))),
            holds: 20,
            most: 6,
            ..habit("bombs of headers", Door::Http)
        },
        Habit { first: Random(500), holds: 10, ..habit("garbage", Door::Http) },
        Habit { first: Random(500), holds: 10, ..habit("garbage to TLS", Door::Https) },
        Habit { first: Random(100), holds: 10, addresses: 0, ..habit("garbage before a PROXY header", Door::Proxy) },
        Habit {
            first: v2(b"\x21\x11\xff\xff"),
            then: (Random(64), 8),
            holds: 200,
            addresses: 0,
            ..habit("an endless PROXY header", Door::Proxy)
        },
        Habit { first: of("PROXY TCP4 1.2.3.4 "), addresses: 0, ..habit("half a PROXY header", Door::Proxy) },
        Habit {
            first: of(&format!("PROXY UNKNOWN\r\n{request}")),
            holds: 10,
            ..habit("PROXY headers by nobody's proxy", Door::Proxy)
        },
        Habit {
            first: These([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &*settings].concat()),
            holds: 10,
            ..habit("prefaces of HTTP/2", Door::Http)
        },
        Habit {
            first: UnknownCode,
            then: (of("GET /X2345678 HTTP/1.1\r\nHost: h\r\n\r\n"), 36),
            every: 2,
            holds: 40,
            ..habit("unknown codes", Door::Http)
        },
        Habit {
            first: of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n"),
            then: (of("x"), 1),
            every: 4,
            ..habit("bodies without end", Door::Http)
        },
    ]
}

/// The first bytes of a client's session.
fn client_hello() -> Vec<u8> {
    let mut session = ClientConnection::new(Arc::new(tls::client()), ServerName::try_from(HOST).unwrap()).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello
}

pub fn packs<'a>(run: &'a Run, random: &mut Random) -> Vec<Pack<'a>> {
    let pack = |(habit, number)| Pack { run, habit, number, random: random.fork(), open: Vec::new() };
    habits(&client_hello()).into_iter().zip(1..).map(pack).collect()
}

impl Pack<'_> {
    pub fn harass_until_over(mut self) {
        let run = self.run;
        let _end = run.ends_if_it_panics();
        let mut opened = 0;
        while run.goes_on(|| self.open.clear()) {
            let begun = Instant::now();
            for _ in 0..self.habit.opens.min(self.habit.most - self.open.len()) {
                // Out of ports or of patience: the next turn tries again.
                if let Ok(stream) = self.connect() {
                    let rest = self.habit.first.make(&mut self.random);
                    self.open.push(Client { stream, turns: 0, rest, sent: 0 });
                    opened += 1;
                }
            }
            let Self { habit, random, open, .. } = &mut self;
            open.retain_mut(|client| client.goes_on(habit, random));
            thread::sleep(TURN.saturating_sub(begun.elapsed()));
        }
        run.tally.add_many(&format!("hostile connections: {}", self.habit.name), opened);
    }

    /// Without waiting for it.
    fn connect(&mut self) -> io::Result<TcpStream> {
        let ports = &self.run.ports;
        let to = match self.habit.door {
            Door::Http => ports.http,
            Door::Https => ports.https,
            Door::Proxy => ports.proxy,
        };
        let socket = net::socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )?;
        if self.habit.addresses > 0 {
            let from = Ipv4Addr::new(127, 66, self.number, 1 + self.random.below(self.habit.addresses.into()) as u8);
            net::bind(&socket, &SocketAddr::from((from, 0)))?;
        }
        match net::connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Client {
    /// One turn. Returns whether it is still open.
    fn goes_on(&mut self, habit: &Habit, random: &mut Random) -> bool {
        self.turns += 1;
        if habit.holds > 0 && self.turns > habit.holds {
            return false;
        }
        if self.turns > 1 && !self.turns.is_multiple_of(habit.every) {
            return true;
        }
        if self.rest.is_empty() && habit.then.1 > 0 {
            self.rest = habit.then.0.make(random);
            self.sent = 0;
        }
        let more = if self.turns == 1 || habit.then.1 == 0 { usize::MAX } else { habit.then.1 };
        let end = self.rest.len().min(self.sent.saturating_add(more));
        if self.sent < end {
            match self.stream.write(&self.rest[self.sent..end]) {
                Ok(count) => self.sent += count,
                Err(error) if would_wait(&error) => {}
                Err(_) => return false,
            }
            if self.sent == self.rest.len() {
                self.rest.clear();
            }
        }
        !habit.reads || self.reads()
    }

    /// Reads what has come. Returns whether more may come.
    fn reads(&mut self) -> bool {
        let mut answer = [0; 4096];
        loop {
            match self.stream.read(&mut answer) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return would_wait(&error),
            }
        }
    }
}

/// Also while it is not connected yet.
fn would_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}
