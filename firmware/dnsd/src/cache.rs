//! Answers that still hold. Pure: the time, since the daemon's start, is an argument.
//!
//! An answer is kept whole, a chain of names with what it leads to, and as long as its shortest record holds. Nothing is given
//! after that: what is stale is wrong more often than a name server is down (docs/decisions/0029).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::message::{Question, write::Answer};

/// What answers are kept by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The question, in lower case.
    pub question: Question,
    /// With signatures.
    pub signatures: bool,
    /// As it is, verified or not.
    pub unverified: bool,
}

impl Key {
    /// Bytes that it takes to keep it, here and in the order of use.
    fn size(&self) -> usize {
        self.question.name.as_bytes().len().saturating_add(size_of::<Self>())
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Answers.
    pub entries: usize,
    /// Bytes of all answers, with their questions and what it takes to find them.
    pub bytes: usize,
}

/// What finding an answer takes beside it, roughly.
const OVERHEAD: usize = 128;
/// One answer may take this part of all bytes.
const SHARE: usize = 16;

/// The answers, and which was used last.
#[derive(Debug)]
pub struct Cache {
    limits: Limits,
    entries: HashMap<Arc<Key>, Entry>,
    /// By the moment of the last use, counted.
    order: BTreeMap<u64, Arc<Key>>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    answer: Arc<Answer>,
    since: Duration,
    until: Duration,
    used: u64,
    size: usize,
}

impl Cache {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, entries: HashMap::new(), order: BTreeMap::new(), uses: 0, bytes: 0 }
    }

    /// An answer that still holds, and its age in seconds.
    pub fn get(&mut self, key: &Key, now: Duration) -> Option<(Arc<Answer>, u32)> {
        if self.entries.get(key).is_some_and(|entry| entry.until <= now) {
            self.remove(key);
        }
        self.uses = self.uses.saturating_add(1);
        let entry = self.entries.get_mut(key)?;
        if let Some(key) = self.order.remove(&entry.used) {
            self.order.insert(self.uses, key);
        }
        entry.used = self.uses;
        let age = u32::try_from(now.saturating_sub(entry.since).as_secs()).unwrap_or(u32::MAX);
        Some((Arc::clone(&entry.answer), age))
    }

    /// Keeps an answer that was got at `now`, in place of an earlier one; what was not used for longest makes room.
    pub fn put(&mut self, key: Key, answer: Arc<Answer>, now: Duration) {
        self.remove(&key);
        let size = key.size().saturating_add(answer.size()).saturating_add(OVERHEAD);
        if answer.lifetime == 0 || self.limits.entries == 0 || size > self.limits.bytes / SHARE {
            return;
        }
        while self.entries.len() >= self.limits.entries || self.bytes.saturating_add(size) > self.limits.bytes {
            let Some(oldest) = self.order.first_key_value().map(|(_, key)| Arc::clone(key)) else { return };
            self.remove(&oldest);
        }
        self.uses = self.uses.saturating_add(1);
        let until = now.saturating_add(Duration::from_secs(answer.lifetime.into()));
        let key = Arc::new(key);
        self.order.insert(self.uses, Arc::clone(&key));
        self.bytes = self.bytes.saturating_add(size);
        self.entries.insert(key, Entry { answer, since: now, until, used: self.uses, size });
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes = self.bytes.saturating_sub(entry.size);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.bytes, self.entries, self.order) = (0, HashMap::new(), BTreeMap::new());
    }

    /// Answers that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that they take.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{CLASS_IN, Name, Rcode, kind};

    fn key(name: &str) -> Key {
        let question = Question { name: Name::from_text(name).unwrap(), kind: kind::A, class: CLASS_IN };
        Key { question, signatures: false, unverified: false }
    }

    fn answer(key: &Key, lifetime: u32, length: usize) -> Arc<Answer> {
        let mut answer = Answer::own(&key.question, Rcode::NoError, lifetime, &[(99, vec![0; length])]);
        answer.lifetime = lifetime;
        Arc::new(answer)
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn answers_hold_to_the_last_moment_and_no_longer() {
        let mut cache = Cache::new(Limits { entries: 9, bytes: 1 << 20 });
        cache.put(key("a"), answer(&key("a"), 60, 4), seconds(100));
        assert_eq!(cache.get(&key("a"), seconds(159)).map(|(_, age)| age), Some(59));
        assert_eq!(cache.get(&Key { signatures: true, ..key("a") }, seconds(100)), None);
        assert_eq!(cache.get(&key("a"), seconds(160)), None);
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
        cache.put(key("a"), answer(&key("a"), 0, 4), seconds(100));
        assert!(cache.is_empty());
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let mut cache = Cache::new(Limits { entries: 2, bytes: 1 << 20 });
        for name in ["a", "b"] {
            cache.put(key(name), answer(&key(name), 60, 4), seconds(0));
        }
        assert!(cache.get(&key("a"), seconds(1)).is_some());
        cache.put(key("c"), answer(&key("c"), 60, 4), seconds(1));
        let there: Vec<_> = ["a", "b", "c"].into_iter().filter(|name| cache.get(&key(name), seconds(1)).is_some()).collect();
        assert_eq!(there, ["a", "c"]);
    }

    proptest! {
        /// Against a list that knows everything: never stale, never too much, the same every time.
        #[test]
        fn what_is_given_was_put_and_holds(steps in proptest::collection::vec((0_u8..20, 0_u32..50, 0_usize..300, 0_u64..20, any::<bool>()), 0..200)) {
            let limits = Limits { entries: 8, bytes: 8000 };
            let (mut cache, mut twin) = (Cache::new(limits), Cache::new(limits));
            let mut put = HashMap::new();
            let mut now = Duration::ZERO;
            for (number, lifetime, length, later, puts) in steps {
                now += seconds(later);
                let key = key(&format!("n{number}"));
                if puts {
                    let answer = answer(&key, lifetime, length);
                    put.insert(key.clone(), (Arc::clone(&answer), now));
                    cache.put(key.clone(), Arc::clone(&answer), now);
                    twin.put(key, answer, now);
                } else {
                    let found = cache.get(&key, now);
                    prop_assert_eq!(&found, &twin.get(&key, now));
                    if let Some((answer, age)) = found {
                        let (last, since) = &put[&key];
                        prop_assert!(Arc::ptr_eq(&answer, last) && seconds(age.into()) == now - *since && age < answer.lifetime);
                    }
                }
                prop_assert!(cache.len() <= limits.entries && cache.bytes() <= limits.bytes && cache.order.len() == cache.len());
                prop_assert_eq!(cache.bytes(), cache.entries.values().map(|entry| entry.size).sum::<usize>());
            }
        }
    }
}
