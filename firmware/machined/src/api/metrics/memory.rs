//! `Memory`: /proc/meminfo in kB.

use tonic::Status;
use wire::machine::{MemInfo, Memory, MemoryResponse};

use super::read;

pub(in super::super) fn memory() -> Result<MemoryResponse, Status> {
    let meminfo = Some(parse(&read("/proc/meminfo")?));
    Ok(MemoryResponse { messages: vec![Memory { metadata: None, meminfo }] })
}

/// Fields that the kernel does not have stay 0.
pub(super) fn parse(text: &str) -> MemInfo {
    let mut info = MemInfo::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let value = value.split_whitespace().next().and_then(|value| value.parse().ok()).unwrap_or(0);
        if let Some(field) = field(&mut info, name) {
            *field = value;
        }
    }
    info
}

fn field<'a>(info: &'a mut MemInfo, name: &str) -> Option<&'a mut u64> {
    Some(match name {
        "MemTotal" => &mut info.memtotal,
        "MemFree" => &mut info.memfree,
        "MemAvailable" => &mut info.memavailable,
        "Buffers" => &mut info.buffers,
        "Cached" => &mut info.cached,
        "SwapCached" => &mut info.swapcached,
        "Active" => &mut info.active,
        "Inactive" => &mut info.inactive,
        "Active(anon)" => &mut info.activeanon,
        "Inactive(anon)" => &mut info.inactiveanon,
        "Active(file)" => &mut info.activefile,
        "Inactive(file)" => &mut info.inactivefile,
        "Unevictable" => &mut info.unevictable,
        "Mlocked" => &mut info.mlocked,
        "SwapTotal" => &mut info.swaptotal,
        "SwapFree" => &mut info.swapfree,
        "Dirty" => &mut info.dirty,
        "Writeback" => &mut info.writeback,
        "AnonPages" => &mut info.anonpages,
        "Mapped" => &mut info.mapped,
        "Shmem" => &mut info.shmem,
        "Slab" => &mut info.slab,
        "SReclaimable" => &mut info.sreclaimable,
        "SUnreclaim" => &mut info.sunreclaim,
        "KernelStack" => &mut info.kernelstack,
        "PageTables" => &mut info.pagetables,
        "NFS_Unstable" => &mut info.nfsunstable,
        "Bounce" => &mut info.bounce,
        "WritebackTmp" => &mut info.writebacktmp,
        "CommitLimit" => &mut info.commitlimit,
        "Committed_AS" => &mut info.committedas,
        "VmallocTotal" => &mut info.vmalloctotal,
        "VmallocUsed" => &mut info.vmallocused,
        "VmallocChunk" => &mut info.vmallocchunk,
        "HardwareCorrupted" => &mut info.hardwarecorrupted,
        "AnonHugePages" => &mut info.anonhugepages,
        "ShmemHugePages" => &mut info.shmemhugepages,
        "ShmemPmdMapped" => &mut info.shmempmdmapped,
        "CmaTotal" => &mut info.cmatotal,
        "CmaFree" => &mut info.cmafree,
        "HugePages_Total" => &mut info.hugepagestotal,
        "HugePages_Free" => &mut info.hugepagesfree,
        "HugePages_Rsvd" => &mut info.hugepagesrsvd,
        "HugePages_Surp" => &mut info.hugepagessurp,
        "Hugepagesize" => &mut info.hugepagesize,
        "DirectMap4k" => &mut info.directmap4k,
        "DirectMap2M" => &mut info.directmap2m,
        "DirectMap1G" => &mut info.directmap1g,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let info = parse("MemTotal:        2014 kB\nActive(anon):  7 kB\nHugePages_Total:       3\nNew: 9 kB\nbroken\n");
        assert_eq!((info.memtotal, info.activeanon, info.hugepagestotal, info.memfree), (2014, 7, 3, 0));
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(memory().expect("read").messages[0].meminfo.as_ref().expect("present").memtotal > 0);
    }
}
