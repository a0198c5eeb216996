//! The log, which no other part waits for.
//!
//! Owns standard error while the edge serves. A line goes into a bounded queue, and one thread
//! writes what is in it. Where the queue is full, because nobody reads the pipe, or a write fails,
//! because the disk is full or the reader is gone, the line is dropped and counted, and the thread
//! that logged it goes on. Nothing here panics, and only the writing thread ever waits: Rust's own
//! `eprintln!` ends the process where standard error can't be written, and its lock on it is held
//! for as long as a write blocks, so neither is used. (tracing-appender has such a queue too. Its
//! guard prints to standard output where the queue is full at the end, which can fail and block.)

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio::stderr;
use tracing_subscriber::fmt::MakeWriter;

use crate::core::metrics::Families;

/// Lines that may wait to be written: about 2 MB.
const LINES: usize = 8192;
/// How long [`Log::finish`] waits for the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);
/// The most that a write to a pipe which has room takes without blocking (`PIPE_BUF`, pipe(7)).
const AT_ONCE: usize = 4096;

/// Where log lines go. Clones share the queue.
#[derive(Debug, Clone)]
pub struct Log {
    queue: SyncSender<Vec<u8>>,
    dropped: Arc<DroppedLines>,
}

/// Counts of the lines that were dropped, and of those still to be written.
#[derive(Debug, Default)]
pub struct DroppedLines {
    /// Lines that the queue has taken.
    taken: AtomicU64,
    /// Those of them that were written, or dropped because a write failed.
    done: AtomicU64,
    queue_full: AtomicU64,
    write_failed: AtomicU64,
}

impl DroppedLines {
    /// Lines that were dropped, by reason.
    pub fn by_reason(&self) -> [(&'static str, u64); 2] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("queue_full", of(&self.queue_full)), ("write_failed", of(&self.write_failed))]
    }
}

impl Collector for DroppedLines {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        let mut dropped = families.counters(
            "waypost_log_lines_dropped_total",
            "Log lines that were dropped because they could not be written, by reason.",
        );
        for (reason, count) in self.by_reason() {
            dropped.add(&[("reason", reason)], count);
        }
        drop(dropped);
        families.into_vec()
    }
}

impl Log {
    /// Starts the thread that writes, and from now on reports panics without waiting, and ends the process with them.
    pub fn start() -> io::Result<Self> {
        let (queue, lines) = sync_channel(LINES);
        let dropped = Arc::new(DroppedLines::default());
        let counts = dropped.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&lines, &counts))?;
        std::panic::set_hook(Box::new(|panic| {
            let name = thread::current().name().unwrap_or("?").to_owned();
            let mut text = format!("thread '{name}' {panic}\n");
            let trace = std::backtrace::Backtrace::capture();
            if trace.status() == std::backtrace::BacktraceStatus::Captured {
                // Into a String, which never fails.
                writeln!(text, "{trace}").ok();
            }
            say(&text, Duration::ZERO);
            if !ends_alone(&name) {
                std::process::abort();
            }
        }));
        Ok(Self { queue, dropped })
    }

    /// The counts, for the metrics.
    pub fn dropped_lines(&self) -> Arc<DroppedLines> {
        self.dropped.clone()
    }

    /// Waits until what was logged so far is written, for half a second at most.
    pub fn finish(&self) {
        let until = Instant::now() + LAST_LINES;
        while self.dropped.done.load(Ordering::Acquire) < self.dropped.taken.load(Ordering::Acquire)
            && Instant::now() < until
        {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Whether a panic ends the thread of this name alone. Elsewhere a broken invariant ends the process, and its manager
/// starts it anew; but a page that trips over a table must not take the plates with it, again and again.
fn ends_alone(thread: &str) -> bool {
    thread.starts_with("console") || matches!(thread, "changes" | "figures" | "tables-read")
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Log;

    fn make_writer(&'a self) -> &'a Log {
        self
    }
}

impl io::Write for &Log {
    /// One line for each call, as tracing-subscriber calls it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.dropped.taken.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(line.to_vec()).is_err() {
            self.dropped.taken.fetch_sub(1, Ordering::AcqRel);
            self.dropped.queue_full.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(lines: &Receiver<Vec<u8>>, dropped: &DroppedLines) {
    for line in lines {
        if write_whole(&line).is_err() {
            dropped.write_failed.fetch_add(1, Ordering::Relaxed);
        }
        dropped.done.fetch_add(1, Ordering::AcqRel);
    }
}

fn write_whole(mut rest: &[u8]) -> Result<(), Errno> {
    while !rest.is_empty() {
        match rustix::io::write(stderr(), rest) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            // Another process that shares it has made it non-blocking.
            Err(Errno::AGAIN) => {
                if !has_room(None)? {
                    return Err(Errno::AGAIN);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes to standard error past the queue. Text that finds no room there within `timeout` is dropped.
pub fn say(text: &str, timeout: Duration) {
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    for piece in text.as_bytes().chunks(AT_ONCE) {
        if !has_room(Some(&timeout)).unwrap_or(false) || rustix::io::write(stderr(), piece).is_err() {
            return;
        }
    }
}

/// Waits until something can be written, for ever without a timeout.
fn has_room(timeout: Option<&Timespec>) -> Result<bool, Errno> {
    let mut standard_error = [PollFd::from_borrowed_fd(stderr(), PollFlags::OUT)];
    match poll(&mut standard_error, timeout) {
        Err(Errno::INTR) => Ok(true),
        ready => Ok(ready? > 0),
    }
}
