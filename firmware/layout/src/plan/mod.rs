//! What to do with a disk at boot.
