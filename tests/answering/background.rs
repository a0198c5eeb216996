//! What officials and operators get beside the edge takes what scans leave of a core. A scan's own way, from its worker to
//! its store, and what shows how the edge is take no step back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::support::http::Connection;
use crate::support::{Edge, Setup, free_address, wait_for};

/// Fields of `/proc/PID/task/TID/stat` after the name (proc_pid_stat(5) counts from 1, and the name is its second).
const NICE: usize = 19 - 3;
const POLICY: usize = 41 - 3;
/// The scheduling policies `SCHED_OTHER` and `SCHED_IDLE` (sched(7)).
const OTHER: &str = "0";
const IDLE: &str = "5";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Goes {
    First,
    Back,
    Last,
    Otherwise,
}

/// How the threads with each name go.
fn threads(edge: &Edge) -> BTreeMap<String, BTreeSet<Goes>> {
    let mut threads = BTreeMap::<_, BTreeSet<Goes>>::new();
    for task in fs::read_dir(format!("/proc/{}/task", edge.pid())).unwrap() {
        // A thread may end meanwhile.
        let Ok(stat) = fs::read_to_string(task.unwrap().path().join("stat")) else { continue };
        let (name, fields) = stat.split_once('(').unwrap().1.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        let goes = match (fields[POLICY], fields[NICE]) {
            (OTHER, "0") => Goes::First,
            (OTHER, "19") => Goes::Back,
            (IDLE, _) => Goes::Last,
            _ => Goes::Otherwise,
        };
        threads.entry(name.to_owned()).or_default().insert(goes);
    }
    threads
}

#[test]
fn what_is_no_scan_steps_back_and_what_computes_goes_last() {
    use Goes::{Back, First, Last};
    let console = free_address();
    let edge = Setup::new().set("console", "listen", format!("\"{console}\"")).start();
    // A password is hashed.
    let form = "name=a&password=b";
    let head = format!("Host: {console}\r\nContent-Length: {}\r\n", form.len());
    let head = format!("POST /login HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n{head}");
    let mut visitor = Connection::open(console).unwrap();
    visitor.send(format!("{head}\r\n{form}").as_bytes()).unwrap();
    assert_eq!(visitor.receive(false).unwrap().status, 403);
    let expected: BTreeMap<&str, &[Goes]> = BTreeMap::from([
        ("waypost", &[First][..]),
        ("worker-0", &[First]),
        ("journal-make", &[First]),
        ("journal-seal", &[First]),
        ("delivery", &[First]),
        ("control", &[First]),
        ("log", &[First]),
        ("signals", &[First]),
        ("table-places.cs", &[Back]),
        ("table-signs.csv", &[Back]),
        ("table-overrides", &[Back]),
        ("notify-rs inoti", &[Back]),
        // What answers, and what computes an answer.
        ("console", &[Back, Last]),
        ("changes", &[Last]),
        ("figures", &[Last]),
        ("checkup", &[Last]),
    ]);
    // A thread that has just begun has neither its name nor its place.
    wait_for("every thread goes where it should", || {
        let threads = threads(&edge);
        let is = expected.iter().all(|(name, goes)| threads.get(*name).is_some_and(|of| of.iter().eq(*goes)));
        (is && threads.len() == expected.len()).then_some(())
    });
}
