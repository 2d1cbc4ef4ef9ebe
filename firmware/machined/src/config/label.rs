//! The volume label in the first bytes of a block device: iso9660 and FAT. Pure.

/// How much of a device [`read`] wants to see.
pub const HEAD: usize = 32 * 1024 + 2048;

/// A labelled volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// File system type as the kernel names it.
    pub fstype: &'static str,
    /// The label, padding taken off.
    pub label: String,
}

/// Reads the label; `None` for other file systems and damaged ones.
#[must_use]
pub fn read(head: &[u8]) -> Option<Volume> {
    iso9660(head).or_else(|| fat(head))
}

/// The primary volume descriptor is sector 16 of 2048 bytes; its label lies at 40.
fn iso9660(head: &[u8]) -> Option<Volume> {
    let descriptor = head.get(16 * 2048..16 * 2048 + 2048)?;
    if descriptor.get(..7)? != b"\x01CD001\x01" {
        return None;
    }
    volume("iso9660", descriptor.get(40..72)?)
}

/// FAT12 and FAT16 keep the label at 43, FAT32 at 71, each with the type's name behind it and an extended boot
/// signature (0x29) before the serial number.
fn fat(head: &[u8]) -> Option<Volume> {
    if head.get(510..512)? != b"\x55\xaa" {
        return None;
    }
    let at = |signature: usize, label: usize, name: &[u8]| {
        let found = head.get(signature) == Some(&0x29) && head.get(label + 11..label + 11 + name.len()) == Some(name);
        if found { head.get(label..label + 11) } else { None }
    };
    let label = at(66, 71, b"FAT32").or_else(|| at(38, 43, b"FAT1"))?;
    volume("vfat", label)
}

fn volume(fstype: &'static str, label: &[u8]) -> Option<Volume> {
    let label = std::str::from_utf8(label).ok()?.trim_end_matches(['\0', ' ']);
    Some(Volume { fstype, label: label.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut image = vec![0; HEAD];
        for (at, bytes) in parts {
            image[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        image
    }

    #[track_caller]
    fn check(parts: &[(usize, &[u8])], wanted: Option<(&str, &str)>) {
        let found = read(&image(parts));
        assert_eq!(found.as_ref().map(|volume| (volume.fstype, volume.label.as_str())), wanted);
    }

    #[test]
    fn labels() {
        let iso = b"\x01CD001\x01".as_slice();
        let name = b"cidata                          ".as_slice();
        check(&[(32768, iso), (32768 + 40, name)], Some(("iso9660", "cidata")));
        check(&[(32768, b"\x02CD001\x01"), (32768 + 40, name)], None);
        let end = (510, b"\x55\xaa".as_slice());
        check(&[end, (66, b"\x29"), (71, b"METAL-ISO  FAT32   ")], Some(("vfat", "METAL-ISO")));
        check(&[end, (38, b"\x29"), (43, b"CIDATA     FAT16   ")], Some(("vfat", "CIDATA")));
        check(&[end, (38, b"\x29"), (43, b"CIDATA     FAT12   ")], Some(("vfat", "CIDATA")));
        check(&[end, (43, b"CIDATA     FAT16   ")], None);
        check(&[(38, b"\x29"), (43, b"CIDATA     FAT16   ")], None);
        check(&[(32768, iso), (32768 + 40, b"\xff\xff")], None);
        assert_eq!(read(&[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..1024)) {
            let _ = read(&bytes);
        }
    }
}
