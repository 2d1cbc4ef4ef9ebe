//! `bench api`: what apid costs.

use std::path::PathBuf;

use anyhow::{Context, Result};
use qemu::{Arch, bench::ApiRow};

use super::Arguments;
use crate::{
    check::cargo,
    command::{output, run},
    sealed,
};

/// With the image's program as it is shipped, on loopback.
pub fn host(arguments: &Arguments) -> Result<()> {
    let program = ["--quiet", "--locked", "--release", "--package"];
    run(cargo().arg("build").args(program).arg("keelson"))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| sealed::project().join("target"), PathBuf::from);
    let mut load = cargo();
    load.arg("run").args(program).args(["apid", "--example", "load", "--"]);
    load.arg(target.join("release/keelson")).arg(arguments.repetitions.to_string());
    let rows: Vec<ApiRow> = serde_json::from_slice(&output(&mut load)?).context("read what the measurement printed")?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    println!(
        "{:<27} {:>9} {:>9} {:>6} {:>10} {:>11} {:>9} {:>6} {:>8} {:>8}",
        "a second, us of processor", "floor/s", "ours/s", "ratio", "floor us", "machined us", "apid us", "added", "p50 us", "p99 us"
    );
    for row in rows {
        let time = |time: Option<f64>| time.map_or(String::new(), |time| format!("{time:.0}"));
        println!(
            "{:<27} {:>9.1} {:>9.1} {:>6.2} {:>10.0} {:>11.0} {:>9.0} {:>6.2} {:>8} {:>8}",
            row.call,
            row.floor_per_s,
            row.per_s,
            row.rate_ratio,
            row.floor_cpu_us,
            row.machined_cpu_us,
            row.apid_cpu_us,
            row.added_ratio,
            time(row.p50_us),
            time(row.p99_us)
        );
    }
    Ok(())
}

/// The same calls to booted nodes.
pub fn vm(arguments: &Arguments, arches: &[Arch]) -> Result<()> {
    let report = qemu::bench::api(arches, arguments.repetitions, &|line| eprintln!("{line}"))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!("{:<14} {:<27} {:>9} {:>12} {:>9} {:>6}", "", "a second", "ours/s", "machined us", "apid us", "added");
    for (name, rows) in &report.boards {
        for row in rows {
            let (machined, apid) = (row.machined_cpu_us, row.apid_cpu_us);
            println!("{name:<14} {:<27} {:>9.1} {machined:>12.0} {apid:>9.0} {:>6.2}", row.call, row.per_s, row.added_ratio);
        }
    }
    Ok(())
}
