//! A visitor's connection, as hyper reads and writes it.
//!
//! Owns the system calls of a connection, and notes when a request came and when its
//! answer was taken. A phone brings one request and goes, so the first read and the first
//! answer are done on a bare socket: epoll learns of it only when there is something to
//! wait for. Of a connection that is closed with its answer that saves two system calls
//! and a wake of five to seven.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream as StdStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::worker::Worker;

/// Bytes of a first read; a phone's head has 300 to 900.
const FIRST_READ: usize = 4096;

/// What a connection is at, and since when.
pub(super) struct Activity {
    /// Between the first byte of a request and its answer, or while an answer is not taken.
    pub busy: Cell<bool>,
    /// The worker's tick at which that began or ended.
    pub since: Cell<u32>,
    /// When bytes were last read.
    pub read_at: Cell<SystemTime>,
    /// Requests among these bytes whose answers are not written yet.
    pub unanswered: Cell<u32>,
    /// Whether the connection is closed as soon as the answer to the last of them is written.
    pub last: Cell<bool>,
}

impl Activity {
    /// Of a connection that has said nothing, at a tick of its worker.
    pub fn idle(tick: u32) -> Self {
        let read_at = Cell::new(SystemTime::UNIX_EPOCH);
        Self {
            busy: Cell::new(false),
            since: Cell::new(tick),
            read_at,
            unanswered: Cell::new(0),
            last: Cell::new(false),
        }
    }
}

/// A connection's stream and its activity.
pub(super) struct Socket {
    stream: Stream,
    worker: Rc<Worker>,
    activity: Rc<Activity>,
}

enum Stream {
    /// Epoll doesn't know it yet.
    Bare {
        stream: StdStream,
        read: bool,
        /// Whether the first read took all that had come.
        drained: bool,
    },
    Registered(TcpStream),
    /// Epoll refused it.
    Lost,
}

impl Socket {
    /// `stream` does not block.
    pub fn new(stream: StdStream, worker: Rc<Worker>, activity: Rc<Activity>) -> TokioIo<Self> {
        TokioIo::new(Self { stream: Stream::Bare { stream, read: false, drained: false }, worker, activity })
    }

    fn note(&self, busy: bool) {
        if self.activity.busy.replace(busy) != busy {
            self.activity.since.set(self.worker.tick());
        }
    }

    fn note_answered(&self) {
        self.note(false);
        let answered = self.activity.unanswered.replace(0);
        if answered > 0 {
            // A clock that was set back makes it zero.
            let took = self.activity.read_at.get().elapsed().unwrap_or_default();
            self.worker.counters().service.observe(took, answered);
        }
    }
}

impl Stream {
    fn register(&mut self) -> io::Result<&mut TcpStream> {
        if let Self::Bare { .. } = self
            && let Self::Bare { stream, .. } = std::mem::replace(self, Self::Lost)
        {
            *self = Self::Registered(TcpStream::from_std(stream)?);
        }
        match self {
            Self::Registered(stream) => Ok(stream),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Self::Bare { stream, read, drained } = self
            && !std::mem::replace(read, true)
        {
            let mut bytes = [MaybeUninit::uninit(); FIRST_READ];
            let room = buf.remaining().min(FIRST_READ);
            match rustix::io::read(&*stream, &mut bytes[..room]) {
                Ok((read, _)) => {
                    *drained = read.len() < room;
                    buf.put_slice(read);
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Pin::new(self.register()?).poll_read(cx, buf)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8], last: bool) -> Poll<io::Result<usize>> {
        if let Self::Bare { stream, drained, .. } = self {
            // Kept for a moment: closing sends a packet anyway, and that takes the answer along. One
            // packet instead of two is 4 of 17.5 µs of a connection. (Should the close not come, the
            // kernel sends the answer by itself after 200 ms: tcp(7), TCP_CORK. If there is something
            // left to read, closing is a reset, which takes nothing along.)
            let more = if last && *drained { SendFlags::MORE } else { SendFlags::empty() };
            match rustix::net::send(&*stream, buf, SendFlags::NOSIGNAL | more) {
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                written => return Poll::Ready(Ok(written?)),
            }
        }
        Pin::new(self.register()?).poll_write(cx, buf)
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.stream.poll_read(cx, buf);
        if read.is_ready() {
            self.activity.read_at.set(SystemTime::now());
            self.note(true);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let last = self.activity.last.get();
        let written = self.stream.poll_write(cx, buf, last);
        match written {
            Poll::Ready(Ok(len)) if len == buf.len() => self.note_answered(),
            // An answer that is not taken: also to a request that came with others before it, so that
            // no byte of it is read from here on.
            Poll::Ready(Ok(_)) | Poll::Pending => self.note(true),
            Poll::Ready(Err(_)) => {}
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Nothing: the socket is dropped next, and closing it says the same to the other side.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
