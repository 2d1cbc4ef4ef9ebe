//! An allocator that counts, so that "in bounded memory" can be checked. Programs that check inputs name it as theirs:
//! `#[global_allocator] static METER: fuzz::Meter = fuzz::Meter;`. Without that everything takes 0 bytes, which a test notices.
#![allow(unsafe_code, reason = "a global allocator is unsafe to implement; this one passes everything on to the system's")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Beyond this, memory is refused, which ends the process: a machine that swaps tells nothing.
const REFUSED: usize = 2 << 30;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator with a count of bytes.
#[derive(Debug)]
pub struct Meter;

// SAFETY: every call is passed on to the system's allocator as it is, or answered with null, which means that there is no memory.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        if now > REFUSED {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller vouches for the layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller vouches that both are those of a call of `alloc`, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs something; the bytes that it had at most more than there were before.
pub fn used(run: impl FnOnce()) -> usize {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    run();
    PEAK.load(Relaxed).saturating_sub(before)
}
