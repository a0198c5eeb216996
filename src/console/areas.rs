//! Which areas a change touches: what decides whose business it is.
//!
//! Owns the rule. A place counts with its area as it serves, as its table says and as the change wants it; a sign with
//! those of its place, the old and the new one; an override with those of what it is for. A row without an area, or
//! one that nobody knows, counts as the area `""`, which is on no account's list: it is only for those of every area.

use std::collections::{BTreeSet, HashMap};

use unicode_normalization::UnicodeNormalization as _;

use super::Visit;
use crate::accounts::{Account, Right};
use crate::core::Code;
use crate::registry::{PlaceRef, Registry};
use crate::source::{CellChange, Cells, Sources, TableName};

/// The areas of every row that a change touches, before it and after it, in Unicode's composed form.
pub(super) fn areas_of(cells: &[CellChange], registry: &Registry, tables: &Sources) -> BTreeSet<String> {
    Areas::of(registry, tables).touched(cells)
}

/// Where the areas of rows are looked up, for several changes.
pub(super) struct Areas<'a> {
    registry: &'a Registry,
    /// `None` where the tables are those that serve, or this one can't be read: nothing can be applied to it then.
    places: Option<Cells>,
    signs: Option<Cells>,
}

/// A change's own part: what its cells say of areas.
#[derive(Default)]
struct Change<'a> {
    /// By place, the areas that it takes or gives.
    areas: HashMap<&'a str, Vec<&'a str>>,
    /// By code, the places that it takes or gives.
    homes: HashMap<Code, Vec<&'a str>>,
}

impl<'a> Areas<'a> {
    /// By the registry that serves, and the tables as they are.
    pub fn of(registry: &'a Registry, tables: &Sources) -> Self {
        let is_serving = tables.content_hash() == registry.content_hash;
        let cells = |table| if is_serving { None } else { tables.cells(table).ok() };
        Self { registry, places: cells(TableName::Places), signs: cells(TableName::Signs) }
    }

    /// See [`areas_of`].
    pub fn touched(&self, cells: &[CellChange]) -> BTreeSet<String> {
        let mut change = Change::default();
        for cell in cells {
            let values = || cell.old.iter().chain(&cell.new).map(String::as_str);
            match (cell.table, cell.column.as_str(), cell.key.parse()) {
                (TableName::Places, "area", _) => change.areas.entry(&cell.key).or_default().extend(values()),
                (TableName::Signs, "place", Ok(code)) => change.homes.entry(code).or_default().extend(values()),
                _ => {}
            }
        }
        let keys: BTreeSet<(TableName, &str)> = cells.iter().map(|cell| (cell.table, cell.key.as_str())).collect();
        let mut areas = BTreeSet::new();
        for (table, key) in keys {
            let is_known = match table {
                TableName::Places => self.place(key, &change, &mut areas),
                TableName::Signs => self.sign(key, &change, &mut areas),
                TableName::Overrides => {
                    let scope = scope(key);
                    // Not one or the other: the table could be read either way.
                    self.place(scope, &change, &mut areas) | self.sign(scope, &change, &mut areas)
                }
            };
            if !is_known {
                areas.insert(String::new());
            }
        }
        areas
    }

    /// Adds the areas of a place. Whether there is one.
    fn place(&self, id: &str, change: &Change<'_>, areas: &mut BTreeSet<String>) -> bool {
        let serving = self.registry.place(id).map(PlaceRef::area);
        let table = self.places.as_ref().and_then(|places| places.get(id, "area"));
        let changed = change.areas.get(id).into_iter().flatten().copied();
        let found: Vec<&str> = serving.into_iter().chain(table).chain(changed).collect();
        areas.extend(found.iter().map(|area| area.nfc().collect::<String>()));
        !found.is_empty()
    }

    /// Adds the areas of a sign's places. Whether there is one.
    fn sign(&self, code: &str, change: &Change<'_>, areas: &mut BTreeSet<String>) -> bool {
        let Ok(code) = code.parse::<Code>() else { return false };
        let serving = self.registry.sign(code).map(|sign| sign.place().id());
        let table = self.signs.as_ref().and_then(|signs| signs.get(&code.text(), "place"));
        let changed = change.homes.get(&code).into_iter().flatten().copied();
        let homes: BTreeSet<&str> = serving.into_iter().chain(table).chain(changed).collect();
        for home in &homes {
            if !self.place(home, change, areas) {
                areas.insert(String::new());
            }
        }
        !homes.is_empty()
    }
}

/// What the key of an override is for: the identifier of a place, or a code.
pub(super) fn scope(key: &str) -> &str {
    key.split_once(' ').map_or(key, |(scope, _)| scope)
}

/// Those of the areas in which an account may not do something; empty: it may.
pub(super) fn denied<'a>(account: &Account, right: Right, areas: &'a BTreeSet<String>) -> Vec<&'a str> {
    let areas = areas.iter().map(String::as_str);
    areas.filter(|&area| !account.may(right, [area].into_iter())).collect()
}

/// What somebody lacks, in words.
pub(super) fn lacks(visit: &Visit<'_>, right: Right, areas: &BTreeSet<String>) -> String {
    let language = visit.language;
    let what = match right {
        Right::See => language.say("Cần quyền xem", "This takes the right to see"),
        Right::Propose => language.say("Cần quyền soạn đề xuất", "This takes the right to make change sets"),
        Right::Approve => language.say("Cần quyền phê duyệt", "This takes the right to approve"),
        Right::ApplyFirst => {
            language.say("Cần quyền áp dụng trước, xem lại sau", "This takes the right to apply first, reviewed after")
        }
        Right::ManageAccounts => language.say("Cần quyền quản lý tài khoản", "This takes the right to manage accounts"),
    };
    if !visit.account.role.has(right) || right == Right::ApplyFirst && !visit.account.applies_first {
        return format!("{what}.");
    }
    let areas: Vec<&str> = denied(&visit.account, right, areas)
        .into_iter()
        .map(|area| match area {
            "" => language.say(
                "địa điểm không ghi khu vực (cần quyền ở mọi khu vực)",
                "places without an area (for those of every area)",
            ),
            area => area,
        })
        .collect();
    format!("{what} {} {}.", language.say("ở:", "in:"), areas.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Role;
    use crate::console::trial;

    fn cell(table: TableName, key: &str, column: &str, old: Option<&str>, new: Option<&str>) -> CellChange {
        let text = |value: Option<&str>| value.map(str::to_owned);
        CellChange { table, key: key.to_owned(), column: column.to_owned(), old: text(old), new: text(new) }
    }

    fn areas(cells: &[CellChange]) -> Vec<String> {
        let tables = trial::tables();
        areas_of(cells, &trial::registry(&tables), &tables).into_iter().collect()
    }

    #[test]
    fn a_row_has_the_areas_that_it_leaves_and_those_it_comes_to() {
        use TableName::{Overrides, Places, Signs};
        for (cells, expected) in [
            (cell(Places, "p1", "target", Some("a"), Some("b")), vec!["A"]),
            (cell(Places, "p1", "area", Some("A"), Some("B")), vec!["A", "B"]),
            (cell(Places, "p1", "area", Some("A"), Some("")), vec!["", "A"]),
            (cell(Places, "p1", "name", Some("Một"), None), vec!["A"]),
            (cell(Signs, "AAAA1111", "target", Some(""), Some("b")), vec!["A"]),
            (cell(Signs, "AAAA1111", "place", Some("p1"), Some("p2")), vec!["A", "B"]),
            (cell(Signs, "AAAA1111", "place", Some("p1"), Some("nowhere")), vec!["", "A"]),
            (cell(Signs, "BBBB2222", "note", Some(""), Some("x")), vec!["B"]),
            (cell(Overrides, "p2 2027-01-01T00:00", "until", Some("x"), Some("y")), vec!["B"]),
            (cell(Overrides, "AAAA1111 2027-01-01T00:00", "target", None, Some("y")), vec!["A"]),
        ] {
            assert_eq!(areas(std::slice::from_ref(&cells)), expected, "{cells:?}");
        }
    }

    #[test]
    fn what_has_no_area_is_only_for_those_of_every_area() {
        use TableName::{Overrides, Places, Signs};
        let mut account = trial::account(1, Role::Approver, &["A", "B"]);
        for cells in [
            vec![cell(Places, "p3", "target", Some("a"), Some("b"))],
            vec![cell(Places, "new", "name", None, Some("Mới"))],
            vec![cell(Signs, "ZZZZ9999", "status", None, Some("planned"))],
            vec![cell(Overrides, "nobody 2027-01-01T00:00", "target", None, Some("y"))],
            // With one of its own beside it.
            vec![
                cell(Places, "p1", "target", Some("a"), Some("b")),
                cell(Places, "p3", "target", Some("a"), Some("b")),
            ],
        ] {
            let tables = trial::tables();
            let areas = areas_of(&cells, &trial::registry(&tables), &tables);
            assert!(!account.may(Right::Approve, areas.iter().map(String::as_str)), "{cells:?}");
            assert_eq!(denied(&account, Right::Approve, &areas), [""], "{cells:?}");
            account.areas.clear();
            assert!(account.may(Right::Approve, areas.iter().map(String::as_str)), "{cells:?}");
            account.areas = vec!["A".to_owned(), "B".to_owned()];
        }
    }

    #[test]
    fn a_new_place_has_the_area_that_it_comes_with() {
        use TableName::{Overrides, Places, Signs};
        let new = [
            cell(Places, "new", "name", None, Some("Mới")),
            cell(Places, "new", "area", None, Some("C")),
            cell(Signs, "CCCC3333", "place", None, Some("new")),
            cell(Overrides, "new 2027-01-01T00:00", "target", None, Some("y")),
        ];
        assert_eq!(areas(&new), ["C"]);
    }

    #[test]
    fn tables_that_do_not_serve_yet_count_as_well() {
        let (serving, mut tables) = (trial::registry(&trial::tables()), trial::tables());
        tables.places.extend_from_slice("p4,street,D,Bốn,https://langson.gov.vn/4,,\n".as_bytes());
        tables.signs = String::from_utf8_lossy(&tables.signs).replace("AAAA-1111,p1", "AAAA-1111,p4").into_bytes();
        let cells = [cell(TableName::Signs, "AAAA1111", "note", Some(""), Some("x"))];
        assert_eq!(areas_of(&cells, &serving, &tables), ["A", "D"].map(str::to_owned).into());
    }

    #[test]
    fn an_area_is_the_same_in_both_forms_of_unicode() {
        let composed = "Phường Đông Kinh";
        let decomposed: String = composed.nfd().collect();
        assert_eq!(areas(&[cell(TableName::Places, "p1", "area", Some("A"), Some(&decomposed))]), ["A", composed]);
    }
}
