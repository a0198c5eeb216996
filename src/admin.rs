//! The admin port: metrics, health, status, reload.
//!
//! Owns the operator's HTTP, on the control thread and away from visitors; loopback
//! unless told otherwise, since it has no password.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::app::Parts;
use crate::metrics;
use crate::observe::DEFINITION;
use crate::registry::{Reload, Status, Tag};

/// A request's head must come within this time.
const HEAD_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// Answers are text.
type Answer = Response<Full<Bytes>>;

/// Serves until the runtime ends.
pub async fn serve(listener: TcpListener, parts: Arc<Parts>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "an admin connection can't be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let parts = parts.clone();
        let service = service_fn(move |request| answer(parts.clone(), request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an admin connection broke off");
            }
        });
    }
}

async fn answer(parts: Arc<Parts>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    let answer = match request.uri().path() {
        "/reload" if request.method() == Method::POST => reload(parts, request.uri().query()).await,
        "/reload" => not_allowed("POST"),
        "/metrics" | "/livez" | "/readyz" | "/status" | "/" if !is_get => not_allowed("GET, HEAD"),
        "/metrics" => match metrics::render(&parts) {
            Ok(body) => text(StatusCode::OK, metrics::CONTENT_TYPE, body),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        "/livez" => plain(StatusCode::OK, "alive\n"),
        "/readyz" if parts.stopping.load(Ordering::Acquire) => plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        "/readyz" => plain(StatusCode::OK, "ready\n"),
        "/status" => as_json(StatusCode::OK, &status(&parts)),
        "/" => plain(
            StatusCode::OK,
            "GET /metrics /livez /readyz /status, POST /reload (?force=true allows any loss of signs)\n",
        ),
        _ => plain(StatusCode::NOT_FOUND, "404 not found; / lists what there is\n"),
    };
    Ok(answer)
}

async fn reload(parts: Arc<Parts>, query: Option<&str>) -> Answer {
    let force = match query.unwrap_or("") {
        "" | "force=false" => false,
        "force" | "force=true" | "force=1" => true,
        _ => return plain(StatusCode::BAD_REQUEST, "only force=true is understood\n"),
    };
    let keeper = parts.keeper.clone();
    let result = tokio::task::spawn_blocking(move || keeper.reload(force)).await;
    let generation = parts.keeper.current().generation;
    match result {
        Ok(Ok(reload)) => {
            let result = if reload == Reload::Published { "published" } else { "unchanged" };
            as_json(StatusCode::OK, &json!({ "result": result, "generation": generation }))
        }
        Ok(Err(_)) => {
            let problems = parts.keeper.state().problems;
            as_json(
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!({ "result": "refused", "generation": generation, "problems": problems }),
            )
        }
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn status(parts: &Parts) -> Value {
    let (registry, state, counts) = (parts.keeper.current(), parts.keeper.state(), parts.journal.counts());
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

fn as_json(status: StatusCode, value: &Value) -> Answer {
    text(status, "application/json", format!("{value:#}\n"))
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    text(status, "text/plain; charset=utf-8", body)
}

fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
