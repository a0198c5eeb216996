//! The composition root: builds the parts in order, serves, stops them in reverse.
//!
//! Owns the threads. Nothing is global and every dependency is an argument; sockets are
//! bound before anything serves, so that a start either succeeds whole or binds, and
//! leaves, nothing behind. The stop waits for nothing without a bound: a thread that a file, the
//! store or a table holds up is left behind, and what it had to do to the next start.

mod console;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use jiff::Timestamp;
use prometheus::core::Collector;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::admin::{AdminParts, AdminService, Status};
use crate::certificates::Certificates;
use crate::config::Config;
use crate::core::Stage;
use crate::edge::{
    self, Capacity, Challenges, Counters, Listener, Misses, Plaintext, Ports, Protocol, Shared, Tallies, UnknownRate,
    WorkerParts,
};
use crate::history::Database;
use crate::journal::{self, Journal, Writer};
use crate::observe::{self, CountryFiles, Keys, Repeats};
use crate::source::{self, LastGood, Publisher, RegistryError};
use crate::store::{Checkup, CheckupSettings, Delivery};
use crate::system::activation::{self, ActivationError, Inherited};
use crate::system::logging::DroppedLines;
use crate::system::notify::Manager;
use crate::system::signals::Signals;
use crate::system::{descriptors, pace, priority};
use console::Console;

/// How long sealing and the delivery may go on at the stop.
const FINAL_DELIVERY: Duration = Duration::from_secs(10);
/// How long the admin port and the computation of the signs' states may go on after that, and a worker
/// after its connections.
const LAST_TURN: Duration = Duration::from_secs(1);

/// Why the edge does not start, or does not end in order.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The files are bad and there is no last-known-good copy.
    #[error("the registry can't be used:\n{0}")]
    Registry(#[from] RegistryError),
    /// The journal can't be opened.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// An address can't be bound.
    #[error("can't listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Sockets that were handed over can't be used.
    #[error("sockets from systemd:\n{0}")]
    Activation(#[from] ActivationError),
    /// The admin port's socket was handed over with an address for which the configuration has no token.
    #[error(
        "the socket \"admin\" on {0}: expected an address on loopback, or a token in admin.token_file, or the same \
         address in admin.listen with admin.allow_without_token = true; found none of these"
    )]
    OpenAdmin(SocketAddr),
    /// The console's socket was handed over with an address beyond loopback, and passwords would be sent in the clear.
    #[error(
        "the socket \"console\" on {0}: expected an address on loopback, or console.origin that begins https://; found \
         neither"
    )]
    OpenConsole(SocketAddr),
    /// A socket for TLS was handed over, and there is no certificate for it.
    #[error("the socket \"https\" on {0}: expected a certificate in edge.tls.certificates, found none")]
    NoCertificate(SocketAddr),
    /// A socket whose connections begin with a PROXY header was handed over, and nobody may send one.
    #[error("the socket on {0}: expected the networks of its proxies in edge.proxy_protocol.from, found none")]
    NoProxies(SocketAddr),
    /// A thread or a runtime can't be made.
    #[error("the system refuses a thread or a runtime")]
    System(#[from] io::Error),
    /// A thread has ended before its time; its name. (A panic ends the process but for the console's threads.)
    #[error("the thread {0} panicked")]
    Panicked(String),
}

/// The parts, built and bound, not serving yet.
pub struct App {
    parts: Parts,
    /// Of each worker: one on every address.
    listeners: Vec<Vec<Listener>>,
    admin: StdListener,
    console: Option<Console>,
}

/// What is composed.
struct Parts {
    config: Config,
    started: Timestamp,
    log: Arc<DroppedLines>,
    publisher: Arc<Publisher>,
    countries: Arc<CountryFiles>,
    journal: Arc<Journal>,
    delivery: Arc<Delivery>,
    checkup: Arc<Checkup>,
    shared: Arc<Shared>,
    certificates: Arc<Certificates>,
    ports: Ports,
    /// One for each worker.
    counters: Vec<Arc<Counters>>,
    /// Addresses of the public port, as they are bound, and what is spoken there.
    addresses: Vec<(SocketAddr, Protocol)>,
}

impl App {
    /// Builds every part, in the order in which they depend on each other. `inherited` are sockets that
    /// take the place of addresses in the configuration.
    pub fn build(config: Config, mut inherited: Inherited, log: Arc<DroppedLines>) -> Result<Self, StartError> {
        let started = Timestamp::now();
        let doors = doors(&config, &mut inherited)?;
        let admin = inherited_admin(&config, &mut inherited)?;
        let console = inherited_console(&config, &mut inherited)?;
        inherited.finish()?;
        let cant_listen = |(address, source)| StartError::Listen { address, source };
        let bind = |address| StdListener::bind(address).map_err(|error| cant_listen((address, error)));
        // The ports that only one process can have come first: a second one by mistake ends here, before it
        // touches the tables.
        let admin = admin.map_or_else(|| bind(config.admin.listen), Ok)?;
        let console = console.map_or_else(|| config.console.listen.map(bind).transpose(), |socket| Ok(Some(socket)))?;
        for socket in [Some(&admin), console.as_ref()].into_iter().flatten() {
            socket.set_nonblocking(true)?;
        }
        let database = open_console(&config, console.is_some());
        let console = console.zip(database);
        // Beside the journal: it is the folder that is kept over a restart.
        let beside = config.journal.folder.parent().unwrap_or(&config.journal.folder);
        let last_good = LastGood::within(beside);
        let tables = config.registry.clone();
        let publisher =
            Publisher::open(tables.files, tables.rules, tables.max_shrink, config.pages.make_place(), last_good)?;
        let countries = CountryFiles::open(&config.observe.geoip);
        // Before anybody waits for it: the classifier's tables take about a millisecond.
        let _warm = observe::classify(b"");

        let listeners = open_doors(doors, config.edge.workers)?;

        let journal = Journal::open(config.journal.clone(), config.edge.workers)?;
        publisher.keep_copy();
        let publisher = Arc::new(publisher);
        let console = console.map(|(listener, database)| Console::new(&config, listener, database, publisher.clone()));
        let console = console.transpose()?;
        let certificates = Certificates::open(&config.edge.tls.settings);
        let (ports, addresses) = (ports(&config, &certificates)?, addresses_of(&listeners)?);
        for listeners in &listeners {
            edge::listen(listeners)?;
        }
        let composed = Parts {
            started,
            log,
            publisher,
            countries: Arc::new(countries),
            journal,
            delivery: Arc::default(),
            checkup: Arc::default(),
            shared: Arc::new(shared(&config)),
            ports,
            certificates: Arc::new(certificates),
            counters: listeners.iter().map(|_| Arc::default()).collect(),
            addresses,
            config,
        };
        Ok(Self { parts: composed, listeners, admin, console })
    }

    /// Serves until SIGINT or SIGTERM, then lets everything end in reverse.
    pub fn serve(self, signals: &Arc<Signals>) -> Result<(), StartError> {
        let Self { parts, listeners, admin, mut console } = self;
        let (stage, staged) = watch::channel(Stage::Serving);
        // What can fail goes before the first thread. The threads that this runtime starts read files,
        // the registry first: 70 ms of CPU for 100,000 signs.
        let admin_address = admin.local_addr()?;
        let runtime = Builder::new_current_thread().enable_all().on_thread_start(priority::step_back).build()?;
        let admin = {
            let _inside = runtime.enter();
            TcpListener::from_std(admin)?
        };
        let (to_make, to_seal) = (parts.journal.clone(), parts.journal.clone());
        let (progress, journal) = (parts.progress(), parts.journal.clone());
        let maker = spawn("journal-make", move || {
            pace::keep(progress, move || journal.pause_of_making());
            to_make.make_segments();
        })?;
        let progress = parts.progress();
        let sealer = spawn("journal-seal", move || {
            pace::keep(progress, || pace::PAUSE);
            to_seal.seal_segments();
        })?;
        let delivery = parts.start_delivery()?;
        let checkup = parts.start_checkup(console.is_some())?;
        let console_threads = match &mut console {
            Some(console) => Some(console.start(&parts.config, &parts.checkup, staged.clone())?),
            None => None,
        };
        let workers = parts.start_workers(listeners, &staged)?;
        parts.announce(admin_address, console.as_ref().map(|console| console.address));
        let control = parts.start_control(runtime, admin, console.as_ref(), signals.clone(), staged)?;

        let (lame_duck, grace) = (parts.config.edge.lame_duck, parts.config.edge.limits.grace);
        signals.wait_for_stop(lame_duck + grace + FINAL_DELIVERY + 4 * LAST_TURN);

        tracing::info!("stopping");
        stage.send_replace(Stage::LameDuck);
        thread::sleep(lame_duck);
        stage.send_replace(Stage::Closing);
        let until = Instant::now() + grace + LAST_TURN;
        let ended: Result<(), StartError> =
            workers.into_iter().try_for_each(|worker| Ok(wait(worker, until).unwrap_or(Ok(Ok(())))??));
        let until = Instant::now() + FINAL_DELIVERY;
        parts.journal.stop();
        let ended = ended.and([maker, sealer].into_iter().try_for_each(|thread| wait(thread, until).unwrap_or(Ok(()))));
        parts.delivery.stop();
        parts.checkup.stop();
        // What is not delivered by then stays in the journal, and the next start delivers it.
        let ended = ended.and(wait(delivery, until).unwrap_or(Ok(())));
        // What it has not computed by now, the next start will.
        let ended = ended.and(wait(checkup, Instant::now() + LAST_TURN).unwrap_or(Ok(())));
        let ended = ended.and(console_threads.map_or(Ok(()), |threads| threads.stop(Instant::now() + LAST_TURN)));
        let counts = parts.journal.counts();
        tracing::info!(stored = counts.stored, pending = counts.pending, "stopped");
        // The admin port goes last: until here it has shown how the rest ends.
        stage.send_replace(Stage::Ended);
        wait(control, Instant::now() + LAST_TURN).unwrap_or(Ok(()))?;
        ended
    }
}

impl Parts {
    /// A figure that grows as workers do something.
    fn progress(&self) -> impl Fn() -> u64 + use<> {
        let counters = self.counters.clone();
        move || counters.iter().fold(0, |sum, counters| sum.wrapping_add(counters.progress()))
    }

    fn start_delivery(&self) -> io::Result<JoinHandle<()>> {
        let (delivery, journal, waiting) = (self.delivery.clone(), self.journal.clone(), self.journal.clone());
        let registry = self.publisher.subscribe();
        let (store, timezone) = (self.config.store.clone(), self.config.registry.rules.timezone.clone());
        let progress = self.progress();
        spawn("delivery", move || {
            pace::keep(progress, move || waiting.pause_of_delivery());
            delivery.deliver(&journal, &registry, &store, &timezone);
        })
    }

    fn start_checkup(&self, keeps_signs: bool) -> io::Result<JoinHandle<()>> {
        let (checkup, journal, registry) = (self.checkup.clone(), self.journal.clone(), self.publisher.subscribe());
        let settings = CheckupSettings {
            edge: self.config.edge.name.clone(),
            store: self.config.store.clone(),
            timezone: self.config.registry.rules.timezone.clone(),
            budget: self.config.health.budget,
            at: self.config.health.at,
            keeps_signs,
        };
        spawn("checkup", move || {
            priority::step_back();
            checkup.run(&settings, &registry, &journal);
        })
    }

    fn start_workers(
        &self,
        listeners: Vec<Vec<Listener>>,
        stage: &watch::Receiver<Stage>,
    ) -> io::Result<Vec<JoinHandle<io::Result<()>>>> {
        let start = |(number, listeners)| {
            let worker = WorkerParts {
                number,
                listeners,
                shared: self.shared.clone(),
                counters: self.counters[number].clone(),
                registry: self.publisher.subscribe(),
                countries: self.countries.subscribe(),
                writer: Writer::new(&self.journal, number),
                ports: self.ports.clone(),
                stage: stage.clone(),
            };
            worker.start()
        };
        listeners.into_iter().enumerate().map(start).collect()
    }

    /// Says where it serves, and what.
    fn announce(&self, admin: SocketAddr, console: Option<SocketAddr>) {
        for (address, protocol) in &self.addresses {
            tracing::info!(%address, tls = protocol.has_tls, proxy_protocol = protocol.has_proxy_header, "listening");
        }
        tracing::info!(address = %admin, "admin listening");
        if let Some(address) = console {
            tracing::info!(%address, "console listening");
        }
        let registry = self.publisher.current();
        tracing::info!(
            generation = registry.generation,
            signs = registry.signs().len(),
            workers = self.counters.len(),
            edge = self.config.edge.name,
            "serving"
        );
    }

    /// Starts the control thread: admin port and reloads, until everything else has ended.
    fn start_control(
        &self,
        runtime: Runtime,
        admin: TcpListener,
        console: Option<&Console>,
        signals: Arc<Signals>,
        stage: watch::Receiver<Stage>,
    ) -> io::Result<JoinHandle<()>> {
        let service = AdminService::new(self.admin_parts(console, stage.clone()));
        let (publisher, poll) = (self.publisher.clone(), self.config.registry.poll);
        let (countries, certificates) = (self.countries.clone(), self.certificates.clone());
        let (manager, counters) = (Arc::new(Manager::from_env()), self.counters.clone());
        spawn("control", move || {
            runtime.block_on(async {
                let of_hangups =
                    Hangups { manager: manager.clone(), publisher: publisher.clone(), stage: stage.clone() };
                tokio::spawn(feed_watchdog(manager, counters, stage));
                let watches = [
                    tokio::spawn(source::watch(publisher, poll)),
                    tokio::spawn(watch_files(countries, certificates, poll)),
                ];
                let serving = tokio::spawn(service.clone().serve(admin));
                of_hangups.obey(&signals, &service).await;
                for watch in watches {
                    watch.abort();
                }
                if let Err(error) = serving.await {
                    tracing::error!(%error, "the admin port broke off");
                }
            });
            // A table or a database that is being read is not waited for.
            runtime.shutdown_background();
        })
    }

    fn admin_parts(&self, console: Option<&Console>, stage: watch::Receiver<Stage>) -> AdminParts {
        let edge = edge::Metrics {
            counters: self.counters.clone(),
            shared: self.shared.clone(),
            capacity: self.ports.capacity.clone(),
            per_sign: self.config.admin.per_sign_metrics,
        };
        AdminParts {
            access: self.config.admin.access.clone(),
            edge: self.config.edge.name.clone(),
            collectors: [
                Arc::new(edge) as Arc<dyn Collector>,
                self.journal.clone(),
                self.delivery.clone(),
                self.checkup.clone(),
                self.publisher.clone(),
                self.countries.clone(),
                self.certificates.clone(),
                self.log.clone(),
            ]
            .into_iter()
            .chain(console.into_iter().flat_map(Console::collectors))
            .collect(),
            publisher: self.publisher.clone(),
            status: Status {
                started: self.started,
                listen: self.addresses.iter().map(|(address, _)| *address).collect(),
                workers: self.counters.len(),
                publisher: self.publisher.clone(),
                countries: self.countries.clone(),
                certificates: self.certificates.clone(),
                journal: self.journal.clone(),
                store: self.config.store.kind,
                delivery: self.delivery.clone(),
                checkup: self.checkup.clone(),
                console: console.map(|console| (console.database.clone(), console.applier.clone())),
            },
            stage,
        }
    }
}

/// The admin port's socket, if it is handed over. What the configuration demands of an address beyond
/// loopback it demands of the socket's, too.
fn inherited_admin(config: &Config, inherited: &mut Inherited) -> Result<Option<StdListener>, StartError> {
    let mut sockets = inherited.take_for("admin", &mut vec![config.admin.listen]);
    let Some(admin) = one_socket("admin", &mut sockets)? else { return Ok(None) };
    let address = admin.local_addr()?;
    let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
    // Where the configured one is not on loopback, it has a token or the word that none is needed.
    if config.admin.access.token.is_none() && is_loopback(config.admin.listen) && !is_loopback(address) {
        return Err(StartError::OpenAdmin(address));
    }
    Ok(Some(admin))
}

/// The console's socket, if it is handed over. What is demanded of an address beyond loopback is demanded of it.
fn inherited_console(config: &Config, inherited: &mut Inherited) -> Result<Option<StdListener>, StartError> {
    let mut sockets = inherited.take_for("console", &mut config.console.listen.into_iter().collect());
    let Some(console) = one_socket("console", &mut sockets)? else { return Ok(None) };
    let address = console.local_addr()?;
    if !address.ip().to_canonical().is_loopback() && !config.console.origin.starts_with("https://") {
        return Err(StartError::OpenConsole(address));
    }
    Ok(Some(console))
}

/// The one socket of a name that has only one.
fn one_socket(name: &str, sockets: &mut Vec<StdListener>) -> Result<Option<StdListener>, StartError> {
    if let [first, more @ ..] = &**sockets
        && !more.is_empty()
    {
        let (address, count) = (first.local_addr()?, sockets.len());
        let problem = format!("socket \"{name}\" on {address}: expected one socket, found {count}");
        return Err(ActivationError::Sockets(vec![problem]).into());
    }
    Ok(sockets.pop())
}

/// The console's file; `None` where it can't be used: visitors are served all the same. Where the console is off by
/// now, what it was writing to the tables is finished all the same.
fn open_console(config: &Config, is_on: bool) -> Option<Arc<Database>> {
    if !is_on && !config.console.path.exists() {
        return None;
    }
    console::open(config)
        .inspect_err(|error| {
            let path = config.console.path.display();
            if is_on {
                tracing::error!(%error, %path, "the console is off: its file can't be used");
            } else {
                tracing::warn!(%error, %path, "the file of a console that is off can't be used");
            }
        })
        .ok()
}

/// What visitors connect to in one way: sockets that are handed over, and addresses to be bound.
struct Doors {
    protocol: Protocol,
    inherited: Vec<StdListener>,
    addresses: Vec<SocketAddr>,
}

/// The public port as the configuration has it, and the sockets that take its place.
fn doors(config: &Config, inherited: &mut Inherited) -> Result<[Doors; 3], StartError> {
    let edge = &config.edge;
    let kinds = [
        ("http", &edge.listen, Protocol { has_tls: false, has_proxy_header: false }),
        ("https", &edge.tls.listen, Protocol { has_tls: true, has_proxy_header: edge.tls.has_proxy_header }),
        ("proxy", &edge.proxy_protocol.listen, Protocol { has_tls: false, has_proxy_header: true }),
    ];
    let doors = kinds.map(|(name, addresses, protocol)| {
        let mut addresses = addresses.clone();
        Doors { protocol, inherited: inherited.take_for(name, &mut addresses), addresses }
    });
    // The configuration says so itself where an address of its own would serve nobody.
    for Doors { protocol, inherited, .. } in doors.iter().filter(|doors| !doors.inherited.is_empty()) {
        let address = inherited[0].local_addr()?;
        if protocol.has_tls && edge.tls.settings.files.is_empty() {
            return Err(StartError::NoCertificate(address));
        }
        if protocol.has_proxy_header && edge.proxy_protocol.from.is_empty() {
            return Err(StartError::NoProxies(address));
        }
    }
    Ok(doors)
}

/// Binds what is to be bound, for each worker anew, and spreads what was handed over.
fn open_doors(doors: [Doors; 3], workers: usize) -> Result<Vec<Vec<Listener>>, StartError> {
    let mut listeners: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    for Doors { protocol, inherited, mut addresses } in doors {
        let shares = activation::spread(inherited, workers)?;
        for (of_worker, share) in listeners.iter_mut().zip(shares) {
            let bound = edge::bind(&mut addresses, protocol);
            of_worker.extend(bound.map_err(|(address, source)| StartError::Listen { address, source })?);
            of_worker.extend(share.into_iter().map(|socket| Listener { socket, protocol, is_inherited: true }));
        }
    }
    Ok(listeners)
}

/// Each address once, however many sockets have it.
fn addresses_of(listeners: &[Vec<Listener>]) -> io::Result<Vec<(SocketAddr, Protocol)>> {
    let mut addresses = Vec::new();
    for Listener { socket, protocol, .. } in listeners.iter().flatten() {
        let address = (socket.local_addr()?, *protocol);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// What visitors meet before a request of theirs is read.
fn ports(config: &Config, certificates: &Certificates) -> io::Result<Ports> {
    let edge = &config.edge;
    let most = descriptors::connections(edge.workers, edge.addresses().count(), edge.max_connections);
    let hsts = format!("max-age={}", edge.tls.hsts.as_secs());
    Ok(Ports {
        limits: edge.limits,
        capacity: Arc::new(Capacity::new(most, edge.max_connections_per_address, edge.trust.proxies.clone())),
        proxies: edge.proxy_protocol.from.clone().into(),
        plaintext: Plaintext {
            https: edge.redirect_to_https.then(|| edge.public_url.trim_end_matches('/').into()),
            challenges: edge.acme_challenges.as_deref().map(Challenges::start).transpose()?,
        },
        certificates: certificates.subscribe(),
        hsts: HeaderValue::from_str(&hsts).ok().filter(|_| !edge.tls.hsts.is_zero()),
    })
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
        misses: Misses::new(config.edge.max_misses_per_address),
        pages: config.pages.clone(),
    }
}

/// What SIGHUP does, and what the service manager is told of that, the start and the stop.
struct Hangups {
    manager: Arc<Manager>,
    publisher: Arc<Publisher>,
    stage: watch::Receiver<Stage>,
}

impl Hangups {
    /// Reloads the registry at each SIGHUP, until the edge closes.
    async fn obey(self, signals: &Signals, service: &Arc<AdminService>) {
        let mut stage = self.stage.clone();
        self.ready().await;
        loop {
            tokio::select! {
                () = signals.hangup.notified() => self.manager.reloading().await,
                _ = stage.wait_for(|stage| *stage > Stage::Serving) => break,
            }
            tokio::select! {
                () = service.reload() => self.ready().await,
                _ = stage.wait_for(|stage| *stage > Stage::Serving) => break,
            }
        }
        self.manager.stopping().await;
        loop {
            tokio::select! {
                () = async { signals.hangup.notified().await; service.reload().await } => (),
                _ = stage.wait_for(|stage| *stage >= Stage::Closing) => return,
            }
        }
    }

    async fn ready(&self) {
        let registry = self.publisher.current();
        let (signs, generation) = (registry.signs().len(), registry.generation);
        self.manager.ready(&format!("serving {signs} signs of generation {generation}")).await;
    }
}

/// Tells the service manager that all is well as long as every worker takes its turns. At the stop workers
/// end, and it has a bound of its own.
async fn feed_watchdog(manager: Arc<Manager>, counters: Vec<Arc<Counters>>, stage: watch::Receiver<Stage>) {
    let Some(period) = manager.watchdog_period() else { return };
    let mut before = vec![0; counters.len()];
    let mut turns = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let now: Vec<u64> = counters.iter().map(|counters| counters.ticks.get()).collect();
        let hanging = now.iter().zip(&before).position(|(now, before)| now == before);
        match hanging.filter(|_| *stage.borrow() < Stage::Closing) {
            None => manager.alive().await,
            Some(worker) => tracing::error!(worker, ?period, "a worker hangs: the watchdog is not fed"),
        }
        before = now;
    }
}

/// Looks at the country databases and the certificates as often as at the registry.
async fn watch_files(countries: Arc<CountryFiles>, certificates: Arc<Certificates>, poll: Duration) {
    loop {
        tokio::time::sleep(poll).await;
        let (countries, certificates) = (countries.clone(), certificates.clone());
        // Reading 100 MB takes a while, and must not hold the admin port up.
        let refresh = move || {
            countries.refresh();
            certificates.refresh();
        };
        tokio::task::spawn_blocking(refresh).await.ok();
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// Waits for a thread to end, for as long as it may take; `None`: it goes on.
fn wait<T>(thread: JoinHandle<T>, until: Instant) -> Option<Result<T, StartError>> {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    while !thread.is_finished() {
        if Instant::now() >= until {
            tracing::warn!(thread = name, "does not end in time; what it had to do is left to the next start");
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
    Some(thread.join().map_err(|_| StartError::Panicked(name)))
}
