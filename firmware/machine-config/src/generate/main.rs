//! The main document.

use pki::encode_base64;
use zeroize::Zeroizing;

use crate::tree::Node;

use super::{
    GenerateInput,
    build::{Section, authority, list, text, texts},
    documents::{audit_policy, pod_security},
};

pub(super) const POD_SUBNET: &str = "10.244.0.0/16";
pub(super) const SERVICE_SUBNET: &str = "10.96.0.0/12";
pub(super) const KUBE_PRISM_PORT: u16 = 7445;
pub(super) const KUBELET: &str = "ghcr.io/siderolabs/kubelet";
pub(super) const API_SERVER: &str = "registry.k8s.io/kube-apiserver";
pub(super) const CONTROLLER_MANAGER: &str = "registry.k8s.io/kube-controller-manager";
pub(super) const SCHEDULER: &str = "registry.k8s.io/kube-scheduler";
pub(super) const PROXY: &str = "registry.k8s.io/kube-proxy";
/// Nodes with it take no traffic from load balancers outside.
pub(super) const NO_LOAD_BALANCER: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

pub(super) fn document(input: &GenerateInput<'_>, host: &str, control_plane: bool) -> Node {
    Section::new()
        .text("version", "v1alpha1")
        .put("debug", false)
        .put("persist", true)
        .put("machine", machine(input, control_plane))
        .put("cluster", cluster(input, host, control_plane))
        .into()
}

fn machine(input: &GenerateInput<'_>, control_plane: bool) -> Section {
    let contract = input.contract;
    Section::new()
        .text("type", if control_plane { "controlplane" } else { "worker" })
        .text("token", input.secrets.machine_token.expose())
        .put("ca", authority(&input.secrets.os, control_plane))
        .put("certSANs", texts(input.additional_sans.iter().map(String::as_str)))
        .when(!contract.has_all_documents(), |machine| {
            let kubelet = Section::new()
                .text("image", &input.image(KUBELET))
                .put("defaultRuntimeSeccompProfileEnabled", true)
                .put("disableManifestsDirectory", true);
            machine.put("kubelet", kubelet)
        })
        .when(!contract.has_kubespan_document(), |machine| machine.put("network", network(input)))
        .when(!contract.has_all_documents(), |machine| machine.put("install", install(input)))
        .when(!contract.has_network_documents() && !input.registry_mirrors.is_empty(), |machine| {
            let mirrors = input.mirrors().into_iter();
            let mirrors =
                mirrors.fold(Section::new(), |mirrors, (host, urls)| mirrors.put(host, Section::new().put("endpoints", texts(urls))));
            machine.put("registries", Section::new().put("mirrors", mirrors))
        })
        .put("features", features(input))
        .when(control_plane && !contract.has_all_documents(), |machine| {
            machine.put("nodeLabels", Section::new().text(NO_LOAD_BALANCER, ""))
        })
}

fn network(input: &GenerateInput<'_>) -> Section {
    match input.kubespan {
        Some(enabled) => Section::new().put("kubespan", Section::new().put("enabled", enabled)),
        None => Section::new(),
    }
}

fn install(input: &GenerateInput<'_>) -> Section {
    Section::new()
        .text("disk", input.install_disk)
        .text("image", input.install_image)
        .put("wipe", false)
        .when(input.contract.has_network_documents(), |install| install.put("grubUseUKICmdline", true))
}

fn features(input: &GenerateInput<'_>) -> Section {
    let contract = input.contract;
    Section::new()
        .when(!contract.has_network_documents(), |features| {
            features.put("rbac", true).put("stableHostname", true).put("apidCheckExtKeyUsage", true)
        })
        .put("diskQuotaSupport", true)
        .when(!contract.has_all_documents(), |features| {
            let dns = Section::new().put("enabled", true).put("forwardKubeDNSToHost", true);
            features.put("kubePrism", Section::new().put("enabled", true).put("port", KUBE_PRISM_PORT)).put("hostDNS", dns)
        })
}

fn cluster(input: &GenerateInput<'_>, host: &str, control_plane: bool) -> Section {
    let secrets = input.secrets;
    let cluster = Section::new();
    if input.contract.has_all_documents() {
        return cluster.text("token", secrets.bootstrap_token.expose()).when(control_plane, |cluster| cluster.put("etcd", etcd(input)));
    }
    let network = Section::new()
        .text("dnsDomain", input.dns_domain)
        .put("podSubnets", texts([POD_SUBNET]))
        .put("serviceSubnets", texts([SERVICE_SUBNET]));
    let registries = Section::new().put("kubernetes", Section::new().put("disabled", true)).put("service", Section::new());
    cluster
        .text("id", &secrets.cluster_id)
        .text("secret", secrets.cluster_secret.expose())
        .put("controlPlane", Section::new().text("endpoint", input.endpoint))
        .text("clusterName", input.cluster_name)
        .put("network", network)
        .text("token", secrets.bootstrap_token.expose())
        .when(control_plane, |cluster| control_plane_secrets(cluster, input))
        .when(!control_plane, |cluster| cluster.put("ca", authority(&secrets.kubernetes, false)))
        .when(control_plane, |cluster| components(cluster, input, host))
        .put("discovery", Section::new().put("enabled", input.discovery).put("registries", registries))
        .when(control_plane, |cluster| cluster.put("etcd", etcd(input)))
}

fn etcd(input: &GenerateInput<'_>) -> Section {
    Section::new().put("ca", authority(&input.secrets.etcd, true))
}

fn control_plane_secrets(cluster: Section, input: &GenerateInput<'_>) -> Section {
    let secrets = input.secrets;
    // A bundle of before 1.3 has the first of them instead of the second: without it the data in etcd cannot be read.
    let encryption = [("aescbcEncryptionSecret", &secrets.aescbc_secret), ("secretboxEncryptionSecret", &secrets.secretbox_secret)];
    let cluster = encryption.into_iter().fold(cluster, |cluster, (key, secret)| match secret {
        Some(secret) => cluster.text(key, secret.expose()),
        None => cluster,
    });
    let service_account = Zeroizing::new(encode_base64(secrets.service_account.expose()));
    cluster
        .put("ca", authority(&secrets.kubernetes, true))
        .put("aggregatorCA", authority(&secrets.aggregator, true))
        .put("serviceAccount", Section::new().text("key", &service_account))
}

fn components(cluster: Section, input: &GenerateInput<'_>, host: &str) -> Section {
    let early = !input.contract.has_network_documents();
    let sans: Vec<&str> = early.then_some(host).into_iter().chain(input.additional_sans.iter().map(String::as_str)).collect();
    let admission = Section::new().put("name", text("PodSecurity")).put("configuration", pod_security());
    let api_server = Section::new()
        .text("image", &input.image(API_SERVER))
        .when(!sans.is_empty(), |server| server.put("certSANs", texts(sans.iter().copied())))
        .when(early, |server| server.put("disablePodSecurityPolicy", true))
        .put("admissionControl", list([admission]))
        .put("auditPolicy", audit_policy());
    let image = |name: &str| Section::new().text("image", &input.image(name));
    cluster
        .put("apiServer", api_server)
        .put("controllerManager", image(CONTROLLER_MANAGER))
        .put("proxy", image(PROXY))
        .put("scheduler", image(SCHEDULER))
}
