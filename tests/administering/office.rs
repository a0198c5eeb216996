//! An office: the edge with its console, the sample's tables, and people with a browser each.

use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;

use serde_json::Value;

use crate::support::browser::{Browser, Look};
use crate::support::http::{Connection, Reply, bytes};
use crate::support::{Edge, Setup, free_address, wait_for};

/// What everybody signs in with.
pub const PASSWORD: &str = "một câu dài dễ nhớ";
/// A street of the sample with the accents that people leave out, its page, and a sign of it.
pub const STREET: &str = "st002";
pub const STREET_PAGE: &str = "https://langson.gov.vn/vi/duong-pho/hung-vuong";
/// Its first.
pub const SIGN: &str = "G7VFNAJV";
/// Where it is to lead.
pub const NEW_PAGE: &str = "https://langson.gov.vn/vi/le-hoi/hung-vuong-2027";

pub struct Office {
    pub edge: Edge,
    address: SocketAddr,
}

impl Office {
    /// With the tables that the project ships.
    pub fn open() -> Self {
        let table = |name: &str| fs::read_to_string(format!("config/{name}.csv")).unwrap();
        let setup = Setup::new().registry(&table("places"), &table("signs"));
        Self::with(setup.file("config/overrides.csv", table("overrides")))
    }

    pub fn with(setup: Setup) -> Self {
        let address = free_address();
        let setup = setup
            .set("registry", "allowed_hosts", "[\"langson.gov.vn\", \"*.langson.gov.vn\"]")
            .set("registry", "timezone", "\"Asia/Ho_Chi_Minh\"")
            .set("console", "listen", format!("\"{address}\""));
        Self { edge: setup.start(), address }
    }

    /// An address of the console.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The link of the log, by which the first account is made.
    pub fn first_link(&self) -> String {
        wait_for("the first invitation", || {
            let log = self.edge.log();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let line = lines.find(|line| line["fields"]["message"] == "console invitation")?;
            Some(line["fields"]["url"].as_str().unwrap().to_owned())
        })
    }

    /// A link from `waypost console invite NAME …`.
    pub fn invite(&self, name: &str, options: &[&str]) -> String {
        let arguments = [&["console", "invite", name, "--format", "json"], options].concat();
        let output = self.edge.setup.command(&arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["url"].as_str().unwrap().to_owned()
    }

    /// Somebody at a browser, not signed in.
    pub fn stranger(&self, look: Look) -> Person {
        let person = Person { browser: Browser::start(look), address: self.address };
        person.see("/login");
        person
    }

    /// Somebody who was invited and has set a password.
    pub fn person(&self, look: Look, name: &str, options: &[&str]) -> Person {
        let person = self.stranger(look);
        person.go(&self.invite(name, options));
        person.write("#password", PASSWORD);
        person.press("main form button");
        person
    }

    pub fn editor(&self, look: Look) -> Person {
        self.person(look, "Hoàng Thị Lan", &["--role", "editor"])
    }

    pub fn approver(&self, look: Look) -> Person {
        self.person(look, "Nông Văn Dũng", &["--role", "approver"])
    }

    /// The bytes of a table.
    pub fn table(&self, name: &str) -> String {
        fs::read_to_string(self.edge.setup.path(&format!("config/{name}.csv"))).unwrap()
    }

    /// Somebody edits a table in a spreadsheet: each `from` becomes `to`, and the file is replaced.
    pub fn edit_by_hand(&self, name: &str, from: &str, to: &str) {
        let text = self.table(name);
        assert!(text.contains(from), "no {from:?} in {name}.csv");
        self.edge.setup.put(&format!("config/{name}.csv"), text.replace(from, to));
    }

    /// The first sign of a place.
    pub fn sign_of(&self, place: &str) -> String {
        let table = self.table("signs");
        let row = table.lines().find(|line| line.split(',').nth(1) == Some(place)).unwrap();
        row.split(',').next().unwrap().replace('-', "")
    }

    /// Waits until a plate leads to a page.
    pub fn wait_for_plate(&self, code: &str, page: &str) {
        let path = format!("/{code}");
        wait_for(&format!("{code} leads to {page}"), || {
            let reply = self.edge.scan(&path);
            let location = reply.location().unwrap_or_default();
            (location.split('?').next() == Some(page)).then_some(())
        });
    }

    /// The change sets that were applied, in the order of the history.
    pub fn applied(&self) -> Vec<i64> {
        let database = rusqlite::Connection::open(self.edge.setup.path("data/console.db")).unwrap();
        let sql = "SELECT change_set FROM history WHERE action = 'applied' ORDER BY seq";
        let mut query = database.prepare(sql).unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Where a plate leads now.
    pub fn leads_to(&self, code: &str) -> String {
        let reply = self.edge.scan(&format!("/{code}"));
        reply.location().unwrap_or_default().split('?').next().unwrap().to_owned()
    }
}

/// Somebody at a browser.
pub struct Person {
    browser: Browser,
    address: SocketAddr,
}

impl Deref for Person {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl Person {
    /// Types an address of the console.
    pub fn see(&self, path: &str) {
        self.go(&format!("http://{}{path}", self.address));
    }

    /// Path and query of the page.
    pub fn path(&self) -> String {
        self.browser.address().split_once(&self.address.to_string()).unwrap().1.to_owned()
    }

    /// Every character of the page's own part, those too that are not drawn.
    pub fn letters(&self) -> String {
        self.attribute("main", "textContent")
    }

    /// The number of the change set that the page shows.
    pub fn set(&self) -> String {
        let path = self.path();
        let number = path.strip_prefix("/changes/").unwrap_or_else(|| panic!("{path}: {}", self.text()));
        number.parse::<u32>().unwrap();
        number.to_owned()
    }

    /// Presses a button of a change set.
    pub fn act(&self, action: &str) {
        self.press(&button(action));
    }

    /// Presses one that lies in a `<details>`, after writing into the field there.
    pub fn act_because(&self, action: &str, field: &str, text: &str) {
        let details = format!("details:has({})", button(action));
        self.unfold(&format!("{details} > summary"));
        self.write(&format!("{details} [name={field}]"), text);
        self.act(action);
    }

    /// Whether a button of a change set is there.
    pub fn can(&self, action: &str) -> bool {
        self.has(&button(action))
    }

    /// Points a sign or a place elsewhere on its page, and goes on to the change set.
    pub fn point_elsewhere(&self, page: &str, reason: &str) -> String {
        self.write("[name=target]", page);
        self.write("[name=reason]", reason);
        self.act("submit");
        self.set()
    }

    /// Asks without the browser, as whoever has its cookie could.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Reply {
        let cookie = self.browser.cookie("waypost").map_or(String::new(), |value| format!("waypost={value}"));
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let (host, length) = (self.address.to_string(), form.len().to_string());
        let own = [
            ("Host", host.as_str()),
            ("Cookie", &cookie),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Content-Length", &length),
        ];
        let mut connection = Connection::open(self.address).unwrap();
        connection.send(&bytes(method, path, &[&own, headers].concat())).unwrap();
        connection.send(form.as_bytes()).unwrap();
        connection.receive(false).unwrap()
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], &[])
    }

    pub fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        self.ask("POST", path, &[], form)
    }

    /// What a form of the page would send, without a button.
    pub fn form(&self, selector: &str) -> Vec<(String, String)> {
        let script = format!("return [...new FormData(document.querySelector({selector:?}))]");
        let fields: Vec<(String, String)> = serde_json::from_value(self.run(&script)).unwrap();
        fields
    }

    /// Reloads the page until it says something.
    pub fn reload_until(&self, what: &str, is_so: impl Fn(&Browser) -> bool) {
        let address = self.browser.address();
        wait_for(what, || {
            self.go(&address);
            is_so(&self.browser).then_some(())
        });
    }
}

fn button(action: &str) -> String {
    format!("button[name=action][value={action}]")
}

/// The one cell in which two texts of a table differ, as it was and as it is. Every other byte is the same.
#[track_caller]
pub fn changed_cell(before: &str, after: &str) -> (String, String) {
    let cells = |text: &str| -> Vec<Vec<String>> {
        let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        reader.into_records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    };
    let (old, new) = (cells(before), cells(after));
    assert_eq!(old.len(), new.len(), "rows");
    let pairs = old.iter().zip(&new).flat_map(|(old, new)| {
        assert_eq!(old.len(), new.len(), "cells of {old:?}");
        old.iter().zip(new)
    });
    let changed: Vec<(&String, &String)> = pairs.filter(|(old, new)| old != new).collect();
    let [(old, new)] = changed[..] else { panic!("expected one changed cell, found {changed:?}") };
    let same = before.bytes().zip(after.bytes()).take_while(|(old, new)| old == new).count();
    let rest = before.bytes().rev().zip(after.bytes().rev()).take_while(|(old, new)| old == new).count();
    assert!(before.len().saturating_sub(same + rest) <= old.len(), "more than {old:?} was touched");
    assert!(after.len().saturating_sub(same + rest) <= new.len(), "more than {new:?} was written");
    (old.clone(), new.clone())
}
