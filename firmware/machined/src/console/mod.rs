//! The serial consoles: the boot log, then diagnostics.
//!
//! - [`Consoles`]: every active console; a sink of the log that never blocks ([`port`]).
//! - [`start`]: after boot each console shows the node's status ([`snapshot`], [`render`]), refreshed in place on a
//!   terminal that answers and appended on change to one that does not ([`session`]); keys switch between status,
//!   kernel log and service logs ([`input`], [`screen`]).
//!
//! Read-only on purpose: nothing that arrives on a console changes the node, and no secret is shown.

pub mod input;
pub mod port;
pub mod render;
pub mod screen;
pub mod session;
pub mod snapshot;
mod task;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use daemon::log::{Line, Sink};

use crate::node::Node;
use port::Port;

/// Where the kernel lists its active consoles.
const ACTIVE: &str = "/sys/class/tty/console/active";

/// More consoles than this are not opened.
const MOST: usize = 8;

/// Every active console.
#[derive(Debug, Default)]
pub struct Consoles {
    ports: Vec<Arc<Port>>,
    /// Consoles that the kernel lists and that could not be opened, with the reason.
    unusable: Vec<String>,
}

impl Consoles {
    /// Opens every console that the kernel has. Never fails: a console that cannot be used is remembered in
    /// [`Self::unusable`]. Works before any runtime exists.
    #[must_use]
    pub fn open() -> Self {
        let names = std::fs::read_to_string(ACTIVE).unwrap_or_default();
        Self::open_named(&names, Path::new("/dev"))
    }

    /// As [`Self::open`], from the text of the kernel's list and a folder of device nodes.
    #[must_use]
    pub fn open_named(names: &str, devices: &Path) -> Self {
        let mut consoles = Self::default();
        for name in names.split_whitespace().filter(|name| is_terminal(name)).take(MOST) {
            match Port::open(name, &devices.join(name)) {
                Ok(port) => consoles.ports.push(Arc::new(port)),
                Err(error) => consoles.unusable.push(daemon::report(&error).to_string()),
            }
        }
        consoles
    }

    /// Why consoles that the kernel lists are not used.
    #[must_use]
    pub fn unusable(&self) -> &[String] {
        &self.unusable
    }

    /// The consoles in use.
    #[must_use]
    pub fn ports(&self) -> &[Arc<Port>] {
        &self.ports
    }

    /// Writes a message to every console whatever it shows now (a fatal error, the last words before a reboot), and
    /// gives the ports `limit` each to send it.
    pub fn shout(&self, text: &str, limit: Duration) {
        for port in &self.ports {
            for line in text.lines() {
                port.push(format!("{}\n", screen::clean(line)).as_bytes());
            }
            port.flush(limit);
        }
    }
}

/// netconsole, pstore and the like take no terminal input and are not listed as ttys.
fn is_terminal(name: &str) -> bool {
    !name.is_empty() && name.len() < 32 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Sink for Consoles {
    fn write(&self, line: &Line) {
        let target = line.target.rsplit("::").next().unwrap_or(&line.target);
        let level = match line.level {
            log::Level::Error => " ERROR",
            log::Level::Warn => " warning:",
            _ => "",
        };
        for part in line.text.lines() {
            let text = format!("[{:9.3}] {target}:{level} {}\n", line.monotonic.as_secs_f64(), screen::clean(part));
            for port in &self.ports {
                port.log(line.level, &text);
            }
        }
    }
}

/// Reads the newest lines of a log: at most so many, oldest first.
pub type Tail = Box<dyn Fn(usize) -> Vec<String> + Send + Sync>;
/// The same for the log of a service by its name.
pub type ServiceTail = Box<dyn Fn(&str, usize) -> Vec<String> + Send + Sync>;

/// Logs that the diagnostics can show. Both are called on the runtime and must not block.
pub struct Sources {
    /// The kernel's log.
    pub kernel: Tail,
    /// A service's log.
    pub service: ServiceTail,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// Starts the diagnostics on every console; returns at once. The tasks belong to `node.tasks` and end with `node.stop`.
pub fn start(node: &Arc<Node>, consoles: &Arc<Consoles>, sources: Sources) {
    let sources = Arc::new(sources);
    for reason in consoles.unusable() {
        log::warn!("console not used: {reason}");
    }
    for port in consoles.ports() {
        let world = snapshot::World::new(Arc::clone(node), Arc::clone(consoles), Arc::clone(&sources));
        node.tasks.spawn(task::run(Arc::clone(port), world, node.stop.clone()));
    }
}
