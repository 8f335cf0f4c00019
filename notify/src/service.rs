//! The instance that sends: it follows the control log, keeps what is to be sent, and sends it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use kelly_control::alert::{Alert, Status};
use kelly_control::replica::WatchEnd;
use kelly_control::{Alerts, Change, Decision, Health, Replica, State, Watcher};
use kelly_schemas::error_chain;
use kelly_stream::LogError;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;

use crate::notice::Notice;
use crate::notifier::Answer;
use crate::notifier::{Act, Book, Delivery, Job, News, Notifier, Seen};
use crate::outbox::{Outbox, OutboxConfig, OutboxError, Request};
use crate::send::Sender;
use crate::settings::{Kind, Settings};

/// Decisions that are taken in before what they come to is kept: one write for many in a storm.
const DECISIONS_AT_ONCE: usize = 256;

/// How long a stop waits for messages that are under way.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// Pause after the log has failed, or the replica.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// How often it is looked whether a checkpoint is due.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How notifications are run.
pub struct ServiceConfig {
    /// Where what is sent.
    pub settings: Arc<Settings>,
    /// Where Kelly is reached, for links.
    pub public_url: Option<String>,
    /// The outbox.
    pub outbox: OutboxConfig,
    /// The alerts.
    pub replica: Arc<Replica>,
    /// What sends.
    pub sender: Arc<Sender>,
    /// Ms since the epoch.
    pub clock: fn() -> i64,
    /// Whether alerts are judged: without that there is no sign of life.
    pub is_alive: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Notifications of this instance.
pub struct Service {
    inner: Arc<Inner>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    settings: Arc<Settings>,
    public_url: Option<String>,
    outbox: Arc<Outbox>,
    replica: Arc<Replica>,
    sender: Arc<Sender>,
    clock: fn() -> i64,
    is_alive: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The next decision when it started: where nobody has read before, what ended earlier is not told.
    began: u64,
}

/// Why an instance does not send any more.
enum End {
    /// It was told to stop.
    Stopped,
    /// It is the turn of another one, or of nobody.
    Lost,
    /// Something failed.
    Failed(String),
}

impl From<LogError> for End {
    fn from(error: LogError) -> Self {
        Self::Failed(error_chain(&error))
    }
}

impl Service {
    /// Starts following; sends while it is the turn of this instance.
    ///
    /// # Errors
    /// When the outbox cannot be used.
    pub async fn start(config: ServiceConfig) -> Result<Arc<Self>, OutboxError> {
        let ServiceConfig { settings, public_url, outbox, replica, sender, clock, is_alive } = config;
        let outbox = Outbox::start(outbox).await?;
        let began = replica.read(State::next_offset);
        let inner = Arc::new(Inner { settings, public_url, outbox, replica, sender, clock, is_alive, began });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(inner.clone().run(stopped));
        Ok(Arc::new(Self { inner, stop, task: Mutex::new(Some(task)) }))
    }

    /// The outbox as this instance sees it.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.inner.outbox
    }

    /// What is set.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Sends a message that says it is a test, at once and past every queue. `None`: there is no such destination. A destination
    /// that takes it is used again.
    pub async fn test(&self, destination: &str) -> Option<Answer> {
        let kind = self.inner.settings.destination(destination)?.kind;
        let now_ms = (self.inner.clock)();
        let key = format!("test-{}", Uuid::new_v4().simple());
        let mut notice = Notice::test(key.clone(), now_ms);
        let answer = self.inner.sender.send(&test_job(destination, notice.clone(), now_ms)).await;
        if matches!(answer, Answer::Accepted(_)) {
            if kind == Kind::Pagerduty {
                // Nobody is to be woken by it for longer than needed.
                notice.reason = crate::notice::Reason::Resolved;
                let _ = self.inner.sender.send(&test_job(destination, notice, now_ms)).await;
            }
            let is_ill = self
                .inner
                .outbox
                .overview()
                .destinations
                .get(destination)
                .is_some_and(|state| state.ill.is_some());
            if is_ill
                && let Err(error) =
                    self.inner.outbox.request(Request::Heal { destination: destination.to_owned() }).await
            {
                tracing::warn!(destination, error = error_chain(&error), "that it works again was not noted");
            }
        }
        Some(answer)
    }

    /// Ends sending: takes no new message up, and waits a moment for those under way.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && task.await.is_err()
        {
            tracing::error!("notifications ended with a defect");
        }
        self.inner.outbox.stop().await;
    }
}

impl Drop for Service {
    /// As a kill: what is under way is left where it is.
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

fn test_job(destination: &str, notice: Notice, now_ms: i64) -> Job {
    Job {
        thread: notice.key.clone(),
        destination: destination.to_owned(),
        delivery: Delivery {
            id: notice.key.clone(),
            acts: [Act::Send].into(),
            notice,
            made_ms: now_ms,
            attempts: 0,
            not_before_ms: now_ms,
            problem: None,
            is_unsure: false,
        },
        place: None,
    }
}

/// The alerts as the replica has them, and over them as a decision left them.
struct View<'a> {
    alerts: &'a Alerts,
    over: &'a [Alert],
}

impl Book for View<'_> {
    fn alert(&self, id: &Uuid) -> Option<&Alert> {
        self.over.iter().find(|alert| alert.id == *id).or_else(|| self.alerts.book().get(id))
    }

    fn open(&self) -> Box<dyn Iterator<Item = &Alert> + '_> {
        Box::new(self.alerts.book().open())
    }
}

impl Inner {
    async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut turns = self.outbox.turns();
        loop {
            let turn = tokio::select! {
                () = told(&mut stop) => return,
                turn = next_turn(&mut turns) => match turn {
                    Some(turn) => turn,
                    None => return,
                },
            };
            let owning = Owning { inner: &self, stop: stop.clone(), turns: turns.clone(), turn };
            match Box::pin(owning.run()).await {
                End::Stopped => return,
                End::Lost => tracing::info!("another instance sends notifications now"),
                End::Failed(problem) => tracing::warn!(problem, "notifications begin anew"),
            }
            tokio::select! {
                () = told(&mut stop) => return,
                () = tokio::time::sleep(TRY_AGAIN) => {}
            }
        }
    }

    fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    /// Does something with the alerts as they are.
    fn with_book<T>(&self, over: &[Alert], act: impl FnOnce(&View<'_>, &State) -> T) -> T {
        self.replica.read(|state| act(&View { alerts: state.alerts(), over }, state))
    }

    /// Shows every alert as it is, also one that began and ended since this offset. Returns where to go on.
    fn show_all(&self, notifier: &mut Notifier, since: Option<u64>) -> u64 {
        let now_ms = self.now_ms();
        self.with_book(&[], |book, state| {
            let alerts = state.alerts();
            for alert in alerts.book().iter() {
                let is_audible = alerts.is_audible(alert);
                let was_missed = !alert.is_open()
                    && !notifier.knows(&alert.id)
                    && since.is_some_and(|since| alert.raised.offset >= since);
                if was_missed {
                    let raised = Alert {
                        status: Status::Active,
                        resolution: None,
                        acknowledged: None,
                        ..alert.clone()
                    };
                    let then = View { alerts, over: std::slice::from_ref(&raised) };
                    notifier.observe(Seen { alert: &raised, is_audible }, &then, now_ms);
                }
                notifier.observe(Seen { alert, is_audible }, book, now_ms);
            }
            notifier.forget_unknown(book, now_ms);
            notifier.passed(state.next_offset());
            state.next_offset()
        })
    }

    fn show(&self, notifier: &mut Notifier, decision: &Decision) {
        let now_ms = self.now_ms();
        let is_about_silence = decision
            .changes
            .iter()
            .any(|change| matches!(change, Change::SilencePut { .. } | Change::SilenceEnded { .. }));
        self.with_book(&decision.alerts, |book, state| {
            for alert in &decision.alerts {
                let seen = Seen { alert, is_audible: state.alerts().is_audible(alert) };
                notifier.observe(seen, book, now_ms);
            }
            if is_about_silence {
                for alert in state.alerts().book().open() {
                    notifier.observe(
                        Seen { alert, is_audible: state.alerts().is_audible(alert) },
                        book,
                        now_ms,
                    );
                }
            }
        });
        notifier.passed(decision.at.offset + 1);
    }
}

/// Returns when it is told to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    // An error is the end of who could tell.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Returns when a turn is over.
async fn turn_over(turns: &mut watch::Receiver<u64>, turn: u64) {
    let _ = turns.wait_for(|now| *now != turn).await;
}

/// Returns the next turn of this instance; `None` when there will be none.
async fn next_turn(turns: &mut watch::Receiver<u64>) -> Option<u64> {
    turns.wait_for(|turn| *turn != 0).await.ok().map(|turn| *turn)
}

/// A turn of this instance.
struct Owning<'a> {
    inner: &'a Arc<Inner>,
    stop: watch::Receiver<bool>,
    turns: watch::Receiver<u64>,
    turn: u64,
}

impl Owning<'_> {
    async fn run(mut self) -> End {
        let taken = tokio::select! {
            () = told(&mut self.stop) => return End::Stopped,
            taken = self.inner.outbox.take_over() => taken,
        };
        let owner = match taken {
            Ok(Some(owner)) => owner,
            Ok(None) => return End::Lost,
            Err(error) => return error.into(),
        };
        let parts = self.inner.outbox.parts();
        let restored = Notifier::restore(
            self.inner.settings.clone(),
            self.inner.public_url.clone(),
            parts.iter().map(|(name, value)| (name.as_str(), value)),
            self.inner.now_ms(),
        );
        let notifier = match restored {
            Ok(notifier) => notifier,
            Err(error) => return End::Failed(error_chain(&error)),
        };
        drop(parts);
        tracing::info!("this instance sends notifications");
        let heartbeat = AbortOnDrop(tokio::spawn(beat(self.inner.clone())));
        let mut desk = Desk {
            inner: self.inner.clone(),
            owner,
            notifier,
            sending: JoinSet::new(),
            done: BTreeSet::new(),
        };
        let end = self.work(&mut desk).await;
        drop(heartbeat);
        if matches!(end, End::Stopped) {
            // What comes back in time need not be sent again by the next run.
            let finish = async {
                while desk.settle_next().await {
                    if desk.keep().await.is_err() {
                        return;
                    }
                }
            };
            let _ = tokio::time::timeout(STOP_WAIT, finish).await;
        }
        desk.sending.abort_all();
        end
    }

    async fn work(&mut self, desk: &mut Desk) -> End {
        let since = desk.notifier.next_control().unwrap_or(self.inner.began);
        let next = self.inner.show_all(&mut desk.notifier, Some(since));
        let mut watcher = self.inner.replica.watch(Some(next));
        let mut progress = self.inner.outbox.progress();
        loop {
            desk.settle_ready();
            desk.run_due();
            while let Err(error) = desk.keep().await {
                tracing::warn!(
                    error = error_chain(&error),
                    "what is to be notified cannot be kept; nothing is sent until it can"
                );
                tokio::select! {
                    () = told(&mut self.stop) => return End::Stopped,
                    () = turn_over(&mut self.turns, self.turn) => return End::Lost,
                    () = tokio::time::sleep(TRY_AGAIN) => {}
                }
            }
            desk.send();
            let wait = desk.wait();
            tokio::select! {
                biased;
                () = told(&mut self.stop) => return End::Stopped,
                () = turn_over(&mut self.turns, self.turn) => return End::Lost,
                decision = watcher.next() => {
                    if let Err(end) = self.take_in(desk, &mut watcher, decision).await {
                        return end;
                    }
                }
                _ = desk.settle_next(), if !desk.sending.is_empty() => {}
                changed = progress.changed() => {
                    if changed.is_err() || !self.inner.outbox.is_owner(desk.owner) {
                        return End::Lost;
                    }
                    desk.answer_requests();
                }
                () = tokio::time::sleep(wait) => {
                    if let Err(error) = self.inner.outbox.checkpoint(desk.owner, self.inner.now_ms()).await {
                        tracing::warn!(error = error_chain(&error), "the outbox of notifications is not summed up; tried later");
                    }
                }
            }
        }
    }

    /// Takes in a decision and those that are there behind it.
    async fn take_in(
        &self,
        desk: &mut Desk,
        watcher: &mut Watcher,
        first: Result<Arc<Decision>, WatchEnd>,
    ) -> Result<(), End> {
        let mut next = Some(first);
        let mut count = 0;
        while let Some(decision) = next.take() {
            match decision {
                Ok(decision) => self.inner.show(&mut desk.notifier, &decision),
                Err(WatchEnd::Missed(_)) => {
                    let since = desk.notifier.next_control();
                    let at = self.inner.show_all(&mut desk.notifier, since);
                    *watcher = self.inner.replica.watch(Some(at));
                }
                Err(WatchEnd::Stopped(why)) => {
                    return Err(End::Failed(format!("alerts are not followed: {why}")));
                }
            }
            count += 1;
            if count < DECISIONS_AT_ONCE {
                next = watcher.next().now_or_never();
            }
        }
        Ok(())
    }
}

/// What the instance that sends works with.
struct Desk {
    inner: Arc<Inner>,
    owner: u64,
    notifier: Notifier,
    sending: JoinSet<(Job, Answer)>,
    /// Requests that are done, as long as they are still there.
    done: BTreeSet<u64>,
}

impl Desk {
    fn run_due(&mut self) {
        let now_ms = self.inner.now_ms();
        let notifier = &mut self.notifier;
        self.inner.with_book(&[], |book, _| notifier.run_due(book, now_ms));
    }

    /// Keeps what changed; an error leaves it changed.
    async fn keep(&mut self) -> Result<(), LogError> {
        for news in self.notifier.take_news() {
            log(&news);
        }
        let changes = self.notifier.take_changes();
        let done: Vec<u64> = self.done.iter().copied().collect();
        if changes.is_empty() && done.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = changes.iter().map(|(key, _)| key.clone()).collect();
        let kept = self.inner.outbox.keep(self.owner, changes, &done).await;
        match &kept {
            Ok(()) => self.done.clear(),
            Err(_) => self.notifier.mark_changed(keys),
        }
        kept
    }

    /// Sends what can be sent.
    fn send(&mut self) {
        for job in self.notifier.take_due(self.inner.now_ms()) {
            let sender = self.inner.sender.clone();
            self.sending.spawn(async move {
                let answer = sender.send(&job).await;
                (job, answer)
            });
        }
    }

    /// Waits for the next answer. False when none is awaited.
    async fn settle_next(&mut self) -> bool {
        let Some(settled) = self.sending.join_next().await else { return false };
        self.take_settled(settled);
        true
    }

    /// Takes in the answers that are there.
    fn settle_ready(&mut self) {
        while let Some(settled) = self.sending.try_join_next() {
            self.take_settled(settled);
        }
    }

    fn take_settled(&mut self, settled: Result<(Job, Answer), tokio::task::JoinError>) {
        match settled {
            Ok((job, answer)) => self.settle(&job, answer),
            Err(error) => tracing::error!(%error, "sending a message ended with a defect"),
        }
    }

    fn settle(&mut self, job: &Job, answer: Answer) {
        if let Answer::Retry { problem, .. } = &answer {
            tracing::debug!(destination = job.destination, problem, "a message is tried again later");
        }
        let now_ms = self.inner.now_ms();
        let notifier = &mut self.notifier;
        self.inner.with_book(&[], |book, _| notifier.settle(job, answer, book, now_ms));
    }

    fn answer_requests(&mut self) {
        let now_ms = self.inner.now_ms();
        let requests: BTreeMap<u64, Request> = self.inner.outbox.requests();
        for (offset, request) in requests {
            let notifier = &mut self.notifier;
            self.inner.with_book(&[], |book, _| match &request {
                Request::Replay { id } => {
                    notifier.replay(id, book, now_ms);
                }
                Request::ReplayAll { destination } => {
                    let dead =
                        notifier.dead_letters().filter(|(_, letter)| letter.destination == *destination);
                    let ids: Vec<String> = dead.map(|(id, _)| id.to_owned()).collect();
                    for id in ids {
                        notifier.replay(&id, book, now_ms);
                    }
                }
                Request::Heal { destination } => notifier.heal(destination, book, now_ms),
            });
            self.done.insert(offset);
        }
    }

    /// How long there is nothing to do.
    fn wait(&self) -> Duration {
        let due_ms = self.notifier.next_due_ms().unwrap_or(i64::MAX).saturating_sub(self.inner.now_ms());
        Duration::from_millis(u64::try_from(due_ms).unwrap_or(0)).min(LOOK_AGAIN)
    }
}

fn log(news: &News) {
    match news {
        News::Ill { destination, problem } => tracing::error!(
            destination,
            problem,
            "nothing more is sent to a destination until this is mended; `kelly notify test` tries it"
        ),
        News::Well { destination } => tracing::info!(destination, "a destination takes messages again"),
        News::Dead { destination, id, problem } => {
            tracing::error!(
                destination,
                id,
                problem,
                "a message was given up; `kelly notify replay` sends it again"
            );
        }
        News::Digest { destination } => {
            tracing::warn!(destination, "too many alerts to tell of each; a digest tells of them");
        }
        News::Forgotten { id } => tracing::warn!(id, "a dead letter was forgotten: there are too many"),
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Gives the sign of life while alerts are judged and followed.
async fn beat(inner: Arc<Inner>) {
    let Some(heartbeat) = inner.settings.heartbeat.clone() else { return };
    let mut beats = tokio::time::interval(Duration::from_secs(u64::from(heartbeat.every_seconds)));
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_well = true;
    loop {
        beats.tick().await;
        let is_alive = inner.replica.health() == Health::Following && (inner.is_alive)();
        let outcome = match is_alive {
            true => inner.sender.ping().await,
            false => Err("alerts are not judged, so there is none".to_owned()),
        };
        if let Err(problem) = &outcome
            && was_well
        {
            tracing::warn!(problem, "the sign of life did not go out");
        }
        was_well = outcome.is_ok();
    }
}
