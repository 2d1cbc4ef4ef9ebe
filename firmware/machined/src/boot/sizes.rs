//! Whether the machine is large enough for what it is to do. Pure but for the tellers: what to say, if anything.
//!
//! Thresholds are the reference's (behaviour (a) "The sequences"). A small machine boots all the same: people are told, once.

use std::sync::Arc;

use machine_config::MachineType;

use super::Machine;
use crate::sequence::phases::{OnError, Phase, Step, StepError};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// What the kernel keeps of the memory that a machine is sold with, bytes.
const KERNEL: u64 = 150 * MIB;
/// Least size of the system disk, bytes.
const DISK: u64 = 6 * GIB;

/// Minimum and recommendation of memory for a role, bytes, as machines are sold.
const fn memory_for(role: MachineType) -> (u64, u64) {
    match role {
        MachineType::Worker => (GIB, 2 * GIB),
        MachineType::ControlPlane => (1848 * MIB, 4 * GIB),
    }
}

/// What to say of `total` bytes of memory.
fn memory(total: u64, role: MachineType) -> Option<String> {
    let (least, good) = memory_for(role);
    let (kind, wanted) = match total {
        total if total < least - KERNEL => ("less than the least", least),
        total if total < good - KERNEL => ("less than is recommended", good),
        _ => return None,
    };
    Some(format!(
        "{} MiB of memory are {kind} for a {}, {} MiB: give the machine more, or workloads will be ended for want of it",
        total / MIB,
        role.as_str(),
        wanted / MIB
    ))
}

/// What to say of a system disk of `size` bytes.
fn disk(size: u64) -> Option<String> {
    (size < DISK).then(|| {
        format!(
            "the system disk has {} MiB, less than the least, {} MiB: images and logs will fill it; use a larger disk",
            size / MIB,
            DISK / MIB
        )
    })
}

/// The phases that tell.
pub fn list(machine: &Arc<Machine>) -> Vec<Phase> {
    let step = |name, look: fn(&Machine) -> Result<Option<String>, StepError>| {
        let machine = Arc::clone(machine);
        Step::new(name, OnError::Report, async move {
            if let Some(text) = look(&machine)? {
                log::warn!(target: "boot", "{text}");
                machine.node.warnings.push(text);
            }
            Ok(())
        })
    };
    vec![
        Phase::new("memorySizeCheck", vec![step("memorySizeCheck", look_at_memory)]),
        Phase::new("diskSizeCheck", vec![step("diskSizeCheck", look_at_disk)]),
    ]
}

fn look_at_memory(machine: &Machine) -> Result<Option<String>, StepError> {
    let role = machine.node.config.borrow().active.as_ref().map(|active| active.config.machine_type());
    // The kernel has it in memory: no disk is waited for.
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let total = total(&text).ok_or("/proc/meminfo does not tell how much memory there is")?;
    Ok(role.and_then(|role| memory(total, role)))
}

fn look_at_disk(machine: &Machine) -> Result<Option<String>, StepError> {
    let size = machine.node.disk.borrow().size;
    // A disk that was not found was told of before.
    Ok(if size == 0 { None } else { disk(size) })
}

/// Bytes of memory, by the text of `/proc/meminfo`.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_machines_are_told_of() {
        let check = |mib: u64, role, expect: &str| {
            let text = memory(mib * MIB, role).unwrap_or_default();
            assert!(text.contains(expect) && text.is_empty() == expect.is_empty(), "{mib} MiB: {text:?}");
        };
        check(1697, MachineType::ControlPlane, "1697 MiB of memory are less than the least for a controlplane, 1848 MiB");
        check(1698, MachineType::ControlPlane, "less than is recommended for a controlplane, 4096 MiB");
        check(3945, MachineType::ControlPlane, "less than is recommended");
        check(3946, MachineType::ControlPlane, "");
        check(873, MachineType::Worker, "less than the least for a worker, 1024 MiB");
        check(874, MachineType::Worker, "less than is recommended for a worker, 2048 MiB");
        check(1898, MachineType::Worker, "");
        assert!(disk(6 * GIB - 1).is_some_and(|text| text.contains("has 6143 MiB")) && disk(6 * GIB).is_none());
    }

    #[test]
    fn the_kernels_words_are_understood() {
        assert_eq!(total("MemTotal:         499000 kB\nMemFree:           1 kB\n"), Some(499_000 * 1024));
        assert_eq!([total(""), total("MemTotal: x kB"), total("MemTotal: 18446744073709551615 kB")], [None; 3]);
    }
}
