//! What a platform gave of names and network: the texts, what they mean, and their form on STATE. Pure.

use machine_config::{
    Network,
    network::platform::{MetaData, NetworkConfig, meta_data, network_config, platform_specs},
};
use serde_json::{Value, json};

use super::Platform;

/// What a platform says beside the configuration, as it says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// Where it is from, for people.
    pub origin: String,
    /// `meta-data`.
    pub meta_data: Option<String>,
    /// `network-config`.
    pub network_config: Option<String>,
    /// Network specs, as META has them for metal; with these there is no `network-config`.
    pub specs: Option<String>,
    /// Host name when `meta-data` has none.
    pub hostname: String,
    /// Instance id when `meta-data` has none.
    pub instance_id: String,
}

/// What that means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Who the machine is to its platform.
    pub metadata: MetaData,
    /// Its network, host name included.
    pub network: Network,
    /// What was not understood or is not acted on, for people, each with file and line.
    pub problems: Vec<String>,
}

/// Reads the texts. A text with a mistake gives nothing but the mistake.
#[must_use]
pub fn read(texts: &Texts) -> Given {
    let mut problems = Vec::new();
    let file = |name: &str, problem: &dyn std::fmt::Display| format!("{} of {}: {problem}", name, texts.origin);
    let mut metadata = match meta_data(texts.meta_data.as_deref().unwrap_or_default()) {
        Ok(metadata) => metadata,
        Err(found) => {
            problems.extend(found.list().iter().map(|problem| file("meta-data", problem)));
            MetaData::default()
        }
    };
    for (own, other) in [(&mut metadata.hostname, &texts.hostname), (&mut metadata.instance_id, &texts.instance_id)] {
        if own.is_empty() {
            own.clone_from(other);
        }
    }
    let (name, read) = match &texts.specs {
        Some(specs) => ("network", platform_specs(specs)),
        None => ("network-config", network_config(texts.network_config.as_deref().unwrap_or_default())),
    };
    let mut network = match read {
        Ok(NetworkConfig { network, warnings }) => {
            problems.extend(warnings.iter().map(|warning| file(name, warning)));
            network
        }
        Err(found) => {
            problems.extend(found.list().iter().map(|problem| file(name, problem)));
            problems.push(format!("{name} of {} is not used: it has mistakes", texts.origin));
            Network::default()
        }
    };
    if metadata.hostname.is_empty() {
        metadata.hostname = network.hostname.take().unwrap_or_default();
    }
    network.hostname = Some(metadata.hostname.clone()).filter(|name| !name.is_empty());
    Given { metadata, network, problems }
}

impl Given {
    /// In a few words.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let mut parts = vec![count(self.network.links.len(), "link"), count(self.network.name_servers.len(), "name server")];
        parts.extend((!self.metadata.hostname.is_empty()).then(|| format!("host name {}", self.metadata.hostname)));
        parts.extend((!self.metadata.instance_id.is_empty()).then(|| format!("instance {}", self.metadata.instance_id)));
        parts.join(", ")
    }
}

impl Texts {
    /// Their form on STATE: the texts as they were, so that a later version reads them by its own rules. JSON, which is YAML.
    #[must_use]
    pub fn to_file(&self, platform: Platform) -> String {
        let file = json!({
            "platform": platform.name(),
            "origin": self.origin,
            "hostname": self.hostname,
            "instanceId": self.instance_id,
            "metaData": self.meta_data,
            "networkConfig": self.network_config,
            "specs": self.specs,
        });
        format!("{file:#}\n")
    }

    /// From that form; `None` when another platform said so.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_file(file: &str, platform: Platform) -> Result<Option<Self>, String> {
        let value: Value = serde_json::from_str(file).map_err(|error| error.to_string())?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        match text("platform") {
            Some(name) if name == platform.name() => {}
            Some(_) => return Ok(None),
            None => return Err("it names no platform".to_owned()),
        }
        Ok(Some(Self {
            origin: text("origin").unwrap_or_default(),
            meta_data: text("metaData"),
            network_config: text("networkConfig"),
            specs: text("specs"),
            hostname: text("hostname").unwrap_or_default(),
            instance_id: text("instanceId").unwrap_or_default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_and_mistakes() {
        let texts = Texts {
            origin: "cidata".into(),
            meta_data: Some("instance-id: i-1\n".into()),
            network_config: Some("version: 2\nethernets: {eth0: {addresses: [10.0.0.5/24]}}\nwifis: {}\n".into()),
            hostname: "n1".into(),
            instance_id: "other".into(),
            specs: None,
        };
        let given = read(&texts);
        assert_eq!((given.metadata.hostname.as_str(), given.metadata.instance_id.as_str()), ("n1", "i-1"));
        assert_eq!((given.network.hostname.as_deref(), given.network.links.len()), (Some("n1"), 1));
        assert_eq!(given.problems, ["network-config of cidata: line 3: network.wifis: this is not acted on"]);
        assert_eq!(given.summary(), "1 link, 0 name servers, host name n1, instance i-1");
        let broken = read(&Texts { network_config: Some("version: 9".into()), meta_data: Some("[".into()), ..texts });
        assert_eq!((broken.network.links.len(), broken.problems.len()), (0, 3), "{:?}", broken.problems);
        assert_eq!(read(&Texts::default()), Given::default());
        let specs = "addresses: [{address: 10.0.0.5/24, linkName: eth0}]\nhostnames: [{hostname: n2, domainname: lab}]\n";
        let given = read(&Texts { specs: Some(specs.into()), origin: "META".into(), ..Texts::default() });
        assert_eq!((given.summary().as_str(), given.problems.len()), ("1 link, 0 name servers, host name n2.lab", 0));
        assert_eq!(given.network.hostname.as_deref(), Some("n2.lab"));
        let broken = read(&Texts { specs: Some("addresses: [{}]\nroutes: [{}]\n".into()), origin: "META".into(), ..Texts::default() });
        assert!(broken.problems.iter().any(|problem| problem.starts_with("network of META: line 2: routes[0]")), "{:?}", broken.problems);
    }

    #[test]
    fn files_of_another_platform() {
        let file = Texts::default().to_file(Platform::NoCloud);
        assert_eq!(Texts::from_file(&file, Platform::Metal), Ok(None));
        assert!(Texts::from_file("{}", Platform::NoCloud).is_err() && Texts::from_file("", Platform::NoCloud).is_err());
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back(origin in "\\PC{0,20}", meta in prop::option::of("\\PC{0,80}"), network in prop::option::of("\\PC{0,80}"), specs in prop::option::of("\\PC{0,80}")) {
            let texts = Texts { origin, meta_data: meta, network_config: network, specs, ..Texts::default() };
            prop_assert_eq!(Texts::from_file(&texts.to_file(Platform::NoCloud), Platform::NoCloud), Ok(Some(texts)));
        }

        #[test]
        fn any_file_is_survived(text in "\\PC{0,80}") {
            let _ = Texts::from_file(&text, Platform::NoCloud);
        }
    }
}
