//! What a person at the terminal gets: an example with every command, an answer or a reason, and an exit code.
//!
//! 0 where all is well, 1 where something was found to be wrong, 2 where the arguments are. `resolve`
//! says where a code leads and why, `codes new` draws codes that no sign has, and `journal` reads
//! what a killed edge has left.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::{BINARY, Edge, Setup, files_below, many_signs, wait_for};
use serde_json::{Value, json};
use waypost::core::Code;

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn alone(arguments: &[&str]) -> (i32, String, String) {
    said(&Command::new(BINARY).args(arguments).current_dir("/").output().unwrap())
}

#[test]
fn every_command_has_help_with_an_example() {
    let commands: [&[&str]; 17] = [
        &["serve"],
        &["check"],
        &["probe"],
        &["resolve"],
        &["usage"],
        &["health"],
        &["coverage"],
        &["codes", "new"],
        &["journal", "ls"],
        &["journal", "cat"],
        &["journal", "retry"],
        &["journal", "verify"],
        &["console", "invite"],
        &["console", "reset"],
        &["schema"],
        &["backfill"],
        &["audit", "verify"],
    ];
    let (code, top, _) = alone(&["--help"]);
    assert_eq!(code, 0);
    for command in commands {
        let (code, help, _) = alone(&[command, &["--help"]].concat());
        let example = format!("waypost {}", command.join(" "));
        let (_, examples) = help.split_once("\nExample").unwrap_or_else(|| panic!("no example in {help}"));
        assert!(code == 0 && examples.contains(&example), "{help}");
        assert!(help.contains("--config <FILE>") && help.contains("config/waypost.toml"), "{help}");
        assert!(top.contains(&format!("\n  {} ", command[0])), "{top}");
    }
    // None is left out: these and `help` are listed.
    let listed = top.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let listed: BTreeSet<&str> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed, commands.iter().map(|command| command[0]).chain(["help"]).collect(), "{top}");
    assert_eq!(alone(&["--version"]).1, concat!("waypost ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn arguments_that_are_not_understood_exit_2() {
    for arguments in [
        &["serv"][..],
        &[],
        &["check", "--verbose"],
        &["resolve"],
        &["journal"],
        &["codes", "new", "--count", "0"],
        &["codes", "new", "--count", "1000001"],
        &["codes", "new", "--count", "six"],
        &["resolve", "A1", "--format", "xml"],
        &["usage", "--by", "visitor"],
        &["coverage", "--by", "place"],
        &["coverage", "--list", "--by", "kind"],
        &["coverage", "--list", "--older-than", "1y"],
    ] {
        let (code, out, error) = alone(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {error}");
        assert!(error.contains("Usage:") || error.contains("--help"), "{error}");
    }
}

#[test]
fn check_exits_0_or_1_and_tells_what_there_is() {
    let setup = Setup::new().set("edge.trust", "proxies", "[\"127.0.0.1\"]");
    let ok = "configuration OK: 1 places, 2 signs (2 active, 0 planned, 0 retired), languages vi, en\n";
    assert_eq!(said(&setup.run(&["check"])), (0, ok.to_owned(), String::new()));
    let setup = setup.file("config/signs.csv", "code,place,status\nA1,two,active\n");
    let problem = "signs.csv:2: place: expected a place of places.csv, found \"two\"\n";
    assert_eq!(said(&setup.run(&["check"])), (1, String::new(), problem.to_owned()));
    let setup = setup.set("journal", "segment", "\"1\"");
    let (_, _, error) = said(&setup.run(&["check"]));
    let both = error.starts_with("waypost.toml:") && error.ends_with(&format!("\n{problem}"));
    assert!(both && error.lines().count() == 2, "one does not hide the other: {error}");
    let setup = setup.set("registry", "timezone", "\"Mars\"");
    let (_, _, error) = said(&setup.run(&["check"]));
    assert!(error.contains("registry.timezone") && !error.contains("signs.csv"), "by which rules? {error}");
    let (code, _, error) = alone(&["check", "--config", "/nonexistent.toml"]);
    assert!(code == 1 && error.starts_with("nonexistent.toml: can't be read"), "{error}");
}

/// A street with two signs, one of which is being replaced, and a festival.
fn town() -> Setup {
    Setup::new()
        .registry(
            "place,kind,area,name,name:en,name:zh,target,target:en,target:zh\n\
             st1,street,Kỳ Lừa,Đường Một,One Street,一街,https://example.vn/vi/1,https://example.vn/en/1,https://example.vn/zh/1\n\
             re1,relic,Tam Thanh,Chùa,Pagoda,,https://example.vn/vi/chua,,\n",
            "code,place,status,target,successor,aliases\n\
             7K3M9QX5,st1,active,,,/vi/duong/hung-vuong?id=12 /cu/đường\n\
             A1,st1,planned,https://example.vn/own,,\n\
             B1,st1,retired,,7K3M9QX5,\n\
             C1,re1,active,,,\n",
        )
        .file(
            "config/overrides.csv",
            "scope,from,until,target,target:en\n\
             st1,2027-02-27T00:00,2027-03-05T00:00,https://example.vn/vi/festival,https://example.vn/en/festival\n\
             A1,2027-03-01T00:00,2027-03-02T00:00,https://example.vn/vi/stage,\n\
             A1,2027-03-01T00:00,2027-03-02T00:00,https://example.vn/vi/lower-row,\n",
        )
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (places, signs, _) = many_signs(2000);
    let setup = Setup::new().registry(&places, &signs);
    setup.write_config();
    let commands: [&[&str]; 2] = [&["usage", "--silent"], &["coverage", "--list"]];
    for (command, format) in commands.into_iter().flat_map(|command| ["table", "csv", "json"].map(|f| (command, f))) {
        let mut command = setup.command(&[command, &["--format", format]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // More is written than a pipe without a reader takes: nothing.
        drop(child.stdout.take());
        assert_eq!(said(&child.wait_with_output().unwrap()), (0, String::new(), String::new()), "{format}");
    }
}

#[test]
fn resolve_tells_where_a_code_leads_and_why() {
    let setup = town();
    for (arguments, target, language, why) in [
        (&["7K3M9QX5", "--at", "2027-01-01T00:00"][..], "vi/1", "vi", "the target of the place"),
        (&["7k3m-9qx5", "--at", "2027-01-01", "--lang", "zh"], "zh/1", "zh", "the target of the place"),
        (
            &["7K3M 9QX5", "--at", "2027-01-01", "--lang", "fr,zh-TW;q=0.5,en;q=0.2"],
            "zh/1",
            "zh",
            "the target of the place",
        ),
        (
            &["/vi/duong/hung-vuong?id=12", "--at", "2027-01-01", "--lang", "en"],
            "en/1",
            "en",
            "the target of the place",
        ),
        (&["/cu/đường", "--at", "2027-01-01"], "vi/1", "vi", "the target of the place"),
        (&["7K3M9QX5", "--at", "2027-02-26T23:59:59"], "vi/1", "vi", "the target of the place"),
        (
            &["7K3M9QX5", "--at", "2027-02-26T17:00:00Z"],
            "vi/festival",
            "vi",
            "an override of the place holds at this time",
        ),
        (
            &["7K3M9QX5", "--at", "2027-02-27", "--lang", "en"],
            "en/festival",
            "en",
            "an override of the place holds at this time",
        ),
        (&["7K3M9QX5", "--at", "2027-03-04T23:59"], "vi/festival", "vi", "an override of the place holds at this time"),
        (&["7K3M9QX5", "--at", "2027-03-05T00:00"], "vi/1", "vi", "the target of the place"),
        (&["A1", "--at", "2027-02-26"], "own", "vi", "the sign has a target of its own"),
        (&["A1", "--at", "2027-02-28"], "vi/festival", "vi", "an override of the place holds at this time"),
        (&["A1", "--at", "2027-03-01T12:00:00+07:00"], "vi/stage", "vi", "an override of the sign holds at this time"),
    ] {
        let (code, out, error) = said(&setup.run(&[&["resolve"], arguments, &["--format", "json"]].concat()));
        assert_eq!(code, 0, "{error}");
        let answer: Value = serde_json::from_str(&out).unwrap();
        let found = (&answer["answer"], &answer["target"], &answer["language"], &answer["why"]);
        let target_url = json!(format!("https://example.vn/{target}"));
        assert_eq!(found, (&json!(302), &target_url, &json!(language), &json!(why)), "{arguments:?}");
        let (code, table, _) = said(&setup.run(&[&["resolve"], arguments].concat()));
        assert!(
            code == 0 && table.contains(&format!("302 https://example.vn/{target}\n")) && table.contains(why),
            "{table}"
        );
    }
}

/// A place that has a text alone, with a sign that leads elsewhere and an override.
fn told() -> Setup {
    Setup::new()
        .registry(
            "place,name,name:en,target,about,about:en\n\
             one,Một,One,,Kể về một.,About one.\n\
             two,Hai,Two,,,\n",
            "code,place,status,target\n\
             A1,one,active,\n\
             A2,one,active,https://example.vn/own\n\
             A3,one,retired,\n\
             B1,two,planned,https://example.vn/two\n",
        )
        .file(
            "config/overrides.csv",
            "scope,from,until,target\none,2027-02-27T00:00,2027-03-05T00:00,https://example.vn/festival\n",
        )
}

#[test]
fn resolve_knows_the_page_of_a_place_and_what_takes_over() {
    let setup = told();
    let told = "no target is in force, and the place has a text";
    for (arguments, answer, target, language, languages, why) in [
        (&["A1", "--at", "2027-01-01"][..], 200, None, Some("vi"), &["vi", "en"][..], told),
        (&["A1", "--at", "2027-01-01", "--lang", "en-GB,vi;q=0.5"], 200, None, Some("en"), &["vi", "en"], told),
        (&["A1", "--at", "2027-01-01", "--lang", "ko"], 200, None, Some("vi"), &["vi", "en"], told),
        (&["A2", "--at", "2027-01-01"], 302, Some("own"), Some("vi"), &["vi"], "the sign has a target of its own"),
        (
            &["A1", "--at", "2027-03-01", "--lang", "en"],
            302,
            Some("festival"),
            Some("vi"),
            &["vi"],
            "an override of the place holds at this time",
        ),
        (&["A1", "--at", "2027-03-05"], 200, None, Some("vi"), &["vi", "en"], told),
        (&["A3", "--at", "2027-01-01"], 410, None, None, &[], "the sign is retired: a page says so"),
    ] {
        let (code, out, error) = said(&setup.run(&[&["resolve"], arguments, &["--format", "json"]].concat()));
        assert_eq!(code, 0, "{error}");
        let found: Value = serde_json::from_str(&out).unwrap();
        let target = target.map(|path| format!("https://example.vn/{path}"));
        let expected = json!([answer, target, language, languages, why]);
        let names = ["answer", "target", "language", "languages", "why"];
        assert_eq!(json!(names.map(|name| &found[name])), expected, "{arguments:?}");
    }
    let table = said(&setup.run(&["resolve", "A1", "--at", "2027-01-01", "--lang", "en"])).1;
    let expected = "code       A1 (active)\nplace      Một (one)\nat         2027-01-01 00:00:00 +07:00\n\
        answer     200 the place's own page in en\nwhy        no target is in force, and the place has a text\n\
        language   en (of vi, en)\n";
    assert_eq!(table, expected);
}

#[test]
fn check_warns_of_places_that_show_nothing_and_counts_our_own_pages() {
    let (code, out, _) = said(&told().run(&["check"]));
    assert_eq!(code, 0);
    let warning = "warning: places.csv: expected a target or a text (about) of each place, found neither of two\n";
    assert!(out.contains(warning), "{out}");
    assert!(out.contains("configuration OK: 2 places (1 with a page of our own), 4 signs"), "{out}");
    for (count, named) in [
        (1, "of p1\n"),
        (2, "of p1, p2\n"),
        (20, ", p19, p20\n"),
        (21, ", p19, p20 and 1 more (waypost coverage --list)\n"),
    ] {
        let rows: String = (1..=count).map(|n| format!("p{n},Một\n")).collect();
        let setup = Setup::new().registry(&format!("place,name\n{rows}"), "code,place,status\nA1,p1,retired\n");
        let (code, out, _) = said(&setup.run(&["check"]));
        assert!(code == 0 && out.contains(named) && out.contains(&format!("OK: {count} places, 1 signs")), "{out}");
    }
}

#[test]
fn resolve_knows_an_alias_as_it_is_written_and_as_browsers_send_it() {
    let (written, sent) = (format!("/{}", "đ".repeat(300)), format!("/{}", "%C4%91".repeat(300)));
    let setup = Setup::new().registry(
        "place,name,target\none,One,https://example.vn/one\n",
        &format!("code,place,status,aliases\nA1,one,active,{written}\n"),
    );
    for alias in [written, sent] {
        let (code, answer, error) = said(&setup.run(&["resolve", &alias]));
        assert!(code == 0 && answer.contains("302 https://example.vn/one"), "{error}");
    }
}

#[test]
fn the_last_second_that_there_is_can_be_asked_for() {
    assert_eq!(said(&town().run(&["resolve", "A1", "--at", "9999-12-30T22:00:00.5Z"])).0, 0);
}

#[test]
fn resolve_tells_what_stands_behind_a_code() {
    let setup = town();
    let answer = said(&setup.run(&["resolve", "b-1", "--format", "json", "--at", "2027-01-01"])).1;
    let expected = json!({
        "code": "B1", "status": "retired", "place": "st1", "name": "Đường Một", "area": "Kỳ Lừa",
        "at": "2026-12-31T17:00:00Z", "answer": 410, "target": null, "language": null, "languages": ["vi", "en", "zh"],
        "why": "the sign is retired: a page says so", "successor": "7K3M9QX5",
    });
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap(), expected);
    let table = said(&setup.run(&["resolve", "B1", "--at", "2027-01-01"])).1;
    let expected = "code       B1 (retired)\nplace      Đường Một (st1)\nat         2027-01-01 00:00:00 +07:00\n\
        answer     410\nwhy        the sign is retired: a page says so\nsuccessor  7K3M9QX5 (Đường Một)\n";
    assert_eq!(table, expected);
}

#[test]
fn resolve_says_why_there_is_no_answer() {
    let setup = town();
    for (arguments, expected) in [
        (
            &["7K3M9QX2"][..],
            "no sign has the code 7K3M9QX2 (its check character does not fit: is a character misread?)\n",
        ),
        (&["7K39MQX5"], "no sign has the code 7K39MQX5 (its check character does not fit: is a character misread?)\n"),
        (&["ZZ9"], "no sign has the code ZZ9\n"),
        (
            &["/vi/duong/hung-vuong"],
            "\"/vi/duong/hung-vuong\" is no code: expected only 0-9 A-Z, hyphens and spaces, found '/'",
        ),
        (&["--", "--"], "\"--\" is no code: expected 1 to 20 characters of 0-9 A-Z, found none"),
        (&["A1", "--at", "tomorrow"], "--at: expected a time such as 2027-02-27T08:00 (in Asia/Ho_Chi_Minh)"),
        (
            &["A1", "--at", "2027-02-30"],
            "--at: expected a time such as 2027-02-27T08:00 (in Asia/Ho_Chi_Minh) or 2027-02-27T08:00:00+07:00, found \"2027-02-30\"",
        ),
    ] {
        // What follows `--` is never an option, so the configuration comes first.
        let (code, out, error) = match arguments {
            ["--", rest] => {
                let config = setup.path("config/waypost.toml");
                alone(&["resolve", "--config", config.to_str().unwrap(), "--", rest])
            }
            arguments => said(&setup.run(&[&["resolve"], arguments].concat())),
        };
        assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}");
        assert!(error.starts_with(expected), "expected {expected}\nsaid {error}");
    }
    // A code that was drawn and is only unknown is not called misread.
    let fresh = said(&setup.run(&["codes", "new"])).1;
    let (_, _, error) = said(&setup.run(&["resolve", fresh.trim()]));
    assert_eq!(error, format!("no sign has the code {}", fresh.replace('-', "")));
}

#[test]
fn new_codes_are_checked_distinct_and_of_no_sign() {
    let setup = town();
    let (code, out, _) = said(&setup.run(&["codes", "new", "--count", "20000"]));
    let codes: BTreeSet<&str> = out.lines().collect();
    assert_eq!((code, out.lines().count(), codes.len()), (0, 20_000, 20_000));
    for code in codes {
        let (first, last) = code.split_once('-').unwrap();
        let of_ours =
            |text: &str| text.len() == 4 && text.bytes().all(|b| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(&b));
        assert!(of_ours(first) && of_ours(last), "{code}");
        let read: Code = code.parse().unwrap();
        assert!(read.is_checked() && read.grouped().as_str() == code && code != "7K3M-9QX5", "{code}");
        // Of 20,000 that are not checked for this, a spreadsheet changes six.
        assert!(read.survives_spreadsheets(), "{code}");
    }
    assert_eq!(said(&setup.run(&["codes", "new"])).1.lines().count(), 1);
    let broken = setup.file("config/signs.csv", "code\n");
    let (code, out, error) = said(&broken.run(&["codes", "new"]));
    assert!(
        code == 1 && out.is_empty() && error.starts_with("signs.csv:1: header: "),
        "without a registry it is not known which are taken: {error}"
    );
}

#[test]
fn codes_go_into_tables_in_groups_and_to_programs_as_they_are() {
    let setup = town();
    let (code, csv, _) = said(&setup.run(&["usage", "--silent", "--format", "csv"]));
    let codes: BTreeSet<&str> = csv.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
    assert_eq!((code, codes), (0, ["7K3M-9QX5", "A1", "B1", "C1"].into()), "{csv}");
    let json: Value = serde_json::from_str(&said(&setup.run(&["usage", "--silent", "--format", "json"])).1).unwrap();
    let codes: BTreeSet<&str> =
        json["rows"].as_array().unwrap().iter().map(|row| row["sign"].as_str().unwrap()).collect();
    assert_eq!(codes, ["7K3M9QX5", "A1", "B1", "C1"].into());
    // The sample is what people begin with.
    let sample = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/signs.csv")).unwrap();
    for row in csv::Reader::from_reader(sample.as_bytes()).records().map(Result::unwrap) {
        for code in [&row[0], &row[9]] {
            let read = code.parse::<Code>().ok();
            assert!(code.is_empty() || read.is_some_and(|read| read.grouped().as_str() == code), "{code}");
        }
    }
}

#[test]
fn no_table_for_a_spreadsheet_runs_a_name_as_a_formula() {
    // What spreadsheets begin a formula with, those of East Asia among them.
    for sign in ["=", "+", "-", "@", "＝", "＋", "－", "＠"] {
        let (name, area) = (format!("{sign}HYPERLINK(\"https://example.com\")"), format!("{sign}1+1"));
        let quoted = name.replace('"', "\"\"");
        let setup = Setup::new().registry(
            &format!("place,name,area,target\none,\"{quoted}\",{area},https://example.vn/one\n"),
            "code,place,status\nA1,one,active\n",
        );
        for (arguments, column, expected) in [
            (&["usage", "--silent"][..], 1, &name),
            (&["usage", "--silent", "--by", "place"], 1, &name),
            (&["usage", "--silent", "--by", "area"], 0, &area),
            (&["health"], 1, &name),
            (&["health"], 2, &area),
            (&["coverage"], 0, &area),
            (&["coverage", "--list"], 2, &name),
            (&["coverage", "--list"], 3, &area),
        ] {
            let (code, csv, error) = said(&setup.run(&[arguments, &["--format", "csv"]].concat()));
            let rows: Vec<_> = csv::Reader::from_reader(csv.as_bytes()).into_records().map(Result::unwrap).collect();
            assert_eq!((code, rows.len()), (0, 1), "{arguments:?}: {csv}{error}");
            assert_eq!(rows[0][column], format!("'{expected}"), "{arguments:?}: {csv}");
            // Programs get it as it is.
            let json = said(&setup.run(&[arguments, &["--format", "json"]].concat())).1;
            assert!(json.contains(&json!(expected).to_string()), "{arguments:?}: {json}");
        }
    }
}

/// An edge that was killed with seven scans in its journal.
fn killed() -> Edge {
    let mut edge = Setup::new().set("journal", "seal_after", "\"1h\"").start();
    for path in ["/A1B2C3", "/A1B2C3?c=nfc", "/A1B2C4", "/A1B2C3", "/A1B2C3", "/A1B2C3", "/UNKNOWN1"] {
        edge.scan(path);
    }
    edge.kill();
    edge
}

fn journal(edge: &Edge, arguments: &[&str]) -> (i32, String, String) {
    said(&edge.setup.run(&[&["journal"], arguments].concat()))
}

/// The segment with the scans; the other is only ready.
fn segment(edge: &Edge) -> PathBuf {
    let listed: Value = serde_json::from_str(&journal(edge, &["ls", "--format", "json"]).1).unwrap();
    let row = listed.as_array().unwrap().iter().find(|row| row["scans"] == 7).unwrap();
    edge.setup.path("data/journal").join(row["file"].as_str().unwrap())
}

#[test]
fn the_journal_of_a_killed_edge_is_listed_printed_and_verified() {
    let edge = killed();
    // As if it had been killed while it made a segment.
    let unmade = edge.setup.path("data/journal/01a20875-d161-76a6-ba27-f1d0246aa83d.open");
    fs::write(&unmade, [0; 4096 * 2]).unwrap();
    let before = files_below(&edge.setup.path("data/journal"));
    let (code, listed, _) = journal(&edge, &["ls", "--format", "json"]);
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let row = listed.iter().find(|row| row["scans"] == 7).unwrap();
    assert_eq!(
        (code, &row["state"], &row["edge"], &row["lost"]),
        (0, &json!("open"), &json!("test"), &json!(0)),
        "{row}"
    );
    let name = row["file"].as_str().unwrap();
    let table = journal(&edge, &["ls"]).1;
    assert!(table.starts_with("file ") && table.contains(name) && table.lines().count() == 1 + listed.len(), "{table}");
    let csv = journal(&edge, &["ls", "--format", "csv"]).1;
    assert!(
        csv.starts_with("file,state,created,bytes,scans,lost\n") && csv.contains(&format!("{name},open,20")),
        "{csv}"
    );

    let (code, printed, _) = journal(&edge, &["cat"]);
    let scans: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, scans.len()), (0, 7));
    let batch = name.split('.').next().unwrap();
    for (seq, scan) in scans.iter().enumerate() {
        assert_eq!((&scan["seq"], &scan["batch"], &scan["edge"]), (&json!(seq), &json!(batch), &json!("test")));
        assert_eq!(
            (&scan["os"], &scan["device"], &scan["agent"]),
            (&json!("android"), &json!("phone"), &json!("person"))
        );
    }
    let of = |column: &str| -> Vec<&str> { scans.iter().map(|scan| scan[column].as_str().unwrap()).collect() };
    assert_eq!(of("code"), ["A1B2C3", "A1B2C3", "A1B2C4", "A1B2C3", "A1B2C3", "A1B2C3", "UNKN0WN1"]);
    assert_eq!((of("channel")[1], of("outcome")[6], of("served")[6]), ("nfc", "unknown", ""));

    let (code, verified, _) = journal(&edge, &["verify"]);
    assert_eq!((code, verified), (0, format!("{} segments, 7 scans, 0 lost\n", listed.len())));
    assert_eq!(files_below(&edge.setup.path("data/journal")), before, "it is only looked at");
}

#[test]
fn a_damaged_segment_is_told_and_exits_1() {
    let edge = killed();
    let path = segment(&edge);
    let good = fs::read(&path).unwrap();
    let file = path.to_str().unwrap();
    let write = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
    };
    // A byte of the second scan's payload: the records are in the first block after the header's.
    write(&|bytes| bytes[4096 + 130] ^= 1);
    let (code, told, error) = journal(&edge, &["verify", file]);
    assert_eq!((code, told), (1, format!("{file}: 6 scans, 1 lost\n1 segments, 6 scans, 1 lost\n")));
    assert_eq!(error, "1 of 1 segments are damaged\n");
    assert_eq!(journal(&edge, &["cat", file]).1.lines().count(), 6);

    write(&|bytes| bytes[10] ^= 1);
    let (code, told, _) = journal(&edge, &["verify", file]);
    assert!(code == 1 && told.starts_with(&format!("{file}: 7 scans, 0 lost, the header is damaged\n")), "{told}");

    write(&|bytes| bytes.truncate(4096 + 100));
    let (code, told, _) = journal(&edge, &["verify"]);
    assert!(code == 1 && told.contains(" lost\n") && !told.contains(" 0 lost\n"), "{told}");

    let sealed = path.with_extension("sealed");
    fs::write(&sealed, []).unwrap();
    assert_eq!(journal(&edge, &["verify", sealed.to_str().unwrap()]).0, 1);
    let (code, told, error) = journal(&edge, &["verify", "/nonexistent.sealed"]);
    assert!(code == 1 && told.is_empty() && error.starts_with("/nonexistent.sealed: "), "{error}");
}

#[test]
fn a_journal_that_is_not_there_is_an_empty_one() {
    let setup = Setup::new();
    assert_eq!(said(&setup.run(&["journal", "ls", "--format", "json"])), (0, "[]\n".to_owned(), String::new()));
    assert_eq!(said(&setup.run(&["journal", "cat"])), (0, String::new(), String::new()));
    assert_eq!(said(&setup.run(&["journal", "verify"])).1, "0 segments, 0 scans, 0 lost\n");
    assert!(!setup.path("data").exists());
}

#[test]
fn a_configuration_may_be_named_from_within_its_folder() {
    let setup = Setup::new().set("journal", "dir", "\"journal\"");
    assert!(setup.run(&["check"]).status.success());
    let mut edge = Command::new(BINARY)
        .args(["serve", "--config", "waypost.toml"])
        .current_dir(setup.path("config"))
        .spawn()
        .unwrap();
    wait_for("the copy of the registry", || setup.path("config/registry-last-good").exists().then_some(()));
    edge.kill().unwrap();
    edge.wait().unwrap();
}

#[test]
fn probe_says_whether_the_edge_wants_visitors() {
    // The configuration has the port itself, which `start_with_log` puts there.
    let mut edge = Setup::new().set("edge", "lame_duck", "\"1m\"").start_with_log(Stdio::null());
    let probe = |edge: &Edge| said(&edge.setup.command(&["probe"]).output().unwrap());
    assert_eq!(probe(&edge), (0, "ready\n".to_owned(), String::new()));
    edge.signal("TERM");
    wait_for("the stop", || (edge.admin("GET", "/readyz").status == 503).then_some(()));
    let (code, out, error) = probe(&edge);
    assert_eq!((code, &*out), (1, ""));
    assert!(error.contains("expected status 200, found 503 stopping"), "{error}");
    edge.kill();
    let (code, _, error) = probe(&edge);
    assert!(code == 1 && error.contains("does not answer; is the edge running?: "), "{error}");
}

#[test]
fn probe_needs_no_more_of_the_configuration_than_the_admin_ports_address() {
    let edge = Setup::new().start_with_log(Stdio::null());
    let file = edge.setup.path("config/waypost.toml");
    let good = fs::read_to_string(&file).unwrap();
    let probe = || said(&edge.setup.command(&["probe"]).output().unwrap());
    let unknown_key = good.replace("[edge]", "[edge]\nlistne = 1");
    for edited in [unknown_key, format!("{good}\n[store\n"), format!("{good}\n[log]\nformat = 7\n")] {
        fs::write(&file, edited).unwrap();
        assert!(!edge.setup.command(&["check"]).output().unwrap().status.success());
        assert_eq!(probe(), (0, "ready\n".to_owned(), String::new()));
    }
    fs::write(&file, "[admin]\nlisten = \"9090\"\n").unwrap();
    let (code, _, error) = probe();
    assert!(code == 1 && error.contains("waypost.toml:2: admin.listen: expected an address and a port"), "{error}");
}

#[test]
fn the_manual_and_the_completions_are_made_from_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(alone(&["generate", path]), (0, String::new(), String::new()));
    let read =
        |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(read("man/waypost.1").contains("waypost\\-serve(1)"));
    assert!(read("man/waypost-journal-ls.1").contains("Example"));
    for completions in ["waypost.bash", "_waypost", "waypost.fish"] {
        let text = read(&format!("completions/{completions}"));
        assert!(text.contains("probe") && text.contains("config"), "{completions}");
    }
}
