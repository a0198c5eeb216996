//! The step that applies a set, and the thread that does it when it is time.
//!
//! Owns that history, tables and what is served agree, wherever the process ends. The step: reloads wait; the tables
//! are read, and must be those that serve; the cells are changed, and the result is checked as a reload does; what is
//! to be written is noted, durable ([`Intent`]); the tables are written and published; one transaction says that
//! the set is applied and takes the note away. A start finishes what was noted, or undoes it where somebody else has
//! changed a table meanwhile.
//!
//! Where the tables can't be written, nothing of a set is; it stays approved, and is tried again with pauses.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::intent::{Intent, Target};
use super::model::{ChangeError, ChangeSet, Changes, Standing, State, applied, conflicting};
use super::outside::{Known, note};
use crate::core::lock;
use crate::core::{Backoff, Problems};
use crate::history::{Database, DatabaseError};
use crate::registry::Registry;
use crate::source::{
    CellChange, Conflict, Files, Publisher, RegistryError, Sources, TableName, WriteError, Writing, replace_file,
};

/// The longest pause between two looks: a clock that jumps, and a table that somebody changes, are noticed within it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pauses between tries of what fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// Whoever asks for a look waits no longer for it.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// The start waits no longer for tables whose disk does not answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Lines of a remark; how many more there are is said.
const REMARK_LINES: usize = 20;

/// Applies sets that are approved and due, and notices what was changed outside the console.
pub struct Applier {
    database: Arc<Database>,
    changes: Arc<Changes>,
    publisher: Arc<Publisher>,
    files: Files,
    asked: Mutex<Asked>,
    turned: Condvar,
    shown: Mutex<Shown>,
}

/// What others have asked of the thread.
#[derive(Debug, Default)]
struct Asked {
    /// How many looks, and how many of them were made.
    looks: u64,
    made: u64,
    runs: bool,
    stops: bool,
}

#[derive(Debug, Default, Clone)]
struct Shown {
    problem: Option<String>,
    counts: Counts,
}

/// What was done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Sets that were applied.
    pub applied: u64,
    /// Sets that could not be, as a cell had changed or a rule would be broken.
    pub conflicts: u64,
    /// Tries that failed, such as on a read-only folder.
    pub failures: u64,
}

/// Why nothing is applied for now. The sets stay approved.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the tables can't be read: {0}")]
    Tables(#[from] Problems),
    #[error("the tables were edited, and what serves is not what they say yet; change sets wait for a good reload")]
    Unsettled,
    #[error("the tables can't be written: {0}")]
    Write(WriteError),
    #[error("the console's database: {0}")]
    Changes(#[from] ChangeError),
}

impl From<WriteError> for Trouble {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Changed(_) => Self::Unsettled,
            error @ (WriteError::Io { .. } | WriteError::Torn(_)) => Self::Write(error),
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Changes(error.into())
    }
}

/// What the thread remembers from one look to the next.
struct Memory {
    /// The hash of the tables that the history knows; `None` before the first look.
    known: Option<u64>,
    /// A set that serves, with its generations, and that the history could not be told of.
    untold: Option<(i64, (u64, u64))>,
    /// The generation that served at the last look, and how many reloads had taken the tables.
    serving: (u64, u64),
    /// When what failed is tried again.
    again: Option<Instant>,
    pauses: Backoff,
}

/// Where the thread panics, that is shown, and nobody waits for it.
struct BreaksOff<'a>(&'a Applier);

impl Drop for BreaksOff<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.asked).runs = false;
            let text = "the thread that applies change sets broke off; the log says why, and a restart begins it anew";
            lock(&self.0.shown).problem = Some(text.to_owned());
            self.0.turned.notify_all();
        }
    }
}

impl Applier {
    /// Before the tables are read at the start: finishes, in the files, what an end of the process has
    /// interrupted. What can't be finished now, as a table can't be read or written, the thread goes on with later.
    pub fn recover(database: &Database, files: &Files) -> Result<(), DatabaseError> {
        let (intent, known) = noted(database)?;
        let Some(intent) = intent.filter(|intent| !intent.is_written) else { return Ok(()) };
        let number = intent.change_set;
        let Some(tables) = read(files) else {
            tracing::error!(number, "a change set that was being applied can't be finished: the tables can't be read");
            return Ok(());
        };
        let (Target::New(target) | Target::Old(target, _)) = intent.target(&tables, &known);
        if let Err(error) = write_all(files, &tables, &target) {
            tracing::error!(number, %error, "a change set that was being applied can't be finished");
            return Ok(());
        }
        if matches!(intent.target(&target, &known), Target::New(_)) {
            database.write(Intent::written)?;
        }
        tracing::info!(number, "the tables of a change set that was being applied are whole again");
        Ok(())
    }

    /// Does nothing yet.
    pub fn new(database: Arc<Database>, changes: Arc<Changes>, publisher: Arc<Publisher>, files: Files) -> Self {
        let (asked, turned, shown) = Default::default();
        Self { database, changes, publisher, files, asked, turned, shown }
    }

    /// Applies sets when they are due, until [`Self::stop`]. One thread does this.
    pub fn run(&self) {
        let pauses = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut memory = Memory { known: None, untold: None, serving: (0, 0), again: None, pauses };
        let _breaks_off = BreaksOff(self);
        let mut asked = lock(&self.asked);
        asked.runs = true;
        while !asked.stops {
            let looks = asked.looks;
            let is_asked = looks != asked.made;
            drop(asked);
            self.turn(&mut memory, is_asked);
            asked = lock(&self.asked);
            asked.made = looks;
            self.turned.notify_all();
            if !asked.stops && asked.looks == looks {
                asked = self.turned.wait_timeout(asked, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        asked.runs = false;
        drop(asked);
        self.turned.notify_all();
    }

    /// Has it look now, and waits until it has, for two seconds at most: after an approval.
    pub fn look(&self) {
        let mut asked = lock(&self.asked);
        asked.looks += 1;
        let mine = asked.looks;
        self.turned.notify_all();
        let waits = |asked: &mut Asked| asked.runs && asked.made < mine;
        drop(self.turned.wait_timeout_while(asked, LOOK_TIMEOUT, waits));
    }

    /// Ends [`Self::run`]. A set that is being applied is finished before.
    pub fn stop(&self) {
        lock(&self.asked).stops = true;
        self.turned.notify_all();
    }

    /// Why nothing is applied for now; `None` where nothing stands in the way.
    pub fn problem(&self) -> Option<String> {
        lock(&self.shown).problem.clone()
    }

    /// What was done since the start.
    pub fn counts(&self) -> Counts {
        lock(&self.shown).counts
    }

    /// A look, unless it is too early to try again what has failed.
    fn turn(&self, memory: &mut Memory, is_asked: bool) {
        // Tables that are again as they serve make no generation, but a reload that takes them.
        let serving = (self.publisher.current().generation, self.publisher.state().succeeded);
        if is_asked || serving != memory.serving {
            memory.again = None;
            memory.pauses.reset();
        }
        memory.serving = serving;
        if memory.again.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let problem = self.look_once(memory).err().map(|trouble| trouble.to_string());
        let mut shown = lock(&self.shown);
        memory.again = None;
        match &problem {
            None => memory.pauses.reset(),
            Some(problem) => {
                shown.counts.failures += 1;
                memory.again = Some(Instant::now() + memory.pauses.next_pause());
                if shown.problem.as_ref() != Some(problem) {
                    tracing::warn!("change sets wait: {problem}");
                }
            }
        }
        shown.problem = problem;
    }

    fn look_once(&self, memory: &mut Memory) -> Result<(), Trouble> {
        let is_interrupted = "SELECT EXISTS (SELECT 1 FROM intents)";
        let is_interrupted: bool =
            self.database.read(|connection| connection.query_row(is_interrupted, [], |row| row.get(0)))?;
        if is_interrupted {
            memory.known = None;
            match memory.untold {
                Some((number, generations)) => self.served(number, generations, memory)?,
                None => self.finish(memory)?,
            }
        }
        memory.untold = None;
        if memory.known != Some(self.publisher.current().content_hash) {
            let writing = self.publisher.begin_write()?;
            self.note_outside(&writing, memory)?;
        }
        for number in self.changes.due(Timestamp::now())? {
            if lock(&self.asked).stops {
                break;
            }
            self.apply(number, memory)?;
        }
        Ok(())
    }

    /// Has the history know what serves, which must be what the tables are.
    fn note_outside(&self, writing: &Writing<'_>, memory: &mut Memory) -> Result<Arc<Registry>, Trouble> {
        let serving = self.publisher.current();
        if writing.tables.content_hash() != serving.content_hash {
            // By the watch, once they have settled: an editor may be in the middle of it.
            return Err(Trouble::Unsettled);
        }
        if memory.known != Some(serving.content_hash) {
            self.database.write(|transaction| {
                note(transaction, &self.files, &writing.tables, serving.generation, Timestamp::now())
            })?;
            memory.known = Some(serving.content_hash);
        }
        Ok(serving)
    }

    /// The step.
    fn apply(&self, number: i64, memory: &mut Memory) -> Result<(), Trouble> {
        let mut writing = self.publisher.begin_write()?;
        let serving = self.note_outside(&writing, memory)?;
        let before = serving.generation;
        drop(serving);
        // It may have been refused or withdrawn since it was found to be due.
        let Some(set) = self.still_approved(number)? else { return Ok(()) };
        let next = match writing.tables.edit(&set.cells) {
            Ok(next) => next,
            Err(conflicts) => return self.conflict(number, &conflicts_text(&conflicts)),
        };
        if next == writing.tables {
            return self.applied(number, (before, before));
        }
        let registry = match writing.check(&next, set.forced) {
            Ok(registry) => registry,
            Err(refused) => return self.conflict(number, &refusal_text(&refused)),
        };
        let is_begun = self.database.write(|transaction| {
            if Standing::of(transaction, number)?.state != State::Approved {
                return Ok(false);
            }
            Intent::begin(transaction, number, &writing.tables, &next, before)?;
            Ok::<_, ChangeError>(true)
        })?;
        if !is_begun {
            return Ok(());
        }
        if let Err(error) = writing.write(&next) {
            // With half of it in the tables the note stays: by it the next look finishes the set, or undoes it.
            if !matches!(error, WriteError::Torn(_)) {
                self.database.write(Intent::end)?;
            }
            return Err(error.into());
        }
        let after = writing.publish(registry);
        self.served(number, (before, after), memory)?;
        memory.known = Some(next.content_hash());
        Ok(())
    }

    fn still_approved(&self, number: i64) -> Result<Option<ChangeSet>, Trouble> {
        match self.changes.get(number) {
            Ok(set) => Ok(Some(set).filter(|set| set.state == State::Approved)),
            Err(ChangeError::NoSuch(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Finishes what was noted: after a start, or where tables were written in part.
    fn finish(&self, memory: &mut Memory) -> Result<(), Trouble> {
        let (Some(intent), known) = noted(&self.database)? else { return Ok(()) };
        let mut writing = self.publisher.begin_write()?;
        let target = if intent.is_written {
            Target::New(writing.tables.clone())
        } else {
            intent.target(&writing.tables, &known)
        };
        match target {
            Target::New(next) if next == writing.tables => {
                let serving = self.publisher.current();
                let after = if serving.content_hash == next.content_hash() {
                    serving.generation
                } else if intent.target(&known, &known) == Target::New(next.clone()) {
                    // A set that was allowed to lose many signs: the start has not dared to serve it.
                    let registry = writing.check(&next, true).map_err(|_| Trouble::Unsettled)?;
                    writing.publish(registry)
                } else {
                    return Err(Trouble::Unsettled);
                };
                self.served(intent.change_set, (intent.before, after), memory)
            }
            Target::New(next) => match writing.check(&next, true) {
                Ok(registry) => {
                    writing.write(&next)?;
                    let after = writing.publish(registry);
                    self.served(intent.change_set, (intent.before, after), memory)
                }
                // Another table was changed meanwhile, and does not go with it.
                Err(refused) => {
                    let old = intent.without(&writing.tables, &known);
                    put_back(writing, &old)?;
                    self.conflict(intent.change_set, &refusal_text(&refused))
                }
            },
            Target::Old(old, others) => {
                put_back(writing, &old)?;
                let others: Vec<&str> = others.into_iter().map(TableName::as_str).collect();
                let others = others.join(", ");
                let text = format!("{others}: changed outside the console while the set was being applied");
                self.conflict(intent.change_set, &text)
            }
        }
    }

    /// Has the history know of a set that serves. Where that fails it is remembered: what somebody makes of the tables
    /// before it succeeds is a change of its own, and takes nothing from the set.
    fn served(&self, number: i64, generations: (u64, u64), memory: &mut Memory) -> Result<(), Trouble> {
        memory.untold = Some((number, generations));
        self.applied(number, generations)?;
        memory.untold = None;
        Ok(())
    }

    fn applied(&self, number: i64, generations: (u64, u64)) -> Result<(), Trouble> {
        let is_told = self.database.write(|transaction| {
            Known::keep_intent(transaction, generations.1)?;
            Intent::end(transaction)?;
            applied(transaction, number, generations, Timestamp::now())
        })?;
        if is_told {
            lock(&self.shown).counts.applied += 1;
            tracing::info!(number, before = generations.0, after = generations.1, "change set applied");
        }
        Ok(())
    }

    fn conflict(&self, number: i64, why: &str) -> Result<(), Trouble> {
        let is_told = self.database.write(|transaction| {
            Intent::end(transaction)?;
            conflicting(transaction, number, why, Timestamp::now())
        })?;
        if is_told {
            lock(&self.shown).counts.conflicts += 1;
            tracing::warn!(number, "change set not applied: {why}");
        }
        Ok(())
    }
}

impl fmt::Debug for Applier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applier").field("files", &self.files).field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// What was noted and is not finished, and the tables as the history knows them.
fn noted(database: &Database) -> rusqlite::Result<(Option<Intent>, Sources)> {
    database.read(|connection| Ok((Intent::read(connection)?, Known::read(connection)?.unwrap_or_default().tables)))
}

/// The tables; `None` where they can't be read in time. A share that hangs holds up a thread, and not the start.
fn read(files: &Files) -> Option<Sources> {
    let problems = match files.read_within(READ_TIMEOUT, ())? {
        Ok(tables) => return Some(tables),
        Err(problems) => problems,
    };
    tracing::error!("{problems}");
    None
}

/// Writes the tables that differ; after an error none does, as far as that can be done.
fn write_all(files: &Files, tables: &Sources, target: &Sources) -> Result<(), WriteError> {
    let paths = TableName::ALL.into_iter().zip(files.paths());
    let differ: Vec<_> = paths.filter(|&(name, _)| tables.table(name) != target.table(name)).collect();
    for (at, &(name, path)) in differ.iter().enumerate() {
        let Err(error) = replace_file(path, target.table(name)) else { continue };
        for &(name, path) in &differ[..at] {
            if let Err(error) = replace_file(path, tables.table(name)) {
                tracing::error!("{error}");
            }
        }
        return Err(error);
    }
    Ok(())
}

/// Takes back what was written of a set, and has it served where that can be.
fn put_back(mut writing: Writing<'_>, old: &Sources) -> Result<(), Trouble> {
    if writing.tables == *old {
        return Ok(());
    }
    let registry = writing.check(old, true).ok();
    writing.write(old)?;
    if let Some(registry) = registry {
        writing.publish(registry);
    }
    Ok(())
}

/// What stands in the way, a line for each cell.
fn conflicts_text(conflicts: &[Conflict]) -> String {
    let line = |Conflict { change, found, is_ambiguous }: &Conflict| {
        let CellChange { table, key, column, old, .. } = change;
        let cell = format!("{} {key}, {column}", table.as_str());
        let shown = |value: &Option<String>| value.as_ref().map_or("no row".to_owned(), |value| format!("{value:?}"));
        if *is_ambiguous {
            format!("{cell}: expected one row with this key, found several")
        } else {
            format!("{cell}: expected {}, found {}", shown(old), shown(found))
        }
    };
    bounded(conflicts.iter().map(line))
}

/// Of a loss of signs it says what an office can do about it.
fn refusal_text(refused: &RegistryError) -> String {
    if let RegistryError::Shrunk { lost, allowed, signs } = refused {
        return format!(
            "{lost:.1} % of the {signs} signs would be gone; registry.max_shrink allows {allowed:.1} % (if this is \
             meant, make the set anew and say so on its page)"
        );
    }
    bounded(refused.to_string().lines().map(str::to_owned))
}

/// The first lines, and how many more there are.
fn bounded(lines: impl Iterator<Item = String>) -> String {
    let mut lines: Vec<String> = lines.collect();
    let more = lines.len().saturating_sub(REMARK_LINES);
    lines.truncate(REMARK_LINES);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines.join("\n")
}
