//! `waypost usage`

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{CommandError, TableFormat, of_csv, registry, time};
use crate::config::Config;
use crate::core::scan::DEFINITION;
use crate::core::{Code, defused};
use crate::store::{self, By, Gone, Question, Row, Tally, Usage};

/// Count scans by sign, place, area, day, hour, language, country or app
///
/// Reads the store. Scans of the last few seconds are still in the journal and not counted
/// yet. Those that the store no longer has (store.keep, store.max_size) are not counted, and the answer says
/// so. Names of places and areas are those in the tables as they are now.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  waypost usage --by place --from 2027-02-27 --to 2027-03-05\n  \
waypost usage --by sign --silent --format csv > signs.csv")]
pub(super) struct UsageOf {
    /// What each row counts
    #[arg(long, value_enum, default_value_t = By::Sign)]
    by: By,
    /// Only scans from this time on: 2027-02-27, or 2027-02-27T08:00, with or without an offset
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only scans before this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Also list signs, places or areas without a scan
    #[arg(long)]
    silent: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
}

impl UsageOf {
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
        let read = |option, text: &Option<String>| text.as_deref().map(|text| time(config, option, text)).transpose();
        let question = Question {
            by: self.by,
            from: read("--from", &self.from)?,
            to: read("--to", &self.to)?,
            silent: self.silent,
        };
        if let (Some(from), Some(to)) = (question.from, question.to)
            && to <= from
        {
            return Err(CommandError::EmptyRange { from, to });
        }
        if self.silent && !matches!(self.by, By::Sign | By::Place | By::Area) {
            return Err(CommandError::SilentBy(self.by));
        }
        let registry = registry(config)?;
        let usage = store::ask(&config.store, &question, &registry, &config.registry.rules.timezone)?;
        match self.format {
            TableFormat::Json => print_json(&question, &usage, out),
            TableFormat::Csv => {
                print_csv(self.by, &usage, out)?;
                // A table of figures has no place for it.
                if let Some(gone) = usage.gone {
                    writeln!(io::stderr(), "{}", note(config, gone))?;
                }
                Ok(())
            }
            TableFormat::Table => {
                print_table(self.by, &usage, out)?;
                usage.gone.map_or(Ok(()), |gone| writeln!(out, "{}", note(config, gone)).map_err(Into::into))
            }
        }
    }
}

/// What is not counted because it is not there any more.
fn note(config: &Config, gone: Gone) -> String {
    let before = gone.before.to_zoned_datetime(config.registry.rules.timezone.clone());
    let before = before.strftime("%Y-%m-%dT%H:%M:%S%:z");
    format!("scans before {before} are no longer kept: {} were dropped, of all outcomes", gone.scans)
}

fn print_json(question: &Question, usage: &Usage, out: &mut dyn Write) -> Result<(), CommandError> {
    let figures =
        |tally: Tally| json!({ "scans": tally.scans, "repeats": tally.repeats, "bots": tally.bots, "all": tally.all });
    let row = |row: &Row| {
        let mut object = Map::new();
        object.insert(question.by.as_str().to_owned(), Value::from(row.key.as_str()));
        if has_names(question.by) {
            object.insert("name".to_owned(), Value::from(row.name.as_str()));
        }
        if let Value::Object(figures) = figures(row.tally) {
            object.extend(figures);
        }
        Value::Object(object)
    };
    let answer = json!({
        "definition": DEFINITION,
        "from": question.from.map(|time| time.to_string()),
        "to": question.to.map(|time| time.to_string()),
        "rows": usage.rows.iter().map(row).collect::<Vec<_>>(),
        "total": figures(usage.total),
        "no_longer_kept": usage.gone.map(|gone| json!({ "before": gone.before.to_string(), "scans": gone.scans })),
    });
    writeln!(out, "{answer:#}")?;
    Ok(())
}

fn print_csv(by: By, usage: &Usage, out: &mut dyn Write) -> Result<(), CommandError> {
    let mut csv = csv::Writer::from_writer(out);
    let name = has_names(by).then_some("name");
    csv.write_record(
        [Some(by.as_str()), name, Some("scans"), Some("repeats"), Some("bots"), Some("all")].into_iter().flatten(),
    )
    .map_err(of_csv)?;
    for row in &usage.rows {
        let Tally { scans, repeats, bots, all } = row.tally;
        // A spreadsheet is likely to read it: codes in groups survive there.
        let code = row.key.parse::<Code>().ok().filter(|code| by == By::Sign && code.text().as_str() == row.key);
        let mut cells = vec![code.map_or_else(|| defused(&row.key).into_owned(), |code| code.grouped().to_string())];
        cells.extend(has_names(by).then(|| defused(&row.name).into_owned()));
        cells.extend([scans, repeats, bots, all].map(|figure| figure.to_string()));
        csv.write_record(cells).map_err(of_csv)?;
    }
    csv.flush()?;
    Ok(())
}

fn print_table(by: By, usage: &Usage, out: &mut dyn Write) -> Result<(), CommandError> {
    let shown = |row: &Row| match (row.key.as_str(), row.name.as_str()) {
        ("", _) => "(unknown)".to_owned(),
        (key, "") => key.to_owned(),
        (key, name) => format!("{key}  {name}"),
    };
    let labels: Vec<String> = usage.rows.iter().map(shown).collect();
    let width = labels.iter().map(|label| label.chars().count()).chain([by.as_str().len(), 5]).max().unwrap_or(0);
    writeln!(out, "{:<width$} {:>9} {:>9} {:>9} {:>9}", by.as_str(), "scans", "repeats", "bots", "all")?;
    let mut line = |label: &str, Tally { scans, repeats, bots, all }: Tally| {
        writeln!(out, "{label:<width$} {scans:>9} {repeats:>9} {bots:>9} {all:>9}")
    };
    for (label, row) in labels.iter().zip(&usage.rows) {
        line(label, row.tally)?;
    }
    line("total", usage.total)?;
    writeln!(out, "\n{DEFINITION}")?;
    Ok(())
}

fn has_names(by: By) -> bool {
    matches!(by, By::Sign | By::Place)
}
