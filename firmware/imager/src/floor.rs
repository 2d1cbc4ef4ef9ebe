//! The floor that `bench boot` measures against: the board's kernel and command line with a verity root of the same size
//! whose init writes one line. Nothing that boots this kernel can be faster.

use std::path::{Path, PathBuf};

use layout::verity::VerityTable;

use crate::board::Arch;
use crate::cache;
use crate::context::{Context, tool_versions};
use crate::kernel::{self, Kernel};
use crate::request::{BuildRequest, Error, Progress};
use crate::rootfs::{self, Rootfs};
use crate::step::{Step, make_folder, read_text, write_file};
use crate::{disk, partitions, uki};

const STEP: &str = "floor";
/// Packages whose versions decide the floor's bytes.
const TOOLS: &[&str] = &["erofs-utils", "cryptsetup-bin", "binutils"];

/// Writes what the bench waits for to the console and rests. No libc: nothing is to be loaded but one page.
const INIT: &str = r#"
static long call(long number, long a, long b, long c)
{
    long result;
#if defined(__x86_64__)
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    result = x0;
#endif
    return result;
}
#if defined(__x86_64__)
enum { WRITE = 1, PAUSE = 34 };
#else
enum { WRITE = 64, PAUSE = 73 };
#endif
void _start(void)
{
    static const char line[] = "keelson-floor\n";
    call(WRITE, 1, (long)line, sizeof line - 1);
    for (;;)
        call(PAUSE, 0, 0, 0);
}
"#;

/// Makes `<out>/<board>/floor/` with both disk images and the command line, from a board that was built before.
///
/// # Errors
/// [`Error`] naming the step, the input and what to do.
pub fn floor(request: &BuildRequest, progress: &dyn Progress) -> Result<PathBuf, Error> {
    let mut context = Context::new(request, progress)?;
    let own = context.out.join("cmdline");
    context.out = context.out.join("floor");
    make_folder(STEP, &context.out)?;
    let step = context.step(STEP)?;
    let blocks = VerityTable::from_cmdline(&read_text(STEP, &own)?)
        .map_err(|error| step.input_error(&own, format!("{error}; build the board first")))?
        .data_blocks;
    let kernel = kernel::build(&context)?;
    let rootfs = root(&context, &step, &kernel, blocks)?;
    let uki = uki::build(&context, &kernel, &rootfs)?;
    write_file(STEP, &context.out.join("cmdline"), format!("{}\n", uki.cmdline))?;
    disk::build(&context, &partitions::read(&context)?.set, &rootfs, &uki)?;
    Ok(context.out.clone())
}

fn root(context: &Context<'_>, step: &Step<'_>, kernel: &Kernel, blocks: u64) -> Result<Rootfs, Error> {
    let arch = context.board.arch;
    let mut key = context.key(STEP, 1);
    key.add("arch", arch.name()).add("init", INIT).add("blocks", &blocks.to_string()).add("kernel", &kernel.key);
    key.add_all("tool", &tool_versions(STEP, TOOLS)?).add("compression", &context.board.compression);
    let key = key.finish();
    let folder = cache::get_or_make(step, &context.request.cache, &key, |draft| {
        let tree = draft.join("tree");
        compile(step, arch, draft, &tree.join("sbin"))?;
        for name in ["dev", "proc", "sys"] {
            make_folder(STEP, &tree.join(name))?;
        }
        rootfs::pack(context, step, &tree, draft, blocks, &[])?;
        cache::remove(STEP, &tree)
    })?;
    let verity = VerityTable::from_table(read_text(STEP, &folder.join("verity"))?.trim())
        .map_err(|error| step.input_error(&folder.join("verity"), format!("{error}; remove that folder")))?;
    Ok(Rootfs { image: folder.join("rootfs.erofs"), verity, packages: Vec::new(), inputs: std::collections::BTreeMap::new(), key })
}

fn compile(step: &Step<'_>, arch: Arch, draft: &Path, to: &Path) -> Result<(), Error> {
    make_folder(STEP, to)?;
    let source = draft.join("init.c");
    write_file(STEP, &source, INIT)?;
    step.run(
        step.command(&format!("{}gcc", kernel::prefix(arch)))
            .args(["-Os", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-Wl,--build-id=none", "-s", "-o"])
            .arg(to.join("init"))
            .arg(&source),
    )
}
