//! A question to the name servers: one after the other, and beside each other when one lets us wait.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::dnsd::{DnsdStatus, UpstreamStatus};

use crate::{
    cache::Key,
    exchange::{self, ExchangeError},
    message::{Rcode, write::Answer},
    upstreams::{Turn, Upstreams},
};

/// Longest time for one question: the C library asks again after five seconds.
const TOTAL: Duration = Duration::from_millis(4500);

/// Asks, and keeps count of how servers do.
#[derive(Debug)]
pub struct Forwarder {
    upstreams: Mutex<Upstreams>,
    status: watch::Sender<DnsdStatus>,
    started: Instant,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// An attempt that is under way.
struct Running {
    server: SocketAddr,
    /// From here on the server is late.
    due: Instant,
}

impl Forwarder {
    /// Without servers. Health goes into `status`; questions on the side are tasks of `tasks`.
    #[must_use]
    pub fn new(status: watch::Sender<DnsdStatus>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { upstreams: Mutex::default(), status, started: Instant::now(), tasks, stop }
    }

    /// Asks these from now on, but for those that are `own`.
    pub fn set(&self, servers: &[SocketAddr], own: &[SocketAddr]) {
        for refused in self.upstreams().set(servers, own) {
            log::warn!(target: "dnsd", "{refused} is this very server: it is not asked");
        }
        self.tell();
    }

    /// Asks until somebody knows. What a server that could not tell said is the answer when nobody else knows more; `None` when nobody
    /// said anything.
    pub async fn ask(self: &Arc<Self>, key: &Key) -> Option<Answer> {
        self.probe(key);
        let deadline = Instant::now() + TOTAL;
        let mut attempts = self.upstreams().attempts().into_iter();
        let mut running: Vec<Running> = Vec::new();
        let mut exchanges = FuturesUnordered::new();
        let mut excuse = None;
        loop {
            let now = Instant::now();
            let waiting = running.last().is_some_and(|last| now < last.due);
            if !waiting && let Some(attempt) = attempts.next() {
                running.push(Running { server: attempt.address, due: now + attempt.patience });
                exchanges.push(async move { (attempt.address, now, exchange::ask(attempt.address, key).await) });
            }
            if exchanges.is_empty() {
                return excuse;
            }
            let next = running.last().map(|last| last.due).filter(|due| *due > now).unwrap_or(deadline).min(deadline);
            tokio::select! {
                Some((server, since, result)) = exchanges.next() => {
                    if let Some(at) = running.iter().position(|one| one.server == server) {
                        running.remove(at);
                    }
                    match self.heard(server, since, result) {
                        Some(answer) if knows(answer.rcode()) => {
                            // Its own earlier questions may be lost: it is well all the same.
                            running.retain(|one| one.server != server);
                            self.late(&running, Instant::now());
                            return Some(answer);
                        }
                        Some(answer) => excuse = Some(answer),
                        None => {}
                    }
                }
                () = sleep_until(next) => {
                    if next == deadline {
                        self.late(&running, deadline + TOTAL);
                        return excuse;
                    }
                }
            }
        }
    }

    /// Sends the question on the side to a server that is due for that.
    fn probe(self: &Arc<Self>, key: &Key) {
        let Some(server) = self.upstreams().probe(self.started.elapsed()) else { return };
        let (own, key, since) = (Arc::clone(self), key.clone(), Instant::now());
        let asking = async move {
            let result = exchange::ask(server, &key).await;
            drop(own.heard(server, since, result));
        };
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(asking));
    }

    fn heard(&self, server: SocketAddr, since: Instant, result: Result<Answer, ExchangeError>) -> Option<Answer> {
        match result {
            Ok(answer) => {
                let turn = self.upstreams().answered(server, since.elapsed());
                self.turned(server, turn, "");
                Some(answer)
            }
            Err(error) => {
                let turn = self.upstreams().failed(server, self.started.elapsed());
                self.turned(server, turn, &daemon::report(&error).to_string());
                None
            }
        }
    }

    /// Those that were waited for in vain, at `now`.
    fn late(&self, running: &[Running], now: Instant) {
        for one in running.iter().filter(|one| one.due <= now) {
            let turn = self.upstreams().failed(one.server, self.started.elapsed());
            self.turned(one.server, turn, "others answered first, or nobody did");
        }
    }

    /// One line when a server turns bad, and one when it is good again.
    fn turned(&self, server: SocketAddr, turn: Option<Turn>, why: &str) {
        match turn {
            Some(Turn::Bad) => log::warn!(target: "dnsd", "name server {server} does not answer ({why}): others are asked before it"),
            Some(Turn::Good) => log::info!(target: "dnsd", "name server {server} answers again"),
            None => return,
        }
        self.tell();
    }

    fn tell(&self) {
        let health: Vec<_> = self.upstreams().health().map(|(address, healthy)| UpstreamStatus { address, healthy }).collect();
        self.status.send_if_modified(|status| {
            let news = status.upstreams != health;
            status.upstreams = health;
            news
        });
    }

    fn upstreams(&self) -> MutexGuard<'_, Upstreams> {
        self.upstreams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server has an answer, and no excuse.
fn knows(rcode: Rcode) -> bool {
    matches!(rcode, Rcode::NoError | Rcode::NxDomain)
}
