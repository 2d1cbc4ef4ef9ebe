//! The flashing itself.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use linux::block::{Access, Device, DeviceError, partitions};
use sha2::{Digest, Sha256};

use crate::{
    map::{BlockMap, MapError, Used},
    target::{self, Refusal},
};

/// What is cleared at both ends of the disk: tables and signatures of an earlier life.
const END: u64 = 1 << 20;

/// What to write where.
#[derive(Debug, Clone)]
pub struct FlashRequest {
    /// Folder with `disk.img`, `disk-4k.img` and their block maps.
    pub images: PathBuf,
    /// The whole disk.
    pub device: PathBuf,
    /// Write to a disk that is not removable, too.
    pub force: bool,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Clearing both ends.
    Clear,
    /// Writing the image.
    Write,
    /// Reading it back.
    Verify,
}

/// Told of every step; draws the bars.
pub trait Progress {
    /// A phase of so many bytes begins.
    fn begin(&self, phase: Phase, bytes: u64);
    /// So many bytes of it are done.
    fn advance(&self, bytes: u64);
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The image that was written.
    pub image: PathBuf,
    /// Model of the disk, empty when not known.
    pub model: String,
    /// Size of the disk in bytes.
    pub disk_size: u64,
    /// Sector size of the disk in bytes.
    pub sector: u64,
    /// Bytes written, and read back.
    pub written: u64,
    /// Whether the kernel of this machine took the new table; if not, plug the medium in again to look at it here.
    pub table_seen: bool,
}

/// Flashing did not happen, or not wholly.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum FlashError {
    #[error("nothing was written")]
    Refused(#[from] Refusal),
    #[error("open {device}; if it is busy, close what uses it")]
    Open { device: PathBuf, source: DeviceError },
    #[error("there is no image for sectors of {0} bytes; use a disk with 512 or 4096")]
    Sector(u64),
    #[error("read {path}; build the image first: cargo xtask build <board>")]
    Image { path: PathBuf, source: io::Error },
    #[error("block map {path}; build the image again")]
    Map { path: PathBuf, source: MapError },
    #[error("{path} is not the image that its block map describes ({problem}); build it again")]
    Mismatch { path: PathBuf, problem: String },
    #[error("write to {device}; the disk does not boot now, flash it again")]
    Write { device: PathBuf, source: DeviceError },
    #[error("read back from {device}; the disk must not be used, flash it again or use another one")]
    ReadBack { device: PathBuf, source: DeviceError },
    #[error("{device} returns other bytes than were written, first at byte {offset}: the medium is broken or smaller than it says")]
    Differs { device: PathBuf, offset: u64 },
}

/// Writes the image for the device's sector size, and verifies it.
///
/// # Errors
/// [`FlashError`]; each says whether anything was written and what to do.
pub fn flash(request: &FlashRequest, progress: &dyn Progress) -> Result<Report, FlashError> {
    // First without a size, so that a wrong disk is named before the image is looked at.
    let disk = target::check(&request.device, 0, request.force)?;
    let source = Source::open(&request.images, u64::from(disk.sector))?;
    let least = source.map.least_disk.max(source.map.image_size);
    target::check(&request.device, least, request.force)?;
    let open = |source| FlashError::Open { device: request.device.clone(), source };
    let device = Device::open(&request.device, Access::Own).map_err(open)?;
    let job = Job { device: &device, source: &source, progress };
    job.clear()?;
    job.write()?;
    device.drop_cache().map_err(|source| FlashError::ReadBack { device: request.device.clone(), source })?;
    job.verify()?;
    Ok(Report {
        image: source.path.clone(),
        model: disk.model,
        disk_size: device.size(),
        sector: device.sector(),
        written: source.map.used(),
        table_seen: partitions::reread(&device).is_ok() && target::has_partitions(&disk.name),
    })
}

/// An image with its map.
struct Source {
    path: PathBuf,
    file: File,
    map: BlockMap,
}

impl Source {
    fn open(images: &Path, sector: u64) -> Result<Self, FlashError> {
        let (image, map) = match sector {
            512 => ("disk.img", "disk.bmap.json"),
            4096 => ("disk-4k.img", "disk-4k.bmap.json"),
            other => return Err(FlashError::Sector(other)),
        };
        let fault = |path: &Path| {
            let path = path.to_owned();
            move |source| FlashError::Image { path, source }
        };
        let map_path = images.join(map);
        let text = fs::read_to_string(&map_path).map_err(fault(&map_path))?;
        let map = BlockMap::parse(&text).map_err(|source| FlashError::Map { path: map_path, source })?;
        let path = images.join(image);
        let file = File::open(&path).map_err(fault(&path))?;
        let size = file.metadata().map_err(fault(&path))?.len();
        let source = Self { path, file, map };
        if size != source.map.image_size {
            return Err(source.mismatch(format!("{size} bytes, not {}", source.map.image_size)));
        }
        if source.map.sector_size != sector {
            return Err(source.mismatch(format!("it is for sectors of {} bytes", source.map.sector_size)));
        }
        let whole = |range: &&Used| range.offset.is_multiple_of(sector) && range.length.is_multiple_of(sector);
        if source.map.ranges.iter().any(|range| !whole(&range)) {
            return Err(source.mismatch("its ranges are not whole sectors".to_owned()));
        }
        Ok(source)
    }

    fn mismatch(&self, problem: String) -> FlashError {
        FlashError::Mismatch { path: self.path.clone(), problem }
    }

    /// The bytes of a range, which are those that the map promises.
    fn read(&self, range: &Used) -> Result<Vec<u8>, FlashError> {
        let mut bytes = vec![0; length(range)];
        let fault = |source| FlashError::Image { path: self.path.clone(), source };
        self.file.read_exact_at(&mut bytes, range.offset).map_err(fault)?;
        if digest(&bytes) != range.sha256 {
            return Err(self.mismatch(format!("the hash at byte {} is another one", range.offset)));
        }
        Ok(bytes)
    }
}

struct Job<'a> {
    device: &'a Device,
    source: &'a Source,
    progress: &'a dyn Progress,
}

impl Job<'_> {
    fn fault(&self) -> impl Fn(DeviceError) -> FlashError {
        let device = self.device.path().to_owned();
        move |source| FlashError::Write { device: device.clone(), source }
    }

    /// An old backup table at the end must not outlive the disk's earlier life.
    fn clear(&self) -> Result<(), FlashError> {
        let size = self.device.size() / self.device.sector() * self.device.sector();
        let count = END.min(size);
        self.progress.begin(Phase::Clear, 2 * count);
        let zeros = vec![0; usize::try_from(count).unwrap_or_default()];
        for offset in [0, size - count] {
            self.device.write(offset, &zeros).map_err(self.fault())?;
            self.progress.advance(count);
        }
        self.device.flush().map_err(self.fault())
    }

    fn write(&self) -> Result<(), FlashError> {
        self.progress.begin(Phase::Write, self.source.map.used());
        // What begins in the first mebibyte holds the table; it comes when all else is on the medium.
        let (first, rest): (Vec<&Used>, Vec<&Used>) = self.source.map.ranges.iter().partition(|range| range.offset < END);
        for ranges in [rest, first] {
            for range in ranges {
                let bytes = self.source.read(range)?;
                self.device.write(range.offset, &bytes).map_err(self.fault())?;
                self.progress.advance(range.length);
            }
            self.device.flush().map_err(self.fault())?;
        }
        Ok(())
    }

    /// From the medium, past every cache of this machine.
    fn verify(&self) -> Result<(), FlashError> {
        let device = || self.device.path().to_owned();
        self.progress.begin(Phase::Verify, self.source.map.used());
        for range in &self.source.map.ranges {
            let found = self.device.read(range.offset, length(range));
            let found = found.map_err(|source| FlashError::ReadBack { device: device(), source })?;
            if digest(&found) != range.sha256 {
                return Err(FlashError::Differs { device: device(), offset: range.offset });
            }
            self.progress.advance(range.length);
        }
        Ok(())
    }
}

/// Ranges of a parsed map are bounded far below what a `usize` holds.
fn length(range: &Used) -> usize {
    usize::try_from(range.length).unwrap_or_default()
}

fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
