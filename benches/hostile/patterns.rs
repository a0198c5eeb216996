//! The hostile patterns and their strengths.

use super::HOST;
use super::attack::{Act, Supply};
use super::edge::Edge;

/// Where a pattern goes; its number among the edge's addresses.
#[derive(Debug, Clone, Copy)]
pub enum Door {
    Plain,
    Tls,
    Proxy,
}

/// What somebody hostile does.
pub struct Pattern {
    pub name: &'static str,
    pub strength: &'static str,
    pub door: Door,
    /// From how many addresses.
    pub sources: u32,
    pub supply: Supply,
    pub act: Act,
}

impl Pattern {
    /// What was reached, in a few words: connections at the end, and how many were opened and how much was done
    /// a second.
    pub fn achieved(&self, open: usize, opened: f64, done: f64) -> String {
        let (share, said) = match (&self.act, self.supply) {
            (Act::Ask(rate, _), _) => (done / f64::from(*rate), format!("{done:.0} requests/s")),
            (Act::Handshake, _) => (1.0, format!("{done:.0} handshakes/s")),
            (_, Supply::Held(count)) => (open as f64 / count as f64, format!("{open} open, {opened:.0} opened/s")),
            (_, Supply::Rate(rate)) => (opened / f64::from(rate), format!("{opened:.0} opened/s, {open} open")),
            (_, Supply::AsFastAsPossible(_)) => (1.0, format!("{opened:.0} opened/s")),
        };
        if share < 0.9 { format!("only {said}") } else { said }
    }
}

/// All of them; none needs more than one core for itself.
#[allow(clippy::too_many_lines, reason = "it is a list")]
pub fn patterns() -> Vec<Pattern> {
    let request = |path: &str| format!("GET /{path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes();
    let code = Edge::codes().next().unwrap_or_default();
    let open_head = format!("GET /{code} HTTP/1.1\r\nHost: {HOST}\r\n");
    let lines = |count: usize| "X-Padding: aaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(count);
    let hello = client_hello();
    // Looks random, has no end of a line.
    let garbage: Vec<u8> = (0..512_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect();
    let held = |name, strength, door, sources, count, act| Pattern {
        name,
        strength,
        door,
        sources,
        supply: Supply::Held(count),
        act,
    };
    let rate = |name, strength, door, sources, rate, act| Pattern {
        name,
        strength,
        door,
        sources,
        supply: Supply::Rate(rate),
        act,
    };
    let unknown = || Act::Ask(2_000, request("NQ#####"));
    vec![
        held(
            "slow heads",
            "2,000 connections from 1,000 addresses, a byte a second each",
            Door::Plain,
            1_000,
            2_000,
            Act::Drip((open_head.clone() + &lines(400)).into_bytes()),
        ),
        held(
            "slow readers",
            "500 connections from 250 addresses, which ask for 100 pages each and never read; the kernel takes them all",
            Door::Plain,
            250,
            500,
            Act::NeverRead(request("").repeat(100)),
        ),
        held(
            "stalled readers",
            "50 connections from 50 addresses, which ask for 1,500 pages each and never read: more than the kernel takes",
            Door::Plain,
            50,
            50,
            Act::NeverRead(request("").repeat(1_500)),
        ),
        held(
            "slow handshakes",
            "1,000 connections from 500 addresses, a byte of a ClientHello a second each",
            Door::Tls,
            500,
            1_000,
            Act::Drip(hello),
        ),
        rate(
            "header bombs",
            "200/s from 1,000 addresses, heads of 16 KiB in 430 lines that do not end",
            Door::Plain,
            1_000,
            200,
            Act::Send((open_head + &lines(430)).into_bytes()),
        ),
        rate("garbage", "500/s from 1,000 addresses, 512 bytes", Door::Plain, 1_000, 500, Act::Send(garbage.clone())),
        rate(
            "garbage by TLS",
            "500/s from 1,000 addresses, 512 bytes",
            Door::Tls,
            1_000,
            500,
            Act::Send(garbage.clone()),
        ),
        rate(
            "requests in a row",
            "20/s from 1,000 addresses, 1,000 scans each, sent at once",
            Door::Plain,
            1_000,
            20,
            Act::Send(request(&code).repeat(1_000)),
        ),
        held("unknown codes, one address", "2,000/s on 64 connections", Door::Plain, 1, 64, unknown()),
        held(
            "unknown codes, many addresses",
            "2,000/s on 1,000 connections from 1,000 addresses",
            Door::Plain,
            1_000,
            1_000,
            unknown(),
        ),
        rate(
            "garbage for a PROXY header",
            "500/s from 1,000 addresses that may send one",
            Door::Proxy,
            1_000,
            500,
            Act::Send(garbage),
        ),
        held(
            "idle connections",
            "10,000 from 250 addresses, answered once each: all there may be; opened again when they had to give way",
            Door::Plain,
            250,
            10_000,
            Act::Send(request(&code)),
        ),
        rate(
            "a flood of connections",
            "300/s from one address, with one byte each, held as long as they are let",
            Door::Plain,
            1,
            300,
            Act::Send(b"G".to_vec()),
        ),
        Pattern {
            name: "a flood of handshakes",
            strength: "64 at a time from 1,000 addresses, as fast as the load's core can, closed once done",
            door: Door::Tls,
            sources: 1_000,
            supply: Supply::AsFastAsPossible(64),
            act: Act::Handshake,
        },
        rate(
            "HTTP/2",
            "500/s from 1,000 addresses, a preface, SETTINGS and 300 PING and RST_STREAM frames each",
            Door::Plain,
            1_000,
            500,
            Act::Send(http2()),
        ),
    ]
}

/// A preface and floods of small frames (RFC 9113 sections 3.4, 6.4, 6.5, 6.7).
fn http2() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    for stream in 0..150_u8 {
        bytes.extend([0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.extend([0, 0, 4, 3, 0, 0, 0, 0, stream | 1, 0, 0, 0, 8]);
    }
    bytes
}

/// A record that is said to hold a `ClientHello` of 500 bytes, so that a byte a second never ends it.
fn client_hello() -> Vec<u8> {
    let mut bytes = vec![0x16, 3, 1, 1, 0xf8, 1, 0, 1, 0xf4, 3, 3];
    bytes.resize(5 + 0x1f8, 7);
    bytes
}
