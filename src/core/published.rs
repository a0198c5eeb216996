//! A value that is swapped whole, and freed off the workers.
//!
//! Owns the newest value and those before it that a reader may still hold. Freeing a registry of a
//! million signs, or a country database, takes tens of milliseconds, on the thread that drops the last
//! reference. So a replaced value is kept in a list here until no reader has it: the last reference is
//! always dropped by the caller of [`Published::free_old`], never by a worker.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::lock::lock;

/// The newest value, and the ones that it replaced.
#[derive(Debug)]
pub struct Published<T> {
    newest: watch::Sender<Arc<T>>,
    old: Mutex<Vec<Arc<T>>>,
}

impl<T> Published<T> {
    /// With its first value.
    pub fn new(first: T) -> Self {
        Self { newest: watch::Sender::new(Arc::new(first)), old: Mutex::default() }
    }

    /// A view of the newest, which tells its reader when there is a newer one.
    pub fn subscribe(&self) -> watch::Receiver<Arc<T>> {
        self.newest.subscribe()
    }

    /// The newest.
    pub fn current(&self) -> Arc<T> {
        self.newest.borrow().clone()
    }

    /// Puts another in its place. Readers see the one or the other, whole.
    pub fn replace(&self, next: T) {
        let before = self.newest.send_replace(Arc::new(next));
        lock(&self.old).push(before);
    }

    /// Frees what no reader holds any more, on this thread. For housekeeping, off the workers.
    pub fn free_old(&self) {
        let mut old = lock(&self.old);
        // No reader can get a value that only the list holds: only the newest is handed out.
        let free: Vec<Arc<T>> = old.extract_if(.., |value| Arc::strong_count(value) == 1).collect();
        // The list is unlocked while they are freed.
        drop(old);
        drop(free);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{self, ThreadId};

    use super::*;

    /// Tells on which thread it was freed.
    struct Told(u32, mpsc::Sender<(u32, ThreadId)>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.1.send((self.0, thread::current().id())).ok();
        }
    }

    #[test]
    fn the_last_to_let_go_is_never_a_reader() {
        let (freed, told) = mpsc::channel();
        let published = Published::new(Told(1, freed.clone()));
        let mut view = published.subscribe();
        let seen = view.borrow_and_update().clone();
        published.replace(Told(2, freed));
        published.free_old();
        assert!(told.try_recv().is_err(), "a reader holds it");
        thread::spawn(move || {
            assert_eq!(seen.0, 1);
            drop(seen);
            assert_eq!(view.borrow_and_update().0, 2);
        })
        .join()
        .expect("the reader ends");
        assert!(told.try_recv().is_err(), "the reader did not free it");
        published.free_old();
        assert_eq!(told.try_recv(), Ok((1, thread::current().id())));
        assert_eq!(published.current().0, 2);
    }
}
