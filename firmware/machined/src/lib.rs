//! PID 1: boot, volumes, network, services, console and the machine API.
//!
//! - [`run`]: the program's entry. [`boot`]: what the machine does from start to end, and what happens when all fails.
//! - [`sequence`]: how that is run: one sequence of phases at a time, and who may replace whom.
//! - [`node`]: what the parts tell each other; each subject has one writer.
//! - [`disk`], [`net`], [`config`]: the system disk, the network, the configuration in force; [`state`]: small files on STATE.
//! - [`identity`], [`platform`]: who the node is, and what the place that it is in says of it.
//! - [`firewall`], [`time`], [`params`]: who gets in, when it is, and what the kernel is told.
//! - [`resources`]: what is known of all that, as generic clients read it.
//! - [`services`], [`api`]: supervised services; the machine API on its socket.
//! - [`logs`], [`events`], [`console`]: what people and clients see of all that.
//!
//! Rules: nothing blocks the reactor, every task has an owner, nothing from outside can make this program panic, and
//! when it does all the same [`boot::failsafe`] ends it in order. Children are started by `linux::process` alone.
#![forbid(unsafe_code)]

pub mod api;
pub mod boot;
pub mod config;
pub mod console;
pub mod disk;
pub mod events;
pub mod firewall;
#[doc(hidden)]
pub mod fuzz;
pub mod identity;
pub mod logs;
pub mod net;
pub mod node;
pub mod params;
pub mod platform;
pub mod resources;
pub mod sequence;
pub mod services;
pub mod state;
pub mod time;

pub use boot::setup::read_program_ahead;

use std::process::ExitCode;

/// Exit code of a start that makes no sense.
const USAGE: u8 = 2;

/// Runs the node as PID 1, for ever. Any other process says what it is and ends with code 2.
#[must_use]
pub fn run() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("machined is the first process of a Keelson node; started as process {} it does nothing", std::process::id());
        return ExitCode::from(USAGE);
    }
    boot::init()
}
