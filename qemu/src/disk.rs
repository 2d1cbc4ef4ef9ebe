//! Disks for machines: sparse copies of images, and wounds for tests.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::fd::AsFd,
    path::Path,
};

use anyhow::{Context, Result};
use nix::unistd::{Whence, lseek};

/// Copies `image` to `disk`, only its data, and makes the disk `size` bytes long (zeros after the image).
///
/// # Errors
/// When either file cannot be read or written, or `size` is smaller than the image.
pub fn copy_image(image: &Path, disk: &Path, size: u64) -> Result<()> {
    let mut source = File::open(image).with_context(|| format!("open image {}: build it with `cargo xtask build`", image.display()))?;
    let length = source.metadata()?.len();
    anyhow::ensure!(size >= length, "a disk of {size} bytes is smaller than {} ({length} bytes)", image.display());
    let mut target = File::create(disk).with_context(|| format!("create disk {}", disk.display()))?;
    target.set_len(size)?;
    let mut position = 0;
    while position < length {
        let Ok(start) = lseek(source.as_fd(), i64::try_from(position)?, Whence::SeekData) else { break };
        let end = lseek(source.as_fd(), start, Whence::SeekHole).context("find the end of the data")?;
        let (start, end) = (u64::try_from(start)?, u64::try_from(end)?);
        source.seek(SeekFrom::Start(start))?;
        target.seek(SeekFrom::Start(start))?;
        std::io::copy(&mut (&source).take(end - start), &mut target).context("copy the image's data")?;
        position = end;
    }
    Ok(())
}

/// Flips every bit of the byte at `offset`.
///
/// # Errors
/// When the disk cannot be read or written there.
pub fn flip_byte(disk: &Path, offset: u64) -> Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(disk)?;
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut byte).with_context(|| format!("read byte {offset} of {}", disk.display()))?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(&[!byte[0]])?;
    Ok(())
}

/// Overwrites `bytes` at `offset`.
///
/// # Errors
/// When the disk cannot be written there.
pub fn write_at(disk: &Path, offset: u64, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(disk)?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes).with_context(|| format!("write {} bytes at {offset} of {}", bytes.len(), disk.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_sparse_longer_and_equal() {
        let folder = tempfile::tempdir().unwrap();
        let (image, disk) = (folder.path().join("image"), folder.path().join("disk"));
        let file = File::create(&image).unwrap();
        file.set_len(64 << 20).unwrap();
        write_at(&image, 0, b"head").unwrap();
        write_at(&image, (64 << 20) - 4, b"tail").unwrap();
        copy_image(&image, &disk, 192 << 20).unwrap();
        let metadata = std::fs::metadata(&disk).unwrap();
        assert_eq!(metadata.len(), 192 << 20);
        assert!(std::os::unix::fs::MetadataExt::blocks(&metadata) < 4096, "the copy is not sparse");
        let copy = std::fs::read(&disk).unwrap();
        assert_eq!((&copy[..4], &copy[(64 << 20) - 4..64 << 20], copy[64 << 20]), (&b"head"[..], &b"tail"[..], 0));
        flip_byte(&disk, 1).unwrap();
        assert_eq!(std::fs::read(&disk).unwrap()[1], !b'e');
        assert!(copy_image(&image, &disk, 1 << 20).is_err(), "a disk smaller than the image is refused");
    }
}
