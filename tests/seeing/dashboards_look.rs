//! What an official sees can be read: whole numbers, one Vietnamese word for each value, columns
//! that are on the screen, and a panel without data that says what is missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::dashboards::shown_columns;
use crate::grafana::{Choice, Dashboard, Origin, Query, Selection, text};
use crate::month::{BUSY, DAY_MS, Month};
use crate::support::clickhouse::ClickHouse;
use serde_json::Value;
use waypost::core::scan::{App, Channel};
use waypost::health::{GroupKind, State, Suspicion};
use waypost::registry::Status;

/// The dashboards that these promises hold for.
const READABLE: [&str; 4] = ["edge", "health", "sign", "usage"];

fn dashboards() -> Vec<Dashboard> {
    READABLE.map(Dashboard::load).into()
}

/// Each text of a JSON value under a name, at any depth.
fn under<'v>(value: &'v Value, name: &str) -> Vec<&'v Value> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| under(item, name)).collect(),
        Value::Object(fields) => {
            let own = fields.get(name).into_iter();
            own.chain(fields.values().flat_map(|field| under(field, name))).collect()
        }
        _ => Vec::new(),
    }
}

/// The values of a property of a panel: in its defaults, and in its overrides.
fn properties<'p>(panel: &'p Value, name: &str) -> Vec<&'p Value> {
    let defaults = panel["fieldConfig"]["defaults"].pointer(&format!("/{}", name.replace('.', "/")));
    let overrides = panel["fieldConfig"]["overrides"].as_array().into_iter().flatten();
    let set = overrides.flat_map(|rule| rule["properties"].as_array().into_iter().flatten());
    let named = set.filter(|property| property["id"] == name).map(|property| &property["value"]);
    defaults.into_iter().chain(named).collect()
}

/// The property that holds for a column.
fn property<'p>(panel: &'p Value, column: &str, name: &str) -> Option<&'p Value> {
    let overrides = panel["fieldConfig"]["overrides"].as_array().into_iter().flatten();
    let of_column = overrides.filter(|rule| rule["matcher"]["id"] == "byName" && rule["matcher"]["options"] == column);
    let mut set = of_column.flat_map(|rule| rule["properties"].as_array().into_iter().flatten());
    let own = set.find(|property| property["id"] == name).map(|property| &property["value"]);
    own.or_else(|| panel["fieldConfig"]["defaults"].pointer(&format!("/{}", name.replace('.', "/"))))
}

/// `short` makes "31 K" of 31,204, and 2 K of two different numbers of an axis.
#[test]
fn no_number_is_shortened() {
    for dashboard in dashboards() {
        for panel in dashboard.panels() {
            let short = properties(panel, "unit").into_iter().any(|unit| unit == "short");
            assert!(!short, "{}.json, {}: the unit short", dashboard.name, panel["title"]);
            let counts = properties(panel, "unit").into_iter().any(|unit| unit == "locale");
            let says = !properties(panel, "decimals").is_empty();
            assert!(!counts || says, "{}.json, {}: nothing says how many decimals", dashboard.name, panel["title"]);
        }
    }
}

#[test]
fn a_panel_without_data_says_so_in_words() {
    for dashboard in dashboards() {
        for panel in dashboard.panels().into_iter().filter(|panel| panel["targets"].is_array()) {
            let said = panel["fieldConfig"]["defaults"]["noValue"].as_str().unwrap_or_default();
            let in_words =
                said.split_whitespace().count() >= 2 && said.chars().any(|c| c.is_alphabetic() && !c.is_ascii());
            assert!(in_words, "{}.json, {}: noValue {said:?}", dashboard.name, panel["title"]);
        }
    }
}

#[test]
fn no_column_gives_its_width_to_a_filter() {
    for dashboard in dashboards() {
        assert!(!under(&dashboard.json, "filterable").contains(&&Value::Bool(true)), "{}.json", dashboard.name);
    }
}

#[test]
fn what_is_read_is_vietnamese() {
    let english: BTreeSet<&str> =
        ["the", "of", "and", "by", "with", "without", "scans", "signs", "not", "last", "data"].into();
    for dashboard in dashboards() {
        let panels = dashboard.panels();
        let titles = panels.iter().map(|panel| &panel["title"]);
        let shown = panels.iter().flat_map(|panel| ["displayName", "noValue"].map(|name| properties(panel, name)));
        for said in titles.chain(shown.flatten()) {
            let words = text(said).to_lowercase();
            let found = words.split(|c: char| !c.is_alphabetic()).find(|word| english.contains(word));
            assert_eq!(found, None, "{}.json: {said}", dashboard.name);
        }
    }
}

/// An enumeration, the columns that show it, and the word of each value.
struct Vocabulary {
    columns: &'static [&'static str],
    words: Vec<(&'static str, &'static str)>,
}

/// Each value of the crate with its word; a new value has none, and fails.
fn translated(values: Vec<&'static str>, words: &[&'static str]) -> Vec<(&'static str, &'static str)> {
    assert_eq!(values.len(), words.len(), "{values:?} are {words:?}");
    values.into_iter().zip(words.iter().copied()).collect()
}

fn vocabularies() -> Vec<Vocabulary> {
    let states = [
        "không còn lượt quét (nghi hỏng)",
        "ít hơn thường lệ",
        "chưa từng được quét",
        "chưa đủ dữ liệu",
        "mới gắn",
        "bình thường",
    ];
    let copied = [
        "chưa gắn mà đã được quét",
        "đã thu hồi mà còn được quét",
        "nhiều lượt từ nước ngoài",
        "nhiều lượt bất thường trong một ngày",
    ];
    let vocabulary = |columns, words| Vocabulary { columns, words };
    vec![
        vocabulary(&["state"], translated(State::ALL.map(State::as_str).into(), &states)),
        vocabulary(&["looks_copied"], translated(Suspicion::ALL.map(Suspicion::as_str).into(), &copied)),
        vocabulary(
            &["group_kind"],
            translated(GroupKind::ALL.map(GroupKind::as_str).into(), &["đường, phố", "khu vực", "toàn tỉnh"]),
        ),
        vocabulary(
            &["status"],
            translated(Status::ALL.map(Status::as_str).into(), &["chưa gắn", "đang sử dụng", "đã thu hồi"]),
        ),
        vocabulary(
            &["channel_name", "channel"],
            translated(
                Channel::ALL.iter().map(|channel| channel.as_str()).collect(),
                &["quét mã QR", "chạm NFC", "gõ mã"],
            ),
        ),
        // Brands keep their names.
        vocabulary(&["app_name"], App::ALL.iter().map(|app| (app.as_str(), "")).collect()),
        vocabulary(
            &["kind", "kind_name"],
            vec![
                ("street", "đường, phố"),
                ("relic", "di tích"),
                ("scenic", "danh thắng"),
                ("public_work", "công trình"),
                ("gate", "cửa khẩu"),
            ],
        ),
        vocabulary(
            &["asked", "sent", "tag"],
            vec![
                ("vi", "tiếng Việt"),
                ("en", "tiếng Anh"),
                ("zh", "tiếng Trung"),
                ("zh-Hant", "tiếng Trung (phồn thể)"),
                ("ko", "tiếng Hàn"),
                ("ja", "tiếng Nhật"),
                ("fr", "tiếng Pháp"),
                ("de", "tiếng Đức"),
                ("ru", "tiếng Nga"),
                ("th", "tiếng Thái"),
                ("lo", "tiếng Lào"),
                ("km", "tiếng Khmer"),
                ("other", "ngôn ngữ khác"),
            ],
        ),
        vocabulary(
            &["country_name", "country"],
            vec![
                ("VN", "Việt Nam"),
                ("CN", "Trung Quốc"),
                ("TW", "Đài Loan (Trung Quốc)"),
                ("HK", "Hồng Kông (Trung Quốc)"),
                ("KR", "Hàn Quốc"),
                ("JP", "Nhật Bản"),
                ("LA", "Lào"),
                ("KH", "Campuchia"),
                ("TH", "Thái Lan"),
                ("SG", "Singapore"),
                ("US", "Hoa Kỳ"),
                ("GB", "Anh"),
                ("FR", "Pháp"),
                ("DE", "Đức"),
                ("RU", "Nga"),
                ("AU", "Úc"),
            ],
        ),
    ]
}

/// The text that a panel's mappings give to a value of a column.
fn mapped<'p>(panel: &'p Value, column: &str, word: &str) -> Option<&'p Value> {
    let mappings = property(panel, column, "mappings")?.as_array()?;
    mappings.iter().find_map(|mapping| mapping["options"].get(word))
}

/// Each panel of a dashboard over a made month, with the columns that it shows. One sign is a busy one.
fn shown(engine: &ClickHouse, month: &Month, dashboard: &Dashboard, mut check: impl FnMut(&Query<'_>, Vec<String>)) {
    let mut selection = Selection::opened(dashboard, month.now - 30 * DAY_MS, month.now);
    if dashboard.name == "sign" {
        selection = selection.choose("sign", Choice::one(BUSY));
    }
    for query in dashboard.queries().iter().filter(|query| query.origin == Origin::Panel) {
        check(query, shown_columns(query.owner, &selection.ask(engine, query)).unwrap());
    }
}

/// No value of an enumeration is shown as the tables have it, and it has one word everywhere.
#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn every_value_has_its_word() {
    let engine = ClickHouse::start();
    let month = Month::delivered(&engine);
    let mut found = BTreeSet::new();
    for dashboard in dashboards() {
        shown(&engine, &month, &dashboard, |query, columns| {
            for vocabulary in vocabularies() {
                for column in columns.iter().filter(|column| vocabulary.columns.contains(&column.as_str())) {
                    found.insert(vocabulary.columns[0]);
                    for (value, word) in &vocabulary.words {
                        let said = mapped(query.owner, column, value).and_then(|result| result["text"].as_str());
                        let right =
                            said.is_some_and(|said| if word.is_empty() { said != *value } else { said == *word });
                        assert!(right, "{}: {column} {value} is {said:?}, not {word:?}", query.place());
                    }
                }
            }
        });
    }
    assert_eq!(found, ["app_name", "asked", "channel_name", "country_name", "kind", "state", "status"].into());
}

/// The same of words that a query makes: `transform(kind, ['street', …], ['đường, phố', …], kind)`.
#[test]
fn every_value_has_its_word_in_a_text_as_well() {
    let mut found = BTreeSet::new();
    for dashboard in dashboards() {
        for query in dashboard.queries() {
            for call in query.sql.split("transform(").skip(1) {
                // Or of a function of it: `toString(channel)`.
                let column = call.split(',').next().unwrap().trim_end_matches(')').rsplit('(').next().unwrap();
                let list = |at: usize| -> Vec<&str> {
                    call.split('[').nth(at).unwrap().split(']').next().unwrap().split('\'').skip(1).step_by(2).collect()
                };
                let (values, words) = (list(1), list(2));
                let all = vocabularies();
                let vocabulary = all.iter().find(|vocabulary| vocabulary.columns.contains(&column));
                let vocabulary = vocabulary.unwrap_or_else(|| panic!("{}: {column} is no enumeration", query.place()));
                for (value, word) in &vocabulary.words {
                    let at = values.iter().position(|known| known == value);
                    assert_eq!(at.map(|at| words[at]), Some(*word), "{}: {column} {value}", query.place());
                }
                found.insert(column.to_owned());
            }
        }
    }
    assert!(found.contains("looks_copied") && found.contains("group_kind"), "{found:?}");
}

/// The kinds of the vocabulary are those of the sample that is delivered.
#[test]
fn the_sample_has_no_kind_without_a_word() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/places.csv");
    let sample = fs::read_to_string(sample).unwrap();
    let mut table = csv::Reader::from_reader(sample.as_bytes());
    let column = table.headers().unwrap().iter().position(|name| name == "kind").unwrap();
    let kinds: BTreeSet<String> = table.records().map(|row| row.unwrap()[column].to_owned()).collect();
    let words = vocabularies().into_iter().find(|vocabulary| vocabulary.columns.contains(&"kind")).unwrap().words;
    assert_eq!(kinds, words.iter().map(|(kind, _)| (*kind).to_owned()).collect());
}

/// Green is what was judged and found well; red is what wants a look.
#[test]
fn colours_say_what_the_state_says() {
    let mut checked = 0;
    for dashboard in dashboards() {
        for panel in dashboard.panels() {
            for state in State::ALL {
                let Some(result) = mapped(panel, "state", state.as_str()) else { continue };
                let colour = result["color"].as_str().unwrap();
                assert_eq!(colour == "red", state == State::Silent, "{}: {state:?}", panel["title"]);
                assert_eq!(colour == "green", state == State::Normal, "{}: {state:?}", panel["title"]);
                checked += 1;
            }
        }
    }
    assert!(checked > 0);
}

/// What a panel of so many of the 24 columns leaves for a table, in pixels, on a screen of 1,600:
/// 16 to each side, 8 between columns, 18 for its frame.
fn room(columns: f64) -> f64 {
    let column = (1600.0 - 2.0 * 16.0 - 23.0 * 8.0) / 24.0;
    columns * column + (columns - 1.0) * 8.0 - 18.0
}

/// Of a column that says nothing itself.
const DEFAULT_WIDTH: f64 = 150.0;

/// The column that decides is not outside of the panel, where only a scroll bar tells of it.
#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn every_column_of_a_table_is_on_the_screen() {
    let engine = ClickHouse::start();
    let month = Month::delivered(&engine);
    for dashboard in dashboards() {
        shown(&engine, &month, &dashboard, |query, columns| {
            if query.owner["type"] != "table" {
                return;
            }
            let of = |column: &str, name: &str| property(query.owner, column, name).and_then(Value::as_f64);
            let width = |column: &String| {
                of(column, "custom.width").or_else(|| of(column, "custom.minWidth")).unwrap_or(DEFAULT_WIDTH)
            };
            let sum = columns.iter().map(width).sum::<f64>();
            let room = room(query.owner["gridPos"]["w"].as_f64().unwrap());
            assert!(sum <= room, "{}: {columns:?} take {sum} of {room:.0} pixels", query.place());
        });
    }
}
