//! The clock.

use crate::Nanoseconds;

/// The only id of each type here.
pub const NODE: &str = "node";

crate::message! {
    /// Whether the time is known.
    pub struct TimeStatusSpec {
        /// It can be relied on.
        1 synced: bool = "synced",
        /// How often it changed so much that dates made before are not to be trusted.
        2 epoch: i64 = "epoch",
        /// Nobody wants it to be synchronised.
        3 sync_disabled: bool = "syncDisabled",
    }

    /// The kernel's clock (`adjtimex(2)`).
    pub struct AdjtimeStatusSpec {
        /// Still to be slewed.
        1 offset: Nanoseconds = "offset",
        /// How fast it is made to run; 1 is as the hardware does.
        2 frequency_adjustment_ratio: f64 = "frequencyAdjustmentRatio",
        /// How wrong it may be.
        3 max_error: Nanoseconds = "maxError",
        /// How wrong it probably is.
        4 est_error: Nanoseconds = "estError",
        /// The kernel's flags.
        5 status: String = "status",
        /// Time constant of the kernel's loop.
        6 constant: i64 = "constant",
        /// Somebody keeps it right.
        7 sync_status: bool = "syncStatus",
        /// The kernel's word for it.
        8 state: String = "state",
    }

    /// What servers say that is not believed.
    pub struct NtpStatusSpec {
        /// There was such a thing in the last round.
        1 spike_detected: bool = "spikeDetected",
        /// In how many rounds in a row.
        2 consecutive_spikes: i64 = "consecutiveSpikes",
    }
}

kinds! {
    TimeStatusSpec: "TimeStatuses.v1alpha1.talos.dev" in "runtime", [], ["Synced" = "{.synced}"];
    AdjtimeStatusSpec: "AdjtimeStatuses.v1alpha1.talos.dev" in "runtime", [],
        ["Offset" = "{.offset}", "EstError" = "{.estError}", "MaxError" = "{.maxError}", "Status" = "{.status}", "Sync" = "{.syncStatus}"];
    NtpStatusSpec: "NTPStatuses.v1alpha1.talos.dev" in "runtime", [],
        ["Spike Detected" = "{.spikeDetected}", "Consecutive Spikes" = "{.consecutiveSpikes}"];
}
