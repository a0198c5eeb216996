//! The life of a change set.
#![allow(clippy::unwrap_used, reason = "a test that can't go on panics")]

use std::sync::{Arc, Barrier};
use std::thread;

use jiff::Timestamp;
use tempfile::TempDir;

use super::*;
use crate::history::{Action, Database, Entry, Filter, list, verify};
use crate::source::{CellChange, Sources, TableName};

const AUTHOR: i64 = 1;
const OTHER: i64 = 2;
const THIRD: i64 = 3;

struct Office {
    _folder: TempDir,
    database: Arc<Database>,
    changes: Changes,
}

fn office(approvals: u8) -> Office {
    let folder = tempfile::tempdir().unwrap();
    let database = Arc::new(Database::open(&folder.path().join("console.db")).unwrap());
    for name in ["hoa", "minh", "lan"] {
        let sql = "INSERT INTO accounts (name, role, areas, applies_first, created) VALUES (?1, 'manager', '[]', 1, 0)";
        database.write(|transaction| transaction.execute(sql, [name])).unwrap();
    }
    Office { _folder: folder, changes: Changes::new(database.clone(), approvals), database }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn cell(key: &str, column: &str, old: Option<&str>, new: Option<&str>) -> CellChange {
    let (old, new) = (old.map(str::to_owned), new.map(str::to_owned));
    CellChange { table: TableName::Signs, key: key.to_owned(), column: column.to_owned(), old, new }
}

fn draft() -> Draft {
    Draft {
        author: AUTHOR,
        reason: "trang mới".to_owned(),
        effective: None,
        cells: vec![cell("A1B2C3", "target", Some("https://example.vn/a"), Some("https://example.vn/b"))],
        undoes: None,
        forced: false,
    }
}

impl Office {
    fn drafted(&self) -> i64 {
        self.changes.draft(&draft(), at(1)).unwrap()
    }

    fn submitted(&self) -> i64 {
        let number = self.drafted();
        self.changes.submit(number, AUTHOR, at(2)).unwrap();
        number
    }

    fn applied(&self, number: i64) {
        let is_told = self.database.write(|transaction| model::applied(transaction, number, (7, 8), at(9)));
        assert!(is_told.unwrap());
    }

    fn state(&self, number: i64) -> State {
        self.changes.get(number).unwrap().state
    }

    fn entries(&self) -> Vec<Entry> {
        let whole = self.database.read(|connection| verify(connection, None)).unwrap();
        assert_eq!(whole.problems, [""; 0]);
        let mut entries = self.database.read(|connection| list(connection, &Filter::default(), 0, 100)).unwrap();
        entries.reverse();
        entries
    }

    fn actions(&self) -> Vec<Action> {
        self.entries().iter().map(|entry| entry.action).collect()
    }
}

#[test]
fn a_set_goes_from_its_author_by_another_to_the_tables_and_each_step_is_in_the_history() {
    let office = office(1);
    let number = office.submitted();
    office.changes.approve(number, OTHER, at(3)).unwrap();
    office.applied(number);
    let set = office.changes.get(number).unwrap();
    assert_eq!((set.state, set.author, set.approver), (State::Applied, AUTHOR, Some(OTHER)));
    assert_eq!((set.submitted, set.decided, set.applied), (Some(at(2)), Some(at(3)), Some(at(9))));
    assert_eq!((set.generations, set.cells), (Some((7, 8)), draft().cells));
    let entries = office.entries();
    let told: Vec<_> = entries.iter().map(|entry| (entry.action, entry.account, entry.approver)).collect();
    assert_eq!(
        told,
        [
            (Action::Submitted, Some(AUTHOR), None),
            (Action::Approved, Some(OTHER), Some(OTHER)),
            (Action::Applied, Some(AUTHOR), Some(OTHER)),
        ]
    );
    for entry in entries {
        assert_eq!((entry.object.as_str(), entry.reason.as_str()), ("set 1", "trang mới"));
        assert_eq!(entry.details["cells"][0]["new"], "https://example.vn/b");
        assert_eq!(entry.details["count"], 1);
    }
    let about = Filter { objects: vec!["signs A1B2C3".to_owned()], ..Filter::default() };
    assert_eq!(office.database.read(|connection| list(connection, &about, 0, 100)).unwrap().len(), 3);
}

#[test]
fn nobody_decides_about_a_set_of_his_own() {
    let office = office(1);
    let number = office.submitted();
    let changes = &office.changes;
    assert!(matches!(changes.approve(number, AUTHOR, at(3)), Err(ChangeError::OwnSet)));
    assert!(matches!(changes.refuse(number, AUTHOR, "no", at(3)), Err(ChangeError::OwnSet)));
    changes.apply_first(number, AUTHOR, at(3)).unwrap();
    office.applied(number);
    assert!(matches!(changes.review(number, AUTHOR, at(4)), Err(ChangeError::OwnSet)));
    assert_eq!(changes.to_review().unwrap().len(), 1);
}

#[test]
fn what_is_decided_while_a_set_is_looked_at_stands() {
    let office = office(1);
    for (state, decide) in [
        (State::Refused, &(|number| office.changes.refuse(number, OTHER, "no", at(4))) as &dyn Fn(i64) -> _),
        (State::Withdrawn, &|number| office.changes.withdraw(number, AUTHOR, at(4))),
    ] {
        let number = office.submitted();
        office.changes.approve(number, OTHER, at(3)).unwrap();
        decide(number).unwrap();
        let entries = office.entries().len();
        let told = [
            office.database.write(|transaction| model::applied(transaction, number, (7, 7), at(9))),
            office.database.write(|transaction| model::conflicting(transaction, number, "why", at(9))),
        ];
        assert_eq!(told.map(Result::unwrap), [false; 2]);
        assert_eq!((office.state(number), office.entries().len()), (state, entries));
    }
}

#[test]
fn nobody_changes_submits_or_withdraws_a_set_of_another() {
    let office = office(1);
    let number = office.drafted();
    let changes = &office.changes;
    let others = Draft { author: OTHER, ..draft() };
    assert!(matches!(changes.redraft(number, &others), Err(ChangeError::NotTheAuthor)));
    assert!(matches!(changes.submit(number, OTHER, at(3)), Err(ChangeError::NotTheAuthor)));
    assert!(matches!(changes.apply_first(number, OTHER, at(3)), Err(ChangeError::NotTheAuthor)));
    assert!(matches!(changes.withdraw(number, OTHER, at(3)), Err(ChangeError::NotTheAuthor)));
    assert_eq!(office.state(number), State::Draft);
}

#[test]
fn of_two_approvers_who_race_one_wins_and_the_other_is_told() {
    let office = office(1);
    for _ in 0..20 {
        let number = office.submitted();
        let start = Barrier::new(2);
        let results = thread::scope(|scope| {
            let race = |by| {
                let (changes, start) = (&office.changes, &start);
                scope.spawn(move || {
                    start.wait();
                    changes.approve(number, by, at(3))
                })
            };
            [race(OTHER), race(THIRD)].map(|thread| thread.join().unwrap())
        });
        let won = results.iter().filter(|result| result.is_ok()).count();
        let told = |result: &Result<(), ChangeError>| {
            matches!(result, Err(ChangeError::State { expected: "submitted", found: State::Approved }))
        };
        assert_eq!((won, results.iter().filter(|result| told(result)).count()), (1, 1), "{results:?}");
    }
    assert_eq!(office.actions().iter().filter(|&&action| action == Action::Approved).count(), 20);
}

#[test]
fn where_no_approval_is_needed_a_set_is_approved_by_nobody_and_that_is_said() {
    let office = office(0);
    let number = office.submitted();
    let set = office.changes.get(number).unwrap();
    assert_eq!((set.state, set.approver), (State::Approved, None));
    let entries = office.entries();
    assert_eq!(office.actions(), [Action::Submitted, Action::Approved]);
    assert_eq!(entries[1].approver, None);
    assert_eq!(entries[1].details["remark"], "no_approval_needed");
}

#[test]
fn a_set_that_is_applied_first_is_reviewed_once_by_another() {
    let office = office(1);
    let draft = Draft { effective: Some(at(1_000_000)), ..draft() };
    let number = office.changes.draft(&draft, at(1)).unwrap();
    office.changes.apply_first(number, AUTHOR, at(2)).unwrap();
    assert_eq!(office.changes.due(at(3)).unwrap(), [number], "at once, not at its time");
    assert!(matches!(office.changes.review(number, OTHER, at(3)), Err(ChangeError::State { .. })));
    office.applied(number);
    office.changes.review(number, OTHER, at(10)).unwrap();
    assert!(matches!(office.changes.review(number, THIRD, at(11)), Err(ChangeError::State { .. })));
    assert_eq!(office.changes.get(number).unwrap().reviewed, Some((OTHER, at(10))));
    assert!(office.changes.to_review().unwrap().is_empty());
    assert_eq!(office.actions(), [Action::Submitted, Action::Approved, Action::Applied, Action::Reviewed]);
    assert_eq!(office.entries()[1].details["remark"], "applied_first");
}

#[test]
fn what_is_refused_or_taken_back_goes_no_further() {
    let office = office(1);
    let changes = &office.changes;
    let refused = office.submitted();
    assert!(matches!(changes.refuse(refused, OTHER, "  ", at(3)), Err(ChangeError::Reason(0))));
    changes.refuse(refused, OTHER, "sai trang", at(3)).unwrap();
    let withdrawn = office.submitted();
    changes.approve(withdrawn, OTHER, at(3)).unwrap();
    changes.withdraw(withdrawn, AUTHOR, at(4)).unwrap();
    for number in [refused, withdrawn] {
        assert!(matches!(changes.approve(number, OTHER, at(5)), Err(ChangeError::State { .. })));
        assert!(matches!(changes.withdraw(number, AUTHOR, at(5)), Err(ChangeError::State { .. })));
        assert!(matches!(changes.submit(number, AUTHOR, at(5)), Err(ChangeError::State { .. })));
    }
    assert!(changes.due(at(9)).unwrap().is_empty());
    assert_eq!(changes.get(refused).unwrap().remark, "sai trang");
}

#[test]
fn a_set_that_is_being_applied_is_neither_refused_nor_withdrawn() {
    let office = office(1);
    let number = office.submitted();
    office.changes.approve(number, OTHER, at(3)).unwrap();
    let (old, new) = (Sources::default(), Sources { signs: b"x".to_vec(), ..Sources::default() });
    office.database.write(|transaction| intent::Intent::begin(transaction, number, &old, &new, 1)).unwrap();
    assert!(matches!(office.changes.refuse(number, THIRD, "x", at(4)), Err(ChangeError::State { .. })));
    assert!(matches!(office.changes.withdraw(number, AUTHOR, at(4)), Err(ChangeError::State { .. })));
}

#[test]
fn a_draft_that_is_taken_back_is_gone_and_its_number_is_not_given_again() {
    let office = office(1);
    let number = office.drafted();
    office.changes.withdraw(number, AUTHOR, at(2)).unwrap();
    assert!(matches!(office.changes.get(number), Err(ChangeError::NoSuch(1))));
    assert_eq!(office.drafted(), number + 1);
    assert!(office.entries().is_empty());
}

#[test]
fn what_can_be_no_set_is_said() {
    let office = office(1);
    let refused = |draft: &Draft| office.changes.draft(draft, at(1)).unwrap_err();
    for (reason, count) in [(" ".to_owned(), 0), ("đ".repeat(501), 501)] {
        assert!(matches!(refused(&Draft { reason, ..draft() }), ChangeError::Reason(found) if found == count));
    }
    office.changes.draft(&Draft { reason: "đ".repeat(500), ..draft() }, at(1)).unwrap();
    let same = cell("A1B2C3", "target", Some("x"), Some("x"));
    assert!(matches!(refused(&Draft { cells: vec![same], ..draft() }), ChangeError::Empty));
    let twice = [draft().cells, draft().cells].concat();
    assert!(matches!(refused(&Draft { cells: twice, ..draft() }), ChangeError::Twice { .. }));
    let many = (0..=MAX_CELLS).map(|row| cell(&row.to_string(), "note", Some(""), Some("x"))).collect();
    assert!(matches!(refused(&Draft { cells: many, ..draft() }), ChangeError::TooMany(100_001)));
}

#[test]
fn sets_are_due_at_their_time_in_the_order_of_their_times_also_over_midnight_of_the_office() {
    let office = office(0);
    // Midnight in Ho Chi Minh City is 17:00 UTC.
    let [before, midnight, after] = ["16:59:59.999", "17:00:00", "17:00:00.001"]
        .map(|time| format!("2026-12-31T{time}Z").parse::<Timestamp>().unwrap());
    let mut scheduled = Vec::new();
    for effective in [Some(after), Some(midnight), Some(before), None] {
        let number = office.changes.draft(&Draft { effective, ..draft() }, at(1)).unwrap();
        office.changes.submit(number, AUTHOR, at(2)).unwrap();
        scheduled.push(number);
    }
    let [late, at_midnight, early, at_once] = scheduled[..] else { panic!() };
    assert_eq!(office.changes.due(at(2)).unwrap(), [at_once]);
    assert_eq!(office.changes.due(before).unwrap(), [at_once, early]);
    assert_eq!(office.changes.due(midnight).unwrap(), [at_once, early, at_midnight]);
    assert_eq!(office.changes.due(after).unwrap(), [at_once, early, at_midnight, late]);
}

#[test]
fn sets_are_listed_by_state_and_found_by_their_rows() {
    let office = office(1);
    let (first, second, third) = (office.drafted(), office.submitted(), office.submitted());
    office.changes.refuse(second, OTHER, "x", at(3)).unwrap();
    let numbers = |sets: Vec<ChangeSet>| sets.iter().map(|set| set.number).collect::<Vec<_>>();
    let changes = &office.changes;
    assert_eq!(numbers(changes.list(&[], 0, 10).unwrap()), [third, second, first]);
    assert_eq!(numbers(changes.list(&[], 1, 1).unwrap()), [second]);
    assert_eq!(numbers(changes.list(&[State::Draft, State::Refused], 0, 10).unwrap()), [second, first]);
    assert_eq!(numbers(changes.pending_for(TableName::Signs, "A1B2C3").unwrap()), [third, first]);
    assert!(changes.pending_for(TableName::Places, "A1B2C3").unwrap().is_empty());
}

#[test]
fn an_override_that_waits_is_found_by_its_sign_or_place() {
    let office = office(1);
    let targets = [("target".to_owned(), "https://example.vn/x".to_owned())];
    let cells = festival(&["one".to_owned()], "2027-01-01T00:00", "2027-01-02T00:00", &targets, "");
    let number = office.changes.draft(&Draft { cells, ..draft() }, at(1)).unwrap();
    let found = |key| {
        let sets = office.changes.pending_for(TableName::Places, key).unwrap();
        sets.iter().map(|set| set.number).collect::<Vec<_>>()
    };
    assert_eq!(found("one"), [number]);
    assert!(found("on").is_empty() && found("one1").is_empty());
}

const SIGNS: &str = "code,place,status,target,note\nA1B2C3,one,active,https://example.vn/b,\nA1B2C4,one,active,,\n";

/// The inverse of some cells that were applied, as (what is undone, what is left alone), by key and column.
fn inverse(cells: Vec<CellChange>, signs: &str) -> [Vec<(String, String)>; 2] {
    let office = office(0);
    let number = office.changes.draft(&Draft { cells, ..draft() }, at(1)).unwrap();
    office.changes.submit(number, AUTHOR, at(2)).unwrap();
    assert!(matches!(office.changes.inverse(number, &Sources::default()), Err(ChangeError::State { .. })));
    office.applied(number);
    let tables = Sources { signs: signs.into(), ..Sources::default() };
    let (undone, left) = office.changes.inverse(number, &tables).unwrap();
    let next = tables.edit(&undone).unwrap();
    for cell in &undone {
        assert_eq!(next.cells(TableName::Signs).unwrap().get(&cell.key, &cell.column), cell.new.as_deref());
    }
    [undone, left].map(|cells| cells.into_iter().map(|cell| (cell.key, cell.column)).collect())
}

fn named(cells: &[(&str, &str)]) -> Vec<(String, String)> {
    cells.iter().map(|&(key, column)| (key.to_owned(), column.to_owned())).collect()
}

#[test]
fn an_inverse_leaves_alone_what_has_changed_since() {
    let cells = || {
        vec![
            cell("A1B2C3", "target", Some("https://example.vn/a"), Some("https://example.vn/b")),
            cell("A1B2C4", "note", Some("old"), Some("")),
        ]
    };
    assert_eq!(inverse(cells(), SIGNS), [named(&[("A1B2C3", "target"), ("A1B2C4", "note")]), named(&[])]);
    let since = SIGNS.replace("https://example.vn/b", "https://example.vn/c");
    assert_eq!(inverse(cells(), &since), [named(&[("A1B2C4", "note")]), named(&[("A1B2C3", "target")])]);
}

#[test]
fn an_inverse_takes_a_row_away_whole_or_not_at_all() {
    let added = || vec![cell("A1B2C4", "place", None, Some("one")), cell("A1B2C4", "status", None, Some("active"))];
    let both = named(&[("A1B2C4", "place"), ("A1B2C4", "status")]);
    assert_eq!(inverse(added(), SIGNS), [both.clone(), vec![]]);
    for since in ["A1B2C4,one,retired,,", "A1B2C4,one,active,,somebody's", "A1B2C4,one,active,https://example.vn/x,"] {
        let since = SIGNS.replace("A1B2C4,one,active,,", since);
        assert_eq!(inverse(added(), &since), [vec![], both.clone()], "{since}");
    }
    assert_eq!(inverse(added(), &SIGNS.replace("A1B2C4,one,active,,\n", "")), [vec![], both]);
}

#[test]
fn an_inverse_brings_a_row_back_unless_there_is_one_again() {
    let gone = || vec![cell("A1B2C5", "place", Some("one"), None), cell("A1B2C5", "status", Some("active"), None)];
    let both = named(&[("A1B2C5", "place"), ("A1B2C5", "status")]);
    assert_eq!(inverse(gone(), SIGNS), [both.clone(), vec![]]);
    assert_eq!(inverse(gone(), &format!("{SIGNS}A1B2C5,one,planned,,\n")), [vec![], both]);
}
