//! A reconciler that reads the kernel whenever it speaks of a subsystem's devices.

use std::time::Duration;

use linux::uevent::Uevents;
use reconcile::{Context, Declaration, Failure, Output, Reconciler, Task};
use tokio::time::{Instant, sleep_until};

/// Messages closer together than this are one: a disk with partitions makes a dozen.
const TOGETHER: Duration = Duration::from_millis(100);

/// Reads what there is; may block.
type Read<T> = fn() -> Result<T, Failure>;
/// Writes it down.
type Write<T> = fn(&T, &Context) -> Result<(), Failure>;

/// Reads and writes down at the start and after every message of the kernel.
#[derive(Debug)]
pub(super) struct Listener<T> {
    name: &'static str,
    subsystem: &'static str,
    outputs: Vec<Output>,
    read: Read<T>,
    write: Write<T>,
    /// Opened at the first turn, before anything is read: what comes then is heard.
    uevents: Option<Uevents>,
    not_before: Instant,
}

impl<T> Listener<T> {
    /// `write` keeps each of the `outputs` by what `read` has found.
    pub(super) fn new(name: &'static str, subsystem: &'static str, outputs: Vec<Output>, read: Read<T>, write: Write<T>) -> Self {
        Self { name, subsystem, outputs, read, write, uevents: None, not_before: Instant::now() }
    }
}

impl<T: Send + Sync + 'static> Reconciler for Listener<T> {
    fn declaration(&self) -> Declaration {
        Declaration { name: self.name, inputs: Vec::new(), outputs: self.outputs.clone() }
    }

    fn stirred(&mut self) -> Task<'_, ()> {
        Box::pin(async {
            let heard = match &mut self.uevents {
                Some(uevents) => uevents.about(self.subsystem).await,
                // The first turn failed; the next one is on its way.
                None => std::future::pending().await,
            };
            sleep_until(self.not_before).await;
            self.not_before = Instant::now() + TOGETHER;
            // What has been said by now is covered by the reading that follows.
            let passed = heard.and_then(|()| self.uevents.as_mut().map_or(Ok(()), Uevents::pass_over));
            if let Err(error) = passed {
                log::warn!(target: "resources", "{}: listen to the kernel: {error}", self.name);
                // Opened anew by the turn that follows.
                self.uevents = None;
            }
        })
    }

    fn reconcile<'a>(&'a mut self, context: &'a Context) -> Task<'a, Result<(), Failure>> {
        Box::pin(async {
            if self.uevents.is_none() {
                self.uevents = Some(Uevents::listen()?);
            }
            let found = tokio::task::spawn_blocking(self.read).await??;
            (self.write)(&found, context)
        })
    }
}
