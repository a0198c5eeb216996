//! What is told of a place is edited like a target: proposed, seen side by side, approved, and on the plate's own page
//! seconds later. Whatever it says comes through as text, and of the table nothing else changes.

use unicode_normalization::UnicodeNormalization as _;

use crate::office::{Office, Person, changed_cell};
use crate::support::browser::{DESK, Look, PHONE};
use crate::support::{Setup, wait_for};

pub const TOLD: &str = "G7VFNAJV";
const TARGET: &str = "https://langson.gov.vn/vi/hung-vuong";
const OLD: &str = "Vua Hùng dựng nước Văn Lang.\nĐường dài 1 km.";
const NEW: &str = "Vua Hùng dựng nước Văn Lang.\nĐường dài 2 km.";

/// A street with a text and no target, and one with both.
pub fn office() -> Office {
    let places = format!(
        "place,kind,area,name,name:en,target,namesake,about,source,compiled\r\n\
         told,street,Phường Đông Kinh,Đường Hùng Vương,Hùng Vương street,,Các vua Hùng,\"{OLD}\",Địa chí Lạng Sơn,14/3/2026\r\n\
         both,street,Phường Đông Kinh,Đường Lê Lợi,,{TARGET},,Lê Lợi lập nhà Lê.,,\r\n"
    );
    let signs = format!("code,place,status\n{TOLD},told,active\nA1B2C2,both,active\n");
    Office::with(Setup::new().registry(&places, &signs))
}

/// Waits until the page of a plate is ours and has a text.
fn wait_for_text(office: &Office, code: &str, text: &str) {
    wait_for(&format!("the page of {code}"), || {
        let reply = office.edge.scan(&format!("/{code}"));
        (reply.status == 200 && reply.body.contains(text)).then_some(())
    });
}

fn approve(approver: &Person, set: &str) {
    approver.see(&format!("/changes/{set}"));
    approver.act("approve");
}

/// Sends the form with some fields changed; the number of the set. (Not by keys: those have no emoji.)
fn send(editor: &Person, changes: &[(&str, &str)]) -> String {
    editor.see("/about/told");
    let mut form = editor.form("form.form");
    for (name, text) in changes {
        form.iter_mut().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}")).1 =
            text.replace('\n', "\r\n");
    }
    let form: Vec<(&str, &str)> = form.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let reply = editor.post("/about/told", &[form.as_slice(), &[("action", "submit")]].concat());
    let location = reply.location().unwrap_or_else(|| panic!("{}", reply.body));
    location.strip_prefix("/changes/").unwrap().to_owned()
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn a_text_is_edited_from_a_phone_and_is_on_the_page_of_the_plate() {
    story(PHONE);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn no_step_of_that_needs_a_script() {
    story(PHONE.without_scripts());
}

fn story(phone: Look) {
    let office = office();
    let editor = office.editor(phone);
    let approver = office.approver(Look { has_scripts: phone.has_scripts, ..DESK });
    let before = office.table("places");
    wait_for_text(&office, TOLD, "1 km");

    // She finds the street by whom it is named after, and sees where its plates lead.
    editor.see("/places?answer=own_page");
    editor.write("[name=q]", "cac vua");
    editor.press("form[role=search] button");
    editor.press("main a[href='/places/told']");
    assert!(editor.text().contains("Trang riêng của hệ thống"), "{}", editor.text());
    assert!(editor.has(&format!("main a[href$='/{TOLD}?lang=vi&c=page']")));

    editor.press("main a[href='/about/told']");
    editor.write("[name=about]", NEW);
    editor.write("[name=reason]", "Đo lại");
    editor.act("submit");
    let set = editor.set();

    // The word that differs is marked, and no plate is said to lead elsewhere.
    approver.see(&format!("/changes/{set}"));
    assert_eq!((&*approver.text_of("main del"), &*approver.text_of("main ins")), ("1", "2"));
    assert!(approver.text().contains("0 biển sẽ dẫn đến trang khác"), "{}", approver.text());
    approver.act("approve");
    wait_for_text(&office, TOLD, "2 km");
    let after = office.table("places");
    assert_eq!(changed_cell(&before, &after), (OLD.to_owned(), NEW.to_owned()));

    // A text in another language gets a column of its own.
    editor.see("/about/told");
    editor.write("[name='about:en']", "The Hùng kings.");
    editor.write("[name=reason]", "Khách nước ngoài");
    editor.act("submit");
    approve(&approver, &editor.set());
    wait_for("the page in English", || {
        let reply = office.edge.scan(&format!("/{TOLD}?lang=en"));
        reply.body.contains("The Hùng kings.").then_some(())
    });
    let records = |text: &str| -> Vec<Vec<String>> {
        let reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        reader.into_records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    };
    let mut expected = records(&after);
    for (row, cell) in expected.iter_mut().zip(["about:en", "The Hùng kings.", ""]) {
        row.push(cell.to_owned());
    }
    assert_eq!(records(&office.table("places")), expected);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn a_page_of_ours_answers_where_a_target_goes_and_a_target_takes_over() {
    let office = office();
    let (editor, approver) = (office.editor(PHONE), office.approver(DESK));
    editor.see("/places/both");
    assert_eq!(office.leads_to("A1B2C2"), TARGET);
    let set = editor.point_elsewhere("", "Trang của phường đóng");
    approver.see(&format!("/changes/{set}"));
    let told = approver.text();
    assert!(told.contains("1 biển sẽ dẫn đến trang khác") && told.contains("trang riêng của hệ thống"), "{told}");
    approver.act("approve");
    wait_for_text(&office, "A1B2C2", "Lê Lợi lập nhà Lê.");

    editor.see("/places/both");
    let set = editor.point_elsewhere(TARGET, "Trang của phường mở lại");
    approver.see(&format!("/changes/{set}"));
    assert!(approver.text().contains("trang riêng của hệ thống") && approver.has(&format!("main a[href='{TARGET}']")));
    approver.act("approve");
    office.wait_for_plate("A1B2C2", TARGET);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn whatever_is_told_is_text_everywhere() {
    let office = office();
    let (editor, approver) = (office.editor(PHONE), office.approver(DESK));
    let decomposed: String = "Đường Hùng Vương ữ".nfd().collect();
    for text in [
        "<script>alert(1)</script>\n\n<b>đậm</b> \"&amp;\" '</textarea><img src=x onerror=alert(2)>",
        "\u{202e}gnơưV gnùH \u{5d0}\u{5d1}\ndòng sau 👨‍👩‍👧 🏯",
        "=HYPERLINK(\"http://evil.example\")\n- một\n- hai",
        &decomposed,
        &"ữ".nfd().collect::<String>().repeat(1000),
        &"🏯".repeat(1000),
    ] {
        let set = send(&editor, &[("about", text), ("namesake", "<i>ai</i>"), ("reason", "Thử")]);
        approve(&approver, &set);
        approver.reload_until("it is applied", |page| page.has("button[value=roll_back]"));
        for page in ["/places/told", "/about/told", &format!("/changes/{set}"), &format!("/history?set={set}")] {
            editor.see(page);
            assert!(editor.letters().contains(text), "{page} lacks {text:?}: {}", editor.letters());
            assert_eq!(editor.count("script, img, main i, main b, [onerror]"), 0, "{page}");
            assert!(editor.overflow() <= 0, "{page}");
        }
        let reader =
            csv::Reader::from_reader(office.table("places").as_bytes()).into_records().next().unwrap().unwrap();
        assert_eq!(reader.get(7), Some(text), "as it was typed, with line breaks of a table");
        // What was not touched makes no set.
        editor.see("/about/told");
        editor.write("[name=reason]", "Không đổi");
        editor.act("submit");
        assert!(editor.text().contains("Chưa có gì thay đổi"), "{}", editor.text());
    }
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn a_text_that_somebody_else_has_changed_is_not_overwritten() {
    let office = office();
    let (editor, approver) = (office.editor(PHONE), office.approver(DESK));
    let set = send(&editor, &[("about", NEW), ("reason", "Đo lại")]);
    editor.see("/about/told");
    editor.write("[name=source]", "Báo Lạng Sơn");
    editor.write("[name=reason]", "Nguồn mới");
    office.edit_by_hand("places", "dài 1 km", "dài 1,5 km");
    wait_for_text(&office, TOLD, "1,5 km");

    // A form that was open meanwhile keeps what was typed, and shows what is there now.
    editor.act("submit");
    assert!(editor.has("main [role=alert]"));
    assert_eq!(editor.attribute("[name=source]", "value"), "Báo Lạng Sơn");
    assert!(editor.attribute("[name=about]", "value").contains("1,5 km"));
    // The set is in conflict, and shows both.
    let by_hand = office.table("places");
    approver.see(&format!("/changes/{set}"));
    let told = approver.letters();
    assert!(told.contains("dài 1 km") && told.contains("dài 1,5 km") && told.contains("dài 2 km"), "{told}");
    assert!(!approver.can("approve"));
    assert_eq!(office.table("places"), by_hand);
}
