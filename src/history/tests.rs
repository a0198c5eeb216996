//! The history keeps what was done, and shows that it was changed.
#![allow(clippy::unwrap_used, reason = "a test that can't go on panics")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use super::*;

struct Kept {
    folder: TempDir,
    database: Database,
}

fn kept() -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("data/console.db")).unwrap();
    Kept { folder, database }
}

impl Kept {
    fn path(&self) -> PathBuf {
        self.folder.path().join("data/console.db")
    }

    /// Appends an entry; the head after it.
    fn add(&self, second: i64, action: Action, account: Option<i64>, about: &[&str]) -> Head {
        let entry = NewEntry {
            account,
            action,
            object: "set 17",
            change_set: Some(17),
            reason: "đổi trang",
            approver: None,
            generations: Some((1, 2)),
            details: json!({"cells": []}),
        };
        let about: BTreeSet<String> = about.iter().map(|&object| object.to_owned()).collect();
        let now = Timestamp::from_second(second).unwrap();
        self.database.write(|transaction| append_about(transaction, now, &entry, about)).unwrap()
    }

    fn filled() -> Self {
        let kept = kept();
        for second in 1..=5 {
            kept.add(second, Action::Approved, Some(2), &["signs A1B2C3", "places one"]);
        }
        kept
    }

    /// What somebody does who may write the file, and knows of the triggers.
    fn tamper(&self, sql: &str) {
        let connection = Connection::open(self.path()).unwrap();
        let triggers = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'";
        let triggers: Vec<(String, String)> = connection
            .prepare(triggers)
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for (name, _) in &triggers {
            connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
        connection.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}")).unwrap();
        for (_, sql) in &triggers {
            connection.execute_batch(sql).unwrap();
        }
    }

    fn problems(&self, noted: Option<(i64, u64)>) -> Vec<String> {
        self.database.read(|connection| verify(connection, noted)).unwrap().problems
    }

    fn list(&self, filter: &Filter) -> Vec<i64> {
        let entries = self.database.read(|connection| list(connection, filter, 0, 100)).unwrap();
        entries.into_iter().map(|entry| entry.seq).collect()
    }
}

#[test]
fn the_file_is_its_owners_alone() {
    let kept = Kept::filled();
    for file in ["console.db", "console.db-wal"] {
        let mode = kept.path().with_file_name(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_whole_history_has_no_problems_and_stays_over_a_restart() {
    let mut kept = Kept::filled();
    let head = kept.add(6, Action::SignedIn, Some(2), &[]);
    kept.database = Database::open(&kept.path()).unwrap();
    assert_eq!(kept.database.read(super::head).unwrap(), head);
    let found = kept.database.read(|connection| verify(connection, Some((head.seq, head.first_bits())))).unwrap();
    assert_eq!(found, Verification { entries: 6, head, problems: Vec::new() });
    assert_eq!(noted_head(&head.to_string()).unwrap(), (head.seq, head.first_bits()));
    let reader = Database::open_to_read(&kept.path()).unwrap();
    assert_eq!(verify(&reader, None).unwrap().entries, 6);
}

#[test]
fn sqlite_itself_refuses_to_change_or_cut_it() {
    let kept = Kept::filled();
    for sql in [
        "UPDATE history SET reason = 'x' WHERE seq = 2",
        "DELETE FROM history WHERE seq = 5",
        "UPDATE history_objects SET object = 'x'",
        "DELETE FROM history_objects",
        "INSERT INTO history SELECT 7, time, account, action, object, change_set, reason, approver, before, after, \
         details, previous, hash FROM history WHERE seq = 5",
    ] {
        let refused = kept.database.write(|transaction| transaction.execute(sql, [])).unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{sql}: {refused}");
    }
    assert_eq!(kept.problems(None), [""; 0]);
}

#[test]
fn what_was_changed_is_found() {
    let changed = |column: &str, value: &str| format!("UPDATE history SET {column} = {value} WHERE seq = 3");
    let field = "entry 3: expected the hash of its fields, found another: it was changed";
    let link = "the chain is forked";
    for (sql, expected) in [
        (changed("time", "time + 1"), vec![field]),
        (changed("account", "NULL"), vec![field]),
        (changed("action", "'refused'"), vec![field]),
        (changed("object", "'set 1'"), vec![field]),
        (changed("change_set", "1"), vec![field]),
        (changed("reason", "''"), vec![field]),
        (changed("approver", "1"), vec![field]),
        (changed("before", "NULL"), vec![field]),
        (changed("after", "3"), vec![field]),
        (changed("details", "'{}'"), vec![field]),
        (changed("previous", "zeroblob(32)"), vec![link, field]),
        (changed("hash", "zeroblob(32)"), vec![field, "entry 4: expected the hash of the entry before it"]),
        ("DELETE FROM history_objects WHERE seq = 3 AND object = 'places one'".to_owned(), vec![field]),
        ("INSERT INTO history_objects VALUES ('signs A1B2C4', 3)".to_owned(), vec![field]),
        (
            "DELETE FROM history WHERE seq = 3; DELETE FROM history_objects WHERE seq = 3".to_owned(),
            vec!["entry 4: expected entry 3 here: entries are missing", link],
        ),
        ("DELETE FROM history WHERE seq = 5".to_owned(), vec!["expected every object with its entry, found 2 without"]),
    ] {
        let kept = Kept::filled();
        kept.tamper(&sql);
        let found = kept.problems(None);
        // SQLite's objects without their entry, of the last one: two and the set itself.
        let fits = |(found, expected): (&String, &&str)| found.contains(expected) || found.contains("found 3 without");
        assert!(found.len() == expected.len() && found.iter().zip(&expected).all(fits), "{sql}: {found:?}");
    }
}

#[test]
fn a_head_that_was_noted_shows_an_end_that_was_cut_and_a_chain_that_was_made_anew() {
    let kept = Kept::filled();
    let head = kept.database.read(super::head).unwrap();
    let noted = Some((head.seq, head.first_bits()));
    let later = kept.add(6, Action::Applied, None, &[]);
    assert_eq!(kept.problems(noted), [""; 0]);

    kept.tamper("DELETE FROM history_objects WHERE seq > 4; DELETE FROM history WHERE seq > 4");
    assert_eq!(kept.problems(None), [""; 0], "the file itself can't tell");
    let cut = kept.problems(noted);
    assert_eq!(cut, ["expected entry 5, which was noted, found 4 as the last: the end was cut off"]);

    kept.add(99, Action::Approved, Some(2), &[]);
    kept.add(6, Action::Applied, None, &[]);
    assert_eq!(kept.problems(None), [""; 0]);
    for (seq, bits) in [(head.seq, head.first_bits()), (later.seq, later.first_bits())] {
        let forked = kept.problems(Some((seq, bits)));
        assert!(forked.len() == 1 && forked[0].contains("was written anew"), "{forked:?}");
    }
}

#[test]
fn a_trigger_that_is_gone_or_another_is_found() {
    let kept = Kept::filled();
    let connection = Connection::open(kept.path()).unwrap();
    connection.execute_batch("DROP TRIGGER history_is_never_cut; DROP TRIGGER history_is_never_changed; CREATE TRIGGER history_is_never_changed BEFORE UPDATE ON history BEGIN SELECT 1; END").unwrap();
    let found = kept.problems(None);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("history_is_never_changed") && found[0].ends_with("found another"), "{found:?}");
    assert!(found[1].contains("history_is_never_cut") && found[1].ends_with("found none"), "{found:?}");
}

#[test]
fn what_fails_leaves_nothing() {
    let kept = Kept::filled();
    let entry = NewEntry {
        account: None,
        action: Action::Outside,
        object: "signs.csv",
        change_set: None,
        reason: "",
        approver: None,
        generations: None,
        details: json!({}),
    };
    let failed = kept.database.write(|transaction| {
        append(transaction, Timestamp::UNIX_EPOCH, &entry)?;
        transaction.execute("INSERT INTO nowhere VALUES (1)", [])
    });
    failed.unwrap_err();
    assert_eq!(kept.list(&Filter::default()), [5, 4, 3, 2, 1]);
}

#[test]
fn entries_are_found_by_what_they_are_about() {
    let kept = kept();
    kept.add(10, Action::Submitted, Some(1), &["signs A1B2C3"]);
    kept.add(20, Action::Approved, Some(2), &["signs A1B2C3", "places one"]);
    kept.add(30, Action::Applied, Some(1), &["signs A1B2C4"]);
    let at = |second| Some(Timestamp::from_second(second).unwrap());
    let all = Filter::default;
    for (filter, expected) in [
        (all(), vec![3, 2, 1]),
        (Filter { account: Some(1), ..all() }, vec![3, 1]),
        (Filter { actions: vec![Action::Approved, Action::Applied], ..all() }, vec![3, 2]),
        (Filter { change_set: Some(18), ..all() }, vec![]),
        (Filter { objects: vec!["signs A1B2C3".into()], ..all() }, vec![2, 1]),
        (Filter { objects: vec!["signs A1B2C4".into(), "places one".into()], ..all() }, vec![3, 2]),
        (Filter { objects: vec!["set 17".into()], ..all() }, vec![3, 2, 1]),
        (Filter { from: at(20), to: at(30), ..all() }, vec![2]),
        (Filter { account: Some(1), objects: vec!["signs A1B2C3".into()], ..all() }, vec![1]),
    ] {
        assert_eq!(kept.list(&filter), expected, "{filter:?}");
    }
    let page = kept.database.read(|connection| list(connection, &all(), 1, 1)).unwrap();
    assert_eq!(page.len(), 1);
    assert_eq!((page[0].seq, page[0].action, page[0].generations), (2, Action::Approved, Some((1, 2))));
}

#[test]
fn a_file_of_a_later_release_or_of_another_program_is_left_alone() {
    let kept = kept();
    Connection::open(kept.path()).unwrap().execute_batch("PRAGMA user_version = 9").unwrap();
    let refused = Database::open(&kept.path()).unwrap_err();
    assert!(matches!(refused, DatabaseError::Version { expected: 1, found: 9 }), "{refused}");
    let other = kept.folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(Database::open(&other), Err(DatabaseError::Foreign(_))));
    assert!(matches!(Database::open_to_read(&other), Err(DatabaseError::Foreign(_))));
    assert!(matches!(Database::open_to_read(&kept.folder.path().join("none.db")), Err(DatabaseError::Io { .. })));
}

#[test]
fn a_file_that_needs_nothing_is_opened_without_a_write() {
    let kept = Kept::filled();
    let other = Connection::open(kept.path()).unwrap();
    // It holds what each write takes; and a full disk would refuse any.
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let again = Database::open(&kept.path()).unwrap();
    assert_eq!(again.read(super::head).unwrap().seq, 5);
}

#[test]
fn a_file_that_is_gone_or_another_is_neither_read_nor_written() {
    let kept = Kept::filled();
    let [backup, away] = ["backup.db", "away.db"].map(|name| kept.folder.path().join(name));
    Connection::open(kept.path()).unwrap().execute("VACUUM INTO ?1", [backup.to_str()]).unwrap();
    let write = || kept.database.write(|transaction| transaction.execute("DELETE FROM sessions", []));
    let read = || kept.database.read(super::head);
    let is_used = || [write().is_ok(), read().is_ok()];
    assert_eq!(is_used(), [true; 2]);
    std::fs::rename(kept.path(), &away).unwrap();
    assert_eq!(is_used(), [false; 2], "gone");
    std::fs::copy(&away, kept.path()).unwrap();
    assert_eq!(is_used(), [false; 2], "replaced by a copy");
    std::fs::rename(backup, kept.path()).unwrap();
    assert_eq!(is_used(), [false; 2], "replaced by a backup");
    for said in [write().unwrap_err().to_string(), read().unwrap_err().to_string()] {
        assert!(said.contains("expected the file that was opened at the start"), "{said}");
    }
    assert_eq!(Database::open(&kept.path()).unwrap().read(super::head).unwrap().seq, 5);
    std::fs::rename(&away, kept.path()).unwrap();
    assert_eq!(is_used(), [true; 2], "it is back");
    assert_eq!(read().unwrap().seq, 5);
    std::fs::remove_file(kept.path()).unwrap();
    assert_eq!(is_used(), [false; 2], "deleted");
}

#[test]
fn readers_see_one_time_and_wait_for_no_writer() {
    let kept = Kept::filled();
    let last = |connection: &Connection| super::head(connection).map(|head| head.seq);
    kept.database
        .read(|connection| {
            assert_eq!(last(connection)?, 5);
            kept.add(6, Action::Applied, None, &[]);
            assert_eq!(last(connection)?, 5, "the snapshot");
            kept.database.write(|_| {
                assert_eq!(kept.database.read(last)?, 6, "a reader beside a writer");
                Ok::<_, rusqlite::Error>(())
            })
        })
        .unwrap();
}

#[test]
fn what_is_no_head_is_said() {
    for text in ["", "5", "5:12", "-1:0123456789abcdef", "x:0123456789abcdef", "5:+123456789abcdef"] {
        assert!(noted_head(text).is_err(), "{text}");
    }
    assert_eq!(noted_head(" 5:00000000000000ff\n").unwrap(), (5, 255));
}

#[test]
fn after_the_stop_a_copy_of_the_file_alone_is_whole() {
    let kept = Kept::filled();
    kept.database.merge_log().unwrap();
    let copy = kept.folder.path().join("copy.db");
    std::fs::copy(kept.path(), &copy).unwrap();
    let copy = Database::open_to_read(&copy).unwrap();
    assert_eq!(head(&copy).unwrap(), kept.database.read(head).unwrap());
    assert_eq!(verify(&copy, None).unwrap().problems, [""; 0]);
}

#[test]
fn one_process_applies_sets_and_commands_may_look_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("console.db");
    let first = Database::open_alone(&path).unwrap();
    assert!(matches!(Database::open_alone(&path), Err(DatabaseError::InUse(_))));
    assert!(Database::open(&path).is_ok());
    drop(first);
    assert!(Database::open_alone(&path).is_ok());
}
