//! Who reads what in a consumer group: pure state, no I/O and no clock of its own.
//!
//! A partition changes hands as in Kafka's cooperative protocol: the member that has it is asked at
//! its next poll, gives it up there, and only then does the next one get it. The epoch of the old
//! assignment is dead from the moment it was given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::port::TopicPartition;

/// Names a member within its group; never used twice.
pub(super) type MemberId = u64;

/// The members of one group and what they own.
#[derive(Debug, Default)]
pub(super) struct Group {
    members: BTreeMap<MemberId, Member>,
    partitions: BTreeSet<TopicPartition>,
    target: BTreeMap<TopicPartition, MemberId>,
    owners: BTreeMap<TopicPartition, Owner>,
    last_member: MemberId,
    last_epoch: u64,
}

#[derive(Debug)]
struct Member {
    topics: Vec<Arc<str>>,
    last_poll: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    member: MemberId,
    epoch: u64,
}

/// What a member has to do to follow its group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// To be given up.
    pub(super) revoked: Vec<TopicPartition>,
    /// Taken over, with the epoch of the assignment.
    pub(super) assigned: Vec<(TopicPartition, u64)>,
}

impl Group {
    /// A member joins that reads `topics`, whose partitions are all of `partitions`.
    pub(super) fn join(
        &mut self,
        topics: Vec<Arc<str>>,
        partitions: &[TopicPartition],
        now: Instant,
    ) -> MemberId {
        self.last_member += 1;
        self.partitions.extend(partitions.iter().cloned());
        self.members.insert(self.last_member, Member { topics, last_poll: now });
        self.share_out_anew();
        self.last_member
    }

    /// A member goes: what it owned is free at once, and nothing of it can be committed any more.
    pub(super) fn leave(&mut self, member: MemberId) {
        if self.members.remove(&member).is_some() {
            self.owners.retain(|_, owner| owner.member != member);
            self.share_out_anew();
        }
    }

    pub(super) fn has(&self, member: MemberId) -> bool {
        self.members.contains_key(&member)
    }

    pub(super) fn polled(&mut self, member: MemberId, now: Instant) {
        if let Some(member) = self.members.get_mut(&member) {
            member.last_poll = now;
        }
    }

    /// Puts out those who have not polled for longer than `bound`. Returns whether there were any.
    pub(super) fn put_out_silent(&mut self, now: Instant, bound: Duration) -> bool {
        let silent: Vec<MemberId> = self
            .members
            .iter()
            .filter(|(_, member)| now.saturating_duration_since(member.last_poll) > bound)
            .map(|(id, _)| *id)
            .collect();
        for member in &silent {
            self.leave(*member);
        }
        !silent.is_empty()
    }

    /// Lets a member give up what it shall not have and take what is free for it.
    pub(super) fn reconcile(&mut self, member: MemberId) -> Change {
        let mut change = Change::default();
        let target = &self.target;
        self.owners.retain(|partition, owner| {
            let stays = owner.member != member || target.get(partition) == Some(&member);
            if !stays {
                change.revoked.push(partition.clone());
            }
            stays
        });
        let free: Vec<TopicPartition> = self
            .target
            .iter()
            .filter(|(partition, to)| **to == member && !self.owners.contains_key(*partition))
            .map(|(partition, _)| partition.clone())
            .collect();
        if !free.is_empty() {
            self.last_epoch += 1;
            let epoch = self.last_epoch;
            for partition in free {
                self.owners.insert(partition.clone(), Owner { member, epoch });
                change.assigned.push((partition, epoch));
            }
        }
        change
    }

    /// Whether the assignment of that epoch still holds. An epoch belongs to one member only.
    pub(super) fn owns(&self, partition: &TopicPartition, epoch: u64) -> bool {
        self.owners.get(partition).is_some_and(|owner| owner.epoch == epoch)
    }

    fn share_out_anew(&mut self) {
        let current =
            self.owners.iter().map(|(partition, owner)| (partition.clone(), owner.member)).collect();
        let members: BTreeMap<MemberId, &[Arc<str>]> =
            self.members.iter().map(|(id, member)| (*id, member.topics.as_slice())).collect();
        self.target = share_out(&self.partitions, &members, current);
    }
}

/// Who shall have which partition: as even as the subscriptions allow, and moving as little as
/// possible from `current`.
fn share_out(
    partitions: &BTreeSet<TopicPartition>,
    members: &BTreeMap<MemberId, &[Arc<str>]>,
    current: BTreeMap<TopicPartition, MemberId>,
) -> BTreeMap<TopicPartition, MemberId> {
    let may_have = |member: MemberId, partition: &TopicPartition| {
        members.get(&member).is_some_and(|topics| topics.contains(&partition.topic))
    };
    let mut target: BTreeMap<TopicPartition, MemberId> = current;
    target.retain(|partition, member| may_have(*member, partition));
    let mut load: BTreeMap<MemberId, usize> = members.keys().map(|member| (*member, 0)).collect();
    for member in target.values() {
        *load.entry(*member).or_default() += 1;
    }
    for partition in partitions {
        if target.contains_key(partition) {
            continue;
        }
        let least =
            load.iter().filter(|(member, _)| may_have(**member, partition)).min_by_key(|(_, load)| **load);
        if let Some(member) = least.map(|(member, _)| *member) {
            target.insert(partition.clone(), member);
            *load.entry(member).or_default() += 1;
        }
    }
    // Each move lowers the sum of the squares of the loads, so this ends.
    while let Some((partition, from, to)) = next_move(&target, &load, &may_have) {
        target.insert(partition, to);
        *load.entry(from).or_default() -= 1;
        *load.entry(to).or_default() += 1;
    }
    target
}

fn next_move(
    target: &BTreeMap<TopicPartition, MemberId>,
    load: &BTreeMap<MemberId, usize>,
    may_have: &dyn Fn(MemberId, &TopicPartition) -> bool,
) -> Option<(TopicPartition, MemberId, MemberId)> {
    target.iter().find_map(|(partition, from)| {
        let to = load
            .iter()
            .filter(|(member, to_load)| **to_load + 1 < load[from] && may_have(**member, partition))
            .min_by_key(|(_, to_load)| **to_load)
            .map(|(member, _)| *member)?;
        Some((partition.clone(), *from, to))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partitions(topic: &str, count: u32) -> Vec<TopicPartition> {
        (0..count).map(|partition| TopicPartition { topic: topic.into(), partition }).collect()
    }

    fn owned(group: &Group, member: MemberId) -> usize {
        group.owners.values().filter(|owner| owner.member == member).count()
    }

    #[test]
    fn a_partition_moves_only_after_it_was_given_up() {
        let now = Instant::now();
        let all = partitions("t", 4);
        let mut group = Group::default();
        let first = group.join(vec!["t".into()], &all, now);
        let epoch = group.reconcile(first).assigned[0].1;
        assert_eq!(owned(&group, first), 4);

        let second = group.join(vec!["t".into()], &all, now);
        assert_eq!(group.reconcile(second), Change::default(), "nothing is free yet");
        let revoked = group.reconcile(first).revoked;
        assert_eq!(revoked.len(), 2);
        assert!(!group.owns(&revoked[0], epoch), "fenced from the moment it was given up");
        let change = group.reconcile(second);
        assert_eq!(change.assigned.len(), 2);
        assert!(change.assigned.iter().all(|(_, later)| *later > epoch));
        let kept = all.iter().find(|partition| !revoked.contains(partition)).unwrap();
        assert!(group.owns(kept, epoch), "what stays keeps its epoch");
    }

    #[test]
    fn a_silent_member_loses_everything() {
        let now = Instant::now();
        let all = partitions("t", 2);
        let mut group = Group::default();
        let silent = group.join(vec!["t".into()], &all, now);
        let epoch = group.reconcile(silent).assigned[0].1;
        let later = now + Duration::from_secs(10);
        let other = group.join(vec!["t".into()], &all, later);
        assert!(!group.put_out_silent(later, Duration::from_secs(10)));
        assert!(group.put_out_silent(later + Duration::from_millis(1), Duration::from_secs(10)));
        assert!(!group.has(silent) && !group.owns(&all[0], epoch));
        assert_eq!(group.reconcile(other).assigned.len(), 2);
    }

    proptest! {
        #[test]
        fn every_partition_has_one_even_owner(
            counts in proptest::collection::vec(1_u32..9, 1..4),
            steps in proptest::collection::vec((0_u8..3, any::<proptest::sample::Index>()), 1..40),
        ) {
            let now = Instant::now();
            let topics: Vec<Arc<str>> = (0..counts.len()).map(|topic| Arc::from(format!("t{topic}"))).collect();
            let all: Vec<TopicPartition> =
                topics.iter().zip(&counts).flat_map(|(topic, count)| partitions(topic, *count)).collect();
            let mut group = Group::default();
            let mut members: Vec<MemberId> = Vec::new();
            let mut highest_epoch: BTreeMap<MemberId, u64> = BTreeMap::new();
            for (step, pick) in steps {
                match step {
                    0 => members.push(group.join(topics.clone(), &all, now)),
                    1 if !members.is_empty() => group.leave(members.swap_remove(pick.index(members.len()))),
                    _ if !members.is_empty() => {
                        let member = members[pick.index(members.len())];
                        for (_, epoch) in group.reconcile(member).assigned {
                            let highest = highest_epoch.entry(member).or_default();
                            prop_assert!(epoch >= *highest);
                            *highest = epoch;
                        }
                    }
                    _ => {}
                }
            }
            for _ in 0..2 {
                for member in &members {
                    group.reconcile(*member);
                }
            }
            let loads: Vec<usize> = members.iter().map(|member| owned(&group, *member)).collect();
            let sum: usize = loads.iter().sum();
            prop_assert_eq!(sum, if members.is_empty() { 0 } else { all.len() });
            if let (Some(most), Some(least)) = (loads.iter().max(), loads.iter().min()) {
                prop_assert!(most - least <= 1, "{:?}", loads);
            }
            for member in &members {
                prop_assert_eq!(group.reconcile(*member), Change::default());
            }
        }

        #[test]
        fn nobody_gets_a_topic_it_does_not_read(subscriptions in proptest::collection::vec(1_u8..8, 1..6)) {
            let names: Vec<Arc<str>> = (0..3).map(|topic| Arc::from(format!("t{topic}"))).collect();
            let all: BTreeSet<TopicPartition> = names.iter().flat_map(|topic| partitions(topic, 5)).collect();
            let chosen: Vec<Vec<Arc<str>>> = subscriptions
                .iter()
                .map(|bits| (0..3).filter(|bit| bits & (1 << bit) != 0).map(|bit| names[bit].clone()).collect())
                .collect();
            let members: BTreeMap<MemberId, &[Arc<str>]> =
                chosen.iter().enumerate().map(|(id, topics)| (id as u64, topics.as_slice())).collect();
            let target = share_out(&all, &members, BTreeMap::new());
            for (partition, member) in &target {
                prop_assert!(members[member].contains(&partition.topic));
            }
            for partition in &all {
                let wanted = chosen.iter().any(|topics| topics.contains(&partition.topic));
                prop_assert_eq!(target.contains_key(partition), wanted);
            }
        }
    }
}
