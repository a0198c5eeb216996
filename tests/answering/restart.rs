//! A restart costs no visitor an answer where somebody else, as systemd does, holds the sockets: whatever a
//! connection was doing, whoever has sent a whole head gets an answer, from this process or the next.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::{self, AddressFamily, SocketType, sockopt};

use crate::support::http::{self, Connection, bytes};
use crate::support::{Edge, PHONE, SetOnDrop, Setup, wait_for};

/// Connections in each state.
const EACH: usize = 20;

/// Two listeners on one address, as `ReusePort=yes` makes them: they are never closed here.
fn two_listeners() -> [TcpListener; 2] {
    let listener = |address: SocketAddr| {
        let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_reuseport(&socket, true).unwrap();
        net::bind(&socket, &address).unwrap();
        net::listen(&socket, 4096).unwrap();
        TcpListener::from(socket)
    };
    let first = listener(([127, 0, 0, 1], 0).into());
    let second = listener(first.local_addr().unwrap());
    [first, second]
}

fn setup(listeners: &[TcpListener; 2]) -> Setup {
    Setup::new().set("edge", "workers", "2").sockets(&listeners.each_ref(), "http:http")
}

fn scan() -> Vec<u8> {
    bytes("GET", "/A1B2C3", &[("User-Agent", PHONE)])
}

fn connections(address: SocketAddr) -> Vec<Connection> {
    (0..EACH).map(|_| Connection::open(address).unwrap()).collect()
}

/// Sends the same on each.
fn send(connections: &mut [Connection], bytes: &[u8]) {
    for connection in connections {
        connection.send(bytes).unwrap();
    }
}

/// Each gets its answer.
#[track_caller]
fn assert_answered(state: &str, connections: &mut [Connection]) {
    for (at, connection) in connections.iter_mut().enumerate() {
        let status = connection.receive(false).map(|reply| reply.status);
        assert!(matches!(status, Ok(302)), "{state}, connection {at} of {EACH}: {status:?}");
    }
}

fn wait_until_open(edge: &Edge, count: usize) {
    wait_for("the connections", || (edge.metrics().get("waypost_connections_open") >= count as f64).then_some(()));
}

#[test]
fn no_answer_is_lost_whatever_a_connection_was_doing() {
    let listeners = two_listeners();
    let mut edge = setup(&listeners).start();
    let (address, scan) = (edge.address(), scan());
    let (begin, end) = scan.split_at(scan.len() / 2);

    // Silent: deferred by the kernel, or handed to a worker after a second.
    let mut silent = connections(address);
    let mut idle = connections(address);
    send(&mut idle, &scan);
    assert_answered("kept alive", &mut idle);
    let mut half = connections(address);
    send(&mut half, begin);
    let mut pipelining = connections(address);
    send(&mut pipelining, &scan.repeat(2));
    assert_answered("the first of a pipeline", &mut pipelining);
    send(&mut pipelining, begin);
    assert_answered("the second", &mut pipelining);
    wait_until_open(&edge, 3 * EACH);

    // The process stands still, so that what comes now is there at once when it is told to stop.
    edge.signal("STOP");
    let mut whole = connections(address);
    send(&mut whole, &scan);
    edge.signal("TERM");
    edge.signal("CONT");
    send(&mut half, end);
    send(&mut pipelining, end);
    assert_answered("half a head sent", &mut half);
    assert_answered("within a pipeline", &mut pipelining);
    assert!(edge.wait().success());

    // Nobody is there, and the sockets are.
    let mut queued = connections(address);
    send(&mut queued, &scan);
    let mut silent_meanwhile = connections(address);
    edge.start();
    assert_answered("in the queue", &mut queued);
    assert_answered("a whole head sent", &mut whole);
    send(&mut silent_meanwhile, &scan);
    assert_answered("silent, without a process", &mut silent_meanwhile);
    // Those that the kernel still kept to itself are served; one that a worker had was idle, and closed.
    let mut answered = 0;
    for connection in &mut silent {
        answered += u64::from(connection.send(&scan).is_ok() && connection.receive(false).is_ok());
    }
    edge.wait_until_stored();
    let counted = edge.counts()["A1B2C3"];
    assert_eq!(counted, 8 * EACH as u64 + answered, "{answered} of the silent");
    edge.stop();
}

#[test]
fn silent_connections_that_the_kernel_defers_outlive_the_process() {
    let listeners = two_listeners();
    let mut edge = setup(&listeners).start();
    let address = edge.address();
    // Deferred for about a second; the process is gone before.
    let streams: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(edge.metrics().get("waypost_connections_open"), 0.0, "the kernel keeps them");
    edge.signal("TERM");
    assert!(edge.wait().success());
    edge.start();
    for mut stream in streams {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(&scan()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 302");
    }
    edge.stop();
}

#[test]
fn no_new_connection_fails_while_it_is_restarted_under_load() {
    let listeners = two_listeners();
    let mut edge = setup(&listeners).start();
    let address = edge.address();
    let (is_over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let end = SetOnDrop(&is_over);
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    while !is_over.load(Ordering::SeqCst) {
                        let reply = http::request(address, "GET", "/A1B2C3", &[("User-Agent", PHONE)]);
                        assert!(matches!(&reply, Ok(reply) if reply.status == 302), "{reply:?}");
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let wait_for_more = || {
            let before = answered.load(Ordering::SeqCst);
            wait_for("more answers", || (answered.load(Ordering::SeqCst) > before + 500).then_some(()));
        };
        for _ in 0..3 {
            wait_for_more();
            edge.signal("TERM");
            assert!(edge.wait().success());
            edge.start();
        }
        wait_for_more();
        drop(end);
        for client in clients {
            client.join().unwrap();
        }
    });
    edge.wait_until_stored();
    assert_eq!(edge.counts()["A1B2C3"], answered.load(Ordering::SeqCst), "each answer is one scan");
    edge.stop();
}
