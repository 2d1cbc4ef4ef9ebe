//! Random services, random events, a driver that is late, stubborn or silent: what must hold whatever happens.
//!
//! [`world`] plays the driver and judges every step. A long walk with a cheap generator covers ground; a property with shrinking
//! says in few words what went wrong.

mod world;

use proptest::prelude::*;
use world::World;

/// Walks, and steps of each; a walk ends in stop-all, by timers alone.
const WALKS: u64 = 8_000;
const STEPS: usize = 400;

/// xorshift64*: <https://doi.org/10.18637/jss.v008.i14> with the multiplier of <https://arxiv.org/abs/1402.6246>.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }
}

/// A quarter of the walks, so that they run side by side.
fn walk(quarter: u64) {
    let mut seen = world::Seen::default();
    for walk in (0..WALKS).filter(|walk| walk % 4 == quarter) {
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(walk + 1));
        let mut world = World::new(&[random.next(), random.next(), random.next()], format!("walk {walk}"));
        (0..STEPS).for_each(|_| world.act(random.next()));
        seen.add(&world.finish());
    }
    // Walks that avoid what is to be judged would prove nothing.
    seen.expect_variety();
}

#[test]
fn walks_1() {
    walk(0);
}

#[test]
fn walks_2() {
    walk(1);
}

#[test]
fn walks_3() {
    walk(2);
}

#[test]
fn walks_4() {
    walk(3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_happens_breaks_the_rules(shape in prop::array::uniform3(any::<u32>()), acts in prop::collection::vec(any::<u32>(), 0..300)) {
        let mut world = World::new(&shape, "property".to_owned());
        acts.into_iter().for_each(|act| world.act(act));
        world.finish();
    }
}
