//! What the kernel command line says about the network. Pure.
//!
//! - `ip=<client>:<server>:<gateway>:<netmask>:<hostname>:<device>:<autoconf>:<dns0>:<dns1>:<ntp0>` (the kernel's form,
//!   Documentation/admin-guide/nfs/nfsroot.rst), `ip=<device>:dhcp` and `ip=dhcp`; repeatable. IPv6 addresses stand in brackets.
//! - `vlan=` and `bond=`, repeatable ([`cmdline_links`]).
//! - `talos.hostname=<name>`; `talos.network.interface.ignore=<device>`, repeatable.
//!
//! A device is a kernel name or a hardware address, written `enx525400123456`, `52-54-00-12-34-56` or
//! `[52:54:00:12:34:56]`, because bare colons separate fields.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use machine_config::network::Link;

use super::cmdline_links;

/// How many arguments of a kind are looked at.
const MOST: usize = 16;

/// A link by name or hardware address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Kernel name.
    Name(String),
    /// Hardware address.
    Mac([u8; 6]),
}

impl Selector {
    /// Reads a device as written on the command line.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(mac) = mac(text) {
            return Some(Self::Mac(mac));
        }
        let valid = !text.is_empty()
            && text.len() < 16
            && !matches!(text, "." | "..")
            && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
        valid.then(|| Self::Name(text.to_owned()))
    }

    /// Whether it means the link with this name and hardware address.
    #[must_use]
    pub fn matches(&self, name: &str, address: &[u8]) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Mac(wanted) => wanted == address,
        }
    }
}

/// How a link named by `ip=` gets its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// By DHCP.
    Dhcp,
    /// As given.
    Static {
        /// Address with its prefix.
        address: IpNet,
        /// Default gateway.
        gateway: Option<IpAddr>,
    },
    /// Brought up, nothing else.
    None,
}

/// One `ip=` argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpArgument {
    /// Which link; `None` leaves it open: every physical link for DHCP, the first one for an address.
    pub device: Option<Selector>,
    /// How it gets its address.
    pub method: Method,
    /// Host name, with or without a domain.
    pub hostname: Option<String>,
    /// Name servers.
    pub resolvers: Vec<IpAddr>,
    /// The time server.
    pub time_server: Option<String>,
}

/// Everything about the network on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// `ip=` in order.
    pub ip: Vec<IpArgument>,
    /// `talos.hostname=`, the last one.
    pub hostname: Option<String>,
    /// `talos.network.interface.ignore=`.
    pub ignored: Vec<String>,
    /// `vlan=` and `bond=`.
    pub links: Vec<Link>,
    /// Arguments that could not be understood, with the reason.
    pub problems: Vec<String>,
}

impl CommandLine {
    /// Reads the text of `/proc/cmdline`. Never fails: what cannot be understood is in `problems`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut line = Self::default();
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some(("ip", value)) if line.ip.len() < MOST => match IpArgument::parse(value) {
                    Ok(argument) => line.ip.push(argument),
                    Err(reason) => line.problems.push(format!("{word}: {reason}")),
                },
                Some(("ip", _)) => line.problems.push(format!("{word}: more than {MOST} of these")),
                Some((key @ ("vlan" | "bond"), value)) if line.links.len() < MOST => {
                    let read = if key == "vlan" { cmdline_links::vlan(value) } else { cmdline_links::bond(value) };
                    match read {
                        Ok(link) => line.links.push(link),
                        Err(reason) => line.problems.push(format!("{word}: {reason}")),
                    }
                }
                Some(("vlan" | "bond", _)) => line.problems.push(format!("{word}: more than {MOST} of these")),
                Some(("talos.hostname", value)) if hostname(value) => line.hostname = Some(value.to_owned()),
                Some(("talos.hostname", _)) => line.problems.push(format!("{word}: not a host name")),
                Some(("talos.network.interface.ignore", value)) => line.ignored.push(value.to_owned()),
                _ => {}
            }
        }
        line
    }
}

impl IpArgument {
    fn parse(value: &str) -> Result<Self, String> {
        let fields = split(value)?;
        let field = |index: usize| fields.get(index).map(String::as_str).filter(|text| !text.is_empty());
        let (first, second) = (field(0), field(1));
        if let (1, Some(method)) = (fields.len(), first.and_then(method)) {
            return Ok(Self { device: None, method: method?, hostname: None, resolvers: Vec::new(), time_server: None });
        }
        // <device>:dhcp; with a server as second field there would be a gateway or netmask too.
        if let (2, Some(device), Some(method)) = (fields.len(), first, second.and_then(method)) {
            let device = Some(Selector::parse(device).ok_or_else(|| format!("`{device}` is not a device"))?);
            return Ok(Self { device, method: method?, hostname: None, resolvers: Vec::new(), time_server: None });
        }
        if fields.len() > 10 {
            return Err("more than ten fields".to_owned());
        }
        let device = field(5)
            .map(|text| Selector::parse(text).ok_or_else(|| format!("device `{text}` is neither a name nor an address")))
            .transpose()?;
        let hostname = field(4)
            .map(|text| if hostname(text) { Ok(text.to_owned()) } else { Err(format!("`{text}` is not a host name")) })
            .transpose()?;
        let resolvers = [field(7), field(8)].into_iter().flatten().map(address).collect::<Result<_, _>>()?;
        let method = match (first, field(6).and_then(method).transpose()?) {
            (Some(client), None | Some(Method::None)) => fixed(client, field(2), field(3))?,
            (Some(_), Some(_)) => return Err("an address and automatic configuration exclude each other".to_owned()),
            (None, Some(method)) => method,
            (None, None) if field(6).is_some() => return Err("unknown kind of automatic configuration".to_owned()),
            (None, None) => Method::Dhcp,
        };
        let time_server = field(9)
            .map(|text| match address(text) {
                Err(_) if !self::hostname(text) => Err(format!("`{text}` is not a time server")),
                _ => Ok(text.to_owned()),
            })
            .transpose()?;
        Ok(Self { device, method, hostname, resolvers, time_server })
    }
}

fn fixed(client: &str, gateway: Option<&str>, netmask: Option<&str>) -> Result<Method, String> {
    let client = address(client)?;
    let prefix = match netmask {
        Some(text) => prefix(text, client)?,
        None => default_prefix(client),
    };
    let address_net = IpNet::new(client, prefix).map_err(|_| format!("prefix length {prefix} is too long"))?;
    let gateway = gateway.map(address).transpose()?;
    if gateway.is_some_and(|gateway| gateway.is_ipv4() != client.is_ipv4()) {
        return Err("address and gateway are of different families".to_owned());
    }
    Ok(Method::Static { address: address_net, gateway })
}

/// The autoconf field. `None`: it is no known word.
fn method(text: &str) -> Option<Result<Method, String>> {
    match text {
        "dhcp" | "on" | "any" | "both" => Some(Ok(Method::Dhcp)),
        "off" | "none" | "static" => Some(Ok(Method::None)),
        "bootp" | "rarp" => Some(Err(format!("`{text}` is not supported, only dhcp is"))),
        _ => None,
    }
}

/// Splits at colons outside brackets and drops the brackets.
fn split(value: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut inside = false;
    for character in value.chars() {
        match (character, inside) {
            ('[', false) => inside = true,
            (']', true) => inside = false,
            (':', false) => fields.push(String::new()),
            (character, _) => {
                if let Some(last) = fields.last_mut() {
                    last.push(character);
                }
            }
        }
    }
    if inside { Err("unbalanced bracket".to_owned()) } else { Ok(fields) }
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address"))
}

/// A netmask as bits or dotted.
fn prefix(text: &str, client: IpAddr) -> Result<u8, String> {
    if let Ok(bits) = text.parse::<u8>() {
        return Ok(bits);
    }
    let mask: Ipv4Addr = text.parse().map_err(|_| format!("`{text}` is not a netmask"))?;
    let bits = u32::from(mask);
    if client.is_ipv6() || bits.leading_ones() + bits.trailing_zeros() < 32 {
        return Err(format!("`{text}` is not a netmask"));
    }
    Ok(u8::try_from(bits.leading_ones()).unwrap_or(32))
}

/// Without a netmask the kernel takes the address's class.
fn default_prefix(client: IpAddr) -> u8 {
    match client {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            match first {
                0..=127 => 8,
                128..=191 => 16,
                192..=223 => 24,
                _ => 32,
            }
        }
        IpAddr::V6(_) => 64,
    }
}

/// `enx...`, dashes or colons.
fn mac(text: &str) -> Option<[u8; 6]> {
    let digits: String = match text.strip_prefix("enx") {
        Some(rest) => rest.to_owned(),
        None if text.len() == 17 && (text.matches('-').count() == 5 || text.matches(':').count() == 5) => text.replace(['-', ':'], ""),
        None => return None,
    };
    // Not by the number alone: that may have a sign in front.
    if digits.len() != 12 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(&digits, 16).ok().map(|value| {
        let [_, _, mac @ ..] = value.to_be_bytes();
        mac
    })
}

/// RFC 1123, with a domain or without.
#[must_use]
pub fn hostname(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
#[path = "cmdline_tests.rs"]
mod tests;
