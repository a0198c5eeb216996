//! A small registry for the tests of pages: what they say of it is told where it is used.

use jiff::tz::TimeZone;

use crate::accounts::{Account, Role};
use crate::core::Tag;
use crate::registry::{HostPattern, Registry, Rules};
use crate::source::{CellChange, Files, Sources, TableName};

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
