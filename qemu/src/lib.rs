//! Boots boards in QEMU and drives them through their API.
