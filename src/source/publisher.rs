//! From the tables to a new generation, or to a refusal that leaves the old one serving.
//!
//! Owns the publishing. A table that is being edited in place is read once its writer has closed it.
//! One that hangs, never settles or is no file keeps the contents that serve (from the
//! last-known-good copy), so that edits of the others are published. The state can be had without
//! waiting for a read, and old generations are freed here, never on a worker.

use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::files::{Files, TABLES, TableError};
use super::gather::{When, gather};
use super::last_good::{Copy, Kept, LastGood, LoadError};
use super::sources::Sources;
use super::state::{LoggedState, State};
use super::table_thread::{TableState, TableThread};
use crate::core::lock;
use crate::core::{Problems, Published};
use crate::registry::{MakePage, Registry, Rules};

/// Why there is no new generation.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// The files have problems.
    #[error(transparent)]
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

/// What a successful reload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The files are those of the generation that serves.
    Unchanged,
    /// A new generation serves.
    Published,
}

/// Reads, checks and publishes generations.
pub struct Publisher {
    files: Files,
    rules: Rules,
    max_shrink: f64,
    make_page: Box<MakePage>,
    last_good: LastGood,
    published: Published<Registry>,
    tables: [TableThread; 3],
    /// Notified when a table may have changed.
    table_changed: Arc<Notify>,
    /// Held for moments only: `/status` and `/metrics` read it.
    state: Mutex<LoggedState>,
    /// Held by the one reload that runs.
    reloading: Mutex<()>,
    /// What the last-known-good copy does not have yet.
    to_keep: Mutex<Option<Copy>>,
}

/// The result of a reload.
struct Outcome {
    result: Result<Reload, RegistryError>,
    /// Problems of tables that kept the contents that serve.
    kept: Problems,
}

impl Outcome {
    fn refused(problems: Problems) -> Self {
        Self { result: Err(RegistryError::Refused(problems)), kept: Problems::default() }
    }
}

impl Publisher {
    /// Publishes the first generation: of the files, or else of the last-known-good copy. Writes
    /// nothing: see [`Self::keep_copy`]. `make_page` makes the pages of places that have no target.
    pub fn open(
        files: Files,
        rules: Rules,
        max_shrink: f64,
        make_page: Box<MakePage>,
        last_good: LastGood,
    ) -> Result<Self, RegistryError> {
        let table_changed = Arc::new(Notify::new());
        let tables = TABLES.map(|at| TableThread::new(at, files.paths()[at], table_changed.clone()));
        let kept = or_none(&last_good, last_good.kept());
        let parse_kept = || {
            let (Kept { generation, content_hash }, sources) = load(&last_good)?;
            let mut registry = sources.parse(&files, &rules).ok()?;
            (registry.generation, registry.content_hash) = (generation, content_hash);
            Some(registry)
        };
        let read = gather_all(&tables).and_then(|sources| {
            // Nothing serves yet that would wait for a core.
            let threads = thread::available_parallelism().map_or(1, NonZero::get);
            sources.into_registry(&files, &rules, threads, kept.map(|kept| kept.content_hash))
        });
        let read = read.map_err(RegistryError::Refused).and_then(|(mut registry, copy)| {
            if let Some(kept) = kept.filter(|_| copy.is_none()) {
                registry.generation = kept.generation;
                return Ok((registry, None));
            }
            // What has to be parsed for it takes as much memory again as the registry; its codes, little of that.
            if kept.is_some()
                && share_of_lost(&last_good, &registry) > max_shrink
                && let Some(kept) = parse_kept()
            {
                refuse_shrinking(&kept, &registry, max_shrink)?;
            }
            registry.generation = after(kept.map_or(0, |kept| kept.generation));
            Ok((registry, copy))
        });
        let (mut registry, to_keep, state) = match read {
            Ok((registry, to_keep)) => (registry, to_keep, LoggedState::good()),
            Err(error) => {
                let Some(registry) = parse_kept() else { return Err(error) };
                (registry, None, LoggedState::from_last_good(error))
            }
        };
        registry.make_pages(&*make_page);
        Ok(Self {
            files,
            rules,
            max_shrink,
            make_page,
            last_good,
            published: Published::new(registry),
            tables,
            table_changed,
            state: Mutex::new(state),
            reloading: Mutex::default(),
            to_keep: Mutex::new(to_keep),
        })
    }

    /// Writes the last-known-good copy of what serves, if that is newer. After [`Self::open`] it is
    /// called once it is sure that no other process serves from the copy.
    pub fn keep_copy(&self) {
        let Some(copy) = lock(&self.to_keep).take() else { return };
        let current = self.current();
        let kept = Kept { generation: current.generation, content_hash: current.content_hash };
        // Where it can't be written that is only logged: serving goes on without it.
        if let Err(error) = self.last_good.save(kept, &copy) {
            let path = self.last_good.path().display();
            tracing::warn!(%error, %path, "the last-known-good registry can't be written");
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

    /// The share of signs that a reload may lose, 0 to 1.
    #[must_use]
    pub fn max_shrink(&self) -> f64 {
        self.max_shrink
    }

    /// The state of the registry. Never waits for a read.
    #[must_use]
    pub fn state(&self) -> State {
        let mut state = lock(&self.state).state.clone();
        let late = |table: &&TableThread| matches!(table.state(), TableState::NeverSettles | TableState::Hangs);
        state.unsettled = self.tables.iter().filter(late).map(TableThread::name).collect();
        state
    }

    /// Reads the files and publishes them, or refuses them whole. Blocks for as long as they take to read
    /// (at most a minute for each that hangs or is slow), and for a reload that runs already. `force`
    /// allows any loss of signs.
    pub fn reload(&self, force: bool) -> Result<Reload, RegistryError> {
        self.reload_when(When::Now, force).unwrap_or(Ok(Reload::Unchanged))
    }

    /// The same for tables that are read as `when` says; `None` where it is too early for that, as a table
    /// is still being written.
    pub(super) fn reload_when(&self, when: When, force: bool) -> Option<Result<Reload, RegistryError>> {
        let one_at_a_time = self.one_at_a_time();
        let Outcome { result, kept } = self.try_reload(when, force)?;
        lock(&self.state).record(&result, &kept);
        // After publishing: a disk that hangs delays no new target.
        self.keep_copy();
        drop(one_at_a_time);
        self.free_old();
        Some(result)
    }

    /// `None` where it is too early.
    fn try_reload(&self, when: When, force: bool) -> Option<Outcome> {
        let mut read = gather(&self.tables, when);
        let (mut kept, mut bad) = (Problems::default(), Problems::default());
        for (table, read) in self.tables.iter().zip(&read) {
            match read {
                Ok(_) => {}
                Err(TableError::Changed) if when == When::Settled => {
                    if table.state() != TableState::NeverSettles {
                        return None;
                    }
                }
                Err(error) if error.keeps_contents() => error.add_to(&mut kept, &table.path),
                Err(error) => error.add_to(&mut bad, &table.path),
            }
        }
        if !bad.is_empty() {
            bad.append(kept);
            return Some(Outcome::refused(bad));
        }
        let current = self.current();
        if read.iter().any(Result::is_err) && !self.keep_contents(&mut read, current.content_hash) {
            let text = "expected a last-known-good copy of what serves, found none: no edit is published";
            kept.add("registry", 0, "", text);
            return Some(Outcome::refused(kept));
        }
        let sources = sources_of(read.map(Result::unwrap_or_default));
        let content_hash = sources.content_hash();
        if content_hash == current.content_hash {
            let unchanged = Outcome { result: Ok(Reload::Unchanged), kept: Problems::default() };
            return Some(if kept.is_empty() { unchanged } else { Outcome::refused(kept) });
        }
        let registry = match self.check(&sources, force) {
            Ok(registry) => registry,
            Err(RegistryError::Refused(mut bad)) => {
                bad.append(kept);
                return Some(Outcome::refused(bad));
            }
            Err(error) => return Some(Outcome { result: Err(error), kept }),
        };
        drop(current);
        self.publish(registry, content_hash, &sources);
        Some(Outcome { result: Ok(Reload::Published), kept })
    }

    /// The tables as a registry, if the rules allow it, and the loss of signs unless it is forced.
    pub(super) fn check(&self, sources: &Sources, force: bool) -> Result<Registry, RegistryError> {
        let registry = sources.parse(&self.files, &self.rules).map_err(RegistryError::Refused)?;
        if !force {
            refuse_shrinking(&self.current(), &registry, self.max_shrink)?;
        }
        Ok(registry)
    }

    /// Has a registry serve, as the next generation; its number.
    fn publish(&self, mut registry: Registry, content_hash: u64, sources: &Sources) -> u64 {
        let generation = after(self.current().generation);
        (registry.generation, registry.content_hash) = (generation, content_hash);
        registry.make_pages(&*self.make_page);
        tracing::info!(
            generation,
            content_hash = registry.content_hash_text(),
            signs = registry.signs().len(),
            "registry published"
        );
        self.published.replace(registry);
        *lock(&self.to_keep) = Some(Copy::of(sources));
        generation
    }

    /// Held by whoever reloads or writes the tables.
    pub(super) fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        lock(&self.reloading)
    }

    /// The tables as they are on the disk, for one who holds [`Self::one_at_a_time`] and will write them.
    pub(super) fn read_to_write(&self) -> Result<Sources, Problems> {
        let mut problems = Problems::default();
        for table in self.tables.iter().filter(|table| table.is_being_written()) {
            problems.add(
                &table.name(),
                0,
                "",
                "expected a table that nobody is writing, found one that is being written",
            );
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let read = gather_all(&self.tables);
        if read.as_ref().is_ok_and(|sources| sources.content_hash() == self.current().content_hash) {
            return read;
        }
        // A change by hand, which is not served yet or is not valid: that it was read here must keep no reload from it.
        self.tables.iter().for_each(TableThread::missed);
        read
    }

    /// Has tables serve that were written by one who holds [`Self::one_at_a_time`]; the generation.
    pub(super) fn publish_written(&self, registry: Registry, sources: &Sources) -> u64 {
        let current = self.current();
        let content_hash = sources.content_hash();
        let generation = if content_hash == current.content_hash {
            current.generation
        } else {
            self.publish(registry, content_hash, sources)
        };
        lock(&self.state).record(&Ok(Reload::Published), &Problems::default());
        // They were read before they were written. One that was absent then, and is absent again before anybody has
        // looked, would count as unchanged.
        self.tables.iter().for_each(TableThread::missed);
        self.keep_copy();
        generation
    }

    /// The tables that are open in an office program, by file name, and who has them open, as it was last seen.
    /// Never waits for a disk.
    #[must_use]
    pub fn open_elsewhere(&self) -> Vec<(String, String)> {
        self.tables.iter().filter_map(|table| Some((table.name(), table.open_by()?))).collect()
    }

    /// Puts the contents that serve in the place of tables that can't be read; `false` where there is no
    /// copy of them.
    fn keep_contents(&self, read: &mut [Result<Vec<u8>, TableError>; 3], content_hash: u64) -> bool {
        let serving = load(&self.last_good).filter(|(kept, _)| kept.content_hash == content_hash);
        let Some((_, serving)) = serving else { return false };
        for (read, serving) in read.iter_mut().zip([serving.places, serving.signs, serving.overrides]) {
            if read.is_err() {
                *read = Ok(serving);
            }
        }
        true
    }

    /// Frees the generations that no worker holds any more. Waits for no reload.
    pub fn free_old(&self) {
        self.published.free_old();
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    pub(super) fn tables(&self) -> &[TableThread; 3] {
        &self.tables
    }

    /// Returns when a table may have changed.
    pub(super) async fn table_changed(&self) {
        self.table_changed.notified().await;
    }

    /// Whether a table is ready to be read, and none may be in a moment.
    pub(super) fn is_due(&self) -> bool {
        let ready = |table: &TableThread| table.state() == TableState::Settled || table.may_be_tried();
        self.tables.iter().any(ready) && !self.is_settling()
    }

    /// Whether a table has changed, and may change further.
    pub(super) fn is_settling(&self) -> bool {
        self.tables.iter().any(|table| table.state() == TableState::Settling)
    }
}

/// The contents of all three, or why there are not all.
fn gather_all(tables: &[TableThread; 3]) -> Result<Sources, Problems> {
    let mut problems = Problems::default();
    let read = gather(tables, When::Now);
    for (table, read) in tables.iter().zip(&read) {
        if let Err(error) = read {
            error.add_to(&mut problems, &table.path);
        }
    }
    if problems.is_empty() { Ok(sources_of(read.map(Result::unwrap_or_default))) } else { Err(problems) }
}

fn sources_of([places, signs, overrides]: [Vec<u8>; 3]) -> Sources {
    Sources { places, signs, overrides }
}

/// The number of the generation after another: see [`Registry::generation`].
fn after(last: u64) -> u64 {
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
    now.max(last.saturating_add(1))
}

fn refuse_shrinking(old: &Registry, new: &Registry, max_shrink: f64) -> Result<(), RegistryError> {
    let loss = old.loss(new);
    if loss <= max_shrink {
        return Ok(());
    }
    let signs = old.signs().len();
    Err(RegistryError::Shrunk { lost: loss * 100.0, allowed: max_shrink * 100.0, signs })
}

/// The share of the copy's signs that a registry does not have, 0 to 1.
fn share_of_lost(last_good: &LastGood, registry: &Registry) -> f64 {
    let signs = or_none(last_good, last_good.load_signs()).unwrap_or_default();
    let codes = Sources { signs, ..Sources::default() }.codes();
    let [lost, all] = [codes.iter().filter(|code| registry.sign(**code).is_none()).count(), codes.len().max(1)]
        .map(|count| u32::try_from(count).map_or(f64::INFINITY, f64::from));
    lost / all
}

/// The copy; one that can't be read is logged and counts as none.
fn load(last_good: &LastGood) -> Option<(Kept, Sources)> {
    or_none(last_good, last_good.load())
}

fn or_none<T>(last_good: &LastGood, loaded: Result<Option<T>, LoadError>) -> Option<T> {
    loaded.unwrap_or_else(|error| {
        tracing::warn!(%error, path = %last_good.path().display(), "the last-known-good registry can't be read");
        None
    })
}
