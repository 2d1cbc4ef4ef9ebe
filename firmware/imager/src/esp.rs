//! The EFI system partition: FAT32 with systemd-boot, its configuration and the factory UKI.
//!
//! FAT carries the sector size in itself, so there is one image for each. Fewer than 65,525 clusters would make firmware read it as
//! FAT16; 4 KiB clusters on 512 MiB are 131,072 on both sector sizes.

use std::fs::File;
use std::path::{Path, PathBuf};

use layout::SectorSize;

use crate::context::{Context, tool_versions};
use crate::request::Error;
use crate::step::{Step, write_file};
use crate::uki::Uki;
use crate::{cache, digest};

const STEP: &str = "esp";
/// Packages of the build root whose versions decide the file system's bytes.
const TOOLS: &[&str] = &["dosfstools", "mtools", "systemd-boot-efi"];
/// Cluster size in bytes.
const CLUSTER: u64 = 4096;
/// Fewer clusters than this are FAT16.
const FAT32_CLUSTERS: u64 = 65_525;
/// No menu, no editing of the signed command line, and nothing that makes the loader write to FAT.
const LOADER_CONF: &str = "timeout 0\neditor no\nauto-entries no\nauto-firmware no\nrandom-seed-mode off\n";

/// Makes the system partition's file system of `size` bytes for disks with `sector`, or takes it from the cache.
///
/// # Errors
/// [`Error::Refused`] when `size` is too small for FAT32, [`Error::Command`].
pub fn build(context: &Context<'_>, uki: &Uki, sector: SectorSize, size: u64) -> Result<PathBuf, Error> {
    let step = context.step(STEP)?;
    if size / CLUSTER < FAT32_CLUSTERS + 1024 {
        return Err(Error::Refused {
            step: STEP,
            what: format!("the system partition of {size} bytes is too small for FAT32"),
            problems: vec!["firmware would take it for FAT16".to_owned()],
            help: "give the partition with content \"esp\" at least 272M".to_owned(),
        });
    }
    let (_, uki_hash) = digest::file(STEP, &uki.image)?;
    let mut key = context.key(STEP, 2);
    key.add_all("tool", &tool_versions(STEP, TOOLS)?);
    key.add("uki", &uki_hash).add("size", &size.to_string()).add("sector", &sector.to_string());
    key.add("arch", context.board.arch.name()).add("loader.conf", LOADER_CONF).add("version", &context.version);
    let folder = cache::get_or_make(&step, &context.request.cache, &key.finish(), |draft| {
        format(context, &step, uki, &uki_hash, sector, size, draft)
    })?;
    Ok(folder.join("esp.img"))
}

fn format(
    context: &Context<'_>,
    step: &Step<'_>,
    uki: &Uki,
    uki_hash: &str,
    sector: SectorSize,
    size: u64,
    draft: &Path,
) -> Result<(), Error> {
    let image = draft.join("esp.img");
    step.say(&format!("file system for sectors of {sector} bytes"));
    let file = File::create(&image).map_err(step.file_error("create", &image))?;
    file.set_len(size).map_err(step.file_error("extend", &image))?;
    drop(file);
    // The volume's number follows from what is in it.
    let volume = &uki_hash[..8];
    let per_cluster = CLUSTER / sector.bytes();
    step.run(
        step.command("mkfs.vfat")
            .args(["--invariant", "-F32", "-R32", "-f2", "-n", "EFI", "-i", volume])
            .args([&format!("-S{sector}"), &format!("-s{per_cluster}")])
            .arg(&image),
    )?;
    let loader_conf = draft.join("loader.conf");
    write_file(STEP, &loader_conf, LOADER_CONF)?;
    let name = context.board.arch.efi();
    let loader = PathBuf::from(format!("/usr/lib/systemd/boot/efi/systemd-boot{name}.efi"));
    for folder in ["EFI", "EFI/BOOT", "EFI/Linux", "loader"] {
        step.run(mtools(step, "mmd").arg("-i").arg(&image).arg(format!("::/{folder}")))?;
    }
    let files = [
        (loader.as_path(), format!("EFI/BOOT/BOOT{}.EFI", name.to_uppercase())),
        (loader_conf.as_path(), "loader/loader.conf".to_owned()),
        // No try counter: there is nothing that a failed factory image could fall back to.
        (uki.image.as_path(), format!("EFI/Linux/keelson-{}.efi", context.version)),
    ];
    for (from, to) in files {
        step.run(mtools(step, "mcopy").arg("-i").arg(&image).arg(from).arg(format!("::/{to}")))?;
    }
    Ok(())
}

fn mtools(step: &Step<'_>, program: &str) -> std::process::Command {
    let mut command = step.command(program);
    command.env("MTOOLS_SKIP_CHECK", "1");
    command
}
