//! Disk images from the partition files: GPT, the partitions that the image brings along, and a block map; one image for each sector
//! size.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use layout::spec::{Content, PartitionSet};
use layout::table::{Copies, Entry, Table};
use layout::{SectorSize, Uuid};

use crate::bmap::BlockMap;
use crate::context::Context;
use crate::partitions::refused;
use crate::request::Error;
use crate::rootfs::Rootfs;
use crate::step::{Step, write_file};
use crate::uki::Uki;
use crate::{esp, fat};

const STEP: &str = "disk";

/// The images, with the names of image and block map.
pub const IMAGES: [(SectorSize, &str, &str); 2] =
    [(SectorSize::B512, "disk.img", "disk.bmap.json"), (SectorSize::B4096, "disk-4k.img", "disk-4k.bmap.json")];

/// Writes both images with their block maps into the output folder.
///
/// # Errors
/// [`Error::Input`] when the partition files do not fit what goes into them, [`Error::File`].
pub fn build(context: &Context<'_>, set: &PartitionSet, rootfs: &Rootfs, uki: &Uki) -> Result<(), Error> {
    let step = context.step(STEP)?;
    for (sector, image, map) in IMAGES {
        step.say(&format!("{image} for sectors of {sector} bytes"));
        let draft = context.out.join(format!(".{image}.new"));
        let blocks = write_image(context, &step, set, rootfs, uki, sector, image, &draft)?;
        let place = context.out.join(image);
        fs::rename(&draft, &place).map_err(step.file_error("replace", &place))?;
        write_file(STEP, &context.out.join(map), blocks.to_json())?;
        step.say(&format!("{image}: {} MiB, of which {} MiB are used", blocks.image_size >> 20, blocks.used() >> 20));
    }
    Ok(())
}

/// Where a partition's bytes come from.
enum Source {
    File(File, u64),
    Bytes(Vec<u8>),
}

#[expect(clippy::too_many_arguments, reason = "one caller, and each is a different thing")]
fn write_image(
    context: &Context<'_>,
    step: &Step<'_>,
    set: &PartitionSet,
    rootfs: &Rootfs,
    uki: &Uki,
    sector: SectorSize,
    name: &str,
    path: &Path,
) -> Result<BlockMap, Error> {
    let root_uuid = rootfs.verity.part_uuid();
    let guid = |what: &str| Uuid::new_v5(&crate::NAMESPACE, format!("{root_uuid} {what}").as_bytes());
    let size = set.image_size();
    let image = File::options().read(true).write(true).create(true).truncate(true).open(path).map_err(step.file_error("create", path))?;
    image.set_len(size).map_err(step.file_error("extend", path))?;
    let mut table = Table::new(sector, size, guid("disk")).map_err(|error| refused(context, step, &error))?;
    let mut used = Vec::new();
    for placed in set.place_image() {
        let partition = placed.partition;
        let own = if partition.content == Content::VerityRoot { root_uuid } else { guid(&partition.label) };
        let arch = match context.board.arch {
            crate::board::Arch::X86_64 => layout::Arch::X86_64,
            crate::board::Arch::Arm64 => layout::Arch::Arm64,
        };
        let type_guid = partition.kind.type_guid(arch);
        let entry = Entry { type_guid, guid: own, range: placed.range, name: partition.label.clone(), flags: 0 };
        table.add(partition.number, entry).map_err(|error| refused(context, step, &error))?;
        let source = source(context, step, partition.content, rootfs, uki, sector, placed.range.length)?;
        let length = copy(&image, placed.range.start, source).map_err(step.file_error("write", path))?;
        if length > placed.range.length {
            let text = format!("{}: its content has {length} bytes, the partition {}", partition.label, placed.range.length);
            return Err(step.input_error(&context.request.project.join("partitions"), text));
        }
        used.push((placed.range.start, length));
    }
    let mut writes = table.writes(Copies::Both).map_err(|error| refused(context, step, &error))?;
    writes.push(table.protective_mbr());
    for write in writes {
        image.write_all_at(&write.bytes, write.offset).map_err(step.file_error("write", path))?;
        used.push((write.offset, write.bytes.len() as u64));
    }
    BlockMap::of(&image, name, set.least_disk(), sector.bytes(), used).map_err(step.file_error("read", path))
}

fn source(
    context: &Context<'_>,
    step: &Step<'_>,
    content: Content,
    rootfs: &Rootfs,
    uki: &Uki,
    sector: SectorSize,
    size: u64,
) -> Result<Source, Error> {
    let open = |path: &Path| File::open(path).map_err(step.file_error("open", path));
    Ok(match content {
        Content::Esp => {
            let path = esp::build(context, uki, sector, size)?;
            let file = open(&path)?;
            let used = fat::used_bytes(&file).map_err(step.file_error("understand", &path))?;
            Source::File(file, used)
        }
        Content::VerityRoot => {
            let file = open(&rootfs.image)?;
            let length = file.metadata().map_err(step.file_error("measure", &rootfs.image))?.len();
            Source::File(file, length)
        }
        Content::Meta => {
            let bytes = layout::meta::factory_image();
            Source::Bytes(bytes.map_err(|error| refused(context, step, &error))?)
        }
        // The node makes these; an image that brings one along brings it empty.
        Content::Xfs | Content::Empty => Source::Bytes(Vec::new()),
    })
}

/// Copies to `offset`; zeros become holes. Returns how many bytes of the partition mean something.
fn copy(image: &File, offset: u64, source: Source) -> std::io::Result<u64> {
    const STEP_BYTES: usize = 64 << 10;
    match source {
        Source::Bytes(bytes) => {
            image.write_all_at(&bytes, offset)?;
            Ok(bytes.len() as u64)
        }
        Source::File(file, length) => {
            let mut buffer = vec![0; STEP_BYTES];
            let mut done = 0;
            while done < length {
                // At most STEP_BYTES.
                let part = &mut buffer[..(length - done).min(STEP_BYTES as u64) as usize];
                file.read_exact_at(part, done)?;
                if part.iter().any(|byte| *byte != 0) {
                    image.write_all_at(part, offset + done)?;
                }
                done += part.len() as u64;
            }
            Ok(length)
        }
    }
}
