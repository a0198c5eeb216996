//! `/places/ID`: one place, where it leads and why, its signs, how they are used, what is to come and what was done.

use hyper::StatusCode;
use maud::{Markup, html};

use super::super::Visit;
use super::super::answer::{Answer, Failure};
use super::super::beside::{history, leads, own_page, pending, periods};
use super::super::chart;
use super::super::elements::{about_path, facts, prose, table, text_or_dash, url_link};
use super::super::figures::Snapshot;
use super::super::forms::{Refusal, may_not_propose};
use super::super::language::date_text;
use super::super::lists::{days_of, health_badge, last_scan, sign_cell, status_badge};
use super::super::page::page_with;
use super::super::repoint::{self, Subject};
use super::super::search::{last_of, state_of};
use super::super::words;
use crate::core::{Code, date_of};
use crate::registry::{self, PlaceRef, SignRef, Status};
use crate::source::TableName;

/// Signs that are shown; a link leads to all of them.
const MOST: usize = 100;

pub(in crate::console) fn get(visit: &Visit<'_>, rest: &str) -> Answer {
    show(visit, visit.registry.place(rest).ok_or(Failure::NotFound)?, None)
}

pub(in crate::console) fn post(visit: &Visit<'_>, rest: &str) -> Answer {
    let place = visit.registry.place(rest).ok_or(Failure::NotFound)?;
    repoint::take(visit, Subject::Place(place))
        .unwrap_or_else(|problems| show(visit, place, Some(&Refusal { fields: &visit.fields, problems })))
}

fn show(visit: &Visit<'_>, place: PlaceRef<'_>, refusal: Option<&Refusal<'_>>) -> Answer {
    let language = visit.language;
    let figures = visit.parts.figures.snapshot();
    let signs: Vec<SignRef<'_>> = visit.registry.signs().filter(|sign| sign.place().id() == place.id()).collect();
    let days: Vec<_> = signs.iter().map(|sign| days_of(sign.code(), &figures)).collect();
    let own = signs.iter().filter(|sign| sign.own_targets().is_some()).count();
    let mut objects = vec![format!("places {}", place.id())];
    objects.extend(signs.iter().take(MOST).map(|sign| format!("signs {}", sign.code().text())));
    let follows = signs.iter().find(|sign| sign.status() != Status::Retired && sign.own_targets().is_none());
    let follows = follows.map(|sign| sign.code());
    let form = repoint::form(visit, Subject::Place(place), refusal);
    let main = html! {
        div.columns {
            div.stack {
                // What is wrong is at the top of the page.
                @if refusal.is_some() { (form) }
                section {
                    h2 { (language.say("Đang dẫn đến", "Leads to")) }
                    @match place.overrides().filter(|period| holds(visit, period.from_ms, period.until_ms)).last() {
                        Some(period) => {
                            (leads(language, &period.targets))
                            p.soft { (language.say("Vì:", "Why:")) " " (words::source(language, period.targets.source())) }
                            h3 { (language.say("Bình thường dẫn đến", "Usually leads to")) }
                            (usual(visit, place, None))
                        }
                        None => (usual(visit, place, follows)),
                    }
                    @if own > 0 {
                        p.soft {
                            (language.number(own as u64)) " "
                            (language.say("biển có trang đích riêng và không đi theo địa điểm.", "signs have a target of their own and do not follow the place."))
                        }
                    }
                    (periods(visit, place.overrides()))
                }
                (told(visit, place))
                @if refusal.is_none() { (form) }
                section {
                    h2 { (language.say("Lượt quét của mọi biển", "Use of all its signs")) }
                    @if figures.taken.is_some() { (chart::large(language, &chart::sum(days.iter()), figures.today)) }
                    @else { p.soft { (language.say("Chưa có số liệu.", "Nothing is known yet.")) } }
                }
            }
            div.stack {
                section { h2 { (language.say("Địa điểm", "Place")) } (card(visit, place, &signs)) }
                (pending(visit, &[(TableName::Places, place.id().to_owned())])?)
                (history(visit, objects, &format!("/history?row={}", place.id()))?)
            }
        }
        section {
            h2 { (language.say("Biển", "Signs")) " (" (language.number(signs.len() as u64)) ")" }
            (list(visit, &signs, &figures))
            @if signs.len() > MOST {
                p { a href={ "/signs?place=" (place.id()) } { (language.say("Tất cả các biển", "All signs")) } }
            }
        }
    };
    let status = if refusal.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(page_with(visit, status, place.name_in(language.tag()), main))
}

fn holds(visit: &Visit<'_>, from_ms: i64, until_ms: i64) -> bool {
    (from_ms..until_ms).contains(&visit.now.as_millisecond())
}

/// Where the signs lead that follow the place, `code` among them, while no override holds.
fn usual(visit: &Visit<'_>, place: PlaceRef<'_>, code: Option<Code>) -> Markup {
    let language = visit.language;
    match place.answer() {
        registry::Answer::Target => leads(language, &place.targets()),
        registry::Answer::OwnPage => own_page(visit, place, code),
        registry::Answer::Neither => html! {
            p {
                (language.say("Địa điểm này chưa có trang đích, cũng chưa có nội dung giới thiệu.",
                    "This place has neither a target nor a text."))
            }
        },
    }
}

/// What is told of the place, with the way to change it.
fn told(visit: &Visit<'_>, place: PlaceRef<'_>) -> Markup {
    let language = visit.language;
    let label = |word: &str, tag: &str| format!("{} ({})", words::column(language, word), words::tongue(language, tag));
    let namesakes = place.namesakes().map(|(tag, name)| (label("namesake", tag), html! { bdi lang=(tag) { (name) } }));
    let abouts = place.abouts().map(|(tag, text)| (label("about", tag), prose(tag, text)));
    let mut rows: Vec<(String, Markup)> = namesakes.chain(abouts).collect();
    if !place.source().is_empty() {
        rows.push((words::column(language, "source"), url_link(place.source())));
    }
    if let Some(day) = place.compiled() {
        rows.push((words::column(language, "compiled"), html! { (date_text(date_of(day))) }));
    }
    html! {
        section #about {
            h2 { (language.say("Thông tin về địa điểm", "What is told of it")) }
            @if rows.is_empty() { p.soft { (language.say("Chưa có thông tin.", "Nothing yet.")) } }
            @else { (facts(rows)) }
            @if may_not_propose(visit, place.area()).is_none() {
                p { a.button href=(about_path(place.id())) { (language.say("Sửa thông tin", "Edit")) } }
            }
        }
    }
}

fn card(visit: &Visit<'_>, place: PlaceRef<'_>, signs: &[SignRef<'_>]) -> Markup {
    let language = visit.language;
    let mut rows: Vec<(String, Markup)> = place
        .names()
        .map(|(tag, name)| {
            let label = format!("{} ({})", language.say("Tên", "Name"), words::tongue(language, tag));
            (label, html! { bdi lang=(tag) { (name) } })
        })
        .collect();
    rows.push((language.say("Định danh", "Identifier").to_owned(), html! { bdi { (place.id()) } }));
    rows.push((language.say("Loại", "Kind").to_owned(), text_or_dash(words::kind(language, place.kind()))));
    rows.push((language.say("Khu vực", "Area").to_owned(), text_or_dash(place.area())));
    if signs.iter().any(|sign| sign.position().is_some()) {
        let link =
            html! { a href={ "/map?place=" (place.id()) } { (language.say("Xem trên bản đồ", "Show on the map")) } };
        rows.push((language.say("Vị trí", "Position").to_owned(), link));
    }
    facts(rows)
}

fn list(visit: &Visit<'_>, signs: &[SignRef<'_>], figures: &Snapshot) -> Markup {
    let language = visit.language;
    let heads = [
        language.say("Mã", "Code"),
        language.say("Tình trạng", "Status"),
        language.say("30 ngày", "30 days"),
        language.say("Quét gần nhất", "Last scan"),
    ];
    let rows = signs.iter().take(MOST).map(|sign| {
        let days = chart::sum([&days_of(sign.code(), figures)].into_iter());
        vec![
            sign_cell(language, *sign),
            html! {
                (status_badge(language, sign.status()))
                @if let Some(state) = state_of(*sign, figures).filter(|_| figures.has_states) { " " (health_badge(language, state)) }
            },
            html! { @if figures.taken.is_some() { (chart::small(language, &days)) } @else { span.soft { "–" } } },
            last_scan(visit, last_of(sign.code(), figures)),
        ]
    });
    table(language.say("Biển của địa điểm này", "Signs of this place"), &heads, rows)
}
