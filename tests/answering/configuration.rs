//! A slip in waypost.toml is told with its line and key, what was found and what is allowed.
//!
//! `waypost check` tells every problem at once, binds nothing and writes nothing. The file that
//! is shipped passes it, has every key there is, and its values are the defaults.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{BINARY, Setup, files_below, wait_for};
use waypost::config::Config;

/// Every key, a wrong value for it, and what is said of that.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("edge", "name", "\"a b\"", "\"a b\" is not a name; at most 63 of a-z A-Z 0-9 _ . - are allowed"),
    (
        "edge",
        "listen",
        "[\"8080\"]",
        "\"8080\" is not an address with a port; allowed are \"[::]:8080\" (both families) and \"127.0.0.1:8080\"",
    ),
    ("edge", "workers", "-1", "-1 is not allowed; a whole number from 0 to 1024 is"),
    (
        "edge",
        "public_url",
        "\"qr.langson.gov.vn\"",
        "\"qr.langson.gov.vn\" is not a URL; one like \"https://qr.langson.gov.vn\" is allowed",
    ),
    ("edge", "home_url", "\"javascript:alert(1)\"", "expected https://, found the scheme \"javascript\""),
    ("edge", "max_connections", "0", "0 is not allowed; a whole number from 1 to 1000000 is"),
    ("edge", "idle_timeout", "30", "30 is not allowed; a time from 1s to 1h is, as \"5s\", \"200ms\" or \"2m\""),
    (
        "edge",
        "request_timeout",
        "\"soon\"",
        "\"soon\" is not allowed; a time from 1s to 1h is, as \"5s\", \"200ms\" or \"2m\"",
    ),
    ("edge", "grace", "\"2m\"", "\"2m\" is not allowed; a time from 0s to 1m is, as \"5s\", \"200ms\" or \"2m\""),
    (
        "edge",
        "lame_duck",
        "\"11m\"",
        "\"11m\" is not allowed; a time from 0s to 10m is, as \"5s\", \"200ms\" or \"2m\"",
    ),
    (
        "edge.trust",
        "proxies",
        "[\"10.0.0.0/33\"]",
        "\"10.0.0.0/33\" is not a network; allowed are \"10.0.0.0/8\" and \"2001:db8::1\"",
    ),
    (
        "edge.trust",
        "header",
        "\"x-real-ip\"",
        "\"x-real-ip\" is not allowed; one of \"x-forwarded-for\", \"forwarded\" is",
    ),
    (
        "admin",
        "listen",
        "\"localhost:9090\"",
        "\"localhost:9090\" is not an address with a port; allowed are \"127.0.0.1:9090\" and \"[::]:8080\"",
    ),
    (
        "admin",
        "allowed_hosts",
        "[\"waypost:9090\"]",
        "\"waypost:9090\" is not a name; one like \"waypost\" or \"edge-1.langson.gov.vn\" is allowed, without a port",
    ),
    ("admin", "token_file", "\"nowhere\"", "\"nowhere\" can't be read: No such file or directory (os error 2)"),
    ("admin", "allow_without_token", "\"yes\"", "\"yes\" is not allowed; true or false is"),
    ("admin", "per_sign_metrics", "\"yes\"", "\"yes\" is not allowed; true or false is"),
    ("pages", "authority", "1", "1 is not allowed; a text in quotes is"),
    ("pages", "authority_en", "true", "true is not allowed; a text in quotes is"),
    ("pages", "authority_zh", "[\"a\"]", "a list is not allowed; a text in quotes is"),
    ("registry", "places", "{ file = \"places.csv\" }", "a table is not allowed; a text in quotes is"),
    ("registry", "signs", "2027-02-27", "2027-02-27 is not allowed; a text in quotes is"),
    ("registry", "overrides", "false", "false is not allowed; a text in quotes is"),
    (
        "registry",
        "default_language",
        "\"vietnamese\"",
        "\"vietnamese\" is not a language; one like \"vi\" or \"zh-Hant\" is allowed",
    ),
    (
        "registry",
        "timezone",
        "\"Asia/Lang_Son\"",
        "\"Asia/Lang_Son\" is not a time zone; a name like \"Asia/Ho_Chi_Minh\" is allowed",
    ),
    (
        "registry",
        "allowed_hosts",
        "[\"*\"]",
        "expected a host such as \"langson.gov.vn\", or one after \"*.\", found \"*\"",
    ),
    ("registry", "allow_http", "0", "0 is not allowed; true or false is"),
    ("registry", "max_shrink", "1.5", "1.5 is not allowed; a number from 0 to 1 is"),
    (
        "registry",
        "poll",
        "\"10ms\"",
        "\"10ms\" is not allowed; a time from 100ms to 1h is, as \"5s\", \"200ms\" or \"2m\"",
    ),
    ("observe", "record", "1", "1 is not allowed; true or false is"),
    ("observe", "geoip", "\"geo.mmdb\"", "\"geo.mmdb\" is not allowed; a list of texts is, as [\"a\", \"b\"]"),
    ("observe", "precision", "\"city\"", "\"city\" is not allowed; one of \"none\", \"country\", \"region\" is"),
    (
        "observe",
        "repeat_window",
        "\"1d\"",
        "\"1d\" is not allowed; a time from 0s to 1h is, as \"5s\", \"200ms\" or \"2m\"",
    ),
    ("observe", "max_unknown_per_second", "1.5", "1.5 is not allowed; a whole number from 0 to 1000000 is"),
    ("journal", "dir", "7", "7 is not allowed; a text in quotes is"),
    (
        "journal",
        "segment",
        "\"1KiB\"",
        "\"1KiB\" is not allowed; a size from 65536 to 1073741824 bytes is, as \"16MiB\" or \"4GiB\"",
    ),
    (
        "journal",
        "seal_after",
        "\"-5s\"",
        "\"-5s\" is not allowed; a time from 100ms to 1h is, as \"5s\", \"200ms\" or \"2m\"",
    ),
    (
        "journal",
        "seal_after_outage",
        "\"2d\"",
        "\"2d\" is not allowed; a time from 1s to 24h is, as \"5s\", \"200ms\" or \"2m\"",
    ),
    (
        "journal",
        "sync_every",
        "\"1ms\"",
        "\"1ms\" is not allowed; a time from 10ms to 1m is, as \"5s\", \"200ms\" or \"2m\"",
    ),
    (
        "journal",
        "max_size",
        "\"4 GB\"",
        "\"4 GB\" is not allowed; a size from 1048576 to 1125899906842624 bytes is, as \"16MiB\" or \"4GiB\"",
    ),
    (
        "journal",
        "min_free",
        "512",
        "512 is not allowed; a size from 0 to 1125899906842624 bytes is, as \"16MiB\" or \"4GiB\"",
    ),
    ("store", "kind", "\"mysql\"", "\"mysql\" is not allowed; one of \"sqlite\", \"clickhouse\" is"),
    ("store", "path", "[]", "a list is not allowed; a text in quotes is"),
    (
        "store",
        "url",
        "[\"localhost:8123\"]",
        "\"localhost:8123\" is not the URL of an HTTP interface; one like \"http://127.0.0.1:8123\" is allowed",
    ),
    (
        "store",
        "database",
        "\"way-post\"",
        "\"way-post\" is not a name; 1 to 64 of a-z A-Z 0-9 _ are allowed, a letter first",
    ),
    ("store", "user", "0", "0 is not allowed; a text in quotes is"),
    ("store", "password_file", "\"nowhere\"", "\"nowhere\" can't be read: No such file or directory (os error 2)"),
    ("store", "cluster", "\"1st\"", "\"1st\" is not a name; 1 to 64 of a-z A-Z 0-9 _ are allowed, a letter first"),
    ("store", "replicas", "\"no\"", "\"no\" is not allowed; true or false is"),
    ("store", "apply_schema", "1", "1 is not allowed; true or false is"),
    (
        "store",
        "connect_timeout",
        "\"2m\"",
        "\"2m\" is not allowed; a time from 100ms to 1m is, as \"5s\", \"200ms\" or \"2m\"",
    ),
    ("store", "timeout", "\"0s\"", "\"0s\" is not allowed; a time from 100ms to 1h is, as \"5s\", \"200ms\" or \"2m\""),
    ("log", "format", "\"xml\"", "\"xml\" is not allowed; one of \"text\", \"json\" is"),
];

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/waypost.toml")
}

/// What `check` says of a configuration beside the registry of [`Setup`], and its exit code.
fn check(toml: &str) -> (i32, String) {
    let setup = Setup::new().file("config/written.toml", toml);
    check_file(&setup.path("config/written.toml"))
}

fn check_file(path: &Path) -> (i32, String) {
    let output = Command::new(BINARY).arg("check").arg("--config").arg(path).current_dir("/").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn every_key_that_is_wrong_is_told_at_once_with_its_line() {
    let (mut toml, mut expected, mut section, mut line) = (String::new(), String::new(), "", 0);
    for (of, key, value, said) in WRONG {
        if *of != section {
            (section, line) = (of, line + 2);
            toml += &format!("\n[{of}]\n");
        }
        line += 1;
        toml += &format!("{key} = {value}\n");
        expected += &format!("written.toml:{line}: {of}.{key}: {said}\n");
    }
    assert_eq!(check(&toml), (1, expected));
}

#[test]
fn a_key_that_is_wrong_alone_is_one_problem() {
    for (section, key, value, said) in WRONG {
        let allowed = "[registry]\nallowed_hosts = [\"example.vn\"]\n";
        let rest = if *section == "registry" && *key == "allowed_hosts" { "" } else { allowed };
        let toml = if *section == "registry" {
            format!("\n{}{key} = {value}\n", if rest.is_empty() { "[registry]\n" } else { rest })
        } else {
            format!("\n\n[{section}]\n{key} = {value}\n{rest}")
        };
        let line = toml.lines().position(|line| line.starts_with(key)).unwrap() + 1;
        assert_eq!(check(&toml), (1, format!("written.toml:{line}: {section}.{key}: {said}\n")), "{toml}");
    }
}

#[test]
fn every_key_of_the_shipped_file_is_among_the_wrong_ones() {
    let keys = |toml: &str| -> Vec<(String, String)> {
        let (mut found, mut section) = (Vec::new(), String::new());
        for line in toml.lines() {
            match line.strip_prefix('[').and_then(|line| line.split(']').next()) {
                Some(name) => name.clone_into(&mut section),
                None => found.extend(line.split_once(" = ").map(|(key, _)| (section.clone(), key.to_owned()))),
            }
        }
        found.retain(|(_, key)| !key.starts_with('#'));
        found
    };
    let wrong: Vec<_> = WRONG.iter().map(|(section, key, ..)| ((*section).to_owned(), (*key).to_owned())).collect();
    assert_eq!(keys(&fs::read_to_string(shipped()).unwrap()), wrong, "in the same order");
}

#[test]
fn other_slips_are_told_with_their_line() {
    let hosts = "[registry]\nallowed_hosts = [\"example.vn\"]\n";
    for (before, after, expected) in [
        ("", "[edge]\nworker = 1\n", &["4: edge.worker: unknown key; did you mean workers?"][..]),
        ("", "[edge]\nport = 80\n", &["4: edge.port: unknown key; allowed are name, listen, workers, public_url"]),
        ("", "[edge.trust]\nproxy = []\n", &["4: edge.trust.proxy: unknown key; allowed are proxies, header"]),
        ("", "[registri]\n", &["3: registri: unknown key; did you mean registry?"]),
        (
            "",
            "[secrets]\n",
            &["3: secrets: unknown key; allowed are edge, admin, pages, registry, observe, journal, store, log"],
        ),
        ("listen = \"[::]:80\"\n", "", &["1: listen: unknown key; allowed are edge, admin"]),
        ("edge = 1\n", "", &["1: edge: is 1, not a table [edge]"]),
        ("", "[edge]\ntrust = [\"10.0.0.1\"]\n", &["4: edge.trust: is a list, not a table [edge.trust]"]),
        (
            "",
            "[edge]\nlisten = []\n",
            &["4: edge.listen: is empty; at least one address is needed, as [\"[::]:8080\"]"],
        ),
        ("", "[edge]\nlisten = [\"[::]:80\", 443]\n", &["4: edge.listen: a list is not allowed; a list of texts is"]),
        ("", "[edge]\nworkers = 0x500\n", &["4: edge.workers: 0x500 is not allowed; a whole number from 0 to 1024 is"]),
        (
            "",
            "[journal]\nsegment = \"1GiB\"\nmax_size = \"1GiB\"\n[edge]\nworkers = 1\n",
            &["5: journal.max_size: 1073741824 bytes hold less than two segments for each of 1 workers"],
        ),
        ("", "[log]\nformat = \"json\"\nformat = \"text\"\n", &["5: "]),
        ("", "[log]\nformat = json\n", &["4: "]),
        ("", "[edge]\nname = \"half\n\n[log]\nformat = \"xml\"\n", &["4: ", "7: log.format: \"xml\" is not allowed"]),
        (
            "",
            "[edge]\nworkers = 9999\n[log]\nform = 1\n",
            &["4: edge.workers: 9999 is not allowed", "6: log.form: unknown key; did you mean format?"],
        ),
    ] {
        let (code, said) = check(&format!("{before}{hosts}{after}"));
        assert_eq!(code, 1, "accepted: {before}{after}");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{before}{after}\n{said}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(&format!("written.toml:{expected}")), "expected {expected}\nsaid {line}");
        }
    }
}

/// Whoever runs `check` may show its words to others.
#[test]
fn a_password_in_a_url_is_refused_and_never_shown() {
    let secrets = "a name belongs in store.user, and a password in store.password_file or the environment's \
                   WAYPOST_CLICKHOUSE_PASSWORD";
    let info = format!("a URL with user info (name:password@) is not allowed; {secrets}\n");
    let one = "one like \"http://127.0.0.1:8123\" is allowed\n";
    for (url, said) in [
        ("[\"http://name:hunter2@127.0.0.1:8123\"]", info.clone()),
        ("[\"http://127.0.0.1:8123\", \"http://name:hunter2@127.0.0.1:8123\"]", info.clone()),
        ("[\"http://hunter2@127.0.0.1\"]", info.clone()),
        ("[\"name:hunter2@127.0.0.1:8123\"]", info.clone()),
        ("[\"https://name:hunter2@127.0.0.1:99999\"]", info.clone()),
        ("[\"http://name:hunter2@\"]", info),
        (
            "[\"http://127.0.0.1:8123/?password=hunter2\"]",
            format!("a URL with a query or a fragment is not allowed; {secrets}; {one}"),
        ),
        (
            "[\"http://127.0.0.1:8123/#hunter2\"]",
            format!("a URL with a query or a fragment is not allowed; {secrets}; {one}"),
        ),
        ("[\"name:hunter2\"]", format!("what stands there is not the URL of an HTTP interface; {one}")),
        (
            "[\"jdbc:clickhouse://name:hunter2\"]",
            format!("what stands there is not the URL of an HTTP interface; {one}"),
        ),
        ("[\"http://name hunter2 host\"]", format!("what stands there is not the URL of an HTTP interface; {one}")),
        ("[\"http://name:hunter2\"]", format!("a URL whose port is not a number is not allowed; {one}")),
        (
            "\"http://name:hunter2@127.0.0.1:8123\"",
            "a text is not allowed; a list of texts is, as [\"http://127.0.0.1:8123\"]\n".to_owned(),
        ),
    ] {
        let toml = format!("registry.allowed_hosts = [\"example.vn\"]\n[store]\nurl = {url}\n");
        assert_eq!(check(&toml), (1, format!("written.toml:3: store.url: {said}")), "{url}");
    }
    for (key, said) in [
        ("public_url", "has user info before its host, or another @; none is allowed\n"),
        ("home_url", "expected no user info before the host, found some\n"),
    ] {
        for url in ["https://name:hunter2@example.vn/", "http://name:hunter2@example.vn/"] {
            let toml = format!("registry.allowed_hosts = [\"example.vn\"]\n[edge]\n{key} = \"{url}\"\n");
            assert_eq!(check(&toml), (1, format!("written.toml:3: edge.{key}: {said}")));
        }
    }
}

#[test]
fn the_home_is_checked_as_targets_are() {
    let hosts = "[registry]\nallowed_hosts = [\"example.vn\", \"*.example.vn\"]\n";
    let edge = |url: &str| format!("{hosts}[edge]\npublic_url = \"https://qr.example.vn\"\nhome_url = \"{url}\"\n");
    for (url, said) in [
        ("http://example.vn/", "expected https://, found \"http://example.vn/\" (registry.allow_http is false)"),
        ("https://example.com/", "host example.com is not in allowed_hosts"),
        (
            "https://qr.example.vn/",
            "host qr.example.vn is this service's own (edge.public_url); a scan would lead back here",
        ),
        ("https://example.vn/a b", "expected no spaces or control characters, found ' '"),
        ("https://example.vn/\\n", "expected no spaces or control characters, found '\\n'"),
    ] {
        assert_eq!(check(&edge(url)), (1, format!("written.toml:5: edge.home_url: {said}\n")), "{url}");
    }
    for (rest, url) in [("", "https://example.vn/du-lịch"), ("[registry]\nallow_http = true\n", "http://example.vn/")]
    {
        let text = edge(url).replace("[registry]\n", if rest.is_empty() { "[registry]\n" } else { rest });
        let (code, said) = check(&text);
        assert!(code == 0, "{url}: {said}");
    }
    let text = edge("https://example.vn/du-lịch");
    let config = Config::parse("waypost.toml", &text, Path::new(".")).unwrap();
    assert_eq!(config.pages.home_url, "https://example.vn/du-l%E1%BB%8Bch", "as it is sent");
    // Hosts that are wrong are told alone.
    let (_, said) = check("edge.home_url = \"https://example.vn/\"\n[registry]\nallowed_hosts = [\"*\"]\n");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn an_admin_port_beyond_loopback_wants_a_token_or_a_word() {
    let hosts = "[registry]\nallowed_hosts = [\"example.vn\"]\n";
    for (listen, more, is_allowed) in [
        ("127.0.0.1:9090", "", true),
        ("127.8.9.1:9090", "", true),
        ("[::1]:9090", "", true),
        ("[::ffff:127.0.0.1]:9090", "", true),
        ("0.0.0.0:9090", "", false),
        ("[::]:9090", "", false),
        ("10.0.0.11:9090", "", false),
        ("10.0.0.11:9090", "allow_without_token = false\n", false),
        ("10.0.0.11:9090", "allow_without_token = true\n", true),
    ] {
        let toml = format!("{hosts}[admin]\nlisten = \"{listen}\"\n{more}");
        let found = Config::parse("waypost.toml", &toml, Path::new("/config"));
        let told = found.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!(found.is_ok(), is_allowed, "{toml}{told}");
        let expected =
            format!("waypost.toml:4: admin.listen: {listen} can be reached from other machines, without a token");
        assert!(is_allowed || told.starts_with(&expected), "{told}");
    }
}

#[test]
fn a_token_is_long_and_nobody_elses() {
    let check = |token: &str, mode: u32| {
        let setup = Setup::new().set("admin", "listen", "\"0.0.0.0:0\"").set("admin", "token_file", "\"token\"");
        let setup = setup.file("config/token", token);
        fs::set_permissions(setup.path("config/token"), fs::Permissions::from_mode(mode)).unwrap();
        let text = setup.toml();
        let setup = setup.file("config/written.toml", text);
        check_file(&setup.path("config/written.toml"))
    };
    assert_eq!(check("0123456789abcdef\n", 0o600).0, 0);
    assert_eq!(check("0123456789abcdef", 0o640).0, 0);
    for (token, mode, said) in [
        ("0123456789abcdef\n", 0o644, "has mode 0644, so that everybody here may read it; allowed are 0600 and 0640"),
        ("0123456789abcde\n", 0o600, "has 15 characters that can't be a token; at least 16 are needed"),
        ("", 0o600, "has 0 characters that can't be a token"),
        ("two words and more", 0o600, "has 18 characters that can't be a token"),
    ] {
        let (code, found) = check(token, mode);
        assert!(code == 1 && found.starts_with("written.toml:3: admin.token_file: \"token\" "), "{found}");
        assert!(found.contains(said) && found.lines().count() == 1, "{found}");
        assert!(token.is_empty() || !found.contains(token.trim_end()), "a secret is not repeated: {found}");
    }
}

#[test]
fn a_password_that_others_may_read_is_refused() {
    let setup = Setup::new().file("config/password", "hush\n").set("store", "password_file", "\"password\"");
    for (mode, code) in [(0o600, 0), (0o640, 0), (0o644, 1), (0o602, 1)] {
        fs::set_permissions(setup.path("config/password"), fs::Permissions::from_mode(mode)).unwrap();
        let output = setup.run(&["check"]);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{mode:o}: {said}");
        let expected =
            format!("store.password_file: \"password\" has mode {mode:04o}, so that everybody here may read it");
        assert!(code == 0 || said.contains(&expected) && !said.contains("hush"), "{said}");
    }
}

#[test]
fn what_is_missing_is_told() {
    let missing = "registry.allowed_hosts: is missing; this key has no default\n";
    assert_eq!(check(""), (1, format!("written.toml: {missing}")));
    assert_eq!(check("\n[registry]\npoll = \"1s\"\n"), (1, format!("written.toml:2: {missing}")));
    let empty = "written.toml:2: registry.allowed_hosts: is empty; at least one host is needed";
    assert!(check("[registry]\nallowed_hosts = []\n").1.starts_with(empty));
    let (code, said) = check_file(Path::new("/nonexistent/waypost.toml"));
    assert!(code == 1 && said.starts_with("waypost.toml: can't be read (/nonexistent/waypost.toml): "), "{said}");
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let setup = Setup::new().set("registry", "places", "\"../elsewhere/places.csv\"");
    fs::create_dir(setup.path("elsewhere")).unwrap();
    fs::rename(setup.path("config/places.csv"), setup.path("elsewhere/places.csv")).unwrap();
    setup.run(&["check"]);
    let (code, said) = check_file(&setup.path("config/waypost.toml"));
    assert_eq!(
        (code, said.as_str()),
        (0, "configuration OK: 1 places, 2 signs (2 active, 0 planned, 0 retired), languages vi, en\n")
    );
    let output = Command::new(BINARY)
        .args(["check", "--config", "waypost.toml"])
        .current_dir(setup.path("config"))
        .output()
        .unwrap();
    assert!(output.status.success());
    let edge = setup.start();
    for path in ["data/journal/lock", "data/waypost.db"] {
        wait_for(path, || edge.setup.path(path).exists().then_some(()));
    }
}

#[test]
fn the_shipped_file_passes() {
    let (code, said) = check_file(&shipped());
    assert!(code == 0 && said.starts_with("configuration OK: "), "{said}");
}

#[test]
fn the_values_of_the_shipped_file_are_the_defaults() {
    let text = fs::read_to_string(shipped()).unwrap();
    // What has no default, or has one that depends on other keys.
    let mut kept: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut section = "";
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        }
        if line.starts_with("authority") || section == "[registry]" && line.starts_with("allowed_hosts") {
            kept.entry(section).or_default().push(line);
        }
    }
    let kept: Vec<String> = kept.iter().map(|(section, lines)| format!("{section}\n{}\n", lines.join("\n"))).collect();
    let kept = kept.concat();
    let read = |text: &str| format!("{:#?}", Config::parse("waypost.toml", text, Path::new("/config")).unwrap());
    assert_eq!(kept.lines().count(), 6, "{kept}");
    assert_eq!(read(&text), read(&kept));
}

#[test]
fn the_names_of_the_authority_follow_the_public_url() {
    let read = |text: &str| {
        let text = format!("{text}\n[registry]\nallowed_hosts = [\"example.vn\"]\n");
        Config::parse("waypost.toml", &text, Path::new(".")).unwrap().pages.authority
    };
    assert_eq!(read("edge.public_url = \"https://qr.example.vn/\""), ["qr.example.vn"; 3]);
    assert_eq!(read("pages.authority = \"tỉnh\"\npages.authority_zh = \"省\""), ["tỉnh", "tỉnh", "省"]);
}

#[test]
fn check_binds_nothing_and_writes_nothing() {
    let taken = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let [edge, admin] = taken.each_ref().map(|listener| listener.local_addr().unwrap());
    let setup =
        Setup::new().set("edge", "listen", format!("[\"{edge}\"]")).set("admin", "listen", format!("\"{admin}\""));
    // Written by the first run, so that the second finds what it leaves behind.
    setup.run(&["check"]);
    let listing = || -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
        let state = |path: PathBuf| {
            (path.clone(), (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap()))
        };
        files_below(setup.folder.path()).into_iter().map(state).collect()
    };
    let before = listing();
    assert_eq!(check_file(&setup.path("config/waypost.toml")).0, 0, "the ports are taken, and that is fine");
    assert_eq!(listing(), before);
    assert!(!setup.path("data").exists(), "not even an empty folder");
}
