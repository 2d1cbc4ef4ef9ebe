//! The client for people.
fn main() {}
