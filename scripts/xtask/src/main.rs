//! The project commands: build, flash, qemu, vm-test, bench, check.
fn main() {}
