//! A file that was moved, replaced or removed under a running edge takes no scan with it in silence:
//! the store is opened anew at its path, and what went with the journal is counted as lost.

use std::fs;

use crate::support::{Edge, Setup, wait_for};
use rusqlite::Connection;

fn scan(edge: &Edge, times: usize) {
    (0..times).for_each(|_| assert_eq!(edge.scan("/A1B2C3").status, 302));
}

/// Scans that wait in the journal, because somebody has locked the store.
fn scan_and_wait(edge: &Edge, times: usize) -> Connection {
    wait_for("the store is there", || edge.setup.path("data/waypost.db").exists().then_some(()));
    let database = edge.database();
    wait_for("the store is locked", || database.execute_batch("BEGIN EXCLUSIVE").ok());
    scan(edge, times);
    database
}

fn rows(database: &Connection) -> u32 {
    database.query_row("SELECT count(*) FROM scans", [], |row| row.get(0)).unwrap()
}

fn lost(edge: &Edge) -> f64 {
    edge.metrics().get("waypost_scans_lost_total{reason=\"journal_removed\"}")
}

fn remove_store(edge: &Edge) {
    for name in ["waypost.db", "waypost.db-wal", "waypost.db-shm"] {
        fs::remove_file(edge.setup.path("data").join(name)).ok();
    }
}

#[test]
fn a_store_that_was_removed_is_made_anew_and_gets_every_later_scan() {
    let mut edge = Setup::new().start();
    scan(&edge, 5);
    edge.wait_until_stored();
    remove_store(&edge);
    scan(&edge, 30);
    edge.wait_until_stored();
    assert!(edge.log().contains("moved, replaced or removed"), "{}", edge.log());
    assert_eq!(edge.metrics().get("waypost_store_replaced_total"), 1.0);
    edge.metrics().assert_books_balance();
    edge.stop();
    assert_eq!(edge.counts().get("A1B2C3"), Some(&30), "the five went with the old file");
}

#[test]
fn a_log_of_the_store_that_was_removed_alone_takes_nothing_with_it() {
    let mut edge = Setup::new().start();
    for (count, end) in (1..).zip(["wal", "shm"]) {
        scan(&edge, 5);
        edge.wait_until_stored();
        fs::remove_file(edge.setup.path(&format!("data/waypost.db-{end}"))).unwrap();
        scan(&edge, 6);
        edge.wait_until_stored();
        assert_eq!(edge.metrics().get("waypost_store_replaced_total"), f64::from(count));
    }
    // What was committed is in files that have a name.
    edge.kill();
    assert_eq!(rows(&edge.database()), 22);
}

#[test]
fn a_store_behind_a_link_is_looked_after_where_it_is() {
    let setup = Setup::new().set("store", "path", "\"../data/link.db\"");
    fs::create_dir_all(setup.path("data/real")).unwrap();
    std::os::unix::fs::symlink("real/scans.db", setup.path("data/link.db")).unwrap();
    let mut edge = setup.start();
    scan(&edge, 5);
    edge.wait_until_stored();
    fs::remove_file(edge.setup.path("data/real/scans.db-wal")).unwrap();
    scan(&edge, 6);
    edge.wait_until_stored();
    edge.kill();
    assert_eq!(rows(&Connection::open(edge.setup.path("data/real/scans.db")).unwrap()), 11);
}

#[test]
fn a_batch_that_was_damaged_is_not_taken_for_another_when_it_comes_back_whole() {
    let mut edge = Setup::new().start();
    let database = scan_and_wait(&edge, 150);
    let journal = edge.setup.path("data/journal");
    edge.kill();
    drop(database);
    let segments = waypost::journal::segments(&journal).unwrap();
    let by_size = |(path, _): &&(std::path::PathBuf, waypost::journal::SegmentState)| {
        waypost::journal::read(path).unwrap().scans.len()
    };
    let (path, _) = segments.iter().max_by_key(by_size).unwrap();
    let whole = fs::read(path).unwrap();
    let sealed = path.with_extension("sealed");
    // Its first block of scans is left.
    fs::remove_file(path).unwrap();
    fs::write(&sealed, &whole[..8192]).unwrap();
    edge.start();
    edge.wait_until_stored();
    let before = edge.counts()["A1B2C3"];
    assert!(before < 150);
    fs::write(&sealed, &whole).unwrap();
    wait_for("it is set aside", || (edge.metrics().get("waypost_journal_quarantine_files") == 2.0).then_some(()));
    assert!(edge.log().contains("was stored in part already"));
    // A person who knows that takes the damaged one away; the embedded store takes what was missing.
    fs::remove_dir_all(journal.join("quarantine")).unwrap();
    fs::write(&sealed, &whole).unwrap();
    wait_for("all are there", || (edge.counts()["A1B2C3"] == 150).then_some(()));
    edge.wait_until_stored();
    edge.metrics().assert_books_balance();
}

#[test]
fn a_copy_of_a_segment_that_is_written_to_does_not_take_its_place() {
    let mut edge = Setup::new().set("journal", "seal_after", "\"8s\"").start();
    let journal = edge.setup.path("data/journal");
    scan(&edge, 10);
    let copy = |journal: &std::path::Path| {
        for (path, _) in waypost::journal::segments(journal).unwrap() {
            fs::copy(&path, path.with_extension("sealed")).unwrap();
        }
    };
    wait_for("the next segment is ready", || {
        let sizes = waypost::journal::segments(&journal).unwrap().into_iter().map(|(path, _)| fs::metadata(path));
        let sizes: Vec<u64> = sizes.map(|file| file.unwrap().len()).collect();
        (sizes.len() == 2 && edge.metrics().get("waypost_journal_bytes") == sizes.iter().sum::<u64>() as f64)
            .then_some(())
    });
    // Of the one that is written to, and of the spare one, which has no scans.
    copy(&journal);
    wait_for("both are set aside", || (edge.metrics().get("waypost_journal_quarantine_files") == 2.0).then_some(()));
    assert!(edge.log().contains("is a copy of a segment that is still written to"));
    scan(&edge, 20);
    edge.metrics().assert_books_balance();
    fs::remove_dir_all(journal.join("quarantine")).unwrap();
    copy(&journal);
    edge.kill();
    edge.start();
    edge.wait_until_stored();
    edge.metrics().assert_books_balance();
    assert_eq!(edge.counts().get("A1B2C3"), Some(&30));
}

#[test]
fn a_database_of_something_else_is_not_written_to() {
    let setup = Setup::new();
    fs::create_dir(setup.path("data")).unwrap();
    let path = setup.path("data/waypost.db");
    for (sql, said) in [
        (
            "CREATE TABLE customers (name TEXT)",
            "expected a database of Waypost (store.path), found one of another program",
        ),
        (
            "DROP TABLE customers; PRAGMA user_version = 7",
            "expected version 1 to 3 of the tables, found 7, which is a later release's",
        ),
    ] {
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let before = fs::read(&path).unwrap();
        let mut edge = Setup::new().set("store", "path", format!("\"{}\"", path.display())).start();
        scan(&edge, 1);
        wait_for("it is refused", || edge.log().contains(said).then_some(()));
        edge.stop();
        assert_eq!(fs::read(&path).unwrap(), before, "{said}");
    }
}

#[test]
fn a_segment_under_another_name_is_set_aside_and_counted_once() {
    let mut edge = Setup::new().start();
    let database = scan_and_wait(&edge, 5);
    let journal = edge.setup.path("data/journal");
    let copy = || {
        let segments = waypost::journal::segments(&journal).unwrap();
        let (path, _) =
            segments.into_iter().find(|(_, state)| *state == waypost::journal::SegmentState::Sealed).unwrap();
        fs::copy(path, journal.join(format!("{}.sealed", uuid::Uuid::now_v7()))).unwrap();
    };
    wait_for("a batch", || (edge.metrics().get("waypost_journal_sealed_segments") > 0.0).then_some(()));
    copy();
    wait_for("the copy is set aside", || (edge.metrics().get("waypost_journal_quarantine_files") == 1.0).then_some(()));
    assert!(edge.log().contains("under another name"));
    edge.kill();
    copy();
    database.execute_batch("ROLLBACK").unwrap();
    edge.start();
    edge.wait_until_stored();
    assert_eq!(edge.metrics().get("waypost_journal_quarantine_files"), 2.0);
    assert_eq!(edge.counts().get("A1B2C3"), Some(&5));
    edge.metrics().assert_books_balance();
}

#[test]
fn a_store_that_was_moved_keeps_what_it_had() {
    let edge = Setup::new().start();
    scan(&edge, 5);
    edge.wait_until_stored();
    // Its write-ahead log stays behind, with all five in it.
    fs::rename(edge.setup.path("data/waypost.db"), edge.setup.path("data/old.db")).unwrap();
    scan(&edge, 7);
    edge.wait_until_stored();
    assert_eq!(rows(&Connection::open(edge.setup.path("data/old.db")).unwrap()), 5);
    assert_eq!(edge.counts().get("A1B2C3"), Some(&7));
}

#[test]
fn a_store_that_was_put_back_from_a_backup_goes_on_from_there() {
    let mut edge = Setup::new().start();
    scan(&edge, 5);
    edge.wait_until_stored();
    edge.stop();
    fs::copy(edge.setup.path("data/waypost.db"), edge.setup.path("data/backup.db")).unwrap();
    edge.start();
    scan(&edge, 4);
    edge.wait_until_stored();
    remove_store(&edge);
    fs::rename(edge.setup.path("data/backup.db"), edge.setup.path("data/waypost.db")).unwrap();
    scan(&edge, 3);
    edge.wait_until_stored();
    assert_eq!(edge.counts().get("A1B2C3"), Some(&8));
}

#[test]
fn a_batch_that_was_stored_in_a_file_that_is_gone_is_stored_again() {
    let edge = Setup::new().start();
    let database = scan_and_wait(&edge, 6);
    wait_for("it is tried", || (edge.metrics().get("waypost_journal_sealed_segments") > 0.0).then_some(()));
    // At this moment the edge waits for the lock, or asks for it again soon.
    remove_store(&edge);
    database.execute_batch("ROLLBACK").unwrap();
    edge.wait_until_stored();
    assert_eq!(edge.counts().get("A1B2C3"), Some(&6));
    edge.metrics().assert_books_balance();
}

#[test]
fn a_journal_that_was_removed_is_counted_as_lost_and_goes_on() {
    let mut edge = Setup::new().set("edge", "workers", "2").start();
    let database = scan_and_wait(&edge, 40);
    wait_for("some are sealed", || (edge.metrics().get("waypost_journal_sealed_segments") > 0.0).then_some(()));
    let journal = edge.setup.path("data/journal");
    // A segment may be made in it at the same moment.
    wait_for("the folder is removed", || fs::remove_dir_all(&journal).ok());
    wait_for("scans are kept again", || {
        scan(&edge, 1);
        edge.metrics().assert_books_balance();
        let segments = waypost::journal::segments(&journal).ok()?;
        segments.iter().any(|(path, _)| waypost::journal::read(path).is_ok_and(|read| read.written() > 0)).then_some(())
    });
    database.execute_batch("ROLLBACK").unwrap();
    edge.wait_until_stored();
    edge.metrics().assert_books_balance();
    assert!(edge.log().contains("its scans are lost"));
    let (lost, recorded) = (lost(&edge) as u64, edge.metrics().total("waypost_scans_recorded_total"));
    edge.stop();
    // (A batch that was being delivered at that moment is not lost.)
    let counted = edge.counts()["A1B2C3"];
    assert!(
        lost > 0 && counted > 0 && counted + lost == recorded,
        "{counted} counted, {lost} lost, {recorded} recorded"
    );
}

#[test]
fn a_segment_that_was_removed_is_counted_as_lost_and_the_others_go_on() {
    let edge = Setup::new().start();
    let database = scan_and_wait(&edge, 3);
    let journal = edge.setup.path("data/journal");
    // The first is being delivered; a later one is not.
    let (path, _) = wait_for("two are sealed", || {
        scan(&edge, 1);
        let segments = waypost::journal::segments(&journal).unwrap();
        segments.into_iter().filter(|(_, state)| *state == waypost::journal::SegmentState::Sealed).nth(1)
    });
    let in_it = waypost::journal::read(&path).unwrap().scans.len() as u64;
    fs::remove_file(&path).unwrap();
    wait_for("it is counted", || (lost(&edge) > 0.0).then_some(()));
    scan(&edge, 4);
    database.execute_batch("ROLLBACK").unwrap();
    edge.wait_until_stored();
    assert_eq!(edge.status()["scans"]["lost"]["journal_removed"], in_it);
    let recorded = edge.status()["scans"]["recorded"].as_u64().unwrap();
    assert_eq!(edge.counts()["A1B2C3"], recorded - in_it);
    edge.metrics().assert_books_balance();
}

#[test]
fn a_second_process_does_not_take_the_journal_whose_lock_was_removed() {
    let edge = Setup::new().start();
    let lock = edge.setup.path("data/journal/lock");
    fs::remove_file(&lock).unwrap();
    let second = edge.setup.run(&["serve"]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("data/journal is in use by another process"), "{said}");
    scan(&edge, 3);
    edge.wait_until_stored();
    // For older releases, which know no other lock.
    wait_for("the lock is there again", || {
        let lock = fs::File::open(&lock).ok()?;
        matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)).then_some(())
    });
}

#[test]
fn what_is_no_segment_costs_neither_memory_nor_the_others_their_turn() {
    let mut edge = Setup::new().start();
    edge.stop();
    let put = |edge: &Edge| {
        let name = || edge.setup.path(&format!("data/journal/{}.sealed", uuid::Uuid::now_v7()));
        std::os::unix::fs::symlink("/dev/zero", name()).unwrap();
        std::process::Command::new("mkfifo").arg(name()).status().unwrap();
        // A hole of 2 GiB: nothing on the disk, and too large for a segment.
        fs::File::create(name()).unwrap().set_len(2 << 30).unwrap();
        fs::create_dir(name()).unwrap();
    };
    put(&edge);
    edge.start();
    let quarantined = |edge: &Edge| edge.metrics().get("waypost_journal_quarantine_files");
    assert_eq!(quarantined(&edge), 4.0);
    put(&edge);
    wait_for("all are set aside", || (quarantined(&edge) == 8.0).then_some(()));
    assert!(edge.memory("VmHWM") < 200 << 20);
    scan(&edge, 3);
    edge.wait_until_stored();
    assert_eq!(edge.counts().get("A1B2C3"), Some(&3));
}
