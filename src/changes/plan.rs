//! From what somebody wants to the cells that change: find and replace, a festival, a table that is uploaded.
//!
//! Owns how these are meant. Nothing is written here, and nothing is checked for good: a plan is the draft of a set, and the
//! set is checked against the tables and the rules when it is shown and when it is applied.

use std::collections::{BTreeSet, HashMap, HashSet};

use url::Url;

use super::model::MAX_CELLS;
use crate::core::{Problem, Problems, file_name};
use crate::registry::Rules;
use crate::source::{CellChange, Cells, Files, Sources, TableName, Upload};

/// How often an upload is checked anew without its rows that break a rule: each time some thousand of them are found, or
/// those that need one which was found before.
const MOST_CHECKS: usize = 40;

/// Why a plan can't be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The tables, or what was uploaded, can't be read.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// What is looked for, or what is to take its place, is no host and no prefix of a URL, or one is this and
    /// the other that.
    #[error("expected a host, or the beginning of a URL, in both places, found {0:?}")]
    Find(String),
}

/// What is looked for in targets, and what takes its place.
///
/// A host is that of the URL, however it is spelled, and of no URL below it; the rest of the URL stays as it is written.
/// The beginning of a URL is compared as it is typed, but for the case of scheme and host, and ends where a part of the URL
/// does: `https://example.vn/vi/duong` is no beginning of `https://example.vn/vi/duong-pho`. With or without a slash
/// at its end, the rest is joined by one.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// A host, `old.langson.gov.vn`, or the beginning of a URL, `https://langson.gov.vn/vi/duong-pho/`.
    pub find: String,
    /// The same kind of thing.
    pub replace: String,
}

/// How an uploaded table is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportKind {
    /// The whole table: rows that it lacks go.
    Whole,
    /// Only rows that change or are new.
    Rows,
}

/// A row of an upload that is not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its line, from 1; 0 for what concerns the whole upload.
    pub line: u64,
    /// The row's key, as far as there is one.
    pub key: String,
    /// Why.
    pub text: String,
}

// === find and replace ===

/// The cells with targets that change, of the rows that `is_selected` names by table and key.
pub fn replace(
    tables: &Sources,
    replacement: &Replacement,
    is_selected: impl Fn(TableName, &str) -> bool,
) -> Result<Vec<CellChange>, PlanError> {
    let finder = Finder::new(replacement)?;
    let mut changes = Vec::new();
    for table in TableName::ALL {
        let cells = tables.cells(table)?;
        let columns =
            cells.columns().iter().filter(|column| column.as_str() == "target" || column.starts_with("target:"));
        let columns: Vec<&String> = columns.collect();
        for key in cells.keys().filter(|key| is_selected(table, key)) {
            for column in &columns {
                let Some(old) = cells.get(key, column) else { continue };
                if let Some(new) = finder.replaced(old).filter(|new| new != old) {
                    let (key, column) = (key.to_owned(), (*column).clone());
                    changes.push(CellChange { table, key, column, old: Some(old.to_owned()), new: Some(new) });
                }
            }
        }
    }
    Ok(changes)
}

/// A replacement that was read.
enum Finder<'r> {
    Host { find: String, replace: &'r str },
    Prefix { find: &'r str, replace: &'r str },
}

impl<'r> Finder<'r> {
    fn new(replacement: &'r Replacement) -> Result<Self, PlanError> {
        let (find, replace) = (replacement.find.trim(), replacement.replace.trim());
        let wrong = |text: &str| PlanError::Find(text.to_owned());
        if find.contains("://") {
            for text in [find, replace] {
                // Without the rest of a URL, a port or user info would be cut in two.
                let is_prefix = !text.contains(char::is_whitespace) && Url::parse(text).is_ok_and(|url| url.has_host());
                if !is_prefix || !text.contains("://") {
                    return Err(wrong(text));
                }
            }
            return Ok(Self::Prefix { find, replace });
        }
        host(replace).ok_or_else(|| wrong(replace))?;
        Ok(Self::Host { find: host(find).ok_or_else(|| wrong(find))?, replace })
    }

    /// A target with what was found replaced; `None` where it is not found.
    fn replaced(&self, target: &str) -> Option<String> {
        match self {
            Self::Host { find, replace } => {
                let url = Url::parse(target).ok()?;
                if url.host_str() != Some(find) {
                    return None;
                }
                let start = target.find("://")? + 3;
                let authority = &target[start..origin_end(target)];
                // Of an address in brackets the colons are no port's.
                let name = authority.rfind(':').filter(|&at| !authority[at..].contains(']'));
                let end = start + name.unwrap_or(authority.len());
                // User info is refused by the rules, and would be taken for a part of the host here.
                (!authority.contains('@')).then(|| format!("{}{replace}{}", &target[..start], &target[end..]))
            }
            Self::Prefix { find, replace } => {
                let origin = origin_end(find);
                let (target_origin, target_rest) = target.split_at_checked(origin)?;
                if !target_origin.eq_ignore_ascii_case(&find[..origin]) {
                    return None;
                }
                let rest = target_rest.strip_prefix(&find[origin..])?;
                if rest.is_empty() {
                    return Some((*replace).to_owned());
                }
                let ends_a_part = find[origin..].ends_with(['/', '?', '#', '=', '&']);
                if !ends_a_part && !rest.starts_with(['/', '?', '#', '&']) {
                    return None;
                }
                let has_slash = find[origin..].ends_with('/');
                Some(match (has_slash, rest.starts_with('/')) {
                    (true, _) => format!("{}/{rest}", replace.trim_end_matches('/')),
                    (false, true) => format!("{}{rest}", replace.trim_end_matches('/')),
                    (false, false) => format!("{replace}{rest}"),
                })
            }
        }
    }
}

/// A host as URLs have it; `None` for a text that is more or less than one.
fn host(text: &str) -> Option<String> {
    let is_plain = !text.is_empty() && !text.contains(|c: char| "/\\?#@%".contains(c) || c.is_whitespace());
    let url = Url::parse(&format!("https://{text}/")).ok().filter(|_| is_plain)?;
    // A colon is that of a port, but in an address in brackets.
    let has_port = text.rfind(':').is_some_and(|at| !text[at..].contains(']'));
    Some(url.host_str()?.to_owned()).filter(|_| !has_port)
}

/// Where the host of a URL, and its port, have ended.
fn origin_end(url: &str) -> usize {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find(['/', '?', '#', '\\']).map_or(url.len(), |at| start + at)
}

// === a festival ===

/// Rows of `overrides.csv`: for each scope (a place or a code), from one time until another, to the targets of the
/// languages (column and URL).
#[must_use]
pub fn festival(
    scopes: &[String],
    from: &str,
    until: &str,
    targets: &[(String, String)],
    note: &str,
) -> Vec<CellChange> {
    let targets = targets.iter().map(|(column, url)| (column.as_str(), url.as_str()));
    let cells: Vec<(&str, &str)> = [("until", until)].into_iter().chain(targets).chain([("note", note)]).collect();
    let mut seen = HashSet::new();
    let scopes = scopes.iter().map(|scope| scope.trim()).filter(|scope| !scope.is_empty() && seen.insert(*scope));
    let mut changes = Vec::new();
    for scope in scopes {
        for (column, text) in cells.iter().filter(|(_, text)| !text.trim().is_empty()) {
            changes.push(CellChange {
                table: TableName::Overrides,
                key: format!("{scope} {}", from.trim()),
                column: (*column).to_owned(),
                old: None,
                new: Some(text.trim().to_owned()),
            });
        }
    }
    changes
}

// === import ===

/// What an uploaded table changes, and its rows that are refused. Columns that it lacks stay as they are. The rest of the
/// set is checked as always: what a row of the upload breaks in another row, or takes away from it, is shown there.
pub fn import(
    tables: &Sources,
    table: TableName,
    upload: &[u8],
    kind: ImportKind,
    files: &Files,
    rules: &Rules,
) -> Result<(Vec<CellChange>, Vec<Refused>), PlanError> {
    let upload = tables.read_upload(table, upload)?;
    let cells = tables.cells(table)?;
    let mut import = Import { table, lines: HashMap::new(), changes: Vec::new(), refused: Vec::new() };
    import.take_rows(&upload, &cells);
    if kind == ImportKind::Whole {
        import.take_out(&upload, &cells);
    }
    let file = &file_name(files.paths()[table as usize]);
    let whole = |text: String| {
        let mut problems = Problems::default();
        problems.add(file, 0, "", text);
        PlanError::Problems(problems)
    };
    if import.changes.len() > MAX_CELLS {
        let found = import.changes.len();
        return Err(whole(format!("expected an upload that changes at most {MAX_CELLS} cells, found {found}")));
    }
    let mut checks = 0;
    while import.refuse_broken(tables, files, rules, file)? {
        checks += 1;
        if checks == MOST_CHECKS {
            let found = import.refused.len();
            return Err(whole(format!(
                "expected an upload of which most rows can be taken, found {found} that can't and more behind them"
            )));
        }
    }
    import.refused.sort_by_key(|refused| refused.line);
    Ok((import.changes, import.refused))
}

/// An import in the making.
struct Import {
    table: TableName,
    /// The line of each row that is taken, by its key.
    lines: HashMap<String, u64>,
    changes: Vec<CellChange>,
    refused: Vec<Refused>,
}

impl Import {
    fn take_rows(&mut self, upload: &Upload, cells: &Cells) {
        for problem in &upload.unreadable {
            self.refuse(problem.line, "", told(problem));
        }
        let mut first: HashMap<&str, u64> = HashMap::new();
        let mut twice: HashSet<&str> = HashSet::new();
        for row in &upload.rows {
            let Ok(key) = &row.key else { continue };
            if first.insert(key, row.line).is_some() {
                twice.insert(key);
            }
        }
        for row in &upload.rows {
            let key = match &row.key {
                Ok(key) => key,
                Err(text) => {
                    self.refuse(row.line, "", text.clone());
                    continue;
                }
            };
            if twice.contains(key.as_str()) {
                self.refuse(row.line, key, "expected each row once in the upload, found several with this key");
            } else if cells.is_ambiguous(key) {
                self.refuse(row.line, key, "expected one row with this key in the table, found several");
            } else {
                self.take_row(key, row.line, upload.columns.iter().zip(&row.cells), cells);
            }
        }
    }

    fn take_row<'u>(
        &mut self,
        key: &str,
        line: u64,
        uploaded: impl Iterator<Item = (&'u String, &'u String)>,
        cells: &Cells,
    ) {
        let is_new = !cells.has(key);
        self.lines.insert(key.to_owned(), line);
        for (column, new) in uploaded {
            // The cells of the key are those of the row that is there; a new row has them, so that it is one.
            let is_key = self.table.key_columns().contains(&column.as_str());
            let old = cells.get(key, column);
            let is_same = if is_new {
                new.is_empty()
            } else {
                is_key || old.is_some_and(|old| old.replace("\r\n", "\n") == *new)
            };
            if !is_same {
                let old = old.map(str::to_owned);
                self.change(key, column, old, Some(new.clone()));
            }
        }
    }

    /// Takes out the rows that the upload lacks: none where a row of it can't be told.
    fn take_out(&mut self, upload: &Upload, cells: &Cells) {
        let unknown = upload.unreadable.len() + upload.rows.iter().filter(|row| row.key.is_err()).count();
        let kept: HashSet<&str> = upload.rows.iter().filter_map(|row| row.key.as_deref().ok()).collect();
        let gone: BTreeSet<&str> = cells.keys().filter(|key| !kept.contains(key) && !cells.is_ambiguous(key)).collect();
        if unknown > 0 && !gone.is_empty() {
            let text = format!(
                "expected a key in each row, found {unknown} rows without; they may be some of the {} that the upload \
                 lacks, so that none of these is taken out",
                gone.len()
            );
            self.refuse(0, "", text);
            return;
        }
        for key in cells.keys().filter(|key| gone.contains(key)) {
            for column in cells.columns() {
                let is_key = self.table.key_columns().contains(&column.as_str());
                let old = cells.get(key, column).filter(|old| is_key || !old.is_empty());
                if let Some(old) = old {
                    self.change(key, column, Some(old.to_owned()), None);
                }
            }
        }
    }

    /// Refuses the rows of the upload that no table can hold, or that break a rule; whether there were any.
    fn refuse_broken(&mut self, tables: &Sources, files: &Files, rules: &Rules, file: &str) -> Result<bool, PlanError> {
        let mut broken: Vec<(String, String)> = Vec::new();
        match tables.edit(&self.changes) {
            Err(conflicts) => {
                for conflict in conflicts {
                    let text = format!("{}: expected a text that a cell can hold", conflict.change.column);
                    broken.push((conflict.change.key, text));
                }
            }
            Ok(next) => {
                let problems = next.parse(files, rules).err().unwrap_or_default().list;
                let cells = next.cells(self.table)?;
                for problem in problems.into_iter().filter(|problem| problem.file == file) {
                    if let Some(key) = cells.key_at(problem.line) {
                        broken.push((key.to_owned(), told(&problem)));
                    }
                }
            }
        }
        let changed: HashSet<&str> = self.changes.iter().map(|change| change.key.as_str()).collect();
        broken.retain(|(key, _)| changed.contains(key.as_str()) && self.lines.contains_key(key));
        let keys: HashSet<String> = broken.iter().map(|(key, _)| key.clone()).collect();
        for (key, text) in broken {
            let line = self.lines.get(&key).copied().unwrap_or(0);
            self.refuse(line, &key, text);
        }
        self.changes.retain(|change| !keys.contains(&change.key));
        Ok(!keys.is_empty())
    }

    fn change(&mut self, key: &str, column: &str, old: Option<String>, new: Option<String>) {
        let (table, key, column) = (self.table, key.to_owned(), column.to_owned());
        self.changes.push(CellChange { table, key, column, old, new });
    }

    fn refuse(&mut self, line: u64, key: &str, text: impl Into<String>) {
        self.refused.push(Refused { line, key: key.to_owned(), text: text.into() });
    }
}

/// A problem without its place.
fn told(problem: &Problem) -> String {
    if problem.key.is_empty() { problem.text.clone() } else { format!("{}: {}", problem.key, problem.text) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::core::Tag;
    use crate::registry::HostPattern;

    fn rules() -> Rules {
        Rules {
            default_language: Tag::from("vi").expect("short"),
            timezone: jiff::tz::TimeZone::UTC,
            allowed_hosts: ["example.vn", "*.example.vn"]
                .map(|text| HostPattern::parse(text).expect("a pattern"))
                .to_vec(),
            allow_http: false,
            public_host: "qr.example.vn".to_owned(),
        }
    }

    fn files() -> Files {
        let [places, signs, overrides] = ["places.csv", "signs.csv", "overrides.csv"].map(PathBuf::from);
        Files { places, signs, overrides }
    }

    fn tables() -> Sources {
        let places = "place,name,target,target:en,note\n\
                      one,Một,https://old.example.vn/vi/duong,https://old.example.vn:8443/en?x=old.example.vn,\n\
                      two,Hai,https://OLD.example.vn/vi/duong-pho/2,,\n\
                      three,Ba,https://example.vn/old.example.vn/,,\n";
        let signs = "code,place,status,target,successor\n7K3M-9QX5,one,active,,\nA1,two,retired,,7K3M-9QX5\n";
        let overrides = "scope,from,until,target\none,2027-01-01T00:00,2027-01-02T00:00,https://old.example.vn/x\n";
        let [places, signs, overrides] = [places, signs, overrides].map(|text| text.as_bytes().to_vec());
        Sources { places, signs, overrides }
    }

    fn replaced(find: &str, replace: &str) -> Vec<String> {
        let replacement = Replacement { find: find.to_owned(), replace: replace.to_owned() };
        let changes =
            super::replace(&tables(), &replacement, |table, _| table != TableName::Overrides).expect("a plan");
        tables().edit(&changes).expect("they fit");
        changes
            .into_iter()
            .map(|change| format!("{} {} {}", change.key, change.column, change.new.expect("a text")))
            .collect()
    }

    #[test]
    fn a_host_is_replaced_where_it_is_the_host_and_nowhere_else() {
        assert_eq!(
            replaced("old.example.vn", "new.example.vn"),
            [
                "one target https://new.example.vn/vi/duong",
                "one target:en https://new.example.vn:8443/en?x=old.example.vn",
                "two target https://new.example.vn/vi/duong-pho/2",
            ]
        );
        assert_eq!(replaced("d.example.vn", "x.example.vn"), [""; 0]);
        let replacement = Replacement { find: "old.example.vn".to_owned(), replace: "example.vn".to_owned() };
        let only = |table: TableName, key: &str| table == TableName::Overrides && key == "one 2027-01-01T00:00";
        assert_eq!(super::replace(&tables(), &replacement, only).expect("a plan").len(), 1);
    }

    #[test]
    fn the_beginning_of_a_url_ends_where_a_part_of_it_does() {
        let one = ["one target https://example.vn/street"];
        assert_eq!(replaced("https://old.example.vn/vi/duong", "https://example.vn/street"), one);
        let two = ["two target https://example.vn/x/2"];
        for find in ["https://old.example.vn/vi/duong-pho/", "https://old.example.vn/vi/duong-pho"] {
            for replace in ["https://example.vn/x/", "https://example.vn/x"] {
                assert_eq!(replaced(find, replace), two);
            }
        }
        let whole = ["one target https://example.vn/vi/duong", "two target https://example.vn/vi/duong-pho/2"];
        assert_eq!(replaced("HTTPS://old.example.vn", "https://example.vn/"), whole);
        assert_eq!(
            replaced("https://old.example.vn:8443/en?x=", "https://example.vn/?y="),
            ["one target:en https://example.vn/?y=old.example.vn"]
        );
    }

    #[test]
    fn what_is_neither_a_host_nor_a_beginning_is_refused() {
        for (find, replace, wrong) in [
            ("", "example.vn", ""),
            ("example.vn", "", ""),
            ("example.vn/vi", "example.vn", "example.vn/vi"),
            ("example.vn:80", "example.vn", "example.vn:80"),
            ("a@example.vn", "example.vn", "a@example.vn"),
            ("example.vn", "https://example.vn/", "https://example.vn/"),
            ("https://example.vn/", "example.vn", "example.vn"),
            ("https://", "https://example.vn/", "https://"),
            ("data:text/html,://x", "https://example.vn/", "data:text/html,://x"),
        ] {
            let replacement = Replacement { find: find.to_owned(), replace: replace.to_owned() };
            match super::replace(&tables(), &replacement, |_, _| true) {
                Err(PlanError::Find(found)) => assert_eq!(found, wrong, "{find} {replace}"),
                other => panic!("{find} {replace}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_festival_is_a_row_for_each_place_that_the_rules_take() {
        let targets =
            [("target", "https://example.vn/tet"), ("target:en", "https://example.vn/en/tet"), ("target:zh", "")];
        let targets = targets.map(|(column, url)| (column.to_owned(), url.to_owned()));
        let scopes = ["two", "7K3M9QX5", " two "].map(str::to_owned);
        let changes = festival(&scopes, "2027-02-27T00:00", "2027-03-05T00:00", &targets, "Lễ hội");
        let next = tables().edit(&changes).expect("they fit");
        next.parse(&files(), &rules()).expect("they are valid");
        let rows = "2027-02-27T00:00,2027-03-05T00:00,https://example.vn/tet,https://example.vn/en/tet,Lễ hội\n";
        let text = String::from_utf8(next.overrides).expect("UTF-8");
        assert!(text.ends_with(&format!("\ntwo,{rows}7K3M-9QX5,{rows}")), "{text}");
    }

    fn imported(table: TableName, upload: &[u8], kind: ImportKind) -> (Sources, Vec<CellChange>, Vec<String>) {
        let (changes, refused) = import(&tables(), table, upload, kind, &files(), &rules()).expect("it can be read");
        let refused = refused.into_iter().map(|row| format!("{} {} {}", row.line, row.key, row.text)).collect();
        (tables().edit(&changes).expect("they fit"), changes, refused)
    }

    #[test]
    fn an_upload_of_what_is_there_changes_nothing_however_it_is_spelled() {
        for (table, upload) in [(TableName::Places, tables().places), (TableName::Signs, tables().signs)] {
            let upload = String::from_utf8(upload).expect("UTF-8");
            let other =
                format!("\u{feff}{}", upload.replace(',', ";").replace('\n', "\r\n").replace("7K3M-9QX5", "7k3m9qx5"));
            let spelled = usize::from(table == TableName::Signs);
            assert_eq!(imported(table, upload.as_bytes(), ImportKind::Whole).1, []);
            let (_, changes, refused) = imported(table, other.as_bytes(), ImportKind::Whole);
            // A successor is a cell like others: its spelling is its text.
            assert_eq!((changes.len(), refused.len()), (spelled, 0), "{changes:?} {refused:?}");
        }
    }

    #[test]
    fn a_text_of_several_lines_comes_as_it_was_and_its_column_with_it() {
        let upload = "place,about,about:zh,compiled\r\none,\"'- Dòng một.\r\n\r\n- Dòng hai.\",一,14/3/2026\r\n";
        let (next, changes, refused) = imported(TableName::Places, upload.as_bytes(), ImportKind::Rows);
        assert_eq!((changes.len(), refused.len()), (3, 0), "{refused:?}");
        next.parse(&files(), &rules()).expect("they are valid");
        let cells = next.cells(TableName::Places).expect("a table");
        assert_eq!(cells.get("one", "about"), Some("- Dòng một.\n\n- Dòng hai."));
        assert_eq!((cells.get("one", "about:zh"), cells.get("two", "about:zh")), (Some("一"), Some("")));
        // The same once more, with the line ends of either system: nothing is to be changed.
        for upload in [upload.to_owned(), upload.replace("\r\n", "\n")] {
            let again = import(&next, TableName::Places, upload.as_bytes(), ImportKind::Rows, &files(), &rules());
            assert_eq!(again.expect("it can be read"), (Vec::new(), Vec::new()));
        }
    }

    #[test]
    fn rows_change_only_the_columns_that_the_upload_has() {
        let upload = b"code,target\na1,https://example.vn/'\nB-2,\n";
        let (_, changes, refused) = imported(TableName::Signs, upload, ImportKind::Rows);
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!((changes[0].key.as_str(), changes[0].old.as_deref()), ("A1", Some("")));
        assert_eq!(refused[0], "3 B2 place: expected a place of places.csv, found \"\"");
        let (next, _, refused) =
            imported(TableName::Signs, b"code,place,status\nB2C3D4,two,planned\n", ImportKind::Rows);
        assert_eq!(refused, [""; 0]);
        assert!(next.signs.ends_with(b"B2C3-D4,two,planned,,\n"));
    }

    #[test]
    fn a_whole_table_takes_out_what_it_lacks_unless_a_row_of_it_is_unclear() {
        let (next, _, refused) =
            imported(TableName::Signs, b"code,place,status\n7K3M9QX5,two,active\n", ImportKind::Whole);
        assert_eq!(
            (String::from_utf8(next.signs).expect("UTF-8").as_str(), refused.len()),
            ("code,place,status,target,successor\n7K3M-9QX5,two,active,,\n", 0)
        );
        let upload = b"code,place,status\n1.2E+10,two,active\n";
        let (next, _, refused) = imported(TableName::Signs, upload, ImportKind::Whole);
        assert_eq!(next, tables());
        assert!(refused[0].starts_with("0  expected a key in each row, found 1 rows without"), "{refused:?}");
        assert!(refused[1].contains("a spreadsheet turned into a number"), "{refused:?}");
    }

    #[test]
    fn each_refused_row_has_its_reason_and_the_good_ones_stay() {
        let upload = "place,name,target\n\
                      four,Bốn,https://example.vn/4\n\
                      ,Không,\n\
                      five,Năm,https://evil.com/\n\
                      six,Sáu,https://example.vn/6\n\
                      six,Sáu nữa,https://example.vn/7\n\
                      seven,Bảy\n\
                      eight,\"'=HYPERLINK(\"\"x\"\")\",\n\
                      one,,https://example.vn/1\n";
        let (_, changes, refused) = imported(TableName::Places, upload.as_bytes(), ImportKind::Rows);
        let cells: Vec<_> = changes.iter().map(|change| (change.key.as_str(), change.new.as_deref())).collect();
        assert_eq!(
            cells,
            [
                ("four", Some("four")),
                ("four", Some("Bốn")),
                ("four", Some("https://example.vn/4")),
                ("eight", Some("eight")),
                ("eight", Some("=HYPERLINK(\"x\")")),
            ]
        );
        assert_eq!(
            refused,
            [
                "3  expected the identifier of a place, found \"\"",
                "4 five target: host evil.com is not in allowed_hosts",
                "5 six expected each row once in the upload, found several with this key",
                "6 six expected each row once in the upload, found several with this key",
                "7  expected 3 cells as in the header, found 2",
                "9 one name: expected a name in the default language (vi), found an empty cell",
            ]
        );
    }

    #[test]
    fn a_row_that_needs_a_refused_one_is_refused_too() {
        let upload = b"code,place,status,successor\nB2,two,retired,C3\nC3,none,active,\nD4,two,retired,7K3M9QX5\n";
        let (_, changes, refused) = imported(TableName::Signs, upload, ImportKind::Rows);
        assert!(changes.iter().all(|change| change.key == "D4") && !changes.is_empty(), "{changes:?}");
        assert_eq!(refused.len(), 2, "{refused:?}");
        assert!(refused[0].starts_with("2 B2 successor") && refused[1].starts_with("3 C3 place"), "{refused:?}");
    }

    #[test]
    fn what_is_no_table_is_refused_whole_with_advice() {
        for (upload, advice) in [
            (&b"\xff\xfep\0l\0"[..], "places.csv: expected UTF-8, found UTF-16; save the file as \"CSV UTF-8\""),
            (b"PK\x03\x04...", "places.csv: expected a CSV file, found a workbook; save it as \"CSV UTF-8\""),
            (b"name\nM\n", "places.csv:1: header: expected the columns place, found no \"place\""),
            (b"", "places.csv:1: header: expected the columns place, found no header"),
            (
                b"place,colour\none,red\n",
                "places.csv:1: header: expected one of place, name, name:LANGUAGE, kind, area, target, target:LANGUAGE, \
                 namesake, namesake:LANGUAGE, about, about:LANGUAGE, source, compiled, note, found \"colour\"",
            ),
        ] {
            let error = import(&tables(), TableName::Places, upload, ImportKind::Rows, &files(), &rules());
            assert_eq!(error.expect_err("no table").to_string(), advice);
        }
    }

    #[test]
    fn an_upload_that_would_take_minutes_to_check_is_refused_whole() {
        let upload = |count: usize, header: &str, rest: &str| {
            (0..count).fold(format!("{header}\n"), |text, n| text + &format!("p{n}{rest}\n"))
        };
        for (upload, expected) in [
            (
                upload(50_001, "place,name", ",Tên"),
                "places.csv: expected an upload that changes at most 100000 cells, found 100002",
            ),
            (
                upload(40_001, "place", ""),
                "places.csv: expected an upload of which most rows can be taken, found 40000 that can't and more behind them",
            ),
        ] {
            let error = import(&tables(), TableName::Places, upload.as_bytes(), ImportKind::Rows, &files(), &rules());
            assert_eq!(error.expect_err("too much").to_string(), expected);
        }
    }

    #[test]
    fn twenty_thousand_rows_of_which_most_break_a_rule_are_told_apart() {
        let mut upload = String::from("place,name,target\n");
        for n in 0..20_000 {
            let host = if n % 10 == 0 { "example.vn" } else { "evil.com" };
            upload += &format!("p{n},Tên {n},https://{host}/{n}\n");
        }
        let (next, _, refused) = imported(TableName::Places, upload.as_bytes(), ImportKind::Rows);
        assert_eq!(refused.len(), 18_000);
        assert_eq!(next.cells(TableName::Places).expect("a table").keys().count(), 2_003);
    }
}
