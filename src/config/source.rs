//! A TOML file, read key by key with every problem noted at its line.
//!
//! Owns the difference between "wrong" and "not there": a key that is absent has its
//! default, a key that is unknown or wrong is a problem, and reading goes on after it,
//! so that all problems are told at once.

use std::cell::RefCell;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::core::Problems;

/// The file and what is wrong with it so far.
pub(super) struct Source<'a> {
    pub file: String,
    pub text: &'a str,
    pub problems: RefCell<Problems>,
}

/// One table of the file, perhaps absent.
pub(super) struct Section<'s, 'a> {
    source: &'s Source<'a>,
    /// `edge.trust`; empty at the top.
    path: &'static str,
    line: u64,
    table: Option<&'s DeTable<'a>>,
    known: Vec<&'static str>,
}

impl Source<'_> {
    pub fn line(&self, at: usize) -> u64 {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        1 + before.iter().filter(|&&b| b == b'\n').count() as u64
    }

    pub fn problem(&self, line: u64, text: String) {
        self.problems.borrow_mut().add(&self.file, line, "", text);
    }
}

impl<'s, 'a> Section<'s, 'a> {
    pub fn top(source: &'s Source<'a>, table: &'s DeTable<'a>) -> Self {
        Self { source, path: "", line: 0, table: Some(table), known: Vec::new() }
    }

    /// A table within this one, `path` from the top.
    pub fn section(&mut self, path: &'static str) -> Self {
        let key = path.rsplit('.').next().unwrap_or(path);
        let (mut line, mut table) = (0, None);
        if let Some(value) = self.value(key) {
            line = self.source.line(value.span().start);
            table = value.get_ref().as_table();
            if table.is_none() {
                self.source.problem(line, format!("{path}: is {}, not a table [{path}]", found(value.get_ref())));
            }
        }
        Self { source: self.source, path, line, table, known: Vec::new() }
    }

    /// A key's value as `read` makes it, or its default where it is absent or wrong.
    pub fn get<T>(&mut self, key: &'static str, default: T, read: impl FnOnce(&DeValue<'a>) -> Result<T, String>) -> T {
        let Some(value) = self.value(key) else { return default };
        let line = self.source.line(value.span().start);
        read(value.get_ref()).unwrap_or_else(|error| {
            self.source.problem(line, format!("{}: {error}", self.name(key)));
            default
        })
    }

    /// A key without a default; `instead` serves until the problem is told.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        instead: T,
        read: impl FnOnce(&DeValue<'a>) -> Result<T, String>,
    ) -> T {
        if self.table.is_none_or(|table| !table.contains_key(key)) {
            self.problem(key, "is missing; this key has no default");
        }
        self.get(key, instead, read)
    }

    /// The line of a key, or of its table where it is absent.
    pub fn line(&self, key: &str) -> u64 {
        let value = self.table.and_then(|table| table.get(key));
        value.map_or(self.line, |value| self.source.line(value.span().start))
    }

    /// A problem with a key that is only seen together with others.
    pub fn problem(&self, key: &str, text: &str) {
        self.source.problem(self.line(key), format!("{}: {text}", self.name(key)));
    }

    pub fn text(&mut self, key: &'static str, default: &str) -> String {
        self.get(key, default.to_owned(), text)
    }

    /// Notes every key that was not asked for.
    pub fn finish(self) {
        for (key, _) in self.table.into_iter().flat_map(DeTable::iter) {
            let name: &str = key.get_ref();
            if self.known.contains(&name) {
                continue;
            }
            let like = self.known.iter().find(|known| is_like(known, name));
            let hint = like.map_or_else(
                || format!("allowed are {}", self.known.join(", ")),
                |like| format!("did you mean {like}?"),
            );
            self.source
                .problem(self.source.line(key.span().start), format!("{}: unknown key; {hint}", self.name(name)));
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'s Spanned<DeValue<'a>>> {
        self.known.push(key);
        self.table?.get(key)
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// At most two letters apart at the ends: a slip of the finger.
fn is_like(known: &str, name: &str) -> bool {
    let same = known.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
    let ends = known.bytes().rev().zip(name.bytes().rev()).take_while(|(a, b)| a == b).count();
    same + ends + 2 >= known.len().max(name.len()) && known.len() > 2
}

/// What was found, for an error's text.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", text.as_ref()),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::Datetime(time) => time.to_string(),
    }
}

// === what values may be ===

pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("{} is not allowed; a text in quotes is", found(value)))
}

pub(super) fn texts(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let wrong = || format!("{} is not allowed; a list of texts is, as [\"a\", \"b\"]", found(value));
    let list = value.as_array().ok_or_else(wrong)?;
    list.iter().map(|item| item.get_ref().as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("{} is not allowed; true or false is", found(value)))
}

/// A whole number within limits.
pub(super) fn whole(least: u64, most: u64) -> impl Fn(&DeValue<'_>) -> Result<u64, String> {
    move |value| {
        let number = value.as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        number
            .filter(|n| (least..=most).contains(n))
            .ok_or_else(|| format!("{} is not allowed; a whole number from {least} to {most} is", found(value)))
    }
}

/// A share from 0 to 1.
pub(super) fn share(value: &DeValue<'_>) -> Result<f64, String> {
    let number = match value {
        DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
        DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
        _ => None,
    };
    number
        .filter(|n| (0.0..=1.0).contains(n))
        .ok_or_else(|| format!("{} is not allowed; a number from 0 to 1 is", found(value)))
}

/// A duration within limits, as `"5s"` or `"200ms"`.
pub(super) fn duration(least: Duration, most: Duration) -> impl Fn(&DeValue<'_>) -> Result<Duration, String> {
    move |value| {
        let read = value.as_str().and_then(|text| text.parse::<jiff::SignedDuration>().ok());
        let read = read.and_then(|duration| Duration::try_from(duration).ok());
        read.filter(|d| (least..=most).contains(d)).ok_or_else(|| {
            format!(
                "{} is not allowed; a time from {} to {} is, as \"5s\", \"200ms\" or \"2m\"",
                found(value),
                shown(least),
                shown(most)
            )
        })
    }
}

fn shown(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or(String::new(), |duration| format!("{duration:#}"))
}

/// A size in bytes within limits, as `"16MiB"`.
pub(super) fn size(least: u64, most: u64) -> impl Fn(&DeValue<'_>) -> Result<u64, String> {
    move |value| {
        let read = value.as_str().and_then(bytes);
        read.filter(|n| (least..=most).contains(n)).ok_or_else(|| {
            format!("{} is not allowed; a size from {least} to {most} bytes is, as \"16MiB\" or \"4GiB\"", found(value))
        })
    }
}

fn bytes(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Result<T, String> {
    move |value| {
        let read = value.as_str().and_then(|text| words.iter().find(|(word, _)| *word == text));
        read.map(|(_, value)| *value).ok_or_else(|| {
            let allowed: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            format!("{} is not allowed; one of {} is", found(value), allowed.join(", "))
        })
    }
}
