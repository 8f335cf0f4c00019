//! Removing what is old or too much, at an interval; and compacting.

use std::time::Instant;

use super::compaction;
use super::failures::failure;
use super::open_log::OpenLog;
use super::store::{Partition, Store};
use crate::port::{Result, Retention};

/// Runs at the configured interval until the log is closed.
pub(super) fn run(log: &OpenLog) {
    loop {
        let seen = log.retention.calls();
        if log.is_closed() {
            return;
        }
        match log.files.verify().and_then(|()| log.store()) {
            Ok(store) => {
                let now_ms = (log.config.clock)();
                if let Err(error) = enforce(&store, now_ms) {
                    tracing::error!(%error, "removing old records failed; tried again at the next interval");
                }
                if let Err(error) = compaction::run(&store, now_ms, compaction::When::Worth) {
                    tracing::error!(%error, "compacting failed; tried again at the next interval");
                }
            }
            Err(error) => tracing::debug!(%error, "retention has no store to work on"),
        }
        log.retention.wait(seen, Instant::now() + log.config.retention_interval);
    }
}

/// Moves the low watermarks to where retention wants them.
pub(super) fn enforce(store: &Store, now_ms: i64) -> Result<()> {
    for topic in store.all_topics() {
        let retention = topic.retention();
        if retention == Retention::default() {
            continue;
        }
        for index in 0..topic.count() {
            let partition = topic.partition(index)?;
            let low = horizon(partition, retention, now_ms)?;
            if low > partition.ends().low {
                store.raise_low(&topic, index, low).map_err(|error| {
                    failure(store.path(), format!("remove old records of {}/{index}", topic.name), error)
                })?;
                tracing::debug!(topic = &*topic.name, partition = index, low, "removed old records");
            }
        }
    }
    Ok(())
}

/// The base of the first frame to be kept, or the end. Time and bytes only grow along a partition,
/// so it is found by halving: a few frames are read, however many go.
fn horizon(partition: &Partition, retention: Retention, now_ms: i64) -> Result<u64> {
    let ends = partition.ends();
    let oldest_ms =
        retention.time.map(|time| now_ms.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)));
    let (mut low, mut high) = (ends.low, ends.high);
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(stored) = partition.frame_at(middle)? else {
            low = middle + 1;
            continue;
        };
        let frame = stored.frame()?;
        let too_old = oldest_ms.is_some_and(|oldest| frame.time_ms() < oldest);
        let too_much =
            retention.bytes.is_some_and(|most| ends.bytes.saturating_sub(frame.bytes_after()) >= most);
        if too_old || too_much {
            // Past a hole in the offsets the frame found may end before the middle.
            low = (stored.base + stored.count).max(middle + 1);
        } else {
            high = stored.base.max(low);
        }
    }
    Ok(low.min(ends.high))
}
