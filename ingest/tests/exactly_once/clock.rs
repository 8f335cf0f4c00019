//! The wall clock jumps by hours and years while messages come: each is in the store once, and none is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use kelly_harness::TestDatabase;
use kelly_schemas::Stream;
use kelly_sql::MigrationParams;
use kelly_stream::{EmbeddedConfig, EmbeddedLog, Log, NewRecord, Retention, TopicSpec};

use crate::messages::{config, run_until_drained};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Messages between two jumps.
const MESSAGES: u64 = 20;

/// From jump to jump the log is filled, its retention enforced, and what is there taken over by a pipeline that starts
/// anew: at the first with a clock of the past, and so on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_loses_and_doubles_nothing() {
    let database = TestDatabase::create_empty();
    let params = MigrationParams {
        metrics_retention_hours: 24 * 3_650,
        retention_days: 3_650,
        audit_retention_days: 3_650,
        cluster: None,
    };
    database.store().migrate(&params).await.unwrap();
    let now = chrono::Utc::now().timestamp_millis();
    for (number, jumps) in [
        vec![5 * HOUR_MS],
        vec![-5 * HOUR_MS],
        vec![5 * HOUR_MS, -9 * HOUR_MS, HOUR_MS, -HOUR_MS],
        vec![-1, 1, -2, 0],
        vec![400 * DAY_MS, -800 * DAY_MS],
        // To the first hour of 1970 and back.
        vec![HOUR_MS - now, now],
    ]
    .into_iter()
    .enumerate()
    {
        let metric = format!("jump.{number}");
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(now));
        let hand = Arc::clone(&clock);
        let embedded = EmbeddedConfig {
            clock: Arc::new(move || hand.load(Ordering::SeqCst)),
            ..EmbeddedConfig::new(directory.path())
        };
        let log = Arc::new(EmbeddedLog::open(embedded).unwrap());
        // Longer than any jump: what is lost would be lost by a mistake.
        let retention =
            Retention { time: Some(std::time::Duration::from_secs(100 * 365 * 86_400)), bytes: None };
        let spec = |name: &str| TopicSpec { name: name.to_owned(), partitions: 1, retention };
        log.ensure_topics(&[spec(Stream::Metrics.topic()), spec(Stream::Activity.topic())]).await.unwrap();
        let port: Arc<dyn Log> = Arc::clone(&log) as _;
        let mut sent = 0;
        for jump in std::iter::once(0).chain(jumps.iter().copied()) {
            clock.fetch_add(jump, Ordering::SeqCst);
            let records = (0..MESSAGES).map(|value| NewRecord {
                topic: Stream::Metrics.topic().into(),
                partition: Some(0),
                key: None,
                payload: Bytes::from(format!(
                    r#"{{"metric_name":"{metric}","value":{value},"account_id":"a","conversation_id":"c"}}"#
                )),
                content_type: None,
            });
            log.append(records.collect()).await.unwrap();
            sent += MESSAGES;
            let enforcing = Arc::clone(&log);
            tokio::task::spawn_blocking(move || enforcing.enforce_retention()).await.unwrap().unwrap();
            run_until_drained(&port, Arc::new(database.store().clone()), config(7)).await;
        }
        let found = async |what: &str, rows: &str| {
            database.query(&format!("SELECT {what} FROM {rows} metric_name = '{metric}'")).await
        };
        let of_tier = |tier: &str| format!("metric_rollups WHERE tier = '{tier}' AND");
        // Those of 1970 too: log time never goes back, so none of them has expired on arrival.
        let sent = sent.to_string();
        assert_eq!(found("count()", "system_metrics WHERE").await, sent, "{jumps:?}");
        assert_eq!(found("uniqExact(log_offset)", "system_metrics WHERE").await, sent, "{jumps:?}");
        for tier in ["minute", "hour", "account_hour", "conversation_day"] {
            assert_eq!(found("sum(count)", &of_tier(tier)).await, sent, "{jumps:?} in {tier}");
        }
        let in_histograms = "sum(arraySum(mapValues(histogram)))";
        for tier in ["minute", "hour", "account_day"] {
            assert_eq!(found(in_histograms, &of_tier(tier)).await, sent, "{jumps:?} in {tier}");
        }
        assert_eq!(database.query("SELECT count() FROM dead_letters").await, "0", "{jumps:?}");
        log.close().await.unwrap();
    }
}
