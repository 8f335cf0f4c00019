//! The states of an engine: found by rule and entity, woken by time, and noted when they changed.

use std::collections::{BTreeSet, VecDeque};
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::key::StateKey;
use crate::entity::{Entity, SubjectRef};
use crate::rule::RuleSet;
use crate::step::{State, next_due};

/// One state and whose it is.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) rule: u32,
    pub(super) entity: Entity,
    pub(super) state: State,
    /// When it is to be woken; `i64::MAX` for never.
    wakes_ms: i64,
    /// Whether it waits to be stored.
    is_changed: bool,
}

/// A state as it is stored; `None` for one that is gone.
pub(super) type Stored = (StateKey, Option<Vec<u8>>);

/// The states of an engine.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// By time, then by rule, so that what is due at one time happens in the same order everywhere.
    timers: BTreeSet<(i64, u32, u32)>,
    changed: VecDeque<u32>,
    /// Those that are gone since [`take_changed`](Self::take_changed); as many as there were at most.
    gone: Vec<StateKey>,
    count_by_rule: Vec<usize>,
}

impl Slots {
    pub(super) fn of_rules(rules: usize) -> Self {
        Self { count_by_rule: vec![0; rules], ..Self::default() }
    }

    pub(super) fn find(&self, rule: u32, subject: SubjectRef<'_>, part: &str) -> Option<u32> {
        let hash = self.hasher.hash_one((rule, subject, part));
        let is_it = |place: &u32| {
            self.slots[*place as usize].as_ref().is_some_and(|slot| {
                slot.rule == rule && slot.entity.subject.borrowed() == subject && *slot.entity.part == *part
            })
        };
        self.table.find(hash, is_it).copied()
    }

    pub(super) fn get(&self, place: u32) -> Option<&Slot> {
        self.slots.get(place as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Slot> {
        self.slots.get_mut(place as usize)?.as_mut()
    }

    pub(super) fn insert(&mut self, rule: u32, entity: Entity, state: State) -> u32 {
        let hash = self.hasher.hash_one((rule, entity.subject.borrowed(), &*entity.part));
        let slot = Slot { rule, entity, state, wakes_ms: i64::MAX, is_changed: false };
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = Some(slot);
                place
            }
            None => {
                self.slots.push(Some(slot));
                self.slots.len() as u32 - 1
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.table.insert_unique(hash, place, |place| {
            let slot = slots[*place as usize].as_ref();
            slot.map_or(0, |slot| {
                hasher.hash_one((slot.rule, slot.entity.subject.borrowed(), &*slot.entity.part))
            })
        });
        self.count_by_rule[rule as usize] += 1;
        place
    }

    /// Forgets a state; it is stored as gone.
    pub(super) fn remove(&mut self, place: u32, rules: &RuleSet) {
        let Some(slot) = self.slots.get_mut(place as usize).and_then(Option::take) else { return };
        let hash = self.hasher.hash_one((slot.rule, slot.entity.subject.borrowed(), &*slot.entity.part));
        if let Ok(entry) = self.table.find_entry(hash, |found| *found == place) {
            entry.remove();
        }
        if slot.wakes_ms < i64::MAX {
            self.timers.remove(&(slot.wakes_ms, slot.rule, place));
        }
        self.count_by_rule[slot.rule as usize] -= 1;
        self.gone.push(StateKey { rule: rules.rule(slot.rule).rule.id.clone(), entity: slot.entity });
        self.free.push(place);
    }

    /// Notes that a state changed, and when it is to be woken next.
    pub(super) fn touch(&mut self, place: u32, rules: &RuleSet) {
        let Some(slot) = self.slots.get_mut(place as usize).and_then(Option::as_mut) else { return };
        let due_ms = next_due(rules.rule(slot.rule), &slot.entity, &slot.state).unwrap_or(i64::MAX);
        // A later time is noticed when the earlier one comes: rows put most of them off again and again.
        if due_ms < slot.wakes_ms {
            if slot.wakes_ms < i64::MAX {
                self.timers.remove(&(slot.wakes_ms, slot.rule, place));
            }
            self.timers.insert((due_ms, slot.rule, place));
            slot.wakes_ms = due_ms;
        }
        if !slot.is_changed {
            slot.is_changed = true;
            self.changed.push_back(place);
        }
    }

    /// The first state that is to be woken by a time. It is no longer to be woken then.
    pub(super) fn wake(&mut self, now_ms: i64) -> Option<(i64, u32)> {
        let &(due_ms, rule, place) = self.timers.first().filter(|first| first.0 <= now_ms)?;
        self.timers.remove(&(due_ms, rule, place));
        if let Some(slot) = self.get_mut(place) {
            slot.wakes_ms = i64::MAX;
        }
        Some((due_ms, place))
    }

    /// When the next state is to be woken.
    pub(super) fn next_wake_ms(&self) -> Option<i64> {
        self.timers.first().map(|first| first.0)
    }

    /// Of what changed since this was last asked everything that is gone, and at most so many states.
    pub(super) fn take_changed(&mut self, rules: &RuleSet, most: usize) -> Vec<Stored> {
        // One that is gone and came back is stored as it is now.
        let mut stored: Vec<Stored> =
            std::mem::take(&mut self.gone).into_iter().map(|key| (key, None)).collect();
        let count = most.min(self.changed.len());
        for place in self.changed.drain(..count) {
            let Some(slot) = self.slots[place as usize].as_mut().filter(|slot| slot.is_changed) else {
                continue;
            };
            slot.is_changed = false;
            let key = StateKey { rule: rules.rule(slot.rule).rule.id.clone(), entity: slot.entity.clone() };
            stored.push((key, Some(slot.state.to_bytes())));
        }
        stored
    }

    /// How many states, and of those that are gone, wait to be taken at most.
    pub(super) fn changed(&self) -> usize {
        self.changed.len() + self.gone.len()
    }

    pub(super) fn count_of(&self, rule: u32) -> usize {
        self.count_by_rule[rule as usize]
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The places of all that are there.
    pub(super) fn places(&self) -> impl Iterator<Item = (u32, &Slot)> {
        self.slots.iter().zip(0..).filter_map(|(slot, place)| slot.as_ref().map(|slot| (place, slot)))
    }

    /// Everything out, with what is gone.
    pub(super) fn into_parts(self) -> (Vec<Slot>, Vec<StateKey>) {
        (self.slots.into_iter().flatten().collect(), self.gone)
    }

    pub(super) fn add_gone(&mut self, gone: impl IntoIterator<Item = StateKey>) {
        self.gone.extend(gone);
    }
}
