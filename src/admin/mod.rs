//! The admin port: metrics, health, status, reload.
//!
//! Owns the operator's HTTP, on the control thread and away from visitors; on loopback, or with a
//! token. Whatever may take a while, or wait for a disk, is done on a thread of its own, once for
//! all who ask at once: `/livez` and `/readyz` are answered whatever else hangs.

mod access;
mod health;
mod metrics;
mod reload;
mod single_flight;
mod status;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, StatusCode};
use prometheus::core::Collector;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

pub use access::Access;
pub use status::Status;

use crate::core::Stage;
use crate::source::Publisher;
use crate::web::{self, Activity, Connections, Response};
use metrics::{Metrics, Rendering, Renderings};
use reload::Reloaded;
use single_flight::SingleFlight;

/// How long `/metrics` and `/status` are waited for: a scrape that takes longer has been given up.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a reload is waited for: longer than ten million signs take.
const RELOAD_TIMEOUT: Duration = Duration::from_mins(1);
/// Most connections open at a time: a few scrapers and probes, and people.
const MAX_CONNECTIONS: usize = 64;

/// What the admin port is given.
pub struct AdminParts {
    /// Who may ask.
    pub access: Access,
    /// This edge's name, for the metrics.
    pub edge: String,
    /// Everything that has figures for `/metrics`.
    pub collectors: Vec<Arc<dyn Collector>>,
    /// What `/reload` reloads.
    pub publisher: Arc<Publisher>,
    /// What `/status` reads.
    pub status: Status,
    /// How far the stop has come: `/readyz` says whether it has begun, and the port closes last.
    pub stage: watch::Receiver<Stage>,
}

/// Answers operators.
pub struct AdminService {
    access: Access,
    stage: watch::Receiver<Stage>,
    connections: Arc<Connections>,
    metrics: Arc<SingleFlight<Option<Rendering>>>,
    status: Arc<SingleFlight<Bytes>>,
    reloads: Arc<SingleFlight<Reloaded>>,
}

impl AdminService {
    /// Serves nobody yet.
    pub fn new(parts: AdminParts) -> Arc<Self> {
        let AdminParts { access, edge, collectors, publisher, status, stage } = parts;
        let connections = Arc::new(Connections::new("admin", MAX_CONNECTIONS));
        let metrics = {
            let (metrics, renderings) = (Metrics::new(edge, status.started, collectors), Renderings::default());
            let connections = connections.clone();
            SingleFlight::new("metrics", move |_| renderings.add(&metrics, &connections))
        };
        let status = SingleFlight::new("status", move |_| format!("{:#}\n", status.read()).into());
        let reloads = SingleFlight::new("reload", move |force| reload::reload(&publisher, force));
        Arc::new(Self { access, stage, connections, metrics, status, reloads })
    }

    /// Serves until everything else has ended.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let (connections, mut stage) = (self.connections.clone(), self.stage.clone());
        // An error means that the sender is gone, and with it the rest of the process.
        let everything_else_has_ended = async move { drop(stage.wait_for(|stage| *stage == Stage::Ended).await) };
        let answer = move |activity: Arc<Activity>, request| {
            let service = self.clone();
            async move { service.answer(&activity, request).await }
        };
        web::serve(listener, connections, everything_else_has_ended, answer).await;
    }

    /// Has the registry read again, and waits until that is done. It is done too where nobody waits any more.
    pub async fn reload(&self) {
        match self.reloads.join(false) {
            // It has logged its problems; where it broke off there is nothing to be said but that.
            Ok(reloaded) => drop(reloaded.await),
            Err(error) => tracing::error!(%error, "the registry can't be reloaded: the system refuses a thread"),
        }
    }

    async fn answer(&self, activity: &Activity, request: Request<Incoming>) -> Response {
        if let Err(refusal) = self.access.check(&request) {
            let mut response = plain(refusal.status(), format!("{refusal}\n"));
            if refusal.status() == StatusCode::UNAUTHORIZED {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            return response;
        }
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/reload" if request.method() == Method::POST => self.reloaded(request.uri().query()).await,
            "/reload" => not_allowed("POST"),
            "/metrics" | "/livez" | "/readyz" | "/status" | "/" if !is_get => not_allowed("GET, HEAD"),
            "/metrics" => match within(READ_TIMEOUT, self.metrics.join(false)).await {
                Ok(Some(rendering)) => {
                    activity.text.store(rendering.number, Ordering::Relaxed);
                    text(StatusCode::OK, metrics::CONTENT_TYPE, rendering.text)
                }
                Ok(None) => plain(StatusCode::INTERNAL_SERVER_ERROR, "500 the metrics can't be encoded\n"),
                Err(response) => response,
            },
            "/status" => match within(READ_TIMEOUT, self.status.join(false)).await {
                Ok(status) => text(StatusCode::OK, JSON, status),
                Err(response) => response,
            },
            "/livez" => health::live(),
            "/readyz" => health::ready(*self.stage.borrow()),
            "/" => plain(
                StatusCode::OK,
                "GET /metrics /livez /readyz /status, POST /reload (?force=true allows any loss of signs)\n",
            ),
            _ => plain(StatusCode::NOT_FOUND, "404 not found; / lists what there is\n"),
        }
    }

    async fn reloaded(&self, query: Option<&str>) -> Response {
        let Some(force) = reload::is_forced(query) else {
            return plain(StatusCode::BAD_REQUEST, "400 expected no query or force=true\n");
        };
        match within(RELOAD_TIMEOUT, self.reloads.join(force)).await {
            Ok(reloaded) => text(reloaded.status, JSON, reloaded.text),
            Err(response) => response,
        }
    }
}

/// What a flight brings, or a response that says why it does not come in time.
async fn within<T>(timeout: Duration, joined: io::Result<oneshot::Receiver<T>>) -> Result<T, Response> {
    let result = joined.map_err(|error| {
        plain(StatusCode::SERVICE_UNAVAILABLE, format!("503 the system refuses a thread: {error}\n"))
    })?;
    match tokio::time::timeout(timeout, result).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(_)) => Err(plain(StatusCode::INTERNAL_SERVER_ERROR, "500 it broke off; the log says why\n")),
        Err(_) => {
            let seconds = timeout.as_secs();
            Err(plain(StatusCode::SERVICE_UNAVAILABLE, format!("503 not done within {seconds} s, and it goes on\n")))
        }
    }
}

fn not_allowed(allow: &'static str) -> Response {
    let mut response =
        plain(StatusCode::METHOD_NOT_ALLOWED, format!("405 method not allowed; {allow} is answered here\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

const JSON: &str = "application/json";

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response {
    text(status, "text/plain; charset=utf-8", body)
}

fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
