//! `POST /reload`: the tables are read again, now.
//!
//! Owns how a reload is answered: 200 where the tables serve, 422 with every problem where they
//! were refused and the generation before them goes on serving.

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::json;

use crate::source::{Publisher, Reload};
use crate::system::priority;

/// What a reload did, as it is answered.
#[derive(Clone)]
pub(super) struct Reloaded {
    pub status: StatusCode,
    /// JSON.
    pub text: Bytes,
}

/// Whether a query allows any loss of signs; `None` where it is not understood.
pub(super) fn is_forced(query: Option<&str>) -> Option<bool> {
    match query.unwrap_or("") {
        "" | "force=false" => Some(false),
        "force" | "force=true" | "force=1" => Some(true),
        _ => None,
    }
}

/// Reads the tables on this thread, which steps back from here on.
pub(super) fn reload(publisher: &Publisher, force: bool) -> Reloaded {
    priority::step_back();
    let result = publisher.reload(force);
    let generation = publisher.current().generation;
    let (status, value) = match result {
        Ok(reload) => {
            let result = if reload == Reload::Published { "published" } else { "unchanged" };
            (StatusCode::OK, json!({ "result": result, "generation": generation }))
        }
        Err(_) => {
            let problems = publisher.state().problems;
            let value = json!({ "result": "refused", "generation": generation, "problems": problems });
            (StatusCode::UNPROCESSABLE_ENTITY, value)
        }
    };
    Reloaded { status, text: format!("{value:#}\n").into() }
}
