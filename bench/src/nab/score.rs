//! Numenta's scorer: a detection early in a labelled window earns most, one outside costs, and a window without any costs. One
//! threshold for the whole corpus, the best one there is. The sum is put on a scale on which detecting nothing is 0 and detecting
//! every window at its very beginning, and nothing else, is 100.

/// What outcomes weigh in a profile.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// A window that was detected, at most.
    pub detected: f64,
    /// A detection outside of windows, at most.
    pub false_alarm: f64,
    /// A window that was not detected.
    pub missed: f64,
}

/// The standard profile.
pub const STANDARD: Profile = Profile { detected: 1.0, false_alarm: 0.11, missed: 1.0 };

/// The part of a file that is not scored, of at most so many rows.
const PROBATION: f64 = 0.15;
const PROBATION_ROWS: f64 = 5_000.0;

/// The scored rows of a corpus.
#[derive(Debug, Default)]
pub struct Corpus {
    rows: Vec<Row>,
    windows: usize,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    score: f64,
    /// What a detection here earns or costs.
    earns: f64,
    window: Option<usize>,
    file: usize,
}

/// What a threshold comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// Between 0 and 100, or below for a detector worse than none.
    pub score: f64,
    /// The threshold.
    pub threshold: f64,
}

/// How many windows a file has, how many were detected, and detections outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub windows: usize,
    pub detected: usize,
    pub false_alarms: usize,
}

impl Corpus {
    /// Adds a file: its scores, and its windows as first and last row.
    pub fn add(&mut self, profile: &Profile, file: usize, scores: &[f64], windows: &[(usize, usize)]) {
        let probation = (PROBATION * scores.len() as f64).floor().min(PROBATION * PROBATION_ROWS) as usize;
        let most = sigmoid(-1.0);
        let mut next = windows.iter().copied().enumerate().peekable();
        let mut current: Option<(usize, (usize, usize))> = None;
        let mut last: Option<(usize, usize)> = None;
        for (row, &score) in scores.iter().enumerate() {
            if let Some(entered) = next.next_if(|(_, (first, _))| *first == row) {
                current = Some(entered);
            }
            let earns = match (current, last) {
                (Some((_, (first, end))), _) => {
                    let width = (end - first + 1) as f64;
                    sigmoid(-((end - row + 1) as f64) / width) * profile.detected / most
                }
                (None, None) => -profile.false_alarm,
                (None, Some((first, end))) => {
                    sigmoid((row - end) as f64 / (end - first) as f64) * profile.false_alarm
                }
            };
            if row >= probation {
                let window = current.map(|(number, _)| self.windows + number);
                self.rows.push(Row { score, earns, window, file });
            }
            if let Some((_, window)) = current
                && window.1 == row
            {
                (last, current) = (Some(window), None);
            }
        }
        self.windows += windows.len();
    }

    /// The best threshold for the whole corpus.
    pub fn best(&self, profile: &Profile) -> Best {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|one, other| other.score.total_cmp(&one.score));
        let mut earned = vec![-profile.missed; self.windows];
        let mut sum = -profile.missed * self.windows as f64;
        let (mut best, mut threshold) = (sum, f64::INFINITY);
        let mut rows = rows.into_iter().peekable();
        while let Some(row) = rows.next() {
            match row.window {
                None => sum += row.earns,
                Some(window) if row.earns > earned[window] => {
                    sum += row.earns - earned[window];
                    earned[window] = row.earns;
                }
                Some(_) => {}
            }
            let is_last_of_its_score = rows.peek().is_none_or(|next| next.score != row.score);
            if is_last_of_its_score && sum > best {
                (best, threshold) = (sum, row.score);
            }
        }
        let (nothing, perfect) =
            (-profile.missed * self.windows as f64, profile.detected * self.windows as f64);
        Best { score: 100.0 * (best - nothing) / (perfect - nothing), threshold }
    }

    /// What a threshold detects in one file.
    pub fn counts(&self, file: usize, threshold: f64) -> Counts {
        let of_file = self.rows.iter().filter(|row| row.file == file);
        let detections = of_file.clone().filter(|row| row.score >= threshold);
        let windows = |rows: &mut dyn Iterator<Item = &Row>| {
            rows.filter_map(|row| row.window).collect::<std::collections::BTreeSet<_>>().len()
        };
        Counts {
            windows: windows(&mut of_file.clone()),
            detected: windows(&mut detections.clone()),
            false_alarms: detections.filter(|row| row.window.is_none()).count(),
        }
    }
}

/// From 1 far before the end of a window to -1 far after it.
fn sigmoid(position: f64) -> f64 {
    if position > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(detections: &[usize]) -> Best {
        let mut scores = vec![0.0; 1_000];
        for row in detections {
            scores[*row] = 1.0;
        }
        let mut corpus = Corpus::default();
        corpus.add(&STANDARD, 0, &scores, &[(400, 499), (700, 799)]);
        corpus.best(&STANDARD)
    }

    #[test]
    fn nothing_is_zero_and_everything_at_once_is_a_hundred() {
        assert_eq!(scored(&[]).score, 0.0);
        let perfect = scored(&[400, 700]);
        assert!((perfect.score - 100.0).abs() < 1e-9, "{perfect:?}");
        assert_eq!(perfect.threshold, 1.0);
    }

    #[test]
    fn late_detections_earn_less_and_false_ones_cost() {
        let (early, late) = (scored(&[400]).score, scored(&[490]).score);
        assert!(early > 49.9 && late < early && late > 25.0, "{early} {late}");
        // Far from any window a false one costs its whole weight, of the four that lie between nothing and perfect.
        let false_alarm = scored(&[400, 700, 300]).score;
        assert!((false_alarm - (100.0 - 100.0 * 0.11 / 4.0)).abs() < 1e-9, "{false_alarm}");
        assert!(scored(&[400, 700, 500]).score > false_alarm, "just after a window it costs little");
        assert_eq!(
            scored(&[400, 700, 100]).score,
            scored(&[400, 700]).score,
            "what is in probation does not count"
        );
    }

    #[test]
    fn a_threshold_takes_all_rows_of_its_score() {
        // The same score in the window and outside of it: one cannot be had without the other.
        let mut corpus = Corpus::default();
        let mut scores = vec![0.0; 1_000];
        scores[400] = 0.5;
        (200..300).for_each(|row| scores[row] = 0.5);
        corpus.add(&STANDARD, 0, &scores, &[(400, 499)]);
        assert_eq!(corpus.best(&STANDARD).score, 0.0);
        assert_eq!(corpus.counts(0, 0.5), Counts { windows: 1, detected: 1, false_alarms: 100 });
    }
}
