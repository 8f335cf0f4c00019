//! Counting what callers use of their budgets, and their live connections, in Redis, so that several instances share one quota.
//!
//! While Redis is away each instance counts for itself, with the whole quota: the limit is never open and never closed.

mod seats;
mod shared;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kelly_api::ShareSeats;
use kelly_api::rates::{CountUse, OwnCounts, Quotas, Use, Verdict, WINDOW};
use kelly_cli::Usage;
use redis::Script;

use crate::config::CallerLimits;

pub use shared::SharedRedis;

use seats::SharedSeats;

/// What counts.
pub struct Counts {
    /// Counts what callers use.
    pub counts: Arc<dyn CountUse>,
    /// Counts live connections, where instances share them.
    pub seats: Option<Arc<dyn ShareSeats>>,
    /// What instances share, for the health report.
    pub shared: Option<Arc<SharedRedis>>,
}

/// Counting as it is configured: in Redis, or in this process.
pub fn counts(limits: &CallerLimits, quotas: Quotas) -> anyhow::Result<Counts> {
    let Some(url) = &limits.redis_url else {
        return Ok(Counts { counts: Arc::new(OwnCounts::new(&quotas)), seats: None, shared: None });
    };
    // The error may repeat the URL, and with it a password.
    let redis = SharedRedis::new(url.reveal()).map_err(|error| {
        Usage(format!(
            "KELLY_REDIS_URL cannot be used ({:?}): write redis://[user:password@]host:port[/database]",
            error.kind()
        ))
    })?;
    let redis = Arc::new(redis);
    Ok(Counts {
        counts: Arc::new(SharedCounts::new(redis.clone(), quotas)),
        seats: Some(Arc::new(SharedSeats::new(redis.clone()))),
        shared: Some(redis),
    })
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
    redis: Arc<SharedRedis>,
    quotas: Quotas,
    own: OwnCounts,
}

impl SharedCounts {
    /// Counts in this Redis.
    pub fn new(redis: Arc<SharedRedis>, quotas: Quotas) -> Self {
        let script = Script::new(include_str!("gcra.lua"));
        Self { script, redis, quotas, own: OwnCounts::new(&quotas) }
    }

    async fn take_shared(&self, wanted: Use<'_>) -> Option<Verdict> {
        let quota = self.quotas.of(wanted.budget);
        let amount = wanted.amount.min(quota);
        let mut call = self.script.key(format!("kelly:limit:{}:{}", wanted.budget.name(), wanted.whose));
        call.arg(microseconds_a_unit(quota)).arg(quota.get()).arg(amount.get());
        let (fits, left, until_whole, wait): (bool, u32, u64, u64) = self.redis.ask(&call).await?;
        Some(Verdict {
            fits,
            left,
            until_whole: Duration::from_micros(until_whole),
            retry_after: Duration::from_micros(wait),
        })
    }
}

#[async_trait]
impl CountUse for SharedCounts {
    async fn take(&self, wanted: Use<'_>) -> Verdict {
        if let Some(verdict) = self.take_shared(wanted).await {
            return verdict;
        }
        self.own.take(wanted)
    }
}

fn microseconds_a_unit(quota: NonZeroU32) -> f64 {
    WINDOW.as_micros() as f64 / f64::from(quota.get())
}

#[cfg(test)]
mod tests;
