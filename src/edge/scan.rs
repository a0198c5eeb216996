//! THE path: from a request to its answer and its record.
//!
//! Owns one worker's view of everything a scan touches. Nothing here waits: the
//! registry and the country databases are this worker's own pointers, refreshed when
//! there is a newer generation; the journal is mapped memory; tallies and repeat windows
//! are written without a lock. What the next scan costs in instructions is held by
//! `tests/cost.rs`.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::header::{ACCEPT_LANGUAGE, HeaderMap, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use tokio::sync::watch;

use super::answer::{self, Answer, Redirects};
use super::counters::{Counters, Tallies, UnknownRate};
use super::pages::{self, Pages};
use super::request::{Query, Trust, text, typed_code};
use crate::core::scan::{Agent, Outcome, Scan, Word};
use crate::core::{Code, LanguagePreference};
use crate::journal::Writer;
use crate::observe::{self, Agents, Databases, Keys, Precision, Repeats};
use crate::registry::{Registry, Route, SignRef, Status};

/// What the workers share: set at the start, or written by all of them.
pub struct Shared {
    /// Whose forwarded header is believed.
    pub trust: Trust,
    /// Whether scans are recorded at all.
    pub record: bool,
    /// How much of an address's origin is recorded.
    pub precision: Precision,
    /// Of the hashes of what visitors send.
    pub keys: Keys,
    /// The repeat window.
    pub repeats: Repeats,
    /// Scans of each sign since the start.
    pub tallies: Tallies,
    /// How many unknown codes are recorded.
    pub unknown_rate: UnknownRate,
    /// Our own pages.
    pub pages: Pages,
}

/// One worker's hands: answers requests, wherever they came from.
pub struct Scanner {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    registry: RefCell<View<Registry>>,
    countries: RefCell<View<Databases>>,
    agents: RefCell<Agents>,
    redirects: RefCell<Redirects>,
    writer: RefCell<Writer>,
}

/// A worker's own pointer to what others replace.
struct View<T> {
    newest: watch::Receiver<Arc<T>>,
    seen: Arc<T>,
}

/// What a code turned out to be.
#[derive(Clone, Copy)]
enum Found<'r> {
    Sign(SignRef<'r>),
    Retired(SignRef<'r>),
    Unknown(Code),
}

/// What a scan is answered with.
enum Reply<'r> {
    /// A redirect to a target, and whether that depends on the visitor's languages.
    Redirect(&'r str, bool),
    Page(Answer),
}

impl Scanner {
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

    /// Answers one request, that came at a time (milliseconds since the Unix epoch). Its body is not read.
    pub fn answer<B>(&self, peer: SocketAddr, now_ms: i64, request: Request<B>) -> Answer {
        let (request, _) = request.into_parts();
        let counters = &self.counters;
        if request.method != Method::GET && request.method != Method::HEAD {
            counters.method_not_allowed.add();
            return answer::method_not_allowed();
        }
        let uri = &request.uri;
        let query = Query::read(uri.query());
        let wanted = LanguagePreference::read(query.lang, text(&request.headers, ACCEPT_LANGUAGE));
        let mut registry = self.registry.borrow_mut();
        let registry = registry.newest();
        let alias = || registry.alias(uri.path_and_query().map_or("", |path| path.as_str()));
        let found = match Route::of(uri.path()) {
            Route::Code(code) => match registry.sign(code).or_else(alias) {
                Some(sign) => Found::of(sign),
                None => Found::Unknown(code),
            },
            Route::Inspect(code) => {
                counters.inspected.add();
                return match registry.sign(code) {
                    Some(sign) => self.shared.pages.inspect(&wanted, sign, now_ms),
                    None => self.shared.pages.unknown(&wanted, Some(code)),
                };
            }
            Route::Other => match alias() {
                Some(sign) => Found::of(sign),
                None => {
                    counters.other.add();
                    return answer::nothing();
                }
            },
            route => {
                counters.page.add();
                return self.fixed(route, &wanted, uri.query());
            }
        };
        let is_head = request.method == Method::HEAD;
        let visit = Visit { peer, now_ms, query, wanted, is_head };
        match self.scan(&visit, &request.headers, registry, found) {
            Reply::Redirect(target, several) => {
                self.redirects.borrow_mut().found(request.headers, target, several, is_head)
            }
            Reply::Page(page) => page,
        }
    }

    /// A scan: choose the target and record it.
    fn scan<'r>(&self, visit: &Visit<'_>, headers: &HeaderMap, registry: &Registry, found: Found<'r>) -> Reply<'r> {
        let now_ms = visit.now_ms;
        let pages = &self.shared.pages;
        match found {
            Found::Sign(sign) => {
                let targets = sign.targets(now_ms);
                let Some(target) = targets.choose(&visit.wanted) else {
                    return Reply::Page(answer::nothing());
                };
                self.counters.found.add();
                self.record(visit, headers, registry, found, target.language);
                Reply::Redirect(target.url, targets.several_languages())
            }
            Found::Retired(sign) => {
                self.counters.retired.add();
                self.record(visit, headers, registry, found, "");
                Reply::Page(pages.retired(&visit.wanted, sign, now_ms))
            }
            Found::Unknown(code) => {
                self.counters.unknown.add();
                // Somebody's text: recorded up to a rate, so that guessing can't fill a disk.
                if visit.is_head || self.shared.unknown_rate.allows(now_ms) {
                    self.record(visit, headers, registry, found, "");
                } else {
                    self.counters.unknown_unrecorded.add();
                }
                Reply::Page(pages.unknown(&visit.wanted, Some(code)))
            }
        }
    }

    /// Makes the scan anonymous, then writes it down.
    fn record(&self, visit: &Visit<'_>, headers: &HeaderMap, registry: &Registry, found: Found<'_>, served: &str) {
        if visit.is_head {
            self.counters.head.add();
            return;
        }
        let shared = &self.shared;
        if !shared.record {
            return;
        }
        // The address and the user agent live from here to the end of this function.
        let address = shared.trust.client(visit.peer, headers);
        let user_agent = headers.get(USER_AGENT).map_or(&b""[..], |value| value.as_bytes());
        let (mut client, agent_hash) = self.agents.borrow_mut().classify(user_agent, &shared.keys);
        if client.agent == Agent::Person && observe::is_prefetch(headers) {
            client.agent = Agent::Prefetch;
        }
        let (code, outcome, sign) = match found {
            Found::Sign(sign) => (sign.code(), Outcome::Found, Some(sign)),
            Found::Retired(sign) => (sign.code(), Outcome::Retired, Some(sign)),
            Found::Unknown(code) => (code, Outcome::Unknown, None),
        };
        let scan = Scan {
            ts_ms: visit.now_ms,
            generation: registry.generation,
            code,
            outcome,
            channel: visit.query.channel,
            client,
            repeat: shared.repeats.is_repeat(shared.keys.visit(address, agent_hash, code), visit.now_ms),
            lang: observe::language(visit.wanted.primary()),
            served: Word::from(served).unwrap_or_default(),
            origin: self.countries.borrow_mut().newest().origin(address, shared.precision),
        };
        self.writer.borrow_mut().append(&scan);
        if let Some(sign) = sign {
            shared.tallies.count(sign, &scan);
        }
    }

    fn fixed(&self, route: Route, wanted: &LanguagePreference<'_>, query: Option<&str>) -> Answer {
        let pages = &self.shared.pages;
        match route {
            Route::Home => pages.home(wanted),
            Route::Typed => match typed_code(query) {
                Some(code) => answer::elsewhere(StatusCode::SEE_OTHER, &format!("/{code}?c=typed")),
                None => pages.unknown(wanted, None),
            },
            Route::Robots => answer::fixed("text/plain; charset=utf-8", pages::ROBOTS),
            Route::Favicon => answer::fixed("image/svg+xml", pages::FAVICON),
            Route::Code(_) | Route::Inspect(_) | Route::Other => answer::nothing(),
        }
    }

    /// A few times a second: an idle worker lets go of old generations, and of a segment that is old enough.
    pub fn tick(&self) {
        self.registry.borrow_mut().newest();
        self.countries.borrow_mut().newest();
        self.writer.borrow_mut().tick();
    }

    /// What this worker counts.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// What a scan needs of its request beside the headers.
struct Visit<'a> {
    peer: SocketAddr,
    now_ms: i64,
    query: Query<'a>,
    wanted: LanguagePreference<'a>,
    is_head: bool,
}

impl<'r> Found<'r> {
    fn of(sign: SignRef<'r>) -> Self {
        if sign.status() == Status::Retired { Self::Retired(sign) } else { Self::Sign(sign) }
    }
}

impl<T> View<T> {
    pub fn new(mut newest: watch::Receiver<Arc<T>>) -> Self {
        let seen = newest.borrow_and_update().clone();
        Self { newest, seen }
    }

    /// The newest there is: one atomic load, and a lock only when it has been replaced.
    fn newest(&mut self) -> &T {
        if self.newest.has_changed().unwrap_or(false) {
            self.seen = self.newest.borrow_and_update().clone();
        }
        &self.seen
    }
}
