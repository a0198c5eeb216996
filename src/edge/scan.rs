//! THE path of a scan: from a request to its response and its record.
//!
//! Owns one worker's view of everything that a scan touches. Read it from [`ScanHandler::answer`] down:
//! read the request, find the sign, choose the target, record the scan, respond. What that costs in
//! instructions and allocations is held by `tests/cost.rs`.
//!
//! Nothing here waits for the store, a reload or another process, nor for a disk but where the system makes
//! it (a page of the segment that is being written back). The registry and the country databases are this
//! worker's own pointers, the journal is mapped memory, tallies and repeat windows are atomics. A lock is
//! taken at three moments, and nobody holds one of these while touching a file: the first scan of a sign since
//! the start makes its tally (one of the map's shards, and the list of all); the scan that a full segment has no room for begins
//! the next, which is ready (the journal's ledger, and those that wake its threads); and the first request
//! after a registry or a country database was replaced fetches the new one (tokio's `watch`).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::StatusCode;
use jiff::Timestamp;
use tokio::sync::watch;

use super::counters::Counters;
use super::misses::Misses;
use super::pages::{self, Pages};
use super::place_page;
use super::rate::UnknownRate;
use super::request::{Method, Request};
use super::response::{self, Redirects, Response};
use super::tallies::Tallies;
use crate::core::Code;
use crate::core::scan::{Agent, Outcome, Scan, Word};
use crate::journal::Writer;
use crate::observe::{self, Agents, Databases, Keys, Precision, Repeats};
use crate::registry::{Registry, Route, SignRef, Status};
use crate::system::memory;
use crate::web::Trust;

/// What the workers share: set at the start, or written by all of them.
pub struct Shared {
    /// Which proxies are believed about a visitor's address.
    pub trust: Trust,
    /// Whether scans are recorded at all.
    pub record: bool,
    /// How much of an address's origin is recorded.
    pub precision: Precision,
    /// The keys of all hashes of what visitors send.
    pub keys: Keys,
    /// The repeat window.
    pub repeats: Repeats,
    /// Scans of each sign since the start.
    pub tallies: Tallies,
    /// How many requests for unknown codes are recorded.
    pub unknown_rate: UnknownRate,
    /// Who asks for many codes that no sign has.
    pub misses: Misses,
    /// Our own pages.
    pub pages: Pages,
}

/// Answers one worker's requests, whatever connection they came by.
pub struct ScanHandler {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    registry: RefCell<View<Registry>>,
    countries: RefCell<View<Databases>>,
    agents: RefCell<Agents>,
    redirects: RefCell<Redirects>,
    writer: RefCell<Writer>,
}

/// What a scan came upon.
struct Scanned<'r> {
    /// Of the tables that were asked.
    generation: u64,
    /// The sign's, or the one that was asked for.
    code: Code,
    outcome: Outcome,
    /// `None` only where the outcome is unknown.
    sign: Option<SignRef<'r>>,
}

/// A visitor at a sign, as no more than hashes by keys that nobody knows.
#[derive(Debug, Clone, Copy)]
struct Visit {
    /// Of the user agent.
    agent: u64,
    /// Of address, user agent and code.
    hash: u64,
}

/// What a request is answered with.
enum Reply<'r> {
    /// A target, and whether another visitor's languages would lead to another.
    Redirect(&'r str, bool),
    Page(Response),
}

impl ScanHandler {
    /// A worker's own, at the newest generation.
    pub fn new(
        shared: Arc<Shared>,
        counters: Arc<Counters>,
        registry: watch::Receiver<Arc<Registry>>,
        countries: watch::Receiver<Arc<Databases>>,
        writer: Writer,
    ) -> Self {
        Self {
            shared,
            counters,
            registry: RefCell::new(View::new(registry)),
            countries: RefCell::new(View::new(countries)),
            agents: RefCell::default(),
            redirects: RefCell::default(),
            writer: RefCell::new(writer),
        }
    }

    /// Answers a request that came from `peer` at `now_ms` (milliseconds since the Unix epoch). Its body is
    /// not read.
    pub fn answer<B>(&self, peer: SocketAddr, now_ms: i64, request: hyper::Request<B>) -> Response {
        let (parts, _) = request.into_parts();
        let address = self.shared.trust.client(peer, &parts.headers);
        self.countries.borrow().seen.prefetch_index(address);
        let request = Request::read(address, now_ms, &parts);
        let is_head = request.is_head();
        // One request sees one generation.
        match self.reply(&request, self.registry.borrow_mut().newest()) {
            Reply::Redirect(target, by_language) => {
                // The request's header map becomes the response's: nothing is allocated.
                self.redirects.borrow_mut().found(parts.headers, target, by_language, is_head)
            }
            Reply::Page(page) => page,
        }
    }

    /// Finds what is asked for: a sign by its code or an alias, or one of our pages.
    fn reply<'r>(&self, request: &Request<'_>, registry: &'r Registry) -> Reply<'r> {
        if request.method == Method::Other {
            self.counters.method_not_allowed.add();
            return Reply::Page(response::method_not_allowed());
        }
        let by_alias = || registry.alias(request.target);
        let scanned = match request.route {
            Route::Code(code) => match registry.sign(code).or_else(by_alias) {
                Some(sign) => Scanned::of(sign, registry.generation),
                None => Scanned { generation: registry.generation, code, outcome: Outcome::Unknown, sign: None },
            },
            Route::Other => match by_alias() {
                Some(sign) => Scanned::of(sign, registry.generation),
                None => {
                    self.counters.other.add();
                    return Reply::Page(response::not_found());
                }
            },
            _ => return Reply::Page(self.page(request, registry)),
        };
        self.scan(request, &scanned)
    }

    /// A scan: choose the target, record the scan. What lies anywhere in memory is asked for as soon as it is known where,
    /// and comes while something else is done: a scan that waits for each in turn takes 1 µs more.
    fn scan<'r>(&self, request: &Request<'_>, scanned: &Scanned<'r>) -> Reply<'r> {
        let pages = &self.shared.pages;
        if let Some(sign) = scanned.sign {
            sign.prefetch_targets();
        }
        let Some(sign) = scanned.sign else {
            self.counters.unknown.add();
            if self.misses_too_much(request) {
                return Reply::Page(response::not_found());
            }
            let visit = self.visit(request, scanned);
            self.record(request, scanned, visit, "");
            return Reply::Page(pages.unknown(&request.languages, Some(scanned.code)));
        };
        let visit = self.visit(request, scanned);
        if scanned.outcome == Outcome::Retired {
            self.counters.retired.add();
            self.record(request, scanned, visit, "");
            return Reply::Page(pages.retired(&request.languages, sign, request.received_ms));
        }
        let targets = sign.targets(request.received_ms);
        if let Some(target) = targets.choose(&request.languages) {
            memory::prefetch(target.url);
            self.found(request, scanned, visit, target.language);
            return Reply::Redirect(target.url, targets.several_languages());
        }
        let Some((language, page)) = sign.place().page(&request.languages) else {
            return Reply::Page(response::not_found());
        };
        self.found(request, scanned, visit, language);
        Reply::Page(place_page::place(sign, page))
    }

    /// A scan that leads somewhere, in a language; or a visitor who chose another one on the page that a scan led to.
    fn found(&self, request: &Request<'_>, scanned: &Scanned<'_>, visit: Option<Visit>, language: &str) {
        // An old address has a query of its own, whatever it says.
        let is_by_code = matches!(request.route, Route::Code(code) if code == scanned.code);
        if is_by_code && request.query.is_from_page {
            self.counters.page.add();
            return;
        }
        self.counters.found.add();
        self.record(request, scanned, visit, language);
    }

    /// Counts a miss. Returns whether it is one too many of its address.
    fn misses_too_much(&self, request: &Request<'_>) -> bool {
        let is_beyond = self.shared.misses.is_beyond(request.address, request.received_ms);
        if is_beyond {
            self.counters.misses_throttled.add();
        }
        is_beyond
    }

    /// Whose visit to which sign it is; `None` where that is recorded in no case.
    fn visit(&self, request: &Request<'_>, scanned: &Scanned<'_>) -> Option<Visit> {
        let shared = &*self.shared;
        if !shared.record || request.is_head() {
            return None;
        }
        if let Some(sign) = scanned.sign {
            shared.tallies.prefetch(sign);
        }
        let agent = shared.keys.agent(request.user_agent);
        let hash = shared.keys.visit(request.address, agent, scanned.code);
        shared.repeats.prefetch(hash);
        self.countries.borrow().seen.prefetch(request.address);
        Some(Visit { agent, hash })
    }

    /// Makes the scan anonymous, then writes it down. `served` is the language of the target or page sent.
    fn record(&self, request: &Request<'_>, scanned: &Scanned<'_>, visit: Option<Visit>, served: &str) {
        let (shared, now_ms) = (&*self.shared, request.received_ms);
        if request.is_head() {
            self.counters.head.add();
            return;
        }
        if scanned.outcome == Outcome::Unknown && !shared.unknown_rate.allows(now_ms) {
            self.counters.unknown_unrecorded.add();
            return;
        }
        let Some(Visit { agent, hash }) = visit else { return };
        let mut client = self.agents.borrow_mut().classify(request.user_agent, agent);
        if client.agent == Agent::Person && observe::is_prefetch(request.headers) {
            client.agent = Agent::Prefetch;
        }
        let scan = Scan {
            ts_ms: now_ms,
            generation: scanned.generation,
            code: scanned.code,
            outcome: scanned.outcome,
            channel: request.query.channel,
            client,
            lang: observe::language(request.languages.primary()),
            served: Word::from(served).unwrap_or_default(),
            origin: self.countries.borrow_mut().newest().origin(request.address, shared.precision),
            repeat: shared.repeats.is_repeat(hash, now_ms),
        };
        // Before the record, whose stores it would wait for.
        if let Some(sign) = scanned.sign {
            shared.tallies.count(sign, &scan);
        }
        self.writer.borrow_mut().append(&scan);
    }

    /// Whether what looks like a code is the alias of a sign, and no sign's code.
    pub(super) fn is_alias(&self, code: Code, target: &str) -> bool {
        let mut view = self.registry.borrow_mut();
        let registry = view.newest();
        registry.sign(code).is_none() && registry.alias(target).is_some()
    }

    /// Whether the other side of a connection is a proxy that speaks HTTP.
    pub(super) fn trusts(&self, peer: SocketAddr) -> bool {
        self.shared.trust.trusts(peer.ip().to_canonical())
    }

    /// Anything but a scan.
    fn page(&self, request: &Request<'_>, registry: &Registry) -> Response {
        let (pages, languages) = (&self.shared.pages, &request.languages);
        if let Route::Inspect(code) = request.route {
            self.counters.inspected.add();
            return match registry.sign(code) {
                Some(sign) => pages.inspect(languages, sign, request.received_ms),
                None if self.misses_too_much(request) => response::not_found(),
                None => pages.unknown(languages, Some(code)),
            };
        }
        self.counters.page.add();
        match request.route {
            Route::Home => pages.home(languages),
            Route::Typed => match request.typed_code() {
                Some(code) => response::redirect(StatusCode::SEE_OTHER, &format!("/{code}?c=typed")),
                None => pages.unknown(languages, None),
            },
            Route::Robots => response::fixed("text/plain; charset=utf-8", pages::ROBOTS),
            Route::Favicon => response::fixed("image/svg+xml", pages::FAVICON),
            Route::Code(_) | Route::Inspect(_) | Route::Other => response::not_found(),
        }
    }

    /// A few times a second: an idle worker lets go of old generations, and of a segment that is old enough.
    pub fn tick(&self) {
        self.registry.borrow_mut().newest();
        self.countries.borrow_mut().newest();
        self.writer.borrow_mut().tick();
        self.shared.misses.forget_old(Timestamp::now().as_millisecond());
    }

    /// What this worker counts.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

impl<'r> Scanned<'r> {
    fn of(sign: SignRef<'r>, generation: u64) -> Self {
        let outcome = if sign.status() == Status::Retired { Outcome::Retired } else { Outcome::Found };
        Self { generation, code: sign.code(), outcome, sign: Some(sign) }
    }
}

/// A worker's own pointer to what others replace.
pub(super) struct View<T> {
    newest: watch::Receiver<Arc<T>>,
    seen: Arc<T>,
}

impl<T> View<T> {
    pub fn new(mut newest: watch::Receiver<Arc<T>>) -> Self {
        let seen = newest.borrow_and_update().clone();
        Self { newest, seen }
    }

    /// The newest there is: one atomic load, and a lock only when it has been replaced.
    pub fn newest(&mut self) -> &T {
        if self.newest.has_changed().unwrap_or(false) {
            self.seen = self.newest.borrow_and_update().clone();
        }
        &self.seen
    }
}
