//! `SystemStat`: /proc/stat.

use tonic::Status;
use wire::machine::{CpuStat, SoftIrqStat, SystemStat, SystemStatResponse};

use super::{number, read};

/// Processor times are counted in hundredths of a second (USER_HZ, the same on both architectures).
const USER_HZ: f64 = 100.0;

pub(in super::super) fn system_stat() -> Result<SystemStatResponse, Status> {
    Ok(SystemStatResponse { messages: vec![parse(&read("/proc/stat")?)] })
}

pub(super) fn parse(text: &str) -> SystemStat {
    let mut stat = SystemStat::default();
    for line in text.lines() {
        let mut columns = line.split_whitespace();
        let columns = &mut columns;
        match columns.next().unwrap_or_default() {
            "cpu" => stat.cpu_total = Some(cpu(columns)),
            name if name.starts_with("cpu") => stat.cpu.push(cpu(columns)),
            "intr" => {
                stat.irq_total = number(columns);
                stat.irq = columns.map(|text| text.parse().unwrap_or(0)).collect();
            }
            "ctxt" => stat.context_switches = number(columns),
            "btime" => stat.boot_time = number(columns),
            "processes" => stat.process_created = number(columns),
            "procs_running" => stat.process_running = number(columns),
            "procs_blocked" => stat.process_blocked = number(columns),
            "softirq" => {
                stat.soft_irq_total = number(columns);
                stat.soft_irq = Some(soft_irq(columns));
            }
            _ => {}
        }
    }
    stat
}

fn cpu<'a>(columns: &mut impl Iterator<Item = &'a str>) -> CpuStat {
    let mut next = || number(columns) as f64 / USER_HZ;
    CpuStat {
        user: next(),
        nice: next(),
        system: next(),
        idle: next(),
        iowait: next(),
        irq: next(),
        soft_irq: next(),
        steal: next(),
        guest: next(),
        guest_nice: next(),
    }
}

fn soft_irq<'a>(columns: &mut impl Iterator<Item = &'a str>) -> SoftIrqStat {
    let mut next = || number(columns);
    SoftIrqStat {
        hi: next(),
        timer: next(),
        net_tx: next(),
        net_rx: next(),
        block: next(),
        block_io_poll: next(),
        tasklet: next(),
        sched: next(),
        hrtimer: next(),
        rcu: next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_parsed() {
        let stat = parse(
            "cpu  100 0 50 200\ncpu0 100 0 50 200 1 2 3 4 5 600\nintr 9 1 2 0\nctxt 77\nbtime 88\nprocesses 3\n\
             procs_running 2\nprocs_blocked 1\nsoftirq 55 1 2 3 4 5 6 7 8 9 10\nnew 1\n",
        );
        assert_eq!((stat.cpu_total.map(|cpu| cpu.user), stat.cpu.len(), stat.cpu[0].guest_nice), (Some(1.0), 1, 6.0));
        assert_eq!((stat.irq_total, stat.irq.as_slice(), stat.context_switches), (9, &[1, 2, 0][..], 77));
        assert_eq!((stat.boot_time, stat.process_blocked, stat.soft_irq.map(|irq| irq.rcu)), (88, 1, Some(10)));
    }
}
