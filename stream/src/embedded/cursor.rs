//! How far one partition has been handed over, and its next records.

use super::store::{Partition, Store, StoredFrame};
use crate::error::LogError;
use crate::port::{RecordSink, Result, TopicPartition};

/// The place in a partition where reading goes on.
pub(super) struct PartitionCursor {
    pub(super) partition: TopicPartition,
    pub(super) next: u64,
    /// A frame handed over in part.
    frame: Option<StoredFrame>,
    /// Whether `next` is known to be the base of a frame or the end.
    aligned: bool,
}

impl PartitionCursor {
    pub(super) fn new(partition: TopicPartition, next: u64) -> Self {
        Self { partition, next, frame: None, aligned: false }
    }

    /// Hands over what is there. Returns the number of records, and whether a gap was met.
    pub(super) fn read(
        &mut self,
        store: &Store,
        limit: usize,
        sink: &mut dyn RecordSink,
    ) -> Result<(usize, bool)> {
        let topic = store.topic(&self.partition.topic)?;
        let partition = topic.partition(self.partition.partition)?;
        let ends = partition.ends();
        let mut gap = false;
        if self.next < ends.low {
            gap = true;
            self.jump(ends.low, sink);
        }
        if self.next >= ends.high || limit == 0 {
            return Ok((0, gap));
        }
        let mut handed_over = 0;
        if let Some(frame) = self.frame.take() {
            handed_over += self.hand_over(frame, limit, sink)?;
        }
        if self.frame.is_none() && handed_over < limit && self.next < ends.high {
            let from = self.base_of_next(partition)?;
            let mut is_cut_short = false;
            for stored in partition.frames(from, ends.high) {
                let stored = stored?;
                if stored.base > self.next {
                    if topic.is_compacted() {
                        // What is not there any more has a newer record behind it.
                        self.go_on_at(stored.base);
                    } else {
                        gap = true;
                        self.jump(stored.base, sink);
                    }
                }
                handed_over += self.hand_over(stored, limit - handed_over, sink)?;
                // A frame is left where the sink had no room for all of it.
                is_cut_short = handed_over >= limit || self.frame.is_some() || !sink.has_room();
                if is_cut_short {
                    break;
                }
            }
            if !is_cut_short && self.next < ends.high {
                // Nothing is left up to the end: those offsets hold no records.
                gap = true;
                self.jump(ends.high, sink);
            }
        }
        Ok((handed_over, gap))
    }

    fn jump(&mut self, to: u64, sink: &mut dyn RecordSink) {
        sink.gap(&self.partition, self.next, to);
        self.go_on_at(to);
    }

    fn go_on_at(&mut self, to: u64) {
        self.next = to;
        self.frame = None;
        self.aligned = true;
    }

    /// Where to begin to find the record `next`.
    fn base_of_next(&mut self, partition: &Partition) -> Result<u64> {
        if self.aligned {
            return Ok(self.next);
        }
        let holder = partition.frame_at(self.next)?.filter(|stored| stored.base + stored.count > self.next);
        Ok(holder.map_or(self.next, |stored| stored.base))
    }

    fn hand_over(&mut self, stored: StoredFrame, limit: usize, sink: &mut dyn RecordSink) -> Result<usize> {
        let frame = stored.frame()?;
        let first = self.next.saturating_sub(stored.base);
        let last = stored.count.min(first.saturating_add(limit as u64));
        for index in first..last {
            if !sink.has_room() {
                break;
            }
            let record = frame
                .record(index, &self.partition.topic, self.partition.partition, stored.base)
                .ok_or_else(|| LogError::Corrupt {
                    what: format!(
                        "record {} of {}/{} cannot be read",
                        stored.base + index,
                        self.partition.topic,
                        self.partition.partition
                    ),
                    fix: "restore the directory from a backup, or commit a position behind it".into(),
                })?;
            self.next = stored.base + index + 1;
            sink.record(record);
        }
        let reached = self.next.saturating_sub(stored.base);
        self.aligned = reached == stored.count;
        self.frame = (reached < stored.count).then_some(stored);
        Ok(usize::try_from(reached.saturating_sub(first)).unwrap_or(usize::MAX))
    }
}
