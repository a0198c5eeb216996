//! What officials and operators get beside the edge takes what scans leave of a core. A scan's own way, from its worker to
//! its store, and what shows how the edge is take no step back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::support::http::Connection;
use crate::support::{Edge, Setup, free_address, wait_for};

/// Fields of `/proc/PID/task/TID/stat` (proc_pid_stat(5)), counted after the name, which is the second.
const NICE: usize = 19 - 3;
const POLICY: usize = 41 - 3;

/// A nice value and a policy (sched(7)).
type Goes = (i32, i32);
const FIRST: Goes = (0, libc::SCHED_OTHER);
const BACK: Goes = (19, libc::SCHED_OTHER);
const LAST: Goes = (19, libc::SCHED_IDLE);

/// How the threads with each name go.
fn threads(edge: &Edge) -> BTreeMap<String, BTreeSet<Goes>> {
    let mut threads = BTreeMap::<_, BTreeSet<_>>::new();
    for task in fs::read_dir(format!("/proc/{}/task", edge.pid())).unwrap() {
        // A thread may end meanwhile.
        let Ok(stat) = fs::read_to_string(task.unwrap().path().join("stat")) else { continue };
        let (name, fields) = stat.split_once('(').unwrap().1.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        let goes = [NICE, POLICY].map(|at| fields[at].parse().unwrap());
        threads.entry(name.to_owned()).or_default().insert(goes.into());
    }
    threads
}

#[test]
fn what_is_no_scan_steps_back_and_what_the_console_computes_goes_last() {
    let first = ["waypost", "worker-0", "journal-make", "journal-seal", "delivery", "control", "log", "signals"];
    let back = [
        "table-places.cs",
        "table-signs.csv",
        "table-overrides",
        "notify-rs inoti",
        "tokio-rt-worker",
        "changes",
        "figures",
        "checkup",
    ];
    let console = free_address();
    let edge = Setup::new().set("console", "listen", format!("\"{console}\"")).start();
    let mut visitor = Connection::open(console).unwrap();
    visitor.send(format!("GET /login HTTP/1.1\r\nHost: {console}\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(visitor.receive(false).unwrap().status, 200);
    edge.setup.put("config/places.csv", "place,name,target\none,Một,https://example.vn/one\n");
    // A thread that has just begun has neither its name nor its place. Some begin with the first work that they have.
    wait_for("every thread goes where it should", || {
        let threads = threads(&edge);
        let go = |name: &str, goes: &[Goes]| threads.get(name).is_some_and(|of| of.iter().eq(goes));
        let all = first.iter().all(|name| go(name, &[FIRST])) && back.iter().all(|name| go(name, &[BACK]));
        // What takes connections, and what computes an answer.
        let all = all && go("console", &[BACK, LAST]);
        (all && threads.len() == first.len() + back.len() + 1).then_some(())
    });
}
