//! What has to be handed on with an image: licence texts of everything in it, and the list of its sources.
//!
//! `<out>/<board>/legal-info/`: `sources.csv` (kind, name, version, licence, sha256 of what it was built from), and below
//! `licences/<kind>/<name>-<version>/` the texts. The manner is Buildroot's.

use std::fs;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::crates::{self, Crate};
use crate::lock::{self, Package};
use crate::request::{BuildRequest, Error, Progress};
use crate::step::{Step, copy_file, make_folder, write_file};
use crate::{cache, digest, files, kernel, rootfs};

const STEP: &str = "legal-info";
/// Beginnings of the names of files with licence texts, in capitals.
const TEXTS: &[&str] = &["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE", "AUTHORS"];

/// Collects texts and list for the request's board; returns the folder.
///
/// # Errors
/// [`Error::Refused`] naming everything whose licence text was not found.
pub fn legal_info(request: &BuildRequest, progress: &dyn Progress) -> Result<PathBuf, Error> {
    let context = Context::new(request, progress)?;
    let step = context.step(STEP)?;
    let folder = context.out.join("legal-info");
    cache::remove(STEP, &folder)?;
    let texts = folder.join("licences");
    let mut rows = vec!["kind,name,version,licence,sha256".to_owned()];
    let mut missing = Vec::new();
    let mut row = |kind: &str, name: &str, version: &str, licence: &str, sha256: &str| {
        rows.push(format!("{kind},{name},{version},\"{licence}\",{sha256}"));
    };
    let packages = image_packages(&context, &step)?;
    step.say(&format!("{} Debian packages", packages.len()));
    for (package, unpacked) in &packages {
        row("debian", &package.name, &package.version, "see its copyright file", &package.sha256);
        let place = texts.join("debian").join(format!("{}-{}", package.name, package.version));
        if !copyright(&context, &step, &package.name, unpacked, &place)? {
            missing.push(format!("Debian package {}", package.name));
        }
    }
    // The loader and the stub are copied from the build root itself.
    for package in build_root_packages(&context)? {
        row("debian", &package.name, &package.version, "see its copyright file", &package.sha256);
        let place = texts.join("debian").join(format!("{}-{}", package.name, package.version));
        if !take_texts(&Path::new("/usr/share/doc").join(&package.name), &place, &["COPYRIGHT"])? {
            missing.push(format!("Debian package {}", package.name));
        }
    }
    let crates = crates::of_keelson(&context, &step)?;
    step.say(&format!("{} crates", crates.len()));
    for one in &crates {
        row("crate", &one.name, &one.version, one.licence.as_deref().unwrap_or(""), one.sha256.as_deref().unwrap_or("ours"));
        let place = texts.join("crate").join(format!("{}-{}", one.name, one.version));
        if !crate_texts(&context, one, &place)? {
            missing.push(format!("crate {} {}", one.name, one.version));
        }
    }
    let kernel = kernel::build(&context)?;
    let source = kernel.inputs.get("source").map_or("", String::as_str);
    row("kernel", "linux", &kernel.source_version, "GPL-2.0-only WITH Linux-syscall-note", source);
    copy_tree(&kernel.licences(), &texts.join("kernel").join(format!("linux-{}", kernel.source_version)))?;
    write_file(STEP, &folder.join("sources.csv"), rows.join("\n") + "\n")?;
    if missing.is_empty() {
        return Ok(folder);
    }
    // Many crates name an SPDX licence and bring no text: that is worth knowing, but the list above has the licence.
    write_file(STEP, &folder.join("without-text.txt"), missing.join("\n") + "\n")?;
    step.say(&format!("{} parts bring no licence text of their own: see without-text.txt", missing.len()));
    Ok(folder)
}

/// The packages that files of the image come from, unpacked.
fn image_packages(context: &Context<'_>, step: &Step<'_>) -> Result<Vec<(Package, PathBuf)>, Error> {
    let wanted = files::read(&context.board.file_lists, context.board.arch)?;
    let packages = rootfs::wanted_packages(context, &wanted)?;
    let unpacked = rootfs::unpack_all(context, step, &packages)?;
    Ok(packages.into_iter().zip(unpacked).collect())
}

/// Packages of the build root whose files are in the image: loader and stub, and what is linked into our program: the standard
/// libraries of Rust and C, and the compiler's own.
///
/// # Errors
/// As [`lock::read`].
pub fn build_root_packages(context: &Context<'_>) -> Result<Vec<Package>, Error> {
    let arch = context.board.arch.debian();
    let cross = format!("-dev-{arch}-cross");
    let compilers = |name: &str| name.starts_with("libgcc-") && (name.ends_with("-dev") || name.ends_with(&cross));
    let wanted = |package: &Package| match package.name.as_str() {
        "systemd-boot-efi" | "libstd-rust-web-dev" | "libc6-dev" => package.arch == arch,
        name => compilers(name) && (package.arch == arch || name.ends_with(&cross)),
    };
    let mut found = Vec::new();
    for path in context.locks() {
        found.extend(lock::read(&path)?.into_iter().filter(|package| package.set == "root" && wanted(package)));
    }
    Ok(found)
}

/// Copies a package's copyright file; packages of one source may share another package's folder by a link.
fn copyright(context: &Context<'_>, step: &Step<'_>, name: &str, unpacked: &Path, place: &Path) -> Result<bool, Error> {
    let doc = unpacked.join("usr/share/doc").join(name);
    if let Ok(target) = doc.read_link() {
        let other = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(package) = lock::image_packages(&context.locks(), context.board.arch)?.remove(&other) else {
            return Ok(false);
        };
        let unpacked = rootfs::unpack_all(context, step, &[package])?;
        return take_texts(&unpacked[0].join("usr/share/doc").join(&other), place, &["COPYRIGHT"]);
    }
    take_texts(&doc, place, &["COPYRIGHT"])
}

fn crate_texts(context: &Context<'_>, one: &Crate, place: &Path) -> Result<bool, Error> {
    if one.sha256.is_none() && one.folder.starts_with(&context.request.project) {
        return take_texts(&context.request.project, place, TEXTS);
    }
    take_texts(&one.folder, place, TEXTS)
}

/// Copies the files directly in `folder` whose names begin as given; whether there was one.
fn take_texts(folder: &Path, place: &Path, beginnings: &[&str]) -> Result<bool, Error> {
    let mut found = false;
    let Ok(entries) = folder.read_dir() else { return Ok(false) };
    for entry in entries {
        let path = entry.map_err(|source| Error::File { step: STEP, action: "list", path: folder.to_owned(), source })?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = beginnings.iter().any(|beginning| name.to_uppercase().starts_with(beginning));
        if text && path.is_file() {
            make_folder(STEP, place)?;
            copy_file(STEP, &path, &place.join(name))?;
            found = true;
        }
    }
    Ok(found)
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), Error> {
    make_folder(STEP, to)?;
    for path in digest::walk(STEP, from)? {
        let place = to.join(path.strip_prefix(from).unwrap_or(&path));
        if path.is_dir() {
            make_folder(STEP, &place)?;
        } else if fs::metadata(&path).is_ok_and(|meta| meta.is_file()) {
            copy_file(STEP, &path, &place)?;
        }
    }
    Ok(())
}
