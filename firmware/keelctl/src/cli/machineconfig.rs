//! Commands about machine configurations: giving them to nodes, patching them in a file or on a node, checking them.

use std::{fs, io::Write as _, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use machine_config::{Config, Patch, RunMode, patch};
use pki::Secret;
use wire::{
    cosi::GetRequest,
    machine::{ApplyConfiguration, apply_configuration_request::Mode as Wire},
};

use crate::client::{Apply, Client};

use super::{
    args::{self, Insecure},
    nodes::{Fleet, each},
    patches, store,
};

/// Namespace, type and id of the configuration in force.
const ACTIVE: (&str, &str, &str) = ("config", "MachineConfigs.config.talos.dev", "v1alpha1");
/// Names of the one type that can be patched.
const NAMES: [&str; 5] = ["mc", "mcs", "machineconfig", "machineconfigs", "machineconfigs.config.talos.dev"];

/// `apply-config`
pub async fn apply(fleet: &Fleet, args: args::ApplyConfig) -> Result<ExitCode> {
    let patches = patches::load(&args.config_patch)?;
    let config = patch(patches::read(&args.file)?.expose(), &patches)?;
    let how = how(args.when)?;
    let config = &config;
    let nodes = fleet.nodes(&args.insecure).await?;
    let call = async |_, client: Client| Ok(client.apply(config.expose(), how).await?);
    let (replies, code) = each(nodes, call).await;
    for (node, reply) in replies {
        tell(&node, reply);
    }
    Ok(code)
}

/// `patch machineconfig`
pub async fn patch_nodes(fleet: &Fleet, args: args::PatchNode) -> Result<ExitCode> {
    check_kind(&args.kind)?;
    let given: Vec<String> = args.patch.iter().cloned().chain(args.patch_file.iter().map(|file| format!("@{file}"))).collect();
    if given.is_empty() {
        bail!("which patch? give it with --patch or --patch-file");
    }
    let patches = &patches::load(&given)?;
    let how = how(args.when)?;
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let call = async |_, client: Client| patch_node(&client, patches, how).await;
    let (replies, code) = each(nodes, call).await;
    for (node, reply) in replies {
        match reply {
            Some(reply) => {
                eprintln!("patched {}/{} at the node {node}", ACTIVE.1, ACTIVE.2);
                tell(&node, reply);
            }
            None => eprintln!("{node}: nothing was applied: the patch changes nothing"),
        }
    }
    Ok(code)
}

/// Only the machine's configuration can be changed.
pub(super) fn check_kind(kind: &str) -> Result<()> {
    if !NAMES.contains(&kind.to_lowercase().as_str()) {
        bail!("{kind:?} cannot be changed: machineconfig can");
    }
    Ok(())
}

/// The configuration in force.
pub(super) async fn active(client: &Client) -> Result<Secret> {
    let (namespace, kind, id) = ACTIVE;
    let request = GetRequest { namespace: namespace.into(), r#type: kind.into(), id: id.into(), options: None };
    let resource = client.resource(request).await.context("read the configuration in force")?;
    let yaml = Secret::new(resource.spec.map(|spec| spec.yaml_spec).unwrap_or_default());
    Ok(Secret::new(serde_yaml::from_str::<String>(yaml.expose()).context("read the configuration in force")?))
}

/// `None` when nothing would change.
async fn patch_node(client: &Client, patches: &[Patch], how: Apply) -> Result<Option<ApplyConfiguration>> {
    let config = active(client).await?;
    let patched = patch(config.expose(), patches)?;
    if machine_config::same(config.expose(), patched.expose()) {
        return Ok(None);
    }
    Ok(Some(client.apply(patched.expose(), how).await?))
}

pub(super) fn how(when: args::When) -> Result<Apply> {
    let mode = match when.mode {
        args::Mode::Auto => Wire::Auto,
        args::Mode::NoReboot => Wire::NoReboot,
        args::Mode::Reboot => Wire::Reboot,
        args::Mode::Staged => Wire::Staged,
        args::Mode::Try => Wire::Try,
    };
    let try_timeout = if mode == Wire::Try { Some(Duration::try_from(when.timeout).context("use --timeout")?) } else { None };
    Ok(Apply { mode, dry_run: when.dry_run, try_timeout })
}

pub(super) fn tell(node: &str, reply: ApplyConfiguration) {
    for warning in reply.warnings {
        eprintln!("{node}: WARNING: {warning}");
    }
    for line in reply.mode_details.trim_end().lines() {
        eprintln!("{node}: {line}");
    }
}

/// `machineconfig patch`
pub fn patch_file(args: &args::PatchFile) -> Result<ExitCode> {
    let patches = patches::load(&args.patch)?;
    let patched = patch(patches::read(&args.file)?.expose(), &patches)?;
    match &args.output {
        Some(path) => {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
            }
            store::write_secret(path, &patched)?;
        }
        None => std::io::stdout().write_all(patched.expose().as_bytes()).context("print the configuration")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `validate`
pub fn validate(args: &args::Validate) -> Result<ExitCode> {
    let text = patches::read(&args.config)?;
    let (name, mode) = match args.mode {
        args::ValidateMode::Metal => ("metal", RunMode::Metal),
        args::ValidateMode::Cloud => ("cloud", RunMode::Cloud),
        args::ValidateMode::Container => ("container", RunMode::Container),
    };
    let parsed = Config::parse_for(text.expose(), mode)?;
    for warning in &parsed.warnings {
        eprintln!("WARNING: {warning}");
    }
    if args.strict && !parsed.warnings.is_empty() {
        bail!("{} has warnings, and --strict takes them for errors", args.config.display());
    }
    println!("{} is valid for {name} mode", args.config.display());
    Ok(ExitCode::SUCCESS)
}
