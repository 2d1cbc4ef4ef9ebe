//! `meta`: small values that a node keeps outside of its configuration.

use std::process::ExitCode;

use anyhow::Result;

use crate::client::Client;

use super::{
    args::Meta,
    nodes::{Fleet, each},
};

pub async fn run(fleet: &Fleet, command: Meta) -> Result<ExitCode> {
    let (Meta::Write { insecure, .. } | Meta::Delete { insecure, .. }) = &command;
    let nodes = fleet.nodes(insecure).await?;
    let call = async |_: String, client: Client| {
        match &command {
            Meta::Write { key, value, .. } => client.meta_write(*key, value.as_bytes()).await?,
            Meta::Delete { key, .. } => client.meta_delete(*key).await?,
        }
        Ok(())
    };
    Ok(each(nodes, call).await.1)
}
