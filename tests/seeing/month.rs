//! A made history of scans, delivered to ClickHouse by Waypost's own code, and kept here to be
//! counted without it: two months up to now, of a registry with names that SQL must quote, in its
//! second generation.

use std::collections::BTreeMap;
use std::fs;

use waypost::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Scan};
use waypost::store::Batch;

use crate::support::clickhouse::ClickHouse;
use crate::support::{Random, Setup, wait_for};

pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 24 * HOUR_MS;
/// Two local months or more, so that there are at least two partitions.
const DAYS: i64 = 62;
const SCANS: u32 = 20_000;

/// Area and kind of each place, which has three signs.
const PLACES: [(&str, &str); 8] = [
    ("Phường Tam Thanh", "street"),
    ("Phường Tam Thanh", "relic"),
    ("Chợ 'Đêm' \\ Kỳ Lừa", "street"),
    ("Chợ 'Đêm' \\ Kỳ Lừa", "lối 'cổ' \\ mới"),
    ("Xã Chi Lăng\\", "relic"),
    ("Xã Chi Lăng\\", "street"),
    ("Đông Kinh, (cũ)", ""),
    ("", "relic"),
];
/// More than any other.
pub const BUSY: &str = "S000";
/// In the registry, active, and never scanned.
pub const NEVER: &str = "S005";
/// Busy until three weeks ago.
pub const SILENT: &str = "S004";
/// Not mounted yet, but scanned.
pub const PLANNED: &str = "S006";
pub const RETIRED: &str = "S007";
/// Scanned from abroad.
pub const ABROAD: &str = "S008";
/// Has no position.
pub const UNPLACED: &str = "S009";
/// Scanned in its time; in the first generation of the registry alone.
pub const GONE: &str = "G001";

#[derive(Debug, Clone)]
pub struct Sign {
    pub place: usize,
    mounted: String,
    pub name: String,
    pub area: &'static str,
    pub kind: &'static str,
    pub status: &'static str,
    pub position: Option<(f64, f64)>,
}

/// What was recorded, and what the registry says of the signs.
pub struct Month {
    pub now: i64,
    pub scans: Vec<Scan>,
    pub signs: BTreeMap<String, Sign>,
}

impl Month {
    /// Makes it and delivers it.
    pub fn delivered(engine: &ClickHouse) -> Self {
        let mut random = Random::new();
        let mut month = Self { now: 0, scans: Vec::new(), signs: signs() };
        // What was first: a sign more, and one that was not mounted yet.
        let gone = Sign { status: "active", ..month.signs[UNPLACED].clone() };
        let busy = Sign { status: "planned", ..month.signs[BUSY].clone() };
        let mut first = month.signs.clone();
        first.extend([(GONE.to_owned(), gone), (BUSY.to_owned(), busy)]);
        let setup = Setup::new().clickhouse(engine, engine.address).registry(&places_csv(), &signs_csv(&first));
        let mut edge = setup.start();
        let made = "SELECT count() FROM system.tables WHERE database = '{db}' AND name = 'schema_version'";
        wait_for("the tables are made", || (engine.number(made) == 1).then_some(()));
        for signs in [&first, &month.signs] {
            fs::write(edge.setup.path("config/signs.csv"), signs_csv(signs)).unwrap();
            let delivered = || engine.number("SELECT count() FROM {db}.signs_current") == signs.len() as u64;
            wait_for("the registry is delivered", || delivered().then_some(()));
        }
        edge.stop();
        // The next full second: the registry is older.
        month.now = (jiff::Timestamp::now().as_second() + 1) * 1000;
        eprintln!("the history ends at {}", month.now);

        let mut store = engine.store(engine.address);
        let scans: Vec<Scan> = (0..SCANS).map(|_| month.scan(&mut random)).collect();
        for scans in scans.chunks(2000) {
            let scans = (0..).zip(scans.iter().copied()).collect();
            store.insert(&Batch { id: uuid::Uuid::now_v7(), edge: "test".to_owned(), scans }).unwrap();
        }
        month.scans = scans;
        month.judge(engine);
        month
    }

    /// What the daily computation leaves: each state, a group, and a reason to think of a copy.
    fn judge(&self, engine: &ClickHouse) {
        engine.query(&format!(
            "INSERT INTO {{db}}.sign_health
             SELECT 'test', toDate(now, 'Asia/Ho_Chi_Minh'), now, sign.code,
                 transform(sign.code,
                     ['{SILENT}', '{NEVER}', 'S012', 'S020', 'S001', 'S002', 'S003', '{PLANNED}', '{RETIRED}'],
                     ['silent', 'never_scanned', 'silent', 'silent', 'quiet', 'not_enough_data', 'new', 'new',
                         'not_enough_data'], 'normal') AS state,
                 scanned.last, 2, 4, if(state IN ('silent', 'quiet', 'normal'), 400, NULL),
                 if(state IN ('silent', 'quiet', 'normal'), toDate(now) + 9, NULL),
                 transform(sign.code, ['{PLANNED}', '{RETIRED}', '{ABROAD}'], ['planned', 'retired', 'abroad'], ''),
                 if(state = 'silent', 'street', '') AS together, if(together = '', '', 'Đường O''Neil'),
                 sign.code = '{BUSY}', 0.005
             FROM (
                 SELECT code, fromUnixTimestamp64Milli({}) AS now FROM {{db}}.signs_current
             ) AS sign
             LEFT JOIN (
                 SELECT code, maxOrNull(last) AS last FROM {{db}}.hours_by_sign GROUP BY code
             ) AS scanned ON scanned.code = sign.code",
            self.now
        ));
    }

    fn scan(&self, random: &mut Random) -> Scan {
        // Few signs take most of it, and the evening most of a day.
        let number = random.below(24).min(random.below(24));
        let mut code = if random.below(40) == 0 { GONE.to_owned() } else { code(number) };
        if code == NEVER {
            SILENT.clone_into(&mut code);
        }
        let day = if code == SILENT { 21 + random.below(DAYS as u64 - 21) } else { random.below(DAYS as u64) };
        let time = random.below(DAY_MS as u64).max(random.below(DAY_MS as u64));
        let mut outcome = if code == RETIRED { Outcome::Retired } else { Outcome::Found };
        let asked = random.of(&["vi", "vi", "vi", "en", "zh", "ko", "other", ""]);
        let mut served = if asked == "en" { random.of(&["en", "en-GB", "vi"]) } else { "vi" };
        let mut origin = Origin {
            country: random.of(&["VN", "VN", "VN", "CN", ""]).try_into().unwrap(),
            region: random.of(&["", "54"]).try_into().unwrap(),
        };
        if code == ABROAD {
            origin.country = "CN".try_into().unwrap();
        }
        let mut ts_ms = self.now - day as i64 * DAY_MS - (DAY_MS - time as i64);
        if random.below(30) == 0 {
            outcome = Outcome::Unknown;
            // A misprint, one character off a sign; or somebody guesses, for some minutes.
            if random.below(2) == 0 {
                "S0O2X".clone_into(&mut code);
            } else {
                code = format!("X{}", random.below(100_000));
                ts_ms = self.now - 5 * DAY_MS - random.below(600_000) as i64;
            }
        }
        if outcome != Outcome::Found {
            served = "";
        }
        Scan {
            ts_ms,
            generation: 1,
            code: code.parse().unwrap(),
            outcome,
            channel: random.of(&[Channel::Qr, Channel::Qr, Channel::Nfc, Channel::Typed]),
            client: Client {
                device: random.of(Device::ALL),
                os: random.of(Os::ALL),
                app: random.of(App::ALL),
                agent: random.of(&[Agent::Person, Agent::Person, Agent::Person, Agent::Bot, Agent::Prefetch]),
            },
            repeat: random.below(8) == 0,
            lang: asked.try_into().unwrap(),
            served: served.try_into().unwrap(),
            origin,
        }
    }
}

fn places_csv() -> String {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(["place", "kind", "area", "name", "target", "target:en"]).unwrap();
    for (number, (area, kind)) in PLACES.into_iter().enumerate() {
        let (target, english) = (format!("https://example.vn/{number}"), format!("https://example.vn/en/{number}"));
        table.write_record([&format!("p{number}"), kind, area, &place_name(number), &target, &english]).unwrap();
    }
    String::from_utf8(table.into_inner().unwrap()).unwrap()
}

fn signs_csv(signs: &BTreeMap<String, Sign>) -> String {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(["code", "place", "status", "lat", "lon", "mounted"]).unwrap();
    for (code, sign) in signs {
        let (lat, lon) = sign.position.map(|(lat, lon)| (lat.to_string(), lon.to_string())).unwrap_or_default();
        table.write_record([code, &format!("p{}", sign.place), sign.status, &lat, &lon, &sign.mounted]).unwrap();
    }
    String::from_utf8(table.into_inner().unwrap()).unwrap()
}

fn code(number: u64) -> String {
    format!("S{number:03}")
}

fn place_name(number: usize) -> String {
    format!("Đường O'Neil \\ \"Số {number}\"")
}

fn signs() -> BTreeMap<String, Sign> {
    let sign = |number: u64| {
        let place = number as usize % PLACES.len();
        let (area, kind) = PLACES[place];
        let code = code(number);
        let status = match code.as_str() {
            RETIRED => "retired",
            PLANNED => "planned",
            _ => "active",
        };
        let at = ((21_850 + number) as f64 / 1000.0, (106_750 + number) as f64 / 1000.0);
        let position = (code != UNPLACED).then_some(at);
        let mounted = format!("2022-01-{:02}", 1 + number);
        (code, Sign { place, name: place_name(place), area, kind, status, position, mounted })
    };
    (0..24).map(sign).collect()
}
