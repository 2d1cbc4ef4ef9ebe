//! Parsers that are nobody else's to call, for `scripts/fuzz`. Nothing here is used on a node.

use crate::{
    block::dm,
    mount::{self, MountEntry},
    nft,
    sandbox::{self, OrderError},
    uevent,
};

/// What a launcher reads on its descriptor, written again as it was understood.
///
/// # Errors
/// [`OrderError`].
pub fn order(bytes: &[u8]) -> Result<Vec<u8>, OrderError> {
    sandbox::reread(bytes)
}

/// What a launcher said that it failed at, and that written again.
#[must_use]
pub fn report(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    sandbox::Report::decode(bytes).map(|report| (report.step.clone(), report.encode()))
}

/// The lines of a mount table.
#[must_use]
pub fn mounts(text: &str) -> Vec<MountEntry> {
    mount::parse(text)
}

/// Whether a message of the kernel is about a device of a subsystem.
#[must_use]
pub fn uevent(message: &[u8], subsystem: &str) -> bool {
    uevent::is_about(message, subsystem)
}

/// The targets in an answer of the device mapper: kind and text of each.
#[must_use]
pub fn targets(answer: &[u8], count: u32) -> Option<Vec<(String, String)>> {
    dm::parse(answer, count).map(|targets| targets.into_iter().map(|target| (target.kind, target.text)).collect())
}

/// A datagram of the packet filter: of each message its kind, its error, and the expressions in each of its attributes.
#[must_use]
pub fn filter(datagram: &[u8]) -> Vec<(u16, i32, Vec<String>)> {
    nft::understood(datagram)
}
