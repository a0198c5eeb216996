//! Reloads whenever the tables change.
//!
//! Owns the times: at an event of the operating system, or else at the poll. Neither is enough alone: an
//! event is lost on a network share and when a folder is swapped, and a poll can't know that a
//! writer has only paused.

use std::sync::Arc;
use std::time::Duration;

use super::gather::When;
use super::publisher::Publisher;
use super::table_thread::{SETTLE, TableState, TableThread};

/// Reloads whenever the files change, until dropped; `poll` is the longest pause between two looks at
/// them. Asks the tables' threads and never the disk, so that it may run where nothing may wait.
pub async fn watch(publisher: Arc<Publisher>, poll: Duration) {
    publisher.tables().iter().for_each(TableThread::watch);
    let mut logged = [TableState::Unchanged; 3];
    let mut pause = SETTLE / 2;
    loop {
        publisher.tables().iter().for_each(TableThread::look);
        let _either = tokio::time::timeout(pause, publisher.table_changed()).await;
        publisher.free_old();
        for (table, logged) in publisher.tables().iter().zip(&mut logged) {
            log(table, logged);
        }
        // Asked first: what settles between the two questions is then asked for again soon, and not at the next poll.
        pause = if publisher.is_settling() { SETTLE / 2 } else { poll };
        if publisher.is_due() {
            let task = publisher.clone();
            tokio::task::spawn_blocking(move || task.reload_when(When::Settled, false).is_some()).await.ok();
        }
    }
}

/// Logs once when the other tables begin to be reloaded without this one, and once when that ends.
fn log(table: &TableThread, logged: &mut TableState) {
    let (now, path) = (table.state(), table.path.display());
    let goes_on = "the others are reloaded without it";
    match now {
        _ if now == *logged => {}
        TableState::NeverSettles => tracing::warn!(%path, "a table changes all the time; {goes_on}"),
        TableState::Hangs => tracing::warn!(%path, "a table does not answer; {goes_on}"),
        TableState::Unchanged if *logged == TableState::NeverSettles || *logged == TableState::Hangs => {
            tracing::info!(%path, "a table has settled");
        }
        // States on the way from one that is logged to another.
        TableState::Settled | TableState::Settling | TableState::Unchanged => return,
    }
    *logged = now;
}
