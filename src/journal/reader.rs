//! Reads a segment back, whatever happened to it.
//!
//! Owns the judgement of damage: only records that were written are given, in their
//! order; a torn tail ends a block; what follows damage within a block is found again
//! by its checksum; and what is missing is counted against the header's `published`.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use uuid::Uuid;

use super::folder::id_of;
use super::format::{
    self, BLOCK, FRAME_HEADER, Header, PUBLISHED_AT, array, frame_crc, frame_len, frame_size, published_count,
};
use super::ledger::Sealed;
use crate::core::scan::Scan;
use crate::system::{pace, regular_file};

/// The largest segment, in bytes: the limit of `journal.segment`. Nothing larger is read.
pub const MAX_SEGMENT: u64 = 1 << 30;

/// Bytes that are read at once.
const READ: usize = 16 * BLOCK;

/// Why a file can't be read as a segment.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is larger than any segment.
    #[error("expected at most {MAX_SEGMENT} bytes, found {0}")]
    TooLarge(u64),
    /// Its name is none of a segment.
    #[error("expected the name of a segment, such as UUID.sealed")]
    NotNamed,
    /// It is a copy: as a batch of its own, its records would be counted twice.
    #[error("expected the segment that its name says, found {0} under another name")]
    OtherSegment(Uuid),
    /// It is no regular file, or the file system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ReadError {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Identity, creation and edge; `None` where the header is damaged.
    pub header: Option<Header>,
    /// Position in the segment, and scan; positions rise.
    pub scans: Vec<(u32, Scan)>,
    /// Records that were written and can't be read.
    pub lost: u32,
    /// Bytes up to the end of the last block with a record.
    pub used: u64,
    /// Whether there is anything in the file at all: a crash while it was made leaves zeros.
    pub blank: bool,
}

impl Contents {
    /// Records that were written: those read, and those lost.
    #[must_use]
    pub fn written(&self) -> u32 {
        self.read() + self.lost
    }

    fn read(&self) -> u32 {
        u32::try_from(self.scans.len()).expect("positions have 32 bits, and rise")
    }
}

/// Reads a segment's file, whatever its name. What is no regular file, or larger than any segment,
/// is an error.
pub fn read(path: &Path) -> Result<Contents, ReadError> {
    let (file, size) = open(path)?;
    let contents = read_into(Vec::new(), &file, size)?;
    // One that is delivered meanwhile is cut while it is read.
    if file.metadata()?.nlink() == 0 {
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    }
    Ok(contents)
}

fn read_into(scans: Vec<(u32, Scan)>, file: &File, size: u64) -> Result<Contents, ReadError> {
    let mut file = file.take(MAX_SEGMENT);
    let mut parser = Parser::new(scans, usize::try_from(size).unwrap_or_default());
    let mut bytes = Vec::with_capacity(READ);
    loop {
        bytes.clear();
        file.by_ref().take(READ as u64).read_to_end(&mut bytes)?;
        parser.read(&bytes);
        if bytes.len() < READ {
            return Ok(parser.finish());
        }
    }
}

/// Reads a segment that must be the one that its file's name says.
pub(super) fn read_named(path: &Path) -> Result<Contents, ReadError> {
    read_named_into(Vec::new(), path)
}

fn read_named_into(scans: Vec<(u32, Scan)>, path: &Path) -> Result<Contents, ReadError> {
    let (file, size) = open(path)?;
    let contents = read_into(scans, &file, size)?;
    named_id(path, contents.header.as_ref().map(|header| header.id))?;
    Ok(contents)
}

/// Reads a batch into memory that an earlier one had: fresh memory is a page fault for every 4 KiB.
pub fn read_batch(sealed: &Sealed, memory: Vec<(u32, Scan)>) -> Result<Contents, ReadError> {
    read_named_into(memory, &sealed.path)
}

/// The file and its size.
fn open(path: &Path) -> Result<(File, u64), ReadError> {
    let (file, metadata) = regular_file::open_itself(path)?;
    match metadata.len() {
        size @ 0..=MAX_SEGMENT => Ok((file, size)),
        size => Err(ReadError::TooLarge(size)),
    }
}

/// The identity in a file's name, which must be the one in its header, where that can be read.
fn named_id(path: &Path, written: Option<Uuid>) -> Result<Uuid, ReadError> {
    let named = id_of(path).ok_or(ReadError::NotNamed)?;
    match written {
        Some(id) if id != named => Err(ReadError::OtherSegment(id)),
        _ => Ok(named),
    }
}

/// The beginning of a segment.
pub(crate) struct Start {
    /// Its identity.
    pub id: Uuid,
    /// The records that the file says it holds; `None` where the header is damaged.
    pub published: Option<u32>,
    /// The time of its first record, or else that of the file; milliseconds since the Unix epoch.
    /// (A segment may wait for its first record for days.)
    pub since_ms: u64,
    /// The size of the file, in bytes.
    pub bytes: u64,
}

/// Reads the beginning of a segment alone. It must be the one that its file's name says.
pub(super) fn start(path: &Path) -> Result<Start, ReadError> {
    let (file, bytes) = open(path)?;
    let mut start = Vec::with_capacity(2 * BLOCK);
    file.take(2 * BLOCK as u64).read_to_end(&mut start)?;
    let mut scans = Vec::new();
    parse_block(start.get(BLOCK..).unwrap_or(&[]), &mut 0, &mut scans);
    let first = scans.first().map(|(_, scan)| scan.ts_ms);
    let header = Header::decode(&start);
    let id = named_id(path, header.as_ref().map(|header| header.id))?;
    let since = first.or(header.map(|header| header.created_ms)).unwrap_or(0);
    Ok(Start { id, published: published_of(&start), since_ms: since.max(0).cast_unsigned(), bytes })
}

fn published_of(bytes: &[u8]) -> Option<u32> {
    published_count(u64::from_le_bytes(array(bytes, PUBLISHED_AT)?))
}

/// Reads a segment's bytes.
#[must_use]
pub fn parse(bytes: &[u8]) -> Contents {
    let mut parser = Parser::new(Vec::new(), bytes.len());
    parser.read(bytes);
    parser.finish()
}

/// Reads a segment piece by piece.
struct Parser {
    contents: Contents,
    /// Bytes that there may be: a count that is damaged must not reserve more than they can hold.
    size: usize,
    /// Bytes so far.
    at: usize,
    published: Option<u32>,
    /// The least position that the next record may have.
    next: u32,
    /// Whether there is damage behind the last record.
    damaged_tail: bool,
}

impl Parser {
    fn new(mut scans: Vec<(u32, Scan)>, size: usize) -> Self {
        scans.clear();
        let contents = Contents { header: None, scans, lost: 0, used: BLOCK as u64, blank: true };
        Self { contents, size, at: 0, published: None, next: 0, damaged_tail: false }
    }

    /// The next bytes; whole blocks, unless they are the last.
    fn read(&mut self, bytes: &[u8]) {
        for block in bytes.chunks(BLOCK) {
            let is_first = self.at == 0;
            self.at += block.len();
            self.contents.blank &= block.iter().all(|&byte| byte == 0);
            if is_first {
                self.read_header(block);
            } else {
                self.read_block(block);
            }
            pace::step();
        }
    }

    fn read_header(&mut self, block: &[u8]) {
        self.contents.header = Header::decode(block);
        self.published = published_of(block);
        self.contents.scans.reserve((self.published.unwrap_or(0) as usize).min(self.size / FRAME_HEADER));
    }

    fn read_block(&mut self, block: &[u8]) {
        let before = self.contents.scans.len();
        self.damaged_tail |= parse_block(block, &mut self.next, &mut self.contents.scans);
        if self.contents.scans.len() > before {
            self.damaged_tail = false;
            self.contents.used = self.at as u64;
        }
    }

    fn finish(mut self) -> Contents {
        let read = self.contents.read();
        self.contents.lost = match self.published {
            // A crash between a record and its count leaves one more than the count; a power cut may leave
            // any number more, with gaps, where the count did not reach the disk.
            Some(published) => published.max(self.next) - read,
            // Without the count, the gaps in the sequence tell, and a tail that is not clean.
            None => self.next - read + u32::from(self.damaged_tail),
        };
        self.contents
    }
}

/// Reads one block; returns whether it ends in damage.
fn parse_block(block: &[u8], next: &mut u32, scans: &mut Vec<(u32, Scan)>) -> bool {
    let mut at = 0;
    let mut damaged = false;
    while let Some(word) = array(block, at).map(u32::from_le_bytes) {
        // Zero ends a block: no damage of one bit makes a frame's word zero.
        if word == 0 && !damaged {
            return false;
        }
        match frame(block, at, word) {
            // (No segment has room for 2^32 records: that number is damage, too.)
            Some((seq, scan, size)) if seq >= *next && seq < u32::MAX => {
                scans.push((seq, scan));
                *next = seq + 1;
                at += size;
                damaged = false;
            }
            // Frames begin at multiples of 4: the next whose checksum holds goes on.
            _ => {
                damaged = true;
                at += 4;
            }
        }
    }
    damaged
}

fn frame(block: &[u8], at: usize, word: u32) -> Option<(u32, Scan, usize)> {
    let len = frame_len(word)?;
    let crc = u32::from_le_bytes(array(block, at + 4)?);
    let seq = u32::from_le_bytes(array(block, at + 8)?);
    let payload = block.get(at + FRAME_HEADER..)?.get(..len)?;
    if frame_crc(seq, payload) != crc {
        return None;
    }
    Some((seq, format::decode(payload)?, frame_size(len)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::journal::format::{Payload, frame_word, tests::golden};
    use crate::journal::segment::Appender;

    #[test]
    fn a_file_that_is_no_segment_of_its_name_says_what_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let [id, other] = [Uuid::now_v7(), Uuid::now_v7()];
        let at = |name: String| folder.path().join(name);
        let (segment, copy, unnamed) =
            (at(format!("{id}.open")), at(format!("{other}.sealed")), at("note.sealed".to_owned()));
        let header = Header { id, created_ms: 1_795_400_000_000, edge: "test".to_owned() };
        Appender::create(segment.clone(), header, BLOCK).expect("a segment");
        let start_of = |path| start(path).map(|start| (start.id, start.since_ms, start.published));
        assert_eq!(start_of(&segment).expect("a segment"), (id, 1_795_400_000_000, Some(0)));
        for path in [&copy, &unnamed] {
            fs::copy(&segment, path).expect("a copy");
            assert!(read(path).is_ok(), "{} can be looked at", path.display());
        }
        assert!(matches!(start(&copy), Err(ReadError::OtherSegment(found)) if found == id));
        assert!(matches!(read_named(&copy), Err(ReadError::OtherSegment(found)) if found == id));
        assert!(matches!(read_named(&unnamed), Err(ReadError::NotNamed)));
        let huge = fs::OpenOptions::new().write(true).open(&copy).expect("a file");
        huge.set_len(MAX_SEGMENT + 1).expect("a file of holes");
        assert!(matches!(read(&copy), Err(ReadError::TooLarge(size)) if size == MAX_SEGMENT + 1));
        fs::remove_file(&copy).expect("a file");
        assert!(read(&copy).expect_err("no file").is_not_found());
        assert!(!read(folder.path()).expect_err("a folder").is_not_found());
    }

    #[test]
    fn a_position_that_no_segment_has_is_damage() {
        let payload = Payload::encode(&golden());
        let len = payload.bytes().len();
        for (seq, read) in [(u32::MAX - 1, 1), (u32::MAX, 0)] {
            let mut block = [0; BLOCK];
            block[..4].copy_from_slice(&frame_word(u16::try_from(len).expect("a short one")).to_le_bytes());
            block[4..8].copy_from_slice(&frame_crc(seq, payload.bytes()).to_le_bytes());
            block[8..12].copy_from_slice(&seq.to_le_bytes());
            block[FRAME_HEADER..][..len].copy_from_slice(payload.bytes());
            assert_eq!(parse(&[[0; BLOCK], block].concat()).scans.len(), read, "{seq}");
        }
    }
}
