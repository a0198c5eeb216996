//! `/places`: the places that match, fifty on a page, or all of them as CSV.

use jiff::Timestamp;
use maud::html;

use super::super::Visit;
use super::super::answer::Answer;
use super::super::chart;
use super::super::csv::download_list;
use super::super::elements::{pager, place_link, table, text_or_dash};
use super::super::figures::Snapshot;
use super::super::lists::{answer_choice, days_of, filter_form, last_scan, page_of, sort_choice};
use super::super::page::page;
use super::super::search::{Filters, Index, last_of};
use super::super::words;
use super::signs::multilingual;
use crate::core::{Code, Tag, date_of};
use crate::registry::{self, PlaceRef, Registry, SignRef};

#[expect(clippy::unnecessary_wraps, reason = "the form of a handler")]
pub(in crate::console) fn get(visit: &Visit<'_>, _rest: &str) -> Answer {
    let language = visit.language;
    let filters = Filters::read(&visit.fields);
    let index = visit.parts.index.of(&visit.registry);
    let figures = visit.parts.figures.snapshot();
    let found = filters.places(&visit.registry, &index, &figures);
    let signs: Vec<Code> = visit.registry.signs().map(SignRef::code).collect();
    if visit.fields.get("format") == "csv" {
        let rows = found.iter().map(|place| cells(&visit.registry, *place, &index, &signs, &figures));
        return Ok(download_list("places.csv", header(&visit.registry), rows));
    }
    let (shown, number, pages) = filters.shown(&found);
    let heads = [
        language.say("Tên", "Name"),
        language.say("Định danh", "Identifier"),
        language.say("Loại", "Kind"),
        language.say("Khu vực", "Area"),
        language.say("Dẫn đến", "Leads to"),
        language.say("Số biển", "Signs"),
        language.say("30 ngày", "30 days"),
        language.say("Quét gần nhất", "Last scan"),
    ];
    let rows = shown.iter().map(|&(at, place)| {
        let codes = || index.signs_of(at).iter().map(|&sign| signs[sign]);
        let days: Vec<_> = codes().map(|code| days_of(code, &figures)).collect();
        vec![
            place_link(visit, place),
            html! { bdi { (place.id()) } },
            text_or_dash(words::kind(language, place.kind())),
            text_or_dash(place.area()),
            page_of(language, &place.targets(), place.answer() == registry::Answer::OwnPage),
            html! { span.number { (language.number(index.signs_of(at).len() as u64)) } },
            html! {
                @if figures.taken.is_some() { (chart::small(language, &chart::sum(days.iter()))) } @else { span.soft { "–" } }
            },
            last_scan(visit, latest(codes(), &figures)),
        ]
    });
    let main = html! {
        (filter_form(visit, &filters, &index, &figures, html! {
            (answer_choice(language, &filters))
            (sort_choice(language, &filters))
        }))
        div.row {
            p { strong { (language.number(found.len() as u64)) } " " (language.count(found.len(), "địa điểm", "place", "places")) }
            a href={ "/places?" (visit.fields.with(&[("page", ""), ("format", "csv")])) } {
                (language.say("Tải về CSV", "Download as CSV"))
            }
        }
        @if found.is_empty() {
            p { (language.say("Không có địa điểm nào phù hợp. Thử ít chữ hơn, hoặc bỏ bớt điều kiện lọc.",
                "No place matches. Try fewer words, or take away a filter.")) }
        } @else {
            (table(language.say("Địa điểm", "Places"), &heads, rows))
        }
        (pager(visit, number, pages))
    };
    Ok(page(visit, language.say("Địa điểm", "Places"), main))
}

fn latest(codes: impl Iterator<Item = Code>, figures: &Snapshot) -> Option<Timestamp> {
    codes.filter_map(|code| last_of(code, figures)).max()
}

/// The columns, as in the tables where they are the tables'.
fn header(registry: &Registry) -> Vec<String> {
    let mut header: Vec<String> = ["place", "kind", "area"].map(str::to_owned).to_vec();
    header.extend(["name", "target", "namesake", "about"].iter().flat_map(|word| multilingual(registry, word)));
    header.extend(["source", "compiled"].map(str::to_owned));
    header.extend(["signs", "scans_30_days", "last_scan"].map(str::to_owned));
    header
}

fn cells(
    registry: &Registry,
    (at, place): (usize, PlaceRef<'_>),
    index: &Index,
    signs: &[Code],
    figures: &Snapshot,
) -> Vec<String> {
    let codes = || index.signs_of(at).iter().map(|&sign| signs[sign]);
    let mut cells = [place.id(), place.kind(), place.area()].map(str::to_owned).to_vec();
    let tags = || registry.languages().iter().map(Tag::as_str);
    let targets: Vec<_> = place.targets().iter().map(|target| (target.language, target.url)).collect();
    let (names, namesakes, abouts) = (place.names().collect(), place.namesakes().collect(), place.abouts().collect());
    for texts in [names, targets, namesakes, abouts] {
        let text = |tag| texts.iter().find(|(known, _): &&(&str, &str)| *known == tag).map_or("", |(_, text)| *text);
        cells.extend(tags().map(|tag| text(tag).to_owned()));
    }
    cells.push(place.source().to_owned());
    cells.push(place.compiled().map_or(String::new(), |day| date_of(day).to_string()));
    cells.push(codes().count().to_string());
    let scans: u64 = codes().map(|code| figures.scans(code)).sum();
    cells.push(if figures.taken.is_some() { scans.to_string() } else { String::new() });
    cells.push(latest(codes(), figures).map_or(String::new(), |time| time.to_string()));
    cells
}
