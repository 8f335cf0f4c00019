//! Shared answers: of equal questions one is asked of the store, and its answer, written out once, serves everybody
//! until its time bucket ends ([`kelly_query::cache`]). Who asks while the question is on its way waits for the same answer.
//! Errors are told to all who waited and not kept.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use kelly_query::cache::{AnswerCache, Bucket, CacheBounds};
use kelly_query::{DetailedRequest, FeedRequest, GroupsRequest, QueryError, SeveralRequest};
use serde::Serialize;
use tokio::sync::watch;

use crate::conditional::{entity_tag, is_known};
use crate::problem::Problem;
use crate::state::Shared;

/// What can be asked, with everything that makes an answer another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    Overview,
    Detailed(DetailedRequest),
    Groups(GroupsRequest),
    Several(SeveralRequest),
    Feed(FeedRequest),
    Vip(FeedRequest),
    Performance,
}

/// An answer as it is sent.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Bytes,
    tag: HeaderValue,
    computed_at: DateTime<Utc>,
    bucket: Bucket,
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
    flights: HashMap<Question, watch::Sender<Option<Landing>>>,
}

type Landing = Result<Arc<Answer>, Problem>;

impl Answers {
    pub(crate) fn new(bounds: CacheBounds) -> Self {
        let book = Book { kept: AnswerCache::new(bounds), flights: HashMap::new() };
        Self { book: Mutex::new(book) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer of this bucket: kept, on its way, or asked for now by `ask`.
pub(crate) async fn answer<T: Serialize + 'static>(
    shared: &Shared,
    question: Question,
    lifetime: TimeDelta,
    ask: impl Future<Output = Result<T, QueryError>> + Send + 'static,
) -> Landing {
    let now = (shared.app.settings.clock)();
    let mut landing = {
        let mut book = shared.answers.book();
        if let Some(answer) = book.kept.get(&question, now) {
            return Ok(answer);
        }
        match book.flights.get(&question) {
            Some(flight) => flight.subscribe(),
            None => {
                let (flight, landing) = watch::channel(None);
                book.flights.insert(question.clone(), flight.clone());
                let bucket = Bucket::of(now, lifetime);
                let flight = Flight { shared: shared.clone(), question, flight, is_over: false };
                // Its own task: it goes on when the one who asked first goes away.
                tokio::spawn(flight.fly(ask, bucket, now));
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
    shared: Shared,
    question: Question,
    flight: watch::Sender<Option<Landing>>,
    is_over: bool,
}

impl Flight {
    /// Asks, keeps the answer and tells everybody who waits; gives up once nobody does.
    async fn fly<T: Serialize>(
        mut self,
        ask: impl Future<Output = Result<T, QueryError>> + Send,
        bucket: Bucket,
        computed_at: DateTime<Utc>,
    ) {
        let flight = self.flight.clone();
        let shared = self.shared.clone();
        let mut asked = pin!(shared.gates.query(ask));
        let outcome = loop {
            tokio::select! {
                outcome = &mut asked => break outcome,
                () = flight.closed() => if self.is_given_up() { return },
            }
        };
        let landing = outcome.and_then(|answer| render(&answer?, bucket, computed_at));
        self.land(landing);
    }

    /// Nobody may join between the look at who waits and the end of the flight.
    fn is_given_up(&mut self) -> bool {
        let mut book = self.shared.answers.book();
        let is_given_up = self.flight.receiver_count() == 0;
        if is_given_up {
            book.flights.remove(&self.question);
            drop(book);
            self.is_over = true;
        }
        is_given_up
    }

    fn land(&mut self, landing: Landing) {
        self.is_over = true;
        let now = (self.shared.app.settings.clock)();
        let mut book = self.shared.answers.book();
        book.flights.remove(&self.question);
        if let Ok(answer) = &landing {
            let question = self.question.clone();
            book.kept.keep(question, Arc::clone(answer), answer.body.len(), answer.bucket, now);
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

fn render<T: Serialize>(answer: &T, bucket: Bucket, computed_at: DateTime<Utc>) -> Landing {
    let body = serde_json::to_vec(answer)
        .map_err(|error| Problem::internal(format!("an answer cannot be written: {error}")))?;
    let tag = entity_tag(&body);
    Ok(Arc::new(Answer { body: body.into(), tag, computed_at, bucket }))
}

impl Answer {
    /// The response at `now`, or 304 for a client that has it. A client may use it until the bucket ends, and learns
    /// how old it is.
    pub(crate) fn respond(&self, headers: &HeaderMap, now: DateTime<Utc>) -> Response {
        let mut response = match is_known(headers, &self.tag) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], self.body.clone())
                .into_response(),
        };
        let age = (now - self.computed_at).num_seconds().max(0);
        // A cache counts `max-age` from when the answer was made and knows that by Age (RFC 9111, 4.2).
        let max_age = age + self.bucket.left(now).num_seconds();
        let cache_control = HeaderValue::try_from(format!("private, max-age={max_age}"))
            .expect("digits are a header's value");
        let headers = response.headers_mut();
        headers.insert(ETAG, self.tag.clone());
        headers.insert(AGE, HeaderValue::from(age));
        headers.insert(CACHE_CONTROL, cache_control);
        headers.insert(VARY, HeaderValue::from_static("accept"));
        response
    }
}
