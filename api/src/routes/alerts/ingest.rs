//! Alerts of others: what Alertmanager and Grafana send to a webhook becomes alerts here, through the control log like any other.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use kelly_auth::Identity;
use kelly_control::alert::{Alert, DataReason, Severity};
use kelly_control::op::{MAX_LABELS, MAX_NAME_CHARS, Transition, TransitionKind};
use kelly_control::{ActorKind, Command, Op};
use kelly_schemas::decode::content_field;
use kelly_schemas::limits::{ACCOUNT_ID_CHARACTERS, CONVERSATION_ID_CHARACTERS};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::bodies::BodyBounds;
use crate::decisions::{Deciding, read};
use crate::limits::MAX_ROW_FAULTS;
use crate::openapi::IngestProblems;
use crate::parameters::Parameters;
use crate::ports::RowFault;
use crate::problem::{Code, Fault, Problem};
use crate::routes::json_body;
use crate::state::HandlerState;

/// Longest body.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Alerts of one request. With more it is refused: tell the sender to send fewer (`max_alerts`).
const MAX_ALERTS: usize = 500;

/// How rules of others begin, so that none is taken for one of Kelly's.
const RULE_PREFIX: &str = "external:";

/// The label that says which of its sender's alerts it is.
const FINGERPRINT: &str = "fingerprint";

/// Longest explanation, in characters; what is longer is cut.
const MAX_EXPLANATION: usize = 1_000;

/// A condition that has held for longer is raised as of now: the control log takes no raise that is older than seven days.
const OLDEST_RAISE_MS: i64 = 6 * 24 * 3_600 * 1_000;

/// What Alertmanager (version 4 of its webhook) or Grafana sends. What is not named here is passed over.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ForeignAlerts {
    /// The alerts.
    #[schema(max_items = 500)]
    alerts: Vec<ForeignAlert>,
}

/// One of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ForeignAlert {
    /// Whether it begins or goes on, or is over.
    status: ForeignStatus,
    /// What it is about. `alertname` becomes its rule, `severity` its severity, `account_id` and `conversation_id` what it is about.
    labels: BTreeMap<String, String>,
    /// For people: `summary` or `description`, and `runbook_url`.
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// When it began.
    starts_at: DateTime<Utc>,
    /// When it was over, where it is.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = DateTime<Utc>, required = false)]
    ends_at: Option<DateTime<Utc>>,
    /// Where it comes from.
    #[serde(rename = "generatorURL")]
    generator_url: Option<String>,
    /// What its sender tells it from others by.
    fingerprint: Option<String>,
    /// Grafana: the values that decided, by the name of their query.
    values: Option<BTreeMap<String, Option<f64>>>,
}

/// A member that may be left out, and is a time where it is there.
fn given<'de, D: Deserializer<'de>>(member: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    DateTime::deserialize(member).map(Some)
}

/// Whether it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ForeignStatus {
    /// It is not.
    Firing,
    /// It is.
    Resolved,
}

/// What became of them.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Ingested {
    /// How many there were.
    received: u64,
    /// How many began.
    raised: u64,
    /// How many got worse or better.
    changed: u64,
    /// How many are over.
    resolved: u64,
    /// How many were so already, or are over without having been here.
    unchanged: u64,
}

/// Take in alerts of others
///
/// For the webhook of Alertmanager and the webhook contact point of Grafana: one place then holds all alerts. An alert is the same one
/// as long as its sender names it by one `fingerprint` and it has not ended. Labels beyond 31 are left out, and what is too long is cut; a label whose
/// name is one of conversation text refuses the body. Where the control log cannot take them the answer is 503, and the sender sends them again. Sent
/// twice, they count once. Who is limited to accounts sends alerts that name one of them in the label `account_id`.
#[utoipa::path(
    post, path = "/api/v1/kelly/alerts/ingest", tag = "alerts", operation_id = "ingest_alerts",
    request_body(content = ForeignAlerts, example = json!({
        "version": "4", "status": "firing", "alerts": [{
            "status": "firing", "labels": {"alertname": "ProviderDown", "severity": "critical", "account_id": "account123"},
            "annotations": {"summary": "the provider answers nothing"}, "startsAt": "2024-09-11T15:30:00Z",
            "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://prometheus.example/graph", "fingerprint": "c2a4b77e21b0c3d9"
        }]
    })),
    responses((status = 200, description = "All are on the control log.", body = Ingested), IngestProblems)
)]
pub(crate) async fn ingest(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    _: Parameters<()>,
    request: Request,
) -> Result<Json<Ingested>, Problem> {
    let deciding = Deciding::of(&shared, &caller, request.headers())?.for_others(ActorKind::System);
    let bounds = BodyBounds { bytes: MAX_BODY_BYTES, time: shared.gates.limits().body_timeout };
    let ForeignAlerts { alerts } = json_body::read_within(request, &shared.gates, bounds).await?;
    if alerts.len() > MAX_ALERTS {
        return Err(Problem::new(
            Code::BodyTooLarge,
            format!(
                "There are {} alerts, {MAX_ALERTS} are taken in one request (Alertmanager: `max_alerts`). Nothing was taken.",
                alerts.len()
            ),
        ));
    }
    check(&alerts, &caller)?;
    let now_ms = (shared.app.settings.clock)().timestamp_millis();
    let sender = deciding.name().to_owned();
    let known = read(&*shared.app.decisions, |state| Known::of(state.alerts().book().iter(), &sender))?;
    let mut ingested = Ingested { received: alerts.len() as u64, ..Ingested::default() };
    let mut sent = HashSet::new();
    let mut refused = None;
    for alert in &alerts {
        let Some(transition) = transition(alert, &sender, &known, now_ms) else {
            ingested.unchanged += 1;
            continue;
        };
        let kind = transition.kind;
        let id = Command::id_of_transition(&transition);
        if !sent.insert(id) {
            ingested.unchanged += 1;
            continue;
        }
        let decided = deciding.decide_as(id, Op::Transition(Box::new(transition))).await;
        match decided {
            Ok(decided) if decided.is_applied() => match kind {
                TransitionKind::Raised => ingested.raised += 1,
                TransitionKind::Worsened | TransitionKind::Improved => ingested.changed += 1,
                TransitionKind::Resolved => ingested.resolved += 1,
            },
            Ok(_) => ingested.unchanged += 1,
            // One that is over and was forgotten here.
            Err(problem) if problem.code() == Code::NotFound => ingested.unchanged += 1,
            // It was decided upon already, in other words.
            Err(problem) if problem.code() == Code::CommandIdReused => ingested.unchanged += 1,
            // No room now: the sender tries again, as with everything that passes.
            Err(problem) if problem.code() == Code::DecisionRefused => {
                return Err(Problem::new(Code::ServerBusy, problem.detail().to_owned())
                    .retry_after(Duration::from_secs(30)));
            }
            // What passes is tried again with the whole body; anything else keeps nobody out who stands behind it: no sender tries that again.
            Err(problem) if problem.code().definition().status.is_server_error() => return Err(problem),
            Err(problem) => refused = refused.or(Some(problem)),
        }
    }
    refused.map_or(Ok(Json(ingested)), Err)
}

/// Everything that keeps the body from being taken.
fn check(alerts: &[ForeignAlert], caller: &Identity) -> Result<(), Problem> {
    let faults = alerts.iter().zip(0..).filter_map(|(alert, row)| {
        let (code, reason) = fault(alert, caller)?;
        Some(RowFault { row, line: None, code: code.to_owned(), reason })
    });
    let mut faults: Vec<RowFault> = faults.collect();
    if faults.is_empty() {
        return Ok(());
    }
    let total = faults.len() as u64;
    faults.truncate(MAX_ROW_FAULTS);
    let detail = format!("{total} of the alerts are refused, so nothing of the body was taken.");
    Err(Problem::new(Code::RowsRefused, detail)
        .with_errors(faults.into_iter().map(Fault::Row).collect(), Some(total)))
}

fn fault(alert: &ForeignAlert, caller: &Identity) -> Option<(&'static str, String)> {
    if let Some(name) = alert.labels.keys().find_map(|name| content_field(name)) {
        let reason = format!("labels.{name}: a label of this name would carry what was said; leave it out");
        return Some(("conversation_content", reason));
    }
    let account = account_of(alert);
    if !caller.accounts.sees(account.as_deref()) {
        let reason = "labels.account_id: names no account that your token is for".to_owned();
        return Some(("account_not_permitted", reason));
    }
    None
}

/// The alerts that one sender sent and that are open, or were resolved by a person and still hold, by account and what it calls them: senders
/// of several accounts may have one name.
struct Known(HashMap<(Option<String>, String), Standing>);

/// How one stands.
struct Standing {
    id: Uuid,
    severity: Severity,
    holds: bool,
    data_ms: i64,
}

impl Known {
    fn of<'a>(alerts: impl Iterator<Item = &'a Alert>, sender: &str) -> Self {
        let of_sender =
            alerts.filter(|alert| alert.rule.starts_with(RULE_PREFIX) && alert.raised.actor.id == sender);
        let mut known: HashMap<_, Standing> = HashMap::new();
        for alert in of_sender.filter(|alert| alert.is_open() || alert.holds) {
            let Alert { id, severity, holds, data_ms, .. } = *alert;
            let Some(fingerprint) = alert.labels.get(FINGERPRINT) else { continue };
            let name = (alert.account_id.clone(), fingerprint.clone());
            // What the sender told last.
            if known.get(&name).is_none_or(|other| other.data_ms <= data_ms) {
                known.insert(name, Standing { id, severity, holds, data_ms });
            }
        }
        Self(known)
    }
}

/// What is to be put on the log; `None` where it is so already.
fn transition(alert: &ForeignAlert, sender: &str, known: &Known, now_ms: i64) -> Option<Transition> {
    let labels = labels_of(alert);
    let fingerprint = labels.get(FINGERPRINT)?.clone();
    let starts_ms = alert.starts_at.timestamp_millis().min(now_ms);
    let severity = severity_of(alert);
    let account = account_of(alert);
    let named = Command::id_of_foreign(sender, account.as_deref(), &fingerprint, starts_ms);
    let standing = known.0.get(&(account.clone(), fingerprint));
    let (id, kind, at_ms) = match (alert.status, standing) {
        (ForeignStatus::Firing, Some(standing)) if standing.holds => match severity.cmp(&standing.severity) {
            Ordering::Equal => return None,
            Ordering::Greater => (standing.id, TransitionKind::Worsened, now_ms.max(standing.data_ms)),
            Ordering::Less => (standing.id, TransitionKind::Improved, now_ms.max(standing.data_ms)),
        },
        (ForeignStatus::Firing, _) => {
            (named, TransitionKind::Raised, starts_ms.max(now_ms - OLDEST_RAISE_MS))
        }
        (ForeignStatus::Resolved, standing) => {
            let id = standing.map_or(named, |standing| standing.id);
            let ended_ms =
                alert.ends_at.map_or(now_ms, |end| end.timestamp_millis().clamp(starts_ms, now_ms));
            (
                id,
                TransitionKind::Resolved,
                standing.map_or(ended_ms, |standing| ended_ms.max(standing.data_ms)),
            )
        }
    };
    Some(Transition {
        alert: id,
        kind,
        reason: (kind == TransitionKind::Resolved).then_some(DataReason::Recovered),
        rule: cut(&format!("{RULE_PREFIX}{}", name_of(alert)), MAX_NAME_CHARS),
        rule_version: 1,
        account_id: account,
        conversation_id: bounded(alert.labels.get("conversation_id"), CONVERSATION_ID_CHARACTERS),
        metric: None,
        severity,
        at_ms,
        since_ms: starts_ms,
        value: value_of(alert),
        threshold: None,
        explanation: explanation_of(alert),
        labels,
        runbook: runbook_of(alert),
        quiet: false,
        cause: None,
    })
}

/// Its labels, as many and as long as an alert may have; with what its sender calls it.
fn labels_of(alert: &ForeignAlert) -> BTreeMap<String, String> {
    let is_name = |name: &str| !name.is_empty() && !name.chars().any(char::is_control) && name != FINGERPRINT;
    let kept =
        alert.labels.iter().filter(|(name, _)| is_name(name) && name.chars().count() <= MAX_NAME_CHARS);
    let mut labels: BTreeMap<String, String> =
        kept.take(MAX_LABELS - 1).map(|(name, value)| (name.clone(), cut(value, MAX_NAME_CHARS))).collect();
    let given = alert.fingerprint.as_deref().filter(|fingerprint| !fingerprint.is_empty());
    let fingerprint = match given {
        Some(given) if given.chars().count() <= MAX_NAME_CHARS => given.to_owned(),
        // Cut, two would be one.
        Some(given) => Command::fingerprint_of(&BTreeMap::from([(FINGERPRINT.to_owned(), given.to_owned())])),
        None => Command::fingerprint_of(&alert.labels),
    };
    labels.insert(FINGERPRINT.to_owned(), fingerprint);
    labels
}

fn name_of(alert: &ForeignAlert) -> String {
    let name = alert.labels.get("alertname").map(String::as_str).unwrap_or_default();
    let name: String = name.chars().filter(|character| !character.is_control()).collect();
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

fn account_of(alert: &ForeignAlert) -> Option<String> {
    bounded(alert.labels.get("account_id"), ACCOUNT_ID_CHARACTERS)
}

/// A text that may be an id here; anything else is none.
fn bounded(text: Option<&String>, characters: usize) -> Option<String> {
    let is_id = |text: &&String| {
        !text.is_empty() && text.chars().count() <= characters && !text.chars().any(char::is_control)
    };
    text.filter(is_id).cloned()
}

fn severity_of(alert: &ForeignAlert) -> Severity {
    let given = alert.labels.get("severity").map(|severity| severity.to_ascii_lowercase());
    match given.as_deref() {
        Some("critical" | "crit" | "page" | "error" | "emergency" | "fatal" | "high" | "p1") => {
            Severity::Critical
        }
        Some("info" | "information" | "none" | "debug" | "low" | "notice") => Severity::Info,
        _ => Severity::Warning,
    }
}

/// Grafana's, where exactly one value decided.
fn value_of(alert: &ForeignAlert) -> Option<f64> {
    let mut values = alert.values.iter().flatten().filter_map(|(_, value)| *value);
    let first = values.next();
    first.filter(|value| value.is_finite() && values.next().is_none())
}

fn explanation_of(alert: &ForeignAlert) -> String {
    let said = ["summary", "description"].into_iter().find_map(|name| alert.annotations.get(name));
    let said = said.map_or("", |said| said.trim());
    if said.is_empty() { name_of(alert) } else { cut(said, MAX_EXPLANATION) }
}

fn runbook_of(alert: &ForeignAlert) -> Option<String> {
    let is_link = |link: &&String| link.starts_with("https://") || link.starts_with("http://");
    let link = alert.annotations.get("runbook_url").filter(is_link);
    link.or(alert.generator_url.as_ref().filter(is_link)).map(|link| cut(link, MAX_EXPLANATION))
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
