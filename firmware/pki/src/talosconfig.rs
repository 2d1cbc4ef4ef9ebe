//! The talosconfig: named contexts, each with endpoints, default nodes and client certificates.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, Identity, Secret, decode_base64_text, encode_base64};

/// The file: contexts by name and which one is current.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Talosconfig {
    /// Name of the current context; empty when none is chosen.
    #[serde(default)]
    pub context: String,
    /// The contexts.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// One context. Keys that this version does not know are kept as they are.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Context {
    /// Old spelling of a single endpoint; moved into `endpoints` on load.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    target: String,
    /// Where to connect: `host`, `host:port`.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Nodes that commands are meant for when none is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Authority, base64 of PEM.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ca: String,
    /// Client certificate, base64 of PEM.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub crt: String,
    #[serde(default, with = "secret_text", skip_serializing_if = "Secret::is_empty")]
    key: Secret,
    /// What else is there (auth, cluster, proxy-url).
    #[serde(flatten)]
    rest: BTreeMap<String, serde_yaml::Value>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("endpoints", &self.endpoints).field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

/// Serde for the one secret in the file; [`Secret`] itself has none, so that nothing else writes one by accident.
mod secret_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::Secret;

    pub fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

impl Context {
    /// A context for an identity of an authority.
    #[must_use]
    pub fn new(endpoints: Vec<String>, ca_pem: &str, identity: &Identity) -> Self {
        Self {
            endpoints,
            ca: encode_base64(ca_pem),
            crt: encode_base64(&identity.cert_pem),
            key: Secret::new(encode_base64(identity.key_pem.expose())),
            ..Self::default()
        }
    }

    /// The authority's certificate, PEM. `name` is the context's, for the error.
    pub fn ca_pem(&self, name: &str) -> Result<String, Error> {
        let text = self.part(name, "ca", &self.ca)?;
        Ok(text.expose().to_owned())
    }

    /// The client's certificate and key. `name` is the context's, for the error.
    pub fn identity(&self, name: &str) -> Result<Identity, Error> {
        Ok(Identity {
            cert_pem: self.part(name, "crt", &self.crt)?.expose().to_owned(),
            key_pem: self.part(name, "key", self.key.expose())?,
        })
    }

    /// The cluster's name, when an endpoint serves several.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.rest.get("cluster").and_then(serde_yaml::Value::as_str).filter(|name| !name.is_empty())
    }

    fn part(&self, name: &str, which: &'static str, value: &str) -> Result<Secret, Error> {
        if value.is_empty() {
            return Err(Error::Incomplete { name: name.into(), missing: which });
        }
        decode_base64_text(&format!("contexts.{name}.{which}"), value)
    }
}

impl Talosconfig {
    /// A file with one context, which is current.
    #[must_use]
    pub fn single(name: &str, context: Context) -> Self {
        Self { context: name.into(), contexts: BTreeMap::from([(name.into(), context)]) }
    }

    /// Reads the file. An empty one is a file without contexts.
    pub fn from_yaml(text: &str) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut config: Self = serde_yaml::from_str(text).map_err(|source| Error::Yaml { what: "talosconfig", source })?;
        for context in config.contexts.values_mut() {
            let target = std::mem::take(&mut context.target);
            if !target.is_empty() && !context.endpoints.contains(&target) {
                context.endpoints.push(target);
            }
        }
        Ok(config)
    }

    /// The file's text; as secret as the keys in it.
    pub fn to_yaml(&self) -> Result<Secret, Error> {
        serde_yaml::to_string(self).map(Secret::new).map_err(|source| Error::Yaml { what: "talosconfig", source })
    }

    /// The named context, or the current one, with its name.
    pub fn get(&self, name: Option<&str>) -> Result<(&str, &Context), Error> {
        let name = name.unwrap_or(&self.context);
        if name.is_empty() {
            return Err(Error::NoCurrentContext);
        }
        self.contexts.get_key_value(name).map(|(name, context)| (name.as_str(), context)).ok_or_else(|| self.unknown(name))
    }

    /// The named context, or the current one, to change it.
    pub fn get_mut(&mut self, name: Option<&str>) -> Result<&mut Context, Error> {
        let name = name.unwrap_or(&self.context).to_owned();
        if name.is_empty() {
            return Err(Error::NoCurrentContext);
        }
        if !self.contexts.contains_key(&name) {
            return Err(self.unknown(&name));
        }
        Ok(self.contexts.entry(name).or_default())
    }

    /// Adds the contexts of another file; a name that is taken becomes `NAME-1`, `NAME-2` and so on. The other's
    /// current context becomes current. Returns the renames (old, new).
    pub fn merge(&mut self, other: Self) -> Vec<(String, String)> {
        let mut renames = Vec::new();
        for (name, context) in other.contexts {
            let mut free = name.clone();
            let mut count = 0;
            while self.contexts.contains_key(&free) {
                count += 1;
                free = format!("{name}-{count}");
            }
            if name == other.context {
                self.context.clone_from(&free);
            }
            self.contexts.insert(free.clone(), context);
            if free != name {
                renames.push((name, free));
            }
        }
        renames
    }

    fn unknown(&self, name: &str) -> Error {
        let known: Vec<_> = self.contexts.keys().map(String::as_str).collect();
        Error::NoContext { name: name.into(), known: if known.is_empty() { "none".into() } else { known.join(", ") } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "context: a\ncontexts:\n  a:\n    target: 10.0.0.1\n    cluster: big\n    ca: eA==\n  b:\n    endpoints: [x, 'y:1']\n";

    #[test]
    fn old_spelling_and_foreign_keys_are_kept() {
        let config = Talosconfig::from_yaml(FILE).expect("readable");
        let (name, context) = config.get(None).expect("current");
        assert_eq!((name, context.endpoints.as_slice(), context.cluster()), ("a", &["10.0.0.1".to_owned()][..], Some("big")));
        let again = Talosconfig::from_yaml(config.to_yaml().expect("text").expose()).expect("readable");
        assert_eq!(again.contexts["a"].cluster(), Some("big"));
        assert_eq!(again.contexts["b"].endpoints, ["x", "y:1"]);
    }

    #[test]
    fn missing_things_are_named() {
        let config = Talosconfig::from_yaml(FILE).expect("readable");
        let error = config.get(Some("c")).expect_err("no such context").to_string();
        assert!(error.contains("\"c\"") && error.contains("a, b"), "{error}");
        let error = config.contexts["a"].identity("a").expect_err("no certificate").to_string();
        assert!(error.contains("crt"), "{error}");
        assert!(matches!(Talosconfig::default().get(None), Err(Error::NoCurrentContext)));
    }

    #[test]
    fn merging_renames_what_is_taken() {
        let mut config = Talosconfig::from_yaml(FILE).expect("readable");
        let renames = config.merge(Talosconfig::from_yaml(FILE).expect("readable"));
        assert_eq!(renames, [("a".into(), "a-1".into()), ("b".into(), "b-1".into())]);
        assert_eq!(config.context, "a-1");
    }
}
