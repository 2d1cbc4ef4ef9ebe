//! Asking.

use std::{error::Error, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::time::timeout;
use tonic::{Code, Request, Status, transport::Channel};
use wire::{
    methods::{METHODS, Method},
    raw::Raw,
};

use super::{
    page::{Answer, Row},
    requests::{Asked, GARBAGE, LAST},
};

/// Longest wait for a method's first answer.
const LIMIT: Duration = Duration::from_secs(60);
/// What the gate says to those who may not.
const REFUSED: &str = "not authorized";

/// Letters of the roles on the page, as in the reference's table.
pub const LETTERS: [(char, &str); 6] = [
    ('A', "os:admin"),
    ('O', "os:operator"),
    ('R', "os:reader"),
    ('E', "os:etcd:backup"),
    ('I', "os:image:verifier"),
    ('M', "os:meta:writer"),
];

/// Asks a method with one message, and metadata beside it; gives the first message of the answer, or none when it ends without.
///
/// # Errors
/// The node's status; one with a source when there was no answer of the node's.
pub async fn ask(
    channel: Channel,
    path: &'static str,
    message: &[u8],
    metadata: &[(&'static str, &'static str)],
) -> Result<Option<Bytes>, Status> {
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(wire::MAX_MESSAGE);
    client.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
    let mut request = Request::new(Bytes::copy_from_slice(message));
    for (key, value) in metadata {
        request.metadata_mut().append(*key, value.parse().map_err(|_| Status::internal("no metadata"))?);
    }
    // On the wire a single message and a stream of one are the same, in both directions.
    let late = |_| Status::deadline_exceeded(format!("{path}: no answer within {LIMIT:?}"));
    let answer = timeout(LIMIT, client.server_streaming(request, PathAndQuery::from_static(path), Raw)).await.map_err(late)??;
    timeout(LIMIT, answer.into_inner().message()).await.map_err(late)?
}

/// Whether the answer says that the caller may call the method.
///
/// # Errors
/// When there was no answer of the node's.
pub fn allows(answer: &Result<Option<Bytes>, Status>) -> Result<bool> {
    match answer {
        Err(status) if status.source().is_some() => Err(anyhow::Error::from(status.clone())).context("the node did not answer"),
        Err(status) if status.code() == Code::PermissionDenied => Ok(status.message() != REFUSED),
        Ok(_) | Err(_) => Ok(true),
    }
}

/// The letters of those who may call the method, of callers that each have one role.
///
/// # Errors
/// When the node does not answer one of them.
pub async fn who(callers: &[(char, Channel)], method: &Method) -> Result<String> {
    let mut letters = String::new();
    for (letter, channel) in callers {
        if allows(&ask(channel.clone(), method.path, GARBAGE, &[]).await).with_context(|| format!("{} as {letter}", method.path))? {
            letters.push(*letter);
        }
    }
    Ok(letters)
}

/// The methods that everybody may call; the connection is one without a certificate that counts.
///
/// # Errors
/// When the node does not answer one of them.
pub async fn open(stranger: &Channel) -> Result<Vec<&'static str>> {
    let mut open = Vec::new();
    for method in METHODS {
        if allows(&ask(stranger.clone(), method.path, GARBAGE, &[]).await).context(method.path)? {
            open.push(method.path);
        }
    }
    Ok(open)
}

/// A row for each of `all`, but for those of [`LAST`]: the caller sees to them. `callers` have one role each, the administrator first.
/// `open` are the methods that were open to everybody before there was a configuration.
///
/// # Errors
/// When the node does not answer.
pub async fn observe(all: &[Asked], callers: &[(char, Channel)], open: &[&str]) -> Result<Vec<Row>> {
    let (letter, admin) = callers.first().context("no caller")?;
    ensure!(*letter == 'A', "the first caller is the administrator");
    let mut rows = Vec::new();
    for asked in all {
        let answer = if LAST.contains(&asked.method.path) {
            Answer::Done
        } else {
            Answer::of(&ask(admin.clone(), asked.method.path, &asked.message, &[]).await)?
        };
        rows.push(Row {
            method: asked.method,
            who: who(callers, asked.method).await?,
            open: open.contains(&asked.method.path),
            about: asked.about.to_owned(),
            answer,
        });
    }
    rows.sort_by_key(|row| row.method.path);
    Ok(rows)
}
