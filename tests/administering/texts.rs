//! Whatever a table, a reason, a remark or a name says comes through as text: on every page, in every file, in every
//! picture. No script of it runs, and no spreadsheet takes it for a formula.

use crate::office::{Office, PASSWORD, Person};
use crate::support::Setup;
use crate::support::browser::{DESK, PHONE};

/// Each is the name of a place (400 bytes at most), of an area, of a note, of an account, a reason and a remark.
fn texts() -> Vec<String> {
    let fixed = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(2)>",
        "'</title><svg onload=alert(3)>",
        "=HYPERLINK(\"http://evil.example\",\"xem\")",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "\u{202e}gnơưV gnùH\u{202c} \u{5d0}\u{5d1}",
        "&lt;b&gt; &amp; {{7*7}} ${7*7}",
        // Decomposed: "Đường Hùng Vương" as macOS writes names of files.
        "Đu\u{31b}o\u{31b}\u{300}ng Hu\u{300}ng Vu\u{31b}o\u{31b}ng",
    ];
    fixed.map(str::to_owned).into_iter().chain(["Duong".repeat(60), "ữ".repeat(130)]).collect()
}

fn code(at: usize) -> String {
    format!("A1B2C{}", char::from(b"23456789DEFGH"[at]))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// One place and one sign for each text.
fn office() -> Office {
    let mut places = "place,kind,area,name,name:en,target,note\n".to_owned();
    let mut signs = "code,place,status,lat,lon,note\n".to_owned();
    for (at, text) in texts().iter().enumerate() {
        let text = quoted(text);
        places += &format!("p{at},street,{text},{text},{text},https://langson.gov.vn/p{at},{text}\n");
        signs += &format!("{},p{at},active,21.8{at},106.7{at},{text}\n", code(at));
    }
    Office::with(Setup::new().registry(&places, &signs))
}

/// Each text is on the page, letter by letter, and nothing of it is an element.
#[track_caller]
fn assert_has_all(person: &Person, path: &str, texts: &[String]) {
    person.see(path);
    // A dialog that a script had opened would fail this.
    let letters = person.letters();
    for text in texts {
        assert!(letters.contains(text.as_str()), "{path} lacks {text:?}:\n{letters}");
    }
    assert_eq!(person.count("script, img, iframe, [onload], [onerror]"), 0, "{path}");
    assert!(person.overflow() <= 0, "{path} is {} px too wide", person.overflow());
}

/// Each text is in the file, and no cell is a formula.
#[track_caller]
fn assert_is_harmless(person: &Person, path: &str, texts: &[String]) {
    let reply = person.get(path);
    assert_eq!(reply.status, 200, "{path}");
    let rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(reply.body.as_bytes());
    let cells: Vec<String> =
        rows.into_records().flat_map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>()).collect();
    for cell in &cells {
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{path}: {cell}");
    }
    for text in texts {
        let is_there = |cell: &String| cell == text || cell.strip_prefix('\'') == Some(text);
        assert!(cells.iter().any(is_there), "{path} lacks {text:?}");
    }
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn whatever_the_tables_say_is_text_everywhere() {
    let office = office();
    let person = office.editor(PHONE);
    let texts = texts();
    for page in [
        "/signs",
        "/places",
        "/map",
        "/overrides?add=1",
        "/replace?find=langson.gov.vn&replace=dulich.langson.gov.vn&in=places",
    ] {
        assert_has_all(&person, page, &texts);
    }
    for (at, text) in texts.iter().enumerate() {
        let query = url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        for page in [format!("/places/p{at}"), format!("/signs/{}", code(at)), format!("/signs?area={query}")] {
            assert_has_all(&person, &page, &texts[at..=at]);
        }
        // What is asked for is shown again, as text too.
        for page in [format!("/signs?q={query}"), format!("/signs/{query}"), format!("/history?sign={query}")] {
            assert_has_all(&person, &page, &[]);
        }
    }
    for file in ["/signs?format=csv", "/places?format=csv", "/import?get=all&table=places"] {
        assert_is_harmless(&person, file, &texts);
    }
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn whatever_people_say_is_text_everywhere() {
    let office = office();
    let editor = office.editor(PHONE);
    let approver = office.approver(DESK);
    let texts = texts();
    for (at, text) in texts.iter().enumerate() {
        editor.see(&format!("/places/p{at}"));
        let set = editor.point_elsewhere(&format!("https://langson.gov.vn/moi/{at}"), text);
        let reply = approver.post(&format!("/changes/{set}"), &[("action", "refuse"), ("remark", text)]);
        assert_eq!(reply.status, 303, "{}", reply.body);
        // The first page has the latest of what was refused.
        for page in ["/", &format!("/changes/{set}")] {
            assert_has_all(&editor, page, &texts[at..=at]);
        }
    }
    for page in ["/changes?state=all", "/history"] {
        assert_has_all(&editor, page, &texts);
    }
    assert_is_harmless(&editor, "/history?format=csv", &texts);
}

#[test]
#[ignore = "needs Chromium: tests/run"]
fn whatever_people_are_called_is_text_everywhere() {
    let office = office();
    let names: Vec<String> = texts().into_iter().filter(|text| text.chars().count() <= 64).collect();
    // Names are composed, so that they can be typed on any keyboard.
    let composed =
        |name: &String| -> String { unicode_normalization::UnicodeNormalization::nfc(name.as_str()).collect() };
    let composed: Vec<String> = names.iter().map(composed).collect();
    let links: Vec<String> = names.iter().map(|name| office.invite(name, &["--role", "manager"])).collect();
    let person = office.stranger(PHONE);
    person.go(&links[0]);
    person.write("#password", PASSWORD);
    person.press("main form button");
    assert_has_all(&person, "/accounts", &composed);
    assert_has_all(&person, "/history", &[]);
    assert_is_harmless(&person, "/history?format=csv", &[]);
    assert!(person.text().contains(&composed[0]), "who is signed in is on every page");
}
