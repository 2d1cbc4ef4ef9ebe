//! `Processes`: what runs.

use procfs::{ProcResult, process::Process as Proc};
use tonic::Status;
use wire::machine::{Process, ProcessInfo, ProcessesResponse};

/// Most bytes of a command line that are shown.
const MAX_ARGS: usize = 64 * 1024;

pub(in super::super) fn processes() -> Result<ProcessesResponse, Status> {
    let all = procfs::process::all_processes().map_err(|error| Status::unknown(format!("read /proc: {error}")))?;
    // One that ends while it is looked at is left out.
    let processes = all.filter_map(|process| process.and_then(|process| info(&process)).ok()).collect();
    Ok(ProcessesResponse { messages: vec![Process { metadata: None, processes }] })
}

fn info(process: &Proc) -> ProcResult<ProcessInfo> {
    let stat = process.stat()?;
    // Kernel threads have no program and no command line.
    let executable = process.exe().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    let mut args = process.cmdline().unwrap_or_default().join(" ");
    args.truncate(args.floor_char_boundary(MAX_ARGS));
    let label = std::fs::read_to_string(format!("/proc/{}/attr/current", stat.pid)).unwrap_or_default();
    let ticks = (stat.utime + stat.stime) as f64;
    Ok(ProcessInfo {
        pid: stat.pid,
        ppid: stat.ppid,
        state: stat.state.to_string(),
        threads: i32::try_from(stat.num_threads).unwrap_or(i32::MAX),
        cpu_time: ticks / procfs::ticks_per_second() as f64,
        virtual_memory: stat.vsize,
        resident_memory: stat.rss.saturating_mul(procfs::page_size()),
        command: stat.comm,
        executable,
        args,
        label: label.trim_matches(['\0', '\n']).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_among_them() {
        let all = processes().expect("readable").messages.remove(0).processes;
        let own = all.iter().find(|process| u32::try_from(process.pid) == Ok(std::process::id())).expect("listed");
        assert!(own.threads > 0 && own.resident_memory > 0 && own.executable.starts_with('/') && !own.args.is_empty());
    }
}
