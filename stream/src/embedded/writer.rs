//! The one thread that writes: it gathers what waits, writes it as one batch, syncs, and only then
//! answers. Appends and commits share their syncs.
//!
//! An append that is refused before the write is not on the log. One whose write failed may be: the
//! store writes its journal before it syncs it, and what is there is read back when it is opened
//! anew. So such an append is answered [`LogError::Unknown`], never "nothing was taken".

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::frame::FrameBuilder;
use super::group::Group;
use super::keys::Ends;
use super::open_log::OpenLog;
use super::queue::{Append, Committing, Job};
use super::store::{Store, Topic};
use crate::error::LogError;
use crate::port::{Position, Result};

/// A frame is closed when its records reach this: bounds what reading one record may load.
const FRAME_BYTES: usize = 1024 * 1024;

/// How long after a failure the store is tried again when nobody asks for it.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);

/// Writes until the queue is closed and empty. Opens the store anew when a failed write closed it.
pub(super) fn run(log: &OpenLog) {
    let mut try_again = None;
    let mut reported = None;
    while let Some(jobs) = log.queue.take_group(try_again) {
        try_again = match log.store_for_writing() {
            Ok(store) => {
                reported = None;
                write(log, store, jobs);
                // A failed write has closed it: that is tried at once.
                (!log.has_store()).then(Instant::now)
            }
            Err(error) => {
                let error = of_opening_anew(error);
                if is_news(&mut reported, &error) {
                    tracing::error!(%error, "the embedded log could not be opened anew; it is tried again");
                }
                let (appends, commits) = sort(jobs);
                refuse(appends, commits, &error);
                Some(Instant::now() + REOPEN_INTERVAL)
            }
        };
    }
}

/// Opening anew finds the directory held while a reader has not let go of the store of before: that
/// passes, and is no reason to end as another process's hold is at the start.
fn of_opening_anew(error: LogError) -> LogError {
    match error {
        LogError::Locked { dir, .. } => LogError::Unavailable {
            doing: "open the embedded log anew".into(),
            fix: format!(
                "{} is still held, by a reader that is about to let go of it; if this stays, see whether \
                 another process uses it",
                dir.display()
            ),
            source: None,
        },
        other => other,
    }
}

/// Each reason is reported once, however often it occurs again.
fn is_news(reported: &mut Option<String>, error: &LogError) -> bool {
    let reason = Some(error.to_string());
    let is_news = *reported != reason;
    *reported = reason;
    is_news
}

fn sort(jobs: Vec<Job>) -> (Vec<Append>, Vec<Committing>) {
    let mut appends = Vec::new();
    let mut commits = Vec::new();
    for job in jobs {
        match job {
            Job::Append(append) => appends.push(append),
            Job::Commit(commit) => commits.push(commit),
        }
    }
    (appends, commits)
}

fn write(log: &OpenLog, store: Arc<Store>, jobs: Vec<Job>) {
    let (mut appends, commits) = sort(jobs);
    // Commits need no room to speak of, and refusing them would stop what empties the log.
    if !appends.is_empty()
        && let Err(error) = log.files.verify().and_then(|()| log.refuse_when_disk_is_full())
    {
        refuse(std::mem::take(&mut appends), Vec::new(), &error);
    }

    let now_ms = (log.config.clock)();
    let mut batch = store.batch();
    let mut frames = Frames { now_ms, partitions: BTreeMap::new() };
    let mut accepted_appends = Vec::with_capacity(appends.len());
    for append in appends {
        match frames.add(&store, &append) {
            Ok(positions) => accepted_appends.push((append, positions)),
            Err(error) => answer(append, Err(error)),
        }
    }
    let advanced = frames.insert_into(&mut batch);

    let groups: BTreeMap<String, Arc<_>> =
        commits.iter().map(|commit| (commit.group.name.clone(), commit.group.clone())).collect();
    // Only this thread ever holds more than one of them.
    let locked: HashMap<&str, MutexGuard<'_, Group>> =
        groups.iter().map(|(name, group)| (name.as_str(), group.lock())).collect();
    let mut accepted_commits = Vec::with_capacity(commits.len());
    for commit in commits {
        match check(&commit, locked.get(commit.group.name.as_str())) {
            Ok(()) => {
                for one in &commit.commits {
                    let position = (one.offset, one.metadata.as_str());
                    store.put_position(&mut batch, &commit.group.name, &one.partition, position);
                }
                accepted_commits.push(commit);
            }
            Err(error) => reply(commit, Err(error)),
        }
    }

    let outcome = batch.commit();
    drop(locked);
    // Right before the answers: what lies in a file that was deleted is not there at the next start. Readers still have it,
    // and with the commits they save it into the store, so it is shown to them. A commit that was written is where the
    // records are: wherever they come back, it does.
    let found = log.files.verify();
    match outcome {
        Ok(()) => {
            for (topic, index, ends) in advanced {
                if let Some(partition) = topic.partitions.get(index as usize) {
                    partition.advance(ends);
                }
            }
            let woken = !accepted_appends.is_empty();
            for (append, positions) in accepted_appends {
                answer(append, if found.is_ok() { Ok(positions) } else { Err(written_to_deleted_files()) });
            }
            for commit in accepted_commits {
                reply(commit, Ok(()));
            }
            if woken {
                log.wakers.wake();
            }
        }
        Err(error) if found.is_err() => {
            // It cannot be opened anew, and what it still has may be read.
            tracing::error!(%error, "writing to the embedded log failed after its files were deleted or moved");
            for (append, _) in accepted_appends {
                answer(append, Err(written_to_deleted_files()));
            }
            // No position in a deleted log is ever needed again. One that was moved may be put back, and would give the
            // records after its last position out a second time: there, nothing goes on beyond that position.
            let deleted = log.files.are_deleted();
            for commit in accepted_commits {
                reply(commit, if deleted { Ok(()) } else { Err(not_written_to_moved_files()) });
            }
        }
        Err(error) => {
            // The store says so of a batch it did not begin to write.
            let began = !matches!(error, fjall::Error::Poisoned);
            let cause = match error {
                fjall::Error::Io(error) => error.to_string(),
                error => error.to_string(),
            };
            tracing::error!(error = cause, "writing to the embedded log failed; it is opened anew");
            // The store takes no more writes after a failed one; what it had is read back.
            // The topics hold handles that must go before it can be opened anew.
            drop((advanced, store));
            log.discard_store();
            for (append, _) in accepted_appends {
                answer(append, Err(if began { perhaps_written(&cause) } else { refused_for_now(&cause) }));
            }
            // Repeating a commit does no harm, so it is not asked whether it is there.
            for commit in accepted_commits {
                reply(commit, Err(refused_for_now(&cause)));
            }
        }
    }
}

fn check(commit: &Committing, group: Option<&MutexGuard<'_, Group>>) -> Result<()> {
    for one in &commit.commits {
        if !group.is_some_and(|group| group.owns(&one.partition, one.epoch)) {
            return Err(LogError::fenced(&one.partition, one.epoch));
        }
    }
    Ok(())
}

/// Frames being filled, by partition, in the order of their offsets.
struct Frames {
    now_ms: i64,
    partitions: BTreeMap<(Arc<str>, u32), Filling>,
}

struct Filling {
    topic: Arc<Topic>,
    /// The partition's ends once everything here is durable.
    ends: Ends,
    open: FrameBuilder,
    /// Base of the open frame.
    base: u64,
    closed: Vec<(u64, Vec<u8>)>,
}

impl Frames {
    fn add(&mut self, store: &Store, append: &Append) -> Result<Vec<Position>> {
        // All or nothing: an append is refused before any of its records is placed.
        for record in &append.records {
            store.topic(&record.topic)?.partition(record.partition.unwrap_or_default())?;
        }
        let mut positions = Vec::with_capacity(append.records.len());
        for record in &append.records {
            let index = record.partition.unwrap_or_default();
            let filling = match self.partitions.entry((record.topic.clone(), index)) {
                std::collections::btree_map::Entry::Occupied(found) => found.into_mut(),
                std::collections::btree_map::Entry::Vacant(vacant) => {
                    let topic = store.topic(&record.topic)?;
                    let mut ends = topic.partition(index)?.ends();
                    // Log time never goes back, whatever the clock does.
                    ends.last_time_ms = ends.last_time_ms.max(self.now_ms);
                    let open = FrameBuilder::new(ends.last_time_ms, ends.bytes);
                    vacant.insert(Filling { topic, ends, open, base: ends.high, closed: Vec::new() })
                }
            };
            positions.push(Position { partition: index, offset: filling.ends.high });
            filling.open.push(record);
            filling.ends.high += 1;
            if filling.open.record_bytes() >= FRAME_BYTES {
                filling.close_frame();
            }
        }
        Ok(positions)
    }

    fn insert_into(self, batch: &mut fjall::OwnedWriteBatch) -> Vec<(Arc<Topic>, u32, Ends)> {
        let mut advanced = Vec::with_capacity(self.partitions.len());
        for ((_, index), mut filling) in self.partitions {
            filling.close_frame();
            if let Some(partition) = filling.topic.partitions.get(index as usize) {
                for (base, frame) in filling.closed {
                    batch.insert(&partition.keyspace, base.to_be_bytes(), frame);
                }
            }
            advanced.push((filling.topic, index, filling.ends));
        }
        advanced
    }
}

impl Filling {
    fn close_frame(&mut self) {
        if self.open.count() == 0 {
            return;
        }
        let after = self.open.bytes_after();
        let full = std::mem::replace(&mut self.open, FrameBuilder::new(self.ends.last_time_ms, after));
        self.closed.push((self.base, full.finish()));
        self.base = self.ends.high;
        self.ends.bytes = after;
    }
}

fn refuse(appends: Vec<Append>, commits: Vec<Committing>, error: &LogError) {
    for append in appends {
        answer(append, Err(again(error)));
    }
    for commit in commits {
        reply(commit, Err(again(error)));
    }
}

/// For an append whose write began and failed.
fn perhaps_written(cause: &str) -> LogError {
    LogError::Unknown {
        doing: "append records to the embedded log, whose disk failed meanwhile".into(),
        source: Some(cause.into()),
    }
}

/// For an append whose files were gone when it was to be answered: readers may still save it.
fn written_to_deleted_files() -> LogError {
    LogError::Unknown {
        doing: "append records to the embedded log, whose files were deleted meanwhile".into(),
        source: None,
    }
}

/// For a commit that was not written, of a log that may be put back with its position of before.
fn not_written_to_moved_files() -> LogError {
    LogError::Unavailable {
        doing: "commit a position to the embedded log, whose files were moved or replaced meanwhile".into(),
        fix: "put them back, and it is tried again by itself".into(),
        source: None,
    }
}

/// For what is known not to be written, or may be repeated whether it is or not.
fn refused_for_now(cause: &str) -> LogError {
    LogError::Unavailable {
        doing: "write to the embedded log".into(),
        fix: "a write failed and the log is opened anew by itself; check its disk if this stays".into(),
        source: Some(cause.into()),
    }
}

/// The same error for another caller; the cause goes to the log once and is not copied.
fn again(error: &LogError) -> LogError {
    match error {
        LogError::Full { what } => LogError::Full { what: what.clone() },
        LogError::Closed => LogError::Closed,
        LogError::Removed { what } => LogError::Removed { what: what.clone() },
        LogError::Corrupt { what, fix } => LogError::Corrupt { what: what.clone(), fix: fix.clone() },
        LogError::Unavailable { doing, fix, .. } => {
            LogError::Unavailable { doing: doing.clone(), fix: fix.clone(), source: None }
        }
        other => LogError::Unavailable {
            doing: "write to the embedded log".into(),
            fix: format!("see the process's log ({other})"),
            source: None,
        },
    }
}

fn answer(append: Append, outcome: Result<Vec<Position>>) {
    // The caller may have gone; the records are on the log all the same.
    let _ = append.reply.send(outcome);
}

fn reply(commit: Committing, outcome: Result<()>) {
    let _ = commit.reply.send(outcome);
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;

    use super::*;
    use crate::embedded::EmbeddedConfig;
    use crate::port::{Commit, Retention, TopicPartition, TopicSpec};

    /// What a commit is answered that cannot be written, after `lose` did something to the directory.
    fn answer_to_a_failed_commit(lose: impl FnOnce(&Path)) -> Result<()> {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("log");
        let log = OpenLog::open(EmbeddedConfig::new(&dir)).unwrap();
        let store = log.store().unwrap();
        let topic = TopicSpec { name: "t".into(), partitions: 1, retention: Retention::default() };
        store.ensure_topic(&topic).unwrap();
        let partition = TopicPartition { topic: "t".into(), partition: 0 };
        let group = log.groups.get("g");
        let member = group.lock().join(vec!["t".into()], std::slice::from_ref(&partition), Instant::now());
        let epoch = group.lock().reconcile(member).assigned[0].1;
        lose(&dir);
        // The store fails when it is to write a file besides its open journal.
        let text = "x".repeat(1 << 16);
        let fails = (0..10_000).any(|offset| {
            let mut batch = store.batch();
            store.put_position(&mut batch, "other", &partition, (offset, &text));
            batch.commit().is_err()
        });
        assert!(fails, "the store takes everything");
        drop(store);
        let (reply, answer) = mpsc::sync_channel(1);
        let commits = vec![Commit { partition, epoch, offset: 0, metadata: String::new() }];
        log.queue.push(Job::Commit(Committing { group, commits, reply })).unwrap();
        log.queue.close();
        run(&log);
        answer.recv().unwrap()
    }

    #[test]
    fn a_failed_commit_is_answered_by_whether_the_log_can_come_back() {
        let moved =
            answer_to_a_failed_commit(|dir| std::fs::rename(dir, dir.with_extension("aside")).unwrap());
        assert!(matches!(moved, Err(LogError::Unavailable { .. })), "{moved:?}");
        answer_to_a_failed_commit(|dir| std::fs::remove_dir_all(dir).unwrap()).unwrap();
    }

    #[test]
    fn a_reader_that_holds_the_store_delays_its_opening_anew_and_ends_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let log = OpenLog::open(EmbeddedConfig::new(directory.path().join("log"))).unwrap();
        let held = log.store().unwrap();
        log.discard_store();
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        log.queue.push(Job::Append(Append { records: Vec::new(), reply })).unwrap();
        log.queue.close();
        run(&log);
        let refused = answer.try_recv().unwrap();
        assert!(matches!(refused, Err(LogError::Unavailable { .. })), "{refused:?}");
        drop(held);
        log.store_for_writing().unwrap();
    }

    #[test]
    fn a_reason_is_reported_when_it_changes() {
        let full = |what: &str| LogError::Full { what: what.into() };
        let mut reported = None;
        let news: Vec<bool> =
            ["a", "a", "b", "b", "a"].iter().map(|what| is_news(&mut reported, &full(what))).collect();
        assert_eq!(news, [true, false, true, false, true]);
    }
}
