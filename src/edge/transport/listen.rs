//! The public port's sockets.
//!
//! Owns every socket option. Each worker has listeners of its own on the same
//! addresses (`SO_REUSEPORT`), and the kernel spreads new connections over them, so
//! accepting takes no lock between cores.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use nix::libc;
use nix::{setsockopt_impl, sockopt_impl};
use rustix::fd::OwnedFd;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use super::Protocol;

/// Connections that may wait to be accepted, for each listener.
const BACKLOG: i32 = 4096;

/// Bytes of responses that the kernel takes for a client that does not read them, of which it makes twice as many
/// (socket(7)): some dozen pages. Left to itself it takes 2.8 MB for each.
const UNREAD: usize = 64 << 10;

/// A socket of the public port.
#[derive(Debug)]
pub struct Listener {
    /// It listens once [`listen`] was called, or since before the start.
    pub socket: TcpListener,
    /// What its connections begin with.
    pub protocol: Protocol,
    /// Whether somebody else holds it, too, and hands it to the next process: what waits in its queue at
    /// the stop is left to that.
    pub is_inherited: bool,
}

/// Binds one listener for each address; `addresses` gets the ports that were drawn for 0.
/// None takes connections before [`listen`].
pub fn bind(addresses: &mut [SocketAddr], protocol: Protocol) -> Result<Vec<Listener>, (SocketAddr, io::Error)> {
    let bound = |address: &mut SocketAddr| bind_one(address, protocol).map_err(|error| (*address, error));
    addresses.iter_mut().map(bound).collect()
}

// `TCP_DEFER_ACCEPT` (tcp(7)); std's setter is unstable, rustix has none.
sockopt_impl!(DeferAccept, SetOnly, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, usize);

/// Seconds that the kernel keeps a silent connection to itself before a worker sees it.
const SILENCE: usize = 1;

/// Milliseconds that the kernel tries to send what nobody acknowledges, also after a connection was closed: else it
/// keeps the responses of clients that have stopped reading, or have vanished, for minutes (tcp(7)).
const UNACKNOWLEDGED: u32 = 30_000;

/// Begins to take connections. Called once nothing can fail any more: the kernel gives a
/// listener its share of them even if another edge has the port, and closes them with it. One that
/// is inherited gets the same backlog and options.
pub fn listen(listeners: &[Listener]) -> io::Result<()> {
    listeners.iter().try_for_each(|Listener { socket, .. }| {
        // Accepted sockets inherit these on Linux, which saves system calls for each.
        sockopt::set_tcp_nodelay(socket, true)?;
        sockopt::set_socket_send_buffer_size(socket, UNREAD)?;
        sockopt::set_tcp_user_timeout(socket, UNACKNOWLEDGED)?;
        net::listen(socket, BACKLOG)?;
        // The visitor speaks first: with the request there, accepting and reading take one wake.
        Ok(nix::sys::socket::setsockopt(socket, DeferAccept, &SILENCE)?)
    })
}

fn bind_one(address: &mut SocketAddr, protocol: Protocol) -> io::Result<Listener> {
    let socket = match socket_for(*address) {
        // A host without IPv6 still has IPv4.
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() => {
            tracing::warn!(%error, "no IPv6 here; listening on IPv4 alone");
            *address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            socket_for(*address)?
        }
        socket => socket?,
    };
    if address.is_ipv6() {
        // `[::]` means both families, whatever the host's default.
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    net::bind(&socket, address)?;
    let socket = TcpListener::from(socket);
    *address = socket.local_addr()?;
    Ok(Listener { socket, protocol, is_inherited: false })
}

fn socket_for(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?)
}
