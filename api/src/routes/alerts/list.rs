//! Which alerts there are.

use std::cmp::Reverse;

use axum::extract::State;
use axum::{Extension, Json};
use kelly_auth::Identity;
use kelly_control::alert::{Alert, Severity, Status};
use kelly_control::{Actor, Alerts};
use kelly_query::QueryError;
use kelly_query::feed::DEFAULT_LIMIT;
use kelly_schemas::limits::METRIC_NAME_CHARACTERS;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::alert_views::{AlertSeverity, AlertView};
use crate::decisions::{actor_of, read};
use crate::openapi::AlertProblems;
use crate::parameters::{
    AlertStatus, Cursor, Flag, Identifier, Name, Offset, PageSize, Parameters, parameters,
};
use crate::problem::{Code, Problem};
use crate::routes::question::{AccountId, ConversationId};
use crate::state::HandlerState;

parameters! {
    /// Which alerts.
    pub(crate) struct ListParameters {
        /// Only alerts of this severity.
        severity: Option<AlertSeverity>,
        /// Only alerts in this state; without it those that are not resolved. Resolved ones are kept for seven days.
        status: Option<AlertStatus>,
        /// Only alerts of this account.
        account_id: Option<AccountId>,
        /// Only alerts of this conversation.
        conversation_id: Option<ConversationId>,
        /// Only alerts about this metric.
        metric: Option<Identifier<METRIC_NAME_CHARACTERS>>,
        /// Only alerts of this rule.
        rule: Option<Name>,
        /// Only alerts of this incident.
        incident_id: Option<Offset>,
        /// true: only alerts that you own, or take care of.
        mine: Option<Flag>,
        /// Alerts a page, 1 to 200; 50 unless said.
        limit: Option<PageSize>,
        /// `next_cursor` of the page before, unchanged.
        cursor: Option<Cursor>,
    }
}

/// A page of alerts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertPage {
    /// The worst first, of equal ones the newest.
    alerts: Vec<AlertView>,
    /// How many there are that are not resolved, whatever severity and state were asked for.
    counts: AlertCounts,
    /// Give it as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
    /// Everything that was decided before this offset of the control log is in the answer.
    next_offset: u64,
}

/// How many alerts there are.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct AlertCounts {
    /// Not resolved.
    open: u64,
    /// Of these, nobody takes care of.
    active: u64,
    /// Of these, somebody takes care of.
    acknowledged: u64,
    /// Of those that are open.
    critical: u64,
    /// Of those that are open.
    warning: u64,
    /// Of those that are open.
    info: u64,
}

impl AlertCounts {
    fn count(&mut self, alert: &Alert) {
        match alert.status {
            Status::Active => self.active += 1,
            Status::Acknowledged => self.acknowledged += 1,
            Status::Resolved => return,
        }
        self.open += 1;
        match alert.severity {
            Severity::Critical => self.critical += 1,
            Severity::Warning => self.warning += 1,
            Severity::Info => self.info += 1,
        }
    }
}

/// Where an alert stands in the order of pages.
type Key = (Reverse<Severity>, Reverse<i64>, Uuid);

fn key(alert: &Alert) -> Key {
    (Reverse(alert.severity), Reverse(alert.raised_ms), alert.id)
}

fn cursor_of((Reverse(severity), Reverse(raised_ms), id): Key) -> String {
    format!("{}~{raised_ms}~{id}", severity.code())
}

fn key_of(cursor: &str) -> Option<Key> {
    let mut parts = cursor.splitn(3, '~');
    let severity = match parts.next()? {
        "critical" => Severity::Critical,
        "warning" => Severity::Warning,
        "info" => Severity::Info,
        _ => return None,
    };
    Some((Reverse(severity), Reverse(parts.next()?.parse().ok()?), parts.next()?.parse().ok()?))
}

/// Alerts
///
/// Those that are not resolved, or those of another state. Who is limited to accounts sees the alerts of these.
#[utoipa::path(
    get, path = "/api/v1/kelly/alerts/active", tag = "alerts", operation_id = "alerts_active", params(ListParameters),
    responses((status = 200, description = "A page.", body = AlertPage, links(
        ("next_page" = (
            operation_id = "alerts_active",
            parameters(("cursor" = "$response.body#/next_cursor")),
            description = "The next page of the same filters."
        ))
    )), AlertProblems)
)]
pub(crate) async fn active(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(asked): Parameters<ListParameters>,
) -> Result<Json<AlertPage>, Problem> {
    if let Some(account) = &asked.account_id
        && !caller.accounts.sees(Some(&account.0))
    {
        return Err(QueryError::AccountNotPermitted.into());
    }
    let after = match &asked.cursor {
        None => None,
        Some(Identifier(cursor)) => Some(key_of(cursor).ok_or_else(|| {
            Problem::new(
                Code::InvalidCursor,
                "`cursor` is none that this route gave out; leave it out for the first page.",
            )
        })?),
    };
    let me = actor_of(&caller, &shared.app.settings.issuer);
    let page = read(&*shared.app.decisions, |state| {
        let filter = Filter { asked: &asked, caller: &caller, me: &me };
        AlertPage { next_offset: state.next_offset(), ..filter.page(state.alerts(), after) }
    })?;
    Ok(Json(page))
}

struct Filter<'a> {
    asked: &'a ListParameters,
    caller: &'a Identity,
    me: &'a Actor,
}

impl Filter<'_> {
    fn page(&self, alerts: &Alerts, after: Option<Key>) -> AlertPage {
        let mut counts = AlertCounts::default();
        let mut found: Vec<&Alert> = Vec::new();
        for alert in alerts.book().iter().filter(|alert| self.is_about(alert)) {
            counts.count(alert);
            if self.is_in_state(alert) && after.is_none_or(|after| key(alert) > after) {
                found.push(alert);
            }
        }
        let limit = self.asked.limit.map_or(DEFAULT_LIMIT, |PageSize(limit)| limit) as usize;
        let has_more = found.len() > limit;
        if has_more {
            found.select_nth_unstable_by_key(limit, |alert| key(alert));
            found.truncate(limit);
        }
        found.sort_unstable_by_key(|alert| key(alert));
        let next_cursor = found.last().filter(|_| has_more).map(|last| cursor_of(key(last)));
        let alerts = found.into_iter().map(|alert| AlertView::of(alert, alerts)).collect();
        AlertPage { alerts, counts, next_cursor, next_offset: 0 }
    }

    fn is_about(&self, alert: &Alert) -> bool {
        let asked = self.asked;
        let same = |wanted: Option<&str>, found: Option<&str>| wanted.is_none() || wanted == found;
        self.caller.accounts.sees(alert.account_id.as_deref())
            && same(asked.account_id.as_ref().map(|id| &*id.0), alert.account_id.as_deref())
            && same(asked.conversation_id.as_ref().map(|id| &*id.0), alert.conversation_id.as_deref())
            && same(asked.metric.as_ref().map(|metric| &*metric.0), alert.metric.as_deref())
            && same(asked.rule.as_ref().map(|rule| &*rule.0), Some(&alert.rule))
            && asked.incident_id.is_none_or(|Offset(id)| id == alert.incident)
            && asked.mine.is_none_or(|Flag(mine)| !mine || self.is_mine(alert))
    }

    fn is_mine(&self, alert: &Alert) -> bool {
        alert.owner.as_ref().is_some_and(|owner| owner.to == self.me.id)
            || alert.acknowledged.as_ref().is_some_and(|by| by.actor.is_same(self.me))
    }

    fn is_in_state(&self, alert: &Alert) -> bool {
        let is_wanted = match self.asked.status {
            None => alert.is_open(),
            Some(AlertStatus::Active) => alert.status == Status::Active,
            Some(AlertStatus::Acknowledged) => alert.status == Status::Acknowledged,
            Some(AlertStatus::Resolved) => alert.status == Status::Resolved,
        };
        is_wanted && self.asked.severity.is_none_or(|severity| alert.severity == severity.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
            let key = (Reverse(severity), Reverse(-5), Uuid::from_u128(7));
            assert_eq!(key_of(&cursor_of(key)), Some(key));
        }
        for wrong in
            ["", "critical", "critical~1", "critical~x~7", "high~1~00000000-0000-0000-0000-000000000007"]
        {
            assert_eq!(key_of(wrong), None, "{wrong}");
        }
    }
}
