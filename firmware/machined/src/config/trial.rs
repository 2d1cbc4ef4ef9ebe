//! A configuration on trial: in force, not stored, taken back by itself unless one is applied for good in time.
//!
//! A trial of a trial goes back to what was in force before the first. A staged change and a dry run leave it alone; a
//! restart ends it, since what is stored was never touched. Rule: behaviour (a), mode TRY.

use std::{sync::Arc, time::Duration};

use machine_config::Parsed;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Manager, Turn};
use crate::node::{ActiveConfig, ApplyError, ConfigText};

/// A trial in progress. Dropping it ends its timer.
#[derive(Debug)]
pub(super) struct Trial {
    /// What is put in force again.
    before: Arc<ActiveConfig>,
    _timer: DropGuard,
}

impl Manager {
    /// Puts a checked configuration in force for `limit`.
    ///
    /// # Errors
    /// [`ApplyError::Precondition`]: there is nothing to go back to.
    pub(super) async fn try_out(
        self: &Arc<Self>,
        turn: &mut Turn,
        text: ConfigText,
        parsed: Parsed,
        limit: Duration,
    ) -> Result<(), ApplyError> {
        let active = self.node.config.borrow().active.clone();
        let Some(before) = turn.trial.take().map(|trial| trial.before).or(active) else {
            return Err(ApplyError::Precondition("there is no configuration to go back to: apply this one in another mode".into()));
        };
        let timer = CancellationToken::new();
        turn.trial = Some(Trial { before, _timer: timer.clone().drop_guard() });
        self.activate(turn, text, "api, on trial", parsed).await;
        log::info!(target: "config", "on trial: taken back in {} s unless a configuration is applied for good", limit.as_secs());
        self.node.tasks.spawn(Arc::clone(self).take_back(limit, timer));
        Ok(())
    }

    async fn take_back(self: Arc<Self>, limit: Duration, timer: CancellationToken) {
        tokio::select! {
            () = timer.cancelled() => return,
            () = self.node.stop.cancelled() => return,
            () = sleep(limit) => {}
        }
        let mut turn = self.turn.lock().await;
        // Another change may have had its turn while this one waited for its own.
        if timer.is_cancelled() {
            return;
        }
        if let Some(Trial { before, .. }) = turn.trial.take() {
            log::warn!(target: "config", "the trial is over: back to the configuration from {}", before.source);
            self.put_in_force(&mut turn, before);
        }
    }
}
