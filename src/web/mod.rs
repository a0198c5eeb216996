//! What the two ports for few people have in common: operators' and administrators'.
//!
//! Owns their connections, which are bounded in number and time; and who is believed about a client's address.

mod server;
mod trust;

pub use server::{Activity, Connections, Response, serve};
pub use trust::Trust;
