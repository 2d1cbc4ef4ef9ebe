//! A disk in memory with a write cache, whose power can be cut at every operation.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use layout::{
    Arch, Range, SectorSize, Uuid,
    meta::factory_image,
    plan::{LoaderDisk, RootPartition, Wanted},
    spec::PartitionSet,
    table::{Copies, Entry, Table},
    verity::VerityTable,
};
use linux::block::{DeviceError, Outline};

use crate::disk::{
    Outcome, System,
    find::Booted,
    medium::{Medium, Seen},
    provision::StepError,
    reset::Done,
    table,
    volumes::{Mounter, VolumeError},
};

pub const MIB: u64 = 1 << 20;
const UNIT: u64 = 512;
const ZEROS: [u8; 512] = [0; 512];

/// A write that the disk took but did not yet put on its medium.
struct Pending {
    offset: u64,
    bytes: Vec<u8>,
}

/// The disk.
pub struct Memory {
    pub size: u64,
    pub sector: SectorSize,
    medium: RefCell<HashMap<u64, Rc<[u8]>>>,
    pending: RefCell<Vec<Pending>>,
    /// Operations until the power goes; `None` for never.
    budget: Cell<Option<u64>>,
    /// Operations so far.
    pub operations: Cell<u64>,
    kernel: RefCell<BTreeMap<u32, Range>>,
    pub mounted: RefCell<Vec<(String, String)>>,
    /// What was mounted when the node was told of STATE.
    pub told: RefCell<Vec<Vec<(String, String)>>>,
    /// Labels formatted since the last restart.
    pub formatted: RefCell<Vec<String>>,
    /// Requests to read so far.
    pub reads: Cell<u64>,
    /// The node goes down while STATE is being mounted.
    pub going_down: Cell<bool>,
    /// It takes blocks back.
    pub discards: Cell<bool>,
    /// Numbers of partitions that somebody holds.
    pub held: RefCell<Vec<u32>>,
    /// What the medium cannot read any more.
    pub bad: Cell<Option<Range>>,
}

/// The project's partitions with sizes for memory: 4 MiB each.
pub fn small_set() -> PartitionSet {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../partitions");
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|e| e == "toml")).map(|path| {
        let text = std::fs::read_to_string(&path).unwrap().replace("512M", "4M").replace("\"1G\"", "\"4M\"");
        (path.file_name().unwrap().to_string_lossy().into_owned(), text)
    });
    PartitionSet::parse(files).unwrap()
}

pub fn verity() -> VerityTable {
    VerityTable { root_hash: [7; 32], salt: vec![1], data_blocks: 10, hash_start: 10, panic_on_corruption: true }
}

/// How a node booted from the first disk of a machine.
pub fn booted(set: &PartitionSet) -> Booted {
    let disk = Outline { name: "vda".to_owned(), node: PathBuf::from("/dev/vda"), sector: 512, partitions: vec![] };
    let root = RootPartition { guid: verity().part_uuid(), range: set.place_image()[1].range };
    let label = Some("ROOT-A".to_owned());
    Booted { disk, root, verity: verity(), label, loader: LoaderDisk::Unnamed, twins: vec![] }
}

impl Memory {
    /// A disk of zeros.
    fn empty(size: u64, sector: SectorSize) -> Self {
        Self {
            size,
            sector,
            medium: RefCell::default(),
            pending: RefCell::default(),
            budget: Cell::new(None),
            operations: Cell::new(0),
            kernel: RefCell::default(),
            mounted: RefCell::default(),
            told: RefCell::default(),
            formatted: RefCell::default(),
            reads: Cell::default(),
            bad: Cell::default(),
            discards: Cell::new(true),
            held: RefCell::default(),
            going_down: Cell::default(),
        }
    }

    /// A disk of which an earlier life used every mebibyte, flashed with the image of `set`.
    pub fn flashed(set: &PartitionSet, size: u64, sector: SectorSize) -> Self {
        let disk = Self::empty(size, sector);
        for at in (0..size / MIB * MIB).step_by(1 << 20) {
            disk.put(at, &super_block("OLD"));
        }
        let mut table = Table::new(sector, set.image_size(), Uuid::from_u128(1)).unwrap();
        for place in set.place_image() {
            let partition = place.partition;
            let number = u128::from(partition.number);
            let guid = if number == 2 { verity().part_uuid() } else { Uuid::from_u128(number + 1) };
            let type_guid = partition.kind.type_guid(Arch::running().unwrap());
            let entry = Entry { type_guid, guid, range: place.range, name: partition.label.clone(), flags: 0 };
            table.add(partition.number, entry).unwrap();
            disk.put(place.range.start, partition.label.as_bytes());
        }
        for write in table.writes(Copies::Both).unwrap() {
            disk.put(write.offset, &write.bytes);
        }
        disk.put(set.place_image()[2].range.start, &factory_image().unwrap());
        disk.restart(0);
        disk
    }

    /// The same disk once more, with power.
    pub fn copy(&self) -> Self {
        let disk = Self::empty(self.size, self.sector);
        disk.medium.borrow_mut().clone_from(&self.medium.borrow());
        disk.discards.set(self.discards.get());
        disk.restart(0);
        disk
    }

    /// Puts bytes on the medium, behind the system's back.
    pub fn put(&self, offset: u64, bytes: &[u8]) {
        let mut medium = self.medium.borrow_mut();
        for (unit, chunk) in (offset / UNIT..).zip(bytes.chunks(512)) {
            if *chunk == ZEROS {
                medium.remove(&unit);
                continue;
            }
            if chunk.len() == 512 {
                medium.insert(unit, chunk.into());
                continue;
            }
            let mut there = medium.get(&unit).map_or_else(|| vec![0; 512], |there| there.to_vec());
            there[..chunk.len()].copy_from_slice(chunk);
            medium.insert(unit, there.into());
        }
    }

    pub fn flip(&self, offset: u64) {
        let mut unit = self.get(offset / UNIT * UNIT, 512);
        unit[usize::try_from(offset % UNIT).unwrap()] ^= 0x10;
        self.put(offset / UNIT * UNIT, &unit);
    }

    /// What is on the medium.
    pub fn get(&self, offset: u64, length: usize) -> Vec<u8> {
        let medium = self.medium.borrow();
        let mut bytes = vec![0; length];
        for (unit, chunk) in (offset / UNIT..).zip(bytes.chunks_mut(512)) {
            if let Some(there) = medium.get(&unit) {
                chunk.copy_from_slice(&there[..chunk.len()]);
            }
        }
        bytes
    }

    /// The power goes after so many more operations.
    pub fn cut_after(&self, operations: u64) {
        self.budget.set(Some(operations));
    }

    /// Power comes back: of the writes in the cache, `seed` picks the sectors that made it; the kernel reads the table.
    pub fn restart(&self, mut seed: u64) {
        for write in self.pending.borrow_mut().drain(..) {
            for (unit, chunk) in (write.offset / UNIT..).zip(write.bytes.chunks(512)) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if seed >> 63 == 1 {
                    self.put(unit * UNIT, chunk);
                }
            }
        }
        self.budget.set(None);
        self.mounted.borrow_mut().clear();
        self.told.borrow_mut().clear();
        self.formatted.borrow_mut().clear();
        let tables = table::read(self);
        let entries = tables.table().map(|table| table.entries().iter().map(|(n, e)| (*n, e.range)).collect());
        *self.kernel.borrow_mut() = entries.unwrap_or_default();
    }

    fn operation(&self) -> io::Result<()> {
        self.operations.set(self.operations.get() + 1);
        match self.budget.get() {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                self.budget.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Resets the disk of a node that runs from it and has unmounted everything else.
    pub fn reset(&self, set: &PartitionSet, booted: &Booted, wanted: &Wanted) -> (Result<Done, StepError>, Vec<String>) {
        let warnings = RefCell::new(Vec::new());
        let warn = |text| warnings.borrow_mut().push(text);
        let system = System { set, arch: Arch::running().unwrap(), booted, warn: &warn, told: &|_| false };
        let result = system.reset(self, &table::read(self), wanted);
        (result, warnings.into_inner())
    }

    /// Brings the node up on this disk.
    pub fn boot(&self, set: &PartitionSet, booted: &Booted) -> (Result<Outcome, StepError>, Vec<String>) {
        let warnings = RefCell::new(Vec::new());
        let told = |_: &Outcome| {
            self.told.borrow_mut().push(self.mounted.borrow().clone());
            !self.going_down.get()
        };
        let warn = |text| warnings.borrow_mut().push(text);
        let system = System { set, arch: Arch::running().unwrap(), booted, warn: &warn, told: &told };
        let result = system.bring_up(self, &table::read(self), self);
        (result, warnings.into_inner())
    }
}

/// What our make-believe file system starts with.
pub fn super_block(label: &str) -> Vec<u8> {
    let mut bytes = format!("XFSB {label} ").into_bytes();
    bytes.resize(512, b'.');
    bytes
}

impl Medium for Memory {
    fn size(&self) -> u64 {
        self.size
    }

    fn sector(&self) -> SectorSize {
        self.sector
    }

    fn read(&self, range: Range) -> Result<Vec<u8>, DeviceError> {
        assert!(range.start.is_multiple_of(self.sector.bytes()) && range.length.is_multiple_of(self.sector.bytes()));
        assert!(range.end() <= self.size, "{range} of {}", self.size);
        self.reads.set(self.reads.get() + 1);
        let mut bytes = self.get(range.start, usize::try_from(range.length).unwrap());
        if self.bad.get().is_some_and(|bad| bad.overlaps(range)) {
            let source = io::Error::other("a bad sector");
            return Err(DeviceError::Read { path: "memory".into(), offset: range.start, length: bytes.len(), source });
        }
        for write in self.pending.borrow().iter() {
            let end = write.offset + u64::try_from(write.bytes.len()).unwrap();
            let (from, to) = (write.offset.max(range.start), end.min(range.end()));
            if from < to {
                let at = |start: u64| usize::try_from(from - start).unwrap()..usize::try_from(to - start).unwrap();
                bytes[at(range.start)].copy_from_slice(&write.bytes[at(write.offset)]);
            }
        }
        Ok(bytes)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let pending = Pending { offset, bytes: bytes.to_vec() };
        self.operation().map_err(|source| {
            // The write under way when the power goes may reach the medium in part.
            self.pending.borrow_mut().push(Pending { offset, bytes: bytes.to_vec() });
            DeviceError::Write { path: "memory".into(), offset, length: bytes.len(), source }
        })?;
        self.pending.borrow_mut().push(pending);
        Ok(())
    }

    fn zero(&self, range: Range) -> Result<(), DeviceError> {
        self.write(range.start, &vec![0; usize::try_from(range.length).unwrap()])
    }

    fn discard(&self, range: Range) -> Result<bool, DeviceError> {
        if self.discards.get() {
            self.zero(range)?;
        }
        Ok(self.discards.get())
    }

    fn in_use(&self, number: u32) -> bool {
        self.held.borrow().contains(&number)
    }

    fn flush(&self) -> Result<(), DeviceError> {
        self.operation().map_err(|source| DeviceError::Flush { path: "memory".into(), source })?;
        for write in self.pending.borrow_mut().drain(..) {
            self.put(write.offset, &write.bytes);
        }
        Ok(())
    }

    fn show(&self, number: u32, range: Range) -> Result<PathBuf, StepError> {
        let there = *self.kernel.borrow_mut().entry(number).or_insert(range);
        if there != range {
            return Err(StepError::Shown { number, wanted: range, found: Some(there) });
        }
        Ok(node_at(range))
    }

    fn seen(&self) -> Vec<Seen> {
        self.kernel.borrow().iter().map(|(&number, &range)| Seen { number, range, node: node_at(range) }).collect()
    }
}

fn node_at(range: Range) -> PathBuf {
    PathBuf::from(format!("/memory/{}", range.start))
}

fn start_of(node: &Path) -> u64 {
    node.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

impl Mounter for Memory {
    fn format_xfs(&self, node: &Path, range: Range, label: &str) -> Result<(), VolumeError> {
        let fault = |_| VolumeError::Mkfs { node: node.into(), exit: "killed".to_owned(), output: String::new() };
        self.write(start_of(node), &super_block(label)).map_err(fault)?;
        self.write(range.end() - self.sector.bytes(), &vec![0; usize::try_from(self.sector.bytes()).unwrap()]).map_err(fault)?;
        self.flush().map_err(fault)?;
        self.formatted.borrow_mut().push(label.to_owned());
        Ok(())
    }

    fn mount_xfs(&self, node: &Path, target: &Path, label: &str) -> Result<(), VolumeError> {
        let range = Range { start: start_of(node), length: self.sector.bytes() };
        let found = self.read(range).unwrap();
        if !found.starts_with(&super_block(label)[..32]) {
            return Err(VolumeError::Unseen);
        }
        let entry = (label.to_owned(), target.display().to_string());
        let mut mounted = self.mounted.borrow_mut();
        if !mounted.contains(&entry) {
            mounted.push(entry);
        }
        Ok(())
    }

    fn sync(&self, target: &Path) -> Result<(), VolumeError> {
        self.flush().map_err(|_| VolumeError::Sync { target: target.into(), source: io::Error::other("power") })
    }
}
