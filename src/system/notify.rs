//! What systemd is told of this process (`sd_notify(3)`), where it asks for it.
//!
//! Owns the socket and the watchdog's time. Each message has a socket of its own that does not block, so
//! that a service manager that is busy or gone holds up nobody; it is given up after [`PATIENCE`]. Without
//! `NOTIFY_SOCKET` nothing is sent.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, io};

use sd_notify::NotifyState;
use tokio::net::UnixDatagram;

/// How long a message may wait for room in the service manager's queue.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the watchdog is fed at most.
const SOONEST: Duration = Duration::from_millis(250);

/// The service manager, if it asks to be told.
#[derive(Debug)]
pub struct Manager {
    address: Option<SocketAddr>,
    /// Whether the last message did not arrive: it is logged once.
    has_failed: AtomicBool,
}

impl Manager {
    /// The one that the environment names.
    pub fn from_env() -> Self {
        let address = env::var_os("NOTIFY_SOCKET").and_then(|name| {
            address(&name).inspect_err(|error| tracing::warn!(%error, ?name, "NOTIFY_SOCKET is no address")).ok()
        });
        Self { address, has_failed: AtomicBool::new(false) }
    }

    /// The start, or a reload, is done.
    pub async fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]).await;
    }

    /// A reload begins; it ends with [`Self::ready`].
    pub async fn reloading(&self) {
        // The time tells it from one that was asked for later.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]).await,
            Err(error) => tracing::warn!(%error, "there is no monotonic clock"),
        }
    }

    /// The stop begins.
    pub async fn stopping(&self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]).await;
    }

    /// All is well: the watchdog's time begins anew.
    pub async fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]).await;
    }

    /// How often to say that all is well: half of the time after which the service manager ends a process
    /// that does not. `None` where it does not watch.
    pub fn watchdog_period(&self) -> Option<Duration> {
        let time = sd_notify::watchdog_enabled().filter(|time| self.address.is_some() && !time.is_zero());
        time.map(|time| (time / 2).max(SOONEST))
    }

    async fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(address) = &self.address else { return };
        let message: String = states.iter().flat_map(|state| [state.to_string(), "\n".to_owned()]).collect();
        let sent = tokio::time::timeout(PATIENCE, send(address, &message)).await;
        let error = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).err();
        let had_failed = self.has_failed.swap(error.is_some(), Ordering::Relaxed);
        if let Some(error) = error.filter(|_| !had_failed) {
            tracing::warn!(%error, ?message, "the service manager can't be told");
        }
    }
}

/// A path, or after an `@` a name in the abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::other("expected an absolute path, or a name after an @")),
    }
}

/// `sd_notify::notify` would block, and knows no abstract names.
async fn send(address: &SocketAddr, message: &str) -> io::Result<()> {
    let socket = StdDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(address)?;
    UnixDatagram::from_std(socket)?.send(message.as_bytes()).await?;
    Ok(())
}
