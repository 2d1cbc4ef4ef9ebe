//! Who reads and writes which resources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    process::ExitCode,
};

use anyhow::Result;
use wire::inspect::{ControllerDependencyEdge as Edge, DependencyEdgeType as Kind};

use crate::Client;

use super::{
    args::{self, Insecure},
    nodes::{Fleet, each},
};

pub async fn dependencies(fleet: &Fleet, args: args::Dependencies) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let (replies, code) = each(nodes, async |_, client: Client| Ok(client.dependencies().await?)).await;
    let several = replies.len() > 1;
    for (node, edges) in replies {
        if several && args.output == args::GraphFormat::Text {
            println!("{node}:");
        }
        print!("{}", if args.output == args::GraphFormat::Dot { dot(&edges) } else { text(&edges) });
    }
    Ok(code)
}

/// The word for a relation, and whether the reconciler writes.
fn relation(edge: &Edge) -> (&'static str, bool) {
    match edge.edge_type() {
        Kind::OutputExclusive => ("writes", true),
        Kind::OutputShared => ("writes, with others", true),
        Kind::InputStrong => ("reads and holds", false),
        Kind::InputWeak => ("reads", false),
        Kind::InputDestroyReady => ("waits for the end of", false),
    }
}

fn object(edge: &Edge) -> String {
    let id = if edge.resource_id.is_empty() { String::new() } else { format!("/{}", edge.resource_id) };
    format!("{}({}{id})", edge.resource_type, edge.resource_namespace)
}

/// A reconciler with a line for each thing that it reads or writes.
fn text(edges: &[Edge]) -> String {
    let mut by_name: BTreeMap<&str, Vec<&Edge>> = BTreeMap::new();
    edges.iter().for_each(|edge| by_name.entry(&edge.controller_name).or_default().push(edge));
    let mut out = String::new();
    for (name, edges) in by_name {
        let _ = writeln!(out, "{name}"); // a String takes everything, here and below
        for edge in edges {
            let _ = writeln!(out, "  {} {}", relation(edge).0, object(edge));
        }
    }
    out
}

/// For Graphviz: reconcilers as boxes, resources as ellipses, arrows the way that information goes.
pub(super) fn dot(edges: &[Edge]) -> String {
    let mut out = String::from("digraph {\n  rankdir=LR;\n");
    let names: BTreeSet<&str> = edges.iter().map(|edge| edge.controller_name.as_str()).collect();
    for name in names {
        let _ = writeln!(out, "  {name:?} [shape=box];");
    }
    for edge in edges {
        let (words, writes) = relation(edge);
        let (from, to) = (edge.controller_name.as_str(), object(edge));
        let (from, to) = if writes { (from, to.as_str()) } else { (to.as_str(), from) };
        let _ = writeln!(out, "  {from:?} -> {to:?} [label={words:?}];");
    }
    out.push_str("}\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges() -> Vec<Edge> {
        let edge = |name: &str, kind: Kind, id: &str| Edge {
            controller_name: name.into(),
            edge_type: kind.into(),
            resource_namespace: "n".into(),
            resource_type: "Things.x".into(),
            resource_id: id.into(),
        };
        vec![edge("b", Kind::InputStrong, "one"), edge("a", Kind::OutputExclusive, "")]
    }

    #[test]
    fn as_text() {
        assert_eq!(text(&edges()), "a\n  writes Things.x(n)\nb\n  reads and holds Things.x(n/one)\n");
    }

    #[test]
    fn as_a_graph() {
        let expect = "digraph {\n  rankdir=LR;\n  \"a\" [shape=box];\n  \"b\" [shape=box];\n  \"Things.x(n/one)\" -> \"b\" [label=\"reads and holds\"];\n  \
                      \"a\" -> \"Things.x(n)\" [label=\"writes\"];\n}\n";
        assert_eq!(dot(&edges()), expect);
    }
}
