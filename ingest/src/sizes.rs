//! How large things were: counted into fixed classes, readable at any time.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts sizes.
#[derive(Debug)]
pub(crate) struct Sizes {
    /// The largest size of each class but the last, which has no bound.
    bounds: &'static [u64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What was counted up to one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SizeCounts {
    /// The largest size of each class and how many were in it; the last class, of `u64::MAX`, has no bound.
    pub classes: Vec<(u64, u64)>,
    /// All sizes together.
    pub sum: u64,
}

impl Sizes {
    /// Nothing counted yet. The bounds ascend.
    pub(crate) fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, size: u64) {
        let class = self.bounds.partition_point(|bound| *bound < size);
        if let Some(count) = self.counts.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(size, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> SizeCounts {
        let bounds = self.bounds.iter().copied().chain([u64::MAX]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        SizeCounts { classes: bounds.zip(counts).collect(), sum: self.sum.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_counted_in_the_first_class_that_holds_it() {
        let sizes = Sizes::new(&[10, 100]);
        for size in [0, 10, 11, 100, 101, 5_000] {
            sizes.add(size);
        }
        let counts = sizes.counts();
        assert_eq!(counts.classes, [(10, 2), (100, 2), (u64::MAX, 2)]);
        assert_eq!(counts.sum, 5_222);
    }
}
