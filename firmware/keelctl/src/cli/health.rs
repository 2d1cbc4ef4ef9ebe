//! `health`: whether the cluster is well, as one of its nodes sees it.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use wire::cluster::ClusterInfo;

use crate::client::next;

use super::{args, nodes::Fleet};

pub async fn run(fleet: &Fleet, args: args::Health) -> Result<ExitCode> {
    if !args.server {
        bail!("checks by this client itself (--server=false) are not in this version: leave the flag out, and the node checks");
    }
    let wait = Duration::try_from(args.wait_timeout).context("use --wait-timeout")?;
    let (name, client) = fleet.one("health").await?;
    let failed = || format!("check the cluster's health through node {name}");
    let info = ClusterInfo {
        control_plane_nodes: args.control_plane_nodes,
        worker_nodes: args.worker_nodes,
        force_endpoint: args.k8s_endpoint.unwrap_or_default(),
    };
    let mut stream = client.health(info, wait).await.with_context(failed)?;
    while let Some(progress) = next("HealthCheck", &mut stream).await.with_context(failed)? {
        if let Some(metadata) = progress.metadata.filter(|metadata| !metadata.error.is_empty()) {
            bail!("{}: {}", failed(), metadata.error);
        }
        eprintln!("{}", progress.message.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
