//! Of two approvers one wins; a table that was edited by hand meanwhile is never overwritten.

use std::fs;
use std::sync::{Arc, Barrier};
use std::thread;

use jiff::Timestamp;
use waypost::changes::{ChangeError, Changes, State};
use waypost::history::{Action, Database};
use waypost::source::TableName::Signs;

use crate::office::{AUTHOR, Office, SIGNS, cell, draft, setup};
use crate::support::wait_for;

#[test]
fn two_approvers_race_and_the_set_is_approved_and_applied_once() {
    let office = Office::start(setup());
    let path = office.edge.setup.path("data/console.db");
    let cells = vec![cell(Signs, "A1B2C3", "target", "https://example.vn/own", "https://example.vn/new")];
    let number = office.changes.draft(&draft(cells), Timestamp::now()).unwrap();
    office.changes.submit(number, AUTHOR, Timestamp::now()).unwrap();
    let start = Barrier::new(2);
    let results = thread::scope(|scope| {
        [2, 3]
            .map(|by| {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    let changes = Changes::new(Arc::new(Database::open(path).unwrap()), 1);
                    start.wait();
                    changes.approve(number, by, Timestamp::now())
                })
            })
            .map(|thread| thread.join().unwrap())
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let is_late = |result: &&Result<(), ChangeError>| matches!(result, Err(ChangeError::State { .. }));
    assert_eq!(results.iter().filter(is_late).count(), 1, "{results:?}");
    office.wait_until(number, State::Applied);
    office.wait_until_settled();
    office.assert_agreement();
    assert_eq!(office.entries_of(Action::Approved).len(), 1);
}

#[test]
fn a_cell_that_was_edited_by_hand_since_the_draft_is_shown_and_kept() {
    let office = Office::start(setup());
    let cells = vec![
        cell(Signs, "A1B2C3", "target", "https://example.vn/own", "https://example.vn/new"),
        cell(Signs, "A1B2C4", "note", "", "đã đổi"),
    ];
    let number = office.changes.draft(&draft(cells), Timestamp::now()).unwrap();
    office.changes.submit(number, AUTHOR, Timestamp::now()).unwrap();
    let by_hand = SIGNS.replace("https://example.vn/own", "https://example.vn/by-hand");
    fs::write(office.edge.setup.path("config/signs.csv"), &by_hand).unwrap();
    // At once: the table has not settled, or it has; it makes no difference.
    office.changes.approve(number, 2, Timestamp::now()).unwrap();
    let set = office.wait_until(number, State::Conflict);
    assert_eq!(
        set.remark,
        "signs A1B2C3, target: expected \"https://example.vn/own\", found \"https://example.vn/by-hand\""
    );
    office.wait_until_settled();
    assert_eq!(office.tables().signs, by_hand.into_bytes(), "nothing of the set was written");
    assert_eq!(office.location("A1B2C3"), "https://example.vn/by-hand");
    office.assert_agreement();
    let actions: Vec<_> = office.entries().iter().map(|entry| entry.action).collect();
    assert_eq!(actions, [Action::Submitted, Action::Approved, Action::Outside, Action::Conflict]);
}

#[test]
fn what_would_break_a_rule_is_not_written() {
    let office = Office::start(setup());
    let number = office.approved(&draft(vec![
        cell(Signs, "A1B2C3", "target", "https://example.vn/own", "https://elsewhere.example.com/"),
        cell(Signs, "A1B2C4", "note", "", "đã đổi"),
    ]));
    let set = office.wait_until(number, State::Conflict);
    assert_eq!(set.remark, "signs.csv:2: target: host elsewhere.example.com is not in allowed_hosts");
    assert_eq!(office.tables().signs, SIGNS.as_bytes());
    office.assert_agreement();
}

#[test]
fn a_set_waits_for_tables_that_are_refused_and_is_applied_once_they_are_good() {
    let office = Office::start(setup());
    let path = office.edge.setup.path("config/signs.csv");
    fs::write(&path, SIGNS.replace("A1B2C4,two", "A1B2C4,nowhere")).unwrap();
    wait_for("the edit is refused", || {
        (office.edge.status()["registry"]["last_reload_successful"] == false).then_some(())
    });
    let cells = vec![cell(Signs, "A1B2C3", "target", "https://example.vn/own", "https://example.vn/new")];
    let number = office.approved(&draft(cells));
    wait_for("it is said", || office.edge.log().contains("change sets wait").then_some(()));
    assert_eq!(office.set(number).state, State::Approved);
    fs::write(&path, SIGNS.replace("A1B2C4,two", "A1B2C4,one")).unwrap();
    office.wait_until(number, State::Applied);
    office.wait_until_settled();
    office.assert_agreement();
    assert_eq!(office.location("A1B2C3"), "https://example.vn/new");
}
