//! The activity feed and its VIP part.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use kelly_query::cache::SHORT_LIFETIME;
use kelly_query::feed::{DEFAULT_LIMIT, MAX_LIMIT};
use kelly_query::{FeedPage, FeedRequest};
use kelly_schemas::Severity;
use kelly_schemas::limits::{ACCOUNT_ID_CHARACTERS, EVENT_TYPE_CHARACTERS};

use crate::answers::{Question, answer};
use crate::openapi::{NotModified, QueryProblems};
use crate::parameters::{Parameters, echo};
use crate::problem::Problem;
use crate::state::Shared;

const FEED_PARAMETERS: [&str; 5] = ["limit", "cursor", "severity", "event_type", "account_id"];
/// Longer than any cursor this server gives out.
const MAX_CURSOR_CHARACTERS: usize = 1_024;

/// Activity feed
///
/// Events, newest first, in pages. `next_cursor` of a page, given as `cursor` together with the same
/// filters, answers the next older page; pages neither repeat nor skip an event while new ones arrive.
/// An event recorded twice under one id shows once.
#[utoipa::path(
    get,
    path = "/api/v1/kelly/monitoring/activity/feed",
    tag = "activity",
    operation_id = "activity_feed",
    params(
        ("limit" = Option<u32>, Query, description = "Events a page, 1 to 200; 50 unless said.", example = 50, minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before, unchanged."),
        ("severity" = inline(Option<Severity>), Query, description = "Only events of this severity."),
        ("event_type" = Option<String>, Query, description = "Only events of this type.", max_length = 100),
        ("account_id" = Option<String>, Query, description = "Only events of this account.", max_length = 50),
    ),
    responses(
        (status = 200, description = "A page.", body = FeedPage, example = json!({
            "events": [{
                "id": "0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d8", "event_type": "user_interaction", "title": "User started conversation",
                "description": null, "account_id": "account123", "conversation_id": "conv456", "user_id": null,
                "severity": "low", "category": "general", "created_at": "2024-09-11T15:30:45Z", "is_vip": false, "metadata": null
            }],
            "next_cursor": null,
            "has_more": false
        })),
        NotModified,
        QueryProblems,
    )
)]
pub(crate) async fn feed(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = feed_request(&uri)?;
    let queries = Arc::clone(&shared.app.queries);
    let question = Question::Feed(request.clone());
    let ask = async move { queries.feed(request).await };
    let answer = answer(&shared, question, SHORT_LIFETIME, ask).await?;
    Ok(answer.respond(&headers, (shared.app.settings.clock)()))
}

/// VIP and high-priority events
///
/// The events of the feed that matter most. An event is VIP when its metadata has `"vip": true`, or
/// its severity is high or critical, or its category is `vip`. Pages and filters as in the feed.
#[utoipa::path(
    get,
    path = "/api/v1/kelly/monitoring/activity/vip",
    tag = "activity",
    operation_id = "activity_vip",
    params(
        ("limit" = Option<u32>, Query, description = "Events a page, 1 to 200; 50 unless said.", example = 50, minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before, unchanged."),
        ("severity" = inline(Option<Severity>), Query, description = "Only events of this severity."),
        ("event_type" = Option<String>, Query, description = "Only events of this type.", max_length = 100),
        ("account_id" = Option<String>, Query, description = "Only events of this account.", max_length = 50),
    ),
    responses(
        (status = 200, description = "A page.", body = FeedPage, example = json!({
            "events": [{
                "id": "0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d8", "event_type": "safety_concern", "title": "Safety score fell",
                "description": null, "account_id": "account123", "conversation_id": "conv456", "user_id": null,
                "severity": "high", "category": "general", "created_at": "2024-09-11T15:30:45Z", "is_vip": true, "metadata": null
            }],
            "next_cursor": null,
            "has_more": false
        })),
        NotModified,
        QueryProblems,
    )
)]
pub(crate) async fn vip(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = feed_request(&uri)?;
    let queries = Arc::clone(&shared.app.queries);
    let question = Question::Vip(request.clone());
    let ask = async move { queries.vip(request).await };
    let answer = answer(&shared, question, SHORT_LIFETIME, ask).await?;
    Ok(answer.respond(&headers, (shared.app.settings.clock)()))
}

fn feed_request(uri: &Uri) -> Result<FeedRequest, Problem> {
    let mut parameters = Parameters::read(uri, &FEED_PARAMETERS);
    let request = FeedRequest {
        limit: parameters.parse("limit", parse_limit),
        cursor: parameters.identifier("cursor", MAX_CURSOR_CHARACTERS),
        severity: parameters.parse("severity", parse_severity),
        event_type: parameters.identifier("event_type", EVENT_TYPE_CHARACTERS),
        account_id: parameters.identifier("account_id", ACCOUNT_ID_CHARACTERS),
    };
    parameters.finish()?;
    Ok(request)
}

fn parse_limit(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| {
        format!(
            "(`{}`) must be a whole number from 1 to {MAX_LIMIT}; without it a page has {DEFAULT_LIMIT}",
            echo(text)
        )
    })
}

pub(crate) fn parse_severity(text: &str) -> Result<String, String> {
    Severity::parse(text).map(|severity| severity.as_str().to_owned()).ok_or_else(|| {
        let allowed = Severity::ALL.map(Severity::as_str).join(", ");
        format!("(`{}`) is none of {allowed}", echo(text))
    })
}
