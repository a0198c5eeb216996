//! `waypost coverage`

use std::io::Write;

use clap::ValueEnum;
use jiff::civil::Date;
use jiff::{Span, Timestamp};
use serde_json::{Map, Value, json};

use super::{CommandError, TableFormat, of_csv, registry};
use crate::config::Config;
use crate::core::{Tag, day_of, defused};
use crate::registry::{Answer, Coverage, Gap, InLanguage, PlaceRef, gaps};

/// Count how far the programme is: pages, texts, languages, signs
///
/// Reads the tables as they are now. A place has a target, or else a text and so a page of our own, or neither: by its own
/// cells, whatever its signs and overrides say. For each language it says how many places are named (have a name in it),
/// told (a text) and targeted (a target). Texts are compiled if they have a date. Positions are counted of planned and
/// mounted signs, mounting dates of mounted ones.
///
/// With --list: of a place that has neither, target|about; of one that has a name, a text or a target, the languages in
/// which it has none; of one that has a text, its source and date. Nothing is missed of a retired sign.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  waypost coverage\n  waypost coverage --by kind --older-than 18mo --format csv > coverage.csv\n  \
waypost coverage --list --format csv > to-do.csv"
)]
pub(super) struct CoverageOf {
    /// What each row counts
    #[arg(long, value_enum, default_value_t = By::Area)]
    by: By,
    /// List what is missing instead: a row for each place or sign, with the columns that want filling in
    #[arg(long, conflicts_with = "by")]
    list: bool,
    /// Count texts that were compiled longer ago than this, in years, months, weeks or days: 2y, 18mo, 90d
    #[arg(long, value_name = "AGE", default_value = "2y", conflicts_with = "list")]
    older_than: String,
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    format: TableFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// Commune or ward
    Area,
    /// Street, relic, …
    Kind,
}

impl By {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Area => "area",
            Self::Kind => "kind",
        }
    }

    fn of(self, place: PlaceRef<'_>) -> &str {
        match self {
            Self::Area => place.area(),
            Self::Kind => place.kind(),
        }
    }
}

/// All that was counted.
struct Report<'r> {
    by: By,
    languages: &'r [Tag],
    /// Texts compiled before it are old.
    before: Date,
    rows: Vec<(&'r str, Coverage)>,
    total: Coverage,
}

impl CoverageOf {
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
        let today = Timestamp::now().to_zoned_datetime(config.registry.rules.timezone.clone()).date();
        let before = before(today, &self.older_than)?;
        let registry = registry(config)?;
        if self.list {
            return list(&gaps(&registry), self.format, out);
        }
        let (groups, total) = Coverage::by(&registry, |place| self.by.of(place), day_of(before));
        let mut rows: Vec<_> = groups.into_iter().collect();
        // What has no name comes last.
        rows.sort_by_key(|(name, _)| name.is_empty());
        let report = Report { by: self.by, languages: registry.languages(), before, rows, total };
        match self.format {
            TableFormat::Json => report.json(out),
            TableFormat::Csv => report.csv(out),
            TableFormat::Table => report.table(out),
        }
    }
}

/// The day so long before another.
fn before(today: Date, age: &str) -> Result<Date, CommandError> {
    // `18m` are minutes, and no month that was meant.
    let of_days = |span: &Span| {
        let (hours, minutes, seconds) = (span.get_hours(), span.get_minutes(), span.get_seconds());
        let smaller = (span.get_milliseconds(), span.get_microseconds(), span.get_nanoseconds());
        span.is_positive() && (hours, minutes, seconds, smaller) == (0, 0, 0, (0, 0, 0))
    };
    let span = age.parse::<Span>().ok().filter(of_days);
    span.and_then(|span| today.checked_sub(span).ok()).ok_or_else(|| CommandError::Age { found: age.to_owned() })
}

impl Report<'_> {
    fn json(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        let counts = |coverage: &Coverage| {
            let languages = self.languages.iter().zip(&coverage.languages).map(|(tag, figures)| {
                let figures = json!({ "named": figures.named, "told": figures.told, "targeted": figures.targeted });
                (tag.to_string(), figures)
            });
            let mut counts = Map::new();
            counts.insert("places".to_owned(), coverage.places.into());
            counts.extend(
                Answer::ALL.map(|answer| (answer.as_str().to_owned(), coverage.answers[answer as usize].into())),
            );
            counts.insert("languages".to_owned(), Value::Object(languages.collect()));
            counts.extend(rest(coverage).map(|(name, count)| (name.to_owned(), count.into())));
            counts
        };
        let row = |(name, coverage): &(&str, Coverage)| {
            let mut row = counts(coverage);
            row.insert(self.by.as_str().to_owned(), Value::from(*name));
            Value::Object(row)
        };
        let answer = json!({
            "older_means_compiled_before": self.before.to_string(),
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "total": counts(&self.total),
        });
        writeln!(out, "{answer:#}")?;
        Ok(())
    }

    fn csv(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut csv = csv::Writer::from_writer(out);
        let names = Answer::ALL.map(Answer::as_str).map(str::to_owned);
        let mut header = vec![self.by.as_str().to_owned(), "places".to_owned()];
        header.extend(names);
        for tag in self.languages {
            header.extend(["named", "told", "targeted"].map(|what| format!("{what}:{tag}")));
        }
        header.extend(rest(&self.total).map(|(name, _)| name.to_owned()));
        csv.write_record(header).map_err(of_csv)?;
        for (name, coverage) in &self.rows {
            let languages =
                coverage.languages.iter().flat_map(|figures| [figures.named, figures.told, figures.targeted]);
            let counts = [coverage.places].into_iter().chain(coverage.answers).chain(languages);
            let counts = counts.chain(rest(coverage).map(|(_, count)| count)).map(|count| count.to_string());
            csv.write_record([defused(name).into_owned()].into_iter().chain(counts)).map_err(of_csv)?;
        }
        csv.flush()?;
        Ok(())
    }

    fn table(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        let texts = |counts: &[usize]| counts.iter().map(usize::to_string).collect::<Vec<_>>();
        let [target, own, neither] = Answer::ALL.map(|answer| answer.as_str().replace('_', " "));
        let head = ["places", &target, &own, &neither, "compiled", "older"].map(str::to_owned);
        self.section(&head, |of| texts(&[&[of.places], &of.answers[..], &[of.compiled, of.older]].concat()), out)?;

        writeln!(out, "\nplaces named/told/targeted in each language")?;
        let tags: Vec<String> = self.languages.iter().map(Tag::to_string).collect();
        let shown = |one: &InLanguage| format!("{}/{}/{}", one.named, one.told, one.targeted);
        self.section(&tags, |of| of.languages.iter().map(shown).collect(), out)?;

        writeln!(out, "\nsigns")?;
        let head = ["planned", "mounted", "retired", "with position", "with mounting date"].map(str::to_owned);
        let signs = |of: &Coverage| texts(&[&of.signs[..], &[of.position, of.mounting_date]].concat());
        self.section(&head, signs, out)?;

        writeln!(
            out,
            "\nown page: a text (about) and no target; compiled: with a date; older: before {}\n\
             named, told, targeted: with a name, a text, a target of their own in the language\n\
             with position: of planned and mounted signs; with mounting date: of mounted signs",
            self.before
        )?;
        Ok(())
    }

    /// A table with a row for each group, and one for the total.
    fn section(
        &self,
        head: &[String],
        cells: impl Fn(&Coverage) -> Vec<String>,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let row = |label: &str, cells: Vec<String>| [vec![label.to_owned()], cells].concat();
        let mut rows = vec![row(self.by.as_str(), head.to_vec())];
        rows.extend(
            self.rows.iter().map(|(label, of)| row(if label.is_empty() { "(none)" } else { label }, cells(of))),
        );
        rows.push(row("total", cells(&self.total)));
        print(&rows, 1, out)
    }
}

/// The counts after those of languages, by the names that they have in CSV and JSON.
fn rest(coverage: &Coverage) -> [(&'static str, usize); 7] {
    let [planned, mounted, retired] = coverage.signs;
    [
        ("compiled", coverage.compiled),
        ("older", coverage.older),
        ("planned", planned),
        ("mounted", mounted),
        ("retired", retired),
        ("position", coverage.position),
        ("mounting_date", coverage.mounting_date),
    ]
}

fn list(gaps: &[Gap<'_>], format: TableFormat, out: &mut dyn Write) -> Result<(), CommandError> {
    let code = |gap: &Gap<'_>| gap.sign.map(|sign| sign.code().grouped().to_string());
    let row = |gap: &Gap<'_>| {
        let place = gap.place;
        [place.id(), &code(gap).unwrap_or_default(), place.name(), place.area(), &gap.lacks.join(" ")]
            .map(str::to_owned)
    };
    let header = ["place", "code", "name", "area", "lacks"].map(str::to_owned);
    match format {
        TableFormat::Json => {
            let row = |gap: &Gap<'_>| {
                let code = gap.sign.map(|sign| sign.code().to_string());
                let (place, lacks) = (gap.place, &gap.lacks);
                json!({ "place": place.id(), "code": code, "name": place.name(), "area": place.area(), "lacks": lacks })
            };
            writeln!(out, "{:#}", json!({ "rows": gaps.iter().map(row).collect::<Vec<_>>() }))?;
        }
        TableFormat::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(header).map_err(of_csv)?;
            for gap in gaps {
                csv.write_record(row(gap).map(|cell| defused(&cell).into_owned())).map_err(of_csv)?;
            }
            csv.flush()?;
        }
        TableFormat::Table if gaps.is_empty() => writeln!(out, "nothing is missing")?,
        TableFormat::Table => {
            let rows = [header].into_iter().chain(gaps.iter().map(row)).map(Vec::from);
            print(&rows.collect::<Vec<_>>(), 5, out)?;
        }
    }
    Ok(())
}

/// Aligned columns: the first `texts` to the left, figures to the right.
fn print(rows: &[Vec<String>], texts: usize, out: &mut dyn Write) -> Result<(), CommandError> {
    // Names and areas may hold control characters: none of them makes a row of its own, or speaks to the terminal.
    let seen = |cell: &String| cell.replace(char::is_control, "\u{fffd}");
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(seen).collect()).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(
            |(at, (cell, &width))| {
                if at < texts { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            },
        );
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
