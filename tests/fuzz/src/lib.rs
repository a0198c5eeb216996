//! What holds for whatever comes in: one module for each parser, its promise at the top.
//!
//! Each `run` takes any bytes and panics where the promise is broken. The targets of `cargo fuzz` call it with
//! bytes of libFuzzer's, and `tests/fuzz_corpus.rs` with those that are kept in `corpus/`.

pub mod clickhouse;
pub mod codes;
pub mod configuration;
pub mod forwarded;
pub mod journal;
pub mod languages;
pub mod proxy_protocol;
pub mod requests;
pub mod tables;

use waypost::config::Config;
use waypost::core::Problems;

/// A promise about any bytes: it panics where it is broken.
pub type Promise = fn(&[u8]);

/// Every target, by the name of its files.
pub const TARGETS: [(&str, Promise); 9] = [
    ("clickhouse", clickhouse::run),
    ("codes", codes::run),
    ("configuration", configuration::run),
    ("forwarded", forwarded::run),
    ("journal", journal::run),
    ("languages", languages::run),
    ("proxy_protocol", proxy_protocol::run),
    ("requests", requests::run),
    ("tables", tables::run),
];

/// Tables are read by these rules, and requests answered by this configuration.
const CONFIG: &str = "
[edge]
name = \"test\"
listen = [\"127.0.0.1:8080\"]
workers = 1
max_misses_per_address = 65534
public_url = \"https://qr.example.vn\"
[edge.trust]
proxies = [\"10.0.0.0/8\"]
[registry]
allowed_hosts = [\"example.vn\", \"*.example.vn\"]
[observe]
repeat_window = \"1h\"
max_unknown_per_second = 1000000
[journal]
segment = \"1MiB\"
min_free = \"0B\"
";

fn config(folder: &std::path::Path) -> Config {
    Config::parse("waypost.toml", CONFIG, folder).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A folder in memory, where there is one: files are written thousands of times a second.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// Each problem is one line that names a file and a line of it: what a person needs to find the slip, and nothing
/// that could forge another line of a log. `files` are the names and contents.
fn check_problems(problems: &Problems, files: &[(&str, &[u8])]) {
    assert!(!problems.is_empty(), "refused, and no word why");
    for problem in &problems.list {
        let file = files.iter().find(|(name, _)| *name == problem.file);
        let (_, content) = file.unwrap_or_else(|| panic!("no such file: {problem}"));
        let lines = 1 + content.iter().filter(|&&byte| byte == b'\n').count() as u64;
        assert!(problem.line <= lines, "{lines} lines, found {problem}");
        assert!(!problem.text.is_empty(), "no word what is wrong: {problem}");
        let told = problem.to_string();
        assert!(!told.chars().any(char::is_control), "more than one line of text: {told:?}");
    }
}
