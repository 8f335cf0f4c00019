//! One partition on the reading side: its judge, and what waits for its courier.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use kelly_alerts::Transition;
use kelly_stream::{Assignment, Record, TopicPartition};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::courier::{Courier, Item, Shared};
use crate::ends::{Ends, SHOWN_WITHIN_MS};
use crate::judge::{Court, Judge, Work};
use crate::place::Place;
use crate::restore;
use crate::rules::InForce;
use crate::stats::{LaneCounts, add};
use crate::stored::{Pen, Writer};
use crate::topics::STATE_TOPIC;

/// Items in the channel to the courier: at it further ones wait in the lane, and its partition is paused.
const ITEMS_WAITING: usize = 64;

/// Bytes of items of one lane that wait; above it the partition is paused.
const WAITING_BYTES: usize = 8 << 20;

/// States taken from the engine at once.
const STATES_AT_ONCE: usize = 1_000;

/// A lane spends at most this share of its time with storing: so many times longer than it took the next time is away.
const STORING_SHARE: u32 = 20;

/// One partition.
pub(crate) struct Lane {
    pub(crate) partition: TopicPartition,
    pub(crate) place: Place,
    pub(crate) paused: bool,
    phase: Phase,
    pen: Pen,
    /// The offset behind the last record that was read, once there was one.
    next: Option<u64>,
    /// As it is committed, or on its way there.
    commits_at: Option<u64>,
    saving: Option<Saving>,
    saves_at: Instant,
    /// How often everything of a saving was handed over.
    saves: u64,
    waiting: VecDeque<Item>,
    to_courier: mpsc::Sender<Item>,
    courier: JoinHandle<()>,
    shared: Arc<Shared>,
    given_up: CancellationToken,
}

enum Phase {
    /// Its states are being read.
    TakingUp(JoinHandle<Option<Box<Judge>>>),
    Judging(Box<Judge>),
    /// Taking up was given up, or ended with a defect.
    Ended,
}

/// States on their way into the topic of states, and a position behind them.
struct Saving {
    began: Instant,
    /// Everything before it is judged.
    offset: Option<u64>,
    /// States that had changed when it began and are still to be taken.
    left: usize,
    /// Whether everything was handed over.
    is_sent: bool,
}

/// What is left of a lane in a drain.
pub(crate) struct Closing {
    pub(crate) partition: TopicPartition,
    pub(crate) courier: JoinHandle<()>,
    pub(crate) given_up: CancellationToken,
    to_courier: mpsc::Sender<Item>,
    waiting: VecDeque<Item>,
}

impl Closing {
    /// Hands over what waits, and waits for the courier to be done with it.
    pub(crate) async fn finish(self) {
        let Self { courier, to_courier, waiting, .. } = self;
        for item in waiting {
            if to_courier.send(item).await.is_err() {
                break;
            }
        }
        drop(to_courier);
        // A defect of it is logged by who joins it for that; the next start goes on from what is committed.
        let _ = courier.await;
    }
}

impl Lane {
    /// Takes a partition up.
    pub(crate) fn open(
        place: Place,
        assignment: Assignment,
        context: &Arc<Context>,
        rules: Arc<InForce>,
        runtime: &Handle,
    ) -> Self {
        let committed = assignment.committed.as_ref().map(|committed| committed.offset);
        tracing::info!(
            topic = &*assignment.partition.topic,
            partition = assignment.partition.partition,
            position = committed,
            "judging a partition"
        );
        let given_up = CancellationToken::new();
        let shared = Arc::new(Shared::default());
        let pen = Pen {
            topic: STATE_TOPIC.into(),
            partition: place.state_partition(context.partitions),
            place,
            writer: Writer::fresh(),
        };
        let court = Court {
            place,
            partitions: context.partitions,
            limits: context.limits,
            // What happened long before anybody watched is no news.
            from_ms: match committed {
                Some(_) => i64::MIN,
                None => (context.clock)().saturating_sub(context.judged_back_ms),
            },
        };
        let taking_up = runtime.spawn(take_up(context.clone(), court, pen.clone(), rules, given_up.clone()));
        let (to_courier, items) = mpsc::channel(ITEMS_WAITING);
        let courier = Courier {
            log: context.log.clone(),
            control: context.control.clone(),
            committer: context.committer.clone(),
            stats: context.stats.clone(),
            shared: shared.clone(),
            place,
            partition: assignment.partition.clone(),
            epoch: assignment.epoch,
            rows_topic: context.rows_topic.clone(),
            committed,
            given_up: given_up.clone(),
            clock: context.clock.clone(),
        };
        context.stats.lane(place, LaneCounts::default());
        Self {
            partition: assignment.partition,
            place,
            paused: false,
            phase: Phase::TakingUp(taking_up),
            pen,
            next: committed,
            commits_at: committed,
            saving: None,
            saves_at: Instant::now() + context.save_every,
            saves: 0,
            waiting: VecDeque::new(),
            to_courier,
            courier: runtime.spawn(courier.run(items)),
            shared,
            given_up,
        }
    }

    /// Whether its records are taken now.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Judging(_))
    }

    /// Whether its courier is not too far behind.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.shared.waiting.load(Ordering::Acquire) < WAITING_BYTES
    }

    /// Takes what was taken up, once it is there. Whether it just was.
    pub(crate) fn look(&mut self, runtime: &Handle, context: &Context) -> bool {
        let Phase::TakingUp(taking_up) = &mut self.phase else { return false };
        if !taking_up.is_finished() {
            return false;
        }
        self.phase = match runtime.block_on(taking_up) {
            Ok(Some(mut judge)) => {
                // Orphans' ends first, then that they are gone.
                let ended = judge.take_transitions();
                let gone = judge.take_gone();
                self.send(Item::Transitions(ended));
                let records =
                    gone.into_iter().map(|(key, state)| self.pen.state(&key.to_bytes(), state)).collect();
                self.send(Item::Records(records));
                self.count(&judge, context);
                Phase::Judging(judge)
            }
            Ok(None) => Phase::Ended,
            Err(error) => {
                tracing::error!(%error, "taking up alert states ended with a defect");
                context.stats.failed("taking up alert states ended with a defect");
                Phase::Ended
            }
        };
        self.is_ready()
    }

    /// Judges a record.
    pub(crate) fn record(&mut self, record: &Record<'_>) {
        if let Phase::Judging(judge) = &mut self.phase {
            judge.record(record);
            self.next = Some(record.offset + 1);
        }
    }

    /// Everything before `next` was handed over.
    pub(crate) fn passed(&mut self, next: u64) {
        if self.is_ready() {
            self.next = self.next.max(Some(next));
        }
    }

    pub(crate) fn hear(&mut self, transition: &Transition) {
        if let Phase::Judging(judge) = &mut self.phase {
            judge.hear(transition);
        }
    }

    pub(crate) fn set_rules(&mut self, rules: &Arc<InForce>) {
        if let Phase::Judging(judge) = &mut self.phase {
            judge.set_rules(rules);
        }
    }

    /// Records that are not judged yet.
    pub(crate) fn behind(&self, ends: &Ends) -> u64 {
        ends.of(self.place).map_or(0, |ends| ends.high.saturating_sub(self.next.unwrap_or(ends.low)))
    }

    /// Lets time pass where everything was read, hands over what was said, and stores what is due.
    pub(crate) fn turn(&mut self, now: Instant, ends: &Ends, context: &Context) {
        if let Phase::Judging(judge) = &mut self.phase {
            let is_at_end =
                ends.of(self.place).is_some_and(|ends| self.next.unwrap_or(ends.low) >= ends.high);
            if is_at_end {
                judge.tick(ends.asked_ms - SHOWN_WITHIN_MS);
            }
        }
        self.hand_over(context);
        self.save(now, context);
        self.send_waiting();
    }

    /// What the judge said goes to the courier.
    fn hand_over(&mut self, context: &Context) {
        let Phase::Judging(judge) = &mut self.phase else { return };
        let transitions = judge.take_transitions();
        let rows = judge.rows_mut().take(&context.rows_topic);
        let Work { records, rows: judged, skipped, passed_on } = judge.take_work();
        add(&context.stats.records, records);
        add(&context.stats.rows, judged);
        add(&context.stats.skipped, skipped);
        add(&context.stats.passed_on, passed_on);
        self.send(Item::Transitions(transitions));
        self.send(Item::Records(rows));
    }

    fn save(&mut self, now: Instant, context: &Context) {
        if self.saving.is_none() && now >= self.saves_at {
            self.begin_saving(now);
        }
        if self.saving.is_some() && self.has_room() {
            self.save_some(STATES_AT_ONCE, context);
        }
        let is_saved = self.shared.saved.load(Ordering::Acquire) >= self.saves;
        if let Some(saving) = self.saving.take_if(|saving| saving.is_sent && is_saved) {
            let took = now.saturating_duration_since(saving.began);
            self.saves_at = now + context.save_every.max(took * STORING_SHARE);
            if let Phase::Judging(judge) = &self.phase {
                self.count(judge, context);
            }
        }
    }

    fn begin_saving(&mut self, now: Instant) {
        let Phase::Judging(judge) = &self.phase else { return };
        let left = judge.engine().changed();
        if left == 0 && self.next == self.commits_at {
            return;
        }
        self.saving = Some(Saving { began: now, offset: self.next, left, is_sent: false });
        self.send(Item::StillOurs);
    }

    /// Takes so many states, and behind the last ones the position.
    fn save_some(&mut self, most: usize, context: &Context) {
        let Some(saving) = self.saving.as_mut().filter(|saving| !saving.is_sent) else { return };
        let Phase::Judging(judge) = &mut self.phase else { return };
        let count = most.min(saving.left);
        let changed = judge.engine_mut().take_some_changed(count);
        saving.left -= count;
        saving.is_sent = saving.left == 0;
        let (is_sent, offset) = (saving.is_sent, saving.offset);
        let records: Vec<_> =
            changed.into_iter().map(|(key, state)| self.pen.state(&key.to_bytes(), state)).collect();
        add(&context.stats.states_written, records.len() as u64);
        self.send(Item::Records(records));
        if is_sent {
            if let Some(offset) = offset {
                self.commits_at = Some(offset);
                self.send(Item::Commit(offset));
            }
            self.saves += 1;
            self.send(Item::Saved);
        }
    }

    fn count(&self, judge: &Judge, context: &Context) {
        let engine = judge.engine();
        let statistics = engine.statistics();
        let counts = LaneCounts {
            states: statistics.states as u64,
            firing: engine.firing().count() as u64,
            late_rows: engine.late_rows().values().sum(),
            over_cap: statistics.over_cap,
            is_ready: true,
        };
        context.stats.lane(self.place, counts);
    }

    /// Puts an item behind the others; none that is empty.
    fn send(&mut self, item: Item) {
        let is_empty = match &item {
            Item::Transitions(transitions) => transitions.is_empty(),
            Item::Records(records) => records.is_empty(),
            Item::StillOurs | Item::Commit(_) | Item::Saved => false,
        };
        if is_empty {
            return;
        }
        self.shared.waiting.fetch_add(item.bytes(), Ordering::AcqRel);
        self.waiting.push_back(item);
        self.send_waiting();
    }

    fn send_waiting(&mut self) {
        while let Some(item) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(item) | mpsc::error::TrySendError::Closed(item)) =
                self.to_courier.try_send(item)
            {
                self.waiting.push_front(item);
                return;
            }
        }
    }

    /// Whether something waits that the reading thread has to look after soon.
    pub(crate) fn is_busy(&self) -> bool {
        !self.is_ready() || self.saving.is_some() || !self.waiting.is_empty()
    }

    /// Gives the partition up: what is not committed is for its next owner.
    pub(crate) fn give_up(self, context: &Context) {
        self.given_up.cancel();
        context.stats.lane_gone(self.place);
    }

    /// Hands over everything, states and position at last.
    pub(crate) fn finish(mut self, now: Instant, context: &Context) -> Closing {
        self.hand_over(context);
        if self.saving.is_none() {
            self.begin_saving(now);
        }
        while self.saving.as_ref().is_some_and(|saving| !saving.is_sent) && self.is_ready() {
            self.save_some(STATES_AT_ONCE, context);
        }
        if let Phase::TakingUp(_) = self.phase {
            self.given_up.cancel();
        }
        let Self { partition, courier, given_up, to_courier, waiting, .. } = self;
        Closing { partition, courier, given_up, to_courier, waiting }
    }
}

/// Reads what is stored and makes the judge of it.
async fn take_up(
    context: Arc<Context>,
    court: Court,
    pen: Pen,
    rules: Arc<InForce>,
    given_up: CancellationToken,
) -> Option<Box<Judge>> {
    let states = restore::states(&context.log, &pen, &context.stats, &given_up).await?;
    let making = tokio::task::spawn_blocking(move || Box::new(Judge::new(court, &rules, states)));
    making.await.inspect_err(|error| tracing::error!(%error, "making an engine ended with a defect")).ok()
}
