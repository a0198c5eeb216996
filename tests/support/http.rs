//! A small HTTP/1.1 client that sends exactly the bytes it is told to.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;

use super::way::{Stream, Way};

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn location(&self) -> Option<&str> {
        self.header("location")
    }
}

/// A connection that is kept alive.
pub struct Connection {
    stream: BufReader<Box<dyn Stream>>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(Way::Plain.open(address)?))
    }

    pub fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Whether the other side ends it, and says so: by TLS with a `close_notify`.
    pub fn is_ended(&mut self) -> bool {
        self.stream.fill_buf().is_ok_and(<[u8]>::is_empty)
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one reply; `head` says that no body follows whatever the headers say.
    pub fn receive(&mut self, head: bool) -> io::Result<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                None => break,
            }
        }
        let mut reply = Reply { status, headers, body: String::new() };
        let len = reply.header("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
        if !head {
            let mut body = vec![0; len];
            self.stream.read_exact(&mut body)?;
            reply.body = String::from_utf8_lossy(&body).into_owned();
        }
        Ok(reply)
    }

    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> io::Result<Reply> {
        self.send(&bytes("GET", path, headers))?;
        self.receive(false)
    }
}

/// A request to the visitors' port, unless the headers name a host of their own.
pub fn bytes(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request += "Host: qr.example.vn\r\n";
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    request.into_bytes()
}

/// One request on a connection of its own.
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<Reply> {
    let mut connection = Connection::open(address)?;
    connection.send(&bytes(method, path, headers))?;
    connection.receive(method == "HEAD")
}

/// Whatever comes back for some bytes, until the connection is closed.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    raw_over(Way::Plain.open(address).unwrap(), bytes)
}

/// The same on a connection of one's own.
pub fn raw_over(mut stream: Box<dyn Stream>, bytes: &[u8]) -> String {
    stream.write_all(bytes).ok();
    stream.finish();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}
