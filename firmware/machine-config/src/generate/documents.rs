//! The documents beside the main one.

use crate::tree::Node;

use super::{
    GenerateInput,
    build::{Section, authority_pem, list, text, texts},
    main::{API_SERVER, CONTROLLER_MANAGER, KUBE_PRISM_PORT, KUBELET, NO_LOAD_BALANCER, POD_SUBNET, PROXY, SCHEDULER, SERVICE_SUBNET},
};

/// The public discovery service.
const DISCOVERY_SERVICE: &str = "https://discovery.talos.dev/";
/// How often unused blocks are given back to disks: weekly.
const TRIM_INTERVAL: &str = "168h0m0s";
const CONTROL_PLANE_ROLE: &str = "node-role.kubernetes.io/control-plane";
/// Port of VXLAN as the IANA has it.
const VXLAN_PORT: u16 = 4789;

/// All of them, in the order of the reference.
pub(super) fn all(input: &GenerateInput<'_>, control_plane: bool) -> Vec<Node> {
    let contract = input.contract;
    let mut all = Vec::new();
    if contract.has_all_documents() {
        all.extend(machine(input));
    }
    if contract.has_network_documents() {
        all.extend(input.mirrors().into_iter().map(|(host, urls)| {
            let urls = urls.into_iter().map(|url| Section::new().text("url", url));
            Section::document("RegistryMirrorConfig").text("name", host).put("endpoints", list(urls))
        }));
        all.push(Section::document("HostnameConfig").text("auto", "stable"));
    }
    if let Some(enabled) = input.kubespan.filter(|_| contract.has_kubespan_document()) {
        all.push(Section::document("KubeSpanConfig").put("enabled", enabled));
    }
    if contract.has_all_documents() {
        all.extend(kubernetes(input, control_plane));
        if control_plane {
            all.extend(kubernetes_control_plane(input));
        }
    }
    all.into_iter().map(Node::from).collect()
}

fn machine(input: &GenerateInput<'_>) -> Vec<Section> {
    let mut all = Vec::new();
    if input.discovery {
        all.push(Section::document("DiscoveryServiceConfig").text("name", "default").text("endpoint", DISCOVERY_SERVICE));
    }
    let identity = Section::document("DiscoveryIdentityConfig").text("clusterID", &input.secrets.cluster_id);
    all.push(identity.text("clusterSecret", input.secrets.cluster_secret.expose()));
    if !input.install_disk.is_empty() {
        let disk = Section::new().text("match", &format!("disk.dev_path == {:?}", input.install_disk));
        let provisioning = Section::new().put("diskSelector", disk).put("wipe", false);
        let installer = Section::new().text("image", input.install_image);
        all.push(Section::document("UnattendedInstallConfig").put("installer", installer).put("provisioning", provisioning));
    }
    let dns = Section::new().put("enabled", true).put("forwardKubeDNSToHost", true);
    all.push(Section::document("ResolverConfig").put("hostDNS", dns));
    all.push(Section::document("VolumeConfig").text("name", "EPHEMERAL").put("mount", Section::new().put("secure", true)));
    all.push(Section::document("FilesystemTrimConfig").text("interval", TRIM_INTERVAL));
    all.push(Section::document("SecurityProfileConfig").put("workloadIsolation", true));
    all
}

/// What every node knows of Kubernetes.
fn kubernetes(input: &GenerateInput<'_>, control_plane: bool) -> [Section; 6] {
    let authority = Section::document("KubeAPIServerCAConfig");
    let authority = if control_plane {
        authority.put("issuingCA", authority_pem(&input.secrets.kubernetes))
    } else {
        authority.put("acceptedCAs", texts([input.secrets.kubernetes.cert_pem.as_str()]))
    };
    let node = Section::document("KubeNodeConfig").put("nodeIP", Section::new()).when(control_plane, |node| {
        let labels = Section::new().text(CONTROL_PLANE_ROLE, "").text(NO_LOAD_BALANCER, "");
        node.put("labels", labels).put("taints", Section::new().text(CONTROL_PLANE_ROLE, "NoSchedule"))
    });
    [
        Section::document("KubeClusterConfig").text("clusterName", input.cluster_name).text("endpoint", input.endpoint),
        node,
        Section::document("KubeletConfig")
            .text("image", &input.image(KUBELET))
            .put("config", Section::new())
            .put("defaultRuntimeSeccompProfileEnabled", true),
        Section::document("KubeNetworkConfig")
            .text("dnsDomain", input.dns_domain)
            .put("podSubnets", texts([POD_SUBNET]))
            .put("serviceSubnets", texts([SERVICE_SUBNET])),
        authority,
        Section::document("KubePrismConfig").put("port", KUBE_PRISM_PORT),
    ]
}

fn kubernetes_control_plane(input: &GenerateInput<'_>) -> Vec<Section> {
    let issuer = Section::new().text("privateKey", input.secrets.service_account.expose()).text("issuerURL", input.endpoint);
    let sans = input.additional_sans.iter().map(String::as_str);
    let authorizer = |name: &str, kind: &str| Section::document("KubeAuthorizerConfig").text("name", name).text("type", kind);
    vec![
        Section::document("KubeAggregatorCAConfig").put("issuingCA", authority_pem(&input.secrets.aggregator)),
        Section::document("KubeAdmissionControlConfig").text("name", "PodSecurity").put("configuration", pod_security()),
        Section::document("KubeAuditPolicyConfig").put("configuration", audit_policy()),
        Section::document("KubeAuthenticationConfig").put("configuration", authentication()),
        authorizer("node", "Node"),
        authorizer("rbac", "RBAC"),
        Section::document("KubeEtcdEncryptionConfig").put("config", etcd_encryption(input)),
        Section::document("KubeServiceAccountConfig").put("issuer", issuer),
        Section::document("KubeAPIServerConfig")
            .text("image", &input.image(API_SERVER))
            .when(!input.additional_sans.is_empty(), |server| server.put("certExtraSANs", texts(sans))),
        Section::document("KubeControllerManagerConfig").text("image", &input.image(CONTROLLER_MANAGER)),
        Section::document("KubeSchedulerConfig").text("image", &input.image(SCHEDULER)).put("config", Section::new()),
        Section::document("KubeProxyConfig").text("image", &input.image(PROXY)).put("config", Section::new()),
        Section::document("KubeFlannelCNIConfig").text("backendType", "vxlan").put("backendPort", VXLAN_PORT),
        Section::document("KubeCoreDNSConfig").put("enabled", true),
    ]
}

/// Kubernetes' pod security standards: baseline enforced, restricted warned of, outside `kube-system`.
pub(super) fn pod_security() -> Section {
    let levels = [("audit", "restricted"), ("enforce", "baseline"), ("warn", "restricted")];
    let defaults = levels
        .into_iter()
        .fold(Section::new(), |defaults, (what, level)| defaults.text(what, level).text(&format!("{what}-version"), "latest"));
    let exemptions = Section::new().put("namespaces", texts(["kube-system"])).put("runtimeClasses", texts([])).put("usernames", texts([]));
    Section::new()
        .text("apiVersion", "pod-security.admission.config.k8s.io/v1alpha1")
        .put("defaults", defaults)
        .put("exemptions", exemptions)
        .text("kind", "PodSecurityConfiguration")
}

/// Who did what, without the content.
pub(super) fn audit_policy() -> Section {
    let rule = Section::new().text("level", "Metadata");
    Section::new().text("apiVersion", "audit.k8s.io/v1").text("kind", "Policy").put("rules", list([rule]))
}

/// Strangers may ask whether the API server is well, and nothing else.
fn authentication() -> Section {
    let paths = ["/livez", "/readyz", "/healthz"].map(|path| Section::new().text("path", path));
    let anonymous = Section::new().put("conditions", list(paths)).put("enabled", true);
    Section::new().put("anonymous", anonymous).put("jwt", texts([]))
}

/// How secrets are encrypted in etcd. The names of keys are part of what is stored: they stay those of before 1.14.
fn etcd_encryption(input: &GenerateInput<'_>) -> Section {
    let secrets = input.secrets;
    let providers = [("secretbox", "key2", &secrets.secretbox_secret), ("aescbc", "key1", &secrets.aescbc_secret)];
    let providers = providers.into_iter().filter_map(|(provider, name, secret)| {
        let key = Section::new().text("name", name).text("secret", secret.as_ref()?.expose());
        Some(Section::new().put(provider, Section::new().put("keys", list([key]))))
    });
    let resources = Section::new().put("providers", list(providers)).put("resources", list([text("secrets")]));
    Section::new().put("resources", list([resources]))
}
