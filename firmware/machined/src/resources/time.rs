//! The clock as resources.

use linux::clock::ClockState;
use reconcile::Output;
use resource::{
    Nanoseconds,
    kinds::time::{AdjtimeStatusSpec, NODE, NtpStatusSpec, TimeStatusSpec},
};

use super::mirror::Mirror;
use crate::{node::Node, time::TimeStatus};

/// The kernel's flags (`linux/timex.h`).
const FLAGS: [(i32, &str); 16] = [
    (0x0001, "STA_PLL"),
    (0x0002, "STA_PPSFREQ"),
    (0x0004, "STA_PPSTIME"),
    (0x0008, "STA_FLL"),
    (0x0010, "STA_INS"),
    (0x0020, "STA_DEL"),
    (0x0040, "STA_UNSYNC"),
    (0x0080, "STA_FREQHOLD"),
    (0x0100, "STA_PPSSIGNAL"),
    (0x0200, "STA_PPSJITTER"),
    (0x0400, "STA_PPSWANDER"),
    (0x0800, "STA_PPSERROR"),
    (0x1000, "STA_CLOCKERR"),
    (0x2000, "STA_NANO"),
    (0x4000, "STA_MODE"),
    (0x8000, "STA_CLK"),
];
/// The kernel's words for the clock, by number.
const STATES: [&str; 6] = ["TIME_OK", "TIME_INS", "TIME_DEL", "TIME_OOP", "TIME_WAIT", "TIME_ERROR"];

pub(super) fn reconciler(node: &Node) -> Mirror<TimeStatus> {
    let outputs =
        vec![Output::exclusive::<TimeStatusSpec>(), Output::exclusive::<AdjtimeStatusSpec>(), Output::exclusive::<NtpStatusSpec>()];
    Mirror::new("runtime.time", &node.time, outputs, |status, context| {
        context.keep([(NODE.to_owned(), synced(status))])?;
        context.keep(status.clock.as_ref().map(|clock| (NODE.to_owned(), adjtime(clock))))?;
        let spikes = NtpStatusSpec { spike_detected: status.spikes > 0, consecutive_spikes: status.spikes.into() };
        context.keep([(NODE.to_owned(), spikes)])?;
        Ok(())
    })
}

fn synced(status: &TimeStatus) -> TimeStatusSpec {
    TimeStatusSpec { synced: status.synced, epoch: i64::try_from(status.epoch).unwrap_or(i64::MAX), sync_disabled: status.disabled }
}

fn adjtime(clock: &ClockState) -> AdjtimeStatusSpec {
    let set = FLAGS.iter().filter(|(flag, _)| clock.status & flag != 0).map(|(_, name)| *name);
    let state = usize::try_from(clock.state).ok().and_then(|state| STATES.get(state));
    AdjtimeStatusSpec {
        offset: Nanoseconds(clock.offset),
        frequency_adjustment_ratio: clock.frequency,
        max_error: clock.max_error.into(),
        est_error: clock.est_error.into(),
        status: set.collect::<Vec<_>>().join(" | "),
        constant: clock.constant,
        sync_status: clock.is_synchronised(),
        state: (*state.unwrap_or(&"")).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use resource::Value;

    use super::*;

    #[test]
    fn a_clock_is_told_in_the_kernels_words() {
        let clock = ClockState { offset: -1_500_000, frequency: 1.0, status: 0x2001, ..ClockState::default() };
        let expect = "offset: -1.5ms\nfrequencyAdjustmentRatio: 1.0\nmaxError: 0s\nestError: 0s\nstatus: STA_PLL | STA_NANO\nconstant: 0\n\
                      syncStatus: true\nstate: TIME_OK\n";
        assert_eq!(adjtime(&clock).form().to_yaml().unwrap(), expect);
        let lost = ClockState { status: 0x41, state: 5, ..ClockState::default() };
        assert_eq!((adjtime(&lost).sync_status, adjtime(&lost).state.as_str()), (false, "TIME_ERROR"));
    }
}
