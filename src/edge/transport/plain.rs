//! An unencrypted connection, as hyper reads and writes it.
//!
//! Owns what is reported to the connection of what passes over it.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Stream;
use crate::edge::connection::Connection;

/// A connection's stream, which reports to the connection what passes over it.
pub(in crate::edge) struct PlainSocket {
    stream: Stream,
    connection: Rc<Connection>,
}

impl PlainSocket {
    pub fn new(stream: Stream, connection: Rc<Connection>) -> TokioIo<Self> {
        TokioIo::new(Self { stream, connection })
    }
}

impl AsyncRead for PlainSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.connection.looked_at();
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
