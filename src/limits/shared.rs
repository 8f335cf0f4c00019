//! The Redis that instances share, and whether it answers. While it does not, each instance counts for itself: no limit is open then, and
//! none closed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use kelly_api::{Part, PartStatus};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, FromRedisValue, RedisError, ScriptInvocation};

/// How long Redis may take to answer. A request waits for it, so it is short; then this instance counts itself.
const ANSWER_TIME: Duration = Duration::from_millis(100);
/// How long Redis is left alone after it did not answer, so that not every request waits for it.
const REST: Duration = Duration::from_secs(1);

/// The connection to it.
pub struct SharedRedis {
    connection: ConnectionManager,
    away: Mutex<Option<Away>>,
}

/// Since when Redis does not answer.
#[derive(Debug, Clone, Copy)]
struct Away {
    since: DateTime<Utc>,
    asked: Instant,
}

impl SharedRedis {
    /// The Redis of this URL. It is connected to when it is first needed.
    pub fn new(url: &str) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(ANSWER_TIME))
            .set_response_timeout(Some(ANSWER_TIME));
        let connection = ConnectionManager::new_lazy_with_config(Client::open(url)?, config)?;
        Ok(Self { connection, away: Mutex::new(None) })
    }

    /// Runs a script; `None` while Redis does not answer.
    pub async fn ask<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Option<T> {
        if self.rests() {
            return None;
        }
        let answer = self.invoke(call).await;
        self.note(answer.as_ref().err());
        answer.ok()
    }

    /// Runs scripts at once, over one connection; whether Redis answers. It may refuse one of many by itself, and that says nothing of the
    /// others. Nobody waits for these, so it is asked also while it is left alone.
    pub async fn ask_all(&self, calls: &[ScriptInvocation<'_>]) -> bool {
        if calls.is_empty() {
            return true;
        }
        let answers = join_all(calls.iter().map(|call| self.invoke::<redis::Value>(call))).await;
        let has_done_some = answers.iter().any(Result::is_ok);
        let errors: Vec<&RedisError> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        let refusals = errors.iter().filter(|error| error.code().is_some()).count();
        if refusals > 0 {
            tracing::warn!(
                refusals,
                "Redis refuses to keep seats of live connections; their users may have more of them"
            );
        }
        if has_done_some {
            self.note(None);
        } else if refusals == 0 {
            self.note(errors.first().copied());
        }
        has_done_some || refusals > 0
    }

    async fn invoke<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, RedisError> {
        let mut connection = self.connection.clone();
        tokio::time::timeout(ANSWER_TIME, call.invoke_async(&mut connection))
            .await
            .unwrap_or_else(|_| Err((redis::ErrorKind::Io, "no answer in time").into()))
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
