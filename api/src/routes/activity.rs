//! The activity feed and its VIP part.

use kelly_query::{FeedPage, FeedRequest, ReaderView};
use kelly_schemas::Severity;

use crate::answers::Question;
use crate::client::{Answered, Client};
use crate::openapi::{NotModified, QueryProblems, examples};
use crate::parameters::{Cursor, EventType, Flag, PageSize, Parameters, parameters};
use crate::problem::Problem;
use crate::routes::question::AccountId;

parameters! {
    /// Which events.
    #[derive(Debug, Clone)]
    pub(crate) struct EventFilter {
        /// Only events of this severity.
        pub(crate) severity: Option<Severity>,
        /// Only events of this type.
        pub(crate) event_type: Option<EventType>,
        /// Only events of this account.
        pub(crate) account_id: Option<AccountId>,
    }
}

parameters! {
    /// Of the feed and its VIP part.
    #[derive(Debug, Clone)]
    pub(crate) struct FeedParameters {
        /// Events a page, 1 to 200; 50 unless said.
        limit: Option<PageSize>,
        /// `next_cursor` of the page before, unchanged.
        cursor: Option<Cursor>,
        /// true: only events that you have not read; false: all of them. With either, each event says in `is_read` whether you have read it.
        unread: Option<Flag>,
        filter: EventFilter,
    }
}

impl FeedParameters {
    /// The page that this client asks for.
    async fn page(self, client: &Client) -> Result<FeedRequest, Problem> {
        let Self { limit, cursor, unread, filter } = self;
        let reader = match unread {
            None => None,
            Some(Flag(unread_only)) => {
                let version = client.reading_version().await?;
                Some(ReaderView { reader: client.reader.clone(), version, unread_only })
            }
        };
        Ok(FeedRequest {
            accounts: client.accounts.clone(),
            reader,
            limit: limit.map(|limit| limit.0),
            cursor: cursor.map(|cursor| cursor.0),
            severity: filter.severity.map(|severity| severity.as_str().to_owned()),
            event_type: filter.event_type.map(|event_type| event_type.0),
            account_id: filter.account_id.map(|id| id.0),
        })
    }
}

/// Activity feed
///
/// Events, newest first, in pages. `next_cursor` of a page, given as `cursor` together with the same
/// filters, answers the next older page; pages neither repeat nor skip an event while new ones arrive.
/// An event recorded twice under one id shows once; the same id of another account is another event.
#[utoipa::path(
    get, path = "/api/v1/kelly/monitoring/activity/feed", tag = "activity", operation_id = "activity_feed",
    params(FeedParameters), responses((status = 200, description = "A page.", body = FeedPage,
        links(
            ("next_page" = (
                operation_id = "activity_feed",
                parameters(("cursor" = "$response.body#/next_cursor"), ("severity" = "$request.query.severity"), ("event_type" = "$request.query.event_type"), ("account_id" = "$request.query.account_id")),
                description = "The next older page of the same filters."
            ))
        ), example = json!(examples::page())), NotModified, QueryProblems)
)]
pub(crate) async fn feed(client: Client, Parameters(asked): Parameters<FeedParameters>) -> Answered {
    let page = asked.page(&client).await?;
    client.answer(Question::Feed(page)).await
}

/// VIP and high-priority events
///
/// The events of the feed that matter most. An event is VIP when its metadata has `"vip": true`, or
/// its severity is high or critical, or its category is `vip`. Pages and filters as in the feed.
#[utoipa::path(
    get, path = "/api/v1/kelly/monitoring/activity/vip", tag = "activity", operation_id = "activity_vip",
    params(FeedParameters), responses((status = 200, description = "A page.", body = FeedPage,
        links(
            ("next_page" = (
                operation_id = "activity_vip",
                parameters(("cursor" = "$response.body#/next_cursor"), ("severity" = "$request.query.severity"), ("event_type" = "$request.query.event_type"), ("account_id" = "$request.query.account_id")),
                description = "The next older page of the same filters."
            ))
        ), example = json!(examples::page())), NotModified, QueryProblems)
)]
pub(crate) async fn vip(client: Client, Parameters(asked): Parameters<FeedParameters>) -> Answered {
    let page = asked.page(&client).await?;
    client.answer(Question::Vip(page)).await
}
