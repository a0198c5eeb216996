//! `/changes/N`: one change set, and what can be done to it.
//!
//! Owns what must be seen before somebody decides: each sign with its old and its new page, what would break a rule,
//! what has changed since, who else is at the same rows. A button is there only for who may press it, and the same
//! question is asked again when it is pressed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use hyper::StatusCode;
use maud::{Markup, html};

use super::super::Visit;
use super::super::answer::{Answer, Failure, see_other};
use super::super::areas::{areas_of, lacks};
use super::super::cells_view::{self, Fate, Group, groups};
use super::super::csv::{csv_text, download};
use super::super::elements::{
    Button, Field, People, Tone, badge, button, facts, lines, local_time, notice, pager, place_link, problems,
    state_badge, texts, tick, time,
};
use super::super::forms::{self, Wish, effective_field, reason_field};
use super::super::language::Language;
use super::super::page::page_with;
use super::super::preview::{Move, Preview, World};
use super::super::tables::tables;
use super::super::words;
use crate::accounts::Right;
use crate::changes::{ChangeError, ChangeSet, Draft, State};
use crate::core::Problems;
use crate::history::{Filter, list};
use crate::source::{CellChange, Cells, Conflict, Sources, TableName};

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

/// A set, and what is known of it now.
struct Case<'v> {
    visit: &'v Visit<'v>,
    set: ChangeSet,
    /// The tables as they are on the disk.
    tables: Result<Sources, Problems>,
    areas: BTreeSet<String>,
    /// Of a set that is not at its end.
    preview: Option<Preview>,
}

/// What is shown of a place.
struct Part<'p> {
    group: &'p Group<'p>,
    /// Signs that move alike, together.
    moves: Vec<Vec<&'p Move>>,
}

pub(in crate::console) fn get(visit: &Visit<'_>, rest: &str) -> Answer {
    if visit.fields.get("format") == "csv" {
        return csv(visit, rest);
    }
    Case::load(visit, rest)?.show(StatusCode::OK, &[])
}

/// All cells of a set, for a spreadsheet; a row that is not there has an empty cell, too.
fn csv(visit: &Visit<'_>, rest: &str) -> Answer {
    let set = set(visit, rest)?;
    let header = ["table", "key", "column", "old", "new"].map(Cow::from);
    let row = |cell: &'_ CellChange| {
        let texts = [cell.table.as_str(), &cell.key, &cell.column];
        let [old, new] = [&cell.old, &cell.new].map(|text| text.as_deref().unwrap_or("").to_owned());
        let [table, key, column] = texts.map(|text| Cow::from(text.to_owned()));
        [table, key, column, old.into(), new.into()]
    };
    let rows = [header].into_iter().chain(set.cells.iter().map(row));
    Ok(download(&format!("change-{}.csv", set.number), csv_text(rows)))
}

fn set(visit: &Visit<'_>, rest: &str) -> Result<ChangeSet, Failure> {
    let number = rest.parse().map_err(|_| Failure::NotFound)?;
    Ok(visit.parts.changes.get(number)?)
}

pub(in crate::console) fn post(visit: &Visit<'_>, rest: &str) -> Answer {
    let case = Case::load(visit, rest)?;
    let done = match visit.fields.get("action") {
        "save" => case.save(),
        "submit" => case.submit(),
        "apply_first" => case.apply_first(),
        "withdraw" => case.withdraw(),
        "approve" => case.approve(),
        "refuse" => case.refuse(),
        "review" => case.review(),
        "roll_back" => case.roll_back(),
        "rebase" => case.rebase(),
        other => Err(Failure::Wrong(vec![format!("expected an action of this page, found {other:?}")])),
    };
    match done {
        Ok(number) => Ok(see_other(&format!("/changes/{number}"))),
        Err(Failure::Wrong(list)) => case.show(StatusCode::UNPROCESSABLE_ENTITY, &list),
        // Somebody else was faster: what it is now, and that.
        Err(Failure::Change(ChangeError::State { .. })) => {
            let text = visit.language.say(
                "Đề xuất này vừa được người khác xử lý; trang dưới đây là tình trạng mới nhất.",
                "Somebody else has done something to this change set meanwhile; below it is as it is now.",
            );
            Case::load(visit, rest)?.show(StatusCode::CONFLICT, &[text.to_owned()])
        }
        Err(failure) => Err(failure),
    }
}

impl<'v> Case<'v> {
    fn load(visit: &'v Visit<'v>, rest: &str) -> Result<Self, Failure> {
        let set = set(visit, rest)?;
        let tables = tables(visit);
        let nothing = Sources::default();
        let areas = areas_of(&set.cells, &visit.registry, tables.as_ref().unwrap_or(&nothing));
        let is_live = matches!(set.state, State::Draft | State::Submitted | State::Approved | State::Conflict);
        let preview = tables.as_ref().ok().filter(|_| is_live).map(|tables| {
            let at = set.effective.filter(|&time| time > visit.now).unwrap_or(visit.now);
            Preview::of(&set.cells, tables, at, &World::of(visit))
        });
        Ok(Self { visit, set, tables, areas, preview })
    }

    fn is_own(&self) -> bool {
        self.set.author == self.visit.account.number
    }

    /// Whether the account has a right in every area that is touched.
    fn may(&self, right: Right) -> bool {
        self.visit.account.may(right, self.areas.iter().map(String::as_str))
    }

    fn tables(&self) -> Result<&Sources, Failure> {
        self.tables.as_ref().map_err(|problems| Failure::Wrong(texts(problems)))
    }
}

// === What can be done ===

impl Case<'_> {
    /// Refuses with words where the account lacks a right.
    fn must(&self, right: Right) -> Result<(), Failure> {
        if self.may(right) { Ok(()) } else { Err(Failure::Forbidden(lacks(self.visit, right, &self.areas))) }
    }

    fn must_be_own(&self) -> Result<(), Failure> {
        let text = self.visit.language.say("Chỉ người soạn làm được việc này.", "Only its author can do this.");
        if self.is_own() { Ok(()) } else { Err(Failure::Forbidden(text.to_owned())) }
    }

    /// Nobody decides on a set of his own.
    fn must_be_anothers(&self, right: Right) -> Result<(), Failure> {
        let text = self.visit.language.say(
            "Không ai tự quyết định về đề xuất của mình: cần một tài khoản khác.",
            "Nobody decides on a change set of his own: it takes another account.",
        );
        if self.is_own() { Err(Failure::Forbidden(text.to_owned())) } else { self.must(right) }
    }

    /// Refuses what could not be applied, or loses more signs than somebody has said to mean.
    fn must_fit(&self, forced: bool) -> Result<(), Failure> {
        self.tables()?;
        let language = self.visit.language;
        let mut wrong = Vec::new();
        if let Some(preview) = &self.preview {
            if !preview.conflicts.is_empty() {
                wrong.push(language.say(
                    "Có ô đã thay đổi kể từ khi đề xuất được lập (xem bên dưới); hãy lập lại từ giá trị hiện nay.",
                    "Cells have changed since this change set was made (see below); make it anew from what is there now.",
                ));
            }
            if !preview.problems.is_empty() {
                wrong.push(language.say(
                    "Đề xuất làm bảng vi phạm quy tắc (xem bên dưới).",
                    "The tables would break a rule with it (see below).",
                ));
            }
            if preview.shrinks && !forced {
                wrong.push(language.say(
                    "Đề xuất làm mất nhiều biển hơn mức cho phép: nếu đúng là muốn như vậy, hãy đánh dấu vào ô xác nhận.",
                    "It loses more signs than is allowed: if that is meant, tick the box which says so.",
                ));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(Failure::Wrong(wrong.into_iter().map(str::to_owned).collect())) }
    }

    /// Keeps what the form of a draft says.
    fn keep(&self) -> Result<Wish, Failure> {
        self.must_be_own()?;
        self.must(Right::Propose)?;
        let Visit { fields, now, language, .. } = self.visit;
        let wish = Wish::read(fields, &self.visit.parts.rules.timezone, *now, *language);
        let wish = wish.map_err(|(_, wrong)| Failure::Wrong(wrong))?;
        let set = &self.set;
        let draft = Draft {
            author: set.author,
            reason: wish.reason.clone(),
            effective: wish.effective,
            cells: set.cells.clone(),
            undoes: set.undoes,
            forced: wish.forced,
        };
        self.visit.parts.changes.redraft(set.number, &draft)?;
        Ok(wish)
    }

    fn save(&self) -> Result<i64, Failure> {
        self.keep()?;
        Ok(self.set.number)
    }

    fn submit(&self) -> Result<i64, Failure> {
        let wish = self.keep()?;
        self.must_fit(wish.forced)?;
        self.visit.parts.submit(self.set.number, self.visit.account.number, self.visit.now)?;
        Ok(self.set.number)
    }

    fn apply_first(&self) -> Result<i64, Failure> {
        self.must_be_own()?;
        self.must(Right::ApplyFirst)?;
        let forced = if self.set.state == State::Draft { self.keep()?.forced } else { self.set.forced };
        self.must_fit(forced)?;
        self.visit.parts.apply_first(self.set.number, self.visit.account.number, self.visit.now)?;
        Ok(self.set.number)
    }

    fn withdraw(&self) -> Result<i64, Failure> {
        self.must_be_own()?;
        self.visit.parts.changes.withdraw(self.set.number, self.visit.account.number, self.visit.now)?;
        Ok(self.set.number)
    }

    fn approve(&self) -> Result<i64, Failure> {
        self.must_be_anothers(Right::Approve)?;
        self.must_fit(self.set.forced)?;
        self.visit.parts.changes.approve(self.set.number, self.visit.account.number, self.visit.now)?;
        if self.set.effective.is_none_or(|time| time <= self.visit.now) {
            self.visit.parts.applier.look();
        }
        Ok(self.set.number)
    }

    fn refuse(&self) -> Result<i64, Failure> {
        self.must_be_anothers(Right::Approve)?;
        let remark = forms::reason(&self.visit.fields, "remark", self.visit.language);
        let remark = remark.map_err(|wrong| Failure::Wrong(vec![wrong]))?;
        let Visit { parts, account, now, .. } = self.visit;
        parts.changes.refuse(self.set.number, account.number, &remark, *now)?;
        Ok(self.set.number)
    }

    fn review(&self) -> Result<i64, Failure> {
        self.must_be_anothers(Right::Approve)?;
        self.visit.parts.changes.review(self.set.number, self.visit.account.number, self.visit.now)?;
        Ok(self.set.number)
    }

    /// Makes the inverse set and submits it, unless it wants a second look: then it stays a draft.
    fn roll_back(&self) -> Result<i64, Failure> {
        let Visit { parts, language, now, account, .. } = self.visit;
        let reason = forms::reason(&self.visit.fields, "reason", *language);
        let reason = reason.map_err(|wrong| Failure::Wrong(vec![wrong]))?;
        let tables = self.tables()?;
        let (cells, _) = parts.changes.inverse(self.set.number, tables)?;
        if cells.is_empty() {
            let text = language.say(
                "Không còn gì để hoàn tác: mọi ô đều đã thay đổi kể từ đó.",
                "There is nothing left to undo: every cell has changed since.",
            );
            return Err(Failure::Wrong(vec![text.to_owned()]));
        }
        let areas = areas_of(&cells, &self.visit.registry, tables);
        if !account.may(Right::Propose, areas.iter().map(String::as_str)) {
            return Err(Failure::Forbidden(lacks(self.visit, Right::Propose, &areas)));
        }
        let preview = Preview::of(&cells, tables, *now, &World::of(self.visit));
        let undoes = Some(self.set.number);
        let draft = Draft { author: account.number, reason, effective: None, cells, undoes, forced: false };
        let number = parts.changes.draft(&draft, *now)?;
        if preview.fits() && !preview.shrinks {
            self.visit.parts.submit(number, self.visit.account.number, self.visit.now)?;
        }
        Ok(number)
    }

    /// The same change from the values that are there now: in place of a draft of one's own, or as a new draft.
    fn rebase(&self) -> Result<i64, Failure> {
        self.must(Right::Propose)?;
        let Visit { parts, now, account, .. } = self.visit;
        let set = &self.set;
        let tables = self.tables()?;
        let cells = rebase(&set.cells, tables);
        if cells.is_empty() {
            return Err(Failure::Wrong(vec![self.nothing_left(tables).to_owned()]));
        }
        let draft = Draft {
            author: account.number,
            reason: set.reason.clone(),
            effective: set.effective.filter(|time| time > now),
            cells,
            undoes: set.undoes,
            forced: false,
        };
        if set.state == State::Draft && self.is_own() {
            parts.changes.redraft(set.number, &draft)?;
            return Ok(set.number);
        }
        Ok(parts.changes.draft(&draft, *now)?)
    }

    /// Why a set can't be made anew: nothing would come of it.
    fn nothing_left(&self, tables: &Sources) -> &'static str {
        let language = self.visit.language;
        if has_all(&self.set.cells, tables) {
            language.say(
                "Các bảng đã có mọi giá trị mới của đề xuất này: không còn gì để thay đổi.",
                "The tables already have every new value of this change set: there is nothing left to change.",
            )
        } else {
            language.say(
                "Không còn gì để thay đổi: các dòng không còn nữa, hoặc đã có giá trị này.",
                "There is nothing left to change: its rows are gone, or have these values already.",
            )
        }
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

/// The cells of a set with the values that are there now as the old ones. Left out: those that have their new value
/// already, and those of rows that are gone or not to be told apart. A row that is to go goes with what it has by now.
fn rebase(cells: &[CellChange], tables: &Sources) -> Vec<CellChange> {
    let mut known: HashMap<TableName, Option<Cells>> = HashMap::new();
    let mut going: BTreeMap<(TableName, &str), BTreeSet<&str>> = BTreeMap::new();
    let mut rebased = Vec::new();
    for cell in cells {
        let table = known.entry(cell.table).or_insert_with(|| tables.cells(cell.table).ok());
        let now = table.as_ref().and_then(|table| table.get(&cell.key, &cell.column)).map(str::to_owned);
        let is_row_gone = now.is_none() && cell.old.is_some();
        if !is_row_gone && now != cell.new {
            rebased.push(CellChange { old: now, ..cell.clone() });
        }
        if cell.new.is_none() {
            going.entry((cell.table, cell.key.as_str())).or_default().insert(&cell.column);
        }
    }
    for ((table, key), named) in going {
        let Some(Some(cells)) = known.get(&table) else { continue };
        for column in cells.columns().iter().filter(|column| !named.contains(column.as_str())) {
            let now =
                cells.get(key, column).filter(|now| !now.is_empty() && !table.key_columns().contains(&column.as_str()));
            if let Some(now) = now {
                let (key, column, old) = (key.to_owned(), column.clone(), Some(now.to_owned()));
                rebased.push(CellChange { table, key, column, old, new: None });
            }
        }
    }
    rebased
}

/// Whether each cell of a set has its new value already.
fn has_all(cells: &[CellChange], tables: &Sources) -> bool {
    let mut known: HashMap<TableName, Option<Cells>> = HashMap::new();
    cells.iter().all(|cell| {
        let table = known.entry(cell.table).or_insert_with(|| tables.cells(cell.table).ok());
        table.as_ref().is_some_and(|table| table.get(&cell.key, &cell.column) == cell.new.as_deref())
    })
}

// === What is shown ===

impl Case<'_> {
    fn show(&self, status: StatusCode, wrong: &[String]) -> Answer {
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

// === Forms ===

impl Case<'_> {
    fn actions(&self) -> Result<Markup, Failure> {
        let language = self.visit.language;
        let forms = match self.set.state {
            State::Draft => self.draft_form(),
            State::Submitted => html! { (self.decision()) (self.own_submitted()) },
            State::Approved => html! {
                @if self.is_own() { (self.withdraw_form()) } @else if self.may(Right::Approve) { (self.refuse_form()) }
            },
            State::Applied => html! { (self.review_form()) (self.roll_back_form()?) },
            State::Refused | State::Withdrawn | State::Conflict => html! {},
        };
        let rebase = self.rebase_form();
        Ok(html! {
            section #actions {
                h2 { (language.say("Xử lý", "What to do")) }
                (forms) (rebase)
            }
        })
    }

    /// Why there is no button.
    fn why_not(&self, right: Right) -> Markup {
        html! { p.soft { (lacks(self.visit, right, &self.areas)) } }
    }

    fn draft_form(&self) -> Markup {
        let (visit, set, language) = (self.visit, &self.set, self.visit.language);
        if !self.is_own() {
            let text = language.say(
                "Bản nháp: chỉ người soạn sửa hoặc gửi duyệt được.",
                "A draft: only its author can change or submit it.",
            );
            return html! { p.soft { (text) } };
        }
        if !self.may(Right::Propose) {
            return html! { (self.why_not(Right::Propose)) (self.withdraw_form()) };
        }
        // What was typed, after a form that was not taken.
        let is_typed = visit.fields.has("reason");
        let typed = |name: &str, kept: String| if is_typed { visit.fields.get(name).to_owned() } else { kept };
        let reason = typed("reason", set.reason.clone());
        let effective = set.effective.map(|at| local_time(visit, at)).unwrap_or_default();
        let effective = typed("effective", effective);
        let is_forced = if is_typed { visit.fields.has("forced") } else { set.forced };
        let shrinks = self.preview.as_ref().is_some_and(|preview| preview.shrinks);
        html! {
            form.form method="post" {
                (reason_field(language, &reason))
                (effective_field(visit, &effective))
                @if shrinks { (tick("forced", "1", html! { (shrink_text(language)) }, is_forced)) }
                div.row {
                    (button(Button::Primary, "action", "submit", language.say("Gửi duyệt", "Submit")))
                    (button(Button::Plain, "action", "save", language.say("Lưu nháp", "Save")))
                    @if self.may(Right::ApplyFirst) {
                        (button(Button::Danger, "action", "apply_first", language.say("Áp dụng ngay, xem lại sau", "Apply now, reviewed after")))
                    }
                }
                @if self.may(Right::ApplyFirst) { (apply_first_text(language)) }
            }
            (self.withdraw_form())
        }
    }

    /// For those who decide on it.
    fn decision(&self) -> Markup {
        let language = self.visit.language;
        if self.is_own() {
            let text = language.say(
                "Đang chờ một tài khoản khác có quyền phê duyệt ở các khu vực này. Không ai tự phê duyệt đề xuất của mình.",
                "It waits for another account that may approve in these areas. Nobody approves a change set of his own.",
            );
            return html! { p { (text) } };
        }
        if !self.may(Right::Approve) {
            return self.why_not(Right::Approve);
        }
        let fits = self.must_fit(self.set.forced);
        html! {
            @match fits {
                Ok(()) => form.form method="post" {
                    @if self.set.forced {
                        p { (language.say("Người soạn xác nhận đúng là muốn xóa nhiều biển như vậy.", "Its author says that losing so many signs is meant.")) }
                    }
                    div.row { (button(Button::Primary, "action", "approve", language.say("Phê duyệt", "Approve"))) }
                },
                Err(_) => p.soft {
                    (language.say("Chưa thể phê duyệt: xem các cảnh báo ở trên.", "It can't be approved as it is: see above."))
                },
            }
            (self.refuse_form())
        }
    }

    fn refuse_form(&self) -> Markup {
        let language = self.visit.language;
        let is_typed = self.visit.fields.get("action") == "refuse";
        html! {
            details open[is_typed] {
                summary { (language.say("Từ chối…", "Refuse…")) }
                form.form method="post" {
                    (Field {
                        name: "remark", label: language.say("Lý do từ chối", "Why it is refused"),
                        value: self.visit.fields.get("remark"), is_required: true, ..Field::default()
                    }.lines())
                    div.row { (button(Button::Danger, "action", "refuse", language.say("Từ chối", "Refuse"))) }
                }
            }
        }
    }

    fn own_submitted(&self) -> Markup {
        let language = self.visit.language;
        html! {
            @if self.is_own() {
                @if self.may(Right::ApplyFirst) {
                    form.form method="post" {
                        div.row {
                            (button(Button::Danger, "action", "apply_first", language.say("Áp dụng ngay, xem lại sau", "Apply now, reviewed after")))
                        }
                        (apply_first_text(language))
                    }
                }
                (self.withdraw_form())
            }
        }
    }

    fn withdraw_form(&self) -> Markup {
        let language = self.visit.language;
        html! {
            form method="post" { (button(Button::Plain, "action", "withdraw", language.say("Rút lại", "Withdraw"))) }
        }
    }

    /// For a set that was applied first.
    fn review_form(&self) -> Markup {
        let language = self.visit.language;
        if !self.set.applies_first || self.set.reviewed.is_some() {
            return html! {};
        }
        if self.is_own() {
            let text = language.say("Chờ một tài khoản khác xem lại.", "It waits for another account's review.");
            return html! { p { (text) } };
        }
        if !self.may(Right::Approve) {
            return self.why_not(Right::Approve);
        }
        html! {
            form.form method="post" {
                p { (language.say("Thay đổi này đã được áp dụng trước khi có người phê duyệt.", "This was applied before anybody has approved it.")) }
                div.row {
                    (button(Button::Primary, "action", "review", language.say("Đã xem: đạt yêu cầu", "Looked at it: all right")))
                }
                p.hint { (language.say("Nếu không đạt, hãy hoàn tác.", "If it is not, roll it back.")) }
            }
        }
    }

    fn roll_back_form(&self) -> Result<Markup, Failure> {
        let (visit, language) = (self.visit, self.visit.language);
        let Ok(tables) = &self.tables else { return Ok(html! {}) };
        if !self.may(Right::Propose) {
            return Ok(self.why_not(Right::Propose));
        }
        let (cells, changed) = visit.parts.changes.inverse(self.set.number, tables)?;
        let is_typed = visit.fields.get("action") == "roll_back";
        let left = |cell: &CellChange| {
            html! {
                (cells_view::row_title(visit, cell.table, &cell.key)) ", " (words::column(language, &cell.column))
            }
        };
        Ok(html! {
            @if !changed.is_empty() {
                details {
                    summary {
                        (language.number(changed.len() as u64)) " "
                        (language.say("ô đã thay đổi kể từ đó, hoàn tác sẽ để nguyên", "cells have changed since; a rollback leaves them alone"))
                    }
                    (lines(language, changed.iter().map(left)))
                }
            }
            @if cells.is_empty() {
                p.soft { (language.say("Không còn gì để hoàn tác.", "There is nothing left to undo.")) }
            } @else {
                details open[is_typed] {
                    summary { (language.say("Hoàn tác…", "Roll back…")) }
                    form.form method="post" {
                        p {
                            (language.say("Lập và gửi duyệt một đề xuất mới, trả lại giá trị cũ của", "Makes and submits a new change set that puts back"))
                            " " (language.number(cells.len() as u64)) " " (language.say("ô.", "cells."))
                        }
                        (reason_field(language, visit.fields.get("reason")))
                        div.row { (button(Button::Danger, "action", "roll_back", language.say("Hoàn tác", "Roll back"))) }
                    }
                }
            }
        })
    }

    /// For a set with cells that have changed since, or one that has ended and may be wanted after all.
    fn rebase_form(&self) -> Markup {
        let language = self.visit.language;
        let is_over = matches!(self.set.state, State::Refused | State::Withdrawn);
        let is_outdated = self.set.state == State::Conflict
            || self.preview.as_ref().is_some_and(|preview| !preview.conflicts.is_empty());
        if !is_over && !is_outdated {
            return html! {};
        }
        if !self.may(Right::Propose) {
            return self.why_not(Right::Propose);
        }
        let Ok(tables) = &self.tables else { return html! {} };
        if rebase(&self.set.cells, tables).is_empty() {
            return html! { p.soft { (self.nothing_left(tables)) } };
        }
        if is_over {
            return html! {
                form.form method="post" {
                    p {
                        (language.say(
                            "Đề xuất này đã kết thúc. Có thể lập bản nháp mới với cùng các thay đổi, sửa lý do hoặc thời điểm rồi gửi duyệt lại.",
                            "This change set is at its end. The same changes can be made into a new draft, with another reason or time, and be submitted again.",
                        ))
                    }
                    div.row {
                        (button(Button::Plain, "action", "rebase", language.say("Lập bản nháp mới", "Make a new draft")))
                    }
                }
            };
        }
        html! {
            form.form method="post" {
                p {
                    (language.say(
                        "Lập bản nháp với cùng giá trị mới, tính từ giá trị hiện nay của các ô; dòng không còn thì bỏ qua. Hãy xem kỹ vì người khác đã sửa các ô này.",
                        "Makes a draft with the same new values, from what the cells have now; rows that are gone are left out. Look at it well: somebody else has changed these cells.",
                    ))
                }
                div.row {
                    (button(Button::Plain, "action", "rebase", language.say("Lập lại từ giá trị hiện nay", "Make it anew from what is there now")))
                }
            }
        }
    }
}

fn shrink_text(language: Language) -> &'static str {
    language.say("Đúng là muốn xóa nhiều biển như vậy", "Losing so many signs is meant")
}

fn apply_first_text(language: Language) -> Markup {
    html! {
        p.hint {
            (language.say(
                "“Áp dụng ngay, xem lại sau” dành cho lúc khẩn cấp (trang đích trở nên nguy hại): có hiệu lực ngay, hiện màu đỏ với mọi người cho đến khi một tài khoản khác xem lại.",
                "“Apply now, reviewed after” is for an emergency (a page that turned harmful): it holds at once, and everybody sees it in red until another account has looked at it.",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::console::trial::{self, change};

    #[test]
    fn a_set_is_made_anew_from_what_is_there() {
        let tables = trial::tables();
        let cell = |key, column, old: Option<&str>, new: Option<&str>| CellChange {
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
            ..change(TableName::Places, key, column, "", "")
        };
        let rebased = rebase(
            &[
                cell("p1", "target", Some("stale"), Some("new")),
                // It is there already,
                cell("p3", "name", Some("stale"), Some("Ba")),
                // its row is gone,
                cell("gone", "name", Some("stale"), Some("x")),
                // a new one,
                cell("p9", "name", None, Some("Chín")),
                // a new one that somebody else has made meanwhile,
                cell("p3", "note", None, Some("x")),
                // and one that is to go, and has more cells by now.
                cell("p2", "kind", Some("stale"), None),
            ],
            &tables,
        );
        assert_eq!(
            rebased,
            [
                cell("p1", "target", Some("https://langson.gov.vn/1"), Some("new")),
                cell("p9", "name", None, Some("Chín")),
                cell("p3", "note", Some(""), Some("x")),
                cell("p2", "kind", Some("relic"), None),
                cell("p2", "area", Some("B"), None),
                cell("p2", "name", Some("Hai"), None),
                cell("p2", "target", Some("https://langson.gov.vn/2"), None),
            ]
        );
    }

    #[test]
    fn a_set_whose_values_are_there_already_is_told_apart_from_one_whose_rows_are_gone() {
        let tables = trial::tables();
        let there = change(TableName::Places, "p3", "name", "stale", "Ba");
        let gone = change(TableName::Places, "gone", "name", "stale", "x");
        assert_eq!(rebase(&[there.clone(), gone.clone()], &tables), []);
        assert!(has_all(std::slice::from_ref(&there), &tables));
        assert!(!has_all(&[there, gone], &tables));
    }

    /// An office whose place `p1` has so many signs more, and a draft that changes the target and the note of each.
    fn many(signs: usize) -> (trial::Office, i64) {
        let mut tables = trial::tables();
        let codes: Vec<String> = (0..signs).map(|n| format!("{}", 1_000_000 + n)).collect();
        let rows: String = codes.iter().fold(String::new(), |rows, code| rows + code + ",p1,active,,\n");
        tables.signs.extend_from_slice(rows.as_bytes());
        let office = trial::Office::open(&tables, crate::accounts::Role::Editor, &[]);
        let cell = |code: &String| {
            let page = format!("https://langson.gov.vn/vi/dia-danh/{code}/{}", "x".repeat(60));
            [("target", page), ("note", "=1+1".to_owned())]
                .map(|(column, new)| change(TableName::Signs, code, column, "", &new))
        };
        let cells = codes.iter().flat_map(cell).collect();
        let author = office.account.number;
        let draft = Draft { author, reason: "x".to_owned(), effective: None, cells, undoes: None, forced: false };
        let number = office.parts.changes.draft(&draft, jiff::Timestamp::now()).expect("a draft");
        (office, number)
    }

    fn body(answer: Answer) -> String {
        let body = answer.unwrap_or_else(|failure| panic!("{failure}")).into_body();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let body = runtime.block_on(body.collect()).expect("it is in memory").to_bytes();
        String::from_utf8(body.to_vec()).expect("UTF-8")
    }

    #[test]
    fn a_place_of_twelve_thousand_signs_is_a_page_that_a_phone_can_load_and_a_whole_csv_file() {
        let (office, number) = many(12_000);
        let page = body(get(&office.visit(&format!("/changes/{number}")), &number.to_string()));
        assert!(page.contains("11.950 dòng khác"));
        assert!(page.contains("11.975 biển khác"));
        assert!(page.len() < 300_000, "{}", page.len());
        let csv = body(get(&office.visit(&format!("/changes/{number}?format=csv")), &number.to_string()));
        assert_eq!(csv.lines().count(), 1 + 24_000);
        assert!(csv.contains("\r\nsigns,1000000,note,,'=1+1\r\n"), "{}", &csv[..300]);
    }
}
