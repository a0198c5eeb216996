//! One worker's part of the service without sockets: from a request as hyper hands it over to its answer, with
//! everything on: country, region, agent, repeat window, journal, tally.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use waypost::app;
use waypost::config::Config;
use waypost::edge::ScanHandler;
use waypost::journal::{Journal, Writer};
use waypost::observe::CountryFiles;
use waypost::source::{LastGood, Publisher};

use crate::support::{PHONE, Setup};

/// Each with a redirect (`/S00000` and so on) and with a page of its place (`/T00000`).
pub const SIGNS: u32 = 10_000;
const HEADERS: [(HeaderName, &str); 5] = [
    (USER_AGENT, PHONE),
    (ACCEPT_LANGUAGE, "vi-VN,vi;q=0.9,en-US;q=0.8,en;q=0.7"),
    (ACCEPT, "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    (ACCEPT_ENCODING, "gzip, deflate, br"),
    (HOST, "qr.example.vn"),
];

/// A handler, its journal with segments of this size, and the folder that both write to.
pub fn handler(segment: &str) -> (Setup, Arc<Journal>, ScanHandler) {
    let signs: Vec<String> =
        (0..SIGNS).map(|n| format!("S{n:05},p{0},active\nT{n:05},t{0},active\n", n % 100)).collect();
    let places: Vec<String> = (0..100)
        .map(|n| {
            let led = format!("https://example.vn/vi/place-{n},https://example.vn/en/place-{n}");
            // A thousand characters in Vietnamese, with a line break now and then.
            let about: String = "Ải Chi Lăng là nơi hiểm yếu.\n".chars().cycle().take(999).collect();
            format!(
                "p{n},Place {n},Place {n},{led},,,,,\n\
                 t{n},Phố {n},Street {n},,,Danh nhân {n},\"{about}.\",About {n},Địa chí {n},2026-03-14\n"
            )
        })
        .collect();
    let geoip = std::env::var("WAYPOST_TEST_GEOIP").expect("tests/run installs a country database and names it");
    let setup = Setup::new()
        .registry(
            &format!(
                "place,name,name:en,target,target:en,namesake,about,about:en,source,compiled\n{}",
                places.concat()
            ),
            &format!("code,place,status\n{}", signs.concat()),
        )
        .set("observe", "geoip", format!("[\"{geoip}/iptoasn-country.mmdb\"]"))
        .set("observe", "repeat_window", "\"10s\"")
        .set("journal", "segment", format!("\"{segment}\""));
    std::fs::write(setup.path("config/waypost.toml"), setup.toml()).unwrap();
    let config = Config::read(&setup.path("config/waypost.toml")).unwrap();
    let shared = app::shared(&config);
    let last_good = LastGood::within(&setup.path("data"));
    std::fs::create_dir(setup.path("data")).unwrap();
    let (tables, make_page) = (config.registry, config.pages.make_place());
    let publisher = Publisher::open(tables.files, tables.rules, tables.max_shrink, make_page, last_good).unwrap();
    let journal = Journal::open(config.journal, 1).unwrap();
    let countries = CountryFiles::open(&config.observe.geoip).subscribe();
    let writer = Writer::new(&journal, 0);
    let handler = ScanHandler::new(shared.into(), Arc::default(), publisher.subscribe(), countries, writer);
    (setup, journal, handler)
}

/// Request number `n` for a sign whose code begins with `kind`, its headers in the map that the answer before it gave
/// back, as hyper does it.
pub fn request(kind: char, n: u32, mut headers: HeaderMap) -> (SocketAddr, Request<()>) {
    headers.clear();
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    let mut request = Request::new(());
    *request.uri_mut() = Uri::try_from(format!("/{kind}{:05}", n * 7919 % SIGNS)).unwrap();
    *request.headers_mut() = headers;
    // Addresses of Vietnam and China among others.
    let [.., b, c, d] = n.wrapping_mul(2_654_435_761).to_le_bytes();
    let peer = SocketAddr::from(([[1, 14, 42, 113, 171][n as usize % 5], b, c, d], 40_000));
    (peer, request)
}
