//! Taking a lock whoever held it before.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks in spite of a thread that panicked under the lock: what is locked here is whole after each
/// statement, or replaced by the next round of whoever writes it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
