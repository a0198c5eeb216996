//! The frame of every page: head, navigation, what everybody must see.

use hyper::StatusCode;
use maud::{DOCTYPE, Markup, html};

use super::Visit;
use super::answer::{self, Response};

/// A page of somebody who is signed in.
pub(super) fn page(visit: &Visit<'_>, title: &str, main: Markup) -> Response {
    let language = visit.language;
    answer::html(
        StatusCode::OK,
        html! {
            (DOCTYPE)
            html lang=(language.tag()) {
                head { meta charset="utf-8"; meta name="viewport" content="width=device-width"; title { (title) } }
                body { main { h1 { (title) } (main) } }
            }
        },
    )
}
