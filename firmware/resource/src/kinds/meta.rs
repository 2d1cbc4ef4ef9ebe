//! Namespace `meta`: what there is.

use crate::Definition;

crate::choice! {
    /// Who may read the resources of a type.
    pub enum Sensitivity {
        /// Whoever may read at all.
        NonSensitive = 0 "",
        /// Administrators.
        Sensitive = 1 "sensitive",
    }
}

crate::message! {
    /// A namespace.
    pub struct NamespaceSpec {
        /// What is in it.
        1 description: String = "description",
    }

    /// A column of a client's table.
    pub struct PrintColumn {
        /// Its title.
        1 name: String = "name",
        /// Where its value is in the YAML form.
        2 path: String = "jsonPath",
    }

    /// A type of resources.
    pub struct ResourceDefinitionSpec {
        /// Full name.
        1 kind: String = "type",
        /// Name for people, singular.
        2 display: String = "displayType",
        /// Namespace that is meant when none is named.
        3 namespace: String = "defaultNamespace",
        /// Short names.
        4 aliases: Vec<String> = "aliases",
        /// Everything that a client may type.
        5 all_aliases: Vec<String> = "allAliases",
        /// Columns of tables.
        6 columns: Vec<PrintColumn> = "printColumns",
        /// Who may read them.
        7 sensitivity: Sensitivity = "sensitivity" omitempty,
    }
}

kinds! {
    NamespaceSpec: "Namespaces.meta.cosi.dev" in "meta", ["ns"], [];
    ResourceDefinitionSpec: "ResourceDefinitions.meta.cosi.dev" in "meta", ["api-resources"], ["Aliases" = "{.aliases[:]}"];
}

impl From<&Definition> for ResourceDefinitionSpec {
    fn from(definition: &Definition) -> Self {
        let names = definition.names();
        let column = |column: &crate::Column| PrintColumn { name: column.name.to_owned(), path: column.path.to_owned() };
        Self {
            kind: definition.kind.to_owned(),
            display: names.display,
            namespace: definition.namespace.to_owned(),
            aliases: names.aliases,
            all_aliases: names.all,
            columns: definition.columns.iter().map(column).collect(),
            sensitivity: if definition.sensitive { Sensitivity::Sensitive } else { Sensitivity::NonSensitive },
        }
    }
}
