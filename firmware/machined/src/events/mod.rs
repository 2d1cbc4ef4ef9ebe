//! What happens on the node, as clients of the API see it.
//!
//! [`Events::publish`] never waits: entries go into a ring of [`CAPACITY`], of which all but [`GAP`] can be replayed.
//! A [`Subscription`] that falls out of the ring ends. [`mirror`] turns changes of the machine's stage and of its
//! addresses into events.

mod id;
mod mirror;
mod payload;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

pub use id::EventId;
pub use mirror::mirror;
pub use payload::{Payload, phase, sequence, sequence_refused, task};
use tokio::sync::watch;

/// Events kept.
pub const CAPACITY: usize = 1000;
/// The oldest ones are not replayed, so that a reader that starts there is not overtaken at once.
pub const GAP: usize = 10;

/// An event as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Sorts by time.
    pub id: EventId,
    /// Full message name (`machine.PhaseEvent`).
    pub name: &'static str,
    /// The encoded message.
    pub value: bytes::Bytes,
    /// The request that this belongs to; empty when none.
    pub actor: Arc<str>,
    /// When, since the Unix epoch.
    pub at: Duration,
}

/// What of the past a subscription starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    None,
    /// All that can be replayed.
    All,
    /// The last so many.
    Count(usize),
    /// All after this id.
    After(EventId),
    /// All since this moment, counted from the Unix epoch.
    Since(Duration),
}

/// The ring.
#[derive(Debug)]
pub struct Events {
    ring: Mutex<Ring>,
    written: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    entries: VecDeque<Arc<Entry>>,
    /// Number of the first entry in `entries`, counted from the start of the node.
    first: u64,
    ids: id::Generator,
}

impl Ring {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Number of the oldest entry that may be replayed.
    fn oldest(&self) -> u64 {
        self.first.max(self.next().saturating_sub((CAPACITY - GAP) as u64))
    }

    fn start(&self, tail: Tail) -> u64 {
        let after = |keep: &dyn Fn(&Entry) -> bool| {
            let found = self.entries.iter().position(|entry| keep(entry)).unwrap_or(self.entries.len());
            self.oldest().max(self.first + found as u64)
        };
        match tail {
            Tail::None => self.next(),
            Tail::All => self.oldest(),
            Tail::Count(count) => self.oldest().max(self.next().saturating_sub(count as u64)),
            Tail::After(id) => after(&|entry| entry.id > id),
            Tail::Since(at) => after(&|entry| entry.at >= at),
        }
    }
}

impl Events {
    /// No events yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { ring: Mutex::default(), written: watch::Sender::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event. `actor` is the id of the request that it belongs to, empty when none.
    pub fn publish<P: Payload>(&self, payload: &P, actor: &str) {
        let value = bytes::Bytes::from(payload.encode_to_vec());
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut ring = self.lock();
        let id = ring.ids.next(at.as_secs());
        if ring.entries.len() == CAPACITY {
            ring.entries.pop_front();
            ring.first += 1;
        }
        ring.entries.push_back(Arc::new(Entry { id, name: P::NAME, value, actor: actor.into(), at }));
        let next = ring.next();
        drop(ring);
        self.written.send_replace(next);
    }

    /// A walk over the past that `tail` names and over all that follows.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, tail: Tail) -> Subscription {
        let next = self.lock().start(tail);
        Subscription { events: Arc::clone(self), next, written: self.written.subscribe() }
    }
}

/// A walk over events.
#[derive(Debug)]
pub struct Subscription {
    events: Arc<Events>,
    next: u64,
    written: watch::Receiver<u64>,
}

impl Subscription {
    /// The next event, waiting for it; `None` when this reader was too slow and events are lost. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<Entry>> {
        loop {
            match self.try_next() {
                Next::Entry(entry) => return Some(entry),
                Next::Lost => return None,
                Next::Nothing => {
                    let next = self.next;
                    self.written.wait_for(|written| *written > next).await.ok()?;
                }
            }
        }
    }

    fn try_next(&mut self) -> Next {
        let ring = self.events.lock();
        let Some(offset) = self.next.checked_sub(ring.first) else { return Next::Lost };
        match usize::try_from(offset).ok().and_then(|offset| ring.entries.get(offset)) {
            Some(entry) => {
                self.next += 1;
                Next::Entry(Arc::clone(entry))
            }
            None => Next::Nothing,
        }
    }
}

enum Next {
    Entry(Arc<Entry>),
    Nothing,
    Lost,
}

#[cfg(test)]
mod tests;
