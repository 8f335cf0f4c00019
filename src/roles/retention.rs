//! What the store keeps, against what is configured here: ingest follows the store, and a difference is reported.

use kelly_ingest::RawRetention;
use kelly_schemas::error_chain;
use kelly_sql::{RETENTION_READ_EVERY, Retentions, Store};
use tokio_util::sync::CancellationToken;

use super::parts::Part;
use crate::config::Config;

/// Following the store as a part of a role that has ingest.
pub fn part(config: &Config, store: &Store, raw: RawRetention) -> Part {
    let cluster = config.store_access.cluster.as_ref().map(|cluster| cluster.0.clone());
    Part::task("retention", |stop| follow(store.clone(), cluster, raw, stop))
}

/// Keeps ingest to what the store keeps, and completes changes of retention, until told to stop.
async fn follow(store: Store, cluster: Option<String>, raw: RawRetention, stop: CancellationToken) {
    let mut is_failing = false;
    loop {
        let read = async {
            let stored = store.retentions().await?;
            raw.set(stored.samples.longest_ms());
            match stored.are_changing() {
                true => store.complete_retention(cluster.as_deref()).await,
                false => Ok(Vec::new()),
            }
        };
        let outcome = tokio::select! {
            outcome = read => outcome,
            () = stop.cancelled() => return,
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
            () = tokio::time::sleep(RETENTION_READ_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// How long rows are kept by this process's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configured {
    hours: u32,
    days: u32,
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
    use kelly_sql::RetentionHistory;

    use super::*;

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
