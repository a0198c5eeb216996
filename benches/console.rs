//! How long do the console's pages take, and how large are they, in an office with 3,000 places and 20,000 signs?
//!
//! The real binary with the embedded store, in which each sign has scans on each of the last 30 days, answers one person,
//! who looks at each page 30 times. The time is that of the whole request, on loopback.
//!
//! `cargo bench --bench console`: an idle core or two, a minute.
#![allow(clippy::print_stdout, missing_docs, reason = "the result is for people")]
#![allow(clippy::cast_precision_loss, reason = "counts of signs")]

mod office;

use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use office::{Person, invitation};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PLACES: usize = 3_000;
const SIGNS: usize = 20_000;
const TIMES: usize = 30;

struct Edge(Child);

impl Drop for Edge {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn places() -> String {
    let streets = ["Hùng Vương", "Trần Đăng Ninh", "Lê Lợi", "Bà Triệu", "Quang Trung", "Nguyễn Du", "Phai Vệ"];
    (0..PLACES).fold(
        "place,kind,area,name,name:en,name:zh,target,target:en,target:zh,note\n".to_owned(),
        |mut rows, at| {
            let (name, area) = (streets[at % streets.len()], at % 65);
            let page = |tongue: &str| format!("https://langson.gov.vn/{tongue}/duong-pho/pho-{at}");
            let (vi, en) = (page("vi"), page("en"));
            writeln!(rows, "st{at:04},street,Phường {area},Đường {name} {at},Street {at},,{vi},{en},,").ok();
            rows
        },
    )
}

fn signs() -> String {
    (0..SIGNS).fold("code,place,status,lat,lon,mounted,target,successor,aliases,note\n".to_owned(), |mut rows, at| {
        // Spread over the province without a pattern that a grid would favour.
        let (lat, lon) =
            (21.4 + (at * 7919 % 10_007) as f64 / 10_007.0, 106.1 + (at * 104_729 % 10_009) as f64 / 10_009.0);
        writeln!(rows, "S{at:07},st{:04},active,{lat:.5},{lon:.5},2026-05-12,,,,biển {at}", at % PLACES).ok();
        rows
    })
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let path = |name: &str| folder.path().join(name);
    fs::write(path("places.csv"), places())?;
    fs::write(path("signs.csv"), signs())?;
    fs::write(
        path("waypost.toml"),
        "[edge]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [console]\nlisten = \"127.0.0.1:0\"\npath = \"data/console.db\"\n\
         [registry]\nallowed_hosts = [\"langson.gov.vn\", \"*.langson.gov.vn\"]\n\
         [journal]\ndir = \"journal\"\n[store]\npath = \"data/waypost.db\"\n[log]\nformat = \"json\"\n",
    )?;
    {
        let _makes_the_store = start(folder.path())?;
        let until = Instant::now() + Duration::from_mins(1);
        while !path("data/waypost.db").exists() && Instant::now() < until {
            thread::sleep(Duration::from_millis(50));
        }
        thread::sleep(Duration::from_secs(1));
    }
    fill(&path("data/waypost.db"))?;
    let _edge = start(folder.path())?;
    let log = fs::read_to_string(path("log"))?;
    let person = Person::invited(&invitation(&log).ok_or("no invitation")?, "lan.nguyen")?;
    // The figures are taken in the background.
    wait_for_figures(&person)?;
    println!("{PLACES} places, {SIGNS} signs, {TIMES} times each\n");
    println!("| page | median | longest | size |\n|---|---|---|---|");
    for page in [
        "/",
        "/signs",
        "/signs?q=hung+vuong",
        "/signs?area=Phường%207&sort=scans",
        "/signs?page=300",
        "/signs/S0000007",
        "/places",
        "/places?q=phai+ve",
        "/places/st0007",
        "/map",
        "/map?color=state",
        "/map?area=Phường%207",
        "/changes",
        "/replace",
        "/replace?find=langson.gov.vn&replace=moi.langson.gov.vn",
        "/overrides",
        "/import",
        "/history",
        "/accounts",
        "/account",
    ] {
        measure(&person, page)?;
    }
    let changed = signs().replace("biển 1", "biển số 1");
    let imported = person.import("signs", "whole", &changed)?;
    println!(
        "| an import of {SIGNS} signs, 11,111 of them changed ({}) | {:.0} ms | | |",
        imported.status,
        ms(imported.took)
    );
    measure(&person, "/changes/1")?;
    measure(&person, "/changes")?;
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn measure(person: &Person, page: &str) -> Result<()> {
    let (mut took, mut bytes) = (Vec::new(), 0);
    for _ in 0..TIMES {
        let seen = person.get(page)?;
        if seen.status != 200 {
            return Err(format!("{page}: {}", seen.status).into());
        }
        took.push(seen.took);
        bytes = seen.bytes;
    }
    took.sort();
    println!("| `{page}` | {:.1} ms | {:.1} ms | {} KB |", ms(took[TIMES / 2]), ms(took[TIMES - 1]), bytes / 1000);
    Ok(())
}

fn start(folder: &Path) -> Result<Edge> {
    let log = folder.join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
    command.args(["serve", "--config"]).arg(folder.join("waypost.toml")).env_remove("RUST_LOG");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?;
    let edge = Edge(child);
    let until = Instant::now() + Duration::from_mins(1);
    while !fs::read_to_string(&log)?.contains("console invitation") {
        if Instant::now() > until {
            return Err(fs::read_to_string(&log)?.into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(edge)
}

/// Headline scans of every sign, in four hours of each of the last 30 days.
fn fill(path: &Path) -> Result<()> {
    let mut database = rusqlite::Connection::open(path)?;
    let transaction = database.transaction()?;
    {
        let mut insert =
            transaction.prepare("INSERT INTO sign_hours (code, hour, scans, last) VALUES (?1, ?2, ?3, ?2)")?;
        let today = jiff::Timestamp::now().as_millisecond() / 86_400_000;
        for sign in 0..SIGNS {
            for day in 0..30 {
                for hour in [1, 4, 8, 11] {
                    let hour = (today - day) * 86_400_000 + hour * 3_600_000;
                    insert.execute((format!("S{sign:07}"), hour, i64::try_from(sign % 9 + 1)?))?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Until the first page with a chart has scans.
fn wait_for_figures(person: &Person) -> Result<()> {
    let until = Instant::now() + Duration::from_mins(2);
    let begun = Instant::now();
    let empty = person.get("/signs/S0000007")?.bytes;
    while person.get("/signs/S0000007")?.bytes == empty {
        if Instant::now() > until {
            return Err("no figures came".into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    println!("figures of {SIGNS} signs, 2,400,000 hours: {:.1} s after the start\n", begun.elapsed().as_secs_f64());
    Ok(())
}
