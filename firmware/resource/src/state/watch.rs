//! A place in the history of a type.

use std::sync::Arc;

use super::{Change, Collection, Event, Place, State};
use crate::{Key, Query, Resource};

/// A bookmark: the state's epoch, then the position of the next event, both with the highest byte first.
const BOOKMARK: usize = 16;

/// Why a watch cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// More has happened since the last look than is kept.
    #[error("the watch on {} in {} came too late: more has happened than is kept; begin anew with the present contents", place.kind, place.namespace)]
    Behind {
        /// What is watched.
        place: Place,
    },
    /// Not one of this state's bookmarks, or one from before what is kept.
    #[error("the bookmark is not known (any more): begin anew with the present contents")]
    Bookmark,
}

/// What is watched of a type.
#[derive(Clone, Debug)]
pub enum Target {
    /// One resource by id.
    One(Arc<str>),
    /// All that are meant; one that begins or ceases to be meant is told as created or destroyed.
    All(Query),
}

/// What is told first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start<'a> {
    /// What one resource is now; of many nothing.
    #[default]
    Now,
    /// [`Delivery::Started`], then as [`Start::Now`]: a place to come back to.
    Marked,
    /// All that there is, then [`Delivery::Bootstrapped`].
    Contents,
    /// The newest events, as many of so many as are kept.
    Tail(usize),
    /// All that happened since the bookmark of a delivery.
    Bookmark(&'a [u8]),
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Something happened; for [`Start::Contents`] each resource is told as created.
    Changed {
        /// What.
        change: Change,
        /// The resource after it, or as it was last.
        resource: Arc<Resource>,
        /// The resource before an update.
        old: Option<Arc<Resource>>,
        /// To go on from here.
        bookmark: [u8; BOOKMARK],
    },
    /// The one resource does not exist.
    Absent {
        /// Which.
        key: Key,
        /// To go on from here.
        bookmark: [u8; BOOKMARK],
    },
    /// All that there was has been told.
    Bootstrapped {
        /// To go on from here.
        bookmark: [u8; BOOKMARK],
    },
    /// The watch has begun.
    Started {
        /// To go on from here.
        bookmark: [u8; BOOKMARK],
    },
}

/// A watch. It holds no part of the state and costs it nothing.
#[derive(Clone, Debug)]
pub struct Watch {
    place: Place,
    target: Target,
    /// Position of the next event to look at.
    position: u64,
}

impl Watch {
    /// A watch, and what it tells first.
    ///
    /// # Errors
    /// [`WatchError::Bookmark`].
    pub fn start(state: &State, place: Place, target: Target, start: Start<'_>) -> Result<(Self, Vec<Delivery>), WatchError> {
        let collection = state.places.get(&place);
        let end = collection.map_or(0, |collection| collection.history.end());
        let bookmark = bookmark(state.epoch, end);
        let created =
            |resource: &Arc<Resource>| Delivery::Changed { change: Change::Created, resource: Arc::clone(resource), old: None, bookmark };
        let mut first = Vec::new();
        if start == Start::Marked {
            first.push(Delivery::Started { bookmark });
        }
        let position = match start {
            Start::Tail(count) => collection.map_or(0, |collection| collection.history.tail(count)),
            Start::Bookmark(bytes) => {
                let position = known(state.epoch, bytes)?;
                let kept = collection.map_or(position == 0, |collection| collection.history.from(position, 0).is_some());
                if kept { position } else { return Err(WatchError::Bookmark) }
            }
            Start::Now | Start::Marked | Start::Contents => {
                match &target {
                    Target::One(id) => {
                        let key = Key { namespace: Arc::clone(&place.namespace), kind: Arc::clone(&place.kind), id: Arc::clone(id) };
                        first.push(state.get(&key).map_or(Delivery::Absent { key, bookmark }, created));
                    }
                    Target::All(query) if start == Start::Contents => first.extend(state.list(&place, query).map(created)),
                    Target::All(_) => {}
                }
                if start == Start::Contents {
                    first.push(Delivery::Bootstrapped { bookmark });
                }
                end
            }
        };
        Ok((Self { place, target, position }, first))
    }

    /// What has happened since the last look, at most `most` events of the type at once; empty when there is nothing left.
    ///
    /// # Errors
    /// [`WatchError::Behind`]; then nothing can be told any more.
    pub fn look(&mut self, state: &State, most: usize) -> Result<Vec<Delivery>, WatchError> {
        let mut told = Vec::new();
        while told.is_empty() {
            let Some(collection) = state.places.get(&self.place) else { break };
            let from = self.position;
            self.pass(state.epoch, collection, most, &mut told)?;
            if self.position == from {
                break;
            }
        }
        Ok(told)
    }

    fn pass(&mut self, epoch: u64, collection: &Collection, most: usize, told: &mut Vec<Delivery>) -> Result<(), WatchError> {
        let events = collection.history.from(self.position, most.max(1));
        for event in events.ok_or_else(|| WatchError::Behind { place: self.place.clone() })? {
            self.position = self.position.saturating_add(1);
            if let Some((change, old)) = self.target.sees(event) {
                let resource = Arc::clone(&event.resource);
                told.push(Delivery::Changed { change, resource, old, bookmark: bookmark(epoch, self.position) });
            }
        }
        Ok(())
    }
}

impl Target {
    /// What an event is to who watches this; `None` for nothing.
    fn sees(&self, event: &Event) -> Option<(Change, Option<Arc<Resource>>)> {
        let as_it_is = || (event.change, event.old.clone());
        let query = match self {
            Self::One(id) => return (event.resource.metadata.key.id == *id).then(as_it_is),
            Self::All(query) => query,
        };
        let now = query.matches(&event.resource.metadata);
        match &event.old {
            None => now.then(as_it_is),
            Some(old) => match (query.matches(&old.metadata), now) {
                (true, true) => Some(as_it_is()),
                (false, true) => Some((Change::Created, None)),
                (true, false) => Some((Change::Destroyed, None)),
                (false, false) => None,
            },
        }
    }
}

fn bookmark(epoch: u64, position: u64) -> [u8; BOOKMARK] {
    let mut bytes = [0; BOOKMARK];
    let both = epoch.to_be_bytes().into_iter().chain(position.to_be_bytes());
    bytes.iter_mut().zip(both).for_each(|(place, byte)| *place = byte);
    bytes
}

/// The position that one of this state's bookmarks stands for.
fn known(epoch: u64, bytes: &[u8]) -> Result<u64, WatchError> {
    let (theirs, position) = bytes.split_first_chunk::<8>().ok_or(WatchError::Bookmark)?;
    let position: [u8; 8] = position.try_into().map_err(|_| WatchError::Bookmark)?;
    if u64::from_be_bytes(*theirs) == epoch { Ok(u64::from_be_bytes(position)) } else { Err(WatchError::Bookmark) }
}
