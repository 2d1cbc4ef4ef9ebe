//! `BlockDeviceWipe`: all devices are judged before the first is touched; then one after the other, in steps.
//!
//! Who gives up waiting ends it between two steps; so does the node when it goes down.

use tonic::Status;
use wire::storage::{
    BlockDeviceWipe, BlockDeviceWipeDescriptor, BlockDeviceWipeRequest, BlockDeviceWipeResponse, block_device_wipe_descriptor,
};

use super::Context;
use crate::disk::wipe::{self, Method, Order, Plan, Wipe, WipeError};

pub(super) async fn wipe(context: &Context, request: BlockDeviceWipeRequest) -> Result<BlockDeviceWipeResponse, Status> {
    let orders = request.devices.into_iter().map(understood).collect::<Result<Vec<Order>, Status>>()?;
    let system = context.sources.node.disk.borrow().name.clone();
    let names: Vec<&str> = orders.iter().map(|order| order.device.as_str()).collect();
    log::warn!(target: "api", "wipe of devices asked for: {names:?}");
    let plans = context.blocking.run(move || wipe::check(&orders, &system)).await?.map_err(|error| status(&error))?;
    for plan in plans {
        let done = context.stop.run_until_cancelled(carry_out(context, plan)).await;
        done.unwrap_or_else(|| Err(Status::unavailable("the node is going down: the wipe was not finished")))?;
    }
    Ok(BlockDeviceWipeResponse { messages: vec![BlockDeviceWipe { metadata: None }] })
}

async fn carry_out(context: &Context, plan: Plan) -> Result<(), Status> {
    let begin = context.blocking.run(move || Wipe::begin(plan)).await?;
    let mut left = Some(begin.map_err(|error| status(&error))?);
    while let Some(wipe) = left {
        left = context.blocking.run(move || wipe.step()).await?.map_err(|error| status(&error))?;
    }
    Ok(())
}

fn understood(asked: BlockDeviceWipeDescriptor) -> Result<Order, Status> {
    let method = match block_device_wipe_descriptor::Method::try_from(asked.method) {
        Ok(block_device_wipe_descriptor::Method::Fast) => Method::Fast,
        Ok(block_device_wipe_descriptor::Method::Zeroes) => Method::Zeroes,
        Err(_) => return Err(Status::invalid_argument(format!("wipe method {} of {:?} is unknown", asked.method, asked.device))),
    };
    let BlockDeviceWipeDescriptor { device, skip_volume_check, drop_partition, skip_secondary_check, .. } = asked;
    Ok(Order { device, method, skip_volume_check, skip_secondary_check, drop_partition })
}

fn status(error: &WipeError) -> Status {
    let text = daemon::report(error).to_string();
    match error {
        WipeError::Missing { .. } => Status::not_found(text),
        WipeError::Count { .. } | WipeError::Kind { .. } | WipeError::Twice { .. } | WipeError::WholeDisk { .. } => {
            Status::invalid_argument(text)
        }
        WipeError::System { .. }
        | WipeError::ReadOnly { .. }
        | WipeError::Optical { .. }
        | WipeError::Mounted { .. }
        | WipeError::Swap { .. }
        | WipeError::Held { .. }
        | WipeError::SystemUnknown { .. }
        | WipeError::Table { .. } => Status::failed_precondition(text),
        // Somebody took it after it was looked at.
        error if error.is_busy() => Status::failed_precondition(text),
        WipeError::List { .. } | WipeError::Device { .. } | WipeError::Drop { .. } | WipeError::Kernel { .. } => Status::internal(text),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn requests_are_understood() {
        let asked = |method| BlockDeviceWipeDescriptor {
            device: "sdb1".to_owned(),
            method,
            drop_partition: true,
            ..BlockDeviceWipeDescriptor::default()
        };
        let order = understood(asked(1)).expect("fine");
        assert_eq!((order.device.as_str(), order.method, order.drop_partition), ("sdb1", Method::Zeroes, true));
        assert!(!order.skip_volume_check && !order.skip_secondary_check);
        let refused = understood(asked(7)).expect_err("unknown");
        assert!(refused.code() == Code::InvalidArgument && refused.message().contains("\"sdb1\""), "{refused}");
    }
}
