//! Applying a configuration.

use std::time::Duration;

use tokio::sync::{mpsc::error::TrySendError, oneshot};
use tonic::Status;
use wire::machine::{
    ApplyConfiguration, ApplyConfigurationRequest, ApplyConfigurationResponse, ConfigValidationErrorEvent,
    apply_configuration_request::Mode,
};

use super::{Context, power, roles::Roles};
use crate::{
    node::{ApplyError, ApplyMode, ApplyOutcome, Command},
    sequence::Kind,
};

/// How long a configuration is tried when the request does not say.
const TRIAL: Duration = Duration::from_secs(60);
/// The longest trial: who wants more wants to apply it.
const LONGEST_TRIAL: Duration = Duration::from_secs(24 * 3600);

/// What the request's mode comes to: what is ordered and what the reply says was done.
fn plan(mode: Mode, dry_run: bool, trial: Option<prost_types::Duration>) -> Result<(ApplyMode, Mode), Status> {
    let (order, done) = match mode {
        Mode::Auto | Mode::NoReboot => (ApplyMode::Now, Mode::NoReboot),
        Mode::Reboot => (ApplyMode::Staged, Mode::Reboot),
        Mode::Staged => (ApplyMode::Staged, Mode::Staged),
        Mode::Try => (ApplyMode::Try(limit(trial)?), Mode::Try),
    };
    Ok(if dry_run { (ApplyMode::DryRun, done) } else { (order, done) })
}

/// Not by the conversion of `prost_types`: the least number of seconds overflows in it.
fn limit(wanted: Option<prost_types::Duration>) -> Result<Duration, Status> {
    let Some(prost_types::Duration { seconds, nanos }) = wanted else { return Ok(TRIAL) };
    let parts = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000));
    let limit = parts.map(|(seconds, nanos)| Duration::new(seconds, nanos));
    limit.filter(|limit| (Duration::from_secs(1)..=LONGEST_TRIAL).contains(limit)).ok_or_else(|| {
        let hours = LONGEST_TRIAL.as_secs() / 3600;
        Status::invalid_argument(format!("the time of a try is {seconds} s and {nanos} ns; it must be from 1 s to {hours} h"))
    })
}

pub(super) async fn apply(
    context: &Context,
    request: ApplyConfigurationRequest,
    roles: Roles,
) -> Result<ApplyConfigurationResponse, Status> {
    let mode = Mode::try_from(request.mode).map_err(|_| Status::invalid_argument(format!("apply mode {} is unknown", request.mode)))?;
    let (order, done) = plan(mode, request.dry_run, request.try_mode_timeout)?;
    let text = String::from_utf8(request.data).map_err(|_| Status::invalid_argument("the configuration is not UTF-8 text"))?;
    let Ok(_one_at_a_time) = context.applying.try_lock() else {
        return Err(Status::failed_precondition("another configuration is being applied"));
    };
    let outcome = send(context, text, order, !roles.is_admin()).await?;
    if order == ApplyMode::Staged && done == Mode::Reboot {
        power::order(&context.sources, Kind::Reboot, false).await?;
    }
    let ApplyOutcome { warnings, details } = outcome;
    Ok(ApplyConfigurationResponse {
        messages: vec![ApplyConfiguration { metadata: None, warnings, mode: done.into(), mode_details: details }],
    })
}

async fn send(context: &Context, text: String, mode: ApplyMode, anonymous: bool) -> Result<ApplyOutcome, Status> {
    let (reply, answer) = oneshot::channel();
    let node = &context.sources.node;
    node.commands.try_send(Command::Apply { text, mode, anonymous, reply }).map_err(|error| match error {
        TrySendError::Full(_) => Status::resource_exhausted("too many commands are waiting; try again"),
        TrySendError::Closed(_) => Status::unavailable("the node is going down"),
    })?;
    match answer.await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(ApplyError::Invalid(text))) => {
            context.sources.events.publish(&ConfigValidationErrorEvent { error: text.clone() }, "");
            Err(Status::invalid_argument(text))
        }
        Ok(Err(ApplyError::Precondition(text))) => Err(Status::failed_precondition(text)),
        Ok(Err(ApplyError::Storage(text))) => Err(Status::internal(text)),
        Err(_) => Err(Status::unavailable("the node is going down")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for (mode, dry_run, wanted) in [
            (Mode::Auto, false, Some((ApplyMode::Now, Mode::NoReboot))),
            (Mode::NoReboot, false, Some((ApplyMode::Now, Mode::NoReboot))),
            (Mode::Reboot, false, Some((ApplyMode::Staged, Mode::Reboot))),
            (Mode::Staged, false, Some((ApplyMode::Staged, Mode::Staged))),
            (Mode::Auto, true, Some((ApplyMode::DryRun, Mode::NoReboot))),
            (Mode::Reboot, true, Some((ApplyMode::DryRun, Mode::Reboot))),
            (Mode::Try, false, Some((ApplyMode::Try(TRIAL), Mode::Try))),
            (Mode::Try, true, Some((ApplyMode::DryRun, Mode::Try))),
        ] {
            assert_eq!(plan(mode, dry_run, None).ok(), wanted, "{mode:?}");
        }
    }

    #[test]
    fn times_of_a_try() {
        let time = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
        assert_eq!(limit(None).ok(), Some(TRIAL));
        assert_eq!(limit(time(90, 500_000_000)).ok(), Some(Duration::from_millis(90_500)));
        for wrong in [time(0, 0), time(-5, 0), time(0, 999_999_999), time(24 * 3600, 1), time(i64::MAX, i32::MAX), time(i64::MIN, i32::MIN)]
        {
            assert_eq!(limit(wrong).expect_err("refused").code(), tonic::Code::InvalidArgument, "{wrong:?}");
        }
    }
}
