//! What the place that the machine is in says of it: metal or a cloud with NoCloud.
//!
//! - [`choice`]: which platform, and where its configuration is looked for; [`seed`], [`template`]: forms of that. Pure.
//! - [`given`]: what a platform gave of names and network, and its form on STATE, read again early in the next boot;
//! - [`facts`]: what only this machine knows (serial number, hardware address); [`download`]: fetches, again and again;
//! - here: what is published as `node.platform`, by [`adopt`] and when a configured node boots.
//!
//! The configuration itself is for [`crate::config`]; the network that is published here becomes layer `platform` of
//! [`crate::net`]. On metal the network is a value of META, read when the API had its time and kept on STATE like the others.

pub mod choice;
pub mod download;
pub mod facts;
pub mod given;
pub mod seed;
pub mod template;

use std::{path::PathBuf, sync::Arc};

use machine_config::Network;

pub use choice::{Choice, Platform, Seek};
pub use given::{Given, Texts};

use crate::{
    config::volumes,
    node::{Node, PlatformStatus},
    state,
};

/// The file on STATE.
const FILE: &str = "platform-network.yaml";
/// Longest file on STATE, bytes: two texts, each letter of them perhaps as an escape.
const LONGEST: u64 = 4 << 20;

/// Publishes which platform the node is on and what it said at the last boot.
pub fn start(node: &Arc<Node>, choice: &Choice) {
    for problem in &choice.problems {
        log::warn!("platform: {problem}");
        node.warnings.push(format!("platform: {problem}"));
    }
    node.platform.send_if_modified(|status| std::mem::replace(&mut status.platform, choice.platform) != choice.platform);
    let work = recall(Arc::clone(node), choice.platform, state::STATE.into());
    node.tasks.spawn(node.stop.clone().run_until_cancelled_owned(work));
}

/// What was kept, as soon as it is known whether there is a STATE; unless something newer is there.
async fn recall(node: Arc<Node>, platform: Platform, folder: PathBuf) {
    // The sender lives in the node.
    if !node.disk.subscribe().wait_for(|disk| disk.settled).await.is_ok_and(|disk| disk.is_mounted(&folder)) {
        return;
    }
    let read = move || state::read(&folder, FILE, LONGEST).map_err(|error| daemon::report(&error).to_string());
    let kept = match tokio::task::spawn_blocking(read).await {
        Ok(Ok(Some(text))) => Texts::from_file(&text, platform),
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => Err(error),
    };
    match kept {
        Ok(Some(texts)) => {
            let given = given::read(&texts);
            publish(&node, platform, given, false);
        }
        // Of another platform.
        Ok(None) => {}
        Err(error) => complain(&node, &format!("what was kept is not used: {error}")),
    }
}

/// Takes what the platform says now: published, and kept for the next boot.
pub async fn adopt(node: &Arc<Node>, texts: Texts) {
    adopt_into(node, texts, state::STATE.into()).await;
}

async fn adopt_into(node: &Arc<Node>, texts: Texts, folder: PathBuf) {
    let platform = node.platform.borrow().platform;
    let given = given::read(&texts);
    for problem in &given.problems {
        complain(node, problem);
    }
    log::info!("platform: {} says {}", texts.origin, given.summary());
    publish(node, platform, given, true);
    // A file below an unmounted mount point would be gone with the next boot.
    if !node.disk.borrow().is_mounted(&folder) {
        return;
    }
    let file = texts.to_file(platform);
    if file.len() as u64 > LONGEST {
        return complain(node, &format!("not kept for the next boot: what {} says has {} bytes", texts.origin, file.len()));
    }
    let keep = move || {
        let same = state::read(&folder, FILE, LONGEST).is_ok_and(|old| old.as_deref() == Some(file.as_str()));
        if same { Ok(()) } else { state::replace(&folder, FILE, &file) }
    };
    if let Ok(Err(error)) = tokio::task::spawn_blocking(keep).await {
        complain(node, &format!("not kept for the next boot: {}", daemon::report(&error)));
    }
}

fn publish(node: &Node, platform: Platform, given: Given, fresh: bool) {
    node.platform.send_if_modified(|status| {
        if status.fresh && !fresh {
            return false;
        }
        *status = PlatformStatus { platform, metadata: given.metadata, network: Arc::new(given.network), fresh };
        true
    });
}

fn complain(node: &Node, text: &str) {
    log::warn!("platform: {text}");
    node.warnings.push(format!("platform: {text}"));
}

/// Asks the platform anew what it says of names and network; for when the API had its time.
pub async fn refresh(node: Arc<Node>, seek: Seek) {
    let platform = node.platform.borrow().platform;
    if platform == Platform::NoCloud {
        return refresh_nocloud(node, seek).await;
    }
    // The sender lives in the node.
    let Ok(disk) = node.disk.subscribe().wait_for(|disk| disk.settled).await.map(|disk| disk.clone()) else { return };
    let found = match tokio::task::spawn_blocking(move || facts::network(&disk)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return complain(&node, &error),
        // Lost only when the node goes down.
        Err(_) => return,
    };
    // One that was taken out of META is to be forgotten on STATE, too.
    if found.is_some() || *node.platform.borrow().network != Network::default() {
        adopt(&node, Texts { origin: "META".to_owned(), specs: found, ..Texts::default() }).await;
    }
}

async fn refresh_nocloud(node: Arc<Node>, seek: Seek) {
    let settled = node.config.subscribe().wait_for(|config| config.settled).await.is_ok_and(|config| config.active.is_some());
    // Who looks for a configuration hears of these things beside it.
    if !settled || node.platform.borrow().fresh {
        return;
    }
    match seek {
        Seek::Volumes(labels) => {
            let names = volumes::candidates(&node.disk.borrow().name);
            let found = tokio::task::spawn_blocking(move || volumes::search(&names, labels, true)).await;
            match found {
                Ok(Ok(found)) => {
                    if let Some(texts) = found.and_then(|found| found.texts) {
                        adopt(&node, texts).await;
                    }
                }
                Ok(Err(error)) => complain(&node, &daemon::report(&error).to_string()),
                // Lost only when the node goes down.
                Err(_) => {}
            }
        }
        Seek::Seed(seed) => download::texts(&node, &seed).await,
        Seek::Nothing | Seek::Url(_) => {}
    }
}

#[cfg(test)]
mod tests;
