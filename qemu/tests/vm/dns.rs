//! The node's own name server: asked by the node, kept, passed on to a server that is well, switched off, in a sandbox.
//!
//! Name servers have no ports in a configuration, so the harness serves names on a virtual network, where port 53 is its own.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine,
    api::{refused, wait_for},
    lan::{Lan, dns::Orders},
    limits,
    node::{Access, configured},
    ntp::TimeServer,
};
use tonic::Code;
use wire::{
    machine::{ServiceInfo, ServiceRestartRequest, ServiceStopRequest},
    time::{TimeRequest, time_service_client::TimeServiceClient},
};

use crate::{
    sandbox::{Service, no_call_was_refused},
    trial,
};

/// The harness's name servers, and the node, on the virtual network.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 4, 0, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 4, 0, 3);
/// The host, on QEMU's user network.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Names within it are known to the harness only.
const DOMAIN: &str = "keelson-dns.test";
/// From a server that went silent to one that is known to be: two questions, each waited for at most 5 s.
const NOTICED: Duration = Duration::from_secs(60);
/// From a server that speaks again to one that is known to: the longest pause between two questions on the side.
const FORGIVEN: Duration = Duration::from_secs(120);

const UPSTREAMS: &str = "DNSUpstreams.net.talos.dev";
const CACHES: &str = "DNSResolveCaches.net.talos.dev";
const ADDRESSES: &str = "AddressStatuses.net.talos.dev";
const CONFIGS: &str = "HostDNSConfigs.net.talos.dev";

const DNSD: Service = Service {
    name: "dnsd",
    user: 52,
    // CAP_NET_BIND_SERVICE.
    capabilities: "0000000000000400",
    oom_score: "-996",
    group: "system/dnsd",
    memory_mib: 32,
    mounts: &["/"],
    tree: &["."],
};

pub fn trials() -> Vec<Trial> {
    Arch::ALL.into_iter().map(|arch| trial(format!("dns/{arch}"), move || names_are_found(Machine::new(arch)))).collect()
}

fn names_are_found(machine: Machine) -> Result<()> {
    let lan = Lan::new()?;
    lan.serve_dns(Orders { domain: DOMAIN.to_owned(), address: HOST, servers: vec![FIRST, SECOND], silent: Vec::new() });
    let clock = TimeServer::start(Duration::ZERO)?;
    let port = clock.name().rsplit_once(':').context("no port")?.1.to_owned();
    let world = World { lan: &lan, port };

    let (_vm, api, access) = configured(Machine { cables: vec![lan.plug()], ..machine })?;
    // In maintenance and with the generated configuration alike.
    servers(&api, &["127.0.0.53"])?;
    api.apply(&with_servers(&access, "{enabled: true, forwardKubeDNSToHost: true}")?)?;
    is_shown(&api)?;
    world.is_kept(&api)?;
    world.goes_on_without_the_first(&api)?;
    let pid = DNSD.expect(&api)?;
    begins_anew(&api, pid)?;
    world.found(&api, "again")?;
    no_call_was_refused(&api)?;
    is_switched_off(&api, &access)?;
    // Without it names are found all the same.
    world.found(&api, "direct")
}

/// The generated configuration with these servers on the virtual network, and this for the node's own. The first link goes on asking
/// for an address: the API is reached through it.
fn with_servers(access: &Access, dns: &str) -> Result<String> {
    let (own, other): (Vec<&str>, Vec<&str>) = access.config.split("---\n").partition(|document| document.contains("kind: ResolverConfig"));
    ensure!(own.len() == 1, "the generated configuration says something else about name servers");
    Ok(format!(
        "{}---\napiVersion: v1alpha1\nkind: DHCPv4Config\nname: eth0\n\
         ---\napiVersion: v1alpha1\nkind: LinkConfig\nname: eth1\naddresses: [{{address: 10.4.0.2/24}}]\n\
         ---\napiVersion: v1alpha1\nkind: ResolverConfig\nnameservers: [{{address: {FIRST}}}, {{address: {SECOND}}}]\nhostDNS: {dns}\n",
        other.join("---\n")
    ))
}

/// What clients see of it.
fn is_shown(api: &Api) -> Result<()> {
    says(api, CONFIGS, "config", "enabled: true\nlistenAddresses:\n- 127.0.0.53:53\nserviceHostDNSAddress: 169.254.116.108\n")?;
    says(api, UPSTREAMS, &format!("#000 {FIRST}"), &format!("healthy: 'true'\naddr: {FIRST}:53\n"))?;
    says(api, UPSTREAMS, &format!("#001 {SECOND}"), "healthy: 'true'\n")?;
    for id in ["udp-127.0.0.53:53", "tcp-127.0.0.53:53", "udp-169.254.116.108:53", "tcp-169.254.116.108:53"] {
        says(api, CACHES, id, "status: running\n")?;
    }
    says(api, ADDRESSES, "lo/169.254.116.108/32", "scope: host\n")?;
    says(api, ADDRESSES, "eth1/10.4.0.2/24", "family: inet4\n")?;
    says(api, "ResolverStatuses.net.talos.dev", "resolvers", &format!("dnsServers:\n- {FIRST}\n- {SECOND}\n"))?;
    servers(api, &["127.0.0.53"])?;
    let pods = api.read_text("/run/resolved/resolv.conf")?;
    ensure!(pods.contains("nameserver 169.254.116.108\n"), "for pods: {pods}");
    ensure!(api.logs("dnsd", -1)? == api.logs("dns-resolve-cache", -1)?, "its log has two names");
    Ok(())
}

struct World<'a> {
    lan: &'a Lan,
    /// Of the time server on the host.
    port: String,
}

impl World<'_> {
    /// Asks the time of a server by a name that only the harness knows.
    fn found(&self, api: &Api, label: &str) -> Result<()> {
        let server = format!("{label}.{DOMAIN}:{}", self.port);
        let mut client = TimeServiceClient::new(api.channel());
        let answer = api.call(client.time_check(TimeRequest { server: server.clone() }))?;
        let reading = answer.messages.into_iter().next().context("no reading")?;
        ensure!(reading.remotetime.is_some(), "no time of {server}: {reading:?}");
        Ok(())
    }

    /// At which servers somebody looked for the address of this name since the last question about it.
    fn asked(&self, label: &str) -> Vec<Ipv4Addr> {
        let name = format!("{label}.{DOMAIN}");
        self.lan.looked_up().into_iter().filter(|seen| seen.name == name && seen.kind == 1).map(|seen| seen.server).collect()
    }

    fn is_kept(&self, api: &Api) -> Result<()> {
        drop(self.lan.looked_up());
        wait_for("a name to be found", limits::SETTLE, || self.found(api, "kept"))?;
        ensure!(!self.asked("kept").is_empty(), "nobody asked the harness");
        for _ in 0..3 {
            self.found(api, "kept")?;
        }
        let again = self.asked("kept");
        ensure!(again.is_empty(), "what is kept was asked for again, at {again:?}");
        Ok(())
    }

    /// The first server falls silent: the second one answers, and soon it is asked first.
    fn goes_on_without_the_first(&self, api: &Api) -> Result<()> {
        let before = told(api)?;
        self.lan.order_dns(|orders| orders.silent = vec![FIRST]);
        let first = format!("#000 {FIRST}");
        let mut number = 0;
        wait_for("the first server to be known as silent", NOTICED, || {
            number += 1;
            self.found(api, &format!("silent{number}"))?;
            is(api, UPSTREAMS, &first, "healthy: 'false'\n")
        })?;
        drop(self.lan.looked_up());
        self.found(api, "second")?;
        let asked = self.asked("second");
        // The first one may have been asked on the side, too.
        ensure!(asked.contains(&SECOND), "asked at {asked:?}");
        let after = told(api)?;
        ensure!(after == before + 1, "told {before} times, then {after}");

        self.lan.order_dns(|orders| orders.silent.clear());
        wait_for("the first server to be known as well", FORGIVEN, || {
            number += 1;
            self.found(api, &format!("silent{number}"))?;
            is(api, UPSTREAMS, &first, "healthy: 'true'\n")
        })
    }
}

/// How often its log says that the first server does not answer.
fn told(api: &Api) -> Result<usize> {
    let log = api.logs("dns-resolve-cache", -1)?;
    Ok(log.lines().filter(|line| line.contains("does not answer") && line.contains(&FIRST.to_string())).count())
}

/// Somebody has it begin anew: another process, and names are found again. It may not be stopped.
fn begins_anew(api: &Api, before: i32) -> Result<()> {
    let mut client = api.machine();
    let stop = api.call(client.service_stop(ServiceStopRequest { id: "dnsd".to_owned() }));
    refused(stop, Code::FailedPrecondition)?;
    api.call(client.service_restart(ServiceRestartRequest { id: "dnsd".to_owned() }))?;
    wait_for("another dnsd", limits::SETTLE, || {
        ensure!(DNSD.pid(api)? != before, "still process {before}");
        let dnsd = service(api)?;
        ensure!(dnsd.health.as_ref().is_some_and(|health| health.healthy), "{:?}", dnsd.health);
        Ok(())
    })?;
    servers(api, &["127.0.0.53"])
}

fn is_switched_off(api: &Api, access: &Access) -> Result<()> {
    api.apply(&with_servers(access, "{enabled: false}")?)?;
    servers(api, &[&FIRST.to_string(), &SECOND.to_string()])?;
    wait_for("dnsd to end", limits::SETTLE, || {
        let dnsd = service(api)?;
        ensure!(dnsd.state == "Finished", "it is {}", dnsd.state);
        let processes = api.processes()?;
        ensure!(!processes.iter().any(|process| process.command == "dnsd"), "it is still there");
        Ok(())
    })?;
    says(api, CONFIGS, "config", "enabled: false\n")?;
    for (kind, id) in [(CACHES, "udp-127.0.0.53:53"), (ADDRESSES, "lo/169.254.116.108/32")] {
        wait_for(&format!("{id} to be gone"), limits::SETTLE, || refused(api.resource("network", kind, id), Code::NotFound))?;
    }
    let pods = api.read_text("/run/resolved/resolv.conf")?;
    ensure!(pods.contains(&format!("nameserver {FIRST}\n")), "for pods: {pods}");
    Ok(())
}

fn service(api: &Api) -> Result<ServiceInfo> {
    api.services()?.into_iter().find(|service| service.id == "dnsd").context("no dnsd")
}

/// Waits until programs are sent to these.
fn servers(api: &Api, wanted: &[&str]) -> Result<()> {
    wait_for(&format!("{wanted:?} in resolv.conf"), limits::SETTLE, || {
        let text = api.read_text("/etc/resolv.conf")?;
        let found: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("nameserver ")).collect();
        ensure!(found == wanted, "it has {found:?}");
        Ok(())
    })
}

fn is(api: &Api, kind: &str, id: &str, text: &str) -> Result<()> {
    let yaml = api.resource("network", kind, id)?;
    ensure!(yaml.contains(text), "it says:\n{yaml}");
    Ok(())
}

/// Waits until what a resource says has this in it.
fn says(api: &Api, kind: &str, id: &str, text: &str) -> Result<()> {
    wait_for(&format!("{text:?} in {kind} {id}"), limits::SETTLE, || is(api, kind, id, text))
}
