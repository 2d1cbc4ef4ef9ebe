//! What the boot loader says about the disk it came from.

use uuid::Uuid;

/// File name of the variable below efivarfs in which systemd-boot names the partition it was started from.
pub const DEVICE_PART_UUID: &str = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Reads that variable as efivarfs gives it: four bytes of attributes, then UTF-16LE text with an optional NUL.
/// `None` when it is not a GUID.
#[must_use]
pub fn parse_device_part_uuid(bytes: &[u8]) -> Option<Uuid> {
    let units = bytes.get(4..)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: String = char::decode_utf16(units.take_while(|unit| *unit != 0)).collect::<Result<_, _>>().ok()?;
    Uuid::try_parse(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&str>) {
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(parse_device_part_uuid(&bytes), expect.map(|e| Uuid::try_parse(e).unwrap()), "{text:?}");
    }

    #[test]
    fn reads_what_loaders_write() {
        let guid = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
        check(&format!("{guid}\0"), Some(guid));
        check(guid, Some(guid));
        check("", None);
        check("nonsense\0", None);
        assert_eq!(parse_device_part_uuid(&[1, 2]), None);
    }
}
