//! System calls that fail on purpose, while the edge runs (`refuse.c` lists them).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::Setup;

/// Builds a library for `LD_PRELOAD` from one file of C, given by its path below `tests/`.
pub fn preload(source: &str, into: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
    let library = into.join(source.file_stem().unwrap()).with_extension("so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-o"]).arg(&library).arg(source).args(["-ldl", "-lpthread"]);
    assert!(compiler.status().expect("no C compiler: start the tests with tests/run").success());
    library
}

/// What an edge is refused by the system.
pub struct Refused {
    folder: TempDir,
}

impl Refused {
    /// For every start of an edge of this setup. Nothing is refused yet.
    pub fn in_edge(setup: Setup) -> (Self, Setup) {
        let folder = tempfile::tempdir().unwrap();
        let library = preload("support/refuse.c", folder.path());
        let setup = setup.env("LD_PRELOAD", library).env("WAYPOST_REFUSE", folder.path());
        (Self { folder }, setup)
    }

    /// From now on, for paths that contain `part`.
    pub fn refuse(&self, call: &str, part: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, part).unwrap();
        fs::rename(new, self.folder.path().join(call)).unwrap();
    }

    pub fn allow(&self, call: &str) {
        fs::remove_file(self.folder.path().join(call)).unwrap();
    }

    /// How often a call was refused.
    pub fn times(&self, call: &str) -> usize {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().filter(|line| line.split(' ').next() == Some(call)).count()
    }
}
