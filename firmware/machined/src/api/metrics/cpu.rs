//! `LoadAvg` and `CPUInfo`.

use tonic::Status;
use wire::machine::{CpUsInfo, CpuInfo, CpuInfoResponse, LoadAvg, LoadAvgResponse};

use super::read;

pub(in super::super) fn load_avg() -> Result<LoadAvgResponse, Status> {
    Ok(LoadAvgResponse { messages: vec![parse_load(&read("/proc/loadavg")?)] })
}

pub(super) fn parse_load(text: &str) -> LoadAvg {
    let mut columns = text.split_whitespace().map(|text| text.parse().unwrap_or(0.0));
    let mut next = || columns.next().unwrap_or(0.0);
    LoadAvg { metadata: None, load1: next(), load5: next(), load15: next() }
}

pub(in super::super) fn cpu_info() -> Result<CpuInfoResponse, Status> {
    let cpu_info = parse_cpus(&read("/proc/cpuinfo")?);
    Ok(CpuInfoResponse { messages: vec![CpUsInfo { metadata: None, cpu_info }] })
}

/// One block of `key : value` lines a processor. Keys of x86; arm64 has few of them.
pub(super) fn parse_cpus(text: &str) -> Vec<CpuInfo> {
    let mut cpus: Vec<CpuInfo> = Vec::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        let (key, value) = (key.trim(), value.trim());
        if key == "processor" {
            cpus.push(CpuInfo { processor: value.parse().unwrap_or(0), ..CpuInfo::default() });
        } else if let Some(cpu) = cpus.last_mut() {
            set(cpu, key, value);
        }
    }
    cpus
}

fn set(cpu: &mut CpuInfo, key: &str, value: &str) {
    let text = || value.to_owned();
    let count = || value.parse().unwrap_or(0);
    let words = || value.split_whitespace().map(str::to_owned).collect();
    match key {
        "vendor_id" => cpu.vendor_id = text(),
        "cpu family" => cpu.cpu_family = text(),
        "model" => cpu.model = text(),
        "model name" => cpu.model_name = text(),
        "stepping" => cpu.stepping = text(),
        "microcode" => cpu.microcode = text(),
        "cpu MHz" => cpu.cpu_mhz = value.parse().unwrap_or(0.0),
        "cache size" => cpu.cache_size = text(),
        "physical id" => cpu.physical_id = text(),
        "siblings" => cpu.siblings = count(),
        "core id" => cpu.core_id = text(),
        "cpu cores" => cpu.cpu_cores = count(),
        "apicid" => cpu.apic_id = text(),
        "initial apicid" => cpu.initial_apic_id = text(),
        "fpu" => cpu.fpu = text(),
        "fpu_exception" => cpu.fpu_exception = text(),
        "cpuid level" => cpu.cpu_id_level = count(),
        "wp" => cpu.wp = text(),
        "flags" | "Features" => cpu.flags = words(),
        "bugs" => cpu.bugs = words(),
        "bogomips" | "BogoMIPS" => cpu.bogo_mips = value.parse().unwrap_or(0.0),
        "clflush size" => cpu.cl_flush_size = count(),
        "cache_alignment" => cpu.cache_alignment = count(),
        "address sizes" => cpu.address_sizes = text(),
        "power management" => cpu.power_management = text(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_parsed() {
        let load = parse_load("0.50 1.25 2.00 1/100 4242\n");
        assert_eq!((load.load1, load.load5, load.load15), (0.5, 1.25, 2.0));
        assert_eq!(parse_load("").load1, 0.0);
        let cpus = parse_cpus("processor\t: 0\nmodel name\t: A B\nflags\t\t: x y\n\nprocessor\t: 1\nBogoMIPS : 48.00\n\nHardware : z\n");
        assert_eq!(cpus.len(), 2);
        assert_eq!((cpus[0].model_name.as_str(), cpus[0].flags.len(), cpus[1].bogo_mips), ("A B", 2, 48.0));
    }
}
