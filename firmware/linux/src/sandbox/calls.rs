//! The filter of system calls: from the description to the program that the kernel runs at each call.

use std::{collections::BTreeMap, io};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::{Call, Calls, Otherwise, Report};

/// The architecture whose numbers `libc::SYS_*` are. The filter kills whoever comes with another one's.
#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// Makes the filter. It allows the call that executes the program, too: with nothing on any mount that may be executed, that is no
/// way on for the service.
pub(super) fn compile(calls: &Calls) -> Result<BpfProgram, Report> {
    let otherwise = match calls.otherwise {
        Otherwise::Kill => SeccompAction::KillProcess,
        Otherwise::Refuse(number) => SeccompAction::Errno(u32::from(number)),
    };
    let filter = SeccompFilter::new(rules(&calls.allowed)?, otherwise, SeccompAction::Allow, ARCH);
    filter.and_then(BpfProgram::try_from).map_err(failed)
}

/// From now on.
pub(super) fn restrict(filter: &BpfProgram) -> Result<(), Report> {
    apply_filter(filter).map_err(|error| match error {
        seccompiler::Error::Prctl(source) | seccompiler::Error::Seccomp(source) => Report::new("filter system calls", source),
        other => failed(other),
    })
}

/// By number. No rules means allowed whatever the arguments, so a call without conditions ends the matter.
fn rules(allowed: &[Call]) -> Result<BTreeMap<i64, Vec<SeccompRule>>, Report> {
    let mut rules = BTreeMap::from([(libc::SYS_execveat, Vec::new())]);
    for number in allowed.iter().map(|call| call.number) {
        let same: Vec<&Call> = allowed.iter().filter(|call| call.number == number).collect();
        let always = same.iter().any(|call| call.conditions.is_empty());
        let some = if always { Ok(Vec::new()) } else { same.into_iter().map(rule).collect() };
        rules.insert(i64::from(number), some.map_err(failed)?);
    }
    Ok(rules)
}

fn rule(call: &Call) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = call.conditions.iter().map(|condition| {
        let length = if condition.mask > u64::from(u32::MAX) { SeccompCmpArgLen::Qword } else { SeccompCmpArgLen::Dword };
        SeccompCondition::new(condition.argument, length, SeccompCmpOp::MaskedEq(condition.mask), condition.value)
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Report {
    Report::new("make the filter of system calls", io::Error::other(error))
}
