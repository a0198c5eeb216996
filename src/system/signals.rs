//! SIGTERM, SIGINT and SIGHUP, handled from the very start and whatever else the process does.
//!
//! Owns their thread, which does nothing but wait for them: a hung disk, a blocked log or a
//! control thread that is busy never keeps one from being handled. The first SIGTERM or SIGINT
//! asks for an orderly end; if the edge is still starting it has nothing to put in order, and ends.
//! The second ends it at once, and so does an orderly end that takes longer than it may: the
//! journal is then left to the next start, as after a crash.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::logging::Log;
use crate::core::lock;

/// How often it is checked whether a stop takes too long.
const SLICE: Duration = Duration::from_millis(100);

/// What was asked for by signals.
#[derive(Debug)]
pub struct Signals {
    state: Mutex<State>,
    stop_asked: Condvar,
    /// Notified of each SIGHUP. One that comes while nothing waits for it is kept.
    pub hangup: Notify,
    log: Log,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    /// How long an orderly end may take, once there is something to put in order.
    bound: Option<Duration>,
}

/// The three that are handled.
struct Handled {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Handles signals from now on. Fails where the system refuses a runtime, a handler or a thread.
    pub fn handle(log: Log) -> io::Result<Arc<Self>> {
        let signals =
            Arc::new(Self { state: Mutex::default(), stop_asked: Condvar::new(), hangup: Notify::new(), log });
        let runtime = Builder::new_current_thread().enable_all().build()?;
        // Before the thread is there, so that none is missed once this has returned.
        let handled = {
            let _inside = runtime.enter();
            Handled {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hangup: signal(SignalKind::hangup())?,
            }
        };
        let of_thread = signals.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(of_thread.wait(handled)))?;
        Ok(signals)
    }

    /// Waits for the first SIGTERM or SIGINT. From this call on a stop is orderly, and may take `bound`
    /// at most.
    pub fn wait_for_stop(&self, bound: Duration) {
        let mut state = self.state();
        state.bound = Some(bound);
        drop(self.stop_asked.wait_while(state, |state| !state.stopping).unwrap_or_else(PoisonError::into_inner));
    }

    async fn wait(&self, mut handled: Handled) {
        let mut left: Option<Duration> = None;
        // In slices: a process that is frozen meanwhile (SIGSTOP, a virtual machine that is paused)
        // does not find all of the time gone when it goes on.
        let mut slices = tokio::time::interval(SLICE);
        slices.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let status = tokio::select! {
                _ = handled.interrupt.recv() => 130,
                _ = handled.terminate.recv() => 143,
                _ = handled.hangup.recv() => {
                    self.hangup.notify_one();
                    continue;
                }
                _ = slices.tick(), if left.is_some() => {
                    left = left.map(|left| left.saturating_sub(SLICE));
                    if left.is_some_and(|left| !left.is_zero()) {
                        continue;
                    }
                    tracing::error!("the stop takes longer than its bound: exiting; the next start recovers what is in the journal");
                    self.end(1)
                }
            };
            let mut state = self.state();
            if std::mem::replace(&mut state.stopping, true) {
                tracing::warn!(
                    "second signal to stop: exiting at once; the next start recovers what is in the journal"
                );
                self.end(status);
            }
            let Some(bound) = state.bound else {
                tracing::info!("signal to stop during the start: exiting");
                self.end(0)
            };
            left = Some(bound);
            drop(state);
            self.stop_asked.notify_all();
        }
    }

    fn end(&self, status: i32) -> ! {
        self.log.finish();
        std::process::exit(status)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
