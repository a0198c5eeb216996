//! What was changed outside the console is in the history, with its cells and with the change sets that it loses.

use std::fs;

use waypost::changes::State;
use waypost::history::{Action, Entry};
use waypost::source::CellChange;
use waypost::source::TableName::{Overrides, Places, Signs};

use crate::office::{Office, PLACES, SIGNS, cell, draft, setup};
use crate::support::wait_for;

fn outside(office: &Office, count: usize) -> Entry {
    wait_for("the entry", || Some(office.entries_of(Action::Outside)).filter(|found| found.len() == count))
        .pop()
        .unwrap()
}

#[test]
fn an_edit_by_hand_gets_an_entry_with_its_cells_also_one_made_while_the_process_was_down() {
    let mut office = Office::start(setup());
    let path = office.edge.setup.path("config/places.csv");
    fs::write(&path, PLACES.replace("Đường Một", "Phố Một")).unwrap();
    let entry = outside(&office, 1);
    assert_eq!((entry.object.as_str(), entry.account, entry.change_set), ("places.csv", None, None));
    let expected = cell(Places, "one", "name", "Đường Một", "Phố Một");
    assert_eq!(entry.details["cells"], serde_json::json!([expected]));
    let (before, after) = entry.generations.unwrap();
    assert!(before < after);
    assert_eq!(Some(after), office.edge.status()["registry"]["generation"].as_u64());
    office.edge.stop();
    fs::write(&path, PLACES.replace("Đường Hai", "Phố Hai")).unwrap();
    fs::write(office.edge.setup.path("config/signs.csv"), SIGNS.replace("A1B2C4,two,active,,\n", "")).unwrap();
    office.edge.start();
    let entry = outside(&office, 2);
    assert_eq!(entry.object, "places.csv, signs.csv");
    office.wait_until_settled();
    office.assert_agreement();
}

#[test]
fn a_spreadsheets_later_save_that_loses_a_set_is_told_as_that() {
    let office = Office::start(setup());
    let kept = office.approved(&draft(vec![cell(Signs, "A1B2C4", "note", "", "đã đổi")]));
    let lost = office.approved(&draft(vec![
        cell(Signs, "A1B2C3", "target", "https://example.vn/own", "https://example.vn/new"),
        cell(Places, "one", "name", "Đường Một", "Phố Một"),
    ]));
    office.wait_until(kept, State::Applied);
    office.wait_until(lost, State::Applied);
    office.wait_until_settled();
    // Somebody had opened the table before the set was applied, and saves it now with an edit of his own.
    let stale =
        String::from_utf8(office.tables().signs).unwrap().replace("https://example.vn/new", "https://example.vn/own");
    fs::write(office.edge.setup.path("config/signs.csv"), stale.replace("đã đổi", "xong")).unwrap();
    let entry = outside(&office, 1);
    assert_eq!(entry.details["loses"], serde_json::json!([lost]));
    assert!(office.edge.log().contains("loses change sets"));
    office.wait_until_settled();
    office.assert_agreement();
}

#[test]
fn a_copy_from_before_several_sets_loses_them_all() {
    let office = Office::start(setup());
    let page = |name| format!("https://example.vn/{name}");
    let before = office.tables().signs;
    let sets = [("own", "a"), ("a", "b"), ("b", "c")].map(|(old, new)| {
        let number = office.approved(&draft(vec![cell(Signs, "A1B2C3", "target", &page(old), &page(new))]));
        office.wait_until(number, State::Applied);
        number
    });
    office.wait_until_settled();
    fs::write(office.edge.setup.path("config/signs.csv"), before).unwrap();
    assert_eq!(outside(&office, 1).details["loses"], serde_json::json!(sets));
    office.wait_until_settled();
    office.assert_agreement();
}

#[test]
fn a_table_that_a_set_has_made_and_somebody_removes_at_once_is_missed() {
    let office = Office::start(setup());
    let add = |column, new| CellChange { old: None, ..cell(Overrides, "one 2030-01-01T00:00", column, "", new) };
    let number = office.approved(&draft(vec![add("until", "2030-01-02T00:00"), add("target", "https://example.vn/o")]));
    office.wait_until(number, State::Applied);
    fs::remove_file(office.edge.setup.path("config/overrides.csv")).unwrap();
    assert_eq!(outside(&office, 1).details["loses"], serde_json::json!([number]));
    office.wait_until_settled();
    office.assert_agreement();
}

#[test]
fn what_the_console_writes_is_nobody_elses() {
    let office = Office::start(setup());
    for (old, new) in [("own", "a"), ("a", "b"), ("b", "c")] {
        let page = |name| format!("https://example.vn/{name}");
        let number = office.approved(&draft(vec![cell(Signs, "A1B2C3", "target", &page(old), &page(new))]));
        office.wait_until(number, State::Applied);
    }
    office.wait_until_settled();
    office.assert_agreement();
    assert!(office.entries_of(Action::Outside).is_empty());
}

#[test]
fn what_is_edited_before_the_history_is_told_of_a_set_takes_nothing_from_the_set() {
    let office = Office::start(setup());
    let sql = |text: &str| office.database.write(|transaction| transaction.execute_batch(text)).unwrap();
    // As on a disk that fills up when the tables were written already.
    sql("CREATE TRIGGER full BEFORE INSERT ON history WHEN NEW.action = 'applied' \
         BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END");
    let number = office.approved(&draft(vec![
        cell(Signs, "A1B2C3", "target", "https://example.vn/own", "https://example.vn/new"),
        cell(Places, "two", "target", "https://example.vn/vi/two", "https://example.vn/new"),
    ]));
    wait_for("it is said", || office.edge.log().contains("database or disk is full").then_some(()));
    let signs = String::from_utf8(office.tables().signs).unwrap();
    assert!(signs.contains("https://example.vn/new"), "it serves: {signs}");
    let serves = || office.edge.status()["registry"]["generation"].as_u64();
    let before = serves();
    let edited = signs.replace("A1B2C4,two,active,,", "A1B2C4,two,active,,tay");
    fs::write(office.edge.setup.path("config/signs.csv"), edited).unwrap();
    wait_for("the edit serves", || (serves() > before).then_some(()));
    sql("DROP TRIGGER full");
    office.wait_until(number, State::Applied);
    let entry = outside(&office, 1);
    assert_eq!(entry.details["cells"], serde_json::json!([cell(Signs, "A1B2C4", "note", "", "tay")]));
    office.wait_until_settled();
    office.assert_agreement();
}
