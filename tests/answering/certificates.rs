//! Certificates change under a running edge, in every way that files are changed: no handshake fails, the
//! new one is served once its pair is whole, and what can't be used is shown while the last good one stays.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::Value;

use crate::support::tls::{HOST, Made, VALID, made, served};
use crate::support::way::Way;
use crate::support::{Edge, SetOnDrop, Setup, wait_for};

const EXPIRED: (i64, i64) = (-90, -1);

fn new() -> Made {
    made(&[HOST], VALID)
}

/// An edge with this certificate in `config/cert.pem` and `config/cert.key`.
fn edge(made: &Made) -> Edge {
    Setup::new().tls(&[("cert", made)]).start()
}

fn put_chain(edge: &Edge, chain: &str) {
    edge.setup.put("config/cert.pem", chain);
}

fn put_key(edge: &Edge, key: &str) {
    edge.setup.put("config/cert.key", key);
}

#[track_caller]
fn wait_until_served(edge: &Edge, made: &Made) {
    wait_for("the new certificate is served", || {
        (served(edge.door(Way::Tls), HOST).unwrap() == made.der).then_some(())
    });
}

/// The problem of the first pair, as `/status` has it.
fn problem(edge: &Edge) -> Option<String> {
    edge.status()["certificates"][0]["problem"].as_str().map(str::to_owned)
}

/// Waits until the pair has a problem, which is shown everywhere, and that the last good one stays.
#[track_caller]
fn assert_refused(edge: &Edge, last_good: &Made, text: &str) {
    wait_for(text, || problem(edge).filter(|problem| problem.contains(text)));
    assert_eq!(edge.metrics().get("waypost_tls_certificates_unusable"), 1.0);
    assert_eq!(served(edge.door(Way::Tls), HOST).unwrap(), last_good.der);
    wait_for("the log says so", || edge.log().contains(text).then_some(()));
}

/// Scans over TLS, each on a connection of its own and on one that is kept, while something is done; none may fail.
fn while_scanning<T>(edge: &Edge, change: impl FnOnce() -> T) -> T {
    let (done, scans) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut kept = edge.connect(Way::Tls).unwrap();
    thread::scope(|scope| {
        let scanning = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let mut new = edge.connect(Way::Tls).expect("no handshake fails");
                for connection in [&mut new, &mut kept] {
                    assert_eq!(connection.get("/A1B2C3", &[]).unwrap().status, 302);
                }
                scans.fetch_add(1, Ordering::Relaxed);
            }
        });
        let ends = SetOnDrop(&done);
        let result = change();
        let at_the_end = scans.load(Ordering::Relaxed);
        wait_for("scans go on", || {
            (scans.load(Ordering::Relaxed) > at_the_end || scanning.is_finished()).then_some(())
        });
        drop(ends);
        scanning.join().unwrap();
        result
    })
}

#[test]
fn a_renewal_in_two_steps_fails_no_handshake_and_no_kept_connection() {
    let mut current = new();
    let edge = edge(&current);
    while_scanning(&edge, || {
        for is_chain_first in [true, false, true, false] {
            let next = new();
            let put = |is_chain| {
                if is_chain { put_chain(&edge, &next.chain) } else { put_key(&edge, &next.key) }
            };
            put(is_chain_first);
            wait_for("the halves do not fit", || problem(&edge).filter(|text| text.contains("that of another key")));
            assert_eq!(served(edge.door(Way::Tls), HOST).unwrap(), current.der);
            put(!is_chain_first);
            wait_until_served(&edge, &next);
            current = next;
        }
    });
    assert_eq!(problem(&edge), None);
    let closed = edge.metrics().total_of("waypost_connections_closed_total{reason=\"handshake\"}");
    assert_eq!(closed, 0);
}

#[test]
fn a_swapped_link_changes_both_files_at_once() {
    let made = [new(), new(), new()];
    let setup = Setup::new().tls(&[("unused", &made[0])]);
    // As certbot has it: live/NAME.pem leads to a version. And as Kubernetes: a link to a folder is swapped.
    for (number, made) in (0..).zip(&made) {
        fs::create_dir(setup.path(&format!("config/version-{number}"))).unwrap();
        setup.put_pair(&format!("version-{number}/tls"), made);
    }
    symlink("version-0", setup.path("config/..data")).unwrap();
    symlink("..data/tls.pem", setup.path("config/tls.pem")).unwrap();
    symlink("..data/tls.key", setup.path("config/tls.key")).unwrap();
    let files = "[{ certificate = \"tls.pem\", key = \"tls.key\" }]";
    let edge = setup.set("edge.tls", "certificates", files).start();
    while_scanning(&edge, || {
        for (number, made) in made.iter().enumerate() {
            let next = edge.setup.path("config/..next");
            symlink(format!("version-{number}"), &next).unwrap();
            fs::rename(next, edge.setup.path("config/..data")).unwrap();
            wait_until_served(&edge, made);
        }
    });
    assert_eq!(problem(&edge), None);
}

#[test]
fn what_can_not_be_used_is_shown_and_the_last_good_one_stays() {
    let good = new();
    let edge = edge(&good);
    let (other, expired) = (new(), made(&[HOST], EXPIRED));
    while_scanning(&edge, || {
        put_chain(&edge, &other.chain);
        assert_refused(&edge, &good, "found that of another key");
        put_chain(&edge, &good.chain[..good.chain.len() / 2]);
        assert_refused(&edge, &good, "expected PEM, found");
        put_chain(&edge, "");
        assert_refused(&edge, &good, "found no certificate");
        fs::remove_file(edge.setup.path("config/cert.pem")).unwrap();
        assert_refused(&edge, &good, "cert.pem: can't be read: No such file");
        edge.setup.put_pair("cert", &expired);
        assert_refused(&edge, &good, "as the one in use, found one that expired");
        edge.setup.put_pair("cert", &other);
        wait_until_served(&edge, &other);
    });
    wait_for("it is in order again", || problem(&edge).is_none().then_some(()));
    assert_eq!(edge.metrics().get("waypost_tls_certificates_unusable"), 0.0);
    wait_for("the log says so", || edge.log().contains("a certificate is in order again").then_some(()));
    for text in ["expected PEM, found", "found no certificate", "cert.pem: can't be read", "found one that expired"] {
        assert_eq!(edge.log().matches(text).count(), 1, "{text}: said once, and read at every look");
    }
}

#[test]
fn an_expired_one_is_better_than_none_and_is_alarmed() {
    let expired = made(&[HOST], EXPIRED);
    let edge = edge(&expired);
    assert_eq!(served(edge.door(Way::Tls), HOST).unwrap(), expired.der);
    assert!(problem(&edge).unwrap().contains("expected a certificate that is valid now, found one that expired at"));
    assert_eq!(edge.log().matches("a certificate is in use that clients refuse").count(), 1);
    let time = |end: &str| {
        let name = format!("waypost_tls_certificate_{end}_timestamp_seconds{{name={HOST:?}}}");
        edge.metrics().get(&name) as i64 - jiff::Timestamp::now().as_second()
    };
    assert_eq!((time("not_before") / 3600, time("not_after") / 3600), (-90 * 24, -24));
    assert_eq!(edge.metrics().get("waypost_tls_certificates_unusable"), 1.0);
    let checked = edge.setup.command(&["check"]).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        checked.status.success() && said.contains("warning: ") && said.contains("found one that expired"),
        "{said}"
    );
    let valid = new();
    edge.setup.put_pair("cert", &valid);
    wait_until_served(&edge, &valid);
    wait_for("it is in order", || problem(&edge).is_none().then_some(()));
}

#[test]
fn a_pair_that_comes_later_is_taken() {
    let setup = Setup::new().tls(&[("cert", &new())]);
    fs::remove_file(setup.path("config/cert.key")).unwrap();
    let edge = setup.start();
    assert!(served(edge.door(Way::Tls), HOST).unwrap_err().to_string().contains("alert"));
    assert_eq!(edge.scan("/A1B2C3").status, 302, "the plain port serves");
    let states: Value = edge.status()["certificates"].clone();
    assert!(states[0]["problem"].as_str().unwrap().contains("cert.key: can't be read"), "{states}");
    assert_eq!(edge.log().matches("its names have none").count(), 1);
    let late = new();
    edge.setup.put_pair("cert", &late);
    wait_for("it is served", || served(edge.door(Way::Tls), HOST).ok().filter(|der| *der == late.der));
}

#[test]
#[ignore = "needs openssl: tests/run"]
fn an_rsa_key_is_served_and_its_price_is_said() {
    let setup = Setup::new().tls(&[("rsa", &super::tls::rsa())]);
    let checked = setup.run(&["check"]);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    let price = "has an RSA key: a full handshake costs about six times as much CPU time";
    assert!(checked.status.success() && said.contains("warning: ") && said.contains(price), "{said}");
    let edge = setup.start();
    assert_eq!(edge.log().matches(price).count(), 1);
    assert_eq!(edge.connect(Way::Tls).unwrap().get("/A1B2C3", &[]).unwrap().status, 302);
}
