//! Inserts: one Arrow batch, one block, one token.
//!
//! The token makes an insert idempotent only while the server cuts it into the same blocks each time (a token is not
//! split-invariant), so everything that could cut it is pinned here and the batch is sent as a single record batch.

use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;

use crate::client::Store;
use crate::error::{Result, StoreError};
use crate::tables::Table;

/// How long an insert may take before its result counts as unknown and the caller retries it with the same token.
/// It must stay well below the consumer's `max.poll.interval.ms`.
pub const INSERT_DEADLINE: Duration = Duration::from_secs(60);

/// Rows a batch may have. The server is set to take blocks of this size, so that it never cuts one. A metric may become a
/// row in each of the five tiers of the rollups, so this is three million metrics, thrice what closes a batch at the most.
pub const MAX_BATCH_ROWS: usize = 1 << 24;

/// Bytes handed to the connection at once.
const CHUNK_BYTES: usize = 1 << 20;

impl Store {
    /// Writes `batch` into `table`, once for each `token` however often it is called, and returns when it is durable.
    /// The token counts, not the content: a second batch under a token that was used is dropped.
    ///
    /// # Errors
    /// When the batch is not made for the table, or the server did not confirm it.
    pub async fn insert(&self, table: Table, batch: &RecordBatch, token: &str) -> Result<()> {
        check(table, batch)?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.verify_files()?;
        match self.send(table, batch, token).await {
            // Into a directory that is gone: nothing of it is there at the next start.
            Ok(()) => self.verify_files(),
            Err(fault) if fault.is_disk_full() => Err(self.name_the_disk(fault).await),
            sent => sent,
        }
    }

    /// Says where the disk is that has no room: the server's refusal does not.
    async fn name_the_disk(&self, fault: StoreError) -> StoreError {
        let StoreError::Refused { action, message, .. } = fault else { return fault };
        if let Some(directory) = self.directory() {
            return StoreError::DiskFull { action, path: directory.display().to_string(), message };
        }
        let fullest = self
            .outside_database()
            .query("SELECT path FROM system.disks ORDER BY free_space LIMIT 1")
            .fetch_one::<String>();
        let path = self
            .ask("name its disk", fullest)
            .await
            .unwrap_or_else(|_| format!("the data of the server at {}", self.config().url));
        StoreError::DiskFull { action, path, message }
    }

    async fn send(&self, table: Table, batch: &RecordBatch, token: &str) -> Result<()> {
        let body = encode(table, batch)?;
        let action = || format!("insert {} rows into {}", batch.num_rows(), table.name());
        let columns =
            batch.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
        let mut insert = self
            .client()
            .insert_formatted_with(format!(
                "INSERT INTO {}.{} ({columns}) FORMAT ArrowStream",
                self.config().database,
                table.name()
            ))
            .with_timeouts(Some(INSERT_DEADLINE), Some(INSERT_DEADLINE))
            .with_setting("insert_deduplication_token", token);
        for (name, value) in settings() {
            insert = insert.with_setting(name, value);
        }
        if self.config().inserts_yield {
            insert = insert.with_setting("os_threads_nice_value_query", INSERTS_NICE.to_string());
        }
        for start in (0..body.len()).step_by(CHUNK_BYTES) {
            let chunk = body.slice(start..body.len().min(start + CHUNK_BYTES));
            insert.send(chunk).await.map_err(|error| StoreError::query(action(), error))?;
        }
        insert.end().await.map_err(|error| StoreError::query(action(), error))
    }
}

/// Priority of an insert's thread: behind questions and acknowledgements, for which somebody waits, and before merges.
const INSERTS_NICE: i32 = 5;

/// The settings of every insert, whatever the server's profile says.
fn settings() -> [(&'static str, String); 14] {
    [
        ("async_insert", "0".into()),
        ("insert_deduplicate", "1".into()),
        // Since 26.2 it overrides the one above; both need a server of 26.7 or later, which is what we support.
        ("deduplicate_insert", "enable".into()),
        ("max_insert_block_size", MAX_BATCH_ROWS.to_string()),
        ("max_insert_block_size_bytes", "0".into()),
        ("use_strict_insert_block_limits", "0".into()),
        ("min_insert_block_size_rows", "0".into()),
        ("min_insert_block_size_bytes", "0".into()),
        ("max_insert_threads", "1".into()),
        ("input_format_parallel_parsing", "0".into()),
        // Rows of one block of rollups have different keys: to look for equal ones costs a third of such an insert. Of
        // `activity_first_seen` some may be equal; a merge takes the least of them as a question does.
        ("optimize_on_insert", "0".into()),
        // A column left out would be filled in silently.
        ("input_format_arrow_allow_missing_columns", "0".into()),
        // A batch refused for its partitions could never be written; what bounds them is the decoder's bound on time.
        ("max_partitions_per_insert_block", "0".into()),
        ("max_execution_time", INSERT_DEADLINE.as_secs().to_string()),
    ]
}

fn check(table: Table, batch: &RecordBatch) -> Result<()> {
    let wrong = |detail| Err(StoreError::WrongBatch { table: table.name(), detail });
    if batch.num_rows() > MAX_BATCH_ROWS {
        return wrong(format!("{} rows, at most {MAX_BATCH_ROWS} go into one block", batch.num_rows()));
    }
    let expected = table.arrow_schema();
    let found = batch.schema();
    if expected.fields() == found.fields() {
        return Ok(());
    }
    let difference = expected.fields().iter().zip(found.fields()).find(|(expected, found)| expected != found);
    match difference {
        Some((expected, found)) => wrong(format!("expected {expected:?}, found {found:?}")),
        None => {
            wrong(format!("expected {} columns, found {}", expected.fields().len(), found.fields().len()))
        }
    }
}

fn encode(table: Table, batch: &RecordBatch) -> Result<Bytes> {
    let unwritable = |error: arrow_schema::ArrowError| StoreError::WrongBatch {
        table: table.name(),
        detail: error.to_string(),
    };
    let mut writer =
        StreamWriter::try_new(Vec::with_capacity(batch.get_array_memory_size() + 4096), &batch.schema())
            .map_err(unwritable)?;
    writer.write(batch).map_err(unwritable)?;
    writer.into_inner().map(Bytes::from).map_err(unwritable)
}
