//! The commands that need no node, run as a user runs them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

fn keelctl(folder: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keelctl"))
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .output()
        .expect("keelctl runs")
}

fn ok(folder: &Path, line: &str) -> String {
    let output = keelctl(folder, line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn fails(folder: &Path, line: &str) -> String {
    let output = keelctl(folder, line);
    assert_eq!(output.status.code(), Some(1), "{line} should fail");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn nobody_who_reads_is_no_error() {
    let folder = tempfile::tempdir().expect("a folder");
    ok(folder.path(), "gen config home https://10.0.0.10:6443 --additional-sans node.lan");
    // One writes, the other prints.
    for line in ["completion bash", "validate --config worker.yaml --mode metal"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_keelctl"));
        command.args(line.split_whitespace()).current_dir(&folder).env_clear().env("HOME", folder.path()).stdout(writer);
        let output = command.output().expect("keelctl runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(141), "{line}: {said}");
        assert!(said.lines().all(|line| line.starts_with("WARNING: ")), "{line}: {said}");
    }
}

#[test]
fn a_cluster_from_its_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    ok(at, "gen secrets");
    ok(at, "gen config home https://10.0.0.10:6443 --with-secrets secrets.yaml --install-disk /dev/vda --additional-sans node.lan");
    for name in ["secrets.yaml", "controlplane.yaml", "worker.yaml", "talosconfig"] {
        let mode = fs::metadata(at.join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let read = |name: &str| fs::read_to_string(at.join(name)).expect(name);
    let parsed = machine_config::Config::parse(&read("controlplane.yaml")).expect("valid");
    assert_eq!(parsed.config.machine_type(), machine_config::MachineType::ControlPlane);
    assert_eq!(parsed.config.cert_sans(), ["node.lan"]);
    assert!(parsed.config.machine_ca().key_pem.is_some());
    let worker = machine_config::Config::parse(&read("worker.yaml")).expect("valid").config;
    assert!(worker.machine_ca().key_pem.is_none());
    let printed = ok(
        at,
        "gen config home https://10.0.0.10:6443 --with-secrets secrets.yaml --install-disk /dev/vda --additional-sans node.lan -t worker -o -",
    );
    assert_eq!(printed, read("worker.yaml"), "the same secrets give the same file");
}

#[test]
fn files_that_are_there_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    fs::write(at.join("worker.yaml"), "mine").expect("written");
    let text = fails(at, "gen config home https://10.0.0.10:6443");
    assert!(text.contains("worker.yaml") && text.contains("--force"), "{text}");
    assert_eq!(fs::read_to_string(at.join("worker.yaml")).expect("there"), "mine");
    assert!(!at.join("controlplane.yaml").exists());
}

#[test]
fn wrong_input_is_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    for (line, wanted) in [
        ("gen config Home https://10.0.0.10", "DNS label"),
        ("gen config home 10.0.0.10:6443", "https://"),
        ("gen config home https://10.0.0.10 -o -", "--output-types"),
        ("gen config home https://10.0.0.10 --with-secrets none.yaml", "none.yaml"),
        ("version", "config merge"),
        ("version -i", "--nodes"),
        ("config context nobody", "nobody"),
        ("config merge none", "none"),
        ("version -n a --context x", "there is no context"),
    ] {
        let text = fails(at, line);
        assert!(text.contains(wanted), "{line}: {text}");
    }
}

#[test]
fn configurations_are_patched_and_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    fs::write(at.join("all.yaml"), "machine: {certSANs: [all.lan]}\n---\napiVersion: v1alpha1\nkind: HostnameConfig\n$patch: delete\n")
        .expect("written");
    fs::write(at.join("worker-patch.yaml"), "machine:\n  nodeLabels: {rack: a1}\n").expect("written");
    fs::write(at.join("wrong.yaml"), "machine:\n  colour: red\n").expect("written");
    let read = |name: &str| fs::read_to_string(at.join(name)).expect("a file");

    ok(at, "gen config home https://10.0.0.10:6443 --talos-version v1.12 --config-patch @all.yaml --config-patch-worker worker-patch.yaml");
    let parse = |name: &str| machine_config::Config::parse(&read(name)).unwrap_or_else(|problems| panic!("{name}: {problems}")).config;
    assert_eq!(parse("controlplane.yaml").cert_sans(), ["all.lan"]);
    assert!(!read("controlplane.yaml").contains("HostnameConfig") && !read("controlplane.yaml").contains("rack"));
    assert!(read("worker.yaml").contains("    rack: a1\n"));
    assert!(!at.join("none").exists());
    let text = fails(at, "gen config home https://10.0.0.10:6443 --force --config-patch @wrong.yaml");
    assert!(text.contains("wrong.yaml") && text.contains("line 2: machine.colour"), "{text}");

    let printed = ok(at, "machineconfig patch worker.yaml --patch {\"machine\":{\"certSANs\":[\"more.lan\"]}}");
    fs::write(at.join("printed.yaml"), &printed).expect("written");
    assert_eq!(parse("printed.yaml").cert_sans(), ["all.lan", "more.lan"]);
    ok(at, "mc patch worker.yaml -p @all.yaml -o made/for/it.yaml");
    assert_eq!(parse("made/for/it.yaml").cert_sans(), ["all.lan", "all.lan"]);
    let mode = fs::metadata(at.join("made/for/it.yaml")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "a configuration holds keys");
    let operations = "[{\"op\":\"remove\",\"path\":\"/machine/nodeLabels\"}]";
    let text = ok(at, &format!("mc patch worker.yaml --patch {operations}"));
    assert!(!text.contains("rack"), "{text}");
    let text = fails(at, "mc patch worker.yaml --patch [{\"op\":\"remove\",\"path\":\"/machine/none\"}]");
    assert!(text.contains("patch 1 cannot be applied") && text.contains("there is no \"none\""), "{text}");

    let text = ok(at, "validate -c worker.yaml -m metal");
    assert!(text.contains("worker.yaml is valid for metal mode"), "{text}");
    ok(at, "validate -c worker.yaml -m container");
    let text = fails(at, "validate -c worker.yaml -m cloud --strict");
    assert!(text.contains("has warnings"), "{text}");
    let text = fails(at, "validate -c wrong.yaml -m metal");
    assert!(text.contains("machine.colour") && text.contains("machine.type"), "{text}");
}

#[test]
fn the_client_configuration_is_kept_by_commands() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    ok(at, "gen config home https://10.0.0.10:6443 -t talosconfig -o t");
    ok(at, "config merge t");
    ok(at, "config endpoint 10.0.0.10 [fd00::1]:5000");
    ok(at, "config node 10.0.0.10");
    let info = ok(at, "config info");
    assert!(info.contains("os:admin") && info.contains("10.0.0.10,[fd00::1]:5000") && info.contains("364 days"), "{info}");
    ok(at, "config merge t");
    let contexts = ok(at, "config contexts");
    assert!(contexts.lines().any(|line| line.starts_with("*         home-1")), "{contexts}");
    ok(at, "config context home");
    let text = fails(at, "version --context x");
    assert!(text.contains("\"x\""), "{text}");
    // Removed, and added again from the files of its certificates.
    ok(at, "gen ca --organization acme");
    ok(at, "gen key --name me");
    ok(at, "gen csr --key me.key");
    ok(at, "gen crt --name me --ca acme --csr me.csr");
    ok(at, "config add work --ca acme.crt --crt me.crt --key me.key");
    assert!(ok(at, "config contexts").contains("work"));
    assert!(fails(at, "config add work --ca acme.crt --crt me.crt --key me.key").contains("already"));
    assert!(fails(at, "config add other --ca acme.crt --crt me.crt --key acme.key").contains("use me.crt with acme.key"));
    assert!(fails(at, "config remove home").contains("current context"));
    ok(at, "config remove work");
    assert!(!ok(at, "config contexts").contains("work"));
    assert!(fails(at, "config remove work").contains("work"));
    let mode = fs::metadata(at.join(".talos/config")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fails(at, "version -e 127.0.0.1:1");
    assert!(text.contains("127.0.0.1") && text.to_lowercase().contains("refused"), "{text}");
}

#[test]
fn a_certificate_step_by_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    ok(at, "gen ca --organization acme");
    ok(at, "gen key --name me");
    ok(at, "gen csr --key me.key --ip 127.0.0.1 --roles os:operator");
    ok(at, "gen crt --name me --ca acme --csr me.csr --hours 1");
    let read = |name: &str| fs::read_to_string(at.join(name)).expect(name);
    let (ca, leaf) =
        (pki::read_chain(&read("acme.crt")).expect("chain").remove(0), pki::read_chain(&read("me.crt")).expect("chain").remove(0));
    assert_eq!(pki::roles(&leaf).expect("roles"), ["os:operator"]);
    assert!(pki::issued_by(&leaf, &ca).expect("readable"));
    assert_eq!(read("acme.sha256").trim(), pki::spki_fingerprint(&ca).expect("fingerprint"));
    wire::tls::Identity::from_pem(&read("me.crt"), &read("me.key")).expect("they belong together");
    for name in ["acme.key", "me.key"] {
        assert_eq!(fs::metadata(at.join(name)).expect(name).permissions().mode() & 0o777, 0o600, "{name}");
    }
    ok(at, "gen keypair --ip 127.0.0.1 --organization self");
    wire::tls::Identity::from_pem(&read("self.crt"), &read("self.key")).expect("they belong together");

    assert!(fails(at, "gen ca --organization acme").contains("is there already"));
    ok(at, "gen ca --organization acme --force");
    assert!(fails(at, "gen crt --name you --ca acme --csr me.key").contains("sign me.key"));
    assert!(fails(at, "gen crt --name you --ca acme --csr me.csr --hours 0").contains("--hours"));
    assert!(fails(at, "gen csr --key nowhere.key").contains("read nowhere.key"));
    assert!(fails(at, "gen csr --key me.key --roles os:admin,os:reader --force").contains("one role"));
}
