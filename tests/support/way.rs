//! The ways on which a visitor comes to the edge: plain or by TLS, straight or through a proxy that sends a
//! PROXY header.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use ureq::config::Config;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

use super::tls::{self, HOST, TlsStream};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Plain,
    Tls,
    ProxyV1,
    ProxyV2,
    ProxyV1Tls,
    ProxyV2Tls,
}

/// The visitor behind a proxy, and what the proxy was connected to.
pub const VISITOR: &str = "198.51.100.1:4711";
const PROXY: &str = "192.0.2.80:443";

impl Way {
    pub const ALL: [Self; 6] =
        [Self::Plain, Self::Tls, Self::ProxyV1, Self::ProxyV2, Self::ProxyV1Tls, Self::ProxyV2Tls];

    pub fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::ProxyV1Tls | Self::ProxyV2Tls)
    }

    pub fn has_proxy_header(self) -> bool {
        !matches!(self, Self::Plain | Self::Tls)
    }

    /// A connection that is ready for a request.
    pub fn open(self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        let (from, to) = (VISITOR.parse().unwrap(), PROXY.parse().unwrap());
        match self {
            Self::Plain | Self::Tls => {}
            Self::ProxyV1 | Self::ProxyV1Tls => stream.write_all(v1(from, to).as_bytes())?,
            Self::ProxyV2 | Self::ProxyV2Tls => stream.write_all(&v2(from, to, &[]))?,
        }
        if self.has_tls() { Ok(Box::new(tls::handshake(stream, tls::client(), HOST)?)) } else { Ok(Box::new(stream)) }
    }

    /// A real HTTP client, with a connection of this way for each request.
    pub fn agent(self, address: SocketAddr) -> ureq::Agent {
        let config = ureq::Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(20)))
            .build();
        ureq::Agent::with_parts(config, Opener(self, address), DefaultResolver::default())
    }
}

/// A header of version 1 (the protocol's section 2.1).
pub fn v1(from: SocketAddr, to: SocketAddr) -> String {
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port())
}

/// A header of version 2 (2.2) with the command PROXY, and what follows the addresses.
pub fn v2(from: SocketAddr, to: SocketAddr, behind: &[u8]) -> Vec<u8> {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let family = if from.is_ipv4() { 0x11 } else { 0x21 };
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    v2_of(0x21, family, &[octets(from.ip()), octets(to.ip()), ports, behind.to_vec()].concat())
}

/// A header of version 2 with any version and command, family and content.
pub fn v2_of(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, content].concat()
}

/// A connection, whatever it is made of.
pub trait Stream: Read + Write + Debug + Send + Sync {
    /// Says that nothing more will be sent.
    fn finish(&mut self);
}

impl Stream for TcpStream {
    fn finish(&mut self) {
        self.shutdown(Shutdown::Write).ok();
    }
}

impl Stream for TlsStream {
    fn finish(&mut self) {
        self.conn.send_close_notify();
        self.flush().ok();
        self.sock.shutdown(Shutdown::Write).ok();
    }
}

/// What makes connections for the HTTP client.
#[derive(Debug)]
struct Opener(Way, SocketAddr);

impl Connector for Opener {
    type Out = Carrier;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Carrier>, ureq::Error> {
        let config: &Config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Carrier { stream: self.0.open(self.1)?, buffers }))
    }
}

#[derive(Debug)]
struct Carrier {
    stream: Box<dyn Stream>,
    buffers: LazyBuffers,
}

impl Transport for Carrier {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        Ok(self.stream.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, ureq::Error> {
        let read = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }
}
