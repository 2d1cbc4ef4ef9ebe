use proptest::prelude::*;

use super::*;

fn drain(reader: &mut Reader, limit: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = reader.read(limit) {
        all.extend(chunk);
    }
    all
}

#[track_caller]
fn check(lines: &[&str], tail: Option<usize>, wanted: &str) {
    let ring = Arc::new(Ring::new(0));
    lines.iter().for_each(|line| ring.push(line.as_bytes()));
    assert_eq!(String::from_utf8_lossy(&drain(&mut ring.reader(tail), 7)), wanted);
}

#[test]
fn tails_are_exact() {
    let lines = ["one", "two", "", "four"];
    check(&lines, None, "one\ntwo\n\nfour\n");
    check(&lines, Some(0), "");
    check(&lines, Some(1), "four\n");
    check(&lines, Some(2), "\nfour\n");
    check(&lines, Some(4), "one\ntwo\n\nfour\n");
    check(&lines, Some(100), "one\ntwo\n\nfour\n");
    check(&["a\nb"], Some(1), "b\n");
    check(&[], Some(5), "");
}

#[test]
fn long_lines_are_cut() {
    let ring = Arc::new(Ring::new(0));
    ring.push(&vec![b'x'; MAX_LINE + 1]);
    assert_eq!(ring.tail(1)[0].len(), MAX_LINE + 3);
}

/// Lines like those of a node, with as much noise as text, take half of their size at most.
#[test]
fn what_is_old_takes_little_memory() {
    let ring = Arc::new(Ring::new(1024 * 1024));
    for number in 0..20_000_u32 {
        let hash = number.wrapping_mul(2_654_435_761);
        ring.push(
            format!(
                "2026/11/22 10:00:{:02}.{:06} network: link eth0: address 10.0.{}.{} ready",
                number % 60,
                hash % 1_000_000,
                hash % 256,
                number % 256
            )
            .as_bytes(),
        );
    }
    let text = ring.lock();
    let raw: usize = text.sealed.iter().map(|block| block.length).sum();
    let packed: usize = text.sealed.iter().map(|block| block.packed.len()).sum();
    assert!(text.sealed.len() >= 14 && packed * 2 < raw, "{} blocks, {packed} of {raw} bytes", text.sealed.len());
}

#[tokio::test]
async fn a_follower_wakes_up() {
    let ring = Arc::new(Ring::new(0));
    let mut reader = ring.reader(Some(0));
    assert_eq!(reader.read(100), None);
    let writer = Arc::clone(&ring);
    let (_, ()) = tokio::join!(reader.wait(), async move { writer.push(b"late") });
    assert_eq!(reader.read(100).as_deref(), Some(&b"late\n"[..]));
}

proptest! {
    // Each case moves a lot of bytes in a debug build.
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever is written: at most the limit is kept, whole lines only, the newest ones; each tail is exact; and a
    /// reader that reads in any rhythm sees an in-order selection that ends with the last line.
    #[test]
    fn keeps_the_newest_whole_lines(
        shapes in prop::collection::vec((0_usize..6000, 0_u8..26), 1..150),
        rhythm in prop::collection::vec(1_usize..20_000, 1..80),
        count in 0_usize..160,
    ) {
        let lines: Vec<String> = shapes.iter().map(|(length, letter)| char::from(b'a' + letter).to_string().repeat(*length)).collect();
        let ring = Arc::new(Ring::new(0));
        let mut reader = ring.reader(None);
        let mut seen = Vec::new();
        for (line, limit) in lines.iter().zip(rhythm.iter().cycle()) {
            ring.push(line.as_bytes());
            if limit % 3 == 0 {
                seen.extend(reader.read(*limit).unwrap_or_default());
            }
        }
        seen.extend(drain(&mut reader, 1000));
        let held = {
            let text = ring.lock();
            text.end() - text.start()
        };
        prop_assert!(held <= ring.limit as u64);
        let kept = ring.tail(usize::MAX);
        prop_assert_eq!(&kept[..], &lines[lines.len() - kept.len()..]);
        prop_assert!(kept.len() == lines.len() || kept.iter().map(|line| line.len() + 1).sum::<usize>() + BLOCK + 6001 > ring.limit);
        prop_assert_eq!(&ring.tail(count)[..], &kept[kept.len().saturating_sub(count)..]);
        let seen = String::from_utf8(seen).expect("whole lines");
        let mut all = lines.iter();
        prop_assert!(seen.lines().all(|line| all.any(|other| other == line)));
        prop_assert_eq!(seen.lines().next_back().unwrap_or_default(), lines[lines.len() - 1].as_str());
    }
}
