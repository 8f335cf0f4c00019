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
const MAX_CLIENTS: usize = 8;

/// Events taken from a client at once; more wait for the next call.
const MAX_EVENTS: usize = 1_000;

type PositionClient = BaseConsumer<LoggingContext>;

/// The clients, by group.
pub(super) struct PositionClients {
    config: Arc<KafkaConfig>,
    /// `None` once closed.
    kept: Mutex<Option<Kept>>,
}

#[derive(Default)]
struct Kept {
    clients: HashMap<String, (Arc<PositionClient>, u64)>,
    /// Counts the calls: tells which client was asked for longest ago.
    calls: u64,
}

impl PositionClients {
    pub(super) fn new(config: Arc<KafkaConfig>) -> Self {
        Self { config, kept: Mutex::new(Some(Kept::default())) }
    }

    /// The group's positions on the partitions of the list, written into it. Blocks.
    pub(super) fn ask(
        &self,
        group: &str,
        list: TopicPartitionList,
    ) -> Result<KafkaResult<TopicPartitionList>> {
        let client = self.of(group)?;
        let answer = client.committed_offsets(list, self.config.request_timeout);
        // Errors of connections come as events; those of a client nobody polls would pile up.
        for _ in 0..MAX_EVENTS {
            if client.poll(Duration::ZERO).is_none() {
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

    fn of(&self, group: &str) -> Result<Arc<PositionClient>> {
        let mut guard = self.lock();
        let kept = guard.as_mut().ok_or(LogError::Closed)?;
        kept.calls += 1;
        let calls = kept.calls;
        if let Some((client, last)) = kept.clients.get_mut(group) {
            *last = calls;
            return Ok(client.clone());
        }
        let doing = || format!("ask for the positions of group {group}");
        let client: PositionClient = self
            .config
            .position_client(group)
            .create_with_context(LoggingContext)
            .map_err(|error| self.config.not_created(doing(), error))?;
        let client = Arc::new(client);
        let oldest = (kept.clients.len() >= MAX_CLIENTS)
            .then(|| kept.clients.iter().min_by_key(|(_, (_, last))| *last).map(|(name, _)| name.clone()))
            .flatten();
        let given_up = oldest.and_then(|name| kept.clients.remove(&name));
        kept.clients.insert(group.to_owned(), (client.clone(), calls));
        drop(guard);
        // Ending a client waits for its threads: not under the lock.
        drop(given_up);
        Ok(client)
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
        let clients = PositionClients::new(Arc::new(KafkaConfig::new("127.0.0.1:1")));
        let first = clients.of("first").unwrap();
        let second = clients.of("second").unwrap();
        assert!(Arc::ptr_eq(&first, &clients.of("first").unwrap()));
        for number in 2..=MAX_CLIENTS {
            clients.of(&format!("other-{number}")).unwrap();
        }
        assert_eq!(clients.lock().as_ref().unwrap().clients.len(), MAX_CLIENTS);
        assert!(Arc::ptr_eq(&first, &clients.of("first").unwrap()), "asked for since");
        assert!(!Arc::ptr_eq(&second, &clients.of("second").unwrap()), "asked for longest ago");
        clients.close();
        assert!(matches!(clients.of("first").err(), Some(LogError::Closed)));
    }
}
