//! The part of one node in a merged call: the call to it, its reply as pieces of the merged one, its failure as a piece.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::Response;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status, body::Body};

use super::{
    entry::{self, Label},
    frames::{Frames, Message},
};
use crate::{deadline::Deadline, route::Merge};

/// A call that is under way.
pub(crate) type Calling = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

/// Encoded for the merged reply, with the room that it takes.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// One node.
pub(super) struct Leg {
    name: String,
    merge: Merge,
    deadline: Deadline,
    state: State,
    frames: Frames,
    reply: Option<Message>,
}

enum State {
    Calling(Calling),
    Reading(Body),
    Ended,
}

impl Leg {
    pub(super) fn new(name: String, merge: Merge, deadline: Deadline, budget: Arc<Semaphore>, calling: Calling) -> Self {
        Self { name, merge, deadline, state: State::Calling(calling), frames: Frames::new(budget), reply: None }
    }

    /// What it contributes, in order. Works only while it is asked: a client that does not read makes the node wait.
    pub(super) fn pieces(self) -> Pin<Box<dyn Stream<Item = Piece> + Send>> {
        Box::pin(stream::unfold(self, |mut leg| async move { leg.next().await.map(|piece| (piece, leg)) }))
    }

    async fn next(&mut self) -> Option<Piece> {
        if matches!(self.state, State::Ended) {
            return None;
        }
        let deadline = self.deadline;
        let piece = deadline.limit(self.advance()).await.unwrap_or_else(Err);
        match piece {
            Ok(Some(piece)) => Some(piece),
            Ok(None) => {
                self.state = State::Ended;
                None
            }
            Err(status) => {
                self.state = State::Ended;
                Some(self.failed(&status))
            }
        }
    }

    /// The next piece; may be dropped anywhere and asked again.
    async fn advance(&mut self) -> Result<Option<Piece>, Status> {
        loop {
            match &mut self.state {
                State::Calling(calling) => {
                    let response = calling.await?;
                    // A reply without messages may carry its status in its headers.
                    if let Some(status) = Status::from_header_map(response.headers()) {
                        return self.end(&status);
                    }
                    if response.status() != http::StatusCode::OK {
                        return Err(Status::unavailable(format!("the node answered HTTP status {}", response.status())));
                    }
                    self.state = State::Reading(response.into_body());
                }
                State::Reading(body) => {
                    while let Some(message) = self.frames.cut()? {
                        match self.merge {
                            Merge::Stream => return Ok(Some(self.streamed(message))),
                            Merge::Unary if self.reply.is_some() => return Err(Status::internal("the node sent more than one reply")),
                            Merge::Unary => self.reply = Some(message),
                        }
                    }
                    match body.frame().await {
                        Some(Ok(frame)) => match frame.into_data() {
                            Ok(data) => self.frames.push(data),
                            Err(frame) => {
                                let status = frame.trailers_ref().and_then(Status::from_header_map);
                                return self.end(&status.unwrap_or_else(|| Status::unknown("the node's reply ended without a status")));
                            }
                        },
                        Some(Err(error)) => return Err(lost(&error)),
                        None => return Err(Status::unavailable("the node's reply was cut off")),
                    }
                }
                State::Ended => return Ok(None),
            }
        }
    }

    /// What is left to say once the node has said all.
    fn end(&mut self, status: &Status) -> Result<Option<Piece>, Status> {
        self.state = State::Ended;
        if status.code() != Code::Ok {
            return Err(status.clone());
        }
        if !self.frames.is_between() {
            return Err(Status::internal("the node's reply ended within a message"));
        }
        match (self.merge, self.reply.take()) {
            (Merge::Stream, _) => Ok(None),
            (Merge::Unary, Some(Message { payload, room })) => {
                Ok(Some(Piece { bytes: entry::unary(&payload, &Label::of(&self.name))?, room: Some(room) }))
            }
            (Merge::Unary, None) => Err(Status::internal("the node sent no reply")),
        }
    }

    fn streamed(&self, Message { payload, room }: Message) -> Piece {
        Piece { bytes: entry::streamed(&payload, &Label::of(&self.name)), room: Some(room) }
    }

    fn failed(&self, status: &Status) -> Piece {
        let label = Label::failed(&self.name, status);
        let bytes = match self.merge {
            Merge::Unary => entry::lone(&label),
            Merge::Stream => entry::lone_streamed(&label),
        };
        Piece { bytes, room: None }
    }
}

fn lost(error: &Status) -> Status {
    match error.code() {
        // What a broken connection makes of itself says nothing to a client.
        Code::Unknown | Code::Internal => Status::unavailable(format!("the connection to the node was lost: {}", error.message())),
        _ => error.clone(),
    }
}
