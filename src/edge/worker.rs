//! One worker: a thread with a runtime, listeners and connections of its own.
//!
//! Owns the thread from its start to its end, and hyper's settings. It joins the parts: the transport
//! accepts, a connection keeps its deadlines, `scan.rs` makes the responses.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;

use hyper::Version;
use hyper::body::{Body as _, Incoming};
use hyper::header::CONNECTION;
use hyper::server::conn::http1;
use hyper::service::Service;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::connection::{Connection, Connections, Limits, TICK};
use super::response::{Response, closing};
use super::scan::ScanHandler;
use super::transport::admission::Admission;
use super::transport::listen::Listener;
use super::transport::plain::PlainSocket;
use crate::core::Stage;

/// The largest request head, in bytes: hyper answers 431 beyond.
const MAX_HEAD: usize = 16 * 1024;

/// What the connections of one worker share.
struct Worker {
    handler: ScanHandler,
    /// Whether each response says that its connection ends.
    is_closing: Cell<bool>,
}

/// Serves until told to stop, then lets connections end. Returns when the last has. Fails where the
/// system refuses a runtime or a listener.
pub(super) fn run(
    handler: ScanHandler,
    listeners: Vec<Listener>,
    limits: Limits,
    mut stage: watch::Receiver<Stage>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let connections = Rc::new(Connections::new(limits, handler.counters().clone()));
    let worker = Rc::new(Worker { handler, is_closing: Cell::new(false) });
    runtime.block_on(async {
        let serve = {
            let (worker, connections) = (worker.clone(), connections.clone());
            move |stream, peer| worker.clone().serve(stream, peer, &connections)
        };
        let admission = Admission::start(listeners, &connections, serve)?;
        let mut ticks = tokio::time::interval(TICK);
        // A worker that was held up must not take its own delay for the visitors'.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    connections.sweep();
                    worker.handler.tick();
                    worker.handler.counters().ticks.add();
                }
                changed = stage.changed() => {
                    let stage = *stage.borrow_and_update();
                    worker.is_closing.set(changed.is_err() || stage >= Stage::LameDuck);
                    if changed.is_err() || stage >= Stage::Closing {
                        break;
                    }
                }
            }
        }
        admission.drain().await;
        Ok(())
    })
}

impl Worker {
    fn serve(self: Rc<Self>, stream: TcpStream, peer: SocketAddr, connections: &Rc<Connections>) {
        connections.open(|connection| {
            http1::Builder::new()
                // hyper's own would box a sleep for each request; the sweep of connections replaces it.
                .header_read_timeout(None)
                .max_buf_size(MAX_HEAD)
                // A client that has said all it will (`printf … | nc`) still gets its response.
                .half_close(true)
                // One small write: gathering slices costs more than copying 150 bytes.
                .writev(false)
                .serve_connection(
                    PlainSocket::new(stream, connection.clone()),
                    Requests { worker: self, connection, peer },
                )
        });
    }
}

/// hyper's view of one connection's requests.
struct Requests {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    peer: SocketAddr,
}

impl Service<hyper::Request<Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        self.connection.request_begun(closes_after(&request));
        let mut response = self.worker.handler.answer(self.peer, self.connection.read_at_ms(), request);
        if self.worker.is_closing.get() {
            closing(&mut response);
        }
        ready(Ok(response))
    }
}

/// Whether hyper closes the connection as soon as the response is written. It reads more into a
/// `Connection` header than this does (lists, several of them): these close a packet later.
fn closes_after(request: &hyper::Request<Incoming>) -> bool {
    let mut options = request.headers().get_all(CONNECTION).iter();
    let closes = match (options.next(), options.next()) {
        (None, _) => request.version() == Version::HTTP_10,
        (Some(option), None) => option.as_bytes().eq_ignore_ascii_case(b"close"),
        _ => false,
    };
    closes && request.body().is_end_stream()
}
