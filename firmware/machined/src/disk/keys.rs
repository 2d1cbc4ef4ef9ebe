//! The API's 8-bit META keys, on the published system disk. What is there is read from `node.meta`.

use std::path::PathBuf;

use layout::{
    Range,
    meta::{self, Found, Meta, MetaError, MetaWrite, Store},
    spec,
};
use linux::block::{Access, Device, DeviceError};

use crate::node::{DiskStatus, MetaStatus, Node};

/// Network configuration of a machine without a platform, YAML (reference, behaviour (a) "META"). Only kept here: who makes the network
/// reads it from `node.meta`.
pub const METAL_NETWORK: u8 = 10;

/// META's keys could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the object and the cause of the operation in the message")]
pub enum KeysError {
    #[error("the system disk has no META partition that can be used")]
    NoPartition,
    #[error("use META on {node}")]
    Device { node: PathBuf, source: DeviceError },
    #[error("META is damaged in both copies; nothing can be stored until the image is flashed again")]
    Corrupt,
    #[error("store META key {key:#04x}")]
    Encode { key: u8, source: MetaError },
    #[error("META on {node} reads back differently from what was written")]
    Differs { node: PathBuf },
}

/// Sets a key and publishes it; durable when this returns. Blocks.
///
/// # Errors
/// [`KeysError`]; the old value is still there unless everything reached the disk.
pub fn write(node: &Node, key: u8, value: Vec<u8>) -> Result<(), KeysError> {
    let mut keys = Keys::open(&node.disk.borrow().clone())?;
    keys.set(key, value)?;
    publish(node, &keys);
    Ok(())
}

/// Removes a key and says whether it was there. Blocks.
///
/// # Errors
/// [`KeysError`]; as for [`write`].
pub fn delete(node: &Node, key: u8) -> Result<bool, KeysError> {
    let mut keys = Keys::open(&node.disk.borrow().clone())?;
    let was_there = keys.delete(key)?;
    publish(node, &keys);
    Ok(was_there)
}

/// While the store is locked: whoever changes it next publishes later.
fn publish(node: &Node, keys: &Keys) {
    let all = keys.store.meta.keys().map(|(key, value)| (key, value.to_vec())).collect();
    node.meta.send_replace(MetaStatus { loaded: true, keys: all });
}

/// The open store. Calls block: use them on a thread that may. The partition is locked while this lives.
#[derive(Debug)]
pub struct Keys {
    device: Device,
    store: Store,
}

impl Keys {
    /// Opens META of the system disk.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn open(disk: &DiskStatus) -> Result<Self, KeysError> {
        let meta = disk.partitions.iter().find(|partition| partition.label == spec::META);
        let node = meta.map(|partition| partition.device.clone()).filter(|node| !node.as_os_str().is_empty());
        let node = node.ok_or(KeysError::NoPartition)?;
        let fault = |source| KeysError::Device { node: node.clone(), source };
        let device = Device::open(&node, Access::Change).map_err(fault)?;
        let bytes = device.read(0, super::length(Range { start: 0, length: meta::PARTITION_SIZE })).map_err(fault)?;
        match Found::read(&bytes) {
            Found::Valid(store) => Ok(Self { device, store }),
            Found::Corrupt { .. } => Err(KeysError::Corrupt),
        }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: u8) -> Option<&[u8]> {
        self.store.meta.get(key)
    }

    /// Sets a key; durable when this returns.
    ///
    /// # Errors
    /// [`KeysError`]; the old value is still there unless everything reached the disk.
    pub fn set(&mut self, key: u8, value: Vec<u8>) -> Result<(), KeysError> {
        let mut next = self.store.meta.clone();
        next.set(key, value).map_err(|source| KeysError::Encode { key, source })?;
        self.replace(key, next)
    }

    /// Removes a key; says whether it was there. Durable when this returns.
    ///
    /// # Errors
    /// [`KeysError`]; as for [`Self::set`].
    pub fn delete(&mut self, key: u8) -> Result<bool, KeysError> {
        let mut next = self.store.meta.clone();
        if !next.delete(key) {
            return Ok(false);
        }
        self.replace(key, next)?;
        Ok(true)
    }

    fn replace(&mut self, key: u8, next: Meta) -> Result<(), KeysError> {
        let (MetaWrite { offset, bytes }, store) = self.store.replace(next).map_err(|source| KeysError::Encode { key, source })?;
        let node = self.device.path().to_owned();
        let fault = |source| KeysError::Device { node: node.clone(), source };
        self.device.write(offset, &bytes).map_err(fault)?;
        self.device.flush().map_err(fault)?;
        if self.device.read(offset, bytes.len()).map_err(fault)? != bytes {
            return Err(KeysError::Differs { node });
        }
        self.store = store;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::PartitionStatus;

    /// A system disk whose META partition is a plain file.
    fn disk(bytes: &[u8]) -> (tempfile::NamedTempFile, DiskStatus) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("written");
        let meta = PartitionStatus {
            number: 3,
            label: spec::META.to_owned(),
            device: file.path().into(),
            start: 0,
            size: meta::PARTITION_SIZE,
            content: "meta".to_owned(),
            mounted_on: None,
        };
        (file, DiskStatus { partitions: vec![meta], ..DiskStatus::default() })
    }

    #[test]
    fn keys_outlive_the_handle() {
        let (_file, disk) = disk(&meta::factory_image().expect("an image"));
        let mut keys = Keys::open(&disk).expect("opens");
        assert!(matches!(Keys::open(&disk), Err(KeysError::Device { .. })), "one user at a time");
        for value in 0..3u8 {
            keys.set(6, vec![value; 10]).expect("stored");
            keys.set(10, vec![value]).expect("stored");
        }
        assert!(keys.delete(10).expect("stored") && !keys.delete(10).expect("nothing to do"));
        assert!(matches!(keys.set(6, vec![0; meta::MAX_VALUE + 1]), Err(KeysError::Encode { key: 6, .. })));
        drop(keys);
        let keys = Keys::open(&disk).expect("opens");
        assert_eq!((keys.get(6), keys.get(10)), (Some(&[2u8; 10][..]), None));
    }

    #[test]
    fn what_is_written_is_published() {
        let (_file, disk) = disk(&meta::factory_image().expect("an image"));
        let (node, _commands) = Node::new();
        node.disk.send_replace(disk.clone());
        write(&node, 10, b"a: 1".to_vec()).expect("stored");
        assert_eq!(node.meta.borrow().get(10), Some(&b"a: 1"[..]));
        assert!(!format!("{:?}", node.meta.borrow()).contains("97"), "a value is shown");
        assert!(matches!(write(&node, 11, vec![0; meta::MAX_VALUE + 1]), Err(KeysError::Encode { .. })));
        assert!(delete(&node, 10).expect("stored") && !delete(&node, 10).expect("nothing to do"));
        assert!(node.meta.borrow().loaded && node.meta.borrow().keys.is_empty());
        assert_eq!(Keys::open(&disk).expect("opens").get(10), None);
    }

    /// Whatever was acknowledged is there after a cut in a later write, whatever that one left behind.
    #[test]
    fn a_cut_write_keeps_what_was_acknowledged() {
        let (file, disk) = disk(&meta::factory_image().expect("an image"));
        let mut keys = Keys::open(&disk).expect("opens");
        keys.set(12, b"first".to_vec()).expect("stored");
        let before = std::fs::read(file.path()).expect("read");
        keys.set(12, vec![b'x'; 9000]).expect("stored");
        keys.set(13, vec![]).expect("stored");
        drop(keys);
        let after = std::fs::read(file.path()).expect("read");
        for cut in (0..after.len()).step_by(512).filter(|at| before[*at..*at + 512] != after[*at..*at + 512]) {
            let mut torn = before.clone();
            torn[..cut].copy_from_slice(&after[..cut]);
            std::fs::write(file.path(), &torn).expect("written");
            let keys = Keys::open(&disk).expect("opens");
            assert!(keys.get(12).is_some_and(|value| value == b"first" || value.len() == 9000), "cut at {cut}");
        }
    }

    #[test]
    fn a_damaged_or_missing_store_is_named() {
        let (_file, corrupt) = disk(&vec![0; 1 << 20]);
        assert!(matches!(Keys::open(&corrupt), Err(KeysError::Corrupt)));
        assert!(matches!(Keys::open(&DiskStatus::default()), Err(KeysError::NoPartition)));
    }
}
