//! What officials and operators get beside the edge takes what scans leave of a core: its threads run where nothing else
//! wants to. A scan's own way, from its worker to its store, is never among them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::support::http::Connection;
use crate::support::{Edge, Setup, free_address, wait_for};

/// Scheduling policies (sched(7)).
const OTHER: u8 = 0;
const IDLE: u8 = 5;
/// The 41st field of `/proc/PID/task/TID/stat`, counted after the name (proc_pid_stat(5)).
const POLICY: usize = 41 - 3;

/// The policies of the threads with each name.
fn policies(edge: &Edge) -> BTreeMap<String, BTreeSet<u8>> {
    let mut policies = BTreeMap::<_, BTreeSet<u8>>::new();
    for task in fs::read_dir(format!("/proc/{}/task", edge.pid())).unwrap() {
        // A thread may end meanwhile.
        let Ok(stat) = fs::read_to_string(task.unwrap().path().join("stat")) else { continue };
        let (name, fields) = stat.split_once('(').unwrap().1.rsplit_once(") ").unwrap();
        let policy = fields.split(' ').nth(POLICY).unwrap().parse().unwrap();
        policies.entry(name.to_owned()).or_default().insert(policy);
    }
    policies
}

#[test]
fn what_is_no_scan_runs_where_nothing_else_wants_to() {
    // What shows how the edge is (`control`, `log`) does not wait for a core that scans keep busy.
    let usual = ["waypost", "worker-0", "journal-make", "journal-seal", "delivery", "control", "log", "signals"];
    let last = ["changes", "checkup", "console", "figures", "table-places.cs", "table-signs.csv", "table-overrides"];
    let console = free_address();
    let edge = Setup::new().set("console", "listen", format!("\"{console}\"")).start();
    // A password is hashed, and the tables are read.
    let form = "name=a&password=b";
    let head = format!("Host: {console}\r\nContent-Length: {}\r\n", form.len());
    let head = format!("POST /login HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n{head}");
    let mut visitor = Connection::open(console).unwrap();
    visitor.send(format!("{head}\r\n{form}").as_bytes()).unwrap();
    assert_eq!(visitor.receive(false).unwrap().status, 403);
    assert_eq!(edge.admin("POST", "/reload").status, 200);
    // A thread that has just begun has neither its name nor its policy.
    wait_for("every thread has its policy", || {
        let policies = policies(&edge);
        let is = |name: &str, policy| policies.get(name).is_some_and(|of| of.iter().eq([&policy]));
        let others_go_last = policies.keys().all(|name| usual.contains(&&**name) || is(name, IDLE));
        let stand = usual.iter().all(|name| is(name, OTHER)) && last.iter().all(|name| is(name, IDLE));
        (others_go_last && stand).then_some(())
    });
}
