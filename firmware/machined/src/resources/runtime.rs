//! Stage, services and what is known about this boot, as resources.

use std::path::Path;

use reconcile::{Context, Declaration, Failure, Output, Reconciler, Task};
use resource::kinds::{
    hardware::{SYSTEM_INFORMATION, SystemInformationSpec},
    runtime::{
        BOOT_ID, BootIdSpec, CMDLINE, KernelCmdlineSpec, MACHINE, MachineStatusSpec, MachineStatusStatus, PLATFORM_METADATA,
        PlatformMetadataSpec, SECURITY_STATE, SecurityStateSpec, ServicePidSpec, UnmetCondition, VERSION, VersionSpec,
    },
    v1alpha1::ServiceSpec,
};

use super::mirror::Mirror;
use crate::{
    api,
    node::{MachineStatus, Node, PlatformStatus, ServiceState, ServiceStatus},
};

/// The firmware's variables.
const EFI_VARIABLES: &str = "/sys/firmware/efi/efivars";
/// UEFI specification, globally defined variables: one byte, 1 when it is on.
const SECURE_BOOT: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Set by systemd-stub, which is in front of the kernel in such an image (`systemd-stub(7)`).
const STUB: &str = "StubInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Where the kernel shows what the firmware says.
const DMI: &str = "/sys/class/dmi/id";

pub(super) fn machine(node: &Node) -> Mirror<MachineStatus> {
    Mirror::new("runtime.machine", &node.machine, vec![Output::exclusive::<MachineStatusSpec>()], |machine, context| {
        context.keep([(MACHINE.to_owned(), status(machine))])?;
        Ok(())
    })
}

pub(super) fn services(node: &Node) -> Mirror<Vec<ServiceStatus>> {
    let outputs = vec![Output::exclusive::<ServiceSpec>(), Output::exclusive::<ServicePidSpec>()];
    Mirror::new("runtime.services", &node.services, outputs, |services: &Vec<ServiceStatus>, context| {
        context.keep(services.iter().map(|service| (service.id.clone(), health(service))))?;
        context.keep(services.iter().filter_map(process))?;
        Ok(())
    })
}

pub(super) fn platform(node: &Node) -> Mirror<PlatformStatus> {
    let outputs = vec![Output::exclusive::<PlatformMetadataSpec>()];
    Mirror::new("runtime.platform", &node.platform, outputs, |PlatformStatus { platform, metadata, .. }, context| {
        let metadata = metadata.clone();
        let spec = PlatformMetadataSpec {
            platform: platform.name().to_owned(),
            hostname: metadata.hostname,
            region: metadata.region,
            zone: metadata.zone,
            instance_type: metadata.instance_type,
            instance_id: metadata.instance_id,
            provider_id: metadata.provider_id,
        };
        context.keep([(PLATFORM_METADATA.to_owned(), spec)])?;
        Ok(())
    })
}

fn status(machine: &MachineStatus) -> MachineStatusSpec {
    let unmet = machine.unmet.iter().map(|unmet| UnmetCondition { name: unmet.name.clone(), reason: unmet.reason.clone() });
    MachineStatusSpec { stage: machine.stage, status: MachineStatusStatus { ready: machine.is_ready(), unmet_conditions: unmet.collect() } }
}

fn health(service: &ServiceStatus) -> ServiceSpec {
    ServiceSpec {
        running: service.state == ServiceState::Running,
        healthy: service.healthy == Some(true),
        unknown: service.healthy.is_none(),
    }
}

/// Of a service with a process of its own.
fn process(service: &ServiceStatus) -> Option<(String, ServicePidSpec)> {
    let pid = service.pid?;
    let namespace = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()?;
    let mount_namespace = namespace.to_string_lossy().into_owned();
    Some((service.id.clone(), ServicePidSpec { pid: i32::try_from(pid).ok()?, mount_namespace }))
}

/// What does not change before the next boot.
#[derive(Debug, Default)]
pub(super) struct Boot;

impl Reconciler for Boot {
    fn declaration(&self) -> Declaration {
        let outputs = vec![
            Output::exclusive::<BootIdSpec>(),
            Output::exclusive::<KernelCmdlineSpec>(),
            Output::exclusive::<SecurityStateSpec>(),
            Output::exclusive::<SystemInformationSpec>(),
            Output::exclusive::<VersionSpec>(),
        ];
        Declaration { name: "runtime.boot", inputs: Vec::new(), outputs }
    }

    fn reconcile<'a>(&'a mut self, context: &'a Context) -> Task<'a, Result<(), Failure>> {
        Box::pin(async {
            // The kernel has these in memory: no disk is waited for.
            let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim_end().to_owned());
            let boot_id = read("/proc/sys/kernel/random/boot_id")?;
            let cmdline = read("/proc/cmdline")?;
            context.keep([(BOOT_ID.to_owned(), BootIdSpec { boot_id })])?;
            context.keep([(CMDLINE.to_owned(), KernelCmdlineSpec { cmdline })])?;
            context.keep([(SECURITY_STATE.to_owned(), security(Path::new(EFI_VARIABLES)))])?;
            context.keep(system_information(Path::new(DMI)))?;
            let version = VersionSpec { name: "Keelson".to_owned(), version: api::TAG.to_owned() };
            context.keep([(VERSION.to_owned(), version)])?;
            Ok(())
        })
    }
}

/// What the boot was checked by; without firmware variables nothing was.
fn security(variables: &Path) -> SecurityStateSpec {
    // The kernel puts four bytes of attributes before the value (`efivarfs`).
    let on = |name: &str| std::fs::read(variables.join(name)).is_ok_and(|bytes| bytes.get(4) == Some(&1));
    SecurityStateSpec {
        secure_boot: on(SECURE_BOOT),
        booted_with_uki: variables.join(STUB).exists(),
        // Modules are pinned to the verified root instead (decision 0005).
        module_signature_enforced: false,
    }
}

/// What the firmware says of the machine, as far as the kernel knows; nothing on a machine without SMBIOS.
fn system_information(folder: &Path) -> Option<(String, SystemInformationSpec)> {
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).map(|text| text.trim().to_owned()).unwrap_or_default();
    let spec = SystemInformationSpec {
        manufacturer: text("sys_vendor"),
        product_name: text("product_name"),
        version: text("product_version"),
        bios_version: text("bios_version"),
        serial_number: text("product_serial"),
        uuid: text("product_uuid"),
        sku_number: text("product_sku"),
    };
    folder.exists().then(|| (SYSTEM_INFORMATION.to_owned(), spec))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::node::{Stage, Unmet};

    #[test]
    fn ready_is_judged_while_booting_and_running() {
        let unmet = || vec![Unmet { name: "network".into(), reason: "no address".into() }];
        for (stage, unmet, ready) in [
            (Stage::Running, vec![], true),
            (Stage::Running, unmet(), false),
            (Stage::Booting, vec![], true),
            (Stage::Maintenance, vec![], false),
            (Stage::Rebooting, vec![], false),
        ] {
            let count = unmet.len();
            let spec = status(&MachineStatus { stage, unmet });
            assert_eq!((spec.status.ready, spec.status.unmet_conditions.len()), (ready, count), "{stage:?}");
        }
    }

    #[test]
    fn services_with_and_without_a_process() {
        let service = |state, healthy, pid| ServiceStatus {
            id: "apid".into(),
            state,
            healthy,
            health_message: String::new(),
            health_changed: Duration::ZERO,
            events: vec![],
            pid,
        };
        let spec = |running, healthy, unknown| ServiceSpec { running, healthy, unknown };
        assert_eq!(health(&service(ServiceState::Running, Some(true), None)), spec(true, true, false));
        assert_eq!(health(&service(ServiceState::Running, None, None)), spec(true, false, true));
        assert_eq!(health(&service(ServiceState::Failed, Some(false), None)), spec(false, false, false));
        assert_eq!(process(&service(ServiceState::Running, None, None)), None);
        let own = process(&service(ServiceState::Running, None, Some(std::process::id()))).unwrap().1;
        assert!(own.mount_namespace.starts_with("mnt:["), "{own:?}");
    }

    #[test]
    fn a_machine_with_and_without_smbios() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sys_vendor"), "QEMU\n").unwrap();
        let (_, spec) = system_information(folder.path()).unwrap();
        assert_eq!(spec, SystemInformationSpec { manufacturer: "QEMU".into(), ..SystemInformationSpec::default() });
        assert_eq!(system_information(&folder.path().join("none")), None);
    }

    #[test]
    fn what_the_firmware_checked() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(security(folder.path()), SecurityStateSpec::default());
        std::fs::write(folder.path().join(SECURE_BOOT), [6, 0, 0, 0, 1]).unwrap();
        std::fs::write(folder.path().join(STUB), [7, 0, 0, 0, b's']).unwrap();
        let state = security(folder.path());
        assert!(state.secure_boot && state.booted_with_uki);
        std::fs::write(folder.path().join(SECURE_BOOT), [6, 0, 0, 0]).unwrap();
        assert!(!security(folder.path()).secure_boot);
    }
}
