//! What was approved for a time is applied at that time, and at the next start where the process was down then.
//!
//! The form's field takes minutes. So as not to wait for one, a time is posted with seconds, which the server takes too.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::office::{NEW_PAGE, Office, Person, SIGN, STREET, STREET_PAGE};
use crate::support::browser::DESK;
use crate::support::wait_for;

/// What the form can say: seconds, without a fraction.
fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap()
}

/// A set that points a place elsewhere at a time; its page.
fn propose(editor: &Person, place: &str, page: &str, at: Timestamp) -> String {
    let zone = TimeZone::get("Asia/Ho_Chi_Minh").unwrap();
    let effective = at.to_zoned_datetime(zone).strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let path = format!("/places/{place}");
    editor.see(&path);
    let mut form = editor.form("form:has([name=target])");
    form.retain(|(name, _)| !["target", "effective", "reason"].contains(&name.as_str()));
    let own = [("target", page), ("effective", &effective), ("reason", "Giỗ Tổ"), ("action", "submit")];
    let form = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(own);
    let reply = editor.post(&path, &form.collect::<Vec<_>>());
    assert_eq!(reply.status, 303, "{}", reply.body);
    reply.location().unwrap().to_owned()
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn at_its_time_and_not_before() {
    let office = Office::open();
    let (editor, approver) = (office.editor(DESK), office.approver(DESK));
    let time = whole(Timestamp::now()) + 10.seconds();
    approver.see(&propose(&editor, STREET, NEW_PAGE, time));
    approver.act("approve");
    let led = office.leads_to(SIGN);
    assert!(led == STREET_PAGE || Timestamp::now() >= time, "too early");
    office.wait_for_plate(SIGN, NEW_PAGE);
    assert!(Timestamp::now() >= time);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn at_the_next_start_in_order_where_the_process_was_down() {
    let mut office = Office::open();
    let (editor, approver) = (office.editor(DESK), office.approver(DESK));
    let later = whole(Timestamp::now()) + 22.seconds();
    let other = "https://langson.gov.vn/vi/le-hoi/le-loi";
    // What is made first is due last.
    for (place, page, time) in [(STREET, NEW_PAGE, later), ("st003", other, later - 1.second())] {
        approver.see(&propose(&editor, place, page, time));
        approver.act("approve");
    }
    office.edge.stop();
    assert_eq!(office.applied(), [0; 0], "nothing was due before the end");
    wait_for("their time", || (Timestamp::now() > later).then_some(()));
    office.edge.start();
    office.wait_for_plate(SIGN, NEW_PAGE);
    wait_for("both are in the history", || (office.applied() == [2, 1]).then_some(()));
}
