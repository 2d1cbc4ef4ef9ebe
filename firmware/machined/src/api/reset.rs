//! Reset: what is asked for is understood and checked before anything happens; the sequence does the rest.

use std::{path::PathBuf, sync::Arc};

use layout::plan::{ResetRefused, Wanted};
use tonic::Status;
use wire::machine::{Reset, ResetRequest, ResetResponse, reset_request::WipeMode};

use super::{Context, power};
use crate::{
    disk::{
        self, DiskError,
        provision::StepError,
        reset::Order,
        user::{self, UserDiskError},
    },
    node::Node,
    sequence::{Kind, Request},
};

/// Most partitions that a request may name: more than a disk has.
const MOST_LABELS: usize = 128;

pub(super) async fn reset(context: &Context, request: ResetRequest) -> Result<ResetResponse, Status> {
    let force = !request.graceful;
    let order = understood(request)?;
    let (checked, node) = (order.clone(), Arc::clone(&context.sources.node));
    context.blocking.run(move || check(&checked, &node)).await??;
    log::warn!(target: "api", "reset asked for: {}", describe(&order));
    let request = Request { force, reset: Some(Arc::new(order)), ..Request::of(Kind::Reset) };
    let actor_id = power::submit(&context.sources, request).await?;
    Ok(ResetResponse { messages: vec![Reset { metadata: None, actor_id }] })
}

/// What a request means. No partitions named is the whole system disk (reference, behaviour (n) "Reset").
fn understood(request: ResetRequest) -> Result<Order, Status> {
    let invalid = |text: &str| Err(Status::invalid_argument(text));
    let Ok(mode) = WipeMode::try_from(request.mode) else {
        return Err(Status::invalid_argument(format!("wipe mode {} is unknown", request.mode)));
    };
    let (named, disks) = (request.system_partitions_to_wipe, request.user_disks_to_wipe);
    if named.len() > MOST_LABELS {
        return Err(Status::invalid_argument(format!("{} partitions are more than {MOST_LABELS}", named.len())));
    }
    let labels: Vec<String> = named.iter().filter(|named| named.wipe).map(|named| named.label.clone()).collect();
    let system = match mode {
        WipeMode::UserDisks if !named.is_empty() => return invalid("wipe mode USER_DISKS does not go with partitions of the system disk"),
        WipeMode::UserDisks if disks.is_empty() => return invalid("wipe mode USER_DISKS needs at least one disk"),
        WipeMode::SystemDisk if !disks.is_empty() => return invalid("wipe mode SYSTEM_DISK does not go with user disks"),
        WipeMode::UserDisks => None,
        // Who names partitions to keep them does not mean the whole disk.
        WipeMode::All | WipeMode::SystemDisk if !named.is_empty() && labels.is_empty() => {
            return invalid("partitions are named, but none is to be wiped");
        }
        WipeMode::All | WipeMode::SystemDisk if labels.is_empty() => Some(Wanted::Disk { restart: request.reboot }),
        WipeMode::All | WipeMode::SystemDisk => Some(Wanted::Labels(labels)),
    };
    Ok(Order { system, user_disks: disks.into_iter().map(PathBuf::from).collect(), restart: request.reboot })
}

/// Whether all of it can be done; writes nothing.
fn check(order: &Order, node: &Node) -> Result<(), Status> {
    if !order.user_disks.is_empty() {
        let system = node.disk.borrow().name.clone();
        user::check(&order.user_disks, &system).map_err(|error| disk_status(&error))?;
    }
    if let Some(wanted) = &order.system {
        disk::check_reset(node, wanted).map_err(|error| system_status(&error))?;
    }
    Ok(())
}

fn disk_status(error: &UserDiskError) -> Status {
    let text = daemon::report(error).to_string();
    match error {
        UserDiskError::Missing { .. } => Status::not_found(text),
        UserDiskError::Partition { .. } | UserDiskError::System { .. } | UserDiskError::Optical { .. } | UserDiskError::TooMany { .. } => {
            Status::invalid_argument(text)
        }
        UserDiskError::ReadOnly { .. } | UserDiskError::Held { .. } | UserDiskError::Mounted { .. } => Status::failed_precondition(text),
        UserDiskError::List { .. } | UserDiskError::Device { .. } => Status::internal(text),
    }
}

fn system_status(error: &DiskError) -> Status {
    let text = daemon::report(error).to_string();
    let DiskError::Reset { source, .. } = error else { return Status::failed_precondition(text) };
    match &**source {
        StepError::ResetRefused { source: ResetRefused::Unknown { .. } } => Status::not_found(text),
        StepError::ResetRefused { source: ResetRefused::Nothing | ResetRefused::System { .. } } => Status::invalid_argument(text),
        StepError::ResetRefused { source: ResetRefused::NotSetUp(_) } | StepError::Refused { .. } | StepError::NoMeta => {
            Status::failed_precondition(text)
        }
        _ => Status::internal(text),
    }
}

fn describe(order: &Order) -> String {
    let system = match &order.system {
        None => "nothing of the system disk".to_owned(),
        Some(Wanted::Disk { .. }) => "the whole system disk".to_owned(),
        Some(Wanted::Labels(labels)) => labels.join(", "),
    };
    let disks = order.user_disks.iter().map(|disk| format!(", {}", disk.display()));
    format!("{system}{}; then {}", disks.collect::<String>(), if order.restart { "a restart" } else { "off" })
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use wire::machine::ResetPartitionSpec;

    use super::*;

    fn request(mode: WipeMode, labels: &[(&str, bool)], disks: &[&str]) -> ResetRequest {
        let named = labels.iter().map(|(label, wipe)| ResetPartitionSpec { label: (*label).to_owned(), wipe: *wipe });
        ResetRequest {
            mode: mode.into(),
            reboot: true,
            graceful: true,
            system_partitions_to_wipe: named.collect(),
            user_disks_to_wipe: disks.iter().map(|disk| (*disk).to_owned()).collect(),
        }
    }

    #[test]
    fn what_a_request_means() {
        let labels = |labels: &[&str]| Some(Wanted::Labels(labels.iter().map(|label| (*label).to_owned()).collect()));
        let whole = || Some(Wanted::Disk { restart: true });
        let check = |request: ResetRequest, system: Option<Wanted>, disks: usize| {
            let order = understood(request.clone()).unwrap_or_else(|status| panic!("{request:?}: {status}"));
            assert_eq!((&order.system, order.user_disks.len(), order.restart), (&system, disks, true), "{request:?}");
        };
        check(request(WipeMode::All, &[], &[]), whole(), 0);
        check(request(WipeMode::All, &[], &["/dev/sdb"]), whole(), 1);
        check(request(WipeMode::All, &[("STATE", true)], &["/dev/sdb", "/dev/sdc"]), labels(&["STATE"]), 2);
        check(request(WipeMode::SystemDisk, &[], &[]), whole(), 0);
        check(request(WipeMode::SystemDisk, &[("STATE", true), ("META", false)], &[]), labels(&["STATE"]), 0);
        check(request(WipeMode::UserDisks, &[], &["/dev/sdb"]), None, 1);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let many: Vec<_> = std::iter::repeat_n(("STATE", true), MOST_LABELS + 1).collect();
        for (request, expect) in [
            (request(WipeMode::UserDisks, &[("STATE", true)], &["/dev/sdb"]), "does not go with partitions"),
            (request(WipeMode::UserDisks, &[], &[]), "at least one disk"),
            (request(WipeMode::SystemDisk, &[], &["/dev/sdb"]), "does not go with user disks"),
            (request(WipeMode::All, &[("STATE", false)], &[]), "none is to be wiped"),
            (request(WipeMode::All, &many, &[]), "are more than"),
            (ResetRequest { mode: 9, ..request(WipeMode::All, &[], &[]) }, "mode 9 is unknown"),
        ] {
            let status = understood(request).expect_err(expect);
            assert!(status.code() == Code::InvalidArgument && status.message().contains(expect), "{status}");
        }
    }
}
