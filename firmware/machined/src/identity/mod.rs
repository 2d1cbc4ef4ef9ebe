//! Who the node is: [`NodeId`], made once and kept on STATE; `/etc/machine-id` and the stable host name follow from it.
//!
//! It is random and no function of the hardware: serial numbers and UUIDs of firmware repeat. A file that cannot be read is
//! kept and reported, because another identity is another node to everybody else.

mod id;

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use id::{BYTES, NodeId};

use crate::{
    node::{IdentityStatus, Node},
    state::{self, StateError},
};

/// The file on STATE.
pub const FILE: &str = "node-identity.yaml";
/// Longest file.
const LONGEST: u64 = 4096;
/// What `/etc/machine-id` of the read-only root points at.
const MACHINE_ID: &str = "/run/etc/machine-id";

/// There is no identity.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum IdentityError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("{path} holds no identity ({reason}); a reset makes a new one")]
    Unreadable { path: PathBuf, reason: &'static str },
    #[error("ask the kernel for {BYTES} random bytes")]
    Random { source: getrandom::Error },
    #[error("write {path}")]
    MachineId { path: PathBuf, source: io::Error },
}

/// Finds or makes the identity as soon as it is known whether there is a STATE, and publishes it once it is safe there.
pub fn start(node: &Arc<Node>) {
    let work = publish(Arc::clone(node), state::STATE.into(), MACHINE_ID.into());
    node.tasks.spawn(node.stop.clone().run_until_cancelled_owned(work));
}

async fn publish(node: Arc<Node>, folder: PathBuf, machine_id: PathBuf) {
    // The sender lives in the node.
    let mounted = node.disk.subscribe().wait_for(|disk| disk.settled).await.is_ok_and(|disk| disk.is_mounted(&folder));
    let found = if mounted { tokio::task::spawn_blocking(move || obtain(&folder)).await.ok() } else { None };
    let id = match found {
        Some(Ok(id)) => Some(id),
        Some(Err(error)) => {
            complain(&node, &error);
            None
        }
        None => None,
    };
    node.identity.send_replace(IdentityStatus { id: id.clone(), settled: true });
    let Some(id) = id else { return };
    // A task is lost only when the node goes down.
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || write_machine_id(&machine_id, &id)).await {
        complain(&node, &error);
    }
}

fn complain(node: &Node, error: &IdentityError) {
    let text = format!("identity: {}", daemon::report(error));
    log::error!("{text}");
    node.warnings.push(text);
}

/// The identity in `folder`; a new one when there is none.
fn obtain(folder: &Path) -> Result<NodeId, IdentityError> {
    if let Some(text) = state::read(folder, FILE, LONGEST)? {
        return NodeId::parse(&text).map_err(|reason| IdentityError::Unreadable { path: folder.join(FILE), reason });
    }
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|source| IdentityError::Random { source })?;
    let id = NodeId::from_random(bytes);
    state::replace(folder, FILE, &id.to_file())?;
    log::info!("this node is {id} from now on");
    Ok(id)
}

/// A file in memory, for reading only; programs have it as `/etc/machine-id`.
fn write_machine_id(path: &Path, id: &NodeId) -> Result<(), IdentityError> {
    let written = crate::net::names::replace(path, &format!("{}\n", id.machine_id())).map_err(io::Error::other);
    let kept = written.and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o444)));
    kept.map_err(|source| IdentityError::MachineId { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{DiskStatus, PartitionStatus};

    fn disk(mounted_on: Option<&Path>) -> DiskStatus {
        let partition = PartitionStatus { mounted_on: mounted_on.map(Into::into), ..PartitionStatus::default() };
        DiskStatus { partitions: vec![partition], settled: true, ..DiskStatus::default() }
    }

    async fn boot(state: &Path, mounted: bool) -> (Arc<Node>, Option<String>) {
        let (node, _commands) = Node::new();
        node.disk.send_replace(disk(mounted.then_some(state)));
        let machine_id = state.join("etc/machine-id");
        publish(Arc::clone(&node), state.into(), machine_id.clone()).await;
        assert!(node.identity.borrow().settled);
        (node, fs::read_to_string(machine_id).ok())
    }

    #[tokio::test]
    async fn it_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let (node, machine_id) = boot(folder.path(), true).await;
        let id = node.identity.borrow().id.clone().expect("made");
        assert_eq!(machine_id.as_deref().map(str::trim_end), Some(id.machine_id().as_str()));
        let mode = fs::metadata(folder.path().join("etc/machine-id")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o444);
        let (again, machine_id_again) = boot(folder.path(), true).await;
        assert_eq!((again.identity.borrow().id.clone(), machine_id_again), (Some(id), machine_id));
        let other = tempfile::tempdir().unwrap();
        assert_ne!(boot(other.path(), true).await.0.identity.borrow().id, again.identity.borrow().id);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_kept_and_nothing_is_written_below_a_mount_point() {
        let folder = tempfile::tempdir().unwrap();
        let (node, machine_id) = boot(folder.path(), false).await;
        assert_eq!((node.identity.borrow().id.clone(), machine_id), (None, None));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(folder.path().join(FILE), "nodeId: no/good\n").unwrap();
        let (node, machine_id) = boot(folder.path(), true).await;
        assert_eq!((node.identity.borrow().id.clone(), machine_id), (None, None));
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), "nodeId: no/good\n");
        assert!(node.warnings.list().iter().any(|warning| warning.text.contains("holds no identity")));
    }
}
