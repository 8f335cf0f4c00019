//! Notifications of a role: told of alerts over its replica, sent by one instance of all.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use kelly_api::{
    DeadNotification, DestinationHealth, DestinationReport, NotNotified, Notifications, NotificationsReport,
    ReplayOutcome, TestOutcome,
};
use kelly_cli::Usage;
use kelly_control::Replica;
use kelly_notify::{
    Answer, DestinationState, Overview, Request, Sender, SenderConfig, Service, ServiceConfig, Settings,
};
use kelly_notify::{Destination, OutboxConfig};
use kelly_schemas::error_chain;
use kelly_stream::Log;

use super::parts::Part;
use crate::config::Config;

/// Notifications, where they are set up.
pub struct Notifying(Option<Arc<Service>>);

/// Starts notifications, where a file says whom to tell.
pub async fn start(
    config: &Config,
    log: &Arc<dyn Log>,
    replica: &Arc<Replica>,
) -> anyhow::Result<(Arc<Notifying>, Option<Part>)> {
    let notifications = &config.notifications;
    let Some(file) = &notifications.file else { return Ok((Arc::new(Notifying(None)), None)) };
    let settings = Arc::new(read(file)?);
    let sender = SenderConfig::new(notifications.allow_internal.clone(), now_ms);
    let sender = Sender::new(settings.clone(), sender).with_context(|| {
        format!("preparing the notifications of {} (KELLY_NOTIFICATIONS)", file.display())
    })?;
    let service = Service::start(ServiceConfig {
        settings,
        public_url: notifications.public_url.as_ref().map(|url| url.0.clone()),
        outbox: OutboxConfig::new(log.clone(), format!("process {}", std::process::id())),
        replica: replica.clone(),
        sender: Arc::new(sender),
        clock: now_ms,
        is_alive: Arc::new(|| true),
    })
    .await
    .context("starting notifications")?;
    let stopping = service.clone();
    let part = Part::new("notifications", "messages under way", move || async move {
        stopping.stop().await;
        Ok(())
    });
    Ok((Arc::new(Notifying(Some(service))), Some(part)))
}

/// Reads a file of notifications.
pub fn read(file: &Path) -> anyhow::Result<Settings> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Usage(format!("reading notifications from {}: {error}", file.display())))?;
    let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let settings = if is_json { Settings::parse_json(&text) } else { Settings::parse_toml(&text) };
    settings.map_err(|fault| Usage(format!("{}: {fault}", file.display())).into())
}

fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}

impl Notifying {
    fn service(&self) -> Result<&Service, NotNotified> {
        self.0.as_deref().ok_or(NotNotified::NotSetUp)
    }

    async fn ask(&self, request: Request) -> Result<(), NotNotified> {
        let asked = self.service()?.outbox().request(request).await;
        asked.map_err(|error| NotNotified::Unavailable { reason: error_chain(&error) })
    }
}

#[async_trait]
impl Notifications for Notifying {
    fn report(&self) -> Result<NotificationsReport, NotNotified> {
        let service = self.service()?;
        let overview = service.outbox().overview();
        let destinations = service.settings().destinations.iter();
        let destinations = destinations.map(|destination| report(destination, &overview, now_ms()));
        Ok(NotificationsReport { open: overview.threads as u64, destinations: destinations.collect() })
    }

    fn dead(&self) -> Result<Vec<DeadNotification>, NotNotified> {
        let mut letters: Vec<_> = self.service()?.outbox().overview().dead.into_iter().collect();
        letters.sort_by_key(|(id, letter)| (std::cmp::Reverse(letter.at_ms), id.clone()));
        let letters = letters.into_iter().map(|(id, letter)| DeadNotification {
            id,
            reason: letter.delivery.notice.reason.code().to_owned(),
            title: letter.delivery.notice.title(),
            destination: letter.destination,
            problem: letter.problem,
            at: DateTime::from_timestamp_millis(letter.at_ms).unwrap_or_default(),
        });
        Ok(letters.collect())
    }

    async fn test(&self, destination: &str) -> Result<TestOutcome, NotNotified> {
        let answer = self.service()?.test(destination).await.ok_or(NotNotified::Unknown)?;
        let problem = match answer {
            Answer::Accepted(_) => None,
            Answer::Retry { problem, .. }
            | Answer::Ill(problem)
            | Answer::Gone(problem)
            | Answer::Refused(problem) => Some(problem),
            Answer::Busy { .. } => Some("it takes no more messages for a while".to_owned()),
            Answer::Lost => Some("it does not find the message".to_owned()),
        };
        Ok(TestOutcome { delivered: problem.is_none(), problem })
    }

    async fn replay(&self, id: &str) -> Result<ReplayOutcome, NotNotified> {
        if !self.service()?.outbox().overview().dead.contains_key(id) {
            return Err(NotNotified::Unknown);
        }
        self.ask(Request::Replay { id: id.to_owned() }).await?;
        Ok(ReplayOutcome { messages: 1 })
    }

    async fn replay_all(&self, destination: &str) -> Result<ReplayOutcome, NotNotified> {
        let service = self.service()?;
        if service.settings().destination(destination).is_none() {
            return Err(NotNotified::Unknown);
        }
        let dead = service.outbox().overview().dead;
        let messages = dead.values().filter(|letter| letter.destination == destination).count();
        self.ask(Request::ReplayAll { destination: destination.to_owned() }).await?;
        Ok(ReplayOutcome { messages: messages as u64 })
    }
}

fn report(destination: &Destination, overview: &Overview, now_ms: i64) -> DestinationReport {
    let nothing = DestinationState::default();
    let state = overview.destinations.get(&destination.id).unwrap_or(&nothing);
    let health = match &state.ill {
        Some(_) => DestinationHealth::Ill,
        None if state.busy_until_ms > now_ms => DestinationHealth::Busy,
        None => DestinationHealth::Well,
    };
    DestinationReport {
        id: destination.id.clone(),
        kind: destination.kind.code().to_owned(),
        health,
        problem: state.ill.as_ref().map(|ill| ill.problem.clone()),
        since: state.ill.as_ref().and_then(|ill| DateTime::from_timestamp_millis(ill.since_ms)),
        waiting: overview.waiting.get(&destination.id).copied().unwrap_or(0) as u64,
        sent: state.sent,
        failed: state.failed,
        dead: overview.dead.values().filter(|letter| letter.destination == destination.id).count() as u64,
    }
}
