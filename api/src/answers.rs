//! HandlerState answers: of equal questions one is asked of the store, and its answer, written out once, serves everybody
//! until its time bucket ends ([`kelly_query::cache`]). Who asks in the same bucket while the question is on its way waits for
//! the same answer; who asks in the next one asks anew, so that no answer is of a bucket before the one it was asked for in.
//! Errors go to all who waited and not kept.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use kelly_auth::Accounts;
use kelly_query::cache::{AnswerCache, Bucket, CacheBounds, LONG_LIFETIME, SHORT_LIFETIME, lifetime};
use kelly_query::{
    DetailedRequest, FeedPage, FeedRequest, GroupsRequest, METRICS_AT_ONCE, OVERVIEW_AT_ONCE, Overview,
    PERFORMANCE_AT_ONCE, QueryError, Reader, ReadingVersion, Several, SeveralRequest, Unread,
};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::caller::Caller;
use crate::compressed_answers::{AsItIs, WORTH_BYTES, say_coding};
use crate::conditional::{VARIES_BY, data_tag, is_known};
use crate::content_coding::{self, ContentCoding};
use crate::decisions;
use crate::limits::{Gates, Waiting};
use crate::problem::Problem;
use crate::routes::grouping::DrillDown;
use crate::routes::performance::Performance;
use crate::shares::Place;
use crate::state::HandlerState;

/// What can be asked, with everything that makes an answer another one: also which accounts the asker may see, so that nobody is
/// answered what another one may see, and where the answer says what the asker has read, who that is and how much they had marked.
/// Performance is of all accounts, and only asked by who may see all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    Overview(Accounts),
    Detailed(DetailedRequest),
    Groups(GroupsRequest),
    Several(SeveralRequest),
    Feed(FeedRequest),
    Vip(FeedRequest),
    Unread(Reader, ReadingVersion, Accounts),
    Performance,
}

impl Question {
    /// Questions the store is asked at once for this one's sake: so many turns it takes.
    fn turns(&self) -> usize {
        match self {
            Self::Overview(_) => OVERVIEW_AT_ONCE,
            Self::Several(request) => request.metric_names.len().clamp(1, METRICS_AT_ONCE),
            Self::Performance => PERFORMANCE_AT_ONCE,
            Self::Detailed(_) | Self::Groups(_) | Self::Feed(_) | Self::Vip(_) | Self::Unread(..) => 1,
        }
    }

    /// How long its answer serves who asks the same.
    fn lifetime(&self, now: DateTime<Utc>) -> TimeDelta {
        match self {
            Self::Detailed(request) => lifetime(&request.range, now),
            Self::Groups(request) => lifetime(&request.range, now),
            Self::Several(request) => lifetime(&request.each.range, now),
            Self::Overview(_) | Self::Feed(_) | Self::Vip(_) | Self::Unread(..) => SHORT_LIFETIME,
            Self::Performance => LONG_LIFETIME,
        }
    }

    /// Asks it of the parts behind the API.
    async fn ask(self, shared: &HandlerState, now: DateTime<Utc>) -> Result<Reply, QueryError> {
        let queries = &shared.app.queries;
        Ok(match self {
            Self::Overview(accounts) => {
                let mut overview = queries.overview(accounts.clone()).await?;
                // Alerts are decided upon the log; the store only writes down what that said.
                overview.alert_count = open_alerts(shared, &accounts);
                Reply::Overview(Box::new(overview))
            }
            Self::Detailed(request) => {
                Reply::DrillDown(DrillDown::Whole(Box::new(queries.detailed(request).await?)))
            }
            Self::Groups(request) => {
                Reply::DrillDown(DrillDown::Groups(Box::new(queries.groups(request).await?)))
            }
            Self::Several(request) => Reply::Several(queries.several(request).await?),
            Self::Feed(request) => Reply::Page(queries.feed(request).await?),
            Self::Vip(request) => Reply::Page(queries.vip(request).await?),
            Self::Unread(reader, version, accounts) => {
                Reply::Unread(queries.unread(reader, version, accounts).await?)
            }
            Self::Performance => Reply::Performance(Box::new(Performance::measure(shared, now).await)),
        })
    }
}

/// How many alerts are open that are seen by who sees these accounts.
fn open_alerts(shared: &HandlerState, accounts: &Accounts) -> Option<u64> {
    let count = decisions::read(&*shared.app.decisions, |state| {
        let book = state.alerts().book();
        match accounts.is_all() {
            true => book.open_count(),
            false => book.open().filter(|alert| accounts.sees(alert.account_id.as_deref())).count(),
        }
    });
    count.ok().map(|count| count as u64)
}

/// What is answered to a [`Question`]; written out as what it holds.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Reply {
    Overview(Box<Overview>),
    DrillDown(DrillDown),
    Several(Several),
    Page(FeedPage),
    Unread(Unread),
    Performance(Box<Performance>),
}

impl Reply {
    /// Whether it serves who asks later.
    fn is_shared(&self) -> bool {
        match self {
            Self::Performance(performance) => performance.is_complete(),
            Self::Overview(_) | Self::DrillDown(_) | Self::Several(_) | Self::Page(_) | Self::Unread(_) => {
                true
            }
        }
    }
}

/// An answer as it is sent.
#[derive(Debug)]
struct Answer {
    body: Bytes,
    /// The same in each coding, made for the first who takes it so: who polls is not compressed for anew. None where that is
    /// not worth it.
    compressed: [OnceLock<Option<Bytes>>; ContentCoding::ALL.len()],
    tag: HeaderValue,
    computed_at: DateTime<Utc>,
    bucket: Bucket,
    is_shared: bool,
}

/// The answers of one router.
#[derive(Debug)]
pub(crate) struct Answers {
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    kept: AnswerCache<Question, Arc<Answer>>,
    /// Questions on their way: at most as many as may run and wait ([`crate::Limits`]), the next one fails at once.
    flights: HashMap<(Question, Bucket), OnItsWay>,
}

type Landing = Result<Arc<Answer>, Problem>;

/// Others who join in the moment in which a question that waits for its turn does not look. At it, the next one waits as they do.
const MAX_JOINING: usize = 64;

/// A question on its way, for who comes to wait for it.
#[derive(Debug)]
struct OnItsWay {
    landing: watch::Sender<Option<Landing>>,
    /// Who brought a place.
    callers: Vec<Caller>,
    /// Where places go; closed once it has its turn.
    places: mpsc::Sender<Place>,
}

impl OnItsWay {
    /// Waits with the others. While it waits for the turn of theirs, each other caller brings a place of their own, once, so that
    /// nobody waits longer than they would had they asked alone. Who has their whole share in use brings none.
    fn join(&mut self, gates: &Gates, caller: &Caller) -> watch::Receiver<Option<Landing>> {
        if let Ok(room) = self.places.try_reserve()
            && !self.callers.contains(caller)
            && let Ok(place) = gates.admit(caller.clone())
        {
            room.send(place);
            self.callers.push(caller.clone());
        }
        self.landing.subscribe()
    }
}

impl Answers {
    pub(crate) fn new(bounds: CacheBounds) -> Self {
        let book = Book { kept: AnswerCache::new(bounds), flights: HashMap::new() };
        Self { book: Mutex::new(book) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer of this bucket, kept, on its way, or asked for now, as the response to a caller with these headers.
pub(crate) async fn answer(
    shared: &HandlerState,
    question: Question,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let answer = shared_answer(shared, question, caller).await?;
    Ok(answer.respond(headers, (shared.app.settings.clock)()))
}

/// The body of that answer, for what is pushed.
pub(crate) async fn body(shared: &HandlerState, question: Question) -> Result<Bytes, Problem> {
    Ok(shared_answer(shared, question, &Caller::Internal).await?.body.clone())
}

async fn shared_answer(shared: &HandlerState, question: Question, caller: &Caller) -> Landing {
    let now = (shared.app.settings.clock)();
    let bucket = Bucket::of(now, question.lifetime(now));
    let mut landing = {
        let mut book = shared.answers.book();
        if let Some(answer) = book.kept.get(&question, now) {
            return Ok(answer);
        }
        let key = (question, bucket);
        match book.flights.get_mut(&key) {
            Some(flight) => flight.join(&shared.gates, caller),
            None => {
                // Before anybody can join: that this caller has its share is nothing to the others.
                let first = shared.gates.admit(caller.clone())?;
                let (flight, landing) = watch::channel(None);
                let (places, others) = mpsc::channel(MAX_JOINING);
                let callers = vec![caller.clone()];
                book.flights.insert(key.clone(), OnItsWay { landing: flight.clone(), callers, places });
                let flight = Flight { shared: shared.clone(), key, flight, is_over: false };
                // Its own task: it goes on when the one who asked first goes away.
                tokio::spawn(flight.fly(Waiting { first, others }, now));
                landing
            }
        }
    };
    let landed = landing.wait_for(Option::is_some).await;
    match landed.as_deref() {
        Ok(Some(landing)) => landing.clone(),
        // A flight that is over always says how.
        Ok(None) | Err(_) => Err(Problem::internal("a shared question ended without an answer")),
    }
}

/// A question on its way to the store.
struct Flight {
    shared: HandlerState,
    key: (Question, Bucket),
    flight: watch::Sender<Option<Landing>>,
    is_over: bool,
}

impl Flight {
    /// Asks, keeps the answer and tells everybody who waits; gives up once nobody does.
    async fn fly(mut self, waiting: Waiting, now: DateTime<Utc>) {
        let (question, bucket) = self.key.clone();
        let flight = self.flight.clone();
        let shared = self.shared.clone();
        let turns = question.turns();
        let mut asked = pin!(shared.gates.shared_query(waiting, turns, question.ask(&shared, now)));
        let outcome = loop {
            tokio::select! {
                outcome = &mut asked => break outcome,
                () = flight.closed() => if self.is_given_up() { return },
            }
        };
        let landing = outcome.and_then(|answer| Ok(Arc::new(render(&answer?, bucket, now)?)));
        self.land(landing);
    }

    /// Nobody may join between the look at who waits and the end of the flight.
    fn is_given_up(&mut self) -> bool {
        let mut book = self.shared.answers.book();
        let is_given_up = self.flight.receiver_count() == 0;
        if is_given_up {
            book.flights.remove(&self.key);
            drop(book);
            self.is_over = true;
        }
        is_given_up
    }

    fn land(&mut self, landing: Landing) {
        self.is_over = true;
        let now = (self.shared.app.settings.clock)();
        let mut book = self.shared.answers.book();
        book.flights.remove(&self.key);
        if let Ok(answer) = &landing
            && answer.is_shared
        {
            let question = self.key.0.clone();
            book.kept.keep(question, Arc::clone(answer), answer.most_bytes(), answer.bucket, now);
        }
        drop(book);
        self.flight.send_replace(Some(landing));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.is_over {
            self.land(Err(Problem::internal("a question panicked; what it said stands above")));
        }
    }
}

fn render(reply: &Reply, bucket: Bucket, computed_at: DateTime<Utc>) -> Result<Answer, Problem> {
    let failed = |error| Problem::internal(format!("an answer cannot be written: {error}"));
    let body = serde_json::to_vec(reply).map_err(failed)?;
    let tag = data_tag(reply).map_err(failed)?;
    let is_shared = reply.is_shared();
    Ok(Answer { body: body.into(), compressed: Default::default(), tag, computed_at, bucket, is_shared })
}

impl Answer {
    fn is_worth_compressing(&self) -> bool {
        self.body.len() as u64 >= WORTH_BYTES
    }

    /// The bytes it may come to hold: those of a coding are at most half as many.
    fn most_bytes(&self) -> usize {
        self.body.len() * if self.is_worth_compressing() { 2 } else { 1 }
    }

    /// The body in this coding, where that is worth it.
    fn compressed(&self, coding: ContentCoding) -> Option<Bytes> {
        if !self.is_worth_compressing() {
            return None;
        }
        let made = || {
            let compressed = content_coding::compress(coding, &self.body).ok();
            compressed.filter(|compressed| compressed.len() <= self.body.len() / ContentCoding::ALL.len())
        };
        self.compressed[coding as usize].get_or_init(made).clone()
    }

    /// The response at `now`, or 304 for a client that has it. A client may use it until the bucket ends, and learns
    /// how old it is.
    fn respond(&self, headers: &HeaderMap, now: DateTime<Utc>) -> Response {
        let is_known = is_known(headers, &self.tag);
        let coding = content_coding::accepted(headers).filter(|_| !is_known);
        let compressed = coding.and_then(|coding| Some((coding, self.compressed(coding)?)));
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let mut response = match &compressed {
            _ if is_known => StatusCode::NOT_MODIFIED.into_response(),
            Some((_, compressed)) => (json, compressed.clone()).into_response(),
            None => (json, self.body.clone()).into_response(),
        };
        response.extensions_mut().insert(AsItIs);
        let age = (now - self.computed_at).num_seconds().max(0);
        // A cache counts `max-age` from when the answer was made and knows that by Age (RFC 9111, 4.2).
        let max_age = age + self.bucket.left(now).num_seconds();
        let cache_control = match self.is_shared {
            true => HeaderValue::try_from(format!("private, max-age={max_age}"))
                .expect("digits are a header's value"),
            false => HeaderValue::from_static("no-store"),
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, self.tag.clone());
        headers.insert(AGE, HeaderValue::from(age));
        headers.insert(CACHE_CONTROL, cache_control);
        headers.insert(VARY, HeaderValue::from_static(VARIES_BY));
        // Their tags are weak ones: of the data, in whatever bytes.
        if let Some((coding, _)) = compressed {
            say_coding(headers, coding);
        }
        response
    }
}
