//! What a change between two windows means. Pure.

use kelly_schemas::catalogue::Bad;

use crate::detailed::{Direction, Thresholds};

/// Samples each of the two windows needs before a trend is given.
pub(crate) const SAMPLES_NEEDED: u64 = 5;
/// A change of at most this many percent is flat.
pub(crate) const FLAT_PERCENT: f64 = 1.0;
/// A change the bad way of at least this many percent is concerning whatever the thresholds.
pub(crate) const CONCERNING_PERCENT: f64 = 20.0;

/// Two windows of the same length, as the store compared them, and all of the window that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Comparison {
    /// The value of all of the window, of which `current` is the part that is over.
    pub(crate) whole: Option<f64>,
    pub(crate) whole_samples: u64,
    pub(crate) current: Option<f64>,
    pub(crate) previous: Option<f64>,
    pub(crate) current_samples: u64,
    pub(crate) previous_samples: u64,
    /// (current - previous) / |previous| * 100; `None` when the previous value is 0 or missing.
    pub(crate) percentage_change: Option<f64>,
}

/// What the comparison means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) direction: Option<Direction>,
    pub(crate) percentage_change: Option<f64>,
    pub(crate) is_concerning: bool,
    pub(crate) insufficient_data: bool,
}

/// Judges a comparison. It is concerning when the whole window's value is past the critical threshold, which takes no
/// window before but enough samples; or when it went the bad way and is past the warning threshold, or would be after one
/// more such step, or changed by [`CONCERNING_PERCENT`] or more. With too few samples on either side nothing is said
/// of a change.
pub(crate) fn judge(comparison: &Comparison, bad: Bad, thresholds: &Thresholds) -> Verdict {
    let past = |value: f64, threshold: Option<f64>| match (bad, threshold) {
        (Bad::Up, Some(threshold)) => value >= threshold,
        (Bad::Down, Some(threshold)) => value <= threshold,
        (Bad::Neither, _) | (_, None) => false,
    };
    let current = comparison.current.filter(|_| comparison.current_samples >= SAMPLES_NEEDED);
    let previous = comparison.previous.filter(|_| comparison.previous_samples >= SAMPLES_NEEDED);
    let whole = comparison.whole.filter(|_| comparison.whole_samples >= SAMPLES_NEEDED);
    let is_critical = whole.is_some_and(|value| past(value, thresholds.critical));
    let (Some(current), Some(previous)) = (current, previous) else {
        return Verdict {
            direction: None,
            percentage_change: None,
            is_concerning: is_critical,
            insufficient_data: true,
        };
    };
    let direction = direction(current - previous, comparison.percentage_change);
    let worsens = matches!((bad, direction), (Bad::Up, Direction::Up) | (Bad::Down, Direction::Down));
    let one_step_on = current + (current - previous);
    // A previous value of 0 has no percentage: any change from nothing the bad way is a large one.
    let large = comparison.percentage_change.is_none_or(|percent| percent.abs() >= CONCERNING_PERCENT);
    Verdict {
        direction: Some(direction),
        percentage_change: comparison.percentage_change,
        is_concerning: is_critical
            || (worsens
                && (large || past(current, thresholds.warning) || past(one_step_on, thresholds.warning))),
        insufficient_data: false,
    }
}

fn direction(difference: f64, percentage_change: Option<f64>) -> Direction {
    if percentage_change.is_some_and(|percent| percent.abs() <= FLAT_PERCENT) || difference == 0.0 {
        Direction::Flat
    } else if difference > 0.0 {
        Direction::Up
    } else {
        Direction::Down
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: Thresholds = Thresholds { warning: None, critical: None };
    const CONFIDENCE: Thresholds = Thresholds { warning: Some(0.6), critical: Some(0.4) };
    const LOAD: Thresholds = Thresholds { warning: Some(70.0), critical: Some(85.0) };

    fn windows(previous: f64, current: f64) -> Comparison {
        Comparison {
            whole: Some(current),
            whole_samples: 100,
            current: Some(current),
            previous: Some(previous),
            current_samples: 100,
            previous_samples: 100,
            percentage_change: (previous != 0.0).then(|| (current - previous) / previous.abs() * 100.0),
        }
    }

    #[test]
    fn direction_and_concern_follow_the_catalogue() {
        use Direction::{Down, Flat, Up};
        let cases = [
            // previous, current, bad, thresholds, direction, concerning, why
            (50.0, 52.0, Bad::Up, LOAD, Up, false, "rises far below the warning"),
            (64.0, 68.0, Bad::Up, LOAD, Up, true, "one more step passes the warning"),
            (50.0, 61.0, Bad::Up, LOAD, Up, true, "22 % the bad way"),
            (75.0, 71.0, Bad::Up, LOAD, Down, false, "past the warning but recovering"),
            (90.0, 86.0, Bad::Up, LOAD, Down, true, "still past critical"),
            (0.85, 0.89, Bad::Down, CONFIDENCE, Up, false, "better"),
            (0.61, 0.59, Bad::Down, CONFIDENCE, Down, true, "past the warning"),
            (0.59, 0.5901, Bad::Down, CONFIDENCE, Flat, false, "past the warning but steady"),
            (0.39, 0.39, Bad::Down, CONFIDENCE, Flat, true, "steady past critical"),
            (10.0, 100.0, Bad::Neither, NONE, Up, false, "nothing is bad about it"),
            (0.0, 3.0, Bad::Up, NONE, Up, true, "from nothing"),
            (0.0, 0.0, Bad::Up, NONE, Flat, false, "nothing and nothing"),
            (-10.0, -12.5, Bad::Down, NONE, Down, true, "25 % of a negative value's size"),
        ];
        for (previous, current, bad, thresholds, direction, concerning, why) in cases {
            let verdict = judge(&windows(previous, current), bad, &thresholds);
            assert_eq!(verdict.direction, Some(direction), "{why}");
            assert_eq!(verdict.is_concerning, concerning, "{why}");
            assert!(!verdict.insufficient_data, "{why}");
        }
    }

    #[test]
    fn too_few_samples_on_either_side_tell_nothing() {
        for (current_samples, previous_samples, enough) in
            [(5, 5, true), (4, 500, false), (500, 4, false), (0, 0, false)]
        {
            let comparison = Comparison { current_samples, previous_samples, ..windows(1.0, 2.0) };
            let verdict = judge(&comparison, Bad::Up, &NONE);
            assert_eq!(verdict.insufficient_data, !enough);
            assert_eq!(verdict.direction.is_some(), enough);
            assert_eq!(verdict.percentage_change.is_some(), enough);
        }
        assert!(judge(&Comparison::default(), Bad::Up, &NONE).insufficient_data);
    }

    #[test]
    fn past_critical_needs_no_window_before_and_nothing_that_is_over() {
        for (value, whole_samples, concerning) in [(90.0, 5, true), (90.0, 4, false), (84.0, 5, false)] {
            for current_samples in [0, whole_samples] {
                let comparison = Comparison {
                    whole: Some(value),
                    whole_samples,
                    current: (current_samples > 0).then_some(value),
                    current_samples,
                    ..Comparison::default()
                };
                let verdict = judge(&comparison, Bad::Up, &LOAD);
                assert_eq!((verdict.direction, verdict.insufficient_data), (None, true));
                assert_eq!(verdict.is_concerning, concerning, "{value} of {whole_samples} samples");
            }
        }
    }

    proptest! {
        #[test]
        fn mirrored_values_mirror_the_verdict(previous in -1e6..1e6_f64, current in -1e6..1e6_f64, warning in -1e6..1e6_f64, gap in 0.0..1e6_f64) {
            let up = Thresholds { warning: Some(warning), critical: Some(warning + gap) };
            let down = Thresholds { warning: Some(-warning), critical: Some(-warning - gap) };
            let rising = judge(&windows(previous, current), Bad::Up, &up);
            let falling = judge(&windows(-previous, -current), Bad::Down, &down);
            prop_assert_eq!(rising.is_concerning, falling.is_concerning);
            let mirrored = rising.direction.map(|direction| match direction {
                Direction::Up => Direction::Down,
                Direction::Down => Direction::Up,
                Direction::Flat => Direction::Flat,
            });
            prop_assert_eq!(falling.direction, mirrored);
        }
    }
}
