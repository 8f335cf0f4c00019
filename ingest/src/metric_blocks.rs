//! Metrics of one batch as the blocks of their tables: the raw one and that of the rollups.

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, Float64Array};
use std::sync::Arc;

use kelly_schemas::Metric;
use kelly_sql::Table;

use crate::block::Block;
use crate::columns::{self, Origins};
use crate::dictionary::Dictionary;
use crate::rollup::{Rollups, Sample};
use crate::rollup_block::{self, Mark, Texts};

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
    log_time: Vec<i64>,
}

/// Where a metric came from.
#[derive(Debug, Clone, Copy)]
pub struct MetricOrigin {
    /// The offset of its message.
    pub offset: u64,
    /// Its number in the message.
    pub row: u32,
    /// The log's time of the message.
    pub log_time_ms: i64,
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
    /// The number of "" where there is no conversation.
    pub conversation: u32,
    pub conversation_id: &'a str,
    pub user_id: &'a str,
    pub metadata: &'a str,
}

impl MetricBlocks {
    /// Adds a metric. `keep_raw` is false for one older than raw rows are kept: it counts in the
    /// rollups, which are kept longer, and would be expired on arrival in the raw table.
    pub fn push(&mut self, metric: &Metric<'_>, from: MetricOrigin, keep_raw: bool) {
        let metric_name = self.names.intern(&metric.metric_name);
        let account_id = self.accounts.intern(&metric.account_id);
        let conversation = self.conversations.intern(&metric.conversation_id);
        let interned = InternedRow {
            metric_name,
            metric_type: self.types.intern(&metric.metric_type),
            value: metric.value,
            timestamp_ms: metric.timestamp_ms,
            account_id,
            conversation,
            conversation_id: &metric.conversation_id,
            user_id: &metric.user_id,
            metadata: &metric.metadata,
        };
        self.push_interned(&interned, from, keep_raw);
    }

    /// Adds a metric whose texts this batch has numbered.
    pub(crate) fn push_interned(&mut self, metric: &InternedRow<'_>, from: MetricOrigin, keep_raw: bool) {
        self.rows += 1;
        self.rollups.add(Sample {
            metric: metric.metric_name,
            account: metric.account_id,
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
            raw.origins.push(from.offset, from.row);
            raw.log_time.push(from.log_time_ms);
        }
    }

    /// Rows added.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The two blocks, the raw one first; the other is marked.
    pub fn finish(mut self, partition: u32, mark: &Mark) -> [Block; 2] {
        let texts = Texts {
            names: &mut self.names,
            accounts: &mut self.accounts,
            conversations: &mut self.conversations,
        };
        let rollups = rollup_block::of(&self.rollups, texts, mark);
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
            log_time,
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
        raw.push(columns::milliseconds(log_time));
        [Block::new(Table::SystemMetrics, raw), rollups]
    }
}
