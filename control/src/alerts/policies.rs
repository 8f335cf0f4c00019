//! How alerts climb that nobody acknowledges.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Severity};
use crate::change::Change;
use crate::matcher::Matcher;
use crate::op::{DeletePolicy, Level, PutPolicy};
use crate::scene::Scene;
use crate::verdict::{Refusal, Verdict};

/// Most policies: at it a further one is refused.
pub const MAX_POLICIES: usize = 200;

/// The name of the policy that comes last.
pub const DEFAULT_POLICY: &str = "default";

const MINUTE_MS: i64 = 60_000;

/// All of them, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policies {
    policies: BTreeMap<String, PutPolicy>,
}

impl Default for Policies {
    /// Criticals come to supervisors after ten minutes, and to admins after ten more.
    fn default() -> Self {
        let level = |role: &str| Level { after_ms: 10 * MINUTE_MS, notify: vec![role.into()] };
        let default = PutPolicy {
            policy: DEFAULT_POLICY.into(),
            matcher: Matcher::default(),
            severity: Severity::Critical,
            levels: vec![level("supervisor"), level("admin")],
            repeat: 0,
        };
        Self { policies: BTreeMap::from([(DEFAULT_POLICY.into(), default)]) }
    }
}

impl Policies {
    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &PutPolicy> {
        self.policies.values()
    }

    /// One.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&PutPolicy> {
        self.policies.get(name)
    }

    /// The one that counts for an alert as it is: the first by name that means it, the default one last.
    #[must_use]
    pub fn of(&self, alert: &Alert) -> Option<&PutPolicy> {
        let means = |policy: &&PutPolicy| {
            alert.severity >= policy.severity && (policy.matcher.is_empty() || policy.matcher.matches(alert))
        };
        let others = self.policies.values().filter(|policy| policy.policy != DEFAULT_POLICY);
        others.chain(self.policies.get(DEFAULT_POLICY)).find(means)
    }

    pub(super) fn put(&mut self, scene: &mut Scene<'_>, args: &PutPolicy) -> Verdict {
        if !self.policies.contains_key(&args.policy) && self.policies.len() >= MAX_POLICIES {
            return Verdict::Refused(Refusal::TooManyPolicies);
        }
        self.policies.insert(args.policy.clone(), args.clone());
        scene.changes.push(Change::Policy { policy: args.policy.clone() });
        Verdict::Applied { version: scene.at.offset }
    }

    pub(super) fn delete(&mut self, scene: &mut Scene<'_>, args: &DeletePolicy) -> Verdict {
        if self.policies.remove(&args.policy).is_none() {
            return Verdict::Refused(Refusal::UnknownPolicy);
        }
        scene.changes.push(Change::Policy { policy: args.policy.clone() });
        Verdict::Applied { version: scene.at.offset }
    }
}
