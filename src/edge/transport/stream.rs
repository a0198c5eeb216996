//! A connection's bytes, as they come from and go to the kernel.
//!
//! Owns the system calls of a connection. A phone brings one request and goes, so the first read and the
//! first response are done on a bare socket: epoll learns of it only when there is something to wait
//! for. Of a connection that is closed with its response that saves two system calls and a wake of five
//! to seven.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use super::proxy_protocol::{self, Parsed};
use crate::edge::connection::Connection;

/// Bytes of a first read; a phone's head has 300 to 900.
const FIRST_READ: usize = 4096;

/// Pieces of that size that are taken away before a connection is closed.
const MOST_UNREAD: u32 = 16;

/// One connection's socket.
pub(in crate::edge) struct Stream {
    socket: Socket,
    /// What was read behind a PROXY header, and is to be read next.
    unread: Vec<u8>,
}

enum Socket {
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

impl Stream {
    /// `stream` does not block.
    pub fn new(stream: StdStream) -> Self {
        Self { socket: Socket::Bare { stream, read: false, drained: false }, unread: Vec::new() }
    }

    /// Reads what has come; nothing means that the other side has sent all it will.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let read = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread[..read]);
            self.unread.drain(..read);
            if self.unread.is_empty() {
                // The connection may be long, and the header was large.
                self.unread = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_read(cx, buf)
    }

    /// Writes what the kernel takes. `closes_after`: nothing follows, and the socket is closed next.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8], closes_after: bool) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, buf, closes_after)
    }

    /// Takes away what has come and will not be read, before the socket is closed: closing with something
    /// unread is a reset, which takes along what the kernel has not sent yet.
    pub fn discard_unread(&self) {
        let socket = match &self.socket {
            Socket::Bare { stream, .. } => stream.as_fd(),
            Socket::Registered(stream) => stream.as_fd(),
            Socket::Lost => return,
        };
        let mut bytes = [MaybeUninit::uninit(); FIRST_READ];
        // A client that goes on and on is not waited for.
        for _ in 0..MOST_UNREAD {
            if !recv(socket, &mut bytes, RecvFlags::DONTWAIT).is_ok_and(|(_, length)| length > 0) {
                return;
            }
        }
    }

    /// Reads a header of the PROXY protocol, which must be the next thing that comes. Returns the address
    /// in it; `None` where the proxy speaks for itself.
    pub async fn proxy_header(&mut self, connection: &Connection) -> io::Result<Option<SocketAddr>> {
        let mut bytes = Vec::new();
        loop {
            let mut piece = [MaybeUninit::uninit(); FIRST_READ];
            let mut piece = ReadBuf::uninit(&mut piece);
            poll_fn(|cx| self.poll_read(cx, &mut piece)).await?;
            connection.preface_read();
            if piece.filled().is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(piece.filled());
            match proxy_protocol::parse(&bytes) {
                Ok(Parsed::Incomplete) => {}
                Ok(Parsed::Header { len, source }) => {
                    self.unread = bytes.split_off(len);
                    return Ok(source);
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }
}

impl Socket {
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

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8], closes_after: bool) -> Poll<io::Result<usize>> {
        if let Self::Bare { stream, drained, .. } = self {
            // Kept for a moment: closing sends a packet anyway, and that takes the response along. One
            // packet instead of two is 4 of 17.5 µs of a connection. (Should the close not come, the
            // kernel sends the response by itself after 200 ms: tcp(7), TCP_CORK. If there is something
            // left to read, closing is a reset, which takes nothing along.)
            let more = if closes_after && *drained { SendFlags::MORE } else { SendFlags::empty() };
            match rustix::net::send(&*stream, buf, SendFlags::NOSIGNAL | more) {
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                written => return Poll::Ready(Ok(written?)),
            }
        }
        Pin::new(self.register()?).poll_write(cx, buf)
    }
}

/// A stream with the context of a poll, for a library that reads and writes as if it never waited.
pub(super) struct Polled<'a, 'b> {
    pub stream: &'a mut Stream,
    pub context: &'a mut Context<'b>,
    pub closes_after: bool,
}

/// Bytes that are gathered to be written at once.
const GATHERED: usize = 8192;

impl io::Read for Polled<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        match self.stream.poll_read(self.context, &mut buf) {
            Poll::Ready(read) => read.map(|()| buf.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl io::Write for Polled<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.stream.poll_write(self.context, buf, self.closes_after) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// TLS records are small and several: one system call takes them all, for the price of a copy.
    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let mut gathered = arrayvec::ArrayVec::<u8, GATHERED>::new();
        for piece in pieces {
            let room = gathered.remaining_capacity().min(piece.len());
            gathered.extend(piece[..room].iter().copied());
        }
        self.write(&gathered)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A result of [`Polled`] as a poll again.
pub(super) fn poll_of<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}
