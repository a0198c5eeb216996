//! `/map`: where the signs are, and how they are used.

use maud::{Markup, PreEscaped, html};

use super::super::Visit;
use super::super::answer::Answer;
use super::super::elements::{Field, place_path};
use super::super::figures::Snapshot;
use super::super::language::Language;
use super::super::lists::{filter_form, which};
use super::super::map::{Box, Mark, SHEET, f64_of, marks};
use super::super::page::page;
use super::super::search::{Filters, state_of};
use super::super::words;
use crate::health::State;
use crate::registry::SignRef;

/// Marks up to which the names of places stand beside them.
const FEW: usize = 30;
/// Characters of a name beside a mark, and how wide one is, in units of the sheet.
const NAME: usize = 22;
const CHARACTER: f64 = 10.5;

/// What the marks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    Use,
    State,
}

/// A map of some 400 m around a position.
pub(in crate::console) fn path_around(lat: f64, lon: f64) -> String {
    let shown = Box { west: lon, south: lat, east: lon, north: lat }.zoomed(0.0).zoomed(4.0);
    format!("/map?box={}", shown.text())
}

#[expect(clippy::unnecessary_wraps, reason = "the form of a handler")]
pub(in crate::console) fn get(visit: &Visit<'_>, _rest: &str) -> Answer {
    let language = visit.language;
    // The box says what the sheet shows, and how many signs match does not depend on it.
    let filters = Filters { within: None, ..Filters::read(&visit.fields) };
    let index = visit.parts.index.of(&visit.registry);
    let figures = visit.parts.figures.snapshot();
    let by_state = figures.has_states && visit.fields.get("color") == "state";
    let shows = if by_state { Shows::State } else { Shows::Use };
    let found = filters.signs(&visit.registry, &index, &figures);
    let without = found.iter().filter(|sign| sign.position().is_none()).count();
    let whole = Box::around(found.iter().filter_map(|sign| sign.position()));
    let asked = Box::read(&visit.fields);
    let color = Field {
        name: "color",
        label: language.say("Hiển thị theo", "Marks show"),
        value: if by_state { "state" } else { "use" },
        ..Field::default()
    };
    let colors = [
        ("use", language.say("lượt quét 30 ngày", "scans of 30 days")),
        ("state", language.say("hoạt động", "use as expected")),
    ];
    let main = html! {
        (filter_form(visit, &filters, &index, &figures, html! { @if figures.has_states { (color.choice(colors)) } }))
        @if let Some(shown) = asked.or(whole) {
            @let marks = marks(found.iter().copied(), &shown);
            @let seen: usize = marks.iter().map(|mark| mark.signs.len()).sum();
            (steps(visit, &shown, asked.is_some()))
            figure.stack {
                (sheet(visit, &figures, shows, &shown, &marks))
                figcaption {
                    p {
                        (language.number(seen as u64)) " " (language.count(seen, "biển trên bản đồ này", "sign on this map", "signs on this map"))
                        @if without > 0 {
                            "; " (language.number(without as u64)) " "
                            (language.count(without, "biển chưa có vị trí", "sign without a position", "signs without a position"))
                        }
                        "."
                    }
                    (legend(language, shows))
                }
            }
        } @else {
            p { (language.say("Không có biển nào có vị trí phù hợp.", "No sign with a position matches.")) }
        }
        p {
            a href={ "/signs?" (visit.fields.with(&[("box", &asked.map_or(String::new(), |asked| asked.text())), ("color", "")])) } {
                (language.say("Xem dạng danh sách", "Show as a list"))
            }
        }
    };
    Ok(page(visit, language.say("Bản đồ", "Map"), main))
}

/// Links to other boxes.
fn steps(visit: &Visit<'_>, shown: &Box, is_asked: bool) -> Markup {
    let language = visit.language;
    let to = |next: Box| format!("/map?{}", visit.fields.with(&[("box", &next.text())]));
    let moves = [
        (language.say("Phóng to", "Zoom in"), "＋", shown.zoomed(0.5)),
        (language.say("Thu nhỏ", "Zoom out"), "−", shown.zoomed(2.0)),
        (language.say("Bắc", "North"), "↑", shown.moved(0.0, 0.5)),
        (language.say("Nam", "South"), "↓", shown.moved(0.0, -0.5)),
        (language.say("Tây", "West"), "←", shown.moved(-0.5, 0.0)),
        (language.say("Đông", "East"), "→", shown.moved(0.5, 0.0)),
    ];
    html! {
        nav.pager.no-print aria-label=(language.say("Di chuyển bản đồ", "Move the map")) {
            @for (text, sign, next) in moves { a href=(to(next)) { span aria-hidden="true" { (sign) } " " (text) } }
            @if is_asked {
                a href={ "/map?" (visit.fields.with(&[("box", "")])) } { (language.say("Toàn bộ", "Everything")) }
            }
        }
    }
}

fn sheet(visit: &Visit<'_>, figures: &Snapshot, shows: Shows, part: &Box, marks: &[Mark<'_>]) -> Markup {
    let language = visit.language;
    let (metres, length) = part.scale();
    let scale = if metres >= 1000 {
        format!("{} km", language.number(metres / 1000))
    } else {
        format!("{} m", language.number(metres))
    };
    let names = if marks.len() <= FEW { names(visit, marks) } else { Vec::new() };
    // Each circle is a link of its own: the whole is a group of links, and no picture.
    html! {
        svg.map role="group" aria-label=(language.say("Bản đồ các biển", "Map of the signs")) viewBox={ "0 0 " (SHEET) " " (SHEET) } {
            defs { @for kind in kinds(shows) { (symbol(*kind)) } }
            g aria-hidden="true" {
                path.scale d={ "M20 " (SHEET - 28.0) "v8h" (round(length)) "v-8" } {}
                text x="24" y=(SHEET - 32.0) { (scale) }
            }
            @for mark in marks {
                @match &mark.signs[..] {
                    [sign] => (single(visit, figures, shows, mark, *sign)),
                    signs => (group(visit, part, mark, signs)),
                }
            }
            g aria-hidden="true" {
                @for (x, y, name) in &names { text x=(round(*x)) y=(round(*y)) { (name) } }
            }
        }
    }
}

fn single(visit: &Visit<'_>, figures: &Snapshot, shows: Shows, mark: &Mark<'_>, sign: SignRef<'_>) -> Markup {
    let language = visit.language;
    let kind = kind_of(figures, shows, sign);
    let mut text =
        format!("{}, {}, {}", sign.place().name_in(language.tag()), sign.code().grouped(), meaning(language, kind));
    let which = which(language, sign);
    if !which.is_empty() {
        text.push_str(", ");
        text.push_str(&which);
    }
    html! {
        a href={ "/signs/" (sign.code().text()) } aria-label=(text) {
            title { (text) }
            use href={ "#" (id(kind)) } x=(round(mark.x)) y=(round(mark.y)) {}
        }
    }
}

/// Signs that fall together: a larger circle with their number, and a link to their own box. Where no box would take
/// them apart, to their place or their list.
fn group(visit: &Visit<'_>, shown: &Box, mark: &Mark<'_>, signs: &[SignRef<'_>]) -> Markup {
    let language = visit.language;
    let count = language.number(signs.len() as u64);
    let place = signs[0].place();
    let is_one_place = signs.iter().all(|sign| sign.place().id() == place.id());
    let href = match Box::around(signs.iter().filter_map(|sign| sign.position())) {
        Some(next) if !shown.is_narrowest() => format!("/map?{}", visit.fields.with(&[("box", &next.text())])),
        _ if is_one_place => place_path(place.id()),
        _ => {
            let close = Box::close_around(signs.iter().filter_map(|sign| sign.position()));
            let close = close.map_or(String::new(), |close| close.text());
            format!("/signs?{}", visit.fields.with(&[("box", &close), ("color", "")]))
        }
    };
    let text = format!("{count} {}", language.count(signs.len(), "biển", "sign", "signs"));
    let text = if is_one_place { format!("{}: {text}", place.name_in(language.tag())) } else { text };
    let radius = match signs.len() {
        ..10 => 14,
        10..100 => 17,
        100..1000 => 20,
        _ => 23,
    };
    html! {
        a href=(href) aria-label=(text) {
            title { (text) }
            circle.group cx=(round(mark.x)) cy=(round(mark.y)) r=(radius) {}
            text.count x=(round(mark.x)) y=(round(mark.y)) { (count) }
        }
    }
}

/// Names beside the marks, where no other name stands.
fn names<'m>(visit: &Visit<'_>, marks: &[Mark<'m>]) -> Vec<(f64, f64, String)> {
    const HEIGHT: f64 = 22.0;
    let mut taken: Vec<(f64, f64, f64)> = marks.iter().map(|mark| (mark.x - 14.0, mark.y, 28.0)).collect();
    let mut names: Vec<(f64, f64, String)> = Vec::new();
    let mut last: Vec<&'m str> = Vec::new();
    for mark in marks {
        let place = mark.signs[0].place();
        let is_one_place = mark.signs.iter().all(|sign| sign.place().id() == place.id());
        if !is_one_place || last.contains(&place.id()) {
            continue;
        }
        let whole = place.name_in(visit.language.tag());
        let mut name: String = whole.chars().take(NAME).collect();
        if name.len() < whole.len() {
            name.push('…');
        }
        let width = f64_of(name.chars().count() as u64) * CHARACTER;
        let right = mark.x + 18.0;
        let x = if right + width < SHEET { right } else { mark.x - 18.0 - width };
        let is_free = |&(at, y, wide): &(f64, f64, f64)| x + width < at || at + wide < x || (y - mark.y).abs() > HEIGHT;
        // Its own mark ends before the name begins.
        if x >= 0.0 && taken.iter().all(is_free) {
            taken.push((x, mark.y, width));
            last.push(place.id());
            names.push((x, mark.y + 5.0, name));
        }
    }
    names
}

/// Of the marks there are of each sort, as numbers of their classes; the shape says it as well as the colour.
const fn kinds(shows: Shows) -> &'static [u8] {
    match shows {
        Shows::Use => &[0, 1, 2, 3],
        Shows::State => &[10, 11, 12, 13, 14],
    }
}

fn id(kind: u8) -> String {
    format!("m{kind}")
}

fn kind_of(figures: &Snapshot, shows: Shows, sign: SignRef<'_>) -> u8 {
    match shows {
        Shows::Use => match figures.scans(sign.code()) {
            0 => 0,
            1..10 => 1,
            10..100 => 2,
            _ => 3,
        },
        Shows::State => match state_of(sign, figures) {
            Some(State::Silent) => 10,
            Some(State::NeverScanned) => 11,
            Some(State::Quiet) => 12,
            Some(State::Normal) => 13,
            Some(State::NotEnoughData | State::New) | None => 14,
        },
    }
}

fn meaning(language: Language, kind: u8) -> &'static str {
    match kind {
        0 => language.say("không có lượt quét trong 30 ngày", "no scan in 30 days"),
        1 => language.say("1 đến 9 lượt quét trong 30 ngày", "1 to 9 scans in 30 days"),
        2 => language.say("10 đến 99 lượt quét trong 30 ngày", "10 to 99 scans in 30 days"),
        3 => language.say("từ 100 lượt quét trong 30 ngày", "100 scans or more in 30 days"),
        10 => words::health(language, State::Silent),
        11 => words::health(language, State::NeverScanned),
        12 => words::health(language, State::Quiet),
        13 => words::health(language, State::Normal),
        _ => language.say("mới gắn, hoặc chưa đủ số liệu", "new, or too few scans to tell"),
    }
}

/// A mark about the origin, with a circle around it that a fingertip finds.
fn symbol(kind: u8) -> Markup {
    let (class, path) = match kind {
        1 => ("mark-1", "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0"),
        2 => ("mark-2", "M-10 0a10 10 0 1 0 20 0a10 10 0 1 0-20 0"),
        3 => ("mark-3", "M-13 0a13 13 0 1 0 26 0a13 13 0 1 0-26 0"),
        // Silent: a square; never scanned: an empty one; quiet: a triangle.
        10 => ("mark-5", "M-10-10h20v20h-20z"),
        11 => ("mark-0", "M-9-9h18v18h-18z"),
        12 => ("mark-4", "M0-12l11 20h-22z"),
        13 => ("mark-2", "M-9 0a9 9 0 1 0 18 0a9 9 0 1 0-18 0"),
        _ => ("mark-0", "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0"),
    };
    html! { g id=(id(kind)) { circle r="20" fill="none" pointer-events="all" {} path.mark.(class) d=(path) {} } }
}

fn legend(language: Language, shows: Shows) -> Markup {
    html! {
        ul.legend {
            @for kind in kinds(shows) {
                li {
                    svg.map-key width="30" height="30" viewBox="-15 -15 30 30" aria-hidden="true" {
                        (legend_mark(*kind))
                    }
                    (meaning(language, *kind))
                }
            }
            li {
                svg.map-key width="30" height="30" viewBox="-15 -15 30 30" aria-hidden="true" { circle.group r="13" {} }
                (language.say("nhiều biển gần nhau: bấm để phóng to", "several signs together: follow to zoom in"))
            }
        }
    }
}

/// The same mark without an identifier, which a page has once.
fn legend_mark(kind: u8) -> Markup {
    let symbol = symbol(kind).into_string();
    PreEscaped(symbol.replacen(&format!(" id=\"{}\"", id(kind)), "", 1))
}

/// To a tenth of a unit: half the bytes.
fn round(at: f64) -> f64 {
    (at * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Role;
    use crate::console::pages::{place, places, sign, signs};
    use crate::console::trial::{Office, tables, text};
    use crate::source::Sources;

    /// 3,000 places with names of 60 characters, 20,000 signs in clusters, as towns are.
    fn province() -> Sources {
        let mut places = String::from("place,kind,area,name,name:en,target,target:en\n");
        for at in 0..3000 {
            let (kind, area) = (["street", "relic", "scenic"][at % 3], at % 65);
            places.push_str(&format!(
                "p{at},{kind},Phường {area},Đường Hùng Vương đoạn từ ngã tư số {at} đến cầu Kỳ Cùng,Street {at},\
                 https://langson.gov.vn/vi/{at},https://langson.gov.vn/en/{at}\n"
            ));
        }
        let mut signs = String::from("code,place,status,lat,lon\n");
        let mut seed = 1_u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64_of(seed >> 33) / f64_of(u64::from(u32::MAX >> 1))
        };
        for at in 0..20_000 {
            let town = f64_of(at % 65);
            let (lat, lon) =
                (21.4 + town / 65.0 + random() * random() * 0.2, 106.2 + (town * 7.0 % 13.0) / 13.0 + random() * 0.1);
            signs.push_str(&format!("X{at:07},p{},active,{lat:.6},{lon:.6}\n", at % 3000));
        }
        Sources { places: places.into(), signs: signs.into(), overrides: Vec::new() }
    }

    #[test]
    fn a_whole_province_is_a_page_of_less_than_300_kb() {
        let office = Office::open(&province(), Role::Viewer, &[]);
        let page = |path: &str| {
            let visit = office.visit(path);
            let text = match visit.path.as_str() {
                "/map" => text(get(&visit, "")),
                "/signs" => text(signs::get(&visit, "")),
                "/places" => text(places::get(&visit, "")),
                "/signs/X0000007" => text(sign::get(&visit, "X0000007")),
                _ => text(place::get(&visit, "p7")),
            };
            assert!(text.len() < 300_000, "{path}: {}", text.len());
            text
        };
        page("/signs?q=first");
        let whole = page("/map");
        assert!(whole.contains("20.000 biển trên bản đồ này"));
        // Each step inwards too, by the first circle with a number.
        let mut next = whole;
        for _ in 0..8 {
            let Some(href) = next.split("href=\"/map?box=").nth(7).and_then(|rest| rest.split('"').next()) else {
                break;
            };
            next = page(&format!("/map?box={}", href.replace("%2C", ",")));
        }
        for path in [
            "/signs?q=hung+vuong",
            "/signs?sort=scans&page=400",
            "/signs?q=X0000007",
            "/places?q=hung&sort=area",
            "/signs/X0000007",
            "/places/p7",
        ] {
            page(path);
        }
    }

    #[test]
    fn signs_of_several_places_in_one_spot_lead_to_their_own_list() {
        let mut tables = tables();
        let at = |number: usize| if number < 12 { "21.8,106.7" } else { "21.9,106.7" };
        let signs = (0..14).map(|number| format!("S{number:07},p{},active,{}\n", number % 2 + 1, at(number)));
        tables.signs = format!("code,place,status,lat,lon\n{}", signs.collect::<String>()).into();
        let office = Office::open(&tables, Role::Viewer, &[]);
        // As narrow as a box gets.
        let map = text(get(&office.visit("/map?box=106.7,21.8,106.7,21.8"), ""));
        let list = map.split("href=\"/signs?box=").nth(1).and_then(|rest| rest.split('"').next()).expect("a link");
        let list = text(signs::get(&office.visit(&format!("/signs?box={list}")), ""));
        assert!(list.contains("<strong>12</strong> biển"), "{list}");
    }

    #[test]
    fn a_name_from_a_table_is_text_on_every_page() {
        let evil = "<script>alert(1)</script>\"\"x\u{202e}=HYPERLINK(1)";
        let mut tables = tables();
        let places =
            format!("place,kind,area,name,target\np1,\"{evil}\",\"{evil}\",\"{evil}\",https://langson.gov.vn/1\n");
        (tables.places, tables.overrides) = (places.into(), Vec::new());
        tables.signs = "code,place,status,lat,lon\nAAAA-1111,p1,active,21.8,106.7\n".into();
        let office = Office::open(&tables, Role::Editor, &[]);
        for (path, answer) in [
            ("/map", get(&office.visit("/map"), "")),
            ("/signs", signs::get(&office.visit("/signs"), "")),
            ("/places", places::get(&office.visit("/places"), "")),
            ("/signs/AAAA1111", sign::get(&office.visit("/signs/AAAA1111"), "AAAA1111")),
            ("/signs/x", sign::get(&office.visit("/signs/x"), "<script>")),
            ("/places/p1", place::get(&office.visit("/places/p1"), "p1")),
        ] {
            let text = text(answer);
            assert!(!text.contains("<script") && text.contains("&lt;script&gt;"), "{path}");
            assert!(!text.contains(" style="), "{path}");
        }
        let csv = text(signs::get(&office.visit("/signs?format=csv"), ""));
        assert!(csv.contains("AAAA-1111"), "{csv}");
    }
}
