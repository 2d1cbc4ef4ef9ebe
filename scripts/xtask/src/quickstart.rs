//! `quickstart`: from nothing to a running node that somebody can look at.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use imager::Profile;
use qemu::{
    Api, Arch, Machine, TestVm,
    api::wait_for,
    limits,
    node::{Access, maintenance, running},
};

use crate::{image, sealed};

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Architecture of the board.
    #[arg(default_value = "x86_64")]
    pub arch: Arch,
    /// Fail when anything about the node is not as it should be.
    #[arg(long)]
    pub check: bool,
    /// Leave the node running and say how to reach it.
    #[arg(long)]
    pub keep: bool,
    /// Fail when the mirror no longer has a locked package, instead of resolving all of them anew.
    #[arg(long)]
    pub locked: bool,
}

/// One row of the closing table: what, how it is, whether that is right.
struct Row(&'static str, String, bool);

/// `cargo xtask quickstart`.
pub fn run(arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    let say = |text: &str| eprintln!("[{:02}:{:02}] quickstart {text}", start.elapsed().as_secs() / 60, start.elapsed().as_secs() % 60);
    let board = arguments.arch.board();
    say(&format!("building {board}"));
    image::build(&image::Arguments { locked: arguments.locked, ..image::Arguments::of(board, Profile::Release) })?;

    say("booting it in QEMU, through its firmware, on a new disk three times the image's size");
    let mut vm = TestVm::boot(Machine::new(arguments.arch).firmware())?;
    maintenance(&mut vm)?;
    say("the node waits for a configuration: generating one and applying it, as `keelctl apply-config --insecure` does");
    let access = Access::generate()?;
    let api = Api::insecure(vm.api_address())?;
    wait_for("the configuration to be taken", limits::SETTLE, || Ok(api.apply(&access.config)?))?;
    let api = running(&mut vm, &access)?;
    // Services come up one after the other; what is still missing then is a finding and not an error.
    let _ =
        wait_for(
            "healthy services",
            limits::SETTLE,
            || if services(&api)?.iter().all(|row| row.2) { Ok(()) } else { bail!("some are not") },
        );
    say("the node runs");

    let rows = look(&api)?;
    print(&rows);
    let wrong: Vec<&str> = rows.iter().filter(|row| !row.2).map(|row| row.0).collect();
    let folder = hand_over(&vm, &access)?;
    if arguments.keep {
        how_to_go_on(&vm, &folder, true);
        fs::write(folder.join("ready"), "").context("say that the node is ready")?;
        // Until somebody powers the node off, or ends this process and QEMU with it.
        while vm.must_run().is_ok() {
            thread::sleep(limits::POLL);
        }
        return Ok(());
    }
    say("shutting it down");
    api.shutdown()?;
    vm.wait_power_off()?;
    how_to_go_on(&vm, &folder, false);
    if arguments.check && !wrong.is_empty() {
        bail!("not as it should be: {}", wrong.join(", "));
    }
    Ok(())
}

/// What the table says, each line asked from the node.
fn look(api: &Api) -> Result<Vec<Row>> {
    let version = api.version()?.version.context("the version answer is empty")?;
    let mounts = api.read_text("/proc/mounts")?;
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap_or("none");
    let words: Vec<&str> = root.split(' ').collect();
    let sealed = words.get(2) == Some(&"erofs") && words.get(3).is_some_and(|options| options.split(',').any(|option| option == "ro"));
    let verity = api.read_text("/proc/cmdline")?.contains(" verity 1 ");
    let stats = api.mounts()?;
    let data = stats.iter().find(|mount| mount.mounted_on == "/var");
    let memory = api.read_text("/proc/meminfo")?;
    let mut rows = vec![
        Row("version", format!("{} ({}/{})", version.tag, version.os, version.arch), version.tag.contains("+keelson.")),
        Row("kernel", api.read_text("/proc/sys/kernel/osrelease")?.trim().to_owned(), true),
        Row("root", words.iter().take(4).copied().collect::<Vec<_>>().join(" "), sealed),
        Row("verity", if verity { "active, panic on corruption" } else { "missing" }.to_owned(), verity),
        Row("data", data.map_or("not mounted".to_owned(), |mount| format!("/var, {} MiB", mount.size >> 20)), data.is_some()),
        Row("memory", memory_line(&memory), true),
    ];
    rows.extend(services(api)?);
    Ok(rows)
}

fn memory_line(meminfo: &str) -> String {
    let mib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib >> 10)
    };
    match (mib("MemAvailable"), mib("MemTotal")) {
        (Some(free), Some(all)) => format!("{free} of {all} MiB available"),
        _ => "unknown".to_owned(),
    }
}

fn services(api: &Api) -> Result<Vec<Row>> {
    let row = |service: wire::machine::ServiceInfo| {
        let healthy = service.health.as_ref().is_some_and(|health| health.healthy);
        let text = format!("{} {}, {}", service.id, service.state, if healthy { "healthy" } else { "not healthy" });
        Row("service", text, service.state == "Running" && healthy)
    };
    Ok(api.services()?.into_iter().map(row).collect())
}

fn print(rows: &[Row]) {
    println!("\n  {:<10} {:<60} ok", "what", "how it is");
    for Row(what, text, right) in rows {
        println!("  {what:<10} {text:<60} {}", if *right { "yes" } else { "NO" });
    }
    println!();
}

/// Writes the keys and the configuration to out/<board>/quickstart/, readable by their owner only.
fn hand_over(vm: &TestVm, access: &Access) -> Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let folder =
        sealed::project().canonicalize().context("find the project's folder")?.join("out").join(vm.machine.arch.board()).join("quickstart");
    let mut talosconfig = access.talosconfig.clone();
    let context = talosconfig.get_mut(None).context("the generated client configuration has no context")?;
    context.endpoints = vec![vm.api_address().to_string()];
    context.nodes = vec!["127.0.0.1".to_owned()];
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(|| format!("make {}", folder.display()))?;
    for (name, text) in [("talosconfig", talosconfig.to_yaml()?.expose()), ("controlplane.yaml", access.config.as_str())] {
        let path = folder.join(name);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
        written.with_context(|| format!("write {}", path.display()))?;
    }
    Ok(folder)
}

fn how_to_go_on(vm: &TestVm, folder: &Path, running: bool) {
    let board = vm.machine.arch.board();
    // Paths as seen from the project's folder: inside the root it is called otherwise.
    let folder = folder.strip_prefix(sealed::project().canonicalize().unwrap_or_default()).unwrap_or(folder).display();
    if running {
        println!("The node runs; its API is at {}.", vm.api_address());
        println!("  look at it      scripts/x keelctl --talosconfig {folder}/talosconfig services");
    } else {
        println!("How to go on:");
        println!("  keep it running scripts/quickstart {} --keep", vm.machine.arch);
    }
    println!("  its files       {folder}/ (talosconfig, controlplane.yaml)");
    println!("  onto a disk     cargo xtask flash {board} /dev/<disk>");
    println!("  the tests       scripts/test");
}
