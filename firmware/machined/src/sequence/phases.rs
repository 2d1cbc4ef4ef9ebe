//! Runs a list of named phases; the steps of a phase run side by side, the phases one after another, until told to halt.

use std::{
    error::Error,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture, future::join_all};
use tokio_util::sync::CancellationToken;

/// What a step that failed means for the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The machine cannot go on: [`run`] ends with the error.
    Fatal,
    /// The failure is reported and the sequence goes on.
    Report,
}

/// Any error of a step.
pub type StepError = Box<dyn Error + Send + Sync>;

/// A step of a phase.
pub struct Step {
    name: &'static str,
    on_error: OnError,
    work: BoxFuture<'static, Result<(), StepError>>,
}

impl Step {
    /// A step; the work is not started before its phase.
    pub fn new(name: &'static str, on_error: OnError, work: impl Future<Output = Result<(), StepError>> + Send + 'static) -> Self {
        Self { name, on_error, work: work.boxed() }
    }

    /// A step of work that blocks, on a thread for such work.
    pub fn blocking(name: &'static str, on_error: OnError, work: impl FnOnce() -> Result<(), StepError> + Send + 'static) -> Self {
        Self::new(name, on_error, async move { tokio::task::spawn_blocking(work).await? })
    }
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A phase: a name and its steps.
#[derive(Debug)]
pub struct Phase {
    name: &'static str,
    steps: Vec<Step>,
}

impl Phase {
    /// A phase.
    #[must_use]
    pub fn new(name: &'static str, steps: Vec<Step>) -> Self {
        Self { name, steps }
    }
}

/// A step that had to work did not.
#[derive(Debug, thiserror::Error)]
#[error("phase {phase}, task {step}")]
pub struct FatalStep {
    phase: &'static str,
    step: &'static str,
    source: StepError,
}

/// Why a sequence did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// A step failed that had to work.
    #[error(transparent)]
    Failed(#[from] FatalStep),
    /// It was told to halt.
    #[error("replaced by another sequence")]
    Canceled,
}

/// What happens while phases run, for log, events and status.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A phase begins.
    PhaseStart {
        /// Name, position from 1, how many there are, and steps in it.
        name: &'static str,
        #[allow(missing_docs)]
        index: usize,
        #[allow(missing_docs)]
        total: usize,
        #[allow(missing_docs)]
        steps: usize,
    },
    /// A phase has ended.
    PhaseEnd {
        /// Name, position and time taken.
        name: &'static str,
        #[allow(missing_docs)]
        index: usize,
        #[allow(missing_docs)]
        total: usize,
        #[allow(missing_docs)]
        took: Duration,
    },
    /// A step begins.
    StepStart(&'static str),
    /// A step has ended well.
    StepEnd(&'static str, Duration),
    /// A step has failed.
    StepFailed(&'static str, &'a (dyn Error + Send + Sync)),
}

/// Runs the phases. A step that panics has failed like one that returns an error. When `halt` comes, what waits in the
/// steps is dropped; blocking work that has begun goes on, and nobody waits for it.
///
/// # Errors
/// [`Halt::Failed`]: the first failed step that had to work; the other steps of its phase have ended by then.
/// [`Halt::Canceled`]: `halt` came first.
pub async fn run(phases: Vec<Phase>, tell: &(dyn Fn(Progress<'_>) + Sync), halt: &CancellationToken) -> Result<(), Halt> {
    halt.run_until_cancelled(through(phases, tell)).await.unwrap_or(Err(Halt::Canceled))
}

async fn through(phases: Vec<Phase>, tell: &(dyn Fn(Progress<'_>) + Sync)) -> Result<(), Halt> {
    let total = phases.len();
    for (index, phase) in phases.into_iter().enumerate() {
        let (name, index) = (phase.name, index + 1);
        let start = Instant::now();
        tell(Progress::PhaseStart { name, index, total, steps: phase.steps.len() });
        let results = join_all(phase.steps.into_iter().map(|step| run_step(name, step, tell))).await;
        tell(Progress::PhaseEnd { name, index, total, took: start.elapsed() });
        results.into_iter().collect::<Result<(), FatalStep>>()?;
    }
    Ok(())
}

async fn run_step(phase: &'static str, step: Step, tell: &(dyn Fn(Progress<'_>) + Sync)) -> Result<(), FatalStep> {
    let start = Instant::now();
    tell(Progress::StepStart(step.name));
    let result = AssertUnwindSafe(step.work).catch_unwind().await;
    let result = result.unwrap_or_else(|panic| Err(format!("panic: {}", daemon::panic_text(&*panic)).into()));
    match result {
        Ok(()) => tell(Progress::StepEnd(step.name, start.elapsed())),
        Err(source) => {
            tell(Progress::StepFailed(step.name, &*source));
            if step.on_error == OnError::Fatal {
                return Err(FatalStep { phase, step: step.name, source });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn good(name: &'static str) -> Step {
        Step::new(name, OnError::Fatal, async { Ok(()) })
    }

    fn bad(name: &'static str, on_error: OnError) -> Step {
        Step::new(name, on_error, async { Err("no".into()) })
    }

    #[track_caller]
    fn check(phases: Vec<Phase>, wanted: &[&str], error: Option<&str>) {
        check_halted(phases, &CancellationToken::new(), wanted, error);
    }

    #[track_caller]
    fn check_halted(phases: Vec<Phase>, halt: &CancellationToken, wanted: &[&str], error: Option<&str>) {
        let told = Mutex::new(Vec::new());
        let tell = |progress: Progress<'_>| {
            told.lock().expect("not poisoned").push(match progress {
                Progress::PhaseStart { name, index, total, steps } => format!("{name} {index}/{total} {steps}"),
                Progress::PhaseEnd { name, .. } => format!("end {name}"),
                Progress::StepStart(name) => format!("start {name}"),
                Progress::StepEnd(name, _) => format!("done {name}"),
                Progress::StepFailed(name, cause) => format!("failed {name}: {cause}"),
            });
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let result = runtime.block_on(run(phases, &tell, halt));
        assert_eq!(result.err().map(|error| daemon::report(&error).to_string()).as_deref(), error);
        assert_eq!(*told.lock().expect("not poisoned"), wanted);
    }

    #[test]
    fn phases_run_in_order_and_stop_at_a_fatal_step() {
        check(
            vec![Phase::new("a", vec![good("x")]), Phase::new("b", vec![bad("y", OnError::Report)])],
            &["a 1/2 1", "start x", "done x", "end a", "b 2/2 1", "start y", "failed y: no", "end b"],
            None,
        );
        check(
            vec![Phase::new("a", vec![bad("x", OnError::Fatal), good("y")]), Phase::new("b", vec![good("z")])],
            &["a 1/2 2", "start x", "failed x: no", "start y", "done y", "end a"],
            Some("phase a, task x: no"),
        );
        check(
            vec![Phase::new("a", vec![Step::new("p", OnError::Fatal, async { panic!("oh") })])],
            &["a 1/1 1", "start p", "failed p: panic: oh", "end a"],
            Some("phase a, task p: panic: oh"),
        );
        check(
            vec![Phase::new("a", vec![Step::blocking("t", OnError::Report, || Err("slow".into()))])],
            &["a 1/1 1", "start t", "failed t: slow", "end a"],
            None,
        );
    }

    #[test]
    fn steps_of_a_phase_run_side_by_side() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let waits = Step::new("waits", OnError::Fatal, async move { Ok(receiver.await?) });
        let sends = Step::new("sends", OnError::Fatal, async move { sender.send(()).map_err(|()| "gone".into()) });
        check(
            vec![Phase::new("a", vec![waits, sends])],
            &["a 1/1 2", "start waits", "start sends", "done sends", "done waits", "end a"],
            None,
        );
    }

    #[test]
    fn a_word_ends_it_at_once() {
        let halt = CancellationToken::new();
        let word = halt.clone();
        let says = Step::new("says", OnError::Fatal, async move {
            word.cancel();
            std::future::pending().await
        });
        check_halted(
            vec![Phase::new("a", vec![says]), Phase::new("b", vec![good("x")])],
            &halt,
            &["a 1/2 1", "start says"],
            Some("replaced by another sequence"),
        );
    }
}
