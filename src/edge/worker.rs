//! One worker: a thread with a runtime, listeners and connections of its own.
//!
//! Owns the thread from its start to its end, and hyper's settings. It joins the parts: the transport
//! accepts, a connection keeps its deadlines, `scan.rs` makes the responses.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Version;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::Service;
use ipnet::IpNet;
use rustls::ServerConfig;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::capacity::Capacity;
use super::connection::{Connection, Limits, Preface, TICK};
use super::connections::{Connections, TooMany};
use super::plaintext::{Answer, Plaintext};
use super::response::{Response, closing, strict_transport};
use super::scan::{ScanHandler, View};
use super::transport::Protocol;
use super::transport::admission::{Admission, Admitted};
use super::transport::listen::Listener;
use super::transport::plain::PlainSocket;
use super::transport::stream::Stream;
use super::transport::tls::TlsSocket;
use crate::certificates::Acceptor;
use crate::core::Stage;

/// The largest request head, in bytes: hyper answers 431 beyond.
const MAX_HEAD: usize = 16 * 1024;

/// What visitors meet before a request of theirs is read: the same for all workers.
#[derive(Clone)]
pub struct Ports {
    /// Limits of each connection.
    pub limits: Limits,
    /// How many there may be.
    pub capacity: Arc<Capacity>,
    /// Who may send a PROXY header.
    pub proxies: Arc<[IpNet]>,
    /// What a port without TLS answers besides.
    pub plaintext: Plaintext,
    /// Where new certificates come from.
    pub certificates: watch::Receiver<Arc<Acceptor>>,
    /// The `Strict-Transport-Security` of responses over TLS, if they have one.
    pub hsts: Option<HeaderValue>,
}

/// What the connections of one worker share.
struct Worker {
    handler: ScanHandler,
    limits: Limits,
    plaintext: Plaintext,
    certificates: RefCell<View<Acceptor>>,
    hsts: Option<HeaderValue>,
    /// Whether each response says that its connection ends.
    is_closing: Cell<bool>,
}

/// Serves until told to stop, then lets connections end. Returns when the last has. Fails where the system
/// refuses a runtime or a listener.
pub(super) fn run(
    handler: ScanHandler,
    listeners: Vec<Listener>,
    ports: Ports,
    mut stage: watch::Receiver<Stage>,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let connections = Rc::new(Connections::new(ports.limits, ports.capacity, handler.counters().clone()));
    let worker = Rc::new(Worker {
        handler,
        limits: ports.limits,
        plaintext: ports.plaintext,
        certificates: RefCell::new(View::new(ports.certificates)),
        hsts: ports.hsts,
        is_closing: Cell::new(false),
    });
    runtime.block_on(async {
        let serve = {
            let (worker, connections) = (worker.clone(), connections.clone());
            move |admitted| worker.clone().serve(admitted, &connections)
        };
        let admission = Admission::start(listeners, &ports.proxies, &connections, &serve)?;
        let mut ticks = tokio::time::interval(TICK);
        // A worker that was held up must not take its own delay for the visitors'.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    connections.sweep();
                    worker.handler.tick();
                    worker.certificates.borrow_mut().newest();
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
    fn serve(self: Rc<Self>, admitted: Admitted, connections: &Rc<Connections>) {
        let Admitted { stream, peer, protocol, counted } = admitted;
        let stream = Stream::new(stream);
        match protocol {
            Protocol { has_proxy_header: false, has_tls: false } => {
                connections.open(counted, Preface::Over, |connection| {
                    let requests = Requests { worker: self, connection: connection.clone(), peer, protocol };
                    http1_settings().serve_connection(PlainSocket::new(stream, connection), requests)
                });
            }
            Protocol { has_proxy_header: false, has_tls: true } => {
                connections
                    .open(counted, Preface::Handshake, |connection| self.serve_tls(stream, connection, peer, protocol));
            }
            Protocol { has_proxy_header: true, .. } => {
                let of = connections.clone();
                connections.open(counted, Preface::ProxyHeader, |connection| {
                    self.serve_proxied(stream, connection, of, peer, protocol)
                });
            }
        }
    }

    async fn serve_tls(
        self: Rc<Self>,
        stream: Stream,
        connection: Rc<Connection>,
        peer: SocketAddr,
        protocol: Protocol,
    ) -> Result<(), Broken> {
        let config: Arc<ServerConfig> = self.certificates.borrow_mut().newest().config();
        let socket = TlsSocket::new(stream, config, connection.clone())?;
        let requests = Requests { worker: self, connection, peer, protocol };
        Ok(http1_settings().serve_connection(socket, requests).await?)
    }

    /// The connection of a proxy, which says first whose it is.
    async fn serve_proxied(
        self: Rc<Self>,
        mut stream: Stream,
        connection: Rc<Connection>,
        connections: Rc<Connections>,
        peer: SocketAddr,
        protocol: Protocol,
    ) -> Result<(), Broken> {
        connection.looked_at();
        // In a box, so that its buffer ends with it.
        let header = Box::pin(stream.proxy_header(&connection)).await;
        let source = header.inspect_err(|_| connection.preface_failed())?;
        if let Some(source) = source {
            connections.enter_late(&connection, source.ip())?;
        }
        let peer = source.unwrap_or(peer);
        if protocol.has_tls {
            connection.set_preface(Preface::Handshake);
            return self.serve_tls(stream, connection, peer, protocol).await;
        }
        connection.set_preface(Preface::Over);
        let requests = Requests { worker: self, connection: connection.clone(), peer, protocol };
        Ok(http1_settings().serve_connection(PlainSocket::new(stream, connection), requests).await?)
    }
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Header(#[from] io::Error),
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

fn http1_settings() -> http1::Builder {
    let mut http1 = http1::Builder::new();
    // hyper's own would box a sleep for each request; the sweep of connections replaces it.
    http1.header_read_timeout(None);
    http1.max_buf_size(MAX_HEAD);
    // A client that has said all it will (`printf … | nc`) still gets its response.
    http1.half_close(true);
    // One small write: gathering slices costs more than copying 150 bytes.
    http1.writev(false);
    http1
}

/// hyper's view of one connection's requests.
struct Requests {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    /// The visitor, or a proxy that is believed by its header.
    peer: SocketAddr,
    protocol: Protocol,
}

impl Service<hyper::Request<Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = Pending;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let worker = &self.worker;
        let is_used_up = self.connection.is_used_up(&worker.limits);
        if is_used_up {
            worker.handler.counters().used_up.add();
        }
        let is_last = is_used_up || worker.is_closing.get();
        self.connection.request_begun(is_last || closes_after(&request));
        let answer = if self.protocol.has_tls {
            None
        } else {
            // A proxy in front may have had it by https.
            let sends_on = !self.protocol.has_proxy_header && !worker.handler.trusts(self.peer);
            worker.plaintext.answer(&request, sends_on, &worker.handler)
        };
        let mut response = match answer {
            Some(Answer::Later(response)) => return Pending::Later { response, is_last },
            Some(Answer::Ready(response)) => response,
            None => worker.handler.answer(self.peer, self.connection.read_at_ms(), request),
        };
        if let Some(policy) = worker.hsts.as_ref().filter(|_| self.protocol.has_tls) {
            strict_transport(&mut response, policy);
        }
        if is_last {
            closing(&mut response);
        }
        Pending::Ready(ready(Ok(response)))
    }
}

/// A response that is there, as all are but the answer to a challenge.
enum Pending {
    Ready(std::future::Ready<Result<Response, Infallible>>),
    Later {
        response: Pin<Box<dyn Future<Output = Response>>>,
        /// Whether the connection ends with it.
        is_last: bool,
    },
}

impl Future for Pending {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(response) => Pin::new(response).poll(cx),
            Self::Later { response, is_last } => response.as_mut().poll(cx).map(|mut response| {
                if *is_last {
                    closing(&mut response);
                }
                Ok(response)
            }),
        }
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
