//! The admin port: metrics, health, status, reload.
//!
//! Owns the operator's HTTP, on the control thread and away from visitors; on loopback, or with a
//! token. Whatever may take a while, or wait for a disk, is done on a thread of its own, once for
//! all who ask at once: `/livez` and `/readyz` are answered whatever else hangs.

mod access;
mod metrics;
mod rounds;
mod server;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use prometheus::core::Collector;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

pub use access::Access;

use crate::app::Parts;
use crate::core::scan::DEFINITION;
use crate::core::{Stage, Tag};
use crate::registry::{Reload, Status};
use metrics::Metrics;
use rounds::Rounds;
use server::{Activity, Open};

/// How long `/metrics` and `/status` are waited for: a scrape that takes longer has been given up.
const SOON: Duration = Duration::from_secs(10);
/// How long a reload is waited for: longer than ten million signs take.
const RELOADED: Duration = Duration::from_mins(1);
/// Most renderings of the metrics in memory at a time. Each has 17 MB for 100,000 scanned signs.
const RENDERINGS: usize = 4;

/// Answers are text.
type Answer = Response<Full<Bytes>>;

/// Whoever answers operators.
pub struct Desk {
    parts: Arc<Parts>,
    open: Arc<Open>,
    metrics: Arc<Rounds<Option<Rendering>>>,
    status: Arc<Rounds<Bytes>>,
    reloads: Arc<Rounds<Reloaded>>,
}

/// A scrape, and the number it is known by.
#[derive(Clone)]
struct Rendering {
    number: u64,
    text: Bytes,
}

/// What a reload did, as it is answered.
#[derive(Clone)]
struct Reloaded {
    status: StatusCode,
    text: Bytes,
}

impl Desk {
    /// `step_back` is called by the threads that may take their time.
    pub fn new(parts: Arc<Parts>, step_back: fn()) -> Arc<Self> {
        let open = Arc::new(Open::new());
        let metrics = {
            let edge = crate::edge::Metrics {
                counters: parts.counters.clone(),
                shared: parts.shared.clone(),
                per_sign: parts.config.admin.per_sign_metrics,
            };
            let collectors: Vec<Arc<dyn Collector>> = vec![
                Arc::new(edge),
                parts.journal.clone(),
                parts.deliveries.clone(),
                parts.publisher.clone(),
                parts.countries.clone(),
                parts.log.clone(),
            ];
            let shown = Metrics::new(&parts.journal.settings().edge, collectors);
            let (open, renderings) = (open.clone(), Renderings::default());
            Rounds::new("metrics", move |_| renderings.add(&shown, &open))
        };
        let status = {
            let parts = parts.clone();
            Rounds::new("status", move |_| format!("{:#}\n", status(&parts)).into())
        };
        let reloads = {
            let parts = parts.clone();
            Rounds::new("reload", move |force| {
                step_back();
                reload(&parts, force)
            })
        };
        Arc::new(Self { parts, open, metrics, status, reloads })
    }

    /// Serves until everything else has ended.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stage: watch::Receiver<Stage>) {
        server::serve(listener, self, stage).await;
    }

    /// Reads the registry again, without waiting for it.
    pub fn reload(&self) {
        if let Err(error) = self.reloads.ask(false) {
            tracing::error!(%error, "the registry can't be reloaded: the system refuses a thread");
        }
    }

    async fn answer(&self, activity: &Activity, request: Request<Incoming>) -> Answer {
        if let Some((status, text)) = self.parts.config.admin.access.refusal(&request) {
            let mut answer = plain(status, text);
            if status == StatusCode::UNAUTHORIZED {
                answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            return answer;
        }
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/reload" if request.method() == Method::POST => self.answer_reload(request.uri().query()).await,
            "/reload" => not_allowed("POST"),
            "/metrics" | "/livez" | "/readyz" | "/status" | "/" if !is_get => not_allowed("GET, HEAD"),
            "/metrics" => match answer_of(self.metrics.ask(false), SOON).await {
                Ok(Some(rendering)) => {
                    activity.rendering.store(rendering.number, Ordering::Relaxed);
                    text(StatusCode::OK, metrics::CONTENT_TYPE, rendering.text)
                }
                Ok(None) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be written down\n"),
                Err(answer) => answer,
            },
            "/status" => match answer_of(self.status.ask(false), SOON).await {
                Ok(status) => text(StatusCode::OK, JSON, status),
                Err(answer) => answer,
            },
            "/livez" => plain(StatusCode::OK, "alive\n"),
            "/readyz" if self.parts.stopping.load(Ordering::Acquire) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
            }
            "/readyz" => plain(StatusCode::OK, "ready\n"),
            "/" => plain(
                StatusCode::OK,
                "GET /metrics /livez /readyz /status, POST /reload (?force=true allows any loss of signs)\n",
            ),
            _ => plain(StatusCode::NOT_FOUND, "404 not found; / lists what there is\n"),
        }
    }

    async fn answer_reload(&self, query: Option<&str>) -> Answer {
        let force = match query.unwrap_or("") {
            "" | "force=false" => false,
            "force" | "force=true" | "force=1" => true,
            _ => return plain(StatusCode::BAD_REQUEST, "only force=true is understood\n"),
        };
        match answer_of(self.reloads.ask(force), RELOADED).await {
            Ok(reloaded) => text(reloaded.status, JSON, reloaded.text),
            Err(answer) => answer,
        }
    }
}

/// What is asked for, or why it does not come in time.
async fn answer_of<T>(asked: std::io::Result<oneshot::Receiver<T>>, patience: Duration) -> Result<T, Answer> {
    let waiting = asked.map_err(|error| {
        plain(StatusCode::SERVICE_UNAVAILABLE, format!("503 the system refuses a thread: {error}\n"))
    })?;
    match tokio::time::timeout(patience, waiting).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(plain(StatusCode::INTERNAL_SERVER_ERROR, "500 it broke off; the log says why\n")),
        Err(_) => {
            let seconds = patience.as_secs();
            Err(plain(StatusCode::SERVICE_UNAVAILABLE, format!("503 not done within {seconds} s, and it goes on\n")))
        }
    }
}

/// The renderings that somebody is still being sent.
#[derive(Default)]
struct Renderings {
    last: AtomicU64,
    sent: Mutex<Vec<Weak<u64>>>,
}

/// A rendering's text, known by its number for as long as it is in memory.
struct Kept {
    text: Vec<u8>,
    _number: Arc<u64>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Renderings {
    /// One more. Where clients don't take theirs, those with the oldest are cut off first.
    fn add(&self, shown: &Metrics, open: &Open) -> Option<Rendering> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.retain(|number| number.strong_count() > 0);
        for oldest in sent.iter().rev().skip(RENDERINGS - 1).filter_map(Weak::upgrade) {
            open.cut_off_from(*oldest);
        }
        let mut text = shown.render().inspect_err(|error| tracing::error!(%error, "no metrics")).ok()?;
        text.shrink_to_fit();
        let number = Arc::new(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        sent.push(Arc::downgrade(&number));
        Some(Rendering { number: *number, text: Bytes::from_owner(Kept { text, _number: number }) })
    }
}

fn reload(parts: &Parts, force: bool) -> Reloaded {
    let result = parts.publisher.reload(force);
    let generation = parts.publisher.current().generation;
    let (status, value) = match result {
        Ok(reload) => {
            let result = if reload == Reload::Published { "published" } else { "unchanged" };
            (StatusCode::OK, json!({ "result": result, "generation": generation }))
        }
        Err(_) => {
            let problems = parts.publisher.state().problems;
            let value = json!({ "result": "refused", "generation": generation, "problems": problems });
            (StatusCode::UNPROCESSABLE_ENTITY, value)
        }
    };
    Reloaded { status, text: format!("{value:#}\n").into() }
}

fn status(parts: &Parts) -> Value {
    let (registry, state, counts) = (parts.publisher.current(), parts.publisher.state(), parts.journal.counts());
    let signs = |status: Status| registry.signs_in(status);
    let dropped: serde_json::Map<String, Value> =
        parts.journal.dropped().into_iter().map(|(reason, count)| (reason.as_str().to_owned(), count.into())).collect();
    let geoip: Vec<Value> = parts
        .countries
        .states()
        .into_iter()
        .map(
            |file| json!({ "path": file.path, "built": file.built.and_then(time_of_seconds), "problem": file.problem }),
        )
        .collect();
    let last_success = parts.deliveries.last_success_ms.load(Ordering::Relaxed);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "edge": parts.journal.settings().edge,
        "started": parts.started.to_string(),
        "listen": parts.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "workers": parts.counters.len(),
        "registry": {
            "generation": registry.generation,
            "content_hash": registry.content_hash_text(),
            "places": registry.places().len(),
            "signs": { "planned": signs(Status::Planned), "active": signs(Status::Active), "retired": signs(Status::Retired) },
            "languages": registry.languages().iter().map(Tag::as_str).collect::<Vec<_>>(),
            "last_reload_successful": state.last_reload_successful,
            "last_success": state.last_success.map(|time| time.to_string()),
            "from_last_good": state.from_last_good,
            "unsettled": state.unsettled,
            "problems": state.problems,
        },
        "scans": {
            "recorded": counts.recorded,
            "recovered": counts.recovered,
            "stored": counts.stored,
            "pending": counts.pending,
            "quarantined": counts.quarantined,
            "lost": { "journal_removed": counts.lost },
            "dropped": dropped,
        },
        "journal": {
            "folder": parts.journal.settings().folder,
            "bytes": counts.bytes,
            "sealed_segments": counts.sealed_segments,
            "deferred_segments": counts.deferred_segments,
            "quarantine_files": parts.journal.quarantined().0,
        },
        "store": {
            "kind": parts.config.store.kind.as_str(),
            "credentials_refused": parts.deliveries.refused.load(Ordering::Relaxed),
            "batches": parts.deliveries.batches.load(Ordering::Relaxed),
            "batches_aside": parts.deliveries.aside.load(Ordering::Relaxed),
            "replaced": parts.deliveries.replaced.load(Ordering::Relaxed),
            "duplicate_batches": parts.deliveries.duplicates.load(Ordering::Relaxed),
            "retries": parts.deliveries.retries.load(Ordering::Relaxed),
            "last_success": (last_success > 0).then(|| time_of_seconds(last_success / 1000)).flatten(),
        },
        "geoip": geoip,
        "definition": DEFINITION,
    })
}

fn time_of_seconds(seconds: u64) -> Option<String> {
    let time = jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(time.to_string())
}

fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, format!("405 only {allow} is answered here\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

const JSON: &str = "application/json";

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    text(status, "text/plain; charset=utf-8", body)
}

fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
