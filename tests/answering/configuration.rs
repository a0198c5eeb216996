//! A slip in waypost.toml is reported with its line and key, what was found and what is allowed.
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
    ("edge", "name", "\"a b\"", "expected at most 63 characters of a-z A-Z 0-9 _ . -, found \"a b\""),
    (
        "edge",
        "listen",
        "[\"8080\"]",
        "expected an address and a port such as \"[::]:8080\" or \"10.0.0.11:8080\", found \"8080\"",
    ),
    ("edge", "workers", "-1", "expected an integer from 0 to 1024, found -1"),
    (
        "edge",
        "public_url",
        "\"qr.langson.gov.vn\"",
        "expected a URL such as \"https://qr.langson.gov.vn\", found \"qr.langson.gov.vn\"",
    ),
    ("edge", "home_url", "\"javascript:alert(1)\"", "expected https://, found the scheme \"javascript\""),
    ("edge", "max_connections", "0", "expected an integer from 1 to 1000000, found 0"),
    ("edge", "max_connections_per_address", "0", "expected an integer from 1 to 1000000, found 0"),
    ("edge", "max_requests_per_connection", "\"many\"", "expected an integer from 1 to 1000000, found \"many\""),
    ("edge", "max_connection_age", "\"2d\"", "expected a duration from 1s to 24h such as \"5s\", found \"2d\""),
    ("edge", "max_misses_per_address", "65535", "expected an integer from 0 to 65534, found 65535"),
    ("edge", "idle_timeout", "30", "expected a duration from 1s to 1h such as \"5s\", found 30"),
    ("edge", "request_timeout", "\"soon\"", "expected a duration from 1s to 1h such as \"5s\", found \"soon\""),
    ("edge", "grace", "\"2m\"", "expected a duration from 0s to 1m such as \"5s\", found \"2m\""),
    ("edge", "lame_duck", "\"11m\"", "expected a duration from 0s to 10m such as \"5s\", found \"11m\""),
    ("edge", "redirect_to_https", "\"yes\"", "expected true or false, found \"yes\""),
    ("edge", "acme_challenges", "true", "expected a string in quotes, found true"),
    (
        "edge.tls",
        "listen",
        "[\":443\"]",
        "expected an address and a port such as \"[::]:8080\" or \"10.0.0.11:8080\", found \":443\"",
    ),
    (
        "edge.tls",
        "certificates",
        "[{ certificate = \"cert.pem\" }]",
        "expected a list of tables such as [{ certificate = \"…\", key = \"…\" }], found a table without key",
    ),
    ("edge.tls", "min_version", "\"1.1\"", "expected \"1.2\" or \"1.3\", found \"1.1\""),
    ("edge.tls", "handshake_timeout", "\"0s\"", "expected a duration from 1s to 1m such as \"5s\", found \"0s\""),
    ("edge.tls", "hsts", "\"never\"", "expected a duration from 0s to 17520h such as \"5s\", found \"never\""),
    ("edge.tls", "proxy_protocol", "2", "expected true or false, found 2"),
    (
        "edge.proxy_protocol",
        "listen",
        "\"127.0.0.1:8081\"",
        "expected a list of strings such as [\"a\", \"b\"], found \"127.0.0.1:8081\"",
    ),
    (
        "edge.proxy_protocol",
        "from",
        "[\"10.0.0.0/33\"]",
        "expected a network such as \"10.0.0.0/8\" or an address such as \"2001:db8::1\", found \"10.0.0.0/33\"",
    ),
    (
        "edge.trust",
        "proxies",
        "[\"10.0.0.0/33\"]",
        "expected a network such as \"10.0.0.0/8\" or an address such as \"2001:db8::1\", found \"10.0.0.0/33\"",
    ),
    ("edge.trust", "header", "\"x-real-ip\"", "expected \"x-forwarded-for\" or \"forwarded\", found \"x-real-ip\""),
    (
        "admin",
        "listen",
        "\"localhost:9090\"",
        "expected an address and a port such as \"127.0.0.1:9090\" or \"[::1]:9090\", found \"localhost:9090\"",
    ),
    (
        "admin",
        "allowed_hosts",
        "[\"waypost:9090\"]",
        "expected a host name without a port, such as \"waypost\" or \"edge-1.langson.gov.vn\", found \"waypost:9090\"",
    ),
    ("admin", "token_file", "\"nowhere\"", "\"nowhere\": can't be read: No such file or directory (os error 2)"),
    ("admin", "allow_without_token", "\"yes\"", "expected true or false, found \"yes\""),
    ("admin", "per_sign_metrics", "\"yes\"", "expected true or false, found \"yes\""),
    (
        "console",
        "listen",
        "\"9080\"",
        "expected an address and a port such as \"127.0.0.1:9080\", or \"\" for none, found \"9080\"",
    ),
    (
        "console",
        "origin",
        "\"http://bien.langson.gov.vn\"",
        "expected an origin such as \"https://bien.langson.gov.vn\", without a path (http:// on loopback only), \
         found \"http://bien.langson.gov.vn\"",
    ),
    ("console", "path", "7", "expected a string in quotes, found 7"),
    ("console", "approvals", "2", "expected an integer from 0 to 1, found 2"),
    (
        "console",
        "second_factor",
        "[\"boss\"]",
        "expected one of \"viewer\", \"editor\", \"approver\", \"manager\", found \"boss\"",
    ),
    (
        "console",
        "proxies",
        "[\"proxy\"]",
        "expected a network such as \"10.0.0.0/8\" or an address such as \"2001:db8::1\", found \"proxy\"",
    ),
    (
        "console",
        "user_header",
        "\"x user\"",
        "expected the name of a header such as \"x-forwarded-user\", or \"\" for none, found \"x user\"",
    ),
    ("console", "max_upload", "\"1KiB\"", "expected a size from 64KiB to 256MiB such as \"16MiB\", found \"1KiB\""),
    ("pages", "authority", "1", "expected a string in quotes, found 1"),
    ("pages", "authority_en", "true", "expected a string in quotes, found true"),
    ("pages", "authority_zh", "[\"a\"]", "expected a string in quotes, found a list"),
    ("registry", "places", "{ file = \"places.csv\" }", "expected a string in quotes, found a table"),
    ("registry", "signs", "2027-02-27", "expected a string in quotes, found 2027-02-27"),
    ("registry", "overrides", "false", "expected a string in quotes, found false"),
    (
        "registry",
        "default_language",
        "\"vietnamese\"",
        "expected a language tag such as \"vi\" or \"zh-Hant\", found \"vietnamese\"",
    ),
    (
        "registry",
        "timezone",
        "\"Asia/Lang_Son\"",
        "expected an IANA time zone such as \"Asia/Ho_Chi_Minh\", found \"Asia/Lang_Son\"",
    ),
    (
        "registry",
        "allowed_hosts",
        "[\"*\"]",
        "expected a host such as \"langson.gov.vn\", or one after \"*.\", found \"*\"",
    ),
    ("registry", "allow_http", "0", "expected true or false, found 0"),
    ("registry", "max_shrink", "1.5", "expected a number from 0 to 1, found 1.5"),
    ("registry", "poll", "\"10ms\"", "expected a duration from 100ms to 1h such as \"5s\", found \"10ms\""),
    ("observe", "record", "1", "expected true or false, found 1"),
    ("observe", "geoip", "\"geo.mmdb\"", "expected a list of strings such as [\"a\", \"b\"], found \"geo.mmdb\""),
    ("observe", "precision", "\"city\"", "expected \"none\", \"country\" or \"region\", found \"city\""),
    ("observe", "repeat_window", "\"1d\"", "expected a duration from 0s to 1h such as \"5s\", found \"1d\""),
    ("observe", "max_unknown_per_second", "1.5", "expected an integer from 0 to 1000000, found 1.5"),
    ("journal", "dir", "7", "expected a string in quotes, found 7"),
    ("journal", "segment", "\"1KiB\"", "expected a size from 64KiB to 1GiB such as \"16MiB\", found \"1KiB\""),
    ("journal", "seal_after", "\"-5s\"", "expected a duration from 100ms to 1h such as \"5s\", found \"-5s\""),
    ("journal", "seal_after_outage", "\"2d\"", "expected a duration from 1s to 24h such as \"5s\", found \"2d\""),
    ("journal", "sync_every", "\"1ms\"", "expected a duration from 10ms to 1m such as \"5s\", found \"1ms\""),
    ("journal", "max_size", "\"4 GB\"", "expected a size from 1MiB to 1024TiB such as \"16MiB\", found \"4 GB\""),
    ("journal", "min_free", "512", "expected a size from 0B to 1024TiB such as \"16MiB\", found 512"),
    ("store", "kind", "\"mysql\"", "expected \"sqlite\" or \"clickhouse\", found \"mysql\""),
    ("store", "path", "[]", "expected a string in quotes, found a list"),
    (
        "store",
        "keep",
        "\"30d\"",
        "expected \"0d\", which is for ever, or an age from 31d to 36500d such as \"400d\", found \"30d\"",
    ),
    ("store", "max_size", "\"-1B\"", "expected a size from 0B to 1024TiB such as \"16MiB\", found \"-1B\""),
    ("store", "when_full", "\"wait\"", "expected \"drop_oldest\" or \"stop\", found \"wait\""),
    (
        "store",
        "url",
        "[\"localhost:8123\"]",
        "expected the URL of an HTTP interface such as \"http://127.0.0.1:8123\" or \"https://clickhouse.example.vn:8443\", \
         found \"localhost:8123\"",
    ),
    (
        "store",
        "database",
        "\"way-post\"",
        "expected 1 to 64 characters of a-z A-Z 0-9 _, no digit first, found \"way-post\"",
    ),
    ("store", "user", "0", "expected a string in quotes, found 0"),
    ("store", "password_file", "\"nowhere\"", "\"nowhere\": can't be read: No such file or directory (os error 2)"),
    ("store", "ca_file", "1", "expected a string in quotes, found 1"),
    ("store", "cluster", "\"1st\"", "expected 1 to 64 characters of a-z A-Z 0-9 _, no digit first, found \"1st\""),
    ("store", "replicas", "\"no\"", "expected true or false, found \"no\""),
    ("store", "apply_schema", "1", "expected true or false, found 1"),
    ("store", "connect_timeout", "\"2m\"", "expected a duration from 100ms to 1m such as \"5s\", found \"2m\""),
    ("store", "timeout", "\"0s\"", "expected a duration from 100ms to 1h such as \"5s\", found \"0s\""),
    ("health", "budget", "0.5", "expected a number from 0.0001 to 0.1, found 0.5"),
    ("health", "at", "\"4:00\"", "expected a time of day from \"00:00\" to \"23:59\", found \"4:00\""),
    ("log", "format", "\"xml\"", "expected \"text\" or \"json\", found \"xml\""),
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
        ("", "[edge]\n\"a\\nb\" = 1\n", &["4: edge.a\\nb: unknown key; allowed are name, listen"]),
        ("", "[edge]\nport = 80\n", &["4: edge.port: unknown key; allowed are name, listen, workers, public_url"]),
        ("", "[edge.trust]\nproxy = []\n", &["4: edge.trust.proxy: unknown key; allowed are proxies, header"]),
        ("", "[registri]\n", &["3: registri: unknown key; did you mean registry?"]),
        (
            "",
            "[secrets]\n",
            &[
                "3: secrets: unknown key; allowed are edge, admin, console, pages, registry, observe, journal, store, health, log",
            ],
        ),
        ("listen = \"[::]:80\"\n", "", &["1: listen: unknown key; allowed are edge, admin"]),
        ("edge = 1\n", "", &["1: edge: expected a table [edge], found 1"]),
        ("", "[edge]\ntrust = [\"10.0.0.1\"]\n", &["4: edge.trust: expected a table [edge.trust], found a list"]),
        (
            "",
            "[edge]\nlisten = []\n",
            &[
                "4: edge.listen: expected an address here, in edge.tls.listen or in edge.proxy_protocol.listen, found none",
            ],
        ),
        (
            "",
            "[edge]\nlisten = [\"[::]:80\", 443]\n",
            &["4: edge.listen: expected a list of strings such as [\"a\", \"b\"], found one with 443"],
        ),
        ("", "[edge]\nworkers = 0x500\n", &["4: edge.workers: expected an integer from 0 to 1024, found 0x500"]),
        (
            "",
            "[journal]\nsegment = \"1GiB\"\nmax_size = \"1GiB\"\n[edge]\nworkers = 1\n",
            &["5: journal.max_size: expected at least 2GiB: two segments for each worker (1), found 1GiB"],
        ),
        ("", "[log]\nformat = \"json\"\nformat = \"text\"\n", &["5: "]),
        ("", "[log]\nformat = json\n", &["4: "]),
        (
            "",
            "[edge]\nname = \"half\n\n[log]\nformat = \"xml\"\n",
            &["4: ", "7: log.format: expected \"text\" or \"json\", found \"xml\""],
        ),
        (
            "",
            "[edge]\nlisten = [\"[::]:9090\"]\n[edge.tls]\nlisten = [\"0.0.0.0:9090\"]\n",
            &[
                " admin.listen: expected a port that visitors do not have",
                "3: edge.tls.listen: expected a port that is not in edge.listen, too, found",
                "5: edge.tls.certificates: expected a certificate",
            ],
        ),
        (
            "",
            "[edge]\nworkers = 9999\n[log]\nform = 1\n",
            &["4: edge.workers: expected an integer", "6: log.form: unknown key; did you mean format?"],
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

/// The output of `check` may be shown to others.
#[test]
fn a_password_in_a_url_is_refused_and_never_shown() {
    let bare = "expected a URL without name and password, which belong in store.user and in store.password_file or \
                the environment's WAYPOST_CLICKHOUSE_PASSWORD";
    let info = format!("{bare}, found one with user info (name:password@)\n");
    let query = format!("{bare}, found one with a query or a fragment\n");
    let http = "expected the URL of an HTTP interface such as \"http://127.0.0.1:8123\" or \
                \"https://clickhouse.example.vn:8443\"";
    for (url, said) in [
        ("[\"http://name:hunter2@127.0.0.1:8123\"]", info.clone()),
        ("[\"http://127.0.0.1:8123\", \"http://name:hunter2@127.0.0.1:8123\"]", info.clone()),
        ("[\"http://hunter2@127.0.0.1\"]", info.clone()),
        ("[\"name:hunter2@127.0.0.1:8123\"]", info.clone()),
        ("[\"https://name:hunter2@127.0.0.1:99999\"]", info.clone()),
        ("[\"http://name:hunter2@\"]", info),
        ("[\"http://127.0.0.1:8123/?password=hunter2\"]", query.clone()),
        ("[\"http://127.0.0.1:8123/#hunter2\"]", query),
        ("[\"name:hunter2\"]", format!("{http}, found another text\n")),
        ("[\"jdbc:clickhouse://name:hunter2\"]", format!("{http}, found another text\n")),
        ("[\"http://name hunter2 host\"]", format!("{http}, found another text\n")),
        ("[\"http://name:hunter2\"]", format!("{http}, found one whose port is not a number\n")),
        (
            "\"http://name:hunter2@127.0.0.1:8123\"",
            "expected a list of strings such as [\"http://127.0.0.1:8123\"], found a string\n".to_owned(),
        ),
    ] {
        let toml = format!("registry.allowed_hosts = [\"example.vn\"]\n[store]\nurl = {url}\n");
        assert_eq!(check(&toml), (1, format!("written.toml:3: store.url: {said}")), "{url}");
    }
    for (key, said) in [
        ("public_url", "expected a URL without user info before its host, found one with an @\n"),
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
    // Where the hosts are wrong, the URL is not blamed as well.
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
        let expected = format!(" = true where the network keeps others out, found \"{listen}\" without a token");
        assert!(
            is_allowed || told.starts_with("waypost.toml:4: admin.listen: ") && told.ends_with(&expected),
            "{told}"
        );
    }
}

#[test]
fn a_token_is_long_and_its_file_closed_to_others() {
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
        ("0123456789abcdef\n", 0o644, "any mode), found mode 0644"),
        (
            "0123456789abcde\n",
            0o600,
            "expected at least 16 ASCII characters without spaces (`openssl rand -hex 32` makes 64), found 15",
        ),
        ("", 0o600, ", found 0"),
        ("two words and more", 0o600, ", found others among them"),
    ] {
        let (code, found) = check(token, mode);
        assert!(code == 1 && found.starts_with("written.toml:3: admin.token_file: \"token\": expected "), "{found}");
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
        let expected = [": store.password_file: \"password\": expected ", &format!("found mode {mode:04o}\n")];
        let is_told = expected.iter().all(|text| said.contains(text));
        assert!(code == 0 || is_told && !said.contains("hush"), "{said}");
    }
}

#[test]
fn what_is_missing_is_told() {
    let missing = "registry.allowed_hosts: is missing; this key has no default\n";
    assert_eq!(check(""), (1, format!("written.toml: {missing}")));
    assert_eq!(check("\n[registry]\npoll = \"1s\"\n"), (1, format!("written.toml:2: {missing}")));
    let empty = "written.toml:2: registry.allowed_hosts: expected at least one host such as ";
    assert!(check("[registry]\nallowed_hosts = []\n").1.starts_with(empty));
    let (code, said) = check_file(Path::new("/nonexistent/waypost.toml"));
    assert!(code == 1 && said.starts_with("waypost.toml: can't be read (/nonexistent/waypost.toml): "), "{said}");
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let setup = Setup::new().set("registry", "places", "\"../elsewhere/places.csv\"");
    let setup = setup.set("edge.trust", "proxies", "[\"127.0.0.1\"]");
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
        // The console is on where a newcomer looks for it.
        let is_kept = match section {
            "[registry]" => line.starts_with("allowed_hosts"),
            "[console]" => line.starts_with("listen"),
            _ => line.starts_with("authority"),
        };
        if is_kept {
            kept.entry(section).or_default().push(line);
        }
    }
    let kept: Vec<String> = kept.iter().map(|(section, lines)| format!("{section}\n{}\n", lines.join("\n"))).collect();
    let kept = kept.concat();
    let read = |text: &str| format!("{:#?}", Config::parse("waypost.toml", text, Path::new("/config")).unwrap());
    assert_eq!(kept.lines().count(), 8, "{kept}");
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
