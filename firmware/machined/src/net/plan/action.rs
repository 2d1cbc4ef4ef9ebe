//! A single step.

use std::fmt;

use ipnet::IpNet;
use resource::kinds::network::{BondMasterSpec, BridgeMasterSpec, LinkSpecSpec, WireguardSpec};

use crate::net::model::{Route, Rule, mac_text};

/// A step towards what is wanted. Links are named by their kernel index.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are the object of the step and what it is to become")]
pub enum Action {
    /// Allow IPv6 to configure itself on the link, also when the node forwards packets.
    AllowIpv6 { name: String },
    /// Make a link; a cable comes with its other end.
    MakeLink { spec: Box<LinkSpecSpec>, parent: Option<u32> },
    /// Remove a link of ours.
    RemoveLink { link: u32, name: String },
    /// Bring it up.
    Up { link: u32 },
    /// Take it down.
    Down { link: u32 },
    /// Set its MTU, bytes.
    Mtu { link: u32, from: u32, mtu: u32 },
    /// Let it take part in multicast or not.
    Multicast { link: u32, on: bool },
    /// Set its hardware address.
    HardwareAddress { link: u32, mac: Vec<u8> },
    /// Change a bond.
    Bond { link: u32, from: Box<BondMasterSpec>, to: Box<BondMasterSpec>, primary: Option<u32> },
    /// Change a bridge.
    Bridge { link: u32, from: BridgeMasterSpec, to: BridgeMasterSpec },
    /// Make it part of another link, or of none.
    Port { link: u32, master: Option<u32> },
    /// Give it another name.
    GiveName { link: u32, name: String },
    /// Take another name of ours away.
    TakeName { link: u32, name: String },
    /// Tell a tunnel its keys and peers; `from` is what it was told before.
    Tunnel { link: u32, from: Option<Box<WireguardSpec>>, to: Box<WireguardSpec> },
    /// Remove an address of ours.
    RemoveAddress { link: u32, net: IpNet },
    /// Add an address; metric 0 leaves the metric of its route to the kernel.
    AddAddress { link: u32, net: IpNet, metric: u32, host: bool },
    /// Remove a route of ours.
    RemoveRoute(Route),
    /// Add a route.
    AddRoute(Route),
    /// Remove a rule of ours.
    RemoveRule(Rule),
    /// Add a rule.
    AddRule(Rule),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllowIpv6 { name } => write!(f, "allow IPv6 on {name}"),
            Self::MakeLink { spec, .. } => write!(f, "make {} {}", spec.kind, spec.name),
            Self::RemoveLink { name, .. } => write!(f, "remove link {name}"),
            Self::Up { link } => write!(f, "bring link {link} up"),
            Self::Down { link } => write!(f, "take link {link} down"),
            Self::Mtu { link, mtu, .. } => write!(f, "set the MTU of link {link} to {mtu}"),
            Self::Multicast { link, on } => write!(f, "turn multicast of link {link} {}", if *on { "on" } else { "off" }),
            Self::HardwareAddress { link, mac } => write!(f, "set the address of link {link} to {}", mac_text(mac)),
            Self::Bond { link, .. } => write!(f, "change bond {link}"),
            Self::Bridge { link, .. } => write!(f, "change bridge {link}"),
            Self::Port { link, master: Some(master) } => write!(f, "make link {link} part of link {master}"),
            Self::Port { link, master: None } => write!(f, "make link {link} part of nothing"),
            Self::GiveName { link, name } => write!(f, "call link {link} {name}, too"),
            Self::TakeName { link, name } => write!(f, "stop calling link {link} {name}"),
            Self::Tunnel { link, .. } => write!(f, "set up tunnel {link}"),
            Self::RemoveAddress { link, net } => write!(f, "remove {net} from link {link}"),
            Self::AddAddress { link, net, .. } => write!(f, "add {net} to link {link}"),
            Self::RemoveRoute(route) => write!(f, "remove route {route}"),
            Self::AddRoute(route) => write!(f, "add route {route}"),
            Self::RemoveRule(rule) => write!(f, "remove rule {}", rule.priority),
            Self::AddRule(rule) => write!(f, "add rule {}", rule.priority),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}{}", if self.onlink { " onlink" } else { "" })?;
        }
        if let Some(link) = self.link {
            write!(f, " dev {link}")?;
        }
        write!(f, " metric {}", self.metric)
    }
}
