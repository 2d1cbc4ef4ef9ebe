//! The whole build, step by step.

use std::path::Path;

use nix::sys::stat::{Mode, umask};

use crate::board::{Board, Over};
use crate::context::Context;
use crate::kernel::Kernel;
use crate::manifest::{Manifest, Output};
use crate::programs::Programs;
use crate::request::{BuildRequest, Built, Error, Progress};
use crate::rootfs::Rootfs;
use crate::step::{Step, copy_file, make_folder, write_file};
use crate::uki::Uki;
use crate::{crates, digest, disk, kernel, legal, partitions, preflight, programs, rootfs, sbom, uki};

const STEP: &str = "manifest";

/// Builds the image of `request.board` into `<out>/<board>/`.
///
/// Sets the process's umask to 022: a result must not depend on the caller's.
///
/// # Errors
/// [`Error`] naming the step, the input and what to do.
pub fn build(request: &BuildRequest, progress: &dyn Progress) -> Result<Built, Error> {
    umask(Mode::from_bits_truncate(0o022));
    let context = Context::new(request, progress)?;
    make_folder(STEP, &context.out)?;
    preflight::run(&context)?;
    let partitions = partitions::read(&context)?;
    let kernel = kernel::build(&context)?;
    let programs = programs::build(&context)?;
    let rootfs = rootfs::build(&context, &kernel, &programs, &partitions)?;
    let uki = uki::build(&context, &kernel, &rootfs)?;
    disk::build(&context, &partitions.set, &rootfs, &uki)?;
    let step = context.step(STEP)?;
    let outputs = publish(&context, &kernel, &rootfs, &uki)?;
    let mut manifest = describe(&context, &kernel, &programs, &rootfs, &outputs)?;
    let bill = context.out.join("sbom.spdx.json");
    write_file(STEP, &bill, bill_of_materials(&context, &step, &kernel, &rootfs, &manifest)?)?;
    manifest.outputs.insert("sbom.spdx.json".to_owned(), Output::of(&bill)?);
    write_file(STEP, &context.out.join("manifest.json"), manifest.to_json())?;
    step.say(&format!("root hash {}", manifest.root_hash));
    step.say(&format!("done: {}", context.out.display()));
    Ok(Built { folder: context.out.clone(), manifest })
}

/// Copies the parts that tests and the fast path use beside the images; names of all outputs.
fn publish(context: &Context<'_>, kernel: &Kernel, rootfs: &Rootfs, uki: &Uki) -> Result<Vec<String>, Error> {
    let arch = context.board.arch;
    let copies = [
        (uki.image.clone(), "uki.efi"),
        (rootfs.image.clone(), "rootfs.erofs"),
        (kernel.raw_image(arch), arch.kernel_file()),
        (kernel.config(), "kernel.config"),
    ];
    let mut names = vec!["cmdline".to_owned()];
    write_file(STEP, &context.out.join("cmdline"), format!("{}\n", uki.cmdline))?;
    for (from, name) in copies {
        copy_file(STEP, &from, &context.out.join(name))?;
        names.push(name.to_owned());
    }
    for (_, image, map) in disk::IMAGES {
        names.extend([image.to_owned(), map.to_owned()]);
    }
    Ok(names)
}

fn describe(context: &Context<'_>, kernel: &Kernel, programs: &Programs, rootfs: &Rootfs, outputs: &[String]) -> Result<Manifest, Error> {
    let request = context.request;
    let mut manifest = Manifest {
        format: 1,
        version: context.version.clone(),
        board: context.board.name.clone(),
        arch: context.board.arch.to_string(),
        profile: request.profile.name().to_owned(),
        lock: request.lock_state,
        epoch: context.epoch,
        root_hash: digest::hex(&rootfs.verity.root_hash),
        root_partuuid: rootfs.verity.part_uuid().to_string(),
        inputs: rootfs.inputs.clone(),
        outputs: std::collections::BTreeMap::new(),
    };
    for (name, value) in &kernel.inputs {
        manifest.input("kernel", name, value);
    }
    for (name, hash) in &programs.sources {
        manifest.input("source", name, hash);
    }
    for path in &context.board.sources {
        manifest.input("board", context.display(path), digest::file(STEP, path)?.1);
    }
    for lock in context.locks() {
        manifest.input("lock", context.display(&lock), digest::file(STEP, &lock)?.1);
    }
    for name in outputs {
        manifest.outputs.insert(name.clone(), Output::of(&context.out.join(Path::new(name)))?);
    }
    Ok(manifest)
}

fn bill_of_materials(
    context: &Context<'_>,
    step: &Step<'_>,
    kernel: &Kernel,
    rootfs: &Rootfs,
    manifest: &Manifest,
) -> Result<String, Error> {
    let crates = crates::of_keelson(context, step)?;
    let packages = [rootfs.packages.clone(), legal::build_root_packages(context)?].concat();
    let created = i64::try_from(context.epoch).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()).unwrap_or_default();
    Ok(sbom::document(manifest, &packages, &crates, &kernel.source_version, &created.to_string()))
}

/// Compares a size with the board's limit.
///
/// # Errors
/// [`Error::Refused`] when it is larger and the board says that this is an error.
pub fn limit(step: &Step<'_>, board: &Board, what: &str, size: u64, limit: u64) -> Result<(), Error> {
    if size <= limit {
        return Ok(());
    }
    let text = format!("{what} has {} KiB, the board's limit is {} KiB", size.div_ceil(1024), limit / 1024);
    match board.over {
        Over::Warn => {
            step.say(&format!("warning: {text}"));
            Ok(())
        }
        Over::Fail => Err(Error::Refused {
            step: step.name,
            what: text,
            problems: vec![format!("{size} bytes against {limit}")],
            help: "take something out, raise `limits` in board.toml, or set `limits.over = \"warn\"`".to_owned(),
        }),
    }
}
