//! The one multi-call program of the image.
fn main() {}
