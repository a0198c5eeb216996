//! What SQLite has counted for the rule of sign health, and keeps of its answer.

use hashbrown::HashMap;
use jiff::tz::TimeZone;
use rusqlite::{TransactionBehavior, params};

use super::{Sqlite, counting, hours};
use crate::core::{Day, date_of};
use crate::health::Report;
use crate::store::StoreError;
use crate::store::sign_health::{Days, Gathering, Until};

/// Hours of one day, by code: how many, and the last headline scan.
#[derive(Default)]
struct OfDay {
    day: Day,
    signs: HashMap<String, (u8, i64), foldhash::fast::FixedState>,
}

impl OfDay {
    /// Gives them, and begins anew. No code stays: a file that is not counted yet gives its hours by sign, and each
    /// change of day would look at all signs so far.
    fn give(&mut self, gathering: &mut Gathering) {
        for (code, (hours, last)) in self.signs.drain() {
            gathering.hours(&code, self.day, hours, last);
        }
    }
}

impl Sqlite {
    /// What was counted.
    pub(in crate::store) fn observe(
        &self,
        until: &Until,
        timezone: &TimeZone,
        gathering: &mut Gathering,
    ) -> Result<(), StoreError> {
        self.try_observe(until, &mut Days::new(timezone), gathering).map_err(|error| self.unavailable(error))
    }

    fn try_observe(&self, until: &Until, days: &mut Days<'_>, gathering: &mut Gathering) -> rusqlite::Result<()> {
        // All of it from one state of the file.
        let transaction = self.connection.unchecked_transaction()?;
        // The hour that is not over may have been counted further than until now.
        let counted = counting::hours_until(&transaction)?.min(until.hour);
        let mut hours = transaction.prepare(&hours::select(counted))?;
        let mut hours = hours.query([i64::MIN, counted, until.now])?;
        // By day, for most come by time: each is looked up among all codes and days once, and not for every hour.
        let mut of_day = OfDay::default();
        while let Some(row) = hours.next()? {
            let day = days.of(row.get(1)?);
            if day != of_day.day {
                of_day.give(gathering);
                of_day.day = day;
            }
            let (hours, last) = of_day.signs.entry_ref(row.get_ref(0)?.as_str()?).or_default();
            *hours = hours.saturating_add(1);
            *last = row.get::<_, i64>(3)?.max(*last);
        }
        of_day.give(gathering);
        let mut recent = transaction.prepare(
            "SELECT code, outcome, country, count(*) FROM scans
             WHERE ts BETWEEN ?1 AND ?2 AND outcome IN ('found', 'retired') AND agent = 'person' AND repeat = 0
             GROUP BY code, outcome, country",
        )?;
        let mut recent = recent.query([until.recent, until.now])?;
        while let Some(row) = recent.next()? {
            let scans = row.get::<_, i64>(3)?.cast_unsigned();
            gathering.recent(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?, scans);
        }
        Ok(())
    }

    /// Keeps a report in place of the last one.
    pub(in crate::store) fn keep(&mut self, report: &Report, computed_ms: i64) -> Result<(), StoreError> {
        self.try_keep(report, computed_ms).map_err(|error| self.unavailable(error))
    }

    fn try_keep(&mut self, report: &Report, computed_ms: i64) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM sign_health", [])?;
        {
            let mut insert = transaction.prepare(
                "INSERT INTO sign_health (day, computed, code, state, since, per_day, expected, one_in, alarm_on,
                                          looks_copied, group_kind, group_name, ended_alarms, budget)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?;
            let day = date_of(report.day).to_string();
            for row in &report.rows {
                let group = report.group_of(row);
                insert.execute(params![
                    day,
                    computed_ms,
                    row.code.text().as_str(),
                    row.state.as_str(),
                    row.since_ms,
                    row.per_day,
                    row.expected,
                    row.one_in,
                    row.alarm_on.map(|day| date_of(day).to_string()),
                    row.looks_copied.map_or("", |suspicion| suspicion.as_str()),
                    group.map_or("", |group| group.kind.as_str()),
                    group.map_or("", |group| &group.name),
                    row.ended_alarms,
                    report.budget,
                ])?;
            }
        }
        transaction.commit()
    }
}
