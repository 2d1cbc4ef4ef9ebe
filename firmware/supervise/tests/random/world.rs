//! The driver's side: which runs are there, what is owed to the machine, and the rules.

use std::{collections::HashMap, time::Duration};

use supervise::{
    Action, Condition, Event, Exit, FIRST_PAUSE, HealthCheck, Id, Kind, LONGEST_PAUSE, Machine, Publication, Restart, Signal, Spec, State,
};

/// Which state may follow which, written from the drawing and not from the code. A state that follows itself has news.
const LEGAL: [(State, &[State]); 9] = [
    (State::Initialized, &[State::Starting]),
    (State::Starting, &[State::Waiting, State::Preparing]),
    (State::Waiting, &[State::Waiting, State::Preparing, State::Starting, State::Finished]),
    // It runs, is not needed, could not be prepared, was not there long enough to be called running, or is told to end.
    (
        State::Preparing,
        &[State::Preparing, State::Running, State::Skipped, State::Failed, State::Waiting, State::Finished, State::Stopping],
    ),
    (State::Running, &[State::Running, State::Failed, State::Waiting, State::Finished, State::Stopping]),
    (State::Stopping, &[State::Stopping, State::Finished, State::Failed, State::Starting]),
    (State::Finished, &[State::Starting]),
    (State::Failed, &[State::Waiting, State::Starting]),
    (State::Skipped, &[State::Starting]),
];

/// How people are told that a service pauses before its next run.
const AGAIN: &str = "going to restart";

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Preparing,
    Launching,
    Running,
}

/// A run that exists, as the driver knows it.
struct Run {
    number: u64,
    stage: Stage,
    check: Option<u64>,
}

/// What was seen of a service.
#[derive(Default)]
struct Known {
    state: State,
    message: String,
    runs: Vec<Run>,
    /// It began to pause at this time, and nobody has asked for anything since.
    died: Option<Duration>,
}

/// How often things happened.
#[derive(Default)]
pub struct Seen {
    steps: u64,
    pairs: HashMap<(u8, u8), u64>,
    kills: u64,
    given_up: u64,
    pauses: u64,
}

impl Seen {
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.kills += other.kills;
        self.given_up += other.given_up;
        self.pauses += other.pauses;
        for (pair, count) in &other.pairs {
            *self.pairs.entry(*pair).or_default() += count;
        }
    }

    /// Every legal change has been seen, many times.
    pub fn expect_variety(&self) {
        assert!(self.steps > 500_000 && self.kills > 100 && self.given_up > 20 && self.pauses > 1000, "{}", self.steps);
        for (from, next) in LEGAL {
            for to in next {
                let count = self.pairs.get(&(from as u8, *to as u8)).copied().unwrap_or_default();
                assert!(count > 10, "{from:?} to {to:?}: {count} times");
            }
        }
    }
}

pub struct World {
    name: String,
    machine: Machine,
    specs: Vec<Spec>,
    known: Vec<Known>,
    conditions: [bool; 2],
    now: Duration,
    seen: Seen,
    stopping: bool,
}

fn id(place: usize) -> Id {
    format!("s{place}").into()
}

/// Takes the next choice out of a number.
fn pick(from: &mut u32, choices: u32) -> u32 {
    let choice = *from % choices;
    *from /= choices;
    choice
}

impl World {
    pub fn new(shape: &[u32; 3], name: String) -> Self {
        let [mut count, mut edges, mut kinds] = *shape;
        let count = 1 + pick(&mut count, 6) as usize;
        let specs: Vec<Spec> = (0..count).map(|place| spec(place, &mut edges, &mut kinds)).collect();
        let condition = |name: &str| Condition { name: name.into(), description: format!("{name} sync") };
        let mut machine = Machine::new(vec![condition("c0"), condition("c1")]);
        machine.add(specs.clone()).expect("each needs only earlier ones");
        let known = specs.iter().map(|_| Known::default()).collect();
        Self { name, machine, specs, known, conditions: [false; 2], now: Duration::ZERO, seen: Seen::default(), stopping: false }
    }

    /// Something happens, as the number says.
    pub fn act(&mut self, mut choice: u32) {
        let kind = pick(&mut choice, 24);
        let place = pick(&mut choice, u32::try_from(self.specs.len()).expect("few")) as usize;
        let actor: Id = ["", "x"][pick(&mut choice, 2) as usize].into();
        let id = id(place);
        match kind {
            0..3 => self.feed(Event::Start { id, actor }),
            3 => self.feed(Event::Stop { id, dependants: false, actor }),
            4 => self.feed(Event::Stop { id, dependants: true, actor }),
            5 => self.feed(Event::Restart { id, reason: "x".to_owned(), actor }),
            6 => {
                let which = place % 2;
                self.conditions[which] = !self.conditions[which];
                self.feed(Event::Condition { name: format!("c{which}").into(), met: self.conditions[which] });
            }
            7 => self.conditions_met(),
            8..11 => self.wake(),
            11 => {
                self.now += Duration::from_millis(u64::from(pick(&mut choice, 9000)));
                self.feed(Event::Tick);
            }
            12..20 => self.progress(place, &mut choice),
            20 => self.lie(place, &mut choice),
            21 if pick(&mut choice, 400) == 0 => {
                self.stopping = true;
                self.feed(Event::DenyStarts);
            }
            22 => self.broken(place),
            _ => self.answer_check(place, &mut choice),
        }
    }

    fn conditions_met(&mut self) {
        for (which, name) in ["c0", "c1"].into_iter().enumerate() {
            self.conditions[which] = true;
            self.feed(Event::Condition { name: name.into(), met: true });
        }
    }

    fn wake(&mut self) {
        if let Some(at) = self.machine.timer() {
            self.now = self.now.max(at);
            self.feed(Event::Tick);
        }
    }

    /// The oldest run of a service goes on, or ends.
    fn progress(&mut self, place: usize, choice: &mut u32) {
        let id = id(place);
        let Some(first) = self.known[place].runs.first_mut() else { return };
        let (run, stage) = (first.number, first.stage);
        match (stage, pick(choice, 6)) {
            (Stage::Preparing, 0) => {
                self.known[place].runs.remove(0);
                self.feed(Event::Prepared { id, run, result: Ok(false) });
            }
            (Stage::Preparing, 1) => {
                self.known[place].runs.remove(0);
                self.feed(Event::Prepared { id, run, result: Err("no".to_owned()) });
            }
            (Stage::Preparing, 2..5) => {
                // The machine says when it goes on.
                self.known[place].runs.remove(0);
                self.feed(Event::Prepared { id, run, result: Ok(true) });
            }
            (Stage::Launching, 0..5) => {
                first.stage = Stage::Running;
                self.feed(Event::Started { id, run, message: "Started".to_owned() });
            }
            (_, 5) | (Stage::Running, 4) => self.end(place, pick(choice, 2) == 0),
            _ => {}
        }
    }

    fn end(&mut self, place: usize, well: bool) {
        let run = self.known[place].runs.remove(0);
        let exit = if well { Exit::Success } else { Exit::Failure("Process ended: exit code 1".to_owned()) };
        let last_line = Some("last".to_owned());
        self.feed(Event::Ended { id: id(place), run: run.number, exit, last_line });
    }

    fn answer_check(&mut self, place: usize, choice: &mut u32) {
        let result = if pick(choice, 3) == 0 { Err("refused".to_owned()) } else { Ok(()) };
        let run = self.known[place].runs.first_mut().and_then(|run| Some((run.number, run.check.take()?)));
        if let Some((run, check)) = run {
            self.feed(Event::Checked { id: id(place), run, check, result });
        }
    }

    fn broken(&mut self, place: usize) {
        if let Some(run) = self.known[place].runs.first().map(|run| run.number) {
            self.feed(Event::Broken { id: id(place), run, reason: "it does not listen".to_owned() });
        }
    }

    /// Words about runs, checks, services and conditions that are not there.
    fn lie(&mut self, place: usize, choice: &mut u32) {
        let current = self.machine.run(&id(place)).unwrap_or_default();
        // Of the past, and of the future.
        let run = [0, u64::MAX][pick(choice, 2) as usize];
        let id = if pick(choice, 8) == 0 { "nobody".into() } else { id(place) };
        let before = (self.machine.state(&id).map(|(state, health)| (state, health.clone())), self.machine.run(&id));
        let lies = [
            Event::Prepared { id: Id::clone(&id), run, result: Ok(true) },
            Event::Started { id: Id::clone(&id), run, message: "lie".to_owned() },
            Event::Checked { id: Id::clone(&id), run: current, check: u64::MAX, result: Ok(()) },
            Event::Ended { id: Id::clone(&id), run, exit: Exit::Success, last_line: None },
            Event::Broken { id: Id::clone(&id), run, reason: "lie".to_owned() },
            Event::Condition { name: "moon".into(), met: true },
        ];
        let lie = lies[pick(choice, 6) as usize].clone();
        self.feed(lie);
        let after = (self.machine.state(&id).map(|(state, health)| (state, health.clone())), self.machine.run(&id));
        assert_eq!(before, after, "{}: a lie was believed", self.name);
    }

    /// All end, by timers alone: each run at once, when killed, or never.
    pub fn finish(mut self) -> Seen {
        let bound = self.now + self.machine.stop_bound();
        self.stopping = true;
        self.feed(Event::StopAll { actor: "end".into() });
        let mut steps = 0;
        while !self.machine.all_down() {
            let obedient = (0..self.known.len()).find(|place| {
                let told = self.known[*place].state == State::Stopping;
                let run = self.known[*place].runs.first().map_or(0, |run| run.number);
                told && run.is_multiple_of(3) && self.machine.run(&id(*place)) == Some(run)
            });
            match obedient {
                Some(place) => self.end(place, true),
                None => self.wake(),
            }
            steps += 1;
            assert!(steps < 1000, "{}: stopping makes no headway", self.name);
        }
        assert!(self.now <= bound, "{}: stopped at {:?}, the bound was {bound:?}", self.name, self.now);
        // Some may be left over; once those have ended there is nothing to wait for.
        for place in 0..self.known.len() {
            while !self.known[place].runs.is_empty() {
                self.end(place, true);
            }
            self.feed(Event::Start { id: id(place), actor: "".into() });
            assert!(self.known[place].runs.is_empty(), "{}: started while going down", self.name);
        }
        assert_eq!(self.machine.timer(), None, "{}", self.name);
        self.seen
    }

    fn feed(&mut self, event: Event) {
        self.seen.steps += 1;
        let actions = self.machine.step(self.now, event);
        assert!(actions.len() < 12 * self.specs.len() + 4, "{}: {} actions at once", self.name, actions.len());
        let mut answers = Vec::new();
        for action in actions {
            self.judge(action, &mut answers);
        }
        self.judge_state();
        answers.into_iter().for_each(|answer| self.feed(answer));
    }

    fn place(&self, id: &str) -> usize {
        self.specs.iter().position(|spec| *spec.id == *id).expect("one of ours")
    }

    fn judge(&mut self, action: Action, answers: &mut Vec<Event>) {
        let (name, now) = (self.name.clone(), self.now);
        match action {
            Action::Timer(at) => assert!(at.is_none_or(|at| at > now), "{name}: a timer for {at:?} at {now:?}"),
            Action::Publish(told) => self.judge_news(told),
            Action::HealthNote { id, .. } => {
                let known = &self.known[self.place(&id)];
                assert!(known.state == State::Running, "{name}: health of {id}, which is {:?}", known.state);
            }
            Action::Prepare { id, run } => self.begins(&id, Run { number: run, stage: Stage::Preparing, check: None }),
            Action::Run { id, run } => self.begins(&id, Run { number: run, stage: Stage::Launching, check: None }),
            Action::Check { id, run, check, .. } => {
                let place = self.place(&id);
                let found = self.known[place].runs.iter_mut().find(|known| known.number == run && known.stage == Stage::Running);
                found.unwrap_or_else(|| panic!("{name}: {id} is asked, but has no run {run}")).check = Some(check);
            }
            Action::Signal { id, run, signal } => {
                let place = self.place(&id);
                // Without a grace both words come at once, and the first may have helped.
                if answers.iter().any(|answer| matches!(answer, Event::Ended { run: ended, .. } if *ended == run)) {
                    return;
                }
                let found = self.known[place].runs.first().is_some_and(|known| known.number == run);
                assert!(found, "{name}: {signal:?} to run {run} of {id}, which is not there");
                self.seen.kills += u64::from(signal == Signal::Kill);
                // Most end at once when asked, or when made to.
                let obeys = if signal == Signal::Kill { run % 5 != 0 } else { run % 3 == 0 };
                if obeys && !self.stopping {
                    self.known[place].runs.remove(0);
                    answers.push(Event::Ended { id, run, exit: Exit::Success, last_line: None });
                }
            }
        }
    }

    /// A run begins: alone, wanted, with everything it needs, and not before its time.
    fn begins(&mut self, id: &str, run: Run) {
        let (place, name) = (self.place(id), &self.name);
        let Some(found) = self.specs.get(place) else { return };
        assert!(self.known[place].runs.is_empty(), "{name}: {id} has two runs");
        assert!(self.machine.is_wanted(id), "{name}: {id} is started though nobody wants it");
        let fresh = run.stage == Stage::Preparing || !found.prepares;
        if let (true, Some(died)) = (fresh, self.known[place].died.take()) {
            self.seen.pauses += 1;
            assert!(self.now >= died + FIRST_PAUSE, "{name}: {id} is started {:?} after it died", self.now - died);
        }
        self.known[place].runs.push(run);
    }

    fn judge_news(&mut self, told: Publication) {
        let place = self.place(&told.id);
        let (from, to) = (self.known[place].state, told.state);
        let legal = LEGAL.iter().any(|(state, next)| *state == from && next.contains(&to));
        assert!(legal, "{}: {} goes from {from:?} to {to:?}: {}", self.name, told.id, told.message);
        *self.seen.pairs.entry((from as u8, to as u8)).or_default() += 1;
        assert!(!told.message.is_empty(), "{}: {} is {to:?} without a word", self.name, told.id);
        assert!(told.health.healthy.is_none() || to == State::Running, "{}: {} is {to:?} and has a health", self.name, told.id);
        if to == State::Failed && told.message.contains("given up") {
            self.seen.given_up += 1;
        }
        if told.message.contains(AGAIN) {
            self.known[place].died = Some(self.now);
        } else if to == State::Starting {
            // Somebody asked for it, and does not have to wait.
            self.known[place].died = None;
        }
        self.known[place].state = to;
        self.known[place].message = told.message;
    }

    /// What must hold between any two events.
    fn judge_state(&self) {
        for (spec, known) in self.specs.iter().zip(&self.known) {
            let (name, id, wanted) = (&self.name, &spec.id, self.machine.is_wanted(&spec.id));
            let run = self.machine.run(id);
            let there = known.runs.first().map(|run| run.number);
            assert_eq!(self.machine.state(id).map(|(state, _)| state), Some(known.state), "{name}: {id} was not published");
            match known.state {
                State::Starting => panic!("{name}: {id} is left starting"),
                // What was given up on may still be there.
                State::Initialized | State::Finished | State::Skipped => {
                    assert!(!wanted && run.is_none(), "{name}: {id} is {:?} and wanted, or has a run", known.state);
                }
                State::Failed => assert!(!wanted && run.is_none(), "{name}: {id} has failed and is forgotten"),
                State::Waiting => {
                    assert!(wanted && run.is_none(), "{name}: {id} waits, wanted: {wanted}, in run {run:?}");
                    self.judge_wait(spec, known);
                }
                State::Preparing | State::Running | State::Stopping => {
                    assert!(run.is_some(), "{name}: {id} is {:?} without a run", known.state);
                    // Between a preparing that is done and the run there is a moment in which the driver has nothing.
                    assert!(there.is_none() || there == run, "{name}: {id} is in run {run:?}, there is {there:?}");
                    assert!(known.state != State::Running || there.is_some(), "{name}: {id} runs without a run");
                    let timed = self.machine.timer().is_some();
                    assert!(known.state != State::Stopping || timed, "{name}: {id} stops without a limit");
                }
            }
        }
    }

    /// A service that waits has a reason that is true, or a timer.
    fn judge_wait(&self, spec: &Spec, known: &Known) {
        let up = |id: &Id| match self.machine.state(id) {
            Some((State::Skipped, _)) => true,
            Some((State::Running, health)) => health.healthy == Some(true) || self.specs[self.place(id)].health.is_none(),
            _ => false,
        };
        let met = |name: &Id| self.conditions[usize::from(&**name == "c1")];
        let unmet = spec.depends.iter().any(|id| !up(id)) || spec.conditions.iter().any(|name| !met(name));
        let pause = known.died.filter(|_| known.message.contains(AGAIN)).map(|died| died + LONGEST_PAUSE);
        let pausing = pause.is_some_and(|end| self.now < end && self.machine.timer().is_some_and(|at| at <= end));
        assert!(unmet || pausing || !known.runs.is_empty(), "{}: {} waits for nothing: {}", self.name, spec.id, known.message);
    }
}

/// A service that needs only earlier ones.
fn spec(place: usize, edges: &mut u32, kinds: &mut u32) -> Spec {
    let mut spec = Spec::new(id(place), Kind::Process);
    for earlier in 0..place {
        match pick(edges, 4) {
            0 => spec.depends.push(id(earlier)),
            1 => spec.stops_before.push(id(earlier)),
            _ => {}
        }
    }
    let bits = pick(kinds, 32);
    spec.conditions = ["c0", "c1"].into_iter().filter(|_| bits & 3 == 3).map(Id::from).collect();
    spec.prepares = bits & 4 != 0;
    spec.health = (bits & 8 != 0).then(HealthCheck::default);
    spec.restart = [Restart::Always, Restart::Always, Restart::Never, Restart::UntilSuccess][(bits >> 3) as usize];
    spec.stop_grace = Duration::from_secs(u64::from(bits % 16));
    spec
}
