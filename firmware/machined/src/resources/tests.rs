use resource::{
    Key, Kind, Place, Query, Resource,
    kinds::{
        meta::ResourceDefinitionSpec,
        runtime::{MACHINE, MachineStage, MachineStatusSpec},
    },
};

use super::*;
use crate::node::Stage;

#[tokio::test]
async fn a_node_is_written_down_and_kept_up() {
    let (node, _commands) = Node::new();
    node.machine.send_modify(|machine| machine.stage = Stage::Maintenance);
    let runtime = node.resources.settled(&node).await;
    assert_eq!(runtime.graph().edges().len(), 61, "{:#?}", runtime.graph());
    let store = runtime.store();
    let definitions = Place::new("meta", ResourceDefinitionSpec::DEFINITION.kind);
    assert_eq!(store.list(&definitions, &Query::default()).len(), kinds::all().count());
    let key = Key::new("runtime", MachineStatusSpec::DEFINITION.kind, MACHINE);
    let stage = || store.get(&key).and_then(|found| Some(Resource::spec::<MachineStatusSpec>(&found)?.stage));
    assert_eq!(stage(), Some(MachineStage::Maintenance));
    let place = Place::from(&key);
    let (mut watching, _) = store.watch(&place, resource::Target::All(Query::default()), resource::Start::Now).unwrap();
    node.machine.send_modify(|machine| machine.stage = Stage::Running);
    tokio::time::timeout(SETTLE, watching.next(1)).await.expect("a change in time").unwrap();
    assert_eq!(stage(), Some(MachineStage::Running));
    // Every type that is described is one that something fills.
    let filled: std::collections::BTreeSet<_> = runtime.graph().edges().iter().map(|edge| edge.place.kind.to_string()).collect();
    let unfilled: Vec<_> = kinds::all().map(|known| known.definition.kind).filter(|kind| !filled.contains(*kind)).collect();
    assert_eq!(unfilled, ["Namespaces.meta.cosi.dev", "ResourceDefinitions.meta.cosi.dev", "Reconcilers.runtime.keelson.dev"]);
}
