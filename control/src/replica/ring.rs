//! The newest decisions, for those who follow them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::decision::Decision;

/// Decisions that are kept: at it the oldest goes, and a follower that has not seen it has missed it.
pub const RING_DECISIONS: usize = 4_096;

/// Alerts in them: at it the oldest decision goes too. One record can make many alerts climb.
pub const RING_ALERTS: usize = 20_000;

/// What there is for a follower.
#[derive(Debug)]
pub(super) enum Found {
    Decision(Arc<Decision>),
    /// It has to begin anew: this is the first offset from which it can go on.
    Missed(u64),
    NotYet,
}

/// Decisions in order, without a gap from `first` on.
#[derive(Debug)]
pub(super) struct Ring {
    decisions: VecDeque<Arc<Decision>>,
    alerts: usize,
    first: u64,
}

impl Ring {
    pub(super) fn new(first: u64) -> Self {
        Self { decisions: VecDeque::new(), alerts: 0, first }
    }

    pub(super) fn push(&mut self, decision: Arc<Decision>) {
        self.alerts += decision.alerts.len();
        self.decisions.push_back(decision);
        while self.decisions.len() > RING_DECISIONS || (self.alerts > RING_ALERTS && self.decisions.len() > 1)
        {
            if let Some(oldest) = self.decisions.pop_front() {
                self.alerts -= oldest.alerts.len();
                self.first = oldest.at.offset + 1;
            }
        }
    }

    /// The first decision at this offset or behind it.
    pub(super) fn from(&self, offset: u64) -> Found {
        if offset < self.first {
            return Found::Missed(self.first);
        }
        let place = self.decisions.partition_point(|decision| decision.at.offset < offset);
        self.decisions.get(place).map_or(Found::NotYet, |decision| Found::Decision(decision.clone()))
    }
}
