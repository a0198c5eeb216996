//! `/history`: what was done.
//!
//! Owns the list, whose filters are all in the address, the same as CSV, and the head of the chain.

use std::borrow::Cow;
use std::collections::HashMap;

use hyper::StatusCode;
use jiff::civil::{Date, Time};
use maud::{Markup, html};

use super::super::Visit;
use super::super::answer::{Answer, Failure};
use super::super::cells_view::{self, groups};
use super::super::csv::{csv_text, download};
use super::super::elements::{Button, Field, People, Tone, badge, button, facts, notice, table, tick, time};
use super::super::fields::Fields;
use super::super::language::Language;
use super::super::page::page_with;
use super::super::words;
use crate::changes::APPLIED_FIRST;
use crate::core::Code;
use crate::history::{Action, Entry, Filter, head, list};
use crate::source::CellChange;

/// Entries on a page.
const PAGE: usize = 50;
/// Cells of an entry: the page of its change set has the rest.
const MOST_CELLS: usize = 40;
/// Entries in a CSV file.
const MOST_CSV: usize = 100_000;

pub(in crate::console) fn get(visit: &Visit<'_>, _rest: &str) -> Answer {
    let filter = filter(visit);
    if visit.fields.get("format") == "csv" {
        return csv(visit, &filter);
    }
    let language = visit.language;
    let page: usize = visit.fields.get("page").parse().unwrap_or(1).max(1);
    // One more than is shown says whether there is another page: counting them all would take long some day.
    let (entries, head) = visit.parts.database.read(|connection| -> rusqlite::Result<_> {
        Ok((list(connection, &filter, (page - 1).saturating_mul(PAGE), PAGE + 1)?, head(connection)?))
    })?;
    let people = People::of(visit)?;
    let to = |page: usize| format!("/history?{}", visit.fields.with(&[("page", &page.to_string())]));
    let heads = [
        language.say("Thời gian", "When"),
        language.say("Ai", "Who"),
        language.say("Việc", "What"),
        language.say("Lý do", "Why"),
        language.say("Chi tiết", "Details"),
    ];
    let title = language.say("Lịch sử", "History");
    let main = html! {
        (filters(visit)?)
        (without_sign_ins(visit))
        p { a href={ "/history?" (visit.fields.with(&[("format", "csv"), ("page", "")])) } { (language.say("Tải về dạng CSV", "Download as CSV")) } }
        @if entries.is_empty() {
            (notice(Tone::Info, "", html! { p { (language.say("Không có mục nào.", "There are no entries.")) } }))
        } @else {
            h2.unseen { (language.say("Các mục", "Entries")) }
            (table(title, &heads, entries.iter().take(PAGE).map(|entry| row(visit, &people, entry))))
        }
        @if page > 1 || entries.len() > PAGE {
            nav.pager aria-label=(language.say("Các trang", "Pages")) {
                @if page > 1 { a rel="prev" href=(to(page - 1)) { "← " (language.say("Mới hơn", "Newer")) } }
                @if entries.len() > PAGE { a rel="next" href=(to(page + 1)) { (language.say("Cũ hơn", "Older")) " →" } }
            }
        }
        section {
            h2 { (language.say("Mắt xích cuối", "The head of the chain")) }
            p { code { (head) } }
            p.hint {
                (language.say(
                    "Mỗi mục chứa mã băm của mục trước. Hãy ghi lại giá trị này ở nơi khác (chỉ số đo, nhật ký và trạng thái của dịch vụ cũng có): nếu sau này lịch sử bị sửa hay bị cắt, lệnh sau sẽ phát hiện:",
                    "Each entry has the hash of the one before. Note this value somewhere else (metrics, log and status have it too): if the history is changed or cut later, this shows it:",
                ))
                " " code { "waypost audit verify --head " (head) }
            }
        }
    };
    Ok(page_with(visit, StatusCode::OK, title, main))
}

/// That sign-ins are left out, and how to see them.
fn without_sign_ins(visit: &Visit<'_>) -> Markup {
    let language = visit.language;
    let are_left_out = !actions(&visit.fields).is_empty() && Action::parse(visit.fields.get("action")).is_none();
    html! {
        @if are_left_out {
            p.hint {
                (language.say("Danh sách (và tệp CSV) không gồm các lần đăng nhập.", "The list (and the CSV file) leaves sign-ins out.")) " "
                a href={ "/history?" (visit.fields.with(&[("sign_ins", "1"), ("page", "")])) } {
                    (language.say("Hiện cả các lần đăng nhập", "Show them as well"))
                }
            }
        }
    }
}

/// What the address asks for; what it has that is none is as if it were not there.
fn filter(visit: &Visit<'_>) -> Filter {
    let fields = &visit.fields;
    let zone = &visit.parts.rules.timezone;
    let midnight = |date: Date| Some(date.to_datetime(Time::MIN).to_zoned_datetime(zone.clone()).ok()?.timestamp());
    let date = |name: &str| fields.get(name).parse::<Date>().ok();
    Filter {
        account: fields.get("account").parse().ok(),
        actions: actions(fields),
        change_set: fields.get("set").parse().ok(),
        objects: objects(fields.get("row")),
        from: date("from").and_then(midnight),
        // The whole last day.
        to: date("to").and_then(|date| date.tomorrow().ok()).and_then(midnight),
    }
}

/// One that is asked for; otherwise all but sign-ins, which are most of the entries, unless these are asked for as well.
fn actions(fields: &Fields) -> Vec<Action> {
    match Action::parse(fields.get("action")) {
        Some(action) => vec![action],
        None if fields.has("sign_ins") => Vec::new(),
        None => Action::ALL.into_iter().filter(|action| *action != Action::SignedIn).collect(),
    }
}

/// What a code or the identifier of a place is called in the history: it may be either.
fn objects(row: &str) -> Vec<String> {
    if row.is_empty() {
        return Vec::new();
    }
    let code = row.parse::<Code>().ok().map(|code| format!("signs {}", code.text()));
    code.into_iter().chain([format!("places {row}")]).collect()
}

/// Who has done it: nobody known where it was done outside.
fn who(language: Language, people: &People, entry: &Entry) -> Markup {
    match (entry.account, entry.action) {
        (Some(number), _) => people.person(number),
        (None, Action::Outside) => html! { span.soft { (language.say("ngoài trang này", "outside the console")) } },
        (None, _) => html! { span.soft { (language.say("hệ thống", "the service")) } },
    }
}

/// What an entry tells of cells.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    /// The first of them, to be shown.
    cells: Vec<CellChange>,
    /// Cells that the entry has in full,
    kept: usize,
    /// of so many.
    count: usize,
}

fn cells(entry: &Entry) -> Told {
    let mut cells: Vec<CellChange> =
        entry.details.get("cells").and_then(|cells| serde_json::from_value(cells.clone()).ok()).unwrap_or_default();
    let count = entry.details.get("count").and_then(serde_json::Value::as_u64);
    let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(cells.len());
    let kept = cells.len();
    cells.truncate(MOST_CELLS);
    Told { cells, kept, count }
}

/// The sets that an entry says were lost.
fn lost(entry: &Entry) -> Vec<i64> {
    let lost = entry.details.get("loses").and_then(|lost| serde_json::from_value(lost.clone()).ok());
    lost.unwrap_or_default()
}

/// What an entry is about; a person by the name that the account has now.
fn object(people: &People, object: &str) -> Markup {
    let account = object.strip_prefix("account ").and_then(|number| number.parse().ok());
    html! {
        @match account {
            Some(number) => { (people.person(number)) }
            None => { bdi { (object) } }
        }
    }
}

fn row(visit: &Visit<'_>, people: &People, entry: &Entry) -> Vec<Markup> {
    let language = visit.language;
    let tone = match entry.action {
        Action::Outside => Tone::Warning,
        Action::Approved if entry.remark() == APPLIED_FIRST => Tone::Warning,
        Action::Conflict | Action::Refused => Tone::Danger,
        Action::Applied => Tone::Good,
        _ => Tone::Info,
    };
    let Told { cells, kept, count } = cells(entry);
    vec![
        time(visit, entry.time),
        who(language, people, entry),
        html! {
            div {
            (badge(tone, words::told(language, entry)))
            @match entry.change_set {
                Some(number) => { " " a href={ "/changes/" (number) } { (language.say("đề xuất", "change set")) " " (number) } }
                None => { " " (object(people, &entry.object)) }
            }
            @for number in lost(entry) {
                " " (badge(Tone::Danger, language.say("làm mất đề xuất", "loses change set"))) " "
                a href={ "/changes/" (number) } { (number) }
            }
            }
        },
        html! {
            div {
                bdi { (entry.reason) }
                @let remark = words::remark(entry);
                @if !remark.is_empty() { p.soft { bdi { (remark) } } }
            }
        },
        html! {
            div {
                @if let Some(number) = entry.approver {
                    div { (language.say("người phê duyệt:", "approved by")) " " (people.person(number)) }
                }
                @if let Some((before, after)) = entry.generations {
                    div { (language.say("phiên bản", "generation")) " " (before) " → " (after) }
                }
                @if !cells.is_empty() {
                    details {
                        summary { (language.number(count as u64)) " " (language.say("ô", "cells")) }
                        div.stack {
                            @for group in groups(&cells, &visit.registry) {
                                @for row in &group.rows { (cells_view::row(visit, row)) }
                            }
                            @if count > cells.len() {
                                p { (language.say("và", "and")) " " (language.number((count - cells.len()) as u64)) " " (language.say("ô khác", "more")) }
                            }
                            @if entry.action == Action::Outside && count > kept {
                                p.hint { (outside_hint(language, kept)) }
                            }
                        }
                    }
                } @else if entry.details.as_object().is_some_and(|details| !details.is_empty()) {
                    details {
                        summary { (language.say("Chi tiết", "Details")) }
                        p { bdi { (entry.details.to_string()) } }
                    }
                }
                details {
                    summary { "#" (entry.seq) }
                    (facts([(language.say("Mã băm", "Hash").to_owned(), html! { code.url { (hex(&entry.hash)) } })]))
                }
            }
        },
    ]
}

/// Of a larger difference the first cells are kept: who needs the rest has the tables before and after it.
fn outside_hint(language: Language, kept: usize) -> String {
    let kept = language.number(kept as u64);
    match language {
        Language::Vietnamese => format!(
            "Lịch sử giữ {kept} ô đầu (tệp CSV có đủ các ô đó) và tổng số ô; bảng trước và sau khi sửa nằm trong bản sao lưu của đơn vị."
        ),
        Language::English => format!(
            "The history keeps the first {kept} cells (the CSV file has them) and how many there are; the tables before and after are in your backup."
        ),
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn filters(visit: &Visit<'_>) -> Result<Markup, Failure> {
    let (language, fields) = (visit.language, &visit.fields);
    let any = ("", language.say("(tất cả)", "(any)"));
    let actions = [any].into_iter().chain(Action::ALL.map(|one| (one.as_str(), words::action(language, one))));
    let accounts = visit.parts.accounts.all()?.into_iter().map(|account| (account.number.to_string(), account.name));
    let accounts = [(String::new(), any.1.to_owned())].into_iter().chain(accounts);
    let field = |name, label, kind| Field { name, label, kind, value: fields.get(name), ..Field::default() };
    Ok(html! {
        form.filters method="get" action="/history" {
            (field("account", language.say("Ai", "Who"), "").choice(accounts))
            (field("action", language.say("Việc", "What"), "").choice(actions))
            (field("row", language.say("Mã biển hoặc địa điểm", "Code, or identifier of a place"), "search").line())
            (field("set", language.say("Đề xuất số", "Change set number"), "").line())
            (field("from", language.say("Từ ngày", "From"), "date").line())
            (field("to", language.say("Đến hết ngày", "To, the day included"), "date").line())
            (tick("sign_ins", "1", html! { (language.say("Cả các lần đăng nhập", "Sign-ins as well")) }, fields.has("sign_ins")))
            div.row { (button(Button::Plain, "", "", language.say("Lọc", "Filter"))) }
        }
    })
}

/// The entries as a table of text, for a spreadsheet.
fn csv(visit: &Visit<'_>, filter: &Filter) -> Answer {
    const HEADER: [&str; 12] = [
        "seq",
        "time",
        "account",
        "action",
        "object",
        "change_set",
        "reason",
        "approver",
        "before",
        "after",
        "details",
        "hash",
    ];
    let entries = visit.parts.database.read(|connection| list(connection, filter, 0, MOST_CSV))?;
    let names: HashMap<i64, String> =
        visit.parts.accounts.all()?.into_iter().map(|account| (account.number, account.name)).collect();
    let name = |number: Option<i64>| {
        number.map_or(String::new(), |number| names.get(&number).cloned().unwrap_or_else(|| format!("#{number}")))
    };
    let text = |number: Option<u64>| number.map_or(String::new(), |number| number.to_string());
    let rows = entries.iter().map(|entry| {
        [
            entry.seq.to_string(),
            visit.parts.rules.timezone.to_datetime(entry.time).strftime("%Y-%m-%d %H:%M:%S").to_string(),
            name(entry.account),
            entry.action.as_str().to_owned(),
            entry.object.clone(),
            entry.change_set.map_or(String::new(), |number| number.to_string()),
            entry.reason.clone(),
            name(entry.approver),
            text(entry.generations.map(|(before, _)| before)),
            text(entry.generations.map(|(_, after)| after)),
            entry.details.to_string(),
            hex(&entry.hash),
        ]
    });
    let rows = [HEADER.map(str::to_owned)].into_iter().chain(rows);
    Ok(download("history.csv", csv_text(rows.map(|row| row.map(Cow::from)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_tells_of_cells_and_of_sets_that_were_lost() {
        let cell = serde_json::json!({"table": "places", "key": "p1", "column": "target", "old": "a", "new": "b"});
        let entry = |details| Entry {
            seq: 1,
            time: jiff::Timestamp::UNIX_EPOCH,
            account: None,
            action: Action::Outside,
            object: "places.csv".to_owned(),
            change_set: None,
            reason: String::new(),
            approver: None,
            generations: None,
            details,
            hash: [0; 32],
        };
        let told = entry(serde_json::json!({"cells": vec![cell; 60], "count": 2_000, "loses": [17]}));
        let found = cells(&told);
        assert_eq!((found.cells.len(), found.kept, found.count, lost(&told)), (MOST_CELLS, 60, 2_000, vec![17]));
        let silent = entry(serde_json::Value::Null);
        assert_eq!((cells(&silent), lost(&silent)), (Told { cells: Vec::new(), kept: 0, count: 0 }, Vec::new()));
    }

    #[test]
    fn sign_ins_are_told_where_they_are_asked_for() {
        for (query, has_sign_ins, has_others) in [
            ("", false, true),
            ("action=&account=1", false, true),
            ("action=nonsense", false, true),
            ("sign_ins=1", true, true),
            ("action=signed_in", true, false),
            ("action=applied", false, true),
        ] {
            let actions = actions(&Fields::parse(query));
            let has = |action| actions.is_empty() || actions.contains(&action);
            assert_eq!((has(Action::SignedIn), has(Action::Applied)), (has_sign_ins, has_others), "{query}");
        }
    }

    #[test]
    fn a_row_is_found_by_its_code_in_any_spelling_or_by_its_identifier() {
        assert_eq!(objects("7k3m-9qx5"), ["signs 7K3M9QX5", "places 7k3m-9qx5"]);
        assert_eq!(objects("hung_vuong"), ["places hung_vuong"]);
        assert_eq!(objects(""), Vec::<String>::new());
    }
}
