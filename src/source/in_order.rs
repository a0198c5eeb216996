//! Many pieces of work of one kind, on one thread or on several.
//!
//! Owns that nobody can tell from the results on how many threads they were made: they come in the order of the pieces.

use std::collections::BTreeMap;
use std::sync::{Mutex, mpsc};
use std::thread;

use crate::core::lock;

/// Does something with each piece, on so many threads, and gives what comes of it to `take` in the order of the pieces. On
/// one thread that is this one.
pub(super) fn in_order<P, R: Send>(
    pieces: impl Iterator<Item = P> + Send,
    threads: usize,
    work: impl Fn(P) -> R + Sync,
    mut take: impl FnMut(R),
) {
    if threads < 2 {
        pieces.for_each(|piece| take(work(piece)));
        return;
    }
    let pieces = Mutex::new(pieces.enumerate());
    thread::scope(|scope| {
        // What is made before its turn is kept until that has come.
        let (sender, receiver) = mpsc::sync_channel(threads);
        for _ in 0..threads {
            let sender = sender.clone();
            let (pieces, work) = (&pieces, &work);
            scope.spawn(move || {
                let next = || lock(pieces).next();
                while let Some((number, piece)) = next()
                    && sender.send((number, work(piece))).is_ok()
                {}
            });
        }
        drop(sender);
        let (mut early, mut next) = (BTreeMap::new(), 0);
        for (number, result) in receiver {
            early.insert(number, result);
            while let Some(result) = early.remove(&next) {
                take(result);
                next += 1;
            }
        }
    });
}
