//! What may be said in one place only: older configurations have it in the main document, newer ones in documents of
//! their own. And documents that are for control planes only.

use crate::{
    Problems,
    stream::Stream,
    tree::{Kind, Node},
};

/// A kind, and the places in the main document that say the same.
const HALVES: [(&str, &[&str]); 29] = [
    ("CRIBaseRuntimeSpecConfig", &["machine.baseRuntimeSpecOverrides"]),
    ("DiscoveryIdentityConfig", &["cluster.id", "cluster.secret"]),
    ("DiscoveryServiceConfig", &["cluster.discovery"]),
    ("ImageCacheConfig", &["machine.features.imageCache"]),
    ("KubeAPIServerCAConfig", &["cluster.ca"]),
    ("KubeAPIServerConfig", &["cluster.apiServer", "cluster.controlPlane.localAPIServerPort"]),
    ("KubeAdmissionControlConfig", &["cluster.apiServer.admissionControl"]),
    ("KubeAggregatorCAConfig", &["cluster.aggregatorCA"]),
    ("KubeAuditPolicyConfig", &["cluster.apiServer.auditPolicy"]),
    ("KubeAuthorizerConfig", &["cluster.apiServer.authorizationConfig"]),
    ("KubeClusterConfig", &["cluster.clusterName", "cluster.controlPlane.endpoint"]),
    ("KubeControllerManagerConfig", &["cluster.controllerManager", "machine.controlPlane.controllerManager"]),
    ("KubeCoreDNSConfig", &["cluster.coreDNS"]),
    ("KubeCredentialProviderConfig", &["machine.kubelet"]),
    ("KubeEtcdEncryptionConfig", &["cluster.aescbcEncryptionSecret", "cluster.secretboxEncryptionSecret"]),
    ("KubeFlannelCNIConfig", &["cluster.network"]),
    ("KubeNetworkConfig", &["cluster.network"]),
    (
        "KubeNodeConfig",
        &[
            "cluster.allowSchedulingOnControlPlanes",
            "cluster.allowSchedulingOnMasters",
            "machine.kubelet.skipNodeRegistration",
            "machine.kubelet.registerWithFQDN",
            "machine.kubelet.nodeIP",
            "machine.nodeLabels",
            "machine.nodeAnnotations",
            "machine.nodeTaints",
        ],
    ),
    ("KubePrismConfig", &["machine.features.kubePrism"]),
    ("KubeProxyConfig", &["cluster.proxy"]),
    ("KubeSchedulerConfig", &["cluster.scheduler", "machine.controlPlane.scheduler"]),
    ("KubeServiceAccountConfig", &["cluster.serviceAccount"]),
    ("KubeSpanConfig", &["machine.network.kubespan"]),
    ("KubeTalosAPIAccessConfig", &["machine.features.kubernetesTalosAPIAccess"]),
    ("KubeletConfig", &["machine.kubelet"]),
    ("ResolverConfig", &["machine.network.disableSearchDomain"]),
    ("TimeSyncConfig", &["machine.time.disabled", "machine.time.servers", "machine.time.bootTimeout"]),
    ("UnattendedInstallConfig", &["machine.install"]),
    ("HostnameConfig", &["machine.network.hostname"]),
];

/// Kinds that only control planes have.
const CONTROL_PLANE: [&str; 14] = [
    "KubeAPIServerConfig",
    "KubeAdmissionControlConfig",
    "KubeAggregatorCAConfig",
    "KubeAuditPolicyConfig",
    "KubeAuthenticationConfig",
    "KubeAuthorizerConfig",
    "KubeControllerManagerConfig",
    "KubeCoreDNSConfig",
    "KubeEtcdEncryptionConfig",
    "KubeFlannelCNIConfig",
    "KubeProxyConfig",
    "KubeSchedulerConfig",
    "KubeServiceAccountConfig",
    "KubeTalosAPIAccessConfig",
];

pub(super) fn check(stream: &Stream, main: &Node, control_plane: bool, problems: &mut Problems) {
    for document in &stream.documents {
        let (kind, line) = (document.kind.as_str(), document.node.line);
        let places = HALVES.iter().filter(|(name, _)| *name == kind).flat_map(|(_, places)| places.iter());
        for place in places {
            if find(main, place).is_some_and(says_something) {
                problems.add(line, kind, format!("the main document sets {place} already: remove it there"));
            }
        }
        if CONTROL_PLANE.contains(&kind) && !control_plane {
            problems.add(line, kind, "this document is for control-plane nodes only");
        }
        resolver(document.kind.as_str(), &document.node, main, problems);
        volume(document.kind.as_str(), &document.node, main, problems);
    }
}

/// Only the part of the document that is set counts.
fn resolver(kind: &str, document: &Node, main: &Node, problems: &mut Problems) {
    let older = find(main, "machine.features.hostDNS").is_some_and(says_something);
    if kind == "ResolverConfig" && older && document.get("hostDNS").is_some_and(says_something) {
        problems.add(document.line, "ResolverConfig.hostDNS", "the main document sets machine.features.hostDNS already: remove it there");
    }
}

fn volume(kind: &str, document: &Node, main: &Node, problems: &mut Problems) {
    let place = match document.get("name").and_then(Node::text) {
        Some("STATE") => "machine.systemDiskEncryption.state",
        Some("EPHEMERAL") => "machine.systemDiskEncryption.ephemeral",
        _ => return,
    };
    if kind == "VolumeConfig" && document.get("encryption").is_some() && find(main, place).is_some() {
        problems.add(document.line, "VolumeConfig.encryption", format!("the main document sets {place} already: remove it there"));
    }
}

/// A value of the main document by its path.
pub(super) fn find<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
    path.split('.').try_fold(node, |node, key| node.get(key))
}

/// A section is set when it is there, even without fields; a text, number or list when it is not empty, a flag when true.
fn says_something(node: &Node) -> bool {
    match &node.kind {
        Kind::Scalar { text, plain } => !(text.is_empty() || *plain && matches!(text.as_str(), "false" | "0" | "0s")),
        Kind::List(items) => !items.is_empty(),
        Kind::Map(_) => true,
    }
}
