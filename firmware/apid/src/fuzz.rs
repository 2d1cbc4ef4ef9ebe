//! Parsers that are nobody else's to call, for `scripts/fuzz`. Nothing here is used on a node.

use http::{HeaderMap, HeaderValue};
use wire::apid_config::Mode;

use crate::{
    peer::Peer,
    route::{Decision, Reach, Route},
};

/// Whether a call with this metadata is for the node with the address 10.0.2.15 and the name `node-1`, which reaches no other.
#[must_use]
pub fn is_local(metadata: &HeaderMap) -> bool {
    let route = Route::new(Reach::ThisNode, &[[10, 0, 2, 15].into()], &["node-1"]);
    route.decide("/machine.MachineService/Version", metadata).is_ok_and(|decision| decision == Decision::Local)
}

/// The roles that a caller with this certificate has.
#[must_use]
pub fn roles(certificate: &[u8]) -> Vec<HeaderValue> {
    let address = ([127, 0, 0, 1], 0).into();
    Peer::new(address, Mode::Running, Some(&[certificate.into()])).roles(&HeaderMap::new())
}
