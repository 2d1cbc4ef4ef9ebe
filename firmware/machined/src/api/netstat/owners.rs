//! Which process holds a socket: each names its open files in /proc, sockets by their inode.

use std::{collections::HashMap, fs, path::Path};

use wire::machine::{ConnectRecord, connect_record::Process};

const PROC: &str = "/proc";

/// Enters the owners. A socket that several hold is given to the lowest process; one that nobody holds any more has none.
pub(super) fn name(records: &mut [ConnectRecord]) {
    // Inode 0 is that of connections that no process has any more.
    let mut owners: HashMap<u64, Option<Process>> =
        records.iter().map(|record| (record.inode, None)).filter(|(inode, _)| *inode != 0).collect();
    let names = fs::read_dir(PROC).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut pids: Vec<u32> = names.collect();
    pids.sort_unstable();
    for pid in pids {
        look_at(pid, &mut owners);
    }
    for record in records {
        record.process = owners.get(&record.inode).cloned().flatten();
    }
}

/// A process that ends meanwhile has no files.
fn look_at(pid: u32, owners: &mut HashMap<u64, Option<Process>>) {
    let folder = Path::new(PROC).join(pid.to_string());
    let mut name = None;
    for file in fs::read_dir(folder.join("fd")).into_iter().flatten().flatten() {
        let Some(inode) = fs::read_link(file.path()).ok().and_then(|target| socket(target.to_str()?)) else { continue };
        let Some(owner @ None) = owners.get_mut(&inode) else { continue };
        let name = name.get_or_insert_with(|| fs::read_to_string(folder.join("comm")).unwrap_or_default().trim_end().to_owned());
        *owner = Some(Process { pid, name: name.clone() });
    }
}

/// The inode in `socket:[7]`.
fn socket(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_sockets() {
        for (target, wanted) in [("socket:[12]", Some(12)), ("socket:[]", None), ("pipe:[12]", None), ("/a", None), ("socket:[1", None)] {
            assert_eq!(socket(target), wanted, "{target}");
        }
    }
}
