//! When a row is due and what time it carries. Pure: the clock stands outside.

use std::time::Duration;

/// How fast rows go out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as they are taken.
    Fastest,
    /// So many rows a second.
    Rate(u32),
    /// At the rows' own times, this many times as fast.
    Speed(f64),
}

/// Turns the times in the files into times to send.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// How fast.
    pub pace: Pace,
    /// Whether times are moved to now.
    pub shift: bool,
    /// The earliest time in the files, if any row has one.
    pub first_ms: Option<i64>,
    /// The latest.
    pub last_ms: Option<i64>,
    /// When the replay began.
    pub began_ms: i64,
}

impl Schedule {
    /// How long after the beginning the row with this number (from 0) and time is due.
    pub fn due(&self, number: u64, at_ms: Option<i64>) -> Duration {
        match self.pace {
            Pace::Fastest => Duration::ZERO,
            Pace::Rate(rate) => Duration::from_secs_f64(number as f64 / f64::from(rate)),
            Pace::Speed(factor) => match (at_ms, self.first_ms) {
                (Some(at), Some(first)) => {
                    Duration::from_secs_f64((at - first).max(0) as f64 / 1_000.0 / factor)
                }
                _ => Duration::ZERO,
            },
        }
    }

    /// The time the row carries when it is sent.
    pub fn time(&self, at_ms: Option<i64>) -> Option<i64> {
        let at_ms = at_ms?;
        if !self.shift {
            return Some(at_ms);
        }
        Some(match self.pace {
            // Time itself is compressed: the row happens when it is sent.
            Pace::Speed(_) => {
                let due = self.due(0, Some(at_ms)).as_millis();
                self.began_ms.saturating_add(i64::try_from(due).unwrap_or(i64::MAX))
            }
            Pace::Fastest | Pace::Rate(_) => {
                at_ms.saturating_add(self.began_ms - self.last_ms.unwrap_or(at_ms))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(pace: Pace, shift: bool) -> Schedule {
        Schedule { pace, shift, first_ms: Some(1_000), last_ms: Some(61_000), began_ms: 1_000_000 }
    }

    #[test]
    fn rows_are_due_by_the_pace() {
        let cases = [
            (Pace::Fastest, 500, 0),
            (Pace::Rate(100), 500, 5_000),
            (Pace::Speed(1.0), 500, 30_000),
            (Pace::Speed(60.0), 500, 500),
        ];
        for (pace, number, expected_ms) in cases {
            let due = schedule(pace, false).due(number, Some(31_000));
            assert_eq!(due, Duration::from_millis(expected_ms), "{pace:?}");
        }
        assert_eq!(schedule(Pace::Speed(1.0), false).due(5, None), Duration::ZERO);
    }

    #[test]
    fn shifted_the_last_row_is_now_and_distances_stay() {
        let shifted = schedule(Pace::Fastest, true);
        assert_eq!(shifted.time(Some(61_000)), Some(1_000_000));
        assert_eq!(shifted.time(Some(1_000)), Some(940_000));
        assert_eq!(shifted.time(None), None);
        assert_eq!(schedule(Pace::Fastest, false).time(Some(7)), Some(7));
    }

    #[test]
    fn shifted_with_a_speed_a_row_happens_when_it_is_sent() {
        let shifted = schedule(Pace::Speed(60.0), true);
        assert_eq!(shifted.time(Some(1_000)), Some(1_000_000));
        assert_eq!(shifted.time(Some(61_000)), Some(1_001_000));
    }
}
