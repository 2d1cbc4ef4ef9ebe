//! The kernel's side: reads links, addresses, routes and rules, and does the steps of [`super::plan`].
//!
//! What the node makes carries its mark: links the group [`GROUP`], which the kernel sets in the same step that makes them;
//! addresses, routes and rules the protocol [`OURS`].

mod links;
mod routes;

use std::{net::IpAddr, path::PathBuf};

use futures_util::{Stream, TryStreamExt};
use ipnet::IpNet;
use rtnetlink::{
    AddressMessageBuilder, Handle, IpVersion, LinkUnspec,
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope},
        link::LinkMessage,
        route::{RouteAddress, RouteMessage},
        rule::RuleMessage,
    },
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::{
    links::{details, hardware, link},
    routes::{default_gateway, own_route, own_rule, rule},
};
use super::{
    model::{Actual, Address},
    plan::Action,
    tunnel,
};

/// Protocol of addresses, routes and rules set here, so that nothing of others (CNI, virtual addresses) is ever removed.
const OURS: u8 = 75;
/// Group of links made here: `kls` in ASCII, which nobody else has a reason to use.
pub(crate) const GROUP: u32 = 0x6b_6c_73;

/// A request to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No netlink socket.
    #[error("open a routing socket")]
    Socket(#[source] std::io::Error),
    /// A dump failed.
    #[error("list {what}")]
    List {
        /// `links`, `addresses`, `routes` or `rules`.
        what: &'static str,
        /// Kernel's answer.
        source: rtnetlink::Error,
    },
    /// A step failed.
    #[error("{action}")]
    Act {
        /// The step.
        action: Box<Action>,
        /// Kernel's answer.
        source: rtnetlink::Error,
    },
    /// A tunnel could not be set up.
    #[error("{action}")]
    Tunnel {
        /// The step.
        action: Box<Action>,
        /// Why not.
        source: tunnel::TunnelError,
    },
    /// A route or a link that no message can carry.
    #[error("{action}: this cannot be said to the kernel")]
    Malformed {
        /// The step.
        action: Box<Action>,
    },
}

/// What of the kernel's state is looked at beside links, addresses and routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Rules: there are some of ours, or there are to be.
    pub rules: bool,
    /// What is behind links: somebody chooses links by it.
    pub hardware: bool,
}

/// A connection to the kernel's routing interface.
#[derive(Debug)]
pub struct Kernel {
    handle: Handle,
    sys_net: PathBuf,
    proc_net: PathBuf,
}

impl Kernel {
    /// Opens it; the task that moves messages belongs to `tasks` and ends with `stop`.
    ///
    /// # Errors
    /// [`KernelError::Socket`].
    pub fn open(sys_net: PathBuf, proc_net: PathBuf, tasks: &TaskTracker, stop: CancellationToken) -> Result<Self, KernelError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(KernelError::Socket)?;
        tasks.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(Self { handle, sys_net, proc_net })
    }

    /// Everything the decisions need; what was given before (names, tunnels) is the caller's to add.
    ///
    /// # Errors
    /// [`KernelError::List`].
    pub async fn read(&self, look: Look) -> Result<Actual, KernelError> {
        let Dump { links, addresses, routes } = dump(&self.handle).await?;
        let mut links: Vec<_> = links.iter().map(|message| links::link(message, &self.sys_net, look.hardware)).collect();
        links.sort_by_key(|link| link.index);
        let mut defaults: Vec<(u32, IpAddr)> = routes.iter().filter_map(routes::default_gateway).collect();
        defaults.sort_by_key(|(metric, _)| *metric);
        let mut gateways: Vec<IpAddr> = Vec::new();
        for (_, gateway) in defaults {
            if !gateways.contains(&gateway) {
                gateways.push(gateway);
            }
        }
        let rules = if look.rules { dump_rules(&self.handle).await? } else { Vec::new() };
        Ok(Actual {
            links,
            addresses: addresses.iter().filter_map(address).collect(),
            routes: routes.iter().filter_map(routes::own_route).collect(),
            rules: rules.iter().filter_map(routes::own_rule).collect(),
            gateways,
            ..Actual::default()
        })
    }

    /// Does one step.
    ///
    /// # Errors
    /// [`KernelError::Act`] with the step; the caller tries again from what the kernel then has.
    pub async fn act(&self, action: &Action) -> Result<(), KernelError> {
        let malformed = || KernelError::Malformed { action: Box::new(action.clone()) };
        let link = |index: u32| LinkUnspec::new_with_index(index);
        let done = match action {
            Action::AllowIpv6 { name } => {
                self.allow_ipv6(name);
                Ok(())
            }
            Action::MakeLink { spec, parent } => {
                let message = links::making(spec, *parent).ok_or_else(malformed)?;
                self.handle.link().add(message).execute().await
            }
            Action::RemoveLink { link, .. } => self.handle.link().del(*link).execute().await,
            Action::Up { link: index } => self.set(link(*index).up().build()).await,
            Action::Down { link: index } => self.set(link(*index).down().build()).await,
            Action::Mtu { link: index, mtu, .. } => self.set(link(*index).mtu(*mtu).build()).await,
            Action::Multicast { link: index, on } => self.set(link(*index).multicast(*on).build()).await,
            Action::HardwareAddress { link: index, mac } => self.set(link(*index).address(mac.clone()).build()).await,
            Action::Port { link: index, master: Some(master) } => self.set(link(*index).controller(*master).build()).await,
            Action::Port { link: index, master: None } => self.set(link(*index).nocontroller().build()).await,
            Action::Bond { link, from, to, primary } => self.change(links::bond(*link, from, to, *primary)).await,
            Action::Bridge { link, from, to } => self.change(links::bridge(*link, from, to)).await,
            Action::GiveName { link, name } => self.handle.link().property_add(*link).alt_ifname(&[name]).execute().await,
            Action::TakeName { link, name } => self.handle.link().property_del(*link).alt_ifname(&[name]).execute().await,
            Action::Tunnel { link, from, to } => {
                let told = tunnel::tell(*link, from.as_deref(), to).await;
                return told.map_err(|source| KernelError::Tunnel { action: Box::new(action.clone()), source });
            }
            Action::AddAddress { link, net, metric, host } => self.add_address(*link, *net, *metric, *host).await,
            Action::RemoveAddress { link, net } => self.handle.address().del(address_message(*link, *net)).execute().await,
            Action::AddRoute(route) => {
                let message = routes::route_message(route).ok_or_else(malformed)?;
                self.handle.route().add(message).replace().execute().await
            }
            Action::RemoveRoute(route) => {
                let message = routes::route_message(route).ok_or_else(malformed)?;
                self.handle.route().del(message).execute().await
            }
            Action::AddRule(rule) => {
                let mut request = self.handle.rule().add();
                *request.message_mut() = routes::rule_message(rule);
                request.execute().await
            }
            Action::RemoveRule(rule) => self.handle.rule().del(routes::rule_message(rule)).execute().await,
        };
        match done {
            // Went by itself in the meantime, with its address or its link.
            Err(rtnetlink::Error::NetlinkError(error))
                if removes(action) && matches!(error.raw_code(), ESRCH | EADDRNOTAVAIL | ENODEV | ENOENT) =>
            {
                Ok(())
            }
            other => other.map_err(|source| KernelError::Act { action: Box::new(action.clone()), source }),
        }
    }

    async fn set(&self, message: LinkMessage) -> Result<(), rtnetlink::Error> {
        self.handle.link().set(message).execute().await
    }

    /// Settings of a link's kind are taken by another request than the common ones.
    async fn change(&self, message: LinkMessage) -> Result<(), rtnetlink::Error> {
        self.handle.link().change(message).execute().await
    }

    async fn add_address(&self, link: u32, net: IpNet, metric: u32, host: bool) -> Result<(), rtnetlink::Error> {
        let mut request = self.handle.address().add(link, net.addr(), net.prefix_len()).replace();
        if host {
            // Else packets that go out by a link without an address would come from this one.
            request.message_mut().header.scope = AddressScope::Host;
        }
        let attributes = &mut request.message_mut().attributes;
        attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(OURS)));
        if metric > 0 {
            attributes.push(AddressAttribute::RoutePriority(metric));
        }
        request.execute().await
    }

    /// Router announcements are taken even when the node forwards packets (a Kubernetes node does). Only this link's
    /// settings: those for all links would reach into pods' links.
    fn allow_ipv6(&self, name: &str) {
        let folder = self.proc_net.join("ipv6/conf").join(name);
        for (key, value) in [("disable_ipv6", "0"), ("autoconf", "1"), ("accept_ra", "2")] {
            let path = folder.join(key);
            match std::fs::write(&path, value) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    log::warn!("{}: {error}", path.display());
                }
                // No IPv6 in this kernel, or the link is gone again.
                _ => {}
            }
        }
    }
}

const fn removes(action: &Action) -> bool {
    matches!(
        action,
        Action::RemoveAddress { .. }
            | Action::RemoveRoute(_)
            | Action::RemoveRule(_)
            | Action::RemoveLink { .. }
            | Action::TakeName { .. }
            | Action::Port { master: None, .. }
    )
}

const ENOENT: i32 = -(nix::errno::Errno::ENOENT as i32);
const ESRCH: i32 = -(nix::errno::Errno::ESRCH as i32);
const ENODEV: i32 = -(nix::errno::Errno::ENODEV as i32);
const EADDRNOTAVAIL: i32 = -(nix::errno::Errno::EADDRNOTAVAIL as i32);

/// Links, addresses and routes as the kernel tells them.
#[derive(Debug)]
pub(crate) struct Dump {
    pub(crate) links: Vec<LinkMessage>,
    pub(crate) addresses: Vec<AddressMessage>,
    pub(crate) routes: Vec<RouteMessage>,
}

/// Reads them all, whoever made them.
///
/// # Errors
/// [`KernelError::List`].
pub(crate) async fn dump(handle: &Handle) -> Result<Dump, KernelError> {
    let links = collect("links", handle.link().get().execute()).await?;
    let addresses = collect("addresses", handle.address().get().execute()).await?;
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut filter = RouteMessage::default();
        filter.header.address_family = family;
        routes.extend(collect("routes", handle.route().get(filter).execute()).await?);
    }
    Ok(Dump { links, addresses, routes })
}

/// Rules of both families, whoever made them.
///
/// # Errors
/// [`KernelError::List`].
pub(crate) async fn dump_rules(handle: &Handle) -> Result<Vec<RuleMessage>, KernelError> {
    let mut rules = Vec::new();
    for version in [IpVersion::V4, IpVersion::V6] {
        rules.extend(collect("rules", handle.rule().get(version).execute()).await?);
    }
    Ok(rules)
}

async fn collect<T>(what: &'static str, stream: impl Stream<Item = Result<T, rtnetlink::Error>>) -> Result<Vec<T>, KernelError> {
    stream.try_collect().await.map_err(|source| KernelError::List { what, source })
}

pub(crate) fn address(message: &AddressMessage) -> Option<Address> {
    let mut given = None;
    let mut local = None;
    let mut ours = false;
    let mut metric = 0;
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(address) => given = Some(*address),
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Protocol(protocol) => ours = *protocol == AddressProtocol::Other(OURS),
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::RoutePriority(priority) => metric = *priority,
            _ => {}
        }
    }
    let net = IpNet::new(local.or(given)?, message.header.prefix_len).ok()?;
    let link_local = match net.addr() {
        IpAddr::V4(address) => address.is_link_local() || address.is_loopback(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_loopback(),
    };
    let refused = flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed) && !flags.contains(AddressFlags::Optimistic);
    let global = matches!(message.header.scope, AddressScope::Universe | AddressScope::Site);
    Some(Address { link: message.header.index, net, metric, ours, settled: !refused, usable: global && !link_local && !refused })
}

fn address_message(link: u32, net: IpNet) -> AddressMessage {
    match net {
        IpNet::V4(net) => AddressMessageBuilder::<std::net::Ipv4Addr>::new().index(link).address(net.addr(), net.prefix_len()).build(),
        IpNet::V6(net) => AddressMessageBuilder::<std::net::Ipv6Addr>::new().index(link).address(net.addr(), net.prefix_len()).build(),
    }
}

pub(crate) fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
