//! One segment being written: the `unsafe` of the crate, but for hints (`system/memory.rs`).
//!
//! Owns the mapping. A worker stores a record's bytes into a shared file mapping,
//! which survives `kill -9` without a system call: measured on ext4 at 100,000
//! records a second with a sync every second, 44 ns median against 414 ns for a
//! `write(2)` each. The file is preallocated, so a full disk is met when a segment
//! is made and never while one is written (a store into a hole would be SIGBUS),
//! and its pages are written and touched beforehand, or the first store to each would fault
//! (95 ms at worst).
//!
//! Why it is sound:
//! - No reference to mapped memory is ever made. It is written through raw pointers
//!   and atomics only, so nothing the kernel or another process does to the file can
//!   break an aliasing rule.
//! - There is exactly one [`Appender`] for each mapping, made together with it and not
//!   `Clone`; it alone writes, and every store is within the preallocated length, which
//!   `append` checks. The others read one atomic in the first page.
//! - The file is shortened only after its appender is gone, and never below the first
//!   page, so no store or load meets a page that is not there; to nothing only once it is
//!   delivered, when it has left the books and nobody reads the mapping any more. The journal's lock and
//!   the files' mode (0600) keep other programs out. (An owner who cuts the file short in
//!   place all the same ends the process by SIGBUS; nothing else comes of it.)

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::folder::{folder_of, is_at, sync_folder};
use super::format::{
    BLOCK, FRAME_HEADER, HEADER, Header, MAX_PAYLOAD, PUBLISHED_AT, frame_crc, frame_size, frame_word, published_count,
    published_word,
};
use crate::system::{memory, pace};

/// Bytes that are written or touched at once: some 20 µs.
const PIECE: usize = 1 << 16;
/// Bytes that the kernel is told at once to write: some 50 µs.
const WRITE: usize = 1 << 18;

/// Bytes of a line of memory. A record begins in one and mostly ends in the next.
const LINE: usize = 64;

/// A segment's file and mapping, as everyone but its worker sees it.
#[derive(Debug)]
pub(crate) struct Segment {
    pub header: Header,
    pub path: PathBuf,
    file: File,
    map: MmapRaw,
    /// Where the next frame goes; nothing is stored beyond.
    end: AtomicUsize,
    /// Up to where the kernel has begun to write.
    begun: AtomicUsize,
    /// Records that are on the disk.
    synced: AtomicU32,
    /// Whether the file's name is on the disk.
    named: AtomicBool,
    /// Whether it is kept open beyond its age while the store takes no batches.
    deferred: AtomicBool,
    /// Whether its file was found to be removed: the worker lets go of it.
    removed: AtomicBool,
}

/// The sole writer of a segment.
#[derive(Debug)]
pub(crate) struct Appender {
    segment: Arc<Segment>,
    seq: u32,
}

/// The frame does not fit any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Appender {
    /// Makes the file, reserves its blocks, maps it and touches every page. Slow: not for a worker.
    pub fn create(path: PathBuf, header: Header, size: usize) -> io::Result<Self> {
        let size = size.next_multiple_of(BLOCK);
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let made = reserve(&mut file, size).and_then(|()| {
            let map = MmapOptions::new().len(size).map_raw(&file)?;
            prefault(&map);
            Ok(map)
        });
        let map = match made {
            Ok(map) => map,
            Err(error) => {
                std::fs::remove_file(&path).ok();
                return Err(error);
            }
        };
        let bytes = header.encode();
        // SAFETY: the mapping is `size` bytes long, at least one block, and the header
        // is shorter; nobody else has the mapping yet.
        #[allow(unsafe_code)]
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), map.as_mut_ptr(), HEADER);
        }
        let segment = Segment {
            header,
            path,
            file,
            map,
            end: AtomicUsize::new(BLOCK),
            begun: AtomicUsize::new(0),
            synced: AtomicU32::new(0),
            named: AtomicBool::new(false),
            deferred: AtomicBool::new(false),
            removed: AtomicBool::new(false),
        };
        segment.published_word().store(published_word(0).to_le(), Ordering::Release);
        Ok(Self { segment: Arc::new(segment), seq: 0 })
    }

    /// Appends one record: visible to a reader, and safe from `kill -9`, when this returns.
    #[inline]
    pub fn append(&mut self, payload: &[u8]) -> Result<(), Full> {
        assert!(payload.len() <= MAX_PAYLOAD, "a payload is bounded by its fields");
        let size = frame_size(payload.len());
        let mut at = self.segment.end.load(Ordering::Relaxed);
        if at % BLOCK + size > BLOCK {
            at = at.next_multiple_of(BLOCK);
        }
        if at + size > self.segment.map.len() {
            return Err(Full);
        }
        let crc = frame_crc(self.seq, payload);
        // SAFETY: `at + size` is within the mapping (checked above) and `at` is a multiple
        // of 4 in a page-aligned mapping, so the pointers are in bounds and aligned. Only
        // this appender, borrowed mutably, writes there; readers go through the file.
        #[allow(unsafe_code, clippy::cast_ptr_alignment)]
        #[allow(clippy::cast_possible_truncation, reason = "a payload has at most MAX_PAYLOAD bytes (asserted above)")]
        unsafe {
            let frame = self.segment.map.as_mut_ptr().add(at);
            frame.add(4).cast::<u32>().write(crc.to_le());
            frame.add(8).cast::<u32>().write(self.seq.to_le());
            std::ptr::copy_nonoverlapping(payload.as_ptr(), frame.add(FRAME_HEADER), payload.len());
            // Release: a frame that has its word has all its bytes.
            AtomicU32::from_ptr(frame.cast()).store(frame_word(payload.len() as u16).to_le(), Ordering::Release);
        }
        self.segment.end.store(at + size, Ordering::Relaxed);
        self.seq += 1;
        self.segment.published_word().store(published_word(self.seq).to_le(), Ordering::Release);
        // The next record's: the kernel wrote its zeros, and they are in no near cache.
        memory::prefetch_to_write(self.segment.map.as_mut_ptr().wrapping_add(at + size + LINE));
        memory::prefetch_to_write(self.segment.map.as_mut_ptr().wrapping_add(at + size + 2 * LINE));
        Ok(())
    }

    /// Whether nothing has been appended.
    pub fn is_empty(&self) -> bool {
        self.seq == 0
    }

    /// The segment, for those who watch it.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }
}

impl Segment {
    fn published_word(&self) -> &AtomicU64 {
        // SAFETY: offset 128 of a page-aligned mapping of at least one block: in bounds
        // and aligned for eight bytes. The mapping lives as long as `self`, and after its
        // creation the place is only ever used as this atomic.
        #[allow(unsafe_code)]
        unsafe {
            AtomicU64::from_ptr(self.map.as_mut_ptr().add(PUBLISHED_AT).cast())
        }
    }

    /// Records appended so far.
    pub fn published(&self) -> u32 {
        published_count(u64::from_le(self.published_word().load(Ordering::Acquire))).unwrap_or(0)
    }

    /// Brings what is appended to the disk, if there is anything new. Returns whether there was.
    pub fn sync(&self) -> io::Result<bool> {
        let published = self.published();
        if self.synced.load(Ordering::Relaxed) == published {
            return Ok(false);
        }
        // Of a mapping, only what has been written goes to the disk: the pages touched
        // beyond are all zeros, and in a quiet segment most.
        let end = self.end.load(Ordering::Relaxed);
        self.start_writing(end);
        self.map.flush_range(0, end)?;
        if !self.named.load(Ordering::Relaxed) {
            sync_folder(folder_of(&self.path))?;
            self.named.store(true, Ordering::Relaxed);
        }
        self.synced.store(published, Ordering::Relaxed);
        Ok(true)
    }

    /// Has the kernel begin to write what is to be synced, in pieces, at this thread's pace: a sync of all that a worker
    /// appends in a second takes a core for 4 ms in one go. That it is on the disk only the sync says.
    fn start_writing(&self, end: usize) {
        // Not the block that is being written: its worker would wait for it twice.
        let end = end / BLOCK * BLOCK;
        let begun = self.begun.swap(end, Ordering::Relaxed);
        for at in (begun..end).step_by(WRITE) {
            let len = WRITE.min(end - at);
            // SAFETY: the descriptor is open, and nothing else is handed over but numbers.
            #[allow(unsafe_code)]
            unsafe {
                let offset = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
                libc::sync_file_range(self.file.as_raw_fd(), offset(at), offset(len), libc::SYNC_FILE_RANGE_WRITE);
            }
            pace::step();
        }
    }

    /// Its worker keeps it open beyond its age, or no longer.
    pub fn defer(&self, deferred: bool) {
        self.deferred.store(deferred, Ordering::Relaxed);
    }

    /// Whether its worker keeps it open beyond its age.
    pub fn is_deferred(&self) -> bool {
        self.deferred.load(Ordering::Relaxed)
    }

    /// Whether [`Segment::find`] has missed the file; for its worker, without a system call.
    pub fn is_known_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    /// Looks whether the file at its path is still this one. What is appended to a file that was
    /// removed has no name, and is gone with the process.
    pub fn find(&self) -> io::Result<bool> {
        let is_there = self.is_at(&self.path)?;
        if !is_there {
            self.removed.store(true, Ordering::Relaxed);
        }
        Ok(is_there)
    }

    /// Whether the file at a path is this one.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        is_at(&self.file, path)
    }

    /// Bytes on the disk.
    pub fn size(&self) -> u64 {
        self.map.len() as u64
    }

    /// Cuts the file to what is used and brings it to the disk. Its appender must be
    /// gone: nothing may be stored beyond the new end.
    pub fn finish(&self) -> io::Result<()> {
        self.start_writing(self.end.load(Ordering::Relaxed));
        self.file.set_len(self.end.load(Ordering::Relaxed) as u64)?;
        self.file.sync_all()
    }
}

/// Reserves blocks, so that no later store can meet a full disk, and fills them with zeros. The kernel keeps what is
/// written in larger pieces than what is touched page by page: the life of 16 MiB took 9 ms of CPU time, and 15 without
/// (ext4, Linux 6.18).
fn reserve(file: &mut File, size: usize) -> io::Result<()> {
    match rustix::fs::fallocate(&*file, FallocateFlags::empty(), 0, size as u64) {
        Ok(()) => write_zeros(file, size),
        // Some file systems can't; written zeros reserve as well. Some of those find out that there is no room only
        // when the disk is to take them.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, size).and_then(|()| file.sync_all()),
        Err(error) => Err(error.into()),
    }
}

/// Writes whole blocks of zeros.
fn write_zeros(file: &mut File, size: usize) -> io::Result<()> {
    let zeros = vec![0; PIECE];
    let mut left = size;
    while left > 0 {
        let piece = left.min(PIECE);
        file.write_all(&zeros[..piece])?;
        left -= piece;
        pace::step();
    }
    Ok(())
}

/// Touches every page for writing.
fn prefault(map: &MmapRaw) {
    for at in (0..map.len()).step_by(PIECE) {
        let piece = PIECE.min(map.len() - at);
        // From Linux 5.14 on; before, a store to each page.
        if map.advise_range(memmap2::Advice::PopulateWrite, at, piece).is_err() {
            touch_pages(map);
            return;
        }
        pace::step();
    }
}

/// Stores a zero into each page, of which nothing is used yet.
fn touch_pages(map: &MmapRaw) {
    for page in (0..map.len()).step_by(BLOCK) {
        // SAFETY: within the mapping, and nobody else has it yet.
        #[allow(unsafe_code)]
        unsafe {
            map.as_mut_ptr().add(page).write_volatile(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use rustix::fs::MemfdFlags;

    use super::*;

    const SIZE: usize = 16 * BLOCK;

    /// A file in memory, whose blocks are counted as soon as they are there.
    fn file() -> File {
        rustix::fs::memfd_create("segment", MemfdFlags::CLOEXEC).expect("a file").into()
    }

    fn reserved(file: &File) -> (u64, u64) {
        let metadata = file.metadata().expect("a file");
        (metadata.len(), metadata.blocks() * 512)
    }

    #[test]
    fn zeros_reserve_what_fallocate_would() {
        let (by_call, mut by_zeros) = (file(), file());
        rustix::fs::fallocate(&by_call, FallocateFlags::empty(), 0, SIZE as u64).expect("reserved");
        write_zeros(&mut by_zeros, SIZE).expect("reserved");
        assert_eq!(reserved(&by_call), (SIZE as u64, SIZE as u64));
        assert_eq!(reserved(&by_zeros), reserved(&by_call));
    }

    #[test]
    fn stores_touch_the_pages_that_the_kernel_would() {
        for touch in [prefault, touch_pages] {
            let file = file();
            file.set_len(SIZE as u64).expect("a file of holes");
            let map = MmapOptions::new().len(SIZE).map_raw(&file).expect("a mapping");
            assert_eq!(reserved(&file).1, 0);
            touch(&map);
            assert_eq!(reserved(&file), (SIZE as u64, SIZE as u64), "every page is there");
        }
    }

    #[test]
    fn what_can_not_be_made_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("segment");
        let header = Header { id: uuid::Uuid::nil(), created_ms: 0, edge: String::new() };
        // Beyond what any file system reserves.
        let made = Appender::create(path.clone(), header, 1 << 60);
        assert!(made.is_err());
        assert!(!path.exists());
    }
}
