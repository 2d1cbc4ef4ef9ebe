//! `Mounts`: what is mounted, with sizes in bytes.

use linux::mount::{MountEntry, mounts as table};
use nix::sys::statvfs::statvfs;
use tonic::Status;
use wire::machine::{MountStat, Mounts, MountsResponse};

pub(in super::super) fn mounts() -> Result<MountsResponse, Status> {
    let table = table().map_err(|error| Status::unknown(daemon::report(&error).to_string()))?;
    let stats = table.iter().map(stat).collect::<Result<_, _>>()?;
    Ok(MountsResponse { messages: vec![Mounts { metadata: None, stats }] })
}

/// Sizes are asked for directories only; a file may be mounted too.
fn stat(entry: &MountEntry) -> Result<MountStat, Status> {
    let mut stat =
        MountStat { filesystem: entry.device.clone(), size: 0, available: 0, mounted_on: entry.target.to_string_lossy().into_owned() };
    if entry.target.is_dir() {
        let answer =
            statvfs(&entry.target).map_err(|errno| Status::unknown(format!("statfs {}: {}", entry.target.display(), errno.desc())))?;
        let unit = answer.fragment_size();
        stat.size = answer.blocks().saturating_mul(unit);
        stat.available = answer.blocks_available().saturating_mul(unit);
    }
    Ok(stat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_mounted_and_has_a_size() {
        let all = mounts().expect("readable").messages.remove(0).stats;
        assert!(all.iter().any(|stat| stat.mounted_on == "/" && stat.size > 0));
    }
}
