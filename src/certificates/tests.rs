//! What a client is served while files are good, half written, expired or missing: handshakes in memory with
//! rustls' client.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use rcgen::KeyPair;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error, ServerConnection, SignatureScheme};
use tempfile::TempDir;

use self::made::{Anyone, Made, made, made_with};
use super::*;

// As the tests of the whole binary make certificates, and take them.
#[allow(dead_code, clippy::unwrap_used, missing_docs, reason = "a part of it is used here, and it is the tests'")]
#[path = "../../tests/support/tls.rs"]
mod made;

/// A folder with pairs of files.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn files(&self, name: &str) -> CertificateFiles {
        let path = |end: &str| self.0.path().join(format!("{name}.{end}"));
        CertificateFiles { certificate: path("pem"), key: path("key") }
    }

    fn settings(&self, names: &[&str]) -> TlsSettings {
        let files = names.iter().map(|name| self.files(name)).collect();
        TlsSettings { files, min_version: TlsVersion::V1_2 }
    }

    /// Puts a file in place as ACME clients do: whole, by a rename.
    fn write(path: &Path, text: &str) {
        let next = path.with_extension("next");
        fs::write(&next, text).expect("a file");
        fs::set_permissions(&next, Permissions::from_mode(0o600)).expect("a mode");
        fs::rename(&next, path).expect("a rename");
    }

    fn put(&self, name: &str, made: &Made) {
        let files = self.files(name);
        Self::write(&files.certificate, &made.chain);
        Self::write(&files.key, &made.key);
    }
}

impl Certificates {
    /// A refresh, waited for.
    fn look(&self) {
        assert!(self.threads.turn());
    }

    /// The problem of the first pair.
    fn problem(&self) -> String {
        self.states()[0].problem.clone().unwrap_or_default()
    }

    fn served(&self, name: &str) -> Vec<u8> {
        shake(self, client(&[]), Some(name)).expect("a handshake").0
    }
}

fn client(protocols: &[&str]) -> ClientConfig {
    client_of(&[&TLS12, &TLS13], protocols)
}

fn client_of(versions: &[&'static SupportedProtocolVersion], protocols: &[&str]) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone::default()))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// A handshake with what is published now: the certificate that the client got, and the client; or the alert.
fn shake(
    certificates: &Certificates,
    mut config: ClientConfig,
    name: Option<&str>,
) -> Result<(Vec<u8>, ClientConnection), AlertDescription> {
    config.enable_sni = name.is_some();
    let to = ServerName::try_from(name.unwrap_or("none.invalid").to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), to).expect("a client");
    let acceptor = certificates.subscribe().borrow().clone();
    let mut server = ServerConnection::new(acceptor.config()).expect("a server");
    // Two flights each are enough, and one more for tickets.
    for _ in 0..3 {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        client.write_tls(&mut there).expect("memory");
        server.read_tls(&mut there.as_slice()).expect("memory");
        let refused = server.process_new_packets().is_err();
        while server.wants_write() {
            server.write_tls(&mut back).expect("memory");
        }
        let mut back = back.as_slice();
        while !back.is_empty() {
            client.read_tls(&mut back).expect("memory");
            match client.process_new_packets() {
                Err(Error::AlertReceived(alert)) => return Err(alert),
                other => assert!(other.is_ok() && !refused, "{other:?}"),
            }
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client.peer_certificates().expect("a certificate")[0].to_vec(), client))
}

#[test]
fn a_client_gets_the_best_certificate_of_the_name_that_it_asks_for() {
    let folder = Folder::new();
    let first = made(&["a.example.vn"], (-1, 90));
    let wildcard = made(&["*.example.vn"], (-1, 90));
    let expired = made(&["b.example.vn", "old.vn"], (-90, -1));
    let shorter = made(&["c.example.vn"], (-1, 10));
    let longer = made(&["C.example.vn"], (-1, 20));
    let later = made(&["c.example.vn"], (1, 90));
    let all = [("0", &first), ("1", &wildcard), ("2", &expired), ("3", &shorter), ("4", &longer), ("5", &later)];
    for (name, made) in all {
        folder.put(name, made);
    }
    let certificates = Certificates::open(&folder.settings(&["0", "1", "2", "3", "4", "5"]));
    for (name, expected) in [
        (Some("a.example.vn"), &first),
        (Some("A.Example.VN"), &first),
        (Some("b.example.vn"), &wildcard),
        (Some("old.vn"), &expired),
        (Some("c.example.vn"), &longer),
        (Some("d.example.vn"), &wildcard),
        (Some("example.vn"), &first),
        (Some("x.d.example.vn"), &first),
        (Some("192.0.2.1"), &first),
        (None, &first),
    ] {
        for versions in [&[&TLS12], &[&TLS13]] {
            let (served, _) = shake(&certificates, client_of(versions, &[]), name).expect("a handshake");
            assert!(served == expected.der, "{name:?}");
        }
    }
    let states = certificates.states();
    assert_eq!(states[2].names, ["b.example.vn", "old.vn"]);
    let problems: Vec<usize> = (0..6).filter(|at| states[*at].problem.is_some()).collect();
    assert_eq!(problems, [2, 5], "{states:?}");
}

#[test]
fn http_1_1_alone_is_spoken_and_nothing_is_kept_of_a_client() {
    let folder = Folder::new();
    folder.put("0", &made(&["a.vn"], (-1, 90)));
    let certificates = Certificates::open(&folder.settings(&["0"]));
    for (offered, expected) in [
        (&[][..], Ok(None)),
        (&["http/1.1"], Ok(Some(&b"http/1.1"[..]))),
        (&["h2", "http/1.1"], Ok(Some(b"http/1.1"))),
        (&["h2"], Err(AlertDescription::NoApplicationProtocol)),
        (&["h3", "acme-tls/1"], Err(AlertDescription::NoApplicationProtocol)),
    ] {
        let shaken = shake(&certificates, client(offered), Some("a.vn")).map(|(_, client)| client);
        assert_eq!(
            shaken.as_ref().map(|client| client.alpn_protocol()).map_err(|alert| *alert),
            expected,
            "{offered:?}"
        );
        if let Ok(client) = shaken {
            assert_eq!(client.tls13_tickets_received(), 0);
        }
    }
    let newer = TlsSettings { min_version: TlsVersion::V1_3, ..folder.settings(&["0"]) };
    let newer = Certificates::open(&newer);
    assert!(shake(&newer, client_of(&[&TLS13], &[]), None).is_ok());
    let refused = shake(&newer, client_of(&[&TLS12], &[]), None).map(|_| ());
    assert_eq!(refused, Err(AlertDescription::ProtocolVersion));
}

#[test]
fn a_renewal_in_two_steps_is_taken_once_the_pair_fits() {
    let folder = Folder::new();
    let (old, new) = (made(&["a.vn"], (-60, 30)), made(&["a.vn"], (-1, 90)));
    let files = folder.files("0");
    for certificate_first in [true, false] {
        folder.put("0", &old);
        let certificates = Certificates::open(&folder.settings(&["0"]));
        let steps = [(&files.certificate, &new.chain), (&files.key, &new.key)];
        let (half, rest) = if certificate_first { (steps[0], steps[1]) } else { (steps[1], steps[0]) };
        Folder::write(half.0, half.1);
        certificates.look();
        assert!(certificates.served("a.vn") == old.der);
        assert!(certificates.problem().ends_with("found that of another key"), "{}", certificates.problem());
        Folder::write(rest.0, rest.1);
        certificates.look();
        assert!(certificates.served("a.vn") == new.der);
        assert_eq!(certificates.problem(), "");
    }
}

#[test]
fn a_swapped_link_is_a_change() {
    // As in Kubernetes: the files are links through `data`, which is itself a link.
    let folder = Folder::new();
    let (old, new) = (made(&["a.vn"], (-60, 30)), made(&["a.vn"], (-1, 90)));
    let root = folder.0.path();
    for (name, made) in [("v1", &old), ("v2", &new)] {
        fs::create_dir(root.join(name)).expect("a folder");
        folder.put(&format!("{name}/tls"), made);
    }
    symlink("v1", root.join("data")).expect("a link");
    for end in ["pem", "key"] {
        symlink(format!("data/tls.{end}"), root.join(format!("0.{end}"))).expect("a link");
    }
    let certificates = Certificates::open(&folder.settings(&["0"]));
    assert!(certificates.served("a.vn") == old.der);
    symlink("v2", root.join("next")).expect("a link");
    fs::rename(root.join("next"), root.join("data")).expect("a swap");
    certificates.look();
    assert!(certificates.served("a.vn") == new.der);
}

#[test]
fn files_that_cannot_be_used_leave_the_last_good_one_in_use() {
    let folder = Folder::new();
    let (good, other) = (made(&["a.vn"], (-1, 90)), made(&["a.vn"], (-1, 90)));
    let CertificateFiles { certificate, key } = folder.files("0");
    let openssl_key = |arguments: &[&str]| {
        let made = Command::new("openssl").args(arguments).output().expect("openssl");
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).expect("PEM")
    };
    let encrypted = openssl_key(&["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:hush"]);
    let p521 = openssl_key(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]);
    let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
                  -----END EC PRIVATE KEY-----\n";
    let damaged = good.chain.replace("MII", "!!!");
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let wrong_order = other.chain.clone() + &good.chain;
    for (path, text, expected) in [
        (&certificate, "", "expected a certificate chain in PEM (-----BEGIN CERTIFICATE-----), found no certificate"),
        (&certificate, &good.key, "found no certificate"),
        (&certificate, &damaged, "expected PEM, found"),
        (&certificate, no_certificate, "expected an X.509 certificate of version 3, found another"),
        (&certificate, &other.chain, "expected the certificate of the key in"),
        (&certificate, &wrong_order, "expected the certificate of the key first"),
        (&certificate, &"x".repeat(70_000), "expected at most 65536 bytes, found 70000"),
        (&key, "", "expected a private key in PEM (-----BEGIN PRIVATE KEY-----), found none"),
        (&key, &good.chain, "expected a private key in PEM"),
        (&key, &encrypted, "expected a private key without a passphrase, found an encrypted one"),
        (&key, legacy, "expected a private key without a passphrase, found an encrypted one"),
        (&key, &p521, "expected an ECDSA key (P-256 or P-384), RSA"),
    ] {
        folder.put("0", &good);
        let certificates = Certificates::open(&folder.settings(&["0"]));
        assert_eq!(certificates.problem(), "");
        Folder::write(path, text);
        certificates.look();
        let problem = certificates.problem();
        assert!(
            problem.starts_with(path.to_str().expect("UTF-8"))
                || problem.starts_with(certificate.to_str().expect("UTF-8"))
        );
        assert!(problem.contains(expected), "{expected:?}: {problem:?}");
        assert!(certificates.served("a.vn") == good.der, "{problem}");
        // Nothing else is a way back.
        folder.put("0", &other);
        certificates.look();
        assert!(certificates.problem().is_empty() && certificates.served("a.vn") == other.der);
    }

    let certificates = Certificates::open(&folder.settings(&["0"]));
    fs::set_permissions(&key, Permissions::from_mode(0o604)).expect("a mode");
    certificates.look();
    assert!(certificates.problem().ends_with("found mode 0604"), "{}", certificates.problem());
    fs::remove_file(&certificate).expect("it was there");
    certificates.look();
    let problem = certificates.problem();
    assert!(problem.contains("can't be read: ") && problem.ends_with("found mode 0604"), "both are named: {problem}");
    assert!(certificates.served("a.vn") == other.der);
}

#[test]
fn without_any_usable_pair_a_handshake_is_refused_by_an_alert_until_there_is_one() {
    let folder = Folder::new();
    let certificates = Certificates::open(&folder.settings(&["0", "1"]));
    let refused = shake(&certificates, client(&[]), Some("a.vn")).map(|_| ());
    assert_eq!(refused, Err(AlertDescription::AccessDenied));
    let made = made(&["a.vn"], (-1, 90));
    folder.put("1", &made);
    certificates.look();
    assert!(certificates.served("b.vn") == made.der, "the first that is usable");
    let problem = certificates.problem();
    assert!(problem.contains("0.pem: can't be read: ") && problem.contains("0.key: can't be read: "), "{problem}");
}

#[test]
fn an_expired_certificate_is_served_where_there_is_no_better_and_replaces_no_good_one() {
    let folder = Folder::new();
    let (expired, good, future) = (made(&["a.vn"], (-90, -1)), made(&["a.vn"], (-1, 90)), made(&["a.vn"], (1, 90)));
    folder.put("0", &expired);
    let certificates = Certificates::open(&folder.settings(&["0"]));
    assert!(certificates.served("a.vn") == expired.der);
    assert!(certificates.problem().contains("valid now, found one that expired at "), "{}", certificates.problem());
    folder.put("0", &good);
    certificates.look();
    assert!(certificates.served("a.vn") == good.der && certificates.problem().is_empty());
    for (worse, wrong) in [(&expired, "found one that expired at "), (&future, "found one that is not valid before ")] {
        folder.put("0", worse);
        certificates.look();
        certificates.look();
        assert!(certificates.served("a.vn") == good.der);
        assert!(certificates.problem().contains(wrong), "{}", certificates.problem());
    }
}

#[test]
fn an_rsa_key_is_warned_of_and_given_only_to_clients_that_verify_no_other() {
    let folder = Folder::new();
    let (rsa, elliptic) = (made_rsa(&["a.vn"], (-1, 90)), made(&["a.vn"], (-1, 30)));
    folder.put("0", &rsa);
    folder.put("1", &elliptic);
    let findings = Certificates::check(&folder.settings(&["0", "1"]), "a.vn");
    let path = folder.files("0").certificate;
    assert_eq!(findings.problems, [""; 0]);
    assert_eq!(findings.warnings, [format!("{}: {RSA}", path.display())]);

    let certificates = Certificates::open(&folder.settings(&["0", "1"]));
    assert!(certificates.served("a.vn") == elliptic.der);
    let alone = Certificates::open(&folder.settings(&["0"]));
    for versions in [&[&TLS12], &[&TLS13]] {
        assert!(shake(&alone, client_of(versions, &[]), Some("a.vn")).expect("a handshake").0 == rsa.der);
    }
    let mut old = ring::default_provider();
    old.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).contains("ECDHE_RSA"));
    let old = ClientConfig::builder_with_provider(Arc::new(old)).with_protocol_versions(&[&TLS12]).expect("a version");
    let rsa_alone = Anyone(vec![SignatureScheme::RSA_PKCS1_SHA256, SignatureScheme::RSA_PSS_SHA256]);
    let old = old.dangerous().with_custom_certificate_verifier(Arc::new(rsa_alone)).with_no_client_auth();
    assert!(shake(&certificates, old, Some("a.vn")).expect("a handshake").0 == rsa.der);
}

#[test]
fn check_tells_files_that_cannot_be_used_from_what_is_served_all_the_same() {
    let folder = Folder::new();
    folder.put("expired", &made(&["a.vn"], (-90, -1)));
    folder.put("short", &made(&["b.vn"], (-81, 9)));
    folder.put("good", &made(&["*.c.vn"], (-71, 19)));
    folder.put("nameless", &made(&[], (-1, 90)));
    let settings = folder.settings(&["expired", "short", "good", "nameless", "missing"]);
    let findings = Certificates::check(&settings, "qr.d.vn");
    let has = |texts: &[String], file: &str, text: &str| {
        texts.iter().filter(|found| found.contains(&format!("{file}.pem: ")) && found.contains(text)).count() == 1
    };
    assert!(findings.problems.len() == 1 && has(&findings.problems, "missing", "can't be read"), "{findings:?}");
    assert_eq!(findings.warnings.len(), 4, "{findings:?}");
    assert!(has(&findings.warnings, "expired", "found one that expired at "), "{findings:?}");
    assert!(has(&findings.warnings, "short", "less than a fifth of its lifetime is left: it expires at "));
    assert!(has(&findings.warnings, "nameless", "has no DNS name"), "{findings:?}");
    assert!(findings.warnings[3].contains("no certificate covers qr.d.vn"), "{findings:?}");
    assert_eq!(Certificates::check(&settings, "qr.c.vn").warnings.len(), 3);
}

const AFTER: &str = "certificate_not_after_timestamp_seconds";
const BEFORE: &str = "certificate_not_before_timestamp_seconds";

/// A metric without its prefix, its label and its value.
type Sample = (String, String, f64);

fn sample(metric: &str, name: &str, value: f64) -> Sample {
    (metric.to_owned(), name.to_owned(), value)
}

fn figures(certificates: &Certificates) -> Vec<Sample> {
    let label = |metric: &prometheus::proto::Metric| {
        metric.get_label().iter().map(|pair| pair.value().to_owned()).collect::<String>()
    };
    let of = |family: &MetricFamily| {
        let name = family.name().trim_start_matches("waypost_tls_").to_owned();
        let samples = family.get_metric().iter();
        samples.map(|metric| (name.clone(), label(metric), metric.get_gauge().get_value())).collect::<Vec<_>>()
    };
    certificates.collect().iter().flat_map(of).collect()
}

/// One end of the time in which a pair is valid.
#[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn time(certificates: &Certificates, at: usize, end: bool) -> f64 {
    let state = &certificates.states()[at];
    let time = if end { state.not_after } else { state.not_before };
    time.map(Timestamp::as_second).expect("it is read") as f64
}

/// An RSA certificate for these names.
fn made_rsa(names: &[&str], days: (i64, i64)) -> Made {
    let generated = Command::new("openssl").args(["genpkey", "-algorithm", "RSA"]).output().expect("openssl");
    let key = KeyPair::from_pem(&String::from_utf8(generated.stdout).expect("PEM")).expect("an RSA key");
    made_with(&key, names, days)
}

#[test]
fn of_a_pair_for_old_clients_and_one_for_the_others_metrics_have_the_one_that_expires_first() {
    for (rsa_until, elliptic_until, first) in [(10, 90, 0), (90, 10, 1)] {
        let folder = Folder::new();
        folder.put("rsa", &made_rsa(&["a.vn"], (-60, rsa_until)));
        folder.put("elliptic", &made(&["a.vn"], (-30, elliptic_until)));
        let certificates = Certificates::open(&folder.settings(&["rsa", "elliptic"]));
        let expected = [
            sample(AFTER, "a.vn", time(&certificates, first, true)),
            sample(BEFORE, "a.vn", time(&certificates, first, false)),
            sample("certificates_unusable", "", 0.0),
        ];
        assert_eq!(figures(&certificates), expected);
    }
}

#[test]
fn metrics_have_what_clients_without_a_name_get_and_count_what_clients_refuse() {
    let folder = Folder::new();
    folder.put("nameless", &made(&[], (-60, 10)));
    folder.put("named", &made(&["a.vn"], (-1, 90)));
    folder.put("later", &made(&["b.vn"], (1, 90)));
    folder.put("expired", &made(&["c.vn"], (-90, -1)));
    let certificates = Certificates::open(&folder.settings(&["nameless", "named", "later", "expired"]));
    let file = folder.files("nameless").certificate;
    let found = figures(&certificates);
    let after: Vec<&Sample> = found.iter().filter(|(metric, ..)| metric == AFTER).collect();
    assert_eq!(after[0], &sample(AFTER, file.to_str().expect("UTF-8"), time(&certificates, 0, true)));
    assert_eq!(after[1..].iter().map(|(_, name, _)| name.as_str()).collect::<Vec<_>>(), ["a.vn", "b.vn", "c.vn"]);
    assert_eq!(found.last(), Some(&sample("certificates_unusable", "", 2.0)));
    // One that a newer one has taken the names of is still the first.
    folder.put("nameless", &made(&["a.vn"], (-60, 10)));
    certificates.look();
    let after = sample(AFTER, file.to_str().expect("UTF-8"), time(&certificates, 0, true));
    assert_eq!(figures(&certificates)[0], after);
}

#[test]
fn metrics_have_the_dates_of_what_is_in_use_for_each_name() {
    let folder = Folder::new();
    folder.put("0", &made(&["a.vn", "*.a.vn"], (-60, 30)));
    folder.put("1", &made(&["a.vn"], (-1, 90)));
    let certificates = Certificates::open(&folder.settings(&["0", "1", "missing"]));
    let figures = || figures(&certificates);
    let time = |at, end| time(&certificates, at, end);
    let expected = [
        sample(AFTER, "*.a.vn", time(0, true)),
        sample(AFTER, "a.vn", time(1, true)),
        sample(BEFORE, "*.a.vn", time(0, false)),
        sample(BEFORE, "a.vn", time(1, false)),
        sample("certificates_unusable", "", 1.0),
    ];
    assert_eq!(figures(), expected);
    // The last good one is in use, and its files can't be used.
    Folder::write(&folder.files("1").key, "");
    certificates.look();
    assert_eq!(figures()[1], expected[1]);
    assert_eq!(figures()[4], sample("certificates_unusable", "", 2.0));
}
