//! `/signs`: the signs that match, fifty on a page, or all of them as CSV.

use maud::html;

use super::super::Visit;
use super::super::answer::Answer;
use super::super::beside::own_page_url;
use super::super::chart;
use super::super::csv::download_list;
use super::super::elements::{pager, place_link, table, text_or_dash};
use super::super::figures::Snapshot;
use super::super::lists::{
    days_of, filter_form, health_badge, last_scan, page_of, sign_cell, sort_choice, status_badge,
};
use super::super::page::page;
use super::super::search::{Filters, last_of, state_of};
use crate::health::State;
use crate::registry::{Registry, SignRef, Status};

#[expect(clippy::unnecessary_wraps, reason = "the form of a handler")]
pub(in crate::console) fn get(visit: &Visit<'_>, _rest: &str) -> Answer {
    let language = visit.language;
    let filters = Filters::read(&visit.fields);
    let index = visit.parts.index.of(&visit.registry);
    let figures = visit.parts.figures.snapshot();
    let found = filters.signs(&visit.registry, &index, &figures);
    let now_ms = visit.now.as_millisecond();
    if visit.fields.get("format") == "csv" {
        let rows = found.iter().map(|sign| cells(visit, *sign, &figures));
        return Ok(download_list("signs.csv", header(&visit.registry), rows));
    }
    let (shown, number, pages) = filters.shown(&found);
    let heads = [
        language.say("Địa điểm", "Place"),
        language.say("Mã", "Code"),
        language.say("Khu vực", "Area"),
        language.say("Dẫn đến", "Leads to"),
        language.say("30 ngày", "30 days"),
        language.say("Quét gần nhất", "Last scan"),
    ];
    let rows = shown.iter().map(|sign| {
        let place = sign.place();
        // Of fifty rows, those that want a look.
        let wants_a_look = |state: &State| matches!(state, State::Silent | State::Quiet | State::NeverScanned);
        let state = state_of(*sign, &figures).filter(|_| figures.has_states).filter(wants_a_look);
        let days = chart::sum([&days_of(sign.code(), &figures)].into_iter());
        vec![
            html! {
                (place_link(visit, place))
                @if sign.status() != Status::Active { " " (status_badge(language, sign.status())) }
                @if let Some(state) = state { " " (health_badge(language, state)) }
            },
            sign_cell(language, *sign),
            text_or_dash(place.area()),
            page_of(language, &sign.targets(now_ms), sign.has_own_page(&sign.targets(now_ms))),
            html! { @if figures.taken.is_some() { (chart::small(language, &days)) } @else { span.soft { "–" } } },
            last_scan(visit, last_of(sign.code(), &figures)),
        ]
    });
    let same = |changes: &[(&str, &str)]| visit.fields.with(changes);
    let main = html! {
        (filter_form(visit, &filters, &index, &figures, sort_choice(language, &filters)))
        div.row {
            p { strong { (language.number(found.len() as u64)) } " " (language.count(found.len(), "biển", "sign", "signs")) }
            a href={ "/map?" (same(&[("page", ""), ("sort", "")])) } { (language.say("Xem trên bản đồ", "Show on the map")) }
            a href={ "/signs?" (same(&[("page", ""), ("format", "csv")])) } { (language.say("Tải về CSV", "Download as CSV")) }
        }
        @if found.is_empty() {
            p { (language.say("Không có biển nào phù hợp. Thử ít chữ hơn, hoặc bỏ bớt điều kiện lọc.",
                "No sign matches. Try fewer words, or take away a filter.")) }
        } @else {
            (table(language.say("Biển", "Signs"), &heads, rows))
        }
        (pager(visit, number, pages))
    };
    Ok(page(visit, language.say("Biển", "Signs"), main))
}

/// The columns, as in the tables where they are the tables'; `leads_to` is where a sign leads now, overrides
/// and its place considered: the address of our own page, too.
fn header(registry: &Registry) -> Vec<String> {
    let columns = ["code", "place", "name", "kind", "area", "status", "lat", "lon", "mounted", "successor"];
    let mut header: Vec<String> = columns.map(str::to_owned).to_vec();
    header.extend(multilingual(registry, "target"));
    header.extend(multilingual(registry, "leads_to"));
    header.extend(["scans_30_days", "last_scan"].map(str::to_owned));
    header
}

/// A column for each language, the default's without a tag.
pub(super) fn multilingual(registry: &Registry, word: &str) -> Vec<String> {
    let languages = registry.languages().iter().enumerate();
    languages.map(|(at, tag)| if at == 0 { word.to_owned() } else { format!("{word}:{tag}") }).collect()
}

fn cells(visit: &Visit<'_>, sign: SignRef<'_>, figures: &Snapshot) -> Vec<String> {
    let (registry, place) = (&visit.registry, sign.place());
    let now = sign.targets(visit.now.as_millisecond());
    let (lat, lon) = sign.position().map_or_else(Default::default, |(lat, lon)| (lat.to_string(), lon.to_string()));
    let mut cells = vec![
        sign.code().grouped().to_string(),
        place.id().to_owned(),
        place.name().to_owned(),
        place.kind().to_owned(),
        place.area().to_owned(),
        sign.status().as_str().to_owned(),
        lat,
        lon,
        sign.mounted().map_or(String::new(), |day| crate::core::date_of(day).to_string()),
        sign.successor().map_or(String::new(), |sign| sign.code().grouped().to_string()),
    ];
    for targets in [sign.own_targets(), Some(now)] {
        for tag in registry.languages() {
            let target = targets.and_then(|targets| targets.iter().find(|target| target.language == tag.as_str()));
            let is_told = || place.abouts().any(|(known, _)| known == tag.as_str());
            cells.push(match target {
                Some(target) => target.url.to_owned(),
                None if targets.is_some() && sign.has_own_page(&now) && is_told() => {
                    own_page_url(&visit.parts.public_url, sign.code(), tag.as_str())
                }
                None => String::new(),
            });
        }
    }
    cells.push(if figures.taken.is_some() { figures.scans(sign.code()).to_string() } else { String::new() });
    cells.push(last_of(sign.code(), figures).map_or(String::new(), |time| time.to_string()));
    cells
}
