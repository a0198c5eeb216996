//! What is wrong in a file that a person wrote: all of it at once, each at its place.

use std::fmt;
use std::path::Path;

/// Problems that are kept in full; those beyond are only counted.
const MAX_PROBLEMS: usize = 1000;

/// A file's last component, as problems name it.
#[must_use]
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// One thing wrong in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// Counted from 1; 0 where the whole file is meant.
    pub line: u64,
    /// The key or column, such as `edge.listen` or `target:en`; empty where the whole line is meant.
    pub key: String,
    /// What is expected, and what was found.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.text)
    }
}

/// Everything wrong with a configuration or a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    /// In the order of the files and lines.
    pub list: Vec<Problem>,
    /// How many more there were than are listed.
    pub more: usize,
}

impl Problems {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds one; `line` 0 means the whole file, an empty `key` the whole line.
    pub fn add(&mut self, file: &str, line: u64, key: &str, text: impl Into<String>) {
        self.push(Problem { file: file.to_owned(), line, key: key.to_owned(), text: text.into() });
    }

    /// Adds one that is made already.
    pub fn push(&mut self, problem: Problem) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// Adds those of others behind these.
    pub fn append(&mut self, others: Self) {
        self.more += others.more;
        others.list.into_iter().for_each(|problem| self.push(problem));
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.list.iter().enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "\n" })?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more problems"),
        }
    }
}

/// How many lines end in some bytes: one less than the number of the line in which the next byte is.
#[must_use]
pub fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
