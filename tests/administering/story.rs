//! An editor on a phone points a street elsewhere, somebody else approves it, and there is a way back.

use crate::office::{NEW_PAGE, Office, STREET, STREET_PAGE, changed_cell};
use crate::support::browser::{DESK, Look, PHONE};

#[test]
#[ignore = "needs Chromium: tests/run"]
fn a_street_is_pointed_elsewhere_and_back_from_a_phone() {
    story(PHONE);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn no_step_of_it_needs_a_script() {
    story(PHONE.without_scripts());
}

fn story(phone: Look) {
    let office = Office::open();
    let editor = office.editor(phone);
    let approver = office.approver(Look { has_scripts: phone.has_scripts, ..DESK });
    let before = office.table("places");

    // He finds it without accents, and points it elsewhere.
    editor.see("/signs");
    editor.write("[name=q]", "hung vuong");
    editor.press("form[role=search] button");
    let place = format!("/places/{STREET}");
    editor.press(&format!("main a[href='{place}']"));
    let sign = editor.attribute("main a[href^='/signs/']", "pathname");
    let sign = sign.trim_start_matches("/signs/").to_owned();
    assert_eq!(office.leads_to(&sign), STREET_PAGE);
    let set = editor.point_elsewhere(NEW_PAGE, "Giỗ Tổ Hùng Vương");
    let set_page = format!("/changes/{set}");

    // He can't approve it himself, whatever he sends.
    assert!(!editor.can("approve"));
    assert_eq!(editor.post(&set_page, &[("action", "approve")]).status, 403);
    assert_eq!(office.table("places"), before);

    // An approver finds it on the first page, sees both pages, and approves.
    approver.see("/");
    approver.press(&format!("main a[href='{set_page}']"));
    for page in [STREET_PAGE, NEW_PAGE] {
        assert!(approver.has(&format!("main a[href='{page}']")), "{page}");
    }
    approver.act("approve");
    office.wait_for_plate(&sign, NEW_PAGE);
    assert_eq!(changed_cell(&before, &office.table("places")), (STREET_PAGE.to_owned(), NEW_PAGE.to_owned()));

    // The history says who, why, and by whom it was approved.
    approver.reload_until("it is applied", |page| page.has("button[value=roll_back]"));
    editor.see(&format!("/history?set={set}"));
    let told = editor.text();
    for word in ["Hoàng Thị Lan", "Nông Văn Dũng", "Giỗ Tổ Hùng Vương"] {
        assert!(told.contains(word), "{word}: {told}");
    }

    // The way back is a set like another.
    editor.see(&set_page);
    editor.act_because("roll_back", "reason", "Hết lễ");
    let back = editor.set();
    assert!(back != set && !editor.can("approve"));
    approver.see(&format!("/changes/{back}"));
    approver.act("approve");
    office.wait_for_plate(&sign, STREET_PAGE);
    assert_eq!(office.table("places"), before, "every byte is as it was");
}
