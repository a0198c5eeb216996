//! `/changes/N`: one change set, and what can be done to it.
//!
//! Owns what must be seen before somebody decides: each sign with its old and its new page, what would break a rule,
//! what has changed since, who else is at the same rows. A button is there only for who may press it, and the same
//! question is asked again when it is pressed.

mod actions;
mod show;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use hyper::StatusCode;

use super::super::Visit;
use super::super::answer::{Answer, Failure, see_other};
use super::super::areas::{areas_of, lacks};
use super::super::csv::{csv_text, download};
use super::super::elements::texts;
use super::super::forms::{self, Wish};
use super::super::preview::{Preview, World};
use super::super::tables::tables;
use crate::accounts::Right;
use crate::changes::{ChangeError, ChangeSet, Draft, State};
use crate::core::Problems;
use crate::source::{CellChange, Cells, Sources, TableName};

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
