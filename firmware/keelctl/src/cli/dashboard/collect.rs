//! Asks a node again and again, and follows its log. Every question has a limit; a node that is away is asked on.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::{
    sync::{mpsc::Sender, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use crate::client::{Client, next_data};

use super::super::{args::Insecure, chain, nodes::Fleet};
use super::model::{News, Sample, Source};

/// How long a node may take to answer all questions of one round.
const LIMIT: Duration = Duration::from_secs(10);
/// Pause before a log that has ended is followed again.
const RETRY: Duration = Duration::from_secs(2);
/// How many past lines a log begins with.
const TAIL: i32 = 100;
/// Longest line that is waited for, bytes.
const MAX_PENDING: usize = 64 << 10;

/// News with the place of their node.
pub type Message = (usize, News);

/// What both tasks of a node need.
pub struct Target<'a> {
    pub fleet: &'a Fleet,
    /// Its place among the nodes.
    pub index: usize,
    /// The connection, when there was one at the start.
    pub client: Option<Client>,
    pub started: Instant,
    pub every: Duration,
}

/// Samples of a node until nobody listens.
pub async fn samples(target: Target<'_>, news: Sender<Message>) {
    let mut clock = interval(target.every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = target.client.clone();
    loop {
        clock.tick().await;
        let round = async {
            let client = connected(&mut client, &target).await?;
            sample(&client, target.started).await
        };
        let answer = timeout(LIMIT, round).await.unwrap_or_else(|_| Err(anyhow!("no answer within {} s", LIMIT.as_secs())));
        let item = match answer {
            Ok(sample) => News::Sample(Box::new(sample)),
            Err(error) => News::Failed { at: target.started.elapsed(), why: chain(&error) },
        };
        if news.send((target.index, item)).await.is_err() {
            return;
        }
    }
}

/// The connection; a new one when there was none. Lost ones come back by themselves.
async fn connected(client: &mut Option<Client>, target: &Target<'_>) -> Result<Client> {
    if let Some(client) = client {
        return Ok(client.clone());
    }
    let nodes = target.fleet.nodes(&Insecure::default()).await?;
    let node = nodes.into_iter().nth(target.index).context("the list of nodes has changed")?;
    Ok(client.insert(node.client?).clone())
}

async fn sample(client: &Client, started: Instant) -> Result<Sample> {
    let (load, memory, system, network, disks, processes, services, version, hostname) = tokio::try_join!(
        client.load_average(),
        client.memory(),
        client.system_stat(),
        client.network_stats(),
        client.disk_stats(),
        client.processes(),
        client.services(),
        client.version(),
        client.hostname(),
    )?;
    let version = version.version.unwrap_or_default().tag;
    let mut sample = Sample { at: started.elapsed(), hostname, version, processes, services, ..Sample::default() };
    sample.load(&load);
    sample.memory(&memory);
    sample.system(&system);
    sample.network(&network);
    sample.disks(&disks);
    Ok(sample)
}

/// Lines of the node's log, and of the other one as soon as it is chosen, until nobody listens.
pub async fn log(target: Target<'_>, mut source: watch::Receiver<Source>, news: Sender<Message>) {
    let mut client = target.client.clone();
    loop {
        let chosen = *source.borrow_and_update();
        let following = async {
            let client = connected(&mut client, &target).await?;
            follow(&client, chosen, target.index, &news).await
        };
        tokio::select! {
            // Why a node is away its samples say.
            ended = following => if ended.is_err() && news.is_closed() { return },
            changed = source.changed() => if changed.is_err() { return } else { continue },
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            changed = source.changed() => if changed.is_err() { return },
        }
    }
}

async fn follow(client: &Client, source: Source, index: usize, news: &Sender<Message>) -> Result<()> {
    let (method, mut stream) = match source {
        Source::Kernel => ("Dmesg", client.dmesg(true, false).await?),
        Source::Machined => ("Logs", client.logs("machined", true, TAIL).await?),
    };
    news.send((index, News::LogStart)).await?;
    let mut pending = Vec::new();
    while let Some(bytes) = next_data(method, &mut stream).await? {
        pending.extend_from_slice(&bytes);
        let end = match pending.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            None if pending.len() > MAX_PENDING => pending.len(),
            None => continue,
        };
        let whole: Vec<u8> = pending.drain(..end).collect();
        let lines = String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect();
        news.send((index, News::Log(lines))).await?;
    }
    Ok(())
}
