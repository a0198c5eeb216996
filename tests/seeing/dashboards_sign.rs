//! The dashboard "sign" shows one sign as it is and as it was, and what the rule said of it.

use std::collections::BTreeMap;

use crate::plates::{Asked, DELETED, SIGNS, rows};
use waypost::core::date_of;
use waypost::health::State;

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
        let date = |day: waypost::core::Day| date_of(day).strftime("%d/%m/%Y").to_string();
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
    let told = rows(&asked.sign("G0NE0001", "Trong danh mục biển hôm nay"), &["field", "value"]);
    for line in ["đặt tên theo | Trận đấu 1960", "đích mặc định | trang giới thiệu", "ngôn ngữ | tiếng Việt, tiếng Anh"]
    {
        assert!(told.contains(&line.to_owned()), "{line:?} is not in {told:?}");
    }
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
    let first_told = changes("G0NE0001", &["changed"]);
    assert!(first_told[0].ends_with("; đích: trang giới thiệu"), "{first_told:?}");
    let deleted = changes(DELETED, &["event", "changed"]);
    assert!(deleted[0] == "xóa | " && deleted[1].starts_with("thêm | "), "{deleted:?}");
    let first = asked.engine.query("SELECT min(generation) FROM {db}.registry_history");
    let expected = [format!("thêm | {first} | test")];
    assert_eq!(changes("BUSY0001", &["event", "registry_generation", "edge"]), expected);
}
