//! How much the embedded store keeps.
//!
//! Owns its limits as they are configured, and what they mean for the next batch. What is deleted, and how, is
//! `sqlite/room.rs`'s.

use std::time::Duration;

use jiff::Timestamp;

/// Limits of the embedded store. Without any, it keeps all scans.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Scans that are older are dropped; `None`: none are for their age.
    pub keep: Option<Duration>,
    /// Bytes of the file that are in use, at most, and one batch; `None`: any number. What is counted by hour is
    /// among them and is never dropped: with [`WhenFull::DropOldest`] it may grow beyond.
    pub max_size: Option<u64>,
    /// What happens at `max_size`.
    pub when_full: WhenFull,
    /// Bytes of the file system that are left free: below, no batch is stored, and the journal keeps them.
    pub min_free: u64,
}

impl Limits {
    /// At the least, scans are kept for so long: the rule of sign health reads those of the last
    /// [`RECENT_DAYS`](crate::health::RECENT_DAYS), from the start of an hour on.
    pub const LEAST_KEEP: Duration = Duration::from_hours(24 * (crate::health::RECENT_DAYS.unsigned_abs() as u64 + 1));

    /// Whether any scan is ever dropped.
    pub(super) const fn may_drop(&self) -> bool {
        self.keep.is_some() || (self.max_size.is_some() && matches!(self.when_full, WhenFull::DropOldest))
    }
}

/// What a store does that has reached its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It drops the oldest scans.
    #[default]
    DropOldest,
    /// It takes no more, and nothing is recorded.
    Stop,
}

/// What the limits mean for the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Room {
    /// There is room.
    #[default]
    Enough,
    /// There is room, and more to drop.
    More,
    /// There is none until more was dropped.
    NotYet,
    /// There is none and nothing left to drop, and it is taken all the same: what is counted by hour fills the store.
    Beyond,
    /// There is none, and nothing is to be dropped for it.
    Full,
}

/// What one step has dropped.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Step {
    /// Scans beyond their age.
    pub by_age: u64,
    /// Scans beyond the size.
    pub by_size: u64,
    pub room: Room,
}

/// What is no longer kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// Scans before this time.
    pub before: Timestamp,
    /// How many were dropped, so far.
    pub scans: u64,
}
