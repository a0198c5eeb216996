//! An open loop: requests are sent when they are due, whatever became of those before.
//!
//! One thread and some connections, each with at most one request under way. A request
//! that is due while all of them are busy goes to the next that is free, and its latency
//! counts from when it was due, so that a stall is seen by every request that it delays
//! (the omission of those is what makes most figures of latency too good:
//! <https://github.com/giltene/wrk2#acknowledgements>).

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Result, TIMEOUT};

/// Far more than are under way at half of capacity; with fewer, a stall is made up for in larger steps.
const CONNECTIONS: usize = 64;
/// The load looks at its sockets again and again: a sleep may take 50 µs more than it should on a
/// virtual machine. But now and then it sleeps, for the store on its core, and because Linux takes the
/// core from a real-time thread that leaves nothing to others: for 50 ms of a second.
const REST_EVERY: Duration = Duration::from_micros(300);
const REST: Duration = Duration::from_micros(50);
/// Where a request has the last two parts of its client's address, three digits each.
const ADDRESS: &str = "100.100";

/// User agents and languages, in equal parts.
pub const CLIENTS: [(&str, &str); 4] = [
    (
        "Mozilla/5.0 (Linux; Android 14; SM-A155F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36 Zalo android/12070847 ZaloTheme/light ZaloLanguage/vi",
        "vi-VN,vi;q=0.9,en;q=0.8",
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        "vi-VN,vi;q=0.9",
    ),
    (
        "Mozilla/5.0 (Linux; Android 12; NOH-AN01) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 MicroMessenger/8.0.49 Language/zh_CN",
        "zh-CN,zh;q=0.9,en-US;q=0.8",
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
        "en-US,en;q=0.9",
    ),
];

/// Clients of one edge.
pub struct Load {
    connections: Vec<Connection>,
    requests: Vec<Request>,
    sent: usize,
}

/// When requests are due.
#[derive(Clone, Copy)]
pub enum Pace {
    /// So many a second.
    Rate(u32),
    /// As soon as a connection is free.
    Capacity,
}

/// What a phase has shown.
#[derive(Default)]
pub struct Phase {
    /// From when each request was due to its redirect, in nanoseconds, sorted.
    pub latencies: Vec<u64>,
    /// Answers that were pages of ours.
    pub pages: usize,
    /// The longest time for which the load did not look: what it may add by itself.
    pub away: Duration,
    /// From the first request that was due to the end.
    pub took: Duration,
}

struct Request {
    bytes: Vec<u8>,
    /// Where [`ADDRESS`] is.
    address: usize,
}

/// What a request is answered with.
#[derive(Clone, Copy)]
enum Answer {
    Redirect,
    Page,
}

struct Connection {
    stream: TcpStream,
    /// When the request under way was due.
    due: Duration,
    answer: [u8; 8192],
    filled: usize,
}

impl Load {
    /// Connects; the codes are scanned in turn.
    pub fn connect(edge: SocketAddr, codes: impl Iterator<Item = String>) -> Result<Self> {
        let connections = (0..CONNECTIONS).map(|_| Connection::open(edge)).collect::<io::Result<_>>()?;
        let requests = codes.zip(CLIENTS.iter().cycle()).map(|(code, (agent, language))| {
            let head = format!("GET /{code} HTTP/1.1\r\nHost: qr.example.vn\r\nX-Forwarded-For: 113.160.");
            let rest = format!(
                "{ADDRESS}\r\nUser-Agent: {agent}\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\
                 Accept-Language: {language}\r\nAccept-Encoding: gzip, deflate, br\r\n\r\n"
            );
            Request { address: head.len(), bytes: (head + &rest).into_bytes() }
        });
        Ok(Self { connections, requests: requests.collect(), sent: 0 })
    }

    /// Sends what is due until `end`, in nanoseconds from the start, which may come nearer
    /// meanwhile; then waits for the answers.
    pub fn run(&mut self, pace: Pace, end: &AtomicU64) -> Result<Phase> {
        let mut phase = Phase::default();
        let mut free: VecDeque<usize> = (0..CONNECTIONS).collect();
        let mut busy = Vec::<usize>::with_capacity(CONNECTIONS);
        let (mut turn, mut looked, mut rested) = (0, Duration::ZERO, Duration::ZERO);
        let start = Instant::now();
        loop {
            let now = start.elapsed();
            phase.away = phase.away.max(now.saturating_sub(looked));
            looked = now;
            let due = match pace {
                Pace::Rate(rate) => Duration::from_secs(1) * turn / rate,
                Pace::Capacity => now,
            };
            phase.took = Duration::from_nanos(end.load(Ordering::Relaxed));
            let over = due >= phase.took;
            if over && busy.is_empty() {
                phase.latencies.sort_unstable();
                return Ok(phase);
            }
            if !over
                && due <= now
                && let Some(number) = free.pop_front()
            {
                self.send(number, due)?;
                busy.push(number);
                turn += 1;
                continue;
            }
            self.receive(&mut busy, |number, due, answer| {
                free.push_back(number);
                match answer {
                    Answer::Redirect => phase.latencies.push(start.elapsed().saturating_sub(due).as_nanos() as u64),
                    Answer::Page => phase.pages += 1,
                }
            })?;
            if now > rested + REST_EVERY {
                thread::sleep(REST);
                rested = start.elapsed();
            }
            if now > phase.took + TIMEOUT {
                return Err(format!("{} requests are never answered", busy.len()).into());
            }
        }
    }

    fn send(&mut self, number: usize, due: Duration) -> io::Result<()> {
        let count = self.requests.len();
        let request = &mut self.requests[self.sent % count];
        request.come_from(self.sent / count);
        self.sent += 1;
        let connection = &mut self.connections[number];
        (connection.due, connection.filled) = (due, 0);
        // It is a few hundred bytes, and nothing is on its way: the buffer takes it whole.
        connection.stream.write_all(&request.bytes)
    }

    fn receive(&mut self, busy: &mut Vec<usize>, mut answered: impl FnMut(usize, Duration, Answer)) -> Result<()> {
        let mut failed = None;
        busy.retain(|&number| match self.connections[number].answer() {
            Ok(None) => true,
            Ok(Some(answer)) => {
                answered(number, self.connections[number].due, answer);
                false
            }
            Err(error) => {
                failed = Some(error);
                true
            }
        });
        failed.map_or(Ok(()), Err)
    }
}

impl Request {
    /// One of 10,000 addresses in Vietnam: nobody is taken for a repeat.
    fn come_from(&mut self, visitor: usize) {
        let digits = |number: usize| [b'1', b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8];
        self.bytes[self.address..][..3].copy_from_slice(&digits(visitor));
        self.bytes[self.address + 4..][..3].copy_from_slice(&digits(visitor / 100));
    }
}

impl Connection {
    fn open(edge: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(edge)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, due: Duration::ZERO, answer: [0; 8192], filled: 0 })
    }

    /// What is here, once it is whole: a redirect, which has no body, or a page of ours.
    fn answer(&mut self) -> Result<Option<Answer>> {
        match self.stream.read(&mut self.answer[self.filled..]) {
            Ok(0) => return Err("the edge hung up".into()),
            Ok(read) => self.filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let answer = &self.answer[..self.filled];
        if answer.starts_with(b"HTTP/1.1 200 ") {
            return Ok(answer.ends_with(b"</html>").then_some(Answer::Page));
        }
        if !answer.ends_with(b"\r\n\r\n") {
            return Ok(None);
        }
        if !answer.starts_with(b"HTTP/1.1 302 ") {
            return Err(format!("neither a redirect nor a page: {}", String::from_utf8_lossy(answer)).into());
        }
        Ok(Some(Answer::Redirect))
    }
}

impl Phase {
    /// A quantile of the latencies, in microseconds.
    pub fn latency(&self, share: f64) -> f64 {
        let rank = (self.latencies.len() as f64 * share).ceil() as usize;
        self.latencies.get(rank.saturating_sub(1)).map_or(f64::NAN, |&latency| latency as f64 / 1e3)
    }
}

/// Lets this thread run whenever it wants to, before all others on its core. Returns whether that is allowed.
pub fn become_urgent() -> bool {
    let thread = rustix::thread::gettid().to_string();
    let mut command = Command::new("chrt");
    command.args(["--fifo", "--pid", "1", &thread]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
