//! What instrumented code tells while it runs: which branches were taken how often, and what was compared with what.
//!
//! The compiler puts a counter of one byte at every branch and a call at every comparison (see `scripts/fuzz/rustc`); this module
//! is the other end of both. Texts are compared by the C library, which the compiler does not instrument: [`bcmp`] and [`memcmp`]
//! here take its place in this one program.
//!
//! The only unsafe code here beside the library's meter of memory: the interface is one of addresses.
#![allow(unsafe_code, reason = "the interface to instrumented code is C functions and addresses; each block says why it holds")]

use std::{
    ffi::c_int,
    slice,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

/// The counters of every instrumented object: parts of the program's own data, as lists of words and of bytes at both ends.
static COUNTERS: Mutex<Vec<&'static [AtomicU8]>> = Mutex::new(Vec::new());

/// Comparisons that are remembered; later ones take the places of earlier ones.
const KEPT: usize = 512;
/// Cases of a switch that are remembered at a time.
const MOST_CASES: usize = 16;
/// Longest text of a comparison that is remembered, in words of eight bytes.
const WORDS: usize = 4;
/// Longest text of a comparison that is remembered, bytes.
const LONGEST: usize = WORDS * 8;

/// Whether comparisons are remembered at the moment.
static RECORDING: AtomicBool = AtomicBool::new(false);
static NUMBERS: [(AtomicU64, AtomicU64, AtomicU8); KEPT] = [const { (AtomicU64::new(0), AtomicU64::new(0), AtomicU8::new(0)) }; KEPT];
static NUMBERS_SEEN: AtomicUsize = AtomicUsize::new(0);
static TEXTS: [Texts; KEPT] = [const { Texts::new() }; KEPT];
static TEXTS_SEEN: AtomicUsize = AtomicUsize::new(0);

/// Two texts of one length.
struct Texts {
    length: AtomicUsize,
    sides: [[AtomicU64; WORDS]; 2],
}

impl Texts {
    const fn new() -> Self {
        Self { length: AtomicUsize::new(0), sides: [const { [const { AtomicU64::new(0) }; WORDS] }; 2] }
    }
}

/// Called before `main` by every instrumented object with the bounds of its counters.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *const AtomicU8, stop: *const AtomicU8) {
    let length = (stop as usize).saturating_sub(start as usize);
    let mut known = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    // Objects of one section all name the whole of it.
    if length == 0 || known.iter().any(|region| region.as_ptr() == start) {
        return;
    }
    // SAFETY: the compiler's contract of this call: the bounds are those of an array of bytes in the program's writable data,
    // there as long as the program is. It is changed by instrumented code without atomics, which is on the thread that reads it.
    known.push(unsafe { slice::from_raw_parts(start, length) });
}

/// A pair of numbers that were compared, and their size in bytes.
pub type Numbers = (u64, u64, u8);

fn numbers_compared(one: u64, other: u64, size: u8) {
    if one != other && RECORDING.load(Relaxed) {
        let at = NUMBERS_SEEN.fetch_add(1, Relaxed) % KEPT;
        let place = &NUMBERS[at];
        place.0.store(one, Relaxed);
        place.1.store(other, Relaxed);
        place.2.store(size, Relaxed);
    }
}

macro_rules! comparisons {
    ($($name:ident $constant:ident $type:ty;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name(one: $type, other: $type) {
            numbers_compared(one.into(), other.into(), size_of::<$type>() as u8);
        }
        #[unsafe(no_mangle)]
        extern "C" fn $constant(one: $type, other: $type) {
            numbers_compared(one.into(), other.into(), size_of::<$type>() as u8);
        }
    )*};
}

comparisons! {
    __sanitizer_cov_trace_cmp1 __sanitizer_cov_trace_const_cmp1 u8;
    __sanitizer_cov_trace_cmp2 __sanitizer_cov_trace_const_cmp2 u16;
    __sanitizer_cov_trace_cmp4 __sanitizer_cov_trace_const_cmp4 u32;
    __sanitizer_cov_trace_cmp8 __sanitizer_cov_trace_const_cmp8 u64;
}

/// `cases`: how many, how many bits each, then the cases.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_switch(value: u64, cases: *const u64) {
    if !RECORDING.load(Relaxed) || cases.is_null() {
        return;
    }
    // SAFETY: the compiler's contract of this call: an array in the program's constant data, whose first word says how many
    // words follow the first two.
    let (bits, cases) = unsafe { (*cases.add(1), slice::from_raw_parts(cases.add(2), *cases as usize)) };
    let size = u8::try_from(bits / 8).unwrap_or(8).max(1);
    // Of a switch of hundreds all would push everything else out.
    let skip = NUMBERS_SEEN.load(Relaxed) % cases.len().max(1);
    cases.iter().cycle().skip(skip).take(cases.len().min(MOST_CASES)).for_each(|case| numbers_compared(value, *case, size));
}

/// In the place of the C library's: remembers what differs.
///
/// # Safety
/// As that one: both point to `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, length: usize) -> c_int {
    let mut at = 0;
    // Eight at a time while they are the same: most comparisons of long texts are of equal ones.
    // SAFETY: each read is of eight bytes at `at`, and `at + 8` is at most the length that the caller vouches for.
    while at + 8 <= length && unsafe { one.add(at).cast::<u64>().read_unaligned() == other.add(at).cast::<u64>().read_unaligned() } {
        at += 8;
    }
    while at < length {
        // SAFETY: `at` is below the length that the caller vouches for.
        let (left, right) = unsafe { (one.add(at).read_volatile(), other.add(at).read_volatile()) };
        if left != right {
            if (2..=LONGEST).contains(&length) && RECORDING.load(Relaxed) {
                // SAFETY: the caller vouches for both; they are only read.
                unsafe { texts_compared(one, other, length) };
            }
            return c_int::from(left) - c_int::from(right);
        }
        at += 1;
    }
    0
}

/// As [`memcmp`].
///
/// # Safety
/// As that one.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, length: usize) -> c_int {
    // SAFETY: the caller vouches for the same.
    unsafe { memcmp(one, other, length) }
}

/// # Safety
/// Both point to `length` bytes, at most [`LONGEST`].
unsafe fn texts_compared(one: *const u8, other: *const u8, length: usize) {
    let place = &TEXTS[TEXTS_SEEN.fetch_add(1, Relaxed) % KEPT];
    place.length.store(length, Relaxed);
    for (side, start) in place.sides.iter().zip([one, other]) {
        for (word, value) in side.iter().enumerate() {
            let mut bytes = [0; 8];
            for (at, byte) in bytes.iter_mut().enumerate().take_while(|(at, _)| word * 8 + at < length) {
                // SAFETY: below the length.
                *byte = unsafe { start.add(word * 8 + at).read() };
            }
            value.store(u64::from_le_bytes(bytes), Relaxed);
        }
    }
}

/// How many counters there are; none in a program that is not instrumented.
pub fn size() -> usize {
    COUNTERS.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|region| region.len()).sum()
}

/// Runs something; gives the counters that it moved, each with its value, and sets all of them back to zero. With `compared`, what it
/// compares takes the place of what was compared before.
pub fn of(compared: bool, run: impl FnOnce()) -> Vec<(usize, u8)> {
    if compared {
        NUMBERS_SEEN.store(0, Relaxed);
        TEXTS_SEEN.store(0, Relaxed);
    }
    RECORDING.store(compared, Relaxed);
    run();
    RECORDING.store(false, Relaxed);
    let mut moved = Vec::new();
    let mut before = 0;
    for region in COUNTERS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        collect(region, before, &mut moved);
        before += region.len();
    }
    moved
}

/// Most counters are zero: they are looked at eight at a time.
fn collect(region: &'static [AtomicU8], before: usize, moved: &mut Vec<(usize, u8)>) {
    // SAFETY: eight `AtomicU8` are laid out as one `AtomicU64`, and `align_to` gives only aligned ones.
    let (head, words, tail) = unsafe { region.align_to::<AtomicU64>() };
    let mut one = |at: usize, counter: &AtomicU8| {
        let value = counter.swap(0, Relaxed);
        if value > 0 {
            moved.push((before + at, value));
        }
    };
    head.iter().enumerate().for_each(|(at, counter)| one(at, counter));
    for (at, word) in words.iter().enumerate() {
        if word.load(Relaxed) != 0 {
            let start = head.len() + at * 8;
            region[start..start + 8].iter().enumerate().for_each(|(within, counter)| one(start + within, counter));
        }
    }
    let start = head.len() + words.len() * 8;
    tail.iter().enumerate().for_each(|(at, counter)| one(start + at, counter));
}

/// One of the comparisons of numbers; any `choice` is one.
pub fn numbers(choice: usize) -> Option<Numbers> {
    let place = NUMBERS.get(choice % NUMBERS_SEEN.load(Relaxed).clamp(1, KEPT))?;
    let size = place.2.load(Relaxed);
    (NUMBERS_SEEN.load(Relaxed) > 0).then(|| (place.0.load(Relaxed), place.1.load(Relaxed), size))
}

/// One of the comparisons of texts; any `choice` is one.
pub fn texts(choice: usize) -> Option<[Vec<u8>; 2]> {
    let place = TEXTS.get(choice % TEXTS_SEEN.load(Relaxed).clamp(1, KEPT))?;
    let length = place.length.load(Relaxed);
    let side = |words: &[AtomicU64; WORDS]| words.iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).take(length).collect();
    (TEXTS_SEEN.load(Relaxed) > 0).then(|| [side(&place.sides[0]), side(&place.sides[1])])
}
