//! A made history of signs, each one case with a rule's threshold just met or just missed, and what the rule of sign
//! health says of it; for the dashboards of all signs' health and of one sign.

use crate::grafana::{Answer, Choice, Dashboard, Selection};
use crate::month::{DAY_MS, HOUR_MS};
use crate::support::clickhouse::ClickHouse;
use crate::support::{Setup, scan_by_a_person, wait_for};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use waypost::core::scan::{Agent, Channel, Outcome, Scan};
use waypost::health::{self, Assessment, Report};
use waypost::registry::Status;
use waypost::store::{self, Batch};

/// 08:00 on 1 December 2066 in Lạng Sơn, a Wednesday: so far off that the tables keep it.
pub const NOW: i64 = 3_058_362_000_000 + 8 * HOUR_MS;
/// An area that SQL must quote.
pub const MARKET: &str = "Chợ 'Đêm'";

/// Code, place, status, latitude (one in a thousand is 111 m), day of mounting.
pub const SIGNS: &[(&str, &str, &str, &str, &str)] = &[
    ("STEADY01", "street", "active", "21.850", "2022-05-01"),
    ("BUSY0001", "street", "active", "21.851", "2022-05-01"),
    ("BEEP0001", "market", "active", "21.852", ""),
    ("HUSH0001", "street", "active", "21.8585", "2022-05-01"),
    ("JUST0001", "street", "active", "", "2022-05-01"),
    ("PAUSE001", "street", "active", "", "2022-05-01"),
    ("YEAR0001", "street", "active", "21.860", ""),
    ("NEW00001", "street", "active", "21.861", "2066-11-07"),
    ("RARE0001", "market", "active", "", "2022-05-01"),
    ("SCH00001", "street", "active", "", "2022-05-01"),
    ("NEVER001", "market", "active", "21.9005", "2066-10-02"),
    ("NEVER002", "street", "active", "", ""),
    ("MENDED01", "street", "active", "", "2066-11-20"),
    ("FUTURE01", "street", "active", "", "2066-12-24"),
    ("PREPARED", "street", "planned", "", ""),
    ("RET1RED1", "street", "retired", "21.849", "2022-05-01"),
    ("RET1RED2", "street", "retired", "", "2022-05-01"),
    ("ABR0AD01", "market", "active", "", ""),
    ("HA1F0001", "street", "active", "", ""),
    ("FEW00001", "street", "active", "", ""),
    ("BACK0001", "street", "active", "", "2022-05-01"),
    ("PARK0001", "park", "active", "21.900", ""),
    ("PARK0002", "park", "active", "21.901", ""),
    ("PARK0003", "park", "active", "21.902", ""),
    ("PARK0004", "park", "active", "21.903", ""),
    ("EVERY001", "gate", "active", "", ""),
    ("EVERY002", "gate", "active", "", ""),
    ("EVERY003", "gate", "active", "", ""),
    ("EVERY004", "gate", "active", "", ""),
    ("EVERY005", "gate", "active", "", ""),
    ("EVERY006", "gate", "active", "", ""),
    ("EVERY007", "gate", "active", "", ""),
    ("EVERY008", "gate", "active", "", ""),
    ("EVERY009", "gate", "active", "", ""),
    ("BURST001", "gate", "active", "", ""),
    ("QU1ET001", "gate", "active", "", ""),
    ("G0NE0001", "field", "active", "", ""),
    ("G0NE0002", "field", "active", "", ""),
    ("G0NE0003", "field", "active", "", ""),
];
/// In the first generation only.
pub const DELETED: &str = "DE1ETED1";

/// Place, kind, area, name; its English name and its targets, and what is told of it.
const PLACES: [(&str, &str, &str, &str, &str); 5] = [
    ("street", "street", "Kỳ Lừa", "Đường Một", "One Street,https://example.vn/one,https://example.vn/en/one,,,"),
    ("market", "relic", MARKET, "Chợ 'Đêm'", ",https://example.vn/market,,,,"),
    ("park", "scenic", "", "Công viên", ",https://example.vn/park,,,,"),
    ("gate", "gate", "Đông Kinh", "Cửa khẩu", ",https://example.vn/gate,,,,"),
    ("field", "public_work", "Đồng Đăng", "Sân vận động", ",,,Trận đấu 1960,Từ năm 1960,Since 1960"),
];

fn setup(engine: &ClickHouse) -> Setup {
    let header = "code,place,status,lat,lon,mounted,target\n";
    let row = |&(code, place, status, lat, mounted): &(&str, &str, &str, &str, &str)| {
        let lon = if lat.is_empty() { "" } else { "106.75" };
        format!("{code},{place},{status},{lat},{lon},{mounted},\n")
    };
    let signs = SIGNS.iter().map(row).fold(header.to_owned(), |all, row| all + &row);
    let place = |(place, kind, area, name, rest)| format!("{place},{kind},{area},{name},{rest}\n");
    let places = "place,kind,area,name,name:en,target,target:en,namesake,about,about:en\n".to_owned()
        + &PLACES.map(place).concat();
    let setup = Setup::new().clickhouse(engine, engine.address);
    setup.registry(&places, &format!("{signs}{DELETED},street,active,,,,\n"))
}

/// Two generations of the registry and the scans, delivered by Waypost's own code.
pub fn deliver(engine: &ClickHouse, history: &History) {
    let mut edge = setup(engine).start();
    let current = |code: &str| format!("SELECT count() FROM {{db}}.signs_current WHERE code = '{code}'");
    wait_for("the tables are made", || {
        let made = "SELECT count() FROM system.tables WHERE database = '{db}' AND name = 'schema_version'";
        (engine.number(made) == 1).then_some(())
    });
    wait_for("the first generation", || (engine.number(&current(DELETED)) == 1).then_some(()));
    let path = edge.setup.path("config/signs.csv");
    let signs = std::fs::read_to_string(&path).unwrap();
    let changed = signs
        .replace(&format!("{DELETED},street,active,,,,\n"), "")
        .replace("21.850,106.75,2022-05-01,\n", "21.850,106.75,2022-05-01,https://example.vn/elsewhere\n");
    std::fs::write(&path, changed).unwrap();
    wait_for("the second generation", || (engine.number(&current(DELETED)) == 0).then_some(()));
    edge.stop();
    let scans = (0..).zip(history.0.iter().copied()).collect();
    let batch = Batch { id: uuid::Uuid::now_v7(), edge: "test".to_owned(), scans };
    engine.store(engine.address).insert(&batch).unwrap();
}

#[derive(Default)]
pub struct History(Vec<Scan>);

impl History {
    /// A scan by a person, so many days and hours ago.
    fn scan(&mut self, code: &str, days: i64, hours: i64) -> &mut Scan {
        let mut scan = scan_by_a_person(code, NOW - days * DAY_MS - hours * HOUR_MS + 1);
        scan.origin.country = "VN".try_into().unwrap();
        self.0.push(scan);
        self.0.last_mut().unwrap()
    }

    fn unknown(&mut self, code: &str, days: i64, hours: i64) -> &mut Scan {
        let scan = self.scan(code, days, hours);
        (scan.outcome, scan.served) = (Outcome::Unknown, "".try_into().unwrap());
        scan
    }

    pub fn made() -> Self {
        let mut history = Self::default();
        history.plates();
        history.bots_and_repeats();
        history.neighbours();
        history.retired_and_abroad();
        history.unknown_codes();
        history
    }

    /// Three months and more of persons, until each plate falls silent, or doesn't.
    fn plates(&mut self) {
        for day in 0..95 {
            (1..25).for_each(|hour| _ = self.scan("STEADY01", day, hour));
            for hour in 1..5 {
                if day >= 10 {
                    self.scan("BUSY0001", day, hour);
                    self.scan("BEEP0001", day, hour);
                }
            }
            if day >= 6 {
                self.scan("HUSH0001", day, 3);
                // Twice as much: more than 7 expected, less than 9.
                self.scan("JUST0001", day, 3);
                self.scan("JUST0001", day, 6);
            }
            // Three days less an hour are a weekend, however busy it was before.
            if day >= 2 {
                let from = if day == 2 { 23 } else { 16 };
                (from..25).for_each(|hour| _ = self.scan("PAUSE001", day, hour));
            }
            if day == 81 || day == 88 {
                self.scan("RARE0001", day, 3);
            }
            if day > 80 {
                // Its rate is that of the time before its silence, which would dilute it.
                for hour in 0..8 {
                    self.scan("YEAR0001", day + 320, hour);
                }
            }
            if day >= 12 {
                // Before it was mounted anew.
                self.scan("MENDED01", day, 3);
            }
        }
        // Ten days on the wall, then eleven without a scan: a rate of 14 days, not of 10 or 90.
        (11..21).for_each(|day| _ = self.scan("NEW00001", day, 20));
        // A class of sixty, within an hour.
        (0..60).for_each(|_| _ = self.scan("SCH00001", 20, 1));
    }

    /// Signs that are judged beside others.
    fn neighbours(&mut self) {
        let square = [
            "EVERY001", "EVERY002", "EVERY003", "EVERY004", "EVERY005", "EVERY006", "EVERY007", "EVERY008", "EVERY009",
            "BURST001",
        ];
        for day in 0..95 {
            for code in &square {
                self.scan(code, day, 6);
            }
            // Three neighbours until three weeks ago, within days of each other, and one that goes on.
            (20..23)
                .filter(|last| day >= *last)
                .for_each(|last| _ = self.scan(&format!("PARK000{}", last - 19), day, 6));
            self.scan("PARK0004", day, 6);
            // One area's signs went one by one.
            [25, 32, 38]
                .iter()
                .zip(1..)
                .filter(|(last, _)| day >= **last)
                .for_each(|(_, n)| _ = self.scan(&format!("G0NE000{n}"), day, 6));
            if day >= 14 {
                self.scan("QU1ET001", day, 6);
            }
            // Somebody put it back two weeks ago.
            if !(14..50).contains(&day) {
                self.scan("BACK0001", day, 6);
            }
        }
        // A copy of one, the day before yesterday; and a festival that all had.
        (7..17).for_each(|hour| _ = self.scan("BURST001", 2, hour));
        for code in &square {
            (7..17).for_each(|hour| _ = self.scan(code, 4, hour));
        }
        self.scan("PREPARED", 3, 2);
    }

    /// They say nothing about a plate.
    fn bots_and_repeats(&mut self) {
        for day in 0..10 {
            self.scan("BEEP0001", day, 1).client.agent = Agent::Bot;
            self.scan("BEEP0001", day, 2).client.agent = Agent::Prefetch;
            self.scan("BEEP0001", day, 3).repeat = true;
        }
        self.scan("NEVER001", 7, 1).client.agent = Agent::Bot;
    }

    fn retired_and_abroad(&mut self) {
        for (day, agent, repeat) in
            [(1, Agent::Person, false), (9, Agent::Person, false), (9, Agent::Bot, false), (9, Agent::Person, true)]
        {
            let scan = self.scan("RET1RED1", day, 1);
            (scan.outcome, scan.client.agent, scan.repeat) = (Outcome::Retired, agent, repeat);
        }
        // In use again.
        self.scan("HUSH0001", 50, 7).outcome = Outcome::Retired;
        for (code, home, abroad, nowhere) in [("ABR0AD01", 9, 11, 10), ("HA1F0001", 10, 10, 0), ("FEW00001", 0, 19, 1)]
        {
            for (country, count) in [("VN", home), ("CN", abroad), ("", nowhere)] {
                (0..count).for_each(|_| self.scan(code, 1, 1).origin.country = country.try_into().unwrap());
            }
        }
    }

    fn unknown_codes(&mut self) {
        // Misprinted: one character off, scanned three times, and once more within the repeat window.
        (0..3).for_each(|day| _ = self.unknown("STEADY07", day, 1));
        self.unknown("STEADY07", 1, 1).repeat = true;
        // One character off, but scanned twice; and two characters swapped, typed.
        (0..2).for_each(|day| _ = self.unknown("BUSY0007", day, 1));
        (0..5).for_each(|_| self.unknown("BSUY0001", 1, 1).channel = Channel::Typed);
        self.unknown(DELETED, 3, 1).channel = Channel::Nfc;
        (0..3).for_each(|day| _ = self.unknown("ZZZZ9999", day, 2));
        // Its row came late.
        self.unknown("RARE0001", 80, 1);
        // Before the time range.
        (0..9).for_each(|_| _ = self.unknown("STEADY99", 91, 1));
        // Somebody guesses: twenty codes within an hour, one of them with a browser's name; and nineteen.
        for (count, day) in [(20, 2), (19, 4)] {
            for n in 0..count {
                self.unknown(&format!("G{day}X{n:05}"), day, 5).client.agent = Agent::Bot;
            }
        }
        self.unknown("G2X00000", 2, 5);
    }
}

/// The signs as the rule of sign health reads them.
fn registered() -> Vec<health::Sign> {
    let sign = |&(code, place, status, lat, mounted): &(&str, &str, &str, &str, &str)| {
        let (_, kind, area, name, _) = PLACES.into_iter().find(|known| known.0 == place).unwrap();
        health::Sign {
            code: code.parse().unwrap(),
            status: Status::ALL.into_iter().find(|known| known.as_str() == status).unwrap(),
            place: place.to_owned(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            area: area.to_owned(),
            position: lat.parse().ok().map(|lat| (lat, 106.75)),
            mounted: (!mounted.is_empty()).then(|| day(midnight(mounted))),
        }
    };
    SIGNS.iter().map(sign).collect()
}

/// Of a time in milliseconds, in the province's time zone.
pub fn day(ms: i64) -> waypost::core::Day {
    (ms + 7 * HOUR_MS).div_euclid(DAY_MS) as waypost::core::Day
}

/// The dashboards over the made history, in a time range of 90 days. The states were computed twice: nine
/// days ago, and now.
pub struct Asked {
    pub engine: ClickHouse,
    pub before: Report,
    pub report: Report,
    pub health: Dashboard,
    pub sign: Dashboard,
}

impl Asked {
    pub fn new() -> Self {
        let (engine, history) = (ClickHouse::start(), History::made());
        deliver(&engine, &history);
        let before = computed(&engine, NOW - 9 * DAY_MS);
        keep(&engine, "test", &before, NOW - 9 * DAY_MS);
        let report = computed(&engine, NOW);
        // What another edge computed earlier on the same day does not count.
        keep(&engine, "other", &Report { day: report.day, ..before.clone() }, NOW - HOUR_MS);
        keep(&engine, "test", &report, NOW);
        Self { engine, before, report, health: Dashboard::load("health"), sign: Dashboard::load("sign") }
    }

    pub fn health(&self, title: &str) -> Answer {
        self.health_at(NOW, title)
    }

    pub fn health_at(&self, to: i64, title: &str) -> Answer {
        Selection::opened(&self.health, to - 90 * DAY_MS, to).ask_panel(&self.engine, &self.health, title)
    }

    /// What the rule says of a sign.
    pub fn judged(&self, code: &str) -> &Assessment {
        let code = code.parse().unwrap();
        self.report.rows.iter().find(|row| row.code == code).unwrap()
    }

    pub fn sign(&self, code: &str, title: &str) -> Answer {
        let selection = Selection::opened(&self.sign, NOW - 90 * DAY_MS, NOW).choose("sign", Choice::one(code));
        selection.ask_panel(&self.engine, &self.sign, title)
    }

    /// The one value of a stat panel's column.
    #[track_caller]
    pub fn figure(&self, code: &str, title: &str) -> Value {
        let answer = self.sign(code, title);
        assert_eq!(answer.rows.len(), 1, "{title}");
        answer.rows[0][0].clone()
    }
}

/// Rows as texts joined by ` | `, of some columns.
pub fn rows(answer: &Answer, columns: &[&str]) -> Vec<String> {
    let columns: Vec<Vec<String>> = columns.iter().map(|name| answer.texts(name)).collect();
    (0..answer.rows.len()).map(|row| columns.iter().map(|c| c[row].as_str()).collect::<Vec<_>>().join(" | ")).collect()
}

pub fn timezone() -> TimeZone {
    TimeZone::get("Asia/Ho_Chi_Minh").unwrap()
}

/// What the rule says as of a time, of what the store gives it.
fn computed(engine: &ClickHouse, now: i64) -> Report {
    let (settings, now_at) = (engine.settings(), Timestamp::from_millisecond(now).unwrap());
    store::fill(&settings, &timezone(), now_at).unwrap();
    let seen = store::observe(&settings, &timezone(), now_at).unwrap();
    health::examine(&registered(), &seen, day(now), health::BUDGET)
}

pub fn keep(engine: &ClickHouse, edge: &str, report: &Report, computed: i64) {
    let computed = Timestamp::from_millisecond(computed).unwrap();
    store::keep(&engine.settings(), &timezone(), edge, report, computed).unwrap();
}

fn midnight(day: &str) -> i64 {
    let day: jiff::civil::Date = day.parse().unwrap();
    day.in_tz("Asia/Ho_Chi_Minh").unwrap().timestamp().as_millisecond()
}
