//! The machine configuration.

use std::{borrow::Cow, fmt, sync::Arc};

use zeroize::Zeroizing;

use crate::{Field, Form, Shape, Value};

/// Id of the configuration in force.
pub const ACTIVE: &str = "v1alpha1";
/// Id of the stored configuration.
pub const PERSISTENT: &str = "persistent";
/// The only id of [`MachineType`].
pub const MACHINE_TYPE: &str = "machine-type";
/// Tells clients that the YAML form of a configuration is its text as one string.
pub const YAML_SPEC: (&str, &str) = ("talos.dev/yaml-spec", "1");

/// A configuration, as the text that it was given as, shared with whoever gave it. It holds secrets: `Debug` does not show
/// it, and it is wiped after its last owner.
#[derive(Clone, PartialEq)]
pub struct MachineConfigSpec(pub Arc<Zeroizing<String>>);

impl fmt::Debug for MachineConfigSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MachineConfigSpec({} bytes)", self.0.len())
    }
}

impl Value for MachineConfigSpec {
    fn form(&self) -> Form<'_> {
        let bytes = Form::Bytes(Cow::Borrowed(self.0.as_bytes()));
        let proto = Form::Message(vec![Field { number: 1, name: "", omit_empty: false, form: bytes }]);
        Form::Both { proto: Box::new(proto), yaml: Box::new(Form::Text(Cow::Borrowed(self.0.as_str()))) }
    }

    fn shape() -> Shape {
        Shape::Plain("string")
    }
}

crate::choice! {
    /// What a machine is for.
    pub enum Type {
        /// Nobody has said.
        Unknown = 0 "unknown",
        /// The first of a control plane (old configurations).
        Init = 1 "init",
        /// The control plane.
        ControlPlane = 2 "controlplane",
        /// Workloads.
        Worker = 3 "worker",
    }
}

/// What the machine is for: in YAML a word and no more.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineType(pub Type);

impl Value for MachineType {
    fn form(&self) -> Form<'_> {
        let proto = Form::Message(vec![Field { number: 1, name: "", omit_empty: false, form: self.0.form() }]);
        Form::Both { proto: Box::new(proto), yaml: Box::new(self.0.form()) }
    }

    fn shape() -> Shape {
        Type::shape()
    }
}

kinds! {
    MachineConfigSpec: "MachineConfigs.config.talos.dev" in "config", [], [], sensitive;
    MachineType: "MachineTypes.config.talos.dev" in "config", [], ["Type" = "{@}"];
}
