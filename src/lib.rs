//! Waypost: the service behind the QR codes on street plates, relics and scenic sites.
//!
//! # The life of a scan
//!
//! ```text
//! worker thread (one per core, its own listeners, its own runtime)            edge/worker.rs
//!   accept, if there is room → PROXY header, TLS, where they are spoken        edge/transport/
//!          → read the head → canonical code → sign in this generation
//!          → target in the visitor's language, or else the page that was made of the
//!            place's text → who and where, made anonymous
//!          → append to this worker's segment → respond                        edge/scan.rs
//!                    │  mapped memory, which outlives the process
//!                    ▼
//! journal threads                                                             journal/
//!   one has the next segment ready; the other seals by size or age, and syncs on a timer
//!                    │  sealed files
//!                    ▼
//! delivery thread                                                             store/delivery.rs
//!   sealed segment → one batch → ClickHouse or SQLite confirms it → delete the segment
//!                    │  counts
//!                    ▼
//! check-up thread, once a day                                                 store/checkup.rs
//!   what was counted → the rule → the state of each sign → back to the store  health/
//! ```
//!
//! `edge/scan.rs` is the upper half as code, top to bottom; with this page it is enough to follow a
//! scan. There is one hand-over, through files, and no queue in memory: what the edge has answered is
//! in the mapped file of its worker.
//!
//! # Layers
//!
//! ```text
//! layer 3: app, cli, config
//! layer 2: edge, admin, console
//! layer 1: registry, source, observe, journal, store, health, certificates, history, accounts, changes, web
//! layer 0: core, system
//! beside:  system → core
//! beside:  source → registry
//! beside:  health → registry
//! beside:  store → journal, registry, health
//! beside:  accounts → history
//! beside:  changes → registry, source, history
//! beside:  app → config
//! beside:  cli → app, config
//! never:   edge → source, store, history, accounts, changes
//! ```
//!
//! Layer 0 has the vocabulary (`core`) and the operating system (`system`), layer 1 the parts of the
//! service, layer 2 its three doors (`edge` for visitors, `admin` for operators, `console` for administrators), layer 3
//! configuration, composition and commands. Imports point down, and within a layer only as the lines with `beside` say. `edge`
//! is given a published registry and a writer, and knows neither tables nor stores.
//! `tests/house.rs` reads this list and holds it.
//!
//! # Threads
//!
//! - **worker-0** and so on answer visitors; each has its own listeners, connections and segment.
//! - **journal-make** and **journal-seal** do what is slow about files, so that no worker does.
//! - **delivery** talks to the store. These three work in pieces, and pause while workers are busy.
//! - **checkup** judges the signs once a day, by what the store has counted, and steps back.
//! - **control** has the admin port and SIGHUP. What may take long (a reload, a scrape) is
//!   done on threads of its own; a reload's steps back.
//! - **console** has the administrators' page and steps back; four more, for what blocks (pages, passwords, uploads), go
//!   last. **changes** applies change sets and notes what was changed elsewhere, **figures** asks the store for small
//!   charts: they step back. All exist where `console.listen` says so.
//! - **log** writes standard error, **signals** waits for signals: neither waits for anything else.
//! - **challenges** reads what ACME clients write, where the configuration has a folder for it.
//! - Each table, country database and certificate has a thread that touches it and steps back, so that one
//!   which hangs (a share that is gone) holds up no other.
//! - Who **steps back** has the lowest nice value; who **goes last** runs where nothing else wants the core
//!   (`system/priority.rs`).
//! - **Before the workers**, a start reads the tables on as many threads as there are cores: nothing serves yet.
//! - The main thread waits for the stop, and ends the others in order.
//!
//! # Invariants
//!
//! - A redirect waits for no store, reload or lookup outside the process, and for no disk but where
//!   the system makes it: a page of the mapped segment that is being written back, or was taken out
//!   of memory, is waited for. A lock is taken in four cases, each for moments: the first scan of
//!   a sign makes its tally (a shard of a `DashMap`, and the list of all tallies), the first that a full segment has no room for
//!   begins the next one (the journal's ledger, and those that wake its two threads), the first
//!   after a new generation or country database fetches it (the `watch` channel's), and a connection
//!   that begins or ends is counted for its address (a shard of a `DashMap`).
//! - One request sees one generation of the registry.
//! - Nothing of a request reaches a log or a metric, nor a `Location` but a canonical code, a channel
//!   of fixed words and a language tag that was parsed; of a visitor's address and user agent nothing
//!   leaves the worker's stack but hashes under a key of this process, which stay in memory.
//! - A record is written before its response is. A segment is shipped only once sealed, so
//!   a batch is the same at every try; its file is deleted only once it is stored.
//! - Every scan that is recorded is stored, pending or quarantined, or is counted as lost; one that
//!   could not be recorded is counted as dropped. Unknown codes beyond
//!   `observe.max_unknown_per_second` are only counted. (A power failure may take what was recorded
//!   after the last sync, and the count of it too.)
//! - A batch is stored only when the store itself confirms it: ClickHouse's own response, or a
//!   commit to the file that still is at the store's path.
//! - What the console changes is in the tables, in its history and served, or in none of them, at whichever instruction
//!   the process ends: the bytes are durable before a table is touched, and a start finishes what it finds.
//! - Nobody approves a change set of their own.
//! - Everything in memory and in the journal has a limit, in the configuration or in a constant
//!   beside it. SQLite's file keeps all scans but for the limits of `[store]`, counts what it drops,
//!   and takes none below `journal.min_free`; ClickHouse deletes a month of scans, and of the signs' states, 13 months after its last one (TTLs in
//!   `sql/`), and keeps for ever what it has counted by hour and the generations of the registry.

pub mod core;
pub mod system;

pub mod accounts;
pub mod certificates;
pub mod changes;
pub mod health;
pub mod history;
pub mod journal;
pub mod observe;
pub mod registry;
pub mod source;
pub mod store;
pub mod web;

pub mod admin;
pub mod console;
pub mod edge;

pub mod app;
pub mod cli;
pub mod config;
