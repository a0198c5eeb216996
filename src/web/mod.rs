//! What the two ports for few people have in common: operators' and administrators'.
//!
//! Owns their connections, which are bounded in number and time.
