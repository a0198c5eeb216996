//! What an entry of the history says of cells, and what it is about.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::core::Code;
use crate::source::{CellChange, TableName};

/// Cells that an entry has in full; of a set the others are kept with it.
const MOST: usize = 1000;

/// The details of an entry: `{"cells": [...], "count": ...}`, the first thousand and how many there are.
pub(super) fn cells_of(cells: &[CellChange]) -> Value {
    json!({ "cells": &cells[..cells.len().min(MOST)], "count": cells.len() })
}

/// The signs and places that cells are about: `signs 7K3M9QX2`, `places one`. What is to hold for a time is about the
/// sign or place that it holds for.
pub(super) fn about(cells: &[CellChange]) -> BTreeSet<String> {
    let mut objects = BTreeSet::new();
    for cell in cells {
        let key = &cell.key;
        objects.insert(format!("{} {key}", cell.table.as_str()));
        if cell.table == TableName::Overrides {
            let scope = key.split(' ').next().unwrap_or_default();
            objects.insert(format!("places {scope}"));
            // Whether it is the one or the other is known only with the tables; no page asks for a place as a sign.
            if let Ok(code) = Code::parse(scope.as_bytes()) {
                objects.insert(format!("signs {code}"));
            }
        }
    }
    objects
}
