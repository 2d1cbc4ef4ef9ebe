//! The node's name server: a caching forwarder for this node and its pods.
//!
//! - [`run`]: the daemon: reads [`DnsdConfig`]s from standard input ([`wire::orders`]), obeys each, and writes its [`DnsdStatus`] to
//!   standard output when that changes. [`Dnsd`] is the same without the two.
//! - Decides, as functions of values: [`message`] (the form of DNS), [`local`] (what is answered here), [`cache`] (what still
//!   holds), [`upstreams`] (who is asked).
//! - Acts: [`server`] and [`sockets`] (clients), [`resolver`] (from a question to its answer, each asked once), [`forward`] and
//!   [`exchange`] (name servers).
//!
//! Parses what strangers send, so it is a process of its own that has nothing: no file, no device, one capability (ports below 1024).
//! Absent on purpose: recursion and DNSSEC (the servers' work), zone files. Absent so far: DNS over TLS and HTTPS, names of
//! cluster members.
#![forbid(unsafe_code)]

pub mod cache;
mod exchange;
mod forward;
pub mod local;
pub mod message;
mod resolver;
mod server;
mod sockets;
pub mod upstreams;

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::{
    dnsd::{DnsdConfig, DnsdStatus},
    orders::{OrderError, Orders},
};

use forward::Forwarder;
use resolver::Resolver;
use server::Server;

/// The program.
#[must_use]
pub fn run() -> ExitCode {
    daemon::run("dnsd", async |daemon: daemon::Daemon| {
        let (first, orders) = Orders::from_stdin().await?;
        let dnsd = Dnsd::start(daemon.tasks.clone(), daemon.stop.clone());
        dnsd.set(&first);
        daemon.tasks.spawn(daemon.stop.clone().run_until_cancelled_owned(tell(dnsd.status())));
        let change = |order: Result<DnsdConfig, OrderError>| match order {
            Ok(config) => dnsd.set(&config),
            Err(error) => log::error!(target: "dnsd", "the former configuration stays: {}", daemon::report(&error)),
        };
        // It ends with its input: machined is gone.
        daemon.stop.run_until_cancelled(orders.obey(change)).await.unwrap_or(Ok(()))
    })
}

/// Writes each status to standard output.
async fn tell(mut status: watch::Receiver<DnsdStatus>) {
    loop {
        let line = status.borrow_and_update().to_line();
        match line {
            // A supervisor that is gone reads nothing: there is nobody left to tell.
            Ok(line) => drop(io::stdout().lock().write_all(line.as_bytes()).and_then(|()| io::stdout().flush())),
            Err(error) => log::error!(target: "dnsd", "encode the status: {error}"),
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// A running name server.
#[derive(Debug)]
pub struct Dnsd {
    resolver: Arc<Resolver>,
    listen: watch::Sender<Vec<SocketAddr>>,
    status: watch::Sender<DnsdStatus>,
}

impl Dnsd {
    /// Starts one that listens nowhere and asks nobody. Its tasks belong to `tasks` and end with `stop`.
    #[must_use]
    pub fn start(tasks: TaskTracker, stop: CancellationToken) -> Self {
        let (listen, status) = (watch::Sender::default(), watch::Sender::default());
        let forwarder = Forwarder::new(status.clone(), tasks.clone(), stop.clone());
        let resolver = Arc::new(Resolver::new(Arc::new(forwarder), tasks.clone(), stop.clone()));
        let server = Server::new(Arc::clone(&resolver), status.clone(), tasks.clone(), stop.clone());
        tasks.spawn(stop.run_until_cancelled_owned(server.follow(listen.subscribe())));
        Self { resolver, listen, status }
    }

    /// Takes a configuration. Connections and questions that are under way stay.
    pub fn set(&self, config: &DnsdConfig) {
        self.resolver.set(config);
        self.listen.send_if_modified(|listen| {
            let news = *listen != config.listen;
            listen.clone_from(&config.listen);
            news
        });
    }

    /// Where it listens, and how those are whom it asks.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<DnsdStatus> {
        self.status.subscribe()
    }
}
