//! Whatever the console and people with editors do to the tables, and wherever the process is killed: history, tables
//! and answers agree afterwards.

use std::fs;
use std::time::Duration;

use waypost::source::TableName::{self, Places, Signs};
use waypost::source::{CellChange, Sources};

use crate::office::{Office, cell, draft, setup};
use crate::support::Random;

const ROUNDS: usize = 50;

/// A change of a random cell of the tables.
fn any_change(tables: &Sources, random: &mut Random) -> CellChange {
    let (table, keys, columns): (_, &[&str], &[&str]) = match random.below(2) {
        0 => (Places, &["one", "two"], &["name", "name:en", "target", "target:en", "note"]),
        _ => (Signs, &["A1B2C3", "A1B2C4"], &["target", "note"]),
    };
    let (key, column) = (random.of(keys), random.of(columns));
    // Few values, so that cells come to have those they had before.
    let new = match column {
        "target" | "target:en" => format!("https://example.vn/{}", random.below(4)),
        _ => format!("Tên, \"{}\"", random.below(4)),
    };
    cell(table, key, column, tables.cells(table).unwrap().get(key, column).unwrap(), &new)
}

/// Cells of rows that come and go, besides.
fn changes(tables: &Sources, random: &mut Random) -> Vec<CellChange> {
    let mut cells: Vec<CellChange> = Vec::new();
    for _ in 0..=random.below(3) {
        let change = any_change(tables, random);
        if !cells.iter().any(|cell| (&cell.key, &cell.column) == (&change.key, &change.column))
            && change.old != change.new
        {
            cells.push(change);
        }
    }
    if random.below(3) == 0 {
        let is_there = tables.cells(Signs).unwrap().get("A1B2C5", "place").is_some();
        for (column, value) in [("place", "one"), ("status", "active")] {
            let whole = cell(Signs, "A1B2C5", column, value, value);
            let row = if is_there { CellChange { new: None, ..whole } } else { CellChange { old: None, ..whole } };
            cells.push(row);
        }
    }
    cells
}

/// As a person does it: a whole file, in place or renamed over the old one.
fn edit_by_hand(office: &Office, random: &mut Random) {
    let tables = office.tables();
    let next = tables.edit(&changes(&tables, random)).unwrap();
    for table in TableName::ALL.into_iter().filter(|&table| tables.table(table) != next.table(table)) {
        let path = office.edge.setup.path(&format!("config/{}.csv", table.as_str()));
        if random.below(2) == 0 {
            fs::write(path, next.table(table)).unwrap();
        } else {
            let new = path.with_extension("mine");
            fs::write(&new, next.table(table)).unwrap();
            fs::rename(new, path).unwrap();
        }
    }
}

#[test]
fn history_tables_and_answers_agree_after_fifty_rounds_of_edits_and_kills() {
    let mut random = Random::new();
    let mut office = Office::start(setup());
    for _ in 0..ROUNDS {
        let is_down = random.below(4) == 0;
        if is_down {
            office.edge.kill();
        }
        for _ in 0..=random.below(2) {
            match random.below(3) {
                0 => edit_by_hand(&office, &mut random),
                _ => {
                    let cells = changes(&office.tables(), &mut random);
                    if !cells.is_empty() {
                        office.approved(&draft(cells));
                    }
                }
            }
        }
        if !is_down {
            // Until somewhere in the next look of the thread, which is a second away at most.
            std::thread::sleep(Duration::from_millis(random.below(1200)));
            office.edge.kill();
        }
        office.edge.start();
        office.wait_until_settled();
        office.assert_agreement();
    }
    assert!(office.entries().len() > ROUNDS, "{} entries", office.entries().len());
}
