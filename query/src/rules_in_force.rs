//! The alert rules that are in force, as those who ask about them need them.

use kelly_alerts::{Rule, builtin};

/// Tells which alert rules are in force now.
pub trait RulesInForce: Send + Sync {
    /// All of them, each id once.
    fn rules(&self) -> Vec<Rule>;
}

/// The built-in rules as they are shipped.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuiltinRules;

impl RulesInForce for BuiltinRules {
    fn rules(&self) -> Vec<Rule> {
        // Without thresholds of an operator there is nothing that could be wrong.
        builtin::rules(None).unwrap_or_default()
    }
}
