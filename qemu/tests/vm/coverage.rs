//! Every method of the API is called on a booted node, by every role and before there is a configuration; `docs/api-coverage.md` has
//! to be what was seen.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use qemu::{
    Arch, Machine, TestVm,
    api::wait_for,
    coverage::{self, LAST, LETTERS},
    limits,
    node::{Access, maintenance, running},
};
use tonic::transport::Channel;

use crate::trial;

/// Belongs to the end of the configuration, which says of time that it is not synchronised: the server that `Time` asks is the node itself,
/// which is none.
const NOBODY: &str = "ntp:\n  servers: [127.0.0.1]\n";

pub fn trials() -> Vec<Trial> {
    Arch::ALL.into_iter().map(|arch| trial(format!("coverage/{arch}"), move || every_method(Machine::new(arch)))).collect()
}

fn every_method(machine: Machine) -> Result<()> {
    let board = machine.board.clone();
    let mut vm = TestVm::boot(machine)?;
    let mut access = Access::generate()?;
    // What a server on the way out answers is not the node's to say.
    access.config.push_str(NOBODY);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    let api = maintenance(&mut vm)?;
    let open = runtime.block_on(async { coverage::open(&connect(&vm, wire::tls::insecure_client_config(None)?).await?).await })?;
    wait_for("the configuration to be taken", limits::SETTLE, || Ok(api.apply(&access.config)?))?;
    drop(api);

    let api = running(&mut vm, &access)?;
    let all = coverage::requests(&access.config);
    let rows = runtime.block_on(async {
        let mut callers = Vec::new();
        for (letter, role) in LETTERS {
            callers.push((letter, connect(&vm, qemu::Api::settings(&access.with_role(role)?)?).await?));
        }
        coverage::observe(&all, &callers, &open).await
    })?;
    // Those that were left out, now that nothing else is to be asked.
    let boot = api.boot_id()?;
    api.reboot()?;
    let api = restarted(&mut vm, &access, &boot)?;
    ensure!(LAST == ["/machine.MachineService/Reboot", "/machine.MachineService/Shutdown"], "nobody calls {LAST:?}");
    api.shutdown()?;
    vm.wait_power_off()?;
    compare(&board, &coverage::write(&rows))
}

async fn connect(vm: &TestVm, config: Arc<rustls::ClientConfig>) -> Result<Channel> {
    let (host, port) = (vm.api_address().ip().to_string(), vm.api_address().port());
    Ok(wire::tls::connect(wire::tls::endpoint(&host, port)?, &host, port, config).await?)
}

/// The node after its restart.
fn restarted(vm: &mut TestVm, access: &Access, former: &str) -> Result<qemu::Api> {
    wait_for("another boot", limits::API, || {
        let api = running(vm, access)?;
        ensure!(api.boot_id()? != former, "it is the same boot");
        Ok(api)
    })
}

fn compare(board: &str, seen: &str) -> Result<()> {
    let left = coverage::seen(board);
    fs::write(&left, seen).with_context(|| format!("write {}", left.display()))?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(coverage::PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let wrong: Vec<&str> = seen.lines().filter(|line| !page.lines().any(|known| known == *line)).collect();
    ensure!(
        page == seen,
        "{} is not what the node answers; KEELSON_WRITE=1 cargo test -p qemu --test docs writes it from {}:\n{}",
        coverage::PAGE,
        left.display(),
        wrong.join("\n")
    );
    Ok(())
}
