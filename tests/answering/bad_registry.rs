//! A slip in a table is refused whole, with its file, line and field, and breaks no plate.
//!
//! `waypost check` tells every problem of all three files at once, and reads what spreadsheets
//! make of a table. An edge never starts with a broken registry, unless it has the copy of the
//! last good one, and then it says so.

use crate::support::{Setup, wait_for};
use serde_json::Value;

const PLACES: &str = "place,kind,area,name,name:en,target,target:en\n\
    one,street,Kỳ Lừa,Đường Một,One Street,https://example.vn/vi/one,https://example.vn/en/one\n";
const SIGNS: &str = "code,place,status\nA1B2C3,one,active\nA1B2C4,one,active\n";

/// What `check` says of a registry of which some files are replaced, and whether it is content.
fn check(files: &[(&str, &[u8])]) -> (bool, String) {
    let setup = Setup::new().registry(PLACES, SIGNS);
    let setup = files.iter().fold(setup, |setup, (name, bytes)| setup.file(&format!("config/{name}"), bytes));
    let output = setup.run(&["check"]);
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// Each case is one problem: the file's text and what is said of it, and nothing else is said.
#[track_caller]
fn refused(file: &str, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let (good, said) = check(&[(file, text.as_bytes())]);
        assert!(!good, "accepted: {text}");
        assert!(said.contains(&format!("{file}{expected}")), "expected {file}{expected}\nsaid {said}of {text}");
        assert_eq!(said.lines().count(), 1, "one problem: {said}of {text}");
    }
}

#[test]
fn a_wrong_place_is_told_with_its_line_and_field() {
    let long = format!("place,name,target\none,{},https://example.vn/\n", "x".repeat(401));
    refused(
        "places.csv",
        &[
            ("", ":1: header: expected the columns place, name, found no header"),
            (
                "place,name,colour\none,Một,red\n",
                ":1: header: expected one of place, name, name:LANGUAGE, kind, area, target, target:LANGUAGE, \
                 namesake, namesake:LANGUAGE, about, about:LANGUAGE, source, compiled, note, found \"colour\"",
            ),
            ("place,name,name\none,Một,Một\n", ":1: header: expected each column once, found \"name\" again"),
            (
                "place,target\none,https://example.vn/\n",
                ":1: header: expected the columns place, name, found no \"name\"",
            ),
            (
                "place,name,name:e\none,Một,One\n",
                ":1: header: expected a language as in name:en or name:zh-Hant, found \"name:e\"",
            ),
            ("place,name,area:en\none,Một,One\n", ":1: header: expected one of place, name,"),
            (
                "place,name,name:vi,target\none,Một,Một,https://example.vn/\n",
                ":1: header: expected \"name\", as vi is the default language (registry.default_language), found \"name:vi\"",
            ),
            (
                "place,name,target\none,Một,https://example.vn/\none,Hai,https://example.vn/\n",
                ":3: place: expected an identifier that no other place has, found \"one\" again",
            ),
            (
                "place,name,target\none,Một,https://example.vn/\ntwo,,https://example.vn/\n",
                ":3: name: expected a name in the default language (vi), found an",
            ),
            (
                "place,name,target\none,Một,https://example.vn/\n,Hai,https://example.vn/\n",
                ":3: place: expected 1 to 64 characters of a-z A-Z 0-9 _ . -, found \"\"",
            ),
            (
                "place,name,target\none,Một,https://example.vn/\ntwo street,Hai,\n",
                ":3: place: expected 1 to 64 characters of a-z A-Z 0-9 _ . -, found \"two street\"",
            ),
            (&long, ":2: name: expected at most 400 bytes, found 401"),
            (
                "place,name,target\none,Một,https://example.vn/\ntwo,Hai\n",
                ":3: expected 3 cells as in the header, found 2",
            ),
            (
                "place,name,target,target:en\none,Một,,https://example.vn/en\n",
                ":2: target: expected a target in the default language (vi) beside those in others, found",
            ),
        ],
    );
}

#[test]
fn a_row_of_commas_is_counted_and_not_kept() {
    let commas = ",".repeat(1_000_000);
    let place = "place,name,target\none,Một,https://example.vn/\n";
    let (rows, header) = (format!("{place}{commas}\n"), format!("place,name,target{commas}\n"));
    refused(
        "places.csv",
        &[
            (&rows, ":3: expected 3 cells as in the header, found 1000001"),
            (&header, ":1: header: expected at most 16384 columns, found 1000003"),
        ],
    );
}

#[test]
fn a_wrong_text_about_a_place_is_told_with_its_column_and_language() {
    let place = |column: &str, cell: &str| {
        let about = if column.starts_with("about:") { (",about", ",Một") } else { ("", "") };
        let cell = cell.replace('"', "\"\"");
        format!(
            "place,name,target{},{column}\none,Một,https://example.vn/{},\ntwo,Hai,https://example.vn/{},\"{cell}\"\n",
            about.0, about.1, about.1
        )
    };
    let (long, name) = ("ệ".repeat(1001), "x".repeat(401));
    let address = format!("https://example.vn/{}", "x".repeat(2030));
    for (column, cell, expected) in [
        ("about", &*long, "expected at most 1000 characters, found 1001"),
        ("about:en", &*long, "expected at most 1000 characters, found 1001"),
        ("about:zh-Hant", "a\u{1}b", "expected text without control characters, found '\\u{1}'"),
        ("namesake:en", &*name, "expected at most 400 bytes, found 401"),
        ("namesake", "a\nb", "expected one line, found a line break"),
        (
            "source",
            "http://example.vn/",
            "expected text, or an address that begins https://, found \"http://example.vn/\"",
        ),
        ("source", "https://u:secret@example.vn/", "expected no user info before the host, found some"),
        ("source", &*name, "expected at most 400 bytes, found 401"),
        ("source", &*address, "expected at most 2048 bytes, found 2049"),
        ("compiled", "31/2/2026", "expected a date such as 2026-03-14 or 14/3/2026, found \"31/2/2026\""),
        ("compiled", "14/3/25", "expected a date such as 2026-03-14 or 14/3/2026, found \"14/3/25\""),
        ("compiled", "31.3.2026", "expected a date such as 2026-03-14 or 14/3/2026, found \"31.3.2026\""),
    ] {
        refused("places.csv", &[(&place(column, cell), &format!(":3: {column}: {expected}"))]);
    }
    refused(
        "places.csv",
        &[(
            "place,name,about,about:en\none,Một,,About one.\n",
            ":2: about: expected a text in the default language (vi) beside those in others, found an empty cell",
        )],
    );
    // All at once.
    let (good, said) = check(&[(
        "places.csv",
        "place,name,namesake:en,about,about:en,source,compiled\none,Một,O\u{1},a\u{1},b\u{1},ftp://x,soon\n".as_bytes(),
    )]);
    let columns: Vec<&str> = said.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!((good, columns), (false, vec!["namesake:en", "about", "about:en", "compiled", "source"]), "{said}");
}

#[test]
fn a_text_with_line_ends_of_any_system_and_a_cell_of_64_kib_are_read() {
    let text = "Một \"hai\",\r\nba\rbốn\n\nnăm".replace('"', "\"\"");
    let places = |text: &str| format!("place,name,about\r\none,Một,\"{text}\"\r\n");
    assert!(check(&[("places.csv", places(&text).as_bytes())]).0);
    // A letter, and each of its two accents typed after it: 1,000 characters in 5,000 bytes.
    assert!(check(&[("places.csv", places(&"e\u{323}\u{302}".repeat(1000)).as_bytes())]).0);
    let found = ":2: about: expected at most 1000 characters, found 65536";
    refused("places.csv", &[(&places(&"x".repeat(64 << 10)), found)]);
}

#[test]
fn a_wrong_target_is_told_with_its_column() {
    let cases = [
        ("https://example.com/", "target: host example.com is not in allowed_hosts"),
        (
            "http://example.vn/",
            "target: expected https://, found \"http://example.vn/\" (registry.allow_http is false)",
        ),
        ("javascript:alert(1)", "target: expected https://, found the scheme \"javascript\""),
        ("example.vn/one", "target: expected a URL that begins https://, found \"example.vn/one\""),
        ("https://example.vn/a b", "target: expected no spaces or control characters, found ' '"),
        ("https://user:secret@example.vn/", "target: expected no user info before the host, found some"),
        ("https://notexample.vn/", "target: host notexample.vn is not in allowed_hosts"),
        ("https://qr.example.vn/A1B2C4", "target: host qr.example.vn is this service's own"),
    ];
    for (target, expected) in cases {
        refused("places.csv", &[(&format!("place,name,target\none,Một,{target}\n"), &format!(":2: {expected}"))]);
        let signs = format!("code,place,status,target,target:en\nA1B2C3,one,active,https://example.vn/,{target}\n");
        refused("signs.csv", &[(&signs, &format!(":2: {}", expected.replacen("target:", "target:en:", 1)))]);
    }
    let long = format!("place,name,target\none,Một,https://example.vn/{}\n", "x".repeat(2048));
    refused("places.csv", &[(&long, ":2: target: expected at most 2048 bytes, found 2067")]);
}

#[test]
fn a_wrong_sign_is_told_with_its_line_and_field() {
    let row = |rest: &str| format!("code,place,status,lat,lon,mounted,successor,aliases\nA1,one,active,,,,,\n{rest}\n");
    for (text, expected) in [
        ("7K3M*,one,active,,,,,", ":3: code: expected only 0-9 A-Z, hyphens and spaces, found '*' in \"7K3M*\""),
        (",one,active,,,,,", ":3: code: expected 1 to 20 characters of 0-9 A-Z, found none"),
        (
            "AAAAAAAAAAAAAAAAAAAAA,one,active,,,,,",
            ":3: code: expected at most 20 characters, found more in \"AAAAAAAAAAAAAAAAAAAAA\"",
        ),
        (
            "a-l,one,active,,,,,",
            ":3: code: expected a code that no other sign has, found \"a-l\", the code of line 2 (both are read as A1)",
        ),
        ("go,one,active,,,,,", ":3: code: expected another code than that of the page /go, found \"go\""),
        ("B1,two,active,,,,,", ":3: place: expected a place of places.csv, found \"two\""),
        ("B1,,active,,,,,", ":3: place: expected a place of places.csv, found \"\""),
        ("B1,one,broken,,,,,", ":3: status: expected planned, active or retired, found \"broken\""),
        ("B1,one,,,,,,", ":3: status: expected planned, active or retired, found \"\""),
        ("B1,one,active,91,106,,,", ":3: lat: expected degrees from -90 to 90, found \"91\""),
        ("B1,one,active,21,181,,,", ":3: lon: expected degrees from -180 to 180, found \"181\""),
        ("B1,one,active,north,106,,,", ":3: lat: expected degrees from -90 to 90, found \"north\""),
        ("B1,one,active,21,,,,", ":3: lon: expected lat and lon, or neither, found lat alone"),
        ("B1,one,active,NaN,106,,,", ":3: lat: expected degrees from -90 to 90, found \"NaN\""),
        (
            "B1,one,active,,,2026-02-30,,",
            ":3: mounted: expected a date such as 2026-03-14 or 14/3/2026, found \"2026-02-30\"",
        ),
        (
            "B1,one,active,,,3/14/2026,,",
            ":3: mounted: expected a date such as 2026-03-14 or 14/3/2026, found \"3/14/2026\"",
        ),
        ("B1,one,retired,,,,ZZ,", ":3: successor: expected the code of a sign, found \"ZZ\""),
        ("B1,one,retired,,,,B1,", ":3: successor: expected another sign, found one that leads back to this one"),
        (
            "B1,one,active,,,,,old/path",
            ":3: aliases: expected an old path and query, found \"old/path\": it does not begin with /",
        ),
        (
            "B1,one,active,,,,,/go?x=1",
            ":3: aliases: expected an old path and query, found \"/go?x=1\": it is a page of this service (/go)",
        ),
        (
            "B1,one,active,,,,,/old#top",
            ":3: aliases: expected an old path and query, found \"/old#top\": it contains #, and browsers",
        ),
        (
            "B1,one,active,,,,,/A1",
            ":3: aliases: expected an old path and query, found \"/A1\": it is read as the code A1 of another sign",
        ),
        (
            "B1,one,active,,,,,/go/?x=1",
            ":3: aliases: expected an old path and query, found \"/go/?x=1\": it is a page of this service (/go/)",
        ),
        (
            "B1,one,active,,,,,/A1/",
            ":3: aliases: expected an old path and query, found \"/A1/\": it is read as the code A1 of another sign",
        ),
        (
            "B1,one,active,,,,,/%41-l?x=1",
            ":3: aliases: expected an old path and query, found \"/%41-l?x=1\": it is read as the code A1 of",
        ),
        (
            "B1,one,active,,,,,/A1+",
            ":3: aliases: expected an old path and query, found \"/A1+\": it is never reached, as it is read as the page that says what A1 is",
        ),
        (
            "B1,one,active,,,,,/b1%2B/?x",
            ":3: aliases: expected an old path and query, found \"/b1%2B/?x\": it is never reached",
        ),
        ("B1,one,active,,,,,/cu+", ":3: aliases: expected an old path and query, found \"/cu+\": it is never reached"),
        (
            "B1,one,active,,,,,/old/../new",
            ":3: aliases: expected an old path and query, found \"/old/../new\": browsers send it as \"/new\"; write it so",
        ),
        (
            "B1,one,active,,,,,/old\\new",
            ":3: aliases: expected an old path and query, found \"/old\\\\new\": browsers send it as \"/old/new\"",
        ),
        ("B1,one,active", ":3: expected 8 cells as in the header, found 3"),
        ("B1,one,active,,,,,,,", ":3: expected 8 cells as in the header, found 10"),
        (
            "B1,one,active,,,,,/old\nB2,one,active,,,,,/other /old",
            ":4: aliases: expected an alias of this sign alone, found \"/old\", also on line 3",
        ),
    ] {
        refused("signs.csv", &[(&row(text), expected)]);
    }
}

/// What LibreOffice and Excel leave of `12345E67`, `MAR1-2026` and their like.
#[test]
fn a_code_that_a_spreadsheet_has_changed_is_told_with_the_cause() {
    let cure = "; write it in groups of four with a hyphen, as 7K3M-9QX5";
    for (cell, what) in [
        ("1.2345E+071", "a number"),
        ("\"1,2345E+71\"", "a number"),
        ("2026-03-01", "a date"),
        ("01/03/2026", "a date"),
        ("Mar-26", "a date"),
    ] {
        let said =
            format!("{:?}; it looks like a code that a spreadsheet turned into {what}{cure}\n", cell.trim_matches('"'));
        let signs = format!("code,place,status\nA1,one,active\n{cell},one,active\n");
        refused("signs.csv", &[(&signs, &format!(":3: code: expected a code, found {said}"))]);
    }
    let successor = "code,place,status,successor\nA1,one,retired,1.2345E+071\n";
    refused(
        "signs.csv",
        &[(successor, ":2: successor: expected the code of a sign, found \"1.2345E+071\"; it looks like a code")],
    );
    // What can be a code is taken as one.
    for code in ["12345", "12345E67", "2026-0301", "MAR2-6", "mar-26"] {
        let signs = format!("code,place,status\n{code},one,active\n");
        assert_eq!(resolved("signs.csv", signs.as_bytes(), code)["place"], "one", "{code}");
    }
}

#[test]
fn a_wrong_header_and_what_spans_signs_is_told() {
    refused(
        "signs.csv",
        &[
            ("code,place\nA1,one\n", ":1: header: expected the columns code, place, status, found no \"status\""),
            ("code,place,status,latitude\nA1,one,active,21\n", ":1: header: expected one of code, place, status,"),
        ],
    );
    let places = b"place,name\none,M\xe1\xbb\x99t\n";
    let (good, said) = check(&[("places.csv", places), ("signs.csv", b"code,place,status\nA1,one,planned\n")]);
    assert!(
        !good
            && said
                == "signs.csv:2: target: expected a target, the sign's own or that of its place one, or a text about that place, \
                    found neither\n",
        "{said}"
    );
    let mut circle = "code,place,status,successor\n".to_owned();
    for n in 0..40 {
        circle += &format!("X{n},one,retired,X{}\n", (n + 1) % 40);
    }
    let (good, said) = check(&[("signs.csv", circle.as_bytes())]);
    assert!(
        !good && said.starts_with("signs.csv:2: successor: expected at most 32 signs that follow one another"),
        "{said}"
    );
}

#[test]
fn a_wrong_override_is_told_with_its_line_and_field() {
    let row = |rest: &str| format!("scope,from,until,target\n{rest}\n");
    let (from, until, target) = ("2027-02-27T00:00", "2027-03-05T00:00", "https://example.vn/festival");
    for (text, expected) in [
        (
            format!("two,{from},{until},{target}"),
            ":2: scope: expected a place of places.csv or a code of signs.csv, found \"two\"",
        ),
        (
            format!("one,soon,{until},{target}"),
            ":2: from: expected a time such as 2027-02-27T08:00 (in Asia/Ho_Chi_Minh) or 2027-02-27T08:00:00+07:00, found \"soon\"",
        ),
        (format!("one,{from},2027-03-05,{target}"), ":2: until: expected a time such as 2027-02-27T08:00 (in"),
        (format!("one,{from},,{target}"), ":2: until: expected a time such as 2027-02-27T08:00 (in"),
        (
            format!("one,{until},{from},{target}"),
            ":2: until: expected a time after from (2027-03-05T00:00), found 2027-02-27T00:00",
        ),
        (
            format!("one,{from},2027-02-26T17:00Z,{target}"),
            ":2: until: expected a time after from (2027-02-27T00:00), found 2027-02-26T17:00Z",
        ),
        (format!("one,{from},{until},"), ":2: target: expected where to lead meanwhile, found an empty cell"),
        (format!("one,{from},{until},https://example.com/"), ":2: target: host example.com is not in allowed_hosts"),
        (format!("one,{from},{until}"), ":2: expected 4 cells as in the header, found 3"),
    ] {
        refused("overrides.csv", &[(&row(&text), expected)]);
    }
    let (good, said) = check(&[
        ("places.csv", PLACES.replace("\none,", "\nA1B2C3,").as_bytes()),
        ("signs.csv", b"code,place,status\nA1B2C3,A1B2C3,active\n"),
        ("overrides.csv", row(&format!("A1B2C3,{from},{until},{target}")).as_bytes()),
    ]);
    assert!(
        !good
            && said.starts_with("overrides.csv:2: scope: expected a place or a code, found \"A1B2C3\", which is both"),
        "{said}"
    );
}

const TEN_PLACES: &str =
    "place,name,target\none,Một,https://example.vn/\none,Hai,https://example.vn/\nthree,,http://example.vn/\n";
const TEN_SIGNS: &str = "code,place,status,lat,lon\nA1,one,active,,\na-1,one,active,,\nA2,nowhere,lost,99,1\n";
const TEN_OVERRIDES: &str = "scope,from,until,target\none,soon,later,https://example.com/\n";
const TEN: [&str; 10] = [
    "places.csv:3: place: expected an identifier that no other place has, found \"one\"",
    "places.csv:4: name: expected a name in the default language",
    "places.csv:4: target: expected https://, found \"http://example.vn/\"",
    "signs.csv:3: code: expected a code that no other sign has, found \"a-1\", the code of line 2",
    "signs.csv:4: place: expected a place of places.csv, found \"nowhere\"",
    "signs.csv:4: status: expected planned, active or retired, found \"lost\"",
    "signs.csv:4: lat: expected degrees from -90 to 90, found \"99\"",
    "overrides.csv:2: from: expected a time such as 2027-02-27T08:00",
    "overrides.csv:2: until: expected a time such as 2027-02-27T08:00",
    "overrides.csv:2: target: host example.com is not in allowed_hosts",
];

#[test]
fn ten_problems_in_three_files_are_told_together_in_the_order_of_the_files() {
    let (good, said) = check(&[
        ("places.csv", TEN_PLACES.as_bytes()),
        ("signs.csv", TEN_SIGNS.as_bytes()),
        ("overrides.csv", TEN_OVERRIDES.as_bytes()),
    ]);
    assert!(!good);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), TEN.len(), "{said}");
    for (line, expected) in lines.iter().zip(TEN) {
        assert!(line.starts_with(expected), "expected {expected}\nsaid {line}");
    }
}

/// Where a code leads and what its place is called, with one of the tables as a spreadsheet writes it.
fn resolved(file: &str, bytes: &[u8], code: &str) -> Value {
    let setup = Setup::new().registry(PLACES, SIGNS).file(&format!("config/{file}"), bytes);
    let output = setup.run(&["resolve", code, "--format", "json"]);
    assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_habits_of_spreadsheets_are_read() {
    let url = "https://example.vn/a;b,c";
    for text in [
        format!("\u{feff}place,name,target\none,Một,\"{url}\"\n"),
        format!("place;name;target\none;Một;\"{url}\"\n"),
        format!("\u{feff}\"place\";\"name\";\"target\"\r\n\"one\";\"Một\";\"{url}\"\r\n;;\r\n;;\r\n"),
        format!("place\tname\ttarget\none\tMột\t{url}\n"),
        format!("place,name,target\r\none,Một,\"{url}\"\r\n"),
        format!("place,name,target\none,Một,\"{url}\"\n,,\n\n,,\n"),
        format!("place,name,target\none,Một,\"{url}\""),
        format!(" place , name , target \n one , Một , \"{url}\"\n").replace(", \"", ",\"").replace(" \n", "\n"),
    ] {
        let found = resolved("places.csv", text.as_bytes(), "A1B2C3");
        assert_eq!((found["name"].as_str(), found["target"].as_str()), (Some("Một"), Some(url)), "{text:?}");
    }
    let quoted = "place,name,note,target\none,\"Đường \"\"Một\"\", phố\",\"two\r\nlines, and a \"\"quote\"\"\",https://example.vn/\n";
    assert_eq!(resolved("places.csv", quoted.as_bytes(), "A1B2C3")["name"], "Đường \"Một\", phố");
    let inch = "place,name,note,target\none,Một,plate of 5\" x 7,https://example.vn/\n";
    assert_eq!(resolved("places.csv", inch.as_bytes(), "A1B2C3")["name"], "Một");
}

#[test]
fn decimal_commas_vietnamese_dates_and_any_case_are_read() {
    let signs = "\u{feff}code;place;status;lat;lon;mounted\r\n\
        a1b2-c3;one;ACTIVE;21,85362;106,75757;14/3/2026\r\n\
        A1B2C4;one;Retired;\"-21,5\";106.5;2026-03-14\r\n;;;;;\r\n";
    assert_eq!(resolved("signs.csv", signs.as_bytes(), "A1B2C3")["status"], "active");
    assert_eq!(resolved("signs.csv", signs.as_bytes(), "A1B2C4")["status"], "retired");
}

#[test]
fn lines_are_counted_as_an_editor_counts_them() {
    for text in [
        "code,place,status\nA1,one,active\nA2,one,active\nA3,one,lost\n",
        "code,place,status\r\nA1,one,active\r\nA2,one,active\r\nA3,one,lost\r\n",
        "\u{feff}code;place;status\r\nA1;one;active\r\n;;\r\nA3;one;lost\r\n",
        "code,place,status\n\n\nA3,one,lost\n",
        "code,place,status\r\n\r\n\r\nA3,one,lost\r\n",
    ] {
        refused("signs.csv", &[(text, ":4: status: expected planned, active or retired, found \"lost\"")]);
    }
    let spanning = "code,place,note,status\nA1,one,\"a\nb\nc\",active\nA2,one,,lost\n";
    refused("signs.csv", &[(spanning, ":5: status: expected planned, active or retired, found \"lost\"")]);
}

#[test]
fn other_encodings_are_refused_with_advice() {
    let utf16: Vec<u8> = format!("\u{feff}{PLACES}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = format!("\u{feff}{PLACES}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [utf16, big] {
        assert_eq!(
            check(&[("places.csv", &bytes)]),
            (false, "places.csv: expected UTF-8, found UTF-16; save the file as \"CSV UTF-8\"\n".to_owned())
        );
    }
    // And the other tables' problems are told beside it.
    let (_, said) = check(&[("overrides.csv", b"\xff\xfe0\x00"), ("signs.csv", b"code,place,status\nA1,one,activ\n")]);
    assert_eq!(said.lines().count(), 2, "{said}");
    let latin = b"place,name,target\none,M,https://example.vn/\ntwo,Caf\xe9,https://example.vn/\n";
    assert_eq!(
        check(&[("places.csv", latin)]),
        (false, "places.csv:3: expected UTF-8, found other bytes; save the file as \"CSV UTF-8\"\n".to_owned())
    );
    let header = b"place,name,not\xe9\none,M,\n";
    assert_eq!(
        check(&[("places.csv", header)]),
        (false, "places.csv:1: header: expected UTF-8, found other bytes; save the file as \"CSV UTF-8\"\n".to_owned())
    );
}

#[test]
fn a_quote_that_is_never_closed_is_found_where_it_is_opened() {
    let rows = |note: &str| format!("code,place,status,note\nA1,one,active,\nA2,one,active,{note}\nA3,one,active,\n");
    refused("signs.csv", &[(&rows("\"a plate"), ":3: expected an end of the quote that is opened here, found none")]);
    refused(
        "signs.csv",
        &[(&rows("\"a \"\"plate"), ":3: expected an end of the quote that is opened here, found none")],
    );
    // At the end of the file, as in one that is written half.
    let half = "code,place,status,note\r\nA1,one,active,\r\nA2,one,active,\"a pla";
    refused("signs.csv", &[(half, ":3: expected an end of the quote that is opened here, found none")]);
    // Two of them would swallow the rows in between, and no row would look wrong.
    let two = "code,place,status,note\nA1,one,active,\"a\nA2,one,active,\nA3,one,active,\"b\nA4,one,active,\n";
    refused("signs.csv", &[(two, ":2: expected an end of the quote that is opened here, found none")]);
    // The cell that spans lines is not the one to blame, and a mark of inches is no quote.
    let other = "code,place,status,note\nA1,one,active,\"a\nb\"\nA2,one,active,\"b\nA4,one,active,\n";
    refused("signs.csv", &[(other, ":4: expected an end of the quote that is opened here, found none")]);
    let inch = "code,place,status,note\nA1,one,active,\"a\nb\"\nA2,one,active,5\" wide\n";
    assert!(check(&[("signs.csv", inch.as_bytes())]).0);
}

#[test]
fn a_file_that_is_not_there_is_told_unless_it_is_that_of_overrides() {
    let setup = Setup::new();
    std::fs::remove_file(setup.path("config/signs.csv")).unwrap();
    let output = setup.run(&["check"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("signs.csv: can't be read ("), "{said}");
    assert!(!setup.path("config/overrides.csv").exists() && Setup::new().run(&["check"]).status.success());
}

#[test]
fn an_edge_does_not_start_with_a_broken_registry_and_no_copy_of_a_good_one() {
    let setup = Setup::new().registry(TEN_PLACES, TEN_SIGNS).file("config/overrides.csv", TEN_OVERRIDES);
    let output = setup.run(&["serve"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for expected in TEN {
        assert!(said.contains(expected), "expected {expected}\nsaid {said}");
    }
    assert!(!setup.path("data").exists(), "nothing is left behind");
}

#[test]
fn an_edge_with_a_copy_of_a_good_registry_serves_it_and_says_so() {
    let mut edge = Setup::new().start();
    let generation = edge.status()["registry"]["generation"].clone();
    edge.stop();
    edge.setup = std::mem::replace(&mut edge.setup, Setup::new()).file("config/signs.csv", TEN_SIGNS);
    edge.start();
    assert_eq!(edge.scan("/A1B2C4").status, 302);
    let registry = edge.status()["registry"].clone();
    assert_eq!((&registry["from_last_good"], &registry["last_reload_successful"]), (&true.into(), &false.into()));
    assert_eq!(registry["generation"], generation);
    assert_eq!(registry["problems"].as_array().unwrap().len(), 4, "{registry}");
    assert_eq!(edge.metrics().get("waypost_registry_last_reload_successful"), 0.0);

    std::fs::write(edge.setup.path("config/signs.csv"), SIGNS).unwrap();
    wait_for("the repaired table serves", || (edge.status()["registry"]["from_last_good"] == false).then_some(()));
    assert_eq!(edge.metrics().get("waypost_registry_last_reload_successful"), 1.0);
}

#[test]
fn a_cell_has_a_limit_and_a_nul_is_refused_where_it_stands() {
    let long = "x".repeat(1 << 20);
    let row = |note: &str| format!("code,place,status,note\nA1,one,active,\nA2,one,active,{note}\n");
    refused(
        "signs.csv",
        &[(&row(&long), ":3: expected at most 65536 bytes in a cell, found more in one that begins here")],
    );
    refused(
        "signs.csv",
        &[(
            &row(&format!("\"{long}\"")),
            ":3: expected at most 65536 bytes in a cell, found more in one that begins here",
        )],
    );
    // Marks of inches are no quotes.
    let marks = "5\" x 7 ".repeat(10_000);
    refused("signs.csv", &[(&row(&marks), ":3: note: expected at most 65536 bytes, found 69999")]);
    assert!(check(&[("signs.csv", row(&"x".repeat(65_536)).as_bytes())]).0, "the limit itself is allowed");
    refused("signs.csv", &[(&row("a\0b"), ":3: expected text, found a NUL byte")]);
}

#[test]
fn a_read_takes_less_than_three_times_the_file_and_nuls_take_nothing() {
    let note = "x".repeat(60);
    let signs: String = (0..700_000).map(|n| format!("S{n:06},one,active,{note}{n}\n")).collect();
    let signs = format!("code,place,status,note\n{signs}");
    let size = signs.len() as u64;
    let edge = Setup::new().registry(PLACES, &signs).start();
    let most = 3 * size + (64 << 20);
    let peak = edge.memory("VmHWM");
    assert!(peak < most, "{peak} bytes at the start, {size} bytes of tables");
    let before = edge.memory("VmRSS");
    std::fs::write(edge.setup.path("config/places.csv"), PLACES.replace("/vi/one", "/vi/two")).unwrap();
    wait_for("the edit serves", || (edge.scan("/S000001").location()? == "https://example.vn/vi/two").then_some(()));
    let peak = edge.memory("VmHWM");
    assert!(peak < before + most, "{peak} bytes at a reload, {before} before, {size} of tables");

    let nuls = std::fs::File::create(edge.setup.path("config/nuls.csv")).unwrap();
    nuls.set_len(1900 << 20).unwrap();
    std::fs::rename(edge.setup.path("config/nuls.csv"), edge.setup.path("config/signs.csv")).unwrap();
    wait_for("it is refused", || {
        edge.status()["registry"]["problems"]
            .to_string()
            .contains("signs.csv:1: expected text, found a NUL byte")
            .then_some(())
    });
    let peak = edge.memory("VmHWM");
    assert!(peak < before + most, "{peak} bytes");
}

#[test]
fn the_log_tells_a_new_set_of_problems_once_and_only_its_first() {
    let edge = Setup::new().registry(PLACES, SIGNS).start();
    let bad: String = (0..5000).map(|n| format!("S{n},nowhere,active\n")).collect();
    std::fs::write(edge.setup.path("config/signs.csv"), format!("code,place,status\n{bad}")).unwrap();
    for _ in 0..20 {
        assert_eq!(edge.admin("POST", "/reload").status, 422);
    }
    let lines = |level: &str| {
        let log = edge.log();
        log.lines().filter(|line| line.contains(level) && line.contains("registry refused")).count()
    };
    assert_eq!(lines("ERROR"), 6, "five, and how many more");
    assert!(edge.log().contains("and 996 more problems"), "and one that says how many are not listed");
    assert_eq!(edge.status()["registry"]["problems"].as_array().unwrap().len(), 1001);
    std::fs::write(edge.setup.path("config/signs.csv"), SIGNS).unwrap();
    assert_eq!(edge.admin("POST", "/reload").status, 200);
    std::fs::write(edge.setup.path("config/signs.csv"), format!("code,place,status\n{bad}")).unwrap();
    assert_eq!(edge.admin("POST", "/reload").status, 422);
    assert_eq!(lines("ERROR"), 12, "a set that comes again after a good reload is logged again");
}
