//! What stands beside a sign or a place: where it leads and why, what is to come, what waits for approval, what was done.

use jiff::Timestamp;
use maud::{Markup, html};

use super::Visit;
use super::answer::Failure;
use super::elements::{People, state_badge, time, url_link};
use super::language::Language;
use super::words;
use crate::changes::ChangeSet;
use crate::core::Code;
use crate::history::{Entry, Filter, list};
use crate::registry::{Period, PlaceRef, Targets};
use crate::source::TableName;

/// Entries of the history that are shown; the rest is a link away.
const MOST: usize = 10;

/// Targets, one for each language, the default's first.
pub(super) fn leads(language: Language, targets: &Targets<'_>) -> Markup {
    html! {
        dl.facts {
            @for target in targets.iter() {
                div { dt { (words::tongue(language, target.language)) } dd { (url_link(target.url)) } }
            }
        }
    }
}

/// The address of our page about a place in one of the languages of its text, for one of the place's signs. Opening it is no scan.
pub(super) fn own_page_url(public_url: &str, code: Code, tag: &str) -> String {
    format!("{}/{}?lang={tag}&c=page", public_url.trim_end_matches('/'), code.text())
}

/// That a place is answered by a page of our own, which is a link where a sign of it leads there now.
pub(super) fn own_page(visit: &Visit<'_>, place: PlaceRef<'_>, code: Option<Code>) -> Markup {
    let language = visit.language;
    html! {
        p {
            (language.say("Trang riêng của hệ thống, với nội dung giới thiệu của địa điểm.",
                "A page of our own, with the text about the place."))
        }
        @if let Some(code) = code {
            dl.facts {
                @for (tag, _) in place.abouts() {
                    div { dt { (words::tongue(language, tag)) } dd { (url_link(&own_page_url(&visit.parts.public_url, code, tag))) } }
                }
            }
        }
    }
}

fn moment(ms: i64) -> Timestamp {
    // The end of the years that a calendar has, for one that a table wrote beyond it.
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Overrides that hold or are to come, the earliest first.
pub(super) fn periods<'r>(visit: &Visit<'_>, periods: impl Iterator<Item = Period<'r>>) -> Markup {
    let (language, now_ms) = (visit.language, visit.now.as_millisecond());
    let periods: Vec<Period<'_>> = periods.filter(|period| period.until_ms > now_ms).collect();
    html! {
        @if !periods.is_empty() {
            h3 { (language.say("Chuyển hướng tạm thời", "Overrides")) }
            ul.waiting {
                @for period in &periods {
                    li {
                        p {
                            @if period.from_ms <= now_ms { strong { (language.say("đang có hiệu lực", "in force")) } ", " }
                            @else { (language.say("sắp tới", "to come")) ", " }
                            (time(visit, moment(period.from_ms))) " – " (time(visit, moment(period.until_ms)))
                            " (" (words::source(language, period.targets.source())) ")"
                        }
                        @for target in period.targets.iter() {
                            p { (words::tongue(language, target.language)) ": " (url_link(target.url)) }
                        }
                    }
                }
            }
        }
    }
}

/// Change sets that are not at their end and change one of the rows.
pub(super) fn pending(visit: &Visit<'_>, rows: &[(TableName, String)]) -> Result<Markup, Failure> {
    let language = visit.language;
    let mut sets: Vec<ChangeSet> = Vec::new();
    for (table, key) in rows {
        sets.extend(visit.parts.changes.pending_for(*table, key)?);
    }
    sets.sort_unstable_by_key(|set| std::cmp::Reverse(set.number));
    sets.dedup_by_key(|set| set.number);
    let people = People::of(visit)?;
    Ok(html! {
        section {
            h2 { (language.say("Đang chờ", "Pending")) }
            @if sets.is_empty() { p.soft { (language.say("Không có đề xuất nào đang chờ.", "No change set waits.")) } }
            @else {
                ul.waiting { @for set in &sets { li { (set_line(visit, &people, set)) } } }
            }
        }
    })
}

/// A change set on a line or two.
pub(super) fn set_line(visit: &Visit<'_>, people: &People, set: &ChangeSet) -> Markup {
    let language = visit.language;
    html! {
        p {
            a href={ "/changes/" (set.number) } {
                (language.say("Đề xuất", "Change set")) " " (set.number) ": " bdi { (set.reason) }
            }
        }
        p.soft {
            (state_badge(language, set)) " " (people.person(set.author)) ", " (time(visit, set.submitted.unwrap_or(set.created)))
            @if let Some(effective) = set.effective {
                ", " (language.say("áp dụng lúc", "to be applied at")) " " (time(visit, effective))
            }
        }
    }
}

/// What was done to one of the objects, the newest first.
pub(super) fn history(visit: &Visit<'_>, objects: Vec<String>, all: &str) -> Result<Markup, Failure> {
    let language = visit.language;
    let filter = Filter { objects, ..Filter::default() };
    let entries: Vec<Entry> =
        visit.parts.database.read(|connection| list(connection, &filter, 0, MOST + 1)).map_err(Failure::from)?;
    let people = People::of(visit)?;
    Ok(html! {
        section {
            h2 { (language.say("Lịch sử", "History")) }
            @if entries.is_empty() {
                p.soft { (language.say("Chưa có thay đổi nào được ghi lại.", "No change has been recorded yet.")) }
            }
            ul.waiting { @for entry in entries.iter().take(MOST) { li { (entry_line(visit, &people, entry)) } } }
            @if entries.len() > MOST { p { a href=(all) { (language.say("Toàn bộ lịch sử", "The whole history")) } } }
        }
    })
}

/// An entry on a line or two.
pub(super) fn entry_line(visit: &Visit<'_>, people: &People, entry: &Entry) -> Markup {
    let language = visit.language;
    html! {
        p {
            (time(visit, entry.time)) ": " strong { (words::told(language, entry)) }
            @if let Some(set) = entry.change_set {
                " (" a href={ "/changes/" (set) } { (language.say("đề xuất", "change set")) " " (set) } ")"
            }
        }
        @if !entry.reason.is_empty() { p { bdi { (entry.reason) } } }
        p.soft {
            @if let Some(account) = entry.account { (people.person(account)) }
            @if let Some(approver) = entry.approver {
                @if entry.account.is_some() { ", " }
                (language.say("phê duyệt:", "approved by")) " " (people.person(approver))
            }
        }
    }
}
