//! Rules about the configuration as a whole: what one part needs of another, and what the place it runs in asks for.

use std::collections::{HashMap, HashSet};

use crate::{Problems, RunMode, scalar, stream::Stream, tree::Node};

use super::conflicts::find;

pub(super) fn check(stream: &Stream, main: &Node, control_plane: bool, mode: RunMode, problems: &mut Problems) {
    let whole = Whole { stream, main, control_plane };
    whole.machine(mode, problems);
    whole.keys(problems);
    whole.host_dns(mode, problems);
    whole.discovery(problems);
    whole.containers(problems);
}

struct Whole<'a> {
    stream: &'a Stream,
    main: &'a Node,
    control_plane: bool,
}

impl<'a> Whole<'a> {
    fn older(&self, path: &str) -> Option<&'a Node> {
        find(self.main, path)
    }

    fn document(&self, kind: &str) -> Option<&'a Node> {
        self.stream.of_kind(kind).next()
    }

    fn machine(&self, mode: RunMode, problems: &mut Problems) {
        if let Some(persist) = self.older("persist").filter(|node| is(Some(node), false)) {
            problems.add(persist.line, "persist", "a configuration is always stored: this cannot be false");
        }
        if let Some(install) = self.older("machine.install") {
            let disk = install.get("disk").is_some_and(|disk| disk.text().is_some_and(|text| !text.is_empty()));
            if mode == RunMode::Metal && !disk && install.get("diskSelector").is_none() {
                problems.add(install.line, "machine.install", "one of these is required: disk, diskSelector");
            }
            let arguments = install.get("extraKernelArgs").is_some_and(|list| !list.items().is_empty());
            if arguments && is(install.get("grubUseUKICmdline"), true) {
                problems.add(install.line, "machine.install", "only one of these can be set: extraKernelArgs, grubUseUKICmdline");
            }
        }
        if self.control_plane {
            return;
        }
        for (at, device) in self.older("machine.network.interfaces").map_or(&[][..], Node::items).iter().enumerate() {
            let vlans = device.get("vlans").map_or(&[][..], Node::items).iter();
            for vip in vlans.chain([device]).filter_map(|node| node.get("vip")) {
                problems.add(vip.line, format!("machine.network.interfaces[{at}].vip"), "a shared address is for control-plane nodes only");
            }
        }
    }

    /// Who may sign, and who must not be able to.
    fn keys(&self, problems: &mut Problems) {
        let has_key = |node: &&Node| node.get("key").and_then(Node::text).is_some_and(|text| !text.is_empty());
        if !self.control_plane {
            for place in ["machine.ca", "cluster.ca"] {
                if let Some(authority) = self.older(place).filter(has_key) {
                    problems.add(authority.line, format!("{place}.key"), "only control-plane nodes may have this key: remove it here");
                }
            }
            if let Some(etcd) = self.older("cluster.etcd") {
                problems.add(etcd.line, "cluster.etcd", "etcd runs on control-plane nodes only");
            }
            return;
        }
        let runs_kubernetes = self.older("cluster.ca").or_else(|| self.document("KubeAPIServerCAConfig"));
        let secret = |key: &str| self.older(key).and_then(Node::text).is_some_and(|text| !text.is_empty());
        let encrypted = secret("cluster.aescbcEncryptionSecret") || secret("cluster.secretboxEncryptionSecret");
        if let Some(authority) = runs_kubernetes.filter(|_| !encrypted && self.document("KubeEtcdEncryptionConfig").is_none()) {
            let text = "a control plane needs to know how it encrypts secrets: this, or a KubeEtcdEncryptionConfig document, is required";
            problems.add(authority.line, "cluster.secretboxEncryptionSecret", text);
        }
    }

    fn host_dns(&self, mode: RunMode, problems: &mut Problems) {
        let document = self.document("ResolverConfig");
        let settings = document.and_then(|document| document.get("hostDNS")).or_else(|| self.older("machine.features.hostDNS"));
        let line = settings.or(document).map_or(self.main.line, |node| node.line);
        let enabled = is(settings.and_then(|node| node.get("enabled")), true);
        let forwards = is(settings.and_then(|node| node.get("forwardKubeDNSToHost")), true);
        if mode == RunMode::Container && !(enabled && forwards) {
            problems.add(line, "hostDNS", "in a container both enabled and forwardKubeDNSToHost must be true");
        } else if forwards && !enabled && document.is_none() {
            problems.add(line, "machine.features.hostDNS.forwardKubeDNSToHost", "this can be set only when enabled is true");
        }
        let servers = document.and_then(|document| document.get("nameservers")).map_or(&[][..], Node::items);
        let special = |node: &&Node| matches!(node.get("protocol").and_then(Node::text), Some("DoT" | "DoH"));
        if let Some(server) = servers.iter().find(special).filter(|_| !enabled) {
            problems.add(server.line, "ResolverConfig.nameservers", "a protocol other than Do53 needs hostDNS.enabled: true");
        }
    }

    /// Finding one another takes an identity; the encrypted network takes finding one another.
    fn discovery(&self, problems: &mut Problems) {
        let service = self.document("DiscoveryServiceConfig");
        let older = self.older("cluster.discovery").filter(|node| is(node.get("enabled"), true));
        let value = |kind: &str, field: &str, place: &str| {
            let newer = self.document(kind).and_then(|document| document.get(field));
            newer.or_else(|| self.older(place)).and_then(Node::text).is_some_and(|text| !text.is_empty())
        };
        if let Some(discovery) = service.or(older) {
            let wanted = [("clusterID", "cluster.id"), ("clusterSecret", "cluster.secret")];
            for (field, place) in wanted.iter().filter(|(field, place)| !value("DiscoveryIdentityConfig", field, place)) {
                let text = format!("nodes that find one another need {place}, or DiscoveryIdentityConfig.{field}");
                problems.add(discovery.line, *place, text);
            }
        }
        let kubespan = self.document("KubeSpanConfig").or_else(|| self.older("machine.network.kubespan"));
        if let Some(kubespan) = kubespan.filter(|node| is(node.get("enabled"), true) && service.or(older).is_none()) {
            problems.add(
                kubespan.line,
                "kubespan",
                "nodes must find one another for this: enable cluster.discovery, or add a DiscoveryServiceConfig document",
            );
        }
    }

    /// Containers wait for others that exist, and not for themselves in a circle.
    fn containers(&self, problems: &mut Problems) {
        let name = |node: &'a Node| node.get("name").and_then(Node::text).unwrap_or_default();
        let all: HashMap<&str, &Node> = self.stream.of_kind("ContainerConfig").map(|node| (name(node), node)).collect();
        let others = |node: &'a Node| {
            let list = node.get("dependsOn").and_then(|depends| depends.get("containers"));
            list.map_or(&[][..], Node::items).iter().filter_map(Node::text)
        };
        for node in self.stream.of_kind("ContainerConfig") {
            let path = "ContainerConfig.dependsOn.containers";
            for other in others(node).filter(|other| !all.contains_key(other)) {
                problems.add(node.line, path, format!("there is no container {:?}", other.chars().take(80).collect::<String>()));
            }
            let mut seen: HashSet<&str> = HashSet::new();
            let mut next: Vec<&str> = others(node).collect();
            while let Some(other) = next.pop() {
                if other == name(node) {
                    problems.add(node.line, path, "this container waits for itself, directly or through others");
                    break;
                }
                if seen.insert(other)
                    && let Some(found) = all.get(other)
                {
                    next.extend(others(found));
                }
            }
        }
    }
}

fn is(node: Option<&Node>, wanted: bool) -> bool {
    node.and_then(Node::text).and_then(scalar::boolean) == Some(wanted)
}
