//! Reproducible chance: a counter-based generator, so that every draw is a function of what it is
//! for and never of what was drawn before elsewhere.

/// A stream of draws. Two streams made from the same words are the same.
#[derive(Debug, Clone)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// The stream that belongs to these words, e.g. seed, account, time slot.
    pub fn of(words: &[u64]) -> Self {
        let state = words.iter().fold(0x6b65_6c6c_7964_656d, |state, word| mix(state ^ mix(*word)));
        Self { state }
    }

    /// The next 64 bits (SplitMix64).
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Even in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Even in `[low, high)`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Even in `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is under 2^-32 for every bound used here.
        self.bits() % bound.max(1)
    }

    /// True this often.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Standard normal (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Log-normal around a median; `spread` is the standard deviation of the logarithm.
    pub fn lognormal(&mut self, median: f64, spread: f64) -> f64 {
        median * (spread * self.normal()).exp()
    }

    /// How many of something that happens `mean` times on average (Poisson, by multiplication:
    /// meant for means below a few dozen).
    pub fn count(&mut self, mean: f64) -> u32 {
        /// No slot has more, whatever the draw: keeps one slot's work bounded.
        const MOST: u32 = 200;
        let limit = (-mean).exp();
        let mut product = self.unit();
        let mut count = 0;
        while product > limit && count < MOST {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// One of them.
    pub fn pick<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        &items[self.below(items.len() as u64) as usize]
    }
}

fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_give_the_same_draws() {
        let draw = |words: &[u64]| {
            let mut chance = Chance::of(words);
            [chance.bits(), chance.bits(), chance.bits()]
        };
        assert_eq!(draw(&[1, 2]), draw(&[1, 2]));
        assert_ne!(draw(&[1, 2]), draw(&[2, 1]));
        assert_ne!(draw(&[1]), draw(&[1, 0]));
    }

    #[test]
    fn draws_have_the_shape_their_names_promise() {
        let mut chance = Chance::of(&[7]);
        let many = 20_000;
        let mean = |draw: &mut dyn FnMut() -> f64| (0..many).map(|_| draw()).sum::<f64>() / many as f64;
        assert!((mean(&mut || chance.unit()) - 0.5).abs() < 0.01);
        assert!(mean(&mut || chance.normal()).abs() < 0.03);
        assert!((mean(&mut || f64::from(chance.count(3.0))) - 3.0).abs() < 0.06);
        let below_median = mean(&mut || f64::from(u8::from(chance.lognormal(800.0, 0.5) < 800.0)));
        assert!((below_median - 0.5).abs() < 0.02);
    }
}
