//! Watches on the wire.

use std::collections::VecDeque;

use futures_util::stream;
use resource::{Change, Delivery, Place, Start, Target, WatchError};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use wire::cosi::{Event, EventType, WatchRequest, WatchResponse};

use super::{Replies, convert};
use crate::{Store, Watching};

/// Events in one message, when several may be.
const TOGETHER: usize = 128;

/// Where a stream of answers is.
struct Answers {
    watching: Watching,
    /// The empty message is still to be sent.
    greets: bool,
    /// What is to be sent before the watch is asked again.
    ready: VecDeque<Delivery>,
    /// Deliveries in one message.
    together: usize,
    /// The client knows events that are not changes.
    knows_all: bool,
    stop: CancellationToken,
    ended: bool,
}

/// First an empty message: the watch is there. Then what was asked for, then what happens.
pub(super) fn answers(
    store: &Store,
    place: &Place,
    request: &WatchRequest,
    stop: CancellationToken,
) -> Result<Replies<WatchResponse>, Status> {
    let options = request.options.clone().unwrap_or_default();
    let tail = usize::try_from(options.tail_events).unwrap_or(0);
    let target = match &request.id {
        Some(_) if options.bootstrap_contents => return Err(unsupported("bootstrap contents")),
        Some(_) if !options.label_query.is_empty() => return Err(unsupported("a label query")),
        Some(id) => Target::One(id.as_str().into()),
        None => Target::All(convert::query(&options.label_query, options.id_query.as_ref())?),
    };
    let start = match &options.start_from_bookmark {
        Some(_) if tail > 0 => return Err(Status::invalid_argument("a watch begins at a bookmark or some events back, not both")),
        _ if options.bootstrap_contents && (tail > 0 || options.start_from_bookmark.is_some()) => {
            return Err(Status::invalid_argument("a watch begins with the contents or in the past, not both"));
        }
        Some(bookmark) => Start::Bookmark(bookmark),
        None if options.bootstrap_contents => Start::Contents,
        None if tail > 0 => Start::Tail(tail),
        None if options.bootstrap_bookmark => Start::Marked,
        None => Start::Now,
    };
    let (watching, first) =
        store.watch(place, target, start).map_err(|error| Status::failed_precondition(daemon::report(&error).to_string()))?;
    let answers = Answers {
        watching,
        greets: true,
        ready: first.into(),
        together: if options.aggregated { TOGETHER } else { 1 },
        knows_all: request.api_version >= 1,
        stop,
        ended: false,
    };
    Ok(Box::pin(stream::unfold(answers, |mut answers| async { answers.next().await.map(|answer| (answer, answers)) })))
}

fn unsupported(what: &str) -> Status {
    Status::unimplemented(format!("{what} is for watches on a whole type"))
}

impl Answers {
    /// The next message; converted only now, so that a slow client keeps no copies.
    async fn next(&mut self) -> Option<Result<WatchResponse, Status>> {
        if std::mem::take(&mut self.greets) {
            return Some(Ok(WatchResponse::default()));
        }
        while !self.ended {
            let some = self.ready.drain(..self.together.min(self.ready.len()));
            let known = some.filter(|delivery| self.knows_all || !matches!(delivery, Delivery::Bootstrapped { .. }));
            let events: Vec<Event> = match known.map(|delivery| event(&delivery)).collect() {
                Ok(events) => events,
                Err(status) => return self.end(Err(status)),
            };
            if !events.is_empty() {
                return Some(Ok(WatchResponse { event: events }));
            }
            if !self.ready.is_empty() {
                continue;
            }
            tokio::select! {
                () = self.stop.cancelled() => self.ended = true,
                told = self.watching.next(TOGETHER) => match told {
                    Ok(told) => self.ready.extend(told),
                    Err(error) => {
                        let last = self.last(&error);
                        return self.end(last);
                    }
                },
            }
        }
        None
    }

    fn end(&mut self, last: Result<WatchResponse, Status>) -> Option<Result<WatchResponse, Status>> {
        self.ended = true;
        Some(last)
    }

    /// How a client learns that it came too late.
    fn last(&self, error: &WatchError) -> Result<WatchResponse, Status> {
        let text = daemon::report(error).to_string();
        if !self.knows_all {
            return Err(Status::aborted(text));
        }
        Ok(WatchResponse { event: vec![Event { event_type: EventType::Errored.into(), error: Some(text), ..Event::default() }] })
    }
}

fn event(delivery: &Delivery) -> Result<Event, Status> {
    let (event_type, resource, old, bookmark) = match delivery {
        Delivery::Changed { change, resource, old, bookmark } => {
            let event_type = match change {
                Change::Created => EventType::Created,
                Change::Updated => EventType::Updated,
                Change::Destroyed => EventType::Destroyed,
            };
            let old = old.as_ref().map(|old| convert::resource(old)).transpose()?;
            (event_type, Some(convert::resource(resource)?), old, bookmark)
        }
        Delivery::Absent { key, bookmark } => (EventType::Destroyed, Some(convert::tombstone(key)), None, bookmark),
        Delivery::Bootstrapped { bookmark } => (EventType::Bootstrapped, None, None, bookmark),
        Delivery::Started { bookmark } => (EventType::Noop, None, None, bookmark),
    };
    Ok(Event { resource, event_type: event_type.into(), old, error: None, bookmark: Some(bookmark.to_vec()) })
}
