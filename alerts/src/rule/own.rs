//! Names of the engine's own rules.

/// The rule of metrics whose rows bring their own thresholds in their metadata.
pub const OWN_THRESHOLDS: &str = "kelly.own_thresholds";

/// The rule of what is wrong with rules and thresholds themselves.
pub const CONFIGURATION: &str = "kelly.configuration";

/// Names of rules begin with this if they are the engine's own.
pub(super) const OWN_PREFIX: &str = "kelly.";

/// The metric of which each alert that is raised is a row, for rules that count alerts.
pub const RAISED_METRIC: &str = "kelly.alerts.raised";
