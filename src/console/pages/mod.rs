//! The pages, a file each.

pub(super) mod about;
pub(super) mod account;
pub(super) mod accounts;
pub(super) mod change;
pub(super) mod changes;
pub(super) mod history;
pub(super) mod home;
pub(super) mod import;
pub(super) mod map;
pub(super) mod overrides;
pub(super) mod place;
pub(super) mod places;
pub(super) mod replace;
pub(super) mod sign;
pub(super) mod signs;
