//! The configuration as resources.

use std::sync::Arc;

use reconcile::Output;
use resource::{
    Resource,
    kinds::config::{ACTIVE, MACHINE_TYPE, MachineConfigSpec, MachineType, PERSISTENT, Type, YAML_SPEC},
};

use super::mirror::Mirror;
use crate::node::{ConfigStatus, ConfigText, Node};

pub(super) fn reconciler(node: &Node) -> Mirror<ConfigStatus> {
    let outputs = vec![Output::exclusive::<MachineConfigSpec>(), Output::exclusive::<MachineType>()];
    Mirror::new("config.machine", &node.config, outputs, |status, context| {
        context.keep_resources::<MachineConfigSpec>(configurations(status))?;
        context.keep([(MACHINE_TYPE.to_owned(), machine_type(status))])?;
        Ok(())
    })
}

/// The one in force and the one that is stored.
fn configurations(status: &ConfigStatus) -> Vec<Resource> {
    let active = status.active.as_ref().map(|active| &active.text);
    let all = [(ACTIVE, active), (PERSISTENT, status.stored.as_ref())];
    all.into_iter().filter_map(|(id, text)| Some(configuration(id, text?))).collect()
}

fn configuration(id: &str, ConfigText(text): &ConfigText) -> Resource {
    let mut resource = Resource::of(id, MachineConfigSpec(Arc::clone(text)));
    let (name, value) = YAML_SPEC;
    resource.metadata.annotations.insert(name.to_owned(), value.to_owned());
    resource
}

pub(super) fn machine_type(status: &ConfigStatus) -> MachineType {
    MachineType(match status.active.as_ref().map(|active| active.config.machine_type()) {
        None => Type::Unknown,
        Some(machine_config::MachineType::ControlPlane) => Type::ControlPlane,
        Some(machine_config::MachineType::Worker) => Type::Worker,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_in_maintenance_has_no_configuration() {
        let status = ConfigStatus::default();
        assert!(configurations(&status).is_empty());
        assert_eq!(machine_type(&status), MachineType(Type::Unknown));
    }

    #[test]
    fn a_stored_configuration_may_differ_from_the_one_in_force() {
        let status = ConfigStatus { stored: Some(ConfigText::from("a: 1\n".to_owned())), ..ConfigStatus::default() };
        let found = configurations(&status);
        let ids: Vec<_> = found.iter().map(|found| (&*found.metadata.key.id, found.metadata.annotations.len())).collect();
        assert_eq!(ids, [("persistent", 1)]);
        assert_eq!(found[0].content().parts().to_yaml().unwrap(), "|\n  a: 1\n");
    }
}
