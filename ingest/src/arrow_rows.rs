//! Rows of Arrow messages on their way into a batch. A message numbers its texts and so does the batch: the
//! one number is looked up for the other once a distinct text, and a row costs array look-ups.

use kelly_schemas::decode::{ArrowMessage, ArrowMetric, ArrowText, DistinctTexts, Origin, Rendering};
use kelly_schemas::{Catalogue, Reject};

use crate::metric_blocks::{InternedRow, MetricBlocks, MetricOrigin};

/// Adds the good rows of a message to the blocks and hands over the others with their numbers. Rows from
/// `oldest_raw_ms` on are kept raw.
pub(crate) fn push(
    message: &ArrowMessage,
    origin: &Origin<'_>,
    oldest_raw_ms: i64,
    blocks: &mut MetricBlocks,
    refused: &mut impl FnMut(u32, &Reject<'_>),
) {
    let mut rendering = Rendering::of_a_message();
    for columns in message.batches() {
        let mut numbers = Numbers::new(columns.distinct());
        columns.rows(origin, &mut rendering, &mut |number, row| match row {
            Ok(row) => {
                let interned = numbers.intern(&row, blocks);
                let from =
                    MetricOrigin { offset: origin.offset, row: number, log_time_ms: origin.log_time_ms };
                blocks.push_interned(&interned, from, row.timestamp_ms >= oldest_raw_ms);
            }
            Err(reject) => refused(number, &reject),
        });
    }
}

/// The batch's numbers of a record batch's texts.
struct Numbers {
    names: Known,
    types: Known,
    /// The catalogue's type of a name, by the number of the name.
    default_types: Known,
    accounts: Known,
    no_account: Option<u32>,
    conversations: Known,
    no_conversation: Option<u32>,
}

impl Numbers {
    fn new(distinct: DistinctTexts) -> Self {
        Self {
            names: Known::new(distinct.metric_names),
            types: Known::new(distinct.metric_types),
            default_types: Known::new(distinct.metric_names),
            accounts: Known::new(distinct.accounts),
            no_account: None,
            conversations: Known::new(distinct.conversations),
            no_conversation: None,
        }
    }

    /// In the order in which a JSON row's texts are interned, so that the same rows make the same blocks.
    fn intern<'r>(&mut self, row: &ArrowMetric<'r>, blocks: &mut MetricBlocks) -> InternedRow<'r> {
        let metric_name = self.names.number(row.metric_name, |text| blocks.names.intern(text));
        let account_id = match row.account_id {
            Some(account) => self.accounts.number(account, |text| blocks.accounts.intern(text)),
            None => *self.no_account.get_or_insert_with(|| blocks.accounts.intern("")),
        };
        let conversation = match row.conversation_id {
            Some(conversation) => {
                self.conversations.number(conversation, |text| blocks.conversations.intern(text))
            }
            None => *self.no_conversation.get_or_insert_with(|| blocks.conversations.intern("")),
        };
        let metric_type = match row.metric_type {
            Some(metric_type) => self.types.number(metric_type, |text| blocks.types.intern(text)),
            None => self.default_types.number(row.metric_name, |name| {
                blocks.types.intern(Catalogue::builtin().kind_of(name).as_str())
            }),
        };
        let text = |text: Option<ArrowText<'r>>| text.map_or("", |text| text.as_str());
        InternedRow {
            metric_name,
            metric_type,
            value: row.value,
            timestamp_ms: row.timestamp_ms,
            account_id,
            conversation,
            conversation_id: text(row.conversation_id),
            user_id: text(row.user_id),
            metadata: row.metadata,
        }
    }
}

/// Numbers of a column that are known so far, by the message's own.
struct Known(Vec<u32>);

impl Known {
    const NOT_YET: u32 = u32::MAX;

    fn new(distinct: usize) -> Self {
        Self(vec![Self::NOT_YET; distinct])
    }

    fn number(&mut self, text: ArrowText<'_>, intern: impl FnOnce(&str) -> u32) -> u32 {
        match text.number().and_then(|number| self.0.get_mut(number as usize)) {
            Some(known) => {
                if *known == Self::NOT_YET {
                    *known = intern(text.as_str());
                }
                *known
            }
            // A column of plain texts: each row's is looked up by itself.
            None => intern(text.as_str()),
        }
    }
}
