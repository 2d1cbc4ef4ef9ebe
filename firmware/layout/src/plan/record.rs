//! Provisioning records: made, checked, and turned into the new table.

use uuid::Uuid;

use super::{Facts, Located, Reason};
use crate::{
    meta::{Action, Record, Recorded},
    spec::{Content, Created, Kind, Partition, Placed, RESERVED},
    table::{Entry, Table, TableError},
};

/// The record of a first boot on this disk.
pub(super) fn make(facts: &Facts<'_>, located: &Located<'_>, guids: &mut dyn FnMut() -> Uuid) -> Result<Record, Reason> {
    as_flashed(facts, located.table)?;
    let least = facts.set.least_disk();
    let too_small = Reason::DiskTooSmall { disk_size: facts.disk_size, least };
    let placed = facts.set.place(facts.disk_size).ok_or(too_small)?;
    let disk_guid = guids();
    let partitions = placed.iter().map(|place| recorded(facts, located.table, place, guids)).collect();
    let record = Record { disk_guid, disk_size: facts.disk_size, sector: facts.sector, partitions };
    let problem = |err: TableError| Reason::NotAsFlashed { problem: err.to_string() };
    new_table(&record, located.table).map_err(problem)?;
    Ok(record)
}

fn recorded(facts: &Facts<'_>, table: &Table, place: &Placed<'_>, guids: &mut dyn FnMut() -> Uuid) -> Recorded {
    let Partition { number, label, kind, content, created, .. } = place.partition;
    let now = table.entries().get(number).map(|entry| entry.guid);
    // A slot is found by its GUID, which follows from its root hash. Every other GUID of an image is the same on all
    // disks that were flashed with it, and so becomes this disk's own.
    let guid = now.filter(|_| *kind == Kind::Root).unwrap_or_else(guids);
    let action = match (created, content) {
        (Created::Image, _) => Action::Keep,
        (Created::FirstBoot, Content::Xfs) => Action::FormatXfs,
        (Created::FirstBoot, _) => Action::Wipe,
    };
    Recorded { number: *number, label: label.clone(), type_guid: kind.type_guid(facts.arch), guid, range: place.range, action }
}

/// The table holds the image's partitions at their places, and nothing else.
fn as_flashed(facts: &Facts<'_>, table: &Table) -> Result<(), Reason> {
    let problem = |problem| Err(Reason::NotAsFlashed { problem });
    let image = facts.set.place_image();
    for place in &image {
        let Partition { number, label, kind, .. } = place.partition;
        match table.entries().get(number) {
            None => return problem(format!("partition {number} ({label}) is not in the table")),
            Some(entry) if entry.range != place.range => {
                return problem(format!("partition {number} ({label}) lies at {}, not at {}", entry.range, place.range));
            }
            Some(entry) if entry.name != *label || entry.type_guid != kind.type_guid(facts.arch) => {
                return problem(format!("partition {number} is {:?}, not {label}", entry.name));
            }
            Some(_) => {}
        }
    }
    let known = |number: &u32| image.iter().any(|place| place.partition.number == *number);
    let mut extra = table.entries().iter().filter(|(number, _)| !known(number));
    match extra.next() {
        Some((number, entry)) => problem(format!("the table also holds partition {number} ({:?})", entry.name)),
        None => Ok(()),
    }
}

/// A record that was not carried out to its end fits the disk as it is now; else what does not fit.
pub(super) fn check_resume(facts: &Facts<'_>, located: &Located<'_>, record: &Record) -> Result<(), String> {
    let problem = Err;
    if record.sector != facts.sector {
        return problem(format!("it is for sectors of {} bytes, the disk has {}", record.sector, facts.sector));
    }
    let end = record.partitions.iter().map(|partition| partition.range.end()).max().unwrap_or_default();
    if end.saturating_add(RESERVED) > facts.disk_size {
        return problem(format!("it needs {} bytes, the disk has {}", end.saturating_add(RESERVED), facts.disk_size));
    }
    for kept in record.partitions.iter().filter(|partition| partition.action == Action::Keep) {
        match located.table.entries().get(&kept.number) {
            Some(entry) if entry.range == kept.range => {}
            _ => return problem(format!("partition {} ({}) is not where it was", kept.number, kept.label)),
        }
    }
    // Whatever is in the table beside the kept partitions must be exactly what the record makes.
    for (number, entry) in located.table.entries() {
        let known = record.partitions.iter().any(|p| p.number == *number && p.range == entry.range);
        if !known {
            return problem(format!("partition {number} ({:?}) is not in the record", entry.name));
        }
    }
    let kept = |range| record.partitions.iter().any(|p| p.action == Action::Keep && p.range == range);
    if !kept(facts.root.range) {
        return problem("it does not keep the running root".to_owned());
    }
    let with_size = Record { disk_size: facts.disk_size, ..record.clone() };
    new_table(&with_size, located.table).map(drop).map_err(|err| err.to_string())
}

/// Every partition that first boot made is still in the table, where it was made.
pub(super) fn check_present(located: &Located<'_>, record: &Record) -> Result<(), Reason> {
    let made = record.partitions.iter().filter(|partition| partition.action != Action::Keep);
    for partition in made {
        let Recorded { number, label, range, .. } = partition;
        let problem = match located.table.entries().get(number) {
            Some(entry) if entry.range == *range => continue,
            Some(entry) => format!("partition {number} ({label}) lies at {}, not at {range}", entry.range),
            None => format!("partition {number} ({label}, {range}) is not in the table"),
        };
        return Err(Reason::PartitionsLost { problem });
    }
    Ok(())
}

/// Whether the table holds a partition that only a first boot makes.
pub(super) fn first_boot_happened(facts: &Facts<'_>, located: &Located<'_>) -> bool {
    let made = facts.set.all().iter().filter(|p| p.created == Created::FirstBoot);
    let mut made = made.map(|p| located.table.entries().get(&p.number).is_some_and(|entry| entry.name == p.label));
    made.any(|there| there)
}

/// The table that a record asks for. Attribute bits of kept partitions are those of the table `now` on the disk.
///
/// # Errors
/// [`TableError`] when the record's ranges do not make a table.
pub fn new_table(record: &Record, now: &Table) -> Result<Table, TableError> {
    let mut table = Table::new(record.sector, record.disk_size, record.disk_guid)?;
    for partition in &record.partitions {
        let kept = now.entries().get(&partition.number).filter(|_| partition.action == Action::Keep);
        let entry = Entry {
            type_guid: partition.type_guid,
            guid: partition.guid,
            range: partition.range,
            name: partition.label.clone(),
            flags: kept.map_or(0, |entry| entry.flags),
        };
        table.add(partition.number, entry)?;
    }
    Ok(table)
}
