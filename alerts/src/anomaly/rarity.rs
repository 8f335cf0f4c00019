//! How rare a magnitude is among those seen before, with no assumption about how they are spread.

use serde::{Deserialize, Serialize};

use super::table::Table;

/// Buckets, six for each factor of e, from e^-3 on: to about twenty thousand.
const BUCKETS: usize = 64;
const BUCKETS_PER_E: f64 = 6.0;
const LOWEST_LN: f64 = -3.0;

/// Before so many magnitudes nothing is rare.
const FEWEST: f32 = 20.0;

/// From so many on older ones count less and less: half as much after about 1,400.
const SETTLED: f32 = 500.0;
const REMEMBERED: f32 = 0.9995;
/// Forgetting is done for so many at once.
const AT_ONCE: u32 = 32;

/// How much a magnitude beyond all others adds, for each factor of e.
const BEYOND: f64 = 2.85;
const MOST_BEYOND: f64 = 6.0;

/// Magnitudes seen before.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Rarity {
    buckets: Table<BUCKETS>,
    count: f32,
    largest: f32,
    until_forgetting: u32,
}

impl Rarity {
    /// How rare a magnitude is: the negative logarithm of the part of those before that were as large, and more for one
    /// beyond all of them.
    pub(super) fn of(&self, magnitude: f64) -> f64 {
        if self.count < FEWEST {
            return 0.0;
        }
        let place = place(magnitude);
        let bucket = place as usize;
        let above: f32 = self.buckets[bucket + 1..].iter().sum();
        // Within a bucket they are taken to be spread evenly.
        let within = f64::from(self.buckets[bucket]) * (1.0 - place.fract());
        let part = (f64::from(above) + within + 0.5) / (f64::from(self.count) + 1.0);
        let largest = f64::from(self.largest);
        let beyond =
            if magnitude > largest && largest > 0.0 { BEYOND * (magnitude / largest).ln() } else { 0.0 };
        beyond.min(MOST_BEYOND) - part.ln()
    }

    /// Learns a magnitude.
    pub(super) fn learn(&mut self, magnitude: f64) {
        if self.count > SETTLED {
            self.until_forgetting += 1;
            if self.until_forgetting >= AT_ONCE {
                self.until_forgetting = 0;
                let remembered = REMEMBERED.powi(AT_ONCE as i32);
                self.buckets.iter_mut().for_each(|bucket| *bucket *= remembered);
                self.count *= remembered;
                // The largest of all fades more slowly than what is usual.
                self.largest *= remembered.powf(0.3);
            }
        }
        self.buckets[place(magnitude) as usize] += 1.0;
        self.count += 1.0;
        self.largest = self.largest.max(magnitude as f32);
    }
}

/// The bucket of a magnitude, and how far into it.
fn place(magnitude: f64) -> f64 {
    ((magnitude.max(1e-3).ln() - LOWEST_LN) * BUCKETS_PER_E).clamp(0.0, BUCKETS as f64 - 1.001)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_many_is_rare_and_the_usual_is_not() {
        let mut rarity = Rarity::default();
        assert_eq!(rarity.of(100.0), 0.0, "nothing is rare yet");
        for number in 0..400 {
            rarity.learn(1.0 + f64::from(number % 10) / 10.0);
        }
        assert!(rarity.of(1.0) < 0.5, "{}", rarity.of(1.0));
        assert!(rarity.of(3.0) > 5.0, "{}", rarity.of(3.0));
        assert!(rarity.of(30.0) > rarity.of(3.0) + 1.0);
        rarity.learn(30.0);
        assert!(rarity.of(29.0) < rarity.of(31.0), "what was seen is less rare");
    }
}
