//! `/changes`: change sets.
//!
//! Owns the list and its filters, which are all in the address: `state` (`open` where there is none, `all`, or one
//! state), `mine` and `waits`. Those that were applied first and nobody has reviewed stand above it, as on every page.

use std::collections::{BTreeSet, HashMap, HashSet};

use hyper::StatusCode;
use maud::{Markup, html};

use super::super::Visit;
use super::super::answer::{Answer, Failure};
use super::super::areas::{Areas, scope};
use super::super::elements::{
    Button, Field, People, Tone, badge, button, notice, pager, state_badge, table, tick, time,
};
use super::super::page::page_with;
use super::super::tables::tables;
use super::super::words;
use crate::accounts::Right;
use crate::changes::{ChangeSet, State};
use crate::core::Code;
use crate::registry::Registry;
use crate::source::{CellChange, Sources, TableName};

/// Sets on one page.
const PAGE: usize = 25;
/// The newest sets among which the filters look.
const MOST: usize = 10_000;
/// Every state, in the order of a set's life.
const STATES: [State; 7] = [
    State::Draft,
    State::Submitted,
    State::Approved,
    State::Applied,
    State::Refused,
    State::Withdrawn,
    State::Conflict,
];
/// Those in which somebody has to do something, or time has to pass.
const OPEN: [State; 4] = [State::Draft, State::Submitted, State::Approved, State::Conflict];

pub(in crate::console) fn get(visit: &Visit<'_>, _rest: &str) -> Answer {
    let language = visit.language;
    let changes = &visit.parts.changes;
    let waits = visit.fields.has("waits");
    let found = changes.list(&states(visit.fields.get("state"), waits), 0, MOST)?;
    let is_mine = |set: &ChangeSet| !visit.fields.has("mine") || set.author == visit.account.number;
    let mut found: Vec<ChangeSet> = found.into_iter().filter(is_mine).collect();
    if waits {
        found = waiting(visit, found)?;
    }
    let pages = found.len().div_ceil(PAGE);
    let page = visit.fields.get("page").parse().unwrap_or(1).clamp(1, pages.max(1));
    let people = People::of(visit)?;
    let signs = SignsOf::new(&visit.registry);
    let mut rows = Vec::new();
    for set in found.iter().skip((page - 1) * PAGE).take(PAGE) {
        // The list has no cells.
        let cells = changes.get(set.number)?.cells;
        rows.push(row(visit, &people, set, &cells, signs.touched(&cells)));
    }
    let heads = [
        language.say("Đề xuất", "Change set"),
        language.say("Lý do", "Reason"),
        language.say("Tình trạng", "State"),
        language.say("Người soạn", "Author"),
        language.say("Thay đổi", "Changes"),
        language.say("Thời gian", "Times"),
    ];
    let title = language.say("Đề xuất thay đổi", "Change sets");
    let main = html! {
        (filters(visit))
        @if rows.is_empty() {
            (notice(Tone::Info, "", html! {
                p { (language.say("Không có đề xuất nào.", "There are none.")) }
                @if visit.account.role.has(Right::Propose) {
                    p {
                        (language.say("Muốn lập đề xuất, hãy mở một", "To make one, open a")) " "
                        a href="/signs" { (language.say("biển", "sign")) } " " (language.say("hoặc", "or")) " "
                        a href="/places" { (language.say("địa điểm", "place")) } "."
                    }
                }
            }))
        } @else {
            (table(title, &heads, rows))
        }
        (pager(visit, page, pages))
    };
    Ok(page_with(visit, StatusCode::OK, title, main))
}

/// The states that a filter means.
fn states(filter: &str, waits: bool) -> Vec<State> {
    if waits {
        return vec![State::Submitted];
    }
    match STATES.into_iter().find(|state| state.as_str() == filter) {
        Some(state) => vec![state],
        None if filter == "all" => STATES.to_vec(),
        None => OPEN.to_vec(),
    }
}

/// Submitted sets of others that the account may approve.
pub(in crate::console) fn waiting(visit: &Visit<'_>, submitted: Vec<ChangeSet>) -> Result<Vec<ChangeSet>, Failure> {
    if !visit.account.role.has(Right::Approve) {
        return Ok(Vec::new());
    }
    // Where the tables can't be read, the areas are those that serve.
    let tables = tables(visit).unwrap_or_else(|_| Sources::default());
    let areas = Areas::of(&visit.registry, &tables);
    let mut waiting = Vec::new();
    for set in submitted.into_iter().filter(|set| set.author != visit.account.number) {
        let cells = visit.parts.changes.get(set.number)?.cells;
        let touched: BTreeSet<String> = areas.touched(&cells);
        if visit.account.may(Right::Approve, touched.iter().map(String::as_str)) {
            waiting.push(set);
        }
    }
    Ok(waiting)
}

/// Signs of each place, to count those that a set touches.
struct SignsOf<'r> {
    registry: &'r Registry,
    of_place: HashMap<&'r str, usize>,
}

impl<'r> SignsOf<'r> {
    fn new(registry: &'r Registry) -> Self {
        let mut of_place = HashMap::new();
        for sign in registry.signs() {
            *of_place.entry(sign.place().id()).or_default() += 1;
        }
        Self { registry, of_place }
    }

    /// Signs that have a changed row, or whose place has one.
    fn touched(&self, cells: &[CellChange]) -> usize {
        let (mut places, mut codes) = (HashSet::new(), HashSet::new());
        for cell in cells {
            let key = if cell.table == TableName::Overrides { scope(&cell.key) } else { &cell.key };
            match (cell.table, key.parse::<Code>()) {
                (TableName::Signs, Ok(code)) => {
                    codes.insert(code);
                }
                (TableName::Overrides, Ok(code)) if self.registry.place(key).is_none() => {
                    codes.insert(code);
                }
                _ => {
                    places.insert(key);
                }
            }
        }
        let home = |code: &&Code| self.registry.sign(**code).map(|sign| sign.place().id());
        let alone = codes.iter().filter(|code| home(code).is_none_or(|home| !places.contains(home))).count();
        alone + places.iter().filter_map(|place| self.of_place.get(place)).sum::<usize>()
    }
}

fn row(visit: &Visit<'_>, people: &People, set: &ChangeSet, cells: &[CellChange], signs: usize) -> Vec<Markup> {
    let language = visit.language;
    let when = |label: &str, at: Option<jiff::Timestamp>| {
        html! {
            @if let Some(at) = at { div { span.hint { (label) } " " (time(visit, at)) } }
        }
    };
    vec![
        html! { a href={ "/changes/" (set.number) } { (language.say("Đề xuất", "Change set")) " " (set.number) } },
        html! {
            bdi { (set.reason) }
            @if let Some(undoes) = set.undoes {
                " " span.soft { "(" (language.say("hoàn tác", "undoes")) " " a href={ "/changes/" (undoes) } { (undoes) } ")" }
            }
        },
        html! {
            div {
                (state_badge(language, set))
                @if set.applies_first && set.reviewed.is_none() {
                    " " (badge(Tone::Danger, language.say("chưa ai xem lại", "not reviewed yet")))
                }
            }
        },
        people.person(set.author),
        html! {
            (language.number(cells.len() as u64)) " " (language.count(cells.len(), "ô, liên quan", "cell, touches", "cells, touch")) " "
            (language.number(signs as u64)) " " (language.count(signs, "biển", "sign", "signs"))
        },
        html! {
            div {
                (when(language.say("soạn", "made"), Some(set.created)))
                (when(language.say("gửi", "submitted"), set.submitted))
                @if set.state == State::Approved || set.state == State::Submitted || set.state == State::Draft {
                    (when(language.say("áp dụng lúc", "to be applied"), set.effective))
                }
                (when(language.say("đã áp dụng", "applied"), set.applied))
            }
        },
    ]
}

fn filters(visit: &Visit<'_>) -> Markup {
    let language = visit.language;
    let fields = &visit.fields;
    let mut options =
        vec![("", language.say("Chưa kết thúc", "Not at their end")), ("all", language.say("Tất cả", "All"))];
    options.extend(STATES.map(|state| (state.as_str(), words::change_state(language, state))));
    html! {
        form.filters method="get" action="/changes" {
            (Field { name: "state", label: language.say("Tình trạng", "State"), value: fields.get("state"), ..Field::default() }.choice(options))
            (tick("mine", "1", html! { (language.say("Của tôi", "Mine")) }, fields.has("mine")))
            @if visit.account.role.has(Right::Approve) {
                (tick("waits", "1", html! { (language.say("Chờ tôi phê duyệt", "Waits for my approval")) }, fields.has("waits")))
            }
            div.row { (button(Button::Plain, "", "", language.say("Lọc", "Filter"))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::trial::{self, change};

    #[test]
    fn a_filter_means_states() {
        assert_eq!(states("", false), OPEN);
        assert_eq!(states("nonsense", false), OPEN);
        assert_eq!(states("all", false), STATES);
        assert_eq!(states("refused", false), [State::Refused]);
        assert_eq!(states("refused", true), [State::Submitted]);
    }

    #[test]
    fn signs_are_counted_once() {
        use TableName::{Overrides, Places, Signs};
        let registry = trial::registry(&trial::tables());
        let touched = |cells: &[CellChange]| SignsOf::new(&registry).touched(cells);
        assert_eq!(
            touched(&[change(Places, "p1", "target", "a", "b"), change(Places, "p1", "target:en", "a", "b")]),
            2
        );
        assert_eq!(touched(&[change(Places, "p1", "note", "", "b"), change(Signs, "AAAA1111", "note", "", "b")]), 2);
        assert_eq!(
            touched(&[change(Signs, "AAAA1111", "note", "", "b"), change(Signs, "ZZZZ9999", "note", "", "b")]),
            2
        );
        assert_eq!(touched(&[change(Overrides, "AAAA1111 2027-01-01T00:00", "until", "", "b")]), 1);
        assert_eq!(touched(&[change(Overrides, "p2 2026-12-31T00:00", "until", "", "b")]), 1);
    }
}
