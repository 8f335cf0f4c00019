//! Makes what a lane says durable, in its order: changes of alerts are decided, rows are on the log, states are stored, the
//! position is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kelly_alerts::builtin::{EXCESSIVE_VOLUME, raised_row};
use kelly_alerts::{Cause, Change, Place as RowPlace, Transition};
use kelly_control::{Recorded, Verdict};
use kelly_schemas::error_chain;
use kelly_stream::{Commit, Committer, Log, LogError, NewRecord, TopicPartition};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::backoff::Backoff;
use crate::context::Clock;
use crate::decide::{ControlLog, Decided, Undecided, decide};
use crate::place::{GLOBAL_ROWS, Place};
use crate::row::Rows;
use crate::stats::{EvaluatorStats, add};

/// Changes of alerts that wait for the control log at once, of one lane.
const DECIDED_AT_ONCE: usize = 64;

/// Bytes appended at once.
const APPEND_BYTES: usize = 2 << 20;

/// How often alerts that were put off are put again.
const PUT_AGAIN: Duration = Duration::from_secs(30);

/// Alerts that are put off at most, of one lane: at it a further one is dropped until the next start, and that is logged.
const MOST_PUT_OFF: usize = 10_000;

/// Something to make durable.
#[derive(Debug)]
pub(crate) enum Item {
    /// Changes of alerts, in their order.
    Transitions(Vec<Transition>),
    /// Rows for other engines, or states.
    Records(Vec<NewRecord>),
    /// States follow: only if the partition is still this lane's.
    StillOurs,
    /// Everything before this offset is judged.
    Commit(u64),
    /// Everything of a saving was before it.
    Saved,
}

impl Item {
    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Transitions(transitions) => transitions.len() * 1_024,
            Self::Records(records) => records.iter().map(bytes_of).sum(),
            Self::StillOurs | Self::Commit(_) | Self::Saved => 0,
        }
    }
}

fn bytes_of(record: &NewRecord) -> usize {
    record.payload.len() + record.key.as_ref().map_or(0, |key| key.len()) + 128
}

/// What a courier and its lane both look at.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Bytes of items that wait.
    pub(crate) waiting: AtomicUsize,
    /// How many savings are done.
    pub(crate) saved: AtomicU64,
}

/// What a courier needs.
pub(crate) struct Courier {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) control: Arc<dyn ControlLog>,
    pub(crate) committer: Arc<dyn Committer>,
    pub(crate) stats: Arc<EvaluatorStats>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) place: Place,
    pub(crate) partition: TopicPartition,
    pub(crate) epoch: u64,
    pub(crate) rows_topic: Arc<str>,
    pub(crate) committed: Option<u64>,
    pub(crate) given_up: CancellationToken,
    pub(crate) clock: Clock,
}

/// The lane is another one's, or was given up.
struct Over;

impl Courier {
    /// Works until the lane lets go of its end, or is given up.
    pub(crate) async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        let mut put_off = BTreeMap::new();
        let mut put_again_at = Instant::now() + PUT_AGAIN;
        loop {
            let item = tokio::select! {
                () = self.given_up.cancelled() => return,
                item = items.recv() => item,
                () = tokio::time::sleep_until(put_again_at), if !put_off.is_empty() => {
                    put_again_at = Instant::now() + PUT_AGAIN;
                    if self.put_again(&mut put_off).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            let Some(item) = item else { return };
            let bytes = item.bytes();
            let outcome = match item {
                Item::Transitions(transitions) => self.decide_all(transitions, &mut put_off).await,
                Item::Records(records) => self.append(records).await,
                Item::StillOurs => match self.committed {
                    Some(offset) => self.commit(offset).await,
                    None => Ok(()),
                },
                Item::Commit(offset) => self.commit(offset).await,
                Item::Saved => {
                    self.shared.saved.fetch_add(1, Ordering::AcqRel);
                    Ok(())
                }
            };
            self.shared.waiting.fetch_sub(bytes, Ordering::AcqRel);
            if outcome.is_err() {
                return;
            }
        }
    }

    /// Changes of one alert one after the other, of different ones beside each other.
    async fn decide_all(
        &self,
        transitions: Vec<Transition>,
        put_off: &mut BTreeMap<Uuid, Undecided>,
    ) -> Result<(), Over> {
        let mut rest = transitions.into_iter().peekable();
        while rest.peek().is_some() {
            let mut alerts = BTreeSet::new();
            let mut together = Vec::new();
            while together.len() < DECIDED_AT_ONCE
                && let Some(next) = rest.next_if(|next| alerts.insert(next.alert))
            {
                match put_off.get_mut(&next.alert) {
                    // The log has not heard of it yet: what it would have to hear is how it is now.
                    Some(waiting) if !matches!(next.change, Change::Resolved(_)) => {
                        waiting.transition = Transition { change: Change::Raised, ..next };
                    }
                    Some(_) => drop(put_off.remove(&next.alert)),
                    None => together.push(Undecided { transition: next, attempt: 0 }),
                }
            }
            self.decide_together(together, put_off).await?;
        }
        Ok(())
    }

    async fn decide_together(
        &self,
        together: Vec<Undecided>,
        put_off: &mut BTreeMap<Uuid, Undecided>,
    ) -> Result<(), Over> {
        let mut deciding: FuturesUnordered<_> = together
            .into_iter()
            .map(|mut undecided| async move {
                let decided = decide(&*self.control, &mut undecided, &self.stats, &self.given_up).await;
                (undecided, decided)
            })
            .collect();
        let mut raised = Vec::new();
        while let Some((undecided, decided)) = deciding.next().await {
            match decided {
                Decided::Done(recorded) => {
                    if counts_as_raised(&undecided.transition, &recorded) {
                        raised.push(recorded.at);
                    }
                }
                Decided::PutOff if put_off.len() < MOST_PUT_OFF => {
                    put_off.insert(undecided.transition.alert, undecided);
                }
                Decided::PutOff => {
                    tracing::error!(
                        alert = %undecided.transition.alert,
                        rule = undecided.transition.rule,
                        "an alert is not shown: as many alerts are open as can be, and as many wait"
                    );
                    add(&self.stats.dropped, 1);
                }
                Decided::Dropped => {}
                Decided::GivenUp => return Err(Over),
            }
        }
        self.stats.put_off.store(put_off.len() as u64, Ordering::Relaxed);
        self.tell_raised(raised).await
    }

    async fn put_again(&self, put_off: &mut BTreeMap<Uuid, Undecided>) -> Result<(), Over> {
        let again: Vec<Undecided> = std::mem::take(put_off).into_values().collect();
        let mut again = again.into_iter().peekable();
        while again.peek().is_some() {
            let together = again.by_ref().take(DECIDED_AT_ONCE).collect();
            self.decide_together(together, put_off).await?;
        }
        Ok(())
    }

    /// Each alert that was raised is a row for the rule that counts alerts, under its place on the control log.
    async fn tell_raised(&self, mut raised: Vec<kelly_control::Position>) -> Result<(), Over> {
        raised.sort_unstable_by_key(|at| at.offset);
        let mut rows = Rows::default();
        for at in raised {
            let offset = i64::try_from(at.offset).unwrap_or(i64::MAX);
            let place = RowPlace { partition: self.place.raises(), offset, row: 0 };
            rows.push(GLOBAL_ROWS, place, &raised_row(at.log_time_ms));
        }
        self.append(rows.take(&self.rows_topic)).await
    }

    /// Appends until it is done. What is appended twice does no harm: rows have their places, states their keys.
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), Over> {
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let mut bytes = 0;
            let mut some = Vec::new();
            while bytes < APPEND_BYTES
                && let Some(record) = records.next()
            {
                bytes += bytes_of(&record);
                some.push(record);
            }
            let mut backoff = Backoff::default();
            loop {
                let appended = tokio::select! {
                    appended = self.log.append(some.clone()) => appended,
                    () = self.given_up.cancelled() => return Err(Over),
                };
                let Err(error) = appended else { break };
                self.stats.failed(&error_chain(&error));
                if !backoff.wait(&self.given_up).await {
                    return Err(Over);
                }
            }
        }
        Ok(())
    }

    async fn commit(&mut self, offset: u64) -> Result<(), Over> {
        let commit =
            Commit { partition: self.partition.clone(), epoch: self.epoch, offset, metadata: String::new() };
        let mut backoff = Backoff::default();
        loop {
            let (committer, commit) = (self.committer.clone(), commit.clone());
            let committing = tokio::task::spawn_blocking(move || committer.commit(&[commit]));
            let error = match committing.await {
                Ok(Ok(())) => break,
                Ok(Err(LogError::Fenced { .. })) => return Err(Over),
                Ok(Err(error)) => error_chain(&error),
                Err(error) => error.to_string(),
            };
            self.stats.failed(&error);
            if !backoff.wait(&self.given_up).await {
                return Err(Over);
            }
        }
        self.stats.recovered();
        self.stats.committed_ms.store((self.clock)(), Ordering::Relaxed);
        self.committed = Some(offset);
        Ok(())
    }
}

/// Whether it is a raise that somebody sees: neither a part of other rules, nor about alerts or rules themselves.
fn counts_as_raised(transition: &Transition, recorded: &Recorded) -> bool {
    transition.change == Change::Raised
        && !transition.quiet
        && transition.rule != EXCESSIVE_VOLUME
        && transition.cause != Cause::Configuration
        && !matches!(recorded.verdict, Verdict::Refused(_))
}
