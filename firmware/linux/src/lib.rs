//! The kernel's edge: the only crate with unsafe code.
