//! Reads a segment back, whatever happened to it.
//!
//! Owns the judgement of damage: only records that were written are given, in their
//! order; a torn tail ends a block; what follows damage within a block is found again
//! by its checksum; and what is missing is counted against the header's `published`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use uuid::Uuid;

use super::format::{
    self, BLOCK, FRAME_HEADER, Header, PUBLISHED_AT, array, frame_crc, frame_len, frame_size, published_count,
};
use crate::core::scan::Scan;
use crate::system::regular_file;

/// The largest segment, in bytes: the limit of `journal.segment`. Nothing larger is read.
pub const MAX_SEGMENT: u64 = 1 << 30;

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
        self.scans.len() as u32 + self.lost
    }
}

/// Reads a segment's file. What is no regular file, or larger than any segment, is an error.
pub fn read(path: &Path) -> io::Result<Contents> {
    let (file, size) = open(path)?;
    let mut bytes = Vec::with_capacity(size as usize);
    file.take(MAX_SEGMENT).read_to_end(&mut bytes)?;
    Ok(parse(&bytes))
}

/// The file and its size.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let (file, metadata) = regular_file::open_itself(path)?;
    match metadata.len() {
        size @ 0..=MAX_SEGMENT => Ok((file, size)),
        size => Err(io::Error::other(format!("is {size} bytes long; a segment has at most {MAX_SEGMENT}"))),
    }
}

/// The beginning of a file.
pub(crate) struct Start {
    /// The records that the file says it holds; `None` where the header is damaged.
    pub published: Option<u32>,
    /// The time of its first record, or else that of the file; milliseconds since the Unix epoch.
    /// (A segment may wait for its first record for days.)
    pub since_ms: u64,
    /// The size of the file, in bytes.
    pub bytes: u64,
    /// The identity in its header; `None` where that is damaged.
    id: Option<Uuid>,
}

impl Start {
    /// The identity of the segment at a path: its name's, which must be its header's. A copy under
    /// another name would be counted as another batch.
    pub fn id_at(&self, path: &Path) -> io::Result<Uuid> {
        same_id(path, self.id)
    }
}

impl Contents {
    /// The same of what was read whole.
    pub(crate) fn id_at(&self, path: &Path) -> io::Result<Uuid> {
        same_id(path, self.header.as_ref().map(|header| header.id))
    }
}

fn same_id(path: &Path, written: Option<Uuid>) -> io::Result<Uuid> {
    let named = id_of(path).ok_or_else(|| io::Error::other("its name is not that of a segment"))?;
    match written {
        Some(id) if id != named => Err(io::Error::other(format!("is the segment {id} under another name"))),
        _ => Ok(named),
    }
}

/// Reads the beginning of a file alone.
pub(crate) fn start(path: &Path) -> io::Result<Start> {
    let (file, bytes) = open(path)?;
    let mut start = Vec::with_capacity(2 * BLOCK);
    file.take(2 * BLOCK as u64).read_to_end(&mut start)?;
    let mut scans = Vec::new();
    parse_block(start.get(BLOCK..).unwrap_or(&[]), &mut 0, &mut scans);
    let first = scans.first().map(|(_, scan)| scan.ts_ms);
    let header = Header::decode(&start);
    let since = first.or_else(|| header.as_ref().map(|header| header.created_ms)).unwrap_or(0);
    let id = header.map(|header| header.id);
    Ok(Start { published: published_of(&start), since_ms: since.max(0).cast_unsigned(), bytes, id })
}

fn published_of(bytes: &[u8]) -> Option<u32> {
    published_count(u64::from_le_bytes(array(bytes, PUBLISHED_AT)?))
}

/// Reads a segment's bytes.
#[must_use]
pub fn parse(bytes: &[u8]) -> Contents {
    let mut contents = Contents {
        header: Header::decode(bytes),
        // A count that is damaged must not reserve more than the file can hold.
        scans: Vec::with_capacity((published_of(bytes).unwrap_or(0) as usize).min(bytes.len() / FRAME_HEADER)),
        lost: 0,
        used: BLOCK as u64,
        blank: bytes.iter().all(|&byte| byte == 0),
    };
    let mut next = 0;
    let mut damaged_tail = false;
    for (number, block) in bytes.chunks(BLOCK).enumerate().skip(1) {
        let before = contents.scans.len();
        damaged_tail |= parse_block(block, &mut next, &mut contents.scans);
        if contents.scans.len() > before {
            damaged_tail = false;
            contents.used = ((number + 1) * BLOCK).min(bytes.len()) as u64;
        }
    }
    let read = contents.scans.len() as u32;
    contents.lost = match published_of(bytes) {
        // A crash between a record and its count leaves one more than the count; a power cut may leave
        // any number more, with gaps, where the count did not reach the disk.
        Some(published) => published.max(next) - read,
        // Without the count, the gaps in the sequence tell, and a tail that is not clean.
        None => next - read + u32::from(damaged_tail),
    };
    contents
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
            Some((seq, scan, size)) if seq >= *next => {
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

/// The identity in a segment's file name.
#[must_use]
pub fn id_of(path: &Path) -> Option<Uuid> {
    path.file_stem()?.to_str()?.parse().ok()
}
