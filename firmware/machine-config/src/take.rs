//! From the tree to the typed view.

use std::{collections::BTreeMap, str::FromStr};

use pki::{AuthorityPem, Secret};

use crate::{
    AutoHostname, Network, Problems,
    host::Host,
    scalar,
    tree::{Kind, Node},
    view::{Cluster, Config, Install, MachineType},
};

/// Takes typed values out of the tree and notes what cannot be.
pub(crate) struct Taker {
    pub problems: Problems,
}

impl Taker {
    /// The main document. `None` when something required is missing; the problems then say what.
    pub fn config(&mut self, root: &Node) -> Option<Config> {
        let machine = root.get("machine");
        let cluster = root.get("cluster");
        if machine.is_none() {
            self.problems.add(root.line, "machine", "this section is required");
        }
        if cluster.is_none() {
            self.problems.add(root.line, "cluster", "this section is required");
        }
        // What is wrong in the one section is told even when the other is missing.
        let empty = Node { line: root.line, kind: Kind::Map(Vec::new()) };
        let (machine, cluster) = (machine?, cluster.unwrap_or(&empty));
        let machine_type = self.machine_type(machine);
        let token = secret(machine.get("token"));
        if token.is_empty() && machine.get("token").is_none_or(|node| node.text().is_some()) {
            self.problems.add(machine.line, "machine.token", "this is required");
        }
        let ca = self.authority(machine.get("ca"), "machine.ca");
        if machine.get("ca").is_none() {
            self.problems.add(
                machine.line,
                "machine.ca",
                "this is required: the authority of the machine API (crt, and key on a control plane)",
            );
        }
        let cert_sans = texts(machine.get("certSANs"));
        let accepted_cas = self.certificates(machine.get("acceptedCAs"), "machine.acceptedCAs");
        let network = machine.get("network").map_or_else(Network::default, |node| self.network(node));
        let mut network = network;
        network.time_servers = texts(machine.get("time").and_then(|time| time.get("servers")));
        let install = machine.get("install").map(|node| Install {
            disk: text(node.get("disk")),
            image: text(node.get("image")),
            wipe: flag(node.get("wipe")).unwrap_or(false),
        });
        let cluster = self.cluster(cluster);
        Some(Config {
            machine_type: machine_type?,
            token,
            ca: ca?,
            accepted_cas,
            cert_sans,
            network,
            host: Host::default(),
            install,
            cluster,
        })
    }

    fn machine_type(&mut self, machine: &Node) -> Option<MachineType> {
        const WANTED: &str = "must be controlplane or worker";
        let Some(node) = machine.get("type") else {
            self.problems.add(machine.line, "machine.type", format!("this is required: it {WANTED}"));
            return None;
        };
        match node.text() {
            Some("controlplane" | "init") => Some(MachineType::ControlPlane),
            Some("worker" | "join") => Some(MachineType::Worker),
            given => {
                let given: String = given.unwrap_or("something else than a word").chars().take(40).collect();
                self.problems.add(node.line, "machine.type", format!("{WANTED}, and not {given:?}"));
                None
            }
        }
    }

    /// The `HostnameConfig` document, or the older settings of the main one; not both.
    pub fn hostname(&mut self, config: &mut Config, main: &Node, document: Option<&Node>) {
        let stable = main.get("machine").and_then(|machine| machine.get("features")).and_then(|node| node.get("stableHostname"));
        let Some(document) = document else {
            // Without the document the default is the older one: a name from the address.
            let stable = flag(stable).unwrap_or(false);
            config.network.auto_hostname = if stable { AutoHostname::Stable } else { AutoHostname::Address };
            return;
        };
        let given = document.get("hostname").filter(|name| name.text().is_some_and(|name| !name.is_empty()));
        let auto = document.get("auto").and_then(Node::text);
        if let (Some(name), Some("stable")) = (given, auto) {
            self.problems.add(name.line, "HostnameConfig.hostname", "with auto: stable no name can be given; set auto: off");
        }
        if given.is_none() && auto.is_none() {
            self.problems.add(document.line, "HostnameConfig", "either auto or hostname must be set");
        }
        if let (Some(node), Some(true)) = (stable, flag(stable)) {
            self.problems.add(node.line, "machine.features.stableHostname", "this is set while a HostnameConfig document is there");
        }
        config.network.auto_hostname = if auto == Some("stable") { AutoHostname::Stable } else { AutoHostname::Off };
        if let Some(name) = given.and_then(Node::text) {
            config.network.hostname = Some(name.to_owned());
        }
    }

    /// What the generation served keeps in documents of its own and older ones in the main document. That it is not in
    /// both is checked elsewhere.
    pub fn cluster_documents<'a>(&mut self, cluster: &mut Cluster, document: impl Fn(&str) -> Option<&'a Node>) {
        if let Some(document) = document("KubeClusterConfig") {
            cluster.name = text(document.get("clusterName"));
            cluster.endpoint = text(document.get("endpoint"));
        }
        if let Some(document) = document("DiscoveryIdentityConfig") {
            cluster.id = text(document.get("clusterID"));
            cluster.secret = secret(document.get("clusterSecret"));
        }
        if let Some(document) = document("KubeAPIServerCAConfig") {
            cluster.ca = authority_document(document);
        }
        if let Some(document) = document("KubeAggregatorCAConfig") {
            cluster.aggregator_ca = authority_document(document);
        }
        if let Some(key) = document("KubeServiceAccountConfig").and_then(|document| document.get("issuer")?.get("privateKey")) {
            cluster.service_account = Some(secret(Some(key)));
        }
        if let Some(document) = document("KubeNetworkConfig") {
            if let Some(domain) = document.get("dnsDomain").and_then(Node::text) {
                domain.clone_into(&mut cluster.dns_domain);
            }
            // The check of types spoke of what is no network.
            let networks = |key: &str| texts(document.get(key)).iter().filter_map(|text| text.parse().ok()).collect();
            cluster.pod_subnets = networks("podSubnets");
            cluster.service_subnets = networks("serviceSubnets");
        }
    }

    fn cluster(&mut self, node: &Node) -> Cluster {
        let network = node.get("network");
        let under = |key: &str| network.and_then(|network| network.get(key));
        let range = "a network (10.0.0.0/8)";
        Cluster {
            id: text(node.get("id")),
            secret: secret(node.get("secret")),
            name: text(node.get("clusterName")),
            endpoint: text(node.get("controlPlane").and_then(|plane| plane.get("endpoint"))),
            token: secret(node.get("token")),
            ca: self.authority(node.get("ca"), "cluster.ca"),
            aggregator_ca: self.authority(node.get("aggregatorCA"), "cluster.aggregatorCA"),
            etcd_ca: self.authority(node.get("etcd").and_then(|etcd| etcd.get("ca")), "cluster.etcd.ca"),
            service_account: node
                .get("serviceAccount")
                .and_then(|account| account.get("key"))
                .and_then(|key| self.base64(key, "cluster.serviceAccount.key")),
            dns_domain: under("dnsDomain").and_then(Node::text).unwrap_or("cluster.local").to_owned(),
            pod_subnets: self.parsed(under("podSubnets"), "cluster.network.podSubnets", range),
            service_subnets: self.parsed(under("serviceSubnets"), "cluster.network.serviceSubnets", range),
        }
    }

    fn authority(&mut self, node: Option<&Node>, path: &str) -> Option<AuthorityPem> {
        let node = node?;
        let Some(crt) = node.get("crt").filter(|crt| crt.text().is_some_and(|text| !text.is_empty())) else {
            self.problems.add(node.line, format!("{path}.crt"), "this is required");
            return None;
        };
        let cert_pem = self.base64(crt, &format!("{path}.crt"))?.expose().to_owned();
        if pki::read_chain(&cert_pem).is_err() {
            self.problems.add(crt.line, format!("{path}.crt"), "this holds no certificate");
        }
        let key = node.get("key").filter(|key| key.text().is_some_and(|text| !text.is_empty()));
        let key_pem = key.and_then(|key| self.base64(key, &format!("{path}.key")));
        Some(AuthorityPem { cert_pem, key_pem })
    }

    fn certificates(&mut self, node: Option<&Node>, path: &str) -> Vec<String> {
        self.each(node, path, |taker, node, path| {
            let crt = node.get("crt")?;
            Some(taker.base64(crt, &format!("{path}.crt"))?.expose().to_owned())
        })
    }

    fn base64(&mut self, node: &Node, path: &str) -> Option<Secret> {
        match pki::decode_base64_text(path, node.text()?) {
            Ok(secret) => Some(secret),
            Err(pki::Error::Base64 { .. }) => None, // the check of types said so
            Err(_) => {
                self.problems.add(node.line, path, "this must be PEM text in base64");
                None
            }
        }
    }

    pub(crate) fn each<T>(&mut self, node: Option<&Node>, path: &str, take: impl Fn(&mut Self, &Node, &str) -> Option<T>) -> Vec<T> {
        let items = node.map_or(&[][..], Node::items);
        items.iter().enumerate().filter_map(|(at, item)| take(self, item, &format!("{path}[{at}]"))).collect()
    }

    pub(crate) fn one<T: FromStr>(&mut self, node: Option<&Node>, path: &str, wanted: &str) -> Option<T> {
        let node = node?;
        let text = node.text().filter(|text| !text.is_empty())?;
        let value = text.parse().ok();
        if value.is_none() {
            self.problems.add(node.line, path, format!("{text:?} is not {wanted}"));
        }
        value
    }

    pub(crate) fn parsed<T: FromStr>(&mut self, node: Option<&Node>, path: &str, wanted: &str) -> Vec<T> {
        self.each(node, path, |taker, item, path| taker.one(Some(item), path, wanted))
    }
}

/// The authority of a document: the one that issues, or the first that is accepted where nothing is issued.
fn authority_document(document: &Node) -> Option<AuthorityPem> {
    let Some(issuing) = document.get("issuingCA") else {
        let cert_pem = document.get("acceptedCAs")?.items().first()?.text()?.to_owned();
        return Some(AuthorityPem { cert_pem, key_pem: None });
    };
    let key_pem = issuing.get("key").and_then(Node::text).filter(|key| !key.is_empty()).map(Secret::new);
    Some(AuthorityPem { cert_pem: text(issuing.get("cert")), key_pem })
}

pub(crate) fn text(node: Option<&Node>) -> String {
    node.and_then(Node::text).unwrap_or_default().to_owned()
}

pub(crate) fn secret(node: Option<&Node>) -> Secret {
    Secret::new(text(node))
}

pub(crate) fn texts(node: Option<&Node>) -> Vec<String> {
    node.map_or(&[][..], Node::items).iter().filter_map(Node::text).map(str::to_owned).collect()
}

pub(crate) fn flag(node: Option<&Node>) -> Option<bool> {
    scalar::boolean(node?.text()?)
}

/// A number that fits; what does not was reported by the check of types.
pub(crate) fn number(node: Option<&Node>) -> Option<u32> {
    scalar::integer(node?.text()?).and_then(|number| number.try_into().ok())
}

pub(crate) fn map(node: Option<&Node>) -> BTreeMap<String, String> {
    let entries = node.map_or(&[][..], Node::entries);
    entries.iter().filter_map(|entry| Some((entry.key.clone(), entry.value.text()?.to_owned()))).collect()
}
