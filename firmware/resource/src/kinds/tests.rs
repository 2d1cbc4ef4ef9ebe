use std::collections::{BTreeMap, BTreeSet};

use super::{config::*, meta::*, network::*, runtime::*, *};
use crate::{Kind, Shape, Value};

#[test]
fn every_name_means_one_type() {
    let mut owners: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let namespaces: BTreeSet<&str> = NAMESPACES.iter().map(|(name, _)| *name).collect();
    for Registered { definition, .. } in all() {
        assert!(namespaces.contains(definition.namespace), "{}", definition.kind);
        for name in definition.names().all {
            owners.entry(name).or_default().insert(definition.kind);
        }
    }
    // What clients call ambiguous: short names of capitals only, and only those that are so in the reference, too.
    let ambiguous: Vec<_> = owners.into_iter().filter(|(_, kinds)| kinds.len() > 1).map(|(name, _)| name).collect();
    assert_eq!(ambiguous, ["as", "hs", "kms", "kps", "ls", "ms", "ns", "rrs", "rs", "tss"]);
}

#[test]
fn no_number_and_no_name_is_used_twice() {
    fn walk(shape: &Shape) {
        match shape {
            Shape::Message(name, fields) => {
                let numbers: BTreeSet<u32> = fields.iter().map(|field| field.number).collect();
                let names: BTreeSet<&str> = fields.iter().map(|field| field.name).collect();
                assert_eq!((numbers.len(), names.len()), (fields.len(), fields.len()), "{name}");
                fields.iter().for_each(|field| walk(&field.shape));
            }
            Shape::List(item) | Shape::Map(item) => walk(item),
            Shape::Plain(_) | Shape::Choice(..) => {}
        }
    }
    all().for_each(|registered| walk(&(registered.shape)()));
}

#[track_caller]
fn check(spec: &impl Kind, yaml: &str) {
    assert_eq!(spec.form().to_yaml().unwrap(), yaml);
}

fn config(text: &str) -> MachineConfigSpec {
    MachineConfigSpec(std::sync::Arc::new(text.to_owned().into()))
}

#[test]
fn yaml_as_clients_read_it() {
    check(&HostnameStatusSpec { hostname: "a".into(), ..Default::default() }, "hostname: a\ndomainname: ''\n");
    check(&MachineType(Type::ControlPlane), "controlplane\n");
    check(&config("a: 1\nb: 2\n"), "|\n  a: 1\n  b: 2\n");
    let condition = UnmetCondition { name: "services".into(), reason: "apid not healthy".into() };
    let status = MachineStatusStatus { ready: false, unmet_conditions: vec![condition] };
    check(
        &MachineStatusSpec { stage: MachineStage::ShuttingDown, status },
        "stage: shutting down\nstatus:\n  ready: false\n  unmetConditions:\n  - name: services\n    reason: apid not healthy\n",
    );
    check(
        &ResourceDefinitionSpec::from(&MachineConfigSpec::DEFINITION),
        "type: MachineConfigs.config.talos.dev\ndisplayType: MachineConfig\ndefaultNamespace: config\naliases:\n- machineconfig\n- mc\n- mcs\n\
         allAliases:\n- machineconfigs\n- machineconfigs.config\n- machineconfigs.config.talos\n- machineconfig\n- mc\n- mcs\nprintColumns: []\n\
         sensitivity: sensitive\n",
    );
}

#[test]
fn a_configuration_is_not_shown_by_accident() {
    assert_eq!(format!("{:?}", config("token: secret")), "MachineConfigSpec(13 bytes)");
}

#[test]
fn a_bonds_link_says_so_without_a_section() {
    let mut link = LinkSpecSpec { name: "eth1".into(), up: true, layer: ConfigLayer::Configuration, ..LinkSpecSpec::default() };
    link.bond_slave = BondSlave { master_name: "bond0".into(), slave_index: 1 };
    link.kind_of_hardware = link_type(1_u32);
    let yaml = "name: eth1\nlogical: false\nup: true\nmtu: 0\nkind: ''\ntype: ether\nmasterName: bond0\nslaveIndex: 1\n\
                layer: configuration\n";
    check(&link, yaml);
    link.wireguard.private_key = crate::SecretText("secret".to_owned().into());
    assert!(!format!("{link:?}").contains("secret\""), "keys are not shown by accident");
}

#[test]
fn numbers_are_those_on_the_wire() {
    assert_eq!(MachineType(Type::Worker).form().to_proto(), [8, 3]);
    assert_eq!(config("x").form().to_proto(), [10, 1, b'x']);
    assert_eq!(VersionSpec { name: "K".into(), version: "v".into() }.form().to_proto(), [18, 1, b'K', 10, 1, b'v']);
}
