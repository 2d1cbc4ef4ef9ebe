//! From a machine to a node with a configuration: the steps that every suite and bench begins with.

use std::{
    collections::VecDeque,
    net::TcpStream,
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::{Api, Machine, Serial, TestVm, api::wait_for, limits};

/// Connections that wait for a guest's first sign at the same time; later ones take the place of the first.
const PROBES: usize = 20;
/// Pause between two looks at what became of them.
const LOOK: Duration = Duration::from_millis(5);

/// What a console says once PID 1 runs, and once a link has an address. Before that there is nobody to answer, and asking costs the
/// processors that the guest boots on.
const ALIVE: &str = "boot: Keelson ";
const ADDRESS: &str = "manager: dhcp";
/// Longest wait for an address after PID 1's first line, and for that line: fixed addresses are not told, and firmware takes its time.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(2);
const ALIVE_PATIENCE: Duration = Duration::from_secs(10);

/// How long certificates of tests are valid.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What every configuration here says of time: the emulated network leads to no time server, and a node that waits for the time
/// is not ready.
pub const NO_TIME: &str = "---\napiVersion: v1alpha1\nkind: TimeSyncConfig\nenabled: false\n";

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
        let config = format!("{}\n{NO_TIME}", generated.controlplane.expose().trim_end());
        Ok(Self { config, talosconfig: generated.talosconfig })
    }

    /// A client configuration with another role (`os:operator`), from the authority in the configuration.
    ///
    /// # Errors
    /// When the configuration or a certificate is not usable.
    pub fn with_role(&self, role: &str) -> Result<pki::Talosconfig> {
        let now = SystemTime::now();
        let Ok(parsed) = machine_config::Config::parse(&self.config) else { bail!("the generated configuration is not valid") };
        let ca = parsed.config.machine_ca();
        let ca = pki::Authority::from_pem(&ca.cert_pem, ca.key_pem.as_ref().context("the authority has no key")?)?;
        let identity = ca.issue_client(&pki::ClientRequest { common_name: None, organization: role, life: DAY }, now)?;
        Ok(pki::Talosconfig::single("vm-test", pki::Context::new(Vec::new(), ca.cert_pem(), &identity)))
    }

    /// The same with the least that a control plane's configuration may hold: it fits the kernel's command line.
    ///
    /// # Errors
    /// When keys or certificates cannot be made.
    pub fn small() -> Result<Self> {
        let now = SystemTime::now();
        let secrets = pki::SecretsBundle::generate(now)?;
        let input = machine_config::GenerateInput::new("vm-test", "https://127.0.0.1:6443", &secrets, now);
        let talosconfig = machine_config::generate(&input)?.talosconfig;
        let config = format!(
            "version: v1alpha1\nmachine:\n  type: controlplane\n  token: {}\n  certSANs: [127.0.0.1]\n  ca:\n    crt: {}\n    key: {}\n\
             cluster:\n  id: {}\n  secret: {}\n  controlPlane:\n    endpoint: https://127.0.0.1:6443\n",
            secrets.machine_token.expose(),
            base64(&secrets.os.cert_pem),
            base64(secrets.os.key_pem.as_ref().context("a new authority has no key")?.expose()),
            secrets.cluster_id,
            secrets.cluster_secret.expose(),
        );
        Ok(Self { config, talosconfig })
    }
}

/// Waits for the API of a node without a configuration.
///
/// # Errors
/// When it does not answer within [`limits::API`]; with the end of the serial log.
pub fn maintenance(vm: &mut TestVm) -> Result<Api> {
    answer(vm, "the API in maintenance", Api::insecure_over)
}

/// Waits for the API of a configured node.
///
/// # Errors
/// When it does not answer within [`limits::API`]; with the end of the serial log.
pub fn running(vm: &mut TestVm, access: &Access) -> Result<Api> {
    let talosconfig = access.talosconfig.clone();
    answer(vm, "the API with the admin's certificate", move |tcp| Api::with_talosconfig_over(tcp, &talosconfig))
}

/// Asks until the node answers.
fn answer(vm: &mut TestVm, what: &str, connect: impl Fn(TcpStream) -> Result<Api>) -> Result<Api> {
    let start = Instant::now();
    let failed = loop {
        let attempt = taken(vm).and_then(|tcp| {
            let api = connect(tcp)?;
            api.version()?;
            Ok(api)
        });
        match attempt {
            Ok(api) => return Ok(api),
            Err(error) if start.elapsed() > limits::API => break error.context(format!("waited {:?} for {what}", limits::API)),
            Err(_) => thread::sleep(limits::POLL),
        }
        // A machine that is off will not answer: no need to wait for that.
        if let Err(ended) = vm.must_run() {
            break ended;
        }
    };
    let (processors, serial) = (vm.processors(), vm.serial.tail());
    Err(failed.context(format!("{}; the processors:\n{processors}\nthe serial log ends with:\n{serial}", vm.machine)))
}

/// A connection that the guest itself has taken. QEMU's user network takes every one at once, and one made before the
/// guest's link is up hangs for seconds; a handshake that is begun every few milliseconds until one succeeds would keep the
/// node busy with those that come after. QEMU's own table tells when one of those that say nothing was taken; it does not tell
/// which, but then the newest is, or will be at once.
fn taken(vm: &mut TestVm) -> Result<TcpStream> {
    wait_for_address(vm)?;
    let (mut probes, mut monitor) = (VecDeque::new(), vm.monitor()?);
    let (start, mut probed) = (Instant::now(), None::<Instant>);
    loop {
        // Waiting for a machine that is off is of no use.
        vm.must_run()?;
        ensure!(start.elapsed() < limits::API, "waited {:?} for the guest to take a connection", limits::API);
        if probed.is_none_or(|at| at.elapsed() >= limits::POLL) {
            probes.extend(TcpStream::connect(vm.api_address()));
            probed = Some(Instant::now());
            if probes.len() > PROBES {
                probes.pop_front();
            }
        }
        let table = monitor.execute("human-monitor-command", json!({ "command-line": "info usernet" }))?;
        if table.as_str().unwrap_or_default().lines().any(|line| line.trim_start().starts_with("TCP[ESTABLISHED]")) {
            return probes.pop_back().context("the guest took a connection that is not ours");
        }
        // A guest takes milliseconds; to make another connection meanwhile would only be more work for it.
        thread::sleep(LOOK);
    }
}

/// Waits until it is worth asking, as far as a console tells.
fn wait_for_address(vm: &mut TestVm) -> Result<()> {
    if matches!(vm.machine.serial, Serial::Stuck) {
        return Ok(());
    }
    let (start, mut alive) = (Instant::now(), None::<Instant>);
    loop {
        vm.must_run()?;
        let text = vm.serial.text();
        if alive.is_none() && text.contains(ALIVE) {
            alive = Some(Instant::now());
        }
        let patient = match alive {
            Some(at) => at.elapsed() < ADDRESS_PATIENCE,
            None => start.elapsed() < ALIVE_PATIENCE,
        };
        if text.contains(ADDRESS) || !patient {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
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

/// The same, switched off: for what begins with a second boot.
///
/// # Errors
/// As [`configured`], and when the node does not power off.
pub fn configured_and_off(machine: Machine) -> Result<(TestVm, Access)> {
    let (mut vm, api, access) = configured(machine)?;
    api.shutdown()?;
    vm.wait_power_off()?;
    Ok((vm, access))
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_configurations_are_valid_and_the_small_one_is_small() {
        for access in [Access::generate().unwrap(), Access::small().unwrap()] {
            if let Err(problems) = machine_config::Config::parse(&access.config) {
                panic!("{problems}");
            }
        }
        let packed = zstd::encode_all(Access::small().unwrap().config.as_bytes(), 19).unwrap();
        assert!(packed.len() < 960, "{} bytes do not fit beside the verity root", packed.len());
    }
}
