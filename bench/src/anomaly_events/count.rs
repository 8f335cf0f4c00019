//! Events found and alerts that were right.

/// An alert within so many values after an event is still about it.
const AFTER: usize = 5;

/// Alerts within so many values are one.
const ONE_ALERT: usize = 10;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    pub events: usize,
    pub found: usize,
    pub alerts: usize,
    pub right: usize,
    /// By event that was found: how many values after its first one.
    delays: Vec<usize>,
}

impl Counts {
    pub fn recall(&self) -> f64 {
        part(self.found, self.events)
    }

    pub fn precision(&self) -> f64 {
        part(self.right, self.alerts)
    }

    pub fn f1(&self) -> f64 {
        let (recall, precision) = (self.recall(), self.precision());
        if recall + precision > 0.0 { 2.0 * recall * precision / (recall + precision) } else { 0.0 }
    }

    pub fn median_delay(&self) -> Option<usize> {
        let mut delays = self.delays.clone();
        delays.sort_unstable();
        delays.get(delays.len() / 2).copied()
    }
}

fn part(some: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

/// Counts one series.
pub fn count(counts: &mut Counts, labels: &[bool], scores: &[f64], threshold: f64) {
    let events = events(labels);
    let alerting: Vec<usize> =
        scores.iter().enumerate().filter(|(_, score)| **score >= threshold).map(|(row, _)| row).collect();
    counts.events += events.len();
    for &(first, last) in &events {
        if let Some(row) = alerting.iter().find(|row| (first..=last + AFTER).contains(*row)) {
            counts.found += 1;
            counts.delays.push(row - first);
        }
    }
    let mut last_row: Option<usize> = None;
    for &row in &alerting {
        let is_new = last_row.is_none_or(|last| row > last + ONE_ALERT);
        last_row = Some(row);
        if is_new {
            counts.alerts += 1;
            // What belongs to one alert is right if any of it is: its first value, or one close behind.
            let is_right = |&(first, last): &(usize, usize)| row <= last + AFTER && row + ONE_ALERT >= first;
            let hits = |&(first, last): &(usize, usize)| {
                alerting.iter().any(|other| {
                    (row..=row + ONE_ALERT).contains(other) && (first..=last + AFTER).contains(other)
                })
            };
            counts.right += usize::from(events.iter().any(|event| is_right(event) && hits(event)));
        }
    }
}

/// Runs of labelled values: first and last.
fn events(labels: &[bool]) -> Vec<(usize, usize)> {
    let mut events: Vec<(usize, usize)> = Vec::new();
    for (row, _) in labels.iter().enumerate().filter(|(_, label)| **label) {
        match events.last_mut() {
            Some(event) if event.1 + 1 == row => event.1 = row,
            _ => events.push((row, row)),
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_and_an_alert_count_once() {
        let mut labels = vec![false; 100];
        labels[20..25].fill(true);
        labels[60] = true;
        let mut scores = vec![0.0; 100];
        for row in [22, 23, 24, 90] {
            scores[row] = 9.0;
        }
        let mut counts = Counts::default();
        count(&mut counts, &labels, &scores, 5.0);
        assert_eq!((counts.events, counts.found, counts.alerts, counts.right), (2, 1, 2, 1));
        assert_eq!(counts.median_delay(), Some(2));
        assert_eq!((counts.recall(), counts.precision(), counts.f1()), (0.5, 0.5, 0.5));
    }

    #[test]
    fn nothing_told_is_nothing_found() {
        let mut counts = Counts::default();
        count(&mut counts, &[false, true], &[0.0, 0.0], 5.0);
        assert_eq!(
            (counts.recall(), counts.precision(), counts.f1(), counts.median_delay()),
            (0.0, 0.0, 0.0, None)
        );
    }
}
