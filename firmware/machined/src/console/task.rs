//! The task of one console: waits for keys, for the port to drain, for the node to change and for the clock.

use std::{io, sync::Arc, time::Instant};

use linux::tty::Tty;
use tokio::{io::unix::AsyncFd, sync::watch};
use tokio_util::sync::CancellationToken;

use super::{port::Port, session::Session, snapshot::World};
use crate::node::{ApiStatus, BootStatus, ConfigStatus, DiskStatus, MachineStatus, NetworkStatus, Node, ServiceStatus};

/// Most that is taken from a terminal at once; more is noise and is read in the next round.
const READ: usize = 256;

/// Runs until the node stops or the terminal is gone.
pub(super) async fn run(port: Arc<Port>, world: World, stop: CancellationToken) {
    let fd = match linux::tty::watch(port.tty()) {
        Ok(fd) => fd,
        Err(error) => {
            // The log still reaches it: push() sends by itself what the driver takes.
            log::warn!("console {} cannot be watched: {error}", port.name());
            return;
        }
    };
    let mut changes = Changes::of(world.node());
    let mut session = Session::new(Instant::now());
    let mut input = Vec::with_capacity(READ);
    let mut told = 0;
    loop {
        // In every round: what the round waits for may come more often than a backlog gets old.
        port.drain();
        tell_losses(&port, &mut told);
        let out = session.step(Instant::now(), &input, port.backlog(), &world);
        input.clear();
        if !out.is_empty() {
            port.push(out.as_bytes());
        }
        port.set_echo(session.echo());
        let wake = tokio::time::Instant::from_std(session.wake_at(Instant::now()));
        tokio::select! {
            () = stop.cancelled() => break,
            () = changes.any() => {}
            () = tokio::time::sleep_until(wake) => {}
            () = drained(&fd, &port) => {}
            read = typed(&fd, &mut input) => if let Err(error) = read {
                log::warn!("console {} is gone: {error}", port.name());
                break;
            },
        }
    }
    // The last words of the node go out as they are written.
    port.set_echo(Some(log::Level::Info));
}

/// Says in the log that lines were lost, at the first one and then each time that their number has doubled: the log
/// itself goes to this port, too.
fn tell_losses(port: &Port, told: &mut u64) {
    let dropped = port.dropped();
    if dropped > 0 && dropped / 2 >= *told {
        *told = dropped;
        log::warn!("console {}: {dropped} lines dropped, it does not drain", port.name());
    }
}

/// Waits for input and takes it. Cancel-safe: what was taken is in `input`.
async fn typed(fd: &AsyncFd<Arc<Tty>>, input: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut guard = fd.readable().await?;
        let mut buffer = [0; READ];
        match fd.get_ref().read(&mut buffer).map_err(io::Error::other)? {
            0 => guard.clear_ready(),
            count => {
                input.extend(buffer.iter().take(count));
                return Ok(());
            }
        }
    }
}

/// Sends what waits whenever the port takes some; returns when all is sent after having been stuck.
async fn drained(fd: &AsyncFd<Arc<Tty>>, port: &Port) {
    if port.backlog() == 0 {
        port.stuck().await;
    }
    loop {
        // Registration is edge-triggered: only after a refusal is the readiness taken back.
        let Ok(mut guard) = fd.writable().await else { return std::future::pending().await };
        if port.drain() {
            return;
        }
        guard.clear_ready();
    }
}

/// Receivers of everything the status shows.
struct Changes {
    boot: watch::Receiver<BootStatus>,
    disk: watch::Receiver<DiskStatus>,
    network: watch::Receiver<NetworkStatus>,
    machine: watch::Receiver<MachineStatus>,
    config: watch::Receiver<ConfigStatus>,
    api: watch::Receiver<ApiStatus>,
    services: watch::Receiver<Vec<ServiceStatus>>,
}

impl Changes {
    fn of(node: &Node) -> Self {
        Self {
            boot: node.boot.subscribe(),
            disk: node.disk.subscribe(),
            network: node.network.subscribe(),
            machine: node.machine.subscribe(),
            config: node.config.subscribe(),
            api: node.api.subscribe(),
            services: node.services.subscribe(),
        }
    }

    /// Waits for any change. The senders live in the node, which the caller holds.
    async fn any(&mut self) {
        let Self { boot, disk, network, machine, config, api, services } = self;
        let gone = tokio::select! {
            change = boot.changed() => change.is_err(),
            change = disk.changed() => change.is_err(),
            change = network.changed() => change.is_err(),
            change = machine.changed() => change.is_err(),
            change = config.changed() => change.is_err(),
            change = api.changed() => change.is_err(),
            change = services.changed() => change.is_err(),
        };
        if gone {
            std::future::pending::<()>().await;
        }
    }
}
