//! Who reads and writes what.

use std::collections::BTreeMap;

use resource::Place;

use crate::{Access, Declaration, Strength};

/// Two reconcilers that cannot live together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Each has a name of its own.
    #[error("two reconcilers are called {name}")]
    Name {
        /// The name.
        name: &'static str,
    },
    /// A type has one owner, unless all that write it agree to share.
    #[error("{first} and {second} both write {} in {}, and not both of them share it", place.kind, place.namespace)]
    Owners {
        /// What.
        place: Place,
        /// One of them.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
}

/// How a reconciler relates to a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// Alone writes it.
    OutputExclusive,
    /// Is one of those that write it.
    OutputShared,
    /// Reads it and may hold it.
    InputStrong,
    /// Reads it.
    InputWeak,
    /// Is told when it can be destroyed.
    InputDestroyReady,
}

/// One line of the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The reconciler.
    pub name: &'static str,
    /// How it relates.
    pub relation: Relation,
    /// What to.
    pub place: Place,
    /// One resource only.
    pub id: Option<&'static str>,
}

/// All declarations.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    edges: Vec<Edge>,
    writers: BTreeMap<Place, (&'static str, Access)>,
    names: Vec<&'static str>,
}

impl Graph {
    /// Adds a reconciler, or leaves the graph as it was.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn add(&mut self, declaration: &Declaration) -> Result<(), GraphError> {
        let name = declaration.name;
        if self.names.contains(&name) {
            return Err(GraphError::Name { name });
        }
        for output in &declaration.outputs {
            if let Some((first, access)) = self.writers.get(&output.place)
                && (*access == Access::Exclusive || output.access == Access::Exclusive)
            {
                return Err(GraphError::Owners { place: output.place.clone(), first, second: name });
            }
        }
        self.names.push(name);
        for output in &declaration.outputs {
            self.writers.insert(output.place.clone(), (name, output.access));
            let relation = match output.access {
                Access::Exclusive => Relation::OutputExclusive,
                Access::Shared => Relation::OutputShared,
            };
            self.edges.push(Edge { name, relation, place: output.place.clone(), id: None });
        }
        for input in &declaration.inputs {
            let relation = match input.strength {
                Strength::Strong => Relation::InputStrong,
                Strength::Weak => Relation::InputWeak,
                Strength::DestroyReady => Relation::InputDestroyReady,
            };
            self.edges.push(Edge { name, relation, place: input.place.clone(), id: input.id });
        }
        Ok(())
    }

    /// How many reconcilers there are.
    #[must_use]
    pub fn reconcilers(&self) -> usize {
        self.names.len()
    }

    /// Every line, reconciler by reconciler in the order in which they were added.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }
}

#[cfg(test)]
mod tests {
    use resource::kinds::{network::HostnameStatusSpec, runtime::VersionSpec};

    use super::*;
    use crate::{Input, Output};

    fn one(name: &'static str, inputs: Vec<Input>, outputs: Vec<Output>) -> Declaration {
        Declaration { name, inputs, outputs }
    }

    #[test]
    fn a_type_has_one_owner_unless_all_share() {
        let mut graph = Graph::default();
        let input = Input::one::<VersionSpec>("version").with(Strength::Strong);
        graph.add(&one("a", vec![input], vec![Output::exclusive::<HostnameStatusSpec>()])).unwrap();
        for output in [Output::exclusive::<HostnameStatusSpec>(), Output::shared::<HostnameStatusSpec>()] {
            let refused = graph.add(&one("b", vec![], vec![output])).unwrap_err();
            assert_eq!(refused.to_string(), "a and b both write HostnameStatuses.net.talos.dev in network, and not both of them share it");
        }
        assert_eq!(graph.add(&one("a", vec![], vec![])), Err(GraphError::Name { name: "a" }));
        graph.add(&one("c", vec![], vec![Output::shared::<VersionSpec>()])).unwrap();
        graph.add(&one("d", vec![Input::all::<VersionSpec>()], vec![Output::shared::<VersionSpec>()])).unwrap();
        let lines: Vec<_> =
            graph.edges().iter().map(|edge| format!("{} {:?} {} {:?}", edge.name, edge.relation, edge.place.kind, edge.id)).collect();
        assert_eq!(
            lines,
            [
                "a OutputExclusive HostnameStatuses.net.talos.dev None",
                "a InputStrong Versions.runtime.talos.dev Some(\"version\")",
                "c OutputShared Versions.runtime.talos.dev None",
                "d OutputShared Versions.runtime.talos.dev None",
                "d InputWeak Versions.runtime.talos.dev None",
            ]
        );
    }
}
