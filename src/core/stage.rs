//! The stages of an orderly stop.

/// The stages of an orderly stop, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The stop has not begun.
    Serving,
    /// Connections are still accepted; each response has `Connection: close`.
    LameDuck,
    /// Listeners close, and connections end within the time for them.
    Closing,
    /// Everything but the admin port has ended.
    Ended,
}
