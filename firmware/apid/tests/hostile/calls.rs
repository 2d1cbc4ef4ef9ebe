//! Calls that are not as they should be: the code says what is wrong.

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, future::join_all, stream};
use http::uri::PathAndQuery;
use qemu::coverage::ask;
use test_support::LIMIT;
use tokio::time::timeout;
use tonic::{Code, Request, Status, transport::Channel};
use wire::{
    machine::{ListRequest, ReadRequest, machine_service_client::MachineServiceClient},
    raw::Raw,
};

use super::World;

/// Calls of which nobody reads the answer.
const STALLED: usize = 40;
/// Messages of a stream that does not end, and bytes of each.
const ENDLESS: (usize, usize) = (2_000, 64 * 1024);

pub async fn run(world: &mut World) -> Result<()> {
    let channel = world.admin().await?;
    messages(&channel).await.context("messages")?;
    world.is_well("messages that are none").await?;
    paths(&channel).await.context("paths")?;
    world.is_well("paths out of everywhere").await?;
    metadata(&channel).await.context("metadata")?;
    world.is_well("metadata without measure").await?;
    endless(&channel).await.context("streams without end")?;
    world.is_well("streams without end").await?;
    nobody_at_home(&channel).await.context("nodes that are down")?;
    world.is_well("nodes that are down").await?;
    let held = stalled(world).await?;
    world.is_well("answers that nobody reads").await?;
    drop(held);
    world.is_well("answers that nobody read").await
}

fn code<T>(answer: &Result<T, Status>) -> Code {
    answer.as_ref().err().map_or(Code::Ok, Status::code)
}

async fn messages(channel: &Channel) -> Result<()> {
    for path in
        ["/machine.MachineService/Version", "/machine.MachineService/Read", "/cosi.resource.State/Get", "/time.TimeService/TimeCheck"]
    {
        for bytes in [&[0xff; 64][..], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0x0f]] {
            let answer = ask(channel.clone(), path, bytes, &[]).await;
            ensure!(code(&answer) == Code::Internal, "{path} with {bytes:?}: {answer:?}");
        }
    }
    // Larger than any message may be; the client's limit is the node's.
    let large = vec![0; wire::MAX_MESSAGE + 1];
    let answer = timeout(LIMIT, ask(channel.clone(), "/machine.MachineService/ApplyConfiguration", &large, &[])).await?;
    ensure!(code(&answer) == Code::OutOfRange, "a message of {} bytes: {:?}", large.len(), answer.map(drop));
    Ok(())
}

async fn paths(channel: &Channel) -> Result<()> {
    let mut wrong = Vec::new();
    let mut client = MachineServiceClient::new(channel.clone());
    let deep = "/..".repeat(5_000);
    for (path, wanted) in [
        ("", Code::InvalidArgument),
        ("../etc/passwd", Code::InvalidArgument),
        ("/../../../../nowhere", Code::NotFound),
        ("/proc/self/fd/../../../nowhere", Code::NotFound),
        ("/etc/\0/passwd", Code::Unknown),
        ("/etc", Code::Unknown),
        ("/dev/zero", Code::Unknown),
        (&deep, Code::Unknown),
    ] {
        let shown = &path[..path.len().min(40)];
        let answer = client.read(ReadRequest { path: path.to_owned() }).await;
        if code(&answer) != wanted {
            wrong.push(format!("read {shown:?}: {:?}", answer.map(drop)));
        }
        let root = path.to_owned();
        let listed = async {
            let mut stream = client.list(ListRequest { root, ..ListRequest::default() }).await?.into_inner();
            while stream.message().await?.is_some() {}
            Ok::<_, Status>(())
        };
        let answer = timeout(LIMIT, listed).await.with_context(|| format!("list {shown:?}"))?;
        if !matches!(code(&answer), Code::Ok | Code::Unknown) {
            wrong.push(format!("list {shown:?}: {answer:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

async fn metadata(channel: &Channel) -> Result<()> {
    const VERSION: &str = "/machine.MachineService/Version";
    let mut wrong = Vec::new();
    for (metadata, wanted) in [
        (&[("node", "a b")][..], Code::Internal),
        (&[("node", "127.0.0.1"), ("node", "127.0.0.1")], Code::InvalidArgument),
        (&[("nodes", "127.0.0.1:50000")], Code::Internal),
        (&[("grpc-timeout", "soon")], Code::Internal),
        (&[("grpc-encoding", "rot13")], Code::Unimplemented),
    ] {
        let answer = ask(channel.clone(), VERSION, &[], metadata).await;
        if code(&answer) != wanted {
            wrong.push(format!("{metadata:?}: {answer:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // More headers than HTTP/2 is told to take: this call is lost, and the connection is good.
    let mut request = Request::new(Bytes::new());
    for at in 0..3_000 {
        let name = tonic::metadata::MetadataKey::from_bytes(format!("x-{at}").as_bytes())?;
        request.metadata_mut().insert(name, "0123456789abcdef0123456789abcdef".parse()?);
    }
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await?;
    let answer = timeout(LIMIT, client.unary(request, PathAndQuery::from_static(VERSION), Raw)).await.context("in time")?;
    ensure!(code(&answer) != Code::Ok, "100 KiB of metadata are taken");
    ensure!(code(&ask(channel.clone(), VERSION, &[], &[]).await) == Code::Ok, "nothing goes after it");
    Ok(())
}

/// A client that never stops talking, to methods that take streams and to those that take one message: there is an answer.
async fn endless(channel: &Channel) -> Result<()> {
    for path in
        ["/machine.MachineService/EtcdRecover", "/machine.ImageService/Import", "/machine.MachineService/Version", "/none.Service/None"]
    {
        let chunk = Bytes::from(BytesMut::zeroed(ENDLESS.1));
        let messages = stream::iter(0..ENDLESS.0).map(move |_| chunk.clone()).chain(stream::pending());
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await?;
        let call = client.streaming(Request::new(messages), PathAndQuery::from_static(path), Raw);
        let answer = timeout(LIMIT, async { call.await?.into_inner().message().await }).await.with_context(|| format!("{path} hangs"))?;
        ensure!(code(&answer) != Code::Ok, "{path} takes a stream of zeros");
    }
    Ok(())
}

/// Addresses of this host where nobody listens.
async fn nobody_at_home(channel: &Channel) -> Result<()> {
    const VERSION: &str = "/machine.MachineService/Version";
    let answer = timeout(LIMIT, ask(channel.clone(), VERSION, &[], &[("node", "127.0.0.9")])).await?;
    ensure!(code(&answer) == Code::Unavailable, "one that is down: {answer:?}");
    let both = [("nodes", "127.0.0.1"), ("nodes", "127.0.0.9")];
    let answer = timeout(LIMIT, ask(channel.clone(), VERSION, &[], &both)).await??.context("no message")?;
    let merged: wire::machine::VersionResponse = prost::Message::decode(answer)?;
    let errors = merged.messages.iter().filter(|message| message.metadata.as_ref().is_some_and(|metadata| !metadata.error.is_empty()));
    ensure!(merged.messages.len() == 2 && errors.count() == 1, "one that is down among two: {merged:?}");
    Ok(())
}

/// Large answers that nobody reads: they wait at their source.
async fn stalled(world: &World) -> Result<Vec<tonic::Streaming<wire::common::Data>>> {
    let big = tempfile::NamedTempFile::new()?;
    big.as_file().set_len(1 << 30)?;
    let path = big.path().display().to_string();
    let client = MachineServiceClient::new(world.admin().await?);
    let read = (0..STALLED).map(|_| {
        let (mut client, path) = (client.clone(), path.clone());
        async move { timeout(LIMIT, client.read(ReadRequest { path })).await.context("in time")?.context("opened") }
    });
    let held: Vec<_> = join_all(read).await.into_iter().collect::<Result<_>>()?;
    Ok(held.into_iter().map(tonic::Response::into_inner).collect())
}
