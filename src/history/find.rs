//! Entries for a page.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::entry::{Action, Entry};

/// Which entries are looked for: those that fit everything which is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Who did it; an approval is an entry of its own, by the approver.
    pub account: Option<i64>,
    /// What was done: one of these; none: anything.
    pub actions: Vec<Action>,
    /// The change set that it belongs to.
    pub change_set: Option<i64>,
    /// What it is about, one of these: `signs 7K3M9QX2` (canonical), `places hung-vuong`, `account 3`; none: anything.
    pub objects: Vec<String>,
    /// The inclusive start.
    pub from: Option<Timestamp>,
    /// The exclusive end.
    pub to: Option<Timestamp>,
}

/// Entries, the newest first: at most so many, without the first `from` of them.
pub fn list(connection: &Connection, filter: &Filter, from: usize, most: usize) -> rusqlite::Result<Vec<Entry>> {
    let (mut conditions, mut values) = (vec!["true".to_owned()], Vec::new());
    let mut add = |condition: &str, value: Vec<Value>| {
        let places = vec!["?"; value.len()].join(", ");
        conditions.push(condition.replace("??", &places));
        values.extend(value);
    };
    if let Some(account) = filter.account {
        add("account = ??", vec![account.into()]);
    }
    if !filter.actions.is_empty() {
        add("action IN (??)", filter.actions.iter().map(|action| action.as_str().to_owned().into()).collect());
    }
    if let Some(number) = filter.change_set {
        add("change_set = ??", vec![number.into()]);
    }
    if !filter.objects.is_empty() {
        add(
            "seq IN (SELECT seq FROM history_objects WHERE object IN (??))",
            filter.objects.iter().cloned().map(Value::from).collect(),
        );
    }
    if let Some(time) = filter.from {
        add("time >= ??", vec![time.as_millisecond().into()]);
    }
    if let Some(time) = filter.to {
        add("time < ??", vec![time.as_millisecond().into()]);
    }
    let count = |number: usize| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    values.extend([count(most), count(from)]);
    let conditions = conditions.join(" AND ");
    let question = format!(
        "SELECT seq, time, account, action, object, change_set, reason, approver, before, after, details, hash \
         FROM history WHERE {conditions} ORDER BY seq DESC LIMIT ? OFFSET ?"
    );
    connection.prepare_cached(&question)?.query_map(params_from_iter(values), entry)?.collect()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let before: Option<i64> = row.get(8)?;
    let after: Option<i64> = row.get(9)?;
    let generation = |number: i64| u64::try_from(number).unwrap_or(0);
    let details: String = row.get(10)?;
    Ok(Entry {
        seq: row.get(0)?,
        // Somebody has put it there: all that were appended are times.
        time: Timestamp::from_millisecond(row.get(1)?).unwrap_or(Timestamp::MIN),
        account: row.get(2)?,
        action: row.get(3)?,
        object: row.get(4)?,
        change_set: row.get(5)?,
        reason: row.get(6)?,
        approver: row.get(7)?,
        generations: before.zip(after).map(|(before, after)| (generation(before), generation(after))),
        details: serde_json::from_str(&details).unwrap_or_default(),
        hash: row.get(11)?,
    })
}
