//! `meta-data`: who the machine is to its platform.

use super::Reader;
use crate::{Problems, tree::Node, validate::is_host_name};

/// Longest value.
const LONGEST: usize = 256;

/// What a platform says of a machine. Empty: it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaData {
    /// Host name, with a domain or without.
    pub hostname: String,
    /// The machine's name to the platform.
    pub instance_id: String,
    /// What kind of machine it is.
    pub instance_type: String,
    /// Its name for the cluster's cloud provider.
    pub provider_id: String,
    /// Where it is, roughly.
    pub region: String,
    /// Where it is, within that.
    pub zone: String,
}

/// Reads `meta-data`: a map in YAML or JSON; nothing at all is fine. Keys that mean nothing here are for others.
///
/// # Errors
/// Everything that is wrong with it, each with its line.
pub fn meta_data(text: &str) -> Result<MetaData, Problems> {
    let mut reader = Reader::new();
    let data = match reader.document(text) {
        Some(root) => MetaData {
            hostname: reader.host_name(&root),
            instance_id: reader.short(&root, &["instance-id", "instance_id"]),
            instance_type: reader.short(&root, &["instance-type"]),
            provider_id: reader.short(&root, &["provider-id"]),
            region: reader.short(&root, &["region"]),
            zone: reader.short(&root, &["zone"]),
        },
        None => MetaData::default(),
    };
    reader.taker.problems.or(data)
}

impl Reader {
    fn short(&mut self, root: &Node, keys: &[&str]) -> String {
        let Some((key, node)) = keys.iter().find_map(|key| Some((*key, root.get(key)?))) else { return String::new() };
        match node.text() {
            Some(text) if text.len() <= LONGEST && !text.contains(char::is_control) => text.to_owned(),
            _ => {
                self.problem(node, key, format!("this must be one line of at most {LONGEST} bytes"));
                String::new()
            }
        }
    }

    fn host_name(&mut self, root: &Node) -> String {
        let name = self.short(root, &["local-hostname", "local_hostname", "hostname"]);
        if !name.is_empty() && !is_host_name(&name) {
            self.problem(root, "local-hostname", format!("{name:?} is not a host name"));
            return String::new();
        }
        name
    }
}
