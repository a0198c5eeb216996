//! `/replace`: another host or another beginning of an address, in many targets at once.
//!
//! Owns the dry run, with everything that it depends on in the address. The form under it makes a draft, whose page
//! is where it is submitted from.

use std::collections::HashSet;

use hyper::StatusCode;
use maud::{Markup, html};

use super::super::Visit;
use super::super::answer::{Answer, Failure, see_other};
use super::super::areas::{areas_of, lacks, scope};
use super::super::cells_view::{row_title, value};
use super::super::elements::{Button, Field, Tone, button, how_to_read, lines, notice, problems, table, texts, tick};
use super::super::forms::{Wish, effective_field, reason_field};
use super::super::lists::selection;
use super::super::page::page_with;
use super::super::preview::{Preview, World};
use super::super::search::Filters;
use super::super::tables::tables;
use super::super::words;
use crate::accounts::Right;
use crate::changes::{Draft, PlanError, Replacement, replace};
use crate::core::Code;
use crate::registry::SignRef;
use crate::source::{CellChange, Sources, TableName};

/// Cells that are shown before the rest is only counted.
const MOST: usize = 500;
/// The fields of the address that the form carries on.
const CARRIED: [&str; 6] = ["find", "replace", "q", "area", "kind", "in"];

pub(in crate::console) fn get(visit: &Visit<'_>, _rest: &str) -> Answer {
    show(visit, StatusCode::OK, &[])
}

pub(in crate::console) fn post(visit: &Visit<'_>, _rest: &str) -> Answer {
    match make(visit) {
        Ok(number) => Ok(see_other(&format!("/changes/{number}"))),
        Err(Failure::Wrong(wrong)) => show(visit, StatusCode::UNPROCESSABLE_ENTITY, &wrong),
        Err(Failure::Forbidden(why)) => show(visit, StatusCode::FORBIDDEN, &[why]),
        Err(failure) => Err(failure),
    }
}

/// Makes the draft; its number.
fn make(visit: &Visit<'_>) -> Result<i64, Failure> {
    let zone = &visit.parts.rules.timezone;
    let wish =
        Wish::read(&visit.fields, zone, visit.now, visit.language).map_err(|(_, wrong)| Failure::Wrong(wrong))?;
    let tables = tables(visit).map_err(|problems| Failure::Wrong(texts(&problems)))?;
    let cells = plan(visit, &tables)?;
    if cells.is_empty() {
        return Err(Failure::Wrong(vec![nothing(visit).to_owned()]));
    }
    let preview = Preview::of(&cells, &tables, visit.now, &World::of(visit));
    if let Some(why) = unusable(visit, &cells, &preview) {
        return Err(Failure::Wrong(vec![why.to_owned()]));
    }
    let areas = areas_of(&cells, &visit.registry, &tables);
    if !visit.account.may(Right::Propose, areas.iter().map(String::as_str)) {
        return Err(Failure::Forbidden(lacks(visit, Right::Propose, &areas)));
    }
    let author = visit.account.number;
    let draft = Draft { author, reason: wish.reason, effective: wish.effective, cells, undoes: None, forced: false };
    Ok(visit.parts.changes.draft(&draft, visit.now)?)
}

/// Whether rows of a table are meant: those of places and signs where the address says nothing.
fn is_in(visit: &Visit<'_>, table: TableName) -> bool {
    if visit.fields.has("find") {
        visit.fields.all("in").any(|one| one == table.as_str())
    } else {
        table != TableName::Overrides
    }
}

/// The cells that the address means.
fn plan(visit: &Visit<'_>, tables: &Sources) -> Result<Vec<CellChange>, Failure> {
    let filters = Filters::read(&visit.fields);
    let index = visit.parts.index.of(&visit.registry);
    let figures = visit.parts.figures.snapshot();
    let places = filters.places(&visit.registry, &index, &figures);
    let places: HashSet<&str> = places.into_iter().map(|(_, place)| place.id()).collect();
    let signs: HashSet<Code> =
        filters.signs(&visit.registry, &index, &figures).into_iter().map(SignRef::code).collect();
    let has_sign = |key: &str| key.parse().is_ok_and(|code| signs.contains(&code));
    let is_selected = |table: TableName, key: &str| {
        is_in(visit, table)
            && match table {
                TableName::Places => places.contains(key),
                TableName::Signs => has_sign(key),
                TableName::Overrides => places.contains(scope(key)) || has_sign(scope(key)),
            }
    };
    let replacement =
        Replacement { find: visit.fields.get("find").to_owned(), replace: visit.fields.get("replace").to_owned() };
    replace(tables, &replacement, is_selected).map_err(|error| match error {
        PlanError::Problems(problems) => Failure::Wrong(texts(&problems)),
        error @ PlanError::Find(_) => Failure::Wrong(vec![match visit.language.tag() {
            "vi" => "Tìm: cần một tên miền hoặc phần đầu của một địa chỉ (https://…)".to_owned(),
            _ => error.to_string(),
        }]),
    })
}

/// Why no draft is made of it: it could never be submitted. (Tables that break a rule without it may be mended by then.)
fn unusable<'t>(visit: &Visit<'t>, cells: &[CellChange], preview: &Preview) -> Option<&'t str> {
    let rules = &visit.parts.rules;
    if cells.iter().filter_map(|cell| cell.new.as_deref()).any(|new| rules.target(new).is_err()) {
        return Some(visit.language.say(
            "Không lập bản nháp: có địa chỉ mới không dùng được. Hãy sửa “Thay bằng”, hoặc chọn ít dòng hơn.",
            "No draft can be made: some of the new addresses can't be used. Please correct “Replace by”, or choose fewer rows.",
        ));
    }
    (!preview.problems.is_empty() && !preview.is_broken_already).then(|| {
        visit.language.say(
            "Không lập bản nháp: các bảng sẽ vi phạm quy tắc.",
            "No draft can be made: the tables would break a rule with it.",
        )
    })
}

fn nothing(visit: &Visit<'_>) -> &'static str {
    visit
        .language
        .say("Không có trang đích nào khớp: không có gì để thay.", "No target matches: there is nothing to replace.")
}

fn show(visit: &Visit<'_>, status: StatusCode, wrong: &[String]) -> Answer {
    let language = visit.language;
    let (result, mut told) = if visit.fields.get("find").is_empty() {
        (html! {}, Vec::new())
    } else {
        match dry_run(visit) {
            Ok(result) => (result, Vec::new()),
            Err(Failure::Wrong(wrong)) => (html! {}, wrong),
            Err(failure) => return Err(failure),
        }
    };
    told.retain(|line| !wrong.contains(line));
    told.splice(0..0, wrong.iter().cloned());
    let title = language.say("Tìm và thay", "Find and replace");
    let main = html! {
        (problems(language, &told))
        section { (form(visit)) }
        (result)
    };
    Ok(page_with(visit, status, title, main))
}

fn form(visit: &Visit<'_>) -> Markup {
    let (language, fields) = (visit.language, &visit.fields);
    let hint = language.say(
        "Tên miền cũ (cu.langson.gov.vn) hoặc phần đầu của địa chỉ (https://langson.gov.vn/vi/duong-pho/)",
        "The old host (old.langson.gov.vn) or the beginning of an address (https://langson.gov.vn/vi/streets/)",
    );
    html! {
        form.form method="get" action="/replace" {
            // What was typed below a try outlasts the next one, which narrows the selection to one's own areas.
            @for name in ["reason", "effective"] {
                @if !fields.get(name).is_empty() { input type="hidden" name=(name) value=(fields.get(name)); }
            }
            (Field { name: "find", label: language.say("Tìm trong trang đích", "Find in targets"), hint, value: fields.get("find"), is_required: true, kind: "text", ..Field::default() }.line())
            (Field { name: "replace", label: language.say("Thay bằng", "Replace by"), value: fields.get("replace"), is_required: true, kind: "text", ..Field::default() }.line())
            fieldset {
                legend { (language.say("Ở đâu", "Where")) }
                div.filters {
                    (selection(visit))
                }
                @for table in TableName::ALL {
                    (tick("in", table.as_str(), html! { (words::table(language, table)) }, is_in(visit, table)))
                }
            }
            div.row { (button(Button::Primary, "", "", language.say("Xem thử", "Try it"))) }
            p.hint { (language.say("Xem thử không thay đổi gì.", "A try changes nothing.")) }
        }
    }
}

fn dry_run(visit: &Visit<'_>) -> Result<Markup, Failure> {
    let language = visit.language;
    let tables = tables(visit).map_err(|problems| Failure::Wrong(texts(&problems)))?;
    let cells = plan(visit, &tables)?;
    if cells.is_empty() {
        return Ok(notice(Tone::Info, "", html! { p { (nothing(visit)) } }));
    }
    let areas = areas_of(&cells, &visit.registry, &tables);
    let preview = Preview::of(&cells, &tables, visit.now, &World::of(visit));
    let rules = &visit.parts.rules;
    let bad = |cell: &CellChange| cell.new.as_deref().and_then(|new| rules.target(new).err());
    let bad_cells = cells.iter().filter(|cell| bad(cell).is_some()).count();
    let rows = cells.iter().take(MOST).map(|cell| {
        let shown = |text: Option<&str>| value(visit, cell.table, &cell.column, text);
        vec![
            html! { (row_title(visit, cell.table, &cell.key)) },
            html! { (words::column(language, &cell.column)) },
            shown(cell.old.as_deref()),
            html! {
                div {
                    (shown(cell.new.as_deref()))
                    @if let Some(error) = bad(cell) { p.error { bdi { (words::target_problem(language, &error)) } } }
                }
            },
        ]
    });
    let heads = [
        language.say("Dòng", "Row"),
        language.say("Cột", "Column"),
        language.say("Hiện nay", "Old"),
        language.say("Sẽ là", "New"),
    ];
    let count = |number: usize| language.number(number as u64);
    let caption = language.say("Kết quả xem thử", "What would change");
    Ok(html! {
        section {
            h2 { (caption) }
            p {
                (count(cells.len())) " " (language.count(cells.len(), "ô", "cell", "cells"))
                @if preview.fits() { "; " (count(preview.moves.len())) " " (language.count(preview.moves.len(), "biển sẽ dẫn đến trang khác", "sign will lead elsewhere", "signs will lead elsewhere")) }
                "."
            }
            @if bad_cells > 0 {
                (notice(Tone::Danger, language.say("Có địa chỉ mới không dùng được", "Some of the new addresses can't be used"), html! {
                    p { (count(bad_cells)) " " (language.say("địa chỉ, lý do ghi ở từng dòng.", "of them; each row says why.")) }
                }))
            } @else if !preview.problems.is_empty() {
                (notice(Tone::Danger, language.say("Bảng sẽ vi phạm quy tắc", "The tables would break a rule"), html! {
                    (how_to_read(language, &texts(&preview.problems)))
                    (lines(language, preview.problems.list.iter().map(|problem| html! { bdi { (problem.to_string()) } })))
                }))
            }
            @if !visit.account.may(Right::Propose, areas.iter().map(String::as_str)) {
                p.soft { (lacks(visit, Right::Propose, &areas)) }
            } @else if let Some(why) = unusable(visit, &cells, &preview) {
                p { (why) }
            } @else {
                form.form method="post" action="/replace" {
                    @for (name, value) in visit.fields.list.iter().filter(|(name, _)| CARRIED.contains(&name.as_str())) {
                        input type="hidden" name=(name) value=(value);
                    }
                    (reason_field(language, visit.fields.get("reason")))
                    (effective_field(visit, visit.fields.get("effective")))
                    div.row { (button(Button::Primary, "", "", language.say("Lập bản nháp", "Make a draft"))) }
                    p.hint { (language.say("Bản nháp được xem lại rồi mới gửi duyệt.", "You look at the draft before you submit it.")) }
                }
            }
        }
        (table(caption, &heads, rows))
        @if cells.len() > MOST {
            p { (language.say("và", "and")) " " (count(cells.len() - MOST)) " " (language.say("ô khác", "more cells")) }
        }
    })
}
