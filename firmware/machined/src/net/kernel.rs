//! The kernel's side: reads links, addresses and routes, and does the steps of [`super::plan`].

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
};

use futures_util::{Stream, TryStreamExt};
use ipnet::IpNet;
use rtnetlink::{
    AddressMessageBuilder, Handle, LinkUnspec, RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope},
        link::{LinkAttribute, LinkFlags, LinkMessage},
        route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope},
    },
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    model::{Actual, Address, Link, Route},
    plan::Action,
};

/// Marks addresses and routes set here, so that nothing of others (CNI, virtual addresses) is ever removed.
const OURS: u8 = 75;

/// A request to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No netlink socket.
    #[error("open a routing socket")]
    Socket(#[source] std::io::Error),
    /// A dump failed.
    #[error("list {what}")]
    List {
        /// `links`, `addresses` or `routes`.
        what: &'static str,
        /// Kernel's answer.
        source: rtnetlink::Error,
    },
    /// A step failed.
    #[error("{action:?}")]
    Act {
        /// The step.
        action: Action,
        /// Kernel's answer.
        source: rtnetlink::Error,
    },
    /// A route that no message can carry.
    #[error("{action:?}: families do not fit together")]
    Malformed {
        /// The step.
        action: Action,
    },
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

    /// Everything the decisions need.
    ///
    /// # Errors
    /// [`KernelError::List`].
    pub async fn read(&self) -> Result<Actual, KernelError> {
        let Dump { links, addresses, routes } = dump(&self.handle).await?;
        let mut links: Vec<_> = links.iter().map(|message| self.link(message)).collect();
        links.sort_by_key(|link| link.index);
        let mut defaults: Vec<(u32, IpAddr)> = routes.iter().filter_map(default_gateway).collect();
        defaults.sort_by_key(|(metric, _)| *metric);
        let mut gateways: Vec<IpAddr> = Vec::new();
        for (_, gateway) in defaults {
            if !gateways.contains(&gateway) {
                gateways.push(gateway);
            }
        }
        Ok(Actual {
            links,
            addresses: addresses.iter().filter_map(address).collect(),
            routes: routes.iter().filter_map(own_route).collect(),
            gateways,
        })
    }

    fn link(&self, message: &LinkMessage) -> Link {
        let flags = message.header.flags;
        let mut link = Link {
            index: message.header.index,
            loopback: flags.contains(LinkFlags::Loopback),
            up: flags.contains(LinkFlags::Up),
            carrier: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
            ..Link::default()
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(mac) => link.mac.clone_from(mac),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::MaxMtu(mtu) => link.mtu_limit = *mtu,
                _ => {}
            }
        }
        link.physical = !link.loopback && self.sys_net.join(&link.name).join("device").exists();
        link
    }

    /// Does one step.
    ///
    /// # Errors
    /// [`KernelError::Act`] with the step; the caller tries again from what the kernel then has.
    pub async fn act(&self, action: &Action) -> Result<(), KernelError> {
        let handle = &self.handle;
        let done = match action {
            Action::AllowIpv6 { name } => {
                self.allow_ipv6(name);
                Ok(())
            }
            Action::Up { link } => handle.link().set(LinkUnspec::new_with_index(*link).up().build()).execute().await,
            Action::Mtu { link, mtu } => handle.link().set(LinkUnspec::new_with_index(*link).mtu(*mtu).build()).execute().await,
            Action::AddAddress { link, net } => {
                let mut request = handle.address().add(*link, net.addr(), net.prefix_len()).replace();
                let protocol = AddressAttribute::Protocol(AddressProtocol::Other(OURS));
                request.message_mut().attributes.push(protocol);
                request.execute().await
            }
            Action::RemoveAddress { link, net } => handle.address().del(address_message(*link, *net)).execute().await,
            Action::AddRoute(route) => match route_message(route) {
                Some(message) => handle.route().add(message).replace().execute().await,
                None => return Err(KernelError::Malformed { action: action.clone() }),
            },
            Action::RemoveRoute(route) => match route_message(route) {
                Some(message) => handle.route().del(message).execute().await,
                None => return Err(KernelError::Malformed { action: action.clone() }),
            },
        };
        match done {
            // Went by itself in the meantime, with its address or its link.
            Err(rtnetlink::Error::NetlinkError(error))
                if matches!(action, Action::RemoveAddress { .. } | Action::RemoveRoute(_))
                    && matches!(error.raw_code(), ESRCH | EADDRNOTAVAIL | ENODEV) =>
            {
                Ok(())
            }
            other => other.map_err(|source| KernelError::Act { action: action.clone(), source }),
        }
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

async fn collect<T>(what: &'static str, stream: impl Stream<Item = Result<T, rtnetlink::Error>>) -> Result<Vec<T>, KernelError> {
    stream.try_collect().await.map_err(|source| KernelError::List { what, source })
}

fn address(message: &AddressMessage) -> Option<Address> {
    let mut given = None;
    let mut local = None;
    let mut ours = false;
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(address) => given = Some(*address),
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Protocol(protocol) => ours = *protocol == AddressProtocol::Other(OURS),
            AddressAttribute::Flags(all) => flags = *all,
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
    Some(Address { link: message.header.index, net, ours, usable: global && !link_local && !refused })
}

fn address_message(link: u32, net: IpNet) -> AddressMessage {
    match net {
        IpNet::V4(net) => AddressMessageBuilder::<Ipv4Addr>::new().index(link).address(net.addr(), net.prefix_len()).build(),
        IpNet::V6(net) => AddressMessageBuilder::<Ipv6Addr>::new().index(link).address(net.addr(), net.prefix_len()).build(),
    }
}

fn route_message(route: &Route) -> Option<RouteMessage> {
    let mut builder = RouteMessageBuilder::<IpAddr>::default()
        .destination_prefix(route.destination.addr(), route.destination.prefix_len())
        .ok()?
        .output_interface(route.link)
        .priority(route.metric)
        .protocol(RouteProtocol::Other(OURS));
    builder = match route.gateway {
        Some(gateway) => builder.gateway(gateway).ok()?,
        None => builder.scope(RouteScope::Link),
    };
    if route.onlink {
        builder = builder.onlink();
    }
    Some(builder.build())
}

/// The parts of a route in the main table.
struct Parts {
    link: Option<u32>,
    gateway: Option<IpAddr>,
    destination: Option<IpAddr>,
    metric: u32,
}

fn parts(message: &RouteMessage) -> Option<Parts> {
    let mut parts = Parts { link: None, gateway: None, destination: None, metric: 0 };
    let mut table = u32::from(message.header.table);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => parts.link = Some(*index),
            RouteAttribute::Gateway(gateway) => parts.gateway = ip(gateway),
            RouteAttribute::Destination(destination) => parts.destination = ip(destination),
            RouteAttribute::Priority(metric) => parts.metric = *metric,
            RouteAttribute::Table(number) => table = *number,
            _ => {}
        }
    }
    (table == u32::from(RouteHeader::RT_TABLE_MAIN)).then_some(parts)
}

fn own_route(message: &RouteMessage) -> Option<Route> {
    if message.header.protocol != RouteProtocol::Other(OURS) {
        return None;
    }
    let parts = parts(message)?;
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let destination = IpNet::new(parts.destination.unwrap_or(any), message.header.destination_prefix_length).ok()?;
    let onlink = message.header.flags.contains(rtnetlink::packet_route::route::RouteFlags::Onlink);
    Some(Route { link: parts.link?, destination, gateway: parts.gateway, onlink, metric: parts.metric })
}

fn default_gateway(message: &RouteMessage) -> Option<(u32, IpAddr)> {
    if message.header.destination_prefix_length != 0 {
        return None;
    }
    let parts = parts(message)?;
    Some((parts.metric, parts.gateway?))
}

pub(crate) fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
