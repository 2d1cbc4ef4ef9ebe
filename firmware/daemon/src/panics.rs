//! Panics as log lines.

use std::{
    any::Any,
    panic::{self, PanicHookInfo},
    thread,
};

/// Replaces the default hook (which writes to stderr) by one that logs at error level.
///
/// The panic itself goes on unwinding: the owner of the task decides what it means.
pub fn panic_hook() {
    panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let thread = thread::current();
        let place = info.location().map_or_else(|| "unknown place".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
        log::error!(target: "panic", "thread {}: {} at {place}", thread.name().unwrap_or("unnamed"), panic_text(info.payload()));
    }));
}

/// The message of a caught panic.
#[must_use]
pub fn panic_text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "panic without a message"
    }
}
