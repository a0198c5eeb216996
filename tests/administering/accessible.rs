//! Every page can be used by everybody: axe-core finds nothing in any state of it, at the width of a phone and of a desk,
//! light and dark, and none is wider than the phone. That a keyboard does it all is held by every module here: the
//! browser of these tests has no mouse.
//!
//! With `WAYPOST_PICTURES=FOLDER` each page is drawn there as well, to be looked at.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;

use crate::office::{NEW_PAGE, Office, PASSWORD, Person, SIGN, STREET, STREET_PAGE};
use crate::support::browser::{DESK, PHONE};
use crate::told::TOLD;

const LOOKS: [(&str, crate::support::browser::Look); 4] =
    [("360-light", PHONE), ("360-dark", PHONE.dark()), ("1280-light", DESK), ("1280-dark", DESK.dark())];

/// What is wrong, and how much was looked at.
#[derive(Default)]
struct Inspection {
    found: RefCell<Vec<String>>,
    pages: Cell<usize>,
}

impl Inspection {
    /// Looks at the page that somebody sees, each way.
    fn look(&self, person: &Person, page: &str) {
        let mut found = self.found.borrow_mut();
        self.pages.set(self.pages.get() + 1);
        for (name, look) in LOOKS {
            person.look(look);
            found.extend(person.violations().into_iter().map(|line| format!("{page} {name}: {line}")));
            let overflow = person.overflow();
            if overflow > 0 {
                found.push(format!("{page} {name}: {overflow} px too wide"));
            }
            if let Some(folder) = std::env::var_os("WAYPOST_PICTURES").map(PathBuf::from) {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join(format!("{page}-{name}.png")), person.picture()).unwrap();
            }
        }
    }

    fn see(&self, person: &Person, path: &str, page: &str) {
        person.see(path);
        self.look(person, page);
    }

    #[track_caller]
    fn assert_nothing(&self, pages: usize) {
        let found = self.found.borrow();
        assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n\n"));
        assert!(self.pages.get() >= pages, "{} pages", self.pages.get());
    }
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn what_is_wrong_with_a_page_is_found() {
    let person = Office::open().stranger(DESK);
    assert_eq!(person.violations(), [""; 0]);
    person.run("document.querySelector('label[for=name]').remove(); document.body.style.width = '2000px'");
    assert!(person.violations().iter().any(|line| line.starts_with("label:")), "{:?}", person.violations());
    assert!(person.overflow() > 0);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn pages_before_the_sign_in() {
    let (office, inspection) = (Office::open(), Inspection::default());
    let person = office.stranger(DESK);
    inspection.look(&person, "login");
    person.write("#name", "ai đó");
    person.write("#password", "sai mật khẩu rồi");
    person.press("main form button");
    inspection.look(&person, "login-refused");
    person.go(&office.first_link());
    inspection.look(&person, "first-account");
    person.write("#name", "Quản trị");
    person.write("#password", "ngắn");
    person.press("main form button");
    inspection.look(&person, "first-account-refused");
    person.write("#name", "Quản trị");
    person.write("#password", PASSWORD);
    person.press("main form button");
    inspection.look(&person, "home-of-a-new-office");
    let other = office.stranger(DESK);
    other.go(&office.first_link());
    inspection.look(&other, "link-used");
    other.go(&office.invite("Hoàng Thị Lan", &["--role", "viewer"]));
    inspection.look(&other, "invitation");
    other.write("#password", PASSWORD);
    other.press("main form button");
    inspection.see(&other, &format!("/places/{STREET}"), "place-for-a-viewer");
    inspection.see(&other, "/accounts", "forbidden");
    inspection.see(&other, "/nowhere", "not-found");
    inspection.assert_nothing(9);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn pages_of_signs_and_places() {
    let (mut office, inspection) = (Office::open(), Inspection::default());
    (0..20).for_each(|_| drop(office.edge.scan(&format!("/{SIGN}"))));
    office.edge.wait_until_stored();
    // Figures are taken at a start, and then now and again.
    office.edge.stop();
    office.edge.start();
    let person = office.person(DESK, "Hoàng Thị Lan", &["--role", "editor", "--applies-first"]);
    let street = format!("/places/{STREET}");
    let sign = format!("/signs/{SIGN}");
    person.see(&sign);
    person.reload_until("its scans are shown", |page| page.has("svg rect.today"));
    for (path, page) in [
        ("/", "home"),
        ("/signs", "signs"),
        ("/signs?q=hung+vuong", "signs-found"),
        ("/signs?q=khong+co", "signs-none"),
        ("/signs?area=Ph%C6%B0%E1%BB%9Dng+%C4%90%C3%B4ng+Kinh&sort=last&page=2", "signs-filtered"),
        (&sign, "sign"),
        ("/signs/7K3M9QX6", "sign-unknown"),
        ("/places", "places"),
        (&street, "place"),
        ("/places/re002", "place-with-override"),
        ("/map", "map"),
        ("/map?color=state&q=hung+vuong", "map-of-a-street"),
    ] {
        inspection.see(&person, path, page);
    }
    person.see(&street);
    person.write("[name=target]", "https://evil.example/");
    person.write("[name=reason]", "x");
    person.act("submit");
    inspection.look(&person, "place-refused");
    person.see(&street);
    person.press("header form[action='/account'] button");
    inspection.look(&person, "place-in-english");
    inspection.assert_nothing(14);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn pages_of_changes_in_every_state() {
    let (office, inspection) = (Office::open(), Inspection::default());
    let editor = office.person(DESK, "Hoàng Thị Lan", &["--role", "editor", "--applies-first"]);
    let approver = office.approver(DESK);
    let propose = |action: &str| {
        editor.see(&format!("/places/{STREET}"));
        editor.write("[name=target]", NEW_PAGE);
        editor.write("[name=reason]", "Giỗ Tổ Hùng Vương mồng 10 tháng 3");
        editor.act(action);
        format!("/changes/{}", editor.set())
    };
    let draft = propose("draft");
    inspection.look(&editor, "change-draft");
    editor.act("withdraw");
    inspection.look(&editor, "change-withdrawn");
    let submitted = propose("submit");
    inspection.look(&editor, "change-submitted-own");
    inspection.see(&approver, "/", "home-with-work");
    inspection.see(&approver, &submitted, "change-submitted");
    approver.act_because("refuse", "remark", "Trang chưa có tiếng Anh");
    inspection.look(&approver, "change-refused");
    let scheduled = propose("draft");
    editor.write_time("[name=effective]", "2099-01-01T00:00");
    editor.act("submit");
    approver.see(&scheduled);
    inspection.look(&approver, "change-for-a-time");
    approver.act("approve");
    inspection.look(&approver, "change-scheduled");
    let outdated = propose("submit");
    let first = propose("apply");
    office.wait_for_plate(SIGN, NEW_PAGE);
    approver.see(&first);
    approver.reload_until("it is applied", |page| page.has("button[value=roll_back]"));
    inspection.look(&approver, "change-applied-first");
    inspection.see(&approver, &outdated, "change-in-conflict");
    inspection.see(&editor, "/", "home-in-red");
    inspection.see(&editor, &draft, "change-of-old");
    inspection.see(&editor, "/changes", "changes");
    inspection.see(&editor, "/changes?state=conflict", "changes-none");
    inspection.see(&editor, "/history", "history");
    inspection.see(&editor, "/history?action=approved", "history-filtered");
    inspection.see(&editor, &format!("/places/{STREET}"), "place-with-history");
    inspection.assert_nothing(16);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn pages_of_what_is_told() {
    let (office, inspection) = (crate::told::office(), Inspection::default());
    let editor = office.person(DESK, "Hoàng Thị Lan", &["--role", "editor", "--applies-first"]);
    for (path, page) in [
        ("/", "home-with-own-pages"),
        ("/places?answer=own_page", "places-with-own-page"),
        ("/signs", "signs-with-own-page"),
        ("/places/told", "place-told"),
        (&format!("/signs/{TOLD}"), "sign-told"),
        ("/about/told", "about"),
    ] {
        inspection.see(&editor, path, page);
    }
    editor.write("[name=source]", "http://langson.gov.vn/");
    editor.write("[name=reason]", "Nguồn mới");
    editor.act("submit");
    inspection.look(&editor, "about-refused");
    editor.see("/about/told");
    editor.write("[name=about]", "Vua Hùng dựng nước Văn Lang.\nĐường dài 2 km.");
    editor.write("[name='about:en']", "The Hùng kings founded Văn Lang.");
    editor.write("[name=reason]", "Đo lại");
    editor.act("submit");
    inspection.look(&editor, "change-of-a-text");
    editor.see("/places/both");
    editor.point_elsewhere("", "Trang của phường đóng");
    inspection.look(&editor, "change-to-own-page");
    inspection.assert_nothing(9);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn pages_of_many_changes_and_of_accounts() {
    let (office, inspection) = (Office::open(), Inspection::default());
    let person = office.person(DESK, "Quản trị", &["--role", "manager"]);
    office.invite("Hoàng Thị Lan", &["--role", "editor", "--area", "Phường Đông Kinh"]);
    for (path, page) in [
        ("/overrides", "overrides"),
        ("/overrides?add=1&kind=street", "overrides-add"),
        ("/replace", "replace"),
        ("/replace?find=langson.gov.vn&replace=dulich.langson.gov.vn&in=places", "replace-tried"),
        ("/replace?find=langson.gov.vn&replace=evil.example&in=places", "replace-refused"),
        ("/import", "import"),
        ("/accounts", "accounts"),
        ("/account", "account"),
    ] {
        inspection.see(&person, path, page);
    }
    person.see("/overrides");
    person.press("main a[href^='/overrides?row=']");
    inspection.look(&person, "override");
    person.see("/accounts");
    person.press("main table a");
    inspection.look(&person, "account-of-somebody");
    person.see("/accounts");
    person.write("[name=name]", "Lý Thị Mai");
    person.press("form:has([name=name]) button");
    inspection.look(&person, "account-without-areas");
    person.type_on("[name=every_area]", " ");
    person.press("form:has([name=name]) button");
    inspection.look(&person, "account-invited");
    person.see("/account");
    person.press("form:has([value=second-factor]) button");
    inspection.look(&person, "second-factor");
    let width = person.run("return document.querySelector('main svg path').getBoundingClientRect().width");
    assert!(width.as_f64().unwrap() > 100.0, "the symbol is drawn: {width}");
    let upload = office.edge.setup.path("upload.csv");
    std::fs::write(&upload, format!("place,target\n{STREET},{NEW_PAGE}\nst003,https://evil.example/\n")).unwrap();
    person.see("/import");
    person.type_on("[name=file]", upload.to_str().unwrap());
    person.write("[name=reason]", "Trang mới của Sở");
    person.press("form[enctype] button");
    inspection.look(&person, "import-refused-rows");
    assert_eq!(office.leads_to(SIGN), STREET_PAGE);
    inspection.assert_nothing(13);
}
