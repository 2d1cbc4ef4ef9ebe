//! Looks for inputs that make a target's code do something new, or that break it.
//!
//! - [`coverage`]: what instrumented code did and compared; [`pool`]: the inputs worth going on from; [`mutate`]: changes to them;
//! - [`work`]: goes on until the time is over, or the process dies of an input: that is how it says that something is broken;
//! - [`hunt`]: the process above, which keeps the input that killed the one below, as short as it can be made.

pub mod coverage;
pub mod hunt;
pub mod mutate;
pub mod pool;
pub mod random;
pub mod work;
