//! What the dashboard knows of its nodes: counters become rates, rates become histories. No I/O, no clock.

use std::{collections::VecDeque, time::Duration};

use wire::machine::{DiskStats, LoadAvg, MemInfo, NetworkDeviceStats, ProcessInfo, ServiceInfo, SystemStat};

/// How many samples a history holds.
pub const HISTORY: usize = 120;
/// How many lines of a log are kept.
pub const MAX_LINES: usize = 500;
/// Longest line kept, letters.
const MAX_LINE: usize = 400;
/// Bytes in a sector of the kernel's counters, whatever the disk's own are.
const SECTOR: u64 = 512;

/// What a node says at one moment. Counters run since its boot.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When, on the clock of this program.
    pub at: Duration,
    /// Name of the host.
    pub hostname: String,
    /// Version tag.
    pub version: String,
    /// Averages over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Processor time, seconds: busy, and all.
    pub cpu: (f64, f64),
    /// Number of processors.
    pub processors: usize,
    /// Memory, bytes: all, and what is to be had.
    pub memory: (u64, u64),
    /// Bytes over all links but the loop: received, sent.
    pub network: (u64, u64),
    /// Bytes of all whole disks: read, written.
    pub disk: (u64, u64),
    /// Processes.
    pub processes: Vec<ProcessInfo>,
    /// Services.
    pub services: Vec<ServiceInfo>,
}

impl Sample {
    /// Takes the load averages in.
    pub fn load(&mut self, load: &LoadAvg) {
        self.load = [load.load1, load.load5, load.load15];
    }

    /// Takes the processors' time in. Guests' time is in their users' already.
    pub fn system(&mut self, stat: &SystemStat) {
        let Some(cpu) = &stat.cpu_total else { return };
        let busy = cpu.user + cpu.nice + cpu.system + cpu.irq + cpu.soft_irq + cpu.steal;
        self.cpu = (busy, busy + cpu.idle + cpu.iowait);
        self.processors = stat.cpu.len();
    }

    /// Takes the memory figures (kB) in.
    pub fn memory(&mut self, info: &MemInfo) {
        self.memory = (info.memtotal.saturating_mul(1024), info.memavailable.saturating_mul(1024));
    }

    /// Takes the links' counters in.
    pub fn network(&mut self, stats: &NetworkDeviceStats) {
        let links = stats.devices.iter().filter(|link| link.name != "lo");
        self.network =
            links.fold((0, 0), |(rx, tx): (u64, u64), link| (rx.saturating_add(link.rx_bytes), tx.saturating_add(link.tx_bytes)));
    }

    /// Takes the disks' counters in. Partitions and mappings count what their disk counts.
    pub fn disks(&mut self, stats: &DiskStats) {
        let names: Vec<&str> = stats.devices.iter().map(|disk| disk.name.as_str()).collect();
        let disks = stats.devices.iter().filter(|disk| is_disk(&disk.name, &names));
        let sum = disks.fold((0, 0), |(read, written): (u64, u64), disk| {
            (read.saturating_add(disk.read_sectors), written.saturating_add(disk.write_sectors))
        });
        self.disk = (sum.0.saturating_mul(SECTOR), sum.1.saturating_mul(SECTOR));
    }

    /// Part of the memory in use, 0 to 1.
    pub fn memory_used(&self) -> f64 {
        let (total, available) = self.memory;
        if total == 0 { 0.0 } else { total.saturating_sub(available) as f64 / total as f64 }
    }
}

/// Whether a name is a disk's and no partition's (`sda1`, `nvme0n1p2` beside `sda`, `nvme0n1`), loop's or mapping's.
fn is_disk(name: &str, all: &[&str]) -> bool {
    let virtual_ = ["loop", "dm-", "ram", "zram", "md"].iter().any(|prefix| name.starts_with(prefix));
    let part_of = |disk: &&str| {
        name.strip_prefix(*disk).is_some_and(|rest| {
            let number = rest.strip_prefix('p').unwrap_or(rest);
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    !virtual_ && !all.iter().any(part_of)
}

/// What happens in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Part of the processors' time that is used, 0 to 1.
    pub cpu: f64,
    /// Bytes received and sent.
    pub network: (f64, f64),
    /// Bytes read and written.
    pub disk: (f64, f64),
}

/// Rates between two samples; none when the later one is no later, or counts anew after a restart.
pub fn rates(before: &Sample, after: &Sample) -> Option<Rates> {
    let seconds = after.at.checked_sub(before.at)?.as_secs_f64();
    if seconds <= 0.0 || after.cpu.1 < before.cpu.1 {
        return None;
    }
    // A link that went away takes its count along: nothing is better than a peak.
    let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
    let time = after.cpu.1 - before.cpu.1;
    Some(Rates {
        cpu: if time > 0.0 { ((after.cpu.0 - before.cpu.0) / time).clamp(0.0, 1.0) } else { 0.0 },
        network: (rate(before.network.0, after.network.0), rate(before.network.1, after.network.1)),
        disk: (rate(before.disk.0, after.disk.0), rate(before.disk.1, after.disk.1)),
    })
}

/// Processes by the processor time they took between two samples (part of one processor), the busiest first; those
/// that took none by their memory.
pub fn busiest<'a>(before: Option<&Sample>, after: &'a Sample) -> Vec<(f64, &'a ProcessInfo)> {
    let seconds = before.and_then(|before| after.at.checked_sub(before.at)).map_or(0.0, |time| time.as_secs_f64());
    let earlier: std::collections::HashMap<i32, f64> =
        before.into_iter().flat_map(|before| &before.processes).map(|process| (process.pid, process.cpu_time)).collect();
    let part = |process: &ProcessInfo| match earlier.get(&process.pid) {
        // A number that was used again counts from zero.
        Some(time) if seconds > 0.0 && process.cpu_time >= *time => (process.cpu_time - time) / seconds,
        _ => 0.0,
    };
    let mut list: Vec<_> = after.processes.iter().map(|process| (part(process), process)).collect();
    list.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.resident_memory.cmp(&a.1.resident_memory)));
    list
}

/// The latest values, the newest last.
#[derive(Clone, Debug, Default)]
pub struct Ring(VecDeque<u64>);

impl Ring {
    pub fn push(&mut self, value: f64) {
        if self.0.len() >= HISTORY {
            self.0.pop_front();
        }
        self.0.push_back(if value.is_finite() && value > 0.0 { value as u64 } else { 0 });
    }

    /// The newest `count`, in their order.
    pub fn last(&self, count: usize) -> Vec<u64> {
        self.0.iter().skip(self.0.len().saturating_sub(count)).copied().collect()
    }
}

/// Whether a node answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Not yet heard of.
    #[default]
    Waiting,
    Up,
    /// No answer since then, and why.
    Gone {
        since: Duration,
        why: String,
    },
}

/// What is known of a node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// As the user named it.
    pub name: String,
    pub link: Link,
    pub sample: Option<Sample>,
    before: Option<Sample>,
    pub rates: Option<Rates>,
    /// Percent.
    pub cpu: Ring,
    /// Percent.
    pub memory: Ring,
    /// Bytes a second, both ways.
    pub network: Ring,
    /// Bytes a second, both ways.
    pub disk: Ring,
    pub log: VecDeque<String>,
}

/// News of a node.
#[derive(Clone, Debug)]
pub enum News {
    Sample(Box<Sample>),
    Failed {
        at: Duration,
        why: String,
    },
    /// The log begins anew.
    LogStart,
    Log(Vec<String>),
}

impl Node {
    pub fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    pub fn take(&mut self, news: News) {
        match news {
            News::Sample(sample) => self.sampled(*sample),
            News::Failed { at, why } => {
                let since = if let Link::Gone { since, .. } = self.link { since } else { at };
                self.link = Link::Gone { since, why };
                self.rates = None;
            }
            News::LogStart => self.log.clear(),
            News::Log(lines) => {
                for line in lines {
                    if self.log.len() >= MAX_LINES {
                        self.log.pop_front();
                    }
                    self.log.push_back(clean(&line));
                }
            }
        }
    }

    fn sampled(&mut self, sample: Sample) {
        self.rates = self.sample.as_ref().and_then(|before| rates(before, &sample));
        if let Some(rates) = self.rates {
            self.cpu.push(rates.cpu * 100.0);
            self.network.push(rates.network.0 + rates.network.1);
            self.disk.push(rates.disk.0 + rates.disk.1);
        }
        self.memory.push(sample.memory_used() * 100.0);
        self.before = self.sample.replace(sample);
        self.link = Link::Up;
    }

    /// See [`busiest`].
    pub fn busiest(&self) -> Vec<(f64, &ProcessInfo)> {
        self.sample.as_ref().map(|sample| busiest(self.before.as_ref(), sample)).unwrap_or_default()
    }
}

/// A node must not drive the terminal of who looks at it.
pub fn clean(text: &str) -> String {
    text.chars().take(MAX_LINE).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// All nodes and what of them is shown.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub nodes: Vec<Node>,
    /// The one that is shown.
    pub shown: usize,
    /// The one log that is followed.
    pub source: Source,
    /// How many lines of the log's end are scrolled out of sight.
    pub scroll: usize,
}

/// A log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Kernel messages.
    Kernel,
    /// The node's own log.
    #[default]
    Machined,
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Next,
    Previous,
    /// The node at this place, from zero.
    Choose(usize),
    Log(Source),
    Up,
    Down,
    End,
    Quit,
}

impl Model {
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { nodes: names.into_iter().map(Node::new).collect(), ..Self::default() }
    }

    /// The node that is shown.
    pub fn current(&self) -> Option<&Node> {
        self.nodes.get(self.shown)
    }

    /// What a key changes; false when it ends the program.
    pub fn key(&mut self, key: Key) -> bool {
        let count = self.nodes.len().max(1);
        let step = 5;
        let lines = self.current().map_or(0, |node| node.log.len());
        match key {
            Key::Next => self.shown = (self.shown + 1) % count,
            Key::Previous => self.shown = (self.shown + count - 1) % count,
            Key::Choose(index) if index < count => self.shown = index,
            Key::Choose(_) => return true,
            Key::Log(source) => self.source = source,
            Key::Up => {
                self.scroll = (self.scroll + step).min(lines);
                return true;
            }
            Key::Down => {
                self.scroll = self.scroll.saturating_sub(step);
                return true;
            }
            Key::End => {}
            Key::Quit => return false,
        }
        self.scroll = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::machine::{CpuStat, DiskStat, NetDev};

    use super::*;

    fn sample(at: u64, busy: f64, all: f64, bytes: u64) -> Sample {
        Sample {
            at: Duration::from_secs(at),
            cpu: (busy, all),
            network: (bytes, 2 * bytes),
            disk: (bytes, 0),
            memory: (100, 25),
            ..Sample::default()
        }
    }

    #[track_caller]
    fn check(before: &Sample, after: &Sample, wanted: Option<Rates>) {
        assert_eq!(rates(before, after), wanted);
    }

    #[test]
    fn counters_become_rates() {
        let wanted = Rates { cpu: 0.5, network: (50.0, 100.0), disk: (50.0, 0.0) };
        check(&sample(10, 4.0, 10.0, 100), &sample(12, 5.0, 12.0, 200), Some(wanted));
        // The same moment, the past, and a node that was restarted in between.
        check(&sample(10, 4.0, 10.0, 100), &sample(10, 5.0, 12.0, 200), None);
        check(&sample(10, 4.0, 10.0, 100), &sample(9, 5.0, 12.0, 200), None);
        check(&sample(10, 4.0, 10.0, 100), &sample(12, 0.1, 0.2, 1), None);
        // A link that went away.
        let less = Rates { cpu: 0.5, network: (0.0, 0.0), disk: (0.0, 0.0) };
        check(&sample(10, 4.0, 10.0, 100), &sample(12, 5.0, 12.0, 10), Some(less));
    }

    #[test]
    fn replies_become_a_sample() {
        let mut sample = Sample::default();
        let cpu = CpuStat { user: 3.0, system: 1.0, idle: 5.0, iowait: 1.0, guest: 100.0, ..CpuStat::default() };
        sample.system(&SystemStat { cpu_total: Some(cpu), cpu: vec![cpu, cpu], ..SystemStat::default() });
        assert_eq!((sample.cpu, sample.processors), ((4.0, 10.0), 2));
        let link = |name: &str| NetDev { name: name.into(), rx_bytes: 5, tx_bytes: 7, ..NetDev::default() };
        sample.network(&NetworkDeviceStats { devices: vec![link("lo"), link("eth0"), link("eth1")], ..NetworkDeviceStats::default() });
        assert_eq!(sample.network, (10, 14));
        let disk = |name: &str| DiskStat { name: name.into(), read_sectors: 2, write_sectors: 1, ..DiskStat::default() };
        let devices = ["sda", "sda1", "nvme0n1", "nvme0n1p2", "vdb", "dm-0", "loop1"].map(disk).to_vec();
        sample.disks(&DiskStats { devices, ..DiskStats::default() });
        assert_eq!(sample.disk, (3 * 1024, 3 * 512));
        sample.memory(&MemInfo { memtotal: 1000, memavailable: 250, ..MemInfo::default() });
        assert_eq!((sample.memory, sample.memory_used()), ((1_024_000, 256_000), 0.75));
    }

    #[test]
    fn a_node_goes_and_comes_back() {
        let mut node = Node::new("n".into());
        assert_eq!(node.link, Link::Waiting);
        node.take(News::Sample(Box::new(sample(1, 0.0, 0.0, 0))));
        node.take(News::Sample(Box::new(sample(2, 1.0, 2.0, 100))));
        assert_eq!((node.link.clone(), node.cpu.last(9), node.memory.last(9)), (Link::Up, vec![50], vec![75, 75]));
        for at in [3, 4] {
            node.take(News::Failed { at: Duration::from_secs(at), why: format!("{at}") });
        }
        assert_eq!(node.link, Link::Gone { since: Duration::from_secs(3), why: "4".into() });
        assert_eq!(node.rates, None);
        // Restarted: it counts anew, and the first sample has no rates.
        node.take(News::Sample(Box::new(sample(9, 0.1, 0.2, 1))));
        assert_eq!((node.link.clone(), node.rates), (Link::Up, None));
        node.take(News::Sample(Box::new(sample(10, 0.2, 0.4, 1))));
        assert_eq!(node.cpu.last(9), [50, 50]);
    }

    #[test]
    fn the_busiest_come_first() {
        let process = |pid, cpu_time, resident_memory| ProcessInfo { pid, cpu_time, resident_memory, ..ProcessInfo::default() };
        let before = Sample { processes: vec![process(1, 5.0, 1), process(2, 0.0, 2), process(3, 9.0, 3)], ..sample(1, 0.0, 0.0, 0) };
        let after = Sample { processes: vec![process(1, 5.0, 1), process(2, 1.0, 2), process(3, 1.0, 3)], ..sample(3, 0.0, 0.0, 0) };
        let found: Vec<_> = busiest(Some(&before), &after).into_iter().map(|(part, process)| (part, process.pid)).collect();
        assert_eq!(found, [(0.5, 2), (0.0, 3), (0.0, 1)]);
        assert_eq!(busiest(None, &after)[0].1.pid, 3);
    }

    #[test]
    fn keys_move_among_nodes_and_lines() {
        let mut model = Model::new(["a", "b", "c"].map(str::to_owned));
        for (key, shown) in [(Key::Next, 1), (Key::Next, 2), (Key::Next, 0), (Key::Previous, 2), (Key::Choose(1), 1), (Key::Choose(7), 1)] {
            assert!(model.key(key));
            assert_eq!(model.shown, shown, "{key:?}");
        }
        model.nodes[1].take(News::Log((0..7).map(|number| number.to_string()).collect()));
        for (key, scroll) in [(Key::Up, 5), (Key::Up, 7), (Key::Down, 2), (Key::End, 0), (Key::Down, 0), (Key::Up, 5), (Key::Next, 0)] {
            assert!(model.key(key));
            assert_eq!(model.scroll, scroll, "{key:?}");
        }
        assert!(!model.key(Key::Quit));
        assert!(Model::new([]).key(Key::Previous));
    }

    proptest! {
        /// However many come, and whatever they say, no more is kept than is shown.
        #[test]
        fn histories_and_logs_are_bounded(values in proptest::collection::vec(any::<f64>(), 0..400), line in ".{0,600}") {
            let mut ring = Ring::default();
            values.iter().for_each(|value| ring.push(*value));
            prop_assert!(ring.last(usize::MAX).len() <= HISTORY);
            let mut node = Node::new("n".into());
            for _ in 0..3 {
                node.take(News::Log(vec![line.clone(); MAX_LINES]));
            }
            prop_assert!(node.log.len() <= MAX_LINES);
            prop_assert!(node.log.iter().all(|line| line.chars().count() <= MAX_LINE && !line.chars().any(char::is_control)));
        }
    }
}
