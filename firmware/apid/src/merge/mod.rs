//! Replies of several nodes as one, on encoded messages.
//!
//! - [`Fan`]: the reply's body. It works while the client reads it: no task, no queue. A client that is slow makes the nodes wait,
//!   one that goes away drops the calls to them;
//! - `leg`: the part of one node; `frames`: messages cut out of what arrives; `entry`: what a message becomes (pure).
//!
//! A message is in memory whole before it is passed on, so that a node that stalls within one holds up none of the others. What
//! all merged calls together may hold is a budget.

mod entry;
mod frames;
mod leg;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Stream, stream::SelectAll};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status, body::Body};

use crate::{deadline::Deadline, route::Merge};
pub(crate) use leg::Calling;
use leg::{Leg, Piece};

/// Bytes that messages of all merged calls may take together. The control group has 128 MiB; the windows of stalled calls take at
/// most 30 of them (see `forward`).
const BUDGET: usize = 48 * 1024 * 1024;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The room for merged calls. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET)))
    }
}

impl Budget {
    /// The one message of a request that is for several nodes, as it came, with the room that it takes.
    pub(crate) async fn request(&self, mut body: Body) -> Result<Bytes, Status> {
        let one = || Status::invalid_argument("a call for several nodes takes one message");
        let mut frames = frames::Frames::new(Arc::clone(&self.0));
        let mut whole = None;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| lost_request(&error))?.into_data() else { break };
            frames.push(data);
            while let Some(message) = frames.cut()? {
                if whole.replace(message).is_some() {
                    return Err(one());
                }
            }
        }
        let message = whole.filter(|_| frames.is_between()).ok_or_else(one)?;
        Ok(held(framed(&message.payload), Some(message.room)))
    }
}

fn lost_request(error: &Status) -> Status {
    Status::cancelled(format!("the request was not received completely: {}", error.message()))
}

/// The merged reply, as a response that has begun.
pub(crate) fn respond(legs: Vec<(String, Calling)>, merge: Merge, deadline: Deadline, budget: &Budget) -> Response<Body> {
    let legs = legs.into_iter().map(|(name, calling)| Leg::new(name, merge, deadline, Arc::clone(&budget.0), calling).pieces());
    let fan = Fan { legs: legs.collect(), merge, parts: VecDeque::new(), length: 0, phase: Phase::Gathering };
    let mut response = Response::new(Body::new(fan));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The merged reply's body.
struct Fan {
    legs: SelectAll<Pin<Box<dyn Stream<Item = Piece> + Send>>>,
    merge: Merge,
    /// The one message's parts in order of arrival. They are sent once all are there.
    parts: VecDeque<Bytes>,
    length: usize,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nodes are still to answer.
    Gathering,
    /// The one message is complete.
    Sending,
    /// Nothing follows.
    Ended,
}

impl Fan {
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Frame<Bytes>> {
        Poll::Ready(match ready!(Pin::new(&mut self.legs).poll_next(cx)) {
            Some(Piece { bytes, room }) => Frame::data(held(framed(&bytes), room)),
            None => self.end(&Status::new(Code::Ok, "")),
        })
    }

    fn poll_unary(&mut self, cx: &mut Context<'_>) -> Poll<Frame<Bytes>> {
        while self.phase == Phase::Gathering {
            match ready!(Pin::new(&mut self.legs).poll_next(cx)) {
                Some(Piece { bytes, room }) => {
                    self.length += bytes.len();
                    self.parts.push_back(held(bytes, room));
                    if self.length > wire::MAX_MESSAGE {
                        let limit = format!("the replies together are longer than {} bytes; ask fewer nodes at once", wire::MAX_MESSAGE);
                        return Poll::Ready(self.end(&Status::resource_exhausted(limit)));
                    }
                }
                None => {
                    self.parts.push_front(prefix(self.length));
                    self.phase = Phase::Sending;
                }
            }
        }
        Poll::Ready(self.parts.pop_front().map_or_else(|| self.end(&Status::new(Code::Ok, "")), Frame::data))
    }

    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.phase = Phase::Ended;
        self.parts.clear();
        self.legs.clear();
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(GRPC_STATUS, HeaderValue::from(i32::from(status.code())));
        }
        Frame::trailers(trailers)
    }
}

impl http_body::Body for Fan {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match (self.phase, self.merge) {
            (Phase::Ended, _) => return Poll::Ready(None),
            (_, Merge::Stream) => self.poll_stream(cx),
            (_, Merge::Unary) => self.poll_unary(cx),
        };
        frame.map(|frame| Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.phase == Phase::Ended
    }
}

fn prefix(length: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(frames::HEADER);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.freeze()
}

fn framed(payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(frames::HEADER + payload.len());
    bytes.extend_from_slice(&prefix(payload.len()));
    bytes.extend_from_slice(payload);
    bytes.freeze()
}

/// Bytes that give their room back when the last of them has been sent.
fn held(bytes: Bytes, room: Option<OwnedSemaphorePermit>) -> Bytes {
    struct Held {
        bytes: Bytes,
        _room: OwnedSemaphorePermit,
    }
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    match room {
        Some(room) => Bytes::from_owner(Held { bytes, _room: room }),
        None => bytes,
    }
}
