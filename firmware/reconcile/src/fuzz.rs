//! Parsers that are nobody else's to call, for `scripts/fuzz`. Nothing here is used on a node.

use resource::Query;
use wire::cosi;

use crate::service;

/// What a client means; `None` when it is refused.
#[must_use]
pub fn query(labels: &[cosi::LabelQuery], id: Option<&cosi::IdQuery>) -> Option<Query> {
    service::query(labels, id).ok()
}
