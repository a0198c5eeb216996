//! Fills a journal: what `benches/compare` lets an edge deliver.
//!
//! `backlog FOLDER SCANS CODES FROM TO`: so many scans of the codes in a file, one a line, with times in order from
//! one to the other, in milliseconds since the Unix epoch.
#![allow(missing_docs, reason = "not a library")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "codes are drawn by a fraction"
)]

#[path = "../backlog/mod.rs"]
mod backlog;

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use waypost::core::Code;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, scans, codes, from, to] = &arguments[..] else {
        return Err("expected FOLDER SCANS CODES FROM TO".into());
    };
    let codes = fs::read_to_string(codes)?.lines().map(str::parse).collect::<Result<Vec<Code>, _>>()?;
    backlog::fill(Path::new(folder), scans.parse()?, &codes, from.parse()?, to.parse()?)?;
    Ok(())
}
