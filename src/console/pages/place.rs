//! `/places/ID`: one place, where it leads and why, its signs, how they are used, what is to come and what was done.

use hyper::StatusCode;
use maud::{Markup, html};

use super::super::Visit;
use super::super::answer::{Answer, Failure};
use super::super::beside::{history, leads, pending, periods};
use super::super::chart;
use super::super::elements::{facts, table, text_or_dash};
use super::super::figures::Snapshot;
use super::super::lists::{days_of, health_badge, last_scan, sign_cell, status_badge};
use super::super::page::page_with;
use super::super::repoint::{self, Refusal, Subject};
use super::super::search::{last_of, state_of};
use super::super::words;
use crate::registry::{PlaceRef, SignRef};
use crate::source::TableName;

/// Signs that are shown; a link leads to all of them.
const MOST: usize = 100;

pub(in crate::console) fn get(visit: &Visit<'_>, rest: &str) -> Answer {
    show(visit, visit.registry.place(rest).ok_or(Failure::NotFound)?, None)
}

pub(in crate::console) fn post(visit: &Visit<'_>, rest: &str) -> Answer {
    let place = visit.registry.place(rest).ok_or(Failure::NotFound)?;
    repoint::answer_to(visit, Subject::Place(place), |refusal| show(visit, place, Some(&refusal)))
}

fn show(visit: &Visit<'_>, place: PlaceRef<'_>, refusal: Option<&Refusal<'_>>) -> Answer {
    let language = visit.language;
    let figures = visit.parts.figures.snapshot();
    let signs: Vec<SignRef<'_>> = visit.registry.signs().filter(|sign| sign.place().id() == place.id()).collect();
    let days: Vec<_> = signs.iter().map(|sign| days_of(sign.code(), &figures)).collect();
    let own = signs.iter().filter(|sign| sign.own_targets().is_some()).count();
    let mut objects = vec![format!("places {}", place.id())];
    objects.extend(signs.iter().take(MOST).map(|sign| format!("signs {}", sign.code().text())));
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
                            (leads(language, &place.targets()))
                        }
                        None => (leads(language, &place.targets())),
                    }
                    @if place.targets().iter().next().is_none() {
                        p { (language.say("Địa điểm này không có trang đích.", "This place has no target.")) }
                    }
                    @if own > 0 {
                        p.soft {
                            (language.number(own as u64)) " "
                            (language.say("biển có trang đích riêng và không đi theo địa điểm.", "signs have a target of their own and do not follow the place."))
                        }
                    }
                    (periods(visit, place.overrides()))
                }
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
