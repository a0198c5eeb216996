//! A TOML file, read key by key, with every problem kept with its line.
//!
//! Owns the difference between "wrong" and "absent": an absent key has its default, an unknown or
//! wrong one is a problem, and reading goes on after it, so that all problems are reported at once.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values::{ValueError, expected, shown, string};
use crate::core::{Problems, newlines};

/// The file, and what is wrong with it so far.
pub(super) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    /// Relative paths are relative to it.
    folder: &'a Path,
    problems: RefCell<Problems>,
}

/// One table of the file, perhaps absent.
pub(super) struct Section<'r, 'a> {
    reader: &'r Reader<'a>,
    /// `edge.trust`; empty at the top.
    path: &'static str,
    /// Where it begins; 0 where it is absent.
    line: u64,
    table: Option<&'r DeTable<'a>>,
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub fn new(file: &'a str, text: &'a str, folder: &'a Path) -> Self {
        Self { file, text, folder, problems: RefCell::default() }
    }

    /// The line of a byte of the text, from 1.
    pub fn line(&self, at: usize) -> u64 {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        1 + newlines(before)
    }

    pub fn problem(&self, line: u64, key: &str, text: impl Into<String>) {
        self.problems.borrow_mut().add(self.file, line, key, text);
    }

    /// All problems, in the order of their lines.
    pub fn finish(self) -> Problems {
        let mut problems = self.problems.into_inner();
        problems.list.sort_by_key(|problem| problem.line);
        problems
    }
}

impl<'r, 'a> Section<'r, 'a> {
    pub fn top(reader: &'r Reader<'a>, table: &'r DeTable<'a>) -> Self {
        Self { reader, path: "", line: 0, table: Some(table), known: Vec::new() }
    }

    /// A table within this one, `path` from the top.
    pub fn section(&mut self, path: &'static str) -> Self {
        let key = path.rsplit('.').next().unwrap_or(path);
        let (mut line, mut table) = (0, None);
        if let Some(value) = self.value(key) {
            line = self.reader.line(value.span().start);
            table = value.get_ref().as_table();
            if table.is_none() {
                let error = expected(format!("a table [{path}]"), shown(value.get_ref()));
                self.reader.problem(line, path, error.to_string());
            }
        }
        Self { reader: self.reader, path, line, table, known: Vec::new() }
    }

    /// A key's value as `read` makes it, or its default where it is absent or wrong.
    pub fn get<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&DeValue<'a>) -> Result<T, ValueError>,
    ) -> T {
        let Some(value) = self.value(key) else { return default };
        read(value.get_ref()).unwrap_or_else(|error| {
            self.problem(key, &error);
            default
        })
    }

    /// A key without a default; `instead` is used where it is absent or wrong, which is a problem.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        instead: T,
        read: impl FnOnce(&DeValue<'a>) -> Result<T, ValueError>,
    ) -> T {
        if self.table.is_none_or(|table| !table.contains_key(key)) {
            self.reader.problem(self.line(key), &self.name(key), "is missing; this key has no default");
        }
        self.get(key, instead, read)
    }

    pub fn string(&mut self, key: &'static str, default: &str) -> String {
        self.get(key, default.to_owned(), string)
    }

    /// A file or folder.
    pub fn path(&mut self, key: &'static str, default: &str) -> PathBuf {
        let path = self.string(key, default);
        self.beside(&path)
    }

    /// A path, relative to the configuration's folder.
    pub fn beside(&self, path: impl AsRef<Path>) -> PathBuf {
        self.reader.folder.join(path)
    }

    /// Adds a problem of a key, perhaps one that shows only together with other keys.
    pub fn problem(&self, key: &str, error: &ValueError) {
        self.reader.problem(self.line(key), &self.name(key), error.to_string());
    }

    /// Adds a problem for every key that was not asked for.
    pub fn finish(self) {
        for (key, _) in self.table.into_iter().flat_map(DeTable::iter) {
            let name: &str = key.get_ref();
            if self.known.contains(&name) {
                continue;
            }
            let meant = self.known.iter().find(|known| is_like(known, name));
            let hint = meant.map_or_else(
                || format!("allowed are {}", self.known.join(", ")),
                |meant| format!("did you mean {meant}?"),
            );
            let line = self.reader.line(key.span().start);
            // A quoted key may be any text, with new lines in it.
            self.reader.problem(line, &self.name(&name.escape_debug().to_string()), format!("unknown key; {hint}"));
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'r Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.table?.get(key)
    }

    /// The line of a key, or of its table where it is absent.
    fn line(&self, key: &str) -> u64 {
        let value = self.table.and_then(|table| table.get(key));
        value.map_or(self.line, |value| self.reader.line(value.span().start))
    }

    /// A key from the top: `edge.listen`.
    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// Whether two keys differ in two letters side by side at most, as after a slip of the finger.
fn is_like(known: &str, name: &str) -> bool {
    let same = known.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
    let ends = known.bytes().rev().zip(name.bytes().rev()).take_while(|(a, b)| a == b).count();
    same + ends + 2 >= known.len().max(name.len()) && known.len() > 2
}
