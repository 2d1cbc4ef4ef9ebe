//! Meanings that types cannot say: `rules` about single documents, `conflicts` between the main document and others,
//! `whole` about the configuration and where it is used; here, what is looked at in the typed view.

mod conflicts;
mod rules;
#[cfg(test)]
mod tests;
mod whole;

use crate::{Config, MachineType, Problems, RunMode, endpoint, stream::Stream, tree::Node};

/// Checks documents each for itself; for whole configurations and pieces of one. Values that the typed view could not be
/// made of have had their say.
pub(crate) fn documents(stream: &Stream, problems: &mut Problems) {
    let mut found = Problems::default();
    for document in &stream.documents {
        rules::check(&document.kind, &document.node, &mut found);
    }
    problems.add_new(found);
}

/// Checks a configuration that was taken out of `stream`, whose main document is `main`.
pub(crate) fn check(config: &Config, stream: &Stream, main: &Node, mode: RunMode, problems: &mut Problems) {
    let control_plane = config.machine_type() == MachineType::ControlPlane;
    conflicts::check(stream, main, control_plane, problems);
    whole::check(stream, main, control_plane, mode, problems);
    let line = |path: &[&str]| {
        let mut line = main.line;
        let mut node = main;
        for key in path {
            let Some(next) = node.get(key) else { return line };
            node = next;
            line = next.line;
        }
        line
    };
    if let Some(version) = main.get("version").filter(|version| version.text() != Some("v1alpha1")) {
        problems.add(version.line, "version", "this must be v1alpha1");
    }
    authority(config, line(&["machine", "ca"]), problems);
    let cluster = config.cluster();
    if cluster.endpoint.is_empty() {
        problems.add(
            line(&["cluster", "controlPlane"]),
            "cluster.controlPlane.endpoint",
            "this is required, or a KubeClusterConfig document with endpoint: https://host:port of the API server",
        );
    } else if let Err(why) = endpoint::host(&cluster.endpoint) {
        problems.add(line(&["cluster", "controlPlane", "endpoint"]), "cluster.controlPlane.endpoint", why);
    }
    if let Some(name) = config.hostname().filter(|name| !is_host_name(name)) {
        let text = format!("{name:?} is not a host name (letters, digits, dashes and dots; at most 253, each part at most 63)");
        problems.add(line(&["machine", "network", "hostname"]), "hostname", text);
    }
    let at = line(&["machine", "network", "extraHostEntries"]);
    for (index, host) in config.network().hosts.iter().enumerate() {
        if let Some(name) = host.aliases.iter().find(|name| !is_host_name(name)) {
            let path = format!("machine.network.extraHostEntries[{index}].aliases");
            problems.add(at, path, format!("{name:?} is not a host name"));
        }
    }
}

/// A control plane must be able to sign; whoever has a key must have the right one.
fn authority(config: &Config, line: usize, problems: &mut Problems) {
    let ca = config.machine_ca();
    match &ca.key_pem {
        None if config.machine_type() == MachineType::ControlPlane => {
            problems.add(line, "machine.ca.key", "this is required on a control plane, which signs with it");
        }
        None => {}
        Some(key) => {
            if let Err(error) = pki::Authority::from_pem(&ca.cert_pem, key) {
                problems.add(line, "machine.ca.key", error.to_string());
            }
        }
    }
}

pub(crate) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
