//! What a node says of its types of resources.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// A type of resources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Definition {
    /// Full name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name for tables.
    pub display_type: String,
    /// Namespace that is meant when none is named.
    #[serde(rename = "defaultNamespace")]
    pub namespace: String,
    /// Everything that a person may type.
    pub all_aliases: Vec<String>,
    /// `sensitive` when what it says is secret.
    pub sensitivity: String,
    /// Columns of tables.
    pub print_columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Column {
    /// Its title.
    pub name: String,
    /// Where its value is.
    pub json_path: String,
}

impl Definition {
    /// From the YAML that a node sends.
    pub fn parse(yaml: &str) -> Result<Self> {
        serde_yaml::from_str(yaml).context("read the definition of a type of resources")
    }

    fn is(&self, word: &str) -> bool {
        self.kind.eq_ignore_ascii_case(word) || self.all_aliases.iter().any(|alias| alias.eq_ignore_ascii_case(word))
    }
}

/// The type that a word means, in any case.
pub fn choose(all: Vec<Definition>, word: &str) -> Result<Definition> {
    let mut found: Vec<Definition> = all.into_iter().filter(|definition| definition.is(word)).collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(last), false) => {
            found.push(last);
            let names: Vec<_> = found.iter().map(|definition| definition.kind.to_lowercase()).collect();
            bail!("{word:?} may be each of {}: name one of them", names.join(", "))
        }
        (None, _) => bail!("this node has no resources {word:?}; `keelctl get rd` lists the types that it has"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKS: &str = "type: LinkStatuses.net.talos.dev\ndisplayType: LinkStatus\ndefaultNamespace: network\naliases: [links]\n\
                         allAliases: [linkstatuses, links, ls]\nprintColumns:\n- name: Up\n  jsonPath: '{.up}'\n";
    const LOADS: &str = "type: Loads.talos.dev\ndisplayType: Load\ndefaultNamespace: perf\nallAliases: [loads, load, ls]\n";

    #[track_caller]
    fn check(word: &str, expect: Result<&str, &str>) {
        let all = [LINKS, LOADS].map(|yaml| Definition::parse(yaml).expect("a definition"));
        let chosen = choose(all.into(), word).map(|definition| definition.kind).map_err(|error| error.to_string());
        assert_eq!(chosen.as_deref().map_err(String::as_str), expect);
    }

    #[test]
    fn words_mean_types() {
        check("links", Ok("LinkStatuses.net.talos.dev"));
        check("LINKS", Ok("LinkStatuses.net.talos.dev"));
        check("loads.talos.dev", Ok("Loads.talos.dev"));
        check("ls", Err("\"ls\" may be each of linkstatuses.net.talos.dev, loads.talos.dev: name one of them"));
        check("none", Err("this node has no resources \"none\"; `keelctl get rd` lists the types that it has"));
    }

    #[test]
    fn definitions_are_read() {
        let links = Definition::parse(LINKS).expect("a definition");
        assert_eq!((links.namespace.as_str(), links.print_columns[0].json_path.as_str()), ("network", "{.up}"));
        assert!(Definition::parse("type: [").is_err());
    }
}
