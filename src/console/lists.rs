//! What the lists of signs and places, and the map, have in common: the form with the filters, and what is shown of one
//! sign.

use jiff::Timestamp;
use maud::{Markup, html};

use super::Visit;
use super::elements::{Field, Tone, badge, button, sign_link};
use super::figures::{DAYS, Snapshot};
use super::language::{Language, date_text};
use super::search::{Filters, Index, Sort};
use super::words;
use crate::core::{Code, date_of};
use crate::health::State;
use crate::registry::{Answer, SignRef, Status, Targets};

/// Characters of a path in a list.
const MAX_PATH: usize = 28;

/// The form with the filters; it asks for the same page again. `more` are fields of the page's own.
pub(super) fn filter_form(
    visit: &Visit<'_>,
    filters: &Filters,
    index: &Index,
    figures: &Snapshot,
    more: Markup,
) -> Markup {
    let language = visit.language;
    let any = || (String::new(), language.say("tất cả", "all").to_owned());
    let areas = index.areas().iter().map(|area| (area.clone(), area.clone()));
    let kinds = index.kinds().iter().map(|kind| (kind.clone(), words::kind(language, kind).to_owned()));
    let statuses = Status::ALL.into_iter().map(|s| (s.as_str().to_owned(), words::status(language, s).to_owned()));
    let states = State::ALL.into_iter().map(|s| (s.as_str().to_owned(), words::health(language, s).to_owned()));
    let choice = |name, label, value: &str, options: Vec<(String, String)>| {
        Field { name, label, value, ..Field::default() }.choice(options)
    };
    html! {
        form.card.form method="get" action=(visit.path) role="search" {
            div.field {
                label for="q" { (language.say("Tìm tên, mã, địa chỉ cũ", "Find a name, code or old address")) }
                div.search {
                    input #q name="q" type="search" value=(filters.query) autocomplete="off" spellcheck="false";
                    (button(super::elements::Button::Primary, "", "", language.say("Tìm", "Find")))
                }
            }
            @if let Some(within) = filters.within {
                input type="hidden" name="box" value=(within.text());
                p.hint {
                    (language.say("Chỉ trong một khung của bản đồ.", "Only in a box of the map.")) " "
                    a href={ (visit.path) "?" (visit.fields.with(&[("box", ""), ("page", "")])) } { (language.say("Bỏ khung này", "Take the box away")) }
                }
            }
            @if !filters.place.is_empty() { input type="hidden" name="place" value=(filters.place); }
            details open[filters.narrows()] {
                summary { (language.say("Lọc và sắp xếp", "Filter and sort")) }
                div.filters {
                    (choice("area", language.say("Khu vực", "Area"), &filters.area, [any()].into_iter().chain(areas).collect()))
                    (choice("kind", language.say("Loại", "Kind"), &filters.kind, [any()].into_iter().chain(kinds).collect()))
                    (choice("status", language.say("Tình trạng", "Status"), filters.status.map_or("", Status::as_str),
                        [any()].into_iter().chain(statuses).collect()))
                    @if figures.has_states {
                        (choice("state", language.say("Hoạt động", "Use"), filters.state.map_or("", State::as_str),
                            [any()].into_iter().chain(states).collect()))
                    }
                    (more)
                }
            }
        }
    }
}

/// The fields by which many places or signs are chosen in another form.
pub(super) fn selection(visit: &Visit<'_>) -> Markup {
    let (language, fields) = (visit.language, &visit.fields);
    let index = visit.parts.index.of(&visit.registry);
    let any = (String::new(), language.say("(tất cả)", "(any)").to_owned());
    let areas = [any.clone()].into_iter().chain(index.areas().iter().map(|area| (area.clone(), area.clone())));
    let kinds = index.kinds().iter().map(|kind| (kind.clone(), words::kind(language, kind).to_owned()));
    let kinds = [any].into_iter().chain(kinds);
    html! {
        (Field { name: "q", label: language.say("Tên, mã, địa chỉ cũ", "Name, code, old address"), value: fields.get("q"), kind: "search", ..Field::default() }.line())
        (Field { name: "area", label: language.say("Khu vực", "Area"), value: fields.get("area"), ..Field::default() }.choice(areas))
        (Field { name: "kind", label: language.say("Loại", "Kind"), value: fields.get("kind"), ..Field::default() }.choice(kinds))
    }
}

/// The choice of what places are answered with.
pub(super) fn answer_choice(language: Language, filters: &Filters) -> Markup {
    let any = ("", language.say("tất cả", "all"));
    let answers = Answer::ALL.into_iter().map(|answer| (answer.as_str(), words::answer(language, answer)));
    let label = language.say("Dẫn đến", "Leads to");
    let value = filters.answer.map_or("", Answer::as_str);
    Field { name: "answer", label, value, ..Field::default() }.choice([any].into_iter().chain(answers))
}

/// The choice of an order.
pub(super) fn sort_choice(language: Language, filters: &Filters) -> Markup {
    let options = Sort::ALL.into_iter().map(|sort| {
        let text = match sort {
            Sort::Name => language.say("tên", "name"),
            Sort::Code => language.say("mã", "code"),
            Sort::Area => language.say("khu vực", "area"),
            Sort::Scans => language.say("lượt quét", "scans"),
            Sort::Last => language.say("lần quét gần nhất", "last scan"),
        };
        (sort.as_str(), text)
    });
    let label = language.say("Sắp xếp theo", "Sort by");
    Field { name: "sort", label, value: filters.sort.as_str(), ..Field::default() }.choice(options)
}

/// What is known of one sign's use on each of the last days.
pub(super) fn days_of(code: Code, figures: &Snapshot) -> [u32; DAYS] {
    figures.signs.get(&code).map_or([0; DAYS], |sign| sign.days)
}

/// A sign's place in its life.
pub(super) fn status_badge(language: Language, status: Status) -> Markup {
    let tone = match status {
        Status::Planned => Tone::Warning,
        Status::Active => Tone::Good,
        Status::Retired => Tone::Info,
    };
    badge(tone, words::status(language, status))
}

/// How a sign is.
pub(super) fn health_badge(language: Language, state: State) -> Markup {
    let tone = match state {
        State::Silent => Tone::Danger,
        State::Quiet => Tone::Warning,
        State::Normal => Tone::Good,
        // Of a new installation this is every sign.
        State::NeverScanned | State::NotEnoughData | State::New => Tone::Info,
    };
    badge(tone, words::health(language, state))
}

/// What tells the signs of one place apart: the day on which each was mounted, and where. Empty where neither is known.
pub(super) fn which(language: Language, sign: SignRef<'_>) -> String {
    let mounted = sign.mounted().map(|day| format!("{} {}", language.say("gắn", "mounted"), date_text(date_of(day))));
    let position = sign.position().map(|(lat, lon)| format!("{lat:.5}, {lon:.5}"));
    mounted.into_iter().chain(position).collect::<Vec<_>>().join(" · ")
}

/// A sign in a list, with what tells it apart.
pub(super) fn sign_cell(language: Language, sign: SignRef<'_>) -> Markup {
    let which = which(language, sign);
    html! {
        div {
            (sign_link(sign.code()))
            @if !which.is_empty() { p.hint { (which) } }
        }
    }
}

/// The page that targets lead to, in the default language, as short as a list needs it; a dash where they lead nowhere.
/// `has_own_page`: where there is no target, a page of ours answers.
pub(super) fn page_of(language: Language, targets: &Targets<'_>, has_own_page: bool) -> Markup {
    let url = targets.iter().next().map_or("", |target| target.url);
    let short = short(url);
    html! {
        @if short.is_empty() && has_own_page { (words::answer(language, Answer::OwnPage)) }
        @else if short.is_empty() { span.soft { "–" } }
        @else { span.host title=(url) { bdi { @for part in short.split_inclusive('/') { (part) wbr; } } } }
    }
}

/// Host and path of an address. Pages of one host differ at the end: of a long path that is what is left.
fn short(url: &str) -> String {
    let behind = url.split_once("://").map_or("", |(_, behind)| behind);
    let page = behind.split(['?', '#']).next().unwrap_or("").trim_end_matches('/');
    let (host, path) = page.split_once('/').unwrap_or((page, ""));
    let length = path.chars().count();
    if length <= MAX_PATH {
        return page.to_owned();
    }
    let end: String = path.chars().skip(length - MAX_PATH).collect();
    format!("{host}/…{end}")
}

/// When something was last scanned, or that it is not known to have been.
pub(super) fn last_scan(visit: &Visit<'_>, last: Option<Timestamp>) -> Markup {
    html! {
        @match last {
            Some(last) => (super::elements::time(visit, last)),
            None => span.soft { "–" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_short_and_still_tells_its_page() {
        for (url, expected) in [
            ("https://langson.gov.vn/vi/duong-pho/hung-vuong", "langson.gov.vn/vi/duong-pho/hung-vuong"),
            ("https://langson.gov.vn/", "langson.gov.vn"),
            ("https://langson.gov.vn/x/?id=1#top", "langson.gov.vn/x"),
            (
                "https://langson.gov.vn/vi/du-lich/danh-lam-thang-canh/dong-nhi-thanh",
                "langson.gov.vn/…am-thang-canh/dong-nhi-thanh",
            ),
            ("", ""),
        ] {
            assert_eq!(short(url), expected, "{url}");
        }
    }
}
