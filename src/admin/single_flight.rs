//! Work that is done once for all who ask for it at once.
//!
//! Owns when it is done. At most one flight is under way, on a thread of its own, and at most one
//! waits: whoever comes while one is under way joins the next, which begins after they came, so
//! what they get is never older than their request.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use tokio::sync::oneshot;

use crate::core::lock;

/// Some work, and those who wait for it.
pub(super) struct SingleFlight<T> {
    /// The thread's name.
    name: &'static str,
    /// Is given whether one of those who joined insists (as a forced reload does).
    work: Box<dyn Fn(bool) -> T + Send + Sync>,
    queue: Mutex<Queue<T>>,
}

struct Queue<T> {
    running: bool,
    insists: bool,
    waiting: Vec<oneshot::Sender<T>>,
}

impl<T: Clone + Send + 'static> SingleFlight<T> {
    pub fn new(name: &'static str, work: impl Fn(bool) -> T + Send + Sync + 'static) -> Arc<Self> {
        let queue = Mutex::new(Queue { running: false, insists: false, waiting: Vec::new() });
        Arc::new(Self { name, work: Box::new(work), queue })
    }

    /// Joins the next flight, which begins from now on. An error is the system's, which refuses a
    /// thread; the receiver is closed where the work panics.
    pub fn join(self: &Arc<Self>, insists: bool) -> io::Result<oneshot::Receiver<T>> {
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.queue();
        if !queue.running {
            let flight = self.clone();
            // It waits for the lock until the request is in the queue.
            thread::Builder::new().name(self.name.to_owned()).spawn(move || flight.run())?;
            queue.running = true;
        }
        queue.insists |= insists;
        queue.waiting.push(sender);
        Ok(receiver)
    }

    fn run(&self) {
        let _unwinds = Unwinds(self);
        loop {
            let mut queue = self.queue();
            if queue.waiting.is_empty() {
                queue.running = false;
                return;
            }
            let (waiting, insists) = (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.insists));
            drop(queue);
            let result = (self.work)(insists);
            for waiting in waiting {
                // One that has hung up meanwhile.
                waiting.send(result.clone()).ok();
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        lock(&self.queue)
    }
}

/// Where the work panics, those who wait for it are told so, and the next flight begins anew.
struct Unwinds<'f, T>(&'f SingleFlight<T>);

impl<T> Drop for Unwinds<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut queue = lock(&self.0.queue);
            queue.running = false;
            queue.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_comes_meanwhile_joins_the_next_flight() {
        let (begun, begins) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel::<u32>();
        let goes_on = Mutex::new(goes_on);
        let flight = SingleFlight::new("test", move |insists| {
            begun.send(insists).expect("the test listens");
            goes_on.lock().expect("one at a time").recv().expect("the test tells")
        });
        let join = |insists| flight.join(insists).expect("a thread");
        let first = join(false);
        assert_eq!(begins.recv(), Ok(false));
        let others = [join(false), join(true), join(false)];
        go_on.send(1).expect("it waits");
        assert_eq!(begins.recv(), Ok(true), "one of them insists, so the flight does");
        go_on.send(2).expect("it waits");
        assert_eq!(first.blocking_recv(), Ok(1));
        assert!(others.into_iter().all(|other| other.blocking_recv() == Ok(2)), "one flight for all three");
        assert!(begins.try_recv().is_err());
        // And it begins again, for somebody who has hung up too: a signal waits for no answer.
        drop(join(false));
        assert_eq!(begins.recv(), Ok(false), "what was insisted on is not insisted on again");
        go_on.send(3).expect("it waits");
    }
}
