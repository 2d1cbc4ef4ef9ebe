//! What only this machine knows: numbers in its firmware, the address of its first network card, a value in META.

use std::{fs, path::Path};

use crate::{
    disk::keys::{Keys, KeysError},
    node::DiskStatus,
};

/// What the firmware says of the machine (SMBIOS, as far as the kernel shows it).
const DMI: &str = "/sys/class/dmi/id";
/// Links.
const LINKS: &str = "/sys/class/net";
/// META's key of the network of metal.
const NETWORK: u8 = 10;
/// META's key of the code for downloads.
const CODE: u8 = 11;

/// The machine's serial number; empty on a machine that has none.
#[must_use]
pub fn serial() -> String {
    text(&Path::new(DMI).join("product_serial")).unwrap_or_default()
}

/// The machine's UUID in lower case.
#[must_use]
pub fn uuid() -> Option<String> {
    text(&Path::new(DMI).join("product_uuid")).map(|uuid| uuid.to_lowercase())
}

/// The hardware address of the alphabetically first link with hardware behind it.
#[must_use]
pub fn mac() -> Option<String> {
    first_mac(Path::new(LINKS))
}

fn first_mac(links: &Path) -> Option<String> {
    let mut folders: Vec<_> = fs::read_dir(links).ok()?.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    folders.iter().filter(|folder| folder.join("device").exists()).find_map(|folder| text(&folder.join("address")))
}

/// The code for downloads that is kept in META.
///
/// # Errors
/// Why META cannot be read.
pub fn code(disk: &DiskStatus) -> Result<Option<String>, String> {
    Ok(meta(disk, CODE)?.map(|code| code.trim().to_owned()))
}

/// The network that is kept in META for metal.
///
/// # Errors
/// Why META cannot be read.
pub fn network(disk: &DiskStatus) -> Result<Option<String>, String> {
    meta(disk, NETWORK)
}

/// A value of META; `None` also where there is no META: that has been told by others.
fn meta(disk: &DiskStatus, key: u8) -> Result<Option<String>, String> {
    let keys = match Keys::open(disk) {
        Ok(keys) => keys,
        Err(KeysError::NoPartition) => return Ok(None),
        Err(error) => return Err(daemon::report(&error).to_string()),
    };
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).map_err(|_| format!("META key {key:#04x} is not UTF-8"));
    keys.get(key).map(text).transpose()
}

/// A line of sysfs; `None` when there is no such file, or nothing in it.
fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_card_is_the_one() {
        let folder = tempfile::tempdir().unwrap();
        let link = |name: &str, address: &str, device: bool| {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("address"), address).unwrap();
            if device {
                fs::create_dir(folder.path().join(name).join("device")).unwrap();
            }
        };
        link("eth1", "52:54:00:12:34:57\n", true);
        link("bond0", "52:54:00:00:00:00\n", false);
        assert_eq!(first_mac(folder.path()).as_deref(), Some("52:54:00:12:34:57"));
        link("eth0", "52:54:00:12:34:56\n", true);
        assert_eq!(first_mac(folder.path()).as_deref(), Some("52:54:00:12:34:56"));
        assert_eq!(first_mac(Path::new("/nonexistent")), None);
    }
}
