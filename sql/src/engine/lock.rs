//! One directory, one engine.
//!
//! The lock is a `flock` on a file that parent and child both hold open: the system releases it when the last of
//! them is gone, so a new engine cannot start beside one that outlived its parent for a moment.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use super::error::EngineError;
use super::files::Layout;

/// How long to wait for an engine whose parent is gone: it ends within milliseconds.
const ORPHAN_DEADLINE: Duration = Duration::from_secs(15);

/// How often to look whether it has ended.
const ORPHAN_INTERVAL: Duration = Duration::from_millis(20);

/// Takes the lock of a directory.
pub(super) async fn acquire(layout: &Layout) -> Result<File, EngineError> {
    let path = layout.lock();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(EngineError::files("open", &path))?;
    let deadline = tokio::time::Instant::now() + ORPHAN_DEADLINE;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(source)) => return Err(EngineError::files("lock", &path)(source)),
            Err(TryLockError::WouldBlock) => {
                let owner = read_owner(&mut file);
                let alive = owner.is_some_and(is_alive);
                if alive || tokio::time::Instant::now() > deadline {
                    let owner = owner.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                    return Err(EngineError::InUse { dir: layout.root().to_owned(), owner });
                }
                tokio::time::sleep(ORPHAN_INTERVAL).await;
            }
        }
    }
    write_owner(&mut file, &path)?;
    Ok(file)
}

fn read_owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_owner(file: &mut File, path: &Path) -> Result<(), EngineError> {
    let mut write = || {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{}", std::process::id())
    };
    write().map_err(EngineError::files("write", path))
}

fn is_alive(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: signal 0 is never delivered, the call only asks whether the process exists.
    let result = unsafe { libc::kill(pid, 0) };
    // Not permitted to signal it means that it exists.
    result == 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_engine_on_a_directory_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        let held = acquire(&layout).await.unwrap();
        let message = acquire(&layout).await.unwrap_err().to_string();
        assert!(message.contains(&format!("(process {})", std::process::id())), "{message}");
        drop(held);
        acquire(&layout).await.unwrap();
    }
}
