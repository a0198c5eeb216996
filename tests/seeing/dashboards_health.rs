//! The dashboard "health" names exactly the signs that it should: those of the made history in `plates`.

use crate::grafana::{Choice, Dashboard, Selection, text};
use crate::month::{DAY_MS, HOUR_MS};
use crate::plates::{Asked, History, MARKET, NOW, SIGNS, day, deliver, keep, rows};
use crate::support::clickhouse::ClickHouse;
use serde_json::Value;
use waypost::core::date_of;
use waypost::health::{Group, GroupKind, Report, State, Suspicion};

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
            let last = format!("{} (cách đây {} ngày)", date_of(since).strftime("%d/%m/%Y"), day(NOW) - since);
            assert_eq!(shown, format!("{} | {expected} | {} | {last}", row.code, date_of(alarm_on)));
        }
    }
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
