//! How far an orderly stop has come.

/// The stages of an orderly stop, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It has not begun.
    Serving,
    /// New connections are still taken; each is told to end with its response.
    LameDuck,
    /// Listeners close, and connections end.
    Closing,
    /// Everything but the admin port has ended.
    Ended,
}
