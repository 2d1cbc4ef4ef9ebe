//! Bodies whose bytes are counted on their way.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use super::Record;

/// What a caller sends.
#[derive(Debug)]
pub(crate) struct Counted<B> {
    body: B,
    count: Arc<AtomicU64>,
}

impl<B> Counted<B> {
    pub(super) const fn new(body: B, count: Arc<AtomicU64>) -> Self {
        Self { body, count }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref) {
            self.count.fetch_add(data.remaining() as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What it is answered; the record ends with it.
#[derive(Debug)]
pub(crate) struct Recorded<B> {
    body: B,
    record: Record,
}

impl<B: Body> Recorded<B> {
    pub(crate) fn new(body: B, mut record: Record) -> Self {
        // Nobody asks such a body for anything.
        record.over = body.is_end_stream();
        Self { body, record }
    }
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Body for Recorded<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let record = &mut self.record;
        match &frame {
            None => record.over = true,
            Some(Err(status)) => record.code = Some(status.code()),
            Some(Ok(frame)) => match (frame.data_ref(), frame.trailers_ref()) {
                (Some(data), _) => record.sent += data.remaining() as u64,
                (None, Some(trailers)) => record.metadata(trailers),
                (None, None) => {}
            },
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
