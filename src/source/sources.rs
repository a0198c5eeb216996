//! The contents of the three tables, and the registry that they make.
//!
//! Owns the names of the columns, and the hash by which two edges see that they serve the same. At the start the tables
//! are read on all cores, as nothing serves yet, and later on one; what comes of it is the same to the last problem.

use std::borrow::Cow;
use std::panic::resume_unwind;
use std::thread;

use sha2::{Digest as _, Sha256};

use super::csv::{Columns, Form, PIECE, Piece, Rows, Table, about_rows};
use super::files::Files;
use super::in_order::in_order;
use super::last_good::Copy;
use crate::core::{Code, Problems, file_name};
use crate::registry::{
    OverrideRow, PlaceRow, PlaceRows, Registry, RegistryBuilder, Rules, SignRow, SignRows, TableNames,
};

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
    /// Parses and checks everything, on this thread. Problems name the files as `files` does.
    pub fn parse(&self, files: &Files, rules: &Rules) -> Result<Registry, Problems> {
        let names = files.paths().map(file_name);
        let mut reading = Reading::begin(self, &names, rules, PIECE)?;
        reading.places(&self.places, 1);
        reading.signs(Cow::from(&*self.signs), 1);
        reading.end(&self.overrides)
    }

    /// The same on so many threads, of tables that nobody needs any longer: they are freed while the registry grows. Also
    /// gives what is to be kept of them, if their hash is not that of the copy.
    pub(super) fn into_registry(
        self,
        files: &Files,
        rules: &Rules,
        threads: usize,
        copied: Option<u64>,
    ) -> Result<(Registry, Option<Copy>), Problems> {
        let names = files.paths().map(file_name);
        let (mut reading, content_hash) = thread::scope(|scope| {
            let beside = scope.spawn(|| self.content_hash());
            let mut reading = Reading::begin(&self, &names, rules, PIECE)?;
            reading.places(&self.places, threads);
            Ok((reading, beside.join().unwrap_or_else(|panic| resume_unwind(panic))))
        })?;
        let Self { places, signs, overrides } = self;
        let mut copy = (copied != Some(content_hash)).then(Copy::default);
        if let Some(copy) = &mut copy {
            copy.take(places, threads);
            copy.add(&signs, threads);
            copy.add(&overrides, threads);
        } else {
            drop(places);
        }
        reading.signs(Cow::from(signs), threads);
        let mut registry = reading.end(&overrides)?;
        registry.content_hash = content_hash;
        Ok((registry, copy))
    }

    /// The codes of the table of signs; of rows that are wrong there may be none.
    pub(super) fn codes(&self) -> Vec<Code> {
        let mut problems = Problems::default();
        let mut codes = Vec::new();
        if let Some(table) = Table::open("", &self.signs, &SIGNS, &mut problems) {
            let mut rows = table.rows();
            while let Some(row) = rows.next_row(&mut problems) {
                codes.extend(row.cell("code").parse::<Code>());
            }
        }
        codes
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

/// A registry in the making: `begin`, then places, signs, and the end.
struct Reading<'a> {
    builder: RegistryBuilder<'a>,
    rules: &'a Rules,
    tables: TableNames<'a>,
    places: Form,
    signs: Form,
    overrides: Option<Form>,
}

impl<'a> Reading<'a> {
    /// Reads the three headers. `names` are those of the files.
    fn begin(sources: &Sources, names: &'a [String; 3], rules: &'a Rules, piece: usize) -> Result<Self, Problems> {
        let [places, signs, overrides] = names;
        let tables = TableNames { places, signs, overrides };
        let mut builder = RegistryBuilder::new(rules, tables);
        let mut open = |file, bytes, columns: &Columns| {
            let table = Table::open_with(file, bytes, columns, columns.required, piece, &mut builder.problems)?;
            Some(table.form)
        };
        let places = open(places, &sources.places, &PLACES);
        let signs = open(signs, &sources.signs, &SIGNS);
        let is_absent = sources.overrides.trim_ascii().is_empty();
        let overrides = if is_absent { None } else { open(overrides, &sources.overrides, &OVERRIDES) };
        let (Some(places), Some(signs)) = (places, signs) else {
            return Err(builder.problems);
        };
        let forms =
            [(tables.places, Some(&places)), (tables.signs, Some(&signs)), (tables.overrides, overrides.as_ref())];
        for (file, form) in forms.into_iter().filter_map(|(file, form)| Some((file, form?))) {
            for (column, language) in form.languages() {
                builder.language(file, 1, column, language);
            }
        }
        Ok(Self { builder, rules, tables, places, signs, overrides })
    }

    fn places(&mut self, bytes: &[u8], threads: usize) {
        let Self { builder, rules, tables, places: form, .. } = self;
        let (rules, tables, form) = (*rules, *tables, &*form);
        let [place, kind, area, source, compiled] =
            ["place", "kind", "area", "source", "compiled"].map(|name| form.column(name));
        let [names, targets, namesakes, abouts] =
            ["name", "target", "namesake", "about"].map(|name| form.text_columns(name));
        let languages = builder.languages().to_vec();
        let check = |piece: Piece<'_>| {
            let mut checked = PlaceRows::new(rules, tables, &languages);
            let mut rows = Rows::of(tables.places, form, &piece);
            while let Some(row) = rows.next_row(&mut checked.problems) {
                checked.add(&PlaceRow {
                    line: row.line,
                    place: row.at(place),
                    kind: row.at(kind),
                    area: row.at(area),
                    names: &row.texts(&names),
                    targets: &row.texts(&targets),
                    namesakes: &row.texts(&namesakes),
                    abouts: &row.texts(&abouts),
                    source: row.at(source),
                    compiled: row.at(compiled),
                });
            }
            checked
        };
        builder.expect_places(about_rows(bytes));
        in_order(form.pieces(bytes), threads, check, |checked| builder.places(checked));
    }

    /// Frees bytes that are its own piece by piece.
    fn signs(&mut self, bytes: Cow<'_, [u8]>, threads: usize) {
        let Self { builder, rules, tables, signs: form, .. } = self;
        let (rules, tables, form) = (*rules, *tables, &*form);
        let [code, place, status, lat, lon, mounted, successor, aliases] =
            ["code", "place", "status", "lat", "lon", "mounted", "successor", "aliases"].map(|name| form.column(name));
        let targets = form.text_columns("target");
        builder.signs(|signs, registry| {
            let check = |piece: Piece<'_>| {
                let mut checked = SignRows::new(rules, tables, registry);
                let mut rows = Rows::of(tables.signs, form, &piece);
                while let Some(row) = rows.next_row(&mut checked.problems) {
                    checked.add(&SignRow {
                        line: row.line,
                        code: row.at(code),
                        place: row.at(place),
                        status: row.at(status),
                        lat: row.at(lat),
                        lon: row.at(lon),
                        mounted: row.at(mounted),
                        targets: &row.texts(&targets),
                        successor: row.at(successor),
                        aliases: row.at(aliases),
                    });
                }
                checked
            };
            signs.expect(about_rows(&bytes));
            match bytes {
                Cow::Borrowed(bytes) => in_order(form.pieces(bytes), threads, check, |checked| signs.add(checked)),
                Cow::Owned(bytes) => in_order(form.cut(bytes), threads, check, |checked| signs.add(checked)),
            }
        });
    }

    fn end(self, overrides: &[u8]) -> Result<Registry, Problems> {
        let Self { mut builder, tables, overrides: form, .. } = self;
        if let Some(form) = form {
            let (scope, from, until) = (form.column("scope"), form.column("from"), form.column("until"));
            let targets = form.text_columns("target");
            for piece in form.pieces(overrides) {
                let mut rows = Rows::of(tables.overrides, &form, &piece);
                while let Some(row) = rows.next_row(&mut builder.problems) {
                    builder.override_(&OverrideRow {
                        line: row.line,
                        scope: row.at(scope),
                        from: row.at(from),
                        until: row.at(until),
                        targets: &row.texts(&targets),
                    });
                }
            }
        }
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;
    use crate::core::Tag;
    use crate::registry::{HostPattern, SignRef};

    fn rules() -> Rules {
        Rules {
            default_language: Tag::from("vi").expect("short"),
            timezone: TimeZone::UTC,
            allowed_hosts: vec![HostPattern::parse("example.vn").expect("a pattern")],
            allow_http: false,
            public_host: "qr.example.vn".to_owned(),
        }
    }

    fn read(sources: &Sources, piece: usize, threads: usize, is_freed: bool) -> Result<Registry, Problems> {
        let names = ["places.csv", "signs.csv", "overrides.csv"].map(str::to_owned);
        let rules = rules();
        let mut reading = Reading::begin(sources, &names, &rules, piece)?;
        reading.places(&sources.places, threads);
        let signs = if is_freed { Cow::from(sources.signs.clone()) } else { Cow::from(&*sources.signs) };
        reading.signs(signs, threads);
        reading.end(&sources.overrides)
    }

    /// What the registry says of everything.
    fn told(registry: &Registry) -> String {
        let mut told = String::new();
        for place in registry.places() {
            let targets = place.targets();
            let targets = targets.iter().map(|target| (target.language, target.url));
            let (names, abouts) = (place.names(), place.abouts());
            let all = (place.id(), place.kind(), place.area(), place.source(), place.compiled());
            writeln!(told, "{all:?} {:?}", names.chain(abouts).chain(targets).collect::<Vec<_>>()).expect("memory");
        }
        for sign in registry.signs() {
            let targets = [0, 1_900_000_000_000].map(|now| {
                let targets = sign.targets(now);
                targets.iter().map(|target| (target.language, target.url)).collect::<Vec<_>>()
            });
            let rest = (sign.status(), sign.position(), sign.mounted(), sign.own_targets().is_some());
            let successor = sign.successor().map(SignRef::code);
            let found = registry.sign(sign.code()).map(SignRef::code);
            writeln!(told, "{:?} {found:?} {} {targets:?} {rest:?} {successor:?}", sign.code(), sign.place().id())
                .expect("memory");
        }
        let mut aliases: Vec<_> = registry.aliases().map(|(alias, sign)| (alias, sign.code())).collect();
        aliases.sort_unstable();
        writeln!(told, "{aliases:?} {:?}", registry.languages()).expect("memory");
        told
    }

    /// A cell as it is written, mostly right.
    fn cell(right: &'static str) -> impl Strategy<Value = String> + Clone {
        let right = proptest::string::string_regex(right).expect("a pattern").boxed();
        let quoted = right.clone().prop_map(|text| format!("\"{text}\""));
        prop_oneof![
            40 => right,
            10 => quoted,
            3 => Just(String::new()),
            1 => "[ a-z\"\r\n,;đ]{0,9}",
            2 => "\"([a-z,;\r\n đ]|\"\"){0,9}\"",
        ]
    }

    fn table(header: &'static str, cells: [&'static str; 5]) -> impl Strategy<Value = Vec<u8>> {
        let row = cells.map(|right| cell(right).boxed());
        let end = prop_oneof![8 => Just("\n"), 4 => Just("\r\n"), 1 => Just("\r"), 1 => Just("\n\n")];
        let bad = prop_oneof![60 => Just(None), 1 => Just(Some(&b"\xff"[..])), 1 => Just(Some(&b",,,,,,"[..]))];
        prop::collection::vec((row, end, bad), 0..40).prop_map(move |rows| {
            let mut bytes = header.as_bytes().to_vec();
            for (row, end, bad) in rows {
                bytes.extend(row.join(",").bytes());
                bytes.extend(bad.unwrap_or_default());
                bytes.extend(end.bytes());
            }
            bytes
        })
    }

    fn sources() -> impl Strategy<Value = Sources> {
        let url = "https://example\\.vn/[a-zđ]{1,3}";
        let places =
            table("place,name,name:en,target,about\r\n", ["[a-f]{2}", "[A-ZĐ]{1,3}", "[A-Z]{0,3}", url, "[a-z]{0,5}"]);
        let signs = table(
            "code,place,status,successor,aliases\n",
            ["[A-H0-9]{3}", "[a-f]{2}", "active|retired|planned", "", ""],
        );
        let more =
            table("code,place,status,target,aliases\n", ["[A-H0-9]{3}", "[a-f]{2}", "Active", url, "(/[a-z]{3})?"]);
        let signs = prop_oneof![signs, more];
        let overrides =
            table("scope,from,until,target,note\n", ["[a-f]{2}", "2027-02-27T08:00", "2027-02-2[78]T09:00", url, ""]);
        let overrides = prop_oneof![Just(Vec::new()), overrides];
        (places, signs, overrides).prop_map(|(places, signs, overrides)| Sources { places, signs, overrides })
    }

    proptest! {
        #[test]
        fn the_registry_and_its_problems_are_the_same_however_many_threads_read_it_in_whatever_pieces(
            sources in sources(),
            piece in 1..200_usize,
        ) {
            let whole = read(&sources, usize::MAX, 1, false);
            for (threads, is_freed) in [(1, false), (3, false), (2, true)] {
                match (&whole, read(&sources, piece, threads, is_freed)) {
                    (Ok(whole), Ok(registry)) => prop_assert_eq!(told(whole), told(&registry)),
                    (Err(whole), Err(problems)) => prop_assert_eq!(whole, &problems),
                    (whole, _) => prop_assert!(false, "only one is refused; that in one piece: {}", whole.is_err()),
                }
            }
        }
    }

    #[test]
    fn a_registry_with_a_thousand_problems_and_more_tells_the_first_thousand_however_it_is_read() {
        let places = b"place,name,target\none,One,https://example.vn/\n".to_vec();
        let rows = (0..3000).map(|n| format!("A{},one,{}\n", n / 2, if n % 3 == 0 { "activ" } else { "active" }));
        let signs = ["code,place,status\n".to_owned()].into_iter().chain(rows).collect::<String>().into_bytes();
        let sources = Sources { places, signs, overrides: Vec::new() };
        let whole = read(&sources, usize::MAX, 1, false).expect_err("problems");
        assert_eq!((whole.list.len(), whole.more), (1000, 1000));
        for (piece, threads) in [(100, 2), (5000, 3), (20_000, 1)] {
            assert!(read(&sources, piece, threads, true).expect_err("problems") == whole, "{piece} {threads}");
        }
    }
}
