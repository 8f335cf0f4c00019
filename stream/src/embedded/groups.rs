//! The consumer groups of a log, shared by their members and the writer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::group::Group;

/// A group under its lock. The writer holds it while it checks and writes commits, so an assignment
/// cannot end between the check and the write.
#[derive(Debug, Default)]
pub(super) struct LockedGroup {
    pub(super) name: String,
    state: Mutex<Group>,
    /// Counts changes, so that a member sees without the lock whether there is anything to do.
    changes: AtomicU64,
}

impl LockedGroup {
    pub(super) fn lock(&self) -> MutexGuard<'_, Group> {
        // A panic under the lock can only come from a broken allocation; the maps stay whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }
}

/// All groups, by name. A group without members costs a few bytes and stays.
#[derive(Debug, Default)]
pub(super) struct Groups {
    all: Mutex<HashMap<String, Arc<LockedGroup>>>,
}

impl Groups {
    pub(super) fn get(&self, name: &str) -> Arc<LockedGroup> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(LockedGroup { name: name.to_owned(), ..LockedGroup::default() });
        all.entry(name.to_owned()).or_insert_with(make).clone()
    }
}
