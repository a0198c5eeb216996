//! `/`: what waits, what was refused, what is to come, how everything is.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::super::Visit;
use super::super::answer::{Answer, Failure};
use super::super::beside::{entry_line, set_line};
use super::super::elements::{People, Tone, notice, place_link, sign_link, time};
use super::super::figures::Snapshot;
use super::super::lists::last_scan;
use super::super::page::page;
use super::super::search::{last_of, state_of};
use super::super::words;
use super::changes::waiting;
use crate::accounts::Right;
use crate::changes::{ChangeSet, State};
use crate::health;
use crate::history::{Action, Entry, Filter, list};
use crate::registry::{self, SignRef, Status};

/// Rows of each list; the rest is a link away.
const MOST: usize = 8;
/// How long a refusal is shown.
const NEWS: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Sets that are looked at for each list.
const LOOKED_AT: usize = 1000;

pub(in crate::console) fn get(visit: &Visit<'_>, _rest: &str) -> Answer {
    let language = visit.language;
    let figures = visit.parts.figures.snapshot();
    let people = People::of(visit)?;
    let changes = &visit.parts.changes;
    let sets = |state: State| changes.list(&[state], 0, LOOKED_AT).map_err(Failure::from);
    let mine = |sets: Vec<ChangeSet>| -> Vec<ChangeSet> {
        sets.into_iter().filter(|set| set.author == visit.account.number).collect()
    };
    let submitted = sets(State::Submitted)?;
    let sent = mine(submitted.clone());
    let submitted = waiting(visit, submitted)?;
    // Nobody has to do anything with it: it is shown for as long as it is news.
    let is_news = |set: &ChangeSet| set.decided.is_none_or(|decided| decided > visit.now - NEWS);
    let refused: Vec<ChangeSet> = mine(sets(State::Refused)?).into_iter().filter(is_news).collect();
    let mut to_come: Vec<ChangeSet> =
        sets(State::Approved)?.into_iter().filter(|set| set.effective.is_some()).collect();
    to_come.sort_by_key(|set| (set.effective, set.number));
    let outside = outside(visit)?;
    let lists = [
        (language.say("Chờ bạn phê duyệt", "For you to approve"), "/changes?waits=1", submitted),
        (
            language.say("Bạn đã gửi, chờ phê duyệt", "Sent by you, waiting for approval"),
            "/changes?state=submitted&mine=1",
            sent,
        ),
        (language.say("Bản nháp của bạn", "Your drafts"), "/changes?state=draft&mine=1", mine(sets(State::Draft)?)),
        (language.say("Bị từ chối", "Refused"), "/changes?state=refused&mine=1", refused),
        (language.say("Xung đột", "In conflict"), "/changes?state=conflict&mine=1", mine(sets(State::Conflict)?)),
        (language.say("Sẽ được áp dụng", "To be applied"), "/changes?state=approved", to_come),
    ];
    let is_idle = lists.iter().all(|(_, _, sets)| sets.is_empty());
    let main = html! {
        form.search role="search" method="get" action="/signs" {
            input name="q" type="search" autocomplete="off" aria-label=(language.say("Tìm biển", "Find a sign"))
                placeholder=(language.say("Tên, mã, địa chỉ cũ", "Name, code, old address"));
            button.primary { (language.say("Tìm", "Find")) }
        }
        (health_line(visit, &figures))
        div.columns {
            div.stack {
                @if is_idle {
                    section {
                        h2 { (language.say("Việc của bạn", "Your work")) }
                        p.soft { (language.say("Không có việc nào đang chờ bạn.", "Nothing waits for you.")) }
                        @if visit.account.role.has(Right::Propose) {
                            p { (language.say("Để trỏ một biển sang trang khác, hãy tìm biển đó ở trên.", "To point a sign elsewhere, find it above.")) }
                        }
                    }
                }
                @for (title, all, sets) in &lists { (set_list(visit, &people, title, all, sets)) }
            }
            div.stack {
                (silent(visit, &figures))
                @if !outside.is_empty() {
                    section {
                        h2 { (language.say("Thay đổi ngoài trang quản trị", "Changed outside the console")) }
                        ul.waiting { @for entry in &outside { li { (entry_line(visit, &people, entry)) } } }
                        p { a href="/history?action=outside" { (language.say("Xem tất cả", "Show all")) } }
                    }
                }
            }
        }
    };
    Ok(page(visit, language.say("Trang đầu", "Home"), main))
}

fn set_list(visit: &Visit<'_>, people: &People, title: &str, all: &str, sets: &[ChangeSet]) -> Markup {
    html! {
        @if !sets.is_empty() {
            section {
                h2 { (title) " (" (sets.len()) ")" }
                ul.waiting {
                    @for set in sets.iter().take(MOST) {
                        li {
                            (set_line(visit, people, set))
                            @if !set.remark.is_empty() { p { bdi { (set.remark) } } }
                        }
                    }
                }
                @if sets.len() > MOST { p { a href=(all) { (visit.language.say("Xem tất cả", "Show all")) } } }
            }
        }
    }
}

/// The last changes of the tables that were made elsewhere.
fn outside(visit: &Visit<'_>) -> Result<Vec<Entry>, Failure> {
    let filter = Filter { actions: vec![Action::Outside], ..Filter::default() };
    visit.parts.database.read(|connection| list(connection, &filter, 0, 3)).map_err(Failure::from)
}

/// How everything is, in one line of words that an office understands. What does not work stands in the frame of every page.
fn health_line(visit: &Visit<'_>, figures: &Snapshot) -> Markup {
    let language = visit.language;
    let (registry, state) = (&visit.registry, visit.parts.publisher.state());
    let active = registry.signs_in(Status::Active);
    let since = i64::try_from(registry.generation).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let body = html! {
        p {
            (language.say("Biển đang hoạt động: ", "Signs are served: ")) strong { (language.number(active as u64)) }
            " " (language.say("biển đang sử dụng", "active")) ", "
            (language.number(registry.places().len() as u64)) " " (language.count(registry.places().len(), "địa điểm", "place", "places")) ". "
            @if let Some(since) = since {
                (language.say("Bảng có hiệu lực từ", "The tables hold since")) " " (time(visit, since)) ". "
            }
            @match figures.taken {
                Some(taken) => { (language.say("Số liệu lúc", "Figures as of")) " " (time(visit, taken)) "." },
                None => { (language.say("Chưa có số liệu lượt quét.", "Nothing is known of scans yet.")) },
            }
        }
    };
    let body = html! {
        (body)
        // All of them have a target: nothing is to be done.
        @if registry.places_with(registry::Answer::Target) < registry.places().len() {
            p {
                (language.say("Địa điểm dẫn đến", "Places lead to")) ": "
                @for (at, answer) in registry::Answer::ALL.into_iter().enumerate() {
                    @if at > 0 { ", " }
                    a href={ "/places?answer=" (answer.as_str()) } { (words::answer(language, answer)) }
                    " (" (language.number(registry.places_with(answer) as u64)) ")"
                }
                "."
            }
        }
    };
    let is_well = state.last_reload_successful && !state.from_last_good && figures.problem.is_none();
    notice(if is_well { Tone::Good } else { Tone::Info }, "", body)
}

/// Signs that went silent, the latest scan first: those may still be mended.
fn silent(visit: &Visit<'_>, figures: &Snapshot) -> Markup {
    let language = visit.language;
    let is_silent = |sign: &SignRef<'_>| state_of(*sign, figures) == Some(health::State::Silent);
    let mut silent: Vec<SignRef<'_>> =
        if figures.has_states { visit.registry.signs().filter(is_silent).collect() } else { Vec::new() };
    silent.sort_by_key(|sign| (std::cmp::Reverse(last_of(sign.code(), figures)), sign.code()));
    html! {
        section {
            h2 {
                (language.say("Biển im lặng", "Silent signs"))
                @if figures.has_states { " (" (language.number(silent.len() as u64)) ")" }
            }
            @if !figures.has_states {
                p.soft {
                    (language.say("Chưa biết: tình trạng hoạt động được tính mỗi ngày một lần, và chưa được tính kể từ khi dịch vụ khởi động.",
                        "Nothing is known yet: it is computed once a day, and has not been since the service started."))
                }
            } @else if silent.is_empty() {
                p.soft { (language.say("Không có biển nào im lặng bất thường.", "No sign is unusually silent.")) }
            } @else {
                p.soft {
                    (language.say("Lâu không được quét so với thường lệ: có thể biển bị che, hỏng hoặc mất.",
                        "Not scanned for unusually long: the plate may be covered, broken or gone."))
                }
                ul.waiting {
                    @for sign in silent.iter().take(MOST) {
                        li {
                            p { (sign_link(sign.code())) " " (place_link(visit, sign.place())) }
                            p.soft { (language.say("quét gần nhất:", "last scan:")) " " (last_scan(visit, last_of(sign.code(), figures))) }
                        }
                    }
                }
                p { a href="/signs?state=silent" { (language.say("Xem tất cả", "Show all")) } }
            }
        }
    }
}
