//! What a change set would do if it were applied now: to the tables, to their rules, and to where signs lead.
//!
//! Owns the comparison. It is made with the tables as they are on the disk, by the same parser and rules as a reload, so
//! that what a page shows before an approval is what happens after it. Nothing is written.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;

use super::areas::scope;
use super::{Parts, Visit};
use crate::core::{Code, Problems};
use crate::registry::{Registry, Rules, SignRef, Status};
use crate::source::{CellChange, Conflict, Files, Sources, TableName};

/// What would come of it.
#[derive(Debug, Default)]
pub(super) struct Preview {
    /// Cells that are no longer as the set expects; where there are any, nothing else is known.
    pub conflicts: Vec<Conflict>,
    /// What would break a rule; where something would, no sign is known to move.
    pub problems: Problems,
    /// Whether the tables break a rule already, without the set.
    pub is_broken_already: bool,
    /// Signs that would lead elsewhere, in the order of the table.
    pub moves: Vec<Move>,
    /// Signs that would be gone,
    pub lost: Vec<Code>,
    /// of so many.
    pub signs: usize,
    /// Whether those are more than `registry.max_shrink` allows.
    pub shrinks: bool,
}

/// A sign that leads elsewhere than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub code: Code,
    /// The identifier of its place, afterwards or else before.
    pub place: String,
    /// From when on; `None`: as soon as the set is applied.
    pub from: Option<Timestamp>,
    pub before: Leads,
    pub after: Leads,
}

/// What somebody who scans a sign gets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Leads {
    /// One page for each language, the default language's first.
    Pages(Vec<(String, String)>),
    /// A page of our own, with what is told of its place in these languages, the default first.
    OwnPage(Vec<String>),
    /// The page that says that it was taken down, and what took its place.
    Retired(Option<Code>),
    /// There is no such sign.
    Nowhere,
}

/// What the tables are checked against, and what serves.
pub(super) struct World<'w> {
    pub serving: &'w Registry,
    pub files: &'w Files,
    pub rules: &'w Rules,
    /// The share of signs that a change may lose: `registry.max_shrink`.
    pub max_shrink: f64,
}

impl<'w> World<'w> {
    /// As it is for somebody who asks for a page.
    pub fn of(visit: &'w Visit<'_>) -> Self {
        let Parts { files, rules, publisher, .. } = visit.parts;
        Self { serving: &visit.registry, files, rules, max_shrink: publisher.max_shrink() }
    }
}

impl Preview {
    /// Of cells that are applied to tables at a time.
    pub fn of(cells: &[CellChange], tables: &Sources, at: Timestamp, world: &World<'_>) -> Self {
        let mut preview = Self { signs: world.serving.signs().len(), ..Self::default() };
        let next = match tables.edit(cells) {
            Ok(next) => next,
            Err(conflicts) => {
                preview.conflicts = conflicts;
                return preview;
            }
        };
        let after = match next.parse(world.files, world.rules) {
            Ok(after) => after,
            Err(problems) => {
                preview.problems = problems;
                preview.is_broken_already = tables.parse(world.files, world.rules).is_err();
                return preview;
            }
        };
        let gone = world.serving.signs().filter(|sign| after.sign(sign.code()).is_none());
        preview.lost = gone.map(SignRef::code).collect();
        preview.shrinks = world.serving.loss(&after) > world.max_shrink;
        preview.moves = moves(cells, [tables, &next], at, [world.serving, &after], world.rules);
        preview
    }

    /// Whether it could be applied, but for the number of signs that it loses.
    pub fn fits(&self) -> bool {
        self.conflicts.is_empty() && self.problems.is_empty()
    }
}

/// The signs whose targets change, each with the first time from which on they do.
fn moves(
    cells: &[CellChange],
    tables: [&Sources; 2],
    at: Timestamp,
    [before, after]: [&Registry; 2],
    rules: &Rules,
) -> Vec<Move> {
    let at = at.as_millisecond();
    let (mut touched_places, mut touched_signs) = (HashSet::new(), HashSet::new());
    for cell in cells {
        let (key, may_be_place) = match cell.table {
            TableName::Places => (cell.key.as_str(), true),
            TableName::Signs => (cell.key.as_str(), false),
            TableName::Overrides => (scope(&cell.key), true),
        };
        if may_be_place {
            touched_places.insert(key);
        }
        if cell.table != TableName::Places {
            touched_signs.extend(key.parse::<Code>());
        }
    }
    let boundaries = boundaries(tables, at, rules);
    let added = after.signs().filter(|sign| before.sign(sign.code()).is_none());
    let mut moves = Vec::new();
    for code in before.signs().chain(added).map(SignRef::code) {
        let (old, new) = (before.sign(code), after.sign(code));
        let place = |sign: Option<SignRef<'_>>| sign.map(|sign| sign.place().id().to_owned());
        let places: Vec<String> = place(new).into_iter().chain(place(old)).collect();
        if !touched_signs.contains(&code) && !places.iter().any(|place| touched_places.contains(place.as_str())) {
            continue;
        }
        let text = code.text();
        let scopes = places.iter().map(String::as_str).chain([text.as_str()]);
        let times: BTreeSet<i64> =
            scopes.filter_map(|scope| boundaries.get(scope)).flatten().copied().chain([at]).collect();
        let differs = times.into_iter().map(|time| (time, leads(old, time), leads(new, time)));
        if let Some((time, before, after)) = differs.into_iter().find(|(_, before, after)| before != after) {
            let from = (time != at).then(|| Timestamp::from_millisecond(time).ok()).flatten();
            let place = places.into_iter().next().unwrap_or_default();
            moves.push(Move { code, place, from, before, after });
        }
    }
    moves
}

/// For each place or code with overrides, before or after, the times to come at which one begins or ends.
fn boundaries(tables: [&Sources; 2], at: i64, rules: &Rules) -> HashMap<String, BTreeSet<i64>> {
    let mut boundaries: HashMap<String, BTreeSet<i64>> = HashMap::new();
    for cells in tables.into_iter().filter_map(|tables| tables.cells(TableName::Overrides).ok()) {
        for key in cells.keys() {
            let times = [key.split_once(' ').map(|(_, from)| from), cells.get(key, "until")];
            let times = times.into_iter().flatten().filter_map(|time| rules.time(time).ok());
            boundaries.entry(scope(key).to_owned()).or_default().extend(times.filter(|&time| time > at));
        }
    }
    boundaries
}

/// Where a sign leads at a time, in milliseconds since the Unix epoch.
fn leads(sign: Option<SignRef<'_>>, at: i64) -> Leads {
    match sign {
        None => Leads::Nowhere,
        Some(sign) if sign.status() == Status::Retired => Leads::Retired(sign.successor().map(SignRef::code)),
        Some(sign) => {
            let pages = sign.targets(at);
            if sign.has_own_page(&pages) {
                return Leads::OwnPage(sign.place().abouts().map(|(language, _)| language.to_owned()).collect());
            }
            Leads::Pages(pages.iter().map(|target| (target.language.to_owned(), target.url.to_owned())).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::trial::{self, change};
    use TableName::{Overrides, Places, Signs};

    const NOON: &str = "2027-01-01T05:00:00Z";

    fn preview(cells: &[CellChange], max_shrink: f64) -> Preview {
        let tables = trial::tables();
        let (serving, files, rules) = (trial::registry(&tables), trial::files(), trial::rules());
        let world = World { serving: &serving, files: &files, rules: &rules, max_shrink };
        Preview::of(cells, &tables, NOON.parse().expect("a time"), &world)
    }

    fn moved(cells: &[CellChange]) -> Vec<(String, Option<String>)> {
        let preview = preview(cells, 0.5);
        assert!(preview.fits(), "{:?} {}", preview.conflicts, preview.problems);
        let moves = preview.moves.into_iter();
        moves.map(|sign| (sign.code.to_string(), sign.from.map(|from| from.to_string()))).collect()
    }

    #[test]
    fn a_place_moves_those_of_its_signs_that_have_no_target_of_their_own() {
        let cells = [change(Places, "p1", "target", "https://langson.gov.vn/1", "https://langson.gov.vn/new")];
        assert_eq!(moved(&cells), [("AAAA1111".to_owned(), None)]);
    }

    #[test]
    fn a_festival_moves_signs_from_its_beginning_on() {
        let row = [("until", "2027-02-02T00:00"), ("target", "https://langson.gov.vn/tet")];
        let cells = row.map(|(column, new)| CellChange {
            table: Overrides,
            key: "p1 2027-02-01T00:00".to_owned(),
            column: column.to_owned(),
            old: None,
            new: Some(new.to_owned()),
        });
        let from = Some("2027-01-31T17:00:00Z".to_owned());
        assert_eq!(moved(&cells), [("AAAA1111".to_owned(), from.clone()), ("AAAA2222".to_owned(), from)]);
    }

    #[test]
    fn a_target_under_an_override_moves_signs_when_that_ends() {
        let cells = [change(Places, "p2", "target", "https://langson.gov.vn/2", "https://langson.gov.vn/new")];
        assert_eq!(moved(&cells), [("BBBB2222".to_owned(), Some("2027-01-09T17:00:00Z".to_owned()))]);
    }

    #[test]
    fn a_sign_that_is_taken_down_moves() {
        let preview = preview(&[change(Signs, "AAAA1111", "status", "active", "retired")], 0.5);
        assert_eq!(preview.moves.len(), 1);
        assert_eq!(preview.moves[0].after, Leads::Retired(None));
    }

    #[test]
    fn a_text_answers_where_the_last_target_goes_and_a_target_takes_over() {
        let tables = Sources {
            places:
                "place,name,target,about,about:en\np1,Một,https://langson.gov.vn/1,Kể chuyện.,\np2,Hai,,Kể.,Told.\n"
                    .into(),
            signs: "code,place,status\nAAAA-1111,p1,active\nBBBB-2222,p2,active\nCCCC-4444,p2,retired\n".into(),
            overrides: Vec::new(),
        };
        let (serving, files, rules) = (trial::registry(&tables), trial::files(), trial::rules());
        let world = World { serving: &serving, files: &files, rules: &rules, max_shrink: 0.5 };
        let moves = |cells: &[CellChange]| {
            let preview = Preview::of(cells, &tables, NOON.parse().expect("a time"), &world);
            assert!(preview.fits(), "{:?} {}", preview.conflicts, preview.problems);
            preview.moves.into_iter().map(|sign| (sign.before, sign.after)).collect::<Vec<_>>()
        };
        let page = |url: &str| Leads::Pages(vec![("vi".to_owned(), url.to_owned())]);
        let own = |tags: &[&str]| Leads::OwnPage(tags.iter().map(|&tag| tag.to_owned()).collect());
        let away = change(Places, "p1", "target", "https://langson.gov.vn/1", "");
        assert_eq!(moves(&[away]), [(page("https://langson.gov.vn/1"), own(&["vi"]))]);
        let filled = change(Places, "p2", "target", "", "https://langson.gov.vn/2");
        assert_eq!(moves(&[filled]), [(own(&["vi", "en"]), page("https://langson.gov.vn/2"))]);
        // Another text is the same page; a text in one language more is another one for who reads that.
        assert_eq!(moves(&[change(Places, "p2", "about", "Kể.", "Kể thêm.")]), []);
        assert_eq!(moves(&[change(Places, "p2", "about:en", "Told.", "")]), [(own(&["vi", "en"]), own(&["vi"]))]);
        assert_eq!(moves(&[change(Places, "p1", "about:en", "", "Told.")]), [], "its target answers");
    }

    #[test]
    fn a_note_moves_nothing() {
        assert_eq!(moved(&[change(Places, "p1", "note", "", "=HYPERLINK(\"x\")")]), []);
    }

    #[test]
    fn what_breaks_a_rule_is_told_with_line_and_column() {
        let preview =
            preview(&[change(Places, "p1", "target", "https://langson.gov.vn/1", "https://example.com/")], 0.5);
        let told: Vec<String> = preview.problems.list.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["places.csv:2: target: host example.com is not in allowed_hosts"]);
        assert!(!preview.is_broken_already && preview.moves.is_empty());
    }

    #[test]
    fn a_cell_that_has_changed_since_is_a_conflict() {
        let preview = preview(&[change(Places, "p1", "target", "https://langson.gov.vn/0", "https://x/")], 0.5);
        assert_eq!(preview.conflicts.len(), 1);
        assert_eq!(preview.conflicts[0].found.as_deref(), Some("https://langson.gov.vn/1"));
    }

    #[test]
    fn signs_that_would_be_gone_are_counted() {
        let tables = trial::tables();
        let row = tables.cells(Signs).expect("a table");
        let gone: Vec<CellChange> = row
            .columns()
            .iter()
            .map(|column| CellChange {
                table: Signs,
                key: "AAAA1111".to_owned(),
                column: column.clone(),
                old: row.get("AAAA1111", column).map(str::to_owned),
                new: None,
            })
            .collect();
        let preview = |max_shrink| preview(&gone, max_shrink);
        assert_eq!(preview(0.5).lost, ["AAAA1111".parse().expect("a code")]);
        assert_eq!((preview(0.5).shrinks, preview(0.1).shrinks, preview(0.1).signs), (false, true, 4));
        assert_eq!(preview(0.5).moves[0].after, Leads::Nowhere);
    }
}
