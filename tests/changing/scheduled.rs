//! A set is applied at its time, and not before; those of a time at which the process was down at its start, in their
//! order.

use std::time::Duration;

use jiff::Timestamp;
use waypost::changes::{Draft, State};
use waypost::history::Action;
use waypost::source::TableName::Signs;

use crate::office::{Office, cell, draft, setup};
use crate::support::wait_for;

fn to(old: &str, new: &str, effective: Timestamp) -> Draft {
    let page = |name: &str| format!("https://example.vn/{name}");
    let effective = Timestamp::from_millisecond(effective.as_millisecond()).unwrap();
    Draft { effective: Some(effective), ..draft(vec![cell(Signs, "A1B2C3", "target", &page(old), &page(new))]) }
}

#[test]
fn a_set_is_applied_at_its_time() {
    let office = Office::start(setup());
    let number = office.approved(&to("own", "later", Timestamp::now() + Duration::from_secs(2)));
    let at_once = office.approved(&draft(vec![cell(Signs, "A1B2C4", "note", "", "đã đổi")]));
    office.wait_until(at_once, State::Applied);
    let set = office.set(number);
    if set.state == State::Approved {
        assert_eq!(office.location("A1B2C3"), "https://example.vn/own");
    }
    let set = office.wait_until(number, State::Applied);
    assert!(set.applied >= set.effective, "{set:?}");
    wait_for("it is served", || (office.location("A1B2C3") == "https://example.vn/later").then_some(()));
    office.wait_until_settled();
    office.assert_agreement();
}

#[test]
fn what_became_due_while_the_process_was_down_is_applied_at_its_start_in_order() {
    let mut office = Office::start(setup());
    let soon = |ms| Timestamp::now() + Duration::from_millis(ms);
    office.edge.stop();
    // The later a set's time is, the earlier it was made; each goes on from the one before.
    let third = office.approved(&to("second", "third", soon(300)));
    let second = office.approved(&to("first", "second", soon(200)));
    let first = office.approved(&to("own", "first", soon(100)));
    let far = office.approved(&to("third", "far", soon(3_600_000)));
    wait_for("all but the last are due", || (Some(Timestamp::now()) > office.set(third).effective).then_some(()));
    office.edge.start();
    office.wait_until(third, State::Applied);
    let applied: Vec<_> = office.entries_of(Action::Applied).iter().filter_map(|entry| entry.change_set).collect();
    assert_eq!(applied, [first, second, third]);
    assert_eq!(office.location("A1B2C3"), "https://example.vn/third");
    assert_eq!(office.set(far).state, State::Approved);
}
