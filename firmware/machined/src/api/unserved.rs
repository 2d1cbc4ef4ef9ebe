//! What the methods without a handler answer: what of the node is missing, and what there is instead.
//!
//! The whole API is either served or in this table. Codes are those that clients act on (reference, talosctl: `Unimplemented` of the
//! image service lets them ask the older methods, `FailedPrecondition` of `Kubeconfig` lets `health` go on).

use machine_config::MachineType;
use tonic::{Code, Status};
use wire::methods::Method;

/// Why a method has no handler.
struct Missing {
    code: Code,
    /// Only control planes have what it is about; a worker says so.
    control_plane: bool,
    /// What is missing and what there is instead; the method's name comes before it.
    text: &'static str,
    service: &'static str,
    methods: &'static [&'static str],
}

const MACHINE: &str = "machine.MachineService";
const NO_CONTAINERD: &str = "this version runs no containerd, so the node has no images and no containers but its own services: \
     see ServiceList and Logs";
const NO_ETCD: &str = "this version runs no etcd";
const NO_VOLUME_GROUPS: &str = "this version assembles no volume groups: BlockDeviceWipe takes their disks";

const TABLE: &[Missing] = &[
    unimplemented("machine.ImageService", &["Import", "List", "Pull", "Remove", "Verify"], NO_CONTAINERD),
    unimplemented("machine.DebugService", &["ContainerRun"], NO_CONTAINERD),
    unimplemented(MACHINE, &["ImageList", "ImagePull"], NO_CONTAINERD),
    unimplemented(
        "machine.LifecycleService",
        &["Install"],
        "the node runs from the disk that its image was written to; there is nothing to install",
    ),
    unimplemented("machine.LifecycleService", &["Upgrade"], NO_UPGRADE),
    unimplemented(MACHINE, &["Upgrade"], NO_UPGRADE),
    control_plane(
        &[
            "EtcdAlarmDisarm",
            "EtcdAlarmList",
            "EtcdDefragment",
            "EtcdDowngradeCancel",
            "EtcdDowngradeEnable",
            "EtcdDowngradeValidate",
            "EtcdForfeitLeadership",
            "EtcdLeaveCluster",
            "EtcdMemberList",
            "EtcdRecover",
            "EtcdRemoveMemberByID",
            "EtcdSnapshot",
            "EtcdStatus",
        ],
        Code::Unimplemented,
        NO_ETCD,
    ),
    control_plane(&["Bootstrap"], Code::Unimplemented, "this version runs no etcd: there is nothing to bootstrap"),
    control_plane(&["Kubeconfig"], Code::FailedPrecondition, "this version runs no Kubernetes: there is no API server to reach with it"),
    unimplemented("machine.LVMService", &["LogicalVolumeRemove", "PhysicalVolumeRemove", "VolumeGroupRemove"], NO_VOLUME_GROUPS),
    unimplemented("machine.MDService", &["Destroy"], "this version assembles no arrays of disks: BlockDeviceWipe takes their disks"),
    unimplemented("securityapi.SecurityService", &["Certificate"], "trustd of a control plane serves this, on port 50001"),
    Missing {
        code: Code::PermissionDenied,
        control_plane: false,
        text: reconcile::service::READ_ONLY,
        service: "cosi.resource.State",
        methods: &["Create", "Destroy", "Teardown", "TeardownAndDestroy", "Update"],
    },
];

const NO_UPGRADE: &str = "this version cannot write the other slot: write the image of the new version to the disk, which resets the node";

const fn unimplemented(service: &'static str, methods: &'static [&'static str], text: &'static str) -> Missing {
    Missing { code: Code::Unimplemented, control_plane: false, text, service, methods }
}

const fn control_plane(methods: &'static [&'static str], code: Code, text: &'static str) -> Missing {
    Missing { code, control_plane: true, text, service: MACHINE, methods }
}

fn find(service: &str, name: &str) -> Option<&'static Missing> {
    TABLE.iter().find(|missing| missing.service == service && missing.methods.contains(&name))
}

/// What a call of a method without a handler is answered; `path` is of one that is not in the API when there is no `method`.
/// `machine` is what the node's configuration makes of it.
pub(super) fn answer(path: &str, method: Option<&Method>, machine: Option<MachineType>) -> Status {
    let path = path.trim_start_matches('/');
    let Some(missing) = method.and_then(|method| find(method.service(), method.name())) else {
        return Status::unimplemented(format!("{path} is not in this version"));
    };
    let Missing { code, control_plane, text, .. } = missing;
    match code {
        // Upstream's tests want this text and no other.
        Code::PermissionDenied => Status::new(*code, *text),
        _ if *control_plane && machine == Some(MachineType::Worker) => {
            Status::unimplemented(format!("{path} is only available on control plane nodes"))
        }
        _ => Status::new(*code, format!("{path}: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use wire::methods::METHODS;

    use super::*;

    #[test]
    fn every_method_is_served_or_says_what_is_missing() {
        for method in METHODS {
            let rows = TABLE.iter().filter(|missing| missing.service == method.service() && missing.methods.contains(&method.name()));
            let (rows, wanted) = (rows.count(), usize::from(!method.served));
            assert_eq!(rows, wanted, "{} is served: {}, and is in so many rows", method.path, method.served);
        }
    }

    #[test]
    fn rows_name_methods_of_the_api() {
        for missing in TABLE {
            for name in missing.methods {
                let path = format!("/{}/{name}", missing.service);
                assert!(wire::methods::find(&path).is_some(), "{path}");
            }
        }
    }

    #[track_caller]
    fn check(path: &str, machine: Option<MachineType>, code: Code, text: &str) {
        let status = answer(path, wire::methods::find(path), machine);
        assert!(status.code() == code && status.message().contains(text), "{path}: {status}");
    }

    #[test]
    fn codes_are_those_that_clients_act_on() {
        let (control_plane, worker) = (Some(MachineType::ControlPlane), Some(MachineType::Worker));
        check(
            "/machine.ImageService/List",
            control_plane,
            Code::Unimplemented,
            "machine.ImageService/List: this version runs no containerd",
        );
        check("/machine.MachineService/ImageList", None, Code::Unimplemented, "runs no containerd");
        check("/machine.MachineService/Kubeconfig", control_plane, Code::FailedPrecondition, "no Kubernetes");
        check("/machine.MachineService/Kubeconfig", worker, Code::Unimplemented, "is only available on control plane nodes");
        check("/machine.MachineService/EtcdStatus", control_plane, Code::Unimplemented, "EtcdStatus: this version runs no etcd");
        check("/machine.MachineService/EtcdStatus", worker, Code::Unimplemented, "EtcdStatus is only available on control plane nodes");
        check("/machine.MachineService/Upgrade", worker, Code::Unimplemented, "slot");
        check("/cosi.resource.State/Create", control_plane, Code::PermissionDenied, "write access is not allowed");
        check(
            "/machine.MachineService/Nothing",
            control_plane,
            Code::Unimplemented,
            "machine.MachineService/Nothing is not in this version",
        );
        check("/", None, Code::Unimplemented, " is not in this version");
    }
}
