//! Accounts as those who use them meet them: on a real file, with a clock of the test's own.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::history::{Filter, list, verify};

const PASSWORD: &str = "nắng vàng bên sông";

struct World {
    folder: tempfile::TempDir,
    database: Arc<Database>,
    accounts: Accounts,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Arc::new(Database::open(&folder.path().join("console.db")).expect("a file"));
        let now = "2026-11-26T10:00:00Z".parse().expect("a time");
        Self { accounts: Accounts::new(database.clone()), database, folder, now }
    }

    /// One with an account of each of these names and roles, in this order.
    fn of(names: &[(&str, Role)]) -> Self {
        let world = Self::new();
        for (name, role) in names {
            let token = world.accounts.invite(world.now, None, &new(name, *role)).expect("an invitation");
            world.accept(&token, PASSWORD).expect("a password");
        }
        world
    }

    fn accept(&self, token: &str, password: &str) -> Result<NewSession, AccountError> {
        self.accounts.accept(self.now, token, ("", password), ("chrome, android", None))
    }

    fn sign_in(&self, name: &str, password: &str, code: &str) -> Option<String> {
        let credentials = Credentials { name, password, code };
        self.accounts.sign_in(self.now, credentials, "firefox, linux", None).ok().map(|session| session.token)
    }

    fn is_in(&self, token: &str) -> bool {
        self.accounts.session(self.now, token).expect("a look").is_some()
    }

    fn pass(&mut self, hours: u64) {
        self.now += Duration::from_secs(hours * 3600);
    }

    /// What the history tells, as `WHO what` of each entry about accounts.
    fn told(&self) -> Vec<String> {
        let told = |connection: &Connection| {
            let entries = list(connection, &Filter::default(), 0, 100)?;
            let mut told: Vec<_> = entries
                .iter()
                .map(|entry| {
                    let what = entry.details["what"].as_str().unwrap_or("signed in");
                    (entry.seq, format!("{:?} {what} {}", entry.account.unwrap_or(0), entry.object))
                })
                .collect();
            told.sort();
            Ok::<_, DatabaseError>(told.into_iter().map(|(_, text)| text).collect())
        };
        let path = self.folder.path().join("console.db");
        let connection = Database::open_to_read(&path).expect("the file");
        let verified = verify(&connection, None).expect("a look");
        assert!(verified.problems.is_empty(), "{:?}", verified.problems);
        self.database.read(told).expect("the history")
    }
}

fn new(name: &str, role: Role) -> NewAccount {
    NewAccount { name: name.to_owned(), role, areas: Vec::new(), applies_first: false }
}

#[test]
fn the_first_account_is_a_managers_and_its_link_holds_once() {
    let world = World::new();
    let old = world.accounts.invite_first(world.now).expect("a look").expect("a link");
    let token = world.accounts.invite_first(world.now).expect("a look").expect("a link");
    assert!(matches!(world.accept(&old, PASSWORD), Err(AccountError::Link)), "the last start's holds no longer");
    for _ in 0..3 {
        let invited = world.accounts.invitation(world.now, &token).expect("a look");
        assert_eq!(invited, Some(Invited::First), "a look uses nothing up");
    }
    let accept = |name| world.accounts.accept(world.now, &token, (name, PASSWORD), ("chrome, android", None));
    assert!(matches!(accept("#1"), Err(AccountError::Name(_))), "a wrong name uses nothing up either");
    let session = accept("Lê Thị Hoa").expect("the first account");
    let (account, _) = world.accounts.session(world.now, &session.token).expect("a look").expect("a session");
    assert_eq!((account.name.as_str(), account.role), ("Lê Thị Hoa", Role::Manager));
    assert!(matches!(accept("eve"), Err(AccountError::Link)));
    assert_eq!(world.accounts.invite_first(world.now).expect("a look"), None);
    assert_eq!(world.told(), ["0 first account account 1", "1 signed in account 1"]);
}

#[test]
fn a_link_is_used_up_by_the_password_and_by_time() {
    let mut world = World::of(&[("hoa", Role::Manager)]);
    let token = world.accounts.invite(world.now, Some(1), &new("lan", Role::Editor)).expect("an invitation");
    let second = world.accounts.invite(world.now, Some(1), &new(" lan ", Role::Editor));
    assert!(matches!(second, Err(AccountError::Taken(_))));
    assert_eq!(world.sign_in("lan", "", ""), None, "an account without a password lets nobody in");
    assert!(matches!(world.accept(&token, "kurz"), Err(AccountError::Password(_))));
    let session = world.accept(&token, PASSWORD).expect("a password").token;
    assert!(world.is_in(&session));
    assert!(matches!(world.accept(&token, "eine andere Losung"), Err(AccountError::Link)), "replayed");
    let late = world.accounts.reset(world.now, Some(1), "lan").expect("a link");
    assert!(!world.is_in(&session) && world.sign_in("lan", PASSWORD, "").is_none(), "a reset ends everything");
    world.pass(72);
    assert!(matches!(world.accept(&late, PASSWORD), Err(AccountError::Link)), "too late");
    assert!(matches!(world.accept("", PASSWORD), Err(AccountError::Link)));
}

#[test]
fn a_session_ends_after_idle_hours_and_after_a_week() {
    let mut world = World::of(&[("hoa", Role::Manager)]);
    let token = world.sign_in("hoa", PASSWORD, "").expect("a session");
    for _ in 0..15 {
        world.pass(11);
        assert!(world.is_in(&token));
    }
    world.pass(3);
    assert!(!world.is_in(&token), "168 hours");
    let token = world.sign_in("hoa", PASSWORD, "").expect("a session");
    world.pass(12);
    assert!(!world.is_in(&token) && world.accounts.sessions(world.now, 1).expect("a list").is_empty());
}

#[test]
fn who_is_signed_in_goes_on_reading_on_a_full_disk() {
    let mut world = World::of(&[("hoa", Role::Manager)]);
    let token = world.sign_in("hoa", PASSWORD, "").expect("a session");
    let full = "CREATE TRIGGER full BEFORE UPDATE ON sessions BEGIN SELECT RAISE(ABORT, 'disk is full'); END";
    world.database.write(|transaction| transaction.execute_batch(full)).expect("a trigger");
    world.pass(1);
    assert!(world.is_in(&token));
}

#[test]
fn a_sign_in_begins_a_session_of_its_own_and_ends_the_browsers_last() {
    let world = World::of(&[("hoa", Role::Manager)]);
    let credentials = Credentials { name: "hoa", password: PASSWORD, code: "" };
    let begin = |previous| world.accounts.sign_in(world.now, credentials, "x", previous).expect("a session").token;
    let planted = "0123456789abcdef0123456789abcdef";
    let first = begin(Some(planted));
    assert!(first != planted && !world.is_in(planted) && world.is_in(&first), "what was planted is worth nothing");
    let second = begin(Some(&first));
    assert!(!world.is_in(&first) && world.is_in(&second), "rotated");
    // Its database has nothing that could be used as a cookie.
    let text: i64 = world
        .database
        .read(|connection| {
            let sql = "SELECT count(*) FROM sessions WHERE hash = ?1 OR hash = CAST(?1 AS BLOB)";
            Ok::<_, DatabaseError>(connection.query_row(sql, [&second], |row| row.get(0))?)
        })
        .expect("a count");
    assert_eq!(text, 0);
}

#[test]
fn another_password_ends_all_sessions_but_the_one_that_set_it() {
    let world = World::of(&[("hoa", Role::Manager), ("lan", Role::Viewer)]);
    let [mine, other] = [(); 2].map(|()| world.sign_in("hoa", PASSWORD, "").expect("a session"));
    let lans = world.sign_in("lan", PASSWORD, "").expect("a session");
    let (_, number) = world.accounts.session(world.now, &mine).expect("a look").expect("a session");
    let change = |old| world.accounts.change_password(world.now, "hoa", (old, "một câu khác dài"), Some(number));
    assert!(matches!(change("wrong, as it happens"), Err(AccountError::Wrong)));
    change(PASSWORD).expect("another password");
    assert_eq!([&mine, &other, &lans].map(|token| world.is_in(token)), [true, false, true]);
    assert!(world.sign_in("hoa", PASSWORD, "").is_none() && world.sign_in("hoa", "một câu khác dài", "").is_some());
}

#[test]
fn a_second_factor_is_asked_for_and_none_is_taken_twice() {
    let mut world = World::of(&[("hoa", Role::Manager)]);
    let secret = TotpSecret::parse("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").expect("a secret");
    // RFC 6238: at 1,111,111,109 s, in the next step, and at 1,234,567,890 s.
    world.now = Timestamp::from_second(1_111_111_109).expect("a time");
    let wrong = world.accounts.add_second_factor(world.now, 1, &secret, "000000");
    assert!(matches!(wrong, Err(AccountError::Code)));
    let codes = world.accounts.add_second_factor(world.now, 1, &secret, "081804").expect("a second factor");
    assert_eq!(world.accounts.recovery_codes(1).expect("a count"), 10);
    assert_eq!(world.sign_in("hoa", PASSWORD, ""), None, "without");
    assert_eq!(world.sign_in("hoa", PASSWORD, "081804"), None, "the digits that set it up are used");
    assert_eq!(world.sign_in("hoa", "wrong, as it happens", "050471"), None);
    assert!(world.sign_in("hoa", PASSWORD, "050471").is_some(), "the next step's");
    assert_eq!(world.sign_in("hoa", PASSWORD, "050471"), None, "a replay");
    world.now = Timestamp::from_second(1_234_567_890).expect("a time");
    assert!(world.sign_in("hoa", PASSWORD, "005924").is_some());
    let typed = codes[3].to_lowercase();
    assert!(world.sign_in("hoa", PASSWORD, &typed).is_some(), "a recovery code");
    assert_eq!(world.sign_in("hoa", PASSWORD, &typed), None, "once");
    assert_eq!(world.accounts.recovery_codes(1).expect("a count"), 9);
    world.accounts.remove_second_factor(world.now, 1).expect("none");
    assert!(world.sign_in("hoa", PASSWORD, "").is_some());
}

#[test]
fn the_last_manager_stays() {
    let world = World::of(&[("hoa", Role::Manager), ("lan", Role::Editor)]);
    let rights = |role| Rights { role, areas: Vec::new(), applies_first: false };
    let accounts = &world.accounts;
    let refused = |result: Result<(), AccountError>| matches!(result, Err(AccountError::LastManager));
    // One who is invited has not signed in, and may never.
    accounts.invite(world.now, Some(1), &new("new", Role::Manager)).expect("an invitation");
    assert!(refused(accounts.change_rights(world.now, 1, 1, &rights(Role::Editor))));
    assert!(refused(accounts.disable(world.now, 1, 1, true)) && refused(accounts.erase(world.now, 1, 1)));
    accounts.change_rights(world.now, 1, 2, &rights(Role::Manager)).expect("another manager");
    accounts.disable(world.now, 2, 1, true).expect("disabled");
    assert!(refused(accounts.erase(world.now, 2, 2)), "now lan is the last");
    assert!(matches!(accounts.erase(world.now, 2, 99), Err(AccountError::Unknown)));
}

#[test]
fn who_is_disabled_or_erased_is_out_and_the_history_keeps_a_number() {
    let world = World::of(&[("hoa", Role::Manager), ("lan", Role::Editor)]);
    let token = world.sign_in("lan", PASSWORD, "").expect("a session");
    world.accounts.disable(world.now, 1, 2, true).expect("disabled");
    assert!(!world.is_in(&token) && world.sign_in("lan", PASSWORD, "").is_none());
    world.accounts.disable(world.now, 1, 2, false).expect("enabled");
    assert!(!world.is_in(&token) && world.sign_in("lan", PASSWORD, "").is_some());
    world.accounts.erase(world.now, 1, 2).expect("erased");
    assert_eq!([world.sign_in("lan", PASSWORD, ""), world.sign_in("#2", PASSWORD, "")], [None, None]);
    let all = world.accounts.all().expect("a list");
    assert_eq!(all[1].name, "#2");
    assert!(
        world.accounts.named("lan").expect("a look").is_none() && world.accounts.named("#2").expect("a look").is_none()
    );
    let told = world.told();
    assert_eq!(
        told[5..],
        ["1 disabled account 2", "1 enabled account 2", "2 signed in account 2", "1 erased account 2"]
    );
    let all: String = world
        .database
        .read(|connection| {
            let sql = "SELECT group_concat(object || details || reason) FROM history";
            Ok::<_, DatabaseError>(connection.query_row(sql, [], |row| row.get(0))?)
        })
        .expect("the history");
    assert!(!all.contains("lan"), "{all}");
    // Its number is nobody else's.
    let next = world.accounts.invite(world.now, Some(1), &new("lan", Role::Editor)).expect("an invitation");
    assert_eq!(world.accept(&next, PASSWORD).expect("a password").account, 3);
}

#[test]
fn a_name_is_known_however_it_is_composed() {
    let world = World::of(&[("Lê Thị Hoa", Role::Manager)]);
    let decomposed: String = "Lê Thị Hoa".nfd().collect();
    assert!(world.sign_in(&decomposed, PASSWORD, "").is_some());
    for name in ["", " ", "#3", "a\nb", &"a".repeat(65)] {
        let result = world.accounts.invite(world.now, None, &new(name, Role::Viewer));
        assert!(matches!(result, Err(AccountError::Name(_))), "{name:?}");
    }
}

#[test]
fn areas_narrow_what_an_account_may_do() {
    let mut account = World::of(&[("lan", Role::Editor)]).accounts.named("lan").expect("a look").expect("an account");
    let may = |account: &Account, right, areas: &[&str]| account.may(right, areas.iter().copied());
    assert!(may(&account, Right::Propose, &["Kỳ Lừa", ""]) && !may(&account, Right::Approve, &[]));
    assert!(!may(&account, Right::ApplyFirst, &["Kỳ Lừa"]));
    account.areas = vec!["Kỳ Lừa".to_owned()];
    account.applies_first = true;
    assert!(may(&account, Right::ApplyFirst, &["Kỳ Lừa"]) && may(&account, Right::Propose, &[]));
    assert!(!may(&account, Right::Propose, &["Kỳ Lừa", "Đông Kinh"]) && !may(&account, Right::Propose, &[""]));
    account.areas = vec!["Kỳ Lừa".nfd().collect()];
    assert!(may(&account, Right::Propose, &["Kỳ Lừa"]), "as a table spells it");
}
