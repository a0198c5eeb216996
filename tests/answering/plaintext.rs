//! A port without TLS sends scans on to https where it is told to, and answers the challenges of an ACME server
//! from a folder, whatever stands or hangs there. All else is answered as ever.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::slow_tables::Share;
use crate::support::http::{self, Reply};
use crate::support::tls::{HOST, VALID, made};
use crate::support::way::Way;
use crate::support::{Edge, PHONE, Setup, wait_for};

fn get(edge: &Edge, way: Way, path: &str) -> Reply {
    edge.connect(way).unwrap().get(path, &[("User-Agent", PHONE)]).unwrap()
}

fn sends_on() -> Edge {
    let signs = "code,place,status,aliases\nA1B2C3,one,active,/cu/mot /hungvuong?id=1\nG0NE1,one,retired,\n";
    let places = "place,name,target\none,Một,https://example.vn/vi/one\n";
    Setup::new().set("edge", "redirect_to_https", "true").registry(places, signs).open_to(Way::ProxyV2Tls).start()
}

#[test]
fn scans_are_sent_on_with_their_code_and_what_is_recorded_of_them() {
    let edge = sends_on();
    for (path, location) in [
        ("/A1B2C3", "https://qr.example.vn/A1B2C3"),
        ("/a1-b2%20c3/", "https://qr.example.vn/A1B2C3"),
        ("/A1B2C3?c=nfc", "https://qr.example.vn/A1B2C3?c=nfc"),
        ("/A1B2C3?x=1&lang=EN&c=typed&utm=2", "https://qr.example.vn/A1B2C3?c=typed&lang=en"),
        ("/A1B2C3?c=fax&lang=%0d%0aX:", "https://qr.example.vn/A1B2C3"),
        ("/GONE1", "https://qr.example.vn/G0NE1"),
        ("/N0PE", "https://qr.example.vn/N0PE"),
    ] {
        let reply = get(&edge, Way::Plain, path);
        assert_eq!((reply.status, reply.location()), (308, Some(location)), "{path}");
        let head = http::request(edge.address(), "HEAD", path, &[]).unwrap();
        assert_eq!((head.status, head.location()), (308, Some(location)), "{path}");
    }
    edge.wait_until_stored();
    assert_eq!(edge.metrics().get("waypost_scans_recorded_total"), 0.0, "they come again by https");
    // Neither the host that the visitor says nor a protocol that he claims changes it.
    let claims = [("Host", "evil.example"), ("X-Forwarded-Proto", "https")];
    let reply = http::request(edge.address(), "GET", "/A1B2C3", &claims).unwrap();
    assert_eq!(reply.location(), Some("https://qr.example.vn/A1B2C3"));
}

/// It may have had the scan by https, and would be sent in a circle.
#[test]
fn a_proxy_that_speaks_http_is_answered() {
    let edge =
        Setup::new().set("edge", "redirect_to_https", "true").set("edge.trust", "proxies", "[\"127.0.0.1\"]").start();
    assert_eq!(get(&edge, Way::Plain, "/A1B2C3").status, 302);
}

#[test]
fn all_else_is_answered_as_the_table_says() {
    let edge = sends_on();
    for (path, status) in [
        ("/cu/mot", 302),
        ("/hungvuong?id=1", 302),
        ("/A1B2C3+", 200),
        ("/", 200),
        ("/robots.txt", 200),
        ("/go?code=a1b2c3", 303),
        ("/a/b", 404),
    ] {
        assert_eq!(get(&edge, Way::Plain, path).status, status, "{path}");
    }
    assert_eq!(http::request(edge.address(), "POST", "/A1B2C3", &[]).unwrap().status, 405);
    // Who comes by TLS, or through a proxy that may have had it so, is answered.
    assert_eq!(get(&edge, Way::ProxyV2Tls, "/A1B2C3").status, 302);
    assert_eq!(get(&edge, Way::ProxyV1, "/A1B2C3").status, 302);
}

const FOLDER: &str = "acme/.well-known/acme-challenge";

/// With a folder of challenges in which there is none yet.
fn challenged() -> Edge {
    let setup = Setup::new().tls(&[("cert", &made(&[HOST], VALID))]).set("edge", "redirect_to_https", "true");
    let webroot = format!("\"{}\"", setup.path("acme").display());
    fs::create_dir_all(setup.path(FOLDER)).unwrap();
    setup.set("edge", "acme_challenges", webroot).start()
}

/// The answer to a challenge on the plain port.
fn challenge(edge: &Edge, token: &str) -> Reply {
    get(edge, Way::Plain, &format!("/.well-known/acme-challenge/{token}"))
}

#[test]
fn a_challenge_is_answered_as_soon_as_its_file_is_there_and_until_it_is_gone() {
    let edge = challenged();
    let (token, answer) =
        ("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0", "LoqXcYV8q5ONbJQx.9jg46WB3rR_AHD-EBXdN7cBkH1");
    let path = edge.setup.path(FOLDER).join(token);
    assert_eq!(challenge(&edge, token).status, 404);
    fs::write(&path, answer).unwrap();
    let reply = challenge(&edge, token);
    assert_eq!((reply.status, reply.body.as_str()), (200, answer));
    assert_eq!(get(&edge, Way::Tls, &format!("/.well-known/acme-challenge/{token}")).status, 404, "not by TLS");
    fs::remove_file(&path).unwrap();
    assert_eq!(challenge(&edge, token).status, 404);
    let without = Setup::new().start();
    assert_eq!(challenge(&without, token).status, 404, "nor without the key");
}

#[test]
fn nothing_but_files_of_its_folder_is_shown() {
    let edge = challenged();
    let folder = edge.setup.path(FOLDER);
    fs::write(edge.setup.path("acme/secret"), "a secret").unwrap();
    fs::write(folder.join(".hidden"), "a secret").unwrap();
    fs::write(folder.join("large"), vec![b'x'; 1025]).unwrap();
    fs::create_dir(folder.join("folder")).unwrap();
    symlink(edge.setup.path("acme/secret"), folder.join("link")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.join("fifo")).status().unwrap().success());
    for token in [
        "../../secret",
        "..%2f..%2fsecret",
        "%2e%2e/%2e%2e/secret",
        ".hidden",
        "folder",
        "folder/x",
        "large",
        "link",
        "fifo",
        "",
        ".",
        &"a".repeat(300),
    ] {
        let reply = challenge(&edge, token);
        assert!(reply.status == 404 && !reply.body.contains("a secret"), "{token}: {reply:?}");
    }
    let post = http::request(edge.address(), "POST", "/.well-known/acme-challenge/large", &[]).unwrap();
    assert_eq!(post.status, 405);
}

#[test]
fn the_last_answer_of_a_connection_says_so_for_a_challenge_too() {
    let setup =
        Setup::new().set("edge", "max_requests_per_connection", "2").set("edge", "acme_challenges", "\"../acme\"");
    fs::create_dir_all(setup.path(FOLDER)).unwrap();
    let edge = setup.file(&format!("{FOLDER}/token"), "answer").start();
    let mut kept = edge.connect(Way::Plain).unwrap();
    let mut answer = || {
        let reply = kept.get("/.well-known/acme-challenge/token", &[]).unwrap();
        (reply.body.clone(), reply.header("connection") == Some("close"))
    };
    assert_eq!([answer(), answer()], [("answer".to_owned(), false), ("answer".to_owned(), true)]);
}

#[test]
#[ignore = "needs root: tests/run"]
fn a_folder_that_hangs_holds_up_challenges_alone() {
    let setup = Setup::new().set("edge", "acme_challenges", "\"../acme\"").set("edge", "request_timeout", "\"2s\"");
    let share = Share::mount(&setup);
    fs::create_dir_all(setup.path(FOLDER).parent().unwrap()).unwrap();
    symlink(setup.path("share"), setup.path(FOLDER)).unwrap();
    let edge = setup.file("behind/token", "answer").start();
    assert_eq!(challenge(&edge, "token").body, "answer");
    share.hang("all");
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let mut connection = edge.connect(Way::Plain).unwrap();
            connection.send(&http::bytes("GET", "/.well-known/acme-challenge/token", &[])).unwrap();
            assert_eq!(edge.scan("/A1B2C3").status, 302);
            connection
        })
        .collect();
    // They wait as long as a request may take: to an ACME server a 404 would be an answer.
    for mut connection in asked {
        assert!(connection.receive(false).is_err(), "cut off as a slow one");
    }
    share.answer_again();
    wait_for("challenges are answered again", || (challenge(&edge, "token").status == 200).then_some(()));
}
