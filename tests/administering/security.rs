//! Other sites and planted cookies get nowhere, in the browser's own eyes. What needs no browser is in
//! `answering::console_access`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};

use crate::office::{NEW_PAGE, Office, PASSWORD, SIGN, STREET, STREET_PAGE};
use crate::support::browser::DESK;

/// A web server of somebody else with one page. It ends with the test's process.
fn other_site(page: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n";
            write!(stream, "{head}Content-Length: {}\r\n\r\n{page}", page.len()).ok();
        }
    });
    address
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn a_form_of_another_site_changes_nothing() {
    let office = Office::open();
    let (editor, approver) = (office.editor(DESK), office.approver(DESK));
    editor.see(&format!("/places/{STREET}"));
    let set = format!("/changes/{}", editor.point_elsewhere(NEW_PAGE, "Giỗ Tổ"));
    // Another port of the same host: the same site, as a host of the province that was taken over would be.
    let page = format!(
        "<form method=post action='{}'><input type=hidden name=action value=approve><button>Quà tặng</button></form>",
        office.url(&set)
    );
    let same_site = other_site(page);
    for site in [format!("http://{same_site}/"), format!("http://localhost:{}/", same_site.port())] {
        approver.see(&set);
        assert!(approver.can("approve"), "signed in, and with the right");
        approver.go(&site);
        approver.press("button");
        assert_eq!(office.leads_to(SIGN), STREET_PAGE);
        editor.see(&set);
        assert!(editor.can("withdraw"), "{site}: it waits as before");
    }
    assert_eq!(office.applied(), [0; 0]);
    let refused = office.edge.metrics().sum("waypost_console_refused_total");
    assert!(refused >= 1.0, "{refused}");
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn a_link_of_another_site_leads_to_the_page_of_who_is_signed_in() {
    let office = Office::open();
    let editor = office.editor(DESK);
    let site = other_site(format!("<a href='{}'>xem</a>", office.url(&format!("/places/{STREET}"))));
    editor.go(&format!("http://localhost:{}/", site.port()));
    editor.press("a");
    // The cookie is kept back at first; the page asks again by itself.
    crate::support::wait_for("the page", || editor.has("[name=target]").then_some(()));
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn a_planted_cookie_is_nobodys_session() {
    let office = Office::open();
    let link = office.invite("Hoàng Thị Lan", &["--role", "editor"]);
    let victim = office.stranger(DESK);
    let planted = "AAAAAAAAAAAAAAAAAAAAAA";
    victim.plant_cookie("waypost", planted);
    victim.go(&link);
    victim.write("#password", PASSWORD);
    victim.press("main form button");
    victim.see("/account");
    let first = victim.cookie("waypost").unwrap();
    assert_ne!(first, planted);
    // Who signs in again has another session, and the cookie of before is worth nothing.
    victim.press("form[action='/logout'] button");
    victim.write("#name", "Hoàng Thị Lan");
    victim.write("#password", PASSWORD);
    victim.press("main form button");
    assert_ne!(victim.cookie("waypost").unwrap(), first);
    let attacker = office.stranger(DESK);
    for cookie in [planted, &first] {
        attacker.plant_cookie("waypost", cookie);
        attacker.see("/account");
        assert!(attacker.path().starts_with("/login"), "{}", attacker.path());
    }
    // Nor is the link good for another one.
    attacker.go(&link);
    assert!(!attacker.has("#password"), "{}", attacker.text());
}
