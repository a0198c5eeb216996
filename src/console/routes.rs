//! What there is to ask for, and the right that each takes.
//!
//! Owns the table. Whether an account may do something to a certain area is the handler's to ask, by
//! [`Account::may`](crate::accounts::Account::may).

use std::borrow::Cow;

use super::Visit;
use super::answer::{Answer, Failure};
use super::pages::{
    about, account, accounts, change, changes, history, home, import, map, overrides, place, places, replace, sign,
    signs,
};
use crate::accounts::{Right, Role};

/// Answers a request; what stands behind the `/` of a path that ends so is its second argument, percent-decoded.
type Handler = fn(&Visit<'_>, &str) -> Answer;

/// One thing to ask for. The pages before a sign-in are not here: see `sign_in`.
pub(super) struct Route {
    /// `/signs/` stands for each path below it.
    pub path: &'static str,
    /// What it takes to see it,
    pub see: Right,
    pub get: Handler,
    /// and what to change something there.
    pub change: Option<(Right, Handler)>,
}

/// Everything.
pub(super) const ROUTES: &[Route] = &[
    Route { path: "/", see: Right::See, get: home::get, change: None },
    Route { path: "/signs", see: Right::See, get: signs::get, change: None },
    Route { path: "/signs/", see: Right::See, get: sign::get, change: Some((Right::Propose, sign::post)) },
    Route { path: "/places", see: Right::See, get: places::get, change: None },
    Route { path: "/places/", see: Right::See, get: place::get, change: Some((Right::Propose, place::post)) },
    Route { path: "/about/", see: Right::Propose, get: about::get, change: Some((Right::Propose, about::post)) },
    Route { path: "/map", see: Right::See, get: map::get, change: None },
    Route { path: "/changes", see: Right::See, get: changes::get, change: None },
    Route { path: "/changes/", see: Right::See, get: change::get, change: Some((Right::Propose, change::post)) },
    Route { path: "/replace", see: Right::Propose, get: replace::get, change: Some((Right::Propose, replace::post)) },
    Route { path: "/overrides", see: Right::See, get: overrides::get, change: Some((Right::Propose, overrides::post)) },
    Route { path: "/import", see: Right::Propose, get: import::get, change: Some((Right::Propose, import::post)) },
    Route { path: "/history", see: Right::See, get: history::get, change: None },
    Route {
        path: "/accounts",
        see: Right::ManageAccounts,
        get: accounts::get,
        change: Some((Right::ManageAccounts, accounts::post)),
    },
    Route { path: "/account", see: Right::See, get: account::get, change: Some((Right::See, account::post)) },
];

/// The route of a path, and what stands behind it.
pub(super) fn find(path: &str) -> Result<(&'static Route, String), Failure> {
    let decoded = |rest: &str| percent_encoding::percent_decode_str(rest).decode_utf8().ok().map(Cow::into_owned);
    for route in ROUTES {
        if path == route.path {
            return Ok((route, String::new()));
        }
        if route.path.len() > 1
            && route.path.ends_with('/')
            && let Some(rest) = path.strip_prefix(route.path).filter(|rest| !rest.is_empty())
        {
            return decoded(rest).map(|rest| (route, rest)).ok_or(Failure::NotFound);
        }
    }
    Err(Failure::NotFound)
}

/// Which role may see and change what, as a table in Markdown: made from the routes and from what roles have.
/// An account's areas narrow it.
#[must_use]
pub fn matrix() -> String {
    let mut text = String::from("| page |");
    for role in Role::ALL {
        text.push_str(&format!(" {} |", role.as_str()));
    }
    text.push_str(&format!("\n|---|{}\n", "---|".repeat(Role::ALL.len())));
    for route in ROUTES {
        let rest = if route.path.len() > 1 && route.path.ends_with('/') { "…" } else { "" };
        text.push_str(&format!("| `{}{rest}` |", route.path));
        for role in Role::ALL {
            let changes = route.change.is_some_and(|(right, _)| role.has(right));
            let cell = if changes {
                "sees, changes"
            } else if role.has(route.see) {
                "sees"
            } else {
                "–"
            };
            text.push_str(&format!(" {cell} |"));
        }
        text.push('\n');
    }
    text
}
