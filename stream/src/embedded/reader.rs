//! A reader of a whole topic of the embedded log, in no group.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cursor::PartitionCursor;
use super::open_log::OpenLog;
use super::wake::Waker;
use crate::error::LogError;
use crate::port::{Reader, ReaderSpec, RecordSink, Result, TopicPartition};

/// Reads partitions from given offsets on.
pub(super) struct EmbeddedReader {
    log: Arc<OpenLog>,
    waker: Arc<Waker>,
    partitions: Vec<PartitionCursor>,
    /// Where the next poll begins, so that a busy partition does not starve the others.
    turn: usize,
}

impl EmbeddedReader {
    pub(super) fn open(log: Arc<OpenLog>, spec: ReaderSpec) -> Result<Self> {
        let topic = log.store()?.topic(&spec.topic)?;
        let mut partitions = Vec::with_capacity(spec.offsets.len());
        for (next, number) in spec.offsets.into_iter().zip(0..) {
            // Refuses one that is not there.
            topic.partition(number)?;
            partitions.push(PartitionCursor::new(
                TopicPartition { topic: topic.name.clone(), partition: number },
                next,
            ));
        }
        let waker = log.wakers.add();
        Ok(Self { log, waker, partitions, turn: 0 })
    }

    /// Hands over what is there. Returns the number of records, and whether a gap was met.
    fn read(&mut self, max_records: usize, sink: &mut dyn RecordSink) -> Result<(usize, bool)> {
        let store = self.log.store()?;
        let (mut handed_over, mut gaps) = (0, false);
        let (first, count) = (self.turn, self.partitions.len());
        for step in 0..count {
            if handed_over >= max_records || !sink.has_room() {
                break;
            }
            let index = (first + step) % count;
            let cursor = &mut self.partitions[index];
            let (topic, partition) = (cursor.partition.topic.clone(), cursor.partition.partition);
            let high = store.topic(&topic)?.partition(partition)?.watermarks().high;
            if cursor.next > high {
                return Err(LogError::ends_before(&cursor.partition, cursor.next, high));
            }
            let (records, gap) = cursor.read(&store, max_records - handed_over, sink)?;
            handed_over += records;
            gaps |= gap;
            self.turn = index + 1;
        }
        Ok((handed_over, gaps))
    }
}

impl Reader for EmbeddedReader {
    fn poll(&mut self, max_wait: Duration, max_records: usize, sink: &mut dyn RecordSink) -> Result<usize> {
        let deadline = Instant::now() + max_wait;
        loop {
            let calls = self.waker.calls();
            if self.log.is_closed() {
                return Err(LogError::Closed);
            }
            let (handed_over, gaps) = self.read(max_records, sink)?;
            if handed_over > 0 || gaps || !sink.has_room() {
                return Ok(handed_over);
            }
            if !self.waker.wait(calls, deadline) {
                return Ok(0);
            }
        }
    }
}
