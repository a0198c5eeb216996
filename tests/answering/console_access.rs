//! The console lets in whom it should, lets them do what their role says, and nobody else anything: whatever a request
//! says of itself.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use totp_rs::Builder;

use crate::support::http::{self, Connection, Reply};
use crate::support::{Edge, Metrics, Setup, free_address, wait_for};

const PASSWORD: &str = "nắng vàng bên sông";
const ROLES: [&str; 4] = ["viewer", "editor", "approver", "manager"];

/// An edge with its console.
struct World {
    edge: Edge,
    address: SocketAddr,
}

impl World {
    fn new() -> Self {
        Self::with(|setup| setup)
    }

    /// With other settings.
    fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let address = free_address();
        let setup = Setup::new().set("console", "listen", format!("\"{address}\""));
        let edge = change(setup).start();
        Self { edge, address }
    }

    fn visitor(&self) -> Visitor {
        let host = self.address.to_string();
        Visitor { address: self.address, cookie: None, headers: vec![("Host".to_owned(), host)] }
    }

    /// The path of a one-time link that `waypost console` prints.
    fn link(&self, arguments: &[&str]) -> String {
        let output = self.edge.setup.command(&[&["console"], arguments].concat()).output().unwrap();
        let (text, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        let path = text.trim().strip_prefix(&format!("http://{}", self.address));
        path.unwrap_or_else(|| panic!("expected a link, found {text} {error}")).to_owned()
    }

    fn invite(&self, name: &str, role: &str) -> String {
        self.link(&["invite", name, "--role", role])
    }

    /// Somebody who has taken an invitation.
    fn member(&self, name: &str, role: &str) -> Visitor {
        let (mut visitor, link) = (self.visitor(), self.invite(name, role));
        let reply = visitor.post(&link, &[("password", PASSWORD)]);
        assert_eq!((reply.status, reply.location()), (303, Some("/")), "{}", reply.body);
        visitor
    }

    fn metric(&self, name: &str) -> u64 {
        Metrics::parse(&self.edge.admin("GET", "/metrics").body).get(name) as u64
    }

    fn refused(&self, reason: &str) -> u64 {
        self.metric(&format!("waypost_console_refused_total{{reason=\"{reason}\"}}"))
    }

    fn sign_ins(&self, result: &str) -> u64 {
        self.metric(&format!("waypost_console_sign_ins_total{{result=\"{result}\"}}"))
    }
}

/// A browser, as far as cookies go.
#[derive(Clone)]
struct Visitor {
    address: SocketAddr,
    cookie: Option<String>,
    headers: Vec<(String, String)>,
}

impl Visitor {
    /// The same with a header of another value; an empty one leaves it out.
    fn with(&self, name: &str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        if !value.is_empty() {
            other.headers.push((name.to_owned(), value.to_owned()));
        }
        other
    }

    fn ask(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Reply {
        let mut headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.extend(self.cookie.as_ref().map(|cookie| ("Cookie", cookie.as_str())));
        let length = body.len().to_string();
        if method == "POST" {
            headers.extend([("Content-Type", kind), ("Content-Length", &length)]);
        }
        let mut connection = Connection::open(self.address).unwrap();
        connection.send(&http::bytes(method, path, &headers)).unwrap();
        // Where the head is refused, the body is not taken.
        connection.send(body).ok();
        let reply = connection.receive(method == "HEAD").unwrap();
        if let Some(set) = reply.header("set-cookie") {
            let pair = set.split(';').next().unwrap();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        reply
    }

    fn get(&mut self, path: &str) -> Reply {
        self.ask("GET", path, "", b"")
    }

    fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.ask("POST", path, "application/x-www-form-urlencoded", body.as_bytes())
    }

    fn sign_in(&mut self, name: &str, password: &str, code: &str) -> Reply {
        self.post("/login", &[("name", name), ("password", password), ("code", code)])
    }

    fn is_in(&mut self) -> bool {
        self.get("/account").status == 200
    }
}

/// The part of `config/console.md` that says which role may do what.
fn written_matrix() -> String {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/console.md")).unwrap();
    let (_, rest) = text.split_once("<!-- rights -->\n").unwrap();
    rest.split_once("<!-- /rights -->").unwrap().0.to_owned()
}

#[test]
fn the_written_table_of_rights_is_the_one_that_holds() {
    assert_eq!(written_matrix(), waypost::console::matrix(), "config/console.md, between the comments");
}

#[test]
fn each_role_sees_and_changes_what_the_table_says() {
    let world = World::new();
    let matrix = written_matrix();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = matrix.lines().skip(2).map(cells).collect();
    assert!(rows.len() > 10);
    for (column, role) in ROLES.iter().enumerate() {
        let mut member = world.member(role, role);
        for row in &rows {
            let path = row[0].trim_matches('`').replace('…', "X");
            let (sees, changes) = (member.get(&path).status, member.post(&path, &[]).status);
            let expected = row[column + 1].as_str();
            let found = match (sees, changes) {
                (403, 403) => "–",
                (sees, 403 | 405) if sees != 403 => "sees",
                (sees, changes) if sees != 403 && ![403, 405].contains(&changes) => "sees, changes",
                _ => "neither",
            };
            assert_eq!(found, expected, "{role} {path}: {sees}, {changes}");
        }
    }
    // Nobody who is not signed in sees or changes anything.
    for row in &rows {
        let path = row[0].trim_matches('`').replace('…', "X");
        let (mut nobody, before) = (world.visitor(), world.refused("no_session"));
        assert!(nobody.get(&path).location().is_some_and(|location| location.starts_with("/login")), "{path}");
        assert_eq!((nobody.post(&path, &[]).status, world.refused("no_session")), (403, before + 1), "{path}");
    }
}

#[test]
fn the_first_account_is_made_by_the_link_in_the_log() {
    let world = World::new();
    let line = wait_for("the log has a link", || {
        let log = world.edge.log();
        let line = log.lines().find(|line| line.contains("\"console invitation\""))?;
        serde_json::from_str::<serde_json::Value>(line).ok()
    });
    let url = line["fields"]["url"].as_str().unwrap();
    let path = url.strip_prefix(&format!("http://{}", world.address)).expect("on loopback");
    let mut first = world.visitor();
    assert_eq!(first.get(path).status, 200);
    for (header, value) in
        [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=_x")]
    {
        let mut sent_on = world.visitor().with(header, value);
        assert_eq!(sent_on.get(path).status, 404, "by a proxy that is not in console.proxies: {header} {value}");
        assert_eq!(sent_on.post(path, &[("name", "Ai đó"), ("password", PASSWORD)]).status, 404);
    }
    let reply = first.post(path, &[("name", "Lê Thị Hoa"), ("password", "123456789012")]);
    assert!(reply.status == 422 && reply.body.contains("aria-describedby"), "a weak password: {}", reply.body);
    let reply = first.post(path, &[("name", "Lê Thị Hoa"), ("password", PASSWORD)]);
    assert_eq!((reply.status, first.get("/accounts").status), (303, 200), "and it manages accounts");
    assert_eq!(world.visitor().get(path).status, 404, "used");
}

#[test]
fn a_link_holds_once_and_a_look_does_not_use_it_up() {
    let world = World::new();
    let link = world.invite("binh", "editor");
    for _ in 0..3 {
        assert_eq!(world.visitor().get(&link).status, 200);
        assert_eq!(world.visitor().ask("HEAD", &link, "", b"").status, 200);
    }
    assert_eq!(world.visitor().post(&link, &[("password", PASSWORD)]).status, 303);
    let mut replayed = world.visitor();
    let reply = replayed.post(&link, &[("password", "eve was here again")]);
    assert_eq!((reply.status, replayed.cookie), (404, None));
    assert_eq!(world.visitor().sign_in("binh", "eve was here again", "").status, 403);
    assert_eq!(world.visitor().sign_in("binh", PASSWORD, "").status, 303);
    // A reset ends what there was, while the console runs.
    let mut before = world.visitor();
    before.sign_in("binh", PASSWORD, "");
    assert!(before.is_in());
    let reset = world.link(&["reset", "binh"]);
    assert!(!before.is_in());
    assert_eq!(world.visitor().sign_in("binh", PASSWORD, "").status, 403);
    assert_eq!(world.visitor().post(&reset, &[("password", "ein ganz neuer Satz")]).status, 303);
}

#[test]
fn what_other_sites_send_is_refused_and_counted() {
    let world = World::new();
    let mut member = world.member("hoa", "manager");
    let own = format!("http://{}", world.address);
    for (name, value, reason) in [
        ("Sec-Fetch-Site", "cross-site", "site"),
        ("Sec-Fetch-Site", "same-site", "site"),
        ("Origin", "https://evil.example", "origin"),
        ("Origin", "null", "origin"),
    ] {
        let before = world.refused(reason);
        let mut forged = member.with(name, value);
        // What a browser would say besides does not help.
        if name == "Sec-Fetch-Site" {
            forged = forged.with("Origin", &own);
        }
        let invitation = [("action", "invite"), ("name", "mallory"), ("role", "manager"), ("every_area", "1")];
        let reply = forged.post("/accounts", &invitation);
        assert_eq!((reply.status, world.refused(reason)), (403, before + 1), "{name} {value}");
        assert_eq!(forged.post("/logout", &[]).status, 403);
        assert_eq!(forged.sign_in("hoa", PASSWORD, "").status, 403);
    }
    for host in ["evil.example", "evil.example:9080", "localhost", "127.0.0.1"] {
        assert_eq!(member.with("Host", host).get("/").status, 421, "{host}");
    }
    assert_eq!(world.refused("host"), 4);
    assert!(!member.get("/accounts").body.contains("mallory"), "nothing that was refused was done");
    for (name, value) in [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "none"), ("Origin", own.as_str())] {
        let reply = member.with(name, value).post("/account", &[("action", "language"), ("language", "en")]);
        assert_eq!(reply.status, 303, "{name} {value}");
    }
}

#[test]
fn a_session_that_was_planted_is_worth_nothing() {
    let world = World::new();
    let mut member = world.member("hoa", "manager");
    let first = member.cookie.clone();
    let mut planted = world.visitor();
    planted.cookie = Some("waypost=0123456789abcdef0123456789abcdef".to_owned());
    let before = planted.cookie.clone();
    assert!(!planted.is_in());
    assert_eq!(planted.sign_in("hoa", PASSWORD, "").status, 303);
    assert!(planted.is_in() && planted.cookie != before, "another one, drawn at the sign-in");
    let mut attacker = world.visitor();
    attacker.cookie = before;
    assert!(!attacker.is_in());
    // One's own ends at the next sign-in, too, and by signing out.
    member.sign_in("hoa", PASSWORD, "");
    let mut old = world.visitor();
    old.cookie = first;
    assert!(member.is_in() && !old.is_in());
    let mut kept = member.clone();
    member.post("/logout", &[]);
    assert!(member.cookie.is_none() && !kept.is_in());
}

#[test]
fn a_thousand_wrong_passwords_are_refused_counted_and_shown() {
    let world = World::with(|setup| setup.set("console", "proxies", "[\"127.0.0.1\"]"));
    let mut manager = world.member("hoa", "manager");
    world.member("binh", "editor");
    let attacker = |address: &str| world.visitor().with("X-Forwarded-For", address);
    let mut statuses = Vec::new();
    for number in 0..1000 {
        let reply =
            attacker(&format!("198.51.100.{}", number % 4)).sign_in("binh", &format!("guess number {number}"), "");
        assert!(reply.header("set-cookie").is_none());
        statuses.push(reply.status);
    }
    assert!(statuses.iter().all(|status| [403, 429].contains(status)));
    let looked_at = statuses.iter().filter(|&&status| status == 403).count() as u64;
    assert!(looked_at <= 100, "{looked_at} of 1,000 were compared with the password");
    assert_eq!((world.sign_ins("wrong"), world.sign_ins("limited")), (looked_at, 1000 - looked_at));
    // Names that are none are refused alike, and told nobody.
    let (wrong, unknown) =
        (attacker("198.51.100.9").sign_in("binh", "x", ""), attacker("198.51.100.8").sign_in("mai", "x", ""));
    assert_eq!(wrong.status, unknown.status);
    assert_eq!(wrong.body.replace("binh", "mai"), unknown.body);
    // She is let in from elsewhere meanwhile.
    assert_eq!(attacker("203.0.113.5").sign_in("binh", PASSWORD, "").status, 303);
    let page = manager.get("/accounts").body;
    assert!(page.contains("binh") && page.contains(&format!(">{}<", looked_at + 1)), "{page}");
    let entries = world.edge.setup.path("data/console.db");
    let connection = rusqlite::Connection::open(entries).unwrap();
    let sql = "SELECT count(*) FROM history WHERE details LIKE '%sign-ins refused%'";
    let bursts: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(bursts, 1, "one entry for the burst");
}

#[test]
fn twenty_people_sign_in_at_once() {
    let world = World::new();
    let names: Vec<String> = (1..=20).map(|number| format!("person {number}")).collect();
    for name in &names {
        drop(world.member(name, "editor"));
    }
    let sign_in = |name: &str| {
        let mut visitor = world.visitor();
        wait_for("a colleague is let in", || {
            let reply = visitor.sign_in(name, PASSWORD, "");
            assert!([303, 503].contains(&reply.status), "{}", reply.status);
            assert!(reply.status == 303 || reply.header("retry-after").is_some());
            (reply.status == 303).then_some(())
        });
        assert!(visitor.is_in());
    };
    std::thread::scope(|scope| names.iter().for_each(|name| drop(scope.spawn(|| sign_in(name)))));
    assert_eq!(world.sign_ins("limited"), 0, "one address is an office's");
}

#[test]
fn a_second_factor_is_set_up_asked_for_and_demanded() {
    let world = World::with(|setup| setup.set("console", "second_factor", "[\"manager\"]"));
    let mut hoa = world.member("hoa", "manager");
    for path in ["/", "/accounts", "/signs"] {
        assert_eq!(hoa.get(path).location(), Some("/account"), "{path}: first the second factor");
    }
    let page = hoa.post("/account", &[("action", "second-factor")]).body;
    assert!(page.contains("<svg") && page.contains("aria-label"), "a symbol to scan");
    let (_, rest) = page.split_once("name=\"secret\" value=\"").unwrap();
    let text = rest.split('"').next().unwrap().to_owned();
    let bytes: [u8; 20] = data_encoding::BASE32_NOPAD.decode(text.as_bytes()).unwrap().try_into().unwrap();
    let totp = Builder::new().with_secret(totp_rs::Secret::new_stack(bytes)).build().unwrap();
    let seconds = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let post = |hoa: &mut Visitor, code: &str, password: &str| {
        let fields = [("secret", text.as_str()), ("code", code), ("password", password)];
        hoa.post("/account", &[&[("action", "second-factor-on")], &fields[..]].concat())
    };
    assert_eq!(post(&mut hoa, "000", PASSWORD).status, 422);
    let now = seconds();
    for password in ["", "a session that was found open"] {
        let reply = post(&mut hoa, &totp.generate(now).to_string(), password);
        assert!(reply.status == 422 && reply.body.contains("id=\"password-error\"") && reply.body.contains(&text));
    }
    assert_eq!(hoa.get("/accounts").location(), Some("/account"), "nothing was set up");
    let page = post(&mut hoa, &totp.generate(now).to_string(), PASSWORD).body;
    let codes: Vec<&str> = page.split("<li><code>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(codes.len(), 10, "{page}");
    assert_eq!(hoa.get("/accounts").status, 200);
    let sign_in = |code: &str| world.visitor().sign_in("hoa", PASSWORD, code).status;
    assert_eq!(sign_in(""), 403);
    assert_eq!(sign_in(&totp.generate(now).to_string()), 403, "the code that set it up");
    let next = totp.generate(now + 30).to_string();
    assert_eq!((sign_in(&next), sign_in(&next)), (303, 403), "the next one, once");
    assert_eq!((sign_in(codes[0]), sign_in(codes[0])), (303, 403), "a recovery code, once");
    let mut off =
        |password: &str| hoa.post("/account", &[("action", "second-factor-off"), ("password", password)]).status;
    assert_eq!([off(""), off("a session that was found open"), off(PASSWORD)], [422, 422, 303]);
    assert_eq!(sign_in(""), 303);
}

#[test]
fn a_header_that_names_somebody_is_believed_from_proxies_alone() {
    let named = |proxies: &str| {
        let (proxies, header) = (format!("[\"{proxies}\"]"), "\"x-forwarded-user\"");
        let world = World::with(|setup| setup.set("console", "proxies", proxies).set("console", "user_header", header));
        world.member("hoa", "manager");
        world
    };
    let world = named("10.0.0.0/8");
    let mut stranger = world.visitor().with("X-Forwarded-User", "hoa");
    assert!(stranger.get("/accounts").location().is_some_and(|location| location.starts_with("/login")));
    assert_eq!(stranger.post("/accounts", &[]).status, 403);
    let world = named("127.0.0.1");
    let proxy = world.visitor();
    assert_eq!(proxy.with("X-Forwarded-User", "hoa").get("/accounts").status, 200);
    for name in ["mai", "#1", " "] {
        let reply = proxy.with("X-Forwarded-User", name).get("/");
        assert_eq!(reply.status, 403, "{name}");
    }
    assert_eq!(world.refused("user"), 3);
    let mut two = proxy.with("X-Forwarded-User", "hoa");
    two.headers.push(("x-forwarded-user".to_owned(), "binh".to_owned()));
    assert_eq!(two.get("/").status, 403, "two names are nobody's");
    // Who is not named signs in as everywhere.
    assert!(proxy.clone().get("/").location().is_some_and(|location| location.starts_with("/login")));
}

#[test]
fn every_response_forbids_scripts_frames_and_caches() {
    let world = World::new();
    let mut member = world.member("hoa", "manager");
    let mut replies = vec![
        world.visitor().get("/"),
        world.visitor().get("/login"),
        world.visitor().get("/invite/none"),
        world.visitor().get("/nowhere"),
        world.visitor().post("/signs", &[]),
        world.visitor().sign_in("hoa", "wrong", ""),
        world.visitor().with("Host", "evil.example").get("/"),
        world.visitor().with("Sec-Fetch-Site", "cross-site").get("/changes/3"),
        world.visitor().ask("DELETE", "/", "", b""),
        world.visitor().ask("POST", "/login", "text/plain", b"name=hoa"),
        member.get("/nowhere"),
        member.get("/account"),
        member.get("/accounts"),
        member.post("/map", &[]),
    ];
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [303, 200, 404, 303, 403, 403, 421, 200, 405, 415, 404, 200, 200, 405]);
    let page = world.visitor().get("/login").body;
    let style = page.split("href=\"").find(|rest| rest.starts_with("/style.css?")).unwrap().split('"').next().unwrap();
    let kept = [world.visitor().get(style), world.visitor().get("/favicon.ico")];
    for reply in &kept {
        assert_eq!((reply.status, reply.header("cache-control").unwrap().contains("immutable")), (200, true));
    }
    for reply in &replies {
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    replies.extend(kept);
    for reply in replies {
        let policy = reply.header("content-security-policy").expect("a policy");
        for word in [
            "default-src 'none'",
            "script-src 'none'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(word), "{policy}");
        }
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("referrer-policy"), Some("same-origin"));
        assert_eq!(reply.header("cross-origin-opener-policy"), Some("same-origin"));
        assert!(!reply.body.contains("<script") && !reply.body.contains(" style="));
    }
}

#[test]
fn the_cookie_is_the_consoles_alone() {
    let world = World::new();
    let set = |world: &World, host: &str| {
        let mut visitor = world.visitor().with("Host", host);
        let reply = visitor.sign_in("hoa", PASSWORD, "");
        reply.header("set-cookie").unwrap_or_else(|| panic!("{}", reply.body)).to_owned()
    };
    world.member("hoa", "manager");
    let cookie = set(&world, &world.address.to_string());
    assert!(cookie.starts_with("waypost=") && cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
    let world = World::with(|setup| setup.set("console", "origin", "\"https://bien.example.vn\""));
    let output =
        world.edge.setup.command(&["console", "invite", "hoa", "--role", "manager", "--format", "json"]).output();
    let made: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    let path = made["url"].as_str().unwrap().strip_prefix("https://bien.example.vn").expect("by the origin").to_owned();
    let mut visitor = world.visitor().with("Host", "bien.example.vn");
    assert_eq!(visitor.post(&path, &[("password", PASSWORD)]).status, 303);
    let cookie = set(&world, "bien.example.vn");
    assert!(cookie.starts_with("__Host-waypost=") && cookie.contains("; Path=/;"), "{cookie}");
    assert!(cookie.contains("; Secure;") && !cookie.contains("Domain"), "{cookie}");
}

#[test]
fn behind_a_proxy_with_tls_the_log_names_a_command_and_no_link_that_leads_nowhere() {
    let world = World::with(|setup| setup.set("console", "origin", "\"https://bien.example.vn\""));
    let command = "waypost console invite NAME --role manager";
    wait_for("the log has the command", || world.edge.log().contains(command).then_some(()));
    assert!(!world.edge.log().contains("console invitation"));
}

#[test]
fn a_proxy_that_is_not_declared_is_said_once() {
    let said = |world: &World| world.edge.log().matches("from another address").count();
    let world = World::with(|setup| setup.set("console", "proxies", "[\"127.0.0.1\"]"));
    assert_eq!(world.visitor().with("X-Forwarded-For", "203.0.113.9").get("/login").status, 200);
    // The log is written in order: what is said of a later request stands behind.
    world.member("hoa", "manager");
    assert_eq!((said(&world), check(&world).contains("warning: console.")), (0, false));
    let world = World::with(|setup| setup.set("console", "origin", "\"https://bien.example.vn\""));
    let mut sent_on = world.visitor().with("Host", "bien.example.vn").with("X-Forwarded-For", "203.0.113.9");
    for _ in 0..3 {
        assert_eq!(sent_on.get("/login").status, 200);
    }
    wait_for("the log says so", || (said(&world) > 0).then_some(()));
    assert_eq!(said(&world), 1);
    assert!(check(&world).contains("warning: console.proxies: expected the address of the proxy"));
}

/// What `waypost check` says.
fn check(world: &World) -> String {
    String::from_utf8(world.edge.setup.command(&["check"]).output().unwrap().stdout).unwrap()
}

#[test]
fn who_guesses_names_keeps_no_colleague_from_signing_in() {
    let world = World::new();
    for name in ["binh", "mai"] {
        world.member(name, "editor");
    }
    assert_eq!(world.visitor().sign_in("binh", PASSWORD, "").status, 303);
    let guess = |number: u32| world.visitor().sign_in(&format!("name {number}"), "guess", "").status;
    // As many as are free to a network; another is taken after a second, and then after more.
    let statuses: Vec<u16> = (0..130).map(guess).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(world.visitor().sign_in("binh", PASSWORD, "").status, 303, "who has signed in from here before");
}

#[test]
fn a_link_in_a_mail_leads_to_its_page() {
    let world = World::new();
    let member = world.member("hoa", "manager");
    // The browser keeps the cookie back, as a page of another site has led here.
    let mut browser = world.visitor().with("Sec-Fetch-Site", "cross-site");
    let reply = browser.get("/account");
    assert_eq!((reply.status, reply.header("refresh"), reply.location()), (200, Some("0"), None));
    // Our own page has asked once more: now it sends it.
    assert_eq!(member.with("Sec-Fetch-Site", "same-origin").get("/account").status, 200);
    // Who has none is asked to sign in, and comes back.
    let reply = world.visitor().with("Sec-Fetch-Site", "same-origin").get("/signs?q=a b");
    assert_eq!(reply.status, 400, "a target with a space is none");
    let reply = world.visitor().get("/signs?q=a%20b");
    assert_eq!(reply.location(), Some("/login?next=%2Fsigns%3Fq%3Da%2520b"));
    for (next, to) in [
        ("/signs?q=a%20b", "/signs?q=a%20b"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nX: y", "/"),
    ] {
        let reply = world.visitor().post("/login", &[("name", "hoa"), ("password", PASSWORD), ("next", next)]);
        assert_eq!((reply.status, reply.location()), (303, Some(to)), "{next:?}");
    }
}

#[test]
fn bodies_have_limits() {
    let world = World::with(|setup| setup.set("console", "max_upload", "\"64KiB\""));
    let mut editor = world.member("binh", "editor");
    let mut viewer = world.member("mai", "viewer");
    let form = "application/x-www-form-urlencoded";
    assert_eq!(world.visitor().ask("POST", "/login", form, &vec![b'a'; 65 << 10]).status, 413);
    assert_eq!(world.visitor().ask("POST", "/login", "multipart/form-data; boundary=x", b"rubbish").status, 415);
    let file = |size: usize| {
        let head = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\n";
        [head.as_bytes(), &vec![b'a'; size], b"\r\n--x--\r\n"].concat()
    };
    let multipart = "multipart/form-data; boundary=x";
    assert_eq!(editor.ask("POST", "/import", multipart, &file(200 << 10)).status, 413);
    let taken = editor.ask("POST", "/import", multipart, &file(1000)).status;
    assert!(![403, 413, 415, 500].contains(&taken), "{taken}");
    for other in [&mut world.visitor(), &mut viewer] {
        assert_eq!(other.ask("POST", "/import", multipart, &file(1000)).status, 403, "nobody else's file is read");
    }
    assert_eq!(world.refused("body"), 3);
}

#[test]
fn who_is_slow_holds_nobody_up() {
    let world = World::new();
    let mut member = world.member("hoa", "manager");
    let begin = |path: &str| {
        let mut stream = TcpStream::connect(world.address).unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\n\r\n", world.address);
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    // More than there is room for, none of which goes on.
    let mut held: Vec<TcpStream> = (0..300).map(|_| begin("/login")).collect();
    assert!(member.is_in());
    // One that goes on, a byte at a time, is told that it is too slow.
    let mut slow = begin("/login");
    slow.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut answer = [0; 12];
    wait_for("it is told", || {
        slow.write_all(b"a").ok();
        std::io::Read::read_exact(&mut slow, &mut answer).ok()
    });
    assert_eq!(&answer, b"HTTP/1.1 408");
    held.clear();
}

#[test]
fn managers_manage_and_keep_one_of_theirs() {
    let world = World::new();
    let mut hoa = world.member("hoa", "manager");
    let reply =
        hoa.post("/accounts", &[("action", "invite"), ("name", "<b>binh</b>"), ("role", "editor"), ("area", "Kỳ Lừa")]);
    let (_, rest) = reply.body.split_once("/invite/").expect("a link");
    let link = format!("/invite/{}", rest.split('<').next().unwrap());
    assert!(!hoa.get("/accounts").body.contains(&link[8..]), "it is shown once");
    let mut binh = world.visitor();
    assert_eq!(binh.post(&link, &[("password", PASSWORD)]).status, 303);
    let page = hoa.get("/accounts?account=2").body;
    assert!(page.contains("&lt;b&gt;binh&lt;/b&gt;") && !page.contains("<b>binh"), "a name is text");
    for action in ["disable", "erase", "rights"] {
        let fields = [("action", action), ("account", "1"), ("role", "viewer"), ("every_area", "1"), ("sure", "1")];
        assert_eq!(hoa.post("/accounts", &fields).status, 422, "{action} of the last manager");
    }
    let act =
        |hoa: &mut Visitor, action: &str| hoa.post("/accounts", &[("action", action), ("account", "2"), ("sure", "1")]);
    assert_eq!(act(&mut hoa, "disable").status, 303);
    assert!(!binh.is_in());
    assert_eq!(binh.sign_in("<b>binh</b>", PASSWORD, "").status, 403);
    act(&mut hoa, "enable");
    assert_eq!(binh.sign_in("<b>binh</b>", PASSWORD, "").status, 303);
    let page = binh.get("/account").body;
    let session = page.split("name=\"session\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    hoa.post("/accounts", &[("action", "end"), ("account", "2"), ("session", &session)]);
    assert!(!binh.is_in(), "a manager ends a session");
    assert_eq!(act(&mut hoa, "erase").status, 303);
    assert!(!hoa.get("/accounts").body.contains("binh"));
    assert_eq!(binh.sign_in("<b>binh</b>", PASSWORD, "").status, 403);
}

#[test]
fn areas_are_those_of_the_table_and_every_area_is_a_choice_of_its_own() {
    let world = World::new();
    let mut hoa = world.member("hoa", "manager");
    world.member("binh", "editor");
    let areas = |number: i64| {
        let connection = rusqlite::Connection::open(world.edge.setup.path("data/console.db")).unwrap();
        let sql = "SELECT areas FROM accounts WHERE number = ?1";
        connection.query_row(sql, [number], |row| row.get::<_, String>(0)).ok()
    };
    let forms = [("invite", [("name", "mai"), ("account", "")]), ("rights", [("name", ""), ("account", "2")])];
    for (action, whom) in forms {
        let mut send = |chosen: &[(&str, &str)]| {
            let form = [&[("action", action), ("role", "approver")], &whom[..], chosen].concat();
            hoa.post("/accounts", &form)
        };
        for chosen in [
            &[][..],
            &[("area", "")],
            &[("area", "Kỳ Lừa"), ("area", "Nowhere")],
            &[("area", "Kỳ Lừa"), ("every_area", "1")],
        ] {
            let reply = send(chosen);
            assert!(reply.status == 422 && reply.body.contains("role=\"alert\""), "{action} {chosen:?}");
            assert!(reply.body.contains("value=\"approver\" selected"), "what was entered stays");
            let is_ticked = reply.body.contains("value=\"Kỳ Lừa\" checked");
            assert_eq!(is_ticked, chosen.contains(&("area", "Kỳ Lừa")), "{action} {chosen:?}");
        }
        assert_eq!((areas(2).as_deref(), areas(3)), (Some("[]"), None), "nothing that was refused was done");
    }
    let decomposed = "Ky\u{300} Lu\u{31b}\u{300}a";
    let chosen = [("area", decomposed), ("area", "Kỳ Lừa")];
    for (action, whom) in forms {
        let reply = hoa.post("/accounts", &[&[("action", action), ("role", "approver")], &whom[..], &chosen].concat());
        assert!([200, 303].contains(&reply.status), "{action}: {}", reply.body);
    }
    let rights = [("action", "rights"), ("account", "1"), ("role", "manager"), ("every_area", "1")];
    assert_eq!(hoa.post("/accounts", &rights).status, 303);
    let spelled = Some("[\"Kỳ Lừa\"]".to_owned());
    assert_eq!([areas(1), areas(2), areas(3)], [Some("[]".to_owned()), spelled.clone(), spelled.clone()]);
    // The command takes the same names.
    world.link(&["invite", "an", "--role", "editor", "--area", decomposed]);
    assert_eq!(areas(4), spelled);
    for area in ["", "Nowhere"] {
        let command = ["console", "invite", "eve", "--role", "editor", "--area", area];
        let output = world.edge.setup.command(&command).output().unwrap();
        assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("the name of an area"));
    }
}

#[test]
fn one_changes_ones_own_password_and_ends_ones_sessions() {
    let world = World::new();
    let mut here = world.member("hoa", "viewer");
    let mut there = world.visitor();
    there.sign_in("hoa", PASSWORD, "");
    let mut change =
        |old: &str, new: &str| here.post("/account", &[("action", "password"), ("old", old), ("new", new)]);
    for (old, new) in [("wrong, as it happens", "một câu khác dài"), (PASSWORD, "hoa"), (PASSWORD, "123456789012")]
    {
        let reply = change(old, new);
        assert!(reply.status == 422 && reply.body.contains("aria-invalid"), "{old} {new}");
    }
    assert_eq!(change(PASSWORD, "một câu khác dài").status, 200);
    assert!(here.is_in() && !there.is_in());
    // A session that somebody else has got hold of is no way to guess it.
    let guesses: Vec<String> = (0..10).map(|number| format!("guess number {number}")).collect();
    let replies: Vec<Reply> = guesses
        .iter()
        .map(|old| here.post("/account", &[("action", "password"), ("old", old), ("new", "noch ein anderer Satz")]))
        .collect();
    assert!(replies.iter().all(|reply| reply.status == 422));
    let right =
        here.post("/account", &[("action", "password"), ("old", "một câu khác dài"), ("new", "noch ein anderer Satz")]);
    assert_eq!(right.status, 422, "a pause");
}
