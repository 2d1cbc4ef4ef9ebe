//! Our own programs, compiled for the board with the crates that lie in the cache.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::board::Arch;
use crate::context::Context;
use crate::request::{BuildRequest, Error, Profile, Progress};
use crate::step::{Step, copy_file, file_error, make_folder, write_file};
use crate::{digest, elf};

const STEP: &str = "programs";

/// The C library inside, at an address that the kernel chooses: docs/decisions/0017.
const WITH_C_LIBRARY: &str = "-Ctarget-feature=+crt-static";

/// The compiler does not know that this target can have that, and asks for a program with a fixed address.
const ARM64_LINKER: &str = r#"#!/bin/bash
arguments=()
for argument; do case $argument in -static | -no-pie) ;; *) arguments+=("$argument") ;; esac; done
exec aarch64-linux-gnu-gcc -static-pie "${arguments[@]}"
"#;

/// What was compiled.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The node's one program.
    pub keelson: PathBuf,
    /// Its hash.
    pub keelson_sha256: String,
    /// Everything it is made of that is in the tree, for the manifest.
    pub sources: BTreeMap<String, String>,
}

/// Compiles `keelson` for the board.
///
/// # Errors
/// [`Error::Command`] with the compiler's last words.
pub fn build(context: &Context<'_>) -> Result<Programs, Error> {
    let step = context.step(STEP)?;
    let profile = context.request.profile.name();
    let arch = context.board.arch;
    step.say(&format!("compiling keelson for {arch} ({profile})"));
    let keelson = compile(context, &step, "keelson", arch, context.request.profile, &[WITH_C_LIBRARY])?;
    let (size, keelson_sha256) = digest::file(STEP, &keelson)?;
    must_be_alone(&step, &keelson)?;
    step.say(&format!("keelson has {} KiB", size / 1024));
    Ok(Programs { keelson, keelson_sha256, sources: sources(&context.request.project)? })
}

/// A linker that was told otherwise makes a program all the same.
fn must_be_alone(step: &Step<'_>, program: &Path) -> Result<(), Error> {
    let data = fs::read(program).map_err(step.file_error("read", program))?;
    let wants = elf::wants(&data).map_err(|error| step.input_error(program, error.to_string()))?;
    let problems = elf::not_alone(&wants);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Refused {
        step: STEP,
        what: format!("{} is not linked as a static position-independent program", program.display()),
        problems,
        help: "a dependency may bring a shared library; docs/decisions/0017 says why there is none".to_owned(),
    })
}

/// Compiles `keelctl` for the machine that builds; it lands in `<out>/keelctl`. Apart from the image, which does not wait
/// for it, and without the minutes that the node's program is worth.
///
/// # Errors
/// [`Error::Command`] with the compiler's last words.
pub fn client(request: &BuildRequest, progress: &dyn Progress) -> Result<PathBuf, Error> {
    let context = &Context::new(request, progress)?;
    let step = context.step("client")?;
    step.say("compiling keelctl for this machine");
    // The build root is always x86_64.
    // With the C library inside: this machine's may be older than the build root's.
    let keelctl = compile(context, &step, "keelctl", Arch::X86_64, Profile::Fast, &[WITH_C_LIBRARY])?;
    make_folder(STEP, &context.request.out)?;
    let place = context.request.out.join("keelctl");
    // Not written over: someone may be running it.
    let draft = context.request.out.join(".keelctl.new");
    copy_file(STEP, &keelctl, &draft)?;
    fs::rename(&draft, &place).map_err(step.file_error("replace", &place))?;
    Ok(place)
}

/// Cargo in the project's folder, with what keeps it to the cache.
#[must_use]
pub fn cargo(context: &Context<'_>, step: &Step<'_>) -> std::process::Command {
    let request = context.request;
    let mut command = step.command("cargo");
    command
        .current_dir(&request.project)
        .env("HOME", request.cache.join("home"))
        .env("CARGO_HOME", cargo_home(context))
        .env("CARGO_TARGET_DIR", request.cache.join("target"))
        .env("CARGO_TERM_COLOR", "never");
    command
}

/// Compiles a package; `own` are flags for its last step alone, so that what it depends on is compiled once for all.
fn compile(context: &Context<'_>, step: &Step<'_>, package: &str, arch: Arch, profile: Profile, own: &[&str]) -> Result<PathBuf, Error> {
    let request = context.request;
    let profile = profile.name();
    let target = request.cache.join("target");
    let mut command = cargo(context, step);
    command
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(context, arch).join("\x1f"))
        .env(format!("CFLAGS_{}", arch.triple().replace('-', "_")), c_flags(context));
    if arch == Arch::Arm64 {
        command
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", arm64_linker(&target)?)
            .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc")
            .env("PKG_CONFIG_ALLOW_CROSS", "1")
            .env("PKG_CONFIG_LIBDIR_aarch64_unknown_linux_gnu", "/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig");
    }
    let jobs = request.jobs.to_string();
    command.args([
        "rustc",
        "--bin",
        package,
        "--locked",
        "--offline",
        "--package",
        package,
        "--target",
        arch.triple(),
        "--profile",
        profile,
        "--jobs",
        &jobs,
        "--",
    ]);
    command.args(own);
    step.run(&mut command)?;
    Ok(target.join(arch.triple()).join(profile).join(package))
}

/// Puts the linker into the compiler's folder.
fn arm64_linker(target: &Path) -> Result<PathBuf, Error> {
    let place = target.join("aarch64-static-pie");
    write_file(STEP, &place, ARM64_LINKER)?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).map_err(file_error(STEP, "make executable", &place))?;
    Ok(place)
}

fn cargo_home(context: &Context<'_>) -> PathBuf {
    context.request.cache.join("cargo-home")
}

/// Folders whose names would otherwise end up in the programs, with what stands for them.
fn remapped(context: &Context<'_>) -> Vec<(PathBuf, &'static str)> {
    let cache = &context.request.cache;
    vec![
        (context.request.project.clone(), "/src"),
        (cargo_home(context), "/cargo"),
        (cache.join("crates"), "/vendor"),
        (cache.join("target"), "/target"),
    ]
}

fn rust_flags(context: &Context<'_>, arch: Arch) -> Vec<String> {
    let mut flags: Vec<String> =
        remapped(context).into_iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
    // One hash for every vendored crate, whatever folder they were vendored to.
    flags.push("-Clink-arg=-Wl,--build-id=none".to_owned());
    // Relative relocations in a tenth of the space.
    flags.push("-Clink-arg=-Wl,-z,pack-relative-relocs".to_owned());
    match arch {
        Arch::X86_64 => flags.push("-Ctarget-cpu=x86-64-v2".to_owned()),
        // At opt-level z LLVM cuts equal sequences of a few instructions out into functions of their own on this
        // architecture: 4 % less code, and a call and a return every dozen instructions.
        Arch::Arm64 => flags.push("-Cllvm-args=-enable-machine-outliner=never".to_owned()),
    }
    flags
}

fn c_flags(context: &Context<'_>) -> String {
    remapped(context).into_iter().map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display())).collect::<Vec<_>>().join(" ")
}

/// Hashes of all that our programs are compiled from, by path: crates' sources, manifests and the lock.
fn sources(project: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut sources = BTreeMap::new();
    for (name, hash) in digest::tree(STEP, &project.join("firmware"))? {
        sources.insert(format!("firmware/{name}"), hash);
    }
    for name in ["Cargo.toml", "Cargo.lock"] {
        sources.insert(name.to_owned(), digest::file(STEP, &project.join(name))?.1);
    }
    Ok(sources)
}
