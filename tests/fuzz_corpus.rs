//! What the fuzzers found and kept holds on: every file of `tests/fuzz/corpus` is run again.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on panics")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// The bodies of the targets; libFuzzer, which is C++, is not needed here.
#[path = "fuzz/src/lib.rs"]
mod targets;

use targets::TARGETS;

/// Fewest files of a target: a corpus of less has hardly seen its parser.
const LEAST: usize = 5;
/// Most files of a target.
const MOST: usize = 100;
/// Most bytes of all.
const MOST_BYTES: u64 = 200 << 10;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name)
}

/// The paths in a folder, in their order.
fn entries(name: &str) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// Runs each file of a target. The name of the one at which it broke is in the panic's output.
fn replay(target: &str) {
    let (_, run) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    for path in entries(&format!("corpus/{target}")) {
        let input = fs::read(&path).unwrap();
        let run = std::panic::AssertUnwindSafe(|| run(&input));
        assert!(std::panic::catch_unwind(run).is_ok(), "{} breaks the promise of {target}", path.display());
    }
}

macro_rules! replay {
    ($($target:ident)+) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })+

        /// The tests above.
        const REPLAYED: &[&str] = &[$(stringify!($target)),+];
    };
}

replay! { clickhouse codes configuration forwarded journal languages proxy_protocol requests tables }

#[test]
fn every_target_is_run_and_has_a_corpus_that_is_small() {
    let names =
        |name| entries(name).iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets, names("fuzz_targets"), "a target in fuzz_targets/ and src/lib.rs alike");
    assert_eq!(targets, names("corpus"), "a corpus for each target");
    assert_eq!(targets, REPLAYED.iter().map(|name| (*name).to_owned()).collect(), "a test for each target");
    let mut bytes = 0;
    for target in targets {
        let files = entries(&format!("corpus/{target}"));
        assert!((LEAST..=MOST).contains(&files.len()), "{} files of {target}", files.len());
        bytes += files.iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>();
    }
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
}
