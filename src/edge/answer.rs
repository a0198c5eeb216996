//! The few responses that are ever sent.
//!
//! Owns status lines and headers. A redirect allocates nothing in the long run: the
//! request's header map is emptied and sent back as the response's, which hyper keeps
//! for the next request, and the target is copied into a buffer that is free again
//! once the response is written.

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName,
    HeaderValue, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

/// What goes back to hyper.
pub type Answer = Response<Full<Bytes>>;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const ZERO: HeaderValue = HeaderValue::from_static("0");
const BY_LANGUAGE: HeaderValue = HeaderValue::from_static("Accept-Language");

/// Makes redirects, for one worker.
#[derive(Debug, Default)]
pub(super) struct Redirects {
    buffer: BytesMut,
}

impl Redirects {
    /// `302` to a target. `headers` is the request's map, to be used again.
    pub fn found(&mut self, mut headers: HeaderMap, url: &str, several_languages: bool, is_head: bool) -> Answer {
        headers.clear();
        self.buffer.extend_from_slice(url.as_bytes());
        let location = self.buffer.split().freeze();
        // Targets are checked ASCII, so this never fails; if it did, a visitor would get an empty page.
        if let Ok(location) = HeaderValue::from_maybe_shared(location) {
            headers.insert(LOCATION, location);
        }
        headers.insert(CACHE_CONTROL, NO_STORE);
        // hyper writes it for a GET, without a place in the map.
        if is_head {
            headers.insert(CONTENT_LENGTH, ZERO);
        }
        if several_languages {
            headers.insert(VARY, BY_LANGUAGE);
        }
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::FOUND;
        *answer.headers_mut() = headers;
        answer
    }
}

/// One of our own pages.
pub(super) fn page(status: StatusCode, html: String) -> Answer {
    let mut answer = body(status, "text/html; charset=utf-8", html);
    let headers = answer.headers_mut();
    headers.insert(VARY, BY_LANGUAGE);
    // No script, nothing fetched from elsewhere, no frame around it.
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

/// A short text that may be kept for a day.
pub(super) fn fixed(content_type: &'static str, text: &'static str) -> Answer {
    let mut answer = body(StatusCode::OK, content_type, text);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    answer
}

/// `404` for what is nobody's.
pub(super) fn nothing() -> Answer {
    body(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 not found\n")
}

/// `405`.
pub(super) fn method_not_allowed() -> Answer {
    let mut answer =
        body(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "405 only GET and HEAD are answered\n");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

/// A redirect to another page of ours, or to the configured home.
pub(super) fn elsewhere(status: StatusCode, location: &str) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    match HeaderValue::from_str(location) {
        Ok(location) => headers.insert(LOCATION, location),
        Err(_) => return nothing(),
    };
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(CONTENT_LENGTH, ZERO);
    answer
}

/// Says that the connection ends with this answer.
pub(super) fn closing(answer: &mut Answer) {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

fn body(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let set = |headers: &mut HeaderMap, name: HeaderName, value: HeaderValue| headers.insert(name, value);
    set(headers, CONTENT_TYPE, HeaderValue::from_static(content_type));
    set(headers, CACHE_CONTROL, NO_STORE);
    set(headers, X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
