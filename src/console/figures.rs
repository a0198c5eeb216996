//! How the signs are used, as the store has counted it: kept in memory and renewed in the background, so that no page
//! waits for a store.

/// The last 30 days of each sign, as of a moment.
#[derive(Debug, Default)]
pub struct Figures {}
