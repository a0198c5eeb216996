//! `/signs/CODE`: what one plate says, where it leads and why, how it is used, what is to come and what was done.

use hyper::StatusCode;
use maud::{Markup, html};

use super::super::Visit;
use super::super::answer::{Answer, Response, see_other};
use super::super::beside::{history, leads, own_page, pending, periods};
use super::super::chart;
use super::super::elements::{facts, place_link, sign_link, text_or_dash, time};
use super::super::forms::Refusal;
use super::super::language::date_text;
use super::super::lists::{days_of, health_badge, status_badge};
use super::super::page::page_with;
use super::super::repoint::{self, Subject};
use super::super::search::{last_of, near, state_of};
use super::super::words;
use super::map;
use crate::core::{Code, date_of};
use crate::registry::SignRef;
use crate::source::TableName;

pub(in crate::console) fn get(visit: &Visit<'_>, rest: &str) -> Answer {
    let Ok(code) = Code::parse(rest.as_bytes()) else { return Ok(unknown(visit, rest)) };
    // One address for each sign.
    if *code.text() != *rest {
        return Ok(see_other(&format!("/signs/{}", code.text())));
    }
    match visit.registry.sign(code) {
        Some(sign) => show(visit, sign, None),
        None => Ok(unknown(visit, rest)),
    }
}

pub(in crate::console) fn post(visit: &Visit<'_>, rest: &str) -> Answer {
    let sign = Code::parse(rest.as_bytes()).ok().and_then(|code| visit.registry.sign(code));
    match sign {
        Some(sign) => repoint::take(visit, Subject::Sign(sign))
            .unwrap_or_else(|problems| show(visit, sign, Some(&Refusal { fields: &visit.fields, problems }))),
        None => Ok(unknown(visit, rest)),
    }
}

fn show(visit: &Visit<'_>, sign: SignRef<'_>, refusal: Option<&Refusal<'_>>) -> Answer {
    let language = visit.language;
    let (code, place) = (sign.code(), sign.place());
    let figures = visit.parts.figures.snapshot();
    let targets = sign.targets(visit.now.as_millisecond());
    let days = chart::sum([&days_of(code, &figures)].into_iter());
    let key = code.text().to_string();
    let rows = [(TableName::Signs, key.clone()), (TableName::Places, place.id().to_owned())];
    let objects = vec![format!("signs {key}"), format!("places {}", place.id())];
    let form = repoint::form(visit, Subject::Sign(sign), refusal);
    let main = html! {
        div.columns {
            div.stack {
                // What is wrong is at the top of the page.
                @if refusal.is_some() { (form) }
                section {
                    h2 { (language.say("Đang dẫn đến", "Leads to")) }
                    (leads(language, &targets))
                    @if sign.has_own_page(&targets) {
                        (own_page(visit, place, Some(code)))
                    } @else if targets.iter().next().is_none() {
                        p { (language.say("Biển này không có trang đích.", "This sign has no target.")) }
                    } @else {
                        p.soft { (language.say("Vì:", "Why:")) " " (words::source(language, targets.source())) }
                    }
                    (periods(visit, sign.overrides().chain(place.overrides())))
                }
                @if refusal.is_none() { (form) }
                section {
                    h2 { (language.say("Lượt quét", "Use")) }
                    @if figures.taken.is_some() { (chart::large(language, &days, figures.today)) }
                    @else { p.soft { (language.say("Chưa có số liệu.", "Nothing is known yet.")) } }
                    @if let Some(last) = last_of(code, &figures) {
                        p { (language.say("Quét gần nhất:", "Last scan:")) " " (time(visit, last)) }
                    }
                    @if let Some(state) = state_of(sign, &figures).filter(|_| figures.has_states) {
                        p { (health_badge(language, state)) }
                    }
                }
            }
            div.stack {
                section { h2 { (language.say("Trên biển", "On the plate")) } (plate(visit, sign)) }
                (pending(visit, &rows)?)
                (history(visit, objects, &format!("/history?row={key}"))?)
            }
        }
    };
    let status = if refusal.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let title = format!("{} · {}", code.grouped(), place.name_in(language.tag()));
    Ok(page_with(visit, status, &title, main))
}

fn plate(visit: &Visit<'_>, sign: SignRef<'_>) -> Markup {
    let language = visit.language;
    let (code, place) = (sign.code(), sign.place());
    let namesake = place.namesakes().next().map_or("", |(_, name)| name);
    let mut rows = vec![
        (language.say("Mã", "Code").to_owned(), html! { span.code { (code.grouped()) } }),
        (
            language.say("Địa chỉ in trên biển", "Address on the plate").to_owned(),
            html! { span.url { (visit.parts.public_url.trim_end_matches('/')) "/" (code.text()) } },
        ),
        (language.say("Địa điểm", "Place").to_owned(), place_link(visit, place)),
        (words::column(language, "namesake"), text_or_dash(namesake)),
        (language.say("Loại", "Kind").to_owned(), text_or_dash(words::kind(language, place.kind()))),
        (language.say("Khu vực", "Area").to_owned(), text_or_dash(place.area())),
        (language.say("Tình trạng", "Status").to_owned(), status_badge(language, sign.status())),
    ];
    if let Some(successor) = sign.successor() {
        rows.push((language.say("Biển thay thế", "Successor").to_owned(), sign_link(successor.code())));
    }
    if let Some(day) = sign.mounted() {
        rows.push((language.say("Ngày gắn", "Mounted").to_owned(), html! { (date_text(date_of(day))) }));
    }
    if let Some((lat, lon)) = sign.position() {
        let position = html! {
            span.number { (lat) ", " (lon) }
            div.row {
                a href={ "geo:" (lat) "," (lon) } { (language.say("Mở bằng ứng dụng bản đồ", "Open in the phone's map")) }
                a href=(map::path_around(lat, lon)) { (language.say("Xem trên bản đồ", "Show on the map")) }
            }
        };
        rows.push((language.say("Vị trí", "Position").to_owned(), position));
    }
    let mut aliases: Vec<&str> =
        visit.registry.aliases().filter(|(_, of)| of.code() == code).map(|(alias, _)| alias).collect();
    if !aliases.is_empty() {
        aliases.sort_unstable();
        let aliases = html! { @for alias in aliases { p.url { bdi { (alias) } } } };
        rows.push((language.say("Địa chỉ cũ", "Old addresses").to_owned(), aliases));
    }
    facts(rows)
}

/// No sign has the code: those that have nearly the same.
fn unknown(visit: &Visit<'_>, rest: &str) -> Response {
    let language = visit.language;
    let near = near(&visit.registry, rest);
    let main = html! {
        p { (language.say("Không có biển nào mang mã", "No sign has the code")) " " strong { bdi { (rest) } } "." }
        @if !near.is_empty() {
            section {
                h2 { (language.say("Có phải một trong các mã này?", "Is it one of these?")) }
                ul.waiting {
                    @for sign in near.into_iter().filter_map(|code| visit.registry.sign(code)) {
                        li { (sign_link(sign.code())) " " (place_link(visit, sign.place())) }
                    }
                }
            }
        }
        p { a href="/signs" { (language.say("Tìm trong tất cả các biển", "Search all signs")) } }
    };
    page_with(visit, StatusCode::NOT_FOUND, language.say("Không có biển này", "No such sign"), main)
}
