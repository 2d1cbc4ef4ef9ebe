//! Host name, resolv.conf and hosts: choices and texts are pure, writing is atomic.

use std::{
    fmt::Write as _,
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use machine_config::AutoHostname;
use resource::kinds::network::ConfigLayer;

use super::specs::{Merged, Specs};
use crate::identity::NodeId;

/// Name servers in resolv.conf: the C library looks at no more.
const SERVERS: usize = 3;

/// Names of the node and of those it asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Host name without domain.
    pub hostname: String,
    /// Domain, empty when there is none.
    pub domain: String,
    /// Name servers.
    pub resolvers: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
}

impl Names {
    /// Host name and domain joined.
    #[must_use]
    pub fn full(&self) -> String {
        if self.domain.is_empty() { self.hostname.clone() } else { format!("{}.{}", self.hostname, self.domain) }
    }
}

/// The names that won.
#[must_use]
pub fn of(merged: &Merged) -> Names {
    Names {
        hostname: merged.hostname.hostname.clone(),
        domain: merged.hostname.domainname.clone(),
        resolvers: merged.resolvers.dns_servers.clone(),
        search: merged.resolvers.search_domains.clone(),
    }
}

/// The name that the node has by itself and not from a lease or for want of another. DHCP servers are told this one.
#[must_use]
pub fn own_hostname(specs: &Specs) -> Option<String> {
    let own = specs.hostnames.iter().filter(|spec| !matches!(spec.layer, ConfigLayer::Default | ConfigLayer::Operator));
    own.max_by_key(|spec| spec.layer as u8).map(|spec| spec.hostname.clone())
}

/// What a node can make a name of.
#[derive(Clone, Copy, Debug)]
pub struct Origins<'a> {
    /// Who it is; `None` when that is not known, or not yet.
    pub identity: Option<&'a NodeId>,
    /// Its address.
    pub address: Option<IpAddr>,
    /// For want of these.
    pub fallback: &'a str,
}

/// The name that a node takes when nobody gives it one (reference, behaviour (j)).
#[must_use]
pub fn automatic(kind: AutoHostname, origins: &Origins<'_>) -> Option<String> {
    let name = match kind {
        AutoHostname::Stable => origins.identity.map(NodeId::hostname),
        AutoHostname::Address => {
            origins.address.map(|address| format!("talos-{}", address.to_string().replace(['.', ':'], "-").trim_end_matches('-')))
        }
        AutoHostname::Off => return None,
    };
    Some(name.unwrap_or_else(|| origins.fallback.to_owned()))
}

/// `keelson-` and the last three octets of a hardware address.
#[must_use]
pub fn fallback_from(mac: &[u8]) -> Option<String> {
    let [.., a, b, c] = mac else { return None };
    Some(format!("keelson-{a:02x}{b:02x}{c:02x}"))
}

/// The text of resolv.conf: `own` are the addresses of the node's own name server, when it answers.
#[must_use]
pub fn resolv_conf(names: &Names, own: &[IpAddr]) -> String {
    let mut text = String::new();
    if !names.search.is_empty() {
        let _ = writeln!(text, "search {}", names.search.join(" "));
    }
    let servers = if own.is_empty() { &names.resolvers[..] } else { own };
    for address in servers.iter().take(SERVERS) {
        let _ = writeln!(text, "nameserver {address}");
    }
    text
}

/// The address that the node's name leads to: the first of IPv4, else the first.
pub fn first_address(addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    addresses.min_by_key(IpAddr::is_ipv6)
}

/// The text of hosts. `address` is the node's first address; without one its name still resolves, to itself.
#[must_use]
pub fn hosts(names: &Names, address: Option<IpAddr>, extra: &[(IpAddr, Vec<String>)]) -> String {
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1)));
    let mut text = String::from("127.0.0.1 localhost\n");
    if names.hostname.is_empty() {
        // Nobody has named it yet.
    } else if names.domain.is_empty() {
        let _ = writeln!(text, "{address} {}", names.hostname);
    } else {
        let _ = writeln!(text, "{address} {} {}", names.full(), names.hostname);
    }
    text.push_str("::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n");
    for (address, names) in extra.iter().filter(|(_, names)| !names.is_empty()) {
        let _ = writeln!(text, "{address} {}", names.join(" "));
    }
    text
}

/// Writing a file failed.
#[derive(Debug, thiserror::Error)]
#[error("write {path}")]
pub struct WriteError {
    path: PathBuf,
    source: io::Error,
}

/// Replaces a file by renaming, so that a reader sees the old text or the new. The file system is memory: nothing to sync.
///
/// # Errors
/// [`WriteError`] with the file.
pub fn replace(path: &Path, text: &str) -> Result<(), WriteError> {
    let failed = |source| WriteError { path: path.to_owned(), source };
    if fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    fs::write(&temporary, text).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_has_servers_and_domains() {
        let names = Names { resolvers: vec!["10.0.2.3".parse().unwrap()], search: vec!["a.b".into(), "c".into()], ..Names::default() };
        assert_eq!(resolv_conf(&names, &[]), "search a.b c\nnameserver 10.0.2.3\n");
        assert_eq!(resolv_conf(&names, &[[127, 0, 0, 53].into()]), "search a.b c\nnameserver 127.0.0.53\n");
        assert_eq!(resolv_conf(&Names::default(), &[]), "");
        let many = Names { resolvers: (1..9).map(|last| [10, 0, 0, last].into()).collect(), ..Names::default() };
        assert_eq!(resolv_conf(&many, &[]), "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n");
    }

    #[test]
    fn hosts_names_the_node() {
        let names = Names { hostname: "node".to_owned(), domain: "example.com".to_owned(), ..Names::default() };
        let extra = [("10.0.0.7".parse().unwrap(), vec!["db".to_owned(), "db.example.com".to_owned()])];
        assert_eq!(
            hosts(&names, Some("10.0.2.15".parse().unwrap()), &extra),
            "127.0.0.1 localhost\n10.0.2.15 node.example.com node\n::1 localhost ip6-localhost ip6-loopback\n\
             ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n10.0.0.7 db db.example.com\n"
        );
        let names = Names { hostname: "keelson-123456".to_owned(), ..Names::default() };
        assert!(hosts(&names, None, &[]).contains("127.0.1.1 keelson-123456\n"));
        assert_eq!(fallback_from(&[0x52, 0x54, 0, 0x12, 0x34, 0x56]).as_deref(), Some("keelson-123456"));
        assert_eq!(fallback_from(&[]), None);
        assert!(!hosts(&Names::default(), None, &[]).contains("127.0.1.1"), "no line without a name");
    }

    #[test]
    fn names_that_a_node_takes_by_itself() {
        let id = NodeId::parse("nodeId: 0000000000000000000000000000000000000000000").unwrap();
        let (four, six) = (Some("10.0.2.15".parse().unwrap()), Some("2001:db8::1".parse().unwrap()));
        for (kind, identity, address, wanted) in [
            (AutoHostname::Stable, Some(&id), four, Some("talos-2tb-zes")),
            (AutoHostname::Stable, None, four, Some("keelson-1")),
            (AutoHostname::Address, Some(&id), four, Some("talos-10-0-2-15")),
            (AutoHostname::Address, Some(&id), six, Some("talos-2001-db8--1")),
            (AutoHostname::Address, Some(&id), None, Some("keelson-1")),
            (AutoHostname::Off, Some(&id), four, None),
        ] {
            let origins = Origins { identity, address, fallback: "keelson-1" };
            assert_eq!(automatic(kind, &origins).as_deref(), wanted, "{kind:?}");
        }
    }

    #[test]
    fn files_are_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etc/hosts");
        replace(&path, "one").unwrap();
        replace(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path().join("etc")).unwrap().count(), 1, "nothing left over");
        let error = replace(&path.join("under"), "x").unwrap_err();
        assert!(error.to_string().ends_with("etc/hosts/under"), "{error}");
    }
}
