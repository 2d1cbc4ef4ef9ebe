//! Kernel parameters and modules, as they are to be and as they are.

crate::message! {
    /// What the configuration wants of a parameter.
    pub struct KernelParamSpecSpec {
        /// Its value.
        1 value: String = "value",
        /// A kernel without it is as good.
        2 ignore_errors: bool = "ignoreErrors",
    }

    /// What the node wants of a parameter unless the configuration says otherwise.
    pub struct KernelParamDefaultSpecSpec {
        /// Its value.
        1 value: String = "value",
        /// A kernel without it is as good.
        2 ignore_errors: bool = "ignoreErrors",
    }

    /// A parameter that the node has set.
    pub struct KernelParamStatusSpec {
        /// What it is.
        1 current: String = "current",
        /// What it was before.
        2 default: String = "default",
        /// The kernel has no such parameter.
        3 unsupported: bool = "unsupported",
    }

    /// A module to load.
    pub struct KernelModuleSpecSpec {
        /// Its name.
        1 name: String = "string",
        /// `name=value` each.
        2 parameters: Vec<String> = "parameters",
    }
}

kinds! {
    KernelParamSpecSpec: "KernelParamSpecs.runtime.talos.dev" in "runtime", [], [];
    KernelParamDefaultSpecSpec: "KernelParamDefaultSpecs.runtime.talos.dev" in "runtime", [], [];
    KernelParamStatusSpec: "KernelParamStatuses.runtime.talos.dev" in "runtime", ["sysctls", "kernelparameters", "kernelparams"],
        ["Current" = "{.current}", "Default" = "{.default}", "Unsupported" = "{.unsupported}"];
    KernelModuleSpecSpec: "KernelModuleSpecs.runtime.talos.dev" in "runtime", [], [];
}
