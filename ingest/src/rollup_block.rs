//! The block of `metric_rollups` that a batch becomes: every tier's groups, and a marker for each week they lie in.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int8Array};
use kelly_sql::{RollupTier, Table, evidence};

use crate::block::Block;
use crate::columns::{self, Histograms, Summaries};
use crate::dictionary::Dictionary;
use crate::rollup::{Histogram, Rollups, Summary};
use crate::shape::Range;

/// What the markers of a batch say (see [`evidence`]).
pub struct Mark {
    /// Their name.
    pub name: String,
    /// The batch's range. As `Float64` its ends are exact up to 2^53, which no log reaches.
    pub range: Range,
}

/// The dictionaries of a batch.
pub(crate) struct Texts<'a> {
    pub names: &'a mut Dictionary,
    pub accounts: &'a mut Dictionary,
    pub conversations: &'a mut Dictionary,
}

/// The block. What a group has not, an account or a conversation, is "".
pub(crate) fn of(rollups: &Rollups, texts: Texts<'_>, mark: &Mark) -> Block {
    let Texts { names, accounts, conversations } = texts;
    let (no_account, no_conversation) = (accounts.intern(""), conversations.intern(""));
    let marker = names.intern(&mark.name);
    let mut rows = Rows::default();
    let of_all = |name, minute| Key { name, account: no_account, conversation: no_conversation, minute };
    for (name, minute, group) in rollups.minutes() {
        rows.push(RollupTier::Minute, of_all(name, minute), &group.summary, Some(&group.histogram));
    }
    for (name, minute, group) in rollups.hours() {
        rows.push(RollupTier::Hour, of_all(name, minute), &group.summary, Some(&group.histogram));
    }
    for group in rollups.account_hours() {
        let key = Key { account: group.account, ..of_all(group.metric, group.minute) };
        rows.push(RollupTier::AccountHour, key, &group.value, None);
    }
    for group in rollups.account_days() {
        let key = Key { account: group.account, ..of_all(group.metric, group.minute) };
        rows.push(RollupTier::AccountDay, key, &Summary::NOTHING, Some(group.value));
    }
    for group in rollups.conversation_days() {
        let conversation = group.conversation.unwrap_or(no_conversation);
        let key = Key { account: group.account, conversation, ..of_all(group.metric, group.minute) };
        rows.push(RollupTier::ConversationDay, key, &group.value, None);
    }
    for minute in marker_times(rollups.minutes().map(|(_, minute, _)| minute)) {
        rows.push(RollupTier::Marker, of_all(marker, minute), &marker_summary(mark.range), None);
    }
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int8Array::from(rows.tiers)),
        columns::texts(conversations, rows.conversations.into_iter()),
        columns::numbers(names, rows.names.into_iter()),
        columns::numbers(accounts, rows.accounts.into_iter()),
        columns::minutes(rows.minutes.into_iter()),
    ];
    columns.extend(rows.summaries.columns());
    columns.push(rows.histograms.column());
    Block::new(Table::MetricRollups, columns)
}

/// What names a row within its tier; texts by their numbers.
#[derive(Clone, Copy)]
struct Key {
    name: u32,
    account: u32,
    conversation: u32,
    minute: u32,
}

#[derive(Default)]
struct Rows {
    tiers: Vec<i8>,
    conversations: Vec<u32>,
    names: Vec<u32>,
    accounts: Vec<u32>,
    minutes: Vec<u32>,
    summaries: Summaries,
    histograms: Histograms,
}

impl Rows {
    fn push(&mut self, tier: RollupTier, key: Key, summary: &Summary, histogram: Option<&Histogram>) {
        self.tiers.push(tier.number());
        self.conversations.push(key.conversation);
        self.names.push(key.name);
        self.accounts.push(key.account);
        self.minutes.push(key.minute);
        self.summaries.push(summary);
        self.histograms.push(histogram.into_iter().flat_map(Histogram::buckets));
    }
}

/// Counts nothing, adds nothing, keeps the end as its maximum, and as the last value, that of the latest time, the
/// start of the range with the greatest end.
fn marker_summary(range: Range) -> Summary {
    let Range { start, end } = range;
    let last = (i64::try_from(end).unwrap_or(i64::MAX), start as f64);
    Summary { count: 0, sum: 0.0, min: end as f64, max: end as f64, last }
}

/// When a block's markers are, as minutes: one a week, at the hour of its latest group, so that a marker expires with
/// the last of the rows it speaks for and no block seems to be about a longer time. Every group of a day begins in the
/// week of its minutes: weeks begin with a day.
fn marker_times(groups: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut latest: Vec<(i64, u32)> = Vec::new();
    for minute in groups {
        let week = evidence::week_of(i64::from(minute) * 60);
        match latest.iter_mut().find(|(found, _)| *found == week) {
            Some((_, last)) => *last = minute.max(*last),
            None => latest.push((week, minute)),
        }
    }
    latest.into_iter().map(|(_, minute)| minute - minute % 60).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use arrow_array::cast::AsArray;
    use arrow_array::types::{Int8Type, TimestampSecondType, UInt64Type};
    use proptest::prelude::*;

    use super::*;
    use crate::rollup::Sample;

    const WEEK: u32 = 7 * 24 * 60;

    #[test]
    fn a_marker_a_week_at_the_hour_of_its_latest_group() {
        // 1970-01-05 was a Monday.
        let monday = 4 * 24 * 60;
        let groups = [monday + 130, monday + 3, monday + WEEK - 1, monday + WEEK, monday + 61, monday - 1];
        assert_eq!(marker_times(groups.into_iter()), [monday + WEEK - 60, monday + WEEK, monday - 60]);
        assert!(marker_times(std::iter::empty()).is_empty());
    }

    proptest! {
        /// The store takes a block week by week: each must bring its own marker, and no row may lie in a week without one.
        #[test]
        fn every_week_of_a_block_has_its_marker_and_every_tier_counts_every_sample(
            samples in prop::collection::vec((0_i64..40 * 7 * 86_400_000, 0_u32..3, 0_u32..4), 1..60),
        ) {
            let mut rollups = Rollups::default();
            let mut texts = [Dictionary::default(), Dictionary::default(), Dictionary::default()];
            for dictionary in &mut texts {
                (0..4).for_each(|number| { dictionary.intern(&number.to_string()); });
            }
            for (timestamp_ms, account, conversation) in &samples {
                rollups.add(Sample {
                    metric: 0, account: *account, conversation: *conversation, timestamp_ms: *timestamp_ms, value: 1.0,
                });
            }
            let [names, accounts, conversations] = &mut texts;
            let mark = Mark { name: "m".to_owned(), range: Range { start: 3, end: 9 } };
            let block = of(&rollups, Texts { names, accounts, conversations }, &mark);
            let tiers = block.rows["tier"].as_primitive::<Int8Type>().values();
            let times = block.rows["t"].as_primitive::<TimestampSecondType>().values();
            let counts = block.rows["count"].as_primitive::<UInt64Type>().values();
            let weeks_of = |marks: bool| -> BTreeSet<i64> {
                let rows = tiers.iter().zip(times).filter(|(tier, _)| (**tier == RollupTier::Marker.number()) == marks);
                rows.map(|(_, time)| evidence::week_of(*time)).collect()
            };
            prop_assert_eq!(weeks_of(true), weeks_of(false));
            let of_tier = |tier: RollupTier| tiers.iter().filter(|found| **found == tier.number()).count();
            prop_assert_eq!(of_tier(RollupTier::Marker), weeks_of(true).len());
            for tier in RollupTier::ALL {
                let counted: u64 =
                    tiers.iter().zip(counts).filter(|(found, _)| **found == tier.number()).map(|(_, count)| count).sum();
                let has_samples = ![RollupTier::AccountDay, RollupTier::Marker].contains(&tier);
                prop_assert_eq!(counted, if has_samples { samples.len() as u64 } else { 0 }, "{}", tier.name());
            }
        }
    }
}
