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
                let found = options.iter().find(|(value, shown)| shown == text || value == text);
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

/// 0 is Monday.
fn weekday(scan: &Scan) -> usize {
    // 1 January 1970 was a Thursday.
    (local_ms(scan).div_euclid(DAY_MS) + 3).rem_euclid(7) as usize
}

/// The begin of its day in Viet Nam, in seconds.
fn midnight(scan: &Scan) -> String {
    ((local_ms(scan).div_euclid(DAY_MS) * DAY_MS - AHEAD_MS) / 1000).to_string()
}

fn is_met(scan: &Scan) -> bool {
    scan.lang.is_empty() || scan.served.split('-').next() == Some(scan.lang.as_str())
}

/// The row a scan counts in; none where the panel leaves it out.
type Key = fn(&Scan, Option<&Sign>) -> Option<String>;

/// Panel, the columns of its rows' names, the column of the count, and the same of a scan.
const PANELS: [(&str, &[&str], &str, Key); 18] = [
    ("Lượt quét", &[], "scans", |_, _| Some(String::new())),
    ("Lượt quét theo ngày", &["time"], "working_day", |scan, _| (weekday(scan) < 5).then(|| midnight(scan))),
    ("Lượt quét theo ngày", &["time"], "weekend", |scan, _| (weekday(scan) >= 5).then(|| midnight(scan))),
    ("Theo khu vực", &["area_name"], "scans", |_, sign| Some(or(sign.map_or("", |s| s.area), "không rõ").to_owned())),
    ("Theo loại", &["kind_name"], "scans", |_, sign| Some(or(sign.map_or("", |s| s.kind), "không rõ").to_owned())),
    ("Bản đồ biển QR", &["code", "name", "latitude"], "scans", |scan, sign| {
        let (sign, (latitude, _)) = (sign?, sign?.position?);
        Some(format!("{} | {} | {latitude}", scan.code, sign.name))
    }),
    ("Biển QR được quét nhiều nhất", &["code", "name", "area", "kind"], "scans", |scan, sign| {
        let [name, area, kind] = sign.map_or([""; 3], |sign| [&sign.name, sign.area, sign.kind]);
        Some(format!("{} | {name} | {area} | {kind}", scan.code))
    }),
    ("Biển QR ít được quét nhất", &["code", "area"], "scans", |scan, sign| {
        let sign = sign.filter(|sign| sign.status == "active")?;
        Some(format!("{} | {}", scan.code, sign.area))
    }),
    ("Ngày trong tuần và giờ", &["weekday_name", "hour_name"], "scans", |scan, _| {
        let hour = local_ms(scan).rem_euclid(DAY_MS) / HOUR_MS;
        Some(format!("{} | {hour:02}", ["T2", "T3", "T4", "T5", "T6", "T7", "CN"][weekday(scan)]))
    }),
    ("Chưa được phục vụ đúng ngôn ngữ", &[], "unmet_scans", |scan, _| (!is_met(scan)).then(String::new)),
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

    let fewest = ask("Biển QR ít được quét nhất");
    let active: Vec<&str> =
        month.signs.iter().filter(|(_, sign)| sign.status == "active").map(|(code, _)| code.as_str()).collect();
    let mut listed = fewest.texts("code");
    // The longest mounted first: S004 before S005.
    assert_eq!(listed[..2], [SILENT, NEVER], "{fewest:?}");
    assert_eq!(fewest.sums(&[], "scans")[""], asked.scans(&month).iter().filter(|(_, s)| is_active(*s)).count() as u64);
    listed.sort();
    assert_eq!(listed, active, "every active sign, and no planned or retired one");
    assert!(!listed.iter().any(|code| code == PLANNED || code == RETIRED));

    let mut mapped = ask("Bản đồ biển QR").texts("code");
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

    let signs = ask("Biển QR có lượt quét");
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
    // The Vietnamese text says the same: who changes one changes both.
    const TRANSLATED: &str = "scans = answered requests for the code of a sign, by a person (no crawler, link preview \
        or prefetch), and not a repeat (same address, user agent and code within the repeat window of one edge). \
        Scans are counted, never visitors.";
    const VIETNAMESE: &str = "Lượt quét là yêu cầu tới mã của một biển QR, đã được trả lời, do người quét gửi (không \
        phải máy thu thập, bản xem trước đường dẫn hay tải trước) và không lặp lại (cùng địa chỉ, cùng trình duyệt, \
        cùng mã trong khoảng chống lặp của một máy phục vụ). Chỉ đếm lượt quét, không bao giờ đếm khách.";
    assert_eq!(waypost::core::scan::DEFINITION, TRANSLATED);
    let engine = ClickHouse::start();
    engine.store(engine.address);
    let (usage, sign) = (Dashboard::load("usage"), Dashboard::load("sign"));
    let rule = |asked: Asked| asked.select(&engine, &usage).ask_panel(&engine, &usage, "Cách đếm").texts("rule");
    assert_eq!(rule(Asked::default()), [VIETNAMESE]);
    let both = rule(Asked { bots: true, repeats: true, ..Asked::default() });
    assert_eq!(both[0], VIETNAMESE);
    assert!(both[1].contains("bot") && both[2].contains("lặp"), "{both:?}");

    let selection = Selection::opened(&usage, 0, 0);
    let original = selection.ask_panel(&engine, &usage, "Cách đếm, nguyên văn tiếng Anh của hệ thống");
    assert_eq!(original.texts("definition"), [TRANSLATED]);
    let printed = Selection::opened(&sign, 0, 0).ask_panel(&engine, &sign, "Cách đếm lượt quét").texts("rule");
    assert_eq!(printed[0], VIETNAMESE);
    assert!(printed[1].ends_with(TRANSLATED), "{printed:?}");
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

/// Like "12/11/2026 (cách đây 14 ngày)".
fn last_scan(scan: &Scan, to: i64) -> String {
    let day = |ms: i64| (ms + AHEAD_MS).div_euclid(DAY_MS);
    let date = jiff::Timestamp::from_millisecond(scan.ts_ms).unwrap().in_tz("Asia/Ho_Chi_Minh").unwrap();
    let ago = match day(to) - day(scan.ts_ms) {
        0 => "hôm nay".to_owned(),
        1 => "hôm qua".to_owned(),
        days => format!("cách đây {days} ngày"),
    };
    format!("{} ({ago})", date.strftime("%d/%m/%Y"))
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_sign_has_its_rank_its_share_its_change_and_its_last_scan() {
    let engine = ClickHouse::start();
    let month = Month::delivered(&engine);
    let dashboard = Dashboard::load("usage");
    let asked = Asked::last_days(&month, 20);
    let table = asked.select(&engine, &dashboard).ask_panel(&engine, &dashboard, "Biển QR được quét nhiều nhất");
    let scans = asked.scans(&month);
    let first = asked.from.div_euclid(HOUR_MS) * HOUR_MS;
    let hours = (asked.to - 1000).div_euclid(HOUR_MS) + 1 - first / HOUR_MS;
    let earlier = Asked { from: first - hours * HOUR_MS, to: first, ..asked.clone() };
    let of = |scans: &[(&Scan, Option<&Sign>)], code: &str| -> Vec<Scan> {
        scans.iter().filter(|(scan, _)| scan.code.text().as_str() == code).map(|(scan, _)| **scan).collect()
    };
    let counts = table.column("scans").into_iter().map(|count| count.as_u64().unwrap()).collect::<Vec<_>>();
    for (row, code) in table.texts("code").iter().enumerate() {
        let (now, before) = (of(&scans, code), of(&earlier.scans(&month), code).len() as f64);
        assert_eq!(counts[row], now.len() as u64);
        let more = counts.iter().filter(|&&other| other > counts[row]).count() as u64;
        assert_eq!(table.column("rank")[row].as_u64(), Some(more + 1), "{code}");
        let figure = |name: &str| table.column(name)[row].as_f64();
        assert!((figure("share").unwrap() - 100.0 * now.len() as f64 / scans.len() as f64).abs() < 1e-9, "{code}");
        let change = (before > 0.0).then(|| now.len() as f64 / before - 1.0);
        assert!(figure("change").zip(change).map_or(change.is_none(), |(a, b)| (a - b).abs() < 1e-9), "{code}");
        let last = now.iter().max_by_key(|scan| scan.ts_ms).unwrap();
        assert_eq!(table.texts("last_scan")[row], last_scan(last, asked.to), "{code}");
    }
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_sign_without_scans_says_when_it_had_the_last_one_and_how_it_is() {
    let engine = ClickHouse::start();
    let month = Month::delivered(&engine);
    let dashboard = Dashboard::load("usage");
    let asked = Asked::last_days(&month, 7);
    let table = asked.select(&engine, &dashboard).ask_panel(&engine, &dashboard, "Biển QR ít được quét nhất");
    let ever = Asked::last_days(&month, 70).scans(&month);
    let of_silent = ever.iter().filter(|(scan, _)| scan.code.text().as_str() == SILENT).map(|(scan, _)| *scan);
    let last = last_scan(of_silent.max_by_key(|scan| scan.ts_ms).unwrap(), month.now);
    assert_eq!(table.texts("last_scan")[..2], [last, "chưa từng được quét".to_owned()]);
    assert_eq!(table.texts("state")[..2], ["silent", "never_scanned"]);
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn signs_of_one_place_are_told_apart_from_north_to_south() {
    let engine = ClickHouse::start();
    let month = Month::delivered(&engine);
    let dashboard = Dashboard::load("usage");
    let selection = Asked::last_days(&month, 30).select(&engine, &dashboard);
    let table = selection.ask_panel(&engine, &dashboard, "Biển QR ít được quét nhất");
    let shown: BTreeMap<String, String> = table.texts("code").into_iter().zip(table.texts("position")).collect();
    for (code, sign) in month.signs.iter().filter(|(_, sign)| sign.status == "active") {
        let of_place = month.signs.values().filter(|other| other.place == sign.place);
        // Those without a position come last.
        let north = of_place.clone().filter(|other| other.position.map(|at| at.0) > sign.position.map(|at| at.0));
        let order = format!("{}/{}", north.count() + 1, of_place.count());
        let expected = match sign.position {
            Some((lat, lon)) => format!("{order} · {lat:.4}° B, {lon:.4}° Đ").replace('.', ","),
            None => order,
        };
        assert_eq!(shown[code], expected, "{code}");
    }
    let options = selection.options(&engine, &dashboard, "sign");
    let of = |wanted: &str| options.iter().find(|(code, _)| code == wanted).unwrap().1.clone();
    assert!(of("S016").ends_with(" 1/3 · S016") && of("S000").ends_with(" 3/3 · S000"), "{options:?}");
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn an_area_shows_how_many_of_its_signs_in_use_are_used() {
    let engine = ClickHouse::start();
    let month = Month::delivered(&engine);
    let dashboard = Dashboard::load("usage");
    for asked in [Asked::last_days(&month, 7), Asked { kinds: vec!["relic"], ..Asked::last_days(&month, 7) }] {
        let areas = asked.select(&engine, &dashboard).ask_panel(&engine, &dashboard, "Theo khu vực");
        let (mut signs, mut scanned) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
        let scans = asked.scans(&month);
        for (code, sign) in month.signs.iter().filter(|(code, sign)| asked.registered(code, Some(*sign))) {
            let area = or(sign.area, "không rõ").to_owned();
            let is_used = scans.iter().any(|(scan, _)| scan.code.text().as_str() == code);
            *signs.entry(area.clone()).or_default() += u64::from(sign.status == "active");
            *scanned.entry(area).or_default() += u64::from(sign.status == "active" && is_used);
        }
        assert_eq!(areas.sums(&["area_name"], "signs"), signs, "{asked:?}");
        assert_eq!(areas.sums(&["area_name"], "scanned"), scanned, "{asked:?}");
    }
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_day_stands_beside_the_same_weekday_of_whole_weeks_earlier() {
    let engine = ClickHouse::start();
    let month = Month::delivered(&engine);
    let dashboard = Dashboard::load("usage");
    // Ten days and some hours are two weeks; the last day's hours to come are not counted in the earlier one.
    let asked = Asked { from: month.now - 10 * DAY_MS, to: month.now - HOUR_MS, ..Asked::default() };
    let shift = 14 * DAY_MS;
    let first = asked.from.div_euclid(HOUR_MS) * HOUR_MS;
    let earlier = Asked { from: first - shift, to: asked.to - shift, ..asked.clone() };
    let mut expected = BTreeMap::<String, u64>::new();
    for (scan, _) in earlier.scans(&month) {
        *expected.entry(midnight(&Scan { ts_ms: scan.ts_ms + shift, ..*scan })).or_default() += 1;
    }
    let shown = |asked: &Asked| {
        let answer = asked.select(&engine, &dashboard).ask_panel(&engine, &dashboard, "Lượt quét theo ngày");
        let mut days = answer.sums(&["time"], "earlier_day");
        days.retain(|_, scans| *scans > 0);
        days
    };
    assert_eq!(shown(&asked), expected);
    let beginning = Asked::last_days(&month, 70);
    assert!(shown(&beginning).is_empty(), "nothing was recorded before the history");
}
