//! One table that hangs, never settles or is no file holds up neither another table's edits nor
//! anything that looks at the edge.
//!
//! The share that hangs is a FUSE file system of our own, served over `/dev/fuse` by a few lines of
//! Python: it answers while no file says that it should hang. What waits for it waits in the kernel, as
//! on a server that is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::tls::{HOST, VALID, made};
use crate::support::way::Way;
use crate::support::{Edge, Setup, wait_for};

const SIGNS: &str = "code,place,status\nA1B2C3,one,active\nA1B2C4,one,active\n";
const PLACES: &str = "place,name,target\none,Một,https://example.vn/one\n";

/// A file system of one folder, whose files are those of another folder.
pub struct Share {
    mounted: PathBuf,
    behind: PathBuf,
    server: Child,
}

impl Share {
    pub fn mount(setup: &Setup) -> Self {
        let (mounted, behind) = (setup.path("share"), setup.path("behind"));
        fs::create_dir(&mounted).unwrap();
        fs::create_dir(&behind).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answering/hanging_share.py");
        let mut command = Command::new("python3");
        command.arg(program).args([&mounted, &behind]).stdin(Stdio::null());
        let server = command.spawn().unwrap();
        wait_for("the share is mounted", || {
            fs::read_to_string("/proc/mounts").unwrap().contains(mounted.to_str().unwrap()).then_some(())
        });
        Self { mounted, behind, server }
    }

    /// From now on these requests (`read`, or all) are never answered.
    pub fn hang(&self, requests: &str) {
        fs::write(self.behind.join(".hang"), requests).unwrap();
    }

    pub fn answer_again(&self) {
        fs::remove_file(self.behind.join(".hang")).unwrap();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Without its server the kernel ends what waits.
        self.server.kill().ok();
        self.server.wait().ok();
        Command::new("umount").arg("-l").arg(&self.mounted).status().ok();
    }
}

fn write(edge: &Edge, file: &str, text: &str) {
    let new = edge.setup.path("config/new");
    fs::write(&new, text).unwrap();
    fs::rename(new, edge.setup.path(&format!("config/{file}"))).unwrap();
}

fn wait_for_target(edge: &Edge, target: &str) {
    wait_for(target, || (edge.scan("/A1B2C3").location() == Some(target)).then_some(()));
}

/// Everything that is looked at answers, soon.
#[track_caller]
fn assert_answers(edge: &Edge) {
    for path in ["/livez", "/readyz", "/metrics", "/status"] {
        let since = Instant::now();
        assert_eq!(edge.admin("GET", path).status, 200, "{path}");
        assert!(since.elapsed() < Duration::from_secs(3), "{path} took {:?}", since.elapsed());
    }
}

fn unsettled(edge: &Edge) -> f64 {
    edge.metrics().get("waypost_registry_unsettled_files")
}

/// Touches a file every 0.05 s until it is dropped.
struct Restless(Arc<AtomicBool>, Option<thread::JoinHandle<()>>);

impl Restless {
    fn start(mut change: impl FnMut(u64) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let change = move || {
            for n in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                change(n);
                thread::sleep(Duration::from_millis(50));
            }
        };
        Self(stop, Some(thread::spawn(change)))
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().ok();
    }
}

#[test]
fn a_table_that_is_touched_all_the_time_holds_up_no_other_and_shows() {
    let edge = Setup::new().registry(PLACES, SIGNS).start();
    let signs = edge.setup.path("config/signs.csv");
    let restless = Restless::start(move |n| {
        fs::write(&signs, format!("{SIGNS}B{n},one,active\n")).unwrap();
    });
    wait_for("it shows", || (unsettled(&edge) == 1.0).then_some(()));
    assert_eq!(edge.status()["registry"]["unsettled"][0], "signs.csv");
    write(&edge, "places.csv", &PLACES.replace("/one", "/two"));
    wait_for_target(&edge, "https://example.vn/two");
    assert!(edge.log().contains("a table changes all the time"));
    drop(restless);
    wait_for("it has settled", || (unsettled(&edge) == 0.0).then_some(()));
}

#[test]
fn a_table_whose_time_changes_but_not_its_content_is_read_in_the_end() {
    let edge = Setup::new().registry(PLACES, SIGNS).start();
    let signs = edge.setup.path("config/signs.csv");
    fs::write(&signs, format!("{SIGNS}B1,one,active\n")).unwrap();
    let _restless = Restless::start(move |_| {
        let file = fs::File::options().append(true).open(&signs).unwrap();
        file.set_modified(std::time::SystemTime::now()).unwrap();
    });
    wait_for("the new sign", || (edge.scan("/B1").status == 302).then_some(()));
}

#[test]
fn a_fifo_in_place_of_a_table_is_told_and_holds_up_nothing() {
    let mut edge = Setup::new().registry(PLACES, SIGNS).start();
    let signs = edge.setup.path("config/signs.csv");
    fs::remove_file(&signs).unwrap();
    assert!(Command::new("mkfifo").arg(&signs).status().unwrap().success());
    wait_for("it is reported", || {
        let problems = edge.status()["registry"]["problems"].to_string();
        (problems.contains("signs.csv: can't be read") && problems.contains("expected a regular file, found a FIFO"))
            .then_some(())
    });
    assert_eq!(edge.admin("POST", "/reload").status, 422);
    write(&edge, "places.csv", &PLACES.replace("/one", "/two"));
    wait_for_target(&edge, "https://example.vn/two");
    assert_eq!(edge.metrics().get("waypost_registry_last_reload_successful"), 0.0);
    assert_answers(&edge);
    fs::remove_file(&signs).unwrap();
    fs::write(&signs, SIGNS).unwrap();
    wait_for("it is mended", || (edge.metrics().get("waypost_registry_last_reload_successful") == 1.0).then_some(()));
    edge.stop();
}

/// It comes to its end; the kernel keeps the process until the share is gone.
fn stops(edge: &Edge) {
    edge.signal("TERM");
    wait_for("the end", || edge.log().contains("\"stopped\"").then_some(()));
}

/// With the table on the share hung in `requests`, another is edited, and everything is looked at.
fn hung(requests: &str) {
    let setup = Setup::new().registry(PLACES, SIGNS).set("registry", "signs", "\"../share/signs.csv\"");
    let share = Share::mount(&setup);
    fs::write(share.behind.join("signs.csv"), SIGNS).unwrap();
    // The share is dropped first.
    let (edge, share) = (setup.start(), share);
    assert_eq!(edge.scan("/A1B2C3").status, 302);
    share.hang(requests);
    fs::write(share.behind.join("signs.csv"), format!("{SIGNS}B1,one,active\n")).unwrap();
    write(&edge, "places.csv", &PLACES.replace("/one", "/two"));
    wait_for_target(&edge, "https://example.vn/two");
    wait_for("it shows", || (unsettled(&edge) == 1.0).then_some(()));
    assert_answers(&edge);
    assert_eq!(edge.admin("POST", "/reload").status, 422, "what could not be read is reported");
    write(&edge, "places.csv", &PLACES.replace("/one", "/three"));
    wait_for_target(&edge, "https://example.vn/three");
    share.answer_again();
    wait_for("the share is back, and its edit is taken", || (edge.scan("/B1").status == 302).then_some(()));
    wait_for("it has settled", || (unsettled(&edge) == 0.0).then_some(()));
    assert_eq!(edge.metrics().get("waypost_registry_last_reload_successful"), 1.0);
    share.hang(requests);
    write(&edge, "places.csv", PLACES);
    stops(&edge);
}

#[test]
#[ignore = "needs root: tests/run"]
fn a_share_that_hangs_in_read_holds_up_nothing() {
    hung("read");
}

#[test]
#[ignore = "needs root: tests/run"]
fn a_share_that_answers_nothing_holds_up_nothing() {
    hung("all");
}

#[test]
#[ignore = "needs root: tests/run"]
fn a_country_database_on_a_share_that_hangs_holds_up_no_other() {
    let setup = Setup::new().registry(PLACES, SIGNS).set("observe", "geoip", "[\"../share/a.mmdb\", \"b.mmdb\"]");
    let share = Share::mount(&setup);
    fs::write(share.behind.join("a.mmdb"), "none").unwrap();
    let (edge, share) = (setup.start(), share);
    let problem = |at: usize| edge.status()["geoip"][at]["problem"].to_string();
    share.hang("all");
    wait_for("the one hangs", || problem(0).contains("does not answer").then_some(()));
    let before = problem(1);
    fs::write(edge.setup.path("config/b.mmdb"), "none").unwrap();
    wait_for("the other is read", || (problem(1) != before).then_some(()));
    assert_answers(&edge);
    stops(&edge);
}

#[test]
#[ignore = "needs root: tests/run"]
fn a_certificate_on_a_share_that_hangs_stays_in_use_and_the_log_says_so() {
    let cert = made(&[HOST], VALID);
    let pair = "[{ certificate = \"../share/cert.pem\", key = \"cert.key\" }]";
    let setup = Setup::new().tls(&[("cert", &cert)]).set("edge.tls", "certificates", pair);
    let share = Share::mount(&setup);
    fs::write(share.behind.join("cert.pem"), &cert.chain).unwrap();
    let (edge, share) = (setup.start(), share);
    share.hang("all");
    wait_for("the log", || edge.log().contains("cert.pem: does not answer").then_some(()));
    assert_eq!(edge.log().matches("cert.pem: does not answer").count(), 1);
    assert_eq!(edge.connect(Way::Tls).unwrap().get("/A1B2C3", &[]).unwrap().status, 302);
    share.answer_again();
    wait_for("the log", || edge.log().contains("a certificate is in order again").then_some(()));
}

#[test]
#[ignore = "needs root: tests/run"]
fn an_edge_starts_from_its_copy_while_a_share_hangs() {
    let setup = Setup::new().registry(PLACES, SIGNS).set("registry", "signs", "\"../share/signs.csv\"");
    let share = Share::mount(&setup);
    fs::write(share.behind.join("signs.csv"), SIGNS).unwrap();
    // The share is dropped first.
    let (mut edge, share) = (setup.start(), share);
    edge.stop();
    share.hang("all");
    edge.start();
    let registry = edge.status()["registry"].clone();
    assert_eq!((edge.scan("/A1B2C3").status, &registry["from_last_good"]), (302, &true.into()), "{registry}");
    share.answer_again();
    wait_for("the share is back", || (edge.status()["registry"]["from_last_good"] == false).then_some(()));
}

#[test]
fn a_copy_of_holes_or_a_fifo_in_its_place_costs_neither_memory_nor_an_edit() {
    let mut edge = Setup::new().registry(PLACES, SIGNS).start();
    let (copy, new) = (edge.setup.path("data/registry-last-good"), edge.setup.path("data/registry-last-good.new"));
    let holes = |bytes| fs::File::options().write(true).create(true).truncate(true).open(&copy).unwrap().set_len(bytes);
    // Its first line says of which tables it is.
    let is_copy = |edge: &Edge| {
        let serving = edge.status()["registry"]["content_hash"].clone();
        let is_small = fs::metadata(&copy).is_ok_and(|copy| copy.len() < 1 << 20);
        let bytes = if is_small { fs::read(&copy).ok()? } else { return None };
        let head: serde_json::Value = serde_json::from_slice(bytes.split(|&b| b == b'\n').next()?).ok()?;
        (head["content_hash"] == serving).then_some(())
    };
    for (bytes, target) in [(1 << 40, "two"), (3 << 30, "three")] {
        // It is written after the edit is published.
        wait_for("the copy of what serves", || is_copy(&edge));
        holes(bytes).unwrap();
        // An edit while another table can't be read asks for the copy.
        let signs = edge.setup.path("config/signs.csv");
        fs::remove_file(&signs).unwrap();
        assert!(Command::new("mkfifo").arg(&signs).status().unwrap().success());
        write(&edge, "places.csv", &PLACES.replace("/one", &format!("/{target}")));
        assert_eq!(edge.admin("POST", "/reload").status, 422, "{bytes}");
        fs::remove_file(&signs).unwrap();
        fs::write(&signs, SIGNS).unwrap();
        wait_for_target(&edge, &format!("https://example.vn/{target}"));
    }
    // And a start does.
    edge.stop();
    holes(3 << 30).unwrap();
    edge.start();
    assert!(edge.memory("VmHWM") < 200 << 20);
    assert!(Command::new("mkfifo").arg(&new).status().unwrap().success());
    write(&edge, "places.csv", PLACES);
    wait_for_target(&edge, "https://example.vn/one");
    wait_for("the copy is a copy again", || is_copy(&edge));
}
