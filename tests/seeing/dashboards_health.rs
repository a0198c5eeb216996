//! The dashboards "health" and "sign" name exactly the signs that they should: a history of
//! signs, each one case, judged by the rule of sign health and kept by Waypost's own code.

use std::collections::BTreeMap;

use crate::grafana::{Answer, Choice, Dashboard, Selection, text};
use crate::month::{DAY_MS, HOUR_MS};
use crate::support::clickhouse::ClickHouse;
use crate::support::{Setup, scan_by_a_person, wait_for};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use waypost::core::scan::{Agent, Channel, Outcome, Scan};
use waypost::health::{self, Assessment, Group, GroupKind, Report, State, Suspicion};
use waypost::registry::Status;
use waypost::store::{self, Batch};

/// 08:00 on 1 December 2066 in Lạng Sơn, a Wednesday: so far off that the tables keep it.
const NOW: i64 = 3_058_362_000_000 + 8 * HOUR_MS;
/// An area that SQL must quote.
const MARKET: &str = "Chợ 'Đêm'";

/// Code, place, status, latitude (one in a thousand is 111 m), day of mounting.
const SIGNS: &[(&str, &str, &str, &str, &str)] = &[
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
const DELETED: &str = "DE1ETED1";

/// Place, kind, area, name; its English name and its targets.
const PLACES: [(&str, &str, &str, &str, &str); 5] = [
    ("street", "street", "Kỳ Lừa", "Đường Một", "One Street,https://example.vn/one,https://example.vn/en/one"),
    ("market", "relic", MARKET, "Chợ 'Đêm'", ",https://example.vn/market,"),
    ("park", "scenic", "", "Công viên", ",https://example.vn/park,"),
    ("gate", "gate", "Đông Kinh", "Cửa khẩu", ",https://example.vn/gate,"),
    ("field", "public_work", "Đồng Đăng", "Sân vận động", ",https://example.vn/field,"),
];

fn setup(engine: &ClickHouse) -> Setup {
    let header = "code,place,status,lat,lon,mounted,target\n";
    let row = |&(code, place, status, lat, mounted): &(&str, &str, &str, &str, &str)| {
        let lon = if lat.is_empty() { "" } else { "106.75" };
        format!("{code},{place},{status},{lat},{lon},{mounted},\n")
    };
    let signs = SIGNS.iter().map(row).fold(header.to_owned(), |all, row| all + &row);
    let place = |(place, kind, area, name, rest)| format!("{place},{kind},{area},{name},{rest}\n");
    let places = "place,kind,area,name,name:en,target,target:en\n".to_owned() + &PLACES.map(place).concat();
    let setup = Setup::new().clickhouse(engine, engine.address);
    setup.registry(&places, &format!("{signs}{DELETED},street,active,,,,\n"))
}

/// Two generations of the registry and the scans, delivered by Waypost's own code.
fn deliver(engine: &ClickHouse, history: &History) {
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
struct History(Vec<Scan>);

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

    fn made() -> Self {
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
fn day(ms: i64) -> health::Day {
    (ms + 7 * HOUR_MS).div_euclid(DAY_MS) as health::Day
}

/// The dashboards over the made history, in a time range of 90 days. The states were computed twice: nine
/// days ago, and now.
struct Asked {
    engine: ClickHouse,
    before: Report,
    report: Report,
    health: Dashboard,
    sign: Dashboard,
}

impl Asked {
    fn new() -> Self {
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

    fn health(&self, title: &str) -> Answer {
        self.health_at(NOW, title)
    }

    fn health_at(&self, to: i64, title: &str) -> Answer {
        Selection::opened(&self.health, to - 90 * DAY_MS, to).ask_panel(&self.engine, &self.health, title)
    }

    /// What the rule says of a sign.
    fn judged(&self, code: &str) -> &Assessment {
        let code = code.parse().unwrap();
        self.report.rows.iter().find(|row| row.code == code).unwrap()
    }

    fn sign(&self, code: &str, title: &str) -> Answer {
        let selection = Selection::opened(&self.sign, NOW - 90 * DAY_MS, NOW).choose("sign", Choice::one(code));
        selection.ask_panel(&self.engine, &self.sign, title)
    }

    /// The one value of a stat panel's column.
    #[track_caller]
    fn figure(&self, code: &str, title: &str) -> Value {
        let answer = self.sign(code, title);
        assert_eq!(answer.rows.len(), 1, "{title}");
        answer.rows[0][0].clone()
    }
}

/// Rows as texts joined by ` | `, of some columns.
fn rows(answer: &Answer, columns: &[&str]) -> Vec<String> {
    let columns: Vec<Vec<String>> = columns.iter().map(|name| answer.texts(name)).collect();
    (0..answer.rows.len()).map(|row| columns.iter().map(|c| c[row].as_str()).collect::<Vec<_>>().join(" | ")).collect()
}

fn timezone() -> TimeZone {
    TimeZone::get("Asia/Ho_Chi_Minh").unwrap()
}

/// What the rule says as of a time, of what the store gives it.
fn computed(engine: &ClickHouse, now: i64) -> Report {
    let (settings, now_at) = (engine.settings(), Timestamp::from_millisecond(now).unwrap());
    store::fill(&settings, &timezone(), now_at).unwrap();
    let seen = store::observe(&settings, &timezone(), now_at).unwrap();
    health::examine(&registered(), &seen, day(now), health::BUDGET)
}

fn keep(engine: &ClickHouse, edge: &str, report: &Report, computed: i64) {
    let computed = Timestamp::from_millisecond(computed).unwrap();
    store::keep(&engine.settings(), &timezone(), edge, report, computed).unwrap();
}

fn midnight(day: &str) -> i64 {
    let day: jiff::civil::Date = day.parse().unwrap();
    day.in_tz("Asia/Ho_Chi_Minh").unwrap().timestamp().as_millisecond()
}

const STATES: &str = "Tình trạng các biển QR đang sử dụng";
const COMPUTED: &str = "Lần tính gần nhất";
const GROUPS: &str = "Nhiều biển QR cùng không còn lượt quét: đường, phố có thể bị rào";
const SUSPICIONS: &str = "Mã có dấu hiệu bị sao chép";
const SILENT: &str = "Biển QR không còn lượt quét (nghi hỏng)";
const MAP: &str = "Bản đồ tình trạng các biển QR";
const QUIET: &str = "Biển QR ít lượt hơn thường lệ";
const INSPECTION: &str = "Danh sách kiểm tra tại chỗ";
const NEW: &str = "Biển QR mới gắn";
const SUSPECTS: &str = "Biển QR có dấu hiệu bị sao chép";
const RATE: &str = "Cảnh báo sai mỗi tháng, trên 1.000 biển QR";

/// Columns of [`STATES`].
const OF_STATES: [&str; 6] = ["silent", "quiet", "normal", "not_enough_data", "never_scanned", "new"];

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn health_lists_exactly_the_signs_that_need_a_look() {
    let asked = Asked::new();
    assert_eq!(rows(&asked.health(STATES), &OF_STATES), [counted(&asked.report)]);
    assert_eq!(counted(&asked.report), "9 | 1 | 17 | 5 | 2 | 2");
    // The surest first: a week's weekends are no alarm, two scans in a year no rate.
    assert_eq!(
        rows(&asked.health(SILENT), &["code", "chance", "together"]),
        [
            "YEAR0001 | chưa tới 1 phần triệu | ",
            "BEEP0001 | 1 phần 510.000 | ",
            "G0NE0003 | 1 phần 340.000 | khu vực Đồng Đăng",
            "BUSY0001 | 1 phần 260.000 | ",
            "G0NE0002 | 1 phần 110.000 | khu vực Đồng Đăng",
            "G0NE0001 | 1 phần 21.000 | khu vực Đồng Đăng",
            "PARK0003 | 1 phần 9.100 | Công viên",
            "PARK0002 | 1 phần 6.800 | Công viên",
            "PARK0001 | 1 phần 5.000 | Công viên",
        ]
    );
    assert_eq!(rows(&asked.health(QUIET), &["code", "which", "chance"]), ["QU1ET001 | 11/11 | 1 phần 690"]);
    each_figure_is_the_rules(&asked);
    what_cannot_be_judged_is_a_list_for_inspection(&asked);
    silent_neighbours_are_one_line(&asked);
    the_map_has_each_sign_with_a_position(&asked);
    suspicions_stand_with_what_they_rest_on(&asked);
    the_promise_stands_beside_what_was(&asked);
    health_tells_a_misprint_from_a_slip_and_a_guess(&asked);
    what_is_old_is_said(&asked);
    the_filters_choose_among_the_signs(&asked);
    all_signs_together_point_to_the_edge(&asked);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn nothing_is_normal_before_the_first_computation() {
    let (engine, health) = (ClickHouse::start(), Dashboard::load("health"));
    deliver(&engine, &History::made());
    for title in [STATES, COMPUTED, GROUPS, SUSPICIONS, SILENT, MAP, QUIET, INSPECTION, NEW, SUSPECTS, RATE] {
        let answer = Selection::opened(&health, NOW - 90 * DAY_MS, NOW).ask_panel(&engine, &health, title);
        assert!(answer.rows.is_empty(), "{title}: {answer:?}");
    }
}

/// How many signs the rule has put into each state, as [`OF_STATES`].
fn counted(report: &Report) -> String {
    let count = |word: &str| report.count(State::ALL.into_iter().find(|state| state.as_str() == word).unwrap());
    OF_STATES.map(|word| count(word).to_string()).join(" | ")
}

/// What was expected, the day of the alarm, and the last scan.
fn each_figure_is_the_rules(asked: &Asked) {
    for title in [SILENT, QUIET] {
        for shown in rows(&asked.health(title), &["code", "expected", "alarm_on", "last"]) {
            let row = asked.judged(shown.split(" | ").next().unwrap());
            let (expected, alarm_on, since) =
                ((row.expected * 10.0).round() / 10.0, row.alarm_on.unwrap(), day(row.since_ms.unwrap()));
            let last = format!("{} (cách đây {} ngày)", date(since).strftime("%d/%m/%Y"), day(NOW) - since);
            assert_eq!(shown, format!("{} | {expected} | {} | {last}", row.code, date(alarm_on)));
        }
    }
}

fn date(day: health::Day) -> jiff::civil::Date {
    jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(day)
}

/// First the never scanned ones that have neighbours which are: of their place, or within 300 m.
fn what_cannot_be_judged_is_a_list_for_inspection(asked: &Asked) {
    assert_eq!(
        rows(&asked.health(INSPECTION), &["state", "code", "neighbours", "last", "mounted"]),
        [
            "never_scanned | NEVER002 | 10 | chưa có | null",
            "never_scanned | NEVER001 | 6 | chưa có | 2066-10-02",
            "not_enough_data | FEW00001 | 9 | 30/11/2066 (hôm qua) | null",
            "not_enough_data | HA1F0001 | 9 | 30/11/2066 (hôm qua) | null",
            "not_enough_data | SCH00001 | 9 | 11/11/2066 (cách đây 20 ngày) | 2022-05-01",
            "not_enough_data | RARE0001 | 2 | 11/09/2066 (cách đây 81 ngày) | 2022-05-01",
            "not_enough_data | ABR0AD01 | 1 | 30/11/2066 (hôm qua) | null",
        ]
    );
    // Judged within a month, NEW00001 is new no more.
    let new = rows(&asked.health(NEW), &["code", "last", "mounted"]);
    assert_eq!(new, ["MENDED01 | chưa có | 2066-11-20", "FUTURE01 | chưa có | 2066-12-24"]);
}

fn silent_neighbours_are_one_line(asked: &Asked) {
    let groups = asked.health(GROUPS);
    assert_eq!(
        rows(&groups, &["kind_of_group", "name", "signs", "advice"]),
        [
            "street | Công viên | 3 | hỏi xã, phường: rào đường, sửa chữa?",
            "area | Đồng Đăng | 3 | hỏi xã, phường: cấm đường, mất điện?",
        ]
    );
    let days = |column| {
        groups
            .texts(column)
            .iter()
            .map(|at| day((at.parse::<f64>().unwrap() * 1000.0) as i64) - day(NOW))
            .collect::<Vec<_>>()
    };
    assert_eq!((days("first"), days("last")), (vec![-22, -38], vec![-20, -25]));
}

fn the_map_has_each_sign_with_a_position(asked: &Asked) {
    let mut shown = rows(&asked.health(MAP), &["code", "state"]);
    // What is drawn last lies on top.
    assert!(shown.last().unwrap().ends_with("silent"), "{shown:?}");
    let placed = SIGNS.iter().filter(|sign| sign.2 == "active" && !sign.3.is_empty());
    let mut expected: Vec<String> =
        placed.map(|sign| format!("{} | {}", sign.0, asked.judged(sign.0).state.as_str())).collect();
    shown.sort();
    expected.sort();
    assert_eq!(shown, expected);
}

fn suspicions_stand_with_what_they_rest_on(asked: &Asked) {
    let reasons = Suspicion::ALL.map(Suspicion::as_str);
    assert_eq!(rows(&asked.health(SUSPICIONS), &reasons), ["1 | 1 | 1 | 1"]);
    // No scan of the month has a country: that is not none from abroad.
    assert_eq!(rows(&asked.health_at(NOW + 40 * DAY_MS, SUSPICIONS), &reasons), ["1 | 1 | null | 1"]);
    let columns = ["reason", "code", "status", "scans", "abroad", "countries", "last"];
    assert_eq!(
        rows(&asked.health(SUSPECTS), &columns),
        [
            "planned | PREPARED | planned | 1 | 0 | Việt Nam | 28/11/2066 (cách đây 3 ngày)",
            "retired | RET1RED1 | retired | 2 | 0 | Việt Nam | 30/11/2066 (hôm qua)",
            "abroad | FEW00001 | active | 20 | 1 | Trung Quốc, không rõ | 30/11/2066 (hôm qua)",
            "burst | BURST001 | active | 50 | 0 | Việt Nam | 01/12/2066 (hôm nay)",
        ]
    );
}

/// For the last 30 days, and by the day of each computation, whatever another edge says.
fn the_promise_stands_beside_what_was(asked: &Asked) {
    let measured = |report: &Report| {
        let (ended, scanned) = report.ended_alarms();
        1000.0 * ended as f64 / scanned as f64
    };
    let shown = asked.health(RATE);
    assert_eq!(
        (shown.texts("promised"), shown.column("measured")[0].as_f64()),
        (vec!["5".to_owned()], Some(measured(&asked.report)))
    );
    let by_day = |title, columns: &[&str]| {
        let answer = asked.health(title);
        assert_eq!(answer.rows.len(), 91, "a place for every day");
        rows(&answer, columns).into_iter().filter(|row| !row.starts_with("null")).collect::<Vec<_>>()
    };
    let days = |of: fn(&Report) -> String| [of(&asked.before), of(&asked.report)];
    assert_eq!(by_day("Số biển QR theo tình trạng, từng ngày", &OF_STATES), days(counted));
    let rates = by_day("Cảnh báo sai từng ngày, so với mục tiêu", &["promised", "measured"]);
    let figures: Vec<f64> = rates.iter().map(|row| row.strip_prefix("5 | ").unwrap().parse().unwrap()).collect();
    assert_eq!(figures, [measured(&asked.before), measured(&asked.report)]);
}

fn health_tells_a_misprint_from_a_slip_and_a_guess(asked: &Asked) {
    let unknown = asked.health("Mã lạ và mã gần nhất");
    let columns = ["verdict", "code", "scans", "scanned", "channels", "nearest", "nearest_name", "distance"];
    assert_eq!(
        rows(&unknown, &columns),
        [
            "có thể in sai | STEADY07 | 3 | 3 | quét mã QR | STEADY01 | Đường Một | 1",
            "đã xóa khỏi danh mục | DE1ETED1 | 1 | 1 | chạm NFC | DE1ETED1 | Đường Một | 0",
            "chưa có trong danh mục | ZZZZ9999 | 3 | 3 | quét mã QR |  |  | 7",
            "gõ nhầm | BSUY0001 | 5 | 0 | gõ mã | BUSY0001 | Đường Một | 1",
            "gõ nhầm | BUSY0007 | 2 | 2 | quét mã QR | BUSY0001 | Đường Một | 1",
            "nay đã có trong danh mục | RARE0001 | 1 | 1 | quét mã QR | RARE0001 | Chợ 'Đêm' | 0",
            "đoán mã | G2X00000 | 1 | 1 | quét mã QR |  |  | 4",
        ]
    );
    let first = unknown.texts("first")[0].parse::<f64>().unwrap() as i64;
    assert_eq!(
        (first, unknown.texts("last")[0].as_str()),
        ((NOW - 2 * DAY_MS - HOUR_MS) / 1000, "01/12/2066 (hôm nay)")
    );
    let hour = (NOW - 2 * DAY_MS - 5 * HOUR_MS) / 1000;
    let guessed = asked.health("Giờ có người dò mã");
    let columns = ["hour", "codes", "requests", "persons", "channels", "countries"];
    assert_eq!(rows(&guessed, &columns), [format!("{hour} | 20 | 21 | 1 | quét mã QR | Việt Nam")]);
    let days = asked.health("Yêu cầu mã lạ theo ngày");
    let day = |at: i64| text(&Value::from((at - (at + 7 * HOUR_MS).rem_euclid(DAY_MS)) / 1000));
    let requests = days.sums(&["time"], "requests");
    assert_eq!(days.rows.len(), 91, "a bar for every day, also for those without");
    assert_eq!((requests[&day(NOW - 2 * DAY_MS)], requests[&day(NOW - 9 * DAY_MS)]), (23, 0));
}

/// When nothing is computed any more, and when nothing came from anywhere.
fn what_is_old_is_said(asked: &Asked) {
    let at = |days, title, column| asked.health_at(NOW + days * DAY_MS, title).texts(column);
    assert_eq!(at(2, COMPUTED, "computed"), ["01/12/2066 08:00"]);
    assert_eq!(at(3, COMPUTED, "computed"), ["01/12/2066 08:00 · đã quá 2 ngày: xem bảng Máy phục vụ"]);
    let newest = "Lượt ghi nhận mới nhất";
    assert_eq!(at(2, newest, "newest_scan"), ["01/12/2066 07:00"]);
    assert_eq!(at(4, newest, "newest_scan"), ["01/12/2066 07:00 · đã quá 3 ngày: xem bảng Máy phục vụ"]);
    assert!(at(900, newest, "newest_scan").is_empty());
    // The days since the last scan go on, also while nothing is computed.
    assert_eq!(at(10, QUIET, "last"), ["17/11/2066 (cách đây 24 ngày)"]);
}

fn the_filters_choose_among_the_signs(asked: &Asked) {
    let ask = |title, name, values: &[&str]| {
        let selection = Selection::opened(&asked.health, NOW - 90 * DAY_MS, NOW).choose(name, Choice::several(values));
        selection.ask_panel(&asked.engine, &asked.health, title)
    };
    assert_eq!(rows(&ask(STATES, "area", &[MARKET]), &OF_STATES), ["1 | 0 | 0 | 2 | 1 | 0"]);
    assert_eq!(rows(&ask(STATES, "kind", &["street"]), &OF_STATES), ["2 | 0 | 6 | 3 | 1 | 2"]);
    assert_eq!(rows(&ask(STATES, "kind", &["street", "relic"]), &OF_STATES), ["3 | 0 | 6 | 5 | 2 | 2"]);
    assert_eq!(ask(GROUPS, "area", &["Đồng Đăng"]).texts("kind_of_group"), ["area"]);
    assert_eq!(ask(SILENT, "area", &[MARKET]).texts("code"), ["BEEP0001"]);
    assert_eq!(ask(QUIET, "kind", &["gate", "relic"]).texts("code"), ["QU1ET001"]);
    assert_eq!(ask(INSPECTION, "area", &[MARKET]).texts("code"), ["NEVER001", "RARE0001", "ABR0AD01"]);
    assert_eq!(ask(MAP, "kind", &["relic"]).texts("code"), ["NEVER001", "BEEP0001"]);
    assert_eq!(ask(SUSPECTS, "kind", &["gate"]).texts("code"), ["BURST001"]);
    assert!(ask(NEW, "area", &[MARKET]).rows.is_empty());
}

/// An hour later everything was silent.
fn all_signs_together_point_to_the_edge(asked: &Asked) {
    let mut report = asked.report.clone();
    let silent = report.rows.iter_mut().filter(|row| row.state == State::Silent);
    let signs = silent.map(|row| row.group = Some(0)).count();
    report.groups = vec![Group { kind: GroupKind::Province, name: String::new(), signs }];
    keep(&asked.engine, "test", &report, NOW + HOUR_MS);
    let shown = rows(&asked.health(GROUPS), &["kind_of_group", "name", "signs", "advice"]);
    assert_eq!(shown, ["province |  | 9 | xem bảng Máy phục vụ, đường truyền trước"]);
    assert_eq!(asked.health(SILENT).texts("together"), vec!["toàn tỉnh"; 9]);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn one_sign_is_shown_as_it_is_and_as_it_was() {
    let asked = Asked::new();
    for (code, state) in [
        ("STEADY01", "normal"),
        ("BUSY0001", "silent"),
        ("NEVER002", "never_scanned"),
        ("RET1RED1", "retired"),
        ("PREPARED", "planned"),
    ] {
        assert_eq!(asked.figure(code, "Tình trạng"), state, "{code}");
    }
    assert!(asked.sign(DELETED, "Tình trạng").rows.is_empty(), "it is in no registry");
    the_reasons_are_the_rules(&asked);
    // The scans before the plate was mounted anew belong to the range, and not to the plate.
    let figures = |code| {
        let [days, scans] = ["Số ngày có lượt quét từ khi gắn", "Lượt quét trong khoảng thời gian"].map(|title| {
            rows(&asked.sign(code, title), if title.starts_with('S') { &["scanned_days", "days"] } else { &["scans"] })
        });
        [scans, days, asked.sign(code, "Lần quét gần nhất").texts("last_scan")].concat()
    };
    assert_eq!(figures("MENDED01"), ["78", "0 | 12", "19/11/2066 (cách đây 12 ngày)"]);
    assert_eq!(figures("BEEP0001"), ["320", "85 | null", "21/11/2066 (cách đây 10 ngày)"]);
    assert_eq!(figures("NEVER001"), ["null", "0 | 61"]);

    let sums = |code, title: &str, by: &[&str], of| asked.sign(code, title).sums(by, of);
    let of_days = |of| sums("BEEP0001", "Từng ngày", &[], of)[""];
    assert_eq!([of_days("headline"), of_days("repeats"), of_days("bots"), of_days("retired")], [320, 10, 20, 0]);
    assert_eq!(sums("RET1RED1", "Từng ngày", &[], "retired")[""], 4);
    assert_eq!(asked.sign("NEVER002", "Từng ngày").rows.len(), 91, "a bar for every day, also without scans");
    // Sixty pupils: twenty days and an hour before a Wednesday at eight.
    let matrix = sums("SCH00001", "Giờ trong ngày theo thứ trong tuần", &["weekday_name", "hour_name"], "scans");
    let scanned: Vec<_> = matrix.iter().filter(|(_, scans)| **scans > 0).collect();
    assert_eq!((matrix.len(), scanned), (7 * 24, vec![(&"T5 | 07".to_owned(), &60)]));
    let spoken = asked.sign("ABR0AD01", "Ngôn ngữ khách hỏi và được phục vụ");
    assert_eq!(rows(&spoken, &["asked", "sent", "met", "scans"]), ["vi | vi | đúng | 30"]);
    assert_eq!(rows(&asked.sign("ABR0AD01", "Theo cách mở"), &["channel_name", "scans"]), ["qr | 30"]);
    assert_eq!(rows(&asked.sign("ABR0AD01", "Theo ứng dụng"), &["app_name", "scans"]), ["zalo | 30"]);
    let nations = rows(&asked.sign("ABR0AD01", "Theo quốc gia"), &["country_name", "scans"]);
    assert_eq!(nations, ["CN | 11", "không rõ | 10", "VN | 9"]);
    the_map_has_the_neighbours(&asked);
    the_record_has_its_history(&asked);
}

/// What the daily computation found, as it was kept: of each sign in use.
fn the_reasons_are_the_rules(asked: &Asked) {
    let near = |shown: &str, value: f64| (shown.replace(',', ".").parse::<f64>().unwrap() - value).abs() < 0.101;
    for &(code, _, status, _, _) in SIGNS.iter().filter(|sign| sign.2 == "active") {
        let (judged, shown) = (asked.judged(code), asked.sign(code, "Vì sao đánh giá như vậy"));
        assert_eq!(asked.figure(code, "Tình trạng"), judged.state.as_str(), "{code} is {status}");
        let facts: BTreeMap<String, String> = shown.texts("field").into_iter().zip(shown.texts("value")).collect();
        assert!(near(&facts["giờ có lượt quét trong một ngày bình thường"], judged.per_day), "{code}: {facts:?}");
        assert!(near(&facts["giờ có lượt quét dự kiến từ lần quét gần nhất"], judged.expected), "{code}: {facts:?}");
        let alarm = if judged.state == State::Silent {
            "ngày báo nghi hỏng"
        } else {
            "ngày sẽ báo nghi hỏng nếu không có lượt quét"
        };
        let date = |day: health::Day| {
            let date = Timestamp::from_second(i64::from(day) * 86_400).unwrap();
            date.strftime("%d/%m/%Y").to_string()
        };
        assert_eq!(facts[alarm], judged.alarm_on.map_or("chưa đánh giá được".to_owned(), date), "{code}");
        let chance = match judged.one_in {
            None => "chưa đánh giá được".to_owned(),
            Some(one_in) if one_in >= 1e6 => "chưa tới 1 phần triệu".to_owned(),
            Some(one_in) => format!("1 phần {}", one_in.floor()),
        };
        assert_eq!(facts["khả năng ngẫu nhiên của khoảng không có lượt quét này"], chance, "{code}");
        assert_eq!(facts["dấu hiệu mã bị sao chép"] == "không", judged.looks_copied.is_none(), "{code}: {facts:?}");
        assert_eq!(facts["cùng không còn lượt quét"] == "không", judged.group.is_none(), "{code}: {facts:?}");
        let ended = facts["cảnh báo kết thúc bằng một lượt quét, 30 ngày qua"].parse();
        assert_eq!(ended, Ok(judged.ended_alarms), "{code}");
    }
    let of = |code: &str| rows(&asked.sign(code, "Vì sao đánh giá như vậy"), &["field", "value"]);
    assert!(of("PARK0001").contains(&"cùng không còn lượt quét | đường, phố: Công viên".to_owned()));
    assert!(of("BURST001").contains(&"dấu hiệu mã bị sao chép | nhiều lượt bất thường trong một ngày".to_owned()));
    assert!(of("RET1RED2").is_empty(), "it was taken down, and nobody scans it");
}

/// Within a thousand metres, whatever their status.
fn the_map_has_the_neighbours(asked: &Asked) {
    let map = |code| rows(&asked.sign(code, "Biển này và xung quanh"), &["code", "meters", "here", "scans"]);
    assert_eq!(
        map("STEADY01"),
        [
            "STEADY01 | 0 | 1 | 2160",
            "BUSY0001 | 111 | 0 | 320",
            "RET1RED1 | 111 | 0 | 0",
            "BEEP0001 | 222 | 0 | 320",
            "HUSH0001 | 945 | 0 | 84",
        ]
    );
    assert!(map("RARE0001").is_empty(), "it has no position");
}

fn the_record_has_its_history(asked: &Asked) {
    let record = rows(&asked.sign("STEADY01", "Trong danh mục biển hôm nay"), &["field", "value"]);
    for line in [
        "mã | STEADY01",
        "tên khác | en: One Street",
        "trạng thái | đang sử dụng",
        "loại | đường, phố",
        "khu vực | Kỳ Lừa",
        "tọa độ | 21.85, 106.75",
        "ngày gắn | 01/05/2022",
        "đích mặc định | https://example.vn/elsewhere",
        "ngôn ngữ | tiếng Việt",
    ] {
        assert!(record.contains(&line.to_owned()), "{line:?} is not in {record:?}");
    }
    assert!(record.iter().any(|line| line.starts_with("phiên bản danh mục | 2; đầu tiên ")), "{record:?}");
    let two = rows(&asked.sign("BUSY0001", "Trong danh mục biển hôm nay"), &["field", "value"]);
    assert!(two.contains(&"đích tiếng Anh | https://example.vn/en/one".to_owned()), "{two:?}");
    let changes = |code, columns: &[&str]| rows(&asked.sign(code, "Các lần thay đổi trong danh mục biển"), columns);
    let steady = changes("STEADY01", &["event", "changed"]);
    assert_eq!(
        steady[0],
        "sửa | đích: https://example.vn/one → https://example.vn/elsewhere; \
         đích khác: en: https://example.vn/en/one → (trống)"
    );
    assert!(
        steady[1].starts_with("thêm | trạng thái: đang sử dụng; địa điểm: street; loại: đường, phố;"),
        "{steady:?}"
    );
    assert_eq!(steady.len(), 2);
    let deleted = changes(DELETED, &["event", "changed"]);
    assert!(deleted[0] == "xóa | " && deleted[1].starts_with("thêm | "), "{deleted:?}");
    let first = asked.engine.query("SELECT min(generation) FROM {db}.signs");
    let expected = [format!("thêm | {first} | test")];
    assert_eq!(changes("BUSY0001", &["event", "registry_generation", "edge"]), expected);
}
