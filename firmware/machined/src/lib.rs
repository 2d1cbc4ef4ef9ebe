//! PID 1: boot, volumes, network, services, console and the machine API.
#![forbid(unsafe_code)]

pub mod events;
pub mod logs;
pub mod console;
pub mod node;
