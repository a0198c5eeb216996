//! The three tables: any bytes are a registry of which every sign leads to an allowed host or to a text about its place
//! that keeps its limits, or problems, each with its file and line.

use std::path::Path;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization as _;
use url::Url;
use waypost::config::Registry as Settings;
use waypost::core::LanguagePreference;
use waypost::registry::{MAX_ABOUT, PlaceRef, Registry, SignRef, Status};
use waypost::source::Sources;

/// What stands on a line of its own between two tables.
const BETWEEN: &[u8] = b"\n%%\n";
/// Longer lines of successors are refused; so many steps are enough for any that is not.
const STEPS: usize = 100;
/// Times at which it is looked where signs lead: 1970, within 2026 and 2030.
const TIMES: [i64; 3] = [0, 1_780_000_000_000, 1_900_000_000_000];

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| super::config(Path::new("")).registry);

/// Places, signs and overrides, with `%%` between two.
pub fn run(input: &[u8]) {
    let (places, rest) = split(input);
    let (signs, overrides) = split(rest);
    let sources = Sources { places: places.to_vec(), signs: signs.to_vec(), overrides: overrides.to_vec() };
    match sources.parse(&SETTINGS.files, &SETTINGS.rules) {
        Ok(registry) => check(&registry),
        Err(problems) => {
            let files = [("places.csv", places), ("signs.csv", signs), ("overrides.csv", overrides)];
            super::check_problems(&problems, &files);
        }
    }
}

fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let at = bytes.windows(BETWEEN.len()).position(|window| window == BETWEEN);
    at.map_or((bytes, &[]), |at| (&bytes[..at], &bytes[at + BETWEEN.len()..]))
}

fn check(registry: &Registry) {
    assert!(registry.loss(registry).abs() < f64::EPSILON, "a sign is not found by its code");
    registry.places().for_each(check_story);
    for sign in registry.signs() {
        assert_eq!(registry.sign(sign.code()).map(SignRef::code), Some(sign.code()));
        let place = sign.place();
        assert_eq!(registry.place(place.id()).map(PlaceRef::id), Some(place.id()));
        assert!(!place.name().is_empty(), "{:?} leads to a place without a name", sign.code());
        let line = std::iter::successors(sign.successor(), |sign| sign.successor());
        assert!(line.take(STEPS).count() < STEPS, "{:?} is followed by a circle", sign.code());
        if let Some((lat, lon)) = sign.position() {
            assert!(lat.abs() <= 90.0 && lon.abs() <= 180.0, "{lat} {lon}");
        }
        for time in TIMES {
            let targets = sign.targets(time);
            let chosen = targets.choose(&LanguagePreference::read(Some("en"), None));
            let leads = chosen.is_some() || place.choose_about(&LanguagePreference::default()).is_some();
            assert!(leads || sign.status() == Status::Retired, "{:?} leads nowhere", sign.code());
            targets.iter().for_each(|target| check_target(target.url));
        }
    }
}

/// What is told of a place is seen by whoever reads it, and its source leads nowhere but to the address that is read.
fn check_story(place: PlaceRef<'_>) {
    for line in place.namesakes().map(|(_, text)| text).chain([place.source()]) {
        assert!(!line.contains(|c: char| c.is_control() || "\u{2028}\u{2029}".contains(c)), "{line:?}");
    }
    for (language, text) in place.abouts() {
        assert!(!text.contains(|c: char| c.is_control() && !"\n\t".contains(c)), "{language}: {text:?}");
        assert!(text.nfc().count() <= MAX_ABOUT, "{language}: {text:?}");
    }
    if place.source().starts_with("https://") {
        let url = Url::parse(place.source()).unwrap_or_else(|error| panic!("{:?}: {error}", place.source()));
        assert!(url.username().is_empty() && url.password().is_none(), "{url} looks like another host");
    }
}

/// A target is sent as it is, so it has nothing that a header must not have, and goes where the rules say.
fn check_target(target: &str) {
    assert!(target.bytes().all(|byte| byte.is_ascii_graphic()), "{target:?} is no value of a header");
    assert!(target.starts_with("https://"), "{target:?}");
    let url = Url::parse(target).unwrap_or_else(|error| panic!("{target:?}: {error}"));
    let host = url.host_str().unwrap_or("");
    assert!(host == "example.vn" || host.ends_with(".example.vn"), "{target:?} leads to {host:?}");
    assert!(url.username().is_empty() && url.password().is_none(), "{target:?} looks like another host");
}
