//! The few responses that are ever sent.
//!
//! Owns status lines and headers. A redirect allocates nothing in the long run: the
//! request's header map is emptied and sent back as the response's, which hyper keeps
//! for the next request, and the target is copied into a buffer that is free again
//! once the response is written.

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue,
    LOCATION, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
};

/// A response as hyper takes it: its body is one piece of memory.
pub type Response = hyper::Response<Full<Bytes>>;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const ZERO: HeaderValue = HeaderValue::from_static("0");
const BY_LANGUAGE: HeaderValue = HeaderValue::from_static("Accept-Language");

/// Makes redirects, for one worker.
#[derive(Debug, Default)]
pub(super) struct Redirects {
    buffer: BytesMut,
}

impl Redirects {
    /// `302 Found` to a target. `headers` is the request's map, to be used again.
    pub fn found(&mut self, mut headers: HeaderMap, url: &str, several_languages: bool, is_head: bool) -> Response {
        headers.clear();
        self.buffer.extend_from_slice(url.as_bytes());
        let location = self.buffer.split().freeze();
        // Targets are checked ASCII, so this never fails; if it did, a visitor would get an empty page.
        if let Ok(location) = HeaderValue::from_maybe_shared(location) {
            headers.insert(LOCATION, location);
        }
        headers.insert(CACHE_CONTROL, NO_STORE);
        // hyper writes it for a GET, without an entry in the map.
        if is_head {
            headers.insert(CONTENT_LENGTH, ZERO);
        }
        if several_languages {
            headers.insert(VARY, BY_LANGUAGE);
        }
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::FOUND;
        *response.headers_mut() = headers;
        response
    }
}

/// One of our own pages; `several_languages` where there is another for a visitor of another language.
pub(super) fn page(status: StatusCode, html: String, several_languages: bool) -> Response {
    let mut response = body(status, "text/html; charset=utf-8", html);
    let headers = response.headers_mut();
    if several_languages {
        headers.insert(VARY, BY_LANGUAGE);
    }
    // No script, nothing fetched from elsewhere, no frame around it.
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// A short text that caches may keep for a day.
pub(super) fn fixed(content_type: &'static str, text: &'static str) -> Response {
    let mut response = body(StatusCode::OK, content_type, text);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    response
}

/// The answer to an ACME server's challenge (RFC 8555 section 8.3).
pub(super) fn challenge(bytes: Vec<u8>) -> Response {
    body(StatusCode::OK, "application/octet-stream", bytes)
}

/// `404 Not Found`, for a path that is neither a code, an alias nor a page of ours.
pub(super) fn not_found() -> Response {
    body(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 not found\n")
}

/// `405 Method Not Allowed`.
pub(super) fn method_not_allowed() -> Response {
    let mut response =
        body(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "405 only GET and HEAD are answered\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// A redirect to another page of ours, or to the configured home.
pub(super) fn redirect(status: StatusCode, location: &str) -> Response {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    match HeaderValue::from_str(location) {
        Ok(location) => headers.insert(LOCATION, location),
        Err(_) => return not_found(),
    };
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(CONTENT_LENGTH, ZERO);
    response
}

/// Says that the connection ends with this response.
pub(super) fn closing(response: &mut Response) {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

/// Says that this host is to be asked by https alone (RFC 6797); `policy` says for how long.
pub(super) fn strict_transport(response: &mut Response, policy: &HeaderValue) {
    response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, policy.clone());
}

fn body(status: StatusCode, content_type: &'static str, text: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // Those of a page and of its connection, at once.
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
