//! What was read of the retentions, kept for a bounded time, so that another role's change is seen.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::Retentions;
use crate::client::Store;
use crate::error::Result;

/// Who acts upon the retentions reads them again after so long at most.
pub const RETENTION_READ_EVERY: Duration = Duration::from_secs(5);

/// The retentions as they were read last.
#[derive(Debug, Default)]
pub struct RetentionReader {
    /// Held while they are read: who asks meanwhile waits for the same answer.
    read: Mutex<Option<(Instant, Retentions)>>,
}

impl RetentionReader {
    /// What the store keeps, as it was [`RETENTION_READ_EVERY`] ago at most.
    ///
    /// # Errors
    /// When they must be read and the store does not answer.
    pub async fn get(&self, store: &Store) -> Result<Retentions> {
        let mut read = self.read.lock().await;
        if let Some((at, retentions)) = &*read
            && at.elapsed() < RETENTION_READ_EVERY
        {
            return Ok(retentions.clone());
        }
        let at = Instant::now();
        let retentions = store.retentions().await?;
        *read = Some((at, retentions.clone()));
        Ok(retentions)
    }
}
