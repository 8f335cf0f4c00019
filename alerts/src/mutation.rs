//! Faults that the tests put into the engine on purpose, to show that they would notice. Outside tests there are none:
//! [`mutated`] is then the constant `false`.

/// A fault of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// A value at the threshold counts as above it.
    Comparison,
    /// `for` is over one millisecond too early.
    For,
    /// An alert that fires ends at its threshold, not at its easier one.
    Hysteresis,
    /// `keep_firing_for` is not waited for.
    KeepFiring,
    /// An alert is not muted after it ended.
    Mute,
    /// A restored state has forgotten since when the condition holds.
    RestoredSince,
    /// A restored state has forgotten the window.
    RestoredWindow,
    /// A restored state has forgotten which records it has had.
    RestoredPlace,
    /// A restored state has forgotten until when it is muted.
    RestoredMute,
    /// A restored state has forgotten when the last row came.
    RestoredSilence,
    /// A row that comes too late is counted all the same.
    LateData,
    /// The window is a pane too long.
    WindowLength,
    /// Fewer samples than the least that count are judged.
    MinimumSamples,
    /// Silence is never noticed.
    NoData,
}

#[cfg(test)]
impl Mutation {
    /// Each of them.
    pub(crate) const ALL: [Self; 14] = [
        Self::Comparison,
        Self::For,
        Self::Hysteresis,
        Self::KeepFiring,
        Self::Mute,
        Self::RestoredSince,
        Self::RestoredWindow,
        Self::RestoredPlace,
        Self::RestoredMute,
        Self::RestoredSilence,
        Self::LateData,
        Self::WindowLength,
        Self::MinimumSamples,
        Self::NoData,
    ];
}

/// Whether the fault is in the engine now, in this thread.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn mutated(_: Mutation) -> bool {
    false
}

#[cfg(test)]
pub(crate) use testing::{mutated, with};

#[cfg(test)]
mod testing {
    use std::cell::Cell;

    use super::Mutation;

    thread_local! {
        static CURRENT: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    pub(crate) fn mutated(mutation: Mutation) -> bool {
        CURRENT.get() == Some(mutation)
    }

    /// Runs something with a fault in the engine, or with none.
    pub(crate) fn with<T>(mutation: Option<Mutation>, run: impl FnOnce() -> T) -> T {
        struct Restore(Option<Mutation>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(mutation));
        run()
    }
}
