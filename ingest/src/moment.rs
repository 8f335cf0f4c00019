//! A moment, read from two clocks.

use std::time::{Duration, Instant, SystemTime};

/// A moment by the wall clock and by the running clock. The wall clock counts the time of a suspended machine; the
/// running clock counts what a wall clock that is set back does not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) wall: SystemTime,
    pub(crate) running: Instant,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { wall: SystemTime::now(), running: Instant::now() }
    }

    /// The time from here to `now`, by the clock that is further.
    pub(crate) fn age_at(self, now: Self) -> Duration {
        let by_wall = now.wall.duration_since(self.wall).unwrap_or_default();
        by_wall.max(now.running.saturating_duration_since(self.running))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_age_is_that_of_the_clock_that_is_further() {
        let begun = Moment::now();
        for (wall, running, age) in [
            (begun.wall + SECOND, begun.running + SECOND, SECOND),
            // Suspended for an hour: the running clock stood still.
            (begun.wall + HOUR, begun.running + SECOND, HOUR),
            // Set back by an hour.
            (begun.wall - HOUR, begun.running + SECOND * 40, SECOND * 40),
            (begun.wall - HOUR, begun.running, Duration::ZERO),
        ] {
            assert_eq!(begun.age_at(Moment { wall, running }), age);
        }
    }
}
