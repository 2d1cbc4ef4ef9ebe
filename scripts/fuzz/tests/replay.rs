//! Runs every kept input, every one that once broke something, and the seeds: each is read within its limits, and what must hold does.
//! What looks for new ones is `cargo xtask fuzz`.

use std::path::Path;

use fuzz::{Meter, Target, corpus, targets};
use libtest_mimic::{Arguments, Failed, Trial};

#[global_allocator]
static METER: Meter = Meter;

fn main() {
    let mut arguments = Arguments::from_args();
    // Memory is counted for the whole process.
    arguments.test_threads = Some(1);
    let mut trials: Vec<Trial> = targets::ALL.iter().map(|target| Trial::test(target.name, || replay(target))).collect();
    trials.push(Trial::test("limits_are_noticed", limits));
    trials.push(Trial::test("no_corpus_without_a_target", strays));
    libtest_mimic::run(&arguments, trials).exit();
}

fn replay(target: &Target) -> Result<(), Failed> {
    let kept = Path::new(target.name).with_extension("txt");
    let files = [corpus::folder().join(&kept), corpus::folder().join("regressions").join(&kept)];
    let [kept, regressions] = files.map(|path| corpus::read(&path).map_err(|error| Failed::from(format!("{error:#}"))));
    let (kept, seeds) = (kept?, (target.seeds)());
    let none = kept.is_empty();
    for input in [seeds, kept, regressions?].concat() {
        target.try_run(&input).map_err(|what| format!("{what}\n  by {}", input.escape_ascii()))?;
    }
    if none { Err("no inputs are kept: cargo xtask fuzz --keep".into()) } else { Ok(()) }
}

/// That nothing took too much means something only if that would be seen. What is planted panics without a word: among the words of
/// a run's failures it would be taken for one.
fn limits() -> Result<(), Failed> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = planted();
    std::panic::set_hook(hook);
    result
}

fn planted() -> Result<(), Failed> {
    fn refused(check: fn(&[u8]), wanted: &str) -> Result<(), Failed> {
        let target = Target { check, memory: 1 << 20, ..targets::PLANTED };
        match target.try_run(b"") {
            Err(said) if said.contains(wanted) => Ok(()),
            other => Err(format!("{other:?} instead of {wanted}").into()),
        }
    }
    refused(|_| drop(std::hint::black_box(vec![1_u8; 2 << 20])), "of memory")?;
    refused(
        |_| {
            let begun = fuzz::processor_time();
            while fuzz::processor_time() - begun <= fuzz::LONGEST {}
        },
        "of processor time",
    )?;
    match targets::PLANTED.try_run(targets::PLANTED_INPUT) {
        Err(said) if said == "this was planted" => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn strays() -> Result<(), Failed> {
    for folder in [corpus::folder(), corpus::folder().join("regressions")] {
        for entry in std::fs::read_dir(&folder)?.flatten().filter(|entry| entry.path().is_file()) {
            let path = entry.path();
            let known = targets::ALL.iter().any(|target| path.file_stem().is_some_and(|stem| stem == target.name));
            if !known {
                return Err(format!("{} is of no target", path.display()).into());
            }
        }
    }
    Ok(())
}
