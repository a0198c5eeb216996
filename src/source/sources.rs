//! The contents of the three tables, and the registry that they make.
//!
//! Owns the names of the columns, and the hash by which two edges see that they serve the same.

use sha2::{Digest as _, Sha256};

use super::csv::{Columns, Table};
use super::files::Files;
use crate::core::{Problems, file_name};
use crate::registry::{OverrideRow, PlaceRow, Registry, RegistryBuilder, Rules, SignRow, TableNames};

pub(super) const PLACES: Columns = Columns {
    required: &["place", "name"],
    optional: &["kind", "area", "target", "namesake", "about", "source", "compiled", "note"],
    multilingual: &["name", "target", "namesake", "about"],
};
pub(super) const SIGNS: Columns = Columns {
    required: &["code", "place", "status"],
    optional: &["lat", "lon", "mounted", "target", "successor", "aliases", "note"],
    multilingual: &["target"],
};
pub(super) const OVERRIDES: Columns =
    Columns { required: &["scope", "from", "until", "target"], optional: &["note"], multilingual: &["target"] };

/// The bytes of the three files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// `places.csv`
    pub places: Vec<u8>,
    /// `signs.csv`
    pub signs: Vec<u8>,
    /// `overrides.csv`; empty where the file is absent.
    pub overrides: Vec<u8>,
}

impl Sources {
    /// Parses and checks everything. Problems name the files as `files` does.
    pub fn parse(&self, files: &Files, rules: &Rules) -> Result<Registry, Problems> {
        let [places, signs, overrides] = &files.paths().map(file_name);
        let mut builder = RegistryBuilder::new(rules, TableNames { places, signs, overrides });
        let mut open = |file, bytes, columns| Table::open(file, bytes, columns, &mut builder.problems);
        let places = open(places, &self.places, &PLACES);
        let signs = open(signs, &self.signs, &SIGNS);
        let overrides =
            if self.overrides.trim_ascii().is_empty() { None } else { open(overrides, &self.overrides, &OVERRIDES) };
        let (Some(mut places), Some(mut signs)) = (places, signs) else {
            return Err(builder.problems);
        };
        for table in [Some(&places), Some(&signs), overrides.as_ref()].into_iter().flatten() {
            for (column, language) in table.languages() {
                builder.language(table.file, 1, column, language);
            }
        }
        while let Some(row) = places.next_row(&mut builder.problems) {
            builder.place(&PlaceRow {
                line: row.line,
                place: row.cell("place"),
                kind: row.cell("kind"),
                area: row.cell("area"),
                names: &row.texts("name"),
                targets: &row.texts("target"),
                namesakes: &row.texts("namesake"),
                abouts: &row.texts("about"),
                source: row.cell("source"),
                compiled: row.cell("compiled"),
            });
        }
        while let Some(row) = signs.next_row(&mut builder.problems) {
            builder.sign(&SignRow {
                line: row.line,
                code: row.cell("code"),
                place: row.cell("place"),
                status: row.cell("status"),
                lat: row.cell("lat"),
                lon: row.cell("lon"),
                mounted: row.cell("mounted"),
                targets: &row.texts("target"),
                successor: row.cell("successor"),
                aliases: row.cell("aliases"),
            });
        }
        if let Some(mut overrides) = overrides {
            while let Some(row) = overrides.next_row(&mut builder.problems) {
                builder.override_(&OverrideRow {
                    line: row.line,
                    scope: row.cell("scope"),
                    from: row.cell("from"),
                    until: row.cell("until"),
                    targets: &row.texts("target"),
                });
            }
        }
        builder.build()
    }

    /// The same for the same contents, on whichever edge and at whichever start: the first 64 bits of a
    /// SHA-256 over the three tables, each after its length in bytes (64 bits, little-endian).
    #[must_use]
    pub fn content_hash(&self) -> u64 {
        let mut hash = Sha256::new();
        for table in [&self.places, &self.signs, &self.overrides] {
            hash.update((table.len() as u64).to_le_bytes());
            hash.update(table);
        }
        let hash = <[u8; 32]>::from(hash.finalize());
        hash.iter().take(8).fold(0, |first, &byte| first << 8 | u64::from(byte))
    }
}
