//! Writes images to disks and verifies them.
