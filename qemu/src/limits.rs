//! How long each wait may take: generous for a loaded machine under emulation, finite for a hang.

use std::time::Duration;

/// From QEMU's start to the API's first answer. A first boot takes 10-25 s under emulation.
pub const API: Duration = Duration::from_secs(180);

/// From a request to power off (or reboot) to QEMU's exit (or reset).
pub const POWER_OFF: Duration = Duration::from_secs(90);

/// From QEMU's start to a text on the serial port that every boot prints, or that a broken one must.
pub const SERIAL: Duration = Duration::from_secs(120);

/// For the node to notice something: a changed configuration, a link, a service that went away.
pub const SETTLE: Duration = Duration::from_secs(60);

/// From a kernel that stands still to the next boot's first line: the watchdog's two minutes, and a slow clock.
pub const WATCHDOG: Duration = Duration::from_secs(300);

/// For QEMU's monitor socket to appear and answer.
pub const MONITOR: Duration = Duration::from_secs(10);

/// For what is there already to arrive over an open stream: silence for so long means that there is no more.
pub const QUIET: Duration = Duration::from_secs(3);

/// Pause between two looks at a condition.
pub const POLL: Duration = Duration::from_millis(25);

/// For a processor to come by in a process that is kept busy.
pub const COME_BY: Duration = Duration::from_secs(60);
