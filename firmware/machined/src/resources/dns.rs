//! The node's own name server as resources.

use std::net::IpAddr;

use reconcile::Output;
use resource::kinds::network::{DnsResolveCacheSpec, DnsUpstreamSpec, HOST_DNS, HostDnsConfigSpec};

use super::mirror::Mirror;
use crate::node::{HostDnsSettings, HostDnsStatus, Node};

pub(super) fn reconciler(node: &Node) -> Mirror<HostDnsStatus> {
    let outputs =
        vec![Output::exclusive::<HostDnsConfigSpec>(), Output::exclusive::<DnsUpstreamSpec>(), Output::exclusive::<DnsResolveCacheSpec>()];
    Mirror::new("network.dns", &node.host_dns, outputs, |dns, context| {
        context.keep([(HOST_DNS.to_owned(), config(&dns.settings))])?;
        context.keep(upstreams(dns))?;
        context.keep(places(dns))?;
        Ok(())
    })
}

fn config(settings: &HostDnsSettings) -> HostDnsConfigSpec {
    let of = |family: fn(&IpAddr) -> bool| settings.pods.iter().copied().find(family);
    HostDnsConfigSpec {
        enabled: settings.enabled,
        listen_addresses: settings.local.into_iter().collect(),
        service_address: of(IpAddr::is_ipv4),
        resolve_member_names: settings.member_names,
        service_address_v6: of(IpAddr::is_ipv6),
    }
}

/// In the order in which they are asked: the ids have the place in front.
fn upstreams(dns: &HostDnsStatus) -> Vec<(String, DnsUpstreamSpec)> {
    let numbered = dns.report.upstreams.iter().enumerate();
    numbered
        .map(|(at, upstream)| {
            let spec = DnsUpstreamSpec { healthy: upstream.healthy.to_string(), address: upstream.address.to_string() };
            (format!("#{at:03} {}", upstream.address.ip()), spec)
        })
        .collect()
}

fn places(dns: &HostDnsStatus) -> Vec<(String, DnsResolveCacheSpec)> {
    let running = || DnsResolveCacheSpec { status: "running".to_owned() };
    dns.report.listening.iter().map(|place| (format!("{}-{}", place.protocol.as_str(), place.address), running())).collect()
}

#[cfg(test)]
mod tests {
    use resource::Value;
    use wire::dnsd::{DnsdStatus, Listening, Transport, UpstreamStatus};

    use super::*;

    #[test]
    fn as_clients_know_it() {
        let local = "127.0.0.53:53".parse().unwrap();
        let pods = ["169.254.116.108", "fd54:616c:6f73:0:204f:5320:444e:531"].map(|text| text.parse().unwrap());
        let settings = HostDnsSettings { enabled: true, local: Some(local), pods: pods.into(), member_names: false };
        let expect = "enabled: true\nlistenAddresses:\n- 127.0.0.53:53\nserviceHostDNSAddress: 169.254.116.108\n\
                      serviceHostDNSAddressV6: fd54:616c:6f73:0:204f:5320:444e:531\n";
        assert_eq!(config(&settings).form().to_yaml().unwrap(), expect);
        let off = config(&HostDnsSettings::default()).form().to_yaml().unwrap();
        assert!(off.starts_with("enabled: false\n") && !off.contains("listen"), "{off}");

        let report = DnsdStatus {
            listening: vec![Listening { protocol: Transport::Tcp, address: local }],
            upstreams: vec![UpstreamStatus { address: "10.0.2.3:53".parse().unwrap(), healthy: true }],
        };
        let dns = HostDnsStatus { report, ..HostDnsStatus::default() };
        let [(id, upstream)]: [_; 1] = upstreams(&dns).try_into().unwrap();
        assert_eq!((id.as_str(), upstream.form().to_yaml().unwrap().as_str()), ("#000 10.0.2.3", "healthy: 'true'\naddr: 10.0.2.3:53\n"));
        let [(id, place)]: [_; 1] = places(&dns).try_into().unwrap();
        assert_eq!((id.as_str(), place.form().to_yaml().unwrap().as_str()), ("tcp-127.0.0.53:53", "status: running\n"));
    }
}
