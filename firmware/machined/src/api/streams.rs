//! Logs and events as streams.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use linux::clock;
use tonic::Status;
use wire::{
    common::{ContainerDriver, Data},
    machine::{Event, EventsRequest, LogsRequest},
};

use super::{Context, Replies};
use crate::events::{Entry, EventId, Tail};

/// Largest piece of a log in one message, bytes.
const LOG_CHUNK: usize = 16 * 1024;

/// Bytes as a message of a stream.
pub(super) fn data(bytes: impl Into<bytes::Bytes>) -> Data {
    Data { metadata: None, bytes: bytes.into() }
}

/// Ends a stream when the node goes down.
pub(super) fn until_stop<T: Send + 'static>(
    context: &Context,
    stream: impl futures_util::Stream<Item = Result<T, Status>> + Send + 'static,
) -> Replies<T> {
    Box::pin(stream.take_until(context.stop.clone().cancelled_owned()))
}

pub(super) fn logs(context: &Context, request: LogsRequest) -> Result<Replies<Data>, Status> {
    if request.namespace.is_empty() {
        return Err(Status::invalid_argument("a namespace is needed"));
    }
    let driver = ContainerDriver::try_from(request.driver)
        .map_err(|_| Status::invalid_argument(format!("container driver {} is unknown", request.driver)))?;
    if driver != ContainerDriver::Containerd || request.namespace != "system" {
        return Err(Status::unimplemented("logs of containers are not in this version"));
    }
    let ring = context.sources.logs.get(&request.id);
    let ring = ring.ok_or_else(|| Status::unknown(format!("log {:?} was not registered", request.id)))?;
    let reader = ring.reader(usize::try_from(request.tail_lines).ok());
    let follow = request.follow;
    let pieces = stream::unfold(reader, move |mut reader| async move {
        loop {
            if let Some(bytes) = reader.read(LOG_CHUNK) {
                return Some((Ok(data(bytes)), reader));
            }
            if !follow {
                return None;
            }
            reader.wait().await;
        }
    });
    Ok(until_stop(context, pieces))
}

/// What of the past a request asks for. `now` counts from the Unix epoch.
fn tail(request: &EventsRequest, now: Duration) -> Result<Tail, Status> {
    if !request.tail_id.is_empty() {
        let id: EventId = request.tail_id.parse().map_err(|error| Status::invalid_argument(format!("tail_id: {error}")))?;
        return Ok(Tail::After(id));
    }
    if let Ok(seconds @ 1..) = u64::try_from(request.tail_seconds) {
        return Ok(Tail::Since(now.saturating_sub(Duration::from_secs(seconds))));
    }
    Ok(match usize::try_from(request.tail_events) {
        Ok(0) => Tail::None,
        Ok(count) => Tail::Count(count),
        Err(_) => Tail::All,
    })
}

pub(super) fn events(context: &Context, request: EventsRequest) -> Result<Replies<Event>, Status> {
    let subscription = context.sources.events.subscribe(tail(&request, clock::now())?);
    let actor = request.with_actor_id;
    let live = stream::unfold((subscription, actor), |(mut subscription, actor)| async move {
        loop {
            // None: this reader was too slow; the stream ends, the client asks again.
            let entry = subscription.next().await?;
            if actor.is_empty() || *entry.actor == *actor {
                return Some((Ok(wire_event(&entry)), (subscription, actor)));
            }
        }
    });
    // The first message is empty: it tells the client that from now on nothing is missed.
    let hello = stream::once(std::future::ready(Ok(Event::default())));
    Ok(until_stop(context, hello.chain(live)))
}

fn wire_event(entry: &Arc<Entry>) -> Event {
    let data = prost_types::Any { type_url: format!("{}{}", wire::EVENT_TYPE_PREFIX, entry.name), value: entry.value.to_vec() };
    Event { metadata: None, data: Some(data), id: entry.id.to_string(), actor_id: entry.actor.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tail_events: i32, tail_seconds: i32, tail_id: &str, wanted: Option<Tail>) {
        let request = EventsRequest { tail_events, tail_seconds, tail_id: tail_id.into(), with_actor_id: String::new() };
        assert_eq!(tail(&request, Duration::from_secs(100)).ok(), wanted);
    }

    #[test]
    fn tails_are_read_from_requests() {
        check(0, 0, "", Some(Tail::None));
        check(-1, 0, "", Some(Tail::All));
        check(5, 0, "", Some(Tail::Count(5)));
        check(5, 30, "", Some(Tail::Since(Duration::from_secs(70))));
        check(0, 300, "", Some(Tail::Since(Duration::ZERO)));
        check(0, -3, "", Some(Tail::None));
        check(0, 0, "nonsense", None);
    }
}
