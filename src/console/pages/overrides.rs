//! `/overrides`: targets for a time, such as those of a festival.
//!
//! Owns the list of those in force, to come and past, and the forms that add one for many places at once, end one early,
//! or take one away that has not begun. Each makes a draft, whose page is where it is submitted from.

use std::cmp::Reverse;

use hyper::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};

use super::super::Visit;
use super::super::answer::{Answer, Failure, see_other};
use super::super::areas::{Areas, areas_of, lacks, scope};
use super::super::cells_view::{row_title, target_language};
use super::super::elements::{
    Button, Field, Tone, badge, button, facts, local_time, notice, place_link, problems, sign_link, table, texts, tick,
    time, url_link,
};
use super::super::forms::{self, reason_field};
use super::super::language::Language;
use super::super::lists::selection;
use super::super::page::page_with;
use super::super::search::Filters;
use super::super::tables::tables;
use super::super::words;
use crate::accounts::Right;
use crate::changes::{Draft, festival};
use crate::core::Problems;
use crate::registry::{PlaceRef, Rules, SignRef};
use crate::source::{CellChange, Cells, Sources, TableName};

/// Places or signs to tick on one page.
const MOST_CHOICES: usize = 300;
/// Overrides that have ended, of which so many are shown.
const MOST_PAST: usize = 50;

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Override {
    key: String,
    /// `None` where they can't be read.
    times: Option<(Timestamp, Timestamp)>,
    /// As they are written, each with its column.
    targets: Vec<(String, String)>,
    until: String,
    note: String,
}

/// Where an override is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    ToCome,
    InForce,
    Past,
}

impl Override {
    /// Each row of which the key is not that of another.
    fn all(cells: &Cells, rules: &Rules) -> Vec<Self> {
        let one = |key: &str| {
            let get = |column: &str| cells.get(key, column);
            let time = |text: &str| Timestamp::from_millisecond(rules.time(text).ok()?).ok();
            let targets = cells.columns().iter().filter(|column| target_language(column).is_some());
            let targets = targets.filter_map(|column| Some((column.clone(), get(column)?.to_owned())));
            Some(Self {
                key: key.to_owned(),
                times: time(get("from")?).zip(time(get("until")?)),
                targets: targets.filter(|(_, url)| !url.is_empty()).collect(),
                until: get("until")?.to_owned(),
                note: get("note")?.to_owned(),
            })
        };
        cells.keys().filter_map(one).collect()
    }

    /// `None` where its times can't be read.
    fn phase(&self, now: Timestamp) -> Option<Phase> {
        let (from, until) = self.times?;
        Some(if now < from {
            Phase::ToCome
        } else if now < until {
            Phase::InForce
        } else {
            Phase::Past
        })
    }

    /// The cells that end it now: the text of the time is local, as the page's other times are.
    fn ended(&self, now: &str) -> Vec<CellChange> {
        vec![CellChange {
            table: TableName::Overrides,
            key: self.key.clone(),
            column: "until".to_owned(),
            old: Some(self.until.clone()),
            new: Some(now.to_owned()),
        }]
    }

    /// The cells that take the row away.
    fn deleted(&self, cells: &Cells) -> Vec<CellChange> {
        let cell = |column: &String| {
            let old = cells.get(&self.key, column).filter(|old| !old.is_empty())?.to_owned();
            let (key, column) = (self.key.clone(), column.clone());
            Some(CellChange { table: TableName::Overrides, key, column, old: Some(old), new: None })
        };
        cells.columns().iter().filter_map(cell).collect()
    }
}

pub(in crate::console) fn get(visit: &Visit<'_>, _rest: &str) -> Answer {
    show(visit, StatusCode::OK, &[])
}

pub(in crate::console) fn post(visit: &Visit<'_>, _rest: &str) -> Answer {
    if visit.fields.get("action") == "search" {
        return show(visit, StatusCode::OK, &[]);
    }
    match make(visit) {
        Ok(number) => Ok(see_other(&format!("/changes/{number}"))),
        Err(Failure::Wrong(wrong)) => show(visit, StatusCode::UNPROCESSABLE_ENTITY, &wrong),
        Err(Failure::Forbidden(why)) => show(visit, StatusCode::FORBIDDEN, &[why]),
        Err(failure) => Err(failure),
    }
}

fn show(visit: &Visit<'_>, status: StatusCode, wrong: &[String]) -> Answer {
    let language = visit.language;
    let title = language.say("Chuyển hướng tạm thời", "Overrides");
    let (tables, unreadable) = match tables(visit) {
        Ok(tables) => (tables, Vec::new()),
        Err(problems) => (Sources::default(), texts(&problems)),
    };
    let cells = tables.cells(TableName::Overrides).map_err(|problems| Failure::Wrong(texts(&problems)))?;
    let all = Override::all(&cells, &visit.parts.rules);
    let told: Vec<String> = unreadable.into_iter().chain(wrong.iter().cloned()).collect();
    let may_propose = visit.account.role.has(Right::Propose);
    let key = visit.fields.get("row");
    let main = if let Some(one) = all.iter().find(|one| one.key == key) {
        html! {
            (problems(language, &told))
            p { a href="/overrides" { "← " (language.say("Tất cả chuyển hướng tạm thời", "All overrides")) } }
            (single(visit, one, &tables))
        }
    } else if visit.fields.has("add") && may_propose {
        html! { (problems(language, &told)) (add_form(visit)) }
    } else {
        html! { (problems(language, &told)) (overview(visit, &all, may_propose)) }
    };
    Ok(page_with(visit, status, title, main))
}

// === The list ===

fn overview(visit: &Visit<'_>, all: &[Override], may_propose: bool) -> Markup {
    let language = visit.language;
    let of = |phase: Phase| -> Vec<&Override> {
        let mut found: Vec<&Override> = all.iter().filter(|one| one.phase(visit.now) == Some(phase)).collect();
        match phase {
            Phase::ToCome => found.sort_by_key(|one| one.times),
            Phase::InForce => found.sort_by_key(|one| one.times.map(|(_, until)| until)),
            Phase::Past => found.sort_by_key(|one| Reverse(one.times.map(|(_, until)| until))),
        }
        found
    };
    let unreadable: Vec<&Override> = all.iter().filter(|one| one.times.is_none()).collect();
    let past = of(Phase::Past);
    let section = |title: &str, list: &[&Override]| {
        html! {
            section {
                h2 { (title) " (" (language.number(list.len() as u64)) ")" }
                @if list.is_empty() { p.soft { (language.say("Không có.", "None.")) } }
                @else { (rows(visit, title, list)) }
            }
        }
    };
    html! {
        @if may_propose {
            p { a.button href="/overrides?add=1" { (language.say("Thêm cho nhiều địa điểm", "Add one for many places")) } }
        }
        @if !unreadable.is_empty() {
            (notice(Tone::Danger, language.say("Thời gian không đọc được", "Times that can't be read"), html! {
                ul { @for one in &unreadable { li { (row_title(visit, TableName::Overrides, &one.key)) } } }
            }))
        }
        (section(language.say("Đang có hiệu lực", "In force"), &of(Phase::InForce)))
        (section(language.say("Sắp tới", "To come"), &of(Phase::ToCome)))
        @if !past.is_empty() {
            section {
                h2 { (language.say("Đã kết thúc", "Past")) " (" (language.number(past.len() as u64)) ")" }
                details {
                    summary { (language.say("Xem", "Show")) }
                    (rows(visit, language.say("Đã kết thúc", "Past"), past.get(..MOST_PAST).unwrap_or(&past)))
                }
            }
        }
    }
}

fn scope_link(visit: &Visit<'_>, key: &str) -> Markup {
    let scope = scope(key);
    match (visit.registry.place(scope), scope.parse()) {
        (Some(place), _) => place_link(visit, place),
        (None, Ok(code)) => sign_link(code),
        (None, Err(_)) => html! { bdi { (scope) } },
    }
}

fn target_list(language: Language, targets: &[(String, String)]) -> Markup {
    html! {
        div {
            @for (column, url) in targets {
                div {
                    @if let Some(tag) = target_language(column).filter(|tag| !tag.is_empty()) {
                        span.hint { (words::tongue(language, tag)) ": " }
                    }
                    (url_link(url))
                }
            }
        }
    }
}

fn rows(visit: &Visit<'_>, caption: &str, list: &[&Override]) -> Markup {
    let language = visit.language;
    let heads = [
        language.say("Áp dụng cho", "For"),
        language.say("Từ", "From"),
        language.say("Đến", "Until"),
        language.say("Trang đích", "Targets"),
        language.say("Ghi chú", "Note"),
        language.say("Xử lý", "Do"),
    ];
    let row = |one: &&Override| {
        let at = |time_of: fn((Timestamp, Timestamp)) -> Timestamp| {
            html! {
                @if let Some(times) = one.times { (time(visit, time_of(times))) }
            }
        };
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("row", &one.key).finish();
        vec![
            scope_link(visit, &one.key),
            at(|(from, _)| from),
            at(|(_, until)| until),
            target_list(language, &one.targets),
            html! { bdi { (one.note) } },
            html! { a href={ "/overrides?" (query) } { (language.say("Xem, sửa", "Look, change")) } },
        ]
    };
    table(caption, &heads, list.iter().map(row))
}

/// One override, and what can be done to it.
fn single(visit: &Visit<'_>, one: &Override, tables: &Sources) -> Markup {
    let language = visit.language;
    let phase = one.phase(visit.now);
    let tone = match phase {
        Some(Phase::InForce) => (Tone::Good, language.say("đang có hiệu lực", "in force")),
        Some(Phase::ToCome) => (Tone::Warning, language.say("sắp tới", "to come")),
        Some(Phase::Past) => (Tone::Info, language.say("đã kết thúc", "past")),
        None => (Tone::Danger, language.say("thời gian không đọc được", "its times can't be read")),
    };
    let mut list = vec![
        (language.say("Áp dụng cho", "For"), scope_link(visit, &one.key)),
        (language.say("Trang đích", "Targets"), target_list(language, &one.targets)),
    ];
    if let Some((from, until)) = one.times {
        list.push((language.say("Từ", "From"), time(visit, from)));
        list.push((language.say("Đến", "Until"), time(visit, until)));
    }
    if !one.note.is_empty() {
        list.push((language.say("Ghi chú", "Note"), html! { bdi { (one.note) } }));
    }
    let areas = areas_of(&one.ended(""), &visit.registry, tables);
    let action = match phase {
        Some(Phase::InForce) => Some(("end", language.say("Kết thúc ngay", "End it now"))),
        Some(Phase::ToCome) => Some(("delete", language.say("Xóa", "Delete it"))),
        Some(Phase::Past) | None => None,
    };
    html! {
        section {
            p { (badge(tone.0, tone.1)) }
            (facts(list.into_iter().map(|(name, value)| (name.to_owned(), value))))
            @if let Some((action, text)) = action {
                @if visit.account.may(Right::Propose, areas.iter().map(String::as_str)) {
                    form.form method="post" action="/overrides" {
                        input type="hidden" name="row" value=(one.key);
                        (reason_field(language, visit.fields.get("reason")))
                        div.row { (button(Button::Danger, "action", action, text)) }
                        p.hint { (language.say("Lập bản nháp để xem lại rồi gửi duyệt.", "This makes a draft, to be looked at and submitted.")) }
                    }
                } @else {
                    p.soft { (lacks(visit, Right::Propose, &areas)) }
                }
            }
        }
    }
}

// === A new one ===

/// Whether signs are to be chosen, and not places.
fn is_of_signs(visit: &Visit<'_>) -> bool {
    visit.fields.get("of") == "signs"
}

/// What can be ticked: the scope, and how it is shown.
fn found(visit: &Visit<'_>) -> Vec<(String, Markup)> {
    let filters = Filters::read(&visit.fields);
    let index = visit.parts.index.of(&visit.registry);
    let figures = visit.parts.figures.snapshot();
    if is_of_signs(visit) {
        let signs = filters.signs(&visit.registry, &index, &figures).into_iter();
        signs.map(|sign| (sign.code().text().to_string(), sign_label(visit, sign))).collect()
    } else {
        let places = filters.places(&visit.registry, &index, &figures).into_iter();
        places.map(|(_, place)| (place.id().to_owned(), place_label(visit, place))).collect()
    }
}

/// The columns of targets, the default language's first.
fn target_columns(visit: &Visit<'_>) -> Vec<(String, String)> {
    let languages = visit.registry.languages().iter();
    let column = |(at, tag): (usize, &crate::core::Tag)| {
        let column = if at == 0 { "target".to_owned() } else { format!("target:{tag}") };
        (column, words::tongue(visit.language, tag).to_owned())
    };
    languages.enumerate().map(column).collect()
}

/// The search by which places or signs are chosen, with a button of its own: the rest of the form is sent along.
fn search(visit: &Visit<'_>) -> Markup {
    let (language, fields) = (visit.language, &visit.fields);
    let of = [("", words::table(language, TableName::Places)), ("signs", words::table(language, TableName::Signs))];
    html! {
        div.filters {
            (selection(visit))
            (Field { name: "of", label: language.say("Cho", "For"), value: fields.get("of"), ..Field::default() }.choice(of))
        }
        // The form is not complete yet, and that is no mistake.
        div.row { button.plain name="action" value="search" formnovalidate { (language.say("Tìm", "Search")) } }
    }
}

/// The boxes to tick: what was ticked before, whatever is searched for since, and what is found.
fn scopes(visit: &Visit<'_>) -> Markup {
    let (language, fields) = (visit.language, &visit.fields);
    let found = found(visit);
    let shown = found.get(..MOST_CHOICES).unwrap_or(&found);
    let mut ticked: Vec<&str> = fields.all("scope").collect();
    ticked.sort_unstable();
    ticked.dedup();
    let is_shown = |scope: &str| shown.iter().any(|(known, _)| known == scope);
    let elsewhere: Vec<&str> = ticked.iter().copied().filter(|scope| !is_shown(scope)).collect();
    html! {
        @if !elsewhere.is_empty() {
            fieldset {
                legend { (language.say("Đã chọn trước đó", "Chosen before")) " (" (language.number(elsewhere.len() as u64)) ")" }
                @for scope in elsewhere { (tick("scope", scope, scope_name(visit, scope), true)) }
            }
        }
        fieldset {
            legend {
                (language.say("Áp dụng cho", "For")) " (" (language.number(found.len() as u64)) " "
                (language.say("kết quả", "found")) ")"
            }
            @if found.is_empty() { p { (language.say("Không tìm thấy.", "Nothing was found.")) } }
            @for (scope, label) in shown {
                (tick("scope", scope, label.clone(), ticked.binary_search(&scope.as_str()).is_ok()))
            }
            @if found.len() > shown.len() {
                p { (language.say("Còn nữa: hãy thu hẹp tìm kiếm.", "There are more: narrow the search.")) }
            }
        }
    }
}

/// A place or a sign as it stands beside its box.
fn scope_name(visit: &Visit<'_>, scope: &str) -> Markup {
    let place = visit.registry.place(scope);
    let sign = scope.parse().ok().and_then(|code| visit.registry.sign(code));
    match (place, sign) {
        (Some(place), _) => place_label(visit, place),
        (None, Some(sign)) => sign_label(visit, sign),
        (None, None) => html! { bdi { (scope) } },
    }
}

fn place_label(visit: &Visit<'_>, place: PlaceRef<'_>) -> Markup {
    html! { bdi { (place.name_in(visit.language.tag())) } " " span.soft { bdi { (place.area()) } } }
}

fn sign_label(visit: &Visit<'_>, sign: SignRef<'_>) -> Markup {
    html! { span.code { (sign.code().grouped()) } " " bdi { (sign.place().name_in(visit.language.tag())) } }
}

/// One form for both steps, so that another search takes away nothing that was ticked or typed.
fn add_form(visit: &Visit<'_>) -> Markup {
    let (language, fields) = (visit.language, &visit.fields);
    let zone = visit.parts.rules.timezone.iana_name().unwrap_or("");
    let zone = format!("{} {zone}", language.say("Múi giờ", "Time zone"));
    let until = language.say("Chính thời điểm này không còn hiệu lực.", "At this moment it has ended.");
    let at = |name, label, hint| {
        Field {
            name,
            label,
            hint,
            kind: "datetime-local",
            value: fields.get(name),
            is_required: true,
            ..Field::default()
        }
        .line()
    };
    html! {
        form.form method="post" action="/overrides" {
            input type="hidden" name="add" value="1";
            section {
                h2 { (language.say("1. Chọn nơi áp dụng", "1. Choose where")) }
                (search(visit))
                (scopes(visit))
            }
            section {
                h2 { (language.say("2. Từ lúc nào, đến lúc nào, dẫn đến đâu", "2. From when until when, and to where")) }
                div.pair {
                    (at("from", language.say("Từ", "From"), &zone))
                    (at("until", language.say("Đến", "Until"), until))
                }
                @for (at, (column, tongue)) in target_columns(visit).iter().enumerate() {
                    @let label = format!("{} ({tongue})", language.say("Trang đích", "Target"));
                    @let hint = if at == 0 { "" } else {
                        language.say("Để trống nếu không có: khách được đưa đến trang ngôn ngữ chính.", "Empty where there is none: visitors get the main language's page.")
                    };
                    (Field { name: column, label: &label, hint, kind: "url", value: fields.get(column), is_required: at == 0, ..Field::default() }.line())
                }
                (Field { name: "note", label: language.say("Ghi chú trong bảng", "Note in the table"), value: fields.get("note"), ..Field::default() }.line())
                (reason_field(language, fields.get("reason")))
                div.row { (button(Button::Primary, "action", "add", language.say("Lập bản nháp", "Make a draft"))) }
                p.hint { (language.say("Bản nháp được xem lại rồi mới gửi duyệt.", "You look at the draft before you submit it.")) }
            }
        }
    }
}

// === What the forms make ===

/// Makes the draft; its number.
fn make(visit: &Visit<'_>) -> Result<i64, Failure> {
    let language = visit.language;
    let unreadable = |problems: Problems| Failure::Wrong(texts(&problems));
    let tables = tables(visit).map_err(unreadable)?;
    let cells = tables.cells(TableName::Overrides).map_err(unreadable)?;
    let reason = forms::reason(&visit.fields, "reason", language);
    let planned = match visit.fields.get("action") {
        "add" => added(visit, &cells),
        "end" => known(visit, &cells, Phase::InForce).and_then(|one| {
            let now = local_time(visit, visit.now);
            // It would end before it begins: the table takes minutes.
            let begins_now = one.times.is_some_and(|(from, _)| local_time(visit, from) == now);
            if begins_now {
                let text = language.say(
                    "Chuyển hướng này vừa bắt đầu, hãy thử lại sau một phút.",
                    "It has just begun: try again in a minute.",
                );
                return Err(vec![text.to_owned()]);
            }
            Ok(one.ended(&now))
        }),
        "delete" => known(visit, &cells, Phase::ToCome).map(|one| one.deleted(&cells)),
        other => Err(vec![format!("expected an action of this page, found {other:?}")]),
    };
    let (reason, planned) = match (reason, planned) {
        (Ok(reason), Ok(planned)) => (reason, planned),
        (reason, planned) => {
            let wrong = planned.err().unwrap_or_default().into_iter().chain(reason.err());
            return Err(Failure::Wrong(wrong.collect()));
        }
    };
    let areas = Areas::of(&visit.registry, &tables).touched(&planned);
    if !visit.account.may(Right::Propose, areas.iter().map(String::as_str)) {
        return Err(Failure::Forbidden(lacks(visit, Right::Propose, &areas)));
    }
    let author = visit.account.number;
    let draft = Draft { author, reason, effective: None, cells: planned, undoes: None, forced: false };
    Ok(visit.parts.changes.draft(&draft, visit.now)?)
}

/// The override that a form names, if it still is where something can be done to it.
fn known(visit: &Visit<'_>, cells: &Cells, phase: Phase) -> Result<Override, Vec<String>> {
    let key = visit.fields.get("row");
    let one = Override::all(cells, &visit.parts.rules).into_iter().find(|one| one.key == key);
    one.filter(|one| one.phase(visit.now) == Some(phase)).ok_or_else(|| {
        let text = visit.language.say(
            "Chuyển hướng này không còn, hoặc đã bắt đầu hay kết thúc.",
            "This override is gone, or has begun or ended meanwhile.",
        );
        vec![text.to_owned()]
    })
}

/// The rows that the form asks for, or all that is wrong with it.
fn added(visit: &Visit<'_>, cells: &Cells) -> Result<Vec<CellChange>, Vec<String>> {
    let (language, fields, rules) = (visit.language, &visit.fields, &visit.parts.rules);
    let mut wrong = Vec::new();
    let is_known = |scope: &str| {
        visit.registry.place(scope).is_some() || scope.parse().is_ok_and(|code| visit.registry.sign(code).is_some())
    };
    let scopes: Vec<String> = fields.all("scope").map(str::to_owned).collect();
    if scopes.is_empty() {
        wrong.push(language.say("Chọn ít nhất một nơi áp dụng.", "Choose at least one place or sign.").to_owned());
    }
    wrong.extend(scopes.iter().filter(|scope| !is_known(scope)).map(|scope| match language {
        Language::Vietnamese => format!("Không có địa điểm hay biển {scope:?}"),
        Language::English => format!("expected a place or a code, found {scope:?}"),
    }));
    let mut at = |name: &str, label: &str| {
        let time = rules.time(fields.get(name));
        time.map_err(|error| wrong.push(format!("{label}: {error}"))).ok()
    };
    let from = at("from", language.say("Từ", "From"));
    let until = at("until", language.say("Đến", "Until"));
    if let (Some(from), Some(until)) = (from, until) {
        if until <= from {
            wrong.push(
                language
                    .say("Đến: phải sau thời điểm bắt đầu", "Until: expected a time after the beginning")
                    .to_owned(),
            );
        } else if until <= visit.now.as_millisecond() {
            wrong.push(language.say("Đến: phải ở tương lai", "Until: expected a time to come").to_owned());
        }
    }
    let mut targets = Vec::new();
    for (at, (column, tongue)) in target_columns(visit).into_iter().enumerate() {
        let url = fields.get(&column);
        if url.is_empty() && at > 0 {
            continue;
        }
        if let Err(error) = rules.target(url) {
            let why = words::target_problem(language, &error);
            wrong.push(format!("{} ({tongue}): {why}", language.say("Trang đích", "Target")));
        }
        targets.push((column, url.to_owned()));
    }
    for scope in &scopes {
        let key = format!("{scope} {}", fields.get("from"));
        if cells.get(&key, "until").is_some() {
            wrong.push(match language {
                Language::Vietnamese => format!("{scope}: đã có chuyển hướng bắt đầu đúng thời điểm này"),
                Language::English => format!("{scope}: there is an override that begins at this time already"),
            });
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(festival(&scopes, fields.get("from"), fields.get("until"), &targets, fields.get("note")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Role;
    use crate::console::trial;

    fn all() -> (Cells, Vec<Override>) {
        let cells = trial::tables().cells(TableName::Overrides).expect("a table");
        let all = Override::all(&cells, &trial::rules());
        (cells, all)
    }

    #[test]
    fn an_override_is_to_come_in_force_or_past() {
        let (_, all) = all();
        assert_eq!(all.len(), 1);
        for (now, phase) in [
            ("2026-12-30T16:59:59Z", Phase::ToCome),
            ("2026-12-30T17:00:00Z", Phase::InForce),
            ("2027-01-09T16:59:59Z", Phase::InForce),
            ("2027-01-09T17:00:00Z", Phase::Past),
        ] {
            assert_eq!(all[0].phase(now.parse().expect("a time")), Some(phase), "{now}");
        }
    }

    #[test]
    fn another_search_keeps_what_was_ticked_and_typed() {
        let office = trial::Office::open(&trial::tables(), Role::Editor, &[]);
        let typed =
            "add=1&action=search&q=hai&scope=p1&from=2026-12-31T00:00&target=https://langson.gov.vn/x&reason=why";
        let page = trial::text(post(&office.visit(&format!("/overrides?{typed}")), ""));
        assert!(page.contains("name=\"scope\" value=\"p1\" checked") && page.contains("value=\"p2\">"), "{page}");
        for kept in ["2026-12-31T00:00", "https://langson.gov.vn/x", "why"] {
            assert!(page.contains(kept), "{kept}");
        }
    }

    #[test]
    fn a_refusal_for_an_area_keeps_what_was_ticked_and_typed() {
        let office = trial::Office::open(&trial::tables(), Role::Editor, &["A"]);
        let typed = "add=1&action=add&scope=p2&from=2026-12-01T00:00&until=2026-12-02T00:00\
                     &target=https://langson.gov.vn/x&reason=why";
        let answer = post(&office.visit(&format!("/overrides?{typed}")), "");
        assert_eq!(answer.as_ref().map(hyper::Response::status).ok(), Some(StatusCode::FORBIDDEN));
        let page = trial::text(answer);
        assert!(page.contains("name=\"scope\" value=\"p2\" checked"), "{page}");
        for kept in ["role=\"alert\"", "2026-12-01T00:00", "https://langson.gov.vn/x", "why"] {
            assert!(page.contains(kept), "{kept}");
        }
    }

    #[test]
    fn one_ends_early_or_goes_as_a_change_that_the_tables_take() {
        let (cells, all) = all();
        let tables = trial::tables();
        let ended = tables.edit(&all[0].ended("2027-01-02T10:00")).expect("an edit");
        assert_eq!(
            String::from_utf8_lossy(&ended.overrides),
            "scope,from,until,target,note\np2,2026-12-31T00:00,2027-01-02T10:00,https://langson.gov.vn/tet,\n"
        );
        let gone = tables.edit(&all[0].deleted(&cells)).expect("an edit");
        assert_eq!(String::from_utf8_lossy(&gone.overrides), "scope,from,until,target,note\n");
    }
}
