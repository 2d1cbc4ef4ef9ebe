//! The one task that owns the clock.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::join_all;
use linux::clock;
use machine_config::Time;
use tokio::time::{Instant, sleep_until};

use super::{
    Clock, TimeStatus,
    discipline::{Action, Discipline, Outcome, Round},
    exchange::{self, AskError},
    packet::{Measurement, Refused},
    shifted, shown,
    sources::{Source, Sources, Wish, servers},
};
use crate::node::{NetworkStatus, Node};

/// Rounds without a result before people are told: a network that has just come up needs a moment.
const QUIET_FAILURES: u32 = 3;
/// Questions in a round to a server that answers slower than it uses to.
const TRIES: usize = 3;

/// What a server's turn brought: its addresses, and the answer with where it came from.
type Turn = (Vec<SocketAddr>, Result<(SocketAddr, Measurement), AskError>);

/// What decides whether and whom to ask.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wanted {
    /// Nothing is asked before there is a decision about the configuration and an address.
    ready: bool,
    disabled: bool,
    servers: Vec<String>,
    boot_timeout: Option<Duration>,
    /// What the network is like: when it changes, what failed may work.
    network: (Vec<std::net::IpAddr>, Vec<std::net::IpAddr>),
}

/// The task.
pub(super) struct Client<C> {
    node: Arc<Node>,
    clock: C,
    floor: Duration,
    sources: Sources,
    discipline: Discipline,
    status: TimeStatus,
    failures: u32,
    told_spike: bool,
}

impl<C: Clock> Client<C> {
    pub fn new(node: Arc<Node>, floor: Duration, clock: C) -> Self {
        Self {
            node,
            clock,
            floor,
            sources: Sources::default(),
            discipline: Discipline::default(),
            status: TimeStatus::default(),
            failures: 0,
            told_spike: false,
        }
    }

    pub async fn run(mut self) {
        let (mut config, mut network) = (self.node.config.subscribe(), self.node.network.subscribe());
        let mut wanted = Wanted::default();
        let mut next = Instant::now();
        loop {
            let now = {
                let (config, network) = (config.borrow_and_update(), network.borrow_and_update());
                let time = config.active.as_ref().map(|active| active.config.time());
                self.wanted(config.settled, time, &network)
            };
            if now != wanted {
                if self.sources.set(&now.servers) || now.network != wanted.network {
                    self.discipline.hurry();
                    next = Instant::now();
                }
                wanted = now;
            }
            let expires = self.expires(&wanted);
            self.publish(&wanted, expires);
            let asks = wanted.ready && !wanted.disabled;
            tokio::select! {
                // The senders live in the node, which this task holds.
                _ = config.changed() => {}
                _ = network.changed() => {}
                () = sleep_until(next), if asks => next = Instant::now() + self.round().await,
                () = sleep_until(expires.unwrap_or(next)), if expires.is_some_and(|at| at > Instant::now()) => {}
            }
        }
    }

    fn wanted(&self, settled: bool, time: Option<&Time>, network: &NetworkStatus) -> Wanted {
        let addresses: Vec<_> = network.addresses().collect();
        Wanted {
            ready: settled && !addresses.is_empty(),
            disabled: time.is_some_and(|time| time.disabled),
            servers: servers(time, &network.time_servers),
            boot_timeout: time.and_then(|time| time.boot_timeout),
            network: (addresses, network.gateways.clone()),
        }
    }

    /// When waiting for the time ends whether it is known or not.
    fn expires(&self, wanted: &Wanted) -> Option<Instant> {
        let limit = wanted.boot_timeout.filter(|_| !self.discipline.synced())?;
        let since = clock::since_boot();
        // An instant in the past is as good as any other: the present one.
        Some(Instant::now() + limit.saturating_sub(since))
    }

    fn publish(&mut self, wanted: &Wanted, expires: Option<Instant>) {
        let expired = expires.is_some_and(|at| at <= Instant::now());
        let status = &mut self.status;
        if expired && !status.synced {
            log::warn!(target: "clock", "the time is not known yet, and nothing waits for it any longer (bootTimeout)");
        }
        status.synced = wanted.disabled || expired || self.discipline.synced();
        status.epoch = self.discipline.epoch();
        status.spikes = self.discipline.spikes();
        if status.disabled != wanted.disabled {
            log::info!(target: "clock", "time synchronisation is switched {}", if wanted.disabled { "off" } else { "on" });
        }
        status.disabled = wanted.disabled;
        if wanted.disabled {
            status.problem = None;
        }
        status.servers.clone_from(&wanted.servers);
        self.node.time.send_if_modified(|known| {
            let news = known != status;
            if news {
                known.clone_from(status);
            }
            news
        });
    }

    /// Asks, decides, acts; gives the pause before the next time.
    async fn round(&mut self) -> Duration {
        let asked = self.sources.next(clock::since_boot());
        let turns = join_all(asked.iter().map(|source| self.ask(source.clone()))).await;
        let mut answers = Vec::new();
        let mut problem = None;
        for (source, (addresses, result)) in asked.iter().zip(turns) {
            match result {
                Ok((address, measured)) => {
                    self.sources.answered(&source.name, addresses, address, measured.delay);
                    answers.push(measured);
                }
                Err(error) => {
                    self.sources.failed(&source.name, wish(&error), clock::since_boot());
                    problem.get_or_insert_with(|| daemon::report(&error).to_string());
                }
            }
        }
        let problem = problem.unwrap_or_else(|| "every server asked to be left alone".to_owned());
        let round = self.discipline.round(&answers, self.sources.len());
        self.act(&round, &asked);
        self.tell(&round, &problem);
        round.pause
    }

    /// Asks one server: its addresses in turn until one answers, and that one again while it is slower than usual.
    async fn ask(&self, mut source: Source) -> Turn {
        if source.addresses.is_empty() {
            match exchange::resolve(&source.name).await {
                Ok(addresses) => source.resolved(addresses),
                Err(error) => return (Vec::new(), Err(error)),
            }
        }
        let mut last = AskError::NoAddress { server: source.name.clone() };
        for address in source.addresses.clone() {
            let mut best: Option<Measurement> = None;
            for _ in 0..TRIES {
                match exchange::ask(address, || self.clock.now(), self.floor).await {
                    Ok(measured) => best = Some(best.filter(|best| best.delay <= measured.delay).unwrap_or(measured)),
                    Err(error) => {
                        last = error;
                        break;
                    }
                }
                if !best.is_some_and(|best| source.is_slow(best.delay)) {
                    break;
                }
            }
            if let Some(best) = best {
                return (source.addresses, Ok((address, best)));
            }
        }
        (Vec::new(), Err(last))
    }

    fn act(&mut self, round: &Round, asked: &[Source]) {
        let adjustment = match round.action {
            Action::Leave => return,
            Action::Slew(adjustment) => adjustment,
            Action::Jump(by, adjustment) => {
                let before = self.clock.now();
                if let Err(error) = self.clock.jump(by) {
                    return self.complain(&daemon::report(&error).to_string());
                }
                let names: Vec<_> = asked.iter().map(|source| source.name.as_str()).collect();
                log::info!(
                    target: "clock",
                    "set from {} to {} ({:+.3} s) by {}",
                    shown(before), shown(shifted(before, by)), by as f64 / 1e9, names.join(", ")
                );
                adjustment
            }
        };
        match self.clock.adjust(&adjustment) {
            Ok(state) => self.status.clock = Some(state),
            Err(error) => self.complain(&daemon::report(&error).to_string()),
        }
        if let Action::Jump(..) = round.action
            && let Err(error) = self.clock.keep()
        {
            self.complain(&daemon::report(&error).to_string());
        }
    }

    fn complain(&self, text: &str) {
        log::warn!(target: "clock", "{text}");
        self.node.warnings.push(format!("clock: {text}"));
    }

    /// One line when servers fall silent, one when they speak again.
    fn tell(&mut self, round: &Round, problem: &str) {
        let text = match round.outcome {
            Outcome::Good => {
                if self.status.clock.is_some() && !self.status.synced {
                    log::info!(target: "clock", "synchronised");
                } else if self.failures >= QUIET_FAILURES {
                    log::info!(target: "clock", "synchronised again");
                }
                (self.failures, self.told_spike, self.status.problem) = (0, false, None);
                return;
            }
            Outcome::Spike(offset) => {
                let text = format!("servers say that the clock is {:+.3} s off; it is set when they go on saying so", offset as f64 / 1e9);
                if !std::mem::replace(&mut self.told_spike, true) {
                    self.complain(&text);
                }
                self.status.problem = Some(text);
                return;
            }
            Outcome::Silence => format!("no time server answers: {problem}"),
            Outcome::Discord => "time servers do not agree with each other".to_owned(),
            Outcome::TooFew => "one time server alone is not believed while others are configured".to_owned(),
        };
        self.failures = self.failures.saturating_add(1);
        if self.failures == QUIET_FAILURES {
            let state = if self.discipline.synced() { "it runs on by itself" } else { "it is not synchronised" };
            self.complain(&format!("{text}; {state}, and this is tried on quietly"));
        }
        self.status.problem = Some(text);
    }
}

/// What a server that refused wants.
fn wish(error: &AskError) -> Option<Wish> {
    match error {
        AskError::Refused { source, .. } if source.is_rate() => Some(Wish::Less),
        AskError::Refused { source: Refused::KissOfDeath(code), .. } if ["DENY", "RSTR"].contains(&code.as_str()) => Some(Wish::Never),
        _ => None,
    }
}
