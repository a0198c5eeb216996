//! A set is applied exactly once, wherever in the step the process is killed.
//!
//! The one thread that does the step is stopped before each of its system calls; at the chosen one the process
//! gets SIGKILL. Every tenth in a normal run, each with `WAYPOST_KILL_EVERY=1`.

use std::fs;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use waypost::changes::{Draft, State};
use waypost::history::Action;
use waypost::source::CellChange;
use waypost::source::TableName::{Overrides, Places, Signs};

use crate::office::{Office, cell, draft, setup};
use crate::support::wait_for;

/// The thread of the edge that applies sets, held.
struct Held(Pid);

impl Held {
    fn hold(office: &Office) -> Self {
        let tasks = format!("/proc/{}/task", office.edge.pid());
        let thread = wait_for("the thread runs", || {
            let is_it = |path: &std::path::Path| {
                fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "changes")
            };
            let mut threads = fs::read_dir(&tasks).unwrap().map(|entry| entry.unwrap().path());
            threads.find(|path| is_it(path))?.file_name()?.to_str()?.parse().ok()
        });
        let thread = Pid::from_raw(thread);
        ptrace::seize(thread, ptrace::Options::PTRACE_O_TRACESYSGOOD).unwrap();
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Self(thread)
    }

    /// `kill -9` of the whole process, where the thread is.
    fn kill(self, office: &mut Office) {
        office.edge.signal("KILL");
        // The process has ended only once whoever holds a thread of it has seen the thread's end.
        while !matches!(waitpid(self.0, Some(WaitPidFlag::__WALL)).unwrap(), WaitStatus::Signaled(..)) {}
        office.edge.kill();
    }

    /// Lets it go on to the beginning of its next system call.
    fn step(&self) {
        // Each call stops it twice, the second time at its end.
        for _ in 0..2 {
            loop {
                ptrace::syscall(self.0, None).unwrap();
                match waitpid(self.0, Some(WaitPidFlag::__WALL)).unwrap() {
                    WaitStatus::PtraceSyscall(_) => break,
                    WaitStatus::Exited(..) | WaitStatus::Signaled(..) => panic!("the thread has ended"),
                    _ => {}
                }
            }
        }
    }
}

/// A set that changes all three tables, and what its round is told by.
fn approve(office: &Office, round: usize) -> i64 {
    let page = |round| format!("https://example.vn/{round}");
    let before = round - 1;
    let mut cells = vec![
        cell(Places, "two", "target", &office.cell(Places, "two", "target"), &page(round)),
        cell(Signs, "A1B2C3", "target", &office.cell(Signs, "A1B2C3", "target"), &page(round)),
    ];
    let key = |round: usize| format!("one {}-01-01T00:00", 2000 + round);
    for (column, value) in [("until", format!("{}-01-02T00:00", 2000 + round)), ("target", page(round))] {
        let added = cell(Overrides, &key(round), column, "", &value);
        cells.push(CellChange { old: None, ..added });
        let old = office.cell(Overrides, &key(before), column);
        if !old.is_empty() {
            let gone = cell(Overrides, &key(before), column, &old, "");
            cells.push(CellChange { new: None, ..gone });
        }
    }
    office.approved(&draft(cells))
}

#[test]
#[ignore = "needs root: tests/run"]
fn a_set_is_applied_exactly_once_wherever_the_process_is_killed() {
    let every: usize = std::env::var("WAYPOST_KILL_EVERY").map_or(10, |every| every.parse().unwrap());
    let mut office = Office::start(setup());
    // How many calls the step has: a run that nobody ends.
    let held = Held::hold(&office);
    let number = approve(&office, 1);
    let mut calls = 0;
    while office.set(number).state != State::Applied {
        held.step();
        calls += 1;
    }
    ptrace::detach(held.0, None).unwrap();
    office.wait_until_settled();
    office.assert_agreement();
    eprintln!("the step has {calls} system calls");
    assert!(calls > 50, "the step is traced: {calls} calls");

    let (mut finished, mut begun) = (0, 0);
    for (round, at) in (2..).zip((1..=calls + 1).step_by(every)) {
        let held = Held::hold(&office);
        let number = approve(&office, round);
        for _ in 0..at {
            held.step();
        }
        held.kill(&mut office);
        begun += usize::from(office.is_applying());
        finished += usize::from(office.set(number).state == State::Applied);
        office.edge.start();
        let set = office.wait_until(number, State::Applied);
        office.wait_until_settled();
        office.assert_agreement();
        let page = format!("https://example.vn/{round}");
        assert_eq!([office.location("A1B2C3"), office.location("A1B2C4")], [page.clone(), page], "killed at call {at}");
        let serves = office.edge.status()["registry"]["generation"].as_u64();
        assert_eq!(set.generations.map(|(_, after)| after), serves, "killed at call {at}");
        assert!(office.entries_of(Action::Outside).is_empty(), "killed at call {at}");
        let left: Vec<_> =
            fs::read_dir(office.edge.setup.path("config")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.len() <= 5, "killed at call {at}: {left:?}");
    }
    assert!(begun > 0, "no kill fell between the note and the end of the step: {finished} had ended");
}

#[test]
#[ignore = "needs root: tests/run"]
fn a_set_that_may_lose_many_signs_is_finished_by_the_start_that_finds_it() {
    let mut office = Office::start(setup().set("registry", "max_shrink", "0.1"));
    let held = Held::hold(&office);
    let gone = |column, old| CellChange { new: None, ..cell(Signs, "A1B2C4", column, old, "") };
    let cells = vec![gone("place", "two"), gone("status", "active")];
    let number = office.approved(&Draft { forced: true, ..draft(cells) });
    while !office.is_applying() {
        held.step();
    }
    held.kill(&mut office);
    office.edge.start();
    office.wait_until(number, State::Applied);
    office.wait_until_settled();
    office.assert_agreement();
    assert_eq!(office.edge.scan("/A1B2C4").status, 404);
}
