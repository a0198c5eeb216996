//! A visitor's address is what our own proxies say, and never what the visitor says.
//!
//! Addresses are not recorded, so it is seen in what is derived from them: a country that the
//! database gives to one address alone, and whether a scan repeats one from that address.

use std::net::SocketAddr;

use crate::support::{PHONE, Setup, http, wait_for};
use mmdb_writer::{Writer, ipnet::IpNet};
use serde_json::json;

/// Each address has a country of its own.
const ADDRESSES: &[(&str, &str)] = &[
    ("127.0.0.1", "LO"),
    ("198.51.100.1", "VN"),
    ("203.0.113.9", "TH"),
    ("6.6.6.6", "XX"),
    ("2001:db8::1", "CN"),
    ("2001:db8::2", "LA"),
    ("10.0.0.2", "PA"),
    ("10.0.0.3", "PB"),
    ("fd00::7", "PC"),
];

/// The header's lines of one request, and the country of the address that must come of them.
type Case<'a> = (&'a [&'a str], &'a str);

/// For each case two scans: one with the lines, and one that comes straight from the address
/// that is expected. The second must be a repeat of the first, which is where it should be.
#[track_caller]
fn derived(proxies: &str, header: &str, listen: &str, cases: &[Case<'_>]) {
    let mut writer = Writer::new("Test");
    for (address, country) in ADDRESSES {
        let network = IpNet::from(address.parse::<std::net::IpAddr>().unwrap());
        writer.insert(network, &json!({ "country_code": country })).unwrap();
    }
    let edge = Setup::new()
        .set("edge", "listen", format!("[{listen:?}]"))
        .set("edge.trust", "proxies", proxies)
        .set("edge.trust", "header", format!("{header:?}"))
        .set("observe", "geoip", "[\"test.mmdb\"]")
        .set("observe", "repeat_window", "\"1h\"")
        .file("config/test.mmdb", writer.to_bytes().unwrap())
        .start();
    let address = SocketAddr::from(([127, 0, 0, 1], edge.address().port()));
    let scan = |agent: &str, lines: &[&str]| {
        let mut headers = vec![("User-Agent", agent)];
        headers.extend(lines.iter().map(|line| (header, *line)));
        assert_eq!(http::request(address, "GET", "/A1B2C3", &headers).unwrap().status, 302);
    };
    for (number, (lines, country)) in cases.iter().enumerate() {
        let agent = format!("case {number}");
        let (from, _) = ADDRESSES.iter().find(|(_, of)| of == country).unwrap();
        let straight = if header == "forwarded" { format!("for=\"[{from}]\"") } else { (*from).to_owned() };
        scan(&agent, lines);
        let straight = [straight.as_str()];
        scan(&agent, if *country == "LO" { &[] } else { &straight });
        scan(&agent, &[]);
    }
    let database = edge.database();
    let rows: Vec<(String, bool)> = wait_for("the scans are stored", || {
        let mut query = database.prepare("SELECT country, repeat FROM scans ORDER BY batch, seq").ok()?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
        let rows: Vec<_> = rows.collect::<Result<_, _>>().ok()?;
        (rows.len() == 3 * cases.len()).then_some(rows)
    });
    for (rows, (lines, country)) in rows.chunks(3).zip(cases) {
        let here = (*country).to_owned();
        let proxy = ("LO".to_owned(), *country == "LO");
        assert_eq!(rows, [(here.clone(), false), (here, true), proxy], "{proxies} {header} {lines:?}");
    }
}

/// No header is read from an address that is no configured proxy.
#[test]
fn no_header_is_believed_where_no_proxy_is_configured() {
    let cases: &[Case<'_>] = &[(&[], "LO"), (&["198.51.100.1"], "LO"), (&["198.51.100.1", "203.0.113.9"], "LO")];
    derived("[]", "x-forwarded-for", "127.0.0.1:0", cases);
    derived("[\"10.0.0.0/8\", \"::1\"]", "x-forwarded-for", "127.0.0.1:0", cases);
    derived("[]", "forwarded", "127.0.0.1:0", &[(&["for=198.51.100.1"], "LO")]);
}

#[test]
fn x_forwarded_for_is_believed_up_to_the_first_hop_that_is_no_proxy() {
    let many = ["6.6.6.6"; 40].join(", ");
    let mut lines = vec!["6.6.6.6"; 40];
    lines.push("198.51.100.1");
    let proxies_only = ["10.0.0.2"; 40].join(", ");
    derived(
        "[\"127.0.0.0/8\", \"10.0.0.0/8\", \"fd00::/8\"]",
        "x-forwarded-for",
        "127.0.0.1:0",
        &[
            (&[], "LO"),
            (&["198.51.100.1"], "VN"),
            (&["  198.51.100.1  "], "VN"),
            (&["6.6.6.6, 198.51.100.1"], "VN"),
            (&["6.6.6.6,198.51.100.1,10.0.0.2"], "VN"),
            (&["6.6.6.6, 198.51.100.1, 10.0.0.2, fd00::7"], "VN"),
            (&["6.6.6.6", "198.51.100.1"], "VN"),
            (&["6.6.6.6", "198.51.100.1", "10.0.0.2, 10.0.0.3"], "VN"),
            (&["10.0.0.2, 203.0.113.9, 10.0.0.3"], "TH"),
            (&["203.0.113.9:5000"], "TH"),
            (&["::ffff:203.0.113.9"], "TH"),
            (&["2001:db8::1"], "CN"),
            (&["[2001:db8::2]"], "LA"),
            (&["[2001:db8::2]:443"], "LA"),
            (&["2001:DB8:0:0::1"], "CN"),
            // Only our own were on the way: the one that is farthest.
            (&["10.0.0.3, 10.0.0.2"], "PB"),
            // What can't be read ends the chain: it may be anybody's.
            (&["198.51.100.1, unknown"], "LO"),
            (&["198.51.100.1, , 10.0.0.2"], "PA"),
            (&["198.51.100.1, 300.1.1.1, fd00::7"], "PC"),
            (&["198.51.100.1 203.0.113.9"], "LO"),
            (&[""], "LO"),
            // As much as a visitor sends, our proxy's word stands behind it.
            (&[&format!("{many}, 198.51.100.1")], "VN"),
            (&lines, "VN"),
            (&["6.6.6.6", "ÿ", "198.51.100.1"], "VN"),
            (&["6.6.6.6", "ÿ"], "LO"),
            (&[&format!("6.6.6.6, {proxies_only}")], "PA"),
        ],
    );
}

#[test]
fn forwarded_is_read_by_its_own_rules() {
    derived(
        "[\"127.0.0.1\", \"10.0.0.0/8\"]",
        "forwarded",
        "127.0.0.1:0",
        &[
            (&["for=198.51.100.1"], "VN"),
            (&["For=198.51.100.1; proto=https;by=10.0.0.2"], "VN"),
            (&["proto=https ; FOR = \"198.51.100.1\""], "VN"),
            (&["for=\"[2001:db8::1]\""], "CN"),
            (&["for=\"[2001:db8::1]:4711\";host=qr.example.vn"], "CN"),
            (&["for=\"203.0.113.9:4711\""], "TH"),
            (&["for=6.6.6.6, for=198.51.100.1, for=10.0.0.2"], "VN"),
            (&["for=6.6.6.6", "for=198.51.100.1"], "VN"),
            (&["for=198.51.100.1, for=unknown"], "LO"),
            (&["for=198.51.100.1, for=_hidden, for=10.0.0.3"], "PB"),
            (&["for=198.51.100.1, proto=https"], "LO"),
            (&["198.51.100.1"], "LO"),
            (&["by=198.51.100.1"], "LO"),
        ],
    );
}

/// A proxy passes the visitor's `Host` on in quotes, and what is in quotes is no part of the chain.
#[test]
fn forwarded_is_read_with_its_quoted_strings_whole() {
    let many = ["for=6.6.6.6"; 40].join(", ");
    derived(
        "[\"127.0.0.1\", \"10.0.0.0/8\"]",
        "forwarded",
        "127.0.0.1:0",
        &[
            (&["host=\"a;for=6.6.6.6\";for=198.51.100.1"], "VN"),
            (&["for=198.51.100.1;host=\"a, for=6.6.6.6\""], "VN"),
            (&["for=198.51.100.1;host=\"a, for=6.6.6.6\", for=10.0.0.2;host=\", for=6.6.6.6\""], "VN"),
            (&["for=198.51.100.1;host=\"\\\", for=6.6.6.6;x=\\\"\""], "VN"),
            (&["for=\"203\\.0.113.9\""], "TH"),
            (&[&format!("{many}, host=\"{many}\";for=198.51.100.1")], "VN"),
            // Each line stands for itself: a string that a visitor leaves open swallows nothing of ours.
            (&["for=\"6.6.6.6", "for=198.51.100.1"], "VN"),
            // Within a line it does, and then nothing of the line is believed.
            (&["host=\", for=198.51.100.1;host=\"a, for=6.6.6.6;x=\""], "LO"),
            (&["for=6.6.6.6\", for=198.51.100.1"], "LO"),
            (&["for=\"198.51.100.1\"x"], "LO"),
            (&["for=198.51.100.1;for=6.6.6.6"], "LO"),
            (&["for=198.51.100.1;secure"], "LO"),
        ],
    );
}

/// A socket for both families shows an IPv4 proxy as `::ffff:127.0.0.1`.
#[test]
fn a_proxy_is_known_on_a_socket_for_both_families() {
    derived("[\"127.0.0.1\"]", "x-forwarded-for", "[::]:0", &[(&["198.51.100.1"], "VN"), (&[], "LO")]);
}

#[test]
fn the_other_header_is_not_read() {
    let edge =
        Setup::new().set("edge.trust", "proxies", "[\"127.0.0.1\"]").set("observe", "repeat_window", "\"1h\"").start();
    for header in
        [("X-Forwarded-For", "198.51.100.1"), ("Forwarded", "for=198.51.100.1"), ("X-Real-IP", "198.51.100.1")]
    {
        assert_eq!(
            http::request(edge.address(), "GET", "/A1B2C3", &[("User-Agent", PHONE), header]).unwrap().status,
            302
        );
    }
    edge.wait_until_stored();
    let total = edge.usage(&[])["total"].clone();
    assert_eq!((&total["all"], &total["repeats"]), (&json!(3), &json!(1)), "the last two come from the proxy: {total}");
}
