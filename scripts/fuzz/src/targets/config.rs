//! The machine configuration and what is made of it.

use std::{collections::BTreeSet, sync::OnceLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use machine_config::{
    Config, Patch, PatchError, RunMode,
    network::{Expression, FIELDS, Value},
    patch, redact, redact_pair, reference, same,
};

use super::seeds;
use crate::{
    corpus,
    target::{MIB, Target, parts, text, words},
};

/// Files of another crate's tests: every document with what may be in it, and patches.
fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = corpus::folder().join("../../../firmware/machine-config/tests").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("list {}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))).collect()
}

/// One that patches are tried on.
const BASE: &str =
    "machine:\n  type: worker\n  sysctls: {a: b}\n  network:\n    interfaces:\n      - interface: eth0\n        addresses: [10.0.0.1/8]\n";
/// Stands in secrets.
const CANARY: &str = "geheim";
/// Aliases may unfold to half a million nodes of about 100 bytes, twice while they are merged.
const UNFOLDED: usize = 256 * MIB;

/// Names of fields and kinds, and what means something to a YAML reader.
fn language() -> Vec<Vec<u8>> {
    static WORDS: OnceLock<BTreeSet<String>> = OnceLock::new();
    let all = WORDS.get_or_init(|| {
        let mut all = BTreeSet::new();
        for document in reference() {
            all.insert(format!("kind: {}\n", document.kind));
            let names = document.fields.iter().flat_map(|field| field.path.split('.'));
            all.extend(names.map(|name| format!("{}: ", name.trim_end_matches("[]").trim_end_matches("{}"))));
        }
        let signs = [
            "apiVersion: v1alpha1\n",
            "\n---\n",
            "%%\n",
            "$patch: delete\n",
            "$patch: replace\n",
            "&a ",
            "*a",
            "<<: *a",
            "!!str ",
            "!!binary ",
            "|\n",
            ">-\n",
            "{",
            "}",
            "[",
            "]",
            "\n- ",
            "\n  ",
            "~",
            "null",
            "true",
            "yes",
            "0644",
            "1_000",
            "0x1f",
            ".inf",
            "\"",
            "'",
            "# ",
            "\t",
            "\u{feff}",
            "\u{2028}",
            "\\u0000",
            "10.0.0.0/8",
            "fd00::1/64",
            "eth0",
            "1h30m",
            "{op: add, path: /machine/",
            "value: ",
            CANARY,
        ];
        all.extend(signs.map(str::to_owned));
        all
    });
    all.iter().map(|word| word.clone().into_bytes()).collect()
}

/// The stream that a node is configured with.
pub const CONFIG: Target = Target {
    name: "config",
    bytes: "a machine configuration",
    from: "API clients, volumes, the command line",
    property: "for every kind of machine it is accepted or refused with reasons; what is accepted is readable by the patcher",
    longest: 8192,
    memory: UNFOLDED,
    words: language,
    seeds: || {
        [
            files("golden"),
            files("contracts/v1.14/plain"),
            seeds(&[BASE, "kind: HostnameConfig\napiVersion: v1alpha1\nhostname: a\n", "a: &a [x, x]\nb: {<<: {c: *a}}\n"]),
        ]
        .concat()
    },
    check: |input| {
        let text = text(input);
        let accepted = Config::parse(&text).is_ok();
        for mode in [RunMode::Container, RunMode::Cloud] {
            drop(Config::parse_for(&text, mode));
        }
        if accepted {
            assert!(same(&text, &text), "what was accepted cannot be read");
            let nothing = Patch::parse("{}").expect("an empty patch");
            assert!(!matches!(patch(&text, &[nothing]), Err(PatchError::Config(_))), "what was accepted cannot be patched");
        }
    },
};

/// A change of it.
pub const PATCH: Target = Target {
    name: "patch",
    bytes: "a configuration and a patch of either kind, `%%` between them",
    from: "API clients, people",
    property: "what comes out can be read and is itself again when nothing is changed",
    longest: 8192,
    memory: UNFOLDED,
    words: language,
    seeds: || {
        let json = "[{op: add, path: /machine/sysctls/c, value: d}, {op: test, path: /machine/type, value: worker}, \
                    {op: move, from: /machine/type, path: /x}, {op: remove, path: /machine/network}, {op: copy, from: /machine, path: /cluster}]";
        let merged = "machine:\n  sysctls: {a: {$patch: delete}, c: d}\n  network:\n    interfaces:\n      - {interface: eth0, mtu: 9000}\n\
                      ---\napiVersion: v1alpha1\nkind: HostnameConfig\nhostname: b\n";
        let own = [json, merged, "machine: {type: controlplane}\n"].map(|patch| format!("{BASE}%%\n{patch}").into_bytes());
        own.into_iter().chain(files("patches").into_iter().map(|patch| [b"%%\n".to_vec(), patch].concat())).collect()
    },
    check: |input| {
        let text = text(input);
        let [config, change] = parts(&text);
        let Ok(change) = Patch::parse(change) else { return };
        for config in [config, BASE] {
            let Ok(result) = patch(config, std::slice::from_ref(&change)) else { continue };
            let result = result.expose();
            assert!(same(result, result), "the result cannot be read: {result}");
            let nothing = Patch::parse("").expect("an empty patch");
            let again = patch(result, &[nothing]);
            match again {
                Ok(again) => assert!(same(result, again.expose()), "written again it is another: {result}\n%%\n{}", again.expose()),
                // A patch may leave behind what is no configuration; the patcher leaves that to who takes it into use.
                Err(PatchError::Config(_)) => {}
                Err(error) => panic!("nothing was changed, and that failed: {error}"),
            }
        }
    },
};

/// Where the fields that hold secrets are, told independently of the schema that the redactor goes by. `*` is any key or item.
const SECRETS: &[&str] = &[
    "machine.token",
    "machine.ca.key",
    "machine.acceptedCAs.*.key",
    "machine.network.interfaces.*.wireguard.privateKey",
    "machine.registries.config.*.auth.password",
    "machine.registries.config.*.auth.auth",
    "machine.registries.config.*.auth.identityToken",
    "machine.registries.config.*.tls.clientIdentity.key",
    "cluster.secret",
    "cluster.token",
    "cluster.aescbcEncryptionSecret",
    "cluster.secretboxEncryptionSecret",
    "cluster.ca.key",
    "cluster.aggregatorCA.key",
    "cluster.serviceAccount.key",
    "cluster.etcd.ca.key",
];

/// Whether every place where the canary stands in a value is one of secrets.
fn only_in_secrets(value: &serde_yaml::Value, path: &mut Vec<String>) -> bool {
    use serde_yaml::Value;
    match value {
        Value::String(text) => !text.contains(CANARY) || is_secret(path),
        Value::Sequence(items) => items.iter().all(|item| below(item, "*", path)),
        Value::Mapping(entries) => entries.iter().all(|(key, value)| match key {
            Value::String(key) => !key.contains(CANARY) && below(value, key, path),
            // What has no text for a key is not what this oracle understands.
            _ => false,
        }),
        Value::Tagged(_) => false,
        _ => true,
    }
}

fn below(value: &serde_yaml::Value, key: &str, path: &mut Vec<String>) -> bool {
    path.push(key.to_owned());
    let fine = only_in_secrets(value, path);
    path.pop();
    fine
}

fn is_secret(path: &[String]) -> bool {
    SECRETS.iter().any(|secret| {
        let parts: Vec<&str> = secret.split('.').collect();
        parts.len() == path.len() && parts.iter().zip(path).all(|(part, own)| *part == "*" || part == own)
    })
}

/// Configurations without their secrets.
pub const REDACTION: Target = Target {
    name: "redaction",
    bytes: "a configuration with secrets in it, and another one, `%%` between them",
    from: "API clients",
    property: "no secret of the input is in the output, by another YAML reader and another list of secrets; neither is one in a problem; \
               redacting twice is redacting once",
    longest: 8192,
    memory: UNFOLDED,
    words: language,
    seeds: || {
        seeds(&[
            "machine: {type: worker, token: geheim1, ca: {crt: YQ==, key: geheim2}}\n# geheim\ncluster: {secret: geheim3}\n",
            "machine:\n  token: |\n    geheim\n  registries: {config: {a: {auth: {username: u, password: geheim}}}}\n",
            "machine:\n  network:\n    interfaces:\n      - interface: wg0\n        wireguard: {privateKey: geheim}\n%%\nmachine: {token: geheim}\n",
            "machine: {token: &t geheim}\ncluster: {token: *t, ca: {<<: {key: geheim}}, etcd: {ca: {key: geheim}}}\n",
            "cluster: {serviceAccount: {key: geheim}, aggregatorCA: {key: geheim}, aescbcEncryptionSecret: geheim, token: geheim}\n",
        ])
    },
    check: |input| {
        let text = text(input);
        let [config, other] = parts::<2>(&text);
        if let Ok(once) = redact(config, "***") {
            assert_eq!(redact(&once, "***").expect("what was redacted is readable"), once, "twice is not once");
        }
        let pair = redact_pair(config, other);
        let mut documents = [config, other].into_iter().flat_map(serde_yaml::Deserializer::from_str);
        let understood = documents.all(|document| {
            use serde::Deserialize;
            serde_yaml::Value::deserialize(document)
                .is_ok_and(|mut value| value.apply_merge().is_ok() && only_in_secrets(&value, &mut Vec::new()))
        });
        if !understood {
            return;
        }
        match pair {
            Ok((one, two)) => assert!(!one.contains(CANARY) && !two.contains(CANARY), "a secret is shown:\n{one}%%\n{two}"),
            Err(problems) => assert!(!problems.to_string().contains(CANARY), "a secret is in: {problems}"),
        }
        if let Err(problems) = Config::parse(config) {
            assert!(!problems.to_string().contains(CANARY), "a secret is in: {problems}");
        }
    },
};

/// What links are chosen by.
pub const EXPRESSION: Target = Target {
    name: "expression",
    bytes: "an expression about links",
    from: "whoever configures",
    property: "it is understood or refused; what is understood can be asked of every link, and means the same in brackets",
    longest: 4096,
    words: || {
        let fields = FIELDS.map(|field| format!("link.{field}"));
        let mut all = words(&[
            "==",
            "!=",
            "<=",
            ">=",
            "&&",
            "||",
            "!",
            "(",
            ")",
            ".",
            ",",
            "-",
            " in ",
            "mac(",
            "glob(",
            "startsWith(",
            "endsWith(",
            "contains(",
            "true",
            "false",
            "'a*?'",
            "\"\\\"\"",
            "1500",
            "9223372036854775807",
        ]);
        all.extend(fields.map(String::into_bytes));
        all
    },
    seeds: || {
        seeds(&[
            "glob(\"00:1a:*\", mac(link.permanent_addr))",
            "link.driver.startsWith('virtio') && !(link.mtu < 1500) || 'enp0s2' in link.alt_names",
            "link.driver == 'e1000' || -1 >= link.index",
        ])
    },
    check: |input| {
        let text = text(input);
        let Ok(expression) = Expression::parse(&text) else { return };
        let values = [
            None,
            Some(Value::Text("virtio_net".into())),
            Some(Value::Number(1500)),
            Some(Value::Bool(true)),
            Some(Value::Bytes(vec![0, 0x1a, 2])),
            Some(Value::List(vec!["enp0s2".into()])),
        ];
        let bracketed = Expression::parse(&format!("({text})"));
        for value in values {
            let holds = expression.holds(&|_| value.clone());
            // Brackets may be one too many, in depth or in length.
            if let Ok(bracketed) = &bracketed {
                assert_eq!(bracketed.holds(&|_| value.clone()), holds, "in brackets it means something else, of {value:?}");
            }
        }
    },
    ..Target::PLAIN
};

/// A configuration on the kernel's command line.
pub const INLINE: Target = Target {
    name: "inline",
    bytes: "pieces of base64 of a zstd frame; or what is in such a frame, or in such base64",
    from: "the kernel command line",
    property: "what is packed comes back; nothing unfolds beyond the limit of a configuration",
    // Four MiB of text, once as bytes and once while it grows; a window of eight.
    memory: 32 * MIB,
    words: || words(&["(\u{b5}/\u{fd}"]),
    seeds: || vec![b"\x00machine: {}\n".to_vec(), b"\x01(\xb5/\xfd\x04\x00Y\x00\x00machine: {}\n".to_vec(), b"\x02KLUv/QQA".to_vec()],
    check: |input| {
        let Some((kind, input)) = input.split_first() else { return };
        let packed = match kind % 3 {
            0 => STANDARD.encode(zstd::encode_all(input, 1).expect("memory takes everything")),
            1 => STANDARD.encode(input),
            _ => text(input).into_owned(),
        };
        let half = packed.floor_char_boundary(packed.len() / 2);
        let read = machined::config::inline::decode([&packed[..half], &packed[half..]].into_iter());
        match (kind % 3, read) {
            (0, Ok(text)) => assert_eq!(text.map(String::into_bytes), Some(input.to_vec())),
            (0, Err(error)) => assert!(std::str::from_utf8(input).is_err(), "{error}"),
            (_, Ok(Some(text))) => assert!(text.len() <= 4 * MIB),
            _ => {}
        }
    },
    ..Target::PLAIN
};

/// The difference that a client is shown.
pub const DIFFERENCE: Target = Target {
    name: "difference",
    bytes: "two texts, `%%` between them",
    from: "API clients",
    property: "nothing is shown for equal texts, and as many lines come and go as one has more than the other",
    longest: 8192,
    memory: 32 * MIB,
    words: || words(&["%%\n", "a\n", "b\n", "\n"]),
    seeds: || seeds(&["a\nb\nc\n%%\na\nc\nd\n", "%%\na\n", "a\n%%\n"]),
    check: |input| {
        let text = text(input);
        let [old, new] = parts::<2>(&text);
        let shown = machined::config::diff::unified(old, new);
        let changed = old.lines().ne(new.lines());
        assert_eq!(shown.is_empty(), !changed, "{shown}");
        let side = |mark: char| shown.lines().filter(move |line| line.starts_with(mark)).count();
        // As many lines come as go, but for those that one text has more.
        let (gone, come) = (side('-'), side('+'));
        assert_eq!(old.lines().count() + come, new.lines().count() + gone, "{shown}");
    },
};
