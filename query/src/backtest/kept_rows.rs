//! Rows that are gone through several times, kept in little memory: each text once.

use std::borrow::Cow;
use std::collections::HashMap;

use kelly_alerts::Place;
use kelly_alerts::backtest::HistoryRow;
use kelly_schemas::Metric;
use kelly_sql::queries::RuleRow;

/// Rows that are kept at most, some 50 MB of them. Beyond, no threshold is suggested.
pub(super) const MAX_KEPT_ROWS: usize = 500_000;

/// Bytes of their texts at most. Beyond, the same.
pub(super) const MAX_KEPT_TEXT: usize = 64 << 20;

/// The rows of a history.
#[derive(Debug, Default)]
pub(super) struct KeptRows {
    texts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
    text_bytes: usize,
    rows: Vec<KeptRow>,
    is_full: bool,
}

#[derive(Debug, Clone, Copy)]
struct KeptRow {
    place: Option<Place>,
    log_time_ms: i64,
    at_ms: i64,
    value: f64,
    /// Numbers of name, type, account, conversation, user and metadata.
    texts: [u32; 6],
}

impl KeptRows {
    /// Keeps a row; once there is no room for one, none is kept any more.
    pub(super) fn push(&mut self, row: &RuleRow, place: Option<Place>) {
        if self.is_full {
            return;
        }
        if self.rows.len() >= MAX_KEPT_ROWS || self.text_bytes > MAX_KEPT_TEXT {
            *self = Self { is_full: true, ..Self::default() };
            return;
        }
        let texts = [
            &row.metric_name,
            &row.metric_type,
            &row.account_id,
            &row.conversation_id,
            &row.user_id,
            &row.metadata,
        ]
        .map(|text| self.number(text));
        let (log_time_ms, at_ms, value) = (row.log_time_ms, row.at_ms, row.value);
        self.rows.push(KeptRow { place, log_time_ms, at_ms, value, texts });
    }

    /// Whether there were more rows than can be kept: then there is none.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// The rows, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = HistoryRow<'_>> {
        self.rows.iter().map(|row| {
            let text = |field: usize| Cow::Borrowed(&*self.texts[row.texts[field] as usize]);
            HistoryRow {
                place: row.place,
                log_time_ms: row.log_time_ms,
                metric: Metric {
                    metric_name: text(0),
                    metric_type: text(1),
                    value: row.value,
                    timestamp_ms: row.at_ms,
                    account_id: text(2),
                    conversation_id: text(3),
                    user_id: text(4),
                    metadata: text(5),
                },
            }
        })
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.text_bytes += 2 * text.len();
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }
}
