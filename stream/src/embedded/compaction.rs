//! Compacting: of each key the newest record stays.
//!
//! The frames of a partition are rewritten: those records stay that are the newest of their key, each run of neighbours as a frame of
//! its own at its own offset. The newest frame is left as it is, so the end of a partition never moves. A step's removals and its new
//! frames are one write of the store: after a crash a step is done or it is not. Who reads meanwhile has the frames as they were
//! when it looked.

use std::collections::HashMap;

use super::failures::failure;
use super::frame::{Frame, FrameBuilder};
use super::store::{Partition, Store, StoredFrame, Topic};
use crate::error::LogError;
use crate::port::{Record, Result};

/// Bytes appended since the last compaction from which on another one is worth it.
const WORTH_BYTES: u64 = 16 << 20;

/// Bytes of keys that are remembered at most while a partition is compacted. Beyond it, further keys keep all their records until
/// the next time.
const KEY_BYTES: usize = 64 << 20;

/// Bytes of new frames written at once.
const STEP_BYTES: usize = 8 << 20;

/// How long a record without payload stays, so that whoever reads from the beginning meanwhile learns that its key is gone.
const EMPTY_KEPT_MS: i64 = 24 * 3_600 * 1_000;

/// Which partitions are compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// All.
    Always,
    /// Those to which enough was appended since the last time.
    Worth,
}

/// Compacts every topic that is to be compacted.
pub(super) fn run(store: &Store, now_ms: i64, when: When) -> Result<()> {
    for topic in store.all_topics().into_iter().filter(|topic| topic.is_compacted()) {
        for index in 0..topic.count() {
            let partition = topic.partition(index)?;
            let bytes = partition.ends().bytes;
            if when == When::Worth && bytes.saturating_sub(partition.compacted_at()) < WORTH_BYTES {
                continue;
            }
            let removed = Compaction { store, topic: &topic, index, partition, now_ms }.run()?;
            partition.note_compacted(bytes);
            tracing::debug!(topic = &*topic.name, partition = index, removed, "compacted");
        }
    }
    Ok(())
}

struct Compaction<'a> {
    store: &'a Store,
    topic: &'a Topic,
    index: u32,
    partition: &'a Partition,
    now_ms: i64,
}

/// What is written at once.
#[derive(Default)]
struct Step {
    removed: Vec<u64>,
    written: Vec<(u64, Vec<u8>)>,
    bytes: usize,
}

impl Compaction<'_> {
    /// Returns how many records were removed.
    fn run(&self) -> Result<u64> {
        let ends = self.partition.ends();
        let Some(last) = self.partition.last_base()? else { return Ok(0) };
        let newest = self.newest_offsets(ends.high)?;
        let mut step = Step::default();
        let mut removed = 0;
        for stored in self.partition.frames(ends.low, last.min(ends.high)) {
            removed += self.rewrite(&stored?, &newest, &mut step)?;
            if step.bytes >= STEP_BYTES {
                self.write(std::mem::take(&mut step))?;
            }
        }
        self.write(step)?;
        Ok(removed)
    }

    /// The offset of the newest record of each key.
    fn newest_offsets(&self, high: u64) -> Result<HashMap<Box<[u8]>, u64>> {
        let mut newest: HashMap<Box<[u8]>, u64> = HashMap::new();
        let mut bytes = 0;
        for stored in self.partition.frames(0, high) {
            let stored = stored?;
            let frame = stored.frame()?;
            for index in 0..stored.count {
                let Some(key) = self.record(&stored, frame, index)?.key else { continue };
                let offset = stored.base + index;
                if let Some(known) = newest.get_mut(key) {
                    *known = offset;
                } else if bytes + key.len() <= KEY_BYTES {
                    bytes += key.len();
                    newest.insert(key.into(), offset);
                }
            }
        }
        Ok(newest)
    }

    fn rewrite(
        &self,
        stored: &StoredFrame,
        newest: &HashMap<Box<[u8]>, u64>,
        step: &mut Step,
    ) -> Result<u64> {
        let frame = stored.frame()?;
        let is_old = frame.time_ms() < self.now_ms.saturating_sub(EMPTY_KEPT_MS);
        let mut runs: Vec<(u64, FrameBuilder)> = Vec::new();
        let mut stay = 0;
        for index in 0..stored.count {
            let record = self.record(stored, frame, index)?;
            let is_newest =
                record.key.is_none_or(|key| newest.get(key).is_none_or(|newest| *newest == record.offset));
            if !is_newest || (record.key.is_some() && record.payload.is_empty() && is_old) {
                continue;
            }
            stay += 1;
            match runs.last_mut() {
                Some((base, run)) if *base + run.count() == record.offset => {
                    run.push_parts(record.key, record.payload, record.content_type);
                }
                _ => {
                    let mut run = FrameBuilder::new(frame.time_ms(), frame.bytes_before());
                    run.push_parts(record.key, record.payload, record.content_type);
                    runs.push((record.offset, run));
                }
            }
        }
        if stay < stored.count {
            if runs.first().is_none_or(|(base, _)| *base != stored.base) {
                step.removed.push(stored.base);
            }
            for (base, run) in runs {
                let bytes = run.finish();
                step.bytes += bytes.len();
                step.written.push((base, bytes));
            }
            // A frame of which nothing stays counts too, so that a step does not grow without end.
            step.bytes += 64;
        }
        Ok(stored.count - stay)
    }

    fn write(&self, step: Step) -> Result<()> {
        if step.removed.is_empty() && step.written.is_empty() {
            return Ok(());
        }
        let mut batch = self.store.batch();
        for base in step.removed {
            batch.remove(&self.partition.keyspace, base.to_be_bytes());
        }
        for (base, frame) in step.written {
            batch.insert(&self.partition.keyspace, base.to_be_bytes(), frame);
        }
        batch.commit().map_err(|error| {
            failure(self.store.path(), format!("compact {}/{}", self.topic.name, self.index), error)
        })
    }

    fn record<'f>(&'f self, stored: &StoredFrame, frame: Frame<'f>, index: u64) -> Result<Record<'f>> {
        frame.record(index, &self.topic.name, self.index, stored.base).ok_or_else(|| LogError::Corrupt {
            what: format!(
                "record {} of {}/{} cannot be read",
                stored.base + index,
                self.topic.name,
                self.index
            ),
            fix: "restore the directory from a backup, or remove the topic".into(),
        })
    }
}
