//! The cells of a change set, as people read them: place by place, and within a place row by row.
//!
//! Owns the grouping and how a group is shown. Everything in a cell is text.

use std::collections::HashMap;

use jiff::Timestamp;
use maud::{Markup, html};

use super::Visit;
use super::areas::scope;
use super::elements::{Tone, badge, place_link, place_path, sign_link, time, url_link};
use super::language::Language;
use super::preview::{Leads, Move};
use super::words;
use crate::core::Code;
use crate::registry::{Answer, Registry, Status};
use crate::source::{CellChange, TableName};

/// Signs that are named before the rest is only counted.
const MOST_SIGNS: usize = 30;

/// What changes at one place: its own row, its signs, their overrides.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group<'c> {
    /// The identifier; empty for rows of which nobody knows the place.
    pub place: String,
    pub rows: Vec<Row<'c>>,
}

/// One row of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row<'c> {
    pub table: TableName,
    pub key: &'c str,
    pub cells: Vec<&'c CellChange>,
}

/// What happens to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Changed,
    New,
    Gone,
}

impl Row<'_> {
    pub fn fate(&self) -> Fate {
        if self.cells.iter().all(|cell| cell.old.is_none()) {
            Fate::New
        } else if self.cells.iter().all(|cell| cell.new.is_none()) {
            Fate::Gone
        } else {
            Fate::Changed
        }
    }
}

/// The language of a column with targets: `Some("")` for `target`, `Some("en")` for `target:en`.
pub(super) fn target_language(column: &str) -> Option<&str> {
    match column.split_once(':') {
        Some(("target", language)) => Some(language),
        None if column == "target" => Some(""),
        _ => None,
    }
}

/// The groups, in the order in which the cells first name their places; rows and cells in the order of the set.
pub(super) fn groups<'c>(cells: &'c [CellChange], registry: &Registry) -> Vec<Group<'c>> {
    // The place that a sign has by this set, for those that do not serve yet.
    let homes: HashMap<Code, &str> = cells
        .iter()
        .filter(|cell| cell.table == TableName::Signs && cell.column == "place")
        .filter_map(|cell| Some((cell.key.parse().ok()?, cell.new.as_deref().or(cell.old.as_deref())?)))
        .collect();
    let place_of = |code: &str| -> Option<String> {
        let code = code.parse::<Code>().ok()?;
        let home = registry.sign(code).map(|sign| sign.place().id());
        home.or_else(|| homes.get(&code).copied()).map(str::to_owned)
    };
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut group_of: HashMap<String, usize> = HashMap::new();
    let mut row_of: HashMap<(TableName, &str), (usize, usize)> = HashMap::new();
    for cell in cells {
        let key = (cell.table, cell.key.as_str());
        let (group, row) = *row_of.entry(key).or_insert_with(|| {
            let place = match cell.table {
                TableName::Places => cell.key.clone(),
                TableName::Signs => place_of(&cell.key).unwrap_or_default(),
                TableName::Overrides => {
                    let scope = scope(&cell.key);
                    let is_place = registry.place(scope).is_some();
                    place_of(scope).filter(|_| !is_place).unwrap_or_else(|| scope.to_owned())
                }
            };
            let group = *group_of.entry(place.clone()).or_insert_with(|| {
                groups.push(Group { place, rows: Vec::new() });
                groups.len() - 1
            });
            let rows = &mut groups[group].rows;
            rows.push(Row { table: cell.table, key: &cell.key, cells: Vec::new() });
            (group, rows.len() - 1)
        });
        groups[group].rows[row].cells.push(cell);
    }
    groups
}

/// The old on the left and the new on the right; one above the other where there is little room.
fn sides(language: Language, old: Markup, new: Markup) -> Markup {
    html! {
        div.sides {
            div.old { span.hint { (language.say("Cũ", "Old")) ": " } (old) }
            div.new { span.hint { (language.say("Mới", "New")) ": " } (new) }
        }
    }
}

/// A time of a table as the pages write times; the text where it is none.
fn moment(visit: &Visit<'_>, text: &str) -> Markup {
    let ms = visit.parts.rules.time(text).ok();
    match ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()) {
        Some(at) => time(visit, at),
        None => html! { bdi { (text) } },
    }
}

/// What a cell has, as people read it: a target is a link, a status a word of the page's language.
pub(super) fn value(visit: &Visit<'_>, table: TableName, column: &str, text: Option<&str>) -> Markup {
    let language = visit.language;
    let status = || Status::ALL.into_iter().find(|status| Some(status.as_str()) == text);
    let code = || text.and_then(|text| text.parse::<Code>().ok());
    match text {
        None => html! { span.soft { (language.say("(không có dòng này)", "(no such row)")) } },
        Some("") => html! { span.soft { (language.say("(trống)", "(empty)")) } },
        Some(url) if target_language(column).is_some() => url_link(url),
        Some(text) if table == TableName::Signs && column == "successor" => match code() {
            Some(code) => sign_link(code),
            None => html! { bdi { (text) } },
        },
        Some(text) => match (table, column) {
            (TableName::Overrides, "from" | "until") => moment(visit, text),
            (TableName::Places, "source") => url_link(text),
            (TableName::Places, "kind") => html! { bdi { (words::kind(language, text)) } },
            (TableName::Signs, "status") => {
                html! { bdi { (status().map_or(text, |known| words::status(language, known))) } }
            }
            _ => html! { bdi.prose { (text) } },
        },
    }
}

/// Two texts of a cell, with what differs marked: all between the words with which both begin and those with which both
/// end. `None` where one is empty, or the cell has no prose.
fn marked(table: TableName, column: &str, old: Option<&str>, new: Option<&str>) -> Option<[Markup; 2]> {
    let word = column.split(':').next().unwrap_or(column);
    let is_prose = table == TableName::Places && matches!(word, "name" | "namesake" | "about") || word == "note";
    let [old, new] = [old, new].map(|text| text.filter(|text| is_prose && !text.is_empty()));
    let (old, new) = (old?, new?);
    let (old_words, new_words) = (split(old), split(new));
    let same = old_words.iter().zip(&new_words).take_while(|(old, new)| old == new).count();
    let rest = old_words[same..].iter().rev().zip(new_words[same..].iter().rev());
    let rest = rest.take_while(|(old, new)| old == new).count();
    let parts = |words: &[&str]| {
        let end = words.len() - rest;
        [words[..same].concat(), words[same..end].concat(), words[end..].concat()]
    };
    let [[before, gone, after], [_, came, _]] = [parts(&old_words), parts(&new_words)];
    let mark = |change: Markup| html! { bdi.prose { (before) (change) (after) } };
    let [gone, came] =
        [html! { @if !gone.is_empty() { del { (gone) } } }, html! { @if !came.is_empty() { ins { (came) } } }];
    Some([mark(gone), mark(came)])
}

/// The words of a text, and the white space between them. Chinese has none: each of its characters is a word.
fn split(text: &str) -> Vec<&str> {
    let stands_alone = |c: char| ('\u{2e80}'..='\u{9fff}').contains(&c);
    let (mut words, mut start, mut last) = (Vec::new(), 0, ' ');
    for (at, c) in text.char_indices() {
        if at > start && (last.is_whitespace() != c.is_whitespace() || stands_alone(last) || stands_alone(c)) {
            words.push(&text[start..at]);
            start = at;
        }
        last = c;
    }
    words.push(&text[start..]);
    words
}

/// What a row is called.
pub(super) fn row_title(visit: &Visit<'_>, table: TableName, key: &str) -> Markup {
    let language = visit.language;
    let place = |id: &str| match visit.registry.place(id) {
        Some(place) => place_link(visit, place),
        None => html! { bdi { (id) } },
    };
    let sign = |code: &str| match code.parse() {
        Ok(code) => sign_link(code),
        Err(_) => html! { bdi { (code) } },
    };
    match table {
        TableName::Places => html! { (language.say("Địa điểm", "Place")) " " (place(key)) },
        TableName::Signs => html! { (language.say("Biển", "Sign")) " " (sign(key)) },
        TableName::Overrides => {
            let scope = scope(key);
            let from = key.get(scope.len()..).unwrap_or("").trim_start();
            html! {
                (language.say("Chuyển hướng tạm thời", "Override"))
                " " @if visit.registry.place(scope).is_some() { (place(scope)) } @else { (sign(scope)) }
                ", " (language.say("từ", "from")) " " (moment(visit, from))
            }
        }
    }
}

/// A row with each cell that changes.
pub(super) fn row(visit: &Visit<'_>, row: &Row<'_>) -> Markup {
    let language = visit.language;
    html! {
        div.stack {
            h3 {
                (row_title(visit, row.table, row.key))
                @match row.fate() {
                    Fate::Changed => {}
                    Fate::New => { " " (badge(Tone::Good, language.say("dòng mới", "new row"))) }
                    Fate::Gone => { " " (badge(Tone::Danger, language.say("xóa dòng", "row goes"))) }
                }
            }
            @for cell in &row.cells {
                // The title has the key; a new row's empty cells, and those of one that goes, say nothing.
                @let is_key = row.table.key_columns().contains(&cell.column.as_str());
                @if !is_key && cell.old.as_deref().unwrap_or("") != cell.new.as_deref().unwrap_or("") {
                    div {
                        p.label { (words::column(language, &cell.column)) }
                        @let [old, new] = marked(row.table, &cell.column, cell.old.as_deref(), cell.new.as_deref())
                            .unwrap_or_else(|| [&cell.old, &cell.new].map(|text| value(visit, row.table, &cell.column, text.as_deref())));
                        @match row.fate() {
                            Fate::Changed => { (sides(language, old, new)) }
                            Fate::New => { div.sides { div.new { (new) } } }
                            Fate::Gone => { div.sides { div.old { (old) } } }
                        }
                    }
                }
            }
        }
    }
}

/// Signs that move alike: where they lead now and where they will, in each language.
pub(super) fn moves(visit: &Visit<'_>, alike: &[&Move]) -> Markup {
    let Some(first) = alike.first() else { return html! {} };
    let language = visit.language;
    let tongues = tongues(&first.before, &first.after);
    html! {
        div.stack {
            p {
                strong {
                    (language.number(alike.len() as u64)) " "
                    @match (language, alike.len()) {
                        (Language::Vietnamese, _) => { "biển sẽ dẫn đến trang khác" }
                        (Language::English, 1) => { "sign will lead elsewhere" }
                        (Language::English, _) => { "signs will lead elsewhere" }
                    }
                    @if let Some(from) = first.from { " " (language.say("từ", "from")) " " (time(visit, from)) }
                }
                ": "
                @for (at, sign) in alike.iter().take(MOST_SIGNS).enumerate() {
                    @if at > 0 { ", " }
                    (sign_link(sign.code))
                }
                @if alike.len() > MOST_SIGNS { " " (language.say("và các biển khác của địa điểm này", "and more of this place")) }
            }
            @for tag in tongues {
                @let [old, new] = [&first.before, &first.after].map(|leads| page(visit, leads, &first.place, tag));
                div {
                    @if !tag.is_empty() { p.label { (words::tongue(language, tag)) } }
                    @if old.0 == new.0 {
                        p { span.hint { (language.say("Không đổi", "As before")) ": " } (old) }
                    } @else {
                        (sides(language, old, new))
                    }
                }
            }
        }
    }
}

/// The languages in which either has a page; one without a name where neither has.
fn tongues<'l>(before: &'l Leads, after: &'l Leads) -> Vec<&'l str> {
    let mut tags: Vec<&str> = Vec::new();
    for leads in [before, after] {
        let own: Vec<&str> = match leads {
            Leads::Pages(pages) => pages.iter().map(|(tag, _)| tag.as_str()).collect(),
            Leads::OwnPage(languages) => languages.iter().map(String::as_str).collect(),
            Leads::Retired(_) | Leads::Nowhere => continue,
        };
        for tag in own {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
    }
    if tags.is_empty() {
        tags.push("");
    }
    tags
}

/// The page that somebody with a language gets. Our own is in these pages what is told of the place.
fn page(visit: &Visit<'_>, leads: &Leads, place: &str, tag: &str) -> Markup {
    let language = visit.language;
    let instead =
        |why: &str, default: &str| html! { " " span.soft { "(" (why) " " (words::tongue(language, default)) ")" } };
    match leads {
        Leads::Nowhere => html! { span.soft { (language.say("không có biển này", "there is no such sign")) } },
        Leads::Retired(successor) => html! {
            (language.say("trang báo biển đã ngừng sử dụng", "the page that says it was taken down"))
            @if let Some(code) = successor { ", " (language.say("biển thay thế", "replaced by")) " " (sign_link(*code)) }
        },
        Leads::OwnPage(languages) => html! {
            @let text = words::answer(language, Answer::OwnPage);
            @if visit.registry.place(place).is_some() { a href={ (place_path(place)) "#about" } { (text) } } @else { (text) }
            @if let Some(default) = languages.first().filter(|_| !languages.iter().any(|known| known == tag)) {
                (instead(language.say("nội dung bằng", "its text in"), default))
            }
        },
        Leads::Pages(pages) => match (pages.iter().find(|(known, _)| known == tag), pages.first()) {
            (Some((_, url)), _) => url_link(url),
            (None, Some((default, url))) => html! {
                (url_link(url))
                (instead(language.say("không có trang riêng, dùng", "no page of its own, that of"), default))
            },
            (None, None) => html! { span.soft { (language.say("không có trang đích", "no target")) } },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::trial::{self, change};
    use TableName::{Overrides, Places, Signs};

    #[test]
    fn rows_stand_under_their_place() {
        let registry = trial::registry(&trial::tables());
        let new =
            |table, key: &str, column: &str, new: &str| CellChange { old: None, ..change(table, key, column, "", new) };
        let cells = [
            change(Places, "p2", "target", "a", "b"),
            change(Places, "p2", "target:en", "", "c"),
            change(Signs, "AAAA2222", "target", "a", "b"),
            change(Signs, "BBBB2222", "note", "", "x"),
            new(Signs, "DDDD5555", "place", "p2"),
            new(Signs, "DDDD5555", "status", "planned"),
            new(Overrides, "AAAA1111 2027-01-01T00:00", "until", "2027-01-02T00:00"),
            new(Overrides, "p2 2027-01-01T00:00", "until", "2027-01-02T00:00"),
            new(Overrides, "nobody 2027-01-01T00:00", "until", "2027-01-02T00:00"),
            change(Signs, "ZZZZ9999", "note", "", "x"),
        ];
        let groups = groups(&cells, &registry);
        let shape: Vec<(&str, Vec<(&str, usize)>)> = groups
            .iter()
            .map(|group| (group.place.as_str(), group.rows.iter().map(|row| (row.key, row.cells.len())).collect()))
            .collect();
        assert_eq!(
            shape,
            [
                ("p2", vec![("p2", 2), ("BBBB2222", 1), ("DDDD5555", 2), ("p2 2027-01-01T00:00", 1)]),
                ("p1", vec![("AAAA2222", 1), ("AAAA1111 2027-01-01T00:00", 1)]),
                ("nobody", vec![("nobody 2027-01-01T00:00", 1)]),
                ("", vec![("ZZZZ9999", 1)]),
            ]
        );
        assert_eq!(groups[0].rows[2].fate(), Fate::New);
        assert_eq!(groups[0].rows[0].fate(), Fate::Changed);
    }

    #[test]
    fn a_row_of_which_each_cell_goes_is_gone() {
        let gone = CellChange { new: None, ..change(Places, "p1", "name", "Một", "") };
        let cells = [gone];
        assert_eq!(groups(&cells, &trial::registry(&trial::tables()))[0].rows[0].fate(), Fate::Gone);
    }

    #[test]
    fn a_cell_is_shown_in_words_of_the_page() {
        let office = trial::Office::open(&trial::tables(), crate::accounts::Role::Viewer, &[]);
        let visit = office.visit("/changes/1");
        let shown = |table, column, text| value(&visit, table, column, Some(text)).into_string();
        assert!(shown(Signs, "status", "retired").contains("ngừng sử dụng"));
        assert!(shown(Places, "kind", "relic").contains("di tích"));
        assert!(shown(Overrides, "until", "2027-01-10T00:00").contains("10/01/2027 00:00"));
        // What is none of them is shown as it is written.
        assert!(shown(Overrides, "until", "soon").contains("soon"));
        assert!(shown(Places, "note", "retired").contains("retired"));
    }

    #[test]
    fn our_page_is_not_said_to_lack_a_page() {
        let office = trial::Office::open(&trial::tables(), crate::accounts::Role::Viewer, &[]);
        let visit = office.visit("/changes/1");
        let shown = |tag: &str| page(&visit, &Leads::OwnPage(vec!["vi".to_owned()]), "p1", tag).into_string();
        let ours = "<a href=\"/places/p1#about\">trang riêng của hệ thống</a>";
        assert_eq!(shown("vi"), ours);
        assert_eq!(shown("en"), format!("{ours} <span class=\"soft\">(nội dung bằng Tiếng Việt)</span>"));
    }

    #[test]
    fn a_word_that_changes_in_a_long_text_is_marked() {
        let shown = |old: &str, new: &str| {
            marked(Places, "about:en", Some(old), Some(new)).map(|sides| sides.map(Markup::into_string))
        };
        let is = |old: &str, new: &str| {
            let side = |text: &str| format!("<bdi class=\"prose\">{text}</bdi>");
            Some([side(old), side(new)])
        };
        let long = "từ ".repeat(300);
        assert_eq!(
            shown(&format!("{long}cũ {long}"), &format!("{long}mới {long}")),
            is(&format!("{long}<del>cũ</del> {long}"), &format!("{long}<ins>mới</ins> {long}"))
        );
        assert_eq!(shown("a\nb", "a\nb c"), is("a\nb", "a\nb<ins> c</ins>"));
        assert_eq!(shown("a a", "a a a"), is("a a", "a a<ins> a</ins>"));
        assert_eq!(shown("谅山省", "谅山市"), is("谅山<del>省</del>", "谅山<ins>市</ins>"));
        assert_eq!(shown("<b>", "x"), is("<del>&lt;b&gt;</del>", "<ins>x</ins>"));
        assert_eq!(shown("", "x"), None);
        assert_eq!(marked(Signs, "status", Some("active"), Some("retired")).map(|_| ()), None);
    }

    #[test]
    fn columns_of_targets_are_known_with_their_languages() {
        for (column, language) in
            [("target", Some("")), ("target:en", Some("en")), ("name:en", None), ("targets", None), ("note", None)]
        {
            assert_eq!(target_language(column), language, "{column}");
        }
    }
}
