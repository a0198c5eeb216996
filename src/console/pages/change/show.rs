//! What the page of a set shows before somebody decides.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hyper::StatusCode;
use maud::{Markup, html};

use super::super::super::answer::{Answer, Failure};
use super::super::super::cells_view::{self, Fate, Group, groups};
use super::super::super::elements::{
    People, Tone, badge, facts, lines, notice, pager, place_link, problems, state_badge, time,
};
use super::super::super::page::page_with;
use super::super::super::preview::Move;
use super::super::super::words;
use super::Case;
use crate::changes::{ChangeSet, State};
use crate::history::{Filter, list};
use crate::source::{CellChange, Conflict, TableName};

/// Places on one page, at most.
const GROUPS: usize = 50;
/// Rows of a place, before the rest is only counted: a place may have tens of thousands of signs.
const ROWS: usize = 50;
/// Moves of a place that are unlike each other, likewise.
const MOVES: usize = 25;
/// Cells and moves after which a page ends: half a KB each, where targets have a hundred characters.
const PIECES: usize = 400;
/// Entries of its history, and other sets at the same rows, likewise.
const MOST: usize = 100;

/// What is shown of a place.
struct Part<'p> {
    group: &'p Group<'p>,
    /// Signs that move alike, together.
    moves: Vec<Vec<&'p Move>>,
}

impl Case<'_> {
    pub(super) fn show(&self, status: StatusCode, wrong: &[String]) -> Answer {
        let (visit, set, language) = (self.visit, &self.set, self.visit.language);
        let title = format!("{} {}", language.say("Đề xuất thay đổi", "Change set"), set.number);
        let people = People::of(visit)?;
        let groups = groups(&set.cells, &visit.registry);
        let main = html! {
            (problems(language, wrong))
            section {
                h2.unseen { (language.say("Tóm tắt", "In short")) }
                p { (state_badge(language, set)) @if set.applies_first { " " (self.review_badge()) } }
                (self.outcome())
                (self.facts(&people))
            }
            (self.warnings()?)
            (self.signs(&groups))
            (self.actions()?)
            (self.past(&people)?)
        };
        Ok(page_with(visit, status, &title, main))
    }

    fn review_badge(&self) -> Markup {
        let language = self.visit.language;
        let (tone, text) = match self.set.reviewed {
            Some(_) => (Tone::Good, language.say("áp dụng trước, đã xem lại", "applied first, reviewed since")),
            None => (Tone::Danger, language.say("áp dụng trước, chưa ai xem lại", "applied first, not reviewed yet")),
        };
        badge(tone, text)
    }

    /// What has come of it, or will.
    fn outcome(&self) -> Markup {
        let (visit, set, language) = (self.visit, &self.set, self.visit.language);
        match (set.state, set.applied, set.effective) {
            (State::Applied, Some(applied), _) => notice(
                Tone::Good,
                "",
                html! {
                    p { (language.say("Đã áp dụng lúc", "Applied at")) " " (time(visit, applied)) "." }
                },
            ),
            (State::Approved, _, Some(at)) if at > visit.now => notice(
                Tone::Info,
                "",
                html! {
                    p { (language.say("Sẽ được áp dụng lúc", "Will be applied at")) " " (time(visit, at)) "." }
                },
            ),
            (State::Approved, ..) => notice(
                Tone::Warning,
                "",
                html! {
                    p {
                        (language.say(
                            "Đang chờ áp dụng, thường trong vài giây. Tải lại trang để xem kết quả.",
                            "It will be applied within seconds. Reload this page to see that.",
                        ))
                    }
                },
            ),
            (State::Conflict, ..) => notice(
                Tone::Danger,
                language.say("Không áp dụng được", "It could not be applied"),
                html! {
                    p { bdi { (set.remark) } }
                },
            ),
            (State::Refused, ..) => notice(
                Tone::Danger,
                language.say("Bị từ chối", "Refused"),
                html! {
                    p { bdi { (set.remark) } }
                },
            ),
            _ => html! {},
        }
    }

    fn facts(&self, people: &People) -> Markup {
        let (visit, set, language) = (self.visit, &self.set, self.visit.language);
        let mut rows: Vec<(&str, Markup)> = vec![
            (language.say("Lý do", "Reason"), html! { bdi { (set.reason) } }),
            (
                language.say("Người soạn", "Author"),
                html! { (people.person(set.author)) ", " (time(visit, set.created)) },
            ),
            (
                language.say("Khu vực", "Areas"),
                html! {
                    @for (at, area) in self.areas.iter().enumerate() {
                        @if at > 0 { ", " }
                        @if area.is_empty() { (language.say("(không ghi khu vực)", "(none)")) } @else { bdi { (area) } }
                    }
                },
            ),
        ];
        let is_to_come = matches!(set.state, State::Draft | State::Submitted | State::Approved);
        if let Some(at) = set.effective {
            rows.push((language.say("Thời điểm áp dụng", "To be applied"), time(visit, at)));
        } else if is_to_come {
            let text = language.say("ngay khi được phê duyệt", "as soon as it is approved");
            rows.push((language.say("Thời điểm áp dụng", "To be applied"), html! { (text) }));
        }
        if let Some(submitted) = set.submitted {
            rows.push((language.say("Gửi duyệt", "Submitted"), time(visit, submitted)));
        }
        if let Some(decided) = set.decided {
            let label = match set.state {
                State::Refused => language.say("Từ chối", "Refused"),
                _ if set.applies_first && set.approver.is_none() => language.say("Áp dụng trước", "Applied first"),
                _ => language.say("Phê duyệt", "Approved"),
            };
            let by = match set.approver {
                Some(number) => people.person(number),
                None if set.applies_first => {
                    html! { (language.say("chưa có người phê duyệt, xem lại sau", "approved by nobody, to be reviewed")) }
                }
                None => html! { (language.say("không cần người phê duyệt", "no approval was needed")) },
            };
            rows.push((label, html! { (by) ", " (time(visit, decided)) }));
        }
        if let Some((by, at)) = set.reviewed {
            let by = html! { (people.person(by)) ", " (time(visit, at)) };
            rows.push((language.say("Xem lại", "Reviewed"), by));
        }
        if let Some(undoes) = set.undoes {
            let link =
                html! { a href={ "/changes/" (undoes) } { (language.say("đề xuất", "change set")) " " (undoes) } };
            rows.push((language.say("Hoàn tác", "Undoes"), link));
        }
        if let Some((before, after)) = set.generations {
            rows.push((language.say("Phiên bản dữ liệu", "Generation"), html! { (before) " → " (after) }));
        }
        facts(rows.into_iter().map(|(name, value)| (name.to_owned(), value)))
    }

    /// What stands against it.
    fn warnings(&self) -> Result<Markup, Failure> {
        let (visit, language) = (self.visit, self.visit.language);
        let tables = match &self.tables {
            Ok(_) => html! {},
            Err(problems) => notice(
                Tone::Danger,
                language.say("Không đọc được các bảng", "The tables can't be read"),
                lines(language, problems.list.iter().map(|problem| html! { bdi { (problem.to_string()) } })),
            ),
        };
        let others = self.others()?;
        // A set that is approved, and can't be applied for now.
        let waits = visit.parts.applier.problem().filter(|_| self.set.state == State::Approved);
        Ok(html! {
            (tables)
            @if let Some(problem) = waits {
                (notice(Tone::Danger, language.say("Chưa áp dụng được, hệ thống sẽ thử lại", "It can't be applied for now and is tried again"), html! {
                    p { bdi { (problem) } }
                }))
            }
            @if let Some(preview) = &self.preview {
                (self.conflicts(&preview.conflicts))
                @if !preview.problems.is_empty() {
                    @let title = if preview.is_broken_already {
                        language.say("Các bảng đang có lỗi, chưa kể đề xuất này", "The tables break a rule already, even without this change set")
                    } else {
                        language.say("Đề xuất làm bảng vi phạm quy tắc", "The tables would break a rule with it")
                    };
                    (notice(Tone::Danger, title, html! {
                        (lines(language, preview.problems.list.iter().map(|problem| html! { bdi { (problem.to_string()) } })))
                    }))
                }
                @if !preview.lost.is_empty() {
                    @let tone = if preview.shrinks { Tone::Danger } else { Tone::Warning };
                    (notice(tone, language.say("Có biển sẽ bị xóa khỏi bảng", "Signs would be gone from the table"), html! {
                        p {
                            (language.number(preview.lost.len() as u64)) " / " (language.number(preview.signs as u64)) " "
                            (language.say("biển; ai quét các biển này sẽ thấy trang báo không tìm thấy.",
                                "signs; who scans one of these sees a page that says it was not found."))
                            @if preview.shrinks { " " (language.say("Nhiều hơn mức cho phép.", "That is more than is allowed.")) }
                        }
                    }))
                }
            }
            @if !others.is_empty() {
                (notice(Tone::Warning, language.say("Có đề xuất khác cho cùng dòng", "Others are at the same rows"), html! {
                    (lines(language, others.values().map(|other| html! {
                        a href={ "/changes/" (other.number) } {
                            (language.say("Đề xuất", "Change set")) " " (other.number) ": " bdi { (other.reason) }
                        }
                        " " (state_badge(language, other))
                        @if let Some(at) = other.effective.filter(|&at| at > visit.now) { " " (time(visit, at)) }
                    })))
                }))
            }
        })
    }

    fn conflicts(&self, conflicts: &[Conflict]) -> Markup {
        let (visit, language) = (self.visit, self.visit.language);
        if conflicts.is_empty() {
            return html! {};
        }
        let conflict = |conflict: &Conflict| {
            let CellChange { table, key, column, old, .. } = &conflict.change;
            let value = |text: Option<&str>| cells_view::value(visit, *table, column, text);
            html! {
                (cells_view::row_title(visit, *table, key)) ", " (words::column(language, column)) ": "
                @if conflict.is_ambiguous {
                    (language.say("có nhiều dòng cùng khóa này", "several rows have this key"))
                } @else {
                    (language.say("khi soạn là", "it was")) " " (value(old.as_deref())) ", "
                    (language.say("nay là", "now it is")) " " (value(conflict.found.as_deref()))
                }
            }
        };
        notice(
            Tone::Danger,
            language.say(
                "Có ô đã thay đổi kể từ khi đề xuất được lập: không ghi đè",
                "Cells have changed since it was made: nothing is overwritten",
            ),
            lines(language, conflicts.iter().map(conflict)),
        )
    }

    /// Sets that are not at their end and change a row that this one changes too, or one that decides where the
    /// same signs lead.
    fn others(&self) -> Result<BTreeMap<i64, ChangeSet>, Failure> {
        let mut others = BTreeMap::new();
        let Some(preview) = &self.preview else { return Ok(others) };
        let own = self.set.cells.iter().map(|cell| (cell.table, cell.key.clone()));
        let moved = preview.moves.iter().flat_map(|sign| {
            [(TableName::Signs, sign.code.text().to_string()), (TableName::Places, sign.place.clone())]
        });
        let rows: BTreeSet<(TableName, String)> = own.chain(moved).collect();
        for (table, key) in rows.iter().take(10 * MOST) {
            for other in self.visit.parts.changes.pending_for(*table, key)? {
                if other.number != self.set.number {
                    others.insert(other.number, other);
                }
            }
        }
        Ok(others)
    }

    /// Place by place and sign by sign.
    fn signs(&self, groups: &[Group<'_>]) -> Markup {
        let (visit, set, language) = (self.visit, &self.set, self.visit.language);
        let mut moves: HashMap<&str, Vec<&Move>> = HashMap::new();
        for sign in self.preview.iter().flat_map(|preview| &preview.moves) {
            moves.entry(&sign.place).or_default().push(sign);
        }
        let part = |group| Part { group, moves: alike(moves.get(group.place.as_str()).map_or(&[], Vec::as_slice)) };
        let pages = pages(groups.iter().map(part));
        let page = visit.fields.get("page").parse().unwrap_or(1).clamp(1, pages.len().max(1));
        let count = |number: usize| language.number(number as u64);
        let leaving = self.preview.as_ref().filter(|preview| preview.fits()).map(|preview| preview.moves.len());
        html! {
            section {
                h2 { (language.say("Thay đổi những gì", "What changes")) }
                p {
                    (count(set.cells.len())) " " (language.say("ô, ở", "cells, at")) " " (count(groups.len())) " "
                    (language.say("địa điểm", "places"))
                    @if let Some(leaving) = leaving {
                        "; " strong { (count(leaving)) " " (language.say("biển sẽ dẫn đến trang khác", "signs will lead elsewhere")) }
                    }
                    "."
                }
                p {
                    a href={ "/changes/" (set.number) "?format=csv" } { (language.say("Tải mọi ô về dạng CSV", "Download all cells as CSV")) }
                }
            }
            @for part in pages.get(page - 1).into_iter().flatten() { (self.part(part)) }
            (pager(visit, page, pages.len()))
        }
    }

    fn part(&self, Part { group, moves }: &Part<'_>) -> Markup {
        let (visit, language) = (self.visit, self.visit.language);
        // Cells that the pages above do not tell of.
        let says_more = group
            .rows
            .iter()
            .filter(|row| row.fate() != Fate::Gone)
            .any(|row| row.cells.iter().any(|cell| cells_view::target_language(&cell.column).is_none()));
        let more = |count: usize, one: &'static str| {
            html! { @if count > 0 { p { (language.say("và", "and")) " " (language.number(count as u64)) " " (one) } } }
        };
        let rows = html! {
            @for row in group.rows.iter().take(ROWS) { (cells_view::row(visit, row)) }
            (more(group.rows.len().saturating_sub(ROWS), language.say("dòng khác; tệp CSV có đủ", "more rows; the CSV file has them all")))
        };
        let unseen = moves.iter().skip(MOVES).map(Vec::len).sum();
        html! {
            section {
                h2 {
                    @match visit.registry.place(&group.place) {
                        Some(place) => {
                            (place_link(visit, place))
                            @if !place.area().is_empty() { " " span.soft { bdi { (place.area()) } } }
                        }
                        None if group.place.is_empty() => { (language.say("Dòng không rõ địa điểm", "Rows of no known place")) }
                        None => { bdi { (group.place) } }
                    }
                }
                @for alike in moves.iter().take(MOVES) { (cells_view::moves(visit, alike)) }
                (more(unseen, language.say("biển khác dẫn đến trang khác", "more signs will lead elsewhere")))
                @if moves.is_empty() {
                    (rows)
                } @else {
                    details open[says_more] {
                        summary { (language.say("Các ô trong bảng", "Cells of the tables")) }
                        div.stack { (rows) }
                    }
                }
            }
        }
    }

    /// What was done to it.
    fn past(&self, people: &People) -> Result<Markup, Failure> {
        let (visit, language) = (self.visit, self.visit.language);
        let filter = Filter { change_set: Some(self.set.number), ..Filter::default() };
        let entries = visit.parts.database.read(|connection| list(connection, &filter, 0, MOST))?;
        Ok(html! {
            @if !entries.is_empty() {
                section {
                    h2 { (language.say("Diễn biến", "What was done to it")) }
                    ol reversed {
                        @for entry in &entries {
                            li {
                                (time(visit, entry.time)) " " (words::told(language, entry))
                                @if let Some(number) = entry.account { ", " (people.person(number)) }
                                @if !entry.reason.is_empty() { ": " bdi { (entry.reason) } }
                            }
                        }
                    }
                    p { a href={ "/history?set=" (self.set.number) } { (language.say("Trong lịch sử", "In the history")) } }
                }
            }
        })
    }
}

/// Signs that move alike, together, in the order of the first of each.
fn alike<'m>(moves: &[&'m Move]) -> Vec<Vec<&'m Move>> {
    let mut alike: Vec<Vec<&Move>> = Vec::new();
    let mut known = HashMap::new();
    for &sign in moves {
        let at = *known.entry((sign.from, &sign.before, &sign.after)).or_insert(alike.len());
        match alike.get_mut(at) {
            Some(group) => group.push(sign),
            None => alike.push(vec![sign]),
        }
    }
    alike
}

/// The places of each page: a page ends after [`GROUPS`] or once it has [`PIECES`], and has one place at least.
fn pages<'p>(parts: impl Iterator<Item = Part<'p>>) -> Vec<Vec<Part<'p>>> {
    let mut pages: Vec<Vec<Part<'_>>> = Vec::new();
    let mut pieces = 0;
    for part in parts {
        let cells: usize = part.group.rows.iter().take(ROWS).map(|row| row.cells.len()).sum();
        let own = cells + part.moves.len().min(MOVES);
        match pages.last_mut().filter(|page| page.len() < GROUPS && pieces + own <= PIECES) {
            Some(page) => {
                page.push(part);
                pieces += own;
            }
            None => {
                pages.push(vec![part]);
                pieces = own;
            }
        }
    }
    pages
}
