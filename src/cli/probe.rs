//! `waypost probe`

use std::io::{self, BufRead as _, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::CommandError;
use crate::config::Config;

/// How long the admin port may take, connecting included: less than the 3 s of the container's check.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most of a response that is read, in lines: the head, and the reason behind it.
const MAX_LINES: usize = 32;

/// Ask the running edge whether it wants visitors
///
/// Asks the address in admin.listen for /readyz, and prints what it says. Exits with 0 if it is ready, or else
/// with 1 and the reason. Whatever else is wrong with the configuration is for `waypost check` to say. An admin
/// socket that systemd holds at another address than admin.listen is not found.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost probe || systemctl status waypost")]
pub(super) struct Probe {}

impl Probe {
    #[allow(clippy::unused_self, reason = "as the other commands")]
    pub fn run(&self, config: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
        let address = reachable(Config::admin_address(config)?);
        let (status, said) = ask(address).map_err(|source| CommandError::NoAnswer { address, source })?;
        if status != "200" {
            return Err(CommandError::NotReady { address, status, said });
        }
        writeln!(out, "{said}")?;
        Ok(())
    }
}

/// Where a listening address is asked from this machine: a wildcard on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let is_v4 = address.is_ipv4();
        address.set_ip(if is_v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}

/// The status and the first line of the body.
fn ask(address: SocketAddr) -> io::Result<(String, String)> {
    let until = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    let left = || until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    stream.set_write_timeout(Some(left()))?;
    stream.set_read_timeout(Some(left()))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut lines = BufReader::new(io::Read::take(stream, 4096)).lines().take(MAX_LINES);
    let first = lines.next().transpose()?.unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let Some(status) = status.map(str::to_owned) else {
        return Err(io::Error::other(format!("expected an HTTP response, found {first:?}")));
    };
    let mut body = lines.skip_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).skip(1);
    Ok((status, body.next().transpose()?.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn a_wildcard_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:9090", "[::1]:9090"),
            ("10.0.0.11:9090", "10.0.0.11:9090"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), asked);
        }
    }
}
