//! The URL of the API server.

/// The host of `https://host[:port]`, or what is wrong with the URL.
pub(crate) fn host(url: &str) -> Result<&str, &'static str> {
    let Some(rest) = url.strip_prefix("https://") else {
        return Err("it must start with https:// (https://10.0.0.10:6443)");
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '@', ' ']) {
        return Err("only host and port may follow https://");
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(inside) => {
            let (host, after) = inside.split_once(']').ok_or("the bracket of the address is not closed")?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("what is in brackets must be an IPv6 address");
            }
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or("a port starts with a colon")?) })
        }
        None => match rest.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            Some(_) => return Err("an IPv6 address goes in brackets"),
            None => (rest, None),
        },
    };
    if host.is_empty() {
        return Err("it has no host");
    }
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err("the port must be a number from 1 to 65535");
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn hosts_are_found_and_wrong_urls_explained() {
        for (url, wanted) in [
            ("https://10.0.0.1:6443", Some("10.0.0.1")),
            ("https://cluster.lan", Some("cluster.lan")),
            ("https://cluster.lan:443/", Some("cluster.lan")),
            ("https://[fd00::1]:6443", Some("fd00::1")),
            ("https://[fd00::1]", Some("fd00::1")),
            ("https://fd00::1:6443", None),
            ("https://[x]:1", None),
            ("https://[::1]6443", None),
            ("https://", None),
            ("https://a:0", None),
            ("https://a:70000", None),
            ("https://a/b", None),
            ("http://a", None),
            ("a:6443", None),
            ("", None),
        ] {
            assert_eq!(host(url).ok(), wanted, "{url}");
        }
    }
}
