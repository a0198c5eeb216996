//! Waypost: the service behind the QR codes on street plates, relics and scenic sites.
//!
//! # The life of a scan
//!
//! ```text
//! worker thread (one per core, its own listener, its own runtime)
//!   accept → read → canonical code → resolve in this generation → choose language
//!          → observe (country, agent, repeat) → append to this worker's segment → answer
//!                                                      │  files, one way
//! journal threads                                      ▼
//!   one has the next segment ready; one seals by size or age, and syncs on a timer
//!                                                      │  sealed files, one way
//! delivery thread                                      ▼
//!   sealed segment → one batch → store → delete the segment
//! ```
//!
//! Start with [`edge`]'s `scan.rs`: it is this path as code.
//!
//! # Layers
//!
//! ```text
//! 3  app, cli, config                               what is configured and composed
//! 2  edge (visitors), admin (operators)             what answers
//! 1  registry, source, observe, journal, store      what they stand on
//! 0  core, system                                   words, and what the operating system may do
//! ```
//!
//! Imports point down. Modules of one layer do not import each other, but for `system` → `core`;
//! `source` → `registry`; `store` → `journal`, `registry`; `app` → `config`; `cli` → `app`,
//! `config`. `edge` imports neither `source` nor `store`: it is given a published registry and a
//! writer. `tests/house.rs` holds all of this.
//!
//! # Threads
//!
//! Workers answer. The journal's two threads do its slow half. The delivery's
//! thread talks to the store. The control thread has the admin port and the reloads, which run on
//! a thread for blocking work. What delivers or reloads has a lower priority, so that a worker on
//! the same core goes first. One thread writes the log and one heeds signals, so that neither
//! waits for anything else. Each table and country database has a thread that touches it, so that
//! one which hangs holds up no other. The main thread waits for the stop, and puts things in order.
//!
//! # Invariants
//!
//! - A redirect never waits: not for a disk, a store, a reload, a lookup outside the
//!   process, nor for a lock, but for the moment in which the first scan of a sign makes its tally.
//! - One request sees one generation of the registry.
//! - Nothing of a request reaches a `Location`, a log or a metric; of a visitor's address
//!   and user agent nothing leaves the worker's stack but hashes under a key of this process,
//!   which stay in memory.
//! - A record is written before its answer is. A segment is shipped only once sealed, so
//!   a batch is the same at every try; its file is deleted only once it is stored.
//! - Every answered scan is stored, pending, quarantined, or counted as dropped or lost.
//! - A yes counts only from the one who can give it: ClickHouse's own answer, the file at the
//!   store's path.
//! - Everything that grows has a limit in the configuration or a constant beside it.

pub mod core;
pub mod system;

pub mod journal;
pub mod observe;
pub mod registry;
pub mod source;
pub mod store;

pub mod admin;
pub mod edge;

pub mod app;
pub mod cli;
pub mod config;
