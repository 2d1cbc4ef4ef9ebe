//! Who reads and writes which resources.

use reconcile::Relation;
use tonic::{Request, Response, Status};
use wire::{
    inspect::{ControllerDependencyEdge, ControllerRuntimeDependenciesResponse, ControllerRuntimeDependency, DependencyEdgeType},
    server::inspect::inspect_service_server::InspectService,
};

use super::Context;

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Inspect(pub(super) Context);

#[tonic::async_trait]
impl InspectService for Inspect {
    async fn controller_runtime_dependencies(&self, _: Request<()>) -> Result<Response<ControllerRuntimeDependenciesResponse>, Status> {
        let node = &self.0.sources.node;
        let edges = node.resources.start(node).graph().edges().iter().map(edge).collect();
        let messages = vec![ControllerRuntimeDependency { metadata: None, edges }];
        Ok(Response::new(ControllerRuntimeDependenciesResponse { messages }))
    }
}

fn edge(edge: &reconcile::Edge) -> ControllerDependencyEdge {
    let edge_type = match edge.relation {
        Relation::OutputExclusive => DependencyEdgeType::OutputExclusive,
        Relation::OutputShared => DependencyEdgeType::OutputShared,
        Relation::InputStrong => DependencyEdgeType::InputStrong,
        Relation::InputWeak => DependencyEdgeType::InputWeak,
        Relation::InputDestroyReady => DependencyEdgeType::InputDestroyReady,
    };
    ControllerDependencyEdge {
        controller_name: edge.name.to_owned(),
        edge_type: edge_type.into(),
        resource_namespace: edge.place.namespace.as_ref().to_owned(),
        resource_type: edge.place.kind.as_ref().to_owned(),
        resource_id: edge.id.unwrap_or_default().to_owned(),
    }
}
