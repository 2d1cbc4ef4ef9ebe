//! Kernel and modules from Debian's kernel source and our fragments.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::board::Arch;
use crate::cache;
use crate::context::{Context, tool_versions};
use crate::digest;
use crate::kconfig;
use crate::request::Error;
use crate::step::{Step, copy_file, make_folder, read_text, write_file};

const STEP: &str = "kernel";
/// Where Debian's package puts the source, inside the build root.
const SOURCE: &str = "/usr/src/linux-source-6.12.tar.xz";
/// Packages whose versions decide the kernel's bytes.
const TOOLS: &[&str] = &["linux-source-6.12", "binutils", "make", "kmod", "zstd", "bison", "flex", "bc", "perl"];

/// A built kernel in the cache.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The result's folder.
    pub folder: PathBuf,
    /// As `uname -r` says.
    pub release: String,
    /// The Debian version of the source, for the SBOM.
    pub source_version: String,
    /// The key of all inputs.
    pub key: String,
    /// Fragments and patches with their hashes, and the source's, for the manifest.
    pub inputs: BTreeMap<String, String>,
}

impl Kernel {
    /// What goes into the UKI.
    #[must_use]
    pub fn efi_image(&self, arch: Arch) -> PathBuf {
        self.folder.join(match arch {
            Arch::X86_64 => "vmlinuz",
            Arch::Arm64 => "vmlinuz.efi",
        })
    }
    /// What QEMU's `-kernel` takes.
    #[must_use]
    pub fn raw_image(&self, arch: Arch) -> PathBuf {
        self.folder.join(arch.kernel_file())
    }
    /// `usr/lib/modules/<release>` lies below it.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.folder.join("modules")
    }
    /// The final configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("config")
    }
    /// `COPYING` and `LICENSES/` of the source.
    #[must_use]
    pub fn licences(&self) -> PathBuf {
        self.folder.join("licences")
    }
}

/// Builds the board's kernel, or takes it from the cache.
///
/// # Errors
/// [`Error::Refused`] when the configuration is not what was wished, [`Error::Command`] when the build fails.
pub fn build(context: &Context<'_>) -> Result<Kernel, Error> {
    let step = context.step(STEP)?;
    let arch = context.board.arch;
    let mut inputs = BTreeMap::new();
    let mut key = context.key(STEP, 2);
    key.add("arch", arch.name());
    for (package, version) in tool_versions(STEP, TOOLS)? {
        key.add(&package, &version);
        inputs.insert(format!("package:{package}"), version);
    }
    let compiler = step.output(step.command(&format!("{}gcc", prefix(arch))).arg("--version"))?;
    key.add("compiler", compiler.lines().next().unwrap_or_default());
    let (_, source) = digest::file(STEP, Path::new(SOURCE))?;
    inputs.insert("source".to_owned(), source);
    let patches = patches(context)?;
    for path in context.board.fragments.iter().chain(&patches) {
        inputs.insert(context.display(path), digest::file(STEP, path)?.1);
    }
    // Order matters for fragments, so it is part of the key beside the content.
    for path in &context.board.fragments {
        key.add("order", &context.display(path));
    }
    let key = key.add_all("input", &inputs).finish();
    let folder = cache::get_or_make(&step, &context.request.cache, &key, |draft| make(context, &step, &patches, draft))?;
    Ok(Kernel {
        release: read_text(STEP, &folder.join("release"))?.trim().to_owned(),
        source_version: inputs
            .iter()
            .find(|(name, _)| name.starts_with("package:linux-source"))
            .map(|(_, version)| version.clone())
            .unwrap_or_default(),
        folder,
        key,
        inputs,
    })
}

fn make(context: &Context<'_>, step: &Step<'_>, patches: &[PathBuf], draft: &Path) -> Result<(), Error> {
    let arch = context.board.arch;
    let work = context.request.cache.join("work").join(format!("kernel-{arch}"));
    cache::remove(STEP, &work)?;
    make_folder(STEP, &work)?;
    step.say("unpacking the source");
    step.run(step.command("tar").args(["-C", &work.to_string_lossy(), "--strip-components=1", "-xf", SOURCE]))?;
    for patch in patches {
        step.say(&format!("applying {}", context.display(patch)));
        step.run(step.command("patch").current_dir(&work).args(["-p1", "--no-backup-if-mismatch", "-F0", "-i"]).arg(patch))?;
    }
    configure(context, step, &work)?;
    let targets: &[&str] = match arch {
        Arch::X86_64 => &["bzImage", "modules"],
        Arch::Arm64 => &["Image", "vmlinuz.efi", "modules"],
    };
    step.say(&format!("compiling for {arch}, 8 to 30 minutes on two cores"));
    step.run(make_command(context, step, &work).arg(format!("-j{}", context.request.jobs)).args(targets))?;
    step.say("collecting kernel and modules");
    collect(context, step, &work, draft)?;
    cache::remove(STEP, &work)
}

/// Merges the fragments, lets the kernel complete them and compares the result with the wish.
fn configure(context: &Context<'_>, step: &Step<'_>, work: &Path) -> Result<(), Error> {
    let mut fragments = Vec::new();
    for path in &context.board.fragments {
        fragments.push((context.display(path), read_text(STEP, path)?));
    }
    let wishes = kconfig::merge(fragments.iter().map(|(name, text)| (name.as_str(), text.as_str())))
        .map_err(|problem| step.input_error(&context.request.project.join("kernel-config"), problem))?;
    let merged = work.join("keelson.config");
    write_file(STEP, &merged, kconfig::text(&wishes))?;
    step.run(make_command(context, step, work).env("KCONFIG_ALLCONFIG", &merged).arg("allnoconfig"))?;
    let problems = kconfig::unfulfilled(&wishes, &read_text(STEP, &work.join(".config"))?);
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::Refused {
        step: STEP,
        what: format!("{} wanted kernel options did not make it", problems.len()),
        problems,
        help: "a menu above the option is off, the option was renamed, or something selects it: \
               search for it in the kernel's Kconfig files and amend the named fragment"
            .to_owned(),
    })
}

/// Puts what the build is for into the draft.
fn collect(context: &Context<'_>, step: &Step<'_>, work: &Path, draft: &Path) -> Result<(), Error> {
    let boot = match context.board.arch {
        Arch::X86_64 => vec![("arch/x86/boot/bzImage", "vmlinuz")],
        Arch::Arm64 => vec![("arch/arm64/boot/Image", "Image"), ("arch/arm64/boot/vmlinuz.efi", "vmlinuz.efi")],
    };
    for (from, to) in
        boot.into_iter().chain([(".config", "config"), ("System.map", "System.map"), ("include/config/kernel.release", "release")])
    {
        copy_file(STEP, &work.join(from), &draft.join(to))?;
    }
    let modules = draft.join("modules");
    let install = format!("INSTALL_MOD_PATH={}", modules.join("usr").display());
    step.run(make_command(context, step, work).args([&install, "INSTALL_MOD_STRIP=1", "modules_install"]))?;
    let release = read_text(STEP, &draft.join("release"))?;
    let installed = modules.join("usr/lib/modules").join(release.trim());
    for link in ["build", "source"] {
        let path = installed.join(link);
        if path.is_symlink() {
            fs::remove_file(&path).map_err(step.file_error("remove", &path))?;
        }
    }
    step.run(step.command("cp").arg("-r").args([work.join("COPYING"), work.join("LICENSES")]).arg(make_licences(draft)?))
}

fn make_licences(draft: &Path) -> Result<PathBuf, Error> {
    let folder = draft.join("licences");
    make_folder(STEP, &folder)?;
    Ok(folder)
}

/// `make` with everything that keeps host, user, time and path out of the result.
fn make_command(context: &Context<'_>, step: &Step<'_>, work: &Path) -> std::process::Command {
    let arch = context.board.arch;
    let mut command = step.command("make");
    command
        .current_dir(work)
        .env("KBUILD_BUILD_TIMESTAMP", format!("@{}", context.epoch))
        .env("KBUILD_BUILD_USER", "keelson")
        .env("KBUILD_BUILD_HOST", "keelson")
        .env("KBUILD_BUILD_VERSION", "1")
        .env("KCFLAGS", format!("-ffile-prefix-map={}=.", work.display()))
        .env("KAFLAGS", format!("-ffile-prefix-map={}=.", work.display()))
        .args(["--no-print-directory", &format!("ARCH={arch}")]);
    if !prefix(arch).is_empty() {
        command.arg(format!("CROSS_COMPILE={}", prefix(arch)));
    }
    command
}

/// Prefix of the compiler's name; the build root is always x86_64.
#[must_use]
pub fn prefix(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "",
        Arch::Arm64 => "aarch64-linux-gnu-",
    }
}

fn patches(context: &Context<'_>) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for folder in &context.board.patch_folders {
        found.extend(digest::walk(STEP, folder)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "patch")));
    }
    Ok(found)
}
