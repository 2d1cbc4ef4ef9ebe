//! `bench api`: what apid costs, beside the same calls without it. On this machine the measurements are those of the example `load` of
//! crate `apid`; in here are their rows, and the same calls to a booted node.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use wire::{
    cosi::{Event, WatchRequest},
    machine::MetaWriteRequest,
};

use crate::{Api, Arch, Machine, node::configured};

/// One turn one way.
#[derive(Clone, Debug, Default)]
pub struct ApiTurn {
    /// Requests a second.
    pub per_s: f64,
    /// Processor time of machined a request, microseconds.
    pub machined_us: f64,
    /// The same of apid.
    pub apid_us: f64,
    /// How long single requests took, one after the other, microseconds.
    pub times_us: Option<Vec<f64>>,
}

/// Medians of all turns, floor and ours.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ApiRow {
    /// What was called.
    pub call: String,
    /// Requests a second around apid.
    pub floor_per_s: f64,
    /// Requests a second through it.
    pub per_s: f64,
    /// `per_s` over `floor_per_s`.
    pub rate_ratio: f64,
    /// Processor time a request around apid, microseconds.
    pub floor_cpu_us: f64,
    /// Of machined, through apid.
    pub machined_cpu_us: f64,
    /// Of apid.
    pub apid_cpu_us: f64,
    /// What apid adds, all processes together, over the floor.
    pub added_ratio: f64,
    /// Median of single calls through apid, microseconds; where they were timed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<f64>,
    /// What one in a hundred takes longer than.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<f64>,
}

impl ApiRow {
    /// From turns of floor and ours.
    #[must_use]
    pub fn of(call: &str, turns: &[[ApiTurn; 2]]) -> Self {
        let median = |way: usize, value: fn(&ApiTurn) -> f64| super::spread(turns.iter().map(|turn| value(&turn[way])).collect()).median;
        let (floor_per_s, per_s) = (median(0, |turn| turn.per_s), median(1, |turn| turn.per_s));
        let floor_cpu_us = median(0, |turn| turn.machined_us);
        let (machined_cpu_us, apid_cpu_us) = (median(1, |turn| turn.machined_us), median(1, |turn| turn.apid_us));
        let mut times: Vec<f64> = turns.iter().filter_map(|turn| turn[1].times_us.as_ref()).flatten().copied().collect();
        times.sort_by(f64::total_cmp);
        let at = |part: usize| times.get(times.len() * part / 100).copied();
        Self {
            call: call.to_owned(),
            floor_per_s,
            per_s,
            rate_ratio: per_s / floor_per_s,
            floor_cpu_us,
            machined_cpu_us,
            apid_cpu_us,
            added_ratio: (machined_cpu_us + apid_cpu_us - floor_cpu_us) / floor_cpu_us,
            p50_us: at(50),
            p99_us: at(99),
        }
    }
}

/// The clock ticks that a process took: user and system time of all its threads, from the text of its `stat` (proc(5), fields 14 and 15).
#[must_use]
pub fn ticks(stat: &str) -> Option<u64> {
    // The second field is a name in brackets that may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// What calls to a booted node take. Around its apid there is no way from outside: the floor is what its machined takes.
#[derive(Debug, Serialize)]
pub struct NodeReport {
    /// By board name.
    pub boards: BTreeMap<String, Vec<NodeRow>>,
}

/// One kind of call.
#[derive(Debug, Serialize)]
pub struct NodeRow {
    /// What was called.
    pub call: &'static str,
    /// Requests a second.
    pub per_s: f64,
    /// Processor time of machined a request, microseconds.
    pub machined_cpu_us: f64,
    /// The same of apid.
    pub apid_cpu_us: f64,
    /// `apid_cpu_us` over `machined_cpu_us`.
    pub added_ratio: f64,
}

/// `Version` calls of a measurement.
const CALLS: usize = 500;
/// The largest file of the image, read until it was so many bytes.
const FILE: (&str, usize) = ("/usr/bin/keelson", 100 << 20);
/// The kernel's clock, ticks a second: the same on both boards.
const CLOCK: f64 = 100.0;

/// Watchers, on one connection, and changes of a measurement. Each is seen by all before the next one is made.
const WATCH: (usize, usize) = (50, 30);
/// What is changed: a META key that nothing else uses.
const KEY: u32 = 0xc1;

/// Measures nodes.
///
/// # Errors
/// When an image is missing or a node does not come up.
pub fn api(arches: &[Arch], repetitions: usize, say: &dyn Fn(&str)) -> Result<NodeReport> {
    ensure!(repetitions > 0, "measure at least once");
    let mut boards = BTreeMap::new();
    for &arch in arches {
        let (_vm, api, _) = configured(Machine::new(arch))?;
        let mut turns: [Vec<NodeRow>; 3] = [Vec::new(), Vec::new(), Vec::new()];
        for turn in 1..=repetitions {
            for (what, rows) in [version, read, watch].into_iter().zip(&mut turns) {
                let row = what(&api)?;
                say(&format!("{arch} {turn}/{repetitions} {}: {:.2} a second", row.call, row.per_s));
                rows.push(row);
            }
        }
        boards.insert(arch.board().to_owned(), turns.into_iter().filter_map(|rows| median(&rows)).collect());
    }
    Ok(NodeReport { boards })
}

fn version(api: &Api) -> Result<NodeRow> {
    measure(api, "Version", CALLS as f64, || (0..CALLS).try_for_each(|_| api.version().map(drop)))
}

fn read(api: &Api) -> Result<NodeRow> {
    let length = api.read(FILE.0)?.len();
    let times = FILE.1.div_ceil(length.max(1));
    let count = (times * length) as f64 / FILE.1 as f64;
    measure(api, "Read of 100 MiB", count, || (0..times).try_for_each(|_| Ok(api.read(FILE.0).map(drop)?)))
}

/// The change itself is a write to the disk, which is machined's.
fn watch(api: &Api) -> Result<NodeRow> {
    let mut watches = Vec::new();
    for _ in 0..WATCH.0 {
        let (namespace, r#type) = ("runtime".to_owned(), "MetaKeys.runtime.talos.dev".to_owned());
        let request = WatchRequest { namespace, r#type, id: None, options: None, api_version: 1 };
        let mut watch = api.call(api.state().watch(request))?;
        api.next(&mut watch).context("the beginning of a watch")?;
        watches.push(watch);
    }
    measure(api, "change seen by 50 watchers", WATCH.1 as f64, || {
        for round in 0..WATCH.1 {
            let word = format!("round-{round}");
            api.call(api.machine().meta_write(MetaWriteRequest { key: KEY, value: word.clone().into_bytes() }))?;
            for watch in &mut watches {
                while !api.next(watch)?.event.iter().any(|event| says(event, &word)) {}
            }
        }
        Ok(())
    })
}

fn says(event: &Event, word: &str) -> bool {
    let spec = event.resource.as_ref().and_then(|resource| resource.spec.as_ref());
    spec.is_some_and(|spec| spec.yaml_spec.lines().any(|line| line.ends_with(word)))
}

fn measure(api: &Api, call: &'static str, count: f64, work: impl FnOnce() -> Result<()>) -> Result<NodeRow> {
    let before = node_ticks(api)?;
    let start = Instant::now();
    work()?;
    let seconds = start.elapsed().as_secs_f64();
    let after = node_ticks(api)?;
    let micros = |at: usize| after[at].saturating_sub(before[at]) as f64 / CLOCK * 1e6 / count;
    let (machined_cpu_us, apid_cpu_us) = (micros(0), micros(1));
    Ok(NodeRow { call, per_s: count / seconds, machined_cpu_us, apid_cpu_us, added_ratio: apid_cpu_us / machined_cpu_us })
}

fn median(rows: &[NodeRow]) -> Option<NodeRow> {
    let median = |value: fn(&NodeRow) -> f64| super::spread(rows.iter().map(value).collect()).median;
    let (machined_cpu_us, apid_cpu_us) = (median(|row| row.machined_cpu_us), median(|row| row.apid_cpu_us));
    let added_ratio = apid_cpu_us / machined_cpu_us;
    Some(NodeRow { call: rows.first()?.call, per_s: median(|row| row.per_s), machined_cpu_us, apid_cpu_us, added_ratio })
}

/// Of machined and apid.
fn node_ticks(api: &Api) -> Result<[u64; 2]> {
    let apid = api.processes()?.into_iter().find(|process| process.command == "apid").context("no apid")?.pid;
    let of = |pid: i32| -> Result<u64> {
        let text = api.read_text(&format!("/proc/{pid}/stat"))?;
        ticks(&text).with_context(|| format!("/proc/{pid}/stat: {text:?}"))
    };
    Ok([of(1)?, of(apid)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let rest = "S 1 1 1 0 -1 4194560 100 0 0 0 17 25 0 0 20 0 5 0 10 1000 200";
        for name in ["apid", "a) (b", "x y"] {
            assert_eq!(ticks(&format!("42 ({name}) {rest}")), Some(42), "{name}");
        }
        assert_eq!(ticks("42 (apid) S 1"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn rows_are_medians_and_their_ratios() {
        let turn = |per_s, machined_us, apid_us| ApiTurn { per_s, machined_us, apid_us, times_us: Some(vec![1.0, 2.0, 9.0]) };
        let floor = turn(200.0, 100.0, 0.0);
        let row = ApiRow::of("Version", &[[floor.clone(), turn(100.0, 90.0, 60.0)], [floor, turn(100.0, 90.0, 60.0)]]);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(row.rate_ratio, 0.5) && close(row.added_ratio, 0.5), "{row:?}");
        assert!(row.p50_us == Some(2.0) && row.p99_us == Some(9.0), "{row:?}");
    }
}
