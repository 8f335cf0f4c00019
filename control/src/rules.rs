//! Rules as documents with a version. What is in them is checked before they are commanded; here they are text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::actor::By;
use crate::broken;
use crate::change::Change;
use crate::op::{DeleteRule, PutRule};
use crate::scene::Scene;
use crate::verdict::{Conflict, Decided, Refusal, Unchanged, Verdict};

/// Most rules: at it a further one is refused.
pub const MAX_RULES: usize = 2_000;

/// A rule as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleDocument {
    /// Its JSON.
    pub document: String,
    /// Who wrote it and when; the offset is its version.
    pub by: By,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    rules: BTreeMap<String, RuleDocument>,
    /// Where on the log they last changed: who reads them knows whether they are still the same.
    changed: Option<u64>,
}

impl Rules {
    /// All, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RuleDocument)> {
        self.rules.iter().map(|(id, rule)| (id.as_str(), rule))
    }

    /// One.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&RuleDocument> {
        self.rules.get(id)
    }

    /// Where on the log any of them last changed.
    #[must_use]
    pub fn changed(&self) -> Option<u64> {
        self.changed
    }

    pub(crate) fn put(&mut self, scene: &mut Scene<'_>, args: &PutRule) -> Verdict {
        let before = self.rules.get(&args.rule);
        if before.is_some_and(|before| before.document == args.document.0) {
            return Verdict::Unchanged(Unchanged::AlreadySo);
        }
        if let Some(conflict) = conflict(before, args.expected) {
            return conflict;
        }
        if before.is_none() && self.rules.len() >= MAX_RULES {
            return Verdict::Refused(Refusal::TooManyRules);
        }
        let rule = RuleDocument { document: args.document.0.clone(), by: scene.by() };
        self.rules.insert(args.rule.clone(), rule);
        self.changed = Some(scene.at.offset);
        scene.changes.push(Change::RulePut { rule: args.rule.clone() });
        Verdict::Applied { version: scene.at.offset }
    }

    pub(crate) fn delete(&mut self, scene: &mut Scene<'_>, args: &DeleteRule) -> Verdict {
        let Some(before) = self.rules.get(&args.rule) else {
            return Verdict::Refused(Refusal::UnknownRule);
        };
        if let Some(conflict) = conflict(Some(before), args.expected) {
            return conflict;
        }
        self.rules.remove(&args.rule);
        self.changed = Some(scene.at.offset);
        scene.changes.push(Change::RuleDeleted { rule: args.rule.clone() });
        Verdict::Applied { version: scene.at.offset }
    }
}

/// What a command for another version than the one in force comes to. 0 stands for none.
fn conflict(before: Option<&RuleDocument>, expected: Option<u64>) -> Option<Verdict> {
    let expected = expected?;
    if broken::is(broken::Rule::Expected) {
        return None;
    }
    match before {
        // Offset 0 is a rule's version only where it is the first record of all, which a barrier is.
        None if expected == 0 => None,
        None => Some(Verdict::Refused(Refusal::UnknownRule)),
        Some(before) if before.by.offset == expected => None,
        Some(before) => Some(Verdict::Conflict(Conflict {
            by: before.by.actor.clone(),
            since_ms: before.by.at_ms,
            what: Decided::Changed,
            version: before.by.offset,
        })),
    }
}
