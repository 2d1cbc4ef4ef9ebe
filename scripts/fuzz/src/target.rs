//! What a target is, and what holds for all of them.

use std::{panic, time::Duration};

use nix::time::{ClockId, clock_gettime};

use crate::memory;

/// Code that reads bytes from outside, and what must hold whatever they are.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name on the command line and in the corpus.
    pub name: &'static str,
    /// What the bytes are.
    pub bytes: &'static str,
    /// From whom they come.
    pub from: &'static str,
    /// What holds, beside "it neither panics nor takes more than its time and memory".
    pub property: &'static str,
    /// Most bytes of an input.
    pub longest: usize,
    /// Most bytes of memory that reading one takes.
    pub memory: usize,
    /// Words of the language that the bytes are in.
    pub words: fn() -> Vec<Vec<u8>>,
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Reads an input; panics when what must hold does not.
    pub check: fn(&[u8]),
}

/// Most processor time that an input may take. Those of a few KiB take microseconds; instrumented and with all checks, on an old
/// machine, some milliseconds. What takes a second is a way to stop a node.
pub const LONGEST: Duration = Duration::from_secs(2);

/// One mebibyte, for the limits of targets.
pub const MIB: usize = 1 << 20;

impl Target {
    /// What most targets are like: inputs of a page or two in a few times their memory.
    pub const PLAIN: Self = Self {
        name: "",
        bytes: "",
        from: "",
        property: "",
        longest: 4096,
        memory: 4 * MIB,
        words: Vec::new,
        seeds: Vec::new,
        check: |_| {},
    };

    /// Reads an input within the limits of time and memory.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn run(&self, input: &[u8]) {
        let begun = processor_time();
        let used = memory::used(|| (self.check)(input));
        let took = processor_time().saturating_sub(begun);
        assert!(took <= LONGEST, "{} bytes took {took:?} of processor time, {LONGEST:?} at most may", input.len());
        assert!(used <= self.memory, "{} bytes took {used} bytes of memory, {} at most may", input.len(), self.memory);
    }

    /// The same, with a panic as a result.
    ///
    /// # Errors
    /// What the panic said.
    pub fn try_run(&self, input: &[u8]) -> Result<(), String> {
        panic::catch_unwind(|| self.run(input)).map_err(|panic| daemon::panic_text(&*panic).to_owned())
    }
}

/// Of this thread: what else the machine does is no fault of ours.
#[must_use]
pub fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Words given as texts.
#[must_use]
pub fn words(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The parts of an input for a target that reads several things: between lines of `%%`. There are always `N`; missing ones are empty.
#[must_use]
pub fn parts<const N: usize>(input: &str) -> [&str; N] {
    let mut rest = input.splitn(N, "%%\n");
    std::array::from_fn(|_| rest.next().unwrap_or_default())
}

/// The input as a text; what is no UTF-8 is replaced, because that is refused before any of our code sees it.
#[must_use]
pub fn text(input: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(input)
}
