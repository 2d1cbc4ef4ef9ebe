//! Links, addresses, routes and leases that a configuration asks for, on a virtual network of the harness.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine, TestVm,
    api::{refused, wait_for},
    lan::{Lan, dhcp::Orders},
    limits,
    node::{Access, configured, running},
};
use tonic::Code;

use crate::trial;

/// The namespace of most.
const NETWORK: &str = "network";
const LINKS: &str = "LinkStatuses.net.talos.dev";
const ADDRESSES: &str = "AddressStatuses.net.talos.dev";
/// Port of the API.
const API_PORT: u16 = 50_000;
/// VLAN of the tests.
const VLAN: Option<u16> = Some(5);
/// The harness on it.
const HARNESS: Ipv4Addr = Ipv4Addr::new(10, 5, 0, 1);
/// How long the DHCP server of the harness gives addresses for: the shortest that leaves time for a silent half on a loaded
/// machine.
const LEASE: Duration = Duration::from_secs(24);
/// From a server that went silent to an address that is gone: the lease, and time to notice.
const LEASE_END: Duration = Duration::from_secs(24 + 40);
/// From a server that is back to an address: the client's longest pause between two looks for one (64 s, RFC 2131), and a slow clock.
const LEASE_BACK: Duration = Duration::from_secs(120);

type Case = fn(Machine) -> Result<()>;

const CASES: &[(&str, Case)] = &[("links", links_come_and_go), ("two-nodes", nodes_reach_each_other), ("lease", a_server_goes_away)];

pub fn trials() -> Vec<Trial> {
    let cells = Arch::ALL.into_iter().flat_map(|arch| CASES.iter().map(move |case| (arch, case)));
    cells.map(|(arch, (name, case))| trial(format!("network/{arch}/{name}"), move || case(Machine::new(arch)))).collect()
}

/// The configuration with documents behind it. The first link goes on asking: the API is reached through it.
fn with(access: &Access, documents: &[&str]) -> String {
    let mut config = access.config.clone();
    for document in ["kind: DHCPv4Config\nname: eth0"].iter().chain(documents) {
        config.push_str("---\napiVersion: v1alpha1\n");
        config.push_str(document.trim());
        config.push('\n');
    }
    config
}

/// Links of every kind: made live, seen, used, gone with their documents, there again after a reboot.
fn links_come_and_go(machine: Machine) -> Result<()> {
    let lan = Lan::new()?;
    let (mut vm, api, access) = configured(Machine { cables: vec![lan.plug()], ..machine })?;
    refused(api.resource("network", LINKS, "bond0"), Code::NotFound).context("a bond that nobody asked for")?;
    refused(api.resource("network", LINKS, "dummy0"), Code::NotFound).context("a dummy that nobody asked for")?;
    api.says(NETWORK, LINKS, "eth1", &["kind: ''\n"])?;

    let node = Ipv4Addr::new(10, 5, 0, 2);
    // The rule is not at 1000: there the kernel makes one of its own with the first VRF, and keeps it.
    let documents = [
        "kind: LinkConfig\nname: eth1\naddresses: [{address: 10.4.0.2/24}]\nroutes: [{destination: 10.44.0.0/16, gateway: 10.4.0.9, metric: 7}]",
        "kind: VLANConfig\nname: eth1.5\nvlanID: 5\nparent: eth1\nmtu: 1400\naddresses: [{address: 10.5.0.2/24}]",
        "kind: DummyLinkConfig\nname: leaf0\nhardwareAddr: '02:00:00:00:00:0a'",
        "kind: DummyLinkConfig\nname: leaf1",
        "kind: BridgeConfig\nname: br0\nlinks: [leaf0]\nstp: {enabled: true}\nvlan: {filtering: true}\naddresses: [{address: 10.6.0.2/24}]",
        "kind: BondConfig\nname: bond7\nlinks: [leaf1]\nbondMode: 802.3ad\nmiimon: 50\nlacpRate: fast\nminLinks: 1",
        "kind: VethConfig\nname: near\npeer: {name: far, addresses: [{address: 10.7.0.2/32}]}",
        "kind: VRFConfig\nname: blue\nlinks: [near]\ntable: '100'",
        "kind: WireguardConfig\nname: wg0\nprivateKey: AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\nlistenPort: 51820\naddresses: [{address: 10.8.0.2/24}]",
        "kind: LinkAliasConfig\nname: uplink\nselector: {match: 'mac(link.permanent_addr) == \"02:4b:00:00:01:00\"'}",
        "kind: BlackholeRouteConfig\nname: 10.99.0.0/16",
        "kind: RoutingRuleConfig\nname: '2000'\nsrc: 10.6.0.0/24\ntable: '100'",
        "kind: StaticHostConfig\nname: 10.4.0.9\nhostnames: [router.lan]",
    ];
    api.apply(&with(&access, &documents))?;
    all_is_there(&api)?;
    wait_for("the node on the VLAN", limits::SETTLE, || lan.ping(VLAN, HARNESS, node))?;
    wait_for("the API on the VLAN", limits::SETTLE, || lan.opens(VLAN, HARNESS, node, API_PORT))?;
    api.says("network-config", "AddressSpecs.net.talos.dev", "configuration/eth1.5/10.5.0.2/24", &["layer: configuration\n"])?;
    api.says(NETWORK, "LinkSpecs.net.talos.dev", "eth1.5", &["parentName: eth1\n", "vlanID: 5\n"])?;
    api.says(NETWORK, "LinkAliasSpecs.net.talos.dev", "eth1", &["alias: uplink\n"])?;

    api.reboot()?;
    let api = again(&mut vm, &access, &api)?;
    all_is_there(&api).context("after a reboot")?;
    wait_for("the node on the VLAN after a reboot", limits::SETTLE, || lan.ping(VLAN, HARNESS, node))?;

    // A changed option that the kernel takes only of a new bond, one that it takes live, and everything else gone.
    let documents = [
        "kind: BondConfig\nname: bond7\nlinks: [leaf1]\nbondMode: active-backup\nmiimon: 50",
        "kind: DummyLinkConfig\nname: leaf1",
        "kind: BridgeConfig\nname: br0\nlinks: []\nvlan: {filtering: true}",
    ];
    api.apply(&with(&access, &documents))?;
    for gone in ["eth1.5", "leaf0", "near", "far", "blue", "wg0"] {
        wait_for(&format!("{gone} to be gone"), limits::SETTLE, || refused(api.resource("network", LINKS, gone), Code::NotFound))?;
    }
    wait_for("the address to be gone", limits::SETTLE, || refused(api.resource("network", ADDRESSES, "eth1/10.4.0.2/24"), Code::NotFound))?;
    api.says(NETWORK, LINKS, "bond7", &["mode: active-backup\n"])?;
    api.says(NETWORK, LINKS, "leaf1", &["slaveKind: bond\n"])?;
    api.says(NETWORK, LINKS, "br0", &["bridgeMaster:\n  vlan:\n    filteringEnabled: true\n"])?;
    let rule = || refused(api.resource("network", "RoutingRuleStatuses.net.talos.dev", "inet4/02000"), Code::NotFound);
    wait_for("the rule to be gone", limits::SETTLE, rule)?;

    api.apply(&access.config)?;
    for gone in ["bond7", "br0", "leaf1"] {
        wait_for(&format!("{gone} to be gone"), limits::SETTLE, || refused(api.resource("network", LINKS, gone), Code::NotFound))?;
    }
    api.says(NETWORK, LINKS, "eth1", &["kind: ''\n"])?;
    quiet(&api)
}

/// What the documents of the first configuration ask for.
fn all_is_there(api: &Api) -> Result<()> {
    api.says(NETWORK, LINKS, "eth1", &["altNames:\n- uplink\n", "operationalState: up\n"])?;
    api.says(NETWORK, LINKS, "eth1.5", &["kind: vlan\n", "mtu: 1400\n", "vlanID: 5\n", "vlanProtocol: 802.1q\n"])?;
    api.says(NETWORK, LINKS, "leaf0", &["kind: dummy\n", "hardwareAddr: 02:00:00:00:00:0a\n", "slaveKind: bridge\n"])?;
    api.says(NETWORK, LINKS, "br0", &["kind: bridge\n", "stp:\n    enabled: true\n", "filteringEnabled: true\n"])?;
    api.says(NETWORK, LINKS, "bond7", &["kind: bond\n", "mode: 802.3ad\n", "lacpRate: fast\n", "miimon: 50\n", "minLinks: 1\n"])?;
    api.says(NETWORK, LINKS, "leaf1", &["slaveKind: bond\n"])?;
    api.says(NETWORK, LINKS, "blue", &["kind: vrf\n", "table: '100'\n"])?;
    api.says(NETWORK, LINKS, "near", &["kind: veth\n", "slaveKind: vrf\n", "peerName: far\n"])?;
    api.says(NETWORK, LINKS, "wg0", &["kind: wireguard\n", "listenPort: 51820\n", "publicKey: "])?;
    for address in ["eth1/10.4.0.2/24", "eth1.5/10.5.0.2/24", "br0/10.6.0.2/24", "far/10.7.0.2/32", "wg0/10.8.0.2/24"] {
        api.says(NETWORK, ADDRESSES, address, &["family: inet4\n"])?;
    }
    api.says(NETWORK, "RouteStatuses.net.talos.dev", "inet4/10.4.0.9/10.44.0.0/16/7", &["outLinkName: eth1\n"])?;
    api.says(NETWORK, "RouteStatuses.net.talos.dev", "inet4//10.99.0.0/16/1024", &["type: blackhole\n"])?;
    api.says(NETWORK, "RoutingRuleStatuses.net.talos.dev", "inet4/02000", &["src: 10.6.0.0/24\n", "table: '100'\n"])?;
    let hosts = api.read_text("/run/etc/hosts")?;
    ensure!(hosts.contains("10.4.0.9 router.lan\n"), "hosts: {hosts}");
    Ok(())
}

/// Two nodes on one VLAN (the keys are those of RFC 7748, section 6.1), and a tunnel between them that is up only if each reaches the other.
fn nodes_reach_each_other(machine: Machine) -> Result<()> {
    const KEYS: [(&str, &str); 2] = [
        ("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=", "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="),
        ("XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=", "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="),
    ];
    let lan = Lan::new()?;
    let start = || configured(Machine { cables: vec![lan.plug()], ..machine.clone() });
    let nodes = [start()?, start()?];
    for (own, (_, api, access)) in nodes.iter().enumerate() {
        let (other, number) = (1 - own, own + 2);
        let vlan = format!("kind: VLANConfig\nname: lan5\nvlanID: 5\nparent: eth1\naddresses: [{{address: 10.5.0.{number}/24}}]");
        let tunnel = format!(
            "kind: WireguardConfig\nname: wg0\nprivateKey: {}\nlistenPort: 51820\naddresses: [{{address: 10.8.0.{number}/24}}]\npeers:\n  \
             - publicKey: {}\n    endpoint: 10.5.0.{}:51820\n    persistentKeepaliveInterval: 1s\n    allowedIPs: [10.8.0.0/24]",
            KEYS[own].0,
            KEYS[other].1,
            other + 2
        );
        api.apply(&with(access, &["kind: LinkConfig\nname: eth1", &vlan, &tunnel]))?;
    }
    for (own, (_, api, _)) in nodes.iter().enumerate() {
        let node = Ipv4Addr::new(10, 5, 0, u8::try_from(own)? + 2);
        wait_for(&format!("the API of {node} on the VLAN"), limits::SETTLE, || lan.opens(VLAN, HARNESS, node, API_PORT))?;
        api.says(NETWORK, LINKS, "wg0", &[&format!("publicKey: {}\n", KEYS[own].1), &format!("- publicKey: {}\n", KEYS[1 - own].1)])?;
        wait_for("the other node's packets in the tunnel", limits::SETTLE, || {
            let mut client = api.machine();
            let stats = api.call(client.network_device_stats(()))?;
            let devices = stats.messages.into_iter().flat_map(|message| message.devices);
            let tunnel = devices.into_iter().find(|device| device.name == "wg0").context("no tunnel")?;
            ensure!(tunnel.rx_bytes > 0 && tunnel.tx_bytes > 0, "{tunnel:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// A lease is renewed, outlives a server that is away for less than its time, ends when it is away longer, and comes back.
fn a_server_goes_away(machine: Machine) -> Result<()> {
    let lan = Lan::new()?;
    let orders = Orders {
        server: Ipv4Addr::new(10, 4, 0, 1),
        address: Ipv4Addr::new(10, 4, 0, 15),
        lease_seconds: u32::try_from(LEASE.as_secs())?,
        silent: false,
    };
    let leased = "eth1/10.4.0.15/24";
    lan.serve_dhcp(orders);
    let (_vm, api, _access) = configured(Machine { cables: vec![lan.plug()], ..machine })?;
    api.says(NETWORK, ADDRESSES, leased, &["family: inet4\n"])?;
    api.says("network-config", "OperatorSpecs.net.talos.dev", "default/dhcp4/eth1", &["routeMetric: 1025\n"])?;
    let renewed = || {
        ensure!(lan.asked().iter().any(|seen| seen.renews), "nobody renewed");
        Ok(())
    };
    wait_for("a renewal", LEASE * 2, renewed)?;
    // Away for less than the lease: the address stays all the time.
    lan.order(|orders| orders.silent = true);
    let silent = Instant::now();
    while silent.elapsed() < LEASE / 4 {
        api.resource("network", ADDRESSES, leased).context("the address while the server is away")?;
        std::thread::sleep(limits::POLL * 10);
    }
    lan.order(|orders| orders.silent = false);
    drop(lan.asked());
    // The first request after it asks whether the address is still good; the next one renews.
    wait_for("a renewal after the silence", LEASE * 2, renewed)?;
    api.resource("network", ADDRESSES, leased).context("the address after the silence")?;

    lan.order(|orders| orders.silent = true);
    wait_for("the lease to end", LEASE_END, || refused(api.resource("network", ADDRESSES, leased), Code::NotFound))?;
    lan.order(|orders| orders.silent = false);
    wait_for("an address again", LEASE_BACK, || Ok(api.resource("network", ADDRESSES, leased).map(drop)?))?;
    Ok(())
}

/// The API of the next boot.
fn again(vm: &mut TestVm, access: &Access, before: &Api) -> Result<Api> {
    let earlier = before.boot_id()?;
    let start = Instant::now();
    loop {
        if let Ok(api) = running(vm, access)
            && api.boot_id().is_ok_and(|id| id != earlier)
        {
            return Ok(api);
        }
        ensure!(start.elapsed() < limits::API, "the node did not boot again within {:?}", limits::API);
        std::thread::sleep(limits::POLL);
    }
}

/// The network complained of nothing.
fn quiet(api: &Api) -> Result<()> {
    let log = api.logs("machined", -1)?;
    let complaints: Vec<_> = log.lines().filter(|line| line.contains("network: ")).collect();
    ensure!(complaints.is_empty(), "{complaints:#?}");
    Ok(())
}
