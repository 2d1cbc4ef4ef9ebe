//! Kernel parameters and modules as resources.

use reconcile::Output;
use resource::kinds::params::{KernelModuleSpecSpec, KernelParamDefaultSpecSpec, KernelParamSpecSpec, KernelParamStatusSpec};

use super::mirror::Mirror;
use crate::{
    node::Node,
    params::{ParamStatus, defaults::DEFAULTS, plan},
};

pub(super) fn reconciler(node: &Node) -> Mirror<ParamStatus> {
    let outputs = vec![
        Output::exclusive::<KernelParamSpecSpec>(),
        Output::exclusive::<KernelParamDefaultSpecSpec>(),
        Output::exclusive::<KernelParamStatusSpec>(),
        Output::exclusive::<KernelModuleSpecSpec>(),
    ];
    Mirror::new("runtime.params", &node.params, outputs, |status, context| {
        let wanted = status.wanted.iter();
        context.keep(wanted.map(|(id, value)| (id.clone(), KernelParamSpecSpec { value: value.clone(), ignore_errors: false })))?;
        context.keep(DEFAULTS.iter().map(|(key, value, everywhere)| {
            let spec = KernelParamDefaultSpecSpec { value: (*value).to_owned(), ignore_errors: !everywhere };
            (plan::id(&plan::path("proc/sys", key)), spec)
        }))?;
        context.keep(status.params.iter().map(|(id, param)| {
            let (current, default) = (param.current.clone(), param.original.clone());
            (id.clone(), KernelParamStatusSpec { current, default, unsupported: param.unsupported })
        }))?;
        context.keep(status.modules.iter().map(|module| {
            let spec = KernelModuleSpecSpec { name: module.name.clone(), parameters: module.parameters.clone() };
            (module.name.clone(), spec)
        }))?;
        Ok(())
    })
}
