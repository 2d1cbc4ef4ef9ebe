//! A block device, or a file that stands for one, read and written past the page cache.
//!
//! Whole disk and partition have a page cache each, which do not know of one another. Direct I/O makes the medium the
//! one truth, and makes reading back a test of it.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::{FileExt, FileTypeExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

/// Alignment of buffers: enough for direct I/O on every sector size.
const ALIGN: usize = 4096;
/// Most bytes in one system call; a bound for the memory of a copy.
const CHUNK: usize = 1 << 20;
/// Most bytes that the kernel is asked to clear in one call, which nothing can interrupt.
const CLEARED: u64 = 64 << 20;

nix::ioctl_read!(blk_get_size64, 0x12, 114, u64);
nix::ioctl_read_bad!(blk_sector_size, 0x1268, libc::c_int);
nix::ioctl_none_bad!(blk_flush_buffers, 0x1261);
nix::ioctl_write_ptr_bad!(blk_discard, 0x1277, [u64; 2]);
nix::ioctl_write_ptr_bad!(blk_zero_out, 0x127f, [u64; 2]);

/// An operation on a device failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum DeviceError {
    #[error("open {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("{path} is being changed by another program")]
    Locked { path: PathBuf, source: io::Error },
    #[error("ask for the {what} of {path}")]
    Ask { path: PathBuf, what: &'static str, source: io::Error },
    #[error("read {length} bytes at byte {offset} of {path}")]
    Read { path: PathBuf, offset: u64, length: usize, source: io::Error },
    #[error("write {length} bytes at byte {offset} of {path}")]
    Write { path: PathBuf, offset: u64, length: usize, source: io::Error },
    #[error("clear {length} bytes at byte {offset} of {path}")]
    Clear { path: PathBuf, offset: u64, length: u64, source: io::Error },
    #[error("flush {path}")]
    Flush { path: PathBuf, source: io::Error },
    #[error("{length} bytes at byte {offset} of {path} are not whole sectors")]
    Unaligned { path: PathBuf, offset: u64, length: usize },
}

/// What a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading; no lock.
    Read,
    /// Reading and writing, with the advisory lock that other careful programs respect.
    Change,
    /// The same, and refused by the kernel while anybody else uses the device or a partition of it.
    Own,
}

#[derive(Debug)]
enum Handle {
    Plain(File),
    Locked(Flock<File>),
}

/// An open device.
#[derive(Debug)]
pub struct Device {
    path: PathBuf,
    handle: Handle,
    size: u64,
    sector: u64,
    direct: bool,
    /// A block device, not a plain file.
    block: bool,
}

impl Device {
    /// Opens a block device, or a regular file whose sectors are taken to have 512 bytes.
    ///
    /// # Errors
    /// [`DeviceError::Open`], [`DeviceError::Locked`] when another program holds the lock, [`DeviceError::Ask`].
    pub fn open(path: &Path, access: Access) -> Result<Self, DeviceError> {
        let open_error = |source| DeviceError::Open { path: path.to_owned(), source };
        let kind = std::fs::metadata(path).map_err(open_error)?.file_type();
        let exclusive = if access == Access::Own { libc::O_EXCL } else { 0 };
        let open = |flags| OpenOptions::new().read(true).write(access != Access::Read).custom_flags(flags | exclusive).open(path);
        // Some file systems have no direct I/O for plain files; devices always have.
        let (file, direct) = match open(libc::O_DIRECT) {
            Err(err) if err.raw_os_error() == Some(libc::EINVAL) && kind.is_file() => (open(0), false),
            result => (result, true),
        };
        let file = file.map_err(open_error)?;
        let handle = match access {
            Access::Read => Handle::Plain(file),
            Access::Change | Access::Own => Handle::Locked(
                Flock::lock(file, FlockArg::LockExclusiveNonblock)
                    .map_err(|(_, errno)| DeviceError::Locked { path: path.to_owned(), source: errno.into() })?,
            ),
        };
        let block = kind.is_block_device();
        let mut device = Self { path: path.to_owned(), handle, size: 0, sector: 512, direct, block };
        (device.size, device.sector) = if block { device.ask()? } else { (device.file_size()?, 512) };
        Ok(device)
    }

    fn file(&self) -> &File {
        match &self.handle {
            Handle::Plain(file) => file,
            Handle::Locked(file) => file,
        }
    }

    fn ask(&self) -> Result<(u64, u64), DeviceError> {
        let error = |what| move |errno: nix::Error| DeviceError::Ask { path: self.path.clone(), what, source: errno.into() };
        let fd = self.file().as_raw_fd();
        let mut size = 0u64;
        // SAFETY: BLKGETSIZE64 writes one u64 through the pointer; `size` is one and outlives the call.
        unsafe { blk_get_size64(fd, &raw mut size) }.map_err(error("size"))?;
        let mut sector: libc::c_int = 0;
        // SAFETY: BLKSSZGET writes one int through the pointer; `sector` is one and outlives the call.
        unsafe { blk_sector_size(fd, &raw mut sector) }.map_err(error("sector size"))?;
        Ok((size, u64::try_from(sector).unwrap_or(512)))
    }

    fn file_size(&self) -> Result<u64, DeviceError> {
        let ask = |source| DeviceError::Ask { path: self.path.clone(), what: "size", source };
        Ok(self.file().metadata().map_err(ask)?.len())
    }

    /// Where it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Logical sector size in bytes.
    #[must_use]
    pub const fn sector(&self) -> u64 {
        self.sector
    }

    /// Whether reads come from the medium and not from a cache of this machine.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        self.direct
    }

    /// Reads whole sectors.
    ///
    /// # Errors
    /// [`DeviceError::Read`]; [`DeviceError::Unaligned`] when not whole sectors.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, DeviceError> {
        self.check(offset, length)?;
        let mut out = Vec::with_capacity(length);
        let mut buffer = Aligned::new(length.min(CHUNK));
        let mut at = offset;
        while out.len() < length {
            let count = (length - out.len()).min(CHUNK);
            let part = buffer.slice(count);
            self.file().read_exact_at(part, at).map_err(|source| DeviceError::Read {
                path: self.path.clone(),
                offset: at,
                length: count,
                source,
            })?;
            out.extend_from_slice(part);
            at = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(out)
    }

    /// Writes whole sectors. They are on the medium after [`Self::flush`].
    ///
    /// # Errors
    /// [`DeviceError::Write`]; [`DeviceError::Unaligned`] when not whole sectors.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.check(offset, bytes.len())?;
        let mut buffer = Aligned::new(bytes.len().min(CHUNK));
        let mut at = offset;
        for chunk in bytes.chunks(CHUNK) {
            let part = buffer.slice(chunk.len());
            part.copy_from_slice(chunk);
            self.file().write_all_at(part, at).map_err(|source| DeviceError::Write {
                path: self.path.clone(),
                offset: at,
                length: chunk.len(),
                source,
            })?;
            at = at.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Makes whole sectors read as zeros: by the device itself where it can do that, which may give its blocks back, else by writing
    /// them. On the medium after [`Self::flush`].
    ///
    /// # Errors
    /// [`DeviceError::Clear`]; [`DeviceError::Unaligned`] when not whole sectors.
    pub fn zero(&self, offset: u64, length: u64) -> Result<(), DeviceError> {
        self.check_range(offset, length)?;
        let end = offset.saturating_add(length);
        let mut at = offset;
        while at < end {
            let count = CLEARED.min(end - at);
            if self.block {
                // SAFETY: BLKZEROOUT reads two u64 (start, length) through the pointer; the array outlives the call.
                unsafe { blk_zero_out(self.file().as_raw_fd(), &[at, count]) }
                    .map_err(|errno| self.clear_error(at, count, errno.into()))?;
            } else {
                self.write_zeros(at, count)?;
            }
            at = at.saturating_add(count);
        }
        Ok(())
    }

    /// Gives the blocks of whole sectors back to the device; says whether it takes them. What is read afterwards is anything.
    ///
    /// # Errors
    /// [`DeviceError::Clear`]; [`DeviceError::Unaligned`] when not whole sectors.
    pub fn discard(&self, offset: u64, length: u64) -> Result<bool, DeviceError> {
        self.check_range(offset, length)?;
        if !self.block {
            return Ok(false);
        }
        // SAFETY: BLKDISCARD reads two u64 (start, length) through the pointer; the array outlives the call.
        match unsafe { blk_discard(self.file().as_raw_fd(), &[offset, length]) } {
            Ok(_) => Ok(true),
            Err(nix::Error::EOPNOTSUPP) => Ok(false),
            Err(errno) => Err(self.clear_error(offset, length, errno.into())),
        }
    }

    /// For a plain file.
    fn write_zeros(&self, offset: u64, length: u64) -> Result<(), DeviceError> {
        let zeros = vec![0; CHUNK];
        let end = offset.saturating_add(length);
        let mut at = offset;
        while at < end {
            let count = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            self.write(at, zeros.get(..count).unwrap_or_default())?;
            at = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn clear_error(&self, offset: u64, length: u64, source: io::Error) -> DeviceError {
        DeviceError::Clear { path: self.path.clone(), offset, length, source }
    }

    fn check_range(&self, offset: u64, length: u64) -> Result<(), DeviceError> {
        if offset.is_multiple_of(self.sector) && length.is_multiple_of(self.sector) {
            return Ok(());
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Err(DeviceError::Unaligned { path: self.path.clone(), offset, length })
    }

    /// Waits until everything written is on the medium.
    ///
    /// # Errors
    /// [`DeviceError::Flush`].
    pub fn flush(&self) -> Result<(), DeviceError> {
        self.file().sync_all().map_err(|source| DeviceError::Flush { path: self.path.clone(), source })
    }

    /// Drops what the page cache holds of a device (not of a plain file), after writing it out.
    ///
    /// # Errors
    /// [`DeviceError::Ask`].
    pub fn drop_cache(&self) -> Result<(), DeviceError> {
        // SAFETY: BLKFLSBUF takes no argument; a wrong descriptor can only come back as an error.
        unsafe { blk_flush_buffers(self.file().as_raw_fd()) }.map(drop).map_err(|errno| DeviceError::Ask {
            path: self.path.clone(),
            what: "empty cache",
            source: errno.into(),
        })
    }

    fn check(&self, offset: u64, length: usize) -> Result<(), DeviceError> {
        self.check_range(offset, u64::try_from(length).unwrap_or(u64::MAX))
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file().as_fd()
    }
}

/// A buffer whose used part starts at a multiple of [`ALIGN`].
struct Aligned {
    storage: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new(length: usize) -> Self {
        let storage = vec![0; length + ALIGN];
        let start = storage.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { storage, start }
    }

    /// The first `length` bytes; `length` is at most what was asked for.
    fn slice(&mut self, length: usize) -> &mut [u8] {
        self.storage.get_mut(self.start..).and_then(|rest| rest.get_mut(..length)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_sectors_are_whole() {
        let dir = std::env::temp_dir().join(format!("keelson-device-{}", std::process::id()));
        std::fs::write(&dir, vec![7u8; 3 * CHUNK]).unwrap();
        let device = Device::open(&dir, Access::Change).unwrap();
        assert_eq!(device.size(), 3 * CHUNK as u64);
        let bytes: Vec<u8> = (0..CHUNK + 4096).map(|i| u8::try_from(i % 251).unwrap()).collect();
        device.write(512, &bytes).unwrap();
        device.flush().unwrap();
        assert!(device.read(512, bytes.len()).unwrap() == bytes);
        device.zero(1024, CHUNK as u64 + 512).unwrap();
        let zeroed = device.read(512, bytes.len()).unwrap();
        assert!(
            zeroed[..512] == bytes[..512]
                && zeroed[512..CHUNK + 1024].iter().all(|byte| *byte == 0)
                && zeroed[CHUNK + 1024..] == bytes[CHUNK + 1024..]
        );
        assert!(!device.discard(0, 512).unwrap(), "a plain file has no blocks to give back");
        assert!(matches!(device.zero(0, 100), Err(DeviceError::Unaligned { .. })));
        assert!(matches!(device.read(1, 512), Err(DeviceError::Unaligned { .. })));
        assert!(matches!(device.read(3 * CHUNK as u64, 512), Err(DeviceError::Read { .. })));
        assert!(matches!(Device::open(&dir, Access::Change), Err(DeviceError::Locked { .. })));
        std::fs::remove_file(&dir).unwrap();
    }
}
