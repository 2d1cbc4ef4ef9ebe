//! When all fails: say why, count down, save what can be saved, restart. PID 1 never returns and never panics out.

use std::{
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use linux::{
    kmsg::{Level, Writer},
    mount, power,
    process::Signal,
};

use super::facts::CommandLine;
use crate::console::Consoles;

/// Seconds between the message and the restart, so that a person can read it.
const COUNTDOWN: u64 = 10;
/// Longest wait for a sync of a disk that may be dead.
const SYNC_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for a console to take the message.
const CONSOLE_LIMIT: Duration = Duration::from_millis(200);
/// Rounds of unmounting; a mount below another one goes first, and a busy one may be free in the next round.
const UNMOUNT_ROUNDS: usize = 10;
/// Between two rounds.
const UNMOUNT_PAUSE: Duration = Duration::from_millis(100);

/// Beginning of the message that ends a boot.
const FATAL: &str = "FATAL";

/// The consoles of this boot, for the last words.
static CONSOLES: OnceLock<Arc<Consoles>> = OnceLock::new();

/// Remembers the consoles in use.
pub fn remember(consoles: &Arc<Consoles>) {
    // A second call cannot happen; the first consoles would be as good.
    let _ = CONSOLES.set(Arc::clone(consoles));
}

/// Says it on every console and in the kernel log, past all queues and tasks.
pub fn say(text: &str) {
    // At "warning" the kernel does not print it on the consoles a second time.
    let level = if text.starts_with(FATAL) { Level::Critical } else { Level::Warning };
    if let Ok(writer) = Writer::open() {
        // Nobody is left to tell that the kernel log is gone.
        let _ = writer.write(level, "keelson", text);
    }
    match CONSOLES.get() {
        Some(consoles) => consoles.shout(text, CONSOLE_LIMIT),
        None => Consoles::open().shout(text, CONSOLE_LIMIT),
    }
}

/// The end of a boot that failed: never returns.
pub fn fatal(cause: &str) -> ! {
    say(&format!("{FATAL}: {cause}"));
    let command_line = CommandLine::parse(&std::fs::read_to_string("/proc/cmdline").unwrap_or_default());
    if command_line.last("panic") == Some("0") {
        say("panic=0 is on the kernel command line: waiting for ever, restart by hand");
        loop {
            thread::park();
        }
    }
    for left in (1..=COUNTDOWN).rev() {
        say(&format!("restarting in {left} s"));
        thread::sleep(Duration::from_secs(1));
    }
    kill_everybody(Duration::from_secs(1));
    for busy in unmount_disks(true) {
        say(&busy);
    }
    go_down(power::restart)
}

/// Writes out and acts; when the kernel refuses to go down, the watchdog is what is left.
pub fn go_down(act: fn() -> power::PowerError) -> ! {
    if let Err(error) = power::sync(SYNC_LIMIT) {
        say(&daemon::report(&error).to_string());
    }
    loop {
        say(&daemon::report(&act()).to_string());
        thread::sleep(Duration::from_secs(60));
    }
}

/// SIGTERM to everybody, SIGKILL after `grace` (sooner when nobody is left).
pub fn kill_everybody(grace: Duration) {
    let step = Duration::from_millis(20);
    let mut left = power::signal_everybody(Signal::SIGTERM);
    let mut waited = Duration::ZERO;
    while matches!(left, Ok(true)) && waited < grace {
        thread::sleep(step);
        waited += step;
        left = others().map_or(Ok(true), |count| Ok(count > 0));
    }
    for result in [left.map(drop), power::signal_everybody(Signal::SIGKILL).map(drop)] {
        if let Err(error) = result {
            say(&daemon::report(&error).to_string());
        }
    }
}

/// User processes besides PID 1 that are not zombies; kernel threads have no command line.
fn others() -> Option<usize> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let alive = pids.filter(|pid| *pid != 1 && std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()));
    Some(alive.count())
}

/// Unmounts everything that comes from a device but the root, newest first; gives what stayed, for people. `let_go` takes what is busy
/// to the last out of the tree all the same.
pub fn unmount_disks(let_go: bool) -> Vec<String> {
    let mut left = Vec::new();
    for round in 0..UNMOUNT_ROUNDS {
        left.clear();
        let mounts = match mount::mounts() {
            Ok(mounts) => mounts,
            Err(error) => return vec![daemon::report(&error).to_string()],
        };
        for entry in mounts.iter().rev().filter(|entry| entry.device.starts_with("/dev/")) {
            if entry.target.as_os_str() == "/" {
                continue;
            }
            // The last round lets go of what is busy: open files stay usable, and the sync that follows writes them out.
            if let Err(error) = mount::unmount(&entry.target, let_go && round + 1 == UNMOUNT_ROUNDS) {
                left.push(daemon::report(&error).to_string());
            }
        }
        if left.is_empty() {
            break;
        }
        thread::sleep(UNMOUNT_PAUSE);
    }
    left
}
