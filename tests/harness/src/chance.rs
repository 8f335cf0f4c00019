//! Random points from a seed that is printed, so that a failure can be played again.

use std::time::Duration;

/// Names the seed: `KELLY_TEST_SEED=… cargo test …` plays a run again.
pub const SEED_VARIABLE: &str = "KELLY_TEST_SEED";

/// A source of random points. Processes and a busy machine are not to be seeded: the same seed gives
/// the same plan, not the same microsecond.
#[derive(Debug, Clone)]
pub struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    /// From this seed.
    pub fn from_seed(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    /// From [`SEED_VARIABLE`], else from the clock.
    ///
    /// # Panics
    /// When the variable holds no number: another plan than the one asked for would mislead.
    pub fn from_environment() -> Self {
        let seed = match std::env::var(SEED_VARIABLE) {
            Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("{SEED_VARIABLE}={seed} is not a number")),
            Err(_) => std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos() as u64),
        };
        Self::from_seed(seed)
    }

    /// What to set [`SEED_VARIABLE`] to.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Another source of the same seed, for a part that runs beside this one.
    pub fn split(&self, part: u64) -> Self {
        Self { seed: self.seed, state: self.seed ^ mix(part.wrapping_add(1)) }
    }

    /// A number below the bound, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state) % bound
    }

    /// A time below so many milliseconds.
    pub fn milliseconds(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

/// The finaliser of splitmix64: spread is all that is asked of it.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_points() {
        let points = |mut chance: Chance| (0..50).map(|_| chance.below(1_000)).collect::<Vec<_>>();
        let first = points(Chance::from_seed(7));
        assert_eq!(first, points(Chance::from_seed(7)));
        assert_ne!(first, points(Chance::from_seed(8)));
        assert_ne!(first, points(Chance::from_seed(7).split(0)));
        assert!(first.iter().min() < Some(&200) && first.iter().max() > Some(&800), "{first:?}");
    }
}
