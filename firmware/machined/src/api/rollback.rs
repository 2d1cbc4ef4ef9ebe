//! Rollback: back to the system in the other slot.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use tonic::Status;
use wire::machine::RollbackResponse;

use super::Context;
use crate::node::{Node, Slot};

/// Where an EROFS superblock begins, bytes, and its first four (kernel: fs/erofs/erofs_fs.h).
const SUPERBLOCK: (u64, [u8; 4]) = (1024, 0xe0f5_e1e2_u32.to_le_bytes());

/// What the other slot holds.
#[derive(Debug, PartialEq, Eq)]
enum Other {
    /// Not known: the running root is in no slot, or the disk was not found.
    Unknown,
    /// Nothing that could be started.
    Empty(&'static str),
    /// A system.
    System(&'static str),
}

/// Choosing the slot comes with upgrades, which write it. Until then this says why nothing happens, in the reference's words for
/// a node that was never upgraded.
pub(super) async fn rollback(context: &Context) -> Result<RollbackResponse, Status> {
    let (label, device) = match other_slot(&context.sources.node) {
        Some((label, Some(device))) => (label, device),
        Some((label, None)) => return Err(status(&Other::Empty(label))),
        None => return Err(status(&Other::Unknown)),
    };
    let shown = device.clone();
    let other = context.blocking.run(move || look(label, &device)).await?;
    let other = other.map_err(|error| Status::internal(format!("read {}: {error}", shown.display())))?;
    Err(status(&other))
}

/// The label of the slot that is not running, and its device when there is such a partition.
fn other_slot(node: &Node) -> Option<(&'static str, Option<PathBuf>)> {
    let label = match node.boot.borrow().slot? {
        Slot::A => "ROOT-B",
        Slot::B => "ROOT-A",
    };
    let disk = node.disk.borrow();
    let partition = disk.partitions.iter().find(|partition| partition.label == label);
    Some((label, partition.map(|partition| partition.device.clone())))
}

fn look(label: &'static str, device: &Path) -> io::Result<Other> {
    let (offset, magic) = SUPERBLOCK;
    let mut file = File::open(device)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut found = Vec::new();
    file.take(magic.len() as u64).read_to_end(&mut found)?;
    Ok(if found == magic { Other::System(label) } else { Other::Empty(label) })
}

fn status(other: &Other) -> Status {
    match other {
        Other::Unknown => Status::failed_precondition("previous UKI not found: the node does not run from a slot of its disk"),
        Other::Empty(label) => Status::failed_precondition(format!("previous UKI not found: slot {label} holds no system")),
        Other::System(label) => Status::unimplemented(format!(
            "slot {label} holds a system, but this version cannot choose the slot yet: hold the space bar while the boot loader starts and choose it there"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tonic::Code;

    use super::*;

    #[test]
    fn a_slot_is_judged_by_its_superblock() {
        let file = |contents: &[u8]| {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(contents).expect("written");
            file
        };
        let mut system = vec![0; 4096];
        system[1024..1028].copy_from_slice(&[0xe2, 0xe1, 0xf5, 0xe0]);
        for (contents, wanted) in [
            (&system[..], Other::System("ROOT-B")),
            (&system[..1027], Other::Empty("ROOT-B")),
            (&[0; 4096], Other::Empty("ROOT-B")),
            (&[], Other::Empty("ROOT-B")),
        ] {
            let file = file(contents);
            assert_eq!(look("ROOT-B", file.path()).expect("read"), wanted, "{} bytes", contents.len());
        }
        assert!(look("ROOT-B", Path::new("/nowhere")).is_err());
    }

    #[test]
    fn only_a_system_makes_it_a_matter_of_this_version() {
        for (other, wanted) in [
            (Other::Unknown, Code::FailedPrecondition),
            (Other::Empty("ROOT-B"), Code::FailedPrecondition),
            (Other::System("ROOT-A"), Code::Unimplemented),
        ] {
            let status = status(&other);
            assert_eq!(status.code(), wanted, "{status}");
        }
    }
}
