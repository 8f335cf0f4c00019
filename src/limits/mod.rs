//! Counting what callers use of their budgets, in Redis, so that several instances share one quota.
//!
//! While Redis is away each instance counts for itself, with the whole quota: the limit is never open and never closed.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use kelly_api::rates::{CountUse, OwnCounts, Quotas, Use, Verdict, WINDOW};
use kelly_api::{Part, PartStatus};
use kelly_cli::Usage;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script};

use crate::config::CallerLimits;

/// How long Redis may take to answer. A request waits for it, so it is short; then this instance counts itself.
const ANSWER_TIME: Duration = Duration::from_millis(100);
/// How long Redis is left alone after it did not answer, so that not every request waits for it.
const REST: Duration = Duration::from_secs(1);

/// What counts, and the same where it is shared, for the health report.
pub struct Counts {
    /// Counts.
    pub counts: Arc<dyn CountUse>,
    /// The counts, where instances share them.
    pub shared: Option<Arc<SharedCounts>>,
}

/// Counting as it is configured: in Redis, or in this process.
pub fn counts(limits: &CallerLimits, quotas: Quotas) -> anyhow::Result<Counts> {
    let Some(url) = &limits.redis_url else {
        return Ok(Counts { counts: Arc::new(OwnCounts::new(&quotas)), shared: None });
    };
    // The error may repeat the URL, and with it a password.
    let shared = SharedCounts::new(url.reveal(), quotas).map_err(|error| {
        Usage(format!(
            "KELLY_REDIS_URL cannot be used ({:?}): write redis://[user:password@]host:port[/database]",
            error.kind()
        ))
    })?;
    let shared = Arc::new(shared);
    Ok(Counts { counts: shared.clone(), shared: Some(shared) })
}

/// What a caller may use in a minute.
pub fn quotas(limits: &CallerLimits) -> Quotas {
    let at_least_one = |quota: u32| NonZeroU32::new(quota).unwrap_or(NonZeroU32::MIN);
    let kib = u32::try_from(limits.recorded_bytes / 1_024).unwrap_or(u32::MAX);
    Quotas {
        requests: at_least_one(limits.requests),
        emergency: at_least_one(limits.emergency),
        recorded_rows: at_least_one(limits.recorded_rows),
        recorded_kib: at_least_one(kib),
        failed_sign_ins: at_least_one(limits.failed_sign_ins),
    }
}

/// Counts that instances share.
pub struct SharedCounts {
    script: Script,
    connection: ConnectionManager,
    quotas: Quotas,
    own: OwnCounts,
    away: Mutex<Option<Away>>,
}

/// Since when Redis does not answer.
#[derive(Debug, Clone, Copy)]
struct Away {
    since: DateTime<Utc>,
    asked: Instant,
}

impl SharedCounts {
    /// Counts in the Redis of this URL. It is connected to when it is first needed.
    pub fn new(url: &str, quotas: Quotas) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(ANSWER_TIME))
            .set_response_timeout(Some(ANSWER_TIME));
        Ok(Self {
            script: Script::new(include_str!("gcra.lua")),
            connection: ConnectionManager::new_lazy_with_config(Client::open(url)?, config)?,
            quotas,
            own: OwnCounts::new(&quotas),
            away: Mutex::new(None),
        })
    }

    /// How it is, for the health report.
    pub fn health(&self) -> Part {
        let away = *self.away();
        let (status, summary) = match away {
            None => (PartStatus::Healthy, "instances share their limits in Redis".to_owned()),
            Some(Away { since, .. }) => (
                PartStatus::Degraded,
                format!(
                    "Redis has not answered since {}: limits hold, but each instance counts for itself",
                    since.format("%Y-%m-%dT%H:%M:%SZ")
                ),
            ),
        };
        Part {
            name: "limits".to_owned(),
            status,
            since: Utc::now(),
            required: false,
            summary,
            details: Default::default(),
        }
    }

    async fn take_shared(&self, wanted: Use<'_>) -> Result<Verdict, RedisError> {
        let quota = self.quotas.of(wanted.budget);
        let amount = wanted.amount.min(quota);
        let mut call = self.script.key(format!("kelly:limit:{}:{}", wanted.budget.name(), wanted.whose));
        call.arg(microseconds_a_unit(quota)).arg(quota.get()).arg(amount.get());
        let mut connection = self.connection.clone();
        let asked = call.invoke_async(&mut connection);
        let (fits, left, until_whole, wait): (bool, u32, u64, u64) = tokio::time::timeout(ANSWER_TIME, asked)
            .await
            .unwrap_or_else(|_| Err((redis::ErrorKind::Io, "no answer in time").into()))?;
        Ok(Verdict {
            fits,
            left,
            until_whole: Duration::from_micros(until_whole),
            retry_after: Duration::from_micros(wait),
        })
    }

    fn rests(&self) -> bool {
        self.away().is_some_and(|away| away.asked.elapsed() < REST)
    }

    fn note(&self, failed: Option<&RedisError>) {
        let mut away = self.away();
        match (failed, *away) {
            (Some(error), None) => {
                // The error's own text may name the address with its password.
                let kind = format!("{:?}", error.kind());
                tracing::warn!(kind, "Redis does not answer; each instance counts limits for itself");
                *away = Some(Away { since: Utc::now(), asked: Instant::now() });
            }
            (Some(_), Some(was)) => *away = Some(Away { asked: Instant::now(), ..was }),
            (None, Some(_)) => {
                tracing::info!("Redis answers again; instances share their limits");
                *away = None;
            }
            (None, None) => {}
        }
    }

    fn away(&self) -> MutexGuard<'_, Option<Away>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CountUse for SharedCounts {
    async fn take(&self, wanted: Use<'_>) -> Verdict {
        if !self.rests() {
            match self.take_shared(wanted).await {
                Ok(verdict) => {
                    self.note(None);
                    return verdict;
                }
                Err(error) => self.note(Some(&error)),
            }
        }
        self.own.take(wanted)
    }
}

fn microseconds_a_unit(quota: NonZeroU32) -> f64 {
    WINDOW.as_micros() as f64 / f64::from(quota.get())
}

#[cfg(test)]
mod tests;
