//! `gen config` and `gen secrets`; the others are in [`certificates`](super::certificates).

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use machine_config::{Contract, GenerateInput, Generated, patch};
use pki::{Secret, SecretsBundle};

use super::{
    args::{FileKind, Gen, GenConfig, GenSecrets},
    certificates, patches, store,
};

pub fn run(command: Gen) -> Result<ExitCode> {
    match command {
        Gen::Config(args) => config(&args),
        Gen::Secrets(args) => secrets(&args),
        Gen::Ca(args) => certificates::authority(&args),
        Gen::Key(args) => certificates::key(&args),
        Gen::Csr(args) => certificates::request(&args),
        Gen::Crt(args) => certificates::certificate(&args),
        Gen::Keypair(args) => certificates::keypair(&args),
    }?;
    Ok(ExitCode::SUCCESS)
}

impl FileKind {
    const fn file_name(self) -> &'static str {
        match self {
            Self::Controlplane => "controlplane.yaml",
            Self::Worker => "worker.yaml",
            Self::Talosconfig => "talosconfig",
        }
    }

    fn text(self, generated: &Generated) -> Result<Secret> {
        Ok(match self {
            Self::Controlplane => generated.controlplane.clone(),
            Self::Worker => generated.worker.clone(),
            Self::Talosconfig => generated.talosconfig.to_yaml()?,
        })
    }
}

fn config(args: &GenConfig) -> Result<()> {
    let given = [&args.config_patch, &args.config_patch_control_plane, &args.config_patch_worker];
    let [all, control_plane, worker] = given.map(|given| patches::load(given));
    let patches = [all?, control_plane?, worker?];
    let places = places(args)?;
    if !args.force {
        refuse_existing(places.iter().filter_map(|(_, place)| place.as_deref()))?;
    }
    let now = SystemTime::now();
    let secrets = match &args.with_secrets {
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            SecretsBundle::from_yaml(&text).with_context(|| format!("read {}", path.display()))?
        }
        None => SecretsBundle::generate(now).context("make the cluster's secrets")?,
    };
    let input = GenerateInput {
        install_disk: &args.install_disk,
        install_image: &args.install_image,
        additional_sans: &args.additional_sans,
        dns_domain: &args.dns_domain,
        kubernetes_version: &args.kubernetes_version,
        contract: args.talos_version.unwrap_or(Contract::CURRENT),
        registry_mirrors: &args.registry_mirror,
        discovery: args.with_cluster_discovery,
        kubespan: args.with_kubespan.filter(|enabled| *enabled),
        ..GenerateInput::new(&args.name, &args.endpoint, &secrets, now)
    };
    let mut generated = machine_config::generate(&input)?;
    let [all, control_plane, worker] = patches;
    for (config, own, whose) in [
        (&mut generated.controlplane, control_plane, "patch the configuration of control-plane nodes"),
        (&mut generated.worker, worker, "patch the configuration of workers"),
    ] {
        *config = patch(config.expose(), &[all.clone(), own].concat()).context(whose)?;
    }
    for (kind, place) in places {
        put(place.as_deref(), &kind.text(&generated)?)?;
    }
    Ok(())
}

/// Where each file goes; `None` is standard output.
fn places(args: &GenConfig) -> Result<Vec<(FileKind, Option<PathBuf>)>> {
    let mut kinds = args.output_types.clone();
    kinds.dedup();
    let output = args.output.as_deref().unwrap_or_else(|| Path::new("."));
    if output == Path::new("-") {
        let [kind] = kinds.as_slice() else {
            bail!("only one file can be printed: choose it with --output-types, or give a folder with --output");
        };
        return Ok(vec![(*kind, None)]);
    }
    if let ([kind], true) = (kinds.as_slice(), args.output.is_some() && !output.is_dir()) {
        return Ok(vec![(*kind, Some(output.into()))]);
    }
    fs::create_dir_all(output).with_context(|| format!("make {}", output.display()))?;
    Ok(kinds.into_iter().map(|kind| (kind, Some(output.join(kind.file_name())))).collect())
}

fn secrets(args: &GenSecrets) -> Result<()> {
    let place = Some(args.output_file.as_path()).filter(|path| *path != Path::new("-"));
    if !args.force {
        refuse_existing(place.into_iter())?;
    }
    let bundle = SecretsBundle::generate(SystemTime::now()).context("make the cluster's secrets")?;
    put(place, &bundle.to_yaml()?)
}

pub(super) fn refuse_existing<'a>(mut paths: impl Iterator<Item = &'a Path>) -> Result<()> {
    match paths.find(|path| path.exists()) {
        Some(path) => bail!("{} is there already: --force overwrites it (its secrets are then lost)", path.display()),
        None => Ok(()),
    }
}

pub(super) fn put(place: Option<&Path>, text: &Secret) -> Result<()> {
    let Some(path) = place else {
        return std::io::stdout().write_all(text.expose().as_bytes()).context("print the file");
    };
    store::write_secret(path, text)?;
    eprintln!("Created {}", path.display());
    Ok(())
}
