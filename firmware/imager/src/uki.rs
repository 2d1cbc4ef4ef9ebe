//! The unified kernel image: stub, kernel and the command line that carries the verity root.

use std::path::PathBuf;

use crate::board::Arch;
use crate::cache;
use crate::context::{Context, tool_versions};
use crate::kernel::Kernel;
use crate::request::Error;
use crate::rootfs::{Rootfs, os_release};
use crate::step::{Step, write_file};

const STEP: &str = "uki";
/// Packages of the build root whose versions decide the UKI's bytes.
const TOOLS: &[&str] = &["systemd-ukify", "systemd-boot-efi", "python3-pefile"];
/// What x86 kernels take (`COMMAND_LINE_SIZE`), the final zero included; arm64's has the same.
const CMDLINE_LIMIT: usize = 2048;

/// A UKI in the cache.
#[derive(Debug, Clone)]
pub struct Uki {
    /// The file.
    pub image: PathBuf,
    /// The command line inside, which the fast path passes by hand.
    pub cmdline: String,
}

/// Joins kernel and command line.
///
/// # Errors
/// [`Error::Refused`] when the command line or the UKI is too long, [`Error::Command`].
pub fn build(context: &Context<'_>, kernel: &Kernel, rootfs: &Rootfs) -> Result<Uki, Error> {
    let step = context.step(STEP)?;
    let board = &context.board;
    let cmdline = cmdline(context, rootfs);
    if cmdline.len() >= CMDLINE_LIMIT {
        return Err(Error::Refused {
            step: STEP,
            what: format!("the command line has {} bytes, kernels take {}", cmdline.len(), CMDLINE_LIMIT - 1),
            problems: vec![cmdline],
            help: "shorten `cmdline` of the board".to_owned(),
        });
    }
    let mut key = context.key(STEP, 1);
    key.add_all("tool", &tool_versions(STEP, TOOLS)?);
    key.add("kernel", &kernel.key).add("cmdline", &cmdline).add("os-release", &os_release(context));
    let folder = cache::get_or_make(&step, &context.request.cache, &key.finish(), |draft| {
        let (line, os) = (draft.join("cmdline"), draft.join("os-release"));
        write_file(STEP, &line, &cmdline)?;
        write_file(STEP, &os, os_release(context))?;
        join(&step, board.arch, kernel, &line, &os, &draft.join("uki.efi"))
    })?;
    let image = folder.join("uki.efi");
    let size = image.metadata().map_err(step.file_error("measure", &image))?.len();
    step.say(&format!("{} KiB", size / 1024));
    crate::limit(&step, board, "the UKI", size, board.uki_bytes)?;
    Ok(Uki { image, cmdline })
}

fn join(
    step: &Step<'_>,
    arch: Arch,
    kernel: &Kernel,
    line: &std::path::Path,
    os: &std::path::Path,
    to: &std::path::Path,
) -> Result<(), Error> {
    let at = |path: &std::path::Path| format!("@{}", path.display());
    step.run(
        step.command("ukify")
            .arg("build")
            .arg("--linux")
            .arg(kernel.efi_image(arch))
            .args(["--cmdline", &at(line), "--os-release", &at(os), "--uname", &kernel.release, "--efi-arch", arch.efi()])
            .args(["--stub", &format!("/usr/lib/systemd/boot/efi/linux{}.efi.stub", arch.efi())])
            .arg("--output")
            .arg(to),
    )
}

/// The whole command line: the verity root first, then the board's words, then the consoles.
#[must_use]
pub fn cmdline(context: &Context<'_>, rootfs: &Rootfs) -> String {
    let mut words: Vec<String> = rootfs.verity.kernel_arguments().into();
    words.extend(["root=/dev/dm-0", "rootfstype=erofs", "ro", "init=/sbin/init"].map(str::to_owned));
    words.extend(context.board.cmdline.iter().cloned());
    words.extend(context.board.consoles.iter().map(|console| format!("console={console}")));
    words.join(" ")
}
