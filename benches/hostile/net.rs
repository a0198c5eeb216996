//! Connections from addresses of our choice, and one wait for many of them.
//!
//! All of 127.0.0.0/8 is this machine, so a connection may come from any address in it, and the edge
//! counts each of them as a visitor of its own.

use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, ipproto, socket_with, sockopt};

/// Begins to connect and does not wait. `buffer`: bytes that the kernel takes for us, where it should be few.
pub fn connect_from(source: [u8; 4], door: SocketAddr, buffer: Option<usize>) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(bytes) = buffer {
        sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
    }
    bind(&socket, &SocketAddr::from((source, 0)))?;
    match connect(&socket, &door) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error.into()),
    }
}

/// One of the addresses of a network `127.NETWORK.0.0/16`.
pub fn address(network: u8, number: u32) -> [u8; 4] {
    let number = number % 64_000 + 256;
    [127, network, (number >> 8) as u8, number as u8]
}

/// What is told of connections, each time that something has changed about one.
pub struct Events {
    epoll: OwnedFd,
}

impl Events {
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// `number` is what [`Events::wait`] calls it. It leaves by being closed.
    pub fn add(&self, stream: &TcpStream, number: usize) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, stream, EventData::new_u64(number as u64), flags)?)
    }

    /// The numbers of those about which something has changed, at the latest after `timeout`.
    pub fn wait(&self, timeout: Duration) -> io::Result<Vec<usize>> {
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        // Epoll itself counts milliseconds.
        match poll(&mut [PollFd::from_borrowed_fd(self.epoll.as_fd(), PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut room = [MaybeUninit::<Event>::uninit(); 1024];
        let (events, _) = epoll::wait(&self.epoll, &mut room, Some(&now))?;
        Ok(events.iter().map(|event| event.data.u64() as usize).collect())
    }
}

/// Connections by number; a number is used again once it is free.
pub struct Numbered<T> {
    all: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Numbered<T> {
    pub fn new() -> Self {
        Self { all: Vec::new(), free: Vec::new() }
    }

    /// The number that the next one gets.
    pub fn next(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        })
    }

    pub fn set(&mut self, number: usize, one: T) {
        self.all[number] = Some(one);
    }

    pub fn get(&mut self, number: usize) -> Option<&mut T> {
        self.all.get_mut(number)?.as_mut()
    }

    pub fn take(&mut self, number: usize) -> Option<T> {
        let taken = self.all.get_mut(number)?.take()?;
        self.free.push(number);
        Some(taken)
    }

    /// The first number from here on that is taken, and then from the first.
    pub fn after(&self, number: usize) -> Option<usize> {
        let all = self.all.len();
        (0..all).map(|step| (number + step) % all).find(|&number| self.all[number].is_some())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        self.all.iter_mut().enumerate().filter_map(|(number, one)| Some((number, one.as_mut()?)))
    }
}
