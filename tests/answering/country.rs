//! The country and region of a visitor come from files of the operator's, at most as precisely as configured.
//!
//! Both layouts of MaxMind-format files are read, and files for one family of addresses beside
//! those for the other. A file that is missing or broken leaves the country empty and shows in
//! the metrics, a replaced one is read anew, and visitors are redirected all along.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::support::{Edge, Random, Setup, http, wait_for};
use mmdb_writer::{IpVersion, Writer, ipnet::IpNet};
use serde_json::{Value, json};
use waypost::observe::{CountryFiles, Precision};

/// A database of both families, or of one.
fn database(version: IpVersion, networks: &[(&str, Value)]) -> Vec<u8> {
    let mut writer = Writer::builder("Test").ip_version(version).build();
    for (network, value) in networks {
        writer.insert(network.parse::<IpNet>().unwrap(), value).unwrap();
    }
    writer.to_bytes().unwrap()
}

/// As GeoLite2 has it.
fn nested(country: &str, region: &str) -> Value {
    json!({
        "continent": { "code": "AS" },
        "country": { "iso_code": country, "names": { "en": "A country" } },
        "subdivisions": [{ "iso_code": region }, { "iso_code": "inner" }],
    })
}

/// As the packages of ip-location-db have it.
fn flat(country: &str, region: &str) -> Value {
    json!({ "country_code": country, "state1": region, "city": "Somewhere" })
}

fn setup(files: &[(&str, &[u8])]) -> Setup {
    let names: Vec<String> = files.iter().map(|(name, _)| format!("{name:?}")).collect();
    let setup = Setup::new().set("edge.trust", "proxies", "[\"127.0.0.1\"]").set(
        "observe",
        "geoip",
        format!("[{}]", names.join(", ")),
    );
    files.iter().fold(setup, |setup, (name, bytes)| setup.file(&format!("config/{name}"), bytes))
}

/// Scans from an address, as our proxy forwards it.
fn scan_from(edge: &Edge, address: &str) {
    let reply = http::request(edge.address(), "GET", "/A1B2C3", &[("X-Forwarded-For", address)]).unwrap();
    assert_eq!(reply.status, 302);
}

/// Country and region of every stored scan, in their order.
fn stored(edge: &Edge, count: usize) -> Vec<(String, String)> {
    let database = edge.database();
    wait_for("the scans are stored", || {
        let mut query = database.prepare("SELECT country, region FROM scans ORDER BY batch, seq").ok()?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
        let rows: Vec<(String, String)> = rows.collect::<Result<_, _>>().ok()?;
        (rows.len() == count).then_some(rows)
    })
}

/// Where the edge records visitors from these addresses to be, as `VN/LSN`.
fn origins(edge: &Edge, addresses: &[&str]) -> Vec<String> {
    for address in addresses {
        scan_from(edge, address);
    }
    stored(edge, addresses.len()).into_iter().map(|(country, region)| format!("{country}/{region}")).collect()
}

fn bad_files(edge: &Edge) -> f64 {
    edge.metrics().get("waypost_geoip_files{state=\"bad\"}")
}

#[test]
fn the_nested_layout_is_read_for_both_families() {
    let bytes = database(
        IpVersion::V6,
        &[
            ("113.161.0.0/16", nested("VN", "09")),
            ("2001:db8:86::/48", nested("CN", "GX")),
            ("198.51.100.0/24", json!({ "country": { "iso_code": "la" } })),
            ("203.0.113.0/24", json!({ "continent": { "code": "AS" } })),
        ],
    );
    let edge = setup(&[("city.mmdb", &bytes)]).start();
    let addresses =
        ["113.161.72.1", "::ffff:113.161.72.1", "2001:db8:86::1", "198.51.100.7", "203.0.113.7", "192.0.2.1"];
    assert_eq!(origins(&edge, &addresses), ["VN/09", "VN/09", "CN/GX", "LA/", "/", "/"]);
    let state = edge.status()["geoip"][0].clone();
    assert!(state["built"].is_string() && state["problem"].is_null(), "{state}");
    let metrics = edge.metrics();
    assert_eq!((metrics.get("waypost_geoip_files{state=\"good\"}"), bad_files(&edge)), (1.0, 0.0));
    assert!(metrics.get("waypost_geoip_build_timestamp_seconds") > 1.7e9);
}

#[test]
fn the_flat_layout_is_read_from_a_file_for_each_family() {
    let four =
        database(IpVersion::V4, &[("113.161.0.0/16", flat("VN", "Lạng Sơn")), ("198.51.100.0/24", flat("CN", ""))]);
    let six =
        database(IpVersion::V6, &[("2001:ee0::/32", flat("VN", "Hà Nội")), ("2001:db8::/32", flat("CN", "Guangxi"))]);
    let addresses = ["113.161.72.1", "2001:ee0::1", "198.51.100.1", "[2001:db8::1]:443", "192.0.2.1", "2001:4860::1"];
    let expected = ["VN/Lạng Sơn", "VN/Hà Nội", "CN/", "CN/Guangxi", "/", "/"];
    for files in [[("four.mmdb", &*four), ("six.mmdb", &*six)], [("six.mmdb", &*six), ("four.mmdb", &*four)]] {
        let edge = setup(&files).start();
        assert_eq!(origins(&edge, &addresses), expected);
    }
}

#[test]
fn the_first_file_that_knows_the_address_answers() {
    let own = database(IpVersion::V4, &[("10.0.0.0/8", flat("VN", "own")), ("198.51.100.0/24", flat("", ""))]);
    let bought = database(IpVersion::V6, &[("0.0.0.0/0", nested("CN", "bought"))]);
    let edge = setup(&[("own.mmdb", &own), ("missing.mmdb", b""), ("bought.mmdb", &bought)]).start();
    assert_eq!(origins(&edge, &["10.1.2.3", "11.1.2.3", "198.51.100.1"]), ["VN/own", "CN/bought", "CN/bought"]);
}

#[test]
fn no_more_is_recorded_than_the_precision_says() {
    let bytes = database(IpVersion::V4, &[("113.161.0.0/16", nested("VN", "09"))]);
    for (precision, expected) in [("none", "/"), ("country", "VN/"), ("region", "VN/09")] {
        let edge = setup(&[("city.mmdb", &bytes)]).set("observe", "precision", format!("{precision:?}")).start();
        assert_eq!(origins(&edge, &["113.161.72.1"]), [expected], "{precision}");
    }
}

#[test]
fn a_region_that_is_long_is_cut_between_two_characters() {
    let bytes = database(IpVersion::V4, &[("113.161.0.0/16", flat("VN", &"ạ".repeat(30)))]);
    let edge = setup(&[("city.mmdb", &bytes)]).start();
    let origin = origins(&edge, &["113.161.72.1"]).remove(0);
    assert!(origin.starts_with("VN/ạạạ") && origin.trim_start_matches("VN/").chars().all(|c| c == 'ạ'), "{origin}");
}

#[test]
fn a_file_that_is_missing_or_broken_leaves_the_country_empty_and_shows() {
    let good = database(IpVersion::V4, &[("113.161.0.0/16", nested("VN", "09"))]);
    let other = database(IpVersion::V4, &[("113.161.0.0/16", json!({ "autonomous_system_number": "AS1" }))]);
    for broken in [&b""[..], b"not a database", &good[..good.len() / 2], &other] {
        let edge = setup(&[("city.mmdb", broken)]).start();
        assert_eq!(origins(&edge, &["113.161.72.1"]), ["/"]);
        assert_eq!(bad_files(&edge), 1.0);
        assert!(edge.status()["geoip"][0]["problem"].is_string());
    }
    let setup = setup(&[("city.mmdb", &good)]);
    fs::remove_file(setup.path("config/city.mmdb")).unwrap();
    let check = setup.run(&["check"]);
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.success() && said.starts_with("warning: ") && said.contains("countries stay empty"), "{said}");
    let edge = setup.start();
    assert_eq!((origins(&edge, &["113.161.72.1"]), bad_files(&edge)), (vec!["/".to_owned()], 1.0));
}

/// Scans until the country is recorded as expected; there is no other way to know what a worker has.
fn wait_for_country(edge: &Edge, expected: &str) {
    let database = edge.database();
    wait_for(expected, || {
        scan_from(edge, "113.161.72.1");
        let last = "SELECT country FROM scans ORDER BY batch DESC, seq DESC LIMIT 1";
        database.query_row(last, [], |row| row.get::<_, String>(0)).is_ok_and(|last| last == expected).then_some(())
    });
}

#[test]
fn a_replaced_file_is_read_anew_and_a_broken_one_is_not_taken() {
    let of = |country| database(IpVersion::V4, &[("113.161.0.0/16", nested(country, ""))]);
    let edge = setup(&[("city.mmdb", &of("VN"))]).start();
    let replace = |bytes: &[u8]| {
        fs::write(edge.setup.path("config/new.mmdb"), bytes).unwrap();
        fs::rename(edge.setup.path("config/new.mmdb"), edge.setup.path("config/city.mmdb")).unwrap();
    };
    wait_for_country(&edge, "VN");
    replace(&of("CN"));
    wait_for_country(&edge, "CN");
    replace(b"half a download");
    wait_for("the broken file is seen", || (bad_files(&edge) == 1.0).then_some(()));
    wait_for_country(&edge, "CN");
    fs::remove_file(edge.setup.path("config/city.mmdb")).unwrap();
    replace(&of("LA"));
    wait_for_country(&edge, "LA");
    assert_eq!(bad_files(&edge), 0.0);
}

/// In this process, where a few thousand files are read in a second: a panic would end an edge.
#[test]
fn no_damage_to_a_file_is_more_than_an_empty_country() {
    let bytes = database(
        IpVersion::V6,
        &[
            ("113.161.0.0/16", nested("VN", "09")),
            ("2001:ee0::/32", nested("VN", "HN")),
            ("2001:db8::/48", flat("CN", "GX")),
        ],
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.mmdb");
    let addresses: [IpAddr; 4] =
        ["113.161.72.1", "2001:ee0::1", "2001:db8::1", "8.8.8.8"].map(|text| text.parse().unwrap());
    let mut random = Random::seeded(20_261_124);
    for _ in 0..3000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random.index(4) {
            let at = random.index(damaged.len());
            damaged[at] = u8::try_from(random.index(256)).unwrap();
        }
        fs::write(&path, &damaged).unwrap();
        let files = CountryFiles::open(std::slice::from_ref(&path));
        let databases = files.subscribe().borrow().clone();
        for address in addresses {
            let _no_panic = databases.origin(address, Precision::Region);
        }
    }
}

/// A download that has reserved its space, and has only its end.
#[test]
fn a_file_with_a_hole_does_not_keep_an_edge_from_starting() {
    let mut bytes =
        database(IpVersion::V6, &[("113.161.0.0/16", nested("VN", "09")), ("2001:ee0::/32", nested("VN", ""))]);
    bytes[..300].fill(0);
    let edge = setup(&[("city.mmdb", &bytes)]).start();
    assert_eq!(origins(&edge, &["113.161.72.1"]), ["/"]);
}

#[test]
fn a_file_may_know_every_address() {
    let four = database(IpVersion::V4, &[("0.0.0.0/1", flat("VN", "")), ("128.0.0.0/1", flat("CN", ""))]);
    let six = database(IpVersion::V6, &[("::/1", flat("VN", "")), ("8000::/1", flat("CN", ""))]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.mmdb");
    // IPv4 is one leaf, with the record of others.
    let same = database(
        IpVersion::V6,
        &[("0.0.0.0/0", flat("VN", "")), ("2001:ee0::/32", flat("VN", "")), ("2001:db8::/32", flat("CN", ""))],
    );
    for (bytes, addresses) in [
        (same, ["1.2.3.4", "2001:ee0::", "2001:db8::", "2001:db8:ffff::"]),
        (four, ["0.0.0.0", "127.255.255.255", "128.0.0.0", "255.255.255.255"]),
        (six, ["1.2.3.4", "7fff::", "8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
    ] {
        fs::write(&path, bytes).unwrap();
        let databases = CountryFiles::open(std::slice::from_ref(&path)).subscribe().borrow().clone();
        let country = |address: &str| databases.origin(address.parse().unwrap(), Precision::Region).country;
        assert_eq!(addresses.map(|address| country(address).to_string()), ["VN", "VN", "CN", "CN"], "{addresses:?}");
    }
}

/// Of 6to4 and Teredo, in which a file may tell of IPv4 once more.
fn is_given_up(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if matches!(address.segments(), [0x2002, ..] | [0x2001, 0, ..]))
}

#[test]
fn addresses_of_6to4_and_teredo_are_nowhere() {
    let bytes =
        database(IpVersion::V6, &[("113.161.0.0/16", nested("VN", "09")), ("2001:ee0::/32", nested("VN", "09"))]);
    let edge = setup(&[("city.mmdb", &bytes)]).start();
    let addresses = ["113.161.72.1", "2001:ee0::1", "2002:71a1:4801::1", "2001:0:71a1:4801::1"];
    assert_eq!(origins(&edge, &addresses), ["VN/09", "VN/09", "/", "/"]);
}

fn free_package() -> String {
    std::env::var("WAYPOST_TEST_GEOIP").unwrap_or_else(|_| {
        panic!("WAYPOST_TEST_GEOIP names no folder with iptoasn's databases; run tests/run, which installs them")
    })
}

#[test]
#[ignore = "needs npm's country database: tests/run"]
fn an_address_is_where_the_files_own_tree_says() {
    let path = Path::new(&free_package()).join("iptoasn-country.mmdb");
    let files = CountryFiles::open(std::slice::from_ref(&path));
    let databases = files.subscribe().borrow().clone();
    let tree = maxminddb::Reader::open_readfile(&path).unwrap();
    let mut random = Random::new();
    let mut known = 0;
    for _ in 0..200_000 {
        let bits = (0..4).fold(0, |bits, _| bits << 32 | u128::from(random.below(1 << 32)));
        // All of IPv4; of IPv6 2001::/16 and 2000::/4.
        let address = match random.index(3) {
            0 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits >> 96).unwrap())),
            1 => IpAddr::V6(Ipv6Addr::from_bits(bits >> 16 | 0x2001 << 112)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(bits & (u128::MAX >> 4) | 2 << 124)),
        };
        if is_given_up(address) {
            continue;
        }
        let found = tree.lookup(address).unwrap();
        let country: Option<&str> = found.decode_path(&[maxminddb::PathElement::Key("country_code")]).unwrap();
        let origin = databases.origin(address, Precision::Region);
        assert_eq!(origin.country.as_str(), country.unwrap_or(""), "{address}");
        known += u32::from(country.is_some());
    }
    assert!(known > 50_000, "{known} are somewhere");
}

#[test]
#[ignore = "needs npm's country database: tests/run"]
fn the_free_package_that_is_recommended_is_read() {
    let folder = free_package();
    let [four, six] = ["4", "6"].map(|version| {
        let path = Path::new(&folder).join(format!("iptoasn-country-ipv{version}.mmdb"));
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    });
    let edge = setup(&[("four.mmdb", &four), ("six.mmdb", &six)]).start();
    let addresses = ["113.161.72.1", "2001:ee0::1", "202.96.209.133", "240e::1", "8.8.8.8", "127.0.0.1", "::1"];
    assert_eq!(origins(&edge, &addresses), ["VN/", "VN/", "CN/", "CN/", "US/", "/", "/"]);
    assert_eq!(edge.metrics().get("waypost_geoip_files{state=\"good\"}"), 2.0);
}
