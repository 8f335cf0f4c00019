//! Kept states put together into a series: points, window, comparison and percentiles. Pure.
//!
//! The flat views (`metric_states_minute` and its like) give the rows as they are kept. ClickHouse can merge them too, which is
//! what the views of `series` do, but it takes longer to plan such a query than to read the rows.

use std::collections::BTreeMap;

use kelly_schemas::histogram;

use super::series::{Aggregate, Compared, Series, SeriesInterval, SeriesQuestion};

/// Quantiles of every interval.
const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

/// Entries of a point's histogram before equal buckets are added up for the first time; then whenever they have doubled.
/// What is held of a point is therefore bounded by its different buckets.
const COMPACT_AT: usize = 4_096;

/// What is kept of an interval, without its histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct State {
    /// Samples.
    pub(super) count: u64,
    /// Their sum.
    pub(super) sum: f64,
    /// The smallest.
    pub(super) min: f64,
    /// The greatest.
    pub(super) max: f64,
    /// Time and value of the newest; of several in one millisecond the greatest.
    pub(super) last: (i64, f64),
}

/// Which intervals have percentiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Percentiles {
    /// The window and every point.
    Everywhere,
    /// The window only.
    OfTheWindow,
    /// None.
    Nowhere,
}

/// A series under way: states and histograms are added in any order.
#[derive(Debug)]
pub(super) struct Merge {
    frame: Frame,
    points: BTreeMap<i64, Point>,
    compared: State,
    previous: State,
}

/// Where the intervals lie.
#[derive(Debug, Clone, Copy)]
struct Frame {
    from_ms: i64,
    compared_to_ms: i64,
    step_ms: i64,
    aggregate: Aggregate,
}

#[derive(Debug)]
struct Point {
    state: State,
    buckets: Buckets,
}

impl Merge {
    /// Nothing yet of what was asked.
    pub(super) fn new(question: &SeriesQuestion<'_>) -> Self {
        let frame = Frame {
            from_ms: question.from_ms,
            compared_to_ms: question.compared_to_ms,
            step_ms: i64::from(question.step_seconds.max(1)) * 1_000,
            aggregate: question.aggregate,
        };
        Self { frame, points: BTreeMap::new(), compared: State::EMPTY, previous: State::EMPTY }
    }

    /// Adds the state of the interval that starts at `start_ms` and, where there is one, its histogram. The histogram of an
    /// account's day comes with the state of no samples.
    pub(super) fn add(&mut self, start_ms: i64, state: &State, histogram: &[(i16, u64)]) {
        if start_ms < self.frame.from_ms {
            self.previous.add(state);
            return;
        }
        if start_ms < self.frame.compared_to_ms {
            self.compared.add(state);
        }
        let point = self.point(start_ms);
        point.state.add(state);
        point.buckets.extend(histogram);
    }

    /// The series of what was added.
    pub(super) fn finish(self, percentiles: Percentiles) -> Series {
        let aggregate = self.frame.aggregate;
        let mut window = State::EMPTY;
        let mut whole = Counter::new();
        let mut of_point = Counter::new();
        let mut points = Vec::with_capacity(self.points.len());
        for (start_ms, point) in self.points {
            if percentiles != Percentiles::Nowhere {
                whole.add(&point.buckets.0);
            }
            // Of an account, the first point of a day may have nothing but the histogram of that day.
            if point.state.count == 0 {
                continue;
            }
            window.add(&point.state);
            let mut interval = point.state.interval(start_ms, aggregate);
            if percentiles == Percentiles::Everywhere {
                of_point.add(&point.buckets.0);
                interval.percentiles = of_point.take(&point.state);
            }
            points.push(interval);
        }
        let mut interval = window.interval(0, aggregate);
        interval.percentiles = whole.take(&window);
        let compared = self.compared.value(aggregate);
        let previous = self.previous.value(aggregate);
        let percentage_change = match (compared, previous) {
            (Some(compared), Some(previous)) if previous != 0.0 => {
                Some((compared - previous) / previous.abs() * 100.0)
            }
            _ => None,
        };
        Series {
            points,
            window: (window.count > 0).then_some(interval),
            previous: (self.previous.count > 0).then(|| self.previous.interval(0, aggregate)),
            compared: compared.map(|value| Compared { count: self.compared.count, value }),
            percentage_change,
        }
    }

    fn point(&mut self, start_ms: i64) -> &mut Point {
        let step_start_ms = start_ms.div_euclid(self.frame.step_ms) * self.frame.step_ms;
        self.points
            .entry(step_start_ms.max(self.frame.from_ms))
            .or_insert_with(|| Point { state: State::EMPTY, buckets: Buckets::default() })
    }
}

impl State {
    /// Of no samples: neutral under `add`.
    const EMPTY: Self = Self {
        count: 0,
        sum: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        last: (i64::MIN, f64::NEG_INFINITY),
    };

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if other.last.0 > self.last.0 || (other.last.0 == self.last.0 && other.last.1 > self.last.1) {
            self.last = other.last;
        }
    }

    fn value(&self, aggregate: Aggregate) -> Option<f64> {
        (self.count > 0).then(|| match aggregate {
            Aggregate::Mean => self.sum / self.count as f64,
            Aggregate::Sum => self.sum,
            Aggregate::Last => self.last.1,
            Aggregate::Max => self.max,
        })
    }

    fn interval(&self, start_ms: i64, aggregate: Aggregate) -> SeriesInterval {
        SeriesInterval {
            start_ms,
            count: self.count,
            value: self.value(aggregate).unwrap_or_default(),
            min: self.min,
            max: self.max,
            percentiles: None,
            newest_ms: self.last.0,
        }
    }
}

/// Entries of histograms, equal buckets added up now and then.
#[derive(Debug, Default)]
struct Buckets(Vec<(i16, u64)>);

impl Buckets {
    fn extend(&mut self, entries: &[(i16, u64)]) {
        let is_full = self.0.len() + entries.len() > self.0.capacity().max(COMPACT_AT);
        if is_full {
            self.compact();
        }
        self.0.extend_from_slice(entries);
    }

    fn compact(&mut self) {
        self.0.sort_unstable_by_key(|(bucket, _)| *bucket);
        self.0.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                kept.1 += later.1;
            }
            is_same
        });
    }
}

/// Counts of every bucket there can be, used again for one interval after the other.
struct Counter {
    counts: Vec<u64>,
    /// The smallest and the greatest place in use; the wrong way round when there is none.
    used: (usize, usize),
    total: u64,
}

impl Counter {
    const PLACES: usize = 1 << 16;
    const NONE: (usize, usize) = (usize::MAX, 0);

    fn new() -> Self {
        Self { counts: vec![0; Self::PLACES], used: Self::NONE, total: 0 }
    }

    fn add(&mut self, entries: &[(i16, u64)]) {
        for (bucket, count) in entries {
            let place = (i32::from(*bucket) - i32::from(i16::MIN)) as usize;
            self.counts[place] += count;
            self.used = (self.used.0.min(place), self.used.1.max(place));
            self.total += count;
        }
    }

    /// The quantiles of what was added, never beyond what was seen, and nothing is left; `None` when nothing was added.
    fn take(&mut self, seen: &State) -> Option<[f64; 3]> {
        if self.total == 0 {
            return None;
        }
        let ranks = QUANTILES.map(|quantile| (self.total as f64 * quantile).ceil() as u64);
        let mut values = [seen.max; 3];
        let mut found = 0;
        let mut below = 0;
        for place in self.used.0..=self.used.1 {
            below += std::mem::take(&mut self.counts[place]);
            while found < ranks.len() && below >= ranks[found] {
                let bucket = (place as i32 + i32::from(i16::MIN)) as i16;
                values[found] = histogram::value(bucket).min(seen.max).max(seen.min);
                found += 1;
            }
        }
        (self.used, self.total) = (Self::NONE, 0);
        Some(values)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::series::SeriesSource;
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn question(aggregate: Aggregate) -> SeriesQuestion<'static> {
        SeriesQuestion {
            source: SeriesSource::Hour,
            metric: "m",
            previous_from_ms: 0,
            from_ms: 10 * HOUR_MS,
            to_ms: 21 * HOUR_MS,
            compared_to_ms: 20 * HOUR_MS,
            step_seconds: 6 * 3_600,
            aggregate,
        }
    }

    fn state(at_ms: i64, values: &[f64]) -> (State, Vec<(i16, u64)>) {
        let state = State {
            count: values.len() as u64,
            sum: values.iter().sum(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            last: (at_ms, values[values.len() - 1]),
        };
        (state, values.iter().map(|value| (histogram::bucket(*value), 1)).collect())
    }

    fn merged(aggregate: Aggregate, hours: &[(i64, &[f64])]) -> Series {
        let mut merge = Merge::new(&question(aggregate));
        for (hour, values) in hours {
            let (state, buckets) = state(hour * HOUR_MS, values);
            merge.add(hour * HOUR_MS, &state, &buckets);
        }
        merge.finish(Percentiles::Everywhere)
    }

    #[test]
    fn points_begin_at_whole_steps_and_the_first_is_cut() {
        let series =
            merged(Aggregate::Sum, &[(9, &[1.0]), (10, &[2.0]), (11, &[3.0]), (12, &[4.0]), (20, &[5.0])]);
        let points: Vec<(i64, f64)> =
            series.points.iter().map(|point| (point.start_ms / HOUR_MS, point.value)).collect();
        assert_eq!(points, [(10, 5.0), (12, 4.0), (18, 5.0)]);
        assert_eq!(series.window.unwrap().value, 14.0);
        // The hour that is not over counts in the window, not in the comparison.
        assert_eq!(series.compared, Some(Compared { count: 3, value: 9.0 }));
        assert_eq!(series.previous.unwrap().value, 1.0);
        assert_eq!(series.percentage_change, Some(800.0));
    }

    #[test]
    fn each_aggregate_is_its_own() {
        let hours: [(i64, &[f64]); 2] = [(10, &[1.0, 6.0, 2.0]), (11, &[3.0])];
        for (aggregate, expected) in
            [(Aggregate::Mean, 3.0), (Aggregate::Sum, 12.0), (Aggregate::Last, 3.0), (Aggregate::Max, 6.0)]
        {
            assert_eq!(merged(aggregate, &hours).window.unwrap().value, expected, "{aggregate:?}");
        }
    }

    #[test]
    fn nothing_is_none_and_a_histogram_alone_is_no_point() {
        assert_eq!(merged(Aggregate::Mean, &[]), Series::default());
        let mut merge = Merge::new(&question(Aggregate::Mean));
        // The state of no samples, as the table keeps it.
        let nothing = State { last: (0, f64::NEG_INFINITY), ..State::EMPTY };
        merge.add(12 * HOUR_MS, &nothing, &[(15_500, 4)]);
        assert_eq!(merge.finish(Percentiles::OfTheWindow).points, []);
    }

    #[test]
    fn a_change_from_nothing_has_no_percentage() {
        let series = merged(Aggregate::Sum, &[(9, &[0.0]), (10, &[2.0])]);
        assert_eq!((series.percentage_change, series.previous.unwrap().value), (None, 0.0));
    }

    proptest! {
        /// However the samples are cut into rows and in whatever order these come.
        #[test]
        fn percentiles_are_of_the_rank_within_the_bound(
            samples in prop::collection::vec((10_i64..21, -1e6_f64..1e6), 1..400),
        ) {
            let mut merge = Merge::new(&question(Aggregate::Mean));
            for (hour, value) in &samples {
                let (state, buckets) = state(hour * HOUR_MS, &[*value]);
                merge.add(hour * HOUR_MS, &state, &buckets);
            }
            let window = merge.finish(Percentiles::Everywhere).window.unwrap();
            let mut sorted: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
            sorted.sort_by(f64::total_cmp);
            for (quantile, found) in QUANTILES.iter().zip(window.percentiles.unwrap()) {
                let exact = sorted[(sorted.len() as f64 * quantile).ceil() as usize - 1];
                let bound = exact.abs() * (histogram::RELATIVE_ERROR + 1e-9);
                prop_assert!((found - exact).abs() <= bound, "{quantile}: {found} for {exact}");
            }
            prop_assert_eq!(window.count, samples.len() as u64);
        }

        #[test]
        fn added_up_entries_count_the_same(entries in prop::collection::vec((-50_i16..50, 1_u64..9), 0..9_000)) {
            let mut buckets = Buckets::default();
            for chunk in entries.chunks(7) {
                buckets.extend(chunk);
            }
            prop_assert!(buckets.0.len() <= 2 * COMPACT_AT);
            let (mut counted, mut expected) = (BTreeMap::new(), BTreeMap::new());
            buckets.0.iter().for_each(|(bucket, count)| *counted.entry(*bucket).or_insert(0) += count);
            entries.iter().for_each(|(bucket, count)| *expected.entry(*bucket).or_insert(0) += count);
            prop_assert_eq!(counted, expected);
        }
    }
}
