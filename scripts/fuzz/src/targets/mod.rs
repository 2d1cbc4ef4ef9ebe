//! Everything that reads bytes from outside. A new parser gets a row here; `docs/fuzzing.md` is checked against the rows.

mod addresses;
mod config;
mod console;
mod disk;
mod kernel;
mod keys;
mod netlink;
mod network;
mod queries;
mod services;

use crate::target::{Target, words};

/// The targets, from the outermost to the innermost: what strangers send comes first.
///
/// Statics and no constants: their functions are compiled here, where they are instrumented, and not where they are used.
pub static ALL: &[Target] = &[
    config::CONFIG,
    config::PATCH,
    config::REDACTION,
    config::EXPRESSION,
    config::INLINE,
    config::DIFFERENCE,
    keys::PEM,
    keys::CERTIFICATE,
    keys::BUNDLE,
    keys::TALOSCONFIG,
    queries::ROUTE,
    queries::QUERY,
    queries::REQUESTS,
    queries::EVENT_ID,
    network::NTP,
    network::LEASE,
    console::CONSOLE,
    disk::GPT,
    disk::META,
    disk::LABEL,
    disk::PARTITIONS,
    disk::BLOCK_MAP,
    kernel::COMMAND_LINE,
    kernel::VERITY,
    kernel::PROC,
    kernel::SOCKETS,
    kernel::LOG_RECORD,
    kernel::MODULES,
    kernel::DEVICE_MAPPER,
    netlink::ROUTING,
    netlink::TUNNEL,
    netlink::FILTER,
    services::ORDER,
    services::REPORT,
    services::APID_ORDER,
    services::OUTPUT,
    services::LOG,
    addresses::RANGES,
];

/// What is planted for the engine: it has to come through comparisons of texts and of numbers, and to go on from what is deeper, to find it.
pub static PLANTED: Target = Target {
    name: "planted",
    bytes: "a text, a number and brackets",
    from: "us",
    property: "the engine finds them",
    longest: 64,
    check: |input| {
        let Some(rest) = input.strip_prefix(b"keelson:") else { return };
        let Some((number, rest)) = rest.split_first_chunk() else { return };
        let depth = rest.iter().take_while(|byte| **byte == b'(').count();
        assert!(u32::from_be_bytes(*number) != 0x2f3a_91c4 || depth < 3, "this was planted");
    },
    ..Target::PLAIN
};

/// The shortest input that finds it.
pub const PLANTED_INPUT: &[u8] = b"keelson:\x2f\x3a\x91\xc4(((";

/// Seeds given as texts.
fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    words(texts)
}
