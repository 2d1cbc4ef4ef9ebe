//! Before anything long begins: are the tools there, is there space, how long will it take.

use std::path::Path;

use crate::context::Context;
use crate::request::Error;
use crate::room::{self, Wish};
use crate::step::make_folder;

const STEP: &str = "preflight";
const GIB: u64 = 1 << 30;
/// Programs that the steps run.
const TOOLS: &[&str] = &[
    "aarch64-linux-gnu-gcc",
    "bc",
    "bison",
    "cargo",
    "cp",
    "depmod",
    "dpkg-deb",
    "flex",
    "gcc",
    "make",
    "mcopy",
    "mkfs.erofs",
    "mkfs.vfat",
    "mmd",
    "patch",
    "perl",
    "tar",
    "ukify",
    "veritysetup",
    "xz",
    "zstd",
];

/// Checks what a build needs and says what it will do.
///
/// # Errors
/// [`Error::Refused`] naming every missing tool or the missing space.
pub fn run(context: &Context<'_>) -> Result<(), Error> {
    let step = context.step(STEP)?;
    let request = context.request;
    let missing: Vec<String> = TOOLS.iter().filter(|tool| !installed(tool)).map(|tool| (*tool).to_owned()).collect();
    if !missing.is_empty() {
        return Err(Error::Refused {
            step: STEP,
            what: "tools are missing from the build root".to_owned(),
            problems: missing,
            help: "the builder runs inside the sealed root: use `cargo xtask build` or scripts/enter".to_owned(),
        });
    }
    // A kernel tree with its objects takes 3 GiB and the compilers' caches as much; all of it is needed only when nothing is cached.
    let kernels = request.cache.join("kernel").is_dir();
    let (space, minutes) = if kernels {
        (4 * GIB, "about one minute when only our programs changed")
    } else {
        (10 * GIB, "20 to 40 minutes with an empty cache on two cores")
    };
    make_folder(STEP, &request.cache)?;
    let freed = room::make(&request.cache, Wish::from_environment(space)?)?;
    if freed.things > 0 {
        step.say(&freed.to_string());
    }
    let mut problems = Vec::new();
    for (folder, needed) in [(&request.cache, space), (&context.out, 2 * GIB)] {
        make_folder(STEP, folder)?;
        let free = room::free_bytes(folder).map_err(step.file_error("measure", folder))?;
        if free < needed {
            problems.push(format!("{}: {} MiB free, {} MiB needed", folder.display(), free >> 20, needed >> 20));
        }
    }
    if !problems.is_empty() {
        return Err(Error::Refused {
            step: STEP,
            what: "not enough disk space".to_owned(),
            problems,
            help: "free some; the cache may be emptied at any time, set KEELSON_CACHE to put it elsewhere".to_owned(),
        });
    }
    step.say(&format!("{} ({}), version {}; {minutes}", context.board.name, context.board.description, context.version));
    Ok(())
}

fn installed(tool: &str) -> bool {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(tool).exists())
}
