//! Which commands the log has had, for as long as one could come again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::position::Position;
use crate::verdict::Verdict;

/// How long an id is remembered, by log time. A producer gives up after minutes, so a copy of a command comes much sooner;
/// one that comes later is judged like a new one.
pub const IDS_REMEMBERED_MS: i64 = 24 * 3_600 * 1_000;

/// Most ids that are remembered: at it the oldest are forgotten early.
pub const MAX_IDS: usize = 250_000;

/// What was decided about a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Where it was decided.
    pub at: Position,
    /// The verdict.
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    recorded: Recorded,
    /// Of its bytes; `None` of one that was taken back before it came.
    digest: Option<u64>,
}

/// What is known of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It was decided there, and has these bytes.
    Same(u64),
    /// It was decided, with other bytes.
    Other,
    /// It was taken back there, before it came.
    TakenBack(u64),
}

/// The ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    ids: BTreeMap<Uuid, Remembered>,
    /// By the offset at which each was decided. One record decides one id.
    order: BTreeMap<u64, Uuid>,
}

impl Memory {
    pub(crate) fn look(&self, id: &Uuid, digest: &[u8; 32]) -> Option<Known> {
        let remembered = self.ids.get(id)?;
        Some(match remembered.digest {
            Some(known) if known == short(digest) => Known::Same(remembered.recorded.at.offset),
            Some(_) => Known::Other,
            None => Known::TakenBack(remembered.recorded.at.offset),
        })
    }

    pub(crate) fn recorded(&self, id: &Uuid) -> Option<&Recorded> {
        self.ids.get(id).map(|remembered| &remembered.recorded)
    }

    /// Notes what was decided about the command of the record there.
    pub(crate) fn decided(&mut self, id: Uuid, digest: &[u8; 32], recorded: Recorded) {
        self.put(id, Remembered { recorded, digest: Some(short(digest)) }, 0);
    }

    /// Notes that a command does nothing when it comes. The cancel of the same record is noted too: its own key in the
    /// order is the odd one of the offset.
    pub(crate) fn taken_back(&mut self, id: Uuid, at: Position) {
        let recorded = Recorded { at, verdict: Verdict::Cancelled { at: at.offset } };
        self.put(id, Remembered { recorded, digest: None }, 1);
    }

    fn put(&mut self, id: Uuid, remembered: Remembered, second: u64) {
        let key = remembered.recorded.at.offset.saturating_mul(2) + second;
        if let Some(before) = self.ids.insert(id, remembered) {
            let offset = before.recorded.at.offset.saturating_mul(2);
            for key in [offset, offset + 1] {
                if self.order.get(&key) == Some(&id) {
                    self.order.remove(&key);
                }
            }
        }
        self.order.insert(key, id);
    }

    /// Forgets what is too old, or too much.
    pub(crate) fn forget(&mut self, now_ms: i64) {
        while let Some((&key, id)) = self.order.first_key_value() {
            let is_old = self
                .ids
                .get(id)
                .is_none_or(|known| known.recorded.at.log_time_ms < now_ms - IDS_REMEMBERED_MS);
            if !is_old && self.ids.len() <= MAX_IDS {
                break;
            }
            self.ids.remove(id);
            self.order.remove(&key);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.ids.len(), self.order.len());
        self.ids.len()
    }
}

fn short(digest: &[u8; 32]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_forgotten_after_a_day_and_the_oldest_first_when_there_are_too_many() {
        let mut memory = Memory::default();
        let put = |memory: &mut Memory, number: u64, time| {
            let at = Position { offset: number, log_time_ms: time };
            let recorded = Recorded { at, verdict: Verdict::Applied { version: number } };
            memory.decided(Uuid::from_u128(number.into()), &[1; 32], recorded);
        };
        for number in 0..10 {
            put(&mut memory, number, number as i64);
        }
        memory.forget(IDS_REMEMBERED_MS + 5);
        assert_eq!(memory.len(), 5);
        assert_eq!(memory.look(&Uuid::from_u128(4), &[1; 32]), None);
        assert_eq!(memory.look(&Uuid::from_u128(5), &[1; 32]), Some(Known::Same(5)));
        assert_eq!(memory.look(&Uuid::from_u128(5), &[2; 32]), Some(Known::Other));
        for number in 10..MAX_IDS as u64 + 20 {
            put(&mut memory, number, 10);
        }
        memory.forget(10);
        assert_eq!(memory.len(), MAX_IDS);
        assert_eq!(memory.look(&Uuid::from_u128(19), &[1; 32]), None);
        assert!(memory.look(&Uuid::from_u128(20), &[1; 32]).is_some());
    }
}
