//! From a machine to a node with a configuration: the steps that every suite and bench begins with.

use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::{Api, Machine, TestVm, api::wait_for, limits};

/// A generated configuration and the keys to the node that has it.
#[derive(Debug)]
pub struct Access {
    /// The control plane's configuration.
    pub config: String,
    /// The admin's client configuration.
    pub talosconfig: pki::Talosconfig,
}

impl Access {
    /// Secrets and a configuration of a new cluster.
    ///
    /// # Errors
    /// When keys or certificates cannot be made.
    pub fn generate() -> Result<Self> {
        let now = SystemTime::now();
        let secrets = pki::SecretsBundle::generate(now)?;
        let sans = ["127.0.0.1".to_owned()];
        let input = machine_config::GenerateInput {
            additional_sans: &sans,
            ..machine_config::GenerateInput::new("vm-test", "https://127.0.0.1:6443", &secrets, now)
        };
        let generated = machine_config::generate(&input)?;
        Ok(Self { config: generated.controlplane.expose().to_owned(), talosconfig: generated.talosconfig })
    }
}

/// Waits for the API of a node without a configuration.
///
/// # Errors
/// When it does not answer within [`limits::API`]; with the end of the serial log.
pub fn maintenance(vm: &mut TestVm) -> Result<Api> {
    answer(vm, "the API in maintenance", Api::insecure)
}

/// Waits for the API of a configured node.
///
/// # Errors
/// When it does not answer within [`limits::API`]; with the end of the serial log.
pub fn running(vm: &mut TestVm, access: &Access) -> Result<Api> {
    answer(vm, "the API with the admin's certificate", |address| Api::with_talosconfig(address, &access.talosconfig))
}

fn answer(vm: &mut TestVm, what: &str, connect: impl Fn(std::net::SocketAddr) -> Result<Api>) -> Result<Api> {
    let waited = wait_for(what, limits::API, || {
        // A machine that is off will not answer: no need to wait for that.
        if let Err(ended) = vm.must_run() {
            return Ok(Err(ended));
        }
        let api = connect(vm.api_address())?;
        api.version()?;
        Ok(Ok(api))
    });
    let waited = waited.and_then(|result| result);
    waited.with_context(|| format!("{}; the serial log ends with:\n{}", vm.machine, vm.serial.tail()))
}

/// First boot, a configuration, and the node running with it.
///
/// # Errors
/// When one of these does not happen in time.
pub fn configured(machine: Machine) -> Result<(TestVm, Api, Access)> {
    let mut vm = TestVm::boot(machine)?;
    let access = Access::generate()?;
    let api = maintenance(&mut vm)?;
    wait_for("the configuration to be taken", limits::SETTLE, || Ok(api.apply(&access.config)?))?;
    let api = running(&mut vm, &access)?;
    Ok((vm, api, access))
}
