//! `CPUFreqStats`: cpufreq in sysfs, in kHz.

use std::{fs, path::Path};

use tonic::Status;
use wire::machine::{CpUsFreqStats, CpuFreqStats, CpuFreqStatsResponse};

/// Where processors are listed.
const PROCESSORS: &str = "/sys/devices/system/cpu";

pub(in super::super) fn cpu_freq_stats() -> Result<CpuFreqStatsResponse, Status> {
    let cpu_freq_stats = stats(Path::new(PROCESSORS))?;
    Ok(CpuFreqStatsResponse { messages: vec![CpUsFreqStats { metadata: None, cpu_freq_stats }] })
}

/// An entry for each processor by its number, so that clients can count them; zeros where the kernel does not steer frequencies
/// (virtual machines), as the reference does.
fn stats(folder: &Path) -> Result<Vec<CpuFreqStats>, Status> {
    let entries = fs::read_dir(folder).map_err(|error| Status::unknown(format!("read {}: {error}", folder.display())))?;
    let mut numbers: Vec<u32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("cpu")?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers.iter().map(|number| one(&folder.join(format!("cpu{number}/cpufreq")))).collect())
}

/// What the hardware says goes before what was asked of it; not every driver tells both.
fn one(folder: &Path) -> CpuFreqStats {
    let text = |file: &str| fs::read_to_string(folder.join(file)).ok().map(|text| text.trim().to_owned());
    let number = |file: &str| text(file)?.parse().ok();
    let either = |what: &str| number(&format!("cpuinfo_{what}_freq")).or_else(|| number(&format!("scaling_{what}_freq"))).unwrap_or(0);
    CpuFreqStats {
        current_frequency: either("cur"),
        minimum_frequency: either("min"),
        maximum_frequency: either("max"),
        governor: text("scaling_governor").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_processor_has_its_entry() {
        let root = tempfile::tempdir().expect("folder");
        let write = |file: &str, text: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).and_then(|()| fs::write(path, text)).expect("written");
        };
        write("cpufreq/boost", "1");
        write("cpu10/cpufreq/scaling_cur_freq", "1200000\n");
        write("cpu10/cpufreq/cpuinfo_cur_freq", "<unknown>\n");
        write("cpu10/cpufreq/cpuinfo_max_freq", "3000000\n");
        write("cpu10/cpufreq/scaling_governor", "performance\n");
        write("cpu9/online", "1");
        let found = stats(root.path()).expect("read");
        let expect = CpuFreqStats {
            current_frequency: 1_200_000,
            minimum_frequency: 0,
            maximum_frequency: 3_000_000,
            governor: "performance".into(),
        };
        assert_eq!(found, [CpuFreqStats::default(), expect]);
        assert!(stats(Path::new("/nowhere")).is_err());
        assert!(!cpu_freq_stats().expect("read").messages[0].cpu_freq_stats.is_empty());
    }
}
