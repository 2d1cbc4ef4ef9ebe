//! What is done to nodes: restarts, resets, META's keys.

use clap::{Args, Subcommand, ValueEnum};

use super::Insecure;

#[derive(Debug, Args)]
pub struct Reboot {
    /// How
    #[arg(short, long, value_enum, default_value_t = RebootMode::Default)]
    pub mode: RebootMode,
    #[command(flatten)]
    pub wait: Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RebootMode {
    /// Stop everything in order
    Default,
    /// Through the firmware, even where a shorter way exists
    Powercycle,
    /// Without stopping workloads in order
    Force,
}

#[derive(Debug, Args)]
pub struct Shutdown {
    /// Without stopping workloads in order
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub wait: Wait,
}

/// With no labels the whole system disk is wiped, and the machine boots from it no more until an image is flashed. STATE and EPHEMERAL
/// together leave a node that waits for a configuration; META as well, one as it was flashed.
#[derive(Debug, Args)]
pub struct Reset {
    /// Stop workloads in order first
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub graceful: bool,
    /// Restart afterwards instead of powering off
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub reboot: bool,
    /// Wipe these partitions of the system disk only: STATE, EPHEMERAL, META
    #[arg(long, value_delimiter = ',', value_name = "LABEL")]
    pub system_labels_to_wipe: Vec<String>,
    /// Wipe these other disks as well: /dev/sdb
    #[arg(long, value_delimiter = ',', value_name = "DEVICE")]
    pub user_disks_to_wipe: Vec<String>,
    /// Which disks may be wiped
    #[arg(long, value_enum, default_value_t = WipeMode::All)]
    pub wipe_mode: WipeMode,
    #[command(flatten)]
    pub wait: Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WipeMode {
    /// The system disk, and those that are named
    All,
    /// The system disk
    SystemDisk,
    /// Those that are named
    UserDisks,
}

#[derive(Debug, Subcommand)]
pub enum Meta {
    /// Store a value
    Write {
        /// Key, 0 to 255 or 0x00 to 0xff
        #[arg(value_parser = meta_key)]
        key: u8,
        /// Value
        value: String,
        #[command(flatten)]
        insecure: Insecure,
    },
    /// Remove a value
    Delete {
        /// Key, 0 to 255 or 0x00 to 0xff
        #[arg(value_parser = meta_key)]
        key: u8,
        #[command(flatten)]
        insecure: Insecure,
    },
}

fn meta_key(text: &str) -> Result<u8, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| "a key is a number from 0 to 255 (0x00 to 0xff)".to_owned())
}

/// Waiting for an action to be over.
#[derive(Clone, Copy, Debug, Args)]
pub struct Wait {
    /// Wait until it is done and show its steps
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "30m")]
    pub timeout: jiff::SignedDuration,
}
