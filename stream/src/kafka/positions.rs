//! Clients that ask for a group's positions and are no members of it: one a group, kept, because each
//! costs threads and connections and the lag is asked for all the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::config::KafkaConfig;
use super::context::LoggingContext;
use crate::error::LogError;
use crate::port::Result;

/// Groups whose clients are kept. The one asked for longest ago goes when there is one more.
const MAX_READERS: usize = 8;

/// Events taken from a client at once; more wait for the next call.
const MAX_EVENTS: usize = 1_000;

type Reader = BaseConsumer<LoggingContext>;

/// The clients, by group.
pub(super) struct PositionReaders {
    config: Arc<KafkaConfig>,
    /// `None` once closed.
    kept: Mutex<Option<Kept>>,
}

#[derive(Default)]
struct Kept {
    readers: HashMap<String, (Arc<Reader>, u64)>,
    /// Counts the calls: tells which reader was asked for longest ago.
    calls: u64,
}

impl PositionReaders {
    pub(super) fn new(config: Arc<KafkaConfig>) -> Self {
        Self { config, kept: Mutex::new(Some(Kept::default())) }
    }

    /// The group's positions on the partitions of the list, written into it. Blocks.
    pub(super) fn ask(
        &self,
        group: &str,
        list: TopicPartitionList,
    ) -> Result<KafkaResult<TopicPartitionList>> {
        let reader = self.of(group)?;
        let answer = reader.committed_offsets(list, self.config.request_timeout);
        // Errors of connections come as events; those of a client nobody polls would pile up.
        for _ in 0..MAX_EVENTS {
            if reader.poll(Duration::ZERO).is_none() {
                break;
            }
        }
        Ok(answer)
    }

    /// Lets go of all of them. Blocks.
    pub(super) fn close(&self) {
        let kept = self.lock().take();
        drop(kept);
    }

    fn of(&self, group: &str) -> Result<Arc<Reader>> {
        let mut guard = self.lock();
        let kept = guard.as_mut().ok_or(LogError::Closed)?;
        kept.calls += 1;
        let calls = kept.calls;
        if let Some((reader, last)) = kept.readers.get_mut(group) {
            *last = calls;
            return Ok(reader.clone());
        }
        let doing = || format!("ask for the positions of group {group}");
        let reader: Reader = self
            .config
            .reader_of_positions(group)
            .create_with_context(LoggingContext)
            .map_err(|error| self.config.not_created(doing(), error))?;
        let reader = Arc::new(reader);
        let oldest = (kept.readers.len() >= MAX_READERS)
            .then(|| kept.readers.iter().min_by_key(|(_, (_, last))| *last).map(|(name, _)| name.clone()))
            .flatten();
        let given_up = oldest.and_then(|name| kept.readers.remove(&name));
        kept.readers.insert(group.to_owned(), (reader.clone(), calls));
        drop(guard);
        // Ending a client waits for its threads: not under the lock.
        drop(given_up);
        Ok(reader)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Kept>> {
        // The map is whole after every statement, so a panic elsewhere does not spoil it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_a_group_is_kept_and_not_more_than_the_bound() {
        let readers = PositionReaders::new(Arc::new(KafkaConfig::new("127.0.0.1:1")));
        let first = readers.of("first").unwrap();
        let second = readers.of("second").unwrap();
        assert!(Arc::ptr_eq(&first, &readers.of("first").unwrap()));
        for number in 2..=MAX_READERS {
            readers.of(&format!("other-{number}")).unwrap();
        }
        assert_eq!(readers.lock().as_ref().unwrap().readers.len(), MAX_READERS);
        assert!(Arc::ptr_eq(&first, &readers.of("first").unwrap()), "asked for since");
        assert!(!Arc::ptr_eq(&second, &readers.of("second").unwrap()), "asked for longest ago");
        readers.close();
        assert!(matches!(readers.of("first").err(), Some(LogError::Closed)));
    }
}
