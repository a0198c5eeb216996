//! From changed files to a new generation, or to a refusal that leaves the old one serving.
//!
//! Owns the publishing. The files' folders are watched and also polled, because
//! neither is enough: an event is lost on a network share and when a folder is
//! swapped, and a poll cannot know that a writer has only paused. A table that is
//! being edited in place is read once its writer has closed it. One that hangs, never
//! settles or is no file keeps the contents that serve (from the last-known-good copy),
//! so that edits of the others are published. Nobody who looks at the state waits for a
//! read, and old generations are freed here, never on a worker.

use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::files::{Files, Sources, TABLES, Trouble};
use super::last_good::LastGood;
use super::rules::Rules;
use super::tables::{SETTLE, Standing, Table};
use super::{Hasher, Registry};
use crate::core::{Problems, Published};

/// A table that changes under our hands is read again so many times; then it is a problem.
const TRIES: usize = 10;
/// Problems of a new set that are logged; `/status` and `waypost check` show more.
const LOGGED: usize = 5;

/// Why there is no new generation.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// The files have problems.
    #[error("{0}")]
    Refused(Problems),
    /// Too many signs are gone for it to be meant.
    #[error(
        "{lost:.1} % of the {signs} signs would be gone; registry.max_shrink allows {allowed:.1} % \
         (if this is meant: POST /reload?force=true on the admin port)"
    )]
    Shrunk {
        /// Percent of signs lost.
        lost: f64,
        /// Percent allowed.
        allowed: f64,
        /// Signs before.
        signs: usize,
    },
}

/// What a reload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The files are those of the generation that serves.
    Unchanged,
    /// A new generation serves.
    Published,
}

/// How the registry stands, for `/status` and the metrics.
#[derive(Debug, Clone)]
pub struct State {
    /// Whether the last attempt to read the files succeeded.
    pub last_reload_successful: bool,
    /// When it last did; `None` if the files have never been good since the start.
    pub last_success: Option<Timestamp>,
    /// What was wrong the last time.
    pub problems: Vec<String>,
    /// Whether the generation that serves comes from the last-known-good copy.
    pub from_last_good: bool,
    /// Tables that nothing waits for any more: they change all the time, or do not answer.
    pub unsettled: Vec<String>,
    /// Reloads that published or found nothing new, since the start.
    pub succeeded: u64,
    /// Reloads that were refused, since the start.
    pub refused: u64,
}

/// Reads, checks and publishes generations.
pub struct Publisher {
    files: Files,
    rules: Rules,
    max_shrink: f64,
    last_good: LastGood,
    published: Published<Registry>,
    tables: [Table; 3],
    /// Told when a table may have changed.
    arrived: Arc<Notify>,
    /// Held for moments only: `/status` and `/metrics` read it.
    state: Mutex<Told>,
    /// Held by the one reload that runs.
    reloading: Mutex<()>,
    /// What the last-known-good copy does not have yet.
    to_keep: Mutex<Option<Sources>>,
}

/// The state, and which problems the log has told of it.
struct Told {
    state: State,
    problems: Option<u64>,
}

/// When tables are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// As they are, because somebody asks for it.
    Now,
    /// As those are that have settled.
    Settled,
}

/// What came of a reload, and the problems of tables that were left as they had been.
type Outcome = (Result<Reload, RegistryError>, Problems);

impl Publisher {
    /// Publishes the first generation: of the files, or else of the last-known-good copy. Writes
    /// nothing: see [`Self::keep_copy`].
    pub fn open(files: Files, rules: Rules, max_shrink: f64, last_good: LastGood) -> Result<Self, RegistryError> {
        let arrived = Arc::new(Notify::new());
        let tables = TABLES.map(|at| Table::new(at, files.paths()[at], arrived.clone()));
        // Of the copy its number and hash, and the rest only where it is needed: it is as long as the tables.
        let kept = load(&last_good).map(|(generation, sources)| (generation, sources.content_hash()));
        let parse_kept = || {
            let (generation, sources) = load(&last_good)?;
            let mut registry = sources.parse(&files, &rules).ok()?;
            (registry.generation, registry.content_hash) = (generation, sources.content_hash());
            Some(registry)
        };
        let mut problems = Problems::default();
        let read = gather(&tables, When::Now);
        for (table, read) in tables.iter().zip(&read) {
            if let Err(trouble) = read {
                trouble.tell(&table.path, &mut problems);
            }
        }
        let read = if problems.is_empty() { Ok(sources(read.map(Result::unwrap_or_default))) } else { Err(problems) };
        let read = read.and_then(|sources| Ok((sources.parse(&files, &rules)?, sources)));
        let read = read.map_err(RegistryError::Refused).and_then(|(mut registry, sources)| {
            registry.content_hash = sources.content_hash();
            match kept {
                Some((generation, hash)) if hash == registry.content_hash => {
                    registry.generation = generation;
                    return Ok((registry, None));
                }
                Some((generation, _)) => {
                    if let Some(kept) = parse_kept() {
                        refuse_shrinking(&kept, &registry, max_shrink)?;
                    }
                    registry.generation = after(generation);
                }
                None => registry.generation = after(0),
            }
            Ok((registry, Some(sources)))
        });
        let mut told = Told { state: State::good(), problems: None };
        let (registry, to_keep) = match read {
            Ok(read) => read,
            Err(error) => {
                let Some(registry) = parse_kept() else { return Err(error) };
                told.take(&Err(error), &Problems::default());
                told.state.last_success = None;
                told.state.from_last_good = true;
                told.state.succeeded = 0;
                (registry, None)
            }
        };
        Ok(Self {
            files,
            rules,
            max_shrink,
            last_good,
            published: Published::new(registry),
            tables,
            arrived,
            state: Mutex::new(told),
            reloading: Mutex::default(),
            to_keep: Mutex::new(to_keep),
        })
    }

    /// Writes the last-known-good copy of what serves, if that is newer. After [`Self::open`] it is
    /// called once it is sure that no other process serves from the copy.
    pub fn keep_copy(&self) {
        let sources = lock(&self.to_keep).take();
        if let Some(sources) = sources {
            save(&self.last_good, self.current().generation, &sources);
        }
    }

    /// A view of the generation that serves; a worker asks it whether there is a newer one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Registry>> {
        self.published.subscribe()
    }

    /// The generation that serves.
    #[must_use]
    pub fn current(&self) -> Arc<Registry> {
        self.published.current()
    }

    /// How the registry stands. Never waits for a read.
    #[must_use]
    pub fn state(&self) -> State {
        let mut state = lock(&self.state).state.clone();
        let late = |table: &&Table| matches!(table.standing(), Standing::NeverSettles | Standing::Hangs);
        state.unsettled = self.tables.iter().filter(late).map(Table::name).collect();
        state
    }

    /// Reads the files and publishes them, or refuses them whole. Blocks for as long
    /// as they take to read, but not for one that hangs; one reload at a time. `force` allows any
    /// loss of signs.
    pub fn reload(&self, force: bool) -> Result<Reload, RegistryError> {
        self.reload_when(When::Now, force).unwrap_or(Ok(Reload::Unchanged))
    }

    /// `None` where it is too early.
    fn reload_when(&self, when: When, force: bool) -> Option<Result<Reload, RegistryError>> {
        let one_at_a_time = lock(&self.reloading);
        let (result, left) = self.try_reload(when, force)?;
        lock(&self.state).take(&result, &left);
        // Serving comes first: a disk that hangs delays no target that can be had.
        self.keep_copy();
        drop(one_at_a_time);
        self.free_old();
        Some(result)
    }

    fn try_reload(&self, when: When, force: bool) -> Option<Outcome> {
        let mut read = gather(&self.tables, when);
        // Of tables that are left as they had been, and of those that are bad.
        let (mut left, mut bad) = (Problems::default(), Problems::default());
        for (table, read) in self.tables.iter().zip(&read) {
            match read {
                Ok(_) => {}
                Err(Trouble::Changed) if when == When::Settled => {
                    if table.standing() != Standing::NeverSettles {
                        return None;
                    }
                }
                Err(trouble @ (Trouble::Hangs | Trouble::NotAFile(_))) => trouble.tell(&table.path, &mut left),
                Err(trouble) => trouble.tell(&table.path, &mut bad),
            }
        }
        if !bad.is_empty() {
            bad.append(left);
            return Some((Err(RegistryError::Refused(bad)), Problems::default()));
        }
        let current = self.current();
        if read.iter().any(Result::is_err) {
            let serving = load(&self.last_good).map(|(_, sources)| sources);
            let Some(serving) = serving.filter(|sources| sources.content_hash() == current.content_hash) else {
                left.add(
                    "registry",
                    0,
                    "",
                    "the last-known-good copy does not have what serves, so that no edit is taken",
                );
                return Some((Err(RegistryError::Refused(left)), Problems::default()));
            };
            let serving = [serving.places, serving.signs, serving.overrides];
            for (read, serving) in read.iter_mut().zip(serving) {
                if read.is_err() {
                    *read = Ok(serving);
                }
            }
        }
        let sources = sources(read.map(Result::unwrap_or_default));
        let content_hash = sources.content_hash();
        if content_hash == current.content_hash {
            let nothing = if left.is_empty() { Ok(Reload::Unchanged) } else { Err(RegistryError::Refused(left)) };
            return Some((nothing, Problems::default()));
        }
        let mut registry = match sources.parse(&self.files, &self.rules) {
            Ok(registry) => registry,
            Err(mut bad) => {
                bad.append(left);
                return Some((Err(RegistryError::Refused(bad)), Problems::default()));
            }
        };
        if !force && let Err(error) = refuse_shrinking(&current, &registry, self.max_shrink) {
            return Some((Err(error), left));
        }
        (registry.generation, registry.content_hash) = (after(current.generation), content_hash);
        drop(current);
        tracing::info!(
            generation = registry.generation,
            content_hash = registry.content_hash_text(),
            signs = registry.signs().len(),
            "registry published"
        );
        self.published.replace(registry);
        *lock(&self.to_keep) = Some(sources);
        Some((Ok(Reload::Published), left))
    }

    /// Frees the generations that no worker holds any more. Waits for no reload.
    pub fn free_old(&self) {
        self.published.free_old();
    }

    /// Whether a table is ready to be read, and none may be in a moment.
    fn is_due(&self) -> bool {
        let ready = |table: &Table| table.standing() == Standing::Settled || table.may_be_tried();
        self.tables.iter().any(ready) && !self.is_settling()
    }

    fn is_settling(&self) -> bool {
        self.tables.iter().any(|table| table.standing() == Standing::Settling)
    }
}

/// Reads the three, each on its own thread; nobody waits for one that hangs.
fn gather(tables: &[Table; 3], when: When) -> [Result<Vec<u8>, Trouble>; 3] {
    let mut tries = 0;
    loop {
        let read = gather_once(tables, when);
        let changed = read.iter().any(|read| matches!(read, Err(Trouble::Changed)));
        if when == When::Settled || !changed || tries == TRIES {
            return read;
        }
        tries += 1;
        drop(read);
        std::thread::sleep(SETTLE / 4);
    }
}

fn gather_once(tables: &[Table; 3], when: When) -> [Result<Vec<u8>, Trouble>; 3] {
    // What never settles is read twice, now and then, in case it is only touched.
    let restless = TABLES.map(|at| when == When::Settled && tables[at].standing() == Standing::NeverSettles);
    let asked = TABLES.map(|at| (!restless[at] || tables[at].may_be_tried()).then(|| tables[at].read(restless[at])));
    let mut readings = TABLES.map(|at| asked[at].map(|ticket| tables[at].reading(ticket)));
    // None may have changed while another was read: a link that leads to all may have been swapped.
    let looks = TABLES.map(|at| readings[at].is_some().then(|| tables[at].look_now()));
    TABLES.map(|at| {
        let (Some(reading), Some(looked)) = (readings[at].take(), looks[at]) else { return Err(Trouble::Changed) };
        let table = &tables[at];
        let bytes = match reading.bytes {
            Ok(_) if !looked => Err(Trouble::Hangs),
            Ok(_) if !restless[at] && !table.is_still(reading.stamp) => Err(Trouble::Changed),
            bytes => bytes,
        };
        match &bytes {
            Err(Trouble::Hangs) => table.missed(),
            Err(Trouble::Changed) => {}
            Ok(_) | Err(_) => table.took(reading.stamp),
        }
        bytes
    })
}

fn sources([places, signs, overrides]: [Vec<u8>; 3]) -> Sources {
    Sources { places, signs, overrides }
}

/// The number of the generation after another: see [`Registry::generation`].
fn after(last: u64) -> u64 {
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
    now.max(last.saturating_add(1))
}

impl State {
    fn good() -> Self {
        Self {
            last_reload_successful: true,
            last_success: Some(Timestamp::now()),
            problems: Vec::new(),
            from_last_good: false,
            unsettled: Vec::new(),
            succeeded: 1,
            refused: 0,
        }
    }
}

impl Told {
    /// Takes down what came of a reload, and logs it if it is news.
    fn take(&mut self, result: &Result<Reload, RegistryError>, left: &Problems) {
        let state = &mut self.state;
        let (text, what) = match result {
            Ok(_) => {
                state.succeeded += 1;
                (left.to_string(), "a table can't be read and stays as it was, the others are published")
            }
            Err(error) => {
                state.refused += 1;
                (error.to_string(), "registry refused, the old one keeps serving")
            }
        };
        state.problems = text.lines().map(str::to_owned).collect();
        state.last_reload_successful = state.problems.is_empty();
        if state.last_reload_successful {
            state.last_success = Some(Timestamp::now());
            state.from_last_good = false;
            self.problems = None;
            return;
        }
        let set = Some(Hasher::default().hash_one(&state.problems));
        if self.problems == set {
            tracing::debug!(problems = state.problems.len(), "{what}: the same problems as before");
            return;
        }
        self.problems = set;
        for problem in state.problems.iter().take(LOGGED) {
            tracing::error!("{what}: {problem}");
        }
        if state.problems.len() > LOGGED {
            let more = state.problems.len() - LOGGED;
            tracing::error!("{what}: and {more} more problems; /status on the admin port and waypost check show them");
        }
    }
}

fn refuse_shrinking(old: &Registry, new: &Registry, max_shrink: f64) -> Result<(), RegistryError> {
    let loss = old.loss(new);
    if loss <= max_shrink {
        return Ok(());
    }
    let signs = old.signs().len();
    Err(RegistryError::Shrunk { lost: loss * 100.0, allowed: max_shrink * 100.0, signs })
}

/// A copy that can't be read is a warning, and none.
fn load(last_good: &LastGood) -> Option<(u64, Sources)> {
    last_good.load().unwrap_or_else(|error| {
        tracing::warn!(%error, path = %last_good.path().display(), "the last-known-good registry can't be read");
        None
    })
}

/// Serving comes first: a copy that can't be written is a warning.
fn save(last_good: &LastGood, generation: u64, sources: &Sources) {
    if let Err(error) = last_good.save(generation, sources) {
        tracing::warn!(%error, path = %last_good.path().display(), "the last-known-good registry can't be saved");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reloads whenever the files change, until dropped. Asks the tables' threads and never the disk, so
/// it may run where nothing may wait.
pub async fn watch(publisher: Arc<Publisher>, poll: Duration) {
    publisher.tables.iter().for_each(Table::watch);
    let mut told = [Standing::Same; 3];
    loop {
        publisher.tables.iter().for_each(Table::look);
        let pause = if publisher.is_settling() { SETTLE / 2 } else { poll };
        let _either = tokio::time::timeout(pause, publisher.arrived.notified()).await;
        publisher.free_old();
        for (table, told) in publisher.tables.iter().zip(&mut told) {
            tell(table, told);
        }
        if publisher.is_due() {
            let task = publisher.clone();
            tokio::task::spawn_blocking(move || task.reload_when(When::Settled, false).is_some()).await.ok();
        }
    }
}

/// Logs that a table begins, or ends, to be one that nothing waits for.
fn tell(table: &Table, told: &mut Standing) {
    let (now, path) = (table.standing(), table.path.display());
    let goes_on = "the others are read without it";
    match now {
        _ if now == *told => {}
        Standing::NeverSettles => tracing::warn!(%path, "a table changes all the time; {goes_on}"),
        Standing::Hangs => tracing::warn!(%path, "a table does not answer; {goes_on}"),
        Standing::Same if *told == Standing::NeverSettles || *told == Standing::Hangs => {
            tracing::info!(%path, "a table has settled");
        }
        // Not worth a line, and between two that are.
        Standing::Settled | Standing::Settling | Standing::Same => return,
    }
    *told = now;
}
