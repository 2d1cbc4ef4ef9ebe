use proptest::prelude::*;

use super::*;
use crate::MIB;

fn record() -> Record {
    let partition = |number: u32, action| Recorded {
        number,
        label: format!("P-{number}"),
        type_guid: Uuid::from_u128(u128::from(number)),
        guid: Uuid::from_u128(u128::from(number) << 64),
        range: Range { start: u64::from(number) * MIB, length: MIB },
        action,
    };
    Record {
        disk_guid: Uuid::from_u128(7),
        disk_size: 100 * MIB,
        sector: SectorSize::B4096,
        partitions: vec![partition(1, Action::Keep), partition(2, Action::Wipe), partition(3, Action::FormatXfs)],
    }
}

fn lives() -> Vec<Life> {
    let mut lives = vec![Life::Factory, Life::Provisioning(record()), Life::Provisioned(record())];
    let scopes = [Scope::Partitions(vec![2, 3]), Scope::Factory, Scope::Disk { restart: false }, Scope::Disk { restart: true }];
    let reset = |(scope, erased)| Life::Resetting(Reset { scope, erased, record: record() });
    lives.extend(scopes.into_iter().zip([false, true, false, true]).map(reset));
    lives
}

fn store(bytes: &[u8]) -> Store {
    match Found::read(bytes) {
        Found::Valid(store) => store,
        Found::Corrupt { a, b } => panic!("corrupt: {a}; {b}"),
    }
}

fn put(bytes: &mut [u8], write: &MetaWrite, upto: usize) {
    let at = usize::try_from(write.offset).unwrap();
    let count = upto.min(write.bytes.len());
    bytes[at..at + count].copy_from_slice(&write.bytes[..count]);
}

/// A partition after `updates` changes of key 1, and what its newest copy says.
fn written(updates: u8, life: Life) -> (Vec<u8>, Meta) {
    let mut bytes = factory_image().unwrap();
    let mut meta = Meta::new(life);
    for value in 0..updates {
        meta.set(1, vec![value; 300]).unwrap();
        let (write, next) = store(&bytes).replace(meta.clone()).unwrap();
        put(&mut bytes, &write, usize::MAX);
        let now = store(&bytes);
        assert_eq!((now.generation, now.newest, &now.meta), (next.generation, next.newest, &meta));
    }
    (bytes, meta)
}

#[test]
fn the_image_is_factory_fresh_in_both_copies() {
    let image = factory_image().unwrap();
    assert_eq!(image.len() as u64, PARTITION_SIZE);
    let found = store(&image);
    assert_eq!((found.meta.life.clone(), found.damaged.clone()), (Life::Factory, None));
}

#[test]
fn every_life_and_key_comes_back() {
    for life in lives() {
        let (bytes, meta) = written(3, life.clone());
        let found = store(&bytes);
        assert_eq!(found.meta, meta);
        assert_eq!((found.meta.life.clone(), found.meta.get(1)), (life, Some(&[2u8; 300][..])));
        let mut without = found.meta.clone();
        assert!(without.delete(1) && !without.delete(1));
    }
}

#[test]
fn what_never_was_a_store_is_corrupt_and_not_factory() {
    for bytes in [vec![], vec![0; 2 * COPY_SIZE], vec![0xff; 2 * COPY_SIZE], vec![0; 100]] {
        assert!(matches!(Found::read(&bytes), Found::Corrupt { .. }));
    }
}

#[test]
fn limits_hold() {
    let mut meta = Meta::new(Life::Factory);
    assert_eq!(meta.set(3, vec![0; MAX_VALUE + 1]), Err(MetaError::Value { key: 3, length: MAX_VALUE + 1 }));
    for key in 0..5 {
        meta.set(key, vec![0; MAX_VALUE]).unwrap();
    }
    let found = store(&factory_image().unwrap());
    assert!(matches!(found.replace(meta), Err(MetaError::Full(_))));
}

/// After a change that leaves nothing behind, no byte of what was stored before is on the disk, and a write that was cut
/// leaves the old contents or the new ones.
#[test]
fn nothing_is_left_of_what_was_replaced() {
    let (mut bytes, _) = written(1, Life::Provisioned(record()));
    let mut meta = store(&bytes).meta;
    meta.set(10, b"secret".repeat(2000)).unwrap();
    for _ in 0..2 {
        let (write, _) = store(&bytes).replace(meta.clone()).unwrap();
        put(&mut bytes, &write, usize::MAX);
    }
    let mut cleared = meta.clone();
    cleared.clear();
    let (writes, next) = store(&bytes).replace_all(cleared.clone()).unwrap();
    for cut in (0..writes[0].bytes.len()).step_by(3000) {
        let mut torn = bytes.clone();
        put(&mut torn, &writes[0], cut);
        let found = store(&torn).meta;
        assert!(found == meta || found == cleared, "cut after {cut}");
    }
    writes.iter().for_each(|write| put(&mut bytes, write, usize::MAX));
    assert!(!bytes.windows(6).any(|window| window == b"secret"));
    let found = store(&bytes);
    assert_eq!((found.meta, found.generation, found.newest), (cleared, next.generation, next.newest));
    assert!(found.damaged.is_none() && !found.behind);
}

/// Every byte of one copy that counts, flipped in every way that changes it: the other copy is read. Exhaustive over
/// positions, one flip each.
#[test]
fn any_flipped_byte_in_one_copy_leaves_the_other() {
    let (bytes, meta) = written(4, Life::Provisioned(record()));
    let newest = store(&bytes).newest;
    let old = {
        let mut only = bytes.clone();
        let at = usize::try_from(newest.offset()).unwrap();
        only[at..at + 4096].fill(0);
        store(&only).meta
    };
    for copy in [Copy::A, Copy::B] {
        let base = usize::try_from(copy.offset()).unwrap();
        let length = 64 + usize::try_from(u64::from_le_bytes(bytes[base + 24..base + 32].try_into().unwrap())).unwrap();
        for at in base..base + length {
            let mut bad = bytes.clone();
            bad[at] ^= 0x55;
            let found = store(&bad);
            assert!(found.damaged.is_some(), "flip at {at} went unnoticed");
            assert_eq!(found.newest, copy.other());
            assert_eq!(&found.meta, if copy == newest { &old } else { &meta });
            // Mending gives two valid copies of the same contents.
            let write = found.repair().unwrap().unwrap();
            put(&mut bad, &write, usize::MAX);
            let mended = store(&bad);
            assert!(mended.damaged.is_none() && mended.meta == found.meta);
        }
    }
}

/// Once a change of life is brought in step, no single flip brings the earlier life back.
#[test]
fn no_flip_goes_back_to_an_earlier_life() {
    let mut bytes = factory_image().unwrap();
    for life in lives() {
        let (write, next) = store(&bytes).replace(Meta::new(life.clone())).unwrap();
        put(&mut bytes, &write, usize::MAX);
        assert_eq!(store(&bytes).behind, next.behind);
        if let Some(write) = next.repair().unwrap() {
            put(&mut bytes, &write, usize::MAX);
        }
        assert!(!store(&bytes).behind);
        for at in (0..300).chain(COPY_SIZE..COPY_SIZE + 300) {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(store(&bad).meta.life, life);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A write that was cut anywhere leaves the old contents or the new ones.
    #[test]
    fn a_torn_write_keeps_old_or_new(updates in 0u8..6, cut in 0usize..5000, garbage in any::<u8>(), life in 0usize..7) {
        let (mut bytes, old) = written(updates, lives()[life].clone());
        let was = store(&bytes);
        let mut new = was.meta.clone();
        new.set(9, vec![garbage; 1000]).unwrap();
        let (write, _) = was.replace(new.clone()).unwrap();
        let at = usize::try_from(write.offset).unwrap();
        put(&mut bytes, &write, cut);
        // The sector that was being written when the power went may hold anything.
        if cut < write.bytes.len() {
            let end = (cut + 512).min(write.bytes.len());
            bytes[at + cut..at + end].fill(garbage);
        }
        let found = store(&bytes);
        if updates > 0 { prop_assert!(found.meta == old || found.meta == new); }
        prop_assert!(found.meta == was.meta || found.meta == new);
        if cut >= write.bytes.len() { prop_assert_eq!(found.meta, new); }
    }

    /// What [`stored_length`] leaves out is never needed, also when a few kilobytes are stored.
    #[test]
    fn the_stored_length_is_enough(updates in 0u8..6, size in 0usize..9000, rot in 0usize..64, flip in any::<u8>()) {
        let (mut bytes, _) = written(updates, Life::Factory);
        let was = store(&bytes);
        let mut meta = was.meta.clone();
        meta.set(9, vec![1; size]).unwrap();
        put(&mut bytes, &was.replace(meta).unwrap().0, usize::MAX);
        bytes[rot] ^= flip;
        let copy = |copy: Copy| {
            let whole = &bytes[usize::try_from(copy.offset()).unwrap()..][..COPY_SIZE];
            let length = stored_length(&whole[..usize::try_from(BLOCK).unwrap()]);
            prop_assert_eq!(length % BLOCK, 0);
            Ok(&whole[..usize::try_from(length).unwrap()])
        };
        let (short, whole) = (Found::of(copy(Copy::A)?, copy(Copy::B)?), Found::read(&bytes));
        match (short, whole) {
            (Found::Valid(short), Found::Valid(whole)) => {
                prop_assert_eq!((short.meta, short.generation, short.newest), (whole.meta, whole.generation, whole.newest));
                prop_assert_eq!(short.damaged.is_some(), whole.damaged.is_some());
            }
            (short, whole) => prop_assert!(false, "{:?} and {:?}", short, whole),
        }
    }

    #[test]
    fn both_copies_damaged_is_corrupt(a in 0usize..64, b in 0usize..64, updates in 0u8..4) {
        let (mut bytes, _) = written(updates, Life::Factory);
        bytes[a] ^= 1;
        bytes[COPY_SIZE + b] ^= 1;
        let corrupt = matches!(Found::read(&bytes), Found::Corrupt { .. });
        prop_assert!(corrupt);
    }

    /// Lives of every kind with a right checksum around any bytes.
    #[test]
    fn lives_of_any_bytes(good in 0usize..7, life in 0u8..5, bytes in proptest::collection::vec(any::<u8>(), 0..100), cut in 0usize..400) {
        use sha2::{Digest, Sha256};
        // The record of a good one, cut and continued with anything; after two updates it is in copy A.
        let whole = lives().into_iter().map(|life| written(2, life).0).nth(good).unwrap();
        let length = usize::try_from(u64::from_le_bytes(whole[66..74].try_into().unwrap())).unwrap();
        let kept = &whole[74..74 + length];
        let value: Vec<u8> = [&[life][..], &kept[1..cut.clamp(1, kept.len())], &bytes].concat();
        let mut records = vec![0, 0];
        records.extend((value.len() as u64).to_le_bytes());
        records.extend(&value);
        let mut copy = b"KeelMETA\x01\0\0\0\0\0\0\0".to_vec();
        copy.extend(1u64.to_le_bytes());
        copy.extend((records.len() as u64).to_le_bytes());
        let digest = Sha256::new().chain_update(&copy).chain_update(&records).finalize();
        copy.extend_from_slice(&digest);
        copy.extend_from_slice(&records);
        if let Found::Valid(store) = Found::read(&copy) {
            // What is understood is what would be written.
            let (write, _) = store.replace(store.meta.clone()).unwrap();
            prop_assert_eq!(&write.bytes[64..64 + records.len()], &records[..]);
        }
    }

    #[test]
    fn never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..2000), magic in any::<bool>()) {
        if magic && bytes.len() > 32 {
            bytes[..8].copy_from_slice(b"KeelMETA");
        }
        let _ = Found::read(&bytes);
        // Records behind a right checksum too.
        use sha2::{Digest, Sha256};
        let mut copy = b"KeelMETA\x01\0\0\0\0\0\0\0".to_vec();
        copy.extend(1u64.to_le_bytes());
        copy.extend((bytes.len() as u64).to_le_bytes());
        let digest = Sha256::new().chain_update(&copy).chain_update(&bytes).finalize();
        copy.extend_from_slice(&digest);
        copy.extend_from_slice(&bytes);
        let _ = Found::read(&copy);
    }
}
