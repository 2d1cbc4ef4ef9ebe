//! The one task that owns the network: reads the kernel, decides, acts, publishes; again after every change.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Paths,
    changes::Changes,
    cmdline::CommandLine,
    config,
    dhcp::{self, Conditions, Event, Mozim},
    kernel::Kernel,
    memory::Memory,
    model::{Actual, Lease, Link, Wanted},
    names::{self, Names},
    plan::{self, Desired},
};
use crate::node::{LinkStatus, NetworkStatus, Node};

/// Leases in flight from the clients; they wait when it is full.
const EVENTS: usize = 16;
/// A step that failed is tried again after this, doubled each time.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// Distinct failures remembered so that each is logged once.
const REMEMBERED: usize = 64;

/// Runs until the node stops. What cannot be opened is tried again: a node without network is still a node.
pub(super) async fn run(node: Arc<Node>, paths: Paths) {
    let stop = node.stop.clone();
    let work = async {
        let mut pause = RETRY.0;
        loop {
            let failed = match Manager::open(&node, &paths) {
                Ok(mut manager) => manager.run().await,
                Err(reason) => reason,
            };
            node.warnings.push(format!("network: {failed}"));
            log::warn!("network: {failed}, again in {} ms", pause.as_millis());
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// A DHCP client's task, seen from here. Dropping it ends the task.
struct ClientTask {
    mac: [u8; 6],
    conditions: watch::Sender<Conditions>,
    stop: CancellationToken,
}

impl Drop for ClientTask {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Manager<'a> {
    node: &'a Arc<Node>,
    paths: &'a Paths,
    kernel: Kernel,
    changes: Changes,
    line: CommandLine,
    fallback: Option<String>,
    leases: BTreeMap<u32, (Lease, Instant)>,
    memory: Memory,
    /// What the memory has been told.
    kept: BTreeMap<[u8; 6], Ipv4Addr>,
    clients: BTreeMap<u32, ClientTask>,
    sender: mpsc::Sender<Event>,
    receiver: mpsc::Receiver<Event>,
    logged: BTreeSet<String>,
    hostname: String,
    /// Ends the connection to the kernel with this manager.
    _connection: tokio_util::sync::DropGuard,
}

impl<'a> Manager<'a> {
    fn open(node: &'a Arc<Node>, paths: &'a Paths) -> Result<Self, String> {
        let connection = node.stop.child_token();
        let kernel = Kernel::open(paths.sys_net.clone(), paths.proc_net.clone(), &node.tasks, connection.clone())
            .map_err(|error| daemon::report(&error).to_string())?;
        let changes = Changes::open().map_err(|error| format!("subscribe to the kernel's changes: {error}"))?;
        let text = std::fs::read_to_string(&paths.cmdline).map_err(|error| format!("read {}: {error}", paths.cmdline.display()))?;
        let line = CommandLine::parse(&text);
        for problem in &line.problems {
            node.warnings.push(format!("kernel command line: {problem}"));
            log::warn!("kernel command line: {problem}");
        }
        let (sender, receiver) = mpsc::channel(EVENTS);
        Ok(Self {
            node,
            paths,
            kernel,
            changes,
            line,
            fallback: None,
            leases: BTreeMap::new(),
            memory: Memory::new(Arc::clone(node), paths.state.clone()),
            kept: BTreeMap::new(),
            clients: BTreeMap::new(),
            sender,
            receiver,
            logged: BTreeSet::new(),
            hostname: String::new(),
            _connection: connection.drop_guard(),
        })
    }

    /// Goes on until the kernel cannot be read any more; answers why.
    async fn run(&mut self) -> String {
        let mut config = self.node.config.subscribe();
        let mut pause = RETRY.0;
        loop {
            let wanted = {
                let status = config.borrow_and_update();
                status.active.as_ref().map(|active| config::wanted(&active.config)).unwrap_or_default()
            };
            let settled = match self.round(&wanted).await {
                Ok(settled) => settled,
                Err(error) => return error,
            };
            pause = if settled { RETRY.0 } else { (pause * 2).min(RETRY.1) };
            let retry = (!settled).then(|| Instant::now() + pause);
            let expiry = self.leases.values().map(|(_, until)| *until).min();
            let wake = [retry, expiry].into_iter().flatten().min();
            tokio::select! {
                change = self.changes.next() => {
                    if let Err(error) = change {
                        return format!("listen to the kernel's changes: {error}");
                    }
                }
                event = self.receiver.recv() => if let Some(event) = event { self.event(event) },
                // The sender lives in the node, which this task holds.
                _ = config.changed() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Bound { link, lease, until } if self.clients.contains_key(&link) => {
                let before = self.leases.insert(link, (*lease.clone(), until));
                if before.is_none_or(|(old, _)| old != *lease) {
                    log::info!("link {link}: {} from {} for {} s", lease.address, lease.server, lease.lifetime.as_secs());
                }
            }
            // An event of a client that was ended since.
            Event::Bound { .. } => {}
            Event::Lost { link } => {
                log::warn!("link {link}: lease refused");
                self.leases.remove(&link);
            }
        }
    }

    /// One look at the kernel and what follows from it. `false` when a step failed and is to be tried again.
    async fn round(&mut self, wanted: &Wanted) -> Result<bool, String> {
        let actual = self.kernel.read().await.map_err(|error| daemon::report(&error).to_string())?;
        let now = Instant::now();
        self.leases.retain(|link, (lease, until)| {
            let good = now < *until;
            if !good {
                log::warn!("link {link}: lease of {} has run out", lease.address);
            }
            good
        });
        let leases: BTreeMap<u32, Lease> = self.leases.iter().map(|(link, (lease, _))| (*link, lease.clone())).collect();
        let desired = plan::desired(&actual.links, &self.line, wanted, &leases);
        let mut settled = self.clients(&actual.links, &desired, wanted);
        for action in plan::actions(&actual, &desired) {
            if let Err(error) = self.kernel.act(&action).await {
                settled = false;
                self.complain(&daemon::report(&error).to_string());
            }
        }
        self.remember();
        settled &= self.publish(&actual, &desired, &leases, wanted);
        Ok(settled)
    }

    /// Keeps the addresses of all leases for the next boot, once there is a place for them.
    fn remember(&mut self) {
        if !self.memory.ready() {
            return;
        }
        for (index, (lease, _)) in &self.leases {
            let (Some(client), address) = (self.clients.get(index), lease.address.addr()) else { continue };
            if self.kept.insert(client.mac, address) != Some(address) {
                self.node.tasks.spawn(self.memory.clone().keep(client.mac, address));
            }
        }
    }

    /// Logs a failure once; steps are tried again without end.
    fn complain(&mut self, text: &str) {
        if self.logged.len() >= REMEMBERED {
            self.logged.clear();
        }
        if self.logged.insert(text.to_owned()) {
            self.node.warnings.push(format!("network: {text}"));
            log::warn!("network: {text}");
        }
    }

    /// Starts, informs and ends DHCP clients. `false` when one could not be started.
    fn clients(&mut self, links: &[Link], desired: &BTreeMap<u32, Desired>, wanted: &Wanted) -> bool {
        let hostname = names::own_hostname(&self.line, wanted).map(|name| name.split('.').next().unwrap_or(name).to_owned());
        let asking = |link: &Link| desired.get(&link.index).is_some_and(|own| own.dhcp).then(|| link.ethernet()).flatten();
        self.clients.retain(|index, task| links.iter().any(|link| link.index == *index && asking(link) == Some(task.mac)));
        let clients = &self.clients;
        self.leases.retain(|index, _| clients.contains_key(index));
        let mut all = true;
        for link in links {
            let Some(mac) = asking(link) else { continue };
            let conditions = Conditions { carrier: link.carrier, hostname: hostname.clone() };
            if let Some(task) = self.clients.get(&link.index) {
                task.conditions.send_if_modified(|old| std::mem::replace(old, conditions.clone()) != conditions);
                continue;
            }
            match Mozim::new(&link.name, link.index, mac) {
                Ok(client) => {
                    let (sender, receiver) = watch::channel(conditions);
                    let stop = self.node.stop.child_token();
                    let recall = self.memory.clone().recall(mac);
                    let task = dhcp::drive(client, recall, link.index, receiver, self.sender.clone(), stop.clone());
                    self.node.tasks.spawn(task);
                    self.clients.insert(link.index, ClientTask { mac, conditions: sender, stop });
                }
                Err(error) => {
                    all = false;
                    self.complain(&format!("{}: {}", link.name, daemon::report(&error)));
                }
            }
        }
        all
    }

    /// Writes names to the kernel and the files, and everything to the node. `false` when a file could not be written.
    fn publish(&mut self, actual: &Actual, desired: &BTreeMap<u32, Desired>, leases: &BTreeMap<u32, Lease>, wanted: &Wanted) -> bool {
        let leases: Vec<&Lease> = leases.values().collect();
        let fallback = self.fallback(&actual.links);
        let names = names::choose(&self.line, wanted, &leases, &fallback);
        let links = link_statuses(actual, desired);
        let first = |v4: bool| links.iter().flat_map(|link| link.addresses.iter().map(ipnet::IpNet::addr)).find(|one| one.is_ipv4() == v4);
        let address = first(true).or_else(|| first(false));
        let etc_files = self.write(&names, address, wanted);
        self.set_hostname(&names.hostname);
        let Names { hostname, domain, resolvers, search } = names;
        let status = NetworkStatus { hostname, domain, links, gateways: actual.gateways.clone(), resolvers, search, etc_files };
        self.node.network.send_if_modified(|old| {
            let news = *old != status;
            if news {
                *old = status;
            }
            news
        });
        etc_files
    }

    /// From the first physical link's address, once; a random one when there is none.
    fn fallback(&mut self, links: &[Link]) -> String {
        if let Some(name) = &self.fallback {
            return name.clone();
        }
        let mac = links.iter().filter(|link| link.physical).find_map(|link| names::fallback_from(&link.mac));
        match mac {
            Some(name) => {
                self.fallback = Some(name.clone());
                name
            }
            // Links may still come: the random name holds only until one does.
            None if self.hostname.is_empty() => {
                names::fallback_from(uuid::Uuid::new_v4().as_bytes()).unwrap_or_else(|| "keelson".to_owned())
            }
            None => self.hostname.clone(),
        }
    }

    fn write(&mut self, names: &Names, address: Option<IpAddr>, wanted: &Wanted) -> bool {
        let files = [("resolv.conf", names::resolv_conf(names)), ("hosts", names::hosts(names, address, &wanted.hosts))];
        let mut all = true;
        for (name, text) in files {
            if let Err(error) = names::replace(&self.paths.etc.join(name), &text) {
                all = false;
                self.complain(&daemon::report(&error).to_string());
            }
        }
        all
    }

    fn set_hostname(&mut self, name: &str) {
        if self.hostname == name {
            return;
        }
        match nix::unistd::sethostname(name) {
            Ok(()) => {
                log::info!("host name {name}");
                name.clone_into(&mut self.hostname);
            }
            Err(error) => self.complain(&format!("set host name {name}: {error}")),
        }
    }
}

/// Links that are ours or carry an address, ours first.
fn link_statuses(actual: &Actual, desired: &BTreeMap<u32, Desired>) -> Vec<LinkStatus> {
    let mut statuses: Vec<(bool, LinkStatus)> = Vec::new();
    for link in actual.links.iter().filter(|link| !link.loopback) {
        let own = desired.get(&link.index);
        let addresses: Vec<_> =
            actual.addresses.iter().filter(|address| address.link == link.index && address.usable).map(|address| address.net).collect();
        if own.is_none() && addresses.is_empty() {
            continue;
        }
        let dhcp = own.is_some_and(|own| own.dhcp);
        let source = match own {
            Some(_) if addresses.is_empty() => "",
            Some(_) if dhcp => "dhcp",
            Some(own) => own.source,
            None => "",
        };
        let mac: Vec<_> = link.mac.iter().map(|octet| format!("{octet:02x}")).collect();
        let status = LinkStatus { name: link.name.clone(), mac: mac.join(":"), up: link.carrier, addresses, source: source.to_owned() };
        statuses.push((own.is_none(), status));
    }
    statuses.sort_by_key(|(foreign, _)| *foreign);
    statuses.into_iter().map(|(_, status)| status).collect()
}
