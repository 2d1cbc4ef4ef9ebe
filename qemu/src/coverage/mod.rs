//! What the API answers, method by method, observed from outside; and the page that says so, `docs/api-coverage.md`.
//!
//! - [`requests`]: one harmless request for each method; [`ask`]: any method, its first answer;
//! - [`observe`]: all methods of a node and all roles; [`page`]: rows to a page and back.
//!
//! Absent on purpose: what should be answered. The role table that is checked is the test's (`firmware/apid/tests/roles`).

mod observe;
mod page;
mod requests;

use std::path::PathBuf;

pub use observe::{LETTERS, allows, ask, observe, open, who};
pub use page::{Answer, PAGE, Row, read, write};
pub use requests::{Asked, GARBAGE, LAST, requests};

/// Where the suite leaves what it saw on a board: the page as it would be.
#[must_use]
pub fn seen(board: &str) -> PathBuf {
    crate::vm::out_root().join(board).join("api-coverage.md")
}
