//! Where the tables can't be written nothing of a set is; it stays approved, and is applied once they can.

use std::fs;

use waypost::changes::State;
use waypost::source::TableName::{Places, Signs};

use crate::office::{Office, SIGNS, cell, draft, setup};
use crate::support::{SmallDisk, wait_for};

#[test]
#[ignore = "needs root: tests/run"]
fn on_a_full_disk_a_set_waits_and_is_applied_once_there_is_room() {
    let setup = setup();
    let config = setup.path("config");
    let disk = SmallDisk::mount(&config);
    // A table that does not fit twice.
    let places = format!("{}{}", crate::office::PLACES, "\n".repeat(3 << 20));
    let office = Office::start(setup.registry(&places, SIGNS));
    fs::write(config.join("filler"), vec![0; 4 << 20]).unwrap();
    let number = office.approved(&draft(vec![
        cell(Signs, "A1B2C3", "target", "https://example.vn/own", "https://example.vn/new"),
        cell(Places, "two", "target", "https://example.vn/vi/two", "https://example.vn/new"),
    ]));
    wait_for("it is said", || office.edge.log().contains("the tables can't be written").then_some(()));
    wait_for("it is undone", || (!office.is_applying()).then_some(()));
    assert_eq!(office.set(number).state, State::Approved);
    assert_eq!(office.tables().signs, SIGNS.as_bytes());
    assert_eq!(office.location("A1B2C3"), "https://example.vn/own");
    fs::remove_file(config.join("filler")).unwrap();
    office.wait_until(number, State::Applied);
    office.wait_until_settled();
    office.assert_agreement();
    drop(office);
    drop(disk);
}
