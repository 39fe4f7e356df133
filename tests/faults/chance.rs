//! A small seeded generator: the same seed gives the same choices again.

use std::time::{SystemTime, UNIX_EPOCH};

/// Splitmix64: enough to scatter moments and choices, and it needs no crate.
pub(crate) struct Chance(u64);

impl Chance {
    /// A generator that is decided by `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of this run: `PANNIER_SEED`, or the clock's. Printed, so that a failure can be run again.
    pub(crate) fn seed_of_run(test: &str) -> u64 {
        let seed = parameter("PANNIER_SEED").unwrap_or_else(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_micros() as u64
        });
        println!("{test}: PANNIER_SEED={seed}");
        seed
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not zero.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A generator of its own, for another task.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.next())
    }
}

/// A number from the environment, which steers how long the tests run.
pub(crate) fn parameter(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
