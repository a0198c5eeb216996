//! How a thread that sleeps is woken, and told to end.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::core::lock;

/// Wakes one sleeping thread. A call while it is awake is heard when it would sleep next.
#[derive(Debug, Default)]
pub(super) struct WakeUp {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_called: bool,
    is_stopped: bool,
}

impl WakeUp {
    /// Wakes the thread.
    pub fn call(&self) {
        self.lock().is_called = true;
        self.changed.notify_one();
    }

    /// Wakes the thread for the last time: from here on it is told to end.
    pub fn stop(&self) {
        self.lock().is_stopped = true;
        self.changed.notify_one();
    }

    /// Sleeps until it is called or stopped, for at most the given time.
    pub fn wait(&self, timeout: Duration) {
        let waited =
            self.changed.wait_timeout_while(self.lock(), timeout, |state| !state.is_called && !state.is_stopped);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_called = false;
    }

    /// Whether the thread is to end.
    pub fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
