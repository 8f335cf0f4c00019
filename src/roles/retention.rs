//! What the store keeps, against what is configured here: ingest follows the store, and a difference is reported.

use std::time::Duration;

use kelly_ingest::RawRetention;
use kelly_schemas::error_chain;
use kelly_sql::{RETENTION_READ_EVERY, RETENTION_TRUSTED_FOR, Retentions, Store};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::parts::Part;
use crate::config::Config;

/// Following the store as a part of a role that has ingest.
pub fn part(config: &Config, store: &Store, raw: RawRetention) -> Part {
    let cluster = config.store_access.cluster.as_ref().map(|cluster| cluster.0.clone());
    let followed = Followed { store: store.clone(), cluster, raw, trusted_for: RETENTION_TRUSTED_FOR };
    Part::task("retention", |stop| follow(followed, stop))
}

/// What ingest is kept to.
struct Followed {
    /// Says how long it keeps rows.
    store: Store,
    /// The store's cluster, where it is one.
    cluster: Option<String>,
    /// Set to what the store keeps.
    raw: RawRetention,
    /// How long what was read may be acted upon when it cannot be read again.
    trusted_for: Duration,
}

/// Keeps ingest to what the store keeps, and completes changes of retention, until told to stop.
///
/// A longer retention counts from when every process that writes knows of it. One that cannot learn of it keeps every raw
/// row: one that has expired costs nothing but itself, one that was left out is missing for good.
async fn follow(followed: Followed, stop: CancellationToken) {
    let Followed { store, cluster, raw, trusted_for } = followed;
    let mut is_failing = false;
    let mut read_at = Instant::now();
    let mut is_known = true;
    loop {
        let begun = Instant::now();
        let read = tokio::select! {
            stored = store.retentions() => Some(stored),
            () = sleep_until(read_at + trusted_for), if is_known => None,
            () = stop.cancelled() => return,
        };
        let outcome = match read {
            Some(Ok(stored)) => {
                raw.set(stored.samples.longest_ms());
                (read_at, is_known) = (begun, true);
                let complete = async {
                    match stored.are_changing() {
                        true => store.complete_retention(cluster.as_deref()).await,
                        false => Ok(Vec::new()),
                    }
                };
                tokio::select! {
                    outcome = complete => outcome,
                    () = sleep_until(read_at + trusted_for) => continue,
                    () = stop.cancelled() => return,
                }
            }
            Some(Err(error)) => Err(error),
            None => {
                raw.set(i64::MAX);
                is_known = false;
                tracing::warn!(
                    "how long the store keeps rows is not known any more: every raw row is written until it is"
                );
                continue;
            }
        };
        let was_failing = std::mem::replace(&mut is_failing, outcome.is_err());
        match outcome {
            Ok(tables) if !tables.is_empty() => {
                tracing::info!(tables = tables.join(", "), "every part follows the changed retention");
            }
            Ok(_) => {}
            Err(error) if !was_failing => {
                tracing::warn!(
                    error = error_chain(&error),
                    "reading how long the store keeps rows failed, trying again"
                );
            }
            Err(_) => {}
        }
        tokio::select! {
            () = sleep(RETENTION_READ_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// How long rows are kept by this process's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configured {
    pub(super) hours: u32,
    pub(super) days: u32,
}

impl Configured {
    /// As it is configured.
    pub fn of(config: &Config) -> Self {
        Self { hours: config.monitoring.metrics_retention_hours, days: config.monitoring.retention_days }
    }

    /// What the store keeps otherwise, as a sentence that says how to fix it.
    pub fn difference(&self, stored: &Retentions) -> Option<String> {
        const HOUR_MS: i64 = 3_600_000;
        let (hours, days) = (i64::from(self.hours), i64::from(self.days));
        let (stored_hours, stored_days) =
            (stored.samples.present_ms() / HOUR_MS, stored.rollups.present_ms() / (24 * HOUR_MS));
        let mut differences = Vec::new();
        if stored_hours != hours {
            differences.push(format!(
                "samples for {stored_hours} hours (MONITORING_METRICS_RETENTION_HOURS is {hours} here)"
            ));
        }
        if stored_days != days {
            differences.push(format!(
                "rollups for {stored_days} days (MONITORING_DB_RETENTION_DAYS is {days} here)"
            ));
        }
        (!differences.is_empty()).then(|| {
            format!(
                "the store keeps {}: configure every role alike and run `kelly migrate`",
                differences.join(" and ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use kelly_sql::{RetentionHistory, StoreConfig};

    use super::*;

    #[tokio::test]
    async fn who_cannot_read_the_retention_keeps_every_raw_row() {
        let store = Store::new(StoreConfig {
            url: "http://127.0.0.1:1".to_owned(),
            database: "kelly".to_owned(),
            user: "kelly".to_owned(),
            password: String::new(),
            inserts_yield: false,
        });
        let (raw, stop) = (RawRetention::new(7), CancellationToken::new());
        let followed =
            Followed { store: store.unwrap(), cluster: None, raw: raw.clone(), trusted_for: Duration::ZERO };
        let following = tokio::spawn(follow(followed, stop.clone()));
        let given_up = async {
            while raw.get() != i64::MAX {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), given_up).await.expect("every row is kept");
        stop.cancel();
        following.await.unwrap();
    }

    #[test]
    fn a_difference_names_the_setting_and_what_to_do() {
        const HOUR_MS: i64 = 3_600_000;
        let stored = Retentions {
            samples: RetentionHistory::unchanged(HOUR_MS),
            rollups: RetentionHistory::unchanged(90 * 24 * HOUR_MS),
            events: RetentionHistory::unchanged(90 * 24 * HOUR_MS),
        };
        assert_eq!(Configured { hours: 1, days: 90 }.difference(&stored), None);
        assert_eq!(
            Configured { hours: 72, days: 90 }.difference(&stored).unwrap(),
            "the store keeps samples for 1 hours (MONITORING_METRICS_RETENTION_HOURS is 72 here): configure every role alike and \
             run `kelly migrate`"
        );
        let both = Configured { hours: 72, days: 8 }.difference(&stored).unwrap();
        assert!(both.contains("rollups for 90 days (MONITORING_DB_RETENTION_DAYS is 8 here)"), "{both}");
    }
}
