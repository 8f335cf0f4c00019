//! Alerts, silences and incidents as they are shown: over HTTP and in what is pushed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kelly_auth::Accounts;
use kelly_control::alert::{Alert, Note, Resolution};
use kelly_control::alerts::{HistoryEntry, Incident, RuleNoise, Silence, TimelineEntry};
use kelly_control::{Actor, Alerts, By, Matcher};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// How bad an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AlertSeverity {
    /// To be known.
    Info,
    /// To be looked at.
    Warning,
    /// To be acted upon now.
    Critical,
}

impl From<AlertSeverity> for kelly_control::alert::Severity {
    fn from(severity: AlertSeverity) -> Self {
        match severity {
            AlertSeverity::Info => Self::Info,
            AlertSeverity::Warning => Self::Warning,
            AlertSeverity::Critical => Self::Critical,
        }
    }
}

/// Who did something.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Who {
    /// The user of the token, the rule's name, or the part of Kelly.
    #[schema(example = "ada")]
    name: String,
    /// `person`, `rule`, `evaluator`, `worker` or `system`.
    #[schema(value_type = String, example = "person")]
    kind: &'static str,
    /// The role under which it was done; null where there is none.
    role: Option<String>,
}

impl Who {
    pub(crate) fn of(actor: &Actor) -> Self {
        Self { name: actor.id.clone(), kind: actor.kind.code(), role: actor.role.clone() }
    }
}

/// Who did something, and when.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// Who.
    by: Who,
    /// When, by the control log's clock.
    at: DateTime<Utc>,
}

impl Done {
    pub(crate) fn of(by: &By) -> Self {
        Self { by: Who::of(&by.actor), at: time(by.at_ms) }
    }
}

/// Who owns an alert.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OwnerView {
    /// The owner.
    #[schema(example = "ada")]
    name: String,
    /// Who said so, and when.
    set: Done,
}

/// How an alert ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResolutionView {
    /// Who resolved it, and when.
    resolved: Done,
    /// Why, where the data did: `recovered`, `no_data`, `vanished`, `rule_changed`, `rule_removed` or `schedule_ended`.
    #[schema(value_type = Option<String>)]
    reason: Option<&'static str>,
    /// The value then; null when it is not known.
    value: Option<f64>,
    /// What the person said.
    note: Option<String>,
}

impl ResolutionView {
    fn of(resolution: &Resolution) -> Self {
        Self {
            resolved: Done::of(&resolution.by),
            reason: resolution.reason.map(kelly_control::alert::DataReason::code),
            value: resolution.value,
            note: resolution.note.clone(),
        }
    }
}

/// An alert.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alert)]
pub(crate) struct AlertView {
    /// Its id, from raise to resolve.
    id: Uuid,
    /// `active`: nobody takes care yet; `acknowledged`: somebody does; `resolved`: over.
    #[schema(value_type = String, example = "active")]
    status: &'static str,
    /// How bad it is: `info`, `warning` or `critical`.
    #[schema(value_type = String, example = "critical")]
    severity: &'static str,
    /// The worst it has been.
    #[schema(value_type = String, example = "critical")]
    worst_severity: &'static str,
    /// What is wrong, with the number that matters.
    explanation: String,
    /// The rule that raised it.
    #[schema(example = "high_response_time")]
    rule: String,
    /// That rule's version.
    rule_version: u32,
    /// The metric it is about.
    metric: Option<String>,
    /// The account it is about; null where it is about none.
    account_id: Option<String>,
    /// The conversation it is about.
    conversation_id: Option<String>,
    /// The newest value that was reported.
    value: Option<f64>,
    /// The threshold it was held against.
    threshold: Option<f64>,
    /// Since when its condition holds.
    since: DateTime<Utc>,
    /// When it was raised.
    raised_at: DateTime<Utc>,
    /// Whether its condition still holds, as far as the data said. A person can resolve what still holds.
    holds: bool,
    /// Why it exists, where that is not a value beyond a threshold.
    cause: Option<String>,
    /// The rule's labels.
    labels: BTreeMap<String, String>,
    /// Where to read what to do.
    runbook: Option<String>,
    /// Recorded and shown, but nobody is to be told.
    quiet: bool,
    /// The silence because of which nobody is told; null where none is in force for it. Of an alert that is pushed: when it changed.
    silenced_by: Option<Uuid>,
    /// Who takes care of it.
    acknowledged: Option<Done>,
    /// Who owns it.
    owner: Option<OwnerView>,
    /// How far it has climbed; 0 is where it begins.
    level: u8,
    /// Whom that level tells.
    notify: Vec<String>,
    /// When it comes to the next level by itself; null when it does not.
    next_level_at: Option<DateTime<Utc>>,
    /// How it ended.
    resolution: Option<ResolutionView>,
    /// The incident it belongs to.
    incident_id: u64,
    /// Its version: give it as `expected`, and a command that was made for another one is a conflict.
    version: u64,
    /// Who made this version, and when.
    changed: Done,
    /// How many notes there are.
    notes: usize,
}

impl AlertView {
    /// As it is, and with what silences say of it now.
    pub(crate) fn of(alert: &Alert, alerts: &Alerts) -> Self {
        Self::with_silence(alert, alerts.silences().of(alert).map(|silence| silence.id))
    }

    /// The same where the silence is known.
    pub(crate) fn with_silence(alert: &Alert, silenced_by: Option<Uuid>) -> Self {
        Self {
            id: alert.id,
            status: alert.status.code(),
            severity: alert.severity.code(),
            worst_severity: alert.worst.code(),
            explanation: alert.explanation.clone(),
            rule: alert.rule.clone(),
            rule_version: alert.rule_version,
            metric: alert.metric.clone(),
            account_id: alert.account_id.clone(),
            conversation_id: alert.conversation_id.clone(),
            value: alert.value,
            threshold: alert.threshold,
            since: time(alert.since_ms),
            raised_at: time(alert.raised_ms),
            holds: alert.holds,
            cause: alert.cause.clone(),
            labels: alert.labels.clone(),
            runbook: alert.runbook.clone(),
            quiet: alert.quiet,
            silenced_by,
            acknowledged: alert.acknowledged.as_ref().map(Done::of),
            owner: alert
                .owner
                .as_ref()
                .map(|owner| OwnerView { name: owner.to.clone(), set: Done::of(&owner.by) }),
            level: alert.climb.level,
            notify: alert.climb.notify.clone(),
            next_level_at: alert.climb.due_ms.map(time),
            resolution: alert.resolution.as_ref().map(ResolutionView::of),
            incident_id: alert.incident,
            version: alert.version(),
            changed: Done::of(&alert.changed),
            notes: alert.notes.len(),
        }
    }
}

/// Somebody's words about an alert.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NoteView {
    /// Whose, and when.
    written: Done,
    /// The words.
    text: String,
}

impl NoteView {
    pub(crate) fn of(note: &Note) -> Self {
        Self { written: Done::of(&note.by), text: note.text.clone() }
    }
}

/// A step in the life of an alert.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepView {
    /// What happened, e.g. `raised`, `acknowledged`, `climbed`, `data_resolved`.
    #[schema(value_type = String, example = "acknowledged")]
    step: &'static str,
    /// Who did it, and when.
    done: Done,
    /// The severity then.
    #[schema(value_type = String, example = "warning")]
    severity: &'static str,
    /// The value then.
    value: Option<f64>,
    /// The level then.
    level: u8,
    /// What was said.
    note: Option<String>,
    /// Where on the control log.
    offset: u64,
}

impl StepView {
    pub(crate) fn of(entry: &HistoryEntry) -> Self {
        Self {
            step: entry.step.code(),
            done: Done::of(&entry.by),
            severity: entry.severity.code(),
            value: entry.value,
            level: entry.level,
            note: entry.note.clone(),
            offset: entry.by.offset,
        }
    }
}

/// Which alerts are meant: all that is named must be equal. It names something.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = AlertMatcher)]
pub(crate) struct MatcherView {
    /// The rule.
    #[schema(min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    pub(crate) rule: Option<String>,
    /// The metric.
    #[schema(min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    pub(crate) metric: Option<String>,
    /// The account.
    #[schema(min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    pub(crate) account_id: Option<String>,
    /// The conversation.
    #[schema(min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    pub(crate) conversation_id: Option<String>,
    /// Exactly this severity.
    pub(crate) severity: Option<AlertSeverity>,
    /// Labels that the alert carries, at most 32.
    pub(crate) labels: BTreeMap<String, String>,
}

impl From<MatcherView> for Matcher {
    fn from(view: MatcherView) -> Self {
        let MatcherView { rule, metric, account_id, conversation_id, severity, labels } = view;
        let severity = severity.map(Into::into);
        Self { rule, metric, account_id, conversation_id, severity, labels }
    }
}

impl MatcherView {
    pub(crate) fn of(matcher: &Matcher) -> Self {
        let severity = matcher.severity.map(|severity| match severity {
            kelly_control::alert::Severity::Info => AlertSeverity::Info,
            kelly_control::alert::Severity::Warning => AlertSeverity::Warning,
            kelly_control::alert::Severity::Critical => AlertSeverity::Critical,
        });
        let Matcher { rule, metric, account_id, conversation_id, labels, .. } = matcher.clone();
        Self { rule, metric, account_id, conversation_id, severity, labels }
    }
}

/// A silence: nobody is told of alerts like these for a while.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Silence)]
pub(crate) struct SilenceView {
    /// Its id.
    id: Uuid,
    /// Which alerts.
    matcher: MatcherView,
    /// When it ends; of one that has ended, when it did.
    ends_at: DateTime<Utc>,
    /// Whether it is over.
    ended: bool,
    /// Why it is there.
    reason: String,
    /// Who made or last changed it, and when.
    made: Done,
    /// Who ended it before its time.
    ended_by: Option<Done>,
    /// Alerts that were raised under it.
    matched: u64,
    /// When the newest of them was.
    last_matched_at: Option<DateTime<Utc>>,
    /// Whether it is in force and has not matched anything for a week: is it still needed?
    stale: bool,
}

/// After so long without an alert a silence is stale.
const STALE_AFTER_MS: i64 = 7 * 24 * 3_600 * 1_000;

impl SilenceView {
    /// As it is at this time.
    pub(crate) fn of(silence: &Silence, ended: bool, now_ms: i64) -> Self {
        let used_ms = silence.last_matched_ms.unwrap_or(silence.by.at_ms).max(silence.by.at_ms);
        Self {
            id: silence.id,
            matcher: MatcherView::of(&silence.matcher),
            ends_at: time(silence.ends_ms),
            ended,
            reason: silence.reason.clone(),
            made: Done::of(&silence.by),
            ended_by: silence.ended_by.as_ref().map(Done::of),
            matched: silence.matched,
            last_matched_at: silence.last_matched_ms.map(time),
            stale: !ended && now_ms.saturating_sub(used_ms) >= STALE_AFTER_MS,
        }
    }
}

/// What happened in an incident.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimelineView {
    /// To which alert.
    alert_id: Uuid,
    /// What.
    #[schema(value_type = String, example = "raised")]
    step: &'static str,
    /// Who did it, and when.
    done: Done,
    /// Where on the control log.
    offset: u64,
}

impl TimelineView {
    fn of(entry: &TimelineEntry) -> Self {
        let by = By { actor: entry.actor.clone(), at_ms: entry.at_ms, offset: entry.offset };
        Self { alert_id: entry.alert, step: entry.step.code(), done: Done::of(&by), offset: entry.offset }
    }
}

/// An incident: alerts of one cause.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Incident)]
pub(crate) struct IncidentView {
    /// Its id.
    id: u64,
    /// What its alerts have in common, e.g. `conversation:c-7`.
    cause: String,
    /// When its first alert was raised.
    opened_at: DateTime<Utc>,
    /// When the newest one was.
    last_raised_at: DateTime<Utc>,
    /// When the last one was resolved; null while one is not.
    closed_at: Option<DateTime<Utc>>,
    /// Its alerts that you may see, the first 500.
    alerts: Vec<Uuid>,
    /// How many there are; for who is limited to accounts, those they may see.
    count: u64,
    /// How many of them are not resolved.
    open: u64,
    /// What happened, oldest first; only where one incident is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeline: Option<Vec<TimelineView>>,
    /// Entries that are not in `timeline` any more; the control log has them. Not told to who is limited to accounts.
    timeline_dropped: u64,
}

impl IncidentView {
    /// As far as these accounts see it; `None` where that is not at all.
    pub(crate) fn of(
        incident: &Incident,
        alerts: &Alerts,
        accounts: &Accounts,
        with_timeline: bool,
    ) -> Option<Self> {
        let book = alerts.book();
        let is_seen = |id: &Uuid| match accounts.is_all() {
            true => true,
            // One that is forgotten has no account any more that could be looked at.
            false => book.get(id).is_some_and(|alert| accounts.sees(alert.account_id.as_deref())),
        };
        let seen: Vec<Uuid> = incident.alerts.iter().filter(|id| is_seen(id)).copied().collect();
        if seen.is_empty() && !accounts.is_all() {
            return None;
        }
        let of_those = match accounts.is_all() {
            true => Extent::whole(incident),
            false => Extent::of(seen.iter().filter_map(|id| book.get(id))),
        };
        let timeline = with_timeline.then(|| {
            let entries = incident.timeline.iter().filter(|entry| is_seen(&entry.alert));
            entries.map(TimelineView::of).collect()
        });
        Some(Self {
            id: incident.id,
            cause: incident.cause.clone(),
            opened_at: time(of_those.opened_ms),
            last_raised_at: time(of_those.last_raised_ms),
            closed_at: of_those.closed_ms.map(time),
            alerts: seen,
            count: of_those.count,
            open: of_those.open,
            timeline,
            timeline_dropped: if accounts.is_all() { incident.dropped } else { 0 },
        })
    }
}

impl IncidentView {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether one of its alerts is not resolved, as far as they are seen.
    pub(crate) fn is_open(&self) -> bool {
        self.open > 0
    }
}

/// How large an incident is, and how long it lasted.
struct Extent {
    opened_ms: i64,
    last_raised_ms: i64,
    closed_ms: Option<i64>,
    count: u64,
    open: u64,
}

impl Extent {
    fn whole(incident: &Incident) -> Self {
        let Incident { opened_ms, last_raised_ms, closed_ms, count, open, .. } = *incident;
        Self { opened_ms, last_raised_ms, closed_ms, count, open }
    }

    /// As these alerts say, which are some of them: what the others say is not told.
    fn of<'a>(alerts: impl Iterator<Item = &'a Alert>) -> Self {
        let none = Self { opened_ms: i64::MAX, last_raised_ms: i64::MIN, closed_ms: None, count: 0, open: 0 };
        let mut extent = alerts.fold(none, |extent, alert| Self {
            opened_ms: extent.opened_ms.min(alert.raised.at_ms),
            last_raised_ms: extent.last_raised_ms.max(alert.raised.at_ms),
            closed_ms: extent.closed_ms.max(alert.resolution.as_ref().map(|end| end.by.at_ms)),
            count: extent.count + 1,
            open: extent.open + u64::from(alert.is_open()),
        });
        if extent.open > 0 {
            extent.closed_ms = None;
        }
        extent
    }
}

/// What people thought of a rule's alerts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NoiseView {
    /// The rule.
    rule: String,
    /// Alerts it raised.
    raised: u64,
    /// Opinions that there was no problem.
    false_positive: u64,
    /// Opinions that nothing was to be done.
    not_actionable: u64,
    /// Opinions that the alert did not say enough.
    poor_details: u64,
}

impl NoiseView {
    pub(crate) fn of(rule: &str, noise: RuleNoise) -> Self {
        let RuleNoise { raised, false_positive, not_actionable, poor_details } = noise;
        Self { rule: rule.to_owned(), raised, false_positive, not_actionable, poor_details }
    }
}

/// Milliseconds of the log or of rows; both are bounded when they are taken.
pub(crate) fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}
