//! An unencrypted connection, as hyper reads and writes it.
//!
//! Owns the system calls of a connection. A phone brings one request and goes, so the first read and the
//! first response are done on a bare socket: epoll learns of it only when there is something to wait
//! for. Of a connection that is closed with its response that saves two system calls and a wake of five
//! to seven. (Only here: with TLS the handshake waits in any case, and a response is not the last that
//! is sent.)

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream as StdStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::edge::connection::Connection;

/// Bytes of a first read; a phone's head has 300 to 900.
const FIRST_READ: usize = 4096;

/// A connection's stream, which reports to the connection what passes over it.
pub(in crate::edge) struct PlainSocket {
    stream: Stream,
    connection: Rc<Connection>,
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

impl PlainSocket {
    /// `stream` does not block.
    pub fn new(stream: StdStream, connection: Rc<Connection>) -> TokioIo<Self> {
        TokioIo::new(Self { stream: Stream::Bare { stream, read: false, drained: false }, connection })
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

impl AsyncRead for PlainSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = self.stream.poll_read(cx, buf);
        if read.is_ready() {
            self.connection.bytes_read();
        }
        read
    }
}

impl AsyncWrite for PlainSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let closes_after = self.connection.closes_after_response();
        let written = self.stream.poll_write(cx, buf, closes_after);
        match written {
            Poll::Ready(Ok(len)) if len == buf.len() => self.connection.response_written(),
            Poll::Ready(Ok(_)) | Poll::Pending => self.connection.response_stalled(),
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
