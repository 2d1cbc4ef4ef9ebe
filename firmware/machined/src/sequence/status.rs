//! What is told of the running sequence, and the machine's stage that follows from it.

use super::Kind;
use crate::node::Stage;

/// What the machine is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The sequence that runs.
    pub running: Option<Kind>,
    /// It waits for a configuration.
    pub maintenance: bool,
    /// The boot sequence has ended well.
    pub booted: bool,
    /// A sequence has failed so that the machine restarts.
    pub failed: bool,
}

impl Status {
    /// The stage, as clients see it.
    #[must_use]
    pub const fn stage(self) -> Stage {
        match self.running {
            Some(Kind::Shutdown) => Stage::ShuttingDown,
            _ if self.failed => Stage::Rebooting,
            Some(Kind::Reboot) => Stage::Rebooting,
            Some(Kind::Reset) => Stage::Resetting,
            Some(Kind::Install) => Stage::Installing,
            Some(Kind::Upgrade | Kind::StageUpgrade | Kind::MaintenanceUpgrade) => Stage::Upgrading,
            Some(Kind::Initialize) if self.maintenance => Stage::Maintenance,
            None if self.booted => Stage::Running,
            Some(Kind::Initialize | Kind::Boot) | None => Stage::Booting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: Status, wanted: Stage) {
        assert_eq!(status.stage(), wanted, "{status:?}");
    }

    #[test]
    fn stages() {
        let nothing = Status::default();
        let running = |kind| Status { running: Some(kind), ..nothing };
        check(nothing, Stage::Booting);
        check(running(Kind::Initialize), Stage::Booting);
        check(Status { maintenance: true, ..running(Kind::Initialize) }, Stage::Maintenance);
        check(running(Kind::Boot), Stage::Booting);
        check(Status { booted: true, ..nothing }, Stage::Running);
        check(Status { booted: true, ..running(Kind::Reboot) }, Stage::Rebooting);
        check(Status { booted: true, ..running(Kind::Shutdown) }, Stage::ShuttingDown);
        check(running(Kind::Upgrade), Stage::Upgrading);
        check(running(Kind::Reset), Stage::Resetting);
        check(running(Kind::Install), Stage::Installing);
        check(Status { failed: true, ..nothing }, Stage::Rebooting);
        check(Status { failed: true, ..running(Kind::Shutdown) }, Stage::ShuttingDown);
    }
}
