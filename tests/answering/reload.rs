//! Whatever happens to the registry's files, every answer belongs to one whole generation,
//! and no request fails.
//!
//! Under load each file is replaced, edited in place with a pause in the middle, cut,
//! emptied, removed and made again, swapped by a link and broken in turn. Generation `N`
//! names its places and targets after `N`, and deals its signs to its places in a way of
//! its own, so that an answer that mixes two generations would show.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::load::Load;
use crate::support::{BINARY, Edge, Setup, wait_for};

const SIGNS: usize = 300;
const PLACES: usize = 60;
const FILES: [&str; 2] = ["places.csv", "signs.csv"];

/// The two files of a generation.
fn generation(n: usize) -> [String; 2] {
    let places = (0..PLACES).map(|p| format!("g{n}-p{p},Place {p},https://example.vn/g{n}/p{p}\n"));
    let signs = (0..SIGNS).map(|s| format!("S{s:04},g{n}-p{},active\n", (s + n) % PLACES));
    let file = |header: &str, rows: Vec<String>| format!("{header}\n{}", rows.concat());
    [file("place,name,target", places.collect()), file("code,place,status", signs.collect())]
}

/// The generation that an answer belongs to; `None` if it belongs to no single one.
fn generation_of(code: &str, location: &str) -> Option<usize> {
    let (n, place) = location.strip_prefix("https://example.vn/g")?.split_once("/p")?;
    let (n, place, sign): (usize, usize, usize) = (n.parse().ok()?, place.parse().ok()?, code[1..].parse().ok()?);
    (place == (sign + n) % PLACES).then_some(n)
}

/// An edge under load whose files are about to be mistreated.
struct Scene {
    edge: Edge,
    load: Load,
    /// The newest generation on the disk, and the oldest that may still be answered.
    written: Arc<AtomicUsize>,
    published: Arc<AtomicUsize>,
}

impl Scene {
    fn new() -> Self {
        let setup = Setup::new().set("edge", "workers", "2").set("registry", "places", "\"live/places.csv\"").set(
            "registry",
            "signs",
            "\"live/signs.csv\"",
        );
        fs::create_dir(setup.path("config/v0")).unwrap();
        symlink("v0", setup.path("config/live")).unwrap();
        let [places, signs] = generation(0);
        let edge = setup.file("config/live/places.csv", places).file("config/live/signs.csv", signs).start();
        let codes: Vec<String> = (0..SIGNS).map(|s| format!("S{s:04}")).collect();
        let (written, published) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (newest, oldest) = (written.clone(), published.clone());
        let load = Load::with_check(edge.address(), 3, &codes, move |code, location| {
            let n = generation_of(code, location).unwrap_or_else(|| panic!("{code}: {location} mixes generations"));
            // Read after the answer: what is published later may not be older.
            assert!(n <= newest.load(Ordering::SeqCst), "{code}: {location} was never written");
            assert!(n + 1 >= oldest.load(Ordering::SeqCst), "{code}: {location} is long gone");
        });
        Self { edge, load, written, published }
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.edge.setup.path("config/live").join(file)
    }

    /// Lets `change` bring the next generation to the disk, and waits until it serves.
    fn publish(&mut self, what: &str, change: impl Fn(&Self, &str, &str)) {
        let n = self.written.fetch_add(1, Ordering::SeqCst) + 1;
        for (file, text) in FILES.iter().zip(generation(n)) {
            change(self, file, &text);
        }
        self.wait_for_generation(n, what);
        self.published.store(n, Ordering::SeqCst);
    }

    fn wait_for_generation(&self, n: usize, what: &str) {
        wait_for(what, || {
            let location = self.edge.scan("/S0000");
            (generation_of("S0000", location.location()?)? == n).then_some(())
        });
    }

    /// Lets `change` spoil one file, waits until that is refused, and mends it.
    fn spoil(&mut self, file: &str, what: &str, change: impl Fn(&std::path::Path, &str)) {
        let refused = "waypost_registry_reloads_total{result=\"refused\"}";
        let before = self.edge.metrics().get(refused);
        let n = self.written.load(Ordering::SeqCst);
        let good = fs::read_to_string(self.path(file)).unwrap();
        change(&self.path(file), &good);
        wait_for(what, || (self.edge.metrics().get(refused) > before).then_some(()));
        assert_eq!(self.edge.metrics().get("waypost_registry_last_reload_successful"), 0.0, "{what}");
        self.wait_for_generation(n, "the old one keeps serving");
        fs::write(self.path(file), good).unwrap();
        wait_for("the mended file is good", || {
            (self.edge.metrics().get("waypost_registry_last_reload_successful") == 1.0).then_some(())
        });
    }
}

fn replace(scene: &Scene, file: &str, text: &str) {
    let new = scene.path(&format!("{file}.new"));
    fs::write(&new, text).unwrap();
    fs::rename(new, scene.path(file)).unwrap();
}

/// Half of the rows, whole ones, then a pause longer than files must be quiet, then the rest.
fn edit_in_place_slowly(scene: &Scene, file: &str, text: &str) {
    let half = text[..text.len() / 2].rfind('\n').unwrap() + 1;
    let mut open = File::create(scene.path(file)).unwrap();
    open.write_all(&text.as_bytes()[..half]).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    open.write_all(&text.as_bytes()[half..]).unwrap();
}

#[test]
fn every_answer_belongs_to_one_whole_generation() {
    let mut scene = Scene::new();
    for _ in 0..2 {
        scene.publish("replaced by rename", replace);
        scene.publish("edited in place", |scene, file, text| fs::write(scene.path(file), text).unwrap());
        scene.publish("edited in place, with a pause", edit_in_place_slowly);
        scene.publish("removed and made again", |scene, file, text| {
            fs::remove_file(scene.path(file)).unwrap();
            fs::write(scene.path(file), text).unwrap();
        });
        for file in FILES {
            scene.spoil(file, "half of a row", |path, good| fs::write(path, &good[..good.len() / 2 - 3]).unwrap());
            scene.spoil(file, "empty", |path, _| fs::write(path, "").unwrap());
            scene.spoil(file, "removed", |path, _| fs::remove_file(path).unwrap());
            scene.spoil(file, "a bad last row", |path, good| fs::write(path, format!("{good}oops\n")).unwrap());
            scene.spoil(file, "not text", |path, _| fs::write(path, [0xff, 0xfe, 0, 1]).unwrap());
        }
        scene.spoil("signs.csv", "most signs gone", |path, good| {
            let few: Vec<&str> = good.lines().take(SIGNS / 3).collect();
            fs::write(path, few.join("\n")).unwrap();
        });
        swap_link(&mut scene);
    }
    scene.load.stop();
    assert_eq!(scene.load.errors.load(Ordering::Relaxed), 0, "no request failed");
    assert!(scene.load.received() > 5000, "only {} answers", scene.load.received());
}

/// As Kubernetes mounts a ConfigMap: a folder beside, and a link that is renamed over the old one.
fn swap_link(scene: &mut Scene) {
    let n = scene.written.fetch_add(1, Ordering::SeqCst) + 1;
    let config = scene.edge.setup.path("config");
    let folder = config.join(format!("v{n}"));
    fs::create_dir(&folder).unwrap();
    for (file, text) in FILES.iter().zip(generation(n)) {
        fs::write(folder.join(file), text).unwrap();
    }
    symlink(format!("v{n}"), config.join("live.new")).unwrap();
    fs::rename(config.join("live.new"), config.join("live")).unwrap();
    scene.wait_for_generation(n, "swapped by a link");
    scene.published.store(n, Ordering::SeqCst);
}

#[test]
fn a_generation_keeps_its_number_over_a_restart_and_the_next_has_a_higher_one() {
    let mut edge = Setup::new().start();
    let first = number(&edge);
    edge.stop();
    edge.start();
    assert_eq!(number(&edge), first);
    fs::write(edge.setup.path("config/signs.csv"), "code,place,status\nA1B2C3,one,active\n").unwrap();
    edge.signal("HUP");
    wait_for("the next generation", || (number(&edge).0 > first.0).then_some(()));
    assert_ne!(number(&edge).1, first.1, "other tables have another hash");
}

/// Number and hash of the generation that serves.
fn number(edge: &Edge) -> (u64, String) {
    let registry = edge.status()["registry"].clone();
    (registry["generation"].as_u64().unwrap(), registry["content_hash"].as_str().unwrap().to_owned())
}

#[test]
fn no_number_is_given_twice_though_the_copy_is_lost_and_two_edges_see_that_they_serve_the_same() {
    let mut edge = Setup::new().start();
    let first = number(&edge);
    edge.stop();
    fs::remove_file(edge.setup.path("data/registry-last-good")).unwrap();
    edge.start();
    let second = number(&edge);
    assert!(second.0 > first.0, "{first:?} {second:?}");
    assert_eq!((&second.1, &number(&Setup::new().start()).1), (&first.1, &first.1));
}

#[test]
fn the_copy_of_an_older_release_is_read_and_its_number_followed_by_a_higher_one() {
    let mut edge = Setup::new().start();
    edge.stop();
    fs::remove_file(edge.setup.path("data/registry-last-good")).unwrap();
    let [places, signs] =
        ["places", "signs"].map(|table| fs::read_to_string(edge.setup.path(&format!("config/{table}.csv"))));
    let old = serde_json::json!({"generation": 7, "places": places.unwrap(), "signs": signs.unwrap(), "overrides": ""});
    let copy = edge.setup.path("data/registry-last-good.json");
    fs::write(&copy, old.to_string()).unwrap();
    edge.start();
    assert_eq!(number(&edge).0, 7, "the same tables keep their number");
    fs::write(edge.setup.path("config/signs.csv"), "code,place,status\nA1B2C3,one,active\n").unwrap();
    wait_for("the next generation", || (number(&edge).0 > 1_700_000_000_000).then_some(()));
    wait_for("a new copy in its place", || (!copy.exists()).then_some(()));
}

#[test]
fn a_second_process_leaves_the_copy_as_it_is() {
    let edge = Setup::new().start();
    let copy = edge.setup.path("data/registry-last-good");
    let before = fs::read(&copy).unwrap();
    fs::write(edge.setup.path("config/other.csv"), "code,place,status\nA1B2C3,one,active\nB1,one,active\n").unwrap();
    let config = edge.setup.toml().replace("[registry]", "[registry]\nsigns = \"other.csv\"");
    fs::write(edge.setup.path("config/second.toml"), config).unwrap();
    let mut second = Command::new(BINARY);
    second.args(["serve", "--config"]).arg(edge.setup.path("config/second.toml"));
    let output = second.output().unwrap();
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read(&copy).unwrap(), before);
    assert_eq!(edge.scan("/B1").status, 404);
}

#[test]
fn an_edit_made_while_the_process_starts_is_loaded() {
    for _ in 0..5 {
        let mut edge = Setup::new().start();
        edge.stop();
        let (path, stop) = (edge.setup.path("config/signs.csv"), Arc::new(AtomicUsize::new(0)));
        let stopped = stop.clone();
        // Again and again, until it serves: one of them falls between the first read and the first look.
        let editing = std::thread::spawn(move || {
            for n in 0.. {
                fs::write(&path, format!("code,place,status\nA1B2C3,one,active\nA1B2C4,one,active\nN{n},one,active\n"))
                    .unwrap();
                if stopped.load(Ordering::Relaxed) > 0 {
                    return n;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            0
        });
        edge.start();
        stop.store(1, Ordering::Relaxed);
        let last = editing.join().unwrap();
        wait_for("the last edit", || (edge.scan(&format!("/N{last}")).status == 302).then_some(()));
    }
}

#[test]
fn every_edit_is_noticed_when_it_is_made_and_not_at_the_next_poll() {
    let edge = Setup::new().set("registry", "poll", "\"1h\"").start();
    for n in 0..15 {
        let places = format!("place,name,target\none,Một,https://example.vn/{n}\n");
        // As most programs write: beside it, in pieces, and renamed at the end.
        let mut next = File::create(edge.setup.path("config/places.csv.next")).unwrap();
        places.as_bytes().chunks(10).for_each(|piece| next.write_all(piece).unwrap());
        drop(next);
        fs::rename(edge.setup.path("config/places.csv.next"), edge.setup.path("config/places.csv")).unwrap();
        let target = format!("https://example.vn/{n}");
        wait_for(&target, || (edge.scan("/A1B2C3").location() == Some(&*target)).then_some(()));
    }
}
