//! Whole configurations, good and bad.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pki::SecretsBundle;
use proptest::prelude::*;

use crate::*;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// One bundle for all tests: its RSA key takes a while.
fn bundle() -> &'static SecretsBundle {
    static BUNDLE: OnceLock<SecretsBundle> = OnceLock::new();
    BUNDLE.get_or_init(|| SecretsBundle::generate(now()).expect("a bundle"))
}

/// A certificate of an authority, PEM.
pub(crate) fn authority() -> &'static str {
    &bundle().os.cert_pem
}

fn generated() -> Generated {
    generate(&GenerateInput::new("home", "https://10.0.0.10:6443", bundle(), now())).expect("generated")
}

/// A worker in few lines; `%` is where more goes.
fn small(more_machine: &str, more: &str) -> String {
    let ca = pki::encode_base64(&bundle().os.cert_pem);
    format!(
        "machine:\n  type: worker\n  token: abc.def\n  ca:\n    crt: {ca}\n{more_machine}cluster:\n  controlPlane:\n    endpoint: https://10.0.0.1:6443\n{more}"
    )
}

fn good(text: &str) -> Parsed {
    Config::parse(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Every wanted text must be a problem, in that order, and there must be no others.
fn bad(text: &str, wanted: &[&str]) {
    let problems = Config::parse(text).map(|_| ()).expect_err("a wrong configuration");
    let found: Vec<_> = problems.list().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.contains(wanted), "{found:?} should contain {wanted:?}");
    }
}

#[test]
fn generated_configurations_are_right() {
    let files = generated();
    let control = good(files.controlplane.expose());
    let worker = good(files.worker.expose());
    assert_eq!(control.config.machine_type(), MachineType::ControlPlane);
    assert_eq!(worker.config.machine_type(), MachineType::Worker);
    assert_eq!(worker.config.cluster().endpoint, "https://10.0.0.10:6443");
    assert_eq!(control.config.network().auto_hostname, AutoHostname::Stable);
    assert!(control.config.cluster().etcd_ca.is_some() && control.config.cluster().service_account.is_some());
    assert!(worker.config.cluster().etcd_ca.is_none() && worker.config.machine_ca().key_pem.is_none());
    let warned: Vec<_> = worker.warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(
        warned[..5],
        ["machine.features.diskQuotaSupport", "cluster", "DiscoveryServiceConfig", "DiscoveryIdentityConfig", "UnattendedInstallConfig"]
    );
    assert_eq!(warned.len(), 14, "{warned:?}");
    let lines: Vec<usize> = worker.warnings.iter().map(|warning| warning.line).collect();
    let short = crate::summary(&worker.warnings);
    assert_eq!(short.len(), 2, "{short:?}");
    assert!(short[0].contains(&format!("machine.features.diskQuotaSupport (line {}), cluster (line {})", lines[0], lines[1])), "{short:?}");
    let shown = format!("{:?}", control.config);
    assert!(!shown.contains("PRIVATE KEY") && !shown.contains(control.config.token().expose()));
    let (_, context) = files.talosconfig.get(None).expect("a context");
    let admin = context.identity("home").expect("an identity");
    let leaf = pki::read_chain(&admin.cert_pem).expect("a chain").remove(0);
    assert_eq!(pki::roles(&leaf).expect("roles"), ["os:admin"]);
}

/// The generation served keeps the cluster's identity and address in documents of their own (as its client's
/// `gen config` writes them).
#[test]
fn the_cluster_may_be_described_in_documents() {
    let documents = "---\napiVersion: v1alpha1\nkind: KubeClusterConfig\nclusterName: demo\nendpoint: https://10.0.0.7:6443\n\
        ---\napiVersion: v1alpha1\nkind: DiscoveryIdentityConfig\nclusterID: abc\nclusterSecret: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n\
        ---\napiVersion: v1alpha1\nkind: UnattendedInstallConfig\ninstaller:\n  image: example.org/installer:v1\n\
        provisioning:\n  diskSelector:\n    match: disk.dev_path == \"/dev/sda\"\n  wipe: false\n\
        ---\napiVersion: v1alpha1\nkind: KubeSpanEndpointsConfig\nextraAnnouncedEndpoints: [192.168.13.46:52000]\n\
        ---\napiVersion: v1alpha1\nkind: ImageVerificationConfig\nrules:\n  - image: registry.k8s.io/*\n    keyless:\n      issuer: https://a\n      subject: a@b\n";
    let without = small("", "").replace("  controlPlane:\n    endpoint: https://10.0.0.1:6443\n", "  token: x.y\n");
    let config = good(&format!("{without}{documents}")).config;
    let cluster = config.cluster();
    assert_eq!((cluster.endpoint.as_str(), cluster.name.as_str(), cluster.id.as_str()), ("https://10.0.0.7:6443", "demo", "abc"));
    assert_eq!(cluster.secret.expose(), "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    bad(&without, &["cluster.controlPlane.endpoint: this is required"]);
    bad(&format!("{}{documents}", small("", "")), &["KubeClusterConfig: the main document sets cluster.controlPlane.endpoint already"]);
}

#[test]
fn what_is_given_is_taken() {
    let text = small(
        "  certSANs: [node.lan, 10.0.0.5]\n  network:\n    hostname: n1\n    nameservers: [10.0.0.1, 'fd00::1']\n    interfaces:\n      - interface: eth0\n        dhcp: no\n        mtu: 1_500\n        addresses: [10.0.0.5/24]\n        routes:\n          - gateway: 10.0.0.1\n            metric: 0x10\n    extraHostEntries:\n      - ip: 10.0.0.9\n        aliases: [db, db.lan]\n",
        "",
    );
    let config = good(&text).config;
    assert_eq!(config.hostname(), Some("n1"));
    assert_eq!(config.cert_sans(), ["node.lan", "10.0.0.5"]);
    let link = &config.network().links[0];
    assert_eq!((link.mtu, link.routes[0].metric, config.network().dhcp.len()), (Some(1500), Some(16), 0));
    assert_eq!(config.network().hosts[0].aliases, ["db", "db.lan"]);
    assert_eq!(config.network().name_servers.len(), 2);
}

#[test]
fn leniencies_of_the_usual_decoder() {
    let files = "  files:\n    - path: /var/x\n      permissions: 0644\n      op: create\n      content: 1.10\n";
    good(&small(files, ""));
    let merged = "  sysctls: &s\n    a: \"1\"\n  sysfs:\n    <<: *s\n    b: on\n";
    let config = good(&small(merged, "")).config;
    assert_eq!(config.sysfs().get("a").map(String::as_str), Some("1"));
    assert_eq!(config.sysfs().get("b").map(String::as_str), Some("on"));
    good(&format!("\u{feff}---\n{}---\n---\n# nothing\n", small("  time:\n    disabled: Yes\n", "")));
    good(&small("  network: null\n  certSANs: ~\n", ""));
}

#[test]
fn every_problem_at_once_with_its_place() {
    let text = "machine:\n  type: master\n  colour: red\n  certSans: []\n  network:\n    interfaces:\n      - interfce: eth0\n        mtu: big\n        dhcp: maybe\n  token: [1]\ncluster:\n  controlPlane:\n    endpoint: 10.0.0.1\n    x: 1\n";
    bad(
        text,
        &[
            "line 2: machine.type: must be controlplane or worker",
            "line 2: machine.ca: this is required",
            "line 3: machine.colour: there is no such field",
            "line 4: machine.certSans: there is no such field (did you mean certSANs?)",
            "line 7: machine.network.interfaces[0].interfce: there is no such field",
            "line 7: machine.network.interfaces[0]: interface or deviceSelector is required",
            "line 8: machine.network.interfaces[0].mtu: this must be a whole number",
            "line 9: machine.network.interfaces[0].dhcp: this must be true or false",
            "line 10: machine.token: this must be text, not a list",
            "line 14: cluster.controlPlane.x: there is no such field",
        ],
    );
}

#[test]
fn missing_and_contradicting_things() {
    bad("", &["there is no main document"]);
    bad(
        "machine:\n  debug: x\n",
        &["cluster: this section is required", "machine.debug: there is no such field", "machine.type", "machine.token", "machine.ca"],
    );
    let nothing = "machine:\n  sysctls: {}\ncluster:\n  id: a\n";
    bad(nothing, &["machine.type", "machine.token", "machine.ca"]);
}

#[test]
fn meanings_are_checked() {
    let worker = small("", "");
    bad(&worker.replace("type: worker", "type: controlplane"), &["machine.ca.key: this is required on a control plane"]);
    bad(&worker.replace("https://10.0.0.1:6443", "http://10.0.0.1"), &["cluster.controlPlane.endpoint: it must start with https://"]);
    bad(&small("  network:\n    hostname: a_b\n", ""), &["hostname: \"a_b\" is not a host name"]);
    bad(&small("  network:\n    nameservers: [one]\n", ""), &["machine.network.nameservers[0]: \"one\" is not an address"]);
    bad(&small("  network:\n    interfaces:\n      - interface: waytoolongalinkname\n", ""), &["is not a link name"]);
    bad(&worker.replace("crt: ", "crt: '%' #"), &["machine.ca.crt: this must be base64"]);
    bad(&worker.replace("cluster:", "version: v2\ncluster:"), &["version: this must be v1alpha1"]);
    let wrong_key = pki::encode_base64(bundle().kubernetes.key_pem.as_ref().expect("a key").expose());
    bad(
        &worker.replacen("\ncluster:", &format!("\n    key: {wrong_key}\ncluster:"), 1),
        &["machine.ca.key: only control-plane nodes may have this key", "machine.ca.key: the private key does not belong"],
    );
}

#[test]
fn documents_beside_the_main_one() {
    let with = |documents: &str| small("", documents);
    let named = good(&with("---\napiVersion: v1alpha1\nkind: HostnameConfig\nauto: off\nhostname: n1\n"));
    assert_eq!((named.config.hostname(), named.warnings.len()), (Some("n1"), 1));
    let parsed = good(&with("---\napiVersion: v1alpha1\nkind: WatchdogTimerConfig\ndevice: /dev/watchdog0\ntimeout: 2m\n"));
    assert!(parsed.warnings.iter().any(|warning| warning.path == "WatchdogTimerConfig"));
    for (documents, wanted) in [
        ("---\napiVersion: v1alpha1\nkind: NoConfig\n", &["there is no document of kind \"NoConfig\""][..]),
        ("---\nkind: HostnameConfig\nauto: off\n", &["apiVersion: this is required"]),
        ("---\napiVersion: v2\nkind: HostnameConfig\nauto: off\n", &["apiVersion: this must be v1alpha1"]),
        ("---\napiVersion: v1alpha1\nkind: HostnameConfig\nauto: stable\nhostname: x\n", &["no name can be given"]),
        ("---\napiVersion: v1alpha1\nkind: HostnameConfig\n", &["either auto or hostname"]),
        ("---\napiVersion: v1alpha1\nkind: HostnameConfig\nauto: maybe\n", &["this must be stable or off"]),
        ("---\n- a\n", &["a document must be a section"]),
        ("---\ndebug: true\n", &["the main document is there already, on line 1"]),
        (
            "---\napiVersion: v1alpha1\nkind: DummyLinkConfig\nname: a\n---\napiVersion: v1alpha1\nkind: LinkConfig\nname: a\n",
            &["LinkConfig.name: link \"a\" is described already, on line 12"],
        ),
        (
            "---\napiVersion: v1alpha1\nkind: VolumeConfig\nname: STATE\n---\napiVersion: v1alpha1\nkind: VolumeConfig\nname: STATE\n",
            &["VolumeConfig document \"STATE\" is there already"],
        ),
        ("---\napiVersion: v1alpha1\nkind: StaticHostConfig\n", &["StaticHostConfig"]),
    ] {
        if documents.contains("StaticHostConfig") {
            assert!(Config::parse(&with(documents)).is_err(), "{documents}");
        } else {
            bad(&with(documents), wanted);
        }
    }
}

#[test]
fn text_that_is_no_configuration() {
    bad("a: [1, 2\n", &["this is not valid YAML"]);
    bad(
        "a: b\na: c\n",
        &["line 1: a: there is no such field", "line 1: machine", "line 1: cluster", "line 2: a: this key is already given on line 1"],
    );
    bad(&small("  sysctls:\n    a: 1\n    a: 2\n", ""), &["a: this key is already given on line 7"]);
    bad(&"[".repeat(5000), &["recursion limit"]);
    bad(&"- ".repeat(5000), &["nested deeper"]);
    bad(
        &format!(
            "a: &a [x]\n{}",
            (0..30)
                .map(|n| format!("b{n}: &b{n} [{}]\n", vec![if n == 0 { "*a".into() } else { format!("*b{}", n - 1) }; 10].join(",")))
                .collect::<String>()
        ),
        &["unfolds to too many"],
    );
    bad("a: !secret x\n", &["tag"]);
    bad("a: &a [*a]\n", &["an alias must not refer to the value it is part of"]);
    bad("? [a]\n: b\n", &["a key must be text"]);
    bad(&"#".repeat(tree::MAX_TEXT + 1), &["bytes; at most"]);
}

#[test]
fn problems_are_limited_and_show_no_secrets() {
    let many: String = (0..500).map(|n| format!("  x{n}: 1\n")).collect();
    let problems = Config::parse(&small(&many, "")).map(|_| ()).expect_err("unknown fields");
    assert_eq!(problems.list().len(), 100);
    assert!(problems.to_string().starts_with("500 errors occurred:\n\t* line") && problems.to_string().contains("and 400 more"));
    let text = generated().controlplane.expose().replace("  key: ", "  key: [geheim]#");
    let problems = Config::parse(&text).map(|_| ()).expect_err("wrong keys").to_string();
    assert!(!problems.contains("geheim"), "{problems}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is done to a right configuration, the parser answers.
    #[test]
    fn damaged_text_never_panics(cuts in prop::collection::vec((0usize..20_000, 0usize..40, "[ -~\n\t]{0,12}"), 1..8)) {
        let mut text = generated_once().to_owned();
        for (at, length, insert) in cuts {
            let start = at.min(text.len());
            let end = (start + length).min(text.len());
            text.replace_range(start..end, &insert);
        }
        drop(Config::parse(&text));
    }

    /// So it does for text that never was one.
    #[test]
    fn strange_text_never_panics(text in "([a-z&*!|>{}\\[\\]#:,'\"?% \n\t-]|\\PC){0,200}") {
        drop(Config::parse(&text));
    }

    /// What is quoted is read back as it was.
    #[test]
    fn quoting_keeps_text(text in "\\PC{0,40}") {
        let line = format!("machine: {}\n", quote::scalar(&text));
        let mut problems = Problems::default();
        let nodes = tree::read(&line, &mut problems);
        prop_assert!(problems.is_empty(), "{}", problems);
        let value = nodes[0].get("machine").and_then(tree::Node::text).unwrap_or_default();
        prop_assert_eq!(value, &text);
    }
}

fn generated_once() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| generated().controlplane.expose().to_owned())
}

#[test]
fn the_host_is_taken_from_either_place() {
    let older = "  time:\n    servers: [ntp.example.org, \"10.0.2.2:4123\"]\n    bootTimeout: 2m0s\n  sysctls:\n    vm.swappiness: 10\n\
                 \x20 kernel:\n    modules:\n      - name: nbd\n        parameters: [nbds_max=4]\n";
    let documents = "---\napiVersion: v1alpha1\nkind: NetworkDefaultActionConfig\ningress: block\n\
                     ---\napiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: zz\nportSelector:\n  ports: [6443, 30000-32767]\n  protocol: tcp\n\
                     ingress:\n  - subnet: 10.0.0.7/8\n    except: 10.1.0.0/16\n  - subnet: fd00::/8\n\
                     ---\napiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: ping\nportSelector:\n  protocol: icmpv6\ningress:\n  - subnet: ::/0\n\
                     ---\napiVersion: v1alpha1\nkind: SysfsConfig\nparams:\n  block.sda.queue.scheduler: none\n\
                     ---\napiVersion: v1alpha1\nkind: KernelModuleConfig\nname: dummy\n";
    let Parsed { config, warnings } = good(&small(older, documents));
    assert!(warnings.iter().all(|warning| warning.path == "cluster"), "{warnings:?}");
    assert_eq!(config.time().servers, ["ntp.example.org", "10.0.2.2:4123"]);
    assert_eq!((config.time().boot_timeout, config.time().disabled), (Some(Duration::from_secs(120)), false));
    assert_eq!(config.sysctls()["vm.swappiness"], "10");
    assert_eq!(config.sysfs()["block.sda.queue.scheduler"], "none");
    let modules: Vec<_> = config.kernel_modules().iter().map(|module| (module.name.as_str(), module.parameters.len())).collect();
    assert_eq!(modules, [("nbd", 1), ("dummy", 0)]);
    assert_eq!(config.ingress().default_action, DefaultAction::Block);
    let [ping, web] = &config.ingress().rules[..] else { panic!("{:?}", config.ingress()) };
    assert_eq!((ping.name.as_str(), ping.protocol, ping.ports.len()), ("ping", Protocol::Icmpv6, 0));
    assert_eq!(web.ports, [Ports { first: 6443, last: 6443 }, Ports { first: 30000, last: 32767 }]);
    assert_eq!(web.peers[0], Peers { subnet: "10.0.0.0/8".parse().unwrap(), except: "10.1.0.0/16".parse().ok() });

    let newer = "---\napiVersion: v1alpha1\nkind: TimeSyncConfig\nenabled: false\nbootTimeout: 10s\nntp:\n  servers: [a.example]\n\
                 ---\napiVersion: v1alpha1\nkind: SysctlConfig\nparams:\n  net/ipv4/conf/eth0.100/rp_filter: \"2\"\n";
    let config = good(&small("", newer)).config;
    assert_eq!((config.time().disabled, config.time().servers.len()), (true, 1));
    assert_eq!(config.sysctls().len(), 1);
    assert_eq!(*good(&small("", "")).config.ingress(), Ingress::default());
}

#[test]
fn the_name_server_is_off_unless_it_is_on() {
    let dns = |machine: &str, more: &str| {
        let found = good(&small(machine, more)).config.host_dns();
        (found.enabled, found.forward_pods, found.member_names)
    };
    assert_eq!(dns("", ""), (false, false, false));
    assert_eq!(dns("  features: {hostDNS: {enabled: true, resolveMemberNames: true}}\n", ""), (true, false, true));
    let document = |settings: &str| format!("---\napiVersion: v1alpha1\nkind: ResolverConfig\nhostDNS: {settings}\n");
    assert_eq!(dns("", &document("{enabled: true, forwardKubeDNSToHost: true}")), (true, true, false));
    assert_eq!(dns("", &document("{enabled: false}")), (false, false, false));
    assert_eq!(generated_dns(), [(true, true), (true, true)]);
}

/// As new clusters have it.
fn generated_dns() -> [(bool, bool); 2] {
    let files = generated();
    [files.controlplane.expose(), files.worker.expose()].map(|text| {
        let dns = good(text).config.host_dns();
        (dns.enabled, dns.forward_pods)
    })
}

#[test]
fn wrong_hosts_are_refused() {
    let older = "  time:\n    servers: [\"http://x\"]\n  sysctls:\n    ../x: 1\n    vm.swappiness: 10\n  kernel:\n    modules:\n      - name: a/b\n";
    let documents = "---\napiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: a\nportSelector:\n  protocol: tcp\n\
                     ---\napiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: b\nportSelector:\n  ports: [0]\n\
                     ---\napiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: c\nportSelector:\n  ports: [1]\n  protocol: icmp\ningress:\n  - except: 10.0.0.0/8\n\
                     ---\napiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: d\nportSelector:\n  ports: [1]\n  protocol: udp\ningress:\n  - subnet: 10.0.0.0/8\n    except: 11.0.0.0/8\n\
                     ---\napiVersion: v1alpha1\nkind: SysctlConfig\nparams:\n  vm.swappiness: \"20\"\n\
                     ---\napiVersion: v1alpha1\nkind: TimeSyncConfig\nenabled: true\n";
    bad(
        &small(older, documents),
        &[
            "machine.sysctls: \"../x\" is not a name",
            "the name of a kernel module",
            "portSelector.ports: this is required",
            "portSelector.protocol: this is required",
            "ports[0]: this must be a port",
            "ingress[0].subnet: this is required",
            "except: this must be a part of 10.0.0.0/8",
            "machine.sysctls sets vm.swappiness already",
            "TimeSyncConfig: the main document sets machine.time.servers already",
        ],
    );
}
