//! A flashable image of the project's partitions, with marks instead of contents.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use layout::{
    Arch, SectorSize, Uuid,
    meta::factory_image,
    spec::PartitionSet,
    table::{Copies, Entry, Table},
    verity::VerityTable,
};
use sha2::{Digest, Sha256};

/// Bytes of each mark.
const MARK: usize = 8192;

pub fn set() -> PartitionSet {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../partitions");
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = paths
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()));
    PartitionSet::parse(files).unwrap()
}

pub fn verity() -> VerityTable {
    VerityTable { root_hash: [7; 32], salt: vec![1], data_blocks: 10, hash_start: 10, panic_on_corruption: true }
}

/// What lies at the start of a partition.
pub fn mark(label: &str) -> Vec<u8> {
    format!("{label} ").bytes().cycle().take(MARK).collect()
}

/// Puts image and block map for one sector size into a folder.
pub fn build(dir: &Path, sector: SectorSize) {
    let set = set();
    let (image, map) = match sector {
        SectorSize::B512 => ("disk.img", "disk.bmap.json"),
        SectorSize::B4096 => ("disk-4k.img", "disk-4k.bmap.json"),
    };
    let file = File::create_new(dir.join(image)).unwrap();
    file.set_len(set.image_size()).unwrap();
    let mut table = Table::new(sector, set.image_size(), Uuid::from_u128(1)).unwrap();
    let mut writes = Vec::new();
    for place in set.place_image() {
        let partition = place.partition;
        let number = u128::from(partition.number);
        let guid = if number == 2 { verity().part_uuid() } else { Uuid::from_u128(number + 1) };
        let type_guid = partition.kind.type_guid(Arch::running().unwrap());
        let entry = Entry { type_guid, guid, range: place.range, name: partition.label.clone(), flags: 0 };
        table.add(partition.number, entry).unwrap();
        let meta = partition.label == "META";
        writes.push((place.range.start, if meta { factory_image().unwrap() } else { mark(&partition.label) }));
    }
    let mbr = table.protective_mbr();
    writes.push((mbr.offset, mbr.bytes));
    writes.extend(table.writes(Copies::Both).unwrap().into_iter().map(|write| (write.offset, write.bytes)));
    writes.sort_by_key(|(offset, _)| *offset);
    let mut ranges = Vec::new();
    for (offset, bytes) in &writes {
        file.write_all_at(bytes, *offset).unwrap();
        let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        ranges.push(serde_json::json!({"offset": offset, "length": bytes.len(), "sha256": sha256}));
    }
    let json = serde_json::json!({
        "format": 1, "image": image, "image_size": set.image_size(), "least_disk": set.least_disk(), "sector_size": sector.bytes(), "ranges": ranges,
    });
    fs::write(dir.join(map), json.to_string()).unwrap();
}
