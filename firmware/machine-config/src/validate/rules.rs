//! Rules that documents keep beyond the types of their fields, as a table.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    Problems, check, scalar,
    tree::{Kind, Node},
};

/// A rule about the fields of a section. A path of several names goes down into sections.
#[derive(Clone, Copy)]
enum Rule {
    /// Given, and not empty.
    Needs(&'static str),
    /// At least one of them.
    NeedsOne(&'static [&'static str]),
    /// At most one of them.
    Exclusive(&'static [&'static str]),
    /// The first needs the second to have that value.
    OnlyWith(&'static str, &'static str, &'static str),
    /// The first is needed when the second has that value.
    NeedsWith(&'static str, &'static str, &'static str),
    /// The first is needed unless the second has that value.
    NeedsUnless(&'static str, &'static str, &'static str),
    /// A number in a range, both ends included.
    Range(&'static str, i128, i128),
    /// A number, in a field for any text.
    Whole(&'static str),
    /// A span that is at least so many seconds.
    AtLeast(&'static str, u64),
    /// At most so many letters, digits and dashes.
    Name(&'static str, usize),
    /// One of these words, if given.
    OneOf(&'static str, &'static [&'static str]),
    /// Not this word, which is taken for something else.
    Unlike(&'static str, &'static str),
    /// Networks or addresses; a `!` before one excludes it.
    Networks(&'static str),
    /// Further rules, unless a field has one of these values.
    Unless(&'static str, &'static [&'static str], &'static [Self]),
    /// An address.
    Address(&'static str),
    /// An address with prefix.
    Prefix(&'static str),
    /// PEM certificates.
    Certificate(&'static str),
    /// A key of 32 bytes in base64.
    Key(&'static str),
    /// Each element of a list keeps rules, as does a section that is given.
    Within(&'static str, &'static [Self]),
    /// No two elements of a list have the same value there.
    Unique(&'static str, &'static str),
}

use Rule::{
    Address, AtLeast, Certificate, Exclusive, Key, Name, Needs, NeedsOne, NeedsUnless, NeedsWith, Networks, OneOf, OnlyWith, Prefix, Range,
    Unique, Unless, Unlike, Whole, Within,
};

const ENCRYPTION: Rule = Within(
    "encryption",
    &[Needs("provider"), Needs("keys"), Unique("keys", "slot"), Within("keys", &[NeedsOne(&["static", "nodeID", "kms", "tpm"])])],
);
const AUTHORITY: &[Rule] = &[Needs("cert"), Needs("key"), Certificate("cert")];
const LINK: [Rule; 2] = [Needs("name"), Within("addresses", &[Needs("address")])];
const PROBE: [Rule; 4] = [Needs("name"), AtLeast("interval", 0), Range("failureThreshold", 0, i32::MAX as i128), AtLeast("timeout", 0)];
const DUID: &[Rule] = &[Needs("name"), OnlyWith("duidRaw", "clientIdentifier", "duid")];
/// Length of a partition's name less the two letters that are put before it.
const VOLUME_NAME: usize = 34;

const RULES: &[(&str, &[Rule])] = &[
    ("BGPInstanceConfig", &[Needs("name"), Range("localASN", 1, u32::MAX as i128), Within("neighbors", &[NeedsOne(&["address", "link"])])]),
    ("BlackholeRouteConfig", &[Prefix("name")]),
    ("BondConfig", &LINK),
    ("BondConfig", &[Needs("links"), Needs("bondMode")]),
    ("BridgeConfig", &LINK),
    ("ContainerConfig", &[Needs("name"), Needs("image"), Range("runAs.uid", 0, i32::MAX as i128), Range("runAs.gid", 0, i32::MAX as i128)]),
    (
        "ContainerConfig",
        &[Within(
            "mounts",
            &[
                NeedsOne(&["userVolume", "tmpfs", "hostPath"]),
                Exclusive(&["userVolume", "tmpfs", "hostPath"]),
                Within("userVolume", &[Needs("name"), Needs("destination")]),
                Within("tmpfs", &[Needs("destination")]),
                Within("hostPath", &[Needs("source"), Needs("destination")]),
            ],
        )],
    ),
    ("DHCPv4Config", DUID),
    ("DHCPv6Config", DUID),
    ("DiscoveryIdentityConfig", &[Needs("clusterID"), Needs("clusterSecret"), Key("clusterSecret")]),
    ("DiscoveryServiceConfig", &[Needs("name"), Needs("endpoint")]),
    ("DummyLinkConfig", &LINK),
    ("EtcFileConfig", &[Needs("name")]),
    ("EthernetConfig", &[Needs("name")]),
    ("EventSinkConfig", &[Needs("endpoint")]),
    (
        "ExistingVolumeConfig",
        &[Name("name", usize::MAX), Needs("discovery.volumeSelector.match"), AtLeast("trim.interval", 0), AtLeast("scrub.interval", 10)],
    ),
    (
        "ExtensionServiceConfig",
        &[Needs("name"), NeedsOne(&["configFiles", "environment"]), Within("configFiles", &[Needs("content"), Needs("mountPath")])],
    ),
    ("ExternalVolumeConfig", &[Name("name", VOLUME_NAME), Needs("filesystemType"), Needs("mount.virtiofs.tag")]),
    ("FilesystemScrubConfig", &[AtLeast("interval", 10)]),
    ("FilesystemTrimConfig", &[AtLeast("interval", 0)]),
    ("HCloudVIPConfig", &[Address("name"), Needs("link"), Needs("apiToken")]),
    ("HTTPProbeConfig", &PROBE),
    ("HTTPProbeConfig", &[Needs("url")]),
    (
        "ImageVerificationConfig",
        &[Within(
            "rules",
            &[
                Needs("image"),
                NeedsOne(&["skip", "deny", "keyless", "publicKey"]),
                Exclusive(&["skip", "deny", "keyless", "publicKey"]),
                Within("keyless", &[Needs("issuer"), NeedsOne(&["subject", "subjectRegex"])]),
                Within("publicKey", &[Needs("certificate")]),
            ],
        )],
    ),
    ("KernelModuleConfig", &[Needs("name")]),
    ("KmsgLogConfig", &[Needs("name"), Needs("url")]),
    ("KubeAPIServerCAConfig", &[Within("issuingCA", AUTHORITY), Certificate("acceptedCAs")]),
    ("KubeAPIServerConfig", &[Needs("image")]),
    ("KubeAdmissionControlConfig", &[Needs("name")]),
    ("KubeAggregatorCAConfig", &[Needs("issuingCA"), Within("issuingCA", AUTHORITY), Certificate("acceptedCAs")]),
    (
        "KubeAuthorizerConfig",
        &[Needs("name"), Needs("type"), NeedsWith("webhook", "type", "Webhook"), OnlyWith("webhook", "type", "Webhook")],
    ),
    ("KubeClusterConfig", &[Needs("clusterName"), Needs("endpoint")]),
    ("KubeControllerManagerConfig", &[NeedsUnless("image", "enabled", "false")]),
    ("KubeEtcdEncryptionConfig", &[Needs("config")]),
    ("KubeNodeConfig", &[Networks("nodeIP.validSubnets")]),
    ("KubeExternalManifestConfig", &[Needs("name"), Needs("url")]),
    ("KubeFlannelCNIConfig", &[Needs("backendType"), Range("backendPort", 0, 65535)]),
    ("KubeInlineManifestConfig", &[Needs("name")]),
    (
        "KubeNetworkConfig",
        &[Range("nodeCIDRMaskSizeIPv4", 1, 32), Range("nodeCIDRMaskSizeIPv6", 1, 128), Needs("podSubnets"), Needs("serviceSubnets")],
    ),
    ("KubePrismConfig", &[Range("port", 1, 65535)]),
    ("KubeProxyConfig", &[NeedsUnless("image", "enabled", "false")]),
    ("KubeSchedulerConfig", &[NeedsUnless("image", "enabled", "false")]),
    ("KubeServiceAccountConfig", &[Needs("issuer.privateKey"), Needs("issuer.issuerURL")]),
    ("KubeSpanConfig", &[Range("mtu", 1280, 65535)]),
    ("KubeStaticPodConfig", &[Needs("name"), Needs("pod")]),
    ("KubeletConfig", &[Needs("image")]),
    (
        "LVMLogicalVolumeConfig",
        &[
            Needs("name"),
            Needs("type"),
            Needs("provisioning.volumeGroup"),
            Needs("provisioning.maxSize"),
            Range("mirrors", 1, u32::MAX as i128),
            Range("stripes", 2, u32::MAX as i128),
        ],
    ),
    ("LVMVolumeGroupConfig", &[Needs("name"), Needs("provisioning.volumeSelector.match")]),
    ("Layer2VIPConfig", &[Address("name"), Needs("link")]),
    ("LinkAliasConfig", &[Needs("name"), Needs("selector.match")]),
    ("LinkConfig", &LINK),
    ("OOMConfig", &[AtLeast("sampleInterval", 0)]),
    ("RAIDArrayConfig", &[Needs("name"), Needs("provisioning.volumeSelector.match")]),
    (
        "RawVolumeConfig",
        &[
            Name("name", VOLUME_NAME),
            Needs("provisioning.diskSelector.match"),
            NeedsOne(&["provisioning.minSize", "provisioning.maxSize"]),
            ENCRYPTION,
        ],
    ),
    (
        "RegistryAuthConfig",
        &[Needs("name"), Exclusive(&["username", "auth", "identityToken"]), Exclusive(&["password", "auth", "identityToken"])],
    ),
    ("RegistryMirrorConfig", &[Needs("name"), Within("endpoints", &[Needs("url")])]),
    ("RegistryTLSConfig", &[Needs("name"), Certificate("ca"), Within("clientIdentity", AUTHORITY)]),
    (
        "ResolverConfig",
        &[
            OnlyWith("hostDNS.forwardKubeDNSToHost", "hostDNS.enabled", "true"),
            OnlyWith("hostDNS.resolveMemberNames", "hostDNS.enabled", "true"),
            Within(
                "nameservers",
                &[Needs("address"), NeedsWith("tlsServerName", "protocol", "DoT"), NeedsWith("tlsServerName", "protocol", "DoH")],
            ),
        ],
    ),
    ("RoutingRuleConfig", &[Whole("name"), Range("name", 1, 32765), Unlike("name", "32500"), NeedsOne(&["table", "action"])]),
    ("SideroLinkConfig", &[Needs("apiUrl")]),
    ("StaticHostConfig", &[Address("name"), Needs("hostnames")]),
    (
        "SwapVolumeConfig",
        &[
            Name("name", VOLUME_NAME),
            Needs("provisioning.diskSelector.match"),
            NeedsOne(&["provisioning.minSize", "provisioning.maxSize"]),
            ENCRYPTION,
        ],
    ),
    ("TCPProbeConfig", &PROBE),
    ("TCPProbeConfig", &[Needs("endpoint")]),
    ("TimeSyncConfig", &[Exclusive(&["ntp", "ptp"]), AtLeast("bootTimeout", 0)]),
    ("UnattendedInstallConfig", &[Needs("provisioning.diskSelector.match")]),
    ("UserVolumeConfig", &[Name("name", VOLUME_NAME), ENCRYPTION, AtLeast("trim.interval", 0), AtLeast("scrub.interval", 10)]),
    (
        "UserVolumeConfig",
        &[
            NeedsUnless("provisioning.diskSelector.match", "volumeType", "directory"),
            Unless("volumeType", &["directory", "disk"], &[NeedsOne(&["provisioning.minSize", "provisioning.maxSize"])]),
        ],
    ),
    ("VLANConfig", &LINK),
    ("VLANConfig", &[Needs("parent")]),
    ("VRFConfig", &LINK),
    ("VethConfig", &LINK),
    (
        "VolumeConfig",
        &[
            Needs("name"),
            OneOf("name", &["STATE", "EPHEMERAL", "IMAGECACHE", "ETCD", "CRI", "KUBELET", "LOG"]),
            ENCRYPTION,
            AtLeast("trim.interval", 0),
            AtLeast("scrub.interval", 10),
        ],
    ),
    ("WatchdogTimerConfig", &[Needs("device"), AtLeast("timeout", 10)]),
    ("WireguardConfig", &LINK),
    ("WireguardConfig", &[Range("listenPort", 0, 65535), Within("peers", &[AtLeast("persistentKeepaliveInterval", 0)])]),
    ("ZswapConfig", &[Range("maxPoolPercent", 0, 100)]),
];

/// Checks a document that fits its schema. What is taken out of it besides is checked there (`network`, `host`).
pub(super) fn check(kind: &str, document: &Node, problems: &mut Problems) {
    for (_, rules) in RULES.iter().filter(|(name, _)| *name == kind) {
        keep(rules, document, kind, problems);
    }
}

fn keep(rules: &[Rule], node: &Node, path: &str, problems: &mut Problems) {
    for rule in rules {
        one(*rule, node, path, problems);
    }
}

fn one(rule: Rule, node: &Node, path: &str, problems: &mut Problems) {
    let at = |name: &str| name.split('.').fold(path.to_owned(), |path, key| check::join(&path, key));
    let value = |name: &str| find(node, name);
    let has = |name: &str, wanted: &str| value(name).and_then(Node::text).is_some_and(|text| same(text, wanted));
    let mut need = |name: &str| problems.add(node.line, at(name), "this is required");
    match rule {
        // Where the schema says so too, its check has spoken when nothing is there at all.
        Needs(name) if given(node, name) && !is_empty_section(value(name)) => {}
        Needs(name) => need(name),
        NeedsUnless(name, other, wanted) if !given(node, name) && !has(other, wanted) => need(name),
        NeedsWith(name, other, wanted) if (!given(node, name) || is_empty_section(value(name))) && has(other, wanted) => need(name),
        NeedsOne(names) if !names.iter().any(|name| given(node, name)) => {
            problems.add(node.line, path, format!("one of these is required: {}", names.join(", ")));
        }
        OnlyWith(name, other, wanted) if given(node, name) && !has(other, wanted) => {
            let line = value(name).map_or(node.line, |value| value.line);
            problems.add(line, at(name), format!("this can be set only when {other} is {wanted}"));
        }
        Exclusive(names) => {
            let set: Vec<&str> = names.iter().copied().filter(|name| given(node, name)).collect();
            if set.len() > 1 {
                problems.add(node.line, path, format!("only one of these can be set: {}", set.join(", ")));
            }
        }
        Range(name, low, high) => scalar_rule(value(name), &at(name), problems, |text| {
            let fits = scalar::integer(text).is_none_or(|number| (low..=high).contains(&number));
            (!fits).then(|| format!("this must be from {low} to {high}"))
        }),
        AtLeast(name, seconds) => scalar_rule(value(name), &at(name), problems, |text| match scalar::nanoseconds(text) {
            Some(span) if span < 0 => Some("this must not be negative".to_owned()),
            Some(span) if span > 0 && span < i128::from(seconds) * 1_000_000_000 => Some(format!("this must be at least {seconds}s")),
            _ => None,
        }),
        Name(name, most) => {
            if !given(node, name) {
                return need(name);
            }
            scalar_rule(value(name), &at(name), problems, |text| {
                let letters = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
                let wanted = "only letters, digits and dashes may be in a name";
                if !letters { Some(wanted.to_owned()) } else { (text.len() > most).then(|| format!("a name has at most {most} letters")) }
            });
        }
        Address(name) => scalar_rule(value(name), &at(name), problems, |text| {
            text.parse::<IpAddr>().is_err().then(|| "this must be an address (10.0.0.1)".to_owned())
        }),
        OneOf(name, words) => scalar_rule(value(name), &at(name), problems, |text| {
            (!words.contains(&text)).then(|| format!("this must be one of {}", words.join(", ")))
        }),
        Whole(name) => scalar_rule(value(name), &at(name), problems, |text| {
            scalar::integer(text).is_none().then(|| "this must be a whole number".to_owned())
        }),
        Unlike(name, word) => scalar_rule(value(name), &at(name), problems, |text| (text == word).then(|| format!("{word} is reserved"))),
        Networks(name) => {
            for (index, item) in value(name).map_or(&[][..], Node::items).iter().enumerate() {
                scalar_rule(Some(item), &format!("{}[{index}]", at(name)), problems, |text| {
                    let text = text.strip_prefix('!').unwrap_or(text);
                    let right = text.parse::<IpNet>().is_ok() || text.parse::<IpAddr>().is_ok();
                    (!right).then(|| "this must be a network or an address (10.0.0.0/8)".to_owned())
                });
            }
        }
        Unless(name, values, rules) => {
            if !values.iter().any(|wanted| has(name, wanted)) {
                keep(rules, node, path, problems);
            }
        }
        Prefix(name) => scalar_rule(value(name), &at(name), problems, |text| {
            text.parse::<IpNet>().is_err().then(|| "this must be an address with prefix (10.0.0.0/8)".to_owned())
        }),
        Certificate(name) => {
            let Some(found) = value(name) else { return };
            let list = std::slice::from_ref(found);
            for node in if matches!(found.kind, Kind::List(_)) { found.items() } else { list } {
                scalar_rule(Some(node), &at(name), problems, |text| {
                    pki::read_chain(text).map_or(true, |chain| chain.is_empty()).then(|| "this holds no certificate in PEM".to_owned())
                });
            }
        }
        Key(name) => scalar_rule(value(name), &at(name), problems, |text| {
            (pki::base64_len(text) != Some(32)).then(|| "this must be 32 bytes in base64".to_owned())
        }),
        Within(name, rules) => {
            let Some(found) = value(name) else { return };
            match &found.kind {
                Kind::List(items) => {
                    for (index, item) in items.iter().enumerate() {
                        keep(rules, item, &format!("{}[{index}]", at(name)), problems);
                    }
                }
                _ => keep(rules, found, &at(name), problems),
            }
        }
        Unique(list, field) => {
            let mut seen = std::collections::HashMap::new();
            for item in value(list).map_or(&[][..], Node::items) {
                let text = item.get(field).and_then(Node::text).unwrap_or("0");
                if let Some(line) = seen.insert(text, item.line) {
                    problems.add(item.line, at(list), format!("the same {field} is on line {line}"));
                }
            }
        }
        NeedsUnless(..) | NeedsWith(..) | NeedsOne(_) | OnlyWith(..) => {}
    }
}

/// A rule about a single value that is given and not empty. The value is not shown: it may be a secret.
fn scalar_rule(node: Option<&Node>, path: &str, problems: &mut Problems, wrong: impl FnOnce(&str) -> Option<String>) {
    let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))).filter(|(_, text)| !text.is_empty()) else { return };
    if let Some(wrong) = wrong(text) {
        problems.add(node.line, path, wrong);
    }
}

fn find<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
    path.split('.').try_fold(node, |node, key| node.get(key))
}

/// There, and neither empty nor false.
fn given(node: &Node, path: &str) -> bool {
    find(node, path).is_some_and(|node| match &node.kind {
        Kind::Scalar { text, plain } => !(text.is_empty() || *plain && scalar::boolean(text) == Some(false)),
        Kind::List(items) => !items.is_empty(),
        Kind::Map(_) => true,
    })
}

fn is_empty_section(node: Option<&Node>) -> bool {
    node.is_some_and(|node| matches!(&node.kind, Kind::Map(entries) if entries.is_empty()))
}

fn same(text: &str, wanted: &str) -> bool {
    text == wanted || scalar::boolean(wanted).is_some() && scalar::boolean(text) == scalar::boolean(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Schema, Struct, Type};

    /// Every path of the table is one of the schema.
    #[test]
    fn rules_are_about_fields_that_exist() {
        let schema = Schema::load();
        for (kind, rules) in RULES {
            let structure = schema.document(kind).unwrap_or_else(|| panic!("{kind}"));
            rules.iter().for_each(|rule| exists(&schema, structure, *rule, kind));
        }
    }

    fn exists(schema: &Schema, structure: &Struct, rule: Rule, kind: &str) {
        let names: Vec<&str> = match rule {
            Needs(name) | Range(name, ..) | AtLeast(name, _) | Name(name, _) => vec![name],
            Whole(name) | OneOf(name, _) | Unlike(name, _) | Networks(name) => vec![name],
            Unless(name, _, rules) => {
                rules.iter().for_each(|rule| exists(schema, structure, *rule, kind));
                vec![name]
            }
            Address(name) | Prefix(name) | Certificate(name) | Key(name) => vec![name],
            NeedsOne(names) | Exclusive(names) => names.to_vec(),
            OnlyWith(one, two, _) | NeedsWith(one, two, _) | NeedsUnless(one, two, _) => vec![one, two],
            Within(name, _) => vec![name],
            Unique(list, _) => vec![list],
        };
        for name in names {
            assert!(descend(schema, structure, name).is_some(), "{kind}: {name}");
        }
        let inner = |name: &str| match descend(schema, structure, name) {
            Some(Type::Struct(name)) => schema.get(name),
            Some(Type::List(item)) => {
                if let Type::Struct(name) = &**item {
                    schema.get(name)
                } else {
                    None
                }
            }
            _ => None,
        };
        match rule {
            Within(name, rules) => {
                let inner = inner(name).unwrap_or_else(|| panic!("{kind}: {name}"));
                rules.iter().for_each(|rule| exists(schema, inner, *rule, kind));
            }
            Unique(list, field) => {
                let inner = inner(list).unwrap_or_else(|| panic!("{kind}: {list}"));
                assert!(inner.fields.iter().any(|known| known.name == field));
            }
            _ => {}
        }
    }

    fn descend<'a>(schema: &'a Schema, structure: &'a Struct, path: &str) -> Option<&'a Type> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let field = structure.fields.iter().find(|field| field.name == first)?;
        match (rest, &field.kind) {
            (None, kind) => Some(kind),
            (Some(rest), Type::Struct(name)) => descend(schema, schema.get(name)?, rest),
            _ => None,
        }
    }
}
