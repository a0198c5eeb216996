//! What officials and operators get beside the edge takes what scans leave of a core. A scan's own way, from its worker to
//! its store, and what shows how the edge is take no step back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::support::http::Connection;
use crate::support::{Edge, Setup, free_address, wait_for};

/// The 19th field of `/proc/PID/task/TID/stat` (proc_pid_stat(5)), counted after the name, which is the second.
const NICE: usize = 19 - 3;

/// The nice values of the threads with each name.
fn threads(edge: &Edge) -> BTreeMap<String, BTreeSet<i32>> {
    let mut threads = BTreeMap::<_, BTreeSet<_>>::new();
    for task in fs::read_dir(format!("/proc/{}/task", edge.pid())).unwrap() {
        // A thread may end meanwhile.
        let Ok(stat) = fs::read_to_string(task.unwrap().path().join("stat")) else { continue };
        let (name, fields) = stat.split_once('(').unwrap().1.rsplit_once(") ").unwrap();
        let nice = fields.split(' ').nth(NICE).unwrap().parse().unwrap();
        threads.entry(name.to_owned()).or_default().insert(nice);
    }
    threads
}

#[test]
fn what_is_no_scan_steps_back() {
    let first = ["waypost", "worker-0", "journal-make", "journal-seal", "delivery", "control", "log", "signals"];
    let back = [
        "table-places.cs",
        "table-signs.csv",
        "table-overrides",
        "notify-rs inoti",
        "tokio-rt-worker",
        "console",
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
    // A thread that has just begun has neither its name nor its nice value. Some begin with the first work that they have.
    wait_for("every thread has its nice value", || {
        let threads = threads(&edge);
        let have =
            |names: &[&str], nice| names.iter().all(|name| threads.get(*name).is_some_and(|of| of.iter().eq([&nice])));
        (have(&first, 0) && have(&back, 19) && threads.len() <= first.len() + back.len() + 1).then_some(())
    });
}
