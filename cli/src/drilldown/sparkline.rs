//! A series as a line of blocks. Pure.

/// From the least to the greatest value.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Where there is no sample.
const GAP: char = '·';

/// A point of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Start of its interval, ms since the epoch.
    pub at_ms: i64,
    /// Value.
    pub value: f64,
    /// Samples behind it.
    pub count: u64,
}

/// How points of one cell become one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    /// They add up.
    Sum,
    /// The mean of all their samples.
    Mean,
    /// The greatest.
    Max,
    /// The last.
    Last,
}

/// The time a line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First instant, ms since the epoch.
    pub from_ms: i64,
    /// End.
    pub to_ms: i64,
    /// Length of the series' intervals.
    pub step_ms: i64,
}

/// The series as at most `width` blocks, between its own least and greatest value.
pub fn sparkline(points: &[Point], window: Window, together: Together, width: usize) -> String {
    draw(&cells(points, window, together, width))
}

/// One value a cell. Points are in order of time; those outside the window are left out.
fn cells(points: &[Point], window: Window, together: Together, width: usize) -> Vec<Option<f64>> {
    let Window { from_ms, to_ms, step_ms } = window;
    let span = to_ms - from_ms;
    if span <= 0 || width == 0 {
        return Vec::new();
    }
    // Not more cells than intervals, or there would be gaps where there are none.
    let intervals = (span + step_ms.max(1) - 1) / step_ms.max(1);
    let width = width.min(usize::try_from(intervals).unwrap_or(width));
    let mut cells: Vec<Option<(f64, u64)>> = vec![None; width];
    for point in points {
        let along = (point.at_ms - from_ms) as f64 / span as f64;
        if !(0.0..1.0).contains(&along) || !point.value.is_finite() {
            continue;
        }
        let Some(cell) = cells.get_mut((along * width as f64) as usize) else { continue };
        *cell = Some(match (*cell, together) {
            (None, _) | (Some(_), Together::Last) => (point.value, point.count),
            (Some((value, count)), Together::Sum) => (value + point.value, count + point.count),
            (Some((value, count)), Together::Max) => (value.max(point.value), count + point.count),
            (Some((value, count)), Together::Mean) => {
                let all = (count + point.count).max(1);
                let weighted = value * count as f64 + point.value * point.count as f64;
                (weighted / all as f64, all)
            }
        });
    }
    cells.into_iter().map(|cell| cell.map(|(value, _)| value)).collect()
}

fn draw(cells: &[Option<f64>]) -> String {
    let values = || cells.iter().flatten().copied();
    let (least, greatest) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), value| {
        (least.min(value), greatest.max(value))
    });
    let block = |value: f64| {
        if greatest <= least {
            return BLOCKS[BLOCKS.len() / 2];
        }
        let height = (value - least) / (greatest - least) * (BLOCKS.len() - 1) as f64;
        BLOCKS[(height.round() as usize).min(BLOCKS.len() - 1)]
    };
    cells.iter().map(|cell| cell.map_or(GAP, block)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Window = Window { from_ms: 0, to_ms: 3_600_000, step_ms: 60_000 };

    fn point(minute: i64, value: f64, count: u64) -> Point {
        Point { at_ms: minute * 60_000, value, count }
    }

    #[test]
    fn a_ramp_uses_every_block() {
        let window = Window { from_ms: 0, to_ms: 8, step_ms: 1 };
        let points: Vec<Point> =
            (0..8).map(|step| Point { at_ms: step, value: step as f64, count: 1 }).collect();
        assert_eq!(sparkline(&points, window, Together::Mean, 80), "▁▂▃▄▅▆▇█");
        let down: Vec<Point> = points.iter().map(|point| Point { value: -point.value, ..*point }).collect();
        assert_eq!(sparkline(&down, window, Together::Mean, 80), "█▇▆▅▄▃▂▁");
    }

    #[test]
    fn gaps_are_gaps_and_a_flat_line_is_in_the_middle() {
        assert_eq!(sparkline(&[point(0, 5.0, 1), point(59, 5.0, 9)], HOUR, Together::Mean, 4), "▅··▅");
        assert_eq!(sparkline(&[], HOUR, Together::Mean, 3), "···");
        assert_eq!(sparkline(&[point(0, 1.0, 1)], Window { to_ms: 0, ..HOUR }, Together::Mean, 3), "");
        let strange = [point(-1, 1.0, 1), point(60, 1.0, 1), point(5, f64::NAN, 1)];
        assert_eq!(sparkline(&strange, HOUR, Together::Sum, 2), "··", "outside of the window, or no number");
    }

    #[test]
    fn points_of_one_cell_come_together_as_the_metric_does() {
        let points = [point(0, 1.0, 1), point(1, 4.0, 2), point(2, 3.0, 1)];
        for (together, expected) in
            [(Together::Sum, 8.0), (Together::Mean, 3.0), (Together::Max, 4.0), (Together::Last, 3.0)]
        {
            assert_eq!(cells(&points, HOUR, together, 1), [Some(expected)], "{together:?}");
        }
    }
}
