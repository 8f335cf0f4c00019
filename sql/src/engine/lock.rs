//! One directory, one engine.
//!
//! Parent and child both hold the lock open: the system releases it when the last of them is gone, so a new engine cannot
//! start beside one that outlived its parent for a moment.

use kelly_directory::{Lock, LockError};

use super::error::EngineError;
use super::files::Layout;

/// Takes the lock of a directory. A running owner is an error at once, one that is ending is waited for.
pub(super) async fn acquire(layout: &Layout) -> Result<Lock, EngineError> {
    let (dir, path) = (layout.root().to_owned(), layout.lock());
    let acquired = tokio::task::spawn_blocking(move || Lock::acquire(&path)).await;
    match acquired {
        Ok(Ok(lock)) => Ok(lock),
        Ok(Err(LockError::File { action, path, source })) => Err(EngineError::Files { action, path, source }),
        Ok(Err(source)) => Err(EngineError::InUse { dir, source }),
        Err(error) => {
            Err(EngineError::System { action: "wait for the engine's directory", detail: error.to_string() })
        }
    }
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
