//! A small registry for the tests of pages: what they say of it is told where it is used.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http_body_util::BodyExt as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tempfile::TempDir;

use super::answer::Answer;
use super::fields::Fields;
use super::language::Language;
use super::{Parts, Readers, SearchIndex, Visit};
use crate::accounts::{Account, Accounts, NewAccount, Role};
use crate::changes::{Applier, Changes};
use crate::core::Tag;
use crate::history::Database;
use crate::registry::{HostPattern, PlacePage, Registry, Rules};
use crate::source::{CellChange, Files, LastGood, Publisher, Sources, TableName};

/// Three places, the last without an area; four signs, of which one has a target of its own; and an override of a place
/// that holds until 10 January 2027.
pub(super) fn tables() -> Sources {
    Sources {
        places: "place,kind,area,name,target,target:en,note\n\
            p1,street,A,Một,https://langson.gov.vn/1,https://langson.gov.vn/en/1,\n\
            p2,relic,B,Hai,https://langson.gov.vn/2,,\n\
            p3,street,,Ba,https://langson.gov.vn/3,,\n"
            .into(),
        signs: "code,place,status,target,note\n\
            AAAA-1111,p1,active,,\n\
            AAAA-2222,p1,active,https://langson.gov.vn/own,\n\
            BBBB-2222,p2,active,,\n\
            CCCC-4444,p3,planned,,\n"
            .into(),
        overrides: "scope,from,until,target,note\n\
            p2,2026-12-31T00:00,2027-01-10T00:00,https://langson.gov.vn/tet,\n"
            .into(),
    }
}

pub(super) fn files() -> Files {
    Files { places: "places.csv".into(), signs: "signs.csv".into(), overrides: "overrides.csv".into() }
}

/// The text of a page.
pub(super) fn text(answer: Answer) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let body = answer.expect("a page").into_body();
    let bytes = runtime.block_on(body.collect()).expect("a body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

pub(super) fn rules() -> Rules {
    Rules {
        default_language: Tag::from("vi").expect("short"),
        timezone: TimeZone::get("Asia/Ho_Chi_Minh").expect("compiled in"),
        allowed_hosts: vec![HostPattern::parse("langson.gov.vn").expect("a pattern")],
        allow_http: false,
        public_host: "qr.langson.gov.vn".to_owned(),
    }
}

pub(super) fn registry(tables: &Sources) -> Registry {
    tables.parse(&files(), &rules()).expect("tables without problems")
}

pub(super) fn account(number: i64, role: Role, areas: &[&str]) -> Account {
    Account {
        number,
        name: format!("account-{number}"),
        role,
        areas: areas.iter().map(|&area| area.to_owned()).collect(),
        applies_first: false,
        language: String::new(),
        has_second_factor: false,
        is_disabled: false,
        is_invited: false,
        last_sign_in: None,
    }
}

/// A cell that changes.
pub(super) fn change(table: TableName, key: &str, column: &str, old: &str, new: &str) -> CellChange {
    CellChange {
        table,
        key: key.to_owned(),
        column: column.to_owned(),
        old: Some(old.to_owned()),
        new: Some(new.to_owned()),
    }
}

/// All that pages are made from, in a folder of its own, and one account.
pub(super) struct Office {
    pub parts: Parts,
    pub account: Account,
    _folder: TempDir,
}

impl Office {
    pub fn open(tables: &Sources, role: Role, areas: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let files = Files { places: path("places.csv"), signs: path("signs.csv"), overrides: path("overrides.csv") };
        let contents = [&tables.places, &tables.signs, &tables.overrides];
        for (path, bytes) in files.paths().into_iter().zip(contents) {
            std::fs::write(path, bytes).expect("a table");
        }
        let database = Arc::new(Database::open(&path("console.db")).expect("a file"));
        let last_good = LastGood::within(folder.path());
        let publisher = Arc::new(
            Publisher::open(
                files.clone(),
                rules(),
                0.5,
                Box::new(|_, _| PlacePage { head: String::new(), before: String::new(), after: String::new() }),
                last_good,
            )
            .expect("good tables"),
        );
        let changes = Arc::new(Changes::new(database.clone(), 1));
        let accounts = Arc::new(Accounts::new(database.clone()));
        let areas: Vec<String> = areas.iter().map(|&area| area.to_owned()).collect();
        let new = NewAccount { name: "lan".to_owned(), role, areas, applies_first: false };
        accounts.invite(Timestamp::now(), None, &new).expect("an account");
        let account = accounts.all().expect("accounts").remove(0);
        let applier = Applier::new(database.clone(), changes.clone(), publisher.clone(), files.clone());
        let parts = Parts {
            database,
            accounts,
            changes,
            applier: Arc::new(applier),
            publisher,
            files,
            rules: rules(),
            public_url: "https://qr.langson.gov.vn".to_owned(),
            figures: Arc::default(),
            index: SearchIndex::default(),
            readers: Readers::default(),
        };
        Self { parts, account, _folder: folder }
    }

    /// Asks for a path, with its query, on 26 November 2026.
    pub fn visit(&self, path: &str) -> Visit<'_> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Visit {
            parts: &self.parts,
            account: self.account.clone(),
            language: Language::Vietnamese,
            now: "2026-11-26T13:00:00Z".parse().expect("a time"),
            registry: self.parts.publisher.current(),
            path: path.to_owned(),
            fields: Fields::parse(query),
            session: None,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            must_enrol: false,
            origin: "",
        }
    }
}
