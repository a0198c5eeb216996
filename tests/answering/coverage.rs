//! `waypost coverage` says how far the programme is, and what is missing: the same in all its formats, as somebody who
//! counts by hand, and as another program that counts the same tables.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::support::{Random, Setup};
use jiff::ToSpan as _;
use serde_json::{Map, Value, json};

/// Counts under the names of the CSV's columns.
type Counts = BTreeMap<String, u64>;

const PLACES: &str = "place,kind,area,name,name:en,target,target:en,namesake,about,about:en,source,compiled\n\
    st1,street,Kỳ Lừa,Đường Một,One Street,https://example.vn/1,https://example.vn/en/1,Ông Một,Kể về một.,About one.,Sách,2024-11-30\n\
    st2,street,Kỳ Lừa,Đường Hai,,https://example.vn/2,,,Kể về hai.,,,\n\
    st3,street,Kỳ Lừa,Đường Ba,,,,,Kể về ba.,About three.,Sách,2020-01-31\n\
    re1,relic,,=Chùa,,,,,,,,\n\
    re2,relic,Tam Thanh,Đền,Temple,https://example.vn/5,https://example.vn/en/5,,,,,\n";
const SIGNS: &str = "code,place,status,lat,lon,mounted,target\n\
    7K3M9QX5,st1,active,21.85,106.76,2023-05-01,\n\
    A2,st1,active,21.85,106.76,,\n\
    A3,st1,planned,,,,\n\
    B1,st2,retired,,,,\n\
    C1,st3,active,,,2023-05-01,\n\
    D1,re1,planned,21.85,106.76,,https://example.vn/own\n";

fn setup() -> Setup {
    Setup::new().registry(PLACES, SIGNS)
}

/// What is printed, of a command that succeeds.
#[track_caller]
fn printed(setup: &Setup, arguments: &[&str]) -> String {
    let output = setup.run(&[&["coverage"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn parsed(setup: &Setup, arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(setup, &[arguments, &["--format", "json"]].concat())).unwrap()
}

/// Of one row of the JSON.
fn flat(row: &Value) -> Counts {
    let mut counts = BTreeMap::new();
    for (name, value) in row.as_object().unwrap() {
        counts.extend(value.as_u64().map(|count| (name.clone(), count)));
        for (language, figures) in value.as_object().into_iter().flatten() {
            let figures = figures.as_object().unwrap().iter();
            counts.extend(figures.map(|(name, count)| (format!("{name}:{language}"), count.as_u64().unwrap())));
        }
    }
    counts
}

/// The rows of the JSON by their group, and the total.
fn counts(answer: &Value, by: &str) -> (BTreeMap<String, Counts>, Counts) {
    let rows = answer["rows"].as_array().unwrap().iter();
    (rows.map(|row| (row[by].as_str().unwrap().to_owned(), flat(row))).collect(), flat(&answer["total"]))
}

#[test]
fn it_counts_as_somebody_who_counts_by_hand() {
    let csv = printed(&setup(), &["--format", "csv", "--older-than", "3y"]);
    assert_eq!(
        csv,
        "area,places,target,own_page,neither,named:vi,told:vi,targeted:vi,named:en,told:en,targeted:en,\
         compiled,older,planned,mounted,retired,position,mounting_date\n\
         Kỳ Lừa,3,2,1,0,3,3,2,1,2,1,2,1,1,3,1,2,2\n\
         Tam Thanh,1,1,0,0,1,0,1,1,0,1,0,0,0,0,0,0,0\n\
         ,1,0,0,1,1,0,0,0,0,0,0,0,1,0,0,1,0\n"
    );
    let answer = parsed(&setup(), &["--by", "kind"]);
    let relics = json!({
        "kind": "relic", "places": 2, "target": 1, "own_page": 0, "neither": 1,
        "languages": {
            "vi": { "named": 2, "told": 0, "targeted": 1 },
            "en": { "named": 1, "told": 0, "targeted": 1 },
        },
        "compiled": 0, "older": 0, "planned": 1, "mounted": 0, "retired": 0, "position": 1, "mounting_date": 0,
    });
    assert_eq!(answer["rows"][0], relics);
    assert_eq!(answer["total"]["places"], 5);
    assert_eq!(answer["rows"].as_array().unwrap().len(), 2);
}

#[test]
fn its_table_says_what_it_counts() {
    let setup = setup();
    let before = parsed(&setup, &[])["older_means_compiled_before"].as_str().unwrap().to_owned();
    let older = usize::from(before.as_str() > "2020-01-31") + usize::from(before.as_str() > "2024-11-30");
    assert_eq!(
        printed(&setup, &[]),
        format!(
            "area       places  target  own page  neither  compiled  older\n\
             Kỳ Lừa          3       2         1        0         2      {older}\n\
             Tam Thanh       1       1         0        0         0      0\n\
             (none)          1       0         0        1         0      0\n\
             total           5       3         1        1         2      {older}\n\n\
             places named/told/targeted in each language\n\
             area          vi     en\n\
             Kỳ Lừa     3/3/2  1/2/1\n\
             Tam Thanh  1/0/1  1/0/1\n\
             (none)     1/0/0  0/0/0\n\
             total      5/3/3  2/2/2\n\n\
             signs\n\
             area       planned  mounted  retired  with position  with mounting date\n\
             Kỳ Lừa           1        3        1              2                   2\n\
             Tam Thanh        0        0        0              0                   0\n\
             (none)           1        0        0              1                   0\n\
             total            2        3        1              3                   2\n\n\
             own page: a text (about) and no target; compiled: with a date; older: before {before}\n\
             named, told, targeted: with a name, a text, a target of their own in the language\n\
             with position: of planned and mounted signs; with mounting date: of mounted signs\n"
        )
    );
}

#[test]
fn a_name_or_an_area_makes_no_row_of_its_own_and_says_nothing_to_the_terminal() {
    let places = "place,area,name,target\none,\"Kỳ\nLừa\u{1b}[2J\",\"Phố\n\u{7}Một\",https://example.vn/1\n";
    let setup = Setup::new().registry(places, "code,place,status\nA1,one,active\n");
    let table = printed(&setup, &[]);
    assert!(table.contains("\nKỳ\u{fffd}Lừa\u{fffd}[2J  ") && !table.contains('\u{1b}'), "{table:?}");
    let list = printed(&setup, &["--list"]);
    assert_eq!(list.lines().count(), 2, "{list:?}");
    assert!(list.contains("Phố\u{fffd}\u{fffd}Một") && !list.contains(['\u{1b}', '\u{7}']), "{list:?}");
}

#[test]
fn what_is_missing_is_listed_with_the_columns_that_want_filling_in() {
    let setup = setup();
    let expected = [
        ["st1", "A2", "Đường Một", "Kỳ Lừa", "mounted"],
        ["st1", "A3", "Đường Một", "Kỳ Lừa", "lat lon"],
        ["st2", "", "Đường Hai", "Kỳ Lừa", "name:en target:en about:en source compiled"],
        ["st3", "", "Đường Ba", "Kỳ Lừa", "name:en"],
        ["st3", "C1", "Đường Ba", "Kỳ Lừa", "lat lon"],
        ["re1", "", "=Chùa", "", "target|about name:en"],
    ];
    let listed = parsed(&setup, &["--list"]);
    let row = |[place, code, name, area, lacks]: [&str; 5]| {
        let (code, lacks) = (Some(code).filter(|code| !code.is_empty()), lacks.split(' ').collect::<Vec<_>>());
        json!({ "place": place, "code": code, "name": name, "area": area, "lacks": lacks })
    };
    assert_eq!(listed, json!({ "rows": expected.map(row) }));
    // A spreadsheet runs no cell of it.
    let csv: String = expected.map(|cells| cells.join(",").replace(",=", ",'=") + "\n").concat();
    assert_eq!(printed(&setup, &["--list", "--format", "csv"]), format!("place,code,name,area,lacks\n{csv}"));
    let table = printed(&setup, &["--list"]);
    for (line, cells) in table.lines().skip(1).zip(expected) {
        let cells: Vec<&str> = cells.into_iter().filter(|cell| !cell.is_empty()).collect();
        assert_eq!(line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>(), cells);
    }
    let whole = "place,name,target\none,Một,https://example.vn/\n";
    let setup = setup.registry(whole, "code,place,status,lat,lon\n7K3M9QX5,one,planned,,\n");
    let listed = "place  code       name  area  lacks\none    7K3M-9QX5  Một         lat lon\n";
    assert_eq!(printed(&setup, &["--list"]), listed);
    let setup = setup.registry(whole, "code,place,status\nA1,one,retired\n");
    assert_eq!(printed(&setup, &["--list"]), "nothing is missing\n");
}

#[test]
fn an_age_is_one_of_years_months_weeks_or_days() {
    let setup = setup();
    let before = |age: &str| parsed(&setup, &["--older-than", age])["older_means_compiled_before"].clone();
    assert_eq!(before("1y"), before("12mo"));
    assert_eq!(before("2w"), before("14d"));
    assert_ne!(before("1d"), before("2d"));
    for age in ["2", "", "soon", "0d", "-1y", "--1y", "18m", "2000m", "1y 1h", "P1YT1S", "100000y", "2y\n3"] {
        let output = setup.run(&["coverage", &format!("--older-than={age}")]);
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = "--older-than: expected an age in years, months, weeks or days such as 2y, 18mo or 90d, found";
        assert_eq!((output.status.code(), said.trim_end()), (Some(1), format!("{expected} {age:?}").as_str()));
    }
}

#[test]
fn a_text_is_old_once_more_than_the_age_has_passed() {
    let province = jiff::tz::TimeZone::get("Asia/Ho_Chi_Minh").unwrap();
    let today = jiff::Timestamp::now().to_zoned_datetime(province).date();
    // Days around the edge, in one of the two ways in which dates are written and then in the other.
    let days: Vec<jiff::civil::Date> = (87..=93).map(|ago| today.checked_sub(ago.days()).unwrap()).collect();
    let rows = days.iter().enumerate().map(|(n, day)| {
        let written = if n % 2 == 0 { day.to_string() } else { day.strftime("%d/%m/%Y").to_string() };
        format!("p{n},Một,Kể về một.,{written}\n")
    });
    let places = format!("place,name,about,compiled\n{}", rows.collect::<String>());
    let setup = Setup::new().registry(&places, "code,place,status\nA1,p1,active\n");
    let answer = parsed(&setup, &["--older-than", "90d"]);
    let before: jiff::civil::Date = answer["older_means_compiled_before"].as_str().unwrap().parse().unwrap();
    // A day later if midnight has passed meanwhile.
    assert!([90, 89].map(|ago| today.checked_sub(ago.days()).unwrap()).contains(&before), "{before}");
    // The text of that day itself is just so old, and not older.
    let older = days.iter().filter(|day| **day < before).count();
    assert_eq!((&answer["total"]["compiled"], &answer["total"]["older"]), (&json!(days.len()), &json!(older)));
}

#[test]
fn the_sample_is_counted_as_by_hand() {
    let sample = |file: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(file);
    let read = |file: &str| std::fs::read_to_string(sample(file)).unwrap();
    let setup = Setup::new()
        .set("registry", "allowed_hosts", "[\"langson.gov.vn\", \"*.langson.gov.vn\"]")
        .registry(&read("places.csv"), &read("signs.csv"));
    // Counted in a spreadsheet, by filters.
    let expected = json!({
        "places": 65, "target": 63, "own_page": 2, "neither": 0,
        "languages": {
            "vi": { "named": 65, "told": 32, "targeted": 63 },
            "en": { "named": 65, "told": 32, "targeted": 63 },
            "zh": { "named": 3, "told": 5, "targeted": 3 },
        },
        "compiled": 32, "planned": 1, "mounted": 197, "retired": 1, "position": 198, "mounting_date": 197,
    });
    let mut total = parsed(&setup, &[])["total"].clone();
    // How many texts are old is another number each year.
    total.as_object_mut().unwrap().remove("older").unwrap();
    assert_eq!(total, expected);
}

/// 3,000 places of which anything may be missing, and 20,000 signs of them.
fn province(random: &mut Random) -> (String, String) {
    const AREAS: [&str; 7] =
        ["", "Phường Kỳ Lừa", "Xã \"Ba Sơn\"", "Xã Bắc Sơn, Chi Lăng", "=1+1", "-", "Hu\u{31b}\u{303}u Li\u{ea}n"];
    let mut places = "place;kind;area;name;name:en;name:zh;target;target:en;target:zh;about;about:en;about:zh;\
                      source;compiled;note\n"
        .replace(';', ",");
    let mut has_answer = Vec::new();
    let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
    let date = |random: &mut Random| format!("20{}-{:02}-{:02}", random.of(&[19, 24, 26]), 1 + random.below(12), 11);
    for number in 0..3000 {
        let mut one_of = |cells: [&str; 2]| random.of(&cells).to_owned();
        let target = one_of(["", "https://example.vn/vi"]);
        let about = one_of(["", "dòng \"một\",\r\ndòng hai"]);
        let others = |any: &str, cells: [String; 2]| if any.is_empty() { [const { String::new() }; 2] } else { cells };
        let targets = others(&target, [one_of(["", "https://example.vn/en"]), one_of(["", "https://example.vn/zh"])]);
        let abouts = others(&about, [one_of(["", "one\ntwo"]), one_of(["", "一"])]);
        let names = [one_of(["", "a \"b\""]), one_of(["", "一街"])];
        let source = one_of(["", "https://example.com/?a=1,2"]);
        has_answer.push(!target.is_empty() || !about.is_empty());
        let (kind, area) = (random.of(&["street", "relic", ""]), random.of(&AREAS));
        let compiled = if random.below(2) == 0 { date(random) } else { String::new() };
        let cells = [&["Đường"].map(str::to_owned)[..], &names, &[target], &targets, &[about], &abouts].concat();
        let cells =
            [&[format!("p{number}"), kind.to_owned(), area.to_owned()][..], &cells, &[source, compiled]].concat();
        places += &format!("{},\n", cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(","));
    }
    let mut signs = "code,place,status,lat,lon,mounted,target\n".to_owned();
    for number in 0..20_000 {
        let place = random.index(has_answer.len());
        let status = random.of(&["planned", "active", "active", "retired"]);
        let own = status != "retired" && (!has_answer[place] || random.below(5) == 0);
        let position = random.of(&[",", "21.8,106.7"]);
        let mounted = if random.below(2) == 0 { date(random) } else { String::new() };
        let target = if own { "https://example.vn/own" } else { "" };
        signs += &format!("S{number:05},p{place},{status},{position},{mounted},{target}\n");
    }
    (places, signs)
}

#[test]
fn another_program_counts_the_same_of_20000_signs_in_every_format() {
    let (places, signs) = province(&mut Random::new());
    let setup = Setup::new().registry(&places, &signs);
    for by in ["area", "kind"] {
        let answer = parsed(&setup, &["--by", by]);
        let (rows, total) = counts(&answer, by);
        let python = std::env::var("WAYPOST_TEST_PYTHON").expect("WAYPOST_TEST_PYTHON is set by tests/run");
        let output = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/answering/coverage.py"))
            .args([setup.path("config/places.csv"), setup.path("config/signs.csv")])
            .args([by, answer["older_means_compiled_before"].as_str().unwrap()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let theirs: Map<String, Value> = serde_json::from_slice(&output.stdout).unwrap();
        let mut found = theirs["rows"].as_object().unwrap().keys().collect::<Vec<_>>();
        found.sort();
        assert_eq!(rows.keys().collect::<Vec<_>>(), found);
        for (group, ours) in rows.iter().chain([(&"total".to_owned(), &total)]) {
            let theirs = if group == "total" { &theirs["total"] } else { &theirs["rows"][group] };
            // They name only what there is.
            let ours: BTreeMap<_, _> = ours.clone().into_iter().filter(|(_, count)| *count > 0).collect();
            assert_eq!(ours, flat(theirs), "{group:?}");
        }
        csv_agrees(&printed(&setup, &["--by", by, "--format", "csv"]), &rows);
        table_agrees(&printed(&setup, &["--by", by]), &rows, &total);
    }
    let listed = parsed(&setup, &["--list"]);
    let csv = csv_rows(&printed(&setup, &["--list", "--format", "csv"]));
    assert_eq!(csv.len(), listed["rows"].as_array().unwrap().len());
}

fn csv_rows(text: &str) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect()
}

fn csv_agrees(text: &str, rows: &BTreeMap<String, Counts>) {
    let read = csv_rows(text);
    assert_eq!(read.len(), rows.len());
    for mut row in read {
        let group = row.remove("area").or_else(|| row.remove("kind")).unwrap();
        let row: Counts = row.into_iter().map(|(name, count)| (name, count.parse().unwrap())).collect();
        assert_eq!(row, rows[group.trim_start_matches('\'')], "{group:?}");
    }
}

fn table_agrees(text: &str, rows: &BTreeMap<String, Counts>, total: &Counts) {
    let sections: Vec<&str> = text.split("\n\n").collect();
    let languages = ["vi", "en", "zh"].map(|tag| ["named", "told", "targeted"].map(|what| format!("{what}:{tag}")));
    let names: [Vec<String>; 3] = [
        ["places", "target", "own_page", "neither", "compiled", "older"].map(str::to_owned).into(),
        languages.concat(),
        ["planned", "mounted", "retired", "position", "mounting_date"].map(str::to_owned).into(),
    ];
    for ((section, names), titles) in sections.iter().zip(names).zip([1, 2, 2]) {
        let lines: Vec<&str> = section.lines().skip(titles).collect();
        assert_eq!(lines.len(), rows.len() + 1, "{section}");
        for line in lines {
            let (group, cells) = line.split_once("  ").unwrap();
            let row = match group {
                "total" => total,
                "(none)" => &rows[""],
                group => &rows[group],
            };
            let found: Vec<u64> = cells.split([' ', '/']).filter_map(|cell| cell.parse().ok()).collect();
            assert_eq!(found, names.iter().map(|name| row[name]).collect::<Vec<_>>(), "{line}");
        }
    }
}
