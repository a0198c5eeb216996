//! The public port's sockets.
//!
//! Owns every socket option. Each worker has listeners of its own on the same
//! addresses (`SO_REUSEPORT`), and the kernel spreads new connections over them, so
//! accepting takes no lock between cores.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use nix::libc;
use nix::sys::socket::setsockopt;
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that may wait to be accepted, for each listener.
const BACKLOG: i32 = 4096;

/// Binds one listener for each address; `addresses` gets the ports that were drawn for 0.
/// None takes connections before [`listen`].
pub fn bind(addresses: &mut [SocketAddr]) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    addresses.iter_mut().map(|address| bind_one(address).map_err(|error| (*address, error))).collect()
}

// `TCP_DEFER_ACCEPT` (tcp(7)); std's setter is unstable, socket2 and rustix have none.
sockopt_impl!(DeferAccept, SetOnly, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, usize);

/// Seconds that the kernel keeps a silent connection to itself before a worker sees it.
const SILENCE: usize = 1;

/// Begins to take connections. Called once nothing can fail any more: the kernel gives a
/// listener its share of them even if another edge has the port, and closes them with it.
pub fn listen(listeners: &[TcpListener]) -> io::Result<()> {
    listeners.iter().try_for_each(|listener| {
        SockRef::from(listener).listen(BACKLOG)?;
        // The visitor speaks first: with the request there, accepting and reading take one wake.
        Ok(setsockopt(listener, DeferAccept, &SILENCE)?)
    })
}

fn bind_one(address: &mut SocketAddr) -> io::Result<TcpListener> {
    let socket = match Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP)) {
        // A host without IPv6 still has IPv4.
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() => {
            tracing::warn!(%error, "no IPv6 here; listening on IPv4 alone");
            *address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?
        }
        socket => socket?,
    };
    if address.is_ipv6() {
        // `[::]` means both families, whatever the host's default.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit it on Linux, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&(*address).into())?;
    let listener = TcpListener::from(socket);
    *address = listener.local_addr()?;
    Ok(listener)
}
