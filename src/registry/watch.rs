//! From changed files to a new generation, or to a refusal that leaves the old one serving.
//!
//! Owns the publishing. The files' folders are watched and also polled, because
//! neither is enough: an event is lost on a network share and when a folder is
//! swapped, and a poll cannot know that a writer has only paused. A table that is
//! being edited in place is read once its writer has closed it. Old generations are
//! freed here, never on a worker.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, watch};

use super::Registry;
use super::files::{Files, Problems, Sources};
use super::last_good::LastGood;
use super::rules::Rules;

/// Files must be unchanged for this long before they are read.
const SETTLE: Duration = Duration::from_millis(200);
/// A file that is still open for writing is read all the same once it has not changed for this long.
const STALE_WRITER: Duration = Duration::from_secs(30);

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
    /// Reloads that published or found nothing new, since the start.
    pub succeeded: u64,
    /// Reloads that were refused, since the start.
    pub refused: u64,
}

/// Reads, checks and publishes generations.
pub struct Keeper {
    files: Files,
    rules: Rules,
    max_shrink: f64,
    last_good: LastGood,
    current: watch::Sender<Arc<Registry>>,
    inner: Mutex<Inner>,
}

struct Inner {
    checksum: u64,
    state: State,
    /// Generations that a worker may still hold.
    old: Vec<Arc<Registry>>,
}

impl Keeper {
    /// Publishes the first generation: of the files, or else of the last-known-good copy.
    pub fn open(files: Files, rules: Rules, max_shrink: f64, last_good: LastGood) -> Result<Self, RegistryError> {
        let kept = last_good.load().unwrap_or_else(|error| {
            tracing::warn!(%error, path = %last_good.path().display(), "the last-known-good registry can't be read");
            None
        });
        let kept = kept.and_then(|(generation, sources)| {
            let mut registry = sources.parse(&files, &rules).ok()?;
            registry.generation = generation;
            Some((sources.checksum(), registry))
        });
        let read = files.read().and_then(|sources| Ok((sources.parse(&files, &rules)?, sources)));
        let read = read.map_err(RegistryError::Refused).and_then(|(mut registry, sources)| {
            if let Some((checksum, kept)) = &kept {
                refuse_shrinking(kept, &registry, max_shrink)?;
                let changed = *checksum != sources.checksum();
                registry.generation = kept.generation + u64::from(changed);
            } else {
                registry.generation = 1;
            }
            Ok((registry, sources))
        });
        let mut state = State {
            last_reload_successful: true,
            last_success: Some(Timestamp::now()),
            problems: Vec::new(),
            from_last_good: false,
            succeeded: 1,
            refused: 0,
        };
        let (checksum, registry) = match (read, kept) {
            (Ok((registry, sources)), _) => {
                save(&last_good, registry.generation, &sources);
                (sources.checksum(), registry)
            }
            (Err(error), Some((checksum, kept))) => {
                state.refuse(&error);
                state.last_success = None;
                state.from_last_good = true;
                state.succeeded = 0;
                (checksum, kept)
            }
            (Err(error), None) => return Err(error),
        };
        let inner = Mutex::new(Inner { checksum, state, old: Vec::new() });
        let current = watch::Sender::new(Arc::new(registry));
        Ok(Self { files, rules, max_shrink, last_good, current, inner })
    }

    /// A view of the generation that serves; a worker asks it whether there is a newer one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Registry>> {
        self.current.subscribe()
    }

    /// The generation that serves.
    #[must_use]
    pub fn current(&self) -> Arc<Registry> {
        self.current.borrow().clone()
    }

    /// How the registry stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.inner().state.clone()
    }

    /// Reads the files and publishes them, or refuses them whole. Blocks for as long
    /// as they take to read; one reload at a time. `force` allows any loss of signs.
    pub fn reload(&self, force: bool) -> Result<Reload, RegistryError> {
        let mut inner = self.inner();
        let result = self.reload_into(&mut inner, force);
        match &result {
            Ok(_) => inner.state.succeed(),
            Err(error) => inner.state.refuse(error),
        }
        inner.old.retain(|registry| Arc::strong_count(registry) > 1);
        result
    }

    fn reload_into(&self, inner: &mut Inner, force: bool) -> Result<Reload, RegistryError> {
        let sources = self.read_stable().map_err(RegistryError::Refused)?;
        let checksum = sources.checksum();
        if checksum == inner.checksum {
            return Ok(Reload::Unchanged);
        }
        let mut registry = sources.parse(&self.files, &self.rules).map_err(RegistryError::Refused)?;
        let current = self.current();
        if !force {
            refuse_shrinking(&current, &registry, self.max_shrink)?;
        }
        registry.generation = current.generation + 1;
        save(&self.last_good, registry.generation, &sources);
        tracing::info!(generation = registry.generation, signs = registry.signs().len(), "registry published");
        inner.checksum = checksum;
        inner.old.push(current);
        self.current.send_replace(Arc::new(registry));
        Ok(Reload::Published)
    }

    /// A file that changes under our hands is read again; ten times, then it is a problem.
    fn read_stable(&self) -> Result<Sources, Problems> {
        let mut tries = 0;
        loop {
            match self.files.read() {
                Err(problems) if tries < 10 && problems.unstable => {
                    tries += 1;
                    std::thread::sleep(SETTLE / 4);
                }
                result => return result,
            }
        }
    }

    /// Frees the generations that no worker holds any more.
    pub fn free_old(&self) {
        self.inner().old.retain(|registry| Arc::strong_count(registry) > 1);
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn succeed(&mut self) {
        self.last_reload_successful = true;
        self.last_success = Some(Timestamp::now());
        self.problems.clear();
        self.from_last_good = false;
        self.succeeded += 1;
    }

    fn refuse(&mut self, error: &RegistryError) {
        self.last_reload_successful = false;
        self.problems = error.to_string().lines().map(str::to_owned).collect();
        self.refused += 1;
        for problem in &self.problems {
            tracing::error!("registry refused, the old one keeps serving: {problem}");
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

/// Serving comes first: a copy that can't be written is a warning.
fn save(last_good: &LastGood, generation: u64, sources: &Sources) {
    if let Err(error) = last_good.save(generation, sources) {
        tracing::warn!(%error, path = %last_good.path().display(), "the last-known-good registry can't be saved");
    }
}

// === watching ===

/// Reloads whenever the files change, until dropped.
pub async fn watch(keeper: Arc<Keeper>, poll: Duration) {
    let events = Arc::new(Events::default());
    let mut watcher = events.clone().watcher();
    let mut folders = BTreeSet::new();
    let mut seen = keeper.files.stamp();
    loop {
        events.follow(&keeper.files, watcher.as_mut(), &mut folders);
        let _either = tokio::time::timeout(poll, events.arrived.notified()).await;
        keeper.free_old();
        let mut stamp = keeper.files.stamp();
        if stamp == seen {
            continue;
        }
        loop {
            tokio::time::sleep(SETTLE).await;
            let now = keeper.files.stamp();
            if now == stamp && !events.is_being_written() {
                break;
            }
            stamp = now;
        }
        let task = keeper.clone();
        let reload = tokio::task::spawn_blocking(move || task.reload(false)).await;
        // Files that changed while they were read are looked at again at the next round.
        let unstable = matches!(&reload, Ok(Err(RegistryError::Refused(problems))) if problems.unstable);
        if !unstable {
            seen = stamp;
        }
    }
}

/// What the operating system tells about the files' folders.
#[derive(Default)]
struct Events {
    arrived: Notify,
    /// Our files by their real paths, and since when each has been open for writing.
    files: Mutex<HashMap<PathBuf, Option<Instant>>>,
}

impl Events {
    fn watcher(self: Arc<Self>) -> Option<RecommendedWatcher> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(event) => self.take(&event),
            // An overflow or a lost folder: the stamps tell what there is to do.
            Err(_) => self.arrived.notify_one(),
        });
        watcher
            .map_err(|error| tracing::warn!(%error, "the registry's folders can't be watched; they are only polled"))
            .ok()
    }

    fn take(&self, event: &notify::Event) {
        let mut files = self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for path in &event.paths {
            let Some(written) = files.get_mut(path) else { continue };
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => *written = Some(Instant::now()),
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Remove(_) => {
                    *written = None;
                }
                _ => {}
            }
        }
        if !matches!(event.kind, EventKind::Access(AccessKind::Open(_) | AccessKind::Read)) {
            self.arrived.notify_one();
        }
    }

    fn is_being_written(&self) -> bool {
        let files = self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        files.values().flatten().any(|since| since.elapsed() < STALE_WRITER)
    }

    /// Watches the folders that the files are in now: links may have been pointed elsewhere.
    fn follow(&self, files: &Files, watcher: Option<&mut RecommendedWatcher>, folders: &mut BTreeSet<PathBuf>) {
        let Some(watcher) = watcher else { return };
        let mut now = BTreeSet::new();
        let mut paths = HashMap::new();
        for path in files.paths() {
            let beside = path.parent().and_then(|folder| folder.canonicalize().ok());
            let named = beside.as_ref().zip(path.file_name()).map(|(folder, name)| folder.join(name));
            let real = path.canonicalize().ok();
            now.extend(beside);
            now.extend(real.as_deref().and_then(Path::parent).map(Path::to_owned));
            paths.extend([named, real].into_iter().flatten().map(|path| (path, None)));
        }
        for gone in folders.difference(&now) {
            // A folder that was removed is no longer watched anyway.
            watcher.unwatch(gone).ok();
        }
        for new in now.difference(folders) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(%error, folder = %new.display(), "a folder of the registry can't be watched; it is only polled");
            }
        }
        *folders = now;
        let mut known = self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (path, since) in &mut paths {
            *since = known.get(path).copied().flatten();
        }
        *known = paths;
    }
}
