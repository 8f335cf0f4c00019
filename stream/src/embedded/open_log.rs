//! One open log: what its consumers, its writer and its retention thread share.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use kelly_directory::{Lock, LockError, Space};

use super::config::EmbeddedConfig;
use super::files::Files;
use super::groups::Groups;
use super::queue::Queue;
use super::store::Store;
use super::wake::{Waker, Wakers};
use crate::error::LogError;
use crate::port::Result;

/// The lock of the directory. The store has one of its own, which does not tell who holds it.
const LOCK_FILE: &str = "log.lock";

/// How long the store's own lock is waited for once ours is held: a process that is ending lets go of one after the other.
const STORE_LOCK_DEADLINE: Duration = Duration::from_secs(5);

/// One open log.
pub(super) struct OpenLog {
    pub(super) config: EmbeddedConfig,
    pub(super) queue: Queue,
    pub(super) groups: Groups,
    pub(super) wakers: Wakers,
    /// Called when the retention thread has something to do at once: to end.
    pub(super) retention: Waker,
    /// Tells whether what is written is still found at the next start.
    pub(super) files: Files,
    lock: Mutex<Option<Lock>>,
    /// Lent for the time of one call, so that it can be let go of and opened anew.
    store: RwLock<Option<Arc<Store>>>,
    closed: AtomicBool,
}

impl OpenLog {
    pub(super) fn open(config: EmbeddedConfig) -> Result<Self> {
        config.verify()?;
        make_directory(&config.dir).map_err(|source| LogError::Unavailable {
            doing: format!("make the directory {}", config.dir.display()),
            fix: "check that its parent exists and may be written".into(),
            source: Some(Box::new(source)),
        })?;
        let lock = lock(&config.dir)?;
        let store = open_when_free(&config)?;
        let files = Files::of(&config.dir)?;
        Ok(Self {
            files,
            lock: Mutex::new(Some(lock)),
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
        // A directory that was deleted is not made again: that would be another, empty log.
        self.files.verify()?;
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

    /// Lets go of everything, so that another process can open the directory.
    pub(super) fn let_go(&self) {
        self.discard_store();
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    pub(super) fn refuse_when_disk_is_full(&self) -> Result<()> {
        let dir = &self.config.dir;
        match Space::at(dir) {
            Ok(Space { free, .. }) if free < self.config.min_free_bytes => Err(LogError::Full {
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

/// What the log holds is its owner's alone. A directory that is there keeps its rights.
fn make_directory(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(0o700).create(dir)
}

fn lock(dir: &Path) -> Result<Lock> {
    Lock::acquire(&dir.join(LOCK_FILE)).map_err(|error| match error {
        LockError::InUse { owner } => LogError::Locked { dir: dir.into(), owner },
        error => LogError::Unavailable {
            doing: format!("take the directory {}", dir.display()),
            fix: "check that it may be written, and what holds it".into(),
            source: Some(Box::new(error)),
        },
    })
}

fn open_when_free(config: &EmbeddedConfig) -> Result<Store> {
    let began = Instant::now();
    loop {
        // Each try waits a moment for the lock by itself.
        match Store::open(config) {
            Err(LogError::Locked { .. }) if began.elapsed() < STORE_LOCK_DEADLINE => {}
            outcome => return outcome,
        }
    }
}
