//! From a client's bytes to the bytes of the answer: what is known here, what is kept, and what has to be asked for.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::dnsd::{DnsdConfig, Transport};

use crate::{
    cache::{Cache, Key, Limits},
    forward::Forwarder,
    local::Names,
    message::{
        NotAsked, Query, Rcode,
        write::{self, Answer},
    },
};

/// Most different questions that are asked at the same time: each has up to four ports, and the process 1,024 descriptors.
const IN_FLIGHT: usize = 128;
/// How long it holds that nobody knows, seconds: the least that a resolver has to remember that for (RFC 9520, section 3.2).
const FAILURE: u32 = 1;

/// What every client's question goes through.
#[derive(Debug)]
pub struct Resolver {
    state: Mutex<State>,
    forwarder: Arc<Forwarder>,
    started: Instant,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug)]
struct State {
    names: Names,
    cache: Cache,
    /// Who is asked, and how much is kept of that.
    cached: (Vec<SocketAddr>, Limits),
    /// How often that changed: what was asked before is not kept.
    changes: u64,
    flights: HashMap<Key, watch::Receiver<Option<Arc<Answer>>>>,
}

/// What to do about a client's bytes.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Ignore,
    /// Send this.
    Reply(Vec<u8>),
    /// Others know: [`Resolver::ask`].
    Ask(Box<Query>),
}

/// Ends a flight however its task ends.
struct Landing {
    resolver: Arc<Resolver>,
    key: Key,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.resolver.state().flights.remove(&self.key);
    }
}

impl Resolver {
    /// Knows and keeps nothing yet; what it asks for is asked by tasks of `tasks`, until `stop`.
    #[must_use]
    pub fn new(forwarder: Arc<Forwarder>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let limits = Limits { entries: 0, bytes: 0 };
        let cached = (Vec::new(), limits);
        let state = State { names: Names::default(), cache: Cache::new(limits), cached, changes: 0, flights: HashMap::new() };
        Self { state: Mutex::new(state), forwarder, started: Instant::now(), tasks, stop }
    }

    /// Takes another configuration. Other servers may know other names, so what the former ones said is forgotten.
    pub fn set(&self, config: &DnsdConfig) {
        self.forwarder.set(&config.upstreams, &config.listen);
        let mut state = self.state();
        state.names = Names::new(&config.hosts, config.single_labels);
        let limits = Limits { entries: config.cache_entries, bytes: config.cache_bytes };
        let cached = (config.upstreams.clone(), limits);
        if state.cached != cached {
            (state.cache, state.cached) = (Cache::new(limits), cached);
            state.changes = state.changes.saturating_add(1);
        }
    }

    /// What becomes of a client's bytes.
    #[must_use]
    pub fn begin(&self, message: &[u8], transport: Transport) -> Step {
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(NotAsked::Noise) => return Step::Ignore,
            Err(NotAsked::Unreadable(id, flags, _)) => return Step::Reply(write::refusal(id, flags, Rcode::FormErr)),
            Err(NotAsked::Unknown(id, flags)) => return Step::Reply(write::refusal(id, flags, Rcode::NotImp)),
        };
        let limit = limit(&query, transport);
        let question = query.question.lower();
        if query.edns.is_some_and(|edns| edns.version > 0) {
            return Step::Reply(Answer::own(&question, Rcode::BadVers, 0, &[]).reply(&query, 0, limit));
        }
        let mut state = self.state();
        if let Some(answer) = state.names.answer(&question) {
            return Step::Reply(answer.reply(&query, 0, limit));
        }
        match state.cache.get(&key(&query), self.started.elapsed()) {
            Some((answer, age)) => Step::Reply(answer.reply(&query, age, limit)),
            None => Step::Ask(Box::new(query)),
        }
    }

    /// Asks others, once for all who ask the same meanwhile.
    pub async fn ask(self: &Arc<Self>, query: &Query, transport: Transport) -> Vec<u8> {
        let answer = match self.flight(key(query)) {
            Some(mut flight) => flight.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone()),
            None => None,
        };
        let answer = answer.unwrap_or_else(|| Arc::new(nobody_knows(&key(query))));
        answer.reply(query, 0, limit(query, transport))
    }

    /// The task that asks, started unless there is one; `None` when there are too many.
    fn flight(self: &Arc<Self>, key: Key) -> Option<watch::Receiver<Option<Arc<Answer>>>> {
        let mut state = self.state();
        if let Some(flight) = state.flights.get(&key) {
            return Some(flight.clone());
        }
        if state.flights.len() >= IN_FLIGHT {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        state.flights.insert(key.clone(), receiver.clone());
        let (resolver, changes) = (Arc::clone(self), state.changes);
        // The task may end here and now, and takes the state when it does.
        drop(state);
        let landing = Landing { resolver: Arc::clone(self), key };
        let asking = async move {
            // The forwarder has a limit of its own.
            let asked = resolver.forwarder.ask(&landing.key).await;
            let mut answer = asked.unwrap_or_else(|| nobody_knows(&landing.key));
            if !matches!(answer.rcode(), Rcode::NoError | Rcode::NxDomain) {
                answer.lifetime = FAILURE;
            }
            let answer = Arc::new(answer);
            resolver.keep(landing.key.clone(), &answer, changes);
            drop(landing);
            // Who asked may have gone away.
            drop(sender.send(Some(answer)));
        };
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(asking));
        Some(receiver)
    }

    /// Keeps an answer, unless others would be asked by now.
    fn keep(&self, key: Key, answer: &Arc<Answer>, changes: u64) {
        let mut state = self.state();
        if state.changes == changes {
            state.cache.put(key, Arc::clone(answer), self.started.elapsed());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(query: &Query) -> Key {
    Key { question: query.question.lower(), signatures: query.signatures(), unverified: query.unverified() }
}

fn nobody_knows(key: &Key) -> Answer {
    Answer::own(&key.question, Rcode::ServFail, 0, &[])
}

fn limit(query: &Query, transport: Transport) -> usize {
    match transport {
        Transport::Udp => write::udp_limit(query),
        Transport::Tcp => write::LONGEST,
    }
}
