//! `waypost journal`

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{CommandError, TableFormat, of_csv, of_file};
use crate::config::Config;
use crate::core::file_name;
use crate::core::scan::{COLUMNS, Column, Field, Scan};
use crate::journal::{self, Contents, ReadError, SegmentState};

/// Inspect the journal: scans that are recorded and not stored yet
///
/// All of its commands may be used while an edge is running.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waypost journal ls")]
pub(super) struct JournalCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the segments
    #[command(after_help = "Example:\n  waypost journal ls")]
    Ls {
        /// Output format
        #[arg(long, value_enum, default_value_t = TableFormat::Table)]
        format: TableFormat,
    },
    /// Print scans as JSON, one on each line
    #[command(after_help = "Example:\n  waypost journal cat data/journal/quarantine/0193….rejected")]
    Cat {
        /// Segment files; by default all of the journal, quarantined ones last
        files: Vec<PathBuf>,
    },
    /// Put back the batches that the store rejected, to be delivered again
    #[command(after_help = "Example:\n  waypost journal retry")]
    Retry {},
    /// Read everything and report damage; exits with 1 if there is any
    #[command(after_help = "Example:\n  waypost journal verify")]
    Verify {
        /// Segment files; by default all of the journal, quarantined ones last
        files: Vec<PathBuf>,
    },
}

impl JournalCommand {
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
        let folder = &config.journal.folder;
        match &self.action {
            Action::Ls { format } => list(folder, *format, out),
            Action::Cat { files } => {
                for path in chosen(folder, files)? {
                    cat(&path, out)?;
                }
                Ok(())
            }
            Action::Retry {} => {
                let returned = journal::retry_quarantined(folder).map_err(of_file(folder))?;
                writeln!(out, "{returned} batches put back; a running edge delivers them within seconds")?;
                Ok(())
            }
            Action::Verify { files } => verify(&chosen(folder, files)?, out),
        }
    }
}

/// The files that are named, or every segment, quarantined ones last.
fn chosen(folder: &Path, files: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    if !files.is_empty() {
        return Ok(files.to_vec());
    }
    Ok(every(folder)?.into_iter().map(|(path, _)| path).collect())
}

fn every(folder: &Path) -> Result<Vec<(PathBuf, SegmentState)>, CommandError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = journal::segments(folder).map_err(of_file(folder))?;
    let quarantine = folder.join("quarantine");
    if quarantine.exists() {
        found.extend(journal::segments(&quarantine).map_err(of_file(&quarantine))?);
    }
    Ok(found)
}

fn list(folder: &Path, format: TableFormat, out: &mut dyn Write) -> Result<(), CommandError> {
    let mut rows = Vec::new();
    for (path, state) in every(folder)? {
        // A segment may have been stored and removed since the folder was read.
        let Ok(contents) = journal::read(&path) else { continue };
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        rows.push((path, state, contents, bytes));
    }
    let created = |contents: &Contents| {
        let ms = contents.header.as_ref().map(|header| header.created_ms);
        ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
            .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    };
    match format {
        TableFormat::Json => {
            let row = |(path, state, contents, bytes): &(PathBuf, SegmentState, Contents, u64)| {
                json!({
                    "file": file_name(path), "state": state.as_str(), "created": created(contents), "bytes": bytes,
                    "edge": contents.header.as_ref().map(|header| header.edge.as_str()),
                    "scans": contents.scans.len(), "lost": contents.lost,
                })
            };
            writeln!(out, "{:#}", Value::from(rows.iter().map(row).collect::<Vec<_>>()))?;
        }
        TableFormat::Csv | TableFormat::Table => {
            let mut lines = vec![["file", "state", "created", "bytes", "scans", "lost"].map(str::to_owned)];
            lines.extend(rows.iter().map(|(path, state, contents, bytes)| {
                let created = created(contents).unwrap_or_default();
                let (scans, lost) = (contents.scans.len().to_string(), contents.lost.to_string());
                [file_name(path), state.as_str().to_owned(), created, bytes.to_string(), scans, lost]
            }));
            if format == TableFormat::Csv {
                return print_csv(&lines, out);
            }
            for [file, state, created, bytes, scans, lost] in lines {
                writeln!(out, "{file:<45}  {state:<8}  {created:<20}  {bytes:>10}  {scans:>8}  {lost:>5}")?;
            }
        }
    }
    Ok(())
}

fn print_csv(lines: &[[String; 6]], out: &mut dyn Write) -> Result<(), CommandError> {
    let mut csv = csv::Writer::from_writer(out);
    for line in lines {
        csv.write_record(line).map_err(of_csv)?;
    }
    Ok(csv.flush()?)
}

fn cat(path: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
    let contents = journal::read(path).map_err(of_segment(path))?;
    let batch = journal::id_of(path).map(|id| id.to_string());
    let edge = contents.header.map(|header| header.edge);
    for (seq, scan) in contents.scans {
        writeln!(out, "{}", as_json(&scan, batch.as_deref(), edge.as_deref(), seq))?;
    }
    Ok(())
}

fn as_json(scan: &Scan, batch: Option<&str>, edge: Option<&str>, seq: u32) -> Value {
    let value = |column: &Column| match column.field {
        Field::Time(read) => jiff::Timestamp::from_millisecond(read(scan))
            .map_or(String::new(), |time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
            .into(),
        Field::Code(read) => read(scan).text().as_str().into(),
        Field::Text(read) => read(scan).into(),
        Field::Flag(read) => read(scan).into(),
        Field::Number(read) => read(scan).into(),
    };
    let columns = COLUMNS.iter().map(|column| (column.name, value(column)));
    // These are the same for all scans of a segment, but for the position in it.
    let rest: [(_, Value); 3] = [("edge", edge.into()), ("batch", batch.into()), ("seq", seq.into())];
    columns.chain(rest).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn of_segment(path: &Path) -> impl FnOnce(ReadError) -> CommandError + '_ {
    |source| CommandError::Segment { path: path.to_owned(), source }
}

fn verify(files: &[PathBuf], out: &mut dyn Write) -> Result<(), CommandError> {
    let (mut read, mut lost, mut damaged) = (0, 0, 0);
    for path in files {
        let contents = journal::read(path).map_err(of_segment(path))?;
        read += contents.scans.len();
        lost += contents.lost;
        // It is being made, or was when the edge crashed: it has no header yet, and no scans.
        let unmade = contents.written() == 0 && SegmentState::of(path) == Some(SegmentState::Open);
        if contents.lost > 0 || (contents.header.is_none() && !unmade) {
            damaged += 1;
            let header = if contents.header.is_none() { ", the header is damaged" } else { "" };
            writeln!(out, "{}: {} scans, {} lost{header}", path.display(), contents.scans.len(), contents.lost)?;
        }
    }
    writeln!(out, "{} segments, {read} scans, {lost} lost", files.len())?;
    if damaged > 0 {
        return Err(CommandError::Damaged { damaged, segments: files.len() });
    }
    Ok(())
}
