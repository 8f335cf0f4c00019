//! What is wrong with a rule: where, and how to fix it.

use std::fmt;

/// One thing that is wrong with one field of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The rule's id, or `#3` for the third one when it has none.
    pub rule: String,
    /// The field, as it is written in the file.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
    /// Whether the rule cannot be used.
    pub gravity: Gravity,
}

/// How grave a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// It works, and is likely not what was meant.
    Doubtful,
    /// It cannot work.
    Wrong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, field, problem, fix, .. } = self;
        write!(f, "rule `{rule}`, `{field}`: {problem}; {fix}")
    }
}

/// Collects the faults of one rule.
#[derive(Debug)]
pub(super) struct Faults {
    rule: String,
    found: Vec<Fault>,
}

impl Faults {
    pub(super) fn of(rule: String) -> Self {
        Self { rule, found: Vec::new() }
    }

    pub(super) fn wrong(&mut self, field: &str, problem: impl Into<String>, fix: impl Into<String>) {
        self.add(Gravity::Wrong, field, problem.into(), fix.into());
    }

    pub(super) fn doubtful(&mut self, field: &str, problem: impl Into<String>, fix: impl Into<String>) {
        self.add(Gravity::Doubtful, field, problem.into(), fix.into());
    }

    pub(super) fn into_found(self) -> Vec<Fault> {
        self.found
    }

    fn add(&mut self, gravity: Gravity, field: &str, problem: String, fix: String) {
        self.found.push(Fault { rule: self.rule.clone(), field: field.to_owned(), problem, fix, gravity });
    }
}
