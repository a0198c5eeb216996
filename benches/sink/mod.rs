//! An HTTP interface that takes every insert and keeps nothing: what is measured is the sender.

use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use rustix::net::{RecvFlags, recv};

/// Where to send to.
pub struct Sink {
    /// Of the listener.
    pub address: SocketAddr,
    gate: Arc<Gate>,
}

/// While it is shut, requests are read and not answered.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let shut = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(shut, |shut| *shut).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Sink {
    /// Listens on a port of the system's choice; a thread for each connection, less urgent than anything else.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (address, gate) = (listener.local_addr()?, Arc::<Gate>::default());
        let shared = gate.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let gate = shared.clone();
                thread::spawn(move || {
                    // On Linux this is the thread's own; a load on the same core must not wait for it.
                    rustix::process::nice(19).ok();
                    // The sender sees the end of its connection, and says so.
                    serve(&stream, &gate).ok();
                });
            }
        });
        Ok(Self { address, gate })
    }

    /// From now on requests are answered, or left to wait.
    #[allow(dead_code, reason = "one of the benchmarks has no use for it")]
    pub fn open(&self, open: bool) {
        *self.gate.shut.lock().unwrap_or_else(PoisonError::into_inner) = !open;
        self.gate.opened.notify_all();
    }
}

/// Most of a request that is looked at, at a time: heads, and the sizes of chunks.
const LOOK: usize = 4 << 10;
/// Most that is thrown away at a time.
const DISCARD: usize = 1 << 20;

fn serve(stream: &TcpStream, gate: &Gate) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut nowhere) = (BufReader::with_capacity(LOOK, stream), vec![0; DISCARD]);
    let mut line = Vec::new();
    loop {
        // The head, to the empty line. An insert has its statement in the URL; the one other
        // request is the question whether anybody is there.
        let mut is_insert = false;
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if line == b"\r\n" {
                break;
            }
            is_insert |= line.windows(6).any(|word| word == b"query=");
        }
        while let size @ 1.. = chunk_size(&mut reader, &mut line)? {
            skip(&mut reader, &mut nowhere, size + 2)?;
        }
        skip(&mut reader, &mut nowhere, 2)?;
        gate.pass();
        let body = if is_insert { "" } else { "1\n" };
        let head = format!("HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: sink\r\nContent-Length: {}\r\n\r\n", body.len());
        (&*stream).write_all((head + body).as_bytes())?;
    }
}

fn chunk_size(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    line.clear();
    reader.read_until(b'\n', line)?;
    let text = std::str::from_utf8(line).unwrap_or_default();
    usize::from_str_radix(text.trim(), 16).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Leaves out so many bytes: the kernel throws away what was not read yet, and copies none of it
/// (`MSG_TRUNC`, <https://man7.org/linux/man-pages/man7/tcp.7.html>).
fn skip(reader: &mut BufReader<&TcpStream>, nowhere: &mut [u8], mut bytes: usize) -> io::Result<()> {
    let there = reader.buffer().len().min(bytes);
    reader.consume(there);
    bytes -= there;
    while bytes > 0 {
        let most = bytes.min(nowhere.len());
        let (_, gone) = recv(reader.get_ref(), &mut nowhere[..most], RecvFlags::TRUNC)?;
        if gone == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes -= gone;
    }
    Ok(())
}
