//! Merged replies from nodes that are made of channels.

use std::{convert::Infallible, time::Duration};

use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use prost::Message;
use tokio::sync::mpsc;
use wire::{
    common::Data,
    machine::{Hostname, HostnameResponse},
};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

fn no_deadline() -> Deadline {
    Deadline::of(&HeaderMap::new()).expect("none")
}

fn frame(message: &impl Message) -> Bytes {
    framed(&message.encode_to_vec())
}

fn host(hostname: &str) -> HostnameResponse {
    HostnameResponse { messages: vec![Hostname { metadata: None, hostname: hostname.into() }] }
}

/// A node that answers with this data and then this status; without one it breaks off.
fn node(name: &str, data: Vec<Bytes>, status: Option<Status>) -> (String, Calling) {
    let mut frames: Vec<Result<Frame<Bytes>, Infallible>> = data.into_iter().map(|data| Ok(Frame::data(data))).collect();
    if let Some(status) = status {
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers).expect("headers");
        frames.push(Ok(Frame::trailers(trailers)));
    }
    let body = Body::new(StreamBody::new(stream::iter(frames)));
    (name.to_owned(), Box::pin(std::future::ready(Ok(Response::new(body)))))
}

fn ok() -> Option<Status> {
    Some(Status::new(Code::Ok, ""))
}

/// The payloads of a merged reply, and its status.
async fn read(response: Response<Body>) -> (Vec<Bytes>, Status) {
    let mut body = response.into_body();
    let (mut bytes, mut status) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.expect("no error").into_data() {
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => status = frame.trailers_ref().and_then(Status::from_header_map),
        }
    }
    let mut frames = frames::Frames::new(Arc::new(Semaphore::new(BUDGET)));
    frames.push(bytes.freeze());
    let payloads = std::iter::from_fn(|| frames.cut().expect("frames")).map(|message| message.payload).collect();
    assert!(frames.is_between());
    (payloads, status.expect("a status"))
}

#[tokio::test]
async fn one_message_holds_all_answers_and_all_failures() {
    let budget = Budget::default();
    let legs = vec![
        node("a", vec![frame(&host("alpha"))], ok()),
        node("b", vec![], Some(Status::not_found("nobody"))),
        node("c", vec![frame(&host("gamma")).slice(..4), frame(&host("gamma")).slice(4..)], ok()),
        node("d", vec![frame(&host("cut")).slice(..9)], ok()),
        node("e", vec![frame(&host("lost"))], None),
        node("f", vec![frame(&host("one")), frame(&host("two"))], ok()),
        node("g", vec![Bytes::from_static(&[1, 0, 0, 0, 0])], ok()),
        node("h", vec![framed(&[0x10, 1])], ok()),
        node("i", vec![], ok()),
        ("j".to_owned(), Box::pin(std::future::ready(Err(Status::unavailable("down"))))),
    ];
    let (payloads, status) = read(respond(legs, Merge::Unary, no_deadline(), &budget)).await;
    assert_eq!((payloads.len(), status.code()), (1, Code::Ok));
    let mut messages = HostnameResponse::decode(payloads[0].clone()).expect("a message").messages;
    messages.sort_by_key(|message| message.metadata.as_ref().map(|metadata| metadata.hostname.clone()));
    let found: Vec<(String, String, i32)> = messages
        .into_iter()
        .map(|Hostname { metadata, hostname }| {
            let metadata = metadata.expect("metadata");
            assert_eq!(metadata.error.is_empty(), metadata.status.is_none());
            (metadata.hostname, hostname, metadata.status.map_or(0, |status| status.code))
        })
        .collect();
    let wanted = [
        ("a", "alpha", Code::Ok),
        ("b", "", Code::NotFound),
        ("c", "gamma", Code::Ok),
        ("d", "", Code::Internal),
        ("e", "", Code::Unavailable),
        ("f", "", Code::Internal),
        ("g", "", Code::Internal),
        ("h", "", Code::Internal),
        ("i", "", Code::Internal),
        ("j", "", Code::Unavailable),
    ];
    assert_eq!(found, wanted.map(|(node, host, code)| (node.to_owned(), host.to_owned(), i32::from(code))));
    assert_eq!(budget.0.available_permits(), BUDGET, "all room came back");
}

#[tokio::test]
async fn streams_are_interleaved_and_fail_one_by_one() {
    let budget = Budget::default();
    let data = |bytes: &'static [u8]| frame(&Data { metadata: None, bytes: Bytes::from_static(bytes) });
    let legs = vec![
        node("a", vec![data(b"1"), data(b"2"), data(b"3")], ok()),
        node("b", vec![data(b"4")], Some(Status::aborted("enough"))),
        node("c", vec![], ok()),
    ];
    let (payloads, status) = read(respond(legs, Merge::Stream, no_deadline(), &budget)).await;
    assert_eq!(status.code(), Code::Ok);
    let of = |wanted: &str| -> Vec<(Vec<u8>, String)> {
        let all = payloads.iter().map(|payload| Data::decode(payload.clone()).expect("data"));
        let own = all.filter(|data| data.metadata.as_ref().is_some_and(|metadata| metadata.hostname == wanted));
        own.map(|data| (data.bytes.to_vec(), data.metadata.expect("metadata").error)).collect()
    };
    assert_eq!(of("a"), [b"1", b"2", b"3"].map(|bytes| (bytes.to_vec(), String::new())));
    assert_eq!(of("b"), [(b"4".to_vec(), String::new()), (vec![], "rpc error: code = Aborted desc = enough".to_owned())]);
    assert_eq!(of("c"), []);
    assert_eq!(budget.0.available_permits(), BUDGET, "all room came back");
}

/// A node that sends for as long as somebody reads, and says how often it was asked.
fn endless(name: &str) -> (String, Calling, mpsc::UnboundedReceiver<()>) {
    let (asked, counter) = mpsc::unbounded_channel();
    let message = frame(&Data { metadata: None, bytes: Bytes::from_static(&[7; 1000]) });
    let frames = stream::repeat(message).map(move |message| {
        // Nobody counts any more.
        let _ = asked.send(());
        Ok::<_, Infallible>(Frame::data(message))
    });
    let body = Body::new(StreamBody::new(frames));
    (name.to_owned(), Box::pin(std::future::ready(Ok(Response::new(body)))), counter)
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_nodes_and_one_that_goes_ends_them() {
    let budget = Budget::default();
    let (name, calling, mut asked) = endless("a");
    let mut body = respond(vec![(name, calling)], Merge::Stream, no_deadline(), &budget).into_body();
    for _ in 0..10 {
        let frame = body.frame().await.expect("goes on").expect("no error");
        assert!(frame.is_data());
    }
    let mut count = 0;
    while asked.try_recv().is_ok() {
        count += 1;
    }
    assert_eq!(count, 10, "asked as often as somebody read");
    drop(body);
    assert!(tokio::time::timeout(LIMIT, asked.recv()).await.expect("in time").is_none(), "the node's stream is gone");
    assert_eq!(budget.0.available_permits(), BUDGET);
}

#[tokio::test]
async fn a_node_that_stalls_within_a_message_holds_up_nobody() {
    let stalled = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0, 0, 0, 0, 9, 1])))]).chain(stream::pending());
    let stalled: Calling = Box::pin(std::future::ready(Ok(Response::new(Body::new(StreamBody::new(stalled))))));
    let (name, calling, _asked) = endless("b");
    let legs = vec![("a".to_owned(), stalled), (name, calling)];
    let mut body = respond(legs, Merge::Stream, no_deadline(), &Budget::default()).into_body();
    for _ in 0..100 {
        let frame = tokio::time::timeout(LIMIT, body.frame()).await.expect("in time").expect("goes on").expect("no error");
        let data = Data::decode(&frame.into_data().expect("data")[frames::HEADER..]).expect("a message");
        assert_eq!(data.metadata.expect("metadata").hostname, "b");
    }
}

#[tokio::test]
async fn what_is_too_long_together_is_refused_and_held_no_longer() {
    let budget = Budget::default();
    // The room is for one and a half of them.
    let half = wire::MAX_MESSAGE / 2 + 1;
    let valid = |length: usize| {
        framed(&HostnameResponse { messages: vec![Hostname { metadata: None, hostname: "x".repeat(length) }] }.encode_to_vec())
    };
    let (payloads, status) =
        read(respond(vec![node("a", vec![valid(half)], ok()), node("b", vec![valid(half)], ok())], Merge::Unary, no_deadline(), &budget))
            .await;
    assert_eq!((payloads.len(), status.code()), (0, Code::ResourceExhausted));
    assert_eq!(budget.0.available_permits(), BUDGET);
}

#[tokio::test]
async fn a_deadline_makes_entries_of_those_who_are_late() {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-timeout", HeaderValue::from_static("50m"));
    let late: Calling = Box::pin(std::future::pending());
    let legs = vec![("a".to_owned(), late), node("b", vec![frame(&host("beta"))], ok())];
    let (payloads, _) = read(respond(legs, Merge::Unary, Deadline::of(&headers).expect("valid"), &Budget::default())).await;
    let messages = HostnameResponse::decode(payloads[0].clone()).expect("a message").messages;
    assert_eq!(messages.len(), 2);
    let status = messages[1].metadata.as_ref().and_then(|metadata| metadata.status.as_ref()).expect("late");
    assert_eq!(status.code, i32::from(Code::DeadlineExceeded));
}

#[tokio::test]
async fn a_request_is_one_message() {
    let budget = Budget::default();
    let body = |bytes: &[u8]| Body::new(Full::new(Bytes::copy_from_slice(bytes)));
    let message = framed(b"hello");
    let taken = budget.request(body(&message)).await.expect("one message");
    assert_eq!(taken, message);
    assert_eq!(budget.0.available_permits(), BUDGET - 5);
    drop(taken);
    for bad in [&[][..], &message[..7], &[&message[..], &message[..]].concat()] {
        assert_eq!(budget.request(body(bad)).await.expect_err("refused").code(), Code::InvalidArgument, "{bad:?}");
    }
    assert_eq!(budget.0.available_permits(), BUDGET);
}
