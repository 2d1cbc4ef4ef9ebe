//! Documents that are wrong, each with all that is to be said about it.

use std::path::Path;

use crate::{Config, RunMode};

fn base(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn found(text: &str, mode: RunMode) -> Vec<String> {
    Config::parse_for(text, mode).err().map_or_else(Vec::new, |problems| problems.list().iter().map(ToString::to_string).collect())
}

/// Every wanted text must be in a problem, and there must be no others.
#[track_caller]
fn refused(text: &str, wanted: &[&str]) {
    let found = found(text, RunMode::Metal);
    let all = found.len() == wanted.len() && wanted.iter().all(|wanted| found.iter().any(|found| found.contains(wanted)));
    assert!(all, "{found:#?}\nshould be\n{wanted:#?}\nof\n{text}");
}

/// Documents, and what is wrong with each. The reference's validator refuses them too.
const WRONG: &[(&str, &[&str])] = &[
    ("kind: BlackholeRouteConfig\nname: 10.0.0.1\n", &["BlackholeRouteConfig.name: \"10.0.0.1\" is not a network"]),
    ("kind: BondConfig\nname: b\nlinks: []\nbondMode: active-backup\n", &["BondConfig.links: this is required"]),
    ("kind: ContainerConfig\nname: a\n", &["ContainerConfig.image: this is required"]),
    (
        "kind: ContainerConfig\nname: a\nimage: a@sha256:0000000000000000000000000000000000000000000000000000000000000000\nmounts: [{}]\n\
         dependsOn: {containers: [a, b]}\n",
        &["dependsOn.containers: there is no container \"b\"", "waits for itself", "mounts[0]: one of these is required"],
    ),
    ("kind: DHCPv4Config\nname: a\nduidRaw: 00:01\n", &["duidRaw: this can be set only when clientIdentifier is duid"]),
    ("kind: DHCPv6Config\nname: a\nclientIdentifier: duid\n", &["DHCPv6Config.duidRaw: this is required"]),
    (
        "kind: ExistingVolumeConfig\nname: a/b\n",
        &["name: only letters, digits and dashes", "discovery.volumeSelector.match: this is required"],
    ),
    ("kind: ExternalVolumeConfig\nname: a\nfilesystemType: virtiofs\n", &["mount.virtiofs.tag: this is required"]),
    ("kind: FilesystemScrubConfig\ninterval: 5s\n", &["interval: this must be at least 10s"]),
    ("kind: FilesystemTrimConfig\ninterval: -5s\n", &["interval: this must not be negative"]),
    ("kind: HCloudVIPConfig\nname: a\nlink: eth0\napiToken: \"\"\n", &["name: this must be an address", "apiToken: this is required"]),
    (
        "kind: ImageVerificationConfig\nrules: [{image: a/b, skip: true, deny: true}, {image: c/d}]\n",
        &["rules[0]: only one", "rules[1]: one of these"],
    ),
    (
        "kind: KubeAuthorizerConfig\nname: a\ntype: Webhook\n",
        &["for control-plane nodes only", "KubeAuthorizerConfig.webhook: this is required"],
    ),
    ("kind: KubePrismConfig\nport: 70000\n", &["port: this must be from 1 to 65535"]),
    ("kind: KubeSpanConfig\nenabled: true\nmtu: 100\n", &["kubespan: nodes must find one another", "mtu: this must be from 1280"]),
    ("kind: LVMVolumeGroupConfig\nname: a\n", &["provisioning.volumeSelector.match: this is required"]),
    ("kind: LinkAliasConfig\nname: a\n", &["selector.match: this is required"]),
    ("kind: NetworkRuleConfig\nname: a\n", &["portSelector.protocol: this is required"]),
    (
        "kind: RawVolumeConfig\nname: a\nencryption: {provider: luks2, keys: [{slot: 0, nodeID: {}}, {slot: 0}]}\n",
        &[
            "provisioning.diskSelector.match",
            "one of these is required",
            "encryption.keys: the same slot is on line",
            "keys[1]: one of these",
        ],
    ),
    ("kind: RegistryAuthConfig\nname: a\nusername: b\nidentityToken: c\n", &["only one of these can be set: username, identityToken"]),
    ("kind: RegistryTLSConfig\nname: a\nca: b\n", &["RegistryTLSConfig.ca: this holds no certificate"]),
    ("kind: ResolverConfig\nnameservers: [{address: 1.1.1.1, protocol: DoT}]\n", &["tlsServerName: this is required"]),
    ("kind: RoutingRuleConfig\nname: x1\ntable: \"5\"\n", &["RoutingRuleConfig.name: this must be the rule's priority"]),
    ("kind: StaticHostConfig\nname: a\nhostnames: []\n", &["name: \"a\" is not an address", "hostnames: this is required"]),
    ("kind: TimeSyncConfig\nntp: {servers: [a]}\nptp: {devices: [b]}\n", &["only one of these can be set: ntp, ptp"]),
    ("kind: UnattendedInstallConfig\ninstaller: {image: a}\n", &["provisioning.diskSelector.match: this is required"]),
    (
        "kind: UserVolumeConfig\nname: a\n",
        &["provisioning.diskSelector.match: this is required", "one of these is required: provisioning.minSize"],
    ),
    ("kind: VLANConfig\nname: a\nvlanID: 5000\nparent: b\n", &["vlanID: this must be a number from 1 to 4094"]),
    ("kind: WatchdogTimerConfig\ntimeout: 1m\n", &["device: this is required"]),
    (
        "kind: WireguardConfig\nname: a\nprivateKey: YQ==\npeers: [{publicKey: \"\"}]\n",
        &["privateKey: this must be a key", "peers[0].publicKey: this must be a key"],
    ),
    ("kind: ZswapConfig\nmaxPoolPercent: 101\n", &["maxPoolPercent: this must be from 0 to 100"]),
    ("kind: LinkConfig\nmtu: 9000\n", &["LinkConfig.name: this is required"]),
    ("kind: KubeletConfig\nimage: \"\"\n", &["KubeletConfig.image: this is required"]),
    (
        "kind: KubeNodeConfig\nlabels: {a: b}\n---\napiVersion: v1alpha1\nkind: KubeNodeConfig\n",
        &["KubeNodeConfig document is there already"],
    ),
    (
        "kind: UserVolumeConfig\nname: a\nvolumeType: directory\n---\napiVersion: v1alpha1\nkind: ExistingVolumeConfig\nname: a\n\
         discovery: {volumeSelector: {match: 'volume.name == \"a\"'}}\n",
        &["a UserVolumeConfig document named \"a\" is there already"],
    ),
    (
        "kind: VethConfig\nname: a\npeer: {name: b}\n---\napiVersion: v1alpha1\nkind: LinkConfig\nname: b\n",
        &["LinkConfig.name: link \"b\" is described already"],
    ),
    ("kind: KubeClusterConfig\nclusterName: a\nendpoint: https://a:1\n", &["the main document sets cluster.controlPlane.endpoint already"]),
    (
        "kind: DiscoveryIdentityConfig\nclusterID: a\nclusterSecret: YQ==\n",
        &["sets cluster.id already", "sets cluster.secret already", "32 bytes"],
    ),
    ("kind: ResolverConfig\nhostDNS: {enabled: false}\n", &["the main document sets machine.features.hostDNS already"]),
];

#[test]
fn wrong_documents_are_refused_with_all_that_is_wrong() {
    let worker = base("worker.yaml");
    for (document, wanted) in WRONG {
        refused(&format!("{worker}---\napiVersion: v1alpha1\n{document}"), wanted);
    }
}

#[test]
fn the_two_halves_of_a_setting() {
    let worker = base("worker.yaml");
    let with = |section: &str, document: &str| {
        format!("{}---\napiVersion: v1alpha1\n{document}", worker.replacen("  features:", &format!("  {section}\n  features:"), 1))
    };
    for (section, document, wanted) in [
        ("install: {disk: a}", "kind: UnattendedInstallConfig\nprovisioning: {diskSelector: {match: a}}\n", "sets machine.install already"),
        ("kubelet: {}", "kind: KubeletConfig\nimage: a\n", "sets machine.kubelet already"),
        ("nodeLabels: {a: b}", "kind: KubeNodeConfig\nlabels: {a: b}\n", "sets machine.nodeLabels already"),
        ("time: {servers: [a]}", "kind: TimeSyncConfig\nenabled: true\n", "sets machine.time.servers already"),
        (
            "network: {nameservers: [1.1.1.1]}",
            "kind: ResolverConfig\nnameservers: [{address: 1.1.1.1}]\n",
            "sets machine.network.nameservers already",
        ),
        ("network: {hostname: a}", "kind: HostnameConfig\nauto: off\nhostname: b\n", "sets machine.network.hostname already"),
        (
            "systemDiskEncryption: {state: {provider: luks2, keys: [{slot: 0, nodeID: {}}]}}",
            "kind: VolumeConfig\nname: STATE\nencryption: {provider: luks2, keys: [{slot: 0, nodeID: {}}]}\n",
            "sets machine.systemDiskEncryption.state already",
        ),
    ] {
        refused(&with(section, document), &[wanted]);
    }
    // What says nothing stands in nobody's way.
    assert_eq!(
        found(&with("time: {disabled: false, servers: []}", "kind: TimeSyncConfig\nenabled: true\n"), RunMode::Metal),
        Vec::<String>::new()
    );
}

#[test]
fn the_configuration_as_a_whole() {
    let (control_plane, worker) = (base("controlplane.yaml"), base("worker.yaml"));
    let machine = |base: &str, section: &str| base.replacen("  features:", &format!("  {section}\n  features:"), 1);
    let cluster = |base: &str, section: &str| format!("{base}  {section}\n");
    refused(&format!("persist: false\n{worker}"), &["persist: a configuration is always stored"]);
    refused(&machine(&worker, "install: {wipe: true}"), &["machine.install: one of these is required: disk, diskSelector"]);
    assert!(found(&machine(&worker, "install: {wipe: true}"), RunMode::Cloud).is_empty());
    refused(&machine(&worker, "install: {disk: a, extraKernelArgs: [a], grubUseUKICmdline: true}"), &["only one of these can be set"]);
    refused(
        &machine(&worker, "network: {interfaces: [{interface: a, vip: {ip: 10.0.0.1}}]}"),
        &["a shared address is for control-plane nodes only"],
    );
    assert!(found(&machine(&control_plane, "network: {interfaces: [{interface: a, vip: {ip: 10.0.0.1}}]}"), RunMode::Metal).is_empty());
    refused(&cluster(&worker, "etcd: {}"), &["cluster.etcd: etcd runs on control-plane nodes only"]);
    refused(
        &cluster(&worker.replacen("  id:", "  other:", 1).replacen("  other:", "  clusterName:", 1), "discovery: {enabled: true}"),
        &["cluster.id: nodes that find one another need cluster.id, or DiscoveryIdentityConfig.clusterID"],
    );
    let plain = worker.replacen("{enabled: true, forwardKubeDNSToHost: true}", "{enabled: true}", 1);
    assert!(found(&plain, RunMode::Metal).is_empty());
    assert!(found(&plain, RunMode::Container)[0].contains("hostDNS: in a container both"));
    let key = control_plane.lines().find(|line| line.trim_start().starts_with("key:")).expect("a key").to_owned();
    refused(
        &worker.replacen("\n  features:", &format!("\n{key}\n  features:"), 1),
        &["machine.ca.key: only control-plane nodes may have this key"],
    );
}
