//! A task that runs while somebody looks at what it makes, and not at all while nobody does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Live;

/// Whether it runs.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<bool>);

impl Runs {
    /// It is to run from now on: true for whoever is to start it.
    pub(super) fn begin(&self) -> bool {
        !std::mem::replace(&mut *self.lock(), true)
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the task holds while it runs: says that it runs no more, also where it ends by a panic.
pub(super) struct Running {
    live: Arc<Live>,
    runs: fn(&Live) -> &Runs,
    is_told: bool,
}

impl Running {
    pub(super) fn new(live: &Arc<Live>, runs: fn(&Live) -> &Runs) -> Self {
        Self { live: live.clone(), runs, is_told: false }
    }

    /// Whether the task ends because nobody looks.
    pub(super) fn ends(&mut self, nobody_looks: impl FnOnce(&Live) -> bool) -> bool {
        // Under the lock, so that nobody who comes meanwhile believes that it still runs.
        let mut runs = (self.runs)(&self.live).lock();
        if nobody_looks(&self.live) {
            *runs = false;
            self.is_told = true;
        }
        self.is_told
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_told {
            *(self.runs)(&self.live).lock() = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use kelly_live::{Bounds, Hub};

    use super::*;
    use crate::live::LiveSettings;

    #[tokio::test]
    async fn a_task_that_panicked_runs_no_more() {
        let hub = Arc::new(Hub::new(Bounds::default(), "process"));
        let live = Arc::new(Live::new(hub, LiveSettings::default()));
        let of_each: [fn(&Live) -> &Runs; 2] = [|live| live.figures.runs(), |live| live.reading.runs()];
        for runs in of_each {
            assert!(runs(&live).begin() && !runs(&live).begin());
            let running = Running::new(&live, runs);
            let task = tokio::spawn(async move {
                let _running = running;
                panic!("a defect");
            });
            assert!(task.await.unwrap_err().is_panic());
            assert!(runs(&live).begin(), "the next one who looks starts it again");
        }
    }
}
