//! When memory comes: what the processor is asked to fetch before it is needed, and tables in larger pages.
//!
//! Owns these hints. A scan touches a dozen lines of memory anywhere (its sign and targets, its tally, its repeat window,
//! the network of its address), and each that is in no near cache costs up to 0.1 µs if it is waited for in turn. A hint
//! changes no byte; where the processor or the kernel doesn't know one, all goes on without it.

use std::ptr::with_exposed_provenance_mut;

use rustix::mm::Advice;

/// Asks the processor for the line of memory in which a value begins, without waiting for it. Elsewhere than on x86-64 it
/// is left to itself.
#[inline]
pub fn prefetch<T: ?Sized>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it loads nothing that a program could see, and faults nowhere.
    #[allow(unsafe_code)]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// The same of memory that is about to be written, wherever it is: it need not even be there.
#[inline]
pub fn prefetch_to_write(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it stores nothing, and faults nowhere.
    #[allow(unsafe_code)]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_ET0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// What most pages of memory have, in bytes, and what larger ones have.
const SMALL: usize = 4 << 10;
const LARGE: usize = 2 << 20;
/// To put what is there into large pages at once (madvise(2)); rustix lacks it, and libc has it for one C library only.
const MADV_COLLAPSE: i32 = 25;

/// Room for a table in which things are looked up anywhere, in large pages if it has so much: where a small page is, the
/// processor mostly has to find out first. It has up to 2 MiB of room too much, and must not be made to fit: that moves it.
pub fn table<T>(capacity: usize) -> Vec<T> {
    let bytes = capacity * size_of::<T>();
    if bytes < LARGE {
        return Vec::with_capacity(capacity);
    }
    // The kernel gives a large piece the place of a large page if its length is one's (Linux 6.7), what the allocator adds
    // for itself included.
    let room = (bytes + SMALL).next_multiple_of(LARGE) - SMALL;
    let table = Vec::<T>::with_capacity(room / size_of::<T>());
    // All pages that it touches: a large one has one hint throughout.
    let begin = table.as_ptr().expose_provenance() / SMALL * SMALL;
    let end = (table.as_ptr().expose_provenance() + room).next_multiple_of(SMALL);
    let pages = with_exposed_provenance_mut(begin);
    // SAFETY: the hints change nothing that is or will be in these pages, nor whose they are.
    #[allow(unsafe_code)]
    unsafe {
        rustix::mm::madvise(pages, end - begin, Advice::LinuxHugepage).ok();
        // The allocator has written its own part into the first, which is small therefore. (The kernel's thread for that
        // comes some 10 s later, and takes a core for 12 to 26 ms.) A kernel before 6.1 doesn't know it.
        libc::madvise(pages, end - begin, MADV_COLLAPSE);
    }
    table
}
