//! The three CSV files, read whole and made into one generation, or refused whole.
//!
//! Owns what the rows mean and every rule that spans rows: codes that meet, places
//! that are missing, successors that go in circles. Nothing is published here and
//! nothing is guessed: each problem is noted with its file and line, and with one
//! problem there is no registry.

use std::fs::{self, File};
use std::hash::BuildHasher as _;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::route::{Route, as_sent};
use super::rules::Rules;
use super::table::{Columns, Row, Table, is_utf16};
use super::{
    Hasher, NO_DATE, NO_POSITION, NO_SIGN, Override, Place, Registry, Scope, Sign, Span, Status, Variant, Variants,
    count,
};
use crate::core::{Code, CodeError, Problems, Tag, spoiled};
use crate::system::path_thread::HANG_TIMEOUT;
use crate::system::{Stamp, regular_file};

const PLACES: Columns = Columns {
    required: &["place", "name"],
    optional: &["kind", "area", "target", "note"],
    multilingual: &["name", "target"],
};
const SIGNS: Columns = Columns {
    required: &["code", "place", "status"],
    optional: &["lat", "lon", "mounted", "target", "successor", "aliases", "note"],
    multilingual: &["target"],
};
const OVERRIDES: Columns =
    Columns { required: &["scope", "from", "until", "target"], optional: &["note"], multilingual: &["target"] };

/// Largest file, in bytes: ten million signs with a URL each.
pub(super) const MAX_FILE: u64 = 2 << 30;
/// Most text of a registry, in bytes: places in it are counted in 32 bits. (A target of two-byte
/// letters is three times as long as it stands in its table.)
const MAX_TEXT: usize = u32::MAX as usize;
/// Bytes that are read at once, and looked at before more are.
const PIECE: u64 = 1 << 20;
/// Longest identifier of a place, in bytes.
const MAX_PLACE_ID: usize = 64;
/// Longest alias, in bytes.
const MAX_ALIAS: usize = 1024;
/// Longest name, kind or area, in bytes.
const MAX_NAME: usize = 400;
/// Languages in one registry.
const MAX_LANGUAGES: usize = 64;
/// Signs that may follow one another.
const MAX_SUCCESSORS: usize = 32;
/// `/GO`, the page of the box, is spelled as a code; no sign may have it.
const RESERVED: &str = "G0";

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// `places.csv`
    pub places: PathBuf,
    /// `signs.csv`
    pub signs: PathBuf,
    /// `overrides.csv`; the file may be absent.
    pub overrides: PathBuf,
}

impl Files {
    /// The three paths.
    #[must_use]
    pub fn paths(&self) -> [&Path; 3] {
        [&self.places, &self.signs, &self.overrides]
    }

    /// What changes when a file does: device, inode, size and times of each, or nothing where it is absent.
    #[must_use]
    pub fn stamp(&self) -> [Option<Stamp>; 3] {
        self.paths().map(|path| fs::metadata(path).ok().as_ref().map(Stamp::of))
    }

    /// Reads all three, stable: none changed while any was read. Blocks, and for ever where a share hangs.
    pub fn read(&self) -> Result<Sources, Problems> {
        let mut problems = Problems::default();
        let before = self.stamp();
        let [places, signs, overrides] = TABLES.map(|at| {
            read_table(self.paths()[at], at == OPTIONAL, &mut || ()).bytes.unwrap_or_else(|trouble| {
                trouble.tell(self.paths()[at], &mut problems);
                Vec::new()
            })
        });
        for (path, (before, after)) in self.paths().into_iter().zip(before.iter().zip(&self.stamp())) {
            if before != after {
                Trouble::Changed.tell(path, &mut problems);
            }
        }
        if problems.is_empty() { Ok(Sources { places, signs, overrides }) } else { Err(problems) }
    }
}

/// The numbers of the tables, in the order of [`Files::paths`].
pub(super) const TABLES: [usize; 3] = [0, 1, 2];
/// The table that may be absent.
pub(super) const OPTIONAL: usize = 2;

/// A table as it was found at one time.
#[derive(Debug)]
pub(super) struct Reading {
    /// Of the file that was read, or of what stood in its place.
    pub stamp: Option<Stamp>,
    pub bytes: Result<Vec<u8>, Trouble>,
}

/// Why a table could not be read.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// It changed while it was read: a later try may succeed.
    Changed,
    /// A FIFO, a device or a folder stands there, and what it is.
    NotAFile(String),
    /// It does not answer.
    Hangs,
    /// It is not there, or is no table; the line is 0 where the whole file is meant.
    Bad(u64, String),
}

impl Trouble {
    /// Notes it as a problem of the table.
    pub fn tell(&self, path: &Path, problems: &mut Problems) {
        let name = name_of(path);
        match self {
            Self::Changed => {
                problems.add(&name, 0, "", "changed while it was read");
                problems.unstable = true;
            }
            Self::NotAFile(what) => problems.add(&name, 0, "", format!("can't be read ({}): {what}", path.display())),
            Self::Hangs => problems.add(
                &name,
                0,
                "",
                format!(
                    "does not answer ({}): no read of it has gone on for {} s",
                    path.display(),
                    HANG_TIMEOUT.as_secs()
                ),
            ),
            Self::Bad(line, text) => problems.add(&name, *line, "", text),
        }
    }
}

/// Reads one table, stable: the file at its path is the one that was opened, and did not change.
/// `step` is called for each piece.
pub(super) fn read_table(path: &Path, may_be_absent: bool, step: &mut dyn FnMut()) -> Reading {
    let at_path = || fs::metadata(path).ok().as_ref().map(Stamp::of);
    let (file, metadata) = match regular_file::open(path) {
        Ok(opened) => opened,
        Err(error) => {
            let bytes = match error.kind() {
                io::ErrorKind::NotFound if may_be_absent => Ok(Vec::new()),
                io::ErrorKind::Other => Err(Trouble::NotAFile(error.to_string())),
                _ => Err(Trouble::Bad(0, format!("can't be read ({}): {error}", path.display()))),
            };
            return Reading { stamp: at_path(), bytes };
        }
    };
    let stamp = Some(Stamp::of(&metadata));
    step();
    let bytes = read_text(file, metadata.len(), step).and_then(|bytes| {
        // Not what a writer had done by half.
        if at_path() == stamp { Ok(bytes) } else { Err(Trouble::Changed) }
    });
    Reading { stamp, bytes: bytes.map_err(|trouble| trouble.of(path)) }
}

impl Trouble {
    fn of(self, path: &Path) -> Self {
        match self {
            Self::Bad(0, text) => Self::Bad(0, format!("can't be read ({}): {text}", path.display())),
            other => other,
        }
    }
}

/// Reads piece by piece, and no further than the first that no table has.
fn read_text(mut file: File, len: u64, step: &mut dyn FnMut()) -> Result<Vec<u8>, Trouble> {
    let too_long = |len| Trouble::Bad(0, format!("is {len} bytes long; at most {MAX_FILE} are allowed"));
    if len > MAX_FILE {
        return Err(too_long(len));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0) + 1);
    loop {
        let from = bytes.len();
        let piece = (&mut file).take(PIECE).read_to_end(&mut bytes);
        if piece.map_err(|error| Trouble::Bad(0, error.to_string()))? == 0 {
            return Ok(bytes);
        }
        step();
        if bytes.len() as u64 > MAX_FILE {
            return Err(too_long(bytes.len() as u64));
        }
        // It has NULs of its own, and better advice.
        if from == 0 && is_utf16(&bytes) {
            return Ok(bytes);
        }
        if bytes[from..].contains(&0) {
            let line = 1 + bytes.iter().take_while(|&&b| b != 0).filter(|&&b| b == b'\n').count();
            let text = "contains a NUL byte; a table is text (was the file cut off, or is it no CSV file?)";
            return Err(Trouble::Bad(line as u64, text.to_owned()));
        }
    }
}

/// A file's last component, as problems name it.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

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
    /// Parses and checks everything.
    pub fn parse(&self, files: &Files, rules: &Rules) -> Result<Registry, Problems> {
        self.parse_within(MAX_TEXT, files, rules)
    }

    fn parse_within(&self, max_text: usize, files: &Files, rules: &Rules) -> Result<Registry, Problems> {
        let names = files.paths().map(name_of);
        let mut problems = Problems::default();
        let mut open = |at: usize, bytes, columns| Table::open(&names[at], bytes, columns, &mut problems);
        let places = open(0, self.places.as_slice(), &PLACES);
        let signs = open(1, self.signs.as_slice(), &SIGNS);
        let overrides =
            if self.overrides.trim_ascii().is_empty() { None } else { open(2, self.overrides.as_slice(), &OVERRIDES) };
        let (Some(mut places), Some(mut signs)) = (places, signs) else {
            return Err(problems);
        };
        let mut build = Build {
            registry: Registry::default(),
            rules,
            names: &names,
            lines: Vec::new(),
            later: Vec::new(),
            room: max_text,
            is_full: false,
        };
        let tables = [Some(&places), Some(&signs), overrides.as_ref()];
        build.languages(tables.into_iter().flatten(), &mut problems);
        places.rows(&mut problems, |row, problems| build.place(row, problems));
        signs.rows(&mut problems, |row, problems| build.sign(row, problems));
        build.spanning_rows(&mut problems);
        if let Some(mut overrides) = overrides {
            overrides.rows(&mut problems, |row, problems| build.override_(row, problems));
        }
        if build.is_full {
            let [places, signs, overrides] = &names;
            problems.add(places, 0, "", format!("with {signs} and {overrides}, has more than {max_text} bytes of names and targets (as they are sent, percent-encoded)"));
        }
        let mut registry = build.registry;
        for list in registry.overrides.values_mut() {
            list.sort_by_key(|o| std::cmp::Reverse(o.from_ms));
        }
        for sign in &mut registry.signs {
            sign.overridden |= registry.places[sign.place as usize].overridden;
            registry.by_status[sign.status as usize] += 1;
        }
        if problems.is_empty() { Ok(registry) } else { Err(problems) }
    }

    /// Tells whether two have the same contents, on whichever edge and at whichever start: the first
    /// 64 bits of a SHA-256 over the three, each after its length in bytes (64 bits, little-endian).
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

/// The registry under construction.
struct Build<'a> {
    registry: Registry,
    rules: &'a Rules,
    names: &'a [String; 3],
    /// The line of each sign.
    lines: Vec<u32>,
    /// Signs with a successor or aliases, which may stand further down.
    later: Vec<Later>,
    /// Bytes of text that may still come.
    room: usize,
    /// Whether more came: the registry is refused.
    is_full: bool,
}

struct Later {
    sign: u32,
    successor: String,
    aliases: String,
}

impl Build<'_> {
    fn languages<'t>(&mut self, tables: impl Iterator<Item = &'t Table<'t>>, problems: &mut Problems) {
        let default = self.rules.default_language;
        self.registry.languages.push(default);
        for table in tables {
            for tag in table.languages() {
                if tag == default {
                    problems.add(table.file, 1, "", format!("header: {tag} is the default language (registry.default_language); its columns are named without it, as name and target"));
                } else if !self.registry.languages.contains(&tag) {
                    self.registry.languages.push(tag);
                }
            }
        }
        if self.registry.languages.len() > MAX_LANGUAGES {
            problems.add(&self.names[0], 1, "", format!("header: at most {MAX_LANGUAGES} languages are allowed"));
            self.registry.languages.truncate(MAX_LANGUAGES);
        }
    }

    fn place(&mut self, row: &Row<'_>, problems: &mut Problems) {
        let mut wrong = |text: String| problems.add(&self.names[0], row.line, "", text);
        let id = row.cell("place");
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        if id.is_empty() || id.len() > MAX_PLACE_ID || !id.bytes().all(plain) {
            wrong(format!("place: {id:?} is not an identifier; allowed are 1 to {MAX_PLACE_ID} of a-z A-Z 0-9 _ . -"));
        } else if self.registry.place(id).is_some() {
            wrong(format!("place: {id:?} is there twice; an identifier stands for one place"));
        }
        if row.cell("name").is_empty() {
            wrong("name: is empty; every place has a name in the default language".to_owned());
        }
        for column in ["name", "kind", "area"] {
            if row.cell(column).len() > MAX_NAME {
                wrong(format!("{column}: is longer than {MAX_NAME} bytes"));
            }
        }
        let names: Vec<_> = row.variants("name").map(|(tag, text)| (tag, text.to_owned())).collect();
        let place = Place {
            id: self.text(id),
            kind: self.text_like_last(row.cell("kind"), |place| place.kind),
            area: self.text_like_last(row.cell("area"), |place| place.area),
            names: self.run(&names),
            targets: self.targets(row, 0, problems),
            overridden: false,
        };
        let number = count(self.registry.places.len());
        self.registry.places.push(place);
        let Registry { by_place, places, text, .. } = &mut self.registry;
        let hash = |&at: &u32| Hasher::default().hash_one(slice(text, places[at as usize].id));
        by_place.insert_unique(hash(&number), number, hash);
    }

    fn sign(&mut self, row: &Row<'_>, problems: &mut Problems) {
        let mut wrong = |text: String| problems.add(&self.names[1], row.line, "", text);
        let cell = row.cell("code");
        let code = match cell.parse::<Code>() {
            _ if spoiled(cell).is_some() => {
                wrong(format!("code: {cell:?}{}", spoiled_by(cell)));
                None
            }
            Ok(code) if code.text().as_str() == RESERVED => {
                wrong(format!("code: {cell:?} is reserved for the page /go"));
                Some(code)
            }
            Ok(code) => Some(code),
            Err(error) => {
                wrong(match error {
                    CodeError::Empty => format!("code: {error}"),
                    _ => format!("code: {cell:?} {error}"),
                });
                None
            }
        };
        if let Some(code) = code
            && let Some(other) = self.registry.sign(code)
        {
            let line = self.lines[other.number as usize];
            wrong(format!("code: {cell:?} is the same code as on line {line} (both are read as {code})"));
        }
        let place = self.registry.place(row.cell("place")).map(|place| place.number);
        if place.is_none() {
            wrong(format!("place: {:?} is not in {}", row.cell("place"), self.names[0]));
        }
        let status = match row.cell("status").to_ascii_lowercase().as_str() {
            "planned" => Some(Status::Planned),
            "active" => Some(Status::Active),
            "retired" => Some(Status::Retired),
            _ => {
                wrong(format!("status: {:?} is not allowed; allowed are planned, active, retired", row.cell("status")));
                None
            }
        };
        let (lat, lon) = position(row, &mut wrong);
        let mounted = mounted(row.cell("mounted")).unwrap_or_else(|error| {
            wrong(error);
            NO_DATE
        });
        let targets = self.targets(row, 1, problems);
        let (Some(code), Some(place), Some(status)) = (code, place, status) else {
            return;
        };
        let own_targets = targets.len > 0;
        let targets = if own_targets { targets } else { self.registry.places[place as usize].targets };
        if status != Status::Retired && targets.len == 0 {
            let id = self.registry.str(self.registry.places[place as usize].id);
            problems.add(&self.names[1], row.line, "", format!("target: neither the sign nor its place {id} has one"));
        }
        let number = count(self.registry.signs.len());
        let (successor, aliases) = (row.cell("successor"), row.cell("aliases"));
        if !successor.is_empty() || !aliases.is_empty() {
            self.later.push(Later { sign: number, successor: successor.to_owned(), aliases: aliases.to_owned() });
        }
        self.lines.push(u32::try_from(row.line).unwrap_or(u32::MAX));
        let sign = Sign {
            code,
            place,
            targets,
            successor: NO_SIGN,
            lat,
            lon,
            mounted,
            tally: 0.into(),
            status,
            own_targets,
            overridden: false,
        };
        self.registry.signs.push(sign);
        let Registry { by_code, signs, .. } = &mut self.registry;
        let hash = |&at: &u32| Hasher::default().hash_one(signs[at as usize].code);
        by_code.insert_unique(hash(&number), number, hash);
    }

    /// Successors and aliases, once every sign is known.
    fn spanning_rows(&mut self, problems: &mut Problems) {
        for later in std::mem::take(&mut self.later) {
            let line = u64::from(self.lines[later.sign as usize]);
            let mut wrong = |text: String| problems.add(&self.names[1], line, "", text);
            if !later.successor.is_empty() {
                match later.successor.parse::<Code>().ok().and_then(|code| self.registry.sign(code)) {
                    Some(successor) => self.registry.signs[later.sign as usize].successor = successor.number,
                    None => wrong(format!(
                        "successor: {:?} is not the code of a sign{}",
                        later.successor,
                        spoiled_by(&later.successor)
                    )),
                }
            }
            // A path holds no white space, so a cell may list several.
            for alias in later.aliases.split_whitespace() {
                match self.alias(alias, later.sign) {
                    Ok(sent) => {
                        let other = self.registry.by_alias.insert(sent.into(), later.sign);
                        if let Some(other) = other.filter(|&other| other != later.sign) {
                            let line = self.lines[other as usize];
                            wrong(format!("aliases: {alias:?} also means the sign on line {line}"));
                        }
                    }
                    Err(error) => wrong(format!("aliases: {alias:?} {error}")),
                }
            }
        }
        for number in 0..count(self.registry.signs.len()) {
            if let Err(error) = self.successors_end(number) {
                problems.add(&self.names[1], u64::from(self.lines[number as usize]), "", format!("successor: {error}"));
            }
        }
    }

    fn successors_end(&self, number: u32) -> Result<(), String> {
        let mut at = number;
        for _ in 0..=MAX_SUCCESSORS {
            at = self.registry.signs[at as usize].successor;
            if at == NO_SIGN {
                return Ok(());
            }
            if at == number {
                return Err("leads back to the sign itself".to_owned());
            }
        }
        Err(format!("leads through more than {MAX_SUCCESSORS} signs, or into a circle"))
    }

    /// Checks an alias and gives it as browsers send it.
    fn alias(&self, alias: &str, sign: u32) -> Result<String, String> {
        if !alias.starts_with('/') {
            return Err("must begin with / (an old path and query, without the host)".to_owned());
        }
        if alias.len() > MAX_ALIAS || alias.contains('#') {
            return Err(format!("is too long (over {MAX_ALIAS} bytes) or contains #, which browsers do not send"));
        }
        let sent = as_sent(alias)?;
        let path = sent.split('?').next().unwrap_or(&sent);
        match Route::of(path) {
            Route::Other => Ok(sent),
            Route::Code(code) => match self.registry.sign(code) {
                Some(other) if other.number != sign => Err(format!("reads as the code {code} of another sign")),
                _ => Ok(sent),
            },
            Route::Inspect(code) => Err(format!("is never reached: it reads as the page that says what {code} is")),
            Route::Home | Route::Typed | Route::Robots | Route::Favicon => {
                Err(format!("is a page of this service ({path})"))
            }
        }
    }

    fn override_(&mut self, row: &Row<'_>, problems: &mut Problems) {
        let mut wrong = |text: String| problems.add(&self.names[2], row.line, "", text);
        let cell = row.cell("scope");
        let place = self.registry.place(cell).map(|place| place.number);
        let sign = cell.parse().ok().and_then(|code| self.registry.sign(code)).map(|sign| sign.number);
        let scope = match (place, sign) {
            (Some(place), None) => Some(Scope::Place(place)),
            (None, Some(sign)) => Some(Scope::Sign(sign)),
            (Some(_), Some(_)) => {
                wrong(format!("scope: {cell:?} is both a place and the code of a sign; rename the place"));
                None
            }
            (None, None) => {
                wrong(format!(
                    "scope: {cell:?} is neither a place in {} nor a code in {}{}",
                    self.names[0],
                    self.names[1],
                    spoiled_by(cell)
                ));
                None
            }
        };
        let mut time = |column: &str| {
            let read = self.rules.time(row.cell(column));
            read.map_err(|error| wrong(format!("{column}: {error}"))).ok()
        };
        let (from, until) = (time("from"), time("until"));
        if let (Some(from), Some(until)) = (from, until)
            && until <= from
        {
            wrong(format!("until: {} is not after from, {}", row.cell("until"), row.cell("from")));
        }
        if row.cell("target").is_empty() && row.variants("target").next().is_none() {
            wrong("target: is empty; an override says where to lead".to_owned());
        }
        let targets = self.targets(row, 2, problems);
        let (Some(scope), Some(from_ms), Some(until_ms)) = (scope, from, until) else {
            return;
        };
        match scope {
            Scope::Place(number) => self.registry.places[number as usize].overridden = true,
            Scope::Sign(number) => self.registry.signs[number as usize].overridden = true,
        }
        self.registry.overrides.entry(scope).or_default().push(Override { from_ms, until_ms, targets });
    }

    /// The targets of a row, checked.
    fn targets(&mut self, row: &Row<'_>, file: usize, problems: &mut Problems) -> Variants {
        let mut checked = Vec::new();
        for (tag, text) in row.variants("target") {
            match self.rules.target(text) {
                Ok(url) => checked.push((tag, url)),
                Err(error) => {
                    let column = tag.map_or("target".to_owned(), |tag| format!("target:{tag}"));
                    problems.add(&self.names[file], row.line, &column, error);
                    // Refused, not absent: no sign of the place need be told to have none.
                    checked.push((tag, text.to_owned()));
                }
            }
        }
        if row.cell("target").is_empty() && row.variants("target").next().is_some() {
            let default = self.rules.default_language;
            problems.add(&self.names[file], row.line, "", format!("target: is empty; where there is a target for any language there must be one for the default ({default})"));
        }
        self.run(&checked)
    }

    fn run(&mut self, variants: &[(Option<Tag>, String)]) -> Variants {
        let start = count(self.registry.variants.len());
        for (tag, text) in variants {
            let tag = tag.unwrap_or(self.rules.default_language);
            let language = self.registry.languages.iter().position(|known| *known == tag).unwrap_or(0);
            let text = self.text(text);
            let language = u8::try_from(language).expect("languages are limited to 64");
            self.registry.variants.push(Variant { language, text });
        }
        // A column for each language, and there are at most 64 of them.
        Variants { start, len: u8::try_from(variants.len()).unwrap_or(u8::MAX) }
    }

    fn text(&mut self, text: &str) -> Span {
        let Some(room) = self.room.checked_sub(text.len()) else {
            self.is_full = true;
            return Span::default();
        };
        self.room = room;
        let start = count(self.registry.text.len());
        self.registry.text.push_str(text);
        Span { start, len: count(text.len()) }
    }

    /// Kinds and areas repeat from row to row; the last row's text serves again.
    fn text_like_last(&mut self, text: &str, field: impl Fn(&Place) -> Span) -> Span {
        match self.registry.places.last().map(field) {
            Some(span) if self.registry.str(span) == text => span,
            _ => self.text(text),
        }
    }
}

/// What to do about a code that a spreadsheet has changed; nothing where it does not look like it.
fn spoiled_by(cell: &str) -> String {
    spoiled(cell).map_or_else(String::new, |what| {
        format!(
            "; it looks like a code that a spreadsheet turned into {what}; \
             write it in groups of four with a hyphen, as 7K3M-9QX5"
        )
    })
}

fn slice(text: &str, span: Span) -> &str {
    &text[span.start as usize..][..span.len as usize]
}

/// Millionths of a degree. A comma is read as the decimal point: spreadsheets in Vietnam write it so.
fn position(row: &Row<'_>, wrong: &mut impl FnMut(String)) -> (i32, i32) {
    let mut degrees = |column: &str, limit: f64| {
        let cell = row.cell(column);
        if cell.is_empty() {
            return None;
        }
        match cell.replace(',', ".").parse::<f64>() {
            // In range, a millionth of a degree fits 32 bits.
            #[allow(clippy::cast_possible_truncation)]
            Ok(degrees) if degrees.abs() <= limit => Some((degrees * 1e6).round() as i32),
            _ => {
                wrong(format!("{column}: {cell:?} is not a position; allowed are degrees from -{limit} to {limit}"));
                None
            }
        }
    };
    let (lat, lon) = (degrees("lat", 90.0), degrees("lon", 180.0));
    if row.cell("lat").is_empty() != row.cell("lon").is_empty() {
        wrong("lat: lat and lon are given together or not at all".to_owned());
    }
    lat.zip(lon).unwrap_or((NO_POSITION, NO_POSITION))
}

/// Days since 1 January 1970 of `2026-03-14`, or of `14/3/2026` as spreadsheets in Vietnam write it.
fn mounted(cell: &str) -> Result<i32, String> {
    if cell.is_empty() {
        return Ok(NO_DATE);
    }
    let wrong = || format!("mounted: {cell:?} is not a date; allowed are 2026-03-14 and 14/3/2026");
    let date = if cell.contains('/') {
        jiff::civil::Date::strptime("%d/%m/%Y", cell).map_err(|_| wrong())?
    } else {
        cell.parse().map_err(|_| wrong())?
    };
    let since = jiff::civil::date(1970, 1, 1).until((jiff::Unit::Day, date)).map_err(|_| wrong())?;
    Ok(since.get_days())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::super::rules::HostPattern;
    use super::*;

    #[test]
    fn more_text_than_can_be_counted_is_refused_and_no_panic() {
        let rules = Rules {
            default_language: Tag::from("vi").expect("short"),
            timezone: TimeZone::UTC,
            allowed_hosts: vec![HostPattern::parse("example.vn").expect("a pattern")],
            allow_http: false,
            public_host: "qr.example.vn".to_owned(),
        };
        let path = PathBuf::from;
        let files = Files { places: path("places.csv"), signs: path("signs.csv"), overrides: path("overrides.csv") };
        // The target is longer as it is sent.
        let sources = Sources {
            places: "place,name,target\none,Một,https://example.vn/đ\n".into(),
            signs: "code,place,status\nA1,one,active\n".into(),
            overrides: Vec::new(),
        };
        let text = "oneMộthttps://example.vn/%C4%91".len();
        assert!(sources.parse_within(text, &files, &rules).is_ok());
        let problems = sources.parse_within(text - 1, &files, &rules).expect_err("one byte too much").to_string();
        assert!(problems.starts_with("places.csv: with signs.csv and overrides.csv, has more than"), "{problems}");
    }
}
