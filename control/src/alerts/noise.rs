//! Which rules cost time for nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::alert::Feedback;

/// Most rules that are counted: at it further ones are not.
pub const MAX_COUNTED_RULES: usize = 5_000;

/// What people thought of a rule's alerts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleNoise {
    /// Alerts it raised.
    pub raised: u64,
    /// Opinions that there was no problem.
    pub false_positive: u64,
    /// Opinions that nothing was to be done.
    pub not_actionable: u64,
    /// Opinions that the alert did not say enough.
    pub poor_details: u64,
}

impl RuleNoise {
    /// Opinions in all.
    #[must_use]
    pub fn opinions(&self) -> u64 {
        self.false_positive + self.not_actionable + self.poor_details
    }

    fn of(&mut self, kind: Feedback) -> &mut u64 {
        match kind {
            Feedback::FalsePositive => &mut self.false_positive,
            Feedback::NotActionable => &mut self.not_actionable,
            Feedback::PoorDetails => &mut self.poor_details,
        }
    }
}

/// All rules that raised something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noise {
    rules: BTreeMap<String, RuleNoise>,
}

impl Noise {
    /// One rule's.
    #[must_use]
    pub fn get(&self, rule: &str) -> Option<&RuleNoise> {
        self.rules.get(rule)
    }

    /// The rules with the most opinions, then with the most alerts.
    #[must_use]
    pub fn noisiest(&self, most: usize) -> Vec<(&str, RuleNoise)> {
        let mut rules: Vec<_> = self.rules.iter().map(|(rule, noise)| (rule.as_str(), *noise)).collect();
        rules.sort_by_key(|(rule, noise)| (std::cmp::Reverse((noise.opinions(), noise.raised)), *rule));
        rules.truncate(most);
        rules
    }

    pub(super) fn raised(&mut self, rule: &str) {
        if let Some(noise) = self.counted(rule) {
            noise.raised += 1;
        }
    }

    pub(super) fn rated(&mut self, rule: &str, kind: Feedback, before: Option<Feedback>) {
        let Some(noise) = self.counted(rule) else { return };
        if let Some(before) = before {
            let count = noise.of(before);
            *count = count.saturating_sub(1);
        }
        *noise.of(kind) += 1;
    }

    fn counted(&mut self, rule: &str) -> Option<&mut RuleNoise> {
        if !self.rules.contains_key(rule) && self.rules.len() >= MAX_COUNTED_RULES {
            return None;
        }
        Some(self.rules.entry(rule.to_owned()).or_default())
    }
}
