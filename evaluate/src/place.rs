//! What a partition of the evaluator's topics is, and which of them judges whom.

use kelly_alerts::rule::Scope;
use kelly_alerts::{Entity, Subject};
use kelly_schemas::Stream;
use kelly_stream::TopicPartition;
use kelly_stream::partitioner::partition_of;

use crate::topics::ROWS_TOPIC;

/// The partition of [`ROWS_TOPIC`] with rows that are counted all together.
pub(crate) const GLOBAL_ROWS: u32 = 0;

/// Which topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Feed {
    /// Metrics as producers send them.
    Metrics,
    /// Rows for rules that count rows of several partitions.
    Rows,
}

/// A partition that is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) feed: Feed,
    pub(crate) partition: u32,
}

/// How many partitions the topics have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partitions {
    pub(crate) metrics: u32,
    pub(crate) rows: u32,
    pub(crate) state: u32,
}

impl Place {
    /// `None` of a topic that is none of the evaluator's.
    pub(crate) fn of(partition: &TopicPartition) -> Option<Self> {
        let feed = if &*partition.topic == Stream::Metrics.topic() {
            Feed::Metrics
        } else if &*partition.topic == ROWS_TOPIC {
            Feed::Rows
        } else {
            return None;
        };
        Some(Self { feed, partition: partition.partition })
    }

    /// The scopes whose rows are here all together.
    pub(crate) fn scopes(self) -> &'static [Scope] {
        match (self.feed, self.partition) {
            (Feed::Metrics, _) => &[Scope::Series, Scope::Conversation],
            (Feed::Rows, GLOBAL_ROWS) => &[Scope::Global],
            (Feed::Rows, _) => &[Scope::Account],
        }
    }

    /// Whether it is the one that judges what is about everything.
    pub(crate) fn is_global(self) -> bool {
        self == Self { feed: Feed::Rows, partition: GLOBAL_ROWS }
    }

    /// The partition of the topic of states in which its states are.
    pub(crate) fn state_partition(self, partitions: Partitions) -> u32 {
        self.partition % partitions.state.max(1)
    }

    /// Stands for the partition of the control log in the places of rows that say that an alert was raised: of the raises of one
    /// lane the offsets only grow, of all together they do not.
    pub(crate) fn raises(self) -> u32 {
        let second = u32::from(self.feed == Feed::Rows);
        u32::MAX - (2 * self.partition + second)
    }

    /// Whether rules here may depend on an alert about this that was raised elsewhere: one about everything, or about an account that
    /// belongs here. Alerts about a conversation concern nobody but its own partition.
    pub(crate) fn hears(self, entity: &Entity, partitions: Partitions) -> bool {
        match &entity.subject {
            Subject::Global => true,
            Subject::Account(account) => match self.feed {
                Feed::Metrics => partition_of(account.as_bytes(), partitions.metrics) == self.partition,
                Feed::Rows => partitions.of_account(account) == self.partition,
            },
            Subject::Conversation(_) => false,
        }
    }
}

impl Partitions {
    /// The partition of [`ROWS_TOPIC`] with the rows of an account.
    pub(crate) fn of_account(self, account: &str) -> u32 {
        1 + partition_of(account.as_bytes(), self.rows.saturating_sub(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITIONS: Partitions = Partitions { metrics: 4, rows: 5, state: 3 };

    #[test]
    fn an_account_has_one_place_of_each_kind_and_never_that_of_everything() {
        for account in ["a", "b", "acme", "kelly", "é"] {
            let entity = Entity { subject: Subject::Account(account.into()), part: "".into() };
            let hearing = |feed, count: u32| {
                (0..count)
                    .filter(|partition| Place { feed, partition: *partition }.hears(&entity, PARTITIONS))
                    .collect::<Vec<_>>()
            };
            assert_eq!(hearing(Feed::Metrics, 4).len(), 1);
            let rows = hearing(Feed::Rows, 5);
            assert_eq!(rows, [PARTITIONS.of_account(account)]);
            assert!(rows[0] != GLOBAL_ROWS);
        }
    }

    #[test]
    fn raises_of_different_lanes_have_different_places() {
        let places = [Feed::Metrics, Feed::Rows]
            .into_iter()
            .flat_map(|feed| (0..8).map(move |partition| Place { feed, partition }.raises()));
        let mut seen: Vec<u32> = places.collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 16);
    }
}
