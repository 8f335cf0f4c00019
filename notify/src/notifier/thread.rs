//! What is told of a group of alerts at one destination, from the first message to the last: a thread.

use std::collections::{BTreeMap, VecDeque};

use kelly_control::alert::{Alert, Severity, Status};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::notice::{Notice, Reason, ThreadStatus};

/// Most alerts of a thread: at it a further alert of the group begins another thread.
pub const MAX_MEMBERS: usize = 500;

/// A thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// Its id, which is the key under which the provider puts its messages together.
    pub id: String,
    /// Where it is told.
    pub destination: String,
    /// The route by which its alerts came; empty for a digest.
    pub route: String,
    /// What its alerts have in common.
    pub group: String,
    /// Whether it stands for many groups.
    pub is_digest: bool,
    /// Its alerts.
    pub members: BTreeMap<Uuid, Member>,
    /// What was last told.
    pub told: Option<Told>,
    /// Until then it waits for more before its first message.
    pub wait_until_ms: i64,
    /// What is to be sent, in order. More than one only where dead letters are sent again.
    pub queue: VecDeque<Delivery>,
    /// The number of its next message.
    pub next: u32,
    /// Where the provider keeps its message.
    pub place: Option<Place>,
}

/// An alert of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its severity.
    pub severity: Severity,
    /// Where it is in its life.
    pub status: Status,
    /// How far it has climbed, rounds included.
    pub level: u16,
    /// The version it was seen in: an older one is no news.
    pub version: u64,
    /// Whether anybody is to be told of it now.
    pub is_audible: bool,
    /// Whether somebody was told of it.
    pub is_told: bool,
}

impl Member {
    pub(super) fn of(alert: &Alert, is_audible: bool) -> Self {
        Self {
            severity: alert.severity,
            status: alert.status,
            level: u16::from(alert.climb.rounds) * 32 + u16::from(alert.climb.level),
            version: alert.version(),
            is_audible,
            is_told: false,
        }
    }

    fn is_open(&self) -> bool {
        self.status != Status::Resolved
    }

    /// Whether it counts in what is told: one that nobody is to be told of does, once somebody was.
    fn counts(&self) -> bool {
        self.is_audible || self.is_told
    }
}

/// What was last told of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When.
    pub at_ms: i64,
    /// How it was.
    pub status: ThreadStatus,
    /// How bad it was.
    pub severity: Severity,
    /// How far it had climbed.
    pub level: u16,
    /// How many were open.
    pub open: usize,
}

/// Where a provider keeps a message that can be changed: Slack's channel and time stamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The channel.
    pub channel: String,
    /// The message in it.
    pub message: String,
}

/// What is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It is sent.
    Send,
    /// The first one is changed.
    Edit,
    /// It is put below the first one.
    Reply,
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its id: the same at every try.
    pub id: String,
    /// What is still to be done, in order.
    pub acts: VecDeque<Act>,
    /// What it says.
    pub notice: Notice,
    /// When it was made.
    pub made_ms: i64,
    /// Tries so far, of what is to be done now.
    pub attempts: u32,
    /// No try before.
    pub not_before_ms: i64,
    /// What the last try came to.
    pub problem: Option<String>,
    /// Whether the provider may have it, without our knowing.
    pub is_unsure: bool,
}

/// How long a thread waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timing {
    pub(super) more_ms: i64,
    /// 0: never.
    pub(super) renotify_ms: i64,
    pub(super) criticals_wait: bool,
}

/// What is to be done about a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    Tell(Reason),
    /// Nothing before that time.
    Wait(i64),
    /// Nothing before an alert of it changes.
    Idle,
    /// It is over.
    Close,
}

/// A thread as it is, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) status: ThreadStatus,
    /// Worst of what is open; without any, the worst of all.
    pub(super) severity: Severity,
    pub(super) level: u16,
    pub(super) open: usize,
    pub(super) all: usize,
    is_audible: bool,
    /// Open alerts that nobody was told of.
    untold: usize,
    untold_critical: bool,
}

impl Thread {
    pub(super) fn summary(&self) -> Summary {
        let counted = || self.members.values().filter(|member| member.counts());
        let open = || counted().filter(|member| member.is_open());
        let untold = || open().filter(|member| !member.is_told && member.is_audible);
        let worst = open().map(|member| member.severity).max();
        let status = if open().next().is_none() {
            ThreadStatus::Resolved
        } else if open().all(|member| member.status == Status::Acknowledged) {
            ThreadStatus::Acknowledged
        } else {
            ThreadStatus::Firing
        };
        Summary {
            status,
            severity: worst
                .or_else(|| counted().map(|member| member.severity).max())
                .unwrap_or(Severity::Info),
            level: open().map(|member| member.level).max().unwrap_or(0),
            open: open().count(),
            all: counted().count(),
            is_audible: open().any(|member| member.is_audible),
            untold: untold().count(),
            untold_critical: untold().any(|member| member.severity == Severity::Critical),
        }
    }

    pub(super) fn judge(&self, timing: Timing, now_ms: i64) -> Judgement {
        let now = self.summary();
        let Some(told) = self.told else { return self.judge_first(&now, timing, now_ms) };
        let at = |due_ms: i64, reason: Reason| {
            if due_ms <= now_ms { Judgement::Tell(reason) } else { Judgement::Wait(due_ms) }
        };
        let next_ms = told.at_ms.saturating_add(timing.more_ms);
        if now.status == ThreadStatus::Resolved {
            return match (told.status, self.is_digest) {
                (ThreadStatus::Resolved, _) => Judgement::Close,
                (_, true) => at(next_ms, Reason::Resolved),
                (_, false) => Judgement::Tell(Reason::Resolved),
            };
        }
        if !now.is_audible {
            // Silenced: its end is told, and nothing before.
            return Judgement::Idle;
        }
        if self.is_digest {
            let has_news = now.untold > 0 || now.open != told.open || now.status != told.status;
            let reason = if now.untold > 0 { Reason::MoreAlerts } else { Reason::Better };
            return if has_news { at(next_ms, reason) } else { Judgement::Idle };
        }
        if told.status == ThreadStatus::Resolved {
            return Judgement::Tell(Reason::ActiveAgain);
        }
        if now.severity > told.severity {
            return Judgement::Tell(Reason::Worse);
        }
        if now.level > told.level {
            return Judgement::Tell(Reason::Escalated);
        }
        if now.status != told.status && now.untold == 0 {
            let reason = match now.status {
                ThreadStatus::Acknowledged => Reason::Acknowledged,
                ThreadStatus::Firing | ThreadStatus::Resolved => Reason::ActiveAgain,
            };
            return Judgement::Tell(reason);
        }
        if now.untold > 0 {
            let is_urgent = now.untold_critical && !timing.criticals_wait;
            return at(if is_urgent { now_ms } else { next_ms }, Reason::MoreAlerts);
        }
        if now.open != told.open || now.severity < told.severity {
            return at(next_ms, Reason::Better);
        }
        if timing.renotify_ms > 0 && now.status == ThreadStatus::Firing {
            return at(told.at_ms.saturating_add(timing.renotify_ms), Reason::Reminder);
        }
        Judgement::Idle
    }

    fn judge_first(&self, now: &Summary, timing: Timing, now_ms: i64) -> Judgement {
        if now.untold == 0 {
            // Over, or silenced, before anybody was told.
            return Judgement::Close;
        }
        let is_urgent = now.untold_critical && !timing.criticals_wait;
        if is_urgent || self.wait_until_ms <= now_ms {
            Judgement::Tell(Reason::Firing)
        } else {
            Judgement::Wait(self.wait_until_ms)
        }
    }

    /// Notes that it is told as it is now.
    pub(super) fn note_told(&mut self, now_ms: i64) {
        let now = self.summary();
        self.told = Some(Told {
            at_ms: now_ms,
            status: now.status,
            severity: now.severity,
            level: now.level,
            open: now.open,
        });
        for member in self.members.values_mut().filter(|member| member.is_open() && member.is_audible) {
            member.is_told = true;
        }
    }
}
