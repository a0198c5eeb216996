//! The house is in order: imports point down, as the layers in `src/lib.rs` say, and there is one provider of
//! cryptography.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Which modules each module may import, by the block in `src/lib.rs`.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let text = include_str!("../src/lib.rs");
    let names = |list: &str| list.split(',').map(|name| name.trim().to_owned()).collect::<BTreeSet<_>>();
    let of = |word: &str| text.lines().filter_map(move |line| line.strip_prefix("//! ")?.strip_prefix(word)).collect();
    let (layers, beside, never): (Vec<_>, Vec<_>, Vec<_>) = (of("layer "), of("beside: "), of("never: "));
    // The highest layer stands first.
    let layers: Vec<_> = layers.into_iter().map(|line| names(line.split_once(": ").unwrap().1)).collect();
    let mut allowed = BTreeMap::new();
    for (at, layer) in layers.iter().enumerate() {
        let below: BTreeSet<_> = layers[at + 1..].iter().flatten().cloned().collect();
        allowed.extend(layer.iter().map(|name| (name.clone(), below.clone())));
    }
    let pairs = |lines: Vec<&'static str>| lines.into_iter().map(|line| line.trim().split_once(" → ").unwrap());
    pairs(beside).for_each(|(from, to)| allowed.get_mut(from).unwrap().extend(names(to)));
    pairs(never).for_each(|(from, to)| allowed.get_mut(from).unwrap().retain(|name| !names(to).contains(name)));
    allowed
}

/// What a file must not import, and does: after `crate::`, or `super::` as often as leads to the root.
fn offenders(path: &str, text: &str) -> Vec<String> {
    let allowed = allowed();
    let parts: Vec<&str> = path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').skip(1).collect();
    let (from, above) = (parts[0], "super::".repeat(parts.len()));
    let may = allowed.get(from).unwrap_or_else(|| panic!("src/lib.rs has no layer for {from}"));
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap();
        let paths = |root| code.split(root).skip(1);
        if paths("crate::").any(|rest| rest.starts_with('{')) {
            found.push(format!("{path}:{}: one line for each module, not a group", at + 1));
        }
        for rest in paths("crate::").chain(paths(&above)) {
            let to = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            if allowed.contains_key(to) && to != from && !may.contains(to) {
                found.push(format!("{path}:{}: `{from}` must not import `{to}`", at + 1));
            }
        }
    }
    found
}

/// All files below a folder, but the crate's two roots.
fn sources(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(format!("{ROOT}/{folder}")).unwrap().map(Result::unwrap);
    let each = |entry: fs::DirEntry| {
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() { sources(&path) } else { vec![path] }
    };
    let is_source = |path: &String| {
        Path::new(path).extension().is_some_and(|end| end == "rs") && path != "src/lib.rs" && path != "src/main.rs"
    };
    entries.flat_map(each).filter(is_source).collect()
}

#[test]
fn imports_point_down() {
    let read = |path: &String| fs::read_to_string(format!("{ROOT}/{path}")).unwrap();
    let found: Vec<String> = sources("src").iter().flat_map(|path| offenders(path, &read(path))).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_import_that_points_elsewhere_is_named() {
    for (path, text, to) in [
        ("src/edge/scan.rs", "// crate::admin\nuse crate::store::Kind;", "2: `edge` must not import `store`"),
        ("src/edge/mod.rs", "pub use crate::admin;", "1: `edge` must not import `admin`"),
        ("src/edge/mod.rs", "fn f() { super::app::f() }", "1: `edge` must not import `app`"),
        ("src/edge/tls/keys.rs", "use super::super::super::config::X;", "1: `edge` must not import `config`"),
        ("src/registry/mod.rs", "use crate::source::Files;", "1: `registry` must not import `source`"),
        ("src/app.rs", "let x: crate::cli::Arguments;", "1: `app` must not import `cli`"),
        ("src/cli/mod.rs", "use crate::{admin, config};", "1: one line for each module, not a group"),
    ] {
        assert_eq!(offenders(path, text), [format!("{path}:{to}")], "{text}");
    }
    for (path, text) in [
        ("src/edge/scan.rs", "use crate::edge::Pages; use crate::journal::Writer; use super::store;"),
        ("src/source/watch.rs", "use crate::registry::Registry;"),
        ("src/cli/mod.rs", "use crate::config::Config;"),
    ] {
        assert_eq!(offenders(path, text), Vec::<String>::new(), "{text}");
    }
}

/// With two providers in the build rustls panics wherever the process' default is asked for; and aws-lc-rs needs
/// CMake and an assembler. A crate's default feature is how it comes in.
#[test]
fn ring_is_the_only_provider_of_cryptography_and_is_named() {
    let lock = fs::read_to_string(format!("{ROOT}/Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"ring\"") && !lock.contains("aws-lc"), "no crate may bring aws-lc-rs");
    for path in sources("src") {
        let text = fs::read_to_string(format!("{ROOT}/{path}")).unwrap();
        for unnamed in ["get_default", "install_default", "ServerConfig::builder()", "ClientConfig::builder()"] {
            assert!(!text.contains(unnamed), "{path}: {unnamed} takes the process' default provider");
        }
    }
}
