//! Host name, resolv.conf and hosts: choices and texts are pure, writing is atomic.

use std::{
    fmt::Write as _,
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use super::{
    cmdline::CommandLine,
    model::{Lease, Wanted},
};

/// The C library looks at no more name servers.
const RESOLVERS: usize = 3;
/// Name servers when nobody names one.
const DEFAULT_RESOLVERS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)), IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8))];
/// Search domains beyond this are left out.
const SEARCH: usize = 6;

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

/// The name that the node has by itself: configuration, then command line. DHCP servers are told this one.
#[must_use]
pub fn own_hostname<'a>(line: &'a CommandLine, wanted: &'a Wanted) -> Option<&'a str> {
    let given = line.ip.iter().find_map(|argument| argument.hostname.as_deref());
    wanted.hostname.as_deref().or(line.hostname.as_deref()).or(given)
}

/// Chooses: configuration, command line, DHCP (first link first), `fallback`.
#[must_use]
pub fn choose(line: &CommandLine, wanted: &Wanted, leases: &[&Lease], fallback: &str) -> Names {
    let leased = || leases.iter().find_map(|lease| lease.hostname.as_deref());
    let full = own_hostname(line, wanted).or_else(leased).unwrap_or(fallback);
    let (hostname, domain) = full.split_once('.').unwrap_or((full, ""));
    let mut resolvers = wanted.resolvers.clone();
    if resolvers.is_empty() {
        resolvers = line.ip.iter().flat_map(|argument| argument.resolvers.iter().copied()).collect();
    }
    if resolvers.is_empty() {
        resolvers = leases.iter().flat_map(|lease| lease.resolvers.iter().copied().map(IpAddr::V4)).collect();
    }
    if resolvers.is_empty() {
        resolvers = DEFAULT_RESOLVERS.to_vec();
    }
    let mut search = Vec::new();
    let all = wanted.search.iter().chain(leases.iter().flat_map(|lease| &lease.search));
    for name in all {
        if search.len() < SEARCH && !search.contains(name) {
            search.push(name.clone());
        }
    }
    let mut unique = Vec::new();
    resolvers.retain(|address| {
        if unique.contains(address) {
            false
        } else {
            unique.push(*address);
            true
        }
    });
    resolvers.truncate(RESOLVERS);
    Names { hostname: hostname.to_owned(), domain: domain.to_owned(), resolvers, search }
}

/// `keelson-` and the last three octets of a hardware address.
#[must_use]
pub fn fallback_from(mac: &[u8]) -> Option<String> {
    let [.., a, b, c] = mac else { return None };
    Some(format!("keelson-{a:02x}{b:02x}{c:02x}"))
}

/// The text of resolv.conf.
#[must_use]
pub fn resolv_conf(names: &Names) -> String {
    let mut text = String::new();
    if !names.search.is_empty() {
        let _ = writeln!(text, "search {}", names.search.join(" "));
    }
    for address in &names.resolvers {
        let _ = writeln!(text, "nameserver {address}");
    }
    text
}

/// The text of hosts. `address` is the node's first address; without one its name still resolves, to itself.
#[must_use]
pub fn hosts(names: &Names, address: Option<IpAddr>, extra: &[(IpAddr, Vec<String>)]) -> String {
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1)));
    let mut text = String::from("127.0.0.1 localhost\n");
    if names.domain.is_empty() {
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
    use std::time::Duration;

    use super::*;

    fn lease(hostname: Option<&str>, resolvers: &[&str], search: &[&str]) -> Lease {
        Lease {
            address: "10.0.2.15/24".parse().unwrap(),
            routers: vec![],
            routes: vec![],
            resolvers: resolvers.iter().map(|text| text.parse().unwrap()).collect(),
            search: search.iter().map(|text| (*text).to_owned()).collect(),
            hostname: hostname.map(str::to_owned),
            mtu: None,
            server: Ipv4Addr::UNSPECIFIED,
            lifetime: Duration::from_secs(1),
        }
    }

    #[track_caller]
    fn check(line: &str, config: Option<&str>, dhcp: Option<&str>, wanted: &str) {
        let wanted_config = Wanted { hostname: config.map(str::to_owned), ..Wanted::default() };
        let lease = lease(dhcp, &[], &[]);
        let names = choose(&CommandLine::parse(line), &wanted_config, &[&lease], "keelson-123456");
        assert_eq!(names.full(), wanted, "{line} {config:?} {dhcp:?}");
    }

    #[test]
    fn the_strongest_name_wins() {
        check("", None, None, "keelson-123456");
        check("", None, Some("dhcp1"), "dhcp1");
        check("ip=::::cmd1::dhcp", None, Some("dhcp1"), "cmd1");
        check("ip=::::cmd1::dhcp talos.hostname=cmd2", None, Some("dhcp1"), "cmd2");
        check("talos.hostname=cmd2", Some("node.example.com"), Some("dhcp1"), "node.example.com");
    }

    #[test]
    fn resolvers_replace_and_search_domains_add_up() {
        let one = lease(None, &["10.0.2.3", "10.0.2.3", "10.0.2.4"], &["a.example", "b.example"]);
        let two = lease(None, &["10.0.3.3", "10.0.3.4"], &["b.example", "c.example"]);
        let names = choose(&CommandLine::default(), &Wanted::default(), &[&one, &two], "n");
        assert_eq!(
            resolv_conf(&names),
            "search a.example b.example c.example\nnameserver 10.0.2.3\nnameserver 10.0.2.4\nnameserver 10.0.3.3\n"
        );
        let wanted = Wanted { resolvers: vec!["9.9.9.9".parse().unwrap()], search: vec!["z".to_owned()], ..Wanted::default() };
        let names = choose(&CommandLine::default(), &wanted, &[&one], "n");
        assert_eq!(resolv_conf(&names), "search z a.example b.example\nnameserver 9.9.9.9\n");
        let names = choose(&CommandLine::default(), &Wanted::default(), &[], "n");
        assert_eq!(resolv_conf(&names), "nameserver 1.1.1.1\nnameserver 8.8.8.8\n");
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
