//! Runs the machine's sequences, one at a time, and tells log, events and status about them.

use std::{sync::Arc, time::Duration};

use linux::clock;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use wire::common::Code;

use super::{Machine, initialize, reset, shutdown, start};
use crate::{
    disk::Looking,
    events,
    sequence::{
        Control, Decision, Ending, Kind, Locked, Request,
        phases::{self, Halt, Phase, Progress},
    },
};

/// Longest wait for a sequence that is being replaced.
const TAKE_OVER: Duration = Duration::from_secs(60);

/// Runs what it is asked to.
pub struct Sequencer {
    machine: Arc<Machine>,
    control: Control,
    job: Option<Job>,
    /// For the first sequence.
    looking: Option<Looking>,
}

/// The sequence that runs.
struct Job {
    kind: Kind,
    ending: Ending,
    actor: Arc<str>,
    halt: CancellationToken,
    /// When it is given up, once it was told to halt.
    until: Option<Instant>,
    handle: JoinHandle<Result<(), Halt>>,
}

/// How a sequence ended.
pub struct Ended {
    /// Which.
    pub kind: Kind,
    /// What becomes of the machine now, when it goes down.
    pub ending: Ending,
    /// How.
    pub result: Result<(), Halt>,
    /// Nothing has replaced it.
    pub idle: bool,
}

impl Sequencer {
    /// Nothing runs yet.
    pub fn new(machine: Arc<Machine>, looking: Looking) -> Self {
        Self { machine, control: Control::default(), job: None, looking: Some(looking) }
    }

    /// Starts a sequence, now or as soon as the one that gives way to it has ended.
    ///
    /// # Errors
    /// [`Locked`]; events tell it as well.
    pub fn request(&mut self, request: Request, take_over: bool) -> Result<(), Locked> {
        let (wanted, actor) = (request.kind, request.actor.clone());
        match self.control.request(request, take_over) {
            Ok(Decision::Start(request)) => self.start(request),
            Ok(Decision::TakeOver) => {
                if let Some(job) = &mut self.job {
                    log::warn!(target: "machined", "{} gives way to {wanted}", job.kind);
                    job.until.get_or_insert_with(|| Instant::now() + TAKE_OVER);
                    job.halt.cancel();
                }
            }
            Err(locked) => {
                log::warn!(target: "machined", "{wanted} refused: {locked}");
                self.machine.events.publish(&events::sequence_refused(wanted.as_str(), Code::Locked, locked.to_string()), &actor);
                return Err(locked);
            }
        }
        Ok(())
    }

    /// Waits for the end of what runs, for ever when nothing does; starts what waits for that. Cancel-safe.
    pub async fn ended(&mut self) -> Ended {
        let Some(job) = &mut self.job else { return std::future::pending().await };
        let until = job.until;
        let result = tokio::select! {
            ended = &mut job.handle => ended.unwrap_or(Err(Halt::Canceled)),
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                log::error!(target: "machined", "{} does not end, {} s after it was told to", job.kind, TAKE_OVER.as_secs());
                job.handle.abort();
                Err(Halt::Canceled)
            }
        };
        let (kind, ending, actor) = (job.kind, job.ending, Arc::clone(&job.actor));
        self.job = None;
        self.say_end(kind, &actor, &result);
        let next = self.control.ended();
        let idle = next.is_none();
        if let Some(next) = next {
            self.start(next);
        }
        Ended { kind, ending, result, idle }
    }

    fn start(&mut self, request: Request) {
        let (kind, ending, actor) = (request.kind, request.ending(), Arc::<str>::from(request.actor.as_str()));
        self.say_start(kind, &actor, request.force);
        let phases = self.phases(&request);
        let halt = CancellationToken::new();
        let (machine, word, who) = (Arc::clone(&self.machine), halt.clone(), Arc::clone(&actor));
        // Not among the node's tasks: the way down waits for those.
        let handle = tokio::spawn(async move { phases::run(phases, &|progress| tell(&machine, kind, &who, &progress), &word).await });
        self.job = Some(Job { kind, ending, actor, halt, until: None, handle });
    }

    fn phases(&mut self, request: &Request) -> Vec<Phase> {
        match request.kind {
            Kind::Initialize => self.looking.take().map(|looking| initialize::list(&self.machine, looking)).unwrap_or_default(),
            Kind::Boot => start::list(&self.machine),
            Kind::Reboot | Kind::Shutdown => shutdown::list(&self.machine, request),
            Kind::Reset => reset::list(&self.machine, request),
            // Nobody asks for them: this version has no handler that does.
            Kind::Install | Kind::Upgrade | Kind::StageUpgrade | Kind::MaintenanceUpgrade => Vec::new(),
        }
    }

    fn say_start(&self, kind: Kind, actor: &str, force: bool) {
        let machine = &self.machine;
        match kind {
            Kind::Initialize => log::info!(
                target: "boot",
                "Keelson {} for {}, {} ms after the kernel started",
                machine.release.get("VERSION"),
                machine.release.get("BOARD"),
                clock::since_boot().as_millis()
            ),
            kind if kind.goes_down() => log::info!(target: "machined", "{kind}{}: going down", if force { " (forced)" } else { "" }),
            _ => {}
        }
        machine.node.sequence.send_modify(|status| {
            status.running = Some(kind);
            status.maintenance = false;
        });
        machine.events.publish(&events::sequence(kind.as_str(), true), actor);
    }

    fn say_end(&self, kind: Kind, actor: &str, result: &Result<(), Halt>) {
        let machine = &self.machine;
        let failed = matches!(result, Err(Halt::Failed(_)));
        machine.node.sequence.send_modify(|status| {
            // One that ended well on the way down stays what the machine is doing.
            if !(kind.goes_down() && result.is_ok()) {
                status.running = None;
            }
            status.maintenance = false;
            status.booted |= kind == Kind::Boot && result.is_ok();
            status.failed |= failed;
        });
        match result {
            Ok(()) => {
                machine.events.publish(&events::sequence(kind.as_str(), false), actor);
                if kind == Kind::Boot {
                    log::info!(target: "boot", "done, {} ms after the kernel started", clock::since_boot().as_millis());
                }
            }
            Err(halt) => {
                let code = if failed { Code::Fatal } else { Code::Canceled };
                let text = daemon::report(halt).to_string();
                machine.events.publish(&events::sequence_refused(kind.as_str(), code, text), actor);
            }
        }
    }
}

/// One step of a sequence, for log, events and status.
fn tell(machine: &Machine, kind: Kind, actor: &str, progress: &Progress<'_>) {
    let target = if kind.goes_down() { "machined" } else { "boot" };
    match progress {
        Progress::PhaseStart { name, index, total, .. } => {
            // A way down that hangs shows where.
            if kind.goes_down() {
                log::info!(target: target, "phase {name} ({index}/{total})");
            }
            machine.events.publish(&events::phase(name, true), actor);
        }
        Progress::PhaseEnd { name, index, total, took } => {
            log::info!(target: target, "phase {name} ({index}/{total}): done, {} ms", took.as_millis());
            machine.events.publish(&events::phase(name, false), actor);
        }
        Progress::StepStart(name) => machine.events.publish(&events::task(name, true), actor),
        Progress::StepEnd(name, took) => {
            // Only what takes long is worth a line on a serial console.
            if *took >= Duration::from_millis(50) {
                log::info!(target: target, "task {name}: done, {} ms", took.as_millis());
            }
            machine.events.publish(&events::task(name, false), actor);
        }
        Progress::StepFailed(name, cause) => {
            let text = format!("task {name} failed: {}", daemon::report(*cause));
            log::error!(target: target, "{text}");
            machine.node.warnings.push(text);
            machine.events.publish(&events::task(name, false), actor);
        }
    }
}
