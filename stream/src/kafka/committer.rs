//! Commits from any thread, fenced by the epochs of the assignments they belong to.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::admin::native;
use super::batch;
use super::context::MemberContext;
use super::failure::failure;
use crate::bounds;
use crate::error::LogError;
use crate::port::{Commit, Committer, MAX_COMMIT_METADATA_BYTES, Result, TopicPartition};

/// A member of a group, shared by the thread that polls it and those that commit.
pub(super) struct Member {
    pub(super) consumer: BaseConsumer<MemberContext>,
    epochs: RwLock<HashMap<TopicPartition, u64>>,
}

impl Member {
    pub(super) fn new(consumer: BaseConsumer<MemberContext>) -> Self {
        Self { consumer, epochs: RwLock::default() }
    }

    pub(super) fn open_epoch(&self, partitions: &[TopicPartition], epoch: u64) {
        let mut epochs = self.epochs.write().unwrap_or_else(PoisonError::into_inner);
        epochs.extend(partitions.iter().map(|partition| (partition.clone(), epoch)));
    }

    /// Ends the assignments. Waits for commits under way: once this returns, none of these
    /// partitions can be committed by this member any more.
    pub(super) fn end_epochs(&self, partitions: &[TopicPartition]) {
        let mut epochs = self.epochs.write().unwrap_or_else(PoisonError::into_inner);
        for partition in partitions {
            epochs.remove(partition);
        }
    }

    /// Ends all of them, likewise.
    pub(super) fn end_all_epochs(&self) {
        self.epochs.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.consumer.context().close();
    }

    fn commit(&self, commits: &[Commit]) -> Result<()> {
        // Held until the coordinator answers, see `end_epochs`.
        let epochs = self.epochs.read().unwrap_or_else(PoisonError::into_inner);
        let mut list = TopicPartitionList::with_capacity(commits.len());
        for commit in commits {
            if epochs.get(&commit.partition) != Some(&commit.epoch) {
                return Err(LogError::fenced(&commit.partition, commit.epoch));
            }
            bounds::verify_commit(commit)?;
            let mut element = list.add_partition(&commit.partition.topic, native(commit.partition.partition));
            let offset = i64::try_from(commit.offset).unwrap_or(i64::MAX);
            element
                .set_offset(Offset::Offset(offset))
                .map_err(|error| failure(format!("commit offset {offset}"), error))?;
            element.set_metadata(&commit.metadata);
        }
        batch::commit(&self.consumer, &list).map_err(|error| explain(error, commits))
    }
}

/// The handle given to other threads. It does not keep the member in its group.
pub(super) struct KafkaCommitter {
    pub(super) member: Weak<Member>,
}

impl KafkaCommitter {
    pub(super) fn of(member: &Arc<Member>) -> Arc<dyn Committer> {
        Arc::new(Self { member: Arc::downgrade(member) })
    }
}

impl Committer for KafkaCommitter {
    fn commit(&self, commits: &[Commit]) -> Result<()> {
        let Some(first) = commits.first() else { return Ok(()) };
        // A member that is gone has no assignments.
        let member = self.member.upgrade().ok_or_else(|| LogError::fenced(&first.partition, first.epoch))?;
        member.commit(commits)
    }
}

fn explain(error: rdkafka::error::KafkaError, commits: &[Commit]) -> LogError {
    let doing = || {
        let places: Vec<String> = commits
            .iter()
            .map(|commit| {
                format!("{}/{}@{}", commit.partition.topic, commit.partition.partition, commit.offset)
            })
            .collect();
        format!("commit {}", places.join(", "))
    };
    match error.rdkafka_error_code() {
        // The group has gone on without this member.
        Some(
            Code::UnknownMemberId
            | Code::FencedInstanceId
            | Code::FencedMemberEpoch
            | Code::StaleMemberEpoch
            | Code::AssignmentLost
            | Code::Fenced
            | Code::UnknownGroup,
        ) => LogError::fenced(&commits[0].partition, commits[0].epoch),
        // Nothing was done: the group is between two generations, and a commit that was judged under
        // the one before is no sign that the partition is lost (a retained one is never revoked).
        // The same commit works after it; if the partition is lost, its epoch ends and fences it.
        Some(Code::RebalanceInProgress | Code::IllegalGeneration) => LogError::Unavailable {
            doing: doing(),
            fix: "the group is rebalancing; go on polling and try again".into(),
            source: Some(Box::new(error)),
        },
        Some(
            Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::BrokerTransportFailure
            | Code::NetworkException
            | Code::WaitingForCoordinator
            | Code::BrokerDestroy,
        ) => LogError::Unknown { doing: doing(), source: Some(Box::new(error)) },
        Some(Code::OffsetMetadataTooLarge) => LogError::Refused {
            doing: doing(),
            fix: format!("let the broker's offset.metadata.max.bytes be {MAX_COMMIT_METADATA_BYTES} or more"),
            source: Some(Box::new(error)),
        },
        _ => failure(doing(), error),
    }
}
