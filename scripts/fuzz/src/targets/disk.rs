//! What is on disks: others may have written it, or half of it.

use std::{io, ops::Range as Bytes};

use layout::{
    Range, SectorSize,
    loader::parse_device_part_uuid,
    meta::{COPY_SIZE, Found},
    spec::PartitionSet,
    table::{Backup, Copies, Entry, Table, Tables},
};
use sha2::{Digest, Sha256};

use super::seeds;
use crate::target::{MIB, Target, parts, text, words};

/// Of the disk that tables lie on.
const DISK: u64 = 4 << 20;

/// Partition tables.
pub const GPT: Target = Target {
    name: "gpt",
    bytes: "sector size and whether checksums are mended (a byte), then both headers with the entries of each",
    from: "disks",
    property: "nothing outside the disk is read; the partitions of a table lie within it, apart from each other; \
               written anew, the table is read as it was",
    memory: 32 * MIB,
    words: || words(&["EFI PART", "\x00\x00\x01\x00\x5c\x00\x00\x00"]),
    seeds: || {
        [(0, SectorSize::B512), (1, SectorSize::B4096)]
            .into_iter()
            .flat_map(|(kind, sector)| [seed(kind, sector), seed(kind | 2, sector)])
            .collect()
    },
    check: |input| {
        let Some((kind, input)) = input.split_first() else { return };
        let sector = if kind & 1 == 0 { SectorSize::B512 } else { SectorSize::B4096 };
        let disk = disk(input, sector, kind & 2 != 0);
        let mut tables = read(&disk, sector);
        let Some(table) = tables.table() else { return };
        let entries: Vec<Range> = table.entries().values().map(|entry| entry.range).collect();
        for (at, range) in entries.iter().enumerate() {
            assert!(table.usable().contains(*range) && range.length > 0, "{range} is outside");
            assert!(entries.iter().skip(at + 1).all(|other| !other.overlaps(*range)), "{range} overlaps another");
        }
        let table = table.clone();
        let mut anew = disk;
        for write in table.writes(Copies::Both).expect("a table that was read can be written") {
            let at = usize::try_from(write.offset).expect("small");
            anew[at..at + write.bytes.len()].copy_from_slice(&write.bytes);
        }
        tables = read(&anew, sector);
        match &tables {
            Tables::Primary { table: found, backup: Backup::Good } => assert_eq!(*found, table),
            other => panic!("written anew it is {other:?}"),
        }
    },
    ..Target::PLAIN
};

/// Where header and entries of a copy are in the input, and how long they are.
const HEADER: usize = 92;
const ENTRIES: usize = 4 * 128;
const COPY: usize = HEADER + ENTRIES;

/// Bytes of a disk on which header and first entries of both copies are those of the input.
fn disk(input: &[u8], sector: SectorSize, mend: bool) -> Vec<u8> {
    let size = usize::try_from(sector.bytes()).expect("small");
    let mut disk = vec![0; usize::try_from(DISK).expect("small")];
    let last = disk.len() - size;
    for (copy, (header_at, entries_at)) in [(0, (size, 2 * size)), (1, (last, last - 128 * 128))] {
        let piece = |range: Bytes<usize>| {
            let (from, to) = (copy * COPY + range.start, copy * COPY + range.end);
            input.get(from.min(input.len())..to.min(input.len())).unwrap_or_default()
        };
        let (header, entries) = (piece(0..HEADER), piece(HEADER..COPY));
        disk[header_at..header_at + header.len()].copy_from_slice(header);
        disk[entries_at..entries_at + entries.len()].copy_from_slice(entries);
        if mend {
            mend_copy(&mut disk, header_at, size);
        }
    }
    disk
}

/// Makes the checksums of a copy right, as far as there is something to check.
fn mend_copy(disk: &mut [u8], at: usize, sector: usize) {
    let number = |disk: &[u8], at: usize| u64::from_le_bytes(disk[at..at + 8].try_into().expect("eight"));
    let start = usize::try_from(number(disk, at + 72)).unwrap_or(usize::MAX).saturating_mul(sector);
    let sizes = number(disk, at + 80);
    let length = usize::try_from((sizes & 0xffff_ffff).saturating_mul(sizes >> 32)).unwrap_or(usize::MAX);
    if let Some(entries) = disk.get(start..start.saturating_add(length)) {
        let sum = crc32fast::hash(entries);
        disk[at + 88..at + 92].copy_from_slice(&sum.to_le_bytes());
    }
    disk[at + 16..at + 20].fill(0);
    let sum = crc32fast::hash(&disk[at..at + HEADER]);
    disk[at + 16..at + 20].copy_from_slice(&sum.to_le_bytes());
}

fn read(disk: &[u8], sector: SectorSize) -> Tables {
    Tables::read(sector, DISK, &mut |range| {
        assert!(range.end() <= DISK && range.start % sector.bytes() == 0, "{range} is asked for");
        let (start, end) = (usize::try_from(range.start).expect("small"), usize::try_from(range.end()).expect("small"));
        disk.get(start..end).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    })
}

/// The input that stands for a good table.
fn seed(kind: u8, sector: SectorSize) -> Vec<u8> {
    let mut table = Table::new(sector, DISK, layout::Uuid::from_u128(1)).expect("a table");
    for number in [1, 3] {
        let range = Range { start: u64::from(number) << 20, length: 1 << 19 };
        let guid = layout::Uuid::from_u128(u128::from(number) + 1);
        table.add(number, Entry { type_guid: layout::spec::META_TYPE, guid, range, name: "META".into(), flags: 0 }).expect("a place");
    }
    let writes = table.writes(Copies::Both).expect("writable");
    let piece = |what: &str, length: usize| writes.iter().find(|write| write.what == what).expect("written").bytes[..length].to_vec();
    let copies =
        ["primary", "backup"].map(|copy| [piece(&format!("{copy} header"), HEADER), piece(&format!("{copy} entries"), ENTRIES)].concat());
    [vec![kind], copies.concat()].concat()
}

/// The META partition.
pub const META: Target = Target {
    name: "meta",
    bytes: "which copies' checksums are mended (a byte), the length of copy A (two), then both copies",
    from: "disks; what an earlier version wrote",
    property: "no more is read than is there; contents that are read are the same after each write that they lead to",
    longest: 8192,
    memory: 16 * MIB,
    words: || words(&["KeelMETA\x01\x00\x00\x00\x00\x00\x00\x00"]),
    seeds: || {
        let image = layout::meta::factory_image().expect("an image");
        let copy = &image[..128];
        let other = [&image[..64 + 11], b"\x01\x0a\x05\x00\x00\x00\x00\x00\x00\x00value"].concat();
        vec![[&[0, 128, 0], copy, copy].concat(), [&[3, 128, 0], copy, &other].concat()]
    },
    check: |input| {
        let Some((&[mend, low, high], rest)) = input.split_first_chunk() else { return };
        let (a, b) = rest.split_at(usize::from(u16::from_le_bytes([low, high])).min(rest.len()));
        let copies = [(a, mend & 1), (b, mend & 2)].map(|(copy, mend)| if mend != 0 { mended(copy) } else { copy.to_vec() });
        for copy in &copies {
            let stored = layout::meta::stored_length(copy);
            assert!(stored.is_multiple_of(4096) && stored <= COPY_SIZE as u64 && stored > 0, "{stored}");
        }
        let Found::Valid(store) = Found::of(&copies[0], &copies[1]) else { return };
        let mut meta = store.meta.clone();
        if let Some(write) = store.repair().expect("what was read can be written") {
            assert_eq!(again(&write.bytes).as_ref(), Some(&store.meta), "the repair is another store");
        }
        if meta.set(7, b"set".to_vec()).is_err() {
            return;
        }
        if let Ok((write, next)) = store.replace(meta.clone()) {
            assert_eq!(again(&write.bytes), Some(meta));
            assert!(next.generation > store.generation || store.generation == u64::MAX, "not newer");
            assert_eq!(next.newest, store.newest.other(), "it goes over the copy that is good");
        }
    },
};

/// With the length of what is there and the checksum of that.
fn mended(copy: &[u8]) -> Vec<u8> {
    let mut copy = copy.to_vec();
    if copy.len() >= 64 {
        let length = u64::from_le_bytes(copy[24..32].try_into().expect("eight"));
        let records = usize::try_from(length).ok().filter(|length| *length <= copy.len() - 64).unwrap_or(copy.len() - 64);
        copy[24..32].copy_from_slice(&(records as u64).to_le_bytes());
        let sum = Sha256::new().chain_update(&copy[..32]).chain_update(&copy[64..64 + records]).finalize();
        copy[32..64].copy_from_slice(&sum);
    }
    copy
}

fn again(copy: &[u8]) -> Option<layout::meta::Meta> {
    match Found::of(copy, &[]) {
        Found::Valid(store) => Some(store.meta),
        Found::Corrupt { .. } => None,
    }
}

/// Labels of volumes.
pub const LABEL: Target = Target {
    name: "label",
    bytes: "the beginning of sector 0, then of sector 16 of 2048 bytes",
    from: "whatever block device is plugged in",
    property: "a label is at most 32 letters",
    longest: 640,
    words: || words(&["\x01CD001\x01", "FAT32   ", "FAT16   ", "\x55\u{aa}", "cidata", "METAL-ISO"]),
    seeds: || {
        let mut fat = vec![0; 512];
        fat[66] = 0x29;
        fat[71..90].copy_from_slice(b"METAL-ISO  FAT32   ");
        fat[510..].copy_from_slice(b"\x55\xaa");
        let mut iso = vec![0; 512];
        iso.extend(b"\x01CD001\x01");
        iso.resize(512 + 40, 0);
        iso.extend(b"cidata                          ");
        vec![fat, iso]
    },
    check: |input| {
        let (first, descriptor) = input.split_at(input.len().min(512));
        let mut head = first.to_vec();
        head.resize(16 * 2048, 0);
        head.extend(descriptor);
        head.resize(machined::config::label::HEAD, 0);
        if let Some(volume) = machined::config::label::read(&head) {
            assert!(["vfat", "iso9660"].contains(&volume.fstype) && volume.label.len() <= 32, "{volume:?}");
        }
        // A device may be shorter than that.
        drop(machined::config::label::read(input));
        let _ = parse_device_part_uuid(input);
    },
    ..Target::PLAIN
};

/// Files that say which partitions there are.
pub const PARTITIONS: Target = Target {
    name: "partitions",
    bytes: "partition files, `%%` between them",
    from: "the image, external board folders",
    property: "partitions that are placed on a disk lie within it, apart from each other",
    memory: 16 * MIB,
    words: || {
        words(&[
            "label = \"",
            "type = \"esp\"\n",
            "size = \"512M\"\n",
            "size = \"rest\"\n",
            "min-size = \"1G\"\n",
            "created = \"image\"\n",
            "created = \"first-boot\"\n",
            "content = \"",
            "mount = \"/",
            "%%\n",
            "linux-root",
            "linux",
            "meta",
            "xfs",
            "raw",
            "state",
            "var",
        ])
    },
    seeds: || vec![FILES.join("%%\n").into_bytes()],
    check: |input| {
        let text = text(input);
        let files = parts::<8>(&text).into_iter().filter(|part| !part.is_empty());
        let Ok(set) = PartitionSet::parse(files.enumerate().map(|(at, part)| (format!("{at}0-x.toml"), part))) else { return };
        assert!(set.image_size() <= set.least_disk() && set.too_small().len() <= set.all().len());
        for disk in [set.least_disk(), set.least_disk().saturating_sub(1), set.least_disk().saturating_mul(3), u64::MAX] {
            let Some(placed) = set.place(disk) else { continue };
            for pair in placed.windows(2) {
                assert!(pair[0].range.end() <= pair[1].range.start, "they overlap");
            }
            assert!(placed.iter().all(|placed| placed.range.length > 0 && placed.range.end() <= disk), "outside a disk of {disk}");
        }
    },
    ..Target::PLAIN
};

const FILES: [&str; 6] = [
    include_str!("../../../../partitions/10-efi.toml"),
    include_str!("../../../../partitions/20-root-a.toml"),
    include_str!("../../../../partitions/30-meta.toml"),
    include_str!("../../../../partitions/40-root-b.toml"),
    include_str!("../../../../partitions/50-state.toml"),
    include_str!("../../../../partitions/60-ephemeral.toml"),
];

/// Which parts of an image have to be written.
pub const BLOCK_MAP: Target = Target {
    name: "block-map",
    bytes: "the block map of an image",
    from: "whoever made the image that is flashed",
    property: "ranges lie within the image, one behind the other, and their sum is told right",
    words: || words(&["\"ranges\": [", "{\"offset\": ", ", \"length\": ", ", \"sha256\": \"", "18446744073709551615", "]}"]),
    seeds: || {
        let range = format!("{{\"offset\": 512, \"length\": 512, \"sha256\": \"{}\"}}", "0".repeat(64));
        let head = "{\"format\": 1, \"image\": \"disk.img\", \"image_size\": 10000, \"least_disk\": 20000, \"sector_size\": 512";
        seeds(&[&format!("{head}, \"ranges\": [{range}]}}"), &format!("{head}, \"ranges\": []}}")])
    },
    check: |input| {
        let Ok(map) = install::BlockMap::parse(&text(input)) else { return };
        let mut end = 0;
        for range in &map.ranges {
            assert!(range.offset >= end && range.length > 0, "they overlap");
            end = range.offset + range.length;
        }
        assert!(end <= map.image_size && map.used() <= map.image_size);
    },
    ..Target::PLAIN
};
