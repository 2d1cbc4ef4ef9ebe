//! Patches as data: a configuration, patches, and what comes out.

use proptest::prelude::*;

use super::*;

const BASE: &str = "\
version: v1alpha1
machine:
  type: worker
  token: abc.def
  certSANs: [a.lan]
  network:
    hostname: n1
    interfaces:
      - interface: eth0
        addresses: [10.0.0.5/24]
        mtu: 1500
        dhcp: true
        vlans:
          - vlanId: 10
            addresses: [10.1.0.5/24]
      - deviceSelector: {driver: virtio, busPath: \"00:*\"}
        dhcp: true
  nodeLabels: {a: one, b: two}
  kubelet:
    extraArgs:
      v: \"1\"
      feature-gates: [A=true, B=true]
    extraConfig: {maxPods: 100, list: [1, 2]}
cluster:
  network:
    podSubnets: [10.244.0.0/16]
    serviceSubnets: [10.96.0.0/12]
  apiServer:
    admissionControl:
      - name: PodSecurity
        configuration: {a: {b: 1}}
---
apiVersion: v1alpha1
kind: HostnameConfig
auto: stable
---
apiVersion: v1alpha1
kind: UserVolumeConfig
name: data
provisioning:
  minSize: 10GiB
";

fn nodes(text: &str) -> Vec<Node> {
    let mut problems = Problems::default();
    let nodes = tree::read(text, &mut problems);
    assert!(problems.is_empty(), "{problems}\n{text}");
    nodes
}

#[track_caller]
fn same(left: &str, right: &str) {
    let (parsed, wanted) = (nodes(left), nodes(right));
    let all = parsed.len() == wanted.len() && parsed.iter().zip(&wanted).all(|(left, right)| equal(left, right));
    assert!(all, "{left}\nis not\n{right}");
}

fn apply(base: &str, patches: &[&str]) -> Result<String, String> {
    let patches: Result<Vec<_>, _> = patches.iter().map(|text| Patch::parse(text)).collect();
    let patched = patch(base, &patches.map_err(|problems| problems.to_string())?);
    patched.map(|text| text.expose().to_owned()).map_err(|error| error.to_string())
}

/// `swaps` are pieces of `BASE` and what stands there afterwards, in flow or block style.
#[track_caller]
fn check(patch: &str, swaps: &[(&str, &str)]) {
    let mut wanted = BASE.to_owned();
    for (old, new) in swaps {
        assert_eq!(wanted.matches(old).count(), 1, "{old}");
        wanted = wanted.replace(old, new);
    }
    let patched = apply(BASE, &[patch]).unwrap_or_else(|error| panic!("{error}\n{patch}"));
    same(&patched, &wanted);
}

#[track_caller]
fn refused(patches: &[&str], wanted: &[&str]) {
    let error = apply(BASE, patches).expect_err("refused");
    for part in wanted {
        assert!(error.contains(part), "{error:?} should contain {part:?}");
    }
}

#[test]
fn scalars_replace_unless_they_are_nothing() {
    check("machine: {token: x.y}", &[("abc.def", "x.y")]);
    check(
        "machine: {network: {interfaces: [{interface: eth0, dhcp: false}]}}",
        &[("1500\n        dhcp: true", "1500\n        dhcp: false")],
    );
    check("machine: {token: \"\", type: null, network: {interfaces: [{interface: eth0, mtu: 0}]}}", &[]);
    check("debug: true", &[("version: v1alpha1", "version: v1alpha1\ndebug: true")]);
    let zswap = "apiVersion: v1alpha1\nkind: ZswapConfig\nmaxPoolPercent: 20\n";
    let zero = "apiVersion: v1alpha1\nkind: ZswapConfig\nmaxPoolPercent: 0\n";
    same(&apply(zswap, &[zero]).expect("patched"), zero);
}

#[test]
fn sections_merge_and_lists_append() {
    check("machine: {nodeLabels: {b: three, c: \"\"}}", &[("{a: one, b: two}", "{a: one, b: three, c: \"\"}")]);
    check("machine: {certSANs: [b.lan, a.lan]}", &[("[a.lan]", "[a.lan, b.lan, a.lan]")]);
    check("machine: {sysctls: {a.b: 1}}", &[("  kubelet:", "  sysctls: {a.b: 1}\n  kubelet:")]);
    check(
        "machine: {kubelet: {extraConfig: {maxPods: 7, more: {x: y}, list: [3]}}}",
        &[("{maxPods: 100, list: [1, 2]}", "{maxPods: 7, list: [1, 2, 3], more: {x: y}}")],
    );
}

#[test]
fn some_fields_are_replaced_whole() {
    check("cluster: {network: {podSubnets: [10.9.0.0/16]}}", &[("10.244.0.0/16", "10.9.0.0/16")]);
    check(
        "machine: {kubelet: {extraArgs: {v: \"\", feature-gates: [C=true]}}}",
        &[("v: \"1\"", "v: \"\""), ("[A=true, B=true]", "[C=true]")],
    );
    let policy = "apiVersion: v1alpha1\nkind: KubeAuditPolicyConfig\nconfiguration: {rules: [{level: None}], other: 1}\n";
    let change = "apiVersion: v1alpha1\nkind: KubeAuditPolicyConfig\nconfiguration: {rules: [{level: Metadata}]}\n";
    same(&apply(policy, &[change]).expect("patched"), change);
    let rules = "apiVersion: v1alpha1\nkind: ImageVerificationConfig\nrules: [{image: a, skip: true}, {image: b, deny: true}]\n";
    let change = "apiVersion: v1alpha1\nkind: ImageVerificationConfig\nrules: [{image: a, deny: true}, {image: c}]\n";
    let wanted =
        "apiVersion: v1alpha1\nkind: ImageVerificationConfig\nrules: [{image: a, deny: true}, {image: b, deny: true}, {image: c}]\n";
    same(&apply(rules, &[change]).expect("patched"), wanted);
}

#[test]
fn elements_with_an_identity_are_found() {
    check(
        "machine: {network: {interfaces: [{interface: eth0, addresses: [10.0.0.6/24]}, {interface: eth1, dhcp: true}]}}",
        &[
            ("[10.0.0.5/24]", "[10.0.0.5/24, 10.0.0.6/24]"),
            ("        dhcp: true\n  nodeLabels", "        dhcp: true\n      - {interface: eth1, dhcp: true}\n  nodeLabels"),
        ],
    );
    check(
        "machine: {network: {interfaces: [{deviceSelector: {busPath: '00:*', driver: virtio}, dhcp: no}]}}",
        &[("        dhcp: true\n  nodeLabels", "        dhcp: false\n  nodeLabels")],
    );
    check(
        "machine: {network: {interfaces: [{interface: eth0, vlans: [{vlanId: 0xa, mtu: 1400}, {vlanId: 11}]}]}}",
        &[("[10.1.0.5/24]", "[10.1.0.5/24]\n            mtu: 1400\n          - vlanId: 11")],
    );
    check(
        "cluster: {apiServer: {admissionControl: [{name: PodSecurity, configuration: {a: {b: 2, c: 3}}}]}}",
        &[("{b: 1}", "{b: 2, c: 3}")],
    );
}

#[test]
fn documents_are_found_by_kind_and_name() {
    check("apiVersion: v1alpha1\nkind: UserVolumeConfig\nname: data\nprovisioning: {minSize: 20GiB}", &[("10GiB", "20GiB")]);
    let other = "apiVersion: v1alpha1\nkind: UserVolumeConfig\nname: more\nprovisioning: {minSize: 20GiB}\n";
    let patched = apply(BASE, &[other]).expect("patched");
    same(&patched, &format!("{BASE}---\n{other}"));
    let twice = format!("{other}---\napiVersion: v1alpha1\nkind: UserVolumeConfig\nname: more\nprovisioning: {{maxSize: 30GiB}}\n");
    let patched = apply(BASE, &[&twice]).expect("patched");
    same(&patched, &format!("{BASE}---\n{}", other.replace("20GiB", "20GiB, maxSize: 30GiB")));
    same(&apply("", &[other]).expect("patched"), other);
}

#[test]
fn deletions() {
    check(
        "apiVersion: v1alpha1\nkind: HostnameConfig\n$patch: delete",
        &[("apiVersion: v1alpha1\nkind: HostnameConfig\nauto: stable\n---\n", "")],
    );
    check("machine: {network: {hostname: {$patch: delete}}}", &[("    hostname: n1\n", "")]);
    check("machine: {nodeLabels: {a: {$patch: delete}, c: three}}", &[("{a: one, b: two}", "{b: two, c: three}")]);
    check("machine: {nodeLabels: {$patch: delete}}", &[("  nodeLabels: {a: one, b: two}\n", "")]);
    check("machine: {kubelet: {extraArgs: {v: {$patch: delete}}}}", &[("      v: \"1\"\n", "")]);
    check("machine: {kubelet: {extraConfig: {maxPods: {$patch: delete}}}}", &[("maxPods: 100, ", "")]);
    check(
        "machine: {network: {interfaces: [{interface: eth0, vlans: [{vlanId: 10, $patch: delete}, {vlanId: 12}]}]}}",
        &[("- vlanId: 10\n            addresses: [10.1.0.5/24]", "- vlanId: 12")],
    );
    let replaced = "machine: {network: {interfaces: [{interface: eth0, $patch: delete}, {interface: eth0, dhcp: false}]}}";
    let patched = apply(BASE, &[replaced]).expect("patched");
    let network = nodes(&patched)[0].get("machine").and_then(|node| node.get("network")).cloned().expect("a network");
    let eth0: Vec<_> =
        network.get("interfaces").expect("interfaces").items().iter().filter(|node| node.get("interface").is_some()).collect();
    assert_eq!(eth0.len(), 1);
    assert!(eth0[0].get("addresses").is_none());
}

#[test]
fn deleting_what_is_not_there_changes_nothing() {
    for patch in [
        "apiVersion: v1alpha1\nkind: KubePrismConfig\n$patch: delete",
        "apiVersion: v1alpha1\nkind: UserVolumeConfig\nname: none\n$patch: delete",
        "apiVersion: v1alpha1\nkind: WatchdogTimerConfig\ntimeout: {$patch: delete}",
        "machine: {nodeLabels: {none: {$patch: delete}}, nodeTaints: {$patch: delete}, sysctls: {a: {$patch: delete}}}",
        "machine: {network: {interfaces: [{interface: eth9, $patch: delete}], nameservers: {$patch: delete}}}",
        "",
        "# nothing\n---\n",
        "machine: {}",
    ] {
        check(patch, &[]);
    }
}

#[test]
fn operations_of_json_patches() {
    let base = "machine: {type: worker, certSANs: [a, c], nodeLabels: {a/b: x}, sysctls: {}}\n";
    let good = |operations: &str, wanted: &str| same(&apply(base, &[operations]).unwrap_or_else(|error| panic!("{error}")), wanted);
    good("[]", base);
    good("- {op: add, path: /machine/certSANs/1, value: b}", &base.replace("[a, c]", "[a, b, c]"));
    good("- {op: add, path: /machine/certSANs/-, value: d}", &base.replace("[a, c]", "[a, c, d]"));
    good("[{\"op\": \"replace\", \"path\": \"/machine/nodeLabels/a~1b\", \"value\": \"z\"}]", &base.replace("x}", "z}"));
    good("- {op: remove, path: /machine/certSANs/0}\n- {op: test, path: /machine/certSANs, value: [c]}", &base.replace("[a, c]", "[c]"));
    good("- {op: move, from: /machine/nodeLabels, path: /machine/nodeAnnotations}", &base.replace("nodeLabels", "nodeAnnotations"));
    good("- {op: copy, from: /machine/nodeLabels, path: /machine/sysctls}", &base.replace("sysctls: {}", "sysctls: {a/b: x}"));
    good("- {op: add, path: /debug, value: true}\n- {op: test, path: /debug, value: yes}", &format!("{base}debug: true\n"));
    good("- {op: add, path: /machine/type, value: controlplane}", &base.replace("worker", "controlplane"));
    for (operations, wanted) in [
        ("- {op: remove, path: /machine/none}", "line 1: [0] /machine/none: there is no \"none\""),
        ("- {op: replace, path: /machine/none/x, value: 1}", "there is no \"none\""),
        ("- {op: add, path: /none/x, value: 1}", "there is no \"none\""),
        ("- {op: add, path: /machine/certSANs/3, value: 1}", "2 elements"),
        ("- {op: add, path: /machine/certSANs/01, value: 1}", "no place"),
        ("- {op: remove, path: /machine/certSANs/-}", "there is no \"-\""),
        ("- {op: add, path: /machine/type/x, value: 1}", "a single value"),
        ("- {op: test, path: /machine/type, value: other}", "another value"),
        ("- {op: test, path: /machine/certSANs, value: [a]}", "another value"),
        ("- {op: move, from: /machine, path: /machine/x}", "into itself"),
        ("- {op: remove, path: \"\"}", "whole document"),
        ("- {op: jump, path: /machine}", "no operation"),
        ("- {op: add, path: /machine/type}", "needs a value"),
        ("- {op: add, value: 1}", "needs path"),
        ("- {op: add, path: machine, value: 1}", "starts with a slash"),
        ("- a", "needs op"),
        ("- {op: add, path: /machine/colour, value: red}", "the patched configuration is not right: 1 error occurred:\n\t* line"),
        ("- {op: replace, path: \"\", value: 1}", "a document must be a section"),
    ] {
        let error = apply(base, &[operations]).expect_err("refused");
        assert!(error.contains(wanted), "{operations}: {error}");
    }
    refused(&["machine: {}", "- {op: remove, path: /machine}"], &["patch 2 cannot be applied", "of one document, and not of 3"]);
}

#[test]
fn copies_of_copies_are_limited() {
    let double = "- {op: copy, from: /machine/sysctls, path: /machine/sysctls/x}\n";
    let error = apply("machine: {sysctls: {a: b}}", &[&double.repeat(200)]).expect_err("refused");
    assert!(error.contains("deeper than") || error.contains("too large"), "{error}");
    let wide: String = (0..40).map(|n| format!("- {{op: copy, from: /machine, path: /machine/x{n}}}\n")).collect();
    let error = apply("machine: {sysctls: {a: b}}", &[&wide]).expect_err("refused");
    assert!(error.contains("too large"), "{error}");
    let many = "- {op: test, path: /a, value: b}\n".repeat(10_001);
    assert!(apply("a: b", &[&many]).expect_err("refused").contains("at most 10000"));
}

#[test]
fn wrong_patches_say_where_and_show_nothing() {
    refused(
        &["machine:\n  colour: red\n  token: [geheim]\n  network: {mtu: 1}\n"],
        &["3 errors", "line 2: machine.colour", "line 3: machine.token: this must be text", "line 4"],
    );
    refused(&["kind: NoConfig\napiVersion: v1alpha1"], &["there is no document of kind"]);
    refused(&["kind: HostnameConfig\nauto: off"], &["apiVersion: this is required"]);
    refused(&["machine: {$patch: replace}"], &["machine.\"$patch\": this is an instruction for patches"]);
    refused(&["$patch: delete"], &["line 1: \"$patch\": the main document cannot be deleted"]);
    refused(&["machine: {network: {interfaces: [{$patch: delete}]}}"], &["machine.network.interfaces[0]: to delete an element"]);
    refused(
        &["machine: {disks: [{device: a, partitions: [{mountpoint: b, $patch: delete}]}]}"],
        &["machine.disks[0]: elements of this list have no identity"],
    );
    refused(
        &["machine: {kubelet: {extraConfig: {maxPods: [1]}}}"],
        &["machine.kubelet.extraConfig.maxPods: a list cannot be merged into a single value"],
    );
    refused(&["a: [", ""], &["not valid YAML"]);
    refused(&["- {op: add, path: /machine/token, value: geheim}"], &["of one document"]);
    assert!(!apply(BASE, &["machine: {token: [geheim]}"]).expect_err("refused").contains("geheim"));
    let error = apply("machine: {colour: red}", &["debug: true"]).expect_err("refused");
    assert!(error.starts_with("the configuration to be patched is not right") && error.contains("machine.colour"), "{error}");
    let error = apply(&format!("{BASE}---\nkind: HostnameConfig\napiVersion: v1alpha1\n"), &["debug: true"]).expect_err("refused");
    assert!(error.contains("HostnameConfig document is there already"), "{error}");
}

#[test]
fn what_is_written_is_what_was_read() {
    let odd = "machine:\n  files:\n    - content: |\n        a\n          b\n\n        c\n      permissions: 0o644\n      path: \"/var/x: y\"\n    - content: \" leading\\ntwo\"\n    - content: \"trailing \\n\\n\"\n    - content: \"tab\\there\\r\\nand \\u2028 \\ufeff\"\n    - content: |-\n        # no comment\n        ---\n        - x\n  nodeLabels: {'': empty, '~': tilde, 'yes': 'no', \"a b\": \"1\", '<<': merge, '? x': y, 'key:': z, '#': h}\n  sysctls: {n: 1_000, f: 1.5, t: yes, d: 2024-01-01, nul: ~, s: '~', x: 0x1F, e: 1e3, i: .inf, v: -5, dash: \"-\", tripled: '---'}\n  pods: [[], {}, [[1, [2]], {a: []}], ~]\n";
    let patched = apply(odd, &["debug: false"]).expect("patched");
    same(&patched, &format!("{odd}debug: false\n"));
    assert!(patched.contains("content: |\n"), "{patched}");
    let long = "k".repeat(3000);
    let text = format!("machine:\n  sysctls:\n    ? {long}\n    : x\n");
    same(&apply(&text, &["machine: {}"]).expect("patched"), &text);
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,6}", "\\PC{0,12}", "[ \\t\\n#:{}\\[\\],&*!|>'\"%@`~0-9.+-]{0,8}", Just("null".to_owned()), Just("yes".to_owned())]
}

fn value() -> impl Strategy<Value = String> {
    let scalar = word().prop_map(|text| crate::quote::scalar(&text).into_owned());
    let plain = prop_oneof![Just("1"), Just("true"), Just("~"), Just("0644"), Just("1.5"), Just("-3"), Just("{$patch: delete}")]
        .prop_map(str::to_owned);
    prop_oneof![scalar, plain].prop_recursive(4, 24, 4, |inner| {
        let entries = prop::collection::btree_map(word().prop_map(|key| crate::quote::scalar(&key).into_owned()), inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            entries.prop_map(|entries| format!(
                "{{{}}}",
                entries.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", ")
            )),
        ]
    })
}

/// Some patch that is right, of fields of every way to merge.
fn change() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        value().prop_map(|value| format!("machine: {{kubelet: {{extraConfig: {{a: {value}}}}}}}\n")),
        word().prop_map(|text| format!("machine: {{token: {}}}\n", crate::quote::scalar(&text))),
        word().prop_map(|text| format!("machine: {{nodeLabels: {{{}: x}}}}\n", crate::quote::scalar(&text))),
        "[a-z]{1,3}".prop_map(|name| format!("machine: {{network: {{interfaces: [{{interface: {name}, mtu: 9000}}]}}}}\n")),
        "[a-z]{1,3}".prop_map(|name| format!("apiVersion: v1alpha1\nkind: UserVolumeConfig\nname: {name}\nvolumeType: disk\n")),
        "[a-d]{1,2}".prop_map(|name| format!("apiVersion: v1alpha1\nkind: UserVolumeConfig\nname: {name}\n$patch: delete\n")),
        Just("cluster: {network: {podSubnets: [10.1.0.0/16]}}\n".to_owned()),
    ];
    prop::collection::vec(field, 1..4).prop_map(|parts| parts.join("---\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A tree of any shape is written so that it is read back.
    #[test]
    fn writing_keeps_every_tree(value in value()) {
        let text = format!("machine: {{kubelet: {{extraConfig: {{a: {value}}}}}}}\n");
        let mut problems = Problems::default();
        let read = tree::read(&text, &mut problems);
        prop_assert!(problems.is_empty(), "{}", problems);
        let written = write::documents(&read);
        let again = tree::read(&written, &mut problems);
        prop_assert!(problems.is_empty(), "{}\n{}", problems, *written);
        prop_assert!(read.len() == again.len() && read.iter().zip(&again).all(|(left, right)| equal(left, right)), "{}\n{}", text, *written);
    }

    /// A patch gives the same result each time, one that can be patched again; what has an identity is not doubled.
    #[test]
    fn patching_is_deterministic_and_settles(change in change()) {
        let Ok(once) = apply(BASE, &[&change]) else { return Ok(()) };
        prop_assert_eq!(&once, &apply(BASE, &[&change]).expect("again"));
        let appends = change.contains("extraConfig");
        let (twice, in_one) = (apply(&once, &[&change]).ok(), apply(BASE, &[&change, &change]).ok());
        prop_assert_eq!(&twice, &in_one);
        // Only what has no schema can change its kind in one patch, so that the patch's beginning does not fit its end.
        let Some(twice) = twice else {
            prop_assert!(appends, "{}", once);
            return Ok(());
        };
        prop_assert!(appends || twice == once, "{}\n{}", once, twice);
    }

    /// Garbage as configuration, as patch, as both.
    #[test]
    fn garbage_never_panics(base in "([a-z&*!|>{}\\[\\]#:,'\"?% \n\t$-]|\\PC){0,120}", change in "([a-z&*!|>{}\\[\\]#:,'\"?% \n\t$/-]|\\PC){0,120}") {
        drop(apply(&base, &[&change]));
        drop(apply(BASE, &[&change]));
        drop(apply(&base, &["machine: {token: a}"]));
    }

    /// A damaged patch is refused or applied, and what comes out can be read.
    #[test]
    fn damaged_patches(at in 0usize..400, length in 0usize..20, insert in "[ -~\n]{0,8}") {
        let mut change = "machine:\n  network:\n    interfaces:\n      - interface: eth0\n        $patch: delete\n      - interface: eth1\n        mtu: 9000\n  kubelet: {extraConfig: {list: [3]}}\n---\napiVersion: v1alpha1\nkind: HostnameConfig\n$patch: delete\n".to_owned();
        let start = at.min(change.len());
        let end = (start + length).min(change.len());
        change.replace_range(start..end, &insert);
        if let Ok(patched) = apply(BASE, &[&change]) {
            prop_assert!(read(&patched).is_ok(), "{}", patched);
        }
    }

    /// Operations of any kind on any place.
    #[test]
    fn operations_never_panic(steps in prop::collection::vec((0usize..7, "(/[a-z0-9~-]{0,4}){0,3}", "(/(machine|nodeLabels|a|0|-)){0,3}"), 0..12)) {
        let names = ["add", "remove", "replace", "move", "copy", "test", "none"];
        let text: String = steps.iter().map(|(name, from, path)| {
            format!("- {{op: {}, path: \"{path}\", from: \"{}\", value: [1, {{a: b}}]}}\n", names[*name], from.replace("/a", "/machine"))
        }).collect();
        drop(apply("machine: {nodeLabels: {a: b}, certSANs: [x]}", &[&text]));
    }
}

/// What the patcher of the reference makes of the same patches (`tests/patches`).
#[test]
fn patches_do_what_the_reference_does() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/patches");
    let file = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut cases = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let Some((case, base)) = name.strip_suffix(".patch.yaml").and_then(|name| name.split_once('.')) else { continue };
        cases += 1;
        let ours = apply(&file(&format!("{base}.yaml")), &[&file(&name)]).unwrap_or_else(|error| panic!("{case}: {error}"));
        let theirs = file(&format!("{case}.expected.yaml"));
        let (left, right): (Vec<_>, Vec<_>) =
            (nodes(&ours).iter().filter_map(tidy).collect(), nodes(&theirs).iter().filter_map(tidy).collect());
        assert_eq!(left.len(), right.len(), "{case}");
        for (left, right) in left.iter().zip(&right) {
            assert!(alike(left, right), "{case}\n{}\nis not\n{}", *write::documents([left]), *write::documents([right]));
        }
    }
    assert_eq!(cases, 40);
}

/// Without what is empty: the reference writes some of it and leaves some out.
fn tidy(node: &Node) -> Option<Node> {
    let kind = match &node.kind {
        Kind::Scalar { text, .. } if text.is_empty() || node.is_null() => return None,
        Kind::Scalar { .. } => node.kind.clone(),
        Kind::List(items) => Kind::List(items.iter().filter_map(tidy).collect()),
        Kind::Map(entries) => {
            let keep = |entry: &tree::Entry| Some(tree::Entry { key: entry.key.clone(), line: 0, value: tidy(&entry.value)? });
            Kind::Map(entries.iter().filter_map(keep).collect())
        }
    };
    let empty = matches!(&kind, Kind::List(items) if items.is_empty()) || matches!(&kind, Kind::Map(entries) if entries.is_empty());
    (!empty).then_some(Node { line: 0, kind })
}

/// Equal, quotes aside: the reference knows the types of fields and quotes by them.
fn alike(left: &Node, right: &Node) -> bool {
    match (&left.kind, &right.kind) {
        (Kind::List(left), Kind::List(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| alike(left, right))
        }
        (Kind::Map(left), Kind::Map(right)) => {
            let found = |entry: &tree::Entry| {
                right.iter().find(|other| other.key == entry.key).is_some_and(|other| alike(&entry.value, &other.value))
            };
            left.len() == right.len() && left.iter().all(found)
        }
        (Kind::Scalar { text: left_text, .. }, Kind::Scalar { text: right_text, .. }) => left_text == right_text || equal(left, right),
        _ => false,
    }
}
