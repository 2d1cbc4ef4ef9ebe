//! Applying a configuration.

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

/// What the request's mode comes to: what is ordered and what the reply says was done.
fn plan(mode: Mode, dry_run: bool) -> Result<(ApplyMode, Mode), Status> {
    let (order, done) = match mode {
        Mode::Auto | Mode::NoReboot => (ApplyMode::Now, Mode::NoReboot),
        Mode::Reboot => (ApplyMode::Staged, Mode::Reboot),
        Mode::Staged => (ApplyMode::Staged, Mode::Staged),
        Mode::Try => return Err(Status::unimplemented("apply mode \"try\" is not in this version")),
    };
    Ok(if dry_run { (ApplyMode::DryRun, done) } else { (order, done) })
}

pub(super) async fn apply(
    context: &Context,
    request: ApplyConfigurationRequest,
    roles: Roles,
) -> Result<ApplyConfigurationResponse, Status> {
    let mode = Mode::try_from(request.mode).map_err(|_| Status::invalid_argument(format!("apply mode {} is unknown", request.mode)))?;
    let (order, done) = plan(mode, request.dry_run)?;
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
            (Mode::Try, false, None),
        ] {
            assert_eq!(plan(mode, dry_run).ok(), wanted, "{mode:?}");
        }
    }
}
