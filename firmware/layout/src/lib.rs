//! Partitions, slots, GPT planning and the META store, as pure functions of values.
