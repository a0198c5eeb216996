//! A proxy between an edge and ClickHouse that fails on purpose.
//!
//! It reads one whole request, acts by its mood, and passes every byte on as it came. A thread for each
//! connection, up to `CONNECTIONS`; a mood holds from the next request on, and wakes whoever waits in the old one.
#![allow(clippy::let_underscore_must_use, reason = "a socket that is already closed is what was wanted")]

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Far more than a test has; the next client waits in the listener's queue.
const CONNECTIONS: usize = 64;
/// How often a silent mood looks whether its client is still there.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Clone, Debug, PartialEq)]
pub enum Mood {
    Pass,
    /// Accepts, and closes without reading.
    Refuse,
    /// Reads, and never answers: until the mood changes, or the client hangs up.
    Swallow,
    /// Passes it on later.
    Delay(Duration),
    Status500,
    /// 200 in the status line, an error in the header and the body.
    ExceptionIn200 {
        code: u16,
    },
    /// Passes the head and so many bytes of the body (as they are on the wire), and closes both sides.
    CutRequest(usize),
    /// The store has done it, and nobody hears of it.
    CommitThenLose,
    TooManyParts,
    Memory,
    WrongPassword,
    UnknownTable,
    /// Somebody else answers at the store's address: these bytes, and the end of the connection.
    Impostor(String),
    /// An error whose text never ends, until the client hangs up.
    Endless,
    /// Only batches with this in their token are refused, with an error's code.
    Stubborn {
        token: String,
        code: u16,
    },
    /// This mood for requests with an INSERT, `Pass` for all others.
    InsertsOnly(Box<Mood>),
    /// `Pass` for requests with an INSERT, this mood for all others.
    OthersOnly(Box<Mood>),
}

impl Mood {
    pub fn for_inserts(self) -> Self {
        Self::InsertsOnly(Box::new(self))
    }

    pub fn for_others(self) -> Self {
        Self::OthersOnly(Box::new(self))
    }

    /// The name its faults are counted under.
    fn kind(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Refuse => "refuse",
            Self::Swallow => "swallow",
            Self::Delay(_) => "delay",
            Self::Status500 => "status_500",
            Self::ExceptionIn200 { .. } => "exception_in_200",
            Self::CutRequest(_) => "cut_request",
            Self::CommitThenLose => "commit_then_lose",
            Self::TooManyParts => "too_many_parts",
            Self::Memory => "memory",
            Self::WrongPassword => "wrong_password",
            Self::UnknownTable => "unknown_table",
            Self::Impostor(_) => "impostor",
            Self::Endless => "endless",
            Self::Stubborn { .. } => "stubborn",
            Self::InsertsOnly(mood) | Self::OthersOnly(mood) => mood.kind(),
        }
    }

    /// Answered here, without asking the store: status line, code and text.
    fn answer(&self) -> Option<(&'static str, Option<u16>, &'static str)> {
        Some(match self {
            Self::Status500 => ("500 Internal Server Error", None, "upstream failed"),
            Self::ExceptionIn200 { code } => ("200 OK", Some(*code), "Said after the status line was sent"),
            Self::TooManyParts => ("500 Internal Server Error", Some(252), "Too many parts (TOO_MANY_PARTS)"),
            Self::Memory => ("500 Internal Server Error", Some(241), "Memory limit exceeded (MEMORY_LIMIT_EXCEEDED)"),
            Self::WrongPassword => ("403 Forbidden", Some(516), "Authentication failed (AUTHENTICATION_FAILED)"),
            Self::UnknownTable => ("404 Not Found", Some(60), "Table does not exist (UNKNOWN_TABLE)"),
            Self::Stubborn { code, .. } => ("500 Internal Server Error", Some(*code), "Not this one"),
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Requests read whole, whatever became of them.
    pub requests: u64,
    /// Of these, INSERTs.
    pub inserts: u64,
    /// INSERTs that reached the store whole.
    pub inserts_forwarded: u64,
    /// Faults by the name of their mood: `too_many_parts`, `cut_request`, ….
    pub faults: BTreeMap<&'static str, u64>,
    /// The deduplication tokens of INSERTs, in their order.
    pub tokens: Vec<String>,
}

pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl FaultProxy {
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                upstream,
                mood: Mood::Pass,
                changes: 0,
                open: BTreeMap::new(),
                ended: false,
                counts: Counts::default(),
            }),
            changed: Condvar::new(),
        });
        let listening = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.listen(&listener)
        });
        Self { address, shared, listening: Some(listening) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, mood: Mood) {
        let mut state = self.shared.state();
        state.mood = mood;
        state.changes += 1;
        self.shared.changed.notify_all();
    }

    pub fn mood(&self) -> Mood {
        self.shared.state().mood.clone()
    }

    /// The store has started again on another port.
    pub fn go_to(&self, upstream: SocketAddr) {
        self.shared.state().upstream = upstream;
    }

    pub fn counts(&self) -> Counts {
        self.shared.state().counts.clone()
    }

    pub fn requests(&self) -> u64 {
        self.shared.state().counts.requests
    }

    pub fn inserts_forwarded(&self) -> u64 {
        self.shared.state().counts.inserts_forwarded
    }

    /// Faults of one kind so far.
    pub fn faults(&self, kind: &str) -> u64 {
        self.shared.state().counts.faults.get(kind).copied().unwrap_or(0)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.ended = true;
        for socket in state.open.values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes `accept`, which nothing else does.
        let _ = TcpStream::connect(self.address);
        let _ = self.listening.take().unwrap().join();
    }
}

struct Shared {
    state: Mutex<State>,
    /// The mood has changed, a connection has ended, or all is over.
    changed: Condvar,
}

struct State {
    upstream: SocketAddr,
    mood: Mood,
    changes: u64,
    /// The clients' sockets by their connection's number, to hang up at the end.
    open: BTreeMap<u64, TcpStream>,
    ended: bool,
    counts: Counts,
}

impl State {
    fn fault(&mut self, mood: &Mood) {
        *self.counts.faults.entry(mood.kind()).or_default() += 1;
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        let mut threads = Vec::new();
        for number in 0.. {
            let accepted = listener.accept();
            let mut state =
                self.changed.wait_while(self.state(), |state| state.open.len() >= CONNECTIONS && !state.ended).unwrap();
            if state.ended {
                break;
            }
            let Ok((client, _)) = accepted else { continue };
            if state.mood == Mood::Refuse {
                state.fault(&Mood::Refuse);
                continue;
            }
            state.open.insert(number, client.try_clone().unwrap());
            drop(state);
            threads.retain(|thread: &JoinHandle<()>| !thread.is_finished());
            let shared = Arc::clone(self);
            threads.push(thread::spawn(move || {
                // An end of either side is what this proxy is for.
                let _ = shared.converse(&client);
                let _ = client.shutdown(Shutdown::Both);
                shared.state().open.remove(&number);
                shared.changed.notify_all();
            }));
        }
        for thread in threads {
            thread.join().unwrap();
        }
    }

    /// One client's connection, one request after another.
    fn converse(&self, client: &TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut reader = BufReader::new(client);
        while let Some(request) = Message::read(&mut reader, false)? {
            let (mood, changes, upstream) = {
                let mut state = self.state();
                state.counts.requests += 1;
                state.counts.inserts += u64::from(request.is_insert());
                let token = request.token();
                state.counts.tokens.extend(token.clone());
                let mood = match state.mood.clone() {
                    Mood::InsertsOnly(mood) if request.is_insert() => *mood,
                    Mood::OthersOnly(mood) if !request.is_insert() => *mood,
                    Mood::InsertsOnly(_) | Mood::OthersOnly(_) => Mood::Pass,
                    Mood::Stubborn { token: part, .. } if !token.is_some_and(|token| token.contains(&part)) => {
                        Mood::Pass
                    }
                    mood => mood,
                };
                if mood != Mood::Pass {
                    state.fault(&mood);
                }
                (mood, state.changes, state.upstream)
            };
            match mood {
                Mood::Refuse => return Ok(()),
                Mood::Swallow => return self.swallow(client, changes),
                Mood::CutRequest(bytes) => {
                    let mut store = TcpStream::connect(upstream)?;
                    store.write_all(&request.head)?;
                    store.write_all(&request.body[..bytes.min(request.body.len())])?;
                    // Its answer must not be lost to a reset before the bytes are read, nor waited for.
                    store.shutdown(Shutdown::Write)?;
                    store.set_read_timeout(Some(Duration::from_secs(5)))?;
                    let _ = store.read(&mut [0; 1024]);
                    return Ok(());
                }
                Mood::Impostor(bytes) => return (&*client).write_all(bytes.as_bytes()),
                Mood::Endless => {
                    (&*client).write_all(b"HTTP/1.1 500 Internal Server Error\r\nX-ClickHouse-Query-Id: 1\r\n\r\n")?;
                    loop {
                        (&*client).write_all(&[b'e'; 8 << 10])?;
                    }
                }
                Mood::CommitThenLose => return self.forward(&request, upstream).map(drop),
                Mood::Delay(time) => {
                    let until = Instant::now() + time;
                    let left = |state: &mut State| !state.ended && Instant::now() < until;
                    drop(self.changed.wait_timeout_while(self.state(), time, left).unwrap());
                    self.forward(&request, upstream)?.send(client)?;
                }
                mood => match mood.answer() {
                    Some((status, code, text)) => {
                        let body = code.map_or_else(
                            || format!("{text}\n"),
                            |code| format!("Code: {code}. DB::Exception: {text}\n"),
                        );
                        let header =
                            code.map_or_else(String::new, |code| format!("X-ClickHouse-Exception-Code: {code}\r\n"));
                        let head = format!("HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\n\r\n", body.len());
                        (&*client).write_all((head + &body).as_bytes())?;
                    }
                    None => self.forward(&request, upstream)?.send(client)?,
                },
            }
        }
        Ok(())
    }

    fn swallow(&self, client: &TcpStream, changes: u64) -> io::Result<()> {
        client.set_read_timeout(Some(LOOK))?;
        while !self.state().ended && self.state().changes == changes {
            match client.peek(&mut [0]) {
                Ok(0) => break,
                // It has sent something more, and is still there.
                Ok(_) => thread::sleep(LOOK),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A connection of its own for each request: a store that was restarted is met at once, not by a dead one.
    fn forward(&self, request: &Message, upstream: SocketAddr) -> io::Result<Message> {
        let store = TcpStream::connect(upstream)?;
        store.set_nodelay(true)?;
        request.send(&store)?;
        if request.is_insert() {
            self.state().counts.inserts_forwarded += 1;
        }
        let answer = Message::read(&mut BufReader::new(&store), true)?;
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// A request or an answer, in the bytes it came in.
struct Message {
    /// To the empty line, and with it.
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Message {
    /// `None` at the end of the connection. An answer without a length lasts to the end of its connection.
    fn read(reader: &mut impl BufRead, answer: bool) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        let mut length = None;
        let mut chunked = false;
        loop {
            let start = head.len();
            if reader.read_until(b'\n', &mut head)? == 0 {
                return if head.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            let line = String::from_utf8_lossy(&head[start..]).to_ascii_lowercase();
            if line.trim().is_empty() {
                break;
            }
            match line.split_once(':').map(|(name, value)| (name, value.trim())) {
                Some(("content-length", value)) => length = value.parse::<u64>().ok(),
                Some(("transfer-encoding", value)) => chunked = value == "chunked",
                _ => {}
            }
        }
        let mut body = Vec::new();
        if chunked {
            while let size @ 1.. = Self::chunk_size(reader, &mut body)? {
                Self::exactly(reader, size + 2, &mut body)?;
            }
            // No trailers here: the empty line.
            reader.read_until(b'\n', &mut body)?;
        } else if let Some(length) = length {
            Self::exactly(reader, length, &mut body)?;
        } else if answer {
            reader.read_to_end(&mut body)?;
        }
        Ok(Some(Self { head, body }))
    }

    fn chunk_size(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<u64> {
        let start = body.len();
        reader.read_until(b'\n', body)?;
        let line = String::from_utf8_lossy(&body[start..]);
        let size = line.split(';').next().unwrap_or_default().trim();
        u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }

    fn exactly(reader: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
        match reader.by_ref().take(length).read_to_end(body)? as u64 {
            read if read == length => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn send(&self, mut to: &TcpStream) -> io::Result<()> {
        to.write_all(&self.head)?;
        to.write_all(&self.body)
    }

    /// The deduplication token in the URL.
    fn token(&self) -> Option<String> {
        let head = String::from_utf8_lossy(&self.head);
        let (_, rest) = head.lines().next()?.split_once("insert_deduplication_token=")?;
        Some(rest.split(['&', ' ']).next()?.to_owned())
    }

    /// The query is in the URL, or at the start of the body. `insert_…` settings are no INSERT.
    fn is_insert(&self) -> bool {
        let url = self.head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let text = [url, &self.body[..self.body.len().min(1024)]].concat().to_ascii_uppercase();
        [&b"INSERT INTO"[..], b"INSERT+INTO", b"INSERT%20INTO"]
            .iter()
            .any(|insert| text.windows(insert.len()).any(|part| part == *insert))
    }
}
