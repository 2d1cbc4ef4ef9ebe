//! What happened to the resources of one type, as much of it as is kept.

use std::{collections::VecDeque, sync::Arc};

use super::Event;

/// The newest events; each has a position that no other event of the type ever has.
#[derive(Debug)]
pub(super) struct History {
    events: VecDeque<Arc<Event>>,
    /// Position of the first one that is kept.
    first: u64,
    limit: usize,
}

impl History {
    pub(super) const fn new(limit: usize) -> Self {
        Self { events: VecDeque::new(), first: 0, limit }
    }

    pub(super) fn push(&mut self, event: Event) {
        if self.events.len() >= self.limit && self.events.pop_front().is_some() {
            self.first += 1;
        }
        if self.limit == 0 {
            self.first += 1;
        } else {
            self.events.push_back(Arc::new(event));
        }
    }

    /// Position of the next event.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.events.len()).unwrap_or(u64::MAX))
    }

    /// Position of the `count`th last event, or of the first one that is kept.
    pub(super) fn tail(&self, count: usize) -> u64 {
        self.end().saturating_sub(u64::try_from(count).unwrap_or(u64::MAX)).max(self.first)
    }

    /// At most so many events from a position on; `None` when they are not all kept, or the position is in the future.
    pub(super) fn from(&self, position: u64, most: usize) -> Option<impl Iterator<Item = &Arc<Event>>> {
        let skip = usize::try_from(position.checked_sub(self.first)?).ok()?;
        (skip <= self.events.len()).then(|| self.events.iter().skip(skip).take(most))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{Change, Key, Resource};

    fn event(number: u64) -> Event {
        let mut resource = Resource::new(Key::new("n", "k", "i"), Arc::new(true));
        (resource.metadata.version, resource.metadata.created) = (number, SystemTime::UNIX_EPOCH);
        Event { change: Change::Updated, resource: Arc::new(resource), old: None }
    }

    #[test]
    fn positions_outlive_what_is_kept() {
        let mut history = History::new(3);
        for number in 0..5 {
            history.push(event(number));
        }
        let versions = |position, most| {
            history.from(position, most).map(|events| events.map(|event| event.resource.metadata.version).collect::<Vec<_>>())
        };
        assert_eq!(versions(1, 9), None, "not kept");
        assert_eq!(versions(2, 9), Some(vec![2, 3, 4]));
        assert_eq!(versions(3, 1), Some(vec![3]));
        assert_eq!(versions(5, 9), Some(vec![]));
        assert_eq!(versions(6, 9), None, "in the future");
        assert_eq!((history.tail(2), history.tail(9), history.end()), (3, 2, 5));
    }

    #[test]
    fn nothing_need_be_kept() {
        let mut history = History::new(0);
        history.push(event(0));
        assert_eq!((history.end(), history.tail(1)), (1, 1));
        assert!(history.from(0, 1).is_none() && history.from(1, 1).is_some());
    }
}
