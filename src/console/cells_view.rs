//! The cells of a change set, as people read them: place by place, and within a place row by row.
//!
//! Owns the grouping and how a group is shown. Everything in a cell is text.

use std::collections::HashMap;

use super::areas::scope;
use crate::core::Code;
use crate::registry::Registry;
use crate::source::{CellChange, TableName};

/// What changes at one place: its own row, its signs, their overrides.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group<'c> {
    /// The identifier; empty for rows of which nobody knows the place.
    pub place: String,
    pub rows: Vec<Row<'c>>,
}

/// One row of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row<'c> {
    pub table: TableName,
    pub key: &'c str,
    pub cells: Vec<&'c CellChange>,
}

/// What happens to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Changed,
    New,
    Gone,
}

impl Row<'_> {
    pub fn fate(&self) -> Fate {
        if self.cells.iter().all(|cell| cell.old.is_none()) {
            Fate::New
        } else if self.cells.iter().all(|cell| cell.new.is_none()) {
            Fate::Gone
        } else {
            Fate::Changed
        }
    }
}

/// The language of a column with targets: `Some("")` for `target`, `Some("en")` for `target:en`.
pub(super) fn target_language(column: &str) -> Option<&str> {
    match column.split_once(':') {
        Some(("target", language)) => Some(language),
        None if column == "target" => Some(""),
        _ => None,
    }
}

/// The groups, in the order in which the cells first name their places; rows and cells in the order of the set.
pub(super) fn groups<'c>(cells: &'c [CellChange], registry: &Registry) -> Vec<Group<'c>> {
    // The place that a sign has by this set, for those that do not serve yet.
    let homes: HashMap<Code, &str> = cells
        .iter()
        .filter(|cell| cell.table == TableName::Signs && cell.column == "place")
        .filter_map(|cell| Some((cell.key.parse().ok()?, cell.new.as_deref().or(cell.old.as_deref())?)))
        .collect();
    let place_of = |code: &str| -> Option<String> {
        let code = code.parse::<Code>().ok()?;
        let home = registry.sign(code).map(|sign| sign.place().id());
        home.or_else(|| homes.get(&code).copied()).map(str::to_owned)
    };
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut group_of: HashMap<String, usize> = HashMap::new();
    let mut row_of: HashMap<(TableName, &str), (usize, usize)> = HashMap::new();
    for cell in cells {
        let key = (cell.table, cell.key.as_str());
        let (group, row) = *row_of.entry(key).or_insert_with(|| {
            let place = match cell.table {
                TableName::Places => cell.key.clone(),
                TableName::Signs => place_of(&cell.key).unwrap_or_default(),
                TableName::Overrides => {
                    let scope = scope(&cell.key);
                    let is_place = registry.place(scope).is_some();
                    place_of(scope).filter(|_| !is_place).unwrap_or_else(|| scope.to_owned())
                }
            };
            let group = *group_of.entry(place.clone()).or_insert_with(|| {
                groups.push(Group { place, rows: Vec::new() });
                groups.len() - 1
            });
            let rows = &mut groups[group].rows;
            rows.push(Row { table: cell.table, key: &cell.key, cells: Vec::new() });
            (group, rows.len() - 1)
        });
        groups[group].rows[row].cells.push(cell);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::trial::{self, change};
    use TableName::{Overrides, Places, Signs};

    #[test]
    fn rows_stand_under_their_place() {
        let registry = trial::registry(&trial::tables());
        let new =
            |table, key: &str, column: &str, new: &str| CellChange { old: None, ..change(table, key, column, "", new) };
        let cells = [
            change(Places, "p2", "target", "a", "b"),
            change(Places, "p2", "target:en", "", "c"),
            change(Signs, "AAAA2222", "target", "a", "b"),
            change(Signs, "BBBB2222", "note", "", "x"),
            new(Signs, "DDDD5555", "place", "p2"),
            new(Signs, "DDDD5555", "status", "planned"),
            new(Overrides, "AAAA1111 2027-01-01T00:00", "until", "2027-01-02T00:00"),
            new(Overrides, "p2 2027-01-01T00:00", "until", "2027-01-02T00:00"),
            new(Overrides, "nobody 2027-01-01T00:00", "until", "2027-01-02T00:00"),
            change(Signs, "ZZZZ9999", "note", "", "x"),
        ];
        let groups = groups(&cells, &registry);
        let shape: Vec<(&str, Vec<(&str, usize)>)> = groups
            .iter()
            .map(|group| (group.place.as_str(), group.rows.iter().map(|row| (row.key, row.cells.len())).collect()))
            .collect();
        assert_eq!(
            shape,
            [
                ("p2", vec![("p2", 2), ("BBBB2222", 1), ("DDDD5555", 2), ("p2 2027-01-01T00:00", 1)]),
                ("p1", vec![("AAAA2222", 1), ("AAAA1111 2027-01-01T00:00", 1)]),
                ("nobody", vec![("nobody 2027-01-01T00:00", 1)]),
                ("", vec![("ZZZZ9999", 1)]),
            ]
        );
        assert_eq!(groups[0].rows[2].fate(), Fate::New);
        assert_eq!(groups[0].rows[0].fate(), Fate::Changed);
    }

    #[test]
    fn a_row_of_which_each_cell_goes_is_gone() {
        let gone = CellChange { new: None, ..change(Places, "p1", "name", "Một", "") };
        let cells = [gone];
        assert_eq!(groups(&cells, &trial::registry(&trial::tables()))[0].rows[0].fate(), Fate::Gone);
    }

    #[test]
    fn columns_of_targets_are_known_with_their_languages() {
        for (column, language) in
            [("target", Some("")), ("target:en", Some("en")), ("name:en", None), ("targets", None), ("note", None)]
        {
            assert_eq!(target_language(column), language, "{column}");
        }
    }
}
