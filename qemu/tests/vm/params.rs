//! Kernel parameters of a configuration: live, over a boot, and back when they go.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Api, Arch, Machine,
    api::wait_for,
    limits,
    node::{configured, running},
};

use crate::trial;

const SWAPPINESS: &str = "/proc/sys/vm/swappiness";
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
const STATUS: &str = "KernelParamStatuses.runtime.talos.dev";

pub fn trials() -> Vec<Trial> {
    Arch::ALL.into_iter().map(|arch| trial(format!("host/{arch}/params"), move || live_and_back(Machine::new(arch)))).collect()
}

fn live_and_back(machine: Machine) -> Result<()> {
    let (mut vm, api, access) = configured(machine)?;
    // The node's own defaults.
    is(&api, FORWARD, "1")?;
    is(&api, "/proc/sys/kernel/kptr_restrict", "2")?;
    let before = api.read_text(SWAPPINESS)?.trim().to_owned();
    ensure!(before != "7", "the kernel's own value is the test's");

    let document = |params: &str| format!("{}\n---\napiVersion: v1alpha1\nkind: SysctlConfig\nparams:\n{params}", access.config.trim_end());
    let module = "---\napiVersion: v1alpha1\nkind: KernelModuleConfig\nname: nf_conntrack_ftp\nparameters: [ports=2121]\n";
    let wanted = document("  vm.swappiness: \"7\"\n  net.ipv4.ip_forward: \"0\"\n  vm.no_such_thing: \"1\"\n") + module;
    api.apply(&wanted)?;
    is(&api, SWAPPINESS, "7")?;
    is(&api, FORWARD, "0")?;
    api.says("runtime", STATUS, "proc.sys.vm.swappiness", &[&format!("current: '7'\ndefault: '{before}'\nunsupported: false\n")])?;
    api.says("runtime", STATUS, "proc.sys.vm.no_such_thing", &["unsupported: true\n"])?;
    api.says("runtime", "KernelParamSpecs.runtime.talos.dev", "proc.sys.vm.swappiness", &["value: '7'\n"])?;
    api.says("runtime", "KernelModuleStatuses.runtime.talos.dev", "nf_conntrack_ftp", &["type: dynamic\n"])?;
    api.says("runtime", "KernelModuleSpecs.runtime.talos.dev", "nf_conntrack_ftp", &["ports=2121"])?;
    crate::node::logged(&api, "proc.sys.vm.no_such_thing: the kernel has no such parameter")?;

    api.shutdown()?;
    vm.wait_power_off()?;
    vm.start()?;
    let api = running(&mut vm, &access)?;
    is(&api, SWAPPINESS, "7")?;

    api.apply(&access.config)?;
    is(&api, SWAPPINESS, &before)?;
    is(&api, FORWARD, "1")
}

fn is(api: &Api, path: &str, wanted: &str) -> Result<()> {
    wait_for(&format!("{wanted} in {path}"), limits::SETTLE, || {
        let found = api.read_text(path)?;
        ensure!(found.trim() == wanted, "it holds {}", found.trim());
        Ok(())
    })
}
