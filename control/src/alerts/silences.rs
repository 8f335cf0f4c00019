//! Silences: alerts nobody is told of for a while.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::actor::By;
use crate::alert::Alert;
use crate::change::Change;
use crate::matcher::Matcher;
use crate::op::{EndSilence, MAX_SILENCE_MS, PutSilence};
use crate::scene::Scene;
use crate::verdict::{Refusal, Unchanged, Verdict};

/// Most silences in force: at it a further one is refused.
pub const MAX_SILENCES: usize = 1_000;

/// Most ended silences kept to be shown: at it the one that ended first is forgotten.
pub const MAX_ENDED_SILENCES: usize = 500;

/// One silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id.
    pub id: Uuid,
    /// Which alerts.
    pub matcher: Matcher,
    /// When it ends, by log time; of one that has ended, when it did.
    pub ends_ms: i64,
    /// Why.
    pub reason: String,
    /// Who made or last changed it.
    pub by: By,
    /// Who ended it before its time.
    pub ended_by: Option<By>,
    /// Alerts that were raised under it. None for long: it is stale.
    pub matched: u64,
    /// When the newest of them was, by log time.
    pub last_matched_ms: Option<i64>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silences {
    in_force: BTreeMap<Uuid, Silence>,
    /// By the order in which they ended.
    ended: BTreeMap<u64, Silence>,
    endings: u64,
    #[serde(skip)]
    ends: BTreeSet<(i64, Uuid)>,
}

impl Silences {
    /// Those in force.
    pub fn in_force(&self) -> impl Iterator<Item = &Silence> {
        self.in_force.values()
    }

    /// Those that have ended, the last one first.
    pub fn ended(&self) -> impl Iterator<Item = &Silence> {
        self.ended.values().rev()
    }

    /// One in force.
    #[must_use]
    pub fn get(&self, id: &Uuid) -> Option<&Silence> {
        self.in_force.get(id)
    }

    /// One that means this alert now.
    #[must_use]
    pub fn of(&self, alert: &Alert) -> Option<&Silence> {
        self.in_force.values().find(|silence| silence.matcher.matches(alert))
    }

    pub(super) fn index(&mut self) {
        self.ends = self.in_force.values().map(|silence| (silence.ends_ms, silence.id)).collect();
    }

    pub(super) fn next_end_ms(&self) -> Option<i64> {
        self.ends.first().map(|(ends_ms, _)| *ends_ms)
    }

    pub(super) fn put(&mut self, scene: &mut Scene<'_>, args: &PutSilence) -> Verdict {
        let ahead_ms = args.ends_ms.saturating_sub(scene.now_ms());
        if ahead_ms <= 0 || ahead_ms > MAX_SILENCE_MS {
            return Verdict::Refused(Refusal::BadEnd);
        }
        let before = self.in_force.get(&args.silence);
        if before.is_none() && self.in_force.len() >= MAX_SILENCES {
            return Verdict::Refused(Refusal::TooManySilences);
        }
        let silence = Silence {
            id: args.silence,
            matcher: args.matcher.clone(),
            ends_ms: args.ends_ms,
            reason: args.reason.clone(),
            by: scene.by(),
            ended_by: None,
            matched: before.map_or(0, |before| before.matched),
            last_matched_ms: before.and_then(|before| before.last_matched_ms),
        };
        if let Some(before) = before {
            self.ends.remove(&(before.ends_ms, before.id));
        }
        self.ends.insert((silence.ends_ms, silence.id));
        self.in_force.insert(silence.id, silence);
        scene.changes.push(Change::SilencePut { silence: args.silence });
        Verdict::Applied { version: scene.at.offset }
    }

    pub(super) fn end(&mut self, scene: &mut Scene<'_>, args: &EndSilence) -> Verdict {
        let Some(mut silence) = self.in_force.remove(&args.silence) else {
            let has_ended = self.ended.values().any(|silence| silence.id == args.silence);
            return if has_ended {
                Verdict::Unchanged(Unchanged::AlreadySo)
            } else {
                Verdict::Refused(Refusal::UnknownSilence)
            };
        };
        self.ends.remove(&(silence.ends_ms, silence.id));
        silence.ends_ms = scene.now_ms();
        silence.ended_by = Some(scene.by());
        scene.changes.push(Change::SilenceEnded { silence: silence.id });
        self.keep_ended(silence);
        Verdict::Applied { version: scene.at.offset }
    }

    /// Ends those whose time has come.
    pub(super) fn run_due(&mut self, scene: &mut Scene<'_>) {
        while let Some(&(ends_ms, id)) = self.ends.first()
            && ends_ms <= scene.now_ms()
        {
            self.ends.pop_first();
            if let Some(silence) = self.in_force.remove(&id) {
                scene.changes.push(Change::SilenceEnded { silence: id });
                self.keep_ended(silence);
            }
        }
    }

    /// Counts an alert that was raised under a silence.
    pub(super) fn count(&mut self, alert: &Alert, now_ms: i64) {
        for silence in self.in_force.values_mut().filter(|silence| silence.matcher.matches(alert)) {
            silence.matched += 1;
            silence.last_matched_ms = Some(now_ms);
        }
    }

    fn keep_ended(&mut self, silence: Silence) {
        self.ended.insert(self.endings, silence);
        self.endings += 1;
        while self.ended.len() > MAX_ENDED_SILENCES {
            self.ended.pop_first();
        }
    }
}
