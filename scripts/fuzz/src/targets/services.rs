//! What processes of the node tell each other, and what services write.

use std::sync::Arc;

use linux::{
    fuzz,
    process::{LineSplitter, MAX_LINE},
};
use machined::logs::Ring;
use wire::apid_config::ApidConfig;

use super::seeds;
use crate::target::{MIB, Target, text, words};

/// What a launcher is to do.
pub const ORDER: Target = Target {
    name: "order",
    bytes: "the order of a launcher",
    from: "machined, or whoever starts the launcher",
    property: "an order that is taken is written as it was",
    memory: 4 * MIB,
    words: || words(&["/run/", "/proc", "/usr/bin/keelson", "..", "//", "\x02\x00", "\x00\x00"]),
    seeds: || {
        let text = |text: &str| [&u16::try_from(text.len()).unwrap_or(0).to_le_bytes()[..], text.as_bytes()].concat();
        let image = [text("/p"), vec![1, 0], text("p"), vec![0, 0]].concat();
        // No limits, user 50, no groups, no capabilities, no new privileges.
        let privileges = [vec![0, 0, 1, 50, 0, 0, 0, 50, 0, 0, 0, 0, 0, 1], vec![0; 8], vec![1]].concat();
        let bind = [vec![0], text("/run/a"), text("/a"), vec![1, 0, 0]].concat();
        let tmpfs = [vec![1], text("/tmp"), 4096_u64.to_le_bytes().to_vec(), 0o700_u32.to_le_bytes().to_vec()].concat();
        let mounts = [vec![1, 1, 1, 3, 0], bind, tmpfs, vec![2], text("/proc")].concat();
        let call = [vec![1, 0], 7_u32.to_le_bytes().to_vec(), vec![1, 0, 1], u64::MAX.to_le_bytes().to_vec(), 5_u64.to_le_bytes().to_vec()]
            .concat();
        let calls = [vec![1], call, vec![1], 1_u32.to_le_bytes().to_vec()].concat();
        vec![[image, privileges, mounts, text("/"), 0o77_u32.to_le_bytes().to_vec(), calls].concat()]
    },
    check: |input| {
        if let Ok(written) = fuzz::order(input) {
            assert_eq!(written, input);
        }
    },
    ..Target::PLAIN
};

/// What a launcher failed at.
pub const REPORT: Target = Target {
    name: "report",
    bytes: "what a launcher says before it ends",
    from: "a launcher that may be in a sandbox already",
    property: "nothing means that nothing failed; everything else is a failure that is told in bounded length",
    longest: 2048,
    seeds: || vec![b"\x02\0\0\0bind /run/x".to_vec(), b"\xff".to_vec()],
    check: |input| {
        let read = fuzz::report(input);
        assert_eq!(read.is_none(), input.is_empty());
        if let Some((step, written)) = read {
            assert!(step.len() <= 3 * 512 && written.len() <= 512 && fuzz::report(&written).is_some());
        }
    },
    ..Target::PLAIN
};

/// What apid is told.
pub const APID_ORDER: Target = Target {
    name: "apid-order",
    bytes: "a line of apid's standard input",
    from: "machined",
    property: "what is taken is the same after being written and read again; shown for debugging it holds no key",
    memory: 8 * MIB,
    words: || {
        words(&[
            "{\"mode\":\"running\"",
            ",\"listen\":\"0.0.0.0:50000\"",
            ",\"server_chain_pem\":\"",
            ",\"server_key_pem\":\"",
            ",\"client_ca_pem\":null",
            ",\"local_addresses\":[\"10.0.0.1\"]",
            ",\"hostname\":\"",
            ",\"socket\":\"/run/x\"",
            "\"geheim\"",
            "maintenance",
            "\\u0000",
        ])
    },
    seeds: || {
        seeds(&[
            r#"{"mode":"running","listen":"0.0.0.0:50000","server_chain_pem":"a","server_key_pem":"geheim","client_ca_pem":"c","local_addresses":["::1"],"hostname":"h","socket":"/run/x"}"#,
        ])
    },
    check: |input| {
        if let Ok(config) = serde_json::from_slice::<ApidConfig>(input) {
            let line = wire::orders::to_line(&config).expect("it can be written");
            assert_eq!(serde_json::from_slice::<ApidConfig>(&line).expect("it can be read again"), config);
            assert!(!config.server_key_pem.contains("geheim") || !format!("{config:?}").contains("geheim"), "a key is shown");
        }
    },
    ..Target::PLAIN
};

/// Lines of a service.
pub const OUTPUT: Target = Target {
    name: "output",
    bytes: "what a service writes, in pieces of as many bytes as the first one says",
    from: "services",
    property: "in pieces it is the same lines as at once; none is longer than the limit; no byte is lost but line breaks",
    longest: 20_000,
    seeds: || vec![b"\x03a\r\nb\n\nc".to_vec(), [&[200][..], &[b'x'; 9000]].concat()],
    check: |input| {
        let Some((size, input)) = input.split_first() else { return };
        let lines = |chunks: &mut dyn Iterator<Item = &[u8]>| {
            let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
            for chunk in chunks {
                splitter.feed(chunk, |line| lines.push(line.to_vec()));
            }
            splitter.end(|line| lines.push(line.to_vec()));
            lines
        };
        let whole = lines(&mut [input].into_iter());
        assert_eq!(whole, lines(&mut input.chunks(usize::from(*size).max(1))));
        assert!(whole.iter().all(|line| line.len() <= MAX_LINE));
        let ends = |bytes: &[u8]| bytes.iter().filter(|byte| **byte != b'\n' && **byte != b'\r').count();
        assert_eq!(whole.iter().map(|line| ends(line)).sum::<usize>(), ends(input));
    },
    ..Target::PLAIN
};

/// Logs in memory.
pub const LOG: Target = Target {
    name: "log",
    bytes: "how often the lines are repeated (a byte), how many are asked for (another), then lines",
    from: "services",
    property: "the last lines are there, as they were written, whether or not they were packed meanwhile",
    longest: 2048,
    memory: 8 * MIB,
    seeds: || vec![b"\x01\x02a\nb\nc".to_vec(), b"\xff\xffline\nother line\n\n\xff".to_vec()],
    check: |input| {
        let Some((&[times, count], lines)) = input.split_first_chunk() else { return };
        let ring = Arc::new(Ring::new(0));
        // Enough for blocks to be packed and old ones to go, in time that can be afforded.
        let times = usize::from(times).min(400_000 / (lines.len() + 1));
        (0..times).for_each(|_| ring.push(lines));
        let count = usize::from(count);
        let found = ring.tail(count);
        let all: Vec<String> = text(lines).split('\n').map(str::to_owned).collect();
        let written: Vec<&String> = all.iter().cycle().take(all.len() * times).collect();
        let wanted = &written[written.len().saturating_sub(count)..];
        // A ring of 128 KiB holds fewer than 255 lines only when they are long.
        let held = &wanted[wanted.len().saturating_sub(found.len())..];
        assert!(
            found.len() <= count && (found.len() == wanted.len() || lines.len() * count > 60_000),
            "{} of {}",
            found.len(),
            wanted.len()
        );
        let end = |line: &str| line.strip_suffix('\r').unwrap_or(line).to_owned();
        assert!(found.iter().zip(held).all(|(found, wanted)| *found == end(wanted)), "{found:?} instead of {held:?}");
    },
    ..Target::PLAIN
};
