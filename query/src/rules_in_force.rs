//! The alert rules that are in force, as those who ask about them need them.

use kelly_alerts::{Rule, builtin};

/// Tells which alert rules are in force now.
pub trait RulesInForce: Send + Sync {
    /// All of them, each id once.
    fn rules(&self) -> Vec<Rule>;
}

/// The built-in rules, and an operator's thresholds over them.
#[derive(Debug, Clone, Default)]
pub struct BuiltinRules {
    thresholds: Option<String>,
}

impl BuiltinRules {
    /// With the JSON of KELLY_ALERT_THRESHOLDS_CONFIG, where there is one.
    #[must_use]
    pub fn with_thresholds(thresholds: Option<String>) -> Self {
        Self { thresholds }
    }
}

impl RulesInForce for BuiltinRules {
    fn rules(&self) -> Vec<Rule> {
        // Thresholds that are wrong are told where they are read; the built-in ones are in force then.
        builtin::rules(self.thresholds.as_deref()).or_else(|_| builtin::rules(None)).unwrap_or_default()
    }
}
