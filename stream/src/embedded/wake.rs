//! Waking those who wait for records: no polling, no sleeping.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Instant;

/// What one waiting consumer sleeps on.
#[derive(Debug, Default)]
pub(super) struct Waker {
    calls: Mutex<u64>,
    called: Condvar,
}

impl Waker {
    /// How often it was called; to be read before looking for something to do.
    pub(super) fn calls(&self) -> u64 {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake(&self) {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.called.notify_all();
    }

    /// Waits until it has been called since `seen`; `false` when the deadline came first.
    pub(super) fn wait(&self, seen: u64, deadline: Instant) -> bool {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if *calls != seen {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            calls = self.called.wait_timeout(calls, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// All consumers of a log. One that is gone is forgotten at the next call.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    all: Mutex<Vec<Weak<Waker>>>,
}

impl Wakers {
    pub(super) fn add(&self) -> Arc<Waker> {
        let waker = Arc::new(Waker::default());
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&waker));
        waker
    }

    pub(super) fn wake(&self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).retain(|waker| match waker.upgrade() {
            Some(waker) => {
                waker.wake();
                true
            }
            None => false,
        });
    }
}
