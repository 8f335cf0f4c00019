//! Breaks a rule on purpose, in tests: the properties must notice.

/// A rule that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A command counts once, however often it is on the log.
    IdOnce,
    /// A command for another version of an alert is a conflict.
    Expected,
    /// A command that was taken back before it came does nothing.
    Cancel,
    /// An alert is raised once.
    RaisedOnce,
    /// Whoever acknowledged first has it.
    FirstHolds,
    /// What a snapshot holds is all there is.
    SnapshotWhole,
}

#[cfg(test)]
thread_local! {
    static BROKEN: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

/// Whether this rule is broken in this thread.
#[cfg(test)]
pub(crate) fn is(rule: Rule) -> bool {
    BROKEN.get() == Some(rule)
}

/// Never, outside of tests.
#[cfg(not(test))]
pub(crate) const fn is(_: Rule) -> bool {
    false
}

/// Runs `work` with a rule broken.
#[cfg(test)]
pub(crate) fn with<T>(rule: Rule, work: impl FnOnce() -> T) -> T {
    BROKEN.set(Some(rule));
    let outcome = work();
    BROKEN.set(None);
    outcome
}
