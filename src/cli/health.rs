//! `waypost health`

use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{CommandError, TableFormat, of_csv, registry, time};
use crate::config::Config;
use crate::core::{date_of, defused};
use crate::health::{Assessment, Group, GroupKind, Report, State, Suspicion};
use crate::registry::{Registry, SignRef};
use crate::store;

/// List signs that have probably fallen silent, and what is known of the others
///
/// Reads the store and judges every sign in use by its own hours with a scan and by everybody else's.
/// Without --state, a sign that is not in use is listed too if it is scanned: its code looks copied.
/// Scans of the last few seconds are still in the journal and not counted yet.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  waypost health --state silent,quiet\n  \
waypost health --state never_scanned,not_enough_data --format csv > inspect.csv")]
pub(super) struct HealthOf {
    /// Only signs in these states, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    state: Vec<State>,
    /// As of a time instead of now: 2027-02-28, or 2027-02-28T09:00, with or without an offset
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
}

/// A row with what the registry says of its sign.
struct Row<'a> {
    assessment: &'a Assessment,
    name: &'a str,
    area: &'a str,
    /// The last scan, in the province's time zone; empty where there is none.
    since: String,
}

impl HealthOf {
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
        let now = self.at.as_deref().map_or(Ok(Timestamp::now()), |text| time(config, "--at", text))?;
        let registry = registry(config)?;
        let timezone = &config.registry.rules.timezone;
        let report = store::judge(&config.store, &registry, timezone, config.health.budget, now)?;
        let rows = self.rows(&report, &registry, timezone);
        match self.format {
            TableFormat::Json => print_json(&report, &rows, out),
            TableFormat::Csv => print_csv(&report, &rows, out),
            TableFormat::Table => print_table(&report, &rows, out),
        }
    }

    /// Those that want a look first, and of these the least probable.
    fn rows<'a>(&self, report: &'a Report, registry: &'a Registry, timezone: &TimeZone) -> Vec<Row<'a>> {
        let is_asked = |row: &&Assessment| self.state.is_empty() || row.is_in_use() && self.state.contains(&row.state);
        let row = |assessment: &'a Assessment| {
            let place = registry.sign(assessment.code).map(SignRef::place);
            let (name, area) = place.map_or(("", ""), |place| (place.name(), place.area()));
            let since = assessment.since_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
            let local =
                |time: Timestamp| time.to_zoned_datetime(timezone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
            Row { assessment, name, area, since: since.map(local).unwrap_or_default() }
        };
        let mut rows: Vec<Row<'_>> = report.rows.iter().filter(is_asked).map(row).collect();
        let order = |state| State::ALL.iter().position(|other| *other == state);
        rows.sort_by(|a, b| {
            let (a, b) = (a.assessment, b.assessment);
            let improbable = |row: &Assessment| row.one_in.unwrap_or(row.expected);
            let by_chance = || improbable(b).total_cmp(&improbable(a));
            order(a.state).cmp(&order(b.state)).then_with(by_chance).then_with(|| a.code.cmp(&b.code))
        });
        rows
    }
}

fn day_text(day: i32) -> String {
    date_of(day).to_string()
}

/// To so many digits: more would not be known.
fn rounded(number: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (number * unit).round() / unit
}

fn print_json(report: &Report, rows: &[Row<'_>], out: &mut dyn Write) -> Result<(), CommandError> {
    let row = |Row { assessment, name, area, since }: &Row<'_>| {
        json!({
            "sign": assessment.code.to_string(),
            "name": name,
            "area": area,
            "state": assessment.state.as_str(),
            "since": Some(since).filter(|since| !since.is_empty()),
            "per_day": rounded(assessment.per_day, 3),
            "expected": rounded(assessment.expected, 1),
            "one_in": assessment.one_in.map(f64::round),
            "alarm_on": assessment.alarm_on.map(day_text),
            "looks_copied": assessment.looks_copied.map(Suspicion::as_str),
            "group": assessment.group,
        })
    };
    let groups = report
        .groups
        .iter()
        .map(|group| json!({ "kind": group.kind.as_str(), "name": group.name, "signs": group.signs }));
    let (ended, signs) = report.ended_alarms();
    let answer = json!({
        "day": day_text(report.day),
        "budget": report.budget,
        "ended_alarms": { "alarms": ended, "signs": signs },
        "groups": groups.collect::<Vec<_>>(),
        "rows": rows.iter().map(row).collect::<Vec<Value>>(),
    });
    writeln!(out, "{answer:#}")?;
    Ok(())
}

const COLUMNS: [&str; 10] =
    ["sign", "name", "area", "state", "since", "expected", "one_in", "alarm_on", "looks_copied", "group"];

fn print_csv(report: &Report, rows: &[Row<'_>], out: &mut dyn Write) -> Result<(), CommandError> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(COLUMNS).map_err(of_csv)?;
    for Row { assessment, name, area, since } in rows {
        // A spreadsheet is likely to read it: codes in groups survive there.
        csv.write_record([
            assessment.code.grouped().as_str(),
            &defused(name),
            &defused(area),
            assessment.state.as_str(),
            since,
            &format!("{:.1}", assessment.expected),
            &assessment.one_in.map(|one_in| format!("{one_in:.0}")).unwrap_or_default(),
            &assessment.alarm_on.map(day_text).unwrap_or_default(),
            assessment.looks_copied.map_or("", |reason| reason.as_str()),
            &report.group_of(assessment).map(group_text).unwrap_or_default(),
        ])
        .map_err(of_csv)?;
    }
    csv.flush()?;
    Ok(())
}

fn group_text(group: &Group) -> String {
    match group.kind {
        GroupKind::Province => "everywhere".to_owned(),
        kind => format!("{} {}", kind.as_str(), group.name),
    }
}

fn print_table(report: &Report, rows: &[Row<'_>], out: &mut dyn Write) -> Result<(), CommandError> {
    for group in &report.groups {
        let hint = match group.kind {
            GroupKind::Street => "is the street closed?",
            GroupKind::Area => "is something wrong in the area?",
            GroupKind::Province => "look at the edge first",
        };
        writeln!(out, "{} signs are silent together ({}): {hint}", group.signs, group_text(group))?;
    }
    if !report.groups.is_empty() {
        writeln!(out)?;
    }
    let shown = |row: &Row<'_>| format!("{}  {}", row.assessment.code, row.name);
    let width = rows.iter().map(|row| shown(row).chars().count()).chain([4]).max().unwrap_or(0);
    writeln!(
        out,
        "{:<15} {:<width$} {:<10} {:>8} {:>8} {:<10}  looks copied",
        "state", "sign", "last scan", "expected", "1 in", "alarm on"
    )?;
    for row in rows {
        let Assessment { state, expected, one_in, alarm_on, looks_copied, .. } = row.assessment;
        let last = row.since.split('T').next().filter(|day| !day.is_empty()).unwrap_or("-");
        let one_in = one_in.map_or_else(|| "-".to_owned(), |one_in| format!("{:.0}", one_in.min(99_999_999.0)));
        let alarm_on = alarm_on.map_or_else(|| "-".to_owned(), day_text);
        writeln!(
            out,
            "{:<15} {:<width$} {last:<10} {expected:>8.1} {one_in:>8} {alarm_on:<10}  {}",
            state.as_str(),
            shown(row),
            looks_copied.map_or("-", |reason| reason.as_str()),
        )?;
    }
    let (ended, signs) = report.ended_alarms();
    let promised = rounded(report.budget * 1000.0, 1);
    writeln!(
        out,
        "\nexpected: hours with a scan since the last one, at the pace of all other signs. 1 in: the chance of such a silence.\n\
         The aim is at most {promised} false alarms of 1,000 signs a month. In the last 30 days {ended} alarms of {signs} signs ended\n\
         with a scan, those of plates that were mended among them."
    )?;
    Ok(())
}
