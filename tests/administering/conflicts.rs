//! Several people at once, a spreadsheet besides, changes of many rows: nothing is overwritten, and everybody is told.

use crate::office::{NEW_PAGE, Office, Person, SIGN, STREET, STREET_PAGE, changed_cell};
use crate::support::browser::{DESK, PHONE};

/// A page that somebody else has written into the table meanwhile.
const HAND_PAGE: &str = "https://langson.gov.vn/vi/duong-pho/hung-vuong-moi";

/// The editor points the street elsewhere; the page of the set.
fn proposed(editor: &Person) -> String {
    editor.see(&format!("/places/{STREET}"));
    format!("/changes/{}", editor.point_elsewhere(NEW_PAGE, "Giỗ Tổ"))
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn of_two_who_decide_one_wins_and_the_other_is_told() {
    let office = Office::open();
    let editor = office.editor(DESK);
    let approver = office.approver(DESK);
    let other = office.person(PHONE, "Lý Thị Mai", &["--role", "approver"]);
    let set = proposed(&editor);
    approver.see(&set);
    other.see(&set);
    assert!(other.can("refuse"));
    approver.act("approve");
    office.wait_for_plate(SIGN, NEW_PAGE);
    other.act("approve");
    assert!(other.has("main [role=alert]"), "{}", other.text());
    assert!(!other.can("approve"));
    assert_eq!(office.applied(), [1]);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn a_cell_that_was_edited_by_hand_is_shown_and_never_overwritten() {
    let office = Office::open();
    let (editor, approver) = (office.editor(DESK), office.approver(DESK));
    let set = proposed(&editor);
    approver.see(&set);
    office.edit_by_hand("places", STREET_PAGE, HAND_PAGE);
    office.wait_for_plate(SIGN, HAND_PAGE);
    let by_hand = office.table("places");
    approver.act("approve");

    // Whoever decides sees what it was, what it is, and what it was to be; nothing is written.
    let told = approver.text();
    for page in [STREET_PAGE, HAND_PAGE, NEW_PAGE] {
        assert!(told.contains(page), "{page}: {told}");
    }
    assert!(!approver.can("approve"));
    assert_eq!(office.table("places"), by_hand);

    // The author makes it anew from what is there, and that works.
    editor.see(&set);
    editor.act("rebase");
    editor.act("submit");
    approver.see(&format!("/changes/{}", editor.set()));
    approver.act("approve");
    office.wait_for_plate(SIGN, NEW_PAGE);
    assert_eq!(changed_cell(&by_hand, &office.table("places")), (HAND_PAGE.to_owned(), NEW_PAGE.to_owned()));
    // And the history knows that somebody did something else.
    approver.see("/history?action=outside");
    assert!(approver.letters().contains(HAND_PAGE), "{}", approver.letters());
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn a_table_that_is_open_in_libre_office_is_noticed_with_the_name() {
    let office = Office::open();
    let editor = office.editor(PHONE);
    let set = proposed(&editor);
    let lock = office.edge.setup.path("config/.~lock.places.csv#");
    std::fs::write(&lock, "Vi Văn Tài,tai,pc-7,26.11.2026 20:13,file:///home/tai/.config/libreoffice/4;").unwrap();
    for page in ["/", &set] {
        editor.see(page);
        let name = format!("{page} says who has the table open");
        editor.reload_until(&name, |page| page.text().contains("Vi Văn Tài"));
    }
    std::fs::remove_file(lock).unwrap();
    editor.reload_until("it is closed", |page| !page.text().contains("Vi Văn Tài"));
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn an_upload_is_a_dry_run_with_every_refused_row() {
    let office = Office::open();
    let editor = office.editor(DESK);
    let before = office.table("places");
    let upload = office.edge.setup.path("upload.csv");
    let rows = format!(
        "place,target\n{STREET},{NEW_PAGE}\nst003,https://evil.example/\nst004,https://langson.gov.vn/vi/duong-pho/ba-trieu\n"
    );
    std::fs::write(&upload, rows).unwrap();
    editor.see("/import");
    editor.type_on("[name=file]", upload.to_str().unwrap());
    editor.write("[name=reason]", "Trang mới của Sở");
    editor.press("form[enctype] button");
    let told = editor.text();
    assert!(told.contains("st003") && told.contains("evil.example"), "{told}");
    editor.press("main .notice a[href^='/changes/']");
    assert!(editor.has(&format!("main a[href='{NEW_PAGE}']")));
    assert!(!editor.source().contains("ba-trieu"), "a row that is as it was changes nothing");
    assert!(editor.can("submit"));
    assert_eq!(office.table("places"), before);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn a_path_is_replaced_over_a_selection_that_was_looked_at() {
    let office = Office::open();
    let (editor, approver) = (office.editor(PHONE), office.approver(DESK));
    let before = office.table("places");
    editor.see("/replace");
    editor.write("[name=find]", "https://langson.gov.vn/vi/duong-pho/");
    editor.write("[name=replace]", "https://dulich.langson.gov.vn/duong/");
    // Not by the name: Trần Hưng Đạo is a Vương as well.
    editor.write("main [name=q]", "st002");
    editor.press("form[action='/replace'][method=get] button");
    let new = "https://dulich.langson.gov.vn/duong/hung-vuong";
    assert!(editor.text().contains(new), "{}", editor.text());
    editor.write("[name=reason]", "Cổng du lịch mới");
    editor.press("form[action='/replace'][method=post] button");
    editor.act("submit");
    approver.see(&format!("/changes/{}", editor.set()));
    approver.act("approve");
    office.wait_for_plate(SIGN, new);
    assert_eq!(changed_cell(&before, &office.table("places")), (STREET_PAGE.to_owned(), new.to_owned()));
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn a_festival_leads_several_places_elsewhere_for_a_time() {
    let office = Office::open();
    let (editor, approver) = (office.editor(PHONE), office.approver(DESK));
    editor.see("/overrides?add=1&kind=street");
    for place in [STREET, "st003"] {
        editor.type_on(&format!("[name=scope][value={place}]"), " ");
    }
    editor.write_time("[name=from]", "2026-01-01T00:00");
    editor.write_time("[name=until]", "2099-01-01T00:00");
    editor.write("[name=target]", NEW_PAGE);
    editor.write("[name=reason]", "Lễ hội");
    editor.act("add");
    editor.act("submit");
    approver.see(&format!("/changes/{}", editor.set()));
    approver.act("approve");
    office.wait_for_plate(SIGN, NEW_PAGE);
    office.wait_for_plate(&office.sign_of("st003"), NEW_PAGE);
    editor.see("/overrides");
    assert_eq!(editor.count("main a[href^='/overrides?row=']"), 3, "the sample has one");

    // One of them ends early, and the plate leads where it usually does.
    editor.press(&format!("main a[href^='/overrides?row={STREET}']"));
    editor.write("[name=reason]", "Mưa lớn");
    editor.act("end");
    editor.act("submit");
    approver.see(&format!("/changes/{}", editor.set()));
    approver.act("approve");
    office.wait_for_plate(SIGN, STREET_PAGE);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn what_is_applied_first_is_red_for_everybody_until_another_has_looked() {
    let office = Office::open();
    let editor = office.person(PHONE, "Hoàng Thị Lan", &["--role", "editor", "--applies-first"]);
    let approver = office.approver(DESK);
    editor.see(&format!("/places/{STREET}"));
    editor.write("[name=target]", NEW_PAGE);
    editor.write("[name=reason]", "Trang cũ bị chiếm");
    editor.act("apply");
    let set = format!("/changes/{}", editor.set());
    office.wait_for_plate(SIGN, NEW_PAGE);
    let banner = format!("main > .notice.danger a[href='{set}']");
    for page in ["/", "/signs", "/map", "/history", "/account"] {
        approver.see(page);
        assert!(approver.has(&banner), "{page}");
    }
    editor.see(&set);
    assert!(!editor.can("review"), "nobody reviews his own");
    assert_eq!(editor.post(&set, &[("action", "review")]).status, 403);
    approver.press(&banner);
    approver.act("review");
    for person in [&editor, &approver] {
        person.see("/");
        assert!(!person.has(&banner));
    }
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn a_draft_is_kept_and_withdrawn_and_a_refusal_tells_its_author_why() {
    let office = Office::open();
    let (editor, approver) = (office.editor(PHONE), office.approver(DESK));
    editor.see(&format!("/places/{STREET}"));
    editor.write("[name=target]", NEW_PAGE);
    editor.write("[name=reason]", "Thử");
    editor.act("draft");
    let draft = format!("/changes/{}", editor.set());
    approver.see(&draft);
    assert!(!approver.can("approve") && !approver.can("submit"), "it is its author's alone");
    editor.see("/");
    editor.press(&format!("main a[href='{draft}']"));
    editor.act("withdraw");
    assert!(!editor.can("submit"));

    let refused = proposed(&editor);
    approver.see(&refused);
    approver.act_because("refuse", "remark", "Trang chưa có tiếng Anh");
    assert!(!approver.can("approve"));
    editor.see("/");
    editor.press(&format!("main a[href='{refused}']"));
    assert!(editor.text().contains("Trang chưa có tiếng Anh"), "{}", editor.text());
    assert_eq!(office.leads_to(SIGN), STREET_PAGE);
    assert_eq!(office.applied(), [0; 0]);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn an_editor_of_one_area_touches_no_other() {
    let office = Office::open();
    let area = ["--role", "editor", "--area", "Phường Đông Kinh"];
    let editor = office.person(DESK, "Hoàng Thị Lan", &area);
    editor.see("/places/st003");
    assert!(editor.has("[name=target]"));
    let form = editor.form("form:has([name=target])");
    editor.see(&format!("/places/{STREET}"));
    assert!(!editor.has("[name=target]"), "a page of another area has no form");
    let own = [("target", NEW_PAGE), ("reason", "x"), ("action", "submit")];
    let form = form.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let form: Vec<_> = form.filter(|(name, _)| !["target", "target:en", "reason"].contains(name)).chain(own).collect();
    let reply = editor.post(&format!("/places/{STREET}"), &form);
    assert!(matches!(reply.status, 403 | 422), "{}", reply.status);
    editor.see("/changes");
    assert_eq!(editor.count("main a[href^='/changes/']"), 0);
}
