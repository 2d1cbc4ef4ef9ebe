//! The sequences by name, and which may replace which.

use std::fmt;

/// A sequence. Names are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// From the start of PID 1 until there is a configuration; maintenance is in it.
    Initialize,
    /// From the configuration until everything runs.
    Boot,
    /// Puts the system on a disk.
    Install,
    /// To another version, now.
    Upgrade,
    /// To another version, with the next boot.
    StageUpgrade,
    /// To another version, from maintenance.
    MaintenanceUpgrade,
    /// Wipes and restarts.
    Reset,
    /// Restarts.
    Reboot,
    /// Switches off.
    Shutdown,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Initialize,
        Self::Boot,
        Self::Install,
        Self::Upgrade,
        Self::StageUpgrade,
        Self::MaintenanceUpgrade,
        Self::Reset,
        Self::Reboot,
        Self::Shutdown,
    ];

    /// The name in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Boot => "boot",
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::StageUpgrade => "stageUpgrade",
            Self::MaintenanceUpgrade => "maintenanceUpgrade",
            Self::Reset => "reset",
            Self::Reboot => "reboot",
            Self::Shutdown => "shutdown",
        }
    }

    /// Whether this sequence, running, gives way to `other` without being forced to.
    #[must_use]
    pub const fn gives_way_to(self, other: Self) -> bool {
        match self {
            Self::Initialize => matches!(other, Self::MaintenanceUpgrade | Self::Reboot),
            Self::Boot => matches!(other, Self::Reboot | Self::Reset | Self::Upgrade),
            Self::Reboot | Self::Reset => matches!(other, Self::Reboot),
            Self::Install | Self::Upgrade | Self::StageUpgrade | Self::MaintenanceUpgrade | Self::Shutdown => false,
        }
    }

    /// Whether the machine is gone when it has ended well.
    #[must_use]
    pub const fn goes_down(self) -> bool {
        !matches!(self, Self::Initialize | Self::Boot | Self::Install)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind::*, *};

    /// The reference's table, written by hand: running, and by what it may be replaced.
    #[test]
    fn who_gives_way_to_whom() {
        let table: [(Kind, &[Kind]); 9] = [
            (Initialize, &[MaintenanceUpgrade, Reboot]),
            (Boot, &[Upgrade, Reset, Reboot]),
            (Install, &[]),
            (Upgrade, &[]),
            (StageUpgrade, &[]),
            (MaintenanceUpgrade, &[]),
            (Reset, &[Reboot]),
            (Reboot, &[Reboot]),
            (Shutdown, &[]),
        ];
        for (running, wanted) in table {
            let found: Vec<Kind> = Kind::ALL.into_iter().filter(|other| running.gives_way_to(*other)).collect();
            assert_eq!(found, wanted, "{running}");
        }
    }
}
