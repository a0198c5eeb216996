//! An encrypted connection, as hyper reads and writes it.
//!
//! Owns a TLS session and the order of its bytes. The handshake is done within the first read, so it is
//! part of the connection from its first moment: it holds up no accepting, and its time is watched as the
//! rest is. A response that ends its connection waits for the `close_notify` that follows it
//! (RFC 8446 section 6.1), and both leave in one piece.

use std::io::{self, BufRead as _, Write as _};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper_util::rt::TokioIo;
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::{Polled, Stream, poll_of};
use crate::edge::connection::Connection;

/// A connection's session over its stream.
pub(in crate::edge) struct TlsSocket {
    stream: Stream,
    session: ServerConnection,
    connection: Rc<Connection>,
    /// Whether there is a response that is not with the kernel yet.
    is_responding: bool,
    has_said_goodbye: bool,
}

impl TlsSocket {
    /// Nothing is read yet. Fails where the configuration is no server's.
    pub fn new(
        stream: Stream,
        config: Arc<ServerConfig>,
        connection: Rc<Connection>,
    ) -> Result<TokioIo<Self>, rustls::Error> {
        let session = ServerConnection::new(config)?;
        Ok(TokioIo::new(Self { stream, session, connection, is_responding: false, has_said_goodbye: false }))
    }

    /// Sends what the session has to send.
    fn poll_send(&mut self, cx: &mut Context<'_>, closes_after: bool) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            let mut sink = Polled { stream: &mut self.stream, context: cx, closes_after };
            if ready!(poll_of(self.session.write_tls(&mut sink)))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what has come, and lets the session see it. Returns whether the other side has sent all it will.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut source = Polled { stream: &mut self.stream, context: cx, closes_after: false };
        let read = ready!(poll_of(self.session.read_tls(&mut source)))?;
        self.connection.preface_read();
        if let Err(error) = self.session.process_new_packets() {
            self.connection.preface_failed();
            // The alert that says why, if it can be sent at once.
            let _sent = self.poll_send(cx, true);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        if !self.session.is_handshaking() {
            self.connection.handshake_done();
        }
        Poll::Ready(Ok(read == 0))
    }

    /// Sends the response, and says to the connection what became of it.
    fn poll_respond(&mut self, cx: &mut Context<'_>, closes_after: bool) -> Poll<io::Result<()>> {
        let sent = self.poll_send(cx, closes_after);
        match &sent {
            Poll::Ready(Ok(())) if std::mem::take(&mut self.is_responding) => self.connection.response_written(),
            Poll::Pending if self.is_responding => self.connection.response_stalled(),
            _ => {}
        }
        sent
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = &mut *self;
        socket.connection.looked_at();
        loop {
            let mut reader = socket.session.reader();
            match reader.fill_buf() {
                // Copied from where it is: a room to be read into would have to be cleared first, 8 KiB each time.
                Ok(text) => {
                    let read = text.len().min(buf.remaining());
                    buf.put_slice(&text[..read]);
                    reader.consume(read);
                    socket.connection.bytes_read();
                    return Poll::Ready(Ok(()));
                }
                // It ended without a `close_notify`: what was a whole request is one all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    socket.connection.bytes_read();
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(socket.poll_respond(cx, false))?;
            let is_over = ready!(socket.poll_receive(cx))?;
            if is_over && socket.session.is_handshaking() {
                socket.connection.preface_failed();
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

impl AsyncWrite for TlsSocket {
    /// Encrypts; what was encrypted is sent by [`AsyncWrite::poll_flush`], or with the end.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let socket = &mut *self;
        loop {
            let written = socket.session.writer().write(buf)?;
            if written > 0 || buf.is_empty() {
                socket.is_responding = true;
                return Poll::Ready(Ok(written));
            }
            // The session holds as much as it may.
            ready!(socket.poll_respond(cx, false))?;
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It is sent with the end, or else before anything is read again.
        if self.connection.closes_after_response() {
            return Poll::Ready(Ok(()));
        }
        self.poll_respond(cx, false)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.has_said_goodbye, true) {
            self.session.send_close_notify();
        }
        ready!(self.poll_respond(cx, true))?;
        // A client may say goodbye before it has its answers.
        self.stream.discard_unread();
        Poll::Ready(Ok(()))
    }
}
