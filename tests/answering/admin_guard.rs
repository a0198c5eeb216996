//! The admin port answers its operator, and no other site through the operator's browser: foreign hosts
//! and requests of other sites are refused on every route, and where there is a token, all but health
//! requires it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Edge, Metrics, Setup, http};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const ROUTES: [(&str, &str); 8] = [
    ("GET", "/metrics"),
    ("HEAD", "/metrics"),
    ("GET", "/status"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/"),
    ("POST", "/reload"),
    ("GET", "/nowhere"),
];

fn reloads(edge: &Edge, token: &[(&str, &str)]) -> u64 {
    let page = edge.try_admin("GET", "/metrics", token).unwrap().body;
    Metrics::parse(&page).total("waypost_registry_reloads_total")
}

#[test]
fn a_foreign_host_is_refused_on_every_route() {
    let edge = Setup::new().set("admin", "allowed_hosts", "[\"Waypost.lan\"]").start();
    let before = reloads(&edge, &[]);
    for (method, path) in ROUTES {
        for host in ["evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example"] {
            let reply = http::request(edge.admin, method, path, &[("Host", host)]).unwrap();
            assert_eq!(reply.status, 403, "{method} {path} {host}");
            let said = format!("admin.allowed_hosts as the host, found \"{host}\"\n");
            assert!(
                method == "HEAD" || reply.body.starts_with("403 ") && reply.body.ends_with(&said),
                "{}",
                reply.body
            );
        }
        for host in ["localhost", "LocalHost.:9090", "127.0.0.1", "10.1.2.3:9090", "[::1]:9090", "waypost.lan:9090"] {
            let reply = http::request(edge.admin, method, path, &[("Host", host)]).unwrap();
            assert_eq!(reply.status, if path == "/nowhere" { 404 } else { 200 }, "{method} {path} {host}");
        }
    }
    assert_eq!(reloads(&edge, &[]), before + 6, "nothing that was refused was done");
    // A target with a host of its own, and a health check that names none.
    let raw = |head: &str| {
        let mut stream = TcpStream::connect(edge.admin).unwrap();
        // Not closed for writing: this port takes that for the end of the connection.
        stream.write_all(format!("{head}\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(
        raw("GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close")
            .starts_with("HTTP/1.1 403")
    );
    let old = raw("GET /readyz HTTP/1.0");
    assert!(old.starts_with("HTTP/1.") && old.contains(" 200 OK\r\n"), "{old:?}");
}

#[test]
fn a_page_of_another_site_is_refused() {
    let edge = Setup::new().start();
    let own = format!("http://{}", edge.admin);
    let before = reloads(&edge, &[]);
    for (method, path) in ROUTES {
        for headers in [
            &[("Sec-Fetch-Site", "cross-site")][..],
            &[("Sec-Fetch-Site", "same-site"), ("Origin", own.as_str())],
            &[("Origin", "https://evil.example")],
            &[("Origin", "null")],
        ] {
            assert_eq!(edge.try_admin(method, path, headers).unwrap().status, 403, "{method} {path} {headers:?}");
        }
    }
    assert_eq!(reloads(&edge, &[]), before);
    for headers in
        [&[("Sec-Fetch-Site", "none")][..], &[("Sec-Fetch-Site", "same-origin")], &[("Origin", own.as_str())]]
    {
        assert_eq!(edge.try_admin("POST", "/reload?force=true", headers).unwrap().status, 200, "{headers:?}");
    }
}

#[test]
fn where_there_is_a_token_all_but_health_wants_it() {
    let setup = Setup::new().set("admin", "token_file", "\"token\"").file("config/token", format!("{TOKEN}\n"));
    fs::set_permissions(setup.path("config/token"), fs::Permissions::from_mode(0o600)).unwrap();
    let edge = setup.start();
    let right = format!("Bearer {TOKEN}");
    let wrong = format!("Bearer {}", TOKEN.replace('f', "e"));
    for (method, path) in ROUTES {
        for headers in [&[][..], &[("Authorization", wrong.as_str())], &[("Authorization", TOKEN)]] {
            let reply = edge.try_admin(method, path, headers).unwrap();
            let expected = if matches!(path, "/livez" | "/readyz") { 200 } else { 401 };
            assert_eq!(reply.status, expected, "{method} {path} {headers:?}");
            assert_eq!(reply.header("www-authenticate"), (expected == 401).then_some("Bearer"));
        }
        let reply = edge.try_admin(method, path, &[("Authorization", &right)]).unwrap();
        assert_eq!(reply.status, if path == "/nowhere" { 404 } else { 200 }, "{method} {path}");
        let foreign = http::request(edge.admin, method, path, &[("Host", "evil.example"), ("Authorization", &right)]);
        assert_eq!(foreign.unwrap().status, 403, "{method} {path}");
    }
    assert!(!edge.log().contains(TOKEN));
}
