//! What the parts of an embedded log share.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::config::EmbeddedConfig;
use super::groups::Groups;
use super::queue::Queue;
use super::store::Store;
use super::wake::{Waker, Wakers};
use crate::error::LogError;
use crate::port::Result;

/// One open log.
pub(super) struct Shared {
    pub(super) config: EmbeddedConfig,
    pub(super) queue: Queue,
    pub(super) groups: Groups,
    pub(super) wakers: Wakers,
    /// Called when the retention thread has something to do at once: to end.
    pub(super) retention: Waker,
    /// Lent for the time of one call, so that it can be let go of and opened anew.
    store: RwLock<Option<Arc<Store>>>,
    closed: AtomicBool,
}

impl Shared {
    pub(super) fn open(config: EmbeddedConfig) -> Result<Self> {
        config.verify()?;
        let store = Store::open(&config)?;
        Ok(Self {
            queue: Queue::new(config.queue_bytes),
            groups: Groups::default(),
            wakers: Wakers::default(),
            retention: Waker::default(),
            store: RwLock::new(Some(Arc::new(store))),
            closed: AtomicBool::new(false),
            config,
        })
    }

    /// The store, to be let go of before waiting for anything.
    pub(super) fn store(&self) -> Result<Arc<Store>> {
        if self.is_closed() {
            return Err(LogError::Closed);
        }
        self.store.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(|| {
            LogError::Unavailable {
                doing: "use the embedded log".into(),
                fix: "a write failed and the store is opened anew with the next one; see the process's log"
                    .into(),
                source: None,
            }
        })
    }

    /// The store, opened anew if a failed write closed it. For the writer, also while closing.
    pub(super) fn store_for_writing(&self) -> Result<Arc<Store>> {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = store.as_ref() {
            return Ok(store.clone());
        }
        let opened = Arc::new(Store::open(&self.config)?);
        tracing::info!(dir = %self.config.dir.display(), "opened the embedded log anew");
        *store = Some(opened.clone());
        drop(store);
        self.wakers.wake();
        Ok(opened)
    }

    pub(super) fn has_store(&self) -> bool {
        self.store.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn discard_store(&self) {
        self.store.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(super) fn refuse_when_disk_is_full(&self) -> Result<()> {
        let dir = &self.config.dir;
        match free_bytes(dir) {
            Ok(free) if free < self.config.min_free_bytes => Err(LogError::Full {
                what: format!(
                    "the disk is nearly full: {} MiB left, {} MiB are kept free",
                    free >> 20,
                    self.config.min_free_bytes >> 20
                ),
            }),
            Ok(_) => Ok(()),
            Err(error) => {
                // The write itself tells what is wrong.
                tracing::debug!(%error, "could not ask how much of the disk is free");
                Ok(())
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes nothing more. What is in the queue is still written.
    pub(super) fn begin_closing(&self) {
        self.closed.store(true, Ordering::Release);
        self.queue.close();
        self.retention.wake();
        self.wakers.wake();
    }
}

fn free_bytes(dir: &Path) -> std::io::Result<u64> {
    let path = CString::new(dir.as_os_str().as_bytes())?;
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: a C string and room for the answer; it is read only when the call says it was given.
    let found = unsafe {
        if libc::statvfs(path.as_ptr(), found.as_mut_ptr()) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        found.assume_init()
    };
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
