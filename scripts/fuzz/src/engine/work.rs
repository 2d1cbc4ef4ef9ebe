//! The process that runs inputs. It dies of the first one that breaks something, whatever the way: a panic, an abort for want of
//! memory, a stack that overflows. The input lies in a file before it is run, so whoever started the process knows which it was.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    coverage,
    mutate::{Mutator, Seen},
    pool::{Pool, features},
    random::Random,
};
use fuzz::{Target, corpus};

/// An input that takes so long has hung.
const HUNG: Duration = Duration::from_secs(20);
/// How often it says how far it is.
const REPORT: Duration = Duration::from_secs(15);
/// An input is chosen anew after so many changed ones.
const TURNS: usize = 64;

/// What the caller wants.
#[derive(Clone, Debug)]
pub struct Work<'a> {
    /// Inputs that are known.
    pub known: Vec<Vec<u8>>,
    /// How long to go on.
    pub time: Duration,
    /// Of the choices.
    pub seed: u64,
    /// Where the input lies that is being run.
    pub current: &'a Path,
    /// Where the inputs are written that are of use at the end.
    pub pool: &'a Path,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Inputs that were run.
    pub runs: u64,
    /// Things that code was seen to do.
    pub features: usize,
    /// Inputs that are of use.
    pub inputs: usize,
}

/// Comparisons of the input that is being changed.
struct Compared;

impl Seen for Compared {
    fn numbers(&self, choice: usize) -> Option<coverage::Numbers> {
        coverage::numbers(choice)
    }
    fn texts(&self, choice: usize) -> Option<[Vec<u8>; 2]> {
        coverage::texts(choice)
    }
}

/// Runs inputs until the time is over.
///
/// # Errors
/// The program is not instrumented, or files cannot be written.
pub fn work(target: &Target, work: &Work<'_>) -> Result<Done> {
    ensure!(coverage::size() > 0, "this program has no counters: build it with `cargo xtask fuzz`");
    let mut runner = Runner::new(target, work.current)?;
    for input in [Vec::new()].into_iter().chain((target.seeds)()).chain(work.known.iter().cloned()) {
        runner.run(input.get(..target.longest).unwrap_or(&input), false)?;
    }
    let mut mutator = Mutator { random: Random::new(work.seed), words: (target.words)(), longest: target.longest };
    let (begun, mut told) = (Instant::now(), Instant::now());
    while begun.elapsed() < work.time {
        let base = runner.pool.pick(&mut mutator.random).to_vec();
        let other = runner.pool.pick(&mut mutator.random).to_vec();
        // Once as it is, for what it compares.
        runner.run(&base, true)?;
        for _ in 0..TURNS {
            let input = mutator.change(&base, &other, &Compared);
            if runner.run(&input, false)? {
                break;
            }
        }
        if told.elapsed() >= REPORT {
            told = Instant::now();
            let done = runner.done();
            let (per_second, Done { runs, features, inputs }) = (done.runs / begun.elapsed().as_secs().max(1), done);
            eprintln!("{}: {runs} runs, {per_second} a second, {features} features, {inputs} inputs", target.name);
        }
    }
    corpus::write(work.pool, runner.pool.inputs())?;
    Ok(runner.done())
}

struct Runner<'a> {
    target: &'a Target,
    current: File,
    runs: Arc<AtomicU64>,
    pool: Pool,
}

impl<'a> Runner<'a> {
    fn new(target: &'a Target, current: &Path) -> Result<Self> {
        let current = File::create(current).with_context(|| format!("create {}", current.display()))?;
        let runs = Arc::new(AtomicU64::new(0));
        let watched = Arc::clone(&runs);
        thread::spawn(move || watch(&watched));
        Ok(Self { target, current, runs, pool: Pool::default() })
    }

    /// Whether it did something new.
    fn run(&mut self, input: &[u8], compared: bool) -> Result<bool> {
        let mut marked = u64::try_from(input.len())?.to_le_bytes().to_vec();
        marked.extend_from_slice(input);
        self.current.write_all_at(&marked, 0).context("write down the input")?;
        let moved = coverage::of(compared, || self.target.run(input));
        self.runs.fetch_add(1, Relaxed);
        Ok(self.pool.offer(input, &features(&moved)))
    }

    fn done(&self) -> Done {
        let (features, inputs) = self.pool.size();
        Done { runs: self.runs.load(Relaxed), features, inputs }
    }
}

/// Ends the process when an input takes too long.
fn watch(runs: &AtomicU64) {
    let mut seen = (0, Instant::now());
    loop {
        thread::sleep(Duration::from_secs(1));
        let now = runs.load(Relaxed);
        if now != seen.0 {
            seen = (now, Instant::now());
        } else if seen.1.elapsed() > HUNG {
            eprintln!("an input has not come back for {HUNG:?}");
            std::process::abort();
        }
    }
}

/// The input in the file of a process that died.
///
/// # Errors
/// There is none.
pub fn current(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let (length, rest) = bytes.split_first_chunk().context("the process had not begun")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    rest.get(..length).map(<[u8]>::to_vec).context("the input is cut off")
}
