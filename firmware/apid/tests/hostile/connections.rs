//! Before there is a call: what is not TLS 1.3 with HTTP/2 behind it, and too much of what is.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use rustls::{AlertDescription, pki_types::ServerName};
use test_support::{
    LIMIT,
    certificates::{Flaw, client},
    trusting,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::World;

/// Connections of a flood, and how many of them are open at the same time; apid has room for 128.
const FLOOD: (usize, usize) = (3_000, 600);
/// Those that are whole, if they are let in.
const WHOLE: usize = 200;
/// apid gives up on a handshake after ten seconds.
const HANDSHAKE: Duration = Duration::from_secs(15);

pub async fn run(world: &mut World) -> Result<()> {
    no_tls(world).await.context("no TLS")?;
    world.is_well("bytes that are no TLS").await?;
    old_tls(world).await.context("TLS 1.2")?;
    other_protocol(world).await.context("another protocol in TLS")?;
    world.is_well("TLS as it should not be").await?;
    no_http2(world).await.context("no HTTP/2")?;
    world.is_well("TLS with no HTTP/2 in it").await?;
    half_open(world).await.context("half-open connections")?;
    flood(world).await.context("a flood of connections")?;
    world.is_well("a flood of connections").await
}

/// All that comes until the node hangs up.
async fn until_end(stream: &mut (impl AsyncReadExt + Unpin), limit: Duration) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    match timeout(limit, stream.read_to_end(&mut said)).await.context("the node does not hang up")? {
        // It may be in the middle of what it was told.
        Err(error) if [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof].contains(&error.kind()) => Ok(said),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(said),
    }
}

async fn no_tls(world: &World) -> Result<()> {
    let noise: Vec<u8> = (0..100_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    // A record that claims to be as long as one can be, and one that is a handshake of which nothing follows.
    let (long, lost) = ([0x16, 3, 1, 0xff, 0xff, 1], [0x16, 3, 1, 0, 4, 0xff, 0xff, 0xff, 0xff]);
    for bytes in [&noise[..], b"GET / HTTP/1.1\r\nHost: node\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &long, &lost] {
        let mut stream = TcpStream::connect(world.host.address).await?;
        // It may hang up before it has all of it.
        let _ = stream.write_all(bytes).await;
        let said = until_end(&mut stream, HANDSHAKE).await?;
        ensure!(said.len() <= 7, "it says {said:?} to {:?}", &bytes[..6]);
    }
    Ok(())
}

/// A client that knows no later version is told so (RFC 8446, section 4.2.1: no `supported_versions` is TLS 1.2 at most).
async fn old_tls(world: &World) -> Result<()> {
    const PROTOCOL_VERSION: [u8; 2] = [2, 70];
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(0);
    // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, no compression.
    hello.extend([0, 2, 0xc0, 0x2b, 1, 0]);
    // Groups and signatures that the node has, so that the version is what is wrong.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 4, 0, 2, 8, 7];
    hello.extend([0, extensions.len() as u8]);
    hello.extend(extensions);
    let mut handshake = vec![1, 0, 0, hello.len() as u8];
    handshake.extend(hello);
    let mut record = vec![0x16, 3, 1, 0, handshake.len() as u8];
    record.extend(handshake);
    let mut stream = TcpStream::connect(world.host.address).await?;
    stream.write_all(&record).await?;
    let said = until_end(&mut stream, LIMIT).await?;
    ensure!(said.first() == Some(&0x15) && said.ends_with(&PROTOCOL_VERSION), "it says {said:?}");
    Ok(())
}

async fn tls(world: &World, protocols: &[&[u8]]) -> io::Result<TlsStream<TcpStream>> {
    let identity = client(&world.authority, &["os:admin"], Flaw::None).map_err(io::Error::other)?;
    let config = trusting(&world.authority, Some(identity)).map_err(io::Error::other)?;
    let mut config = rustls::ClientConfig::clone(&config);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let tcp = TcpStream::connect(world.host.address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::from(world.host.address.ip()), tcp).await
}

async fn other_protocol(world: &World) -> Result<()> {
    let error = tls(world, &[b"http/1.1", b"spdy/3"]).await.err().context("it speaks something else than HTTP/2")?;
    let told = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    let wanted = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    ensure!(told == Some(&wanted), "it says {error}");
    Ok(())
}

/// After a good handshake.
async fn no_http2(world: &World) -> Result<()> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let with = |frames: &[u8]| [&preface[..], frames].concat();
    let cases = [
        ("noise", vec![0xa5; 4096]),
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: node\r\n\r\n".to_vec()),
        ("a frame that is too long", with(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])),
        ("headers that are none", with(&[0, 0, 4, 1, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff])),
        ("data of no call", with(&[0, 0, 1, 0, 0, 0, 0, 0, 1, 0])),
        ("a stream of the node's own numbers", with(&[0, 0, 1, 1, 4, 0, 0, 0, 2, 0x82])),
        ("a window of no size", with(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
    ];
    let mut wrong = Vec::new();
    for (what, bytes) in cases {
        let mut stream = tls(world, &[b"h2"]).await.with_context(|| format!("{what}: TLS"))?;
        let _ = stream.write_all(&bytes).await;
        let ended = until_end(&mut stream, LIMIT).await;
        wrong.extend(ended.err().map(|error| format!("{what}: {error:#}")));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Resets of calls that were never finished, as fast as they go (CVE-2023-44487): the node hangs up.
    let stream = tls(world, &[b"h2"]).await?;
    let mut flood = preface.to_vec();
    for number in (1..20_000_u32).step_by(2) {
        // `:method POST`, `:scheme https`, `:path /`: a call of nothing.
        flood.extend([&[0, 0, 3, 1, 4][..], &number.to_be_bytes(), &[0x83, 0x87, 0x84]].concat());
        flood.extend([&[0, 0, 4, 3, 0][..], &number.to_be_bytes(), &[0, 0, 0, 8]].concat());
    }
    let (mut reading, mut writing) = tokio::io::split(stream);
    let (_, ended) = tokio::join!(writing.write_all(&flood), until_end(&mut reading, LIMIT));
    ended.context("resets without end").map(drop)
}

/// Connections that begin and say nothing more: each has its time, and meanwhile others are let in.
async fn half_open(world: &mut World) -> Result<()> {
    let mut silent = Vec::new();
    for at in 0..20 {
        let mut stream = TcpStream::connect(world.host.address).await?;
        if at % 2 == 0 {
            stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3]).await?;
        }
        silent.push(stream);
    }
    world.is_well("connections that say nothing").await?;
    for stream in &mut silent {
        until_end(stream, HANDSHAKE).await?;
    }
    Ok(())
}

/// More than there is room for. Those that are there stay; the others are turned away, and let in once there is room again.
async fn flood(world: &mut World) -> Result<()> {
    let mut kept = VecDeque::new();
    for _ in 0..FLOOD.0 {
        kept.push_back(TcpStream::connect(world.host.address).await?);
        if kept.len() > FLOOD.1 {
            kept.pop_front();
        }
    }
    timeout(LIMIT, world.early.version(())).await.context("in time")?.context("who was there before")?;
    drop(kept);
    // Whole connections, of which there is a number.
    let mut served = Vec::new();
    for _ in 0..WHOLE {
        let Ok(stream) = timeout(LIMIT, tls(world, &[b"h2"])).await.context("neither served nor turned away")? else { break };
        served.push(stream);
    }
    ensure!((64..=128).contains(&served.len()), "{} connections at the same time", served.len());
    timeout(LIMIT, world.early.version(())).await.context("in time")?.context("who was there before")?;
    Ok(())
}
