//! Every figure of the dashboard "usage" is the one that an independent count of the same scans
//! gives: whatever is filtered, with bots and repeats or without, and for a time range that
//! begins and ends within an hour.

use std::collections::BTreeMap;

use crate::grafana::{Choice, Dashboard, Selection};
use crate::month::{DAY_MS, HOUR_MS, Month, NEVER, PLANNED, RETIRED, SILENT, Sign};
use crate::support::clickhouse::ClickHouse;
use serde_json::Value;
use waypost::core::scan::{Agent, Outcome, Scan};

/// Viet Nam's clock has been seven hours ahead of UTC since 1975.
const AHEAD_MS: i64 = 7 * HOUR_MS;

/// What is asked of the dashboard, in the words of a person.
#[derive(Debug, Clone, Default)]
struct Asked {
    from: i64,
    to: i64,
    areas: Vec<&'static str>,
    kinds: Vec<&'static str>,
    signs: Vec<&'static str>,
    bots: bool,
    repeats: bool,
}

impl Asked {
    fn last_days(month: &Month, days: i64) -> Self {
        Self { from: month.now - days * DAY_MS, to: month.now, ..Self::default() }
    }

    /// Chooses it on the dashboard, as a person does: by the texts of the options.
    fn select(&self, engine: &ClickHouse, dashboard: &Dashboard) -> Selection {
        let mut selection = Selection::opened(dashboard, self.from, self.to);
        for (name, texts) in [("area", &self.areas), ("kind", &self.kinds), ("sign", &self.signs)] {
            let options = selection.options(engine, dashboard, name);
            let value = |text: &&str| {
                let found = options.iter().find(|(value, shown)| shown == text || (name == "sign" && value == text));
                found.unwrap_or_else(|| panic!("{name} has no option {text}: {options:?}")).0.clone()
            };
            let values: Vec<String> = texts.iter().map(value).collect();
            if !values.is_empty() {
                selection = selection.choose(name, Choice::Several(values));
            }
        }
        let word = |on| Choice::one(if on { "Có" } else { "Không" });
        selection.choose("bots", word(self.bots)).choose("repeats", word(self.repeats))
    }

    fn registered(&self, code: &str, sign: Option<&Sign>) -> bool {
        let among = |list: &[&str], value: Option<&str>| list.is_empty() || value.is_some_and(|v| list.contains(&v));
        among(&self.areas, sign.map(|sign| sign.area))
            && among(&self.kinds, sign.map(|sign| sign.kind))
            && among(&self.signs, Some(code))
    }

    /// The scans that count, with their signs.
    fn scans<'m>(&self, month: &'m Month) -> Vec<(&'m Scan, Option<&'m Sign>)> {
        let counts = |(scan, sign): &(&Scan, Option<&Sign>)| {
            let hour = scan.ts_ms.div_euclid(HOUR_MS) * HOUR_MS;
            hour >= self.from.div_euclid(HOUR_MS) * HOUR_MS
                && hour < self.to
                && scan.outcome == Outcome::Found
                && (scan.client.agent == Agent::Person || self.bots)
                && (!scan.repeat || self.repeats)
                && self.registered(&scan.code.text(), *sign)
        };
        let with_sign = |scan: &'m Scan| (scan, month.signs.get(scan.code.text().as_str()));
        month.scans.iter().map(with_sign).filter(counts).collect()
    }
}

fn or<'t>(text: &'t str, empty: &'t str) -> &'t str {
    if text.is_empty() { empty } else { text }
}

fn local_ms(scan: &Scan) -> i64 {
    scan.ts_ms + AHEAD_MS
}

fn is_met(scan: &Scan) -> bool {
    scan.lang.is_empty() || scan.served.split('-').next() == Some(scan.lang.as_str())
}

/// The row a scan counts in; none where the panel leaves it out.
type Key = fn(&Scan, Option<&Sign>) -> Option<String>;

/// Panel, the columns of its rows' names, the column of the count, and the same of a scan.
const PANELS: [(&str, &[&str], &str, Key); 17] = [
    ("Lượt quét", &[], "scans", |_, _| Some(String::new())),
    ("Lượt quét theo ngày", &["time"], "scans", |scan, _| {
        Some(((local_ms(scan).div_euclid(DAY_MS) * DAY_MS - AHEAD_MS) / 1000).to_string())
    }),
    ("Theo khu vực", &["area_name"], "scans", |_, sign| Some(or(sign.map_or("", |s| s.area), "không rõ").to_owned())),
    ("Theo loại", &["kind_name"], "scans", |_, sign| Some(or(sign.map_or("", |s| s.kind), "không rõ").to_owned())),
    ("Bản đồ biển", &["code", "name", "latitude"], "scans", |scan, sign| {
        let (sign, (latitude, _)) = (sign?, sign?.position?);
        Some(format!("{} | {} | {latitude}", scan.code, sign.name))
    }),
    ("Biển được quét nhiều nhất", &["code", "name", "area", "kind"], "scans", |scan, sign| {
        let [name, area, kind] = sign.map_or([""; 3], |sign| [&sign.name, sign.area, sign.kind]);
        Some(format!("{} | {name} | {area} | {kind}", scan.code))
    }),
    ("Biển ít được quét nhất", &["code", "area"], "scans", |scan, sign| {
        let sign = sign.filter(|sign| sign.status == "active")?;
        Some(format!("{} | {}", scan.code, sign.area))
    }),
    ("Ngày trong tuần và giờ", &["weekday_name", "hour_name"], "scans", |scan, _| {
        // 1 January 1970 was a Thursday.
        let weekday = (local_ms(scan).div_euclid(DAY_MS) + 3).rem_euclid(7) as usize;
        let hour = local_ms(scan).rem_euclid(DAY_MS) / HOUR_MS;
        Some(format!("{} | {hour:02}", ["T2", "T3", "T4", "T5", "T6", "T7", "CN"][weekday]))
    }),
    ("Chưa được phục vụ đúng ngôn ngữ", &[], "unmet", |scan, _| (!is_met(scan)).then(String::new)),
    ("Ngôn ngữ khách hỏi", &["asked"], "met", |scan, _| {
        is_met(scan).then(|| or(&scan.lang, "không nêu").to_owned())
    }),
    ("Ngôn ngữ khách hỏi", &["asked"], "unmet", |scan, _| (!is_met(scan)).then(|| scan.lang.to_string())),
    ("Khách hỏi và được phục vụ", &["asked"], "scans", |scan, _| {
        Some(or(&scan.lang, "không nêu").to_owned())
    }),
    ("Khách hỏi và được phục vụ", &["asked", "sent", "met"], "scans", |scan, _| {
        let met = if is_met(scan) { "đúng" } else { "khác" };
        Some(format!("{} | {} | {met}", or(&scan.lang, "không nêu"), scan.served))
    }),
    ("Theo cách mở", &["channel_name"], "scans", |scan, _| Some(scan.channel.as_str().to_owned())),
    ("Theo ứng dụng", &["app_name"], "scans", |scan, _| Some(scan.client.app.as_str().to_owned())),
    ("Theo quốc gia", &["country_name"], "scans", |scan, _| Some(or(&scan.origin.country, "không rõ").to_owned())),
    ("So với kỳ trước", &[], "before", |_, _| None),
];

fn every_way_to_ask(month: &Month) -> Vec<Asked> {
    let asked = Asked::last_days(month, 30);
    let midnight = (month.now - 10 * DAY_MS + AHEAD_MS).div_euclid(DAY_MS) * DAY_MS - AHEAD_MS;
    vec![
        asked.clone(),
        Asked { bots: true, ..asked.clone() },
        Asked { repeats: true, ..asked.clone() },
        Asked { bots: true, repeats: true, ..asked.clone() },
        Asked { areas: vec!["Phường Tam Thanh"], ..asked.clone() },
        Asked { areas: vec!["Chợ 'Đêm' \\ Kỳ Lừa", "Xã Chi Lăng\\"], ..asked.clone() },
        Asked { kinds: vec!["lối 'cổ' \\ mới"], ..asked.clone() },
        Asked {
            areas: vec!["Đông Kinh, (cũ)", "Xã Chi Lăng\\"], kinds: vec!["relic"], bots: true, ..asked.clone()
        },
        Asked { signs: vec!["S000"], ..asked.clone() },
        Asked { signs: vec!["S001", SILENT, NEVER], repeats: true, ..asked },
        // A local day, to its last second and to the next day's first; and ends within hours.
        Asked { from: midnight, to: midnight + DAY_MS, ..Asked::default() },
        Asked { from: midnight, to: midnight + DAY_MS - 1000, ..Asked::default() },
        Asked { from: midnight - 1000, to: midnight + DAY_MS + 1000, ..Asked::default() },
        Asked { from: midnight + 2 * HOUR_MS + 1_234_000, to: midnight + 9 * HOUR_MS + 4000, ..Asked::default() },
    ]
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn every_figure_is_what_an_independent_count_gives() {
    let engine = ClickHouse::start();
    let month = Month::delivered(&engine);
    let dashboard = Dashboard::load("usage");
    for asked in every_way_to_ask(&month) {
        let selection = asked.select(&engine, &dashboard);
        let scans = asked.scans(&month);
        assert!(!scans.is_empty(), "nothing was scanned: {asked:?}");
        for (title, by, of, key) in PANELS {
            let mut expected: BTreeMap<String, u64> = BTreeMap::new();
            for (scan, sign) in &scans {
                *expected.entry(key(scan, *sign).unwrap_or_default()).or_default() +=
                    u64::from(key(scan, *sign).is_some());
            }
            if title == "So với kỳ trước" {
                let first = asked.from.div_euclid(HOUR_MS) * HOUR_MS;
                let hours = (asked.to - 1000).div_euclid(HOUR_MS) + 1 - first / HOUR_MS;
                let before = Asked { from: first - hours * HOUR_MS, to: first, ..asked.clone() };
                expected = [(String::new(), before.scans(&month).len() as u64)].into();
            }
            let mut shown = selection.ask_panel(&engine, &dashboard, title).sums(by, of);
            // Signs, days and hours without a scan are shown too.
            shown.retain(|_, scans| *scans > 0);
            expected.retain(|_, scans| *scans > 0);
            assert_eq!(shown, expected, "panel {title:?}, {of:?}, of {asked:?}");
        }
    }
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn what_was_not_scanned_is_shown_as_well() {
    let engine = ClickHouse::start();
    let month = Month::delivered(&engine);
    let dashboard = Dashboard::load("usage");
    let asked = Asked::last_days(&month, 7);
    let selection = asked.select(&engine, &dashboard);
    let ask = |title| selection.ask_panel(&engine, &dashboard, title);

    let fewest = ask("Biển ít được quét nhất");
    let active: Vec<&str> =
        month.signs.iter().filter(|(_, sign)| sign.status == "active").map(|(code, _)| code.as_str()).collect();
    let mut listed = fewest.texts("code");
    // The longest mounted first: S004 before S005.
    assert_eq!(listed[..2], [SILENT, NEVER], "{fewest:?}");
    assert_eq!(fewest.sums(&[], "scans")[""], asked.scans(&month).iter().filter(|(_, s)| is_active(*s)).count() as u64);
    listed.sort();
    assert_eq!(listed, active, "every active sign, and no planned or retired one");
    assert!(!listed.iter().any(|code| code == PLANNED || code == RETIRED));

    let mut mapped = ask("Bản đồ biển").texts("code");
    mapped.sort();
    let placed = month.signs.iter().filter(|(_, sign)| sign.position.is_some()).map(|(code, _)| code.clone());
    assert_eq!(mapped, placed.collect::<Vec<_>>());

    let days: Vec<i64> = ask("Lượt quét theo ngày").texts("time").iter().map(|time| time.parse().unwrap()).collect();
    assert_eq!(days.len(), 8);
    assert!(days.windows(2).all(|two| two[1] - two[0] == DAY_MS / 1000), "{days:?}");

    let matrix = ask("Ngày trong tuần và giờ");
    assert_eq!(matrix.rows.len(), 7 * 24);
    assert_eq!(
        matrix.texts("hour_name")[..25].join(" "),
        (0..25).map(|h| format!("{:02}", h % 24)).collect::<Vec<_>>().join(" ")
    );

    let signs = ask("Biển có lượt quét");
    let scanned: std::collections::BTreeSet<_> =
        asked.scans(&month).iter().filter(|(_, sign)| is_active(*sign)).map(|(scan, _)| scan.code.text()).collect();
    assert_eq!(signs.sums(&[], "signs")[""], active.len() as u64);
    assert_eq!(signs.sums(&[], "scanned")[""], scanned.len() as u64);
}

fn is_active(sign: Option<&Sign>) -> bool {
    sign.is_some_and(|sign| sign.status == "active")
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn the_definition_and_what_is_added_to_it_are_printed() {
    let engine = ClickHouse::start();
    engine.store(engine.address);
    let dashboard = Dashboard::load("usage");
    let rule = |asked: Asked| {
        let selection = asked.select(&engine, &dashboard);
        selection.ask_panel(&engine, &dashboard, "Cách đếm").texts("rule")
    };
    let plain = rule(Asked::default());
    assert_eq!(plain, [waypost::core::scan::DEFINITION]);
    let both = rule(Asked { bots: true, repeats: true, ..Asked::default() }).join(" ");
    assert!(both.contains("bot") && both.contains("lặp"), "{both}");
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_change_is_against_the_period_before_and_empty_where_nothing_was() {
    let engine = ClickHouse::start();
    let month = Month::delivered(&engine);
    let dashboard = Dashboard::load("usage");
    let change = |from: i64, to: i64| {
        let asked = Asked { from, to, ..Asked::default() };
        let answer = asked.select(&engine, &dashboard).ask_panel(&engine, &dashboard, "So với kỳ trước");
        (answer.column("change")[0].clone(), asked.scans(&month).len() as f64)
    };
    let hour = month.now.div_euclid(HOUR_MS) * HOUR_MS - DAY_MS;
    let (_, before) = change(hour - 10 * DAY_MS, hour - 5 * DAY_MS);
    let (shown, now) = change(hour - 5 * DAY_MS, hour);
    assert!((shown.as_f64().unwrap() - (now / before - 1.0)).abs() < 1e-9, "{shown}: {before}, then {now}");
    // Nothing was recorded before the history.
    assert_eq!(change(month.now - 70 * DAY_MS, month.now).0, Value::Null);
}
