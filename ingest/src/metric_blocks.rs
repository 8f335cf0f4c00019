//! Metrics of one batch as the blocks of their tables: the raw one and the five rollups.

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, Float64Array};
use std::sync::Arc;

use kelly_schemas::Metric;
use kelly_sql::{Table, evidence};

use crate::batch::Block;
use crate::columns::{self, Histograms, Origins, Summaries};
use crate::dictionary::Dictionary;
use crate::rollup::{Rollups, Sample, Summary};
use crate::shape::Range;

/// What the markers of a batch's rollup blocks say (see [`evidence`]).
pub struct Mark {
    /// Their metric name.
    pub name: String,
    /// The batch's range. As `Float64` its ends are exact up to 2^53, which no log reaches.
    pub range: Range,
}

/// A [`Mark`] whose name is in the dictionary.
#[derive(Clone, Copy)]
struct Marker {
    name: u32,
    range: Range,
}

impl Marker {
    /// Counts nothing, adds nothing, keeps the end as its maximum, and as the last value, that of the latest time, the
    /// start of the range with the greatest end.
    fn summary(self) -> Summary {
        let Range { start, end } = self.range;
        let last = (i64::try_from(end).unwrap_or(i64::MAX), start as f64);
        Summary { count: 0, sum: 0.0, min: end as f64, max: end as f64, last }
    }
}

/// When a block's markers are, as minutes: one a week, at the hour of its latest group, so that a marker expires with
/// the last of the rows it speaks for and no block seems to be about a longer time. Minute by minute there would be many.
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

/// Accumulates metrics.
#[derive(Default)]
pub struct MetricBlocks {
    pub(crate) names: Dictionary,
    pub(crate) types: Dictionary,
    pub(crate) accounts: Dictionary,
    pub(crate) conversations: Dictionary,
    raw: Raw,
    rollups: Rollups,
    rows: usize,
}

#[derive(Default)]
struct Raw {
    metric_name: Vec<i32>,
    metric_type: Vec<i32>,
    value: Vec<f64>,
    timestamp: Vec<i64>,
    account_id: Vec<i32>,
    conversation_id: StringBuilder,
    user_id: StringBuilder,
    metadata: StringBuilder,
    origins: Origins,
}

/// A metric whose texts have their numbers in the dictionaries of the batch, and those the raw table keeps
/// in full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InternedRow<'a> {
    pub metric_name: u32,
    pub metric_type: u32,
    pub value: f64,
    pub timestamp_ms: i64,
    /// The number of "" where there is no account.
    pub account_id: u32,
    pub has_account: bool,
    pub conversation: Option<u32>,
    pub conversation_id: &'a str,
    pub user_id: &'a str,
    pub metadata: &'a str,
}

impl MetricBlocks {
    /// Adds a metric. `keep_raw` is false for one older than raw rows are kept: it counts in the
    /// rollups, which are kept longer, and would be expired on arrival in the raw table.
    pub fn push(&mut self, metric: &Metric<'_>, offset: u64, row: u32, keep_raw: bool) {
        let metric_name = self.names.intern(&metric.metric_name);
        let account_id = self.accounts.intern(&metric.account_id);
        let conversation =
            (!metric.conversation_id.is_empty()).then(|| self.conversations.intern(&metric.conversation_id));
        let interned = InternedRow {
            metric_name,
            metric_type: self.types.intern(&metric.metric_type),
            value: metric.value,
            timestamp_ms: metric.timestamp_ms,
            account_id,
            has_account: !metric.account_id.is_empty(),
            conversation,
            conversation_id: &metric.conversation_id,
            user_id: &metric.user_id,
            metadata: &metric.metadata,
        };
        self.push_interned(&interned, offset, row, keep_raw);
    }

    /// Adds a metric whose texts this batch has numbered.
    pub(crate) fn push_interned(&mut self, metric: &InternedRow<'_>, offset: u64, row: u32, keep_raw: bool) {
        self.rows += 1;
        self.rollups.add(Sample {
            metric: metric.metric_name,
            account: metric.has_account.then_some(metric.account_id),
            conversation: metric.conversation,
            timestamp_ms: metric.timestamp_ms,
            value: metric.value,
        });
        if keep_raw {
            let raw = &mut self.raw;
            raw.metric_name.push(metric.metric_name as i32);
            raw.metric_type.push(metric.metric_type as i32);
            raw.value.push(metric.value);
            raw.timestamp.push(metric.timestamp_ms);
            raw.account_id.push(metric.account_id as i32);
            raw.conversation_id.append_value(metric.conversation_id);
            raw.user_id.append_value(metric.user_id);
            raw.metadata.append_value(metric.metadata);
            raw.origins.push(offset, row);
        }
    }

    /// Rows added.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The blocks, the raw one first; the others are marked.
    pub fn finish(mut self, partition: u32, mark: &Mark) -> Vec<Block> {
        // Rows without an account carry the empty string, also in the tiers that name one.
        let no_account = self.accounts.intern("");
        let no_conversation = self.conversations.intern("");
        let marker = Marker { name: self.names.intern(&mark.name), range: mark.range };
        let mut blocks = vec![
            self.tier(Table::Metrics1m, self.rollups.minutes(), marker),
            self.tier(
                Table::Metrics1h,
                self.rollups.hours().iter().map(|(name, at, group)| (*name, *at, group)),
                marker,
            ),
            self.account_hours(no_account, marker),
            self.account_days(no_account, marker),
            self.conversation_days(no_account, no_conversation, marker),
        ];
        let Raw {
            metric_name,
            metric_type,
            value,
            timestamp,
            account_id,
            conversation_id,
            user_id,
            metadata,
            origins,
        } = self.raw;
        let mut raw: Vec<ArrayRef> = vec![
            Arc::new(self.names.column(metric_name)),
            Arc::new(self.types.column(metric_type)),
            Arc::new(Float64Array::from(value)),
            columns::milliseconds(timestamp),
            Arc::new(self.accounts.column(account_id)),
            columns::finish_text(conversation_id),
            columns::finish_text(user_id),
            columns::finish_text(metadata),
        ];
        raw.extend(origins.columns(partition));
        blocks.insert(0, Block::new(Table::SystemMetrics, raw));
        blocks
    }

    fn tier<'a>(
        &self,
        table: Table,
        groups: impl Iterator<Item = (u32, u32, &'a crate::rollup::Distribution)>,
        marker: Marker,
    ) -> Block {
        let (mut names, mut times) = (Vec::new(), Vec::new());
        let (mut summaries, mut histograms) = (Summaries::default(), Histograms::default());
        for (name, minute, group) in groups {
            names.push(name);
            times.push(minute);
            summaries.push(&group.summary);
            histograms.push(group.histogram.buckets());
        }
        for time in marker_times(times.iter().copied()) {
            names.push(marker.name);
            times.push(time);
            summaries.push(&marker.summary());
            histograms.push(std::iter::empty());
        }
        let mut all =
            vec![columns::numbers(&self.names, names.into_iter()), columns::minutes(times.into_iter())];
        all.extend(summaries.columns());
        all.push(histograms.column());
        Block::new(table, all)
    }

    fn account_hours(&self, no_account: u32, marker: Marker) -> Block {
        let groups = || self.rollups.account_hours();
        let times = marker_times(groups().map(|group| group.minute));
        let marks = |number| std::iter::repeat_n(number, times.len());
        let mut summaries = Summaries::default();
        groups().for_each(|group| summaries.push(&group.value));
        times.iter().for_each(|_| summaries.push(&marker.summary()));
        let accounts = groups().filter_map(|group| group.account);
        let mut all = vec![
            columns::numbers(&self.names, groups().map(|group| group.metric).chain(marks(marker.name))),
            columns::numbers(&self.accounts, accounts.chain(marks(no_account))),
            columns::minutes(groups().map(|group| group.minute).chain(times.iter().copied())),
        ];
        all.extend(summaries.columns());
        Block::new(Table::AccountMetrics1h, all)
    }

    fn account_days(&self, no_account: u32, marker: Marker) -> Block {
        let groups = || self.rollups.account_days();
        let times = marker_times(groups().map(|group| group.minute));
        let marks = |number| std::iter::repeat_n(number, times.len());
        let mut histograms = Histograms::default();
        groups().for_each(|group| histograms.push(group.value.buckets()));
        times.iter().for_each(|_| histograms.push(std::iter::empty()));
        let ends =
            std::iter::repeat_n(0, groups().len()).chain(std::iter::repeat_n(marker.range.end, times.len()));
        let accounts = groups().filter_map(|group| group.account);
        Block::new(
            Table::AccountMetrics1d,
            vec![
                columns::numbers(&self.names, groups().map(|group| group.metric).chain(marks(marker.name))),
                columns::numbers(&self.accounts, accounts.chain(marks(no_account))),
                columns::minutes(groups().map(|group| group.minute).chain(times.iter().copied())),
                histograms.column(),
                Arc::new(arrow_array::UInt64Array::from_iter_values(ends)),
            ],
        )
    }

    fn conversation_days(&self, no_account: u32, no_conversation: u32, marker: Marker) -> Block {
        let groups = || self.rollups.conversation_days();
        let times = marker_times(groups().map(|group| group.minute));
        let marks = |number| std::iter::repeat_n(number, times.len());
        let mut summaries = Summaries::default();
        groups().for_each(|group| summaries.push(&group.value));
        times.iter().for_each(|_| summaries.push(&marker.summary()));
        let conversations = groups().filter_map(|group| group.conversation);
        let accounts = groups().map(|group| group.account.unwrap_or(no_account));
        let mut all = vec![
            columns::texts(&self.conversations, conversations.chain(marks(no_conversation))),
            columns::numbers(&self.names, groups().map(|group| group.metric).chain(marks(marker.name))),
            columns::minutes(groups().map(|group| group.minute).chain(times.iter().copied())),
            columns::numbers(&self.accounts, accounts.chain(marks(no_account))),
        ];
        all.extend(summaries.columns());
        Block::new(Table::ConversationMetrics1d, all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_a_week_at_the_hour_of_its_latest_group() {
        const WEEK: u32 = 7 * 24 * 60;
        // 1970-01-05 was a Monday.
        let monday = 4 * 24 * 60;
        let groups = [monday + 130, monday + 3, monday + WEEK - 1, monday + WEEK, monday + 61, monday - 1];
        assert_eq!(marker_times(groups.into_iter()), [monday + WEEK - 60, monday + WEEK, monday - 60]);
        assert!(marker_times(std::iter::empty()).is_empty());
    }
}
