//! The rollups of one batch: what the minute, hour and day tiers gain from its rows.
//!
//! They are computed here, from the same rows and in the same pass as the raw block, and inserted
//! under the same token. A view inside the store would compute them again from the inserted block
//! at several times the cost, and would tie exactly-once to the store's handling of views.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use kelly_schemas::histogram;

const MS_PER_MINUTE: i64 = 60_000;
const MINUTES_PER_HOUR: u32 = 60;
const MINUTES_PER_DAY: u32 = 24 * 60;

/// One row's share in the rollups; strings are numbers of the batch's dictionaries.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Metric name.
    pub metric: u32,
    /// Account; the number of "" when the row has none.
    pub account: u32,
    /// Conversation; the number of "" when the row has none.
    pub conversation: u32,
    /// Time of the sample, ms since the epoch. Not negative: decoding refuses what is too old.
    pub timestamp_ms: i64,
    /// Value.
    pub value: f64,
}

/// What every tier keeps of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Samples.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Time and value of the newest sample; of two at the same millisecond the larger, as the
    /// store's `max` over this pair decides too.
    pub last: (i64, f64),
}

impl Summary {
    /// That of no sample: adding it changes nothing.
    pub const NOTHING: Self =
        Self { count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY, last: (0, f64::NEG_INFINITY) };

    fn of(timestamp_ms: i64, value: f64) -> Self {
        Self { count: 1, sum: value, min: value, max: value, last: (timestamp_ms, value) }
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if other.last > self.last {
            self.last = other.last;
        }
    }
}

/// Counts by log-gamma bucket. A contiguous window serves nearly all; what lies too far from it
/// goes to a tree, so that two extreme values cannot claim the whole range of buckets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    base: i16,
    window: Vec<u32>,
    far: BTreeMap<i16, u32>,
}

impl Histogram {
    /// Widest window: 4 KiB.
    const MAX_WINDOW: usize = 1024;

    fn of(bucket: i16) -> Self {
        Self { base: bucket, window: vec![1], far: BTreeMap::new() }
    }

    fn add(&mut self, bucket: i16, count: u32) {
        if self.window.is_empty() {
            self.base = bucket;
        }
        let position = i32::from(bucket) - i32::from(self.base);
        if let Ok(index) = usize::try_from(position) {
            if index < Self::MAX_WINDOW {
                if index >= self.window.len() {
                    self.window.resize(index + 1, 0);
                }
                self.window[index] += count;
                return;
            }
        } else {
            let more = position.unsigned_abs() as usize;
            if more + self.window.len() <= Self::MAX_WINDOW {
                self.window.splice(0..0, std::iter::repeat_n(0, more));
                self.base = bucket;
                self.window[0] += count;
                return;
            }
        }
        *self.far.entry(bucket).or_default() += count;
    }

    fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.buckets() {
            self.add(bucket, count);
        }
    }

    /// Buckets that hold something, ascending, none twice.
    pub fn buckets(&self) -> impl Iterator<Item = (i16, u32)> {
        let mut all: Vec<(i16, u32)> = self
            .window
            .iter()
            .zip(self.base..)
            .filter(|(count, _)| **count > 0)
            .map(|(count, bucket)| (bucket, *count))
            .collect();
        if !self.far.is_empty() {
            for (&bucket, &count) in &self.far {
                match all.binary_search_by_key(&bucket, |(b, _)| *b) {
                    Ok(at) => all[at].1 += count,
                    Err(at) => all.insert(at, (bucket, count)),
                }
            }
        }
        all.into_iter()
    }
}

/// A dense group: summary and distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Count, sum, extremes, newest.
    pub summary: Summary,
    /// Distribution of the values.
    pub histogram: Histogram,
}

/// Groups in the order of their first appearance, which makes a block reproducible from its rows.
/// The table holds places only, so that its probes stay in the cache; a key lies beside its group.
#[derive(Debug)]
struct Groups<V> {
    hasher: DefaultHashBuilder,
    places: HashTable<u32>,
    entries: Vec<(Key, V)>,
}

/// Up to four numbers that name a group.
type Key = [u32; 4];

impl<V> Default for Groups<V> {
    fn default() -> Self {
        Self { hasher: DefaultHashBuilder::default(), places: HashTable::new(), entries: Vec::new() }
    }
}

impl<V> Groups<V> {
    /// The place of a group and whether it is new: a new one is what `insert` gives.
    fn find_or_insert(&mut self, key: Key, insert: impl FnOnce() -> V) -> (usize, bool) {
        let Self { hasher, places, entries } = self;
        let place = places.entry(
            hash(hasher, &key),
            |&place| entries[place as usize].0 == key,
            |&place| hash(hasher, &entries[place as usize].0),
        );
        match place {
            Entry::Occupied(found) => (*found.get() as usize, false),
            Entry::Vacant(vacant) => {
                let place = entries.len();
                vacant.insert(place as u32);
                entries.push((key, insert()));
                (place, true)
            }
        }
    }

    fn upsert(&mut self, key: Key, insert: impl FnOnce() -> V, update: impl FnOnce(&mut V)) {
        let (place, new) = self.find_or_insert(key, insert);
        if !new {
            update(&mut self.entries[place].1);
        }
    }
}

/// One write of 128 bits is a single multiplication for the hasher; four of 32 are four.
fn hash(hasher: &DefaultHashBuilder, &[a, b, c, d]: &Key) -> u64 {
    let mut state = hasher.build_hasher();
    state.write_u128(u128::from(a) | u128::from(b) << 32 | u128::from(c) << 64 | u128::from(d) << 96);
    state.finish()
}

/// One hour of one account's metric, and the place of the day it is part of.
#[derive(Debug)]
struct AccountHour {
    summary: Summary,
    day: usize,
}

/// Accumulates samples and gives each tier's groups.
#[derive(Debug, Default)]
pub struct Rollups {
    /// metric, minute.
    minutes: Groups<Distribution>,
    /// metric, account, hour.
    account_hours: Groups<AccountHour>,
    /// metric, account, day.
    account_days: Groups<Histogram>,
    /// conversation, metric, day, account: a conversation belongs to one account, but where producers
    /// disagree no account may see another's numbers.
    conversation_days: Groups<Summary>,
}

/// A group of the sparse tiers. Samples that name no account, or no conversation, are those of "": totals and shares
/// over groups are of every sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesGroup<V> {
    /// Metric name.
    pub metric: u32,
    /// Account.
    pub account: u32,
    /// Conversation, in the conversation tier only.
    pub conversation: Option<u32>,
    /// Start of the group, minutes since the epoch.
    pub minute: u32,
    /// What it holds.
    pub value: V,
}

impl Rollups {
    /// Adds one row.
    pub fn add(&mut self, sample: Sample) {
        let Sample { metric, account, conversation, timestamp_ms, value } = sample;
        let minute = (timestamp_ms.max(0) / MS_PER_MINUTE) as u32;
        let bucket = histogram::bucket(value);
        let one = Summary::of(timestamp_ms, value);
        self.minutes.upsert(
            [metric, minute, 0, 0],
            || Distribution { summary: one, histogram: Histogram::of(bucket) },
            |group| {
                group.summary.merge(&one);
                group.histogram.add(bucket, 1);
            },
        );
        let day = minute / MINUTES_PER_DAY;
        let Self { account_hours, account_days, .. } = self;
        // The hour knows its day, so that a row costs one look-up here and not two.
        let mut new_day = false;
        let (hour, new_hour) =
            account_hours.find_or_insert([metric, account, minute / MINUTES_PER_HOUR, 0], || {
                let (place, new) =
                    account_days.find_or_insert([metric, account, day, 0], || Histogram::of(bucket));
                new_day = new;
                AccountHour { summary: one, day: place }
            });
        let hour = &mut account_hours.entries[hour].1;
        if !new_hour {
            hour.summary.merge(&one);
        }
        if !new_day {
            account_days.entries[hour.day].1.add(bucket, 1);
        }
        self.conversation_days.upsert(
            [conversation, metric, day, account],
            || one,
            |group| group.merge(&one),
        );
    }

    /// (metric, minute since the epoch) groups.
    pub fn minutes(&self) -> impl ExactSizeIterator<Item = (u32, u32, &Distribution)> {
        self.minutes.entries.iter().map(|&([metric, minute, ..], ref group)| (metric, minute, group))
    }

    /// (metric, minute at which the hour begins) groups, merged from the minutes.
    pub fn hours(&self) -> Vec<(u32, u32, Distribution)> {
        let mut hours: Groups<Distribution> = Groups::default();
        for (metric, minute, group) in self.minutes() {
            hours.upsert(
                [metric, minute / MINUTES_PER_HOUR, 0, 0],
                || group.clone(),
                |hour| {
                    hour.summary.merge(&group.summary);
                    hour.histogram.merge(&group.histogram);
                },
            );
        }
        hours
            .entries
            .into_iter()
            .map(|([metric, hour, ..], group)| (metric, hour * MINUTES_PER_HOUR, group))
            .collect()
    }

    /// (metric, account, hour) groups.
    pub fn account_hours(&self) -> impl ExactSizeIterator<Item = SeriesGroup<Summary>> {
        self.account_hours.entries.iter().map(|&([metric, account, hour, _], ref group)| SeriesGroup {
            metric,
            account,
            conversation: None,
            minute: hour * MINUTES_PER_HOUR,
            value: group.summary,
        })
    }

    /// (metric, account, day) groups.
    pub fn account_days(&self) -> impl ExactSizeIterator<Item = SeriesGroup<&Histogram>> {
        self.account_days.entries.iter().map(|&([metric, account, day, _], ref histogram)| SeriesGroup {
            metric,
            account,
            conversation: None,
            minute: day * MINUTES_PER_DAY,
            value: histogram,
        })
    }

    /// (conversation, metric, day) groups.
    pub fn conversation_days(&self) -> impl ExactSizeIterator<Item = SeriesGroup<Summary>> {
        self.conversation_days.entries.iter().map(|&([conversation, metric, day, account], summary)| {
            SeriesGroup {
                metric,
                account,
                conversation: Some(conversation),
                minute: day * MINUTES_PER_DAY,
                value: summary,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(minute: i64, value: f64) -> Sample {
        Sample { metric: 0, account: 0, conversation: 0, timestamp_ms: minute * MS_PER_MINUTE, value }
    }

    #[test]
    fn the_newest_sample_is_last_and_ties_take_the_larger() {
        let mut rollups = Rollups::default();
        for (minute, value) in [(10, 5.0), (12, 1.0), (11, 9.0), (12, 2.0), (12, 1.5)] {
            rollups.add(sample(minute, value));
        }
        let hours = rollups.hours();
        assert_eq!(hours.len(), 1);
        assert_eq!(hours[0].2.summary.last, (12 * MS_PER_MINUTE, 2.0));
        assert_eq!(rollups.minutes().len(), 3);
    }

    #[test]
    fn a_conversation_of_two_accounts_stays_apart() {
        let mut rollups = Rollups::default();
        for account in [3, 1, 0, 3] {
            rollups.add(Sample { account, ..sample(0, 1.0) });
        }
        let found: Vec<_> =
            rollups.conversation_days().map(|group| (group.account, group.value.count)).collect();
        assert_eq!(found, [(3, 2), (1, 1), (0, 1)]);
    }

    #[test]
    fn no_sample_adds_nothing() {
        let mut summary = Summary::of(7, -2.0);
        summary.merge(&Summary::NOTHING);
        assert_eq!(summary, Summary::of(7, -2.0));
    }

    proptest! {
        #[test]
        fn every_tier_counts_every_sample(rows in prop::collection::vec((0u32..4, 0u32..3, 0u32..5, 0i64..4_000_000_000, -1e12f64..1e12), 1..300)) {
            let mut rollups = Rollups::default();
            for &(metric, account, conversation, timestamp_ms, value) in &rows {
                rollups.add(Sample { metric, account, conversation, timestamp_ms, value });
            }
            let n = rows.len() as u64;
            prop_assert_eq!(rollups.minutes().map(|(_, _, g)| g.summary.count).sum::<u64>(), n);
            prop_assert_eq!(rollups.minutes().flat_map(|(_, _, g)| g.histogram.buckets().map(|(_, c)| u64::from(c)).collect::<Vec<_>>()).sum::<u64>(), n);
            let hours = rollups.hours();
            prop_assert_eq!(hours.iter().map(|(_, _, g)| g.summary.count).sum::<u64>(), n);
            for (_, _, group) in &hours {
                let buckets: Vec<_> = group.histogram.buckets().collect();
                prop_assert!(buckets.windows(2).all(|w| w[0].0 < w[1].0), "ascending and none twice");
                prop_assert_eq!(buckets.iter().map(|(_, c)| u64::from(*c)).sum::<u64>(), group.summary.count);
            }
            prop_assert_eq!(rollups.account_hours().map(|g| g.value.count).sum::<u64>(), n);
            prop_assert_eq!(rollups.account_days().flat_map(|g| g.value.buckets().map(|(_, c)| u64::from(c)).collect::<Vec<_>>()).sum::<u64>(), n);
            prop_assert_eq!(rollups.conversation_days().map(|g| g.value.count).sum::<u64>(), n);
            let max = rows.iter().map(|r| r.4).fold(f64::MIN, f64::max);
            prop_assert_eq!(rollups.account_hours().map(|g| g.value.max).fold(f64::MIN, f64::max), max);
        }
    }
}
