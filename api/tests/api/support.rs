//! Fakes of the ports, and a small client for a router.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use kelly_api::content_coding::{ContentCoding, decompress};
use kelly_api::rates::OwnCounts;
use kelly_api::{
    Accept, Accepted, AppState, Authenticate, ChangedLevel, Credentials, DeadNotification, Decisions,
    DestinationHealth, DestinationReport, Door, Expose, Health, IngestPerformance, LatencyBook, Limits, Live,
    LiveSettings, LogComponent, LogLevels, ManageAccess, Measure, MetricsForm, NotAccepted, NotKept,
    NotNotified, NotSignedIn, Notifications, NotificationsReport, Part, PartStatus, Proof, Queries,
    ReplayOutcome, RowKind, Settings, ShareSeats, SignInCode, Submission, TestOutcome, router,
};
use kelly_auth::{Accounts, Denied, Identity, Refusal, Role, Roles, Session, SessionTooLarge, Target};
use kelly_live::{Bounds, Hub};
use kelly_query::{
    DatabaseHealth, Detailed, DetailedRequest, ExportFormat, ExportRequest, ExportStream, FeedPage,
    FeedRequest, GroupsRequest, MarkRequest, MetricGroups, Overview, Preview, PreviewRequest, QueryError,
    RangeRequest, Reader, ReadingVersion, Several, SeveralRequest, StorePerformance, Timeframe, Unread,
};
use kelly_schemas::Catalogue;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;
use uuid::Uuid;

use crate::contract;
use crate::decisions::FakeDecisions;
use crate::queries::answers;

/// The trace id every request of these tests brings along.
pub(crate) const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

pub(crate) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_726_068_645_000).unwrap()
}

/// A failure of a port: its name, how it comes, and what a client sees of it.
pub(crate) type Failure<E> = (&'static str, fn() -> E, u16, &'static str);

/// What a fake does when it is asked.
pub(crate) enum Fate<E> {
    Answer,
    Fail(fn() -> E),
    Never,
    /// Answers once there is a permit.
    Held(Arc<Semaphore>),
    /// The same for what is asked with this text in it; others are answered at once.
    HeldWith(&'static str, Arc<Semaphore>),
    Panic,
}

impl<E> Fate<E> {
    async fn befall<T>(&self, answer: T) -> Result<T, E> {
        match self {
            Self::Answer => Ok(answer),
            Self::Fail(error) => Err(error()),
            Self::Never => std::future::pending().await,
            Self::Held(gate) | Self::HeldWith(_, gate) => {
                let _permit = gate.acquire().await;
                Ok(answer)
            }
            Self::Panic => panic!("secret-of-the-house"),
        }
    }
}

pub(crate) struct FakeQueries {
    fate: Fate<QueryError>,
    clock: fn() -> DateTime<Utc>,
    pub(crate) asked: Mutex<Vec<String>>,
    /// The marks of each user.
    pub(crate) marks: Mutex<BTreeMap<Reader, Vec<Uuid>>>,
}

impl FakeQueries {
    async fn answer<T>(&self, asked: String, answer: T) -> Result<T, QueryError> {
        let is_held = !matches!(&self.fate, Fate::HeldWith(text, _) if !asked.contains(text));
        self.asked.lock().unwrap().push(asked);
        if is_held { self.fate.befall(answer).await } else { Ok(answer) }
    }

    /// Notes a mark as another instance would: this one is not told.
    pub(crate) fn mark_elsewhere(&self, reader: &Reader) {
        self.marks.lock().unwrap().entry(reader.clone()).or_default().push(Uuid::from_u128(1));
    }
}

#[async_trait]
impl Queries for FakeQueries {
    async fn overview(&self, accounts: Accounts) -> Result<Overview, QueryError> {
        self.answer(format!("overview {accounts:?}"), answers::overview()).await
    }

    async fn detailed(&self, request: DetailedRequest) -> Result<Detailed, QueryError> {
        request.check()?;
        self.answer(format!("{request:?}"), answers::detailed_at((self.clock)())).await
    }

    async fn several(&self, request: SeveralRequest) -> Result<Several, QueryError> {
        request.check()?;
        let answer = Several {
            metrics: vec![answers::detailed(), answers::compared()],
            unknown_metrics: vec!["ai_confidnce".to_owned()],
        };
        self.answer(format!("{request:?}"), answer).await
    }

    async fn groups(&self, request: GroupsRequest) -> Result<MetricGroups, QueryError> {
        request.check()?;
        self.answer(format!("{request:?}"), answers::groups()).await
    }

    async fn feed(&self, request: FeedRequest) -> Result<FeedPage, QueryError> {
        request.check()?;
        self.answer(format!("feed {request:?}"), answers::page()).await
    }

    async fn vip(&self, request: FeedRequest) -> Result<FeedPage, QueryError> {
        request.check()?;
        self.answer(format!("vip {request:?}"), answers::page()).await
    }

    async fn reading_versions(&self, readers: Vec<Reader>) -> Result<Vec<ReadingVersion>, QueryError> {
        let marks = self.marks.lock().unwrap();
        let of = |reader| {
            let Some(marks) = marks.get(reader) else { return ReadingVersion::default() };
            ReadingVersion { epoch: marks[0].to_string(), offset: marks.len() as u64 }
        };
        Ok(readers.iter().map(of).collect())
    }

    async fn unread(
        &self,
        reader: Reader,
        version: ReadingVersion,
        accounts: Accounts,
    ) -> Result<Unread, QueryError> {
        let asked = format!("unread {} {} {accounts:?}", reader.subject, version.offset);
        self.answer(asked, answers::unread(version)).await
    }

    async fn mark_read(&self, request: MarkRequest) -> Result<bool, QueryError> {
        request.check()?;
        self.answer(format!("mark {request:?}"), ()).await?;
        let mut marks = self.marks.lock().unwrap();
        let own = marks.entry(request.reader).or_default();
        // Undoing is a row too.
        let rows = own.iter().filter(|mark| **mark == request.mark).count();
        if rows == 0 {
            own.push(request.mark);
        }
        Ok(rows < 2)
    }

    async fn undo_mark(&self, reader: Reader, mark: Uuid) -> Result<bool, QueryError> {
        let mut marks = self.marks.lock().unwrap();
        let own = marks.get_mut(&reader).filter(|own| own.contains(&mark));
        // Undoing is a row too.
        Ok(own.map(|own| own.push(mark)).is_some())
    }

    async fn preview_rules(&self, request: PreviewRequest) -> Result<Preview, QueryError> {
        self.answer(format!("{request:?}"), answers::preview()).await
    }

    async fn export(&self, request: ExportRequest, format: ExportFormat) -> Result<ExportStream, QueryError> {
        request.check()?;
        let event_type = match &request {
            ExportRequest::Activity(events) => events.event_type.as_deref(),
            _ => None,
        };
        let stream = match event_type {
            Some("endless") => answers::endless_export(),
            other => answers::export(other == Some("cut_off")),
        };
        // Of the seven days asked for of samples, the fake keeps what it has by now.
        let is_cut = matches!(&request, ExportRequest::Samples(samples)
            if samples.range == RangeRequest::Last(Timeframe::SevenDays));
        let stream = ExportStream { kept_from: is_cut.then(now), ..stream };
        self.answer(format!("{format:?} {request:?}"), stream).await
    }

    async fn store_performance(&self) -> Result<StorePerformance, QueryError> {
        self.answer("store_performance".to_owned(), answers::store_performance()).await
    }

    async fn health_database(&self, accounts: Accounts) -> Result<DatabaseHealth, QueryError> {
        self.answer(format!("health_database {accounts:?}"), answers::database()).await
    }
}

pub(crate) struct FakeAccept {
    fate: Fate<NotAccepted>,
    pub(crate) taken: Mutex<Vec<Submission>>,
}

#[async_trait]
impl Accept for FakeAccept {
    async fn accept(&self, submission: Submission) -> Result<Accepted, NotAccepted> {
        let ids = match submission.kind {
            RowKind::Metrics => Vec::new(),
            RowKind::Activity => vec![Uuid::from_u128(0x0198_f3c2_a4b7_8e21_b0c3_d9a1_f2e4_c6d8)],
        };
        self.taken.lock().unwrap().push(submission);
        self.fate.befall(Accepted { accepted: 1, ids }).await
    }
}

pub(crate) struct FakeHealth {
    parts: Vec<(PartStatus, bool)>,
    answers: bool,
    pub(crate) looks: AtomicU32,
}

#[async_trait]
impl Health for FakeHealth {
    async fn parts(&self) -> Vec<Part> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        if !self.answers {
            return std::future::pending().await;
        }
        // Whoever asks at once is there before it has ended.
        tokio::task::yield_now().await;
        self.parts
            .iter()
            .zip(["log", "store"])
            .map(|(&(status, required), name)| Part {
                name: name.to_owned(),
                status,
                since: now() - TimeDelta::seconds(30),
                required,
                summary: format!("the {name} speaks"),
                details: BTreeMap::from([("lag_rows".to_owned(), 7.into())]),
            })
            .collect()
    }
}

/// The token of an administrator of these tests, which every request carries that brings no credentials of its own.
pub(crate) const TOKEN: &str = "admin";
/// The token of another one.
pub(crate) const OTHER_TOKEN: &str = "other-admin";
/// A token whose issuer does not answer.
pub(crate) const SLOW_TOKEN: &str = "slow";
/// The code with which a session can be opened, as the administrator, once or more.
pub(crate) const CODE: &str = "8c1f0e5b9a7d4c36";
/// The session it opens.
pub(crate) const SESSION: &str = "a-session";

/// Signs an administrator in, and refuses as its credentials say.
pub(crate) struct FakeAuthenticate {
    pub(crate) changed: watch::Sender<u64>,
    /// Users whose tokens are `user-` and their place here.
    users: Mutex<Vec<Identity>>,
    pub(crate) closed: Mutex<Vec<Identity>>,
    denied: Mutex<Denied>,
    /// Why no caller is signed in any more.
    pub(crate) refused: Mutex<Option<Refusal>>,
}

impl FakeAuthenticate {
    /// A token of this user.
    pub(crate) fn token_of(&self, user: &Identity) -> String {
        let mut users = self.users.lock().unwrap();
        let place = users.iter().position(|known| known == user).unwrap_or_else(|| {
            users.push(user.clone());
            users.len() - 1
        });
        format!("user-{place}")
    }

    /// Who is signed in is refused from now on, for this reason.
    pub(crate) fn refuse_all(&self, refusal: Refusal) {
        *self.refused.lock().unwrap() = Some(refusal);
        self.changed.send_modify(|count| *count += 1);
    }

    fn user(&self, token: &str) -> Option<Identity> {
        let place: usize = token.strip_prefix("user-")?.parse().ok()?;
        self.users.lock().unwrap().get(place).cloned()
    }
}

pub(crate) fn admin() -> Identity {
    Identity {
        issuer: "tests".into(),
        subject: "ada".into(),
        roles: Roles::of(&[Role::Admin]),
        accounts: Accounts::All,
        token_id: Some("token-1".into()),
        expires_at: Some(now().timestamp() + 60),
        origin_ends_at: None,
    }
}

#[async_trait]
impl Authenticate for FakeAuthenticate {
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, NotSignedIn> {
        match credentials {
            Credentials::Nothing => Err(Refusal::Missing.into()),
            Credentials::Token(TOKEN) | Credentials::Session(SESSION) => Ok(admin()),
            Credentials::Token(OTHER_TOKEN) => Ok(Identity { subject: "bob".into(), ..admin() }),
            Credentials::Token("keys-away") => {
                Err(NotSignedIn::KeysUnavailable { retry_after: Duration::from_secs(7) })
            }
            Credentials::Token(other) | Credentials::Session(other) => {
                if let Some(user) = self.user(other) {
                    return Ok(user);
                }
                let named = Refusal::ALL.into_iter().find(|refusal| format!("{refusal:?}") == other);
                Err(named.unwrap_or(Refusal::Signature).into())
            }
        }
    }

    fn recheck(&self, _: &Identity) -> Result<(), Refusal> {
        self.refused.lock().unwrap().map_or(Ok(()), Err)
    }

    fn revoked(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn open_session(&self, proof: Proof<'_>) -> Result<Session, NotSignedIn> {
        match proof {
            Proof::Code(CODE) | Proof::Token(TOKEN) => {
                Ok(Session { text: SESSION.to_owned(), identity: admin(), lasts_seconds: 60 })
            }
            Proof::Token(SLOW_TOKEN) => std::future::pending().await,
            Proof::Token("too large") => Err(NotSignedIn::SessionTooLarge(SessionTooLarge)),
            Proof::Code(_) => Err(Refusal::Link.into()),
            Proof::Token(_) => Err(Refusal::Signature.into()),
        }
    }

    async fn close(&self, caller: &Identity) -> Result<(), NotKept> {
        self.closed.lock().unwrap().push(caller.clone());
        Ok(())
    }
}

#[async_trait]
impl ManageAccess for FakeAuthenticate {
    fn new_link(&self, _: &Identity) -> Result<SignInCode, NotKept> {
        Ok(SignInCode { code: CODE.to_owned(), lasts: Duration::from_secs(60) })
    }

    fn denied(&self) -> Denied {
        self.denied.lock().unwrap().clone()
    }

    async fn deny(&self, target: Target, until: Option<i64>) -> Result<(), NotKept> {
        if target == (Target::Token { issuer: None, id: "one too many".into() }) {
            return Err(NotKept::Full);
        }
        self.denied.lock().unwrap().add(target, until).map_err(|_| NotKept::Full)
    }

    async fn allow(&self, target: &Target) -> Result<bool, NotKept> {
        Ok(self.denied.lock().unwrap().remove(target))
    }

    fn keeps_denied(&self) -> bool {
        true
    }
}

struct FakeMeasure;

#[async_trait]
impl Measure for FakeMeasure {
    async fn ingest(&self) -> Option<IngestPerformance> {
        Some(IngestPerformance {
            window_seconds: Some(60.5),
            rows_per_second: Some(10_000.0),
            batches_per_second: Some(2.0),
            rows_since_start: 1_000_000,
            dead_letters_since_start: 1,
            retries_since_start: 0,
            lag_records: None,
            last_write_age_seconds: Some(0.5),
        })
    }
}

/// Keeps what was changed.
#[derive(Default)]
pub(crate) struct FakeLogLevels {
    changed: Mutex<Vec<ChangedLevel>>,
}

impl LogLevels for FakeLogLevels {
    fn configured(&self) -> String {
        "info".to_owned()
    }

    fn changed(&self) -> Vec<ChangedLevel> {
        self.changed.lock().unwrap().clone()
    }

    fn change(&self, change: ChangedLevel) {
        self.changed.lock().unwrap().push(change);
    }

    fn reset(&self, component: LogComponent) {
        self.changed.lock().unwrap().retain(|change| change.component != component);
    }
}

/// A message that was given up.
pub(crate) const DEAD_NOTIFICATION: &str = "3f2a9c04b1d84e77a0c5e6f1d2b3a498";

/// A destination that is ill, with a message that was given up; one that is well.
struct FakeNotifications {
    is_set_up: bool,
}

impl FakeNotifications {
    fn set_up(&self) -> Result<(), NotNotified> {
        if self.is_set_up { Ok(()) } else { Err(NotNotified::NotSetUp) }
    }
}

#[async_trait]
impl Notifications for FakeNotifications {
    fn report(&self) -> Result<NotificationsReport, NotNotified> {
        self.set_up()?;
        let destination = DestinationReport {
            id: "slack-ops".to_owned(),
            kind: "slack".to_owned(),
            health: DestinationHealth::Ill,
            problem: Some("it answered invalid_auth".to_owned()),
            since: Some(now()),
            waiting: 2,
            sent: 7,
            failed: 3,
            dead: 1,
        };
        Ok(NotificationsReport { open: 4, destinations: vec![destination] })
    }

    fn dead(&self) -> Result<Vec<DeadNotification>, NotNotified> {
        self.set_up()?;
        Ok(vec![DeadNotification {
            id: DEAD_NOTIFICATION.to_owned(),
            destination: "slack-ops".to_owned(),
            reason: "firing".to_owned(),
            title: "CRITICAL: slow_answers for account acme: 93.2, threshold 85".to_owned(),
            problem: "it answered 400".to_owned(),
            at: now(),
        }])
    }

    async fn test(&self, destination: &str) -> Result<TestOutcome, NotNotified> {
        self.set_up()?;
        match destination {
            "slack-ops" => {
                Ok(TestOutcome { delivered: false, problem: Some("it answered invalid_auth".to_owned()) })
            }
            "mail" => Ok(TestOutcome { delivered: true, problem: None }),
            _ => Err(NotNotified::Unknown),
        }
    }

    async fn replay(&self, id: &str) -> Result<ReplayOutcome, NotNotified> {
        self.set_up()?;
        if id == DEAD_NOTIFICATION { Ok(ReplayOutcome { messages: 1 }) } else { Err(NotNotified::Unknown) }
    }

    async fn replay_all(&self, destination: &str) -> Result<ReplayOutcome, NotNotified> {
        match destination {
            "slack-ops" => Ok(ReplayOutcome { messages: 1 }),
            "away" => Err(NotNotified::Unavailable { reason: "the broker hunter2 is away".to_owned() }),
            _ => Err(NotNotified::Unknown),
        }
    }
}

struct FakeExpose;

#[async_trait]
impl Expose for FakeExpose {
    async fn metrics(&self, form: MetricsForm) -> String {
        format!("# {form:?}\n")
    }
}

/// How an [`Api`] is made.
pub(crate) struct Setup {
    pub(crate) queries: Fate<QueryError>,
    pub(crate) accept: Fate<NotAccepted>,
    pub(crate) parts: Vec<(PartStatus, bool)>,
    pub(crate) health_answers: bool,
    pub(crate) has_notifications: bool,
    pub(crate) limits: Limits,
    pub(crate) live: LiveSettings,
    pub(crate) seats: Option<Arc<dyn ShareSeats>>,
    pub(crate) clock: fn() -> DateTime<Utc>,
    /// In place of the control log in memory.
    pub(crate) decisions: Option<Arc<dyn Decisions>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            queries: Fate::Answer,
            accept: Fate::Answer,
            parts: vec![(PartStatus::Healthy, true), (PartStatus::Healthy, true)],
            health_answers: true,
            has_notifications: true,
            limits: Limits::default(),
            live: LiveSettings::default(),
            seats: None,
            clock: now,
            decisions: None,
        }
    }
}

/// A router over fakes.
pub(crate) struct Api {
    router: Router,
    pub(crate) health: Arc<FakeHealth>,
    pub(crate) queries: Arc<FakeQueries>,
    pub(crate) accept: Arc<FakeAccept>,
    pub(crate) latencies: Arc<LatencyBook>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) live: Arc<Live>,
    pub(crate) decisions: Arc<FakeDecisions>,
    pub(crate) authenticate: Arc<FakeAuthenticate>,
}

impl Api {
    pub(crate) fn new(setup: Setup) -> Self {
        let queries = Arc::new(FakeQueries {
            fate: setup.queries,
            clock: setup.clock,
            asked: Mutex::default(),
            marks: Mutex::default(),
        });
        let accept = Arc::new(FakeAccept { fate: setup.accept, taken: Mutex::default() });
        let latencies = Arc::new(LatencyBook::default());
        let hub = Arc::new(Hub::new(Bounds::default(), "process"));
        let authenticate = Arc::new(FakeAuthenticate {
            changed: watch::Sender::new(0),
            users: Mutex::default(),
            closed: Mutex::default(),
            denied: Mutex::default(),
            refused: Mutex::default(),
        });
        let health = Arc::new(FakeHealth {
            parts: setup.parts,
            answers: setup.health_answers,
            looks: AtomicU32::new(0),
        });
        let live = Arc::new(Live::new(hub.clone(), setup.live));
        let decisions = Arc::new(FakeDecisions::with_examples());
        let router = router(AppState {
            decisions: setup.decisions.unwrap_or_else(|| decisions.clone()),
            queries: queries.clone(),
            acceptor: accept.clone(),
            health: health.clone(),
            catalogue: Arc::new(Catalogue::builtin().clone()),
            measure: Arc::new(FakeMeasure),
            own_metrics: Arc::new(FakeExpose),
            log_levels: Arc::new(FakeLogLevels::default()),
            notifications: Arc::new(FakeNotifications { is_set_up: setup.has_notifications }),
            live: live.clone(),
            authenticate: authenticate.clone(),
            counts: Arc::new(OwnCounts::new(&setup.limits.quotas)),
            seats: setup.seats,
            access: authenticate.clone(),
            observer: latencies.clone(),
            settings: Settings {
                version: "1.2.3".to_owned(),
                started_at: now() - TimeDelta::seconds(90),
                clock: setup.clock,
                limits: setup.limits,
                door: Door::loopback(8_000),
                issuer: "test".to_owned(),
            },
        });
        Self { router, health, queries, accept, latencies, hub, live, decisions, authenticate }
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: &str) -> Answer {
        let headers = [("content-type", content_type)];
        self.send("POST", path, &headers, Body::from(body.to_owned())).await
    }

    /// Sends a request of somebody who may do and see everything.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        self.send_as(&everything(), method, path, headers, body).await
    }

    /// Sends a request of this caller, unless its headers bring other credentials along.
    pub(crate) async fn send_as(
        &self,
        identity: &Identity,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("traceparent", format!("00-{TRACE_ID}-00f067aa0ba902b7-01"));
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost:8000");
        }
        // A test of sign-in says so itself, if only with an empty cookie.
        if !headers.iter().any(|(name, _)| matches!(*name, "authorization" | "cookie")) {
            request =
                request.header("authorization", format!("Bearer {}", self.authenticate.token_of(identity)));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        // A stream of events has no end.
        let is_stream = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let sent = if is_stream { Bytes::new() } else { to_bytes(body, usize::MAX).await.unwrap() };
        let coding = parts.headers.get("content-encoding").map(|coding| coding.to_str().unwrap());
        let coding = coding.map(|name| ContentCoding::ALL.into_iter().find(|coding| coding.name() == name));
        let body = match coding {
            None => sent.clone(),
            Some(coding) => {
                decompress(coding.expect("a known coding"), &sent, usize::MAX >> 1).unwrap().into()
            }
        };
        let answer = Answer { status: parts.status, headers: parts.headers, sent, body };
        contract::check(method, path, &answer);
        answer
    }
}

/// Lets everything that can go on go on.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A caller of these roles who may see these accounts.
pub(crate) fn identity(roles: Roles, accounts: Accounts) -> Identity {
    Identity {
        issuer: "test".into(),
        subject: "somebody".into(),
        roles,
        accounts,
        token_id: None,
        expires_at: None,
        origin_ends_at: None,
    }
}

/// A caller who may do and see everything.
pub(crate) fn everything() -> Identity {
    identity(Roles::of(&Role::ALL), Accounts::All)
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// As it was sent.
    pub(crate) sent: Bytes,
    /// As it was before it was compressed, if it was.
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of a problem document, after the checks that hold for each of them.
    pub(crate) fn code(&self) -> String {
        let problem = self.json();
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["trace_id"], self.header("x-trace-id"));
        let code = problem["code"].as_str().unwrap().to_owned();
        assert_eq!(problem["type"], format!("/api/problems/{code}"));
        code
    }
}
