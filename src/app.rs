//! The composition root: builds the parts in order, stops them in reverse.
//!
//! Owns the threads. Nothing is global and every dependency is an argument; sockets are
//! bound before anything serves, so that a start either succeeds whole or binds, and
//! leaves, nothing behind. The stop waits for nothing without a bound: a thread that a file, the
//! store or a table holds up is left behind, and what it had to do to the next start.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::admin::Desk;
use crate::config::Config;
use crate::core::Stage;
use crate::edge::{self, Counters, Limits, Shared, Tallies, UnknownRate, WorkerParts};
use crate::journal::{Journal, JournalError, Writer};
use crate::observe::{self, CountryFiles, Keys, Repeats};
use crate::registry::{self, LastGood, Publisher, RegistryError};
use crate::store::Deliveries;
use crate::system::logging::DroppedLines;
use crate::system::signals::Signals;
use crate::system::{descriptors, priority};

/// How long sealing and the delivery may go on at the stop.
const FINAL_DELIVERY: Duration = Duration::from_secs(10);
/// How long the admin port may go on after that, and a worker after its connections.
const LAST_TURN: Duration = Duration::from_secs(1);

/// Everything that can be looked at while the edge serves.
pub struct Parts {
    /// What it was told.
    pub config: Config,
    /// The registry.
    pub publisher: Arc<Publisher>,
    /// The country databases.
    pub countries: Arc<CountryFiles>,
    /// The journal.
    pub journal: Arc<Journal>,
    /// The delivery.
    pub deliveries: Arc<Deliveries>,
    /// What the workers share.
    pub shared: Arc<Shared>,
    /// What each worker counts.
    pub counters: Vec<Arc<Counters>>,
    /// Where visitors are answered.
    pub addresses: Vec<SocketAddr>,
    /// Of each worker's connections.
    pub limits: Limits,
    /// When this process began.
    pub started: Timestamp,
    /// Whether it is about to end.
    pub stopping: AtomicBool,
    /// Lines of the log that were lost.
    pub log: Arc<DroppedLines>,
}

/// Why the edge does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The files are bad and there is no last-known-good copy.
    #[error("the registry can't be used:\n{0}")]
    Registry(#[from] RegistryError),
    /// The journal can't be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An address can't be bound.
    #[error("can't listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// A thread or a runtime can't be made.
    #[error("the system refuses a thread or a runtime: {0}")]
    System(#[from] io::Error),
}

/// The parts, built and bound, not serving yet.
pub struct App {
    parts: Arc<Parts>,
    listeners: Vec<Vec<StdListener>>,
    admin: StdListener,
}

impl App {
    /// Builds every part, in the order in which they lean on each other.
    pub fn build(config: Config, log: Arc<DroppedLines>) -> Result<Self, StartError> {
        let started = Timestamp::now();
        // Beside the journal: it is the folder that is kept over a restart.
        let beside = config.journal.folder.parent().unwrap_or(&config.journal.folder);
        let last_good = LastGood::at(beside.join("registry-last-good.json"));
        let publisher = Publisher::open(
            config.registry.files.clone(),
            config.registry.rules.clone(),
            config.registry.max_shrink,
            last_good,
        )?;
        let countries = CountryFiles::open(&config.observe.geoip);
        // Before anybody waits for it: the classifier's tables take about a millisecond.
        let _warm = observe::classify(b"");

        let mut addresses = config.edge.listen.clone();
        let mut listeners = Vec::new();
        for _ in 0..config.edge.workers {
            listeners.push(edge::bind(&mut addresses).map_err(|(address, error)| StartError::Listen(address, error))?);
        }
        let admin =
            StdListener::bind(config.admin.listen).map_err(|error| StartError::Listen(config.admin.listen, error))?;
        admin.set_nonblocking(true)?;

        let journal = Journal::open(config.journal.clone(), config.edge.workers)?;
        publisher.keep_copy();
        for listeners in &listeners {
            edge::listen(listeners)?;
        }
        let shared = shared(&config);
        let parts = Parts {
            limits: Limits {
                connections: descriptors::connections_of_each(config.edge.workers, config.edge.limits.connections),
                ..config.edge.limits
            },
            publisher: Arc::new(publisher),
            countries: Arc::new(countries),
            journal,
            deliveries: Arc::default(),
            shared: Arc::new(shared),
            counters: (0..config.edge.workers).map(|_| Arc::default()).collect(),
            addresses,
            started,
            stopping: AtomicBool::new(false),
            log,
            config,
        };
        Ok(Self { parts: Arc::new(parts), listeners, admin })
    }

    /// Serves until SIGINT or SIGTERM, then lets everything end in reverse.
    pub fn serve(self, signals: &Arc<Signals>) -> Result<(), StartError> {
        let Self { parts, listeners, admin } = self;
        let admin_address = admin.local_addr()?;
        let (stage, staged) = watch::channel(Stage::Serving);
        // The threads that it starts read files, the registry first: 70 ms of CPU for 100,000 signs.
        let runtime =
            Builder::new_current_thread().enable_all().on_thread_start(|| priority::lower(priority::LAST)).build()?;
        let admin = {
            let _inside = runtime.enter();
            TcpListener::from_std(admin)?
        };
        let (maker, sealer) = (parts.journal.clone(), parts.journal.clone());
        let maker = spawn("journal-make", move || maker.make_segments())?;
        let sealer = spawn("journal-seal", move || sealer.seal_segments())?;
        let to_deliver = parts.clone();
        let delivery = spawn("delivery", move || {
            priority::lower(priority::DELIVERY);
            let (registry, config) = (to_deliver.publisher.subscribe(), &to_deliver.config);
            to_deliver.deliveries.deliver(
                &to_deliver.journal,
                &registry,
                &config.store,
                &config.registry.rules.timezone,
            );
        })?;
        let mut workers = Vec::new();
        for (number, listeners) in listeners.into_iter().enumerate() {
            workers.push(start_worker(&parts, number, listeners, staged.clone())?);
        }
        for address in &parts.addresses {
            tracing::info!(%address, "listening");
        }
        tracing::info!(address = %admin_address, "admin listening");
        let registry = parts.publisher.current();
        tracing::info!(
            generation = registry.generation,
            signs = registry.signs().len(),
            workers = workers.len(),
            edge = parts.journal.settings().edge,
            "serving"
        );
        drop(registry);
        let (of_control, of_signals) = (parts.clone(), signals.clone());
        let control = spawn("control", move || control(runtime, of_control, admin, of_signals, staged))?;

        let (lame_duck, grace) = (parts.config.edge.lame_duck, parts.config.edge.limits.grace);
        signals.wait_for_stop(lame_duck + grace + FINAL_DELIVERY + 3 * LAST_TURN);

        tracing::info!("stopping");
        parts.stopping.store(true, Ordering::Release);
        stage.send_replace(Stage::LameDuck);
        thread::sleep(lame_duck);
        stage.send_replace(Stage::Closing);
        let until = Instant::now() + grace + LAST_TURN;
        let ended = workers.into_iter().try_for_each(|worker| wait(worker, until).unwrap_or(Ok(Ok(())))?);
        let until = Instant::now() + FINAL_DELIVERY;
        parts.journal.stop();
        let ended = ended.and([maker, sealer].into_iter().try_for_each(|thread| wait(thread, until).unwrap_or(Ok(()))));
        parts.deliveries.stop();
        // What is not delivered by then stays in the journal, and the next start delivers it.
        let ended = ended.and(wait(delivery, until).unwrap_or(Ok(())));
        let counts = parts.journal.counts();
        tracing::info!(stored = counts.stored, pending = counts.pending, "stopped");
        // It has told so far how the rest ends.
        stage.send_replace(Stage::Ended);
        wait(control, Instant::now() + LAST_TURN).unwrap_or(Ok(()))?;
        Ok(ended?)
    }
}

/// What the workers share, as it is at the start.
pub fn shared(config: &Config) -> Shared {
    Shared {
        trust: config.edge.trust.clone(),
        record: config.observe.record,
        precision: config.observe.precision,
        keys: Keys::default(),
        repeats: Repeats::new(config.observe.repeat_window),
        tallies: Tallies::default(),
        unknown_rate: UnknownRate::new(config.observe.max_unknown_per_second),
        pages: config.pages.clone(),
    }
}

fn start_worker(
    parts: &Parts,
    number: usize,
    listeners: Vec<StdListener>,
    stage: watch::Receiver<Stage>,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let worker = WorkerParts {
        number,
        listeners,
        shared: parts.shared.clone(),
        counters: parts.counters[number].clone(),
        registry: parts.publisher.subscribe(),
        countries: parts.countries.subscribe(),
        writer: Writer::new(parts.journal.clone(), number),
        limits: parts.limits,
        stage,
    };
    worker.start()
}

/// The control thread: admin port, reloads; until everything else has ended.
fn control(
    runtime: Runtime,
    parts: Arc<Parts>,
    admin: TcpListener,
    signals: Arc<Signals>,
    mut stage: watch::Receiver<Stage>,
) {
    runtime.block_on(async {
        let desk = Desk::new(parts.clone(), || priority::lower(priority::LAST));
        let admin = tokio::spawn(desk.clone().serve(admin, stage.clone()));
        let watching = tokio::spawn(registry::watch(parts.publisher.clone(), parts.config.registry.poll));
        let watching_countries = tokio::spawn(watch_countries(parts.clone()));
        loop {
            tokio::select! {
                () = signals.hangup.notified() => desk.reload(),
                _ = stage.wait_for(|stage| *stage >= Stage::Closing) => break,
            }
        }
        watching.abort();
        watching_countries.abort();
        if let Err(error) = admin.await {
            tracing::error!(%error, "the admin port broke off");
        }
    });
    // A table or a database that is being read is not waited for.
    runtime.shutdown_background();
}

/// Looks at the country databases as often as at the registry.
async fn watch_countries(parts: Arc<Parts>) {
    loop {
        tokio::time::sleep(parts.config.registry.poll).await;
        let countries = parts.countries.clone();
        // Reading 100 MB takes a while, and must not hold the admin port up.
        tokio::task::spawn_blocking(move || countries.refresh()).await.ok();
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// Waits for a thread to end, for as long as it may take; none: it goes on.
fn wait<T>(thread: JoinHandle<T>, until: Instant) -> Option<io::Result<T>> {
    while !thread.is_finished() {
        if Instant::now() >= until {
            let name = thread.thread().name().unwrap_or_default();
            tracing::warn!(thread = name, "does not end in time; what it had to do is left to the next start");
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
    Some(thread.join().map_err(|_| io::Error::other("a thread panicked")))
}
