//! The one task that owns the network: reads the kernel, decides, acts, publishes; again after every change.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use machine_config::{AutoHostname, Config, Network};
use resource::kinds::network::{ConfigLayer, WireguardSpec};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    Paths,
    changes::Changes,
    clients::{Clients, Wish},
    cmdline::CommandLine,
    dhcp::Event,
    kernel::{Kernel, Look},
    layers::{self, Sources},
    memory::Memory,
    model::{Actual, Lease, Link, mac_text},
    names::{self, Names, Origins},
    plan::{self, Action},
    specs::{Merged, Specs},
};
use crate::node::{HostDnsSettings, HostDnsStatus, LinkStatus, NetworkSpecs, NetworkStatus, Node};

/// Leases in flight from the clients; they wait when it is full.
const EVENTS: usize = 16;
/// A step that failed is tried again after this, doubled each time.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A node whose identity is still to be found goes without a name of its own for so long: one that changes at once is of no use.
const NAMELESS: Duration = Duration::from_millis(500);
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

struct Manager<'a> {
    node: &'a Arc<Node>,
    paths: &'a Paths,
    kernel: Kernel,
    changes: Changes,
    line: CommandLine,
    fallback: Option<String>,
    /// When the node takes a name whether it knows who it is or not.
    named_from: Instant,
    /// The address that the node may be named after: it stays as long as it is there.
    default_address: Option<IpAddr>,
    /// By id of the operator.
    leases: BTreeMap<String, (Lease, Instant)>,
    memory: Memory,
    /// What the memory has been told.
    kept: BTreeMap<[u8; 6], Ipv4Addr>,
    clients: Clients,
    receiver: mpsc::Receiver<Event>,
    logged: BTreeSet<String>,
    hostname: String,
    /// Ranges of pods and services.
    kubernetes: Vec<IpNet>,
    /// Rules of ours were made: they are looked at from then on.
    ruled: bool,
    /// Names given to links, and what tunnels were told: the kernel does not tell who did it.
    given_names: BTreeSet<(u32, String)>,
    tunnels: BTreeMap<u32, WireguardSpec>,
    /// MTUs of links before the node set one.
    mtus_before: BTreeMap<u32, u32>,
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
        let memory = Memory::new(Arc::clone(node), paths.state.clone());
        Ok(Self {
            node,
            paths,
            kernel,
            changes,
            line,
            fallback: None,
            named_from: Instant::now() + NAMELESS,
            default_address: None,
            leases: BTreeMap::new(),
            clients: Clients::new(Arc::clone(node), memory.clone(), sender),
            memory,
            kept: BTreeMap::new(),
            receiver,
            logged: BTreeSet::new(),
            hostname: String::new(),
            kubernetes: Vec::new(),
            ruled: false,
            given_names: BTreeSet::new(),
            tunnels: BTreeMap::new(),
            mtus_before: BTreeMap::new(),
            _connection: connection.drop_guard(),
        })
    }

    /// Goes on until the kernel cannot be read any more; answers why.
    async fn run(&mut self) -> String {
        let (mut config, mut identity) = (self.node.config.subscribe(), self.node.identity.subscribe());
        let mut dns = self.node.host_dns.subscribe();
        let mut platform = self.node.platform.subscribe();
        let mut pause = RETRY.0;
        loop {
            let own = own_servers(&dns.borrow_and_update());
            let active = config.borrow_and_update().active.clone();
            let known = identity.borrow_and_update().settled;
            let given = Arc::clone(&platform.borrow_and_update().network);
            let none = Network::default();
            let wanted = active.as_ref().map_or(&none, |active| active.config.network());
            self.kubernetes = active.as_ref().map(|active| ranges(&active.config)).unwrap_or_default();
            let settled = match self.round(wanted, &given).await {
                Ok(settled) => settled,
                Err(error) => return error,
            };
            pause = if settled { RETRY.0 } else { (pause * 2).min(RETRY.1) };
            let retry = (!settled).then(|| Instant::now() + pause);
            let expiry = self.leases.values().map(|(_, until)| *until).min();
            let unnamed = (!known && Instant::now() < self.named_from).then_some(self.named_from);
            let wake = [retry, expiry, unnamed].into_iter().flatten().min();
            tokio::select! {
                change = self.changes.next() => {
                    if let Err(error) = change {
                        return format!("listen to the kernel's changes: {error}");
                    }
                }
                event = self.receiver.recv() => if let Some(event) = event { self.event(event) },
                // The senders live in the node, which this task holds.
                _ = config.changed() => {}
                _ = identity.changed() => {}
                () = differs(&mut dns, &own) => {}
                _ = platform.changed() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Bound { id, lease, until } if self.clients.sent(&id) => {
                let before = self.leases.insert(id.to_string(), (*lease.clone(), until));
                if before.is_none_or(|(old, _)| old != *lease) {
                    log::info!("{id}: {} from {} for {} s", lease.address, lease.server, lease.lifetime.as_secs());
                }
            }
            Event::Lost { id } if self.clients.sent(&id) => {
                log::warn!("{id}: lease refused");
                self.leases.remove(&*id);
            }
            // An event of a client that was ended since.
            Event::Bound { .. } | Event::Lost { .. } => {}
        }
    }

    /// One look at the kernel and what follows from it. `false` when a step failed and is to be tried again.
    async fn round(&mut self, config: &Network, platform: &Network) -> Result<bool, String> {
        let hardware = config.chooses_by_hardware() || platform.chooses_by_hardware();
        let look = Look { rules: self.ruled || !config.rules.is_empty(), hardware };
        self.ruled = look.rules;
        let mut actual = self.kernel.read(look).await.map_err(|error| daemon::report(&error).to_string())?;
        self.forget_gone(&actual.links);
        actual.given_names.clone_from(&self.given_names);
        actual.tunnels.clone_from(&self.tunnels);
        actual.mtus_before.clone_from(&self.mtus_before);
        let now = Instant::now();
        self.leases.retain(|id, (lease, until)| {
            let good = now < *until;
            if !good {
                log::warn!("{id}: lease of {} has run out", lease.address);
            }
            good
        });
        let leases: BTreeMap<String, Lease> = self.leases.iter().map(|(id, (lease, _))| (id.clone(), lease.clone())).collect();
        let automatic = self.automatic(config.auto_hostname, &actual);
        let pods_dns = self.node.host_dns.borrow().settings.pods.clone();
        let sources = Sources {
            links: &actual.links,
            line: &self.line,
            platform,
            config,
            leases: &leases,
            automatic: automatic.as_deref(),
            pods_dns: &pods_dns,
        };
        let specs = layers::all(&sources);
        let merged = specs.merge();
        let mut settled = self.ask(&actual, &specs, &merged);
        let plan = plan::plan(&merged, &specs.aliases, &actual);
        for conflict in plan.conflicts {
            self.complain(&conflict);
        }
        for action in &plan.actions {
            match self.kernel.act(action).await {
                Ok(()) => self.done(action),
                Err(error) => {
                    settled = false;
                    self.complain(&daemon::report(&error).to_string());
                }
            }
        }
        self.remember();
        settled &= self.publish(&actual, specs, merged);
        Ok(settled)
    }

    /// What was done to links that are gone is no more.
    fn forget_gone(&mut self, links: &[Link]) {
        let there = |index: u32| links.iter().any(|link| link.index == index);
        self.given_names.retain(|(index, _)| there(*index));
        self.tunnels.retain(|index, _| there(*index));
        self.mtus_before.retain(|index, _| there(*index));
    }

    /// Notes what the kernel will not tell.
    fn done(&mut self, action: &Action) {
        match action {
            Action::GiveName { link, name } => {
                self.given_names.insert((*link, name.clone()));
            }
            Action::TakeName { link, name } => {
                self.given_names.remove(&(*link, name.clone()));
            }
            Action::Mtu { link, from, .. } => {
                self.mtus_before.entry(*link).or_insert(*from);
            }
            Action::Tunnel { link, to, .. } => {
                self.tunnels.insert(*link, (**to).clone());
            }
            _ => {}
        }
    }

    /// Keeps the addresses of all leases for the next boot, once there is a place for them.
    fn remember(&mut self) {
        if !self.memory.ready() {
            return;
        }
        for (id, (lease, _)) in &self.leases {
            let (Some(mac), IpAddr::V4(address)) = (self.clients.mac(id), lease.address.addr()) else { continue };
            if self.kept.insert(mac, address) != Some(address) {
                self.node.tasks.spawn(self.memory.clone().keep(mac, address));
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
    fn ask(&mut self, actual: &Actual, specs: &Specs, merged: &Merged) -> bool {
        let hostname = names::own_hostname(specs);
        let wishes = merged.operators.iter().filter_map(|(id, operator)| Wish::of(id, operator, actual, hostname.as_deref())).collect();
        let problems = self.clients.follow(wishes);
        let clients = &self.clients;
        self.leases.retain(|id, _| clients.has(id));
        for problem in &problems {
            self.complain(problem);
        }
        problems.is_empty()
    }

    /// Writes names to the kernel and the files, and everything to the node. `false` when a file could not be written.
    fn publish(&mut self, actual: &Actual, specs: Specs, merged: Merged) -> bool {
        let names = names::of(&merged);
        let links = link_statuses(actual, &merged);
        let address = names::first_address(links.iter().flat_map(|link| link.addresses.iter().map(IpNet::addr)));
        let etc_files = self.write(&names, address, &specs);
        self.set_hostname(&names.hostname);
        let Names { hostname, domain, resolvers, search } = names;
        let gateways = actual.gateways.clone();
        let time_servers = merged.time_servers.ntp_servers.clone();
        let kubernetes = self.kubernetes.clone();
        let status = NetworkStatus { hostname, domain, links, gateways, resolvers, search, time_servers, etc_files, kubernetes };
        replace(&self.node.network, status);
        replace(&self.node.network_specs, NetworkSpecs { specs, merged });
        etc_files
    }

    /// The name that the node takes by itself; none while it may soon know who it is.
    fn automatic(&mut self, kind: AutoHostname, actual: &Actual) -> Option<String> {
        let identity = self.node.identity.borrow().clone();
        if kind == AutoHostname::Stable && !identity.settled && Instant::now() < self.named_from {
            return None;
        }
        self.default_address = default_address(actual, self.default_address);
        let fallback = self.fallback(&actual.links);
        names::automatic(kind, &Origins { identity: identity.id.as_ref(), address: self.default_address, fallback: &fallback })
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

    fn write(&mut self, names: &Names, address: Option<IpAddr>, specs: &Specs) -> bool {
        let (local, pods) = {
            let dns = self.node.host_dns.borrow();
            (dns.local().into_iter().collect::<Vec<_>>(), dns.pods().to_vec())
        };
        let files = [
            (self.paths.etc.join("resolv.conf"), names::resolv_conf(names, &local)),
            (self.paths.etc.join("hosts"), names::hosts(names, address, &specs.hosts)),
            (self.paths.pods.join("resolv.conf"), names::resolv_conf(names, &pods)),
        ];
        let mut all = true;
        for (path, text) in files {
            if let Err(error) = names::replace(&path, &text) {
                all = false;
                self.complain(&daemon::report(&error).to_string());
            }
        }
        all
    }

    fn set_hostname(&mut self, name: &str) {
        if self.hostname == name || name.is_empty() {
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

/// What the node's own name server decides here: whether and where it is asked.
fn own_servers(dns: &HostDnsStatus) -> (bool, HostDnsSettings) {
    (dns.serving, dns.settings.clone())
}

/// Waits until that is something else than `known`. The sender lives in the node.
async fn differs(dns: &mut watch::Receiver<HostDnsStatus>, known: &(bool, HostDnsSettings)) {
    drop(dns.wait_for(|dns| own_servers(dns) != *known).await);
}

/// Of pods and services.
fn ranges(config: &Config) -> Vec<IpNet> {
    let cluster = config.cluster();
    cluster.pod_subnets.iter().chain(&cluster.service_subnets).copied().collect()
}

/// The first address of the alphabetically first link that has one; the one before as long as it is there.
fn default_address(actual: &Actual, before: Option<IpAddr>) -> Option<IpAddr> {
    let usable = || actual.addresses.iter().filter(|address| address.usable);
    if before.is_some_and(|before| usable().any(|address| address.net.addr() == before)) {
        return before;
    }
    let mut links: Vec<&Link> = actual.links.iter().filter(|link| !link.loopback).collect();
    links.sort_by(|one, other| one.name.cmp(&other.name));
    links.into_iter().find_map(|link| usable().find(|address| address.link == link.index)).map(|address| address.net.addr())
}

/// Publishes a value if it is another one.
fn replace<T: PartialEq>(subject: &watch::Sender<T>, value: T) {
    subject.send_if_modified(|old| {
        let news = *old != value;
        if news {
            *old = value;
        }
        news
    });
}

/// Links that somebody wants something of or that carry an address, the former first.
fn link_statuses(actual: &Actual, merged: &Merged) -> Vec<LinkStatus> {
    let mut statuses: Vec<(bool, LinkStatus)> = Vec::new();
    for link in actual.links.iter().filter(|link| !link.loopback) {
        let own = merged.links.contains_key(&link.name);
        let addresses: Vec<_> =
            actual.addresses.iter().filter(|address| address.link == link.index && address.usable).map(|address| address.net).collect();
        if !own && addresses.is_empty() {
            continue;
        }
        let layer =
            merged.addresses.values().find(|spec| spec.link_name == link.name && spec.address.is_some_and(|net| addresses.contains(&net)));
        let source = match layer.map(|spec| spec.layer) {
            Some(ConfigLayer::Operator) => "dhcp",
            Some(ConfigLayer::Cmdline) => "cmdline",
            Some(ConfigLayer::Platform) => "platform",
            Some(ConfigLayer::Configuration) => "config",
            _ => "",
        };
        let status =
            LinkStatus { name: link.name.clone(), mac: mac_text(&link.mac), up: link.carrier, addresses, source: source.to_owned() };
        statuses.push((!own, status));
    }
    statuses.sort_by_key(|(foreign, _)| *foreign);
    statuses.into_iter().map(|(_, status)| status).collect()
}
