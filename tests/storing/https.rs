//! ClickHouse is spoken to over TLS where its URL says so: each scan arrives once, nothing is readable on the
//! way, and a server that can't be verified gets nothing at all.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::clickhouse::ClickHouse;
use crate::support::{Setup, wait_for};

/// Runs openssl, which makes a key and a certificate, `name.key` and `name.pem`.
fn certify(folder: &Path, name: &str, arguments: &[&str]) -> (PathBuf, PathBuf) {
    let mut openssl = Command::new("openssl");
    openssl.current_dir(folder).args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes".split(' '));
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    let made = openssl.args(["-out", &certificate, "-keyout", &key]).args(arguments).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (folder.join(certificate), folder.join(key))
}

#[test]
fn check_warns_where_no_authority_is_there_to_verify_a_server_by() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.pem");
    std::fs::write(&none, "").unwrap();
    let check = |url: &str, bundle: &Path| {
        let setup = Setup::new().set("store", "kind", "\"clickhouse\"").set("store", "url", format!("[\"{url}\"]"));
        setup.write_config();
        let mut check = setup.command(&["check"]);
        // What the system trusts is there, where these are set.
        let output = check.env("SSL_CERT_FILE", bundle).env("SSL_CERT_DIR", folder.path().join("no")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let warning = "warning: store.url: no batch can be delivered to https://ch.example.vn:8443 from here: expected \
                   certificates of authorities on this system, found none";
    let said = check("https://ch.example.vn:8443", &none);
    assert!(said.contains(warning), "{said}");
    for (url, bundle) in
        [("http://127.0.0.1:8123", none), ("https://ch.example.vn:8443", authority(folder.path(), "ca"))]
    {
        let said = check(url, &bundle);
        assert!(!said.contains("warning: store."), "{said}");
    }
}

fn authority(folder: &Path, name: &str) -> PathBuf {
    named_authority(folder, name, name)
}

fn named_authority(folder: &Path, file: &str, name: &str) -> PathBuf {
    certify(folder, file, &["-subj", &format!("/CN={name}"), "-days", "30"]).0
}

/// A server's certificate by the authority `ca`, for a name or an address.
fn server(folder: &Path, name: &str, of: &str) -> (PathBuf, PathBuf) {
    let of = format!("subjectAltName={of}");
    let basic = "basicConstraints=critical,CA:FALSE";
    let by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=clickhouse", "-days", "30"];
    certify(folder, name, &[&by[..], &["-addext", &of, "-addext", basic]].concat())
}

/// The same, and its time is over.
fn expired(folder: &Path) -> (PathBuf, PathBuf) {
    let (_, key) = server(folder, "expired", "IP:127.0.0.1");
    std::fs::write(folder.join("extensions"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    let sign = "openssl req -new -key expired.key -subj /CN=clickhouse | openssl x509 -req -CA ca.pem -CAkey ca.key \
                -CAcreateserial -days -1 -extfile extensions -out expired.pem";
    let made = Command::new("sh").current_dir(folder).args(["-c", sign]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (folder.join("expired.pem"), key)
}

/// Passes bytes on, both ways, and keeps what it has seen.
struct Wire {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let seen = wire.seen.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(server) else { return };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to, seen) = (from.try_clone().unwrap(), to.try_clone().unwrap(), seen.clone());
                    thread::spawn(move || pass(from, to, &seen));
                }
            }
        });
        wire
    }

    fn has_seen(&self, text: &str) -> bool {
        self.seen.lock().unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    }

    fn bytes(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, seen: &Mutex<Vec<u8>>) {
    let mut piece = [0; 16 << 10];
    while let Ok(len @ 1..) = from.read(&mut piece) {
        seen.lock().unwrap().extend_from_slice(&piece[..len]);
        if to.write_all(&piece[..len]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Write).ok();
}

/// An edge that delivers to an address by https, and trusts one authority.
fn setup(engine: &ClickHouse, address: SocketAddr, authority: &Path) -> Setup {
    let setup = Setup::new().clickhouse(engine, engine.address);
    setup.set("store", "url", format!("[\"https://{address}\"]")).set(
        "store",
        "ca_file",
        format!("\"{}\"", authority.display()),
    )
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn over_https_each_scan_arrives_once_and_nothing_is_readable_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority(folder.path(), "ca");
    let (certificate, key) = server(folder.path(), "server", "IP:127.0.0.1");
    let engine = ClickHouse::start_tls(certificate, key);
    let wire = Wire::to(engine.tls_address.unwrap());
    let setup = setup(&engine, wire.address, &ca).set("store", "user", "\"sesame\"");
    let mut edge = setup.start();
    (0..50).for_each(|_| drop(edge.scan("/A1B2C3")));
    edge.wait_until_stored();
    edge.kill();
    edge.start();
    (0..50).for_each(|_| drop(edge.scan("/A1B2C4")));
    edge.wait_until_stored();
    assert_eq!(engine.number("SELECT count() FROM {db}.scans"), 100);
    assert_eq!(engine.number("SELECT uniqExact(batch, seq) FROM {db}.scans"), 100);
    // Questions go the same way.
    assert_eq!(edge.usage(&[])["total"]["all"], 100);
    assert!(wire.bytes() > 10_000, "it went over this wire");
    for text in ["sesame", "INSERT", "SELECT", "HTTP/1.1", "A1B2C3"] {
        assert!(!wire.has_seen(text), "{text} is readable");
    }
    // The same over plain HTTP: what is looked for would be seen.
    let wire = Wire::to(engine.address);
    let plain = Setup::new().clickhouse(&engine, wire.address).set("store", "user", "\"sesame\"").start();
    plain.scan("/A1B2C3");
    plain.wait_until_stored();
    assert!(["sesame", "INSERT", "HTTP/1.1"].iter().all(|text| wire.has_seen(text)));
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_server_that_can_not_be_verified_gets_nothing_and_the_log_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority(folder.path(), "ca");
    let other = authority(folder.path(), "other");
    let namesake = named_authority(folder.path(), "namesake", "ca");
    let unknown = "its authority is not trusted here; store.ca_file names the authorities that are";
    let own = certify(folder.path(), "own", &["-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"]);
    let cases = [
        (server(folder.path(), "server", "IP:127.0.0.1"), &other, unknown),
        (server(folder.path(), "server", "IP:127.0.0.1"), &namesake, unknown),
        (server(folder.path(), "elsewhere", "DNS:db.example.vn"), &ca, "certificate not valid for name"),
        (expired(folder.path()), &ca, "invalid peer certificate: Expired"),
        (own.clone(), &own.0, "it is an authority's own; make one for the server"),
    ];
    for ((certificate, key), authority, why) in cases {
        let engine = ClickHouse::start_tls(certificate, key);
        let wire = Wire::to(engine.tls_address.unwrap());
        let edge = setup(&engine, wire.address, authority).start();
        edge.scan("/A1B2C3");
        wait_for(why, || edge.log().contains(why).then_some(()));
        assert_eq!(edge.metrics().get("waypost_scans_pending"), 1.0);
        assert_eq!(engine.number("SELECT count() FROM system.databases WHERE name = '{db}'"), 0);
        let output = edge.setup.command(&["usage"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(why), "a question is refused as well: {said}");
    }
}

#[test]
fn a_handshake_that_hangs_ends_with_the_time_for_a_connection() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = authority(folder.path(), "ca");
    let setup = Setup::new()
        .set("store", "kind", "\"clickhouse\"")
        .set("store", "url", format!("[\"https://{}\"]", silent.local_addr().unwrap()))
        .set("store", "ca_file", format!("\"{}\"", ca.display()))
        .set("store", "connect_timeout", "\"200ms\"")
        .set("store", "timeout", "\"1h\"");
    let output = setup.run(&["usage"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("no connection within store.connect_timeout"), "{said}");
}

#[test]
fn authorities_that_can_not_be_used_and_a_password_in_the_clear_are_told_by_check() {
    let folder = tempfile::tempdir().unwrap();
    let ca = authority(folder.path(), "ca");
    let check = |ca: &Path, url: &str| {
        let setup = Setup::new()
            .set("store", "kind", "\"clickhouse\"")
            .set("store", "url", format!("[\"{url}\"]"))
            .set("store", "ca_file", format!("\"{}\"", ca.display()));
        setup.write_config();
        let mut command = setup.command(&["check"]);
        let output = command.env("WAYPOST_CLICKHOUSE_PASSWORD", "hunter2").output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (https, empty) = ("https://clickhouse.example.vn:8443", folder.path().join("empty.pem"));
    std::fs::write(&empty, "no certificate\n").unwrap();
    for (path, why) in [
        (empty, "expected certificates in PEM form, found none"),
        (folder.path().join("nowhere.pem"), "expected certificates in PEM form, found"),
        (folder.path().join("ca.key"), "expected certificates in PEM form, found none"),
    ] {
        let (is_ok, said) = check(&path, https);
        assert!(!is_ok && said.contains("store.ca_file: ") && said.contains(why), "{said}");
    }
    let warning = "gets the password and all scans unencrypted, from another machine";
    for (url, is_warned) in [
        (https, false),
        ("http://127.0.0.1:8123", false),
        ("http://[::1]:8123", false),
        ("http://localhost:8123", false),
        ("http://clickhouse.example.vn:8123", true),
        ("http://192.0.2.1:8123", true),
    ] {
        let (is_ok, said) = check(&ca, url);
        assert!(is_ok && said.contains(warning) == is_warned && !said.contains("hunter2"), "{url}: {said}");
    }
}
