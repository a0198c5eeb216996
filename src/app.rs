//! The composition root: builds the parts in order, stops them in reverse.
//!
//! Owns the threads. Nothing is global and every dependency is an argument; sockets are
//! bound before anything serves, so that a start either succeeds whole or binds, and
//! leaves, nothing behind.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::admin;
use crate::config::Config;
use crate::edge::{self, Counters, Shared, Tallies, UnknownRate, WorkerParts};
use crate::journal::{Journal, JournalError, Writer};
use crate::observe::{self, CountryFiles, Keys, Repeats};
use crate::registry::{self, Keeper, LastGood, RegistryError};
use crate::store::Deliveries;

/// How long the delivery may go on at the stop.
const FINAL_DELIVERY: Duration = Duration::from_secs(10);

/// Everything that can be looked at while the edge serves.
pub struct Parts {
    /// What it was told.
    pub config: Config,
    /// The registry.
    pub keeper: Arc<Keeper>,
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
    /// When this process began.
    pub started: Timestamp,
    /// Whether it is about to end.
    pub stopping: AtomicBool,
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
    pub fn build(config: Config) -> Result<Self, StartError> {
        let started = Timestamp::now();
        // Beside the journal: it is the folder that is kept over a restart.
        let beside = config.journal.folder.parent().unwrap_or(&config.journal.folder);
        let last_good = LastGood::at(beside.join("registry-last-good.json"));
        let keeper = Keeper::open(config.files.clone(), config.rules.clone(), config.max_shrink, last_good)?;
        let countries = CountryFiles::open(&config.geoip);
        // Before anybody waits for it: the classifier's tables take about a millisecond.
        let _warm = observe::classify(b"");

        let mut addresses = config.listen.clone();
        let mut listeners = Vec::new();
        for _ in 0..config.workers {
            listeners.push(edge::bind(&mut addresses).map_err(|(address, error)| StartError::Listen(address, error))?);
        }
        let admin = StdListener::bind(config.admin).map_err(|error| StartError::Listen(config.admin, error))?;
        admin.set_nonblocking(true)?;

        let journal = Journal::open(config.journal.clone(), config.workers)?;
        keeper.keep_copy();
        for listeners in &listeners {
            edge::listen(listeners)?;
        }
        let shared = shared(&config);
        let parts = Parts {
            keeper: Arc::new(keeper),
            countries: Arc::new(countries),
            journal,
            deliveries: Arc::default(),
            shared: Arc::new(shared),
            counters: (0..config.workers).map(|_| Arc::default()).collect(),
            addresses,
            started,
            stopping: AtomicBool::new(false),
            config,
        };
        Ok(Self { parts: Arc::new(parts), listeners, admin })
    }

    /// Serves until SIGINT or SIGTERM, then lets everything end in reverse.
    pub fn serve(self) -> Result<(), StartError> {
        let Self { parts, listeners, admin } = self;
        let admin_address = admin.local_addr()?;
        // The threads that it starts read files, the registry first: 70 ms of CPU for 100,000 signs.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().on_thread_start(|| step_back(19)).build()?;
        // Before anything serves: a signal that comes early must not end us halfway.
        let signals = {
            let _inside = runtime.enter();
            Signals::new()?
        };
        let (stop, stopped) = watch::channel(false);
        let (maker, sealer) = (parts.journal.clone(), parts.journal.clone());
        let maker = spawn("journal-make", move || maker.make_segments())?;
        let sealer = spawn("journal-seal", move || sealer.seal_segments())?;
        let to_deliver = parts.clone();
        let delivery = spawn("delivery", move || {
            step_back(5);
            let (registry, config) = (to_deliver.keeper.subscribe(), &to_deliver.config);
            to_deliver.deliveries.deliver(&to_deliver.journal, &registry, &config.store, &config.rules.timezone);
        })?;
        let mut workers = Vec::new();
        for (number, listeners) in listeners.into_iter().enumerate() {
            workers.push(start_worker(&parts, number, listeners, stopped.clone())?);
        }
        for address in &parts.addresses {
            tracing::info!(%address, "listening");
        }
        tracing::info!(address = %admin_address, "admin listening");
        let registry = parts.keeper.current();
        tracing::info!(
            generation = registry.generation,
            signs = registry.signs().len(),
            workers = workers.len(),
            edge = parts.journal.settings().edge,
            "serving"
        );
        drop(registry);

        runtime.block_on(control(parts.clone(), admin, signals))?;

        tracing::info!("stopping");
        parts.stopping.store(true, Ordering::Release);
        stop.send_replace(true);
        join(workers)?;
        parts.journal.stop();
        for thread in [maker, sealer] {
            thread.join().map_err(|_| io::Error::other("a thread of the journal panicked"))?;
        }
        parts.deliveries.stop();
        finish_delivery(delivery, &parts);
        // A reload that is under way is not waited for.
        runtime.shutdown_background();
        Ok(())
    }
}

/// What the workers share, as it is at the start.
pub fn shared(config: &Config) -> Shared {
    Shared {
        trust: config.trust.clone(),
        record: config.record,
        precision: config.precision,
        keys: Keys::default(),
        repeats: Repeats::new(config.repeat_window),
        tallies: Tallies::default(),
        unknown_rate: UnknownRate::new(config.max_unknown_per_second),
        pages: config.pages.clone(),
    }
}

fn start_worker(
    parts: &Parts,
    number: usize,
    listeners: Vec<StdListener>,
    stop: watch::Receiver<bool>,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let worker = WorkerParts {
        number,
        listeners,
        shared: parts.shared.clone(),
        counters: parts.counters[number].clone(),
        registry: parts.keeper.subscribe(),
        countries: parts.countries.subscribe(),
        writer: Writer::new(parts.journal.clone(), number),
        limits: parts.config.limits,
        stop,
    };
    worker.start()
}

/// The signals that are heeded. One that came before it is waited for is not lost.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// The control thread: admin port, reloads; until a signal ends it.
async fn control(parts: Arc<Parts>, admin: StdListener, mut signals: Signals) -> io::Result<()> {
    let admin = tokio::spawn(admin::serve(TcpListener::from_std(admin)?, parts.clone()));
    let watching = tokio::spawn(registry::watch(parts.keeper.clone(), parts.config.poll));
    let watching_countries = tokio::spawn(watch_countries(parts.clone()));
    loop {
        tokio::select! {
            _ = signals.interrupt.recv() => break,
            _ = signals.terminate.recv() => break,
            _ = signals.hangup.recv() => {
                let keeper = parts.keeper.clone();
                tokio::task::spawn_blocking(move || keeper.reload(false).is_ok());
            }
        }
    }
    for task in [admin, watching, watching_countries] {
        task.abort();
    }
    Ok(())
}

/// Looks at the country databases as often as at the registry.
async fn watch_countries(parts: Arc<Parts>) {
    loop {
        tokio::time::sleep(parts.config.poll).await;
        let countries = parts.countries.clone();
        // Reading 100 MB takes a while, and must not hold the admin port up.
        tokio::task::spawn_blocking(move || countries.refresh()).await.ok();
    }
}

/// Lets the workers go first: what is delivered or reloaded on a worker's core at the usual
/// priority makes a redirect wait for whole time slices. Reloads, which may take their time, go
/// last: at 19 p99.9 was 6 to 9 ms while 100,000 signs were reloaded each second, at 0 30 ms
/// (`cargo bench --bench latency`). The delivery has to keep up even where workers never pause:
/// on one such core the embedded store took all of 120,000 scans a second at 5, and a fifth at 19.
fn step_back(nice: i32) {
    if let Err(error) = setpriority_process(Some(gettid()), nice) {
        tracing::debug!(%error, "a background thread keeps the usual priority");
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

fn join(workers: Vec<JoinHandle<io::Result<()>>>) -> io::Result<()> {
    workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| io::Error::other("a worker panicked"))?)
}

/// What is not delivered by then stays in the journal, and the next start delivers it.
fn finish_delivery(delivery: JoinHandle<()>, parts: &Parts) {
    let until = std::time::Instant::now() + FINAL_DELIVERY;
    while !delivery.is_finished() && std::time::Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    let counts = parts.journal.counts();
    tracing::info!(stored = counts.stored, pending = counts.pending, "stopped");
}
