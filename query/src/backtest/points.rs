//! Values that were looked at, few enough for a chart.

use kelly_alerts::Decision;

/// Points of one chart.
pub(super) const MAX_POINTS: usize = 2_000;

/// A value that was looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) at_ms: i64,
    pub(super) value: Option<f64>,
    pub(super) threshold: Option<f64>,
    pub(super) decision: Decision,
}

/// Points as they come. Once there are too many, every second one that decides as those beside it is left out.
#[derive(Debug, Default)]
pub(super) struct Points {
    points: Vec<Point>,
    /// Of points that decide as the one before, one in so many is kept, as a power of two.
    halvings: u32,
    passed: u64,
}

impl Points {
    pub(super) fn push(&mut self, point: Point) {
        let is_news = self.points.last().is_none_or(|last| last.decision != point.decision);
        self.passed += 1;
        if !is_news && !self.passed.is_multiple_of(1 << self.halvings) {
            return;
        }
        if self.points.len() >= 2 * MAX_POINTS {
            self.halve();
        }
        self.points.push(point);
    }

    /// The points, and whether some were left out.
    pub(super) fn finish(mut self) -> (Vec<Point>, bool) {
        while self.points.len() > MAX_POINTS {
            self.halve();
        }
        (self.points, self.halvings > 0)
    }

    fn halve(&mut self) {
        self.halvings = (self.halvings + 1).min(62);
        let points = std::mem::take(&mut self.points);
        let changes: Vec<bool> = points
            .iter()
            .enumerate()
            .map(|(place, point)| place == 0 || points[place - 1].decision != point.decision)
            .collect();
        // Where every point decides otherwise than the one before, the changes themselves are thinned out.
        let keeps_changes = changes.iter().filter(|is_change| **is_change).count() <= MAX_POINTS;
        let numbered = points.into_iter().zip(changes).enumerate();
        let kept = numbered
            .filter(|(place, (_, is_change))| place.is_multiple_of(2) || (*is_change && keeps_changes));
        self.points = kept.map(|(_, (point, _))| point).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thinned(count: i64, decision: impl Fn(i64) -> Decision) -> (Vec<Point>, bool) {
        let mut points = Points::default();
        for at_ms in 0..count {
            points.push(Point {
                at_ms,
                value: Some(at_ms as f64),
                threshold: None,
                decision: decision(at_ms),
            });
        }
        points.finish()
    }

    #[test]
    fn few_points_are_all_there() {
        let (points, is_thinned) = thinned(MAX_POINTS as i64, |_| Decision::Good);
        assert_eq!((points.len(), is_thinned), (MAX_POINTS, false));
    }

    #[test]
    fn of_many_points_changes_are_kept_and_the_rest_is_even() {
        let (points, is_thinned) = thinned(100_000, |at_ms| match at_ms {
            77_777..77_780 => Decision::Firing,
            _ => Decision::Good,
        });
        assert!(is_thinned && points.len() <= MAX_POINTS, "{}", points.len());
        assert!(
            points.iter().any(|point| point.at_ms == 77_777)
                && points.iter().any(|point| point.at_ms == 77_780)
        );
        assert!(points.windows(2).all(|pair| pair[0].at_ms < pair[1].at_ms));
        let widest = points.windows(2).map(|pair| pair[1].at_ms - pair[0].at_ms).max().unwrap();
        assert!(widest < 1_000, "{widest}");
        let (points, _) =
            thinned(100_000, |at_ms| if at_ms % 2 == 0 { Decision::Good } else { Decision::Firing });
        assert!(points.len() <= MAX_POINTS, "{}", points.len());
    }
}
