//! The sink of the benchmarks as a process of its own: what `benches/compare` delivers to.
//!
//! Prints its address. A line on its input, `open` or `shut`, says whether inserts are
//! answered; it ends with its input, and so with the process that started it.
#![allow(clippy::print_stdout, missing_docs, reason = "its address is its output")]

#[path = "../sink/mod.rs"]
mod sink;

use std::io;

fn main() -> io::Result<()> {
    let sink = sink::Sink::start()?;
    println!("{}", sink.address);
    for line in io::stdin().lines() {
        sink.open(line? == "open");
        // The one who asked waits for this line.
        println!("done");
    }
    Ok(())
}
