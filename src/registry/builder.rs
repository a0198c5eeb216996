//! A registry under construction: rows checked by themselves, then put together and checked whole.
//!
//! Owns what rows mean and every rule that spans rows: codes that are the same in canonical form, places
//! that are missing, successors that go in circles. Rows come here already split into cells, so there is
//! one validator, wherever they come from. Nothing is guessed: each problem has its table, line and
//! column, and with one problem there is no registry.
//!
//! Most of the work is that of single rows, which need nothing of each other: [`PlaceRows`] and [`SignRows`] check a
//! piece of a table, on any thread, and [`RegistryBuilder`] takes the pieces in the order of the table.

use std::borrow::Cow;
use std::hash::BuildHasher as _;
use std::hint::black_box;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::route::{AliasError, MAX_ALIAS, Route, as_sent};
use super::rows::{OverrideRow, PlaceRow, SignRow, TableNames, Text};
use super::rules::{Rules, Site};
use super::story::{self, Story, StoryError};
use super::{
    Hasher, NO_DATE, NO_POSITION, NO_SIGN, Override, Place, PlaceRef, Registry, Scope, Sign, Span, Status, Variant,
    Variants, count,
};
use crate::core::{Code, Problem, Problems, Tag, date_of, day_of, spoiled};

/// Most text of a registry, in bytes: positions in it are counted in 32 bits. (A target of two-byte
/// letters is three times as long as it stands in its table.)
const MAX_TEXT: usize = u32::MAX as usize;
/// Longest identifier of a place, in bytes.
const MAX_PLACE_ID: usize = 64;
/// Longest name, kind, area or namesake, in bytes.
const MAX_NAME: usize = 400;
/// No text was put together for a plate before this year: an earlier one has lost digits.
const FIRST_YEAR: i16 = 1900;
/// Languages in one registry.
const MAX_LANGUAGES: usize = 64;
/// Signs that may follow one another.
const MAX_SUCCESSORS: usize = 32;
/// The canonical form of `GO`: no sign may have it, as `/go` is the page with the box for a code.
const RESERVED: &str = "G0";

/// The registry under construction: first the languages, then all places, all signs, all overrides.
pub struct RegistryBuilder<'a> {
    /// What is wrong so far. The reader of the rows adds what is wrong with their form.
    pub problems: Problems,
    /// Without signs until [`Self::signs`] has ended.
    registry: Registry,
    rules: &'a Rules,
    tables: TableNames<'a>,
    /// The line of each sign.
    lines: Vec<u32>,
    /// Signs with a successor or aliases, which may stand further down.
    later: Vec<Later>,
    /// Bytes of text that there is still room for.
    room: usize,
    /// Whether there was too little room: the registry is refused.
    is_full: bool,
}

/// All signs under construction, beside the places, which are complete and are looked up meanwhile.
pub struct SignsBuilder<'b> {
    problems: &'b mut Problems,
    table: &'b str,
    lines: &'b mut Vec<u32>,
    later: &'b mut Vec<Later>,
    room: &'b mut usize,
    is_full: bool,
    /// What the places have: the signs' own comes behind it.
    text_before: usize,
    variants_before: usize,
    arena: Arena,
    signs: Vec<Sign>,
    by_code: HashTable<u32>,
}

/// Places that are checked by themselves: some rows of the table that follow one another.
pub struct PlaceRows<'a> {
    /// What is wrong with them. The reader of the rows adds what is wrong with their form.
    pub problems: Problems,
    table: &'a str,
    texts: Texts<'a>,
    places: Vec<CheckedPlace>,
    /// What is told of them, by number.
    stories: Vec<(u32, Story)>,
}

/// Signs that are checked by themselves and against the places: some rows of the table that follow one another.
pub struct SignRows<'a> {
    /// What is wrong with them. The reader of the rows adds what is wrong with their form.
    pub problems: Problems,
    tables: TableNames<'a>,
    registry: &'a Registry,
    texts: Texts<'a>,
    signs: Vec<CheckedSign>,
    /// The codes as they are written.
    cells: String,
    later: Vec<Later>,
    /// Signs of which the whole row is right.
    whole: u32,
    /// The place of the last row, which is often that of the next.
    last_place: Option<u32>,
    reserved: Option<Code>,
}

struct CheckedPlace {
    place: Place,
    line: u64,
    /// Where a problem of its identifier belongs among those of the others.
    problem: usize,
    /// Whether it may be the identifier of a place.
    is_plain: bool,
}

/// A row with a code.
struct CheckedSign {
    sign: Sign,
    line: u32,
    /// Where its code stands among those of the others.
    cell: Span,
    /// Where a problem of its code belongs among those of the others.
    problem: u16,
    /// Whether the rest of its row is right too; else only its code counts.
    is_whole: bool,
}

/// Names, targets and texts.
#[derive(Default)]
struct Arena {
    text: String,
    variants: Vec<Variant>,
}

/// The same of some rows, and what they are checked against.
struct Texts<'a> {
    rules: &'a Rules,
    languages: &'a [Tag],
    /// That of the last target.
    site: Site,
    arena: Arena,
}

struct Later {
    sign: u32,
    successor: String,
    aliases: String,
}

/// Why a sign can't have its successor.
#[derive(Debug, thiserror::Error)]
enum SuccessorError {
    #[error("expected another sign, found one that leads back to this one")]
    Circle,
    #[error("expected at most {MAX_SUCCESSORS} signs that follow one another, found more, or a circle")]
    TooMany,
}

impl<'a> RegistryBuilder<'a> {
    /// An empty one.
    #[must_use]
    pub fn new(rules: &'a Rules, tables: TableNames<'a>) -> Self {
        let registry = Registry { languages: vec![rules.default_language], ..Registry::default() };
        Self {
            problems: Problems::default(),
            registry,
            rules,
            tables,
            lines: Vec::new(),
            later: Vec::new(),
            room: MAX_TEXT,
            is_full: false,
        }
    }

    /// Adds the language of a column, such as `name:en`. All languages come before the first place.
    pub fn language(&mut self, table: &str, line: u64, column: &str, language: Tag) {
        let languages = &mut self.registry.languages;
        let default = self.rules.default_language;
        let text = if language == default {
            format!(
                "expected {column:?}, as {default} is the default language (registry.default_language), \
                 found \"{column}:{language}\""
            )
        } else if languages.contains(&language) {
            return;
        } else if languages.len() < MAX_LANGUAGES {
            languages.push(language);
            return;
        } else {
            format!("expected at most {MAX_LANGUAGES} languages in the three tables, found another, {language}")
        };
        self.problems.add(table, line, "header", text);
    }

    /// The languages so far, the default first.
    #[must_use]
    pub fn languages(&self) -> &[Tag] {
        &self.registry.languages
    }

    /// About how many places there will be: room for a wrong number costs memory, and none costs time.
    pub fn expect_places(&mut self, about: usize) {
        // There is nothing in it yet that would have to be put elsewhere.
        self.registry.by_place.try_reserve(about, |_| 0).ok();
    }

    /// Adds places. All places come before the first sign.
    pub fn places(&mut self, rows: PlaceRows<'_>) {
        let PlaceRows { problems, texts: Texts { arena, .. }, places, stories, .. } = rows;
        let mut again = Vec::new();
        if let Some(room) = self.room.checked_sub(arena.text.len()) {
            self.room = room;
            let before = count(self.registry.places.len());
            let (text_start, variants_start) =
                arena.append_to(&mut self.registry.text, &mut self.registry.variants, 0, 0);
            let Registry { by_place, places: all, text, .. } = &mut self.registry;
            for CheckedPlace { mut place, line, problem, is_plain } in places {
                for span in [&mut place.id, &mut place.kind, &mut place.area] {
                    span.start += text_start;
                }
                for run in [&mut place.names, &mut place.targets] {
                    *run = run.behind(variants_start);
                }
                let (id, number) = (slice(text, place.id), count(all.len()));
                let is_same = |&at: &u32| slice(text, all[at as usize].id) == id;
                let hash = |&at: &u32| Hasher::default().hash_one(slice(text, all[at as usize].id));
                match by_place.entry(Hasher::default().hash_one(id), is_same, hash) {
                    Entry::Vacant(entry) => {
                        entry.insert(number);
                    }
                    Entry::Occupied(_) if is_plain => {
                        let text = format!("expected an identifier that no other place has, found {id:?} again");
                        let (file, key) = (self.tables.places.to_owned(), "place".to_owned());
                        again.push((problem, Problem { file, line, key, text }));
                    }
                    // It is told already.
                    Entry::Occupied(_) => {}
                }
                all.push(place);
            }
            for (number, mut story) in stories {
                story.source.start += text_start;
                for run in [&mut story.namesakes, &mut story.abouts] {
                    *run = run.behind(variants_start);
                }
                self.registry.stories.insert(before + number, story);
            }
        } else {
            self.is_full = true;
        }
        add_all(&mut self.problems, problems, again);
    }

    /// Adds all signs, which `add` gives to the one while it looks up places in the other. They come before the first
    /// override.
    pub fn signs(&mut self, add: impl FnOnce(&mut SignsBuilder<'_>, &Registry)) {
        let mut builder = SignsBuilder {
            problems: &mut self.problems,
            table: self.tables.signs,
            lines: &mut self.lines,
            later: &mut self.later,
            room: &mut self.room,
            text_before: self.registry.text.len(),
            variants_before: self.registry.variants.len(),
            is_full: false,
            arena: Arena::default(),
            signs: Vec::new(),
            by_code: HashTable::new(),
        };
        add(&mut builder, &self.registry);
        let SignsBuilder { arena, signs, by_code, is_full, .. } = builder;
        self.is_full |= is_full;
        (self.registry.signs, self.registry.by_code) = (signs, by_code);
        self.registry.text.push_str(&arena.text);
        self.registry.variants.extend(arena.variants);
    }

    /// Adds an override.
    pub fn override_(&mut self, row: &OverrideRow<'_>) {
        let mut wrong = |key: &str, text: String| self.problems.add(self.tables.overrides, row.line, key, text);
        let cell = row.scope;
        let place = self.registry.place(cell).map(|place| place.number);
        let sign = cell.parse().ok().and_then(|code| self.registry.sign(code)).map(|sign| sign.number);
        let scope = match (place, sign) {
            (Some(place), None) => Some(Scope::Place(place)),
            (None, Some(sign)) => Some(Scope::Sign(sign)),
            (Some(_), Some(_)) => {
                wrong("scope", format!("expected a place or a code, found {cell:?}, which is both; rename the place"));
                None
            }
            (None, None) => {
                let TableNames { places, signs, .. } = self.tables;
                let why = spoiled_by(cell);
                wrong("scope", format!("expected a place of {places} or a code of {signs}, found {cell:?}{why}"));
                None
            }
        };
        let mut time =
            |column: &str, cell: &str| self.rules.time(cell).map_err(|error| wrong(column, error.to_string())).ok();
        let (from, until) = (time("from", row.from), time("until", row.until));
        if let (Some(from), Some(until)) = (from, until)
            && until <= from
        {
            wrong("until", format!("expected a time after from ({}), found {}", row.from, row.until));
        }
        if row.targets.is_empty() {
            wrong("target", "expected where to lead meanwhile, found an empty cell".to_owned());
        }
        let mut texts = Texts::new(self.rules, &self.registry.languages);
        let targets = texts.targets(&mut self.problems, self.tables.overrides, row.line, row.targets);
        let arena = texts.arena;
        let Some(room) = self.room.checked_sub(arena.text.len()) else {
            self.is_full = true;
            return;
        };
        self.room = room;
        let (_, start) = arena.append_to(&mut self.registry.text, &mut self.registry.variants, 0, 0);
        let (Some(scope), Some(from_ms), Some(until_ms)) = (scope, from, until) else {
            return;
        };
        let targets = targets.behind(start);
        match scope {
            Scope::Place(number) => self.registry.places[number as usize].overridden = true,
            Scope::Sign(number) => self.registry.signs[number as usize].overridden = true,
        }
        self.registry.overrides.entry(scope).or_default().push(Override { from_ms, until_ms, targets });
    }

    /// The registry, or all that is wrong, in the order of the tables and lines. It has no
    /// generation and no content hash yet.
    pub fn build(mut self) -> Result<Registry, Problems> {
        self.successors_and_aliases();
        if self.is_full {
            let TableNames { places, signs, overrides } = self.tables;
            let text = format!(
                "expected at most {MAX_TEXT} bytes of names, texts and targets (as they are sent, percent-encoded) \
                 with {signs} and {overrides}, found more"
            );
            self.problems.add(places, 0, "", text);
        }
        if !self.problems.is_empty() {
            let TableNames { places, signs, .. } = self.tables;
            let table = |file: &str| if file == places { 0 } else { 1 + u8::from(file != signs) };
            self.problems.list.sort_by_key(|problem| (table(&problem.file), problem.line));
            return Err(self.problems);
        }
        let mut registry = self.registry;
        for list in registry.overrides.values_mut() {
            list.sort_by_key(|o| std::cmp::Reverse(o.from_ms));
        }
        for sign in &mut registry.signs {
            sign.overridden |= registry.places[sign.place as usize].overridden;
            registry.by_status[sign.status as usize] += 1;
        }
        for number in 0..count(registry.places.len()) {
            let answer = PlaceRef { registry: &registry, number }.answer();
            registry.by_answer[answer as usize] += 1;
        }
        Ok(registry)
    }

    /// Checks and sets what leads from one sign to another, once every sign is known.
    fn successors_and_aliases(&mut self) {
        let later = std::mem::take(&mut self.later);
        for later in &later {
            let line = u64::from(self.lines[later.sign as usize]);
            let mut wrong = |key: &str, text: String| self.problems.add(self.tables.signs, line, key, text);
            let cell = &later.successor;
            if !cell.is_empty() {
                match cell.parse::<Code>().ok().and_then(|code| self.registry.sign(code)) {
                    Some(successor) => self.registry.signs[later.sign as usize].successor = successor.number,
                    None => {
                        let why = spoiled_by(cell);
                        wrong("successor", format!("expected the code of a sign, found {cell:?}{why}"));
                    }
                }
            }
            // A path holds no white space, so a cell may list several.
            for alias in later.aliases.split_whitespace() {
                match checked_alias(&self.registry, alias, later.sign) {
                    Ok(sent) => {
                        let other = self.registry.by_alias.insert(sent.into(), later.sign);
                        if let Some(other) = other.filter(|&other| other != later.sign) {
                            let line = self.lines[other as usize];
                            let text =
                                format!("expected an alias of this sign alone, found {alias:?}, also on line {line}");
                            wrong("aliases", text);
                        }
                    }
                    Err(error) => wrong("aliases", format!("expected an old path and query, found {alias:?}: {error}")),
                }
            }
        }
        for number in later.iter().map(|later| later.sign) {
            if let Err(error) = self.successors_end(number) {
                let line = u64::from(self.lines[number as usize]);
                self.problems.add(self.tables.signs, line, "successor", error.to_string());
            }
        }
    }

    fn successors_end(&self, number: u32) -> Result<(), SuccessorError> {
        let mut at = number;
        for _ in 0..=MAX_SUCCESSORS {
            at = self.registry.signs[at as usize].successor;
            if at == NO_SIGN {
                return Ok(());
            }
            if at == number {
                return Err(SuccessorError::Circle);
            }
        }
        Err(SuccessorError::TooMany)
    }
}

/// Codes that are looked up in the table before any of them is added: of a table of millions, the processor waits for the
/// memory of all of them together.
const AT_ONCE: usize = 16;

impl SignsBuilder<'_> {
    /// About how many there will be: see [`RegistryBuilder::expect_places`].
    pub fn expect(&mut self, about: usize) {
        self.by_code.try_reserve(about, |_| 0).ok();
    }

    /// Adds signs.
    pub fn add(&mut self, rows: SignRows<'_>) {
        let SignRows { problems, texts: Texts { arena, .. }, signs, cells, later, .. } = rows;
        let mut again = Vec::new();
        if let Some(room) = self.room.checked_sub(arena.text.len()) {
            *self.room = room;
            let before = count(self.signs.len());
            let Arena { text, variants } = &mut self.arena;
            let (_, variants_start) = arena.append_to(text, variants, self.text_before, self.variants_before);
            self.later.extend(later.into_iter().map(|later| Later { sign: before + later.sign, ..later }));
            let (all, lines) = (&mut self.signs, &mut *self.lines);
            let hashes: Vec<u64> = signs.iter().map(|sign| Hasher::default().hash_one(sign.sign.code)).collect();
            for (at, sign) in signs.into_iter().enumerate() {
                if at % AT_ONCE == 0 {
                    for &hash in hashes.iter().skip(at).take(AT_ONCE) {
                        black_box(self.by_code.find(hash, |&number| number == NO_SIGN));
                    }
                }
                let CheckedSign { mut sign, line, cell, problem, is_whole } = sign;
                let (code, number) = (sign.code, count(all.len()));
                let is_same = |&at: &u32| all[at as usize].code == code;
                let hash = |&at: &u32| Hasher::default().hash_one(all[at as usize].code);
                match self.by_code.entry(hashes[at], is_same, hash) {
                    Entry::Vacant(entry) => {
                        if is_whole {
                            entry.insert(number);
                        }
                    }
                    Entry::Occupied(other) => {
                        let (cell, other) = (slice(&cells, cell), lines[*other.get() as usize]);
                        let text = format!(
                            "expected a code that no other sign has, found {cell:?}, the code of line {other} \
                             (both are read as {code})"
                        );
                        let (file, key) = (self.table.to_owned(), "code".to_owned());
                        again.push((usize::from(problem), Problem { file, line: u64::from(line), key, text }));
                    }
                }
                if is_whole {
                    if sign.own_targets {
                        sign.targets = sign.targets.behind(variants_start);
                    }
                    lines.push(line);
                    all.push(sign);
                }
            }
        } else {
            self.is_full = true;
        }
        add_all(self.problems, problems, again);
    }
}

impl<'a> PlaceRows<'a> {
    /// None yet. `languages` are those of [`RegistryBuilder::languages`].
    #[must_use]
    pub fn new(rules: &'a Rules, tables: TableNames<'a>, languages: &'a [Tag]) -> Self {
        let (problems, texts) = (Problems::default(), Texts::new(rules, languages));
        Self { problems, table: tables.places, texts, places: Vec::new(), stories: Vec::new() }
    }

    /// Adds one.
    pub fn add(&mut self, row: &PlaceRow<'_>) {
        // Behind what is wrong with the form of its row.
        let problem = self.problems.list.len();
        let mut wrong = |key: &str, text: String| self.problems.add(self.table, row.line, key, text);
        let id = row.place;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        let is_plain = !id.is_empty() && id.len() <= MAX_PLACE_ID && id.bytes().all(plain);
        if !is_plain {
            wrong("place", format!("expected 1 to {MAX_PLACE_ID} characters of a-z A-Z 0-9 _ . -, found {id:?}"));
        }
        let name = in_default(row.names);
        if name.is_empty() {
            let default = self.texts.rules.default_language;
            wrong("name", format!("expected a name in the default language ({default}), found an empty cell"));
        }
        // Control characters were taken here before anything was told of a place: a table that has served goes on serving.
        for (column, text) in [("name", name), ("kind", row.kind), ("area", row.area)] {
            if text.len() > MAX_NAME {
                wrong(column, format!("expected at most {MAX_NAME} bytes, found {}", text.len()));
            }
        }
        let last = self.places.last().map(|last| (last.place.kind, last.place.area)).unzip();
        let place = Place {
            id: self.texts.text(id),
            kind: self.texts.text_like(last.0, row.kind),
            area: self.texts.text_like(last.1, row.area),
            names: self.texts.names(row.names),
            targets: self.texts.targets(&mut self.problems, self.table, row.line, row.targets),
            overridden: false,
        };
        let number = count(self.places.len());
        self.places.push(CheckedPlace { place, line: row.line, problem, is_plain });
        self.story(number, row);
    }

    /// Checks and keeps what is told of a place, if anything is.
    fn story(&mut self, place: u32, row: &PlaceRow<'_>) {
        if row.namesakes.is_empty() && row.abouts.is_empty() && row.source.is_empty() && row.compiled.is_empty() {
            return;
        }
        let namesakes = self.told(row, "namesake", row.namesakes, |text| story::line(text, MAX_NAME));
        let abouts = self.told(row, "about", row.abouts, story::about);
        let mut wrong = |key: &str, text: String| self.problems.add(self.table, row.line, key, text);
        if !row.abouts.is_empty() && in_default(row.abouts).is_empty() {
            let default = self.texts.rules.default_language;
            let text = format!(
                "expected a text in the default language ({default}) beside those in others, found an empty cell"
            );
            wrong("about", text);
        }
        let compiled = if row.compiled.is_empty() { Some(NO_DATE) } else { days(row.compiled) };
        // `14/3/25` is read as a day of the year 25. A day of mounting may be any: tables that have served go on serving.
        let compiled = compiled.filter(|&day| day == NO_DATE || date_of(day).year() >= FIRST_YEAR);
        if compiled.is_none() {
            wrong("compiled", format!("expected a date such as 2026-03-14 or 14/3/2026, found {:?}", row.compiled));
        }
        let source = story::source(row.source).unwrap_or_else(|error| {
            wrong("source", error.to_string());
            Cow::default()
        });
        let source = self.texts.text(&source);
        let compiled = compiled.unwrap_or(NO_DATE);
        self.stories.push((place, Story { namesakes, abouts, source, compiled }));
    }

    /// Texts of a place in several languages, each as `read` has it.
    fn told(
        &mut self,
        row: &PlaceRow<'_>,
        column: &str,
        texts: &[Text<'_>],
        read: impl Fn(&str) -> Result<Cow<'_, str>, StoryError>,
    ) -> Variants {
        let start = self.texts.next();
        for &Text { language, text } in texts {
            // One that is refused is there all the same: its place must not be reported as without one.
            let text = read(text).unwrap_or_else(|error| {
                let column = language.map_or(column.to_owned(), |tag| format!("{column}:{tag}"));
                self.problems.add(self.table, row.line, &column, error.to_string());
                Cow::default()
            });
            self.texts.variant(language, &text);
        }
        variants(start, texts)
    }
}

impl<'a> SignRows<'a> {
    /// None yet. `registry` is that of [`RegistryBuilder::signs`].
    #[must_use]
    pub fn new(rules: &'a Rules, tables: TableNames<'a>, registry: &'a Registry) -> Self {
        Self {
            problems: Problems::default(),
            tables,
            registry,
            texts: Texts::new(rules, &registry.languages),
            signs: Vec::new(),
            cells: String::new(),
            later: Vec::new(),
            whole: 0,
            last_place: None,
            reserved: RESERVED.parse().ok(),
        }
    }

    /// Adds one.
    pub fn add(&mut self, row: &SignRow<'_>) {
        let mut wrong = |key: &str, text: String| self.problems.add(self.tables.signs, row.line, key, text);
        let cell = row.code;
        let code = match cell.parse::<Code>() {
            _ if spoiled(cell).is_some() => {
                wrong("code", format!("expected a code, found {cell:?}{}", spoiled_by(cell)));
                None
            }
            Ok(code) if Some(code) == self.reserved => {
                wrong("code", format!("expected another code than that of the page /go, found {cell:?}"));
                Some(code)
            }
            Ok(code) => Some(code),
            Err(error) if cell.is_empty() => {
                wrong("code", error.to_string());
                None
            }
            Err(error) => {
                wrong("code", format!("{error} in {cell:?}"));
                None
            }
        };
        // Behind what is wrong with the form of its row and with the code itself.
        let problem = self.problems.list.len();
        let mut wrong = |key: &str, text: String| self.problems.add(self.tables.signs, row.line, key, text);
        let registry = self.registry;
        let place = match self.last_place {
            Some(last) if registry.str(registry.places[last as usize].id) == row.place => Some(last),
            _ => registry.place(row.place).map(|place| place.number),
        };
        self.last_place = place;
        if place.is_none() {
            wrong("place", format!("expected a place of {}, found {:?}", self.tables.places, row.place));
        }
        let status = Status::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(row.status));
        if status.is_none() {
            wrong("status", format!("expected planned, active or retired, found {:?}", row.status));
        }
        let (lat, lon) = position(row, &mut wrong);
        let mounted = if row.mounted.is_empty() { Some(NO_DATE) } else { days(row.mounted) };
        if mounted.is_none() {
            wrong("mounted", format!("expected a date such as 2026-03-14 or 14/3/2026, found {:?}", row.mounted));
        }
        let targets = self.texts.targets(&mut self.problems, self.tables.signs, row.line, row.targets);
        let Some(code) = code else { return };
        let own_targets = targets.len > 0;
        let targets = match place {
            Some(place) if !own_targets => registry.places[place as usize].targets,
            _ => targets,
        };
        let whole = place.zip(status);
        if let Some((place, status)) = whole {
            let is_told = || registry.stories.get(&place).is_some_and(|story| story.abouts.len > 0);
            if status != Status::Retired && targets.len == 0 && !is_told() {
                let id = registry.str(registry.places[place as usize].id);
                let text = format!(
                    "expected a target, the sign's own or that of its place {id}, or a text about that place, found neither"
                );
                self.problems.add(self.tables.signs, row.line, "target", text);
            }
            if !row.successor.is_empty() || !row.aliases.is_empty() {
                let (successor, aliases) = (row.successor.to_owned(), row.aliases.to_owned());
                self.later.push(Later { sign: self.whole, successor, aliases });
            }
            self.whole += 1;
        }
        let cell = Span { start: count(self.cells.len()), len: count(cell.len()) };
        self.cells.push_str(row.code);
        let sign = Sign {
            code,
            place: place.unwrap_or(0),
            targets,
            successor: NO_SIGN,
            lat,
            lon,
            mounted: mounted.unwrap_or(NO_DATE),
            tally: 0.into(),
            status: status.unwrap_or(Status::Planned),
            own_targets,
            overridden: false,
        };
        self.signs.push(CheckedSign {
            sign,
            line: u32::try_from(row.line).unwrap_or(u32::MAX),
            cell,
            problem: u16::try_from(problem).unwrap_or(u16::MAX),
            is_whole: whole.is_some(),
        });
    }
}

impl Arena {
    /// Moves it behind others, before which there are so much text and so many variants still; where its own begin.
    fn append_to(
        self,
        text: &mut String,
        variants: &mut Vec<Variant>,
        text_before: usize,
        variants_before: usize,
    ) -> (u32, u32) {
        let (start, first) = (count(text_before + text.len()), count(variants_before + variants.len()));
        text.push_str(&self.text);
        let moved = self.variants.into_iter().map(|Variant { language, text }| {
            let text = Span { start: text.start + start, ..text };
            Variant { language, text }
        });
        variants.extend(moved);
        (start, first)
    }
}

impl<'a> Texts<'a> {
    fn new(rules: &'a Rules, languages: &'a [Tag]) -> Self {
        Self { rules, languages, site: Site::default(), arena: Arena::default() }
    }

    fn names(&mut self, names: &[Text<'_>]) -> Variants {
        let start = self.next();
        for name in names {
            self.variant(name.language, name.text);
        }
        variants(start, names)
    }

    /// The targets of a row, checked.
    fn targets(&mut self, problems: &mut Problems, table: &str, line: u64, targets: &[Text<'_>]) -> Variants {
        let start = self.next();
        for &Text { language, text } in targets {
            if self.site.holds(text) {
                self.variant(language, text);
                continue;
            }
            match self.rules.target(text) {
                Ok(url) => {
                    self.site = Site::of(text, &url);
                    self.variant(language, &url);
                }
                Err(error) => {
                    let column = language.map_or("target".to_owned(), |tag| format!("target:{tag}"));
                    problems.add(table, line, &column, error.to_string());
                    // The target is refused and not absent: a sign of the place must not be reported as without one.
                    self.variant(language, text);
                }
            }
        }
        if !targets.is_empty() && in_default(targets).is_empty() {
            let default = self.rules.default_language;
            let text = format!(
                "expected a target in the default language ({default}) beside those in others, found an empty cell"
            );
            problems.add(table, line, "target", text);
        }
        variants(start, targets)
    }

    /// The number of the next variant.
    fn next(&self) -> u32 {
        count(self.arena.variants.len())
    }

    fn variant(&mut self, language: Option<Tag>, text: &str) {
        let language = language.unwrap_or(self.rules.default_language);
        let language = self.languages.iter().position(|known| *known == language).unwrap_or(0);
        let language = u8::try_from(language).expect("languages are limited to 64");
        let text = self.text(text);
        self.arena.variants.push(Variant { language, text });
    }

    fn text(&mut self, text: &str) -> Span {
        let start = count(self.arena.text.len());
        self.arena.text.push_str(text);
        Span { start, len: count(text.len()) }
    }

    /// Kinds and areas repeat from row to row; the last row's text serves again.
    fn text_like(&mut self, last: Option<Span>, text: &str) -> Span {
        last.filter(|&span| slice(&self.arena.text, span) == text).unwrap_or_else(|| self.text(text))
    }
}

/// Adds what is wrong with some rows, and with what they have in common with others, each at its place.
fn add_all(problems: &mut Problems, of_rows: Problems, again: Vec<(usize, Problem)>) {
    let more = of_rows.more;
    let mut again = again.into_iter().peekable();
    for (at, problem) in of_rows.list.into_iter().enumerate() {
        while let Some((_, problem)) = again.next_if(|(before, _)| *before <= at) {
            problems.push(problem);
        }
        problems.push(problem);
    }
    again.for_each(|(_, problem)| problems.push(problem));
    problems.more += more;
}

/// An alias of a sign as browsers send it.
fn checked_alias(registry: &Registry, alias: &str, sign: u32) -> Result<String, AliasError> {
    if alias.len() > MAX_ALIAS {
        return Err(AliasError::TooLong(alias.len()));
    }
    let sent = as_sent(alias)?;
    let path = sent.split('?').next().unwrap_or(&sent);
    match Route::of(path) {
        Route::Other => Ok(sent),
        Route::Code(code) => match registry.sign(code) {
            Some(other) if other.number != sign => Err(AliasError::Code(code)),
            _ => Ok(sent),
        },
        Route::Inspect(code) => Err(AliasError::Inspect(code)),
        Route::Home | Route::Typed | Route::Robots | Route::Favicon => Err(AliasError::Page(path.to_owned())),
    }
}

/// The variants of a row, from where they begin. More languages than 64 are refused.
fn variants(start: u32, texts: &[Text<'_>]) -> Variants {
    Variants { start, len: u8::try_from(texts.len()).unwrap_or(u8::MAX) }
}

/// The text in the default language; empty where there is none.
fn in_default<'r>(texts: &[Text<'r>]) -> &'r str {
    texts.first().filter(|first| first.language.is_none()).map_or("", |first| first.text)
}

/// Advice about a cell that looks like a code changed by a spreadsheet; empty for other cells.
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

/// Millionths of a degree.
fn position(row: &SignRow<'_>, wrong: &mut impl FnMut(&str, String)) -> (i32, i32) {
    let mut degrees = |column: &str, cell: &str, limit: f64| {
        let read = millionths(cell, limit);
        if read.is_none() && !cell.is_empty() {
            wrong(column, format!("expected degrees from -{limit} to {limit}, found {cell:?}"));
        }
        read
    };
    let (lat, lon) = (degrees("lat", row.lat, 90.0), degrees("lon", row.lon, 180.0));
    match (row.lat, row.lon) {
        ("", "") => {}
        ("", _) => wrong("lat", "expected lat and lon, or neither, found lon alone".to_owned()),
        (_, "") => wrong("lon", "expected lat and lon, or neither, found lat alone".to_owned()),
        _ => {}
    }
    lat.zip(lon).unwrap_or((NO_POSITION, NO_POSITION))
}

/// A comma is read as the decimal point: spreadsheets in Vietnam write it so.
#[allow(clippy::cast_possible_truncation, reason = "180 degrees are 180 million, which fit 32 bits")]
fn millionths(cell: &str, limit: f64) -> Option<i32> {
    let cell = if cell.contains(',') { Cow::from(cell.replace(',', ".")) } else { Cow::from(cell) };
    let degrees: f64 = cell.parse().ok()?;
    (degrees.abs() <= limit).then(|| (degrees * 1e6).round() as i32)
}

/// Days since 1 January 1970 of `2026-03-14`, or of `14/3/2026` as spreadsheets in Vietnam write it.
fn days(cell: &str) -> Option<i32> {
    let digit = |b: u8| b.is_ascii_digit().then(|| i16::from(b - b'0'));
    // As nearly all are written, a tenth of what reading any date takes.
    if let &[m, c, x, y, b'-', t, n, b'-', d, e] = cell.as_bytes() {
        let number = |tens: u8, ones: u8| Some(10 * digit(tens)? + digit(ones)?);
        let [century, year, month, day] = [number(m, c)?, number(x, y)?, number(t, n)?, number(d, e)?];
        let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
        return Some(day_of(jiff::civil::Date::new(100 * century + year, month, day).ok()?));
    }
    let date =
        if cell.contains('/') { jiff::civil::Date::strptime("%d/%m/%Y", cell).ok()? } else { cell.parse().ok()? };
    Some(day_of(date))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::super::rules::HostPattern;
    use super::*;

    const TABLES: TableNames<'static> =
        TableNames { places: "places.csv", signs: "signs.csv", overrides: "overrides.csv" };

    fn rules() -> Rules {
        Rules {
            default_language: Tag::from("vi").expect("short"),
            timezone: TimeZone::UTC,
            allowed_hosts: vec![HostPattern::parse("example.vn").expect("a pattern")],
            allow_http: false,
            public_host: "qr.example.vn".to_owned(),
        }
    }

    fn place<'r>(names: &'r [Text<'r>], targets: &'r [Text<'r>]) -> PlaceRow<'r> {
        let (kind, area, source, compiled) = ("", "", "", "");
        PlaceRow { line: 2, place: "one", kind, area, names, targets, namesakes: &[], abouts: &[], source, compiled }
    }

    fn text(text: &str) -> [Text<'_>; 1] {
        [Text { language: None, text }]
    }

    fn sign(code: &str) -> SignRow<'_> {
        SignRow {
            line: 2,
            code,
            place: "one",
            status: "Active",
            lat: "",
            lon: "",
            mounted: "",
            targets: &[],
            successor: "",
            aliases: "",
        }
    }

    fn add_places(builder: &mut RegistryBuilder<'_>, places: &[PlaceRow<'_>]) {
        let languages = builder.languages().to_vec();
        let mut rows = PlaceRows::new(builder.rules, builder.tables, &languages);
        for row in places {
            rows.add(row);
        }
        builder.places(rows);
    }

    fn add_signs(builder: &mut RegistryBuilder<'_>, signs: &[SignRow<'_>]) {
        let (rules, tables) = (builder.rules, builder.tables);
        builder.signs(|builder, registry| {
            let mut rows = SignRows::new(rules, tables, registry);
            for row in signs {
                rows.add(row);
            }
            builder.add(rows);
        });
    }

    #[test]
    fn more_text_than_can_be_counted_is_refused_and_no_panic() {
        let rules = rules();
        let build = |room| {
            let mut builder = RegistryBuilder { room, ..RegistryBuilder::new(&rules, TABLES) };
            add_places(&mut builder, &[place(&text("Một"), &text("https://example.vn/đ"))]);
            add_signs(&mut builder, &[sign("A1")]);
            builder.build()
        };
        // The target is longer as it is sent.
        let room = "oneMộthttps://example.vn/%C4%91".len();
        assert!(build(room).is_ok());
        let problems = build(room - 1).expect_err("one byte too much").to_string();
        assert!(problems.starts_with("places.csv: expected at most 4294967295 bytes of names, texts"), "{problems}");
    }

    /// Any cell, and such as is near the limits of one of the columns.
    fn cell() -> impl Strategy<Value = String> {
        prop_oneof![
            2 => Just(String::new()),
            2 => any::<String>(),
            2 => "[a-zđ ]{1,9}[\\x00-\\x1f\u{85}\u{2028}]{0,2}",
            2 => "[0-9]{1,4}[-/][0-9]{1,2}[-/][0-9]{1,4}",
            2 => "(https?|ftp)://[a-z@ .]{1,9}",
            1 => "[e\u{323}\u{302}\u{1ec7}]{995,1005}",
        ]
    }

    proptest! {
        #[test]
        fn every_cell_about_a_place_is_kept_or_told_with_its_column_and_all_at_once(
            [namesake, about, english, source, compiled] in prop::array::uniform5(cell()),
        ) {
            let en = Tag::from("en").expect("short");
            let mut namesakes = Vec::from(text(&namesake));
            let mut abouts = Vec::from([Text { language: None, text: &about }, Text { language: Some(en), text: &english }]);
            for texts in [&mut namesakes, &mut abouts] {
                texts.retain(|of| !of.text.is_empty());
            }
            let wrong = [
                ("namesake", story::line(&namesake, MAX_NAME).is_err()),
                ("about", story::about(&about).is_err() || about.is_empty() && !english.is_empty()),
                ("about:en", story::about(&english).is_err()),
                ("source", story::source(&source).is_err()),
                ("compiled", !compiled.is_empty() && days(&compiled).is_none_or(|day| date_of(day).year() < FIRST_YEAR)),
            ];
            let wrong: BTreeSet<&str> = wrong.into_iter().filter_map(|(key, is_wrong)| is_wrong.then_some(key)).collect();

            let rules = rules();
            let mut builder = RegistryBuilder::new(&rules, TABLES);
            builder.language("places.csv", 1, "about", en);
            let (names, targets) = (text("Một"), text("https://example.vn/"));
            let row = place(&names, &targets);
            let (source, compiled) = (source.as_str(), compiled.as_str());
            add_places(&mut builder, &[PlaceRow { namesakes: &namesakes, abouts: &abouts, source, compiled, ..row }]);
            match builder.build() {
                Ok(registry) => {
                    prop_assert!(wrong.is_empty(), "nothing is said of {wrong:?}");
                    let place = registry.place("one").expect("the place");
                    let kept: Vec<_> = abouts.iter().filter_map(|of| story::about(of.text).ok()).collect();
                    prop_assert_eq!(place.abouts().map(|(_, text)| text).collect::<Vec<_>>(), kept);
                    prop_assert_eq!(place.namesakes().map(|(_, text)| text).collect::<String>(), namesake);
                    prop_assert_eq!(Ok(Cow::from(place.source())), story::source(source));
                    prop_assert_eq!(place.compiled(), days(compiled));
                }
                Err(problems) => {
                    let told: BTreeSet<&str> = problems.list.iter().map(|problem| problem.key.as_str()).collect();
                    prop_assert_eq!(told, wrong);
                    for problem in &problems.list {
                        prop_assert_eq!((problem.file.as_str(), problem.line), ("places.csv", 2));
                        let said = problem.to_string();
                        prop_assert!(said.contains("expected ") && said.contains(", found "), "{}", said);
                        prop_assert!(!said.contains(char::is_control), "{:?}", said);
                    }
                }
            }
        }
    }

    #[test]
    fn rows_that_came_from_no_table_are_checked_as_those_of_one() {
        let rules = rules();
        let tables = TableNames { signs: "change set 12", ..TABLES };
        let mut builder = RegistryBuilder::new(&rules, tables);
        add_places(&mut builder, &[place(&text("Một"), &text("https://example.vn/"))]);
        let slip = SignRow { line: 3, status: "activ", successor: "B1", ..sign("B2") };
        add_signs(&mut builder, &[sign("A1"), slip]);
        let problems = builder.build().expect_err("a slip").to_string();
        assert_eq!(problems, "change set 12:3: status: expected planned, active or retired, found \"activ\"");
    }

    #[test]
    fn problems_are_told_in_the_order_of_tables_and_lines() {
        let rules = rules();
        let mut builder = RegistryBuilder::new(&rules, TABLES);
        add_places(&mut builder, &[place(&text("Một"), &text("https://example.vn/"))]);
        let successor = SignRow { successor: "B1", ..sign("A1") };
        add_signs(&mut builder, &[successor, SignRow { line: 3, lat: "91", lon: "0", ..sign("A2") }]);
        let problems = builder.build().expect_err("two slips").list;
        let told: Vec<_> = problems.iter().map(|problem| (problem.line, problem.key.as_str())).collect();
        assert_eq!(told, [(2, "successor"), (3, "lat")]);
    }
}
