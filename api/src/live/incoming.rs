//! How many messages a client may send.

use std::time::{Duration, Instant};

/// Messages that may come at once.
const AT_ONCE: u32 = 60;
/// Messages a second that may come for long.
const A_SECOND: u32 = 10;

/// Counts what comes. Pings and pongs count too: each costs an answer or a look.
#[derive(Debug)]
pub(super) struct Budget {
    left: f32,
    counted_at: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: AT_ONCE as f32, counted_at: now }
    }

    /// Takes one; false when there is none left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let elapsed: Duration = now.saturating_duration_since(self.counted_at);
        self.counted_at = now;
        self.left = (self.left + elapsed.as_secs_f32() * A_SECOND as f32).min(AT_ONCE as f32);
        let has_one = self.left >= 1.0;
        if has_one {
            self.left -= 1.0;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_a_flood_is_not() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert!((0..AT_ONCE).all(|_| budget.take(start)));
        assert!(!budget.take(start));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..AT_ONCE).filter(|_| budget.take(later)).count(), A_SECOND as usize);
    }
}
