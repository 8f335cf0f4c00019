//! What the caller has read of the activity feed.

use std::future::Future;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kelly_auth::Identity;
use kelly_live::User;
use kelly_query::{EventName, FeedRequest, MarkRequest, Marked, Reader, ReadingVersion, Unread};
use kelly_schemas::Severity;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::answers::Question;
use crate::bodies::BodyBounds;
use crate::caller::Caller;
use crate::client::{Answered, Client};
use crate::openapi::{MarkProblems, NotModified, PlainQueryProblems};
use crate::parameters::Parameters;
use crate::problem::{Code, Problem};
use crate::routes::json_body;
use crate::state::HandlerState;

/// Longest body: more than the longest names of as many events as one call marks.
const MAX_BODY_BYTES: usize = 128 << 10;

/// What is marked as read, or which mark is undone.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum MarkRead {
    /// Single events.
    Events(MarkEvents),
    /// Everything up to a cursor.
    UpTo(MarkUpTo),
    /// A mark is taken back.
    Undo(UndoMark),
}

/// Single events to mark as read.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MarkEvents {
    /// The id of the mark, yours to choose (UUID): sent again with the same one, it changes nothing. Kelly chooses one where it is absent.
    mark_id: Option<Uuid>,
    /// These events. Also those that were pushed and are not in the feed yet.
    #[schema(min_items = 1, max_items = 200)]
    events: Vec<MarkedEvent>,
}

/// Everything up to a cursor, to mark as read.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MarkUpTo {
    /// As with single events.
    mark_id: Option<Uuid>,
    /// Everything up to a cursor.
    up_to: UpTo,
}

/// A mark to take back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UndoMark {
    /// Its id.
    undo: Uuid,
}

/// An event.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MarkedEvent {
    /// Its id.
    id: Uuid,
    /// Its account; absent or null where it has none.
    #[schema(example = "account123", min_length = 1, max_length = 50)]
    account_id: Option<String>,
}

/// The events of a feed with these filters, up to where a cursor of it stands: the event there and all that are older.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpTo {
    /// `newest_cursor` of a page for this page and everything older; `next_cursor` for its last event and everything older.
    #[schema(max_length = 1024)]
    cursor: String,
    /// As the cursor was given out for.
    severity: Option<Severity>,
    /// As the cursor was given out for.
    #[schema(min_length = 1, max_length = 100)]
    event_type: Option<String>,
    /// As the cursor was given out for.
    #[schema(min_length = 1, max_length = 50)]
    account_id: Option<String>,
    /// Whether the cursor is one of the VIP feed.
    #[serde(default)]
    vip: bool,
}

/// A mark.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MarkedRead {
    /// Its id: give it as `undo` to take the mark back.
    mark_id: Uuid,
    /// Whether it was taken back, for good. Otherwise it is in force.
    undone: bool,
}

/// What a body asks for.
enum Asked {
    Mark(Uuid, Box<Marked>),
    Undo(Uuid),
}

impl MarkRead {
    fn asked(self, caller: &Identity) -> Asked {
        let mark_of = |chosen: Option<Uuid>| chosen.unwrap_or_else(Uuid::now_v7);
        match self {
            Self::Events(MarkEvents { mark_id, events }) => {
                let name = |event: MarkedEvent| EventName { id: event.id, account_id: event.account_id };
                let events = events.into_iter().map(name).collect();
                Asked::Mark(mark_of(mark_id), Box::new(Marked::Events(events)))
            }
            Self::UpTo(MarkUpTo { mark_id, up_to }) => {
                let feed = FeedRequest {
                    cursor: Some(up_to.cursor),
                    severity: up_to.severity.map(|severity| severity.as_str().to_owned()),
                    event_type: up_to.event_type,
                    account_id: up_to.account_id,
                    ..FeedRequest::newest(caller.accounts.clone())
                };
                Asked::Mark(mark_of(mark_id), Box::new(Marked::UpTo { feed, vip_only: up_to.vip }))
            }
            Self::Undo(UndoMark { undo }) => Asked::Undo(undo),
        }
    }
}

/// Mark events as read
///
/// For you alone: `events` by their names, at most 200, or everything `up_to` a cursor, or `undo` of an earlier mark: what is read is then what it
/// would be without that mark. It is in force at every instance once it is answered, and your other connections that are in the room
/// `read_state` are told. A mark up to a cursor covers what the feed has by then: an event that comes later, and happened before, is
/// unread (unless it comes more than two days after it happened). Only events of accounts that you may see are marked, and nothing is said about
/// whether there are such events. A mark can be undone as long as its events are kept.
#[utoipa::path(
    post, path = "/api/v1/kelly/monitoring/activity/mark-read", tag = "activity", operation_id = "activity_mark_read",
    request_body(content = MarkRead, examples(
        ("one" = (summary = "Everything up to a page's newest event", value = json!({
            "up_to": {"cursor": "AQAAAZHhtVyIAZjzwqS3fiGww9mh8uTG2E0ldn-dzhP1YWNjb3VudDEyM7tdvYY"}
        }))),
        ("events" = (summary = "Single events", value = json!({
            "mark_id": "0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d9",
            "events": [{"id": "0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d8", "account_id": "account123"}]
        }))),
        ("undo" = (summary = "Take a mark back", value = json!({"undo": "0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d9"}))),
    )),
    responses(
        (status = 200, description = "The mark, in force or undone.", body = MarkedRead,
            example = json!({"mark_id": "0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d9", "undone": false})),
        MarkProblems,
    )
)]
pub(crate) async fn mark_read(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    _: Parameters<()>,
    request: Request,
) -> Result<Response, Problem> {
    let caller_of_share = Caller::of(request.extensions());
    let bounds = BodyBounds { bytes: MAX_BODY_BYTES, time: shared.gates.limits().body_timeout };
    let body: MarkRead = json_body::read_within(request, &shared.gates, bounds).await?;
    let queries = &shared.app.queries;
    let reader = Reader::of(&caller);
    let (mark_id, undone) = match body.asked(&caller) {
        Asked::Mark(mark, what) => {
            let request = MarkRequest { reader, accounts: caller.accounts.clone(), mark, what: *what };
            let is_in_force = turn(&shared, caller_of_share, queries.mark_read(request)).await??;
            (mark, !is_in_force)
        }
        Asked::Undo(mark) => {
            if !turn(&shared, caller_of_share, queries.undo_mark(reader, mark)).await?? {
                return Err(Problem::new(
                    Code::NotFound,
                    "You have made no such mark, or it has expired with its events; `undo` takes the `mark_id` of an answer.",
                ));
            }
            (mark, true)
        }
    };
    shared.app.live.reading.look(&shared, &User::of(&caller));
    Ok(Json(MarkedRead { mark_id, undone }).into_response())
}

/// How much is unread
///
/// Of the events that you may see, the newest 10,000 unread ones are counted, among the newest 24,000 of those that your furthest mark of all
/// of them does not cover; where `more` is true, there may be older ones. `epoch` and `offset` say what you had marked by then; the room
/// `read_state` pushes the same whenever you mark something, at whichever instance.
#[utoipa::path(
    get, path = "/api/v1/kelly/monitoring/activity/unread", tag = "activity", operation_id = "activity_unread",
    responses((status = 200, description = "The counts.", body = Unread), NotModified, PlainQueryProblems)
)]
pub(crate) async fn unread(client: Client, _: Parameters<()>) -> Answered {
    let version = client.reading_version().await?;
    client.answer(Question::Unread(client.reader.clone(), version, client.accounts.clone())).await
}

/// Asks the store in the caller's turn.
async fn turn<T>(
    shared: &HandlerState,
    caller: Caller,
    question: impl Future<Output = T>,
) -> Result<T, Problem> {
    let admitted = shared.gates.admit(caller)?;
    shared.gates.query(admitted, 1, question).await
}

impl Client {
    /// What the client has marked as read by now. It is asked anew each time, so that who has marked something is never answered with
    /// what is kept from before.
    pub(crate) async fn reading_version(&self) -> Result<ReadingVersion, Problem> {
        let asked = self.shared.app.queries.reading_versions(vec![self.reader.clone()]);
        let mut versions = turn(&self.shared, self.caller.clone(), asked).await??;
        versions.pop().ok_or_else(|| Problem::internal("a user has no version of what is read"))
    }
}
