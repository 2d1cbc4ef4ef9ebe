//! `gen ca`, `gen key`, `gen csr`, `gen crt`, `gen keypair`: certificates step by step, for those who keep an authority's key to themselves.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use pki::{Authority, CertificateRequest, KeyKind, Secret};

use super::{
    args::{GenCa, GenCrt, GenCsr, GenKey, GenKeypair},
    generate::{put, refuse_existing},
};

/// How long `gen keypair`'s certificate is valid.
const KEYPAIR_LIFE: Duration = Duration::from_secs(24 * 3600);

pub fn authority(args: &GenCa) -> Result<()> {
    let now = SystemTime::now();
    let kind = if args.rsa { KeyKind::Rsa } else { KeyKind::Ed25519 };
    let made = Authority::generate_for(&args.organization, kind, hours(args.hours)?, now).context("make the authority")?.to_pem()?;
    let fingerprint = pki::spki_fingerprint(pki::read_chain(&made.cert_pem)?.first().context("no certificate")?)?;
    let key = made.key_pem.context("no key")?;
    let parts = [("crt", Secret::new(made.cert_pem)), ("sha256", Secret::new(format!("{fingerprint}\n"))), ("key", key)];
    write(&args.organization, args.force, &parts)
}

pub fn key(args: &GenKey) -> Result<()> {
    write(&args.name, args.force, &[("key", pki::new_key_pem(KeyKind::Ed25519).context("make the key")?)])
}

pub fn request(args: &GenCsr) -> Result<()> {
    ensure!(!args.roles.contains(','), "one role: the certificate library writes no second one");
    let key = Secret::new(read(&args.key)?);
    let addresses: Vec<_> = args.ip.into_iter().collect();
    let request =
        pki::request_client(&key, &args.roles, &addresses).with_context(|| format!("request a certificate for {}", args.key.display()))?;
    let stem = args.key.with_extension("");
    write(&stem.display().to_string(), args.force, &[("csr", Secret::new(request))])
}

pub fn certificate(args: &GenCrt) -> Result<()> {
    let (crt, key) = (with(&args.ca, "crt"), with(&args.ca, "key"));
    let authority =
        Authority::from_pem(&read(&crt)?, &Secret::new(read(&key)?)).with_context(|| format!("use the authority {}", crt.display()))?;
    let (text, life) = (read(&args.csr)?, hours(args.hours)?);
    let signed = CertificateRequest::from_pem(&text).and_then(|request| authority.certify_client(&request, life, SystemTime::now()));
    let signed = signed.with_context(|| format!("sign {}", args.csr.display()))?;
    write(&args.name, args.force, &[("crt", Secret::new(signed))])
}

pub fn keypair(args: &GenKeypair) -> Result<()> {
    let addresses: Vec<_> = args.ip.into_iter().collect();
    let made = pki::self_signed(&args.organization, &addresses, KEYPAIR_LIFE, SystemTime::now()).context("make the certificate")?;
    write(&args.organization, args.force, &[("crt", Secret::new(made.cert_pem)), ("key", made.key_pem)])
}

fn hours(count: u32) -> Result<Duration> {
    ensure!(count > 0, "a certificate is valid for an hour at least: --hours");
    Ok(Duration::from_secs(u64::from(count) * 3600))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// `talos.example` has no extension to replace.
fn with(stem: &Path, extension: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// Writes files of one name; all of them or, when one is there already, none.
fn write(stem: &str, force: bool, parts: &[(&str, Secret)]) -> Result<()> {
    let files: Vec<_> = parts.iter().map(|(extension, text)| (with(Path::new(stem), extension), text)).collect();
    if !force {
        refuse_existing(files.iter().map(|(path, _)| path.as_path()))?;
    }
    files.iter().try_for_each(|(path, text)| put(Some(path), text))
}
