//! What a handler gives.

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use maud::Markup;

use crate::changes::ChangeError;
use crate::history::DatabaseError;

pub(super) use crate::web::Response;

/// A response, or why there is none; the page of a failure is made in one place.
pub(super) type Answer = Result<Response, Failure>;

/// Why a request gets no page of its own. Texts for people are in the page's language.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// There is no such page, sign, place, set.
    #[error("not found")]
    NotFound,
    /// It can be looked at, and nothing can be done there.
    #[error("nothing can be done here")]
    NotAllowed,
    /// The account may not do this; what it would take.
    #[error("{0}")]
    Forbidden(String),
    /// What was entered can't be used: all of it, a line each.
    #[error("{}", .0.join("\n"))]
    Wrong(Vec<String>),
    /// Something can't be done to a set, as others have done something to it.
    #[error(transparent)]
    Change(ChangeError),
    /// The console's file fails.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NoSuch(_) => Self::NotFound,
            ChangeError::Database(error) => Self::Database(error),
            ChangeError::Sqlite(error) => Self::Database(error.into()),
            error => Self::Change(error),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

/// A page.
pub(super) fn html(status: StatusCode, page: Markup) -> Response {
    body(status, "text/html; charset=utf-8", page.into_string())
}

/// Any text or file.
pub(super) fn body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Whether a path that a form has is one of ours. Browsers take `//host` and `/\host` for another site, and take tabs out
/// before they look.
pub(super) fn is_ours(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| !rest.starts_with(['/', '\\'])) && path.bytes().all(|byte| byte > b' ')
}

/// After a form: to a page of ours (a path).
pub(super) fn see_other(path: &str) -> Response {
    let mut response = body(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "");
    // Paths are made here, percent-encoded.
    let location = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, location);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_to_no_other_site() {
        for (path, expected) in [
            ("/", true),
            ("/signs?q=x", true),
            ("/địa-điểm", true),
            ("", false),
            ("signs", false),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("/\t/evil.example", false),
            ("/x\r\nX: y", false),
            ("https://evil.example", false),
        ] {
            assert_eq!(is_ours(path), expected, "{path:?}");
        }
    }
}
