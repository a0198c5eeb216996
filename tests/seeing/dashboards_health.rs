//! The dashboards "health" and "sign" name exactly the signs that they should: a history of
//! signs, each one case, with a rule's threshold just met or just missed.

use std::collections::{BTreeMap, BTreeSet};

use crate::grafana::{Answer, Choice, Dashboard, Selection, text};
use crate::month::{DAY_MS, HOUR_MS};
use crate::support::clickhouse::ClickHouse;
use crate::support::{Setup, scan_by_a_person, wait_for};
use serde_json::Value;
use waypost::core::scan::{Agent, Channel, Outcome, Scan};
use waypost::store::Batch;

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
    ("NEVER001", "market", "active", "", "2066-10-02"),
    ("NEVER002", "street", "active", "", ""),
    ("MENDED01", "street", "active", "", "2066-11-20"),
    ("FUTURE01", "street", "active", "", "2066-12-24"),
    ("PREPARED", "street", "planned", "", ""),
    ("RET1RED1", "street", "retired", "21.849", "2022-05-01"),
    ("RET1RED2", "street", "retired", "", "2022-05-01"),
    ("ABR0AD01", "market", "active", "", ""),
    ("HA1F0001", "street", "active", "", ""),
    ("FEW00001", "street", "active", "", ""),
];
/// In the first generation only.
const DELETED: &str = "DE1ETED1";

fn setup(engine: &ClickHouse) -> Setup {
    let header = "code,place,status,lat,lon,mounted,target\n";
    let row = |&(code, place, status, lat, mounted): &(&str, &str, &str, &str, &str)| {
        let lon = if lat.is_empty() { "" } else { "106.75" };
        format!("{code},{place},{status},{lat},{lon},{mounted},\n")
    };
    let signs = SIGNS.iter().map(row).fold(header.to_owned(), |all, row| all + &row);
    let places = format!(
        "place,kind,area,name,name:en,target,target:en\n\
         street,street,Kỳ Lừa,Đường Một,One Street,https://example.vn/one,https://example.vn/en/one\n\
         market,relic,{MARKET},Chợ 'Đêm',,https://example.vn/market,\n"
    );
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

/// The dashboards over the made history, in a time range of 90 days.
struct Asked {
    engine: ClickHouse,
    history: History,
    health: Dashboard,
    sign: Dashboard,
}

impl Asked {
    fn new() -> Self {
        let (engine, history) = (ClickHouse::start(), History::made());
        deliver(&engine, &history);
        Self { engine, history, health: Dashboard::load("health"), sign: Dashboard::load("sign") }
    }

    fn health(&self, title: &str) -> Answer {
        self.health_at(NOW, title)
    }

    fn health_at(&self, to: i64, title: &str) -> Answer {
        Selection::opened(&self.health, to - 90 * DAY_MS, to).ask_panel(&self.engine, &self.health, title)
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

/// The rule of silence, counted once more without SQL: days since the last scan, scans expected, state.
fn silence(history: &History, code: &str, mounted: &str, now: i64) -> Option<(f64, f64, &'static str)> {
    let since = if mounted.is_empty() { 0 } else { midnight(mounted) };
    let headline = history.0.iter().filter(|scan| {
        scan.ts_ms < now && scan.outcome == Outcome::Found && scan.client.agent == Agent::Person && !scan.repeat
    });
    let all: BTreeSet<(String, i64)> =
        headline.map(|scan| (scan.code.to_string(), scan.ts_ms.div_euclid(HOUR_MS) * HOUR_MS)).collect();
    let own: Vec<i64> = all.iter().filter(|(of, hour)| of == code && *hour >= since).map(|&(_, hour)| hour).collect();
    let last = *own.iter().max()?;
    let before = |hour: i64| hour > last - 90 * DAY_MS && hour <= last;
    let days = (now - last) as f64 / DAY_MS as f64;
    let hours = own.iter().filter(|&&hour| before(hour)).count() as f64;
    let others_before = all.iter().filter(|(_, hour)| before(*hour)).count() as f64 - hours;
    let others_since = all.iter().filter(|(_, hour)| *hour > last).count() as f64;
    let pace =
        if others_before == 0.0 { 1.0 } else { (others_since / days.max(1.0) / (others_before / 90.0)).min(1.0) };
    let known = ((last + 7 * HOUR_MS) / DAY_MS - (since + 7 * HOUR_MS) / DAY_MS).clamp(14, 90) as f64;
    let expected = hours / known * days * pace;
    let state = match expected {
        expected if days * pace < 3.0 || expected < 3.0 => "bình thường",
        expected if expected < 7.0 => "vắng",
        _ => "im lặng",
    };
    Some((days, expected, state))
}

fn midnight(day: &str) -> i64 {
    let day: jiff::civil::Date = day.parse().unwrap();
    day.in_tz("Asia/Ho_Chi_Minh").unwrap().timestamp().as_millisecond()
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn health_lists_exactly_the_signs_that_need_a_look() {
    let asked = Asked::new();
    let last = asked.health("Lượt quét cuối của từng biển");
    assert_eq!(
        rows(&last, &["state", "code"])[..8],
        [
            "im lặng | YEAR0001",
            "im lặng | BEEP0001",
            "im lặng | BUSY0001",
            "im lặng | JUST0001",
            "vắng | NEW00001",
            "vắng | HUSH0001",
            "bình thường | RARE0001",
            "bình thường | SCH00001",
        ]
    );
    the_rule_of_silence_is_counted_right(&asked);
    assert_eq!(
        rows(&asked.health("Chưa từng quét từ khi gắn"), &["code", "mounted_on", "days"]),
        ["NEVER002 | không rõ | null", "NEVER001 | 2066-10-02 | 60", "MENDED01 | 2066-11-20 | 11"]
    );
    let states = asked.health("Tình trạng các biển");
    assert_eq!(rows(&states, &["silent", "quiet", "never", "normal"]), ["4 | 2 | 3 | 7"]);
    assert_eq!(
        rows(&asked.health("Biển đã thu hồi mà còn được quét"), &["code", "scans", "days"]),
        ["RET1RED1 | 2 | 1"]
    );
    assert_eq!(asked.health("Đã thu hồi mà còn quét").texts("signs"), ["1"]);
    let abroad = asked.health("Biển chủ yếu được quét từ nước ngoài");
    let columns = ["code", "area", "scans", "located", "abroad", "share", "countries"];
    assert_eq!(rows(&abroad, &columns), [format!("ABR0AD01 | {MARKET} | 30 | 20 | 11 | 0.55 | CN")]);
    assert_eq!(asked.health("Chủ yếu quét từ nước ngoài").texts("signs"), ["1"]);
    assert_eq!(asked.health("Lượt ghi nhận mới nhất").texts("age"), ["3600"]);
    health_tells_a_misprint_from_a_slip_and_a_guess(&asked);
    a_service_that_stopped_accuses_no_sign(&asked);
    the_filters_choose_among_the_signs(&asked);
}

fn the_rule_of_silence_is_counted_right(asked: &Asked) {
    let answer = asked.health("Lượt quét cuối của từng biển");
    let figure = |value: &Value| value.as_f64().unwrap();
    let listed: BTreeMap<String, (f64, f64, String)> = (answer.texts("code").into_iter())
        .zip(answer.column("days").into_iter().map(figure))
        .zip(answer.column("expected").into_iter().map(figure).zip(answer.texts("state")))
        .map(|((code, days), (expected, state))| (code, (days, expected, state)))
        .collect();
    for &(code, _, status, _, mounted) in SIGNS {
        let counted = silence(&asked.history, code, mounted, NOW).filter(|_| status == "active");
        assert_eq!(listed.contains_key(code), counted.is_some(), "{code}");
        if let (Some(listed), Some((days, expected, state))) = (listed.get(code), counted) {
            let near = (listed.0 - days).abs() < 0.06 && (listed.1 - expected).abs() < 0.06;
            assert!(near && listed.2 == state, "{code}: {listed:?}, counted {days} {expected} {state}");
        }
    }
}

fn health_tells_a_misprint_from_a_slip_and_a_guess(asked: &Asked) {
    let unknown = asked.health("Mã lạ và mã gần nhất");
    let columns = ["verdict", "code", "scans", "scanned", "channels", "nearest", "nearest_name", "distance", "one_off"];
    assert_eq!(
        rows(&unknown, &columns),
        [
            "có thể in sai | STEADY07 | 3 | 3 | qr | STEADY01 | Đường Một | 1 | có",
            "đã xóa khỏi sổ | DE1ETED1 | 1 | 1 | nfc | DE1ETED1 | Đường Một | 0 | không",
            "chưa có trong sổ | ZZZZ9999 | 3 | 3 | qr |  |  | 8 | không",
            "gõ nhầm | BSUY0001 | 5 | 0 | typed | BUSY0001 | Đường Một | 1 | có",
            "gõ nhầm | BUSY0007 | 2 | 2 | qr | BUSY0001 | Đường Một | 1 | có",
            "nay đã có trong sổ | RARE0001 | 1 | 1 | qr | RARE0001 | Chợ 'Đêm' | 0 | không",
            "đoán mã | G2X00000 | 1 | 1 | qr |  |  | 4 | không",
        ]
    );
    let seen = |column: &str| unknown.texts(column)[0].parse::<f64>().unwrap() as i64;
    assert_eq!((seen("first"), seen("last")), ((NOW - 2 * DAY_MS - HOUR_MS) / 1000, (NOW - HOUR_MS) / 1000));
    let count = asked.health("Mã lạ cần xem");
    assert_eq!(rows(&count, &["misprinted", "deleted", "unregistered"]), ["1 | 1 | 1"]);
    let hour = (NOW - 2 * DAY_MS - 5 * HOUR_MS) / 1000;
    let guessed = asked.health("Giờ có người dò mã");
    let columns = ["hour", "codes", "requests", "persons", "countries"];
    assert_eq!(rows(&guessed, &columns), [format!("{hour} | 20 | 21 | 1 | VN")]);
    assert_eq!(asked.health("Số giờ có người dò mã").texts("hours"), ["1"]);
    let days = asked.health("Yêu cầu mã lạ theo ngày");
    let day = |at: i64| text(&Value::from((at - (at + 7 * HOUR_MS).rem_euclid(DAY_MS)) / 1000));
    let (requests, codes) = (days.sums(&["time"], "requests"), days.sums(&["time"], "codes"));
    assert_eq!(days.rows.len(), 91, "a bar for every day, also for those without");
    assert_eq!((requests[&day(NOW - 2 * DAY_MS)], codes[&day(NOW - 2 * DAY_MS)]), (23, 22));
    assert_eq!((requests[&day(NOW - 9 * DAY_MS)], codes[&day(NOW - 9 * DAY_MS)]), (0, 0));
}

/// Ten days later, when nothing came from anywhere. Who was silent before still is.
fn a_service_that_stopped_accuses_no_sign(asked: &Asked) {
    let later = NOW + 10 * DAY_MS;
    let states = rows(&asked.health_at(later, "Lượt quét cuối của từng biển"), &["code", "state"]);
    let silent: Vec<&str> = states.iter().filter_map(|row| row.strip_suffix(" | im lặng")).collect();
    assert_eq!(silent, ["YEAR0001", "BEEP0001", "BUSY0001", "JUST0001"], "{states:?}");
    assert_eq!(asked.health_at(later, "Lượt ghi nhận mới nhất").texts("age"), ["867600"]);
    assert_eq!(asked.health_at(NOW + 900 * DAY_MS, "Lượt ghi nhận mới nhất").texts("age"), ["null"]);
    // And a day after its last scan, a sign was not silent yet.
    let then = rows(&asked.health_at(NOW - 9 * DAY_MS, "Lượt quét cuối của từng biển"), &["code", "state"]);
    assert!(then.contains(&"BUSY0001 | bình thường".to_owned()), "{then:?}");
}

fn the_filters_choose_among_the_signs(asked: &Asked) {
    let ask = |title, name, values: &[&str]| {
        let selection = Selection::opened(&asked.health, NOW - 90 * DAY_MS, NOW).choose(name, Choice::several(values));
        selection.ask_panel(&asked.engine, &asked.health, title)
    };
    let columns = ["silent", "quiet", "never", "normal"];
    assert_eq!(rows(&ask("Tình trạng các biển", "area", &[MARKET]), &columns), ["1 | 0 | 1 | 2"]);
    assert_eq!(rows(&ask("Tình trạng các biển", "kind", &["street"]), &columns), ["3 | 2 | 2 | 5"]);
    assert_eq!(rows(&ask("Tình trạng các biển", "kind", &["street", "relic"]), &columns), ["4 | 2 | 3 | 7"]);
    assert_eq!(ask("Đã thu hồi mà còn quét", "kind", &["relic"]).texts("signs"), ["0"]);
    assert_eq!(ask("Chủ yếu quét từ nước ngoài", "kind", &["street"]).texts("signs"), ["0"]);
    assert_eq!(ask("Chủ yếu quét từ nước ngoài", "area", &[MARKET]).texts("signs"), ["1"]);
    // Home is where the visitors are from.
    let selection = Selection::opened(&asked.health, NOW - 90 * DAY_MS, NOW).choose("home", Choice::one("CN"));
    let abroad = selection.ask_panel(&asked.engine, &asked.health, "Biển chủ yếu được quét từ nước ngoài");
    let mut codes = abroad.texts("code");
    codes.sort();
    assert_eq!(codes, ["BEEP0001", "BUSY0001", "HUSH0001", "JUST0001", "MENDED01", "PAUSE001", "SCH00001", "STEADY01"]);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn one_sign_is_shown_as_it_is_and_as_it_was() {
    let asked = Asked::new();
    for (code, state) in [
        ("STEADY01", "bình thường"),
        ("BUSY0001", "im lặng"),
        ("HUSH0001", "vắng"),
        ("MENDED01", "chưa từng quét"),
        ("RET1RED1", "đã thu hồi"),
        ("PREPARED", "chưa gắn"),
    ] {
        assert_eq!(asked.figure(code, "Tình trạng"), state, "{code}");
    }
    assert!(asked.sign(DELETED, "Tình trạng").rows.is_empty(), "it is in no registry");
    // The scans before the plate was mounted anew belong to the range, and not to the plate.
    let figures = |code| {
        ["Lượt quét trong khoảng thời gian", "Lượt quét từ khi gắn", "Lượt quét cuối", "Số ngày từ lượt quét cuối"]
            .map(|title| text(&asked.figure(code, title)).parse::<f64>().ok())
    };
    let hour = |days: i64, hours: i64| Some(((NOW - days * DAY_MS - hours * HOUR_MS) / 1000) as f64);
    assert_eq!(figures("MENDED01"), [Some(78.0), Some(0.0), hour(12, 3), Some(12.1)]);
    assert_eq!(figures("BEEP0001"), [Some(320.0), Some(340.0), hour(10, 1), Some(10.0)]);
    assert_eq!(figures("NEVER001"), [Some(0.0), Some(0.0), None, None]);

    let sums = |code, title: &str, by: &[&str], of| asked.sign(code, title).sums(by, of);
    let of_days = |of| sums("BEEP0001", "Từng ngày", &[], of)[""];
    assert_eq!([of_days("headline"), of_days("repeats"), of_days("bots"), of_days("retired")], [320, 10, 20, 0]);
    assert_eq!(sums("RET1RED1", "Từng ngày", &[], "retired")[""], 4);
    assert_eq!(asked.sign("NEVER002", "Từng ngày").rows.len(), 91, "a bar for every day, also without scans");
    // Sixty pupils: twenty days and an hour before a Wednesday at eight.
    let matrix = sums("SCH00001", "Giờ trong ngày theo thứ trong tuần", &["weekday", "hour"], "scans");
    let scanned: Vec<_> = matrix.iter().filter(|(_, scans)| **scans > 0).collect();
    assert_eq!((matrix.len(), scanned), (7 * 24, vec![(&"T5 | 07".to_owned(), &60)]));
    let spoken = asked.sign("ABR0AD01", "Ngôn ngữ hỏi và ngôn ngữ trả lời");
    assert_eq!(rows(&spoken, &["asked", "sent", "met", "scans"]), ["vi | vi | đúng | 30"]);
    assert_eq!(rows(&asked.sign("ABR0AD01", "Kênh quét"), &["how", "scans"]), ["qr | 30"]);
    assert_eq!(rows(&asked.sign("ABR0AD01", "Ứng dụng đã dùng"), &["application", "scans"]), ["zalo | 30"]);
    let nations = rows(&asked.sign("ABR0AD01", "Nước của khách"), &["nation", "scans"]);
    assert_eq!(nations, ["CN | 11", "không rõ | 10", "VN | 9"]);
    the_map_has_the_neighbours(&asked);
    the_record_has_its_history(&asked);
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
    let record = rows(&asked.sign("STEADY01", "Trong sổ hôm nay"), &["field", "value"]);
    for line in [
        "mã | STEADY01",
        "tên khác | en: One Street",
        "trạng thái | đang dùng",
        "khu vực | Kỳ Lừa",
        "tọa độ | 21.85, 106.75",
        "ngày gắn | 2022-05-01",
        "đích mặc định | https://example.vn/elsewhere",
        "ngôn ngữ | vi",
    ] {
        assert!(record.contains(&line.to_owned()), "{line:?} is not in {record:?}");
    }
    assert!(record.iter().any(|line| line.starts_with("bản sổ | 2 bản; ")), "{record:?}");
    let two = rows(&asked.sign("BUSY0001", "Trong sổ hôm nay"), &["field", "value"]);
    assert!(two.contains(&"đích en | https://example.vn/en/one".to_owned()), "{two:?}");
    let changes = |code, columns: &[&str]| rows(&asked.sign(code, "Các lần thay đổi trong sổ"), columns);
    assert_eq!(
        changes("STEADY01", &["event", "changed", "status", "target"]),
        ["sửa | đích, đích khác | active | https://example.vn/elsewhere", "thêm |  | active | https://example.vn/one",]
    );
    assert_eq!(changes(DELETED, &["event", "status"]), ["xóa | ", "thêm | active"]);
    let first = asked.engine.query("SELECT min(generation) FROM {db}.signs");
    let expected = [format!("thêm | {first} | test")];
    assert_eq!(changes("BUSY0001", &["event", "registry_generation", "edge"]), expected);
}
