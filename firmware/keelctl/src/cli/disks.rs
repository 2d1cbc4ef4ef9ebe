//! `wipe disk` and `rollback`: what is done to what a node boots from and stores on.

use std::process::ExitCode;

use anyhow::{Result, bail};
use wire::storage::{BlockDeviceWipeDescriptor, BlockDeviceWipeRequest, block_device_wipe_descriptor::Method};

use crate::client::Client;

use super::{
    args::{Insecure, WipeDisk, WipeMethod},
    nodes::{Fleet, each},
};

pub async fn wipe(fleet: &Fleet, args: WipeDisk) -> Result<ExitCode> {
    let method = match args.method {
        WipeMethod::Fast => Method::Fast,
        WipeMethod::Zeroes => Method::Zeroes,
    };
    let devices = args.devices.iter().map(|given| name(given)).collect::<Result<Vec<_>>>()?;
    let descriptor = |device: &String| BlockDeviceWipeDescriptor {
        device: device.clone(),
        method: method.into(),
        drop_partition: args.drop_partition,
        ..BlockDeviceWipeDescriptor::default()
    };
    let request = &BlockDeviceWipeRequest { devices: devices.iter().map(descriptor).collect() };
    let nodes = fleet.nodes(&args.insecure).await?;
    let (done, code) = each(nodes, async |_, client: Client| Ok(client.wipe_devices(request.clone()).await?)).await;
    for (node, ()) in done {
        eprintln!("{node}: wiped {}", devices.join(", "));
    }
    Ok(code)
}

/// Nodes take names without `/dev/`; people write both.
fn name(given: &str) -> Result<String> {
    let name = given.strip_prefix("/dev/").unwrap_or(given);
    if name.is_empty() || name.contains('/') {
        bail!("{given:?} names no disk: `keelctl disks` lists them, sdb is one");
    }
    Ok(name.to_owned())
}

pub async fn rollback(fleet: &Fleet) -> Result<ExitCode> {
    let nodes = fleet.nodes(&Insecure::default()).await?;
    let (done, code) = each(nodes, async |_, client: Client| Ok(client.rollback().await?)).await;
    for (node, ()) in done {
        eprintln!("{node}: it restarts into the system before the last upgrade");
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn disks_by_either_name() {
        for (given, wanted) in [("sdb", Some("sdb")), ("/dev/vdc1", Some("vdc1")), ("/dev/", None), ("/dev/disk/by-id/x", None), ("", None)]
        {
            assert_eq!(name(given).ok().as_deref(), wanted, "{given}");
        }
    }
}
