//! The firmware image builder, in Buildroot's manner.
