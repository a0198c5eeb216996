//! A slip in a table is refused whole, with its file, line and field, and breaks no plate.
//!
//! `waypost check` tells every problem of all three files at once, and reads what spreadsheets
//! make of a table. An edge never starts with a broken registry, unless it has the copy of the
//! last good one, and then it says so.

use crate::support::{Edge, Setup, wait_for};
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
            ("", ":1: has no header row; it must name place, name"),
            (
                "place,name,colour\none,Một,red\n",
                ":1: header: \"colour\" is not a column; allowed are place, name, name:LANGUAGE, kind",
            ),
            ("place,name,name\none,Một,Một\n", ":1: header: the column \"name\" is there twice"),
            ("place,target\none,https://example.vn/\n", ":1: header: the column \"name\" is missing"),
            (
                "place,name,name:e\none,Một,One\n",
                ":1: header: \"e\" in \"name:e\" is not a language; write name:en or name:zh-Hant",
            ),
            ("place,name,area:en\none,Một,One\n", ":1: header: \"area:en\" is not a column"),
            (
                "place,name,name:vi,target\none,Một,Một,https://example.vn/\n",
                ":1: header: vi is the default language (registry.default_language)",
            ),
            (
                "place,name,target\none,Một,https://example.vn/\none,Hai,https://example.vn/\n",
                ":3: place: \"one\" is there twice",
            ),
            ("place,name,target\none,Một,https://example.vn/\ntwo,,https://example.vn/\n", ":3: name: is empty"),
            (
                "place,name,target\none,Một,https://example.vn/\n,Hai,https://example.vn/\n",
                ":3: place: \"\" is not an identifier; allowed are 1 to 64",
            ),
            (
                "place,name,target\none,Một,https://example.vn/\ntwo street,Hai,\n",
                ":3: place: \"two street\" is not an identifier",
            ),
            (&long, ":2: name: is longer than 400 bytes"),
            ("place,name,target\none,Một,https://example.vn/\ntwo,Hai\n", ":3: has 2 cells where the header has 3"),
            (
                "place,name,target,target:en\none,Một,,https://example.vn/en\n",
                ":2: target: is empty; where there is a target for any language",
            ),
        ],
    );
}

#[test]
fn a_wrong_target_is_told_with_its_column() {
    let cases = [
        ("https://example.com/", "target: host example.com is not in allowed_hosts"),
        ("http://example.vn/", "target: \"http://example.vn/\" is http; only https is allowed"),
        ("javascript:alert(1)", "target: the scheme \"javascript\" is not allowed; it must begin https://"),
        ("example.vn/one", "target: \"example.vn/one\" is not a URL"),
        ("https://example.vn/a b", "target: contains ' '; a URL has no spaces"),
        ("https://user:secret@example.vn/", "target: has user info before its host"),
        ("https://notexample.vn/", "target: host notexample.vn is not in allowed_hosts"),
        ("https://qr.example.vn/A1B2C4", "target: host qr.example.vn is this service's own"),
    ];
    for (target, expected) in cases {
        refused("places.csv", &[(&format!("place,name,target\none,Một,{target}\n"), &format!(":2: {expected}"))]);
        let signs = format!("code,place,status,target,target:en\nA1B2C3,one,active,https://example.vn/,{target}\n");
        refused("signs.csv", &[(&signs, &format!(":2: {}", expected.replacen("target:", "target:en:", 1)))]);
    }
    let long = format!("place,name,target\none,Một,https://example.vn/{}\n", "x".repeat(2048));
    refused("places.csv", &[(&long, ":2: target: is 2067 bytes long; at most 2048 are allowed")]);
}

#[test]
fn a_wrong_sign_is_told_with_its_line_and_field() {
    let row = |rest: &str| format!("code,place,status,lat,lon,mounted,successor,aliases\nA1,one,active,,,,,\n{rest}\n");
    for (text, expected) in [
        ("7K3M*,one,active,,,,,", ":3: code: \"7K3M*\" contains '*'; allowed are 0-9 A-Z"),
        (",one,active,,,,,", ":3: code: is empty; a code has 1 to 20 characters"),
        ("AAAAAAAAAAAAAAAAAAAAA,one,active,,,,,", ":3: code: \"AAAAAAAAAAAAAAAAAAAAA\" has more than 20 characters"),
        ("a-l,one,active,,,,,", ":3: code: \"a-l\" is the same code as on line 2 (both are read as A1)"),
        ("go,one,active,,,,,", ":3: code: \"go\" is reserved for the page /go"),
        ("B1,two,active,,,,,", ":3: place: \"two\" is not in places.csv"),
        ("B1,,active,,,,,", ":3: place: \"\" is not in places.csv"),
        ("B1,one,broken,,,,,", ":3: status: \"broken\" is not allowed; allowed are planned, active, retired"),
        ("B1,one,,,,,,", ":3: status: \"\" is not allowed"),
        ("B1,one,active,91,106,,,", ":3: lat: \"91\" is not a position; allowed are degrees from -90 to 90"),
        ("B1,one,active,21,181,,,", ":3: lon: \"181\" is not a position; allowed are degrees from -180 to 180"),
        ("B1,one,active,north,106,,,", ":3: lat: \"north\" is not a position"),
        ("B1,one,active,21,,,,", ":3: lat: lat and lon are given together or not at all"),
        ("B1,one,active,NaN,106,,,", ":3: lat: \"NaN\" is not a position"),
        (
            "B1,one,active,,,2026-02-30,,",
            ":3: mounted: \"2026-02-30\" is not a date; allowed are 2026-03-14 and 14/3/2026",
        ),
        ("B1,one,active,,,3/14/2026,,", ":3: mounted: \"3/14/2026\" is not a date"),
        ("B1,one,retired,,,,ZZ,", ":3: successor: \"ZZ\" is not the code of a sign"),
        ("B1,one,retired,,,,B1,", ":3: successor: leads back to the sign itself"),
        ("B1,one,active,,,,,old/path", ":3: aliases: \"old/path\" must begin with /"),
        ("B1,one,active,,,,,/go?x=1", ":3: aliases: \"/go?x=1\" is a page of this service (/go)"),
        ("B1,one,active,,,,,/old#top", ":3: aliases: \"/old#top\" is too long (over 1024 bytes) or contains #"),
        ("B1,one,active,,,,,/A1", ":3: aliases: \"/A1\" reads as the code A1 of another sign"),
        ("B1,one,active,,,,,/go/?x=1", ":3: aliases: \"/go/?x=1\" is a page of this service (/go/)"),
        ("B1,one,active,,,,,/A1/", ":3: aliases: \"/A1/\" reads as the code A1 of another sign"),
        ("B1,one,active,,,,,/%41-l?x=1", ":3: aliases: \"/%41-l?x=1\" reads as the code A1 of another sign"),
        ("B1,one,active,,,,,/A1+", ":3: aliases: \"/A1+\" is never reached: it reads as the page that says what A1 is"),
        ("B1,one,active,,,,,/b1%2B/?x", ":3: aliases: \"/b1%2B/?x\" is never reached: it reads as the page that says"),
        ("B1,one,active,,,,,/cu+", ":3: aliases: \"/cu+\" is never reached: it reads as the page that says what CU is"),
        ("B1,one,active,,,,,/old/../new", ":3: aliases: \"/old/../new\" is sent as \"/new\" by browsers; write it so"),
        ("B1,one,active,,,,,/old\\new", ":3: aliases: \"/old\\\\new\" is sent as \"/old/new\" by browsers"),
        ("B1,one,active", ":3: has 3 cells where the header has 8"),
        ("B1,one,active,,,,,,,", ":3: has 10 cells where the header has 8"),
        (
            "B1,one,active,,,,,/old\nB2,one,active,,,,,/other /old",
            ":4: aliases: \"/old\" also means the sign on line 3",
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
        refused("signs.csv", &[(&signs, &format!(":3: code: {said}"))]);
    }
    let successor = "code,place,status,successor\nA1,one,retired,1.2345E+071\n";
    refused(
        "signs.csv",
        &[(successor, ":2: successor: \"1.2345E+071\" is not the code of a sign; it looks like a code")],
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
            ("code,place\nA1,one\n", ":1: header: the column \"status\" is missing; it must name code, place, status"),
            ("code,place,status,latitude\nA1,one,active,21\n", ":1: header: \"latitude\" is not a column"),
        ],
    );
    let places = b"place,name\none,M\xe1\xbb\x99t\n";
    let (good, said) = check(&[("places.csv", places), ("signs.csv", b"code,place,status\nA1,one,planned\n")]);
    assert!(!good && said == "signs.csv:2: target: neither the sign nor its place one has one\n", "{said}");
    let mut circle = "code,place,status,successor\n".to_owned();
    for n in 0..40 {
        circle += &format!("X{n},one,retired,X{}\n", (n + 1) % 40);
    }
    let (good, said) = check(&[("signs.csv", circle.as_bytes())]);
    assert!(!good && said.starts_with("signs.csv:2: successor: leads through more than 32 signs"), "{said}");
}

#[test]
fn a_wrong_override_is_told_with_its_line_and_field() {
    let row = |rest: &str| format!("scope,from,until,target\n{rest}\n");
    let (from, until, target) = ("2027-02-27T00:00", "2027-03-05T00:00", "https://example.vn/festival");
    for (text, expected) in [
        (
            format!("two,{from},{until},{target}"),
            ":2: scope: \"two\" is neither a place in places.csv nor a code in signs.csv",
        ),
        (
            format!("one,soon,{until},{target}"),
            ":2: from: \"soon\" is not a time; allowed are 2027-02-27T08:00 (in Asia/Ho_Chi_Minh)",
        ),
        (format!("one,{from},2027-03-05,{target}"), ":2: until: \"2027-03-05\" is not a time"),
        (format!("one,{from},,{target}"), ":2: until: \"\" is not a time"),
        (format!("one,{until},{from},{target}"), ":2: until: 2027-02-27T00:00 is not after from, 2027-03-05T00:00"),
        (format!("one,{from},2027-02-26T17:00Z,{target}"), ":2: until: 2027-02-26T17:00Z is not after from"),
        (format!("one,{from},{until},"), ":2: target: is empty; an override says where to lead"),
        (format!("one,{from},{until},https://example.com/"), ":2: target: host example.com is not in allowed_hosts"),
        (format!("one,{from},{until}"), ":2: has 3 cells where the header has 4"),
    ] {
        refused("overrides.csv", &[(&row(&text), expected)]);
    }
    let (good, said) = check(&[
        ("places.csv", PLACES.replace("\none,", "\nA1B2C3,").as_bytes()),
        ("signs.csv", b"code,place,status\nA1B2C3,A1B2C3,active\n"),
        ("overrides.csv", row(&format!("A1B2C3,{from},{until},{target}")).as_bytes()),
    ]);
    assert!(!good && said.starts_with("overrides.csv:2: scope: \"A1B2C3\" is both a place and the code"), "{said}");
}

const TEN_PLACES: &str =
    "place,name,target\none,Một,https://example.vn/\none,Hai,https://example.vn/\nthree,,http://example.vn/\n";
const TEN_SIGNS: &str = "code,place,status,lat,lon\nA1,one,active,,\na-1,one,active,,\nA2,nowhere,lost,99,1\n";
const TEN_OVERRIDES: &str = "scope,from,until,target\none,soon,later,https://example.com/\n";
const TEN: [&str; 10] = [
    "places.csv:3: place: \"one\" is there twice",
    "places.csv:4: name: is empty",
    "places.csv:4: target: \"http://example.vn/\" is http",
    "signs.csv:3: code: \"a-1\" is the same code as on line 2",
    "signs.csv:4: place: \"nowhere\" is not in places.csv",
    "signs.csv:4: status: \"lost\" is not allowed",
    "signs.csv:4: lat: \"99\" is not a position",
    "overrides.csv:2: from: \"soon\" is not a time",
    "overrides.csv:2: until: \"later\" is not a time",
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
        refused("signs.csv", &[(text, ":4: status: \"lost\" is not allowed")]);
    }
    let spanning = "code,place,note,status\nA1,one,\"a\nb\nc\",active\nA2,one,,lost\n";
    refused("signs.csv", &[(spanning, ":5: status: \"lost\" is not allowed")]);
}

#[test]
fn other_encodings_are_refused_with_advice() {
    let utf16: Vec<u8> = format!("\u{feff}{PLACES}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = format!("\u{feff}{PLACES}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [utf16, big] {
        assert_eq!(
            check(&[("places.csv", &bytes)]),
            (false, "places.csv: is in UTF-16; save it as \"CSV UTF-8\"\n".to_owned())
        );
    }
    let latin = b"place,name,target\none,M,https://example.vn/\ntwo,Caf\xe9,https://example.vn/\n";
    assert_eq!(
        check(&[("places.csv", latin)]),
        (false, "places.csv:3: is not UTF-8; save the file as \"CSV UTF-8\"\n".to_owned())
    );
    let header = b"place,name,not\xe9\none,M,\n";
    assert_eq!(
        check(&[("places.csv", header)]),
        (false, "places.csv:1: header: is not UTF-8; save the file as \"CSV UTF-8\"\n".to_owned())
    );
}

#[test]
fn a_quote_that_is_never_closed_is_found_where_it_is_opened() {
    let rows = |note: &str| format!("code,place,status,note\nA1,one,active,\nA2,one,active,{note}\nA3,one,active,\n");
    refused("signs.csv", &[(&rows("\"a plate"), ":3: a quote that is opened here is never closed")]);
    refused("signs.csv", &[(&rows("\"a \"\"plate"), ":3: a quote that is opened here is never closed")]);
    // At the end of the file, as in one that is written half.
    let half = "code,place,status,note\r\nA1,one,active,\r\nA2,one,active,\"a pla";
    refused("signs.csv", &[(half, ":3: a quote that is opened here is never closed")]);
    // Two of them would swallow the rows in between, and no row would look wrong.
    let two = "code,place,status,note\nA1,one,active,\"a\nA2,one,active,\nA3,one,active,\"b\nA4,one,active,\n";
    refused("signs.csv", &[(two, ":2: a quote that is opened here is never closed")]);
    // The cell that spans lines is not the one to blame, and a mark of inches is no quote.
    let other = "code,place,status,note\nA1,one,active,\"a\nb\"\nA2,one,active,\"b\nA4,one,active,\n";
    refused("signs.csv", &[(other, ":4: a quote that is opened here is never closed")]);
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
    refused("signs.csv", &[(&row(&long), ":3: a cell that begins here is longer than 65536 bytes")]);
    refused("signs.csv", &[(&row(&format!("\"{long}\"")), ":3: a cell that begins here is longer than 65536 bytes")]);
    // Marks of inches are no quotes.
    let marks = "5\" x 7 ".repeat(10_000);
    refused("signs.csv", &[(&row(&marks), ":3: note: is 69999 bytes long; at most 65536 are allowed")]);
    assert!(check(&[("signs.csv", row(&"x".repeat(65_536)).as_bytes())]).0, "the limit itself is allowed");
    refused("signs.csv", &[(&row("a\0b"), ":3: contains a NUL byte; a table is text")]);
}

/// In KiB, of a process's memory.
fn memory(edge: &Edge, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", edge.pid())).unwrap();
    let found = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    found.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

#[test]
fn a_read_takes_less_than_three_times_the_file_and_nuls_take_nothing() {
    let note = "x".repeat(60);
    let signs: String = (0..700_000).map(|n| format!("S{n:06},one,active,{note}{n}\n")).collect();
    let signs = format!("code,place,status,note\n{signs}");
    let size = signs.len() as u64 >> 10;
    let edge = Setup::new().registry(PLACES, &signs).start();
    let most = 3 * size + (64 << 10);
    assert!(memory(&edge, "VmHWM:") < most, "{} KiB at the start, {size} KiB of tables", memory(&edge, "VmHWM:"));
    let before = memory(&edge, "VmRSS:");
    std::fs::write(edge.setup.path("config/places.csv"), PLACES.replace("/vi/one", "/vi/two")).unwrap();
    wait_for("the edit serves", || (edge.scan("/S000001").location()? == "https://example.vn/vi/two").then_some(()));
    let peak = memory(&edge, "VmHWM:");
    assert!(peak < before + most, "{peak} KiB at a reload, {before} KiB before, {size} KiB of tables");

    let nuls = std::fs::File::create(edge.setup.path("config/nuls.csv")).unwrap();
    nuls.set_len(1900 << 20).unwrap();
    std::fs::rename(edge.setup.path("config/nuls.csv"), edge.setup.path("config/signs.csv")).unwrap();
    wait_for("it is refused", || {
        edge.status()["registry"]["problems"].to_string().contains("signs.csv:1: contains a NUL byte").then_some(())
    });
    assert!(memory(&edge, "VmHWM:") < before + most, "{} KiB", memory(&edge, "VmHWM:"));
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
    assert_eq!(lines("ERROR"), 12, "what comes again is news");
}
