//! `/import`: a table that is uploaded, as a change set.
//!
//! Owns the upload and what comes of it: a draft, whose page is the difference to what is there, and the rows that are
//! refused, each with its line and its reason. And what one uploads: the header of each table, or all that is there.

use std::borrow::Cow;

use hyper::StatusCode;
use maud::{Markup, html};

use super::super::Visit;
use super::super::answer::{Answer, Failure, Response, see_other};
use super::super::areas::{areas_of, lacks};
use super::super::csv::{csv_text, download};
use super::super::elements::{Button, Field, Tone, button, how_to_read, notice, problems, table, texts};
use super::super::forms::{self, reason_field};
use super::super::page::page_with;
use super::super::tables::tables;
use super::super::words;
use super::signs::multilingual;
use crate::accounts::Right;
use crate::changes::{Draft, ImportKind, PlanError, Refused, State, import};
use crate::core::Code;
use crate::source::TableName;

/// Refused rows that are shown before the rest is only counted.
const MOST: usize = 500;
/// Sets, the newest, among which an upload that is sent twice is looked for.
const MOST_PENDING: usize = 50;

pub(in crate::console) fn get(visit: &Visit<'_>, _rest: &str) -> Answer {
    match (named(visit.fields.get("table")), visit.fields.get("get")) {
        (Some(table), "header") => file(visit, table, false),
        (Some(table), "all") => file(visit, table, true),
        _ => Ok(show(visit, StatusCode::OK, &[], None)),
    }
}

pub(in crate::console) fn post(visit: &Visit<'_>, _rest: &str) -> Answer {
    match make(visit) {
        Ok((Some(number), refused)) if refused.is_empty() => Ok(see_other(&format!("/changes/{number}"))),
        Ok(result) => Ok(show(visit, StatusCode::OK, &[], Some(result))),
        Err(Failure::Wrong(wrong)) => Ok(show(visit, StatusCode::UNPROCESSABLE_ENTITY, &wrong, None)),
        Err(Failure::Forbidden(why)) => Ok(show(visit, StatusCode::FORBIDDEN, &[why], None)),
        Err(failure) => Err(failure),
    }
}

fn named(text: &str) -> Option<TableName> {
    TableName::ALL.into_iter().find(|table| table.as_str() == text)
}

/// The draft, where anything changes, and the rows that are refused.
fn make(visit: &Visit<'_>) -> Result<(Option<i64>, Vec<Refused>), Failure> {
    let (language, fields, parts) = (visit.language, &visit.fields, visit.parts);
    let mut wrong = Vec::new();
    let reason = forms::reason(fields, "reason", language).unwrap_or_else(|text| {
        wrong.push(text);
        String::new()
    });
    let kind = match fields.get("kind") {
        "whole" => Some(ImportKind::Whole),
        "rows" => Some(ImportKind::Rows),
        _ => None,
    };
    let upload = fields.upload.as_ref().filter(|(field, bytes)| field == "file" && !bytes.is_empty());
    if upload.is_none() {
        wrong.push(language.say("Chọn một tệp CSV không trống.", "Choose a CSV file that is not empty.").to_owned());
    }
    let (Some(table), Some(kind), Some((_, upload)), true) =
        (named(fields.get("table")), kind, upload, wrong.is_empty())
    else {
        if wrong.is_empty() {
            wrong.push(language.say("Chọn bảng và cách nhập.", "Choose a table, and how it is meant.").to_owned());
        }
        return Err(Failure::Wrong(wrong));
    };
    let tables = tables(visit).map_err(|problems| Failure::Wrong(texts(&problems)))?;
    let planned = import(&tables, table, upload, kind, &parts.files, &parts.rules);
    let (cells, refused) = planned.map_err(|error| match error {
        PlanError::Problems(problems) => Failure::Wrong(texts(&problems)),
        error @ PlanError::Find(_) => Failure::Wrong(vec![error.to_string()]),
    })?;
    if cells.is_empty() {
        return Ok((None, refused));
    }
    let areas = areas_of(&cells, &visit.registry, &tables);
    if !visit.account.may(Right::Propose, areas.iter().map(String::as_str)) {
        return Err(Failure::Forbidden(lacks(visit, Right::Propose, &areas)));
    }
    let author = visit.account.number;
    let draft = Draft { author, reason, effective: None, cells, undoes: None, forced: false };
    let number = match same(visit, &draft)? {
        Some(number) => number,
        None => parts.changes.draft(&draft, visit.now)?,
    };
    Ok((Some(number), refused))
}

/// The set that the same upload has made before: the page that tells of refused rows is the answer to the form, and
/// loading it again sends the form again.
fn same(visit: &Visit<'_>, draft: &Draft) -> Result<Option<i64>, Failure> {
    let changes = &visit.parts.changes;
    for set in changes.list(&[State::Draft, State::Submitted], 0, MOST_PENDING)? {
        let is_alike = set.author == draft.author && set.reason == draft.reason;
        if is_alike && changes.get(set.number)?.cells == draft.cells {
            return Ok(Some(set.number));
        }
    }
    Ok(None)
}

fn show(
    visit: &Visit<'_>,
    status: StatusCode,
    wrong: &[String],
    result: Option<(Option<i64>, Vec<Refused>)>,
) -> Response {
    let language = visit.language;
    let title = language.say("Nhập bảng", "Import a table");
    let main = html! {
        (problems(language, wrong))
        @if let Some((number, refused)) = &result { (outcome(visit, *number, refused)) }
        section {
            h2 { (language.say("Tải lên", "Upload")) }
            (form(visit))
        }
        section {
            h2 { (language.say("Tải về", "Download")) }
            p {
                (language.say(
                    "Sửa bằng Excel hoặc LibreOffice rồi lưu dạng “CSV UTF-8”.",
                    "Edit it with Excel or LibreOffice, and save it as “CSV UTF-8”.",
                ))
            }
            ul {
                @for table in TableName::ALL {
                    li {
                        (words::table(language, table)) ": "
                        a href={ "/import?get=all&table=" (table.as_str()) } { (language.say("dữ liệu hiện có", "what is there")) }
                        ", "
                        a href={ "/import?get=header&table=" (table.as_str()) } { (language.say("tệp mẫu", "an empty one")) }
                    }
                }
            }
        }
    };
    page_with(visit, status, title, main)
}

fn form(visit: &Visit<'_>) -> Markup {
    let (language, fields) = (visit.language, &visit.fields);
    let tables = TableName::ALL.map(|table| (table.as_str(), words::table(language, table)));
    let kinds = [
        ("rows", language.say("Chỉ các dòng thay đổi hoặc mới", "Only rows that change or are new")),
        (
            "whole",
            language.say("Toàn bộ bảng: dòng không có trong tệp sẽ bị xóa", "The whole table: rows that it lacks go"),
        ),
    ];
    html! {
        form.form method="post" action="/import" enctype="multipart/form-data" {
            div.field {
                label for="file" { (language.say("Tệp CSV", "CSV file")) }
                p.hint id="file-hint" {
                    (language.say(
                        "Dòng đầu là tên cột như trong bảng. Việc tải lên chỉ lập bản nháp, chưa thay đổi gì.",
                        "The first row names the columns as in the table. An upload only makes a draft: nothing changes yet.",
                    ))
                }
                input id="file" type="file" name="file" accept=".csv,text/csv" required aria-describedby="file-hint";
            }
            (Field { name: "table", label: language.say("Bảng", "Table"), value: fields.get("table"), ..Field::default() }.choice(tables))
            (Field { name: "kind", label: language.say("Tệp chứa", "The file has"), value: fields.get("kind"), ..Field::default() }.choice(kinds))
            (reason_field(language, fields.get("reason")))
            div.row { (button(Button::Primary, "", "", language.say("Tải lên và xem thay đổi", "Upload, and see what changes"))) }
        }
    }
}

fn outcome(visit: &Visit<'_>, number: Option<i64>, refused: &[Refused]) -> Markup {
    let language = visit.language;
    let heads = [language.say("Dòng số", "Line"), language.say("Khóa", "Key"), language.say("Lý do", "Reason")];
    let caption = language.say("Các dòng bị từ chối", "Rows that are refused");
    let rows = refused
        .iter()
        .take(MOST)
        .map(|row| vec![html! { (row.line) }, html! { bdi { (row.key) } }, html! { bdi { (row.text) } }]);
    html! {
        @match number {
            Some(number) => (notice(Tone::Good, language.say("Đã lập bản nháp", "A draft was made"), html! {
                p { a href={ "/changes/" (number) } { (language.say("Xem thay đổi và gửi duyệt: đề xuất", "See what changes, and submit it: change set")) " " (number) } }
            })),
            None => (notice(Tone::Info, language.say("Không lập đề xuất", "No change set was made"), html! {
                p { (language.say("Tệp không thay đổi gì so với bảng hiện có.", "The file changes nothing of what is there.")) }
            })),
        }
        @if !refused.is_empty() {
            section {
                h2 { (caption) " (" (language.number(refused.len() as u64)) ")" }
                (how_to_read(language, &refused.iter().map(|row| row.text.as_str()).collect::<Vec<_>>()))
                (table(caption, &heads, rows))
                @if refused.len() > MOST {
                    p { (language.say("và", "and")) " " (language.number((refused.len() - MOST) as u64)) " " (language.say("dòng khác", "more")) }
                }
            }
        }
    }
}

/// A table as it is, or only its header. Codes are in groups, which spreadsheets leave alone.
fn file(visit: &Visit<'_>, table: TableName, with_rows: bool) -> Answer {
    let cells = tables(visit)
        .map_err(|problems| Failure::Wrong(texts(&problems)))?
        .cells(table)
        .map_err(|problems| Failure::Wrong(texts(&problems)))?;
    let mut columns: Vec<String> = if cells.columns().is_empty() {
        // The one table that may be absent.
        let targets = visit.registry.languages().iter().skip(1).map(|tag| format!("target:{tag}"));
        let first = ["scope", "from", "until", "target"].map(str::to_owned).into_iter();
        first.chain(targets).chain(["note".to_owned()]).collect()
    } else {
        cells.columns().to_vec()
    };
    if table == TableName::Places && !with_rows {
        // What a table may have that was begun without it.
        let told = ["namesake", "about"].iter().flat_map(|word| multilingual(&visit.registry, word));
        let told = told.chain(["source", "compiled"].map(str::to_owned));
        let lacking: Vec<String> = told.filter(|column| !columns.contains(column)).collect();
        columns.extend(lacking);
    }
    let is_code = |column: &str| table == TableName::Signs && matches!(column, "code" | "successor");
    let row = |key: &str| -> Vec<Cow<'static, str>> {
        let cell = |column: &String| {
            let text = cells.get(key, column).unwrap_or("");
            let code = text.parse::<Code>().ok().filter(|_| is_code(column));
            code.map_or_else(|| text.to_owned(), |code| code.grouped().to_string()).into()
        };
        columns.iter().map(cell).collect()
    };
    let header = columns.iter().map(|column| Cow::from(column.clone())).collect();
    let rows =
        cells.keys().filter(|key| with_rows && columns.first().is_some_and(|first| cells.get(key, first).is_some()));
    let text = csv_text([header].into_iter().chain(rows.map(row)));
    Ok(download(&format!("{}.csv", table.as_str()), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Role;
    use crate::console::trial::{Office, tables, text};

    fn upload(office: &Office, query: &str) -> Answer {
        let mut visit = office.visit(&format!("/import?table=places&kind=rows&{query}"));
        let rows =
            "place,target\np2,https://langson.gov.vn/new\np1,https://langson.gov.vn/also\np3,https://evil.example/\n";
        visit.fields.upload = Some(("file".to_owned(), rows.into()));
        post(&visit, "")
    }

    #[test]
    fn an_upload_that_is_sent_again_makes_no_second_draft() {
        let office = Office::open(&tables(), Role::Editor, &[]);
        for _ in 0..2 {
            let page = text(upload(&office, "reason=new+pages"));
            assert!(page.contains("evil.example") && page.contains("href=\"/changes/1\""), "{page}");
        }
        assert!(text(upload(&office, "reason=another")).contains("href=\"/changes/2\""));
        assert_eq!(office.parts.changes.list(&[], 0, 10).expect("sets").len(), 2);
    }

    #[test]
    fn the_header_of_places_has_what_can_be_told_in_each_language() {
        let office = Office::open(&tables(), Role::Editor, &[]);
        assert_eq!(
            text(get(&office.visit("/import?table=places&get=header"), "")),
            "\u{feff}place,kind,area,name,target,target:en,note,namesake,namesake:en,about,about:en,source,compiled\r\n"
        );
    }

    #[test]
    fn a_refusal_for_an_area_keeps_what_was_typed() {
        let office = Office::open(&tables(), Role::Editor, &["A"]);
        let answer = upload(&office, "reason=new+pages");
        assert_eq!(answer.as_ref().map(Response::status).ok(), Some(StatusCode::FORBIDDEN));
        let page = text(answer);
        assert!(page.contains("role=\"alert\"") && page.contains(">new pages</textarea>"), "{page}");
        assert_eq!(office.parts.changes.list(&[], 0, 10).expect("sets").len(), 0);
    }
}
